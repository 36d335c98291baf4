//! Head commits that GitHub has to be told about. A change raises a head's version; publishing
//! settles the version that it saw, so a change meanwhile is never lost.

use std::time::Duration;

use super::Store;
use super::budgets;
use super::checks::{self, ClaimedHead};
use super::deliveries::held;
use super::error::StoreError;
use super::nudge::Topic;
use super::read;
use super::rows::{from_word, number, parse};
use crate::domain::ids::WorkerId;
use crate::domain::time::Timestamp;

/// Something has changed, or the budget did not go far enough and does now.
macro_rules! due {
    () => {
        concat!(
            "lease_until <= ",
            now!(),
            "
            and ((version > published_version and not_before <= ",
            now!(),
            ")
                or again_at <= ",
            now!(),
            ")"
        )
    };
}

/// What the App may not act on is not published: it waits until it may.
macro_rules! accessible {
    () => {
        "repository_id not in (select id from repositories where withdrawn is not null)"
    };
}

statements! {
    // Asked before the claim, so that loops that were woken in vain leave SQLite's writer alone.
    DUE = sql!("select version from heads where ", accessible!(), " and ", due!(), " limit 1");
    CLAIM = skip_locked!(
        concat!(
            "update heads set epoch = epoch + 1, worker = $1, term = $2,
                lease_until = ", now!(), " + $2
             where (repository_id, head_sha) = (select repository_id, head_sha from heads
                where ", accessible!(), " and ", due!(), "
                order by case when version > published_version then not_before else again_at end,
                    repository_id, head_sha limit 1"
        ),
        ") returning repository_id, head_sha, version, epoch, detail"
    );
    // Those told longest ago come first, so that a busy head does not starve the others.
    SETTLE = sql!(
        "update heads set published_version = $4, worker = null, lease_until = 0, error = null,
            not_before = ", now!(), " + $5, again_at = ", now!(), " + cast($6 as bigint),
            wanted = case when cast($6 as bigint) is null then 0 else wanted end
         where repository_id = $1 and head_sha = $2 and epoch = $3 returning version"
    );
    RETRY = sql!(
        "update heads set worker = null, lease_until = 0, not_before = ", now!(), " + $4,
            again_at = case when version > published_version then null else ", now!(), " + $4 end,
            error = $5
         where repository_id = $1 and head_sha = $2 and epoch = $3"
    );
}

/// Repository, head, version, epoch, detail.
type Claimed = (i64, String, i64, i64, Option<String>);

/// How a head is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rest {
    /// At least this long until a change is looked at.
    pub change: Duration,
    /// What is told so far is not all: come back after this long, even if nothing changes.
    pub again: Option<Duration>,
}

impl Store {
    /// A head commit whose runs changed since it was last published, leased. A head is due when `version` is
    /// ahead of what was published and its `not_before` has passed, or when the rest of what it has to tell is. Storing a check extends the lease by `term`.
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
            let (repository, head, version, epoch, _) = claimed;
            let args = args![repository, head, epoch, version, 0_i64, None::<i64>];
            self.inner.main.execute(SETTLE, args).await?;
        }
    }

    /// Read after the version was: what changed in between is published twice, not missed.
    async fn head(&self, claimed: &Claimed) -> Result<Option<ClaimedHead>, StoreError> {
        let (repository, head, version, epoch, detail) = claimed;
        let (repository, head_sha) = (number(*repository), parse("heads.head_sha", head)?);
        let mut tx = self.snapshot().await?;
        let runs = read::runs_of_head(&mut tx, repository, &head_sha).await?;
        let checks = checks::of_head(&mut tx, repository, &head_sha).await?;
        let Some(run) = runs.last() else { return Ok(None) };
        let (repository, now) = (run.repository.clone(), Timestamp::from_millis(tx.now().await?));
        let whose = (repository.id, repository.installation);
        let (room, spare) = budgets::room(&mut tx, whose, &head_sha, now).await?;
        Ok(Some(ClaimedHead {
            repository,
            head_sha,
            runs,
            checks,
            detail: detail.as_deref().map(|word| from_word("heads.detail", word)).transpose()?,
            room,
            spare,
            now,
            version: *version,
            epoch: *epoch,
        }))
    }

    /// Everything of the claimed version is published, or as much of it as the budget allows now.
    pub async fn settle_head(&self, head: ClaimedHead, rest: Rest) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let again = rest.again.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 4));
        let args = args![
            head.repository.id,
            &head.head_sha,
            head.epoch,
            head.version,
            rest.change,
            again,
        ];
        let settled: Option<(i64,)> = tx.one(SETTLE, args).await?;
        let (version,) = settled.ok_or(StoreError::LeaseLost)?;
        if version > head.version {
            tx.nudge(Topic::Heads);
        }
        tx.commit().await?;
        // What comes meanwhile wakes loops that find nothing due yet.
        let waits = [Some(rest.change).filter(|wait| !wait.is_zero()), rest.again];
        for wait in waits.into_iter().flatten() {
            self.inner.nudges.wake_after(Topic::Heads, wait);
        }
        Ok(())
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
