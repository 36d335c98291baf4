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
    /// The registered App whose it is; `None`: that of the settings.
    pub app: Option<String>,
}

/// A secret of the settings that a server accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenSecret {
    pub mark: String,
    /// Is it meant to follow the one that GitHub signs with now?
    pub next: bool,
}

/// How often a server says which secrets its settings hold, and how long that is believed.
pub const SAID_EVERY: Duration = Duration::from_mins(10);
const BELIEVED: Duration = Duration::from_mins(30);

/// Of an App that is not the one that is registered.
macro_rules! another_apps {
    () => {
        "coalesce(app_id, '') <> coalesce((select app_id from apps), '')"
    };
}

macro_rules! secret_columns {
    () => {
        concat!(
            "mark, state, sealed, cast(case when heard_at is null then 0 else 1 end as bigint),
             cast(case when seen_at is null then 0 else 1 end as bigint),
             cast(case when accepted_until <= ",
            now!(),
            " or ",
            another_apps!(),
            " then 0 else 1 end as bigint), app_id"
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
        "insert into webhook_secrets (mark, state, sealed, since, accepted_until, app_id)
         values ($1, $2, $3, ", now!(), ", ", now!(), " + $4, (select app_id from apps))
         on conflict do nothing"
    );
    REPLACE = sql!(
        "update webhook_secrets set state = 'previous', accepted_until = ", now!(), " + $1
         where state = 'current'"
    );
    // Of which no more is known than that servers accept them.
    RETIRE = sql!(
        "insert into webhook_secrets (mark, state, since, accepted_until, app_id)
         select mark, 'previous', ", now!(), ", ", now!(), " + $1, (select app_id from apps)
         from given_secrets where which = 'current' and said_at > ", now!(), " - $2
         on conflict do nothing"
    );
    SAY = sql!(
        "insert into given_secrets (mark, which, said_at) values ($1, $2, ", now!(), ")
         on conflict (mark) do update set which = excluded.which, said_at = excluded.said_at"
    );
    SAID = sql!(
        "select mark, which from given_secrets where said_at > ", now!(), " - $1 order by mark"
    );
    END_SAID = sql!("delete from given_secrets where said_at <= ", now!(), " - $1");
    DISOWN = sql!(
        "insert into foreign_secrets (mark, app_id) select $1, app_id from apps where one = 1
         on conflict do nothing"
    );
    // Also those of servers that die before they can say so themselves, however long ago they spoke of
    // them: no secret that stood in a setting is that of an App which is only being registered.
    DISOWN_SAID = sql!(
        "insert into foreign_secrets (mark, app_id)
         select given_secrets.mark, apps.app_id from given_secrets, apps where apps.one = 1
         on conflict do nothing"
    );
    FOREIGN = sql!(
        "select mark, app_id from foreign_secrets where app_id = (select app_id from apps)
            and mark not in (select mark from webhook_secrets) order by mark"
    );
    // Of another App: however it came here, it does not count.
    END_FOREIGN = sql!(
        "delete from webhook_secrets where state = 'previous' and mark in
            (select mark from foreign_secrets where app_id = (select app_id from apps))"
    );
    FORGET_FOREIGN = sql!("delete from foreign_secrets");
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
    // A `rotate-webhook-secret` that is older than `app_id` says of no App whose secret it keeps: it counts
    // for none, and is that command's to give up.
    CLEAR = sql!(
        "update webhook_secrets set sealed = null
         where sealed is not null and (accepted_until <= ", now!(), "
            or (app_id is not null and ", another_apps!(), "))"
    );
}

type AppColumns = (String, String, String, String, Vec<u8>);
type SecretColumns = (String, String, Option<Vec<u8>>, i64, i64, i64, Option<String>);

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
    /// and nothing is kept, if there is one already. What is kept of another App's secrets does not
    /// count from now on, nor do these `foreign` ones, which settings hold, and those that servers spoke of.
    pub async fn keep_app(
        &self,
        app: &StoredApp,
        secret: &NewSecret,
        foreign: &[String],
    ) -> Result<bool, StoreError> {
        retried!(self.keep_app_once(app, secret, foreign))
    }

    async fn keep_app_once(
        &self,
        app: &StoredApp,
        new: &NewSecret,
        foreign: &[String],
    ) -> Result<bool, StoreError> {
        let StoredApp { app_id, slug, url, client_id, sealed } = app;
        let mut tx = self.begin().await?;
        let sealed = Bytes::copy_from_slice(sealed);
        let words = [app_id, slug, url, client_id].map(String::as_str);
        let values = args![words[0], words[1], words[2], words[3], sealed];
        if tx.execute(KEEP_APP, values).await? == 0 {
            return Ok(false);
        }
        tx.execute(FORGET_SECRETS, args![]).await?;
        for mark in foreign {
            tx.execute(DISOWN, args![mark.as_str()]).await?;
        }
        tx.execute(DISOWN_SAID, args![]).await?;
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
        tx.execute(FORGET_FOREIGN, args![]).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The same of `foreign` secrets that a server's settings held while the App was being registered.
    pub async fn disown_secrets(&self, foreign: &[String]) -> Result<(), StoreError> {
        for mark in foreign {
            self.inner.main.execute(DISOWN, args![mark.as_str()]).await?;
        }
        Ok(())
    }

    /// A server says which secrets its settings hold.
    pub async fn say_given_secrets(&self, given: &[GivenSecret]) -> Result<(), StoreError> {
        self.inner.main.execute(END_SAID, args![BELIEVED]).await?;
        for GivenSecret { mark, next } in given {
            let which = if *next { "next" } else { "current" };
            self.inner.main.execute(SAY, args![mark.as_str(), which]).await?;
        }
        Ok(())
    }

    /// The secrets that the settings of servers hold which run now, as they said.
    pub async fn given_secrets(&self) -> Result<Vec<GivenSecret>, StoreError> {
        let rows: Vec<(String, String)> = self.inner.main.all(SAID, args![BELIEVED]).await?;
        let given = |(mark, which): (String, String)| GivenSecret { mark, next: which == "next" };
        Ok(rows.into_iter().map(given).collect())
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

    /// The webhook's secrets that are kept here, the oldest first; after them those that are known not
    /// to be the App's, as such that were replaced.
    pub async fn webhook_secrets(&self) -> Result<Vec<SecretRow>, StoreError> {
        let mut tx = self.snapshot().await?;
        let rows: Vec<SecretColumns> = tx.all(SECRETS, args![]).await?;
        let foreign: Vec<(String, String)> = tx.all(FOREIGN, args![]).await?;
        let foreign = foreign.into_iter().map(|(mark, app)| SecretRow {
            mark,
            state: SecretState::Previous,
            sealed: None,
            heard: false,
            seen: false,
            counts: false,
            app: Some(app),
        });
        rows.into_iter().map(secret).chain(foreign.map(Ok)).collect()
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
    /// one, and `given` by the settings, the caller's or those that servers spoke of) does for so long.
    /// False if it was not the next one any more.
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
        tx.execute(RETIRE, args![grace, BELIEVED]).await?;
        tx.execute(END_FOREIGN, args![]).await?;
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
    let (mark, state, sealed, heard, seen, counts, app) = row;
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
    Ok(SecretRow { mark, state, sealed, heard, seen, counts, app })
}
