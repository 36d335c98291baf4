//! Webhooks as GitHub sent them, and how they were handled.

use std::time::Duration;

use bytes::Bytes;

use super::Store;
use super::error::StoreError;
use super::nudge::Topic;
use super::pool::{Rows, Tx};
use super::rows::{count, number};
use crate::domain::event::is_acted_on;
use crate::domain::recovery::HANDLING;
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
    /// The headers that GitHub sent with it, as a JSON object; the signatures are not among them.
    pub headers: Option<String>,
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
    pub action: Option<String>,
    pub body: Bytes,
    pub received_at: Timestamp,
    /// 1 for the first try at handling it.
    pub attempt: u32,
    /// Did somebody have it handled again?
    pub again: bool,
    pub(crate) epoch: i64,
}

/// Which of the deliveries that are due.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// Without any that somebody had handled again.
    pub fresh: bool,
    /// Without those that somebody had handled again, and that are known to wait for one of these
    /// installations ([`Handled::GivesWay`]).
    pub short: Vec<u64>,
    /// Without those that are known to wait for one of these ([`Handled::Held`]).
    pub held: Vec<u64>,
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
    /// Somebody had it handled again, and it waits until this installation may ask GitHub for more. That
    /// was no try.
    GivesWay(u64),
    /// This installation has asked GitHub for as much as it may for now, which is over in seconds. That was
    /// no try either.
    Held(u64),
}

/// A delivery as `deliveries list` and `show` print it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
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
    /// The version of handling by which it was handled last; absent until it is.
    pub handled_by: Option<u32>,
    /// Of the body as it is kept: that of what is only counted is not.
    pub bytes: u64,
}

/// A delivery with its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub row: DeliveryRow,
    /// A JSON object; absent for what came before they were kept.
    pub headers: Option<String>,
    /// Empty where it was not kept.
    pub body: Bytes,
    /// Who had it handled again, newest first.
    pub again: Vec<HandledAgain>,
}

/// Deliveries of a class. What is absent does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryQuery {
    pub event: Option<String>,
    pub action: Option<String>,
    /// `waiting`, `done`, `ignored` or `refused`.
    pub outcome: Option<String>,
    /// Received at this time or later.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// Handled by a version of handling that is older than this.
    pub handled_before: Option<u32>,
    /// What comes after this one in the order of a list: when it was received, and its GUID.
    pub after: Option<(Timestamp, String)>,
}

/// Somebody had a delivery handled once more.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HandledAgain {
    pub at: Timestamp,
    pub actor: String,
    /// By which way: `command` or `page`.
    pub route: String,
}

pub(super) const DELIVERIES: Rows = Rows {
    insert: "insert into deliveries
        (guid, event, action, headers, body, place, received_at, due_at)",
    columns: 6,
    fixed: concat!(", ", now!(), ", ", now!()),
    rest: " on conflict (guid) do nothing returning guid, received_at",
};

macro_rules! listed {
    () => {
        "guid, event, action, received_at, state, attempt, note, handled_at,
            case when handled_at is not null then coalesce(handled_by, 1) end,
            cast(length(body) as bigint)"
    };
}

/// A [`DeliveryQuery`] as a condition on the values $1 to $8.
macro_rules! of_class {
    () => {
        "($1 = '' or event = $1) and ($2 = '' or action = $2) and ($3 = '' or state = $3)
            and received_at >= $4 and received_at < $5
            and ($6 = 0 or (state <> 'waiting' and coalesce(handled_by, 1) < $6))
            and (received_at < $7 or (received_at = $7 and guid > $8))"
    };
}

/// So many of them are asked for in one transaction.
const TOGETHER: usize = 500;

statements! {
    // Of what waits, the place of the one that came last; and the time.
    LAST_PLACE = sql!(
        "select (select coalesce(max(place), 0) from deliveries where state = 'waiting'), ", now!()
    );
    // What is handled again (1) is older than what comes now (0), and can wait for it; what gives way (2) is
    // come by when there is nothing else.
    CLAIM = skip_locked!(
        concat!(
            "update deliveries set epoch = epoch + 1, attempt = attempt + 1,
                lease_until = ", now!(), " + $1
             where guid = (select guid from deliveries
                where state = 'waiting' and due_at <= ", now!(), " and lease_until <= ", now!(), "
                    and again <= $2
                    and (held_for is null or $3 not like '%,' || held_for || ',%')
                order by again, place, received_at, guid limit 1"
        ),
        ") returning guid, event, action, body, received_at, attempt, epoch, again"
    );
    EXTEND = sql!(
        "update deliveries set lease_until = ", now!(), " + $3
         where guid = $1 and epoch = $2 and state = 'waiting'"
    );
    SETTLE = sql!(
        "update deliveries set state = $3, note = $4, lease_until = 0, handled_by = $5,
            handled_at = ", now!(), "
         where guid = $1 and epoch = $2 and state = 'waiting'"
    );
    // Every check run of ours comes back as a delivery: counted, not kept. What somebody pressed is
    // kept as all else is, so that it can be handled again.
    DROP_BODY = sql!(
        "update deliveries set body = $2 where guid = $1"
    );
    LATER = sql!(
        "update deliveries set due_at = ", now!(), " + $3, note = $4, lease_until = 0
         where guid = $1 and epoch = $2 and state = 'waiting'"
    );
    GIVE_WAY = sql!(
        "update deliveries set again = 2, held_for = $3, note = $4, attempt = attempt - 1,
            lease_until = 0
         where guid = $1 and epoch = $2 and state = 'waiting'"
    );
    // In its turn, as soon as its installation may ask.
    HOLD = sql!(
        "update deliveries set held_for = $3, note = $4, attempt = attempt - 1, lease_until = 0
         where guid = $1 and epoch = $2 and state = 'waiting'"
    );
    LIST = sql!(
        "select ", listed!(), " from deliveries where ", of_class!(), "
         order by received_at desc, guid limit $9"
    );
    CLASS = sql!(
        "select guid from deliveries where ", of_class!(), " order by received_at, guid"
    );
    SHOW = sql!("select ", listed!(), " from deliveries where guid = $1");
    CONTENT = sql!("select body, headers from deliveries where guid = $1");
    // Its tries are counted anew: it may have been given up. One that was not handled yet is handled for
    // the first time.
    AGAIN = sql!(
        "update deliveries set state = 'waiting', due_at = ", now!(), ", lease_until = 0,
            epoch = epoch + 1, attempt = 0, handled_at = null,
            again = case when state = 'waiting' then again else 1 end
         where guid = $1"
    );
    NOTE_AGAIN = sql!(
        "insert into handled_again (id, guid, at, actor, route)
         values ($1, $2, ", now!(), ", $3, $4)"
    );
    ALL_AGAIN = sql!(
        "select at, actor, route from handled_again where guid = $1 order by at desc, id desc
         limit 50"
    );
    FORGET_AGAIN = sql!("delete from handled_again where at < ", now!(), " - $1");
}

type Claimed = (String, String, Option<String>, Vec<u8>, i64, i64, i64, i64);
type Listed = (
    String,
    String,
    Option<String>,
    i64,
    String,
    i64,
    Option<String>,
    Option<i64>,
    Option<i64>,
    i64,
);

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

    /// The oldest unhandled delivery that is due, leased for ten seconds. Those that are handled again
    /// come after all others.
    pub async fn claim_delivery(&self) -> Result<Option<ClaimedDelivery>, StoreError> {
        self.claim_delivery_of(Due::default()).await
    }

    /// The same, of some alone.
    pub async fn claim_delivery_of(&self, due: Due) -> Result<Option<ClaimedDelivery>, StoreError> {
        let mut tx = self.begin().await?;
        let claimed = claim(&mut tx, due).await?;
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
        next: Due,
    ) -> Result<Option<ClaimedDelivery>, StoreError> {
        let mut tx = self.begin().await?;
        settle(&mut tx, claimed, how).await?;
        let next = claim(&mut tx, next).await?;
        tx.commit().await?;
        Ok(next)
    }

    /// Deliveries of a class, newest first.
    pub async fn deliveries(
        &self,
        query: &DeliveryQuery,
        limit: u32,
    ) -> Result<Vec<DeliveryRow>, StoreError> {
        let mut args = of_class(query);
        args.extend(args![limit]);
        let rows = self.inner.main.all(LIST, args).await?;
        Ok(rows.into_iter().map(listed).collect())
    }

    /// The GUIDs of a class, in the order in which they came.
    pub async fn delivery_class(&self, query: &DeliveryQuery) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = self.inner.main.all(CLASS, of_class(query)).await?;
        Ok(rows.into_iter().map(|(guid,)| guid).collect())
    }

    /// One delivery with its content.
    pub async fn delivery(&self, guid: &str) -> Result<Option<Delivery>, StoreError> {
        let mut tx = self.snapshot().await?;
        let Some(row) = tx.one(SHOW, args![guid]).await? else { return Ok(None) };
        let content: Option<(Vec<u8>, Option<String>)> = tx.one(CONTENT, args![guid]).await?;
        let (body, headers) = content.unwrap_or_default();
        let again: Vec<(i64, String, String)> = tx.all(ALL_AGAIN, args![guid]).await?;
        let again = again.into_iter().map(|(at, actor, route)| HandledAgain {
            at: Timestamp::from_millis(at),
            actor,
            route,
        });
        Ok(Some(Delivery { row: listed(row), headers, body: body.into(), again: again.collect() }))
    }

    /// Has deliveries handled once more, whatever became of them, and writes down who asked for it;
    /// answers those that there are. What was done for one is not done again: everything that
    /// handling does has its cause.
    pub async fn handle_again(
        &self,
        guids: &[String],
        by: (&str, &str),
    ) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        for some in guids.chunks(TOGETHER) {
            self.handle_some_again(some, by, &mut found).await?;
        }
        Ok(found)
    }

    /// In one transaction, which is not so long that webhooks wait for it.
    async fn handle_some_again(
        &self,
        guids: &[String],
        (actor, route): (&str, &str),
        found: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for guid in guids {
            if tx.execute(AGAIN, args![guid.as_str()]).await? == 0 {
                continue;
            }
            let id = crate::ambient::ulid().to_string();
            tx.execute(NOTE_AGAIN, args![id, guid.as_str(), actor, route]).await?;
            found.push(guid.clone());
        }
        tx.nudge(Topic::Deliveries);
        tx.commit().await
    }

    pub(super) async fn forget_handled_again(
        &self,
        older_than: Duration,
    ) -> Result<(), StoreError> {
        self.inner.main.execute(FORGET_AGAIN, args![older_than]).await.map(drop)
    }
}

/// The values of [`of_class!`].
fn of_class(query: &DeliveryQuery) -> Vec<super::arg::Arg> {
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let (after, guid) = match &query.after {
        Some((at, guid)) => (at.as_millis(), guid.clone()),
        None => (i64::MAX, String::new()),
    };
    args![
        text(query.event.as_ref()),
        text(query.action.as_ref()),
        text(query.outcome.as_ref()),
        query.since.map_or(0, Timestamp::as_millis),
        query.until.map_or(i64::MAX, Timestamp::as_millis),
        i64::from(query.handled_before.unwrap_or(0)),
        after,
        guid,
    ]
}

async fn claim(tx: &mut Tx<'_>, due: Due) -> Result<Option<ClaimedDelivery>, StoreError> {
    let again = if due.fresh { 0_i64 } else { 2 };
    let short = due.short.iter().map(u64::to_string);
    let without = short.chain(due.held.iter().map(|one| held_for(*one)));
    let without = without.fold(String::from(","), |list, one| format!("{list}{one},"));
    let claimed: Option<Claimed> = tx.one(CLAIM, args![TERM, again, without]).await?;
    Ok(claimed.map(|(guid, event, action, body, received_at, attempt, epoch, again)| {
        ClaimedDelivery {
            guid,
            event,
            action,
            body: body.into(),
            received_at: Timestamp::from_millis(received_at),
            attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
            again: again != 0,
            epoch,
        }
    }))
}

async fn settle(tx: &mut Tx<'_>, claimed: ClaimedDelivery, how: Handled) -> Result<(), StoreError> {
    let ClaimedDelivery { guid, epoch, event, action, .. } = claimed;
    let (state, note) = match how {
        Handled::Done(note) => ("done", note),
        Handled::Ignored(note) => ("ignored", note),
        Handled::Refused(note) => ("refused", note),
        Handled::Later(after, note) => {
            return held(tx.execute(LATER, args![guid, epoch, after, note]).await?);
        }
        Handled::GivesWay(installation) => {
            let note = "waits: what it would ask of GitHub is left to what comes now";
            let args = args![guid, epoch, installation.to_string(), note];
            return held(tx.execute(GIVE_WAY, args).await?);
        }
        Handled::Held(installation) => {
            let note = "waits: its installation has asked GitHub for all that it may for now";
            return held(tx.execute(HOLD, args![guid, epoch, held_for(installation), note]).await?);
        }
    };
    held(tx.execute(SETTLE, args![guid.as_str(), epoch, state, note, HANDLING]).await?)?;
    let of_checks = matches!(event.as_str(), "check_run" | "check_suite");
    if state == "ignored" && of_checks && !is_acted_on(&event, action.as_deref()) {
        tx.execute(DROP_BODY, args![guid, Bytes::new()]).await?;
    }
    Ok(())
}

/// What waits for an installation's points: another wait than one for half of its hour.
fn held_for(installation: u64) -> String {
    format!("points of {installation}")
}

fn listed(row: Listed) -> DeliveryRow {
    let (guid, event, action, received_at, state, attempt, note, handled_at, handled_by, bytes) =
        row;
    DeliveryRow {
        guid,
        event,
        action,
        received_at: Timestamp::from_millis(received_at),
        state,
        attempt: u32::try_from(attempt).unwrap_or(u32::MAX),
        note,
        handled_at: handled_at.map(Timestamp::from_millis),
        handled_by: handled_by.map(count),
        bytes: number(bytes),
    }
}

/// A fenced write must have touched its row.
pub(super) fn held(rows: u64) -> Result<(), StoreError> {
    if rows == 0 { Err(StoreError::LeaseLost) } else { Ok(()) }
}
