//! Webhooks as GitHub sent them, and how they were handled.

use std::time::Duration;

use bytes::Bytes;

use super::Store;
use super::error::StoreError;
use super::nudge::Topic;
use super::pool::{Rows, Tx};
use crate::domain::time::Timestamp;

/// How long a claim holds unless it is extended: as long as what a dead process held is left lying.
const TERM: Duration = Duration::from_secs(10);

/// One webhook as GitHub sent it.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// `X-GitHub-Delivery`: unique for an event, the same on redelivery.
    pub guid: String,
    pub event: String,
    pub action: Option<String>,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Fresh,
    /// Its GUID was here before; nothing was stored.
    Duplicate,
}

/// The right to handle a stored delivery.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    pub guid: String,
    pub event: String,
    pub body: Bytes,
    pub received_at: Timestamp,
    /// 1 for the first try at handling it.
    pub attempt: u32,
    pub(crate) epoch: i64,
}

/// How a delivery was handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// Acted on: what was done, in words.
    Done(String),
    /// Not for us: why.
    Ignored(String),
    /// Can never be handled: why.
    Refused(String),
    /// Try again after this long; the error of this time.
    Later(Duration, String),
}

/// A delivery as `deliveries list` and `show` print it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    pub guid: String,
    pub event: String,
    pub action: Option<String>,
    pub received_at: Timestamp,
    /// `waiting`, `done`, `ignored` or `refused`.
    pub state: String,
    pub attempt: u32,
    /// What was done, or why not.
    pub note: Option<String>,
    pub handled_at: Option<Timestamp>,
}

pub(super) const DELIVERIES: Rows = Rows {
    insert: "insert into deliveries (guid, event, action, body, received_at, due_at)",
    columns: 4,
    fixed: concat!(", ", now!(), ", ", now!()),
    rest: " on conflict (guid) do nothing returning guid",
};

macro_rules! listed {
    () => {
        "guid, event, action, received_at, state, attempt, note, handled_at"
    };
}

statements! {
    CLAIM = skip_locked!(
        concat!(
            "update deliveries set epoch = epoch + 1, attempt = attempt + 1,
                lease_until = ", now!(), " + $1
             where guid = (select guid from deliveries
                where state = 'waiting' and due_at <= ", now!(), " and lease_until <= ", now!(), "
                order by received_at, guid limit 1"
        ),
        ") returning guid, event, body, received_at, attempt, epoch"
    );
    EXTEND = sql!(
        "update deliveries set lease_until = ", now!(), " + $3
         where guid = $1 and epoch = $2 and state = 'waiting'"
    );
    SETTLE = sql!(
        "update deliveries set state = $3, note = $4, lease_until = 0, handled_at = ", now!(), "
         where guid = $1 and epoch = $2 and state = 'waiting'"
    );
    // Every check run of ours comes back as a delivery: counted, not kept.
    DROP_BODY = sql!(
        "update deliveries set body = $2 where guid = $1"
    );
    LATER = sql!(
        "update deliveries set due_at = ", now!(), " + $3, note = $4, lease_until = 0
         where guid = $1 and epoch = $2 and state = 'waiting'"
    );
    LIST = sql!(
        "select ", listed!(), " from deliveries where received_at < $1
         order by received_at desc, guid limit $2"
    );
    SHOW = sql!("select ", listed!(), " from deliveries where guid = $1");
    BODY = sql!("select body from deliveries where guid = $1");
    AGAIN = sql!(
        "update deliveries set state = 'waiting', due_at = ", now!(), ", lease_until = 0,
            epoch = epoch + 1, handled_at = null
         where guid = $1"
    );
}

type Claimed = (String, String, Vec<u8>, i64, i64, i64);
type Listed = (String, String, Option<String>, i64, String, i64, Option<String>, Option<i64>);

impl Store {
    /// Durable when it returns. Many at once share one commit.
    pub async fn take_in(&self, delivery: NewDelivery) -> Result<Taken, StoreError> {
        self.inner.intake.take_in(delivery).await
    }

    /// Waits while deliveries flood in, for a twentieth of a second at the most: their
    /// acknowledgements and the handling of earlier ones wait for the same disk.
    pub async fn calm(&self) {
        self.inner.intake.calm().await;
    }

    /// The oldest unhandled delivery that is due, leased for ten seconds.
    pub async fn claim_delivery(&self) -> Result<Option<ClaimedDelivery>, StoreError> {
        let mut tx = self.begin().await?;
        let claimed = claim(&mut tx).await?;
        tx.commit().await?;
        Ok(claimed)
    }

    /// Ten seconds more.
    pub async fn extend_delivery(&self, claim: &ClaimedDelivery) -> Result<(), StoreError> {
        let extend = args![claim.guid.as_str(), claim.epoch, TERM];
        held(self.inner.main.execute(EXTEND, extend).await?)
    }

    pub async fn settle_delivery(
        &self,
        claim: ClaimedDelivery,
        how: Handled,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        settle(&mut tx, claim, how).await?;
        tx.commit().await
    }

    /// Settles a delivery and leases the next one that is due, in one commit: under a flood, each
    /// commit is one that an acknowledgement waits for.
    pub async fn settle_and_claim_delivery(
        &self,
        claimed: ClaimedDelivery,
        how: Handled,
    ) -> Result<Option<ClaimedDelivery>, StoreError> {
        let mut tx = self.begin().await?;
        settle(&mut tx, claimed, how).await?;
        let next = claim(&mut tx).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// Deliveries received before `before` (or all), newest first.
    pub async fn deliveries(
        &self,
        before: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let before = before.map_or(i64::MAX, Timestamp::as_millis);
        let rows = self.inner.main.all(LIST, args![before, limit]).await?;
        Ok(rows.into_iter().map(listed).collect())
    }

    /// One delivery and its body; the body is empty where it was not kept.
    pub async fn delivery(&self, guid: &str) -> Result<Option<(DeliveryRow, Bytes)>, StoreError> {
        let Some(row) = self.inner.main.one(SHOW, args![guid]).await? else { return Ok(None) };
        let body: Option<(Vec<u8>,)> = self.inner.main.one(BODY, args![guid]).await?;
        Ok(Some((listed(row), body.map_or_else(Bytes::new, |(body,)| body.into()))))
    }

    /// Has a delivery handled once more, whatever became of it; false if there is none.
    pub async fn handle_again(&self, guid: &str) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let found = tx.execute(AGAIN, args![guid]).await? > 0;
        tx.nudge(Topic::Deliveries);
        tx.commit().await?;
        Ok(found)
    }
}

async fn claim(tx: &mut Tx<'_>) -> Result<Option<ClaimedDelivery>, StoreError> {
    let claimed: Option<Claimed> = tx.one(CLAIM, args![TERM]).await?;
    Ok(claimed.map(|(guid, event, body, received_at, attempt, epoch)| ClaimedDelivery {
        guid,
        event,
        body: body.into(),
        received_at: Timestamp::from_millis(received_at),
        attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
        epoch,
    }))
}

async fn settle(tx: &mut Tx<'_>, claimed: ClaimedDelivery, how: Handled) -> Result<(), StoreError> {
    let ClaimedDelivery { guid, epoch, event, .. } = claimed;
    let (state, note) = match how {
        Handled::Done(note) => ("done", note),
        Handled::Ignored(note) => ("ignored", note),
        Handled::Refused(note) => ("refused", note),
        Handled::Later(after, note) => {
            return held(tx.execute(LATER, args![guid, epoch, after, note]).await?);
        }
    };
    held(tx.execute(SETTLE, args![guid.as_str(), epoch, state, note]).await?)?;
    if state == "ignored" && matches!(event.as_str(), "check_run" | "check_suite") {
        tx.execute(DROP_BODY, args![guid, Bytes::new()]).await?;
    }
    Ok(())
}

fn listed(row: Listed) -> DeliveryRow {
    let (guid, event, action, received_at, state, attempt, note, handled_at) = row;
    DeliveryRow {
        guid,
        event,
        action,
        received_at: Timestamp::from_millis(received_at),
        state,
        attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
        note,
        handled_at: handled_at.map(Timestamp::from_millis),
    }
}

/// A fenced write must have touched its row.
pub(super) fn held(rows: u64) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::LeaseLost) } else { Ok(()) }
}
