//! Check runs of ours, as GitHub last acknowledged them.

use std::time::Duration;

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::Store;
use super::arg::Arg;
use super::budgets::Wish;
use super::deliveries::held;
use super::error::StoreError;
use super::pool::Tx;
use super::rows::{number, parse};
use super::settle::raise_head;
use crate::domain::check::ShownCheck;
use crate::domain::detail::{Detail, Room};
use crate::domain::ids::CheckId;
use crate::domain::names::Sha;
use crate::domain::parties::Whose;
use crate::domain::run::{Repository, Run};
use crate::domain::time::Timestamp;

/// A check run of ours, as GitHub last acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRecord {
    /// `external_id`: made per create intent and stored before the call.
    pub id: CheckId,
    pub name: String,
    /// Which run (or other occasion) it was made for: a new occasion means a new check run.
    pub occasion: String,
    /// GitHub's id; `None` while the outcome of the create call is unknown.
    pub github_id: Option<u64>,
    /// Digest of what GitHub acknowledged last.
    pub digest: Option<String>,
    /// Was `completed` acknowledged?
    pub completed: bool,
    pub created_at: Timestamp,
    /// When GitHub was last asked to make it; `None`: never, so that it can't exist.
    pub begun_at: Option<Timestamp>,
    /// When GitHub last acknowledged something of it.
    pub told_at: Option<Timestamp>,
    /// The status or conclusion that it acknowledged.
    pub shown: Option<String>,
    pub annotated: Annotated,
    /// By which name GitHub does not let it be called.
    pub refused_name: Option<RefusedName>,
}

/// A name that GitHub does not let a check run be called by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedName {
    pub name: String,
    /// When it may be asked for again; `None`: never.
    pub until: Option<Timestamp>,
}

impl CheckRecord {
    /// Nothing is known of it at GitHub yet.
    pub fn new(id: CheckId, name: &str, occasion: &str, created_at: Timestamp) -> Self {
        Self {
            id,
            name: name.to_owned(),
            occasion: occasion.to_owned(),
            github_id: None,
            digest: None,
            completed: false,
            created_at,
            begun_at: None,
            told_at: None,
            shown: None,
            annotated: Annotated::default(),
            refused_name: None,
        }
    }

    /// Since when GitHub has it at the latest: when it last acknowledged something of it, if that is known.
    pub fn known_since(&self) -> Timestamp {
        self.told_at.unwrap_or(self.created_at)
    }

    /// May GitHub have it? It may not, if it was never asked.
    pub fn may_exist(&self) -> bool {
        self.github_id.is_some() || self.begun_at.is_some()
    }
}

/// How many of a check run's annotations GitHub has, in their order: of its occasion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotated {
    /// Acknowledged.
    pub sent: u64,
    /// More than that while a request is on its way, or its outcome is unknown.
    pub intended: u64,
    /// When it was intended.
    pub since: Option<Timestamp>,
    /// How many it has of earlier occasions, which GitHub keeps; `None`: that is to be counted before
    /// any of this one is sent.
    pub before: Option<u64>,
}

impl Annotated {
    /// Must GitHub be asked how many it has?
    pub fn is_uncertain(&self) -> bool {
        self.intended != self.sent || self.before.is_none()
    }
}

impl Default for Annotated {
    fn default() -> Self {
        Self { sent: 0, intended: 0, since: None, before: Some(0) }
    }
}

/// The right to publish a head commit's check runs. Made by [`Store::claim_head`] alone.
#[derive(Debug)]
pub struct ClaimedHead {
    pub repository: Repository,
    pub head_sha: Sha,
    /// All runs of this head, oldest first.
    pub runs: Vec<Run>,
    /// All check runs that we made on it, oldest first.
    pub checks: Vec<CheckRecord>,
    /// Who had it as a head and has not any more, the last one last.
    pub gone: Vec<Whose>,
    /// Since when GitHub refuses something of it.
    pub refused_since: Option<Timestamp>,
    /// How finely it was shown last.
    pub detail: Option<Detail>,
    /// What the hour leaves for its details.
    pub room: Room,
    /// How many writes could be made at once.
    pub spare: u32,
    /// The database's time of the claim.
    pub now: Timestamp,
    pub(crate) version: i64,
    pub(crate) epoch: i64,
}

macro_rules! check_columns {
    () => {
        "id, name, occasion, github_id, digest, completed, created_at, begun_at, told_at, shown,
         annotated, annotating, annotating_since, annotated_before, head_sha, refused_name,
         refused_name_until from checks"
    };
}

statements! {
    // Also extends the lease: publishing goes on.
    FENCE = sql!(
        "update heads set lease_until = ", now!(), " + term
         where repository_id = $1 and head_sha = $2 and epoch = $3"
    );
    // An intent that was in doubt for long enough is carried out again.
    INTEND = sql!(
        "insert into checks (id, repository_id, head_sha, name, occasion, completed, created_at,
            begun_at)
         values ($1, $2, $3, $4, $5, 0, $6, case when cast($7 as bigint) = 1 then ", now!(), " else 0 end)
         on conflict (id) do update set occasion = excluded.occasion,
            begun_at = case when excluded.begun_at = 0 then checks.begun_at else excluded.begun_at end"
    );
    FORGET = sql!(
        "delete from checks where repository_id = $1 and head_sha = $2
            and github_id is null and begun_at = 0"
    );
    BEGIN = sql!("update checks set begun_at = ", now!(), " where id = $1");
    PASS_OVER = sql!("update checks set begun_at = 0 where id = $1 and github_id is null");
    // What an earlier occasion sent stays on the check run. Each right-hand side sees the old row.
    ACKNOWLEDGE = sql!(
        "insert into checks (id, repository_id, head_sha, name, occasion, github_id, digest,
            completed, created_at, shown, told_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, ", now!(), ")
         on conflict (id) do update set github_id = excluded.github_id, digest = excluded.digest,
            completed = excluded.completed, occasion = excluded.occasion, shown = excluded.shown,
            told_at = excluded.told_at,
            annotated_before = case when checks.occasion = excluded.occasion
                    or checks.annotated_before < 0 then checks.annotated_before
                when checks.annotating > checks.annotated then -1
                else checks.annotated_before + checks.annotated end,
            annotated = case when checks.occasion = excluded.occasion then checks.annotated else 0 end,
            annotating = case when checks.occasion = excluded.occasion then checks.annotating else 0 end"
    );
    ANNOTATE = sql!(
        "update checks set annotated = $2, annotating = $3, annotating_since = $4,
            annotated_before = $5 where id = $1"
    );
    // Of twins the later one is what GitHub shows, and how many annotations it has is asked anew.
    DOUBT = sql!(
        "update checks set digest = null, shown = null,
            annotated = case when github_id = $2 then annotated else 0 end,
            annotating = case when github_id = $2 then annotating else 1 end,
            annotated_before = case when github_id = $2 then annotated_before else 0 end,
            completed = case when github_id is null or github_id < $2 then 0 else completed end,
            github_id = case when github_id is null or github_id < $2 then $2 else github_id end
         where id = $1"
    );
    // What it shows was told under the old name.
    RENAME = sql!(
        "update checks set name = $2, digest = null, refused_name = null, refused_name_until = null
         where id = $1"
    );
    REFUSE_NAME = sql!(
        "update checks set refused_name = $2, refused_name_until = ", now!(), " + cast($3 as bigint)
         where id = $1"
    );
    OF_HEAD = sql!(
        "select ", check_columns!(), " where repository_id = $1 and head_sha = $2
         order by created_at, id"
    );
    SHOWN = sql!(
        "select c.name, c.github_id, c.occasion, r.pull from checks c join runs r on r.id = c.occasion
         where c.repository_id = $1 and c.head_sha = $2 and c.github_id is not null
         order by c.created_at, c.id"
    );
    BY_GITHUB_ID = sql!(
        "select ", check_columns!(), " where repository_id = $1 and github_id = $2
         order by created_at desc limit 1"
    );
}

row! {
pub(super) struct CheckRow {
    id: String,
    name: String,
    occasion: String,
    github_id: Option<i64>,
    digest: Option<String>,
    completed: i64,
    created_at: i64,
    begun_at: i64,
    told_at: Option<i64>,
    shown: Option<String>,
    annotated: i64,
    annotating: i64,
    annotating_since: Option<i64>,
    annotated_before: i64,
    head_sha: String,
    refused_name: Option<String>,
    refused_name_until: Option<i64>,
}
}

impl Store {
    /// Stores what GitHub acknowledged; and that it is asked next to make `next`.
    pub async fn acknowledge_check(
        &self,
        head: &ClaimedHead,
        check: &CheckRecord,
        next: Option<CheckId>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        fence(&mut tx, head).await?;
        let row = args![
            check.id,
            head.repository.id,
            &head.head_sha,
            check.name.as_str(),
            check.occasion.as_str(),
            check.github_id,
            check.digest.as_deref(),
            check.completed,
            check.created_at,
            check.shown.as_deref(),
        ];
        tx.execute(ACKNOWLEDGE, row).await?;
        if let Some(next) = next {
            tx.execute(BEGIN, args![next]).await?;
        }
        tx.commit().await
    }

    /// GitHub surely did not make this one, and is asked next to make `next`.
    pub async fn pass_over_check(
        &self,
        head: &ClaimedHead,
        refused: Option<CheckId>,
        next: Option<CheckId>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        fence(&mut tx, head).await?;
        if let Some(refused) = refused {
            tx.execute(PASS_OVER, args![refused]).await?;
        }
        if let Some(next) = next {
            tx.execute(BEGIN, args![next]).await?;
        }
        tx.commit().await
    }

    /// Stores how many annotations of a check run are sent, or about to be.
    pub async fn annotate_check(
        &self,
        head: &ClaimedHead,
        check: CheckId,
        annotated: Annotated,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        fence(&mut tx, head).await?;
        let Annotated { sent, intended, since, before } = annotated;
        let before = before.map_or(-1, |before| i64::try_from(before).unwrap_or(i64::MAX));
        tx.execute(ANNOTATE, args![check, sent, intended, since, before]).await?;
        tx.commit().await
    }

    /// GitHub calls it so by now; what it shows is told again.
    pub async fn rename_check(
        &self,
        head: &ClaimedHead,
        check: CheckId,
        name: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        fence(&mut tx, head).await?;
        tx.execute(RENAME, args![check, name]).await?;
        tx.commit().await
    }

    /// GitHub does not let it be called so: it is not asked to again before this is over, or ever.
    pub async fn refuse_name(
        &self,
        head: &ClaimedHead,
        check: CheckId,
        (name, pause): (&str, Option<Duration>),
    ) -> Result<(), StoreError> {
        let pause = pause.map(|pause| i64::try_from(pause.as_millis()).unwrap_or(i64::MAX / 4));
        let mut tx = self.begin().await?;
        fence(&mut tx, head).await?;
        tx.execute(REFUSE_NAME, args![check, name, pause]).await?;
        tx.commit().await
    }

    /// Goes on holding the head.
    pub async fn extend_head(&self, head: &ClaimedHead) -> Result<(), StoreError> {
        held(self.inner.main.execute(FENCE, of(head)).await?)
    }

    /// GitHub was told something by a publisher that had lost the head: nobody knows what it shows
    /// now, so it is told again. Not fenced, since it claims nothing.
    pub async fn doubt_check(
        &self,
        head: &ClaimedHead,
        check: CheckId,
        github_id: u64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let repository = i64::try_from(head.repository.id).unwrap_or(i64::MAX);
        raise_head(&mut tx, (repository, head.head_sha.to_string())).await?;
        tx.execute(DOUBT, args![check, github_id]).await?;
        tx.commit().await
    }

    /// Which check run of ours GitHub means by its id, and on which head it stands.
    pub async fn check_by_github_id(
        &self,
        repository: u64,
        github_id: u64,
    ) -> Result<Option<(CheckRecord, Sha)>, StoreError> {
        let row = self.inner.main.one(BY_GITHUB_ID, args![repository, github_id]).await?;
        row.map(record).transpose()
    }

    /// The check runs that GitHub has of a head, oldest first.
    pub async fn shown_checks(
        &self,
        repository: u64,
        head: &Sha,
    ) -> Result<Vec<ShownCheck>, StoreError> {
        let rows: Vec<(String, i64, String, Option<i64>)> =
            self.inner.main.all(SHOWN, args![repository, head]).await?;
        let shown = rows.into_iter().map(|(name, github_id, occasion, pull)| ShownCheck {
            name,
            github_id: number(github_id),
            occasion,
            pull: pull.map(number),
        });
        Ok(shown.collect())
    }
}

/// Oldest first.
pub(super) async fn of_head(
    tx: &mut Tx<'_>,
    repository: u64,
    head: &Sha,
) -> Result<Vec<CheckRecord>, StoreError> {
    let rows: Vec<CheckRow> = tx.all(OF_HEAD, args![repository, head]).await?;
    rows.into_iter().map(|row| Ok(record(row)?.0)).collect()
}

fn of(head: &ClaimedHead) -> Vec<Arg> {
    args![head.repository.id, &head.head_sha, head.epoch]
}

/// Refuses who has lost the head; whoever has not holds it for longer.
pub(super) async fn fence(tx: &mut Tx<'_>, head: &ClaimedHead) -> Result<(), StoreError> {
    held(tx.execute(FENCE, of(head)).await?)
}

/// Stores which check runs GitHub will be asked to make, and forgets those that it never was. It is
/// asked in this order, so only the first wish can be under way before the next one is stored.
pub(super) async fn intend<'w, 'a: 'w>(
    tx: &mut Tx<'_>,
    head: &ClaimedHead,
    wishes: impl Iterator<Item = &'w Wish<'a>>,
) -> Result<(), StoreError> {
    tx.execute(FORGET, args![head.repository.id, &head.head_sha]).await?;
    for (nth, wish) in wishes.enumerate() {
        let Some(check) = wish.makes else { continue };
        let row = args![
            check.id,
            head.repository.id,
            &head.head_sha,
            check.name.as_str(),
            check.occasion.as_str(),
            check.created_at,
            nth == 0,
        ];
        tx.execute(INTEND, row).await?;
    }
    Ok(())
}

fn record(row: CheckRow) -> Result<(CheckRecord, Sha), StoreError> {
    let record = CheckRecord {
        id: parse("checks.id", &row.id)?,
        name: row.name,
        occasion: row.occasion,
        github_id: row.github_id.map(number),
        digest: row.digest,
        completed: row.completed != 0,
        created_at: Timestamp::from_millis(row.created_at),
        begun_at: (row.begun_at != 0).then(|| Timestamp::from_millis(row.begun_at)),
        told_at: row.told_at.map(Timestamp::from_millis),
        shown: row.shown,
        annotated: Annotated {
            sent: number(row.annotated),
            intended: number(row.annotating),
            since: row.annotating_since.map(Timestamp::from_millis),
            before: u64::try_from(row.annotated_before).ok(),
        },
        refused_name: row.refused_name.map(|name| RefusedName {
            name,
            until: row.refused_name_until.map(Timestamp::from_millis),
        }),
    };
    Ok((record, parse("checks.head_sha", &row.head_sha)?))
}
