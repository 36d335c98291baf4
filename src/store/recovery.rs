//! Events that GitHub's delivery log knows and that never came, and how far the log was read.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Store;
use super::error::StoreError;
use super::rows::{count, from_json, number, parse, to_json};
use crate::domain::names::Sha;
use crate::domain::recovery::{Attempt, AttemptEnd, PullKnown};
use crate::domain::time::Timestamp;

/// How far GitHub's log was read. Times are GitHub's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMark {
    /// What was acknowledged before was acknowledged by another database.
    pub since: Timestamp,
    /// All that was delivered before this was looked at.
    pub read_to: Timestamp,
    /// A look under way: when it began, and the page that is next.
    pub reading: Option<(Timestamp, String)>,
    /// Of that look: when the oldest attempt was sent whose end was yet to be seen.
    pub pending: Option<Timestamp>,
}

/// An event that never came.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MissingRow {
    pub guid: String,
    /// GitHub's number of its newest attempt.
    pub attempt: u64,
    pub event: String,
    pub action: Option<String>,
    pub delivered_at: Timestamp,
    /// Why it did not come, as GitHub's log says it.
    pub failure: String,
    /// `missing`, `came` or `given_up`.
    pub state: String,
    /// How often it was asked for.
    pub asked: u32,
    /// Why it was given up.
    pub note: Option<String>,
}

macro_rules! missing_columns {
    () => {
        "guid, attempt, event, action, delivered_at, failure, state, asked, note"
    };
}

statements! {
    MARK = sql!(
        "select since, read_to, reading_from, next_page, pending from recovery where name = 'log'"
    );
    OLDEST = sql!("select received_at from deliveries order by received_at limit 1");
    BEGIN = sql!(
        "insert into recovery (name, since, read_to) values ('log', $1, $2)
         on conflict (name) do nothing"
    );
    SET_MARK = sql!(
        "update recovery set read_to = $1, reading_from = cast($2 as bigint), next_page = $3,
            pending = cast($4 as bigint)
         where name = 'log'"
    );
    COUNT_CALLS = sql!("update recovery set calls = calls + $1 where name = 'log'");
    HELD = super::pool::Sql::pair(
        "select guid from deliveries where guid in (select value from json_each($1))",
        "select guid from deliveries
         where guid in (select json_array_elements_text(cast(cast($1 as text) as json)))",
    );
    // One that came and is missing again was lost with a part of the database.
    NOTE = sql!(
        "insert into missing (guid, attempt, event, action, delivered_at, failure, seen_at, due_at)
         values ($1, $2, $3, $4, $5, $6, ", now!(), ", ", now!(), ")
         on conflict (guid) do update set attempt = excluded.attempt, failure = excluded.failure,
            delivered_at = excluded.delivered_at,
            state = case when missing.state = 'came' then 'missing' else missing.state end
         where missing.attempt < excluded.attempt"
    );
    CAME = sql!(
        "update missing set state = 'came' where state <> 'came'
            and exists (select 1 from deliveries d where d.guid = missing.guid)"
    );
    DUE = sql!(
        "select ", missing_columns!(), " from missing where state = 'missing' and due_at <= ", now!(), "
         order by delivered_at, guid limit $1"
    );
    ASKED = sql!(
        "update missing set asked = asked + 1, due_at = ", now!(), " + $2
         where guid = $1 and state = 'missing'"
    );
    ANEW = sql!(
        "update missing set state = 'missing', asked = 0, note = null, seen_at = ", now!(), ",
            due_at = ", now!(), "
         where guid = $1 and state <> 'came'"
    );
    GIVE_UP = sql!(
        "update missing set state = 'given_up', note = $2 where guid = $1 and state = 'missing'"
    );
    GIVE_UP_OLD = sql!(
        "update missing set state = 'given_up', note = $2 || failure
         where state = 'missing' and asked > 0 and seen_at <= ", now!(), " - $1
         returning ", missing_columns!()
    );
    LIST = sql!(
        "select ", missing_columns!(), " from missing where state <> 'came'
         order by delivered_at desc, guid limit $1"
    );
    SHOW = sql!("select ", missing_columns!(), " from missing where guid = $1");
    FORGET = sql!("delete from missing where seen_at < ", now!(), " - $1");
    COMMENTS_READ_TO = sql!("select comments_read_to from repositories where id = $1");
    READ_COMMENTS_TO = sql!(
        "update repositories set comments_read_to = $2
         where id = $1 and coalesce(comments_read_to, 0) < $2"
    );
    FORGET_COMMENTS = sql!(
        "update repositories set comments_read_to = null where id = $1 and comments_read_to is not null"
    );
    KNOWN = sql!(
        "select facts, own_head from pulls where repository_id = $1 and number = $2"
    );
    RUNNING = sql!(
        "select distinct r.pull, p.facts from runs r
            join pulls p on p.repository_id = r.repository_id and p.number = r.pull
         where r.repository_id = $1 and r.state <> 'concluded' order by r.pull"
    );
}

type Mark = (i64, i64, Option<i64>, Option<String>, Option<i64>);
type Columns = (String, i64, String, Option<String>, i64, String, String, i64, Option<String>);

impl Store {
    /// How far the log was read; `None` before the first look.
    pub async fn log_mark(&self) -> Result<Option<LogMark>, StoreError> {
        let mark: Option<Mark> = self.inner.main.one(MARK, args![]).await?;
        Ok(mark.map(|(since, read_to, reading_from, next_page, pending)| LogMark {
            since: Timestamp::from_millis(since),
            read_to: Timestamp::from_millis(read_to),
            reading: reading_from.map(Timestamp::from_millis).zip(next_page),
            pending: pending.map(Timestamp::from_millis),
        }))
    }

    /// The first look, which goes back to `from`. What was acknowledged before our oldest delivery was
    /// acknowledged by another database.
    pub async fn begin_log(&self, from: Timestamp, now: Timestamp) -> Result<LogMark, StoreError> {
        let oldest: Option<(i64,)> = self.inner.main.one(OLDEST, args![]).await?;
        let since = oldest.map_or(now.as_millis(), |(oldest,)| oldest.min(now.as_millis()));
        self.inner.main.execute(BEGIN, args![since, from]).await?;
        let mark = self.log_mark().await?;
        mark.ok_or_else(|| StoreError::Inconsistent("there is no mark of the log".to_owned()))
    }

    pub async fn set_log_mark(&self, mark: &LogMark) -> Result<(), StoreError> {
        let (from, page) = match &mark.reading {
            Some((from, page)) => (Some(*from), Some(page.as_str())),
            None => (None, None),
        };
        let mark = args![mark.read_to, from, page, mark.pending];
        self.inner.main.execute(SET_MARK, mark).await.map(drop)
    }

    /// So many calls more were spent on recovery.
    pub async fn count_recovery_calls(&self, calls: u64) -> Result<(), StoreError> {
        self.inner.main.execute(COUNT_CALLS, args![calls]).await.map(drop)
    }

    /// Which of these are here.
    pub async fn held(&self, guids: &BTreeSet<&str>) -> Result<BTreeSet<String>, StoreError> {
        let rows: Vec<(String,)> = self.inner.main.all(HELD, args![to_json(guids)?]).await?;
        Ok(rows.into_iter().map(|(guid,)| guid).collect())
    }

    /// Notes events that never came; answers how many were not noted before, or failed once more.
    pub async fn note_missing(&self, attempts: &[Attempt]) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let mut noted = 0;
        for attempt in attempts {
            let failure = match &attempt.end {
                AttemptEnd::Failed(words) => words.as_str(),
                AttemptEnd::Acknowledged | AttemptEnd::UnderWay => "acknowledged, and not here",
            };
            let row = args![
                attempt.guid.as_str(),
                attempt.id,
                attempt.event.as_str(),
                attempt.action.as_deref(),
                attempt.delivered_at,
                failure,
            ];
            noted += tx.execute(NOTE, row).await?;
        }
        tx.commit().await?;
        Ok(noted)
    }

    /// What was missing and is here is not asked for any more; answers how many those are.
    pub async fn note_came(&self) -> Result<u64, StoreError> {
        self.inner.main.execute(CAME, args![]).await
    }

    /// Missing events that may be asked for now, oldest first.
    pub async fn due_missing(&self, limit: u32) -> Result<Vec<MissingRow>, StoreError> {
        let rows = self.inner.main.all(DUE, args![limit]).await?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// It was asked for, and is not before `wait` is over.
    pub async fn note_asked(&self, guid: &str, wait: Duration) -> Result<(), StoreError> {
        self.inner.main.execute(ASKED, args![guid, wait]).await.map(drop)
    }

    /// Asked for from the beginning, also if it was given up.
    pub async fn ask_again(&self, guid: &str) -> Result<(), StoreError> {
        self.inner.main.execute(ANEW, args![guid]).await.map(drop)
    }

    pub async fn give_up(&self, guid: &str, why: &str) -> Result<(), StoreError> {
        self.inner.main.execute(GIVE_UP, args![guid, why]).await.map(drop)
    }

    /// Gives up what was asked for in vain for so long, since it was first missed or somebody wanted
    /// it again; answers those. The reason is `why`, and how the last attempt failed.
    pub async fn give_up_old(
        &self,
        asked_for: Duration,
        why: &str,
    ) -> Result<Vec<MissingRow>, StoreError> {
        let mut tx = self.begin().await?;
        let rows = tx.all(GIVE_UP_OLD, args![asked_for, why]).await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// Events that never came, and those that were given up; newest first.
    pub async fn missing(&self, limit: u32) -> Result<Vec<MissingRow>, StoreError> {
        let rows = self.inner.main.all(LIST, args![limit]).await?;
        Ok(rows.into_iter().map(row).collect())
    }

    /// What is known of an event that was missing once.
    pub async fn missing_one(&self, guid: &str) -> Result<Option<MissingRow>, StoreError> {
        Ok(self.inner.main.one(SHOW, args![guid]).await?.map(row))
    }

    pub(super) async fn forget_missing(&self, older_than: Duration) -> Result<(), StoreError> {
        self.inner.main.execute(FORGET, args![older_than]).await.map(drop)
    }

    /// Up to when what people said in a repository has been looked at, by GitHub's clock; `None` before
    /// the first look.
    pub async fn comments_read_to(&self, repository: u64) -> Result<Option<Timestamp>, StoreError> {
        let row: Option<(Option<i64>,)> =
            self.inner.main.one(COMMENTS_READ_TO, args![repository]).await?;
        Ok(row.and_then(|(read_to,)| read_to).map(Timestamp::from_millis))
    }

    /// Goes on from here with the next look; never back.
    pub async fn read_comments_to(&self, repository: u64, to: Timestamp) -> Result<(), StoreError> {
        self.inner.main.execute(READ_COMMENTS_TO, args![repository, to]).await.map(drop)
    }

    /// Nobody listens there for now: what is said meanwhile is said to others.
    pub async fn stop_reading_comments(&self, repository: u64) -> Result<(), StoreError> {
        self.inner.main.execute(FORGET_COMMENTS, args![repository]).await.map(drop)
    }

    /// A pull request as it was seen last, with the head of its own run.
    pub async fn pull_known(
        &self,
        repository: u64,
        number: u64,
    ) -> Result<Option<PullKnown>, StoreError> {
        let row: Option<(String, Option<String>)> =
            self.inner.main.one(KNOWN, args![repository, number]).await?;
        let Some((facts, own_head)) = row else { return Ok(None) };
        let own_head = own_head.map(|head| parse::<Sha>("pulls.own_head", &head)).transpose()?;
        Ok(Some(PullKnown { facts: from_json("pulls.facts", &facts)?, own_head }))
    }

    /// The repository's pull requests that have something which has not concluded.
    pub async fn pulls_running(&self, repository: u64) -> Result<Vec<PullKnown>, StoreError> {
        let rows: Vec<(i64, String)> = self.inner.main.all(RUNNING, args![repository]).await?;
        let known = |(_, facts): (i64, String)| {
            Ok(PullKnown { facts: from_json("pulls.facts", &facts)?, own_head: None })
        };
        rows.into_iter().map(known).collect()
    }
}

fn row(columns: Columns) -> MissingRow {
    let (guid, attempt, event, action, delivered_at, failure, state, asked, note) = columns;
    MissingRow {
        guid,
        attempt: number(attempt),
        event,
        action,
        delivered_at: Timestamp::from_millis(delivered_at),
        failure,
        state,
        asked: count(asked),
        note,
    }
}
