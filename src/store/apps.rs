//! The App that was registered here, if one was, and the secrets of its webhook. What is secret comes
//! and goes sealed.

use std::time::Duration;

use bytes::Bytes;

use super::Store;
use super::error::StoreError;
use super::pool::Tx;
use crate::domain::ids::WorkerId;

/// The App that `/setup` registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredApp {
    pub app_id: String,
    /// Its name in addresses.
    pub slug: String,
    /// Its page on GitHub.
    pub url: String,
    pub client_id: String,
    /// What is secret of it.
    pub sealed: Vec<u8>,
}

/// A webhook's secret that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSecret {
    /// By what it is known again; nothing can be learned of it.
    pub mark: String,
    pub sealed: Vec<u8>,
}

/// What a webhook's secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretState {
    /// GitHub is to be told of it, or was.
    Next,
    /// GitHub signs with it.
    Current,
    /// It was replaced.
    Previous,
}

/// A webhook's secret that is, or was, kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    pub mark: String,
    pub state: SecretState,
    /// `None` once it does not count any more.
    pub sealed: Option<Vec<u8>>,
    /// Has a server opened it, and accepts it?
    pub heard: bool,
    /// Has a delivery come with it?
    pub seen: bool,
    /// Is what is signed with it accepted?
    pub counts: bool,
}

macro_rules! secret_columns {
    () => {
        concat!(
            "mark, state, sealed, cast(case when heard_at is null then 0 else 1 end as bigint),
             cast(case when seen_at is null then 0 else 1 end as bigint),
             cast(case when accepted_until <= ",
            now!(),
            " then 0 else 1 end as bigint)"
        )
    };
}

statements! {
    APP = sql!("select app_id, slug, url, client_id, sealed from apps");
    KEEP_APP = sql!(
        "insert into apps (one, app_id, slug, url, client_id, sealed, since)
         values (1, $1, $2, $3, $4, $5, ", now!(), ") on conflict (one) do nothing"
    );
    FORGET_APP = sql!("delete from apps");
    // That they were stays known: one that still stands in a setting does not count again.
    FORGET_SECRETS = sql!(
        "update webhook_secrets set state = 'previous', sealed = null, accepted_until = ", now!()
    );
    FORGET_SECRET = sql!(
        "update webhook_secrets set state = 'previous', sealed = null, accepted_until = ", now!(), "
         where mark = $1"
    );
    OFFER = sql!(
        "insert into setup_tokens (worker, mark, since) values ($1, $2, ", now!(), ")
         on conflict (worker) do update set mark = excluded.mark, since = excluded.since"
    );
    OFFERED = sql!(
        "select mark from setup_tokens where since > ", now!(), " - $1
            and not exists (select 1 from apps) order by mark"
    );
    END_OFFERS = sql!("delete from setup_tokens");
    SECRETS = sql!("select ", secret_columns!(), " from webhook_secrets order by since, mark");
    NEXT = sql!("select ", secret_columns!(), " from webhook_secrets where state = 'next'");
    KNOWN = sql!("select since from webhook_secrets where mark = $1");
    // Whichever of its keys is there already.
    ADD = sql!(
        "insert into webhook_secrets (mark, state, sealed, since, accepted_until)
         values ($1, $2, $3, ", now!(), ", ", now!(), " + $4) on conflict do nothing"
    );
    REPLACE = sql!(
        "update webhook_secrets set state = 'previous', accepted_until = ", now!(), " + $1
         where state = 'current'"
    );
    DROP_NEXT = sql!("delete from webhook_secrets where state = 'next'");
    PROMOTE = sql!(
        "update webhook_secrets set state = 'current', since = ", now!(), "
         where mark = $1 and state = 'next'"
    );
    HEAR = sql!(
        "update webhook_secrets set heard_at = ", now!(), " where mark = $1 and heard_at is null"
    );
    DROP_UNHEARD = sql!(
        "delete from webhook_secrets where mark = $1 and state = 'next' and heard_at is null"
    );
    SEE = sql!(
        "update webhook_secrets set seen_at = ", now!(), " where mark = $1 and seen_at is null"
    );
    CLEAR = sql!(
        "update webhook_secrets set sealed = null
         where sealed is not null and accepted_until <= ", now!()
    );
}

type AppColumns = (String, String, String, String, Vec<u8>);
type SecretColumns = (String, String, Option<Vec<u8>>, i64, i64, i64);

impl Store {
    /// The App that was registered here.
    pub async fn app(&self) -> Result<Option<StoredApp>, StoreError> {
        let row: Option<AppColumns> = self.inner.main.one(APP, args![]).await?;
        Ok(row.map(|(app_id, slug, url, client_id, sealed)| StoredApp {
            app_id,
            slug,
            url,
            client_id,
            sealed,
        }))
    }

    /// Keeps the App that was registered, its webhook's secret with it, and ends all tokens; false,
    /// and nothing is kept, if there is one already.
    pub async fn keep_app(&self, app: &StoredApp, secret: &NewSecret) -> Result<bool, StoreError> {
        retried!(self.keep_app_once(app, secret))
    }

    async fn keep_app_once(&self, app: &StoredApp, new: &NewSecret) -> Result<bool, StoreError> {
        let StoredApp { app_id, slug, url, client_id, sealed } = app;
        let mut tx = self.begin().await?;
        let sealed = Bytes::copy_from_slice(sealed);
        let words = [app_id, slug, url, client_id].map(String::as_str);
        let values = args![words[0], words[1], words[2], words[3], sealed];
        if tx.execute(KEEP_APP, values).await? == 0 {
            return Ok(false);
        }
        // Of another App than this one's.
        tx.execute(REPLACE, args![Duration::ZERO]).await?;
        tx.execute(DROP_NEXT, args![]).await?;
        add(&mut tx, SecretState::Current, new, None).await?;
        tx.execute(END_OFFERS, args![]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Forgets the App that was registered here, and with it all secrets of the webhook that are kept,
    /// which do not count from now on; false, and nothing is forgotten, if there was none.
    pub async fn forget_app(&self) -> Result<bool, StoreError> {
        retried!(self.forget_app_once())
    }

    async fn forget_app_once(&self) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        if tx.execute(FORGET_APP, args![]).await? == 0 {
            return Ok(false);
        }
        tx.execute(FORGET_SECRETS, args![]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Forgets one secret of the webhook, which does not count from now on.
    pub async fn forget_secret(&self, mark: &str) -> Result<(), StoreError> {
        self.inner.main.execute(FORGET_SECRET, args![mark]).await.map(drop)
    }

    /// Notes a token with which an App may be registered, in place of the one that this process
    /// offered before.
    pub async fn offer_setup(&self, worker: WorkerId, mark: &str) -> Result<(), StoreError> {
        self.inner.main.execute(OFFER, args![worker, mark]).await.map(drop)
    }

    /// The marks of the tokens that were offered no longer ago than this; none once there is an App.
    pub async fn setup_offers(&self, life: Duration) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = self.inner.main.all(OFFERED, args![life]).await?;
        Ok(rows.into_iter().map(|(mark,)| mark).collect())
    }

    /// The webhook's secrets that are kept here, the oldest first.
    pub async fn webhook_secrets(&self) -> Result<Vec<SecretRow>, StoreError> {
        let rows: Vec<SecretColumns> = self.inner.main.all(SECRETS, args![]).await?;
        rows.into_iter().map(secret).collect()
    }

    /// Begins to replace the webhook's secret, or goes on: the one that is next, which is `new` unless
    /// there was one. `None` if `new` is known already, and not the next one.
    pub async fn begin_secret(&self, new: &NewSecret) -> Result<Option<SecretRow>, StoreError> {
        loop {
            let mut tx = self.begin().await?;
            let mut next: Option<SecretColumns> = tx.one(NEXT, args![]).await?;
            if next.is_none() {
                add(&mut tx, SecretState::Next, new, None).await?;
                next = tx.one(NEXT, args![]).await?;
            }
            let known: Option<(i64,)> = tx.one(KNOWN, args![new.mark.as_str()]).await?;
            tx.commit().await?;
            // Neither: somebody else's was in the way, and is not the next one any more.
            if next.is_some() || known.is_some() {
                return next.map(secret).transpose();
            }
        }
    }

    /// GitHub signs with the next secret: it is the current one. What counted before (the current
    /// one, and `given` by the settings) does for so long. False if it was not the next one any more.
    pub async fn promote_secret(
        &self,
        mark: &str,
        given: &[NewSecret],
        grace: Duration,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(REPLACE, args![grace]).await?;
        if tx.execute(PROMOTE, args![mark]).await? == 0 {
            // Somebody else did, so that what was just replaced is it: nothing of this happened.
            return Ok(false);
        }
        for one in given.iter().filter(|one| one.mark != mark) {
            add(&mut tx, SecretState::Previous, one, Some(grace)).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// A server accepts this secret.
    pub async fn hear_secret(&self, mark: &str) -> Result<(), StoreError> {
        self.inner.main.execute(HEAR, args![mark]).await.map(drop)
    }

    /// Gives up the next secret, which no server has accepted; false if one has.
    pub async fn drop_unheard_secret(&self, mark: &str) -> Result<bool, StoreError> {
        Ok(self.inner.main.execute(DROP_UNHEARD, args![mark]).await? > 0)
    }

    /// A delivery has come that was signed with this secret.
    pub async fn see_secret(&self, mark: &str) -> Result<(), StoreError> {
        self.inner.main.execute(SEE, args![mark]).await.map(drop)
    }

    /// Forgets secrets that do not count any more, but not that they were.
    pub async fn clear_secrets(&self) -> Result<(), StoreError> {
        self.inner.main.execute(CLEAR, args![]).await.map(drop)
    }
}

async fn add(
    tx: &mut Tx<'_>,
    state: SecretState,
    new: &NewSecret,
    grace: Option<Duration>,
) -> Result<(), StoreError> {
    let state = match state {
        SecretState::Next => "next",
        SecretState::Current => "current",
        SecretState::Previous => "previous",
    };
    let grace = grace.map(|grace| i64::try_from(grace.as_millis()).unwrap_or(i64::MAX / 4));
    let sealed = Bytes::copy_from_slice(&new.sealed);
    tx.execute(ADD, args![new.mark.as_str(), state, sealed, grace]).await.map(drop)
}

fn secret(row: SecretColumns) -> Result<SecretRow, StoreError> {
    let (mark, state, sealed, heard, seen, counts) = row;
    let state = match state.as_str() {
        "next" => SecretState::Next,
        "current" => SecretState::Current,
        "previous" => SecretState::Previous,
        other => {
            let why = format!("webhook_secrets.state: `{other}`");
            return Err(StoreError::Inconsistent(why));
        }
    };
    let [heard, seen, counts] = [heard, seen, counts].map(|flag| flag != 0);
    Ok(SecretRow { mark, state, sealed, heard, seen, counts })
}
