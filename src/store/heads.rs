//! Head commits that GitHub has to be told about. A change raises a head's version; publishing
//! settles the version that it saw, so a change meanwhile is never lost.

use std::time::Duration;

use super::Store;
use super::checks::{self, ClaimedHead};
use super::deliveries::held;
use super::error::StoreError;
use super::nudge::Topic;
use super::read;
use super::rows::{number, parse};
use crate::domain::ids::WorkerId;

/// What the App may not act on is not published: it waits until it may.
macro_rules! accessible {
    () => {
        "repository_id not in (select id from repositories where withdrawn is not null)"
    };
}

statements! {
    // Asked before the claim, so that loops that were woken in vain leave SQLite's writer alone.
    DUE = sql!(
        "select version from heads where version > published_version and ", accessible!(), "
            and not_before <= ", now!(), " and lease_until <= ", now!(), " limit 1"
    );
    CLAIM = skip_locked!(
        concat!(
            "update heads set epoch = epoch + 1, worker = $1, term = $2,
                lease_until = ", now!(), " + $2
             where (repository_id, head_sha) = (select repository_id, head_sha from heads
                where version > published_version and ", accessible!(), "
                    and not_before <= ", now!(), " and lease_until <= ", now!(), "
                order by not_before, repository_id, head_sha limit 1"
        ),
        ") returning repository_id, head_sha, version, epoch"
    );
    // Those told longest ago come first, so that a busy head does not starve the others.
    SETTLE = sql!(
        "update heads set published_version = $4, worker = null, lease_until = 0, error = null,
            not_before = ", now!(), "
         where repository_id = $1 and head_sha = $2 and epoch = $3 returning version"
    );
    RETRY = sql!(
        "update heads set worker = null, lease_until = 0, not_before = ", now!(), " + $4,
            error = $5
         where repository_id = $1 and head_sha = $2 and epoch = $3"
    );
}

/// Repository, head, version, epoch.
type Claimed = (i64, String, i64, i64);

impl Store {
    /// A head commit whose runs changed since it was last published, leased. A head is due when `version` is
    /// ahead of what was published and its `not_before` has passed. Storing a check extends the lease by `term`.
    pub async fn claim_head(
        &self,
        worker: WorkerId,
        term: Duration,
    ) -> Result<Option<ClaimedHead>, StoreError> {
        loop {
            let due: Option<(i64,)> = self.inner.main.one(DUE, args![]).await?;
            if due.is_none() {
                return Ok(None);
            }
            let mut tx = self.begin().await?;
            let claimed: Option<Claimed> = tx.one(CLAIM, args![worker, term]).await?;
            tx.commit().await?;
            let Some(claimed) = claimed else { return Ok(None) };
            if let Some(head) = self.head(&claimed).await? {
                return Ok(Some(head));
            }
            // Retention took all of its runs: it has nothing to say any more.
            let (repository, head, version, epoch) = claimed;
            self.inner.main.execute(SETTLE, args![repository, head, epoch, version]).await?;
        }
    }

    /// Read after the version was: what changed in between is published twice, not missed.
    async fn head(&self, claimed: &Claimed) -> Result<Option<ClaimedHead>, StoreError> {
        let (repository, head, version, epoch) = claimed;
        let (repository, head_sha) = (number(*repository), parse("heads.head_sha", head)?);
        let mut tx = self.snapshot().await?;
        let runs = read::runs_of_head(&mut tx, repository, &head_sha).await?;
        let checks = checks::of_head(&mut tx, repository, &head_sha).await?;
        Ok(runs.last().map(|run| run.repository.clone()).map(|repository| ClaimedHead {
            repository,
            head_sha,
            runs,
            checks,
            version: *version,
            epoch: *epoch,
        }))
    }

    /// Everything of the claimed version is published.
    pub async fn settle_head(&self, head: ClaimedHead) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let args = args![head.repository.id, &head.head_sha, head.epoch, head.version];
        let settled: Option<(i64,)> = tx.one(SETTLE, args).await?;
        let (version,) = settled.ok_or(StoreError::LeaseLost)?;
        if version > head.version {
            tx.nudge(Topic::Heads);
        }
        tx.commit().await
    }

    /// Not all of it: come back after this long.
    pub async fn retry_head(
        &self,
        head: ClaimedHead,
        after: Duration,
        error: &str,
    ) -> Result<(), StoreError> {
        let args = args![head.repository.id, &head.head_sha, head.epoch, after, error];
        held(self.inner.main.execute(RETRY, args).await?)
    }
}
