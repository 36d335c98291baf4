//! Head commits that GitHub has to be told about. A change raises a head's version; publishing
//! settles the version that it saw, so a change meanwhile is never lost.

use std::time::Duration;

use super::Store;
use super::budgets;
use super::checks::{self, ClaimedHead};
use super::deliveries::held;
use super::error::StoreError;
use super::nudge::Topic;
use super::pool::Tx;
use super::read;
use super::rows::{from_json, from_word, number, parse};
use crate::domain::event::PullFacts;
use crate::domain::ids::WorkerId;
use crate::domain::names::Sha;
use crate::domain::parties::Whose;
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

/// What a claim of a head answers.
macro_rules! head_columns {
    () => {
        "repository_id, head_sha, version, epoch, detail, refused_since"
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
        concat!(") returning ", head_columns!())
    );
    // Those told longest ago come first, so that a busy head does not starve the others. Soon after
    // it is told something, a head is compared with what GitHub shows; what is refused for good is
    // not asked for sooner by that.
    SETTLE = sql!(
        "update heads set published_version = $4, worker = null, lease_until = 0, error = $7,
            not_before = ", now!(), " + $5, again_at = ", now!(), " + cast($6 as bigint),
            wanted = case when cast($6 as bigint) is null then 0 else wanted end,
            refused_since = null,
            compare_at = case when compare_at > 0
                    and (cast($7 as text) is not null or compare_at < ", now!(), " + $8) then compare_at
                else ", now!(), " + $8 end
         where repository_id = $1 and head_sha = $2 and epoch = $3 returning version"
    );
    RETRY = sql!(
        "update heads set worker = null, lease_until = 0, not_before = ", now!(), " + $4,
            again_at = case when version > published_version then null else ", now!(), " + $4 end,
            error = $5, refused_since = case when cast($6 as bigint) = 1
                then coalesce(refused_since, ", now!(), ") else refused_since end
         where repository_id = $1 and head_sha = $2 and epoch = $3"
    );
    // Those of closed pull requests, and of such that were pushed to since. Seen last, last.
    PULLS = sql!(
        "select number, facts from pulls where repository_id = $1 and number in
            (select pull from runs where repository_id = $1 and head_sha = $2 and pull is not null)
         order by seen_at, number"
    );
    GROUPS = sql!(
        "select head_ref from ended_groups where repository_id = $1 and head_sha = $2
         order by ended_at, head_ref"
    );
}

/// Repository, head, version, epoch, detail, since when it is refused.
pub(super) type Claimed = (i64, String, i64, i64, Option<String>, Option<i64>);

/// So long after it was told something, a head is compared with what GitHub shows.
pub(super) const COMPARED_AFTER: Duration = Duration::from_mins(10);

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
            let (repository, head, version, epoch, ..) = claimed;
            let (change, again, error) = (0_i64, None::<i64>, None::<&str>);
            let args =
                args![repository, head, epoch, version, change, again, error, COMPARED_AFTER];
            self.inner.main.execute(SETTLE, args).await?;
        }
    }

    /// Read after the version was: what changed in between is published twice, not missed.
    pub(super) async fn head(&self, claimed: &Claimed) -> Result<Option<ClaimedHead>, StoreError> {
        let (repository, head, version, epoch, detail, refused_since) = claimed;
        let (repository, head_sha) = (number(*repository), parse("heads.head_sha", head)?);
        let mut tx = self.snapshot().await?;
        let runs = read::runs_of_head(&mut tx, repository, &head_sha).await?;
        let checks = checks::of_head(&mut tx, repository, &head_sha).await?;
        let Some(run) = runs.last() else { return Ok(None) };
        let (repository, now) = (run.repository.clone(), Timestamp::from_millis(tx.now().await?));
        let gone = gone(&mut tx, repository.id, &head_sha).await?;
        let whose = (repository.id, repository.installation);
        let (room, spare) = budgets::room(&mut tx, whose, &head_sha, now).await?;
        Ok(Some(ClaimedHead {
            repository,
            head_sha,
            runs,
            checks,
            gone,
            refused_since: refused_since.map(Timestamp::from_millis),
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
        self.leave_head(head, rest, None).await
    }

    /// GitHub refuses something of it for good. It is told again when the head changes, when the App
    /// gets its access back, and when what GitHub shows is compared.
    pub async fn give_up_head(
        &self,
        head: ClaimedHead,
        rest: Rest,
        error: &str,
    ) -> Result<(), StoreError> {
        self.leave_head(head, rest, Some(error)).await
    }

    async fn leave_head(
        &self,
        head: ClaimedHead,
        rest: Rest,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let again = rest.again.map(|wait| i64::try_from(wait.as_millis()).unwrap_or(i64::MAX / 4));
        let args = args![
            head.repository.id,
            &head.head_sha,
            head.epoch,
            head.version,
            rest.change,
            again,
            error,
            COMPARED_AFTER,
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
        self.come_back(head, after, (error, false)).await
    }

    /// The same, since GitHub refused it: it counts from the first time.
    pub async fn refuse_head(
        &self,
        head: ClaimedHead,
        after: Duration,
        error: &str,
    ) -> Result<(), StoreError> {
        self.come_back(head, after, (error, true)).await
    }

    async fn come_back(
        &self,
        head: ClaimedHead,
        after: Duration,
        (error, refused): (&str, bool),
    ) -> Result<(), StoreError> {
        let args = args![head.repository.id, &head.head_sha, head.epoch, after, error, refused];
        held(self.inner.main.execute(RETRY, args).await?)
    }
}

impl Store {
    /// The branches of this commit's merge groups that are gone.
    pub async fn gone_groups(
        &self,
        repository: u64,
        head: &Sha,
    ) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> = self.inner.main.all(GROUPS, args![repository, head]).await?;
        Ok(rows.into_iter().map(|(branch,)| branch).collect())
    }
}

/// Whose head this commit is no more.
async fn gone(tx: &mut Tx<'_>, repository: u64, head: &Sha) -> Result<Vec<Whose>, StoreError> {
    let mut gone = Vec::new();
    let pulls: Vec<(i64, String)> = tx.all(PULLS, args![repository, head]).await?;
    for (pull, facts) in pulls {
        let facts: PullFacts = from_json("pulls.facts", &facts)?;
        if !facts.open || facts.head_sha != *head {
            gone.push(Whose::Pull(number(pull)));
        }
    }
    let groups: Vec<(String,)> = tx.all(GROUPS, args![repository, head]).await?;
    gone.extend(groups.into_iter().map(|(branch,)| Whose::Group(branch)));
    Ok(gone)
}
