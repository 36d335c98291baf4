//! Check runs of ours, as GitHub last acknowledged them.

use std::collections::BTreeMap;

use super::Store;
use super::deliveries::held;
use super::error::StoreError;
use super::pool::{Sql, Tx};
use super::rows::{number, parse};
use super::settle::raise_head;
use crate::domain::ids::CheckId;
use crate::domain::names::Sha;
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
    pub annotated: Annotated,
}

/// How many of a check run's annotations GitHub has, in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Annotated {
    /// Acknowledged.
    pub sent: u64,
    /// More than that while a request is on its way, or its outcome is unknown.
    pub intended: u64,
    /// When it was intended.
    pub since: Option<Timestamp>,
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
    pub(crate) version: i64,
    pub(crate) epoch: i64,
}

macro_rules! check_columns {
    () => {
        "id, name, occasion, github_id, digest, completed, created_at, head_sha, annotated,
            annotating, annotating_since from checks"
    };
}

statements! {
    // Also extends the lease: publishing goes on.
    FENCE = sql!(
        "update heads set lease_until = ", now!(), " + term
         where repository_id = $1 and head_sha = $2 and epoch = $3"
    );
    INTEND = sql!(
        "insert into checks (id, repository_id, head_sha, name, occasion, github_id, digest,
            completed, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (id) do nothing"
    );
    ACKNOWLEDGE = sql!(
        "insert into checks (id, repository_id, head_sha, name, occasion, github_id, digest,
            completed, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (id) do update set github_id = excluded.github_id, digest = excluded.digest,
            completed = excluded.completed, occasion = excluded.occasion"
    );
    ANNOTATE = sql!(
        "update checks set annotated = $2, annotating = $3, annotating_since = $4 where id = $1"
    );
    // Of twins the later one is what GitHub shows, and how many annotations it has is asked anew.
    DOUBT = sql!(
        "update checks set digest = null,
            annotated = case when github_id = $2 then annotated else 0 end,
            annotating = case when github_id = $2 then annotating else 1 end,
            completed = case when github_id is null or github_id < $2 then 0 else completed end,
            github_id = case when github_id is null or github_id < $2 then $2 else github_id end
         where id = $1"
    );
    OF_HEAD = sql!(
        "select ", check_columns!(), " where repository_id = $1 and head_sha = $2
         order by created_at, id"
    );
    BY_GITHUB_ID = sql!(
        "select ", check_columns!(), " where repository_id = $1 and github_id = $2
         order by created_at desc limit 1"
    );
}

type Columns =
    (String, String, String, Option<i64>, Option<String>, i64, i64, String, i64, i64, Option<i64>);

impl Store {
    /// Stores the intent before GitHub is asked.
    pub async fn intend_check(
        &self,
        head: &ClaimedHead,
        check: &CheckRecord,
    ) -> Result<(), StoreError> {
        self.write_check(INTEND, head, check).await
    }

    /// Stores what GitHub acknowledged.
    pub async fn acknowledge_check(
        &self,
        head: &ClaimedHead,
        check: &CheckRecord,
    ) -> Result<(), StoreError> {
        self.write_check(ACKNOWLEDGE, head, check).await
    }

    /// Stores how many annotations of a check run are sent, or about to be.
    pub async fn annotate_check(
        &self,
        head: &ClaimedHead,
        check: CheckId,
        annotated: Annotated,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let fence = args![head.repository.id, &head.head_sha, head.epoch];
        held(tx.execute(FENCE, fence).await?)?;
        let Annotated { sent, intended, since } = annotated;
        tx.execute(ANNOTATE, args![check, sent, intended, since]).await?;
        tx.commit().await
    }

    /// Goes on holding the head.
    pub async fn extend_head(&self, head: &ClaimedHead) -> Result<(), StoreError> {
        let fence = args![head.repository.id, &head.head_sha, head.epoch];
        held(self.inner.main.execute(FENCE, fence).await?)
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

    async fn write_check(
        &self,
        statement: Sql,
        head: &ClaimedHead,
        check: &CheckRecord,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let fence = args![head.repository.id, &head.head_sha, head.epoch];
        held(tx.execute(FENCE, fence).await?)?;
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
        ];
        tx.execute(statement, row).await?;
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

    /// GitHub's ids of the current check runs of a run's steps: (connector / step name, id), by name.
    pub async fn check_ids(
        &self,
        repository: u64,
        head: &Sha,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let rows: Vec<Columns> = self.inner.main.all(OF_HEAD, args![repository, head]).await?;
        // Oldest first: of one name the latest that GitHub knows stays.
        let current: BTreeMap<String, u64> =
            rows.into_iter().filter_map(|row| Some((row.1, number(row.3?)))).collect();
        Ok(current.into_iter().collect())
    }
}

/// Oldest first.
pub(super) async fn of_head(
    tx: &mut Tx<'_>,
    repository: u64,
    head: &Sha,
) -> Result<Vec<CheckRecord>, StoreError> {
    let rows: Vec<Columns> = tx.all(OF_HEAD, args![repository, head]).await?;
    rows.into_iter().map(|row| Ok(record(row)?.0)).collect()
}

fn record(row: Columns) -> Result<(CheckRecord, Sha), StoreError> {
    let (id, name, occasion, github_id, digest, completed, created_at, head, sent, intended, since) =
        row;
    let record = CheckRecord {
        id: parse("checks.id", &id)?,
        name,
        occasion,
        github_id: github_id.map(number),
        digest,
        completed: completed != 0,
        created_at: Timestamp::from_millis(created_at),
        annotated: Annotated {
            sent: number(sent),
            intended: number(intended),
            since: since.map(Timestamp::from_millis),
        },
    };
    Ok((record, parse("checks.head_sha", &head)?))
}
