//! Heads that are compared with what GitHub shows of them: those that were told something lately, the
//! longest due first, one publisher at a time.

use std::time::Duration;

use super::Store;
use super::checks::{ClaimedHead, fence};
use super::error::StoreError;
use super::heads::Claimed;
use super::nudge::Topic;
use super::pool::Tx;
use super::pulls::see_repository;
use super::rows::{number, parse};
use crate::domain::ids::{CheckId, RunId, WorkerId};
use crate::domain::names::Sha;
use crate::domain::run::Repository;
use crate::domain::time::Timestamp;

/// A head that is about to be compared.
#[derive(Debug)]
pub struct Comparison {
    pub head: ClaimedHead,
    /// By which GitHub says that nothing has changed since, if all was well then and nothing was told
    /// since.
    pub etag: Option<String>,
    /// When GitHub last acknowledged something of it.
    pub told_at: Option<Timestamp>,
}

/// What a comparison came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compared {
    /// When the next one is due; `None`: when the head is told something again.
    pub next: Option<Duration>,
    /// Absent unless all is well.
    pub etag: Option<String>,
    /// Something has to be told again.
    pub again: bool,
}

/// Of a merge group of which nobody has heard that it is gone.
macro_rules! of_group_left {
    () => {
        "r.pull is null and r.triggered_by not in ('push', 'schedule')
            and not exists (select 1 from ended_groups g where g.repository_id = r.repository_id
                and g.head_sha = r.head_sha and g.head_ref = r.head_ref)"
    };
}

statements! {
    // Not what the publisher has in hand, or will have soon; but what GitHub refuses may be lost.
    DUE = sql!(
        "select epoch from heads where compare_at <= ", now!(), " and lease_until <= ", now!(), "
            and (version = published_version and again_at is null or refused_since is not null)
            and repository_id not in (select id from repositories where withdrawn is not null)
         limit 1"
    );
    CLAIM = skip_locked!(
        concat!(
            "update heads set epoch = epoch + 1, worker = $1, term = $2,
                lease_until = ", now!(), " + $2
             where (repository_id, head_sha) = (select repository_id, head_sha from heads
                where compare_at <= ", now!(), " and lease_until <= ", now!(), "
                    and (version = published_version and again_at is null
                        or refused_since is not null)
                    and repository_id not in
                        (select id from repositories where withdrawn is not null)
                order by compare_at, repository_id, head_sha limit 1"
        ),
        ") returning repository_id, head_sha, version, epoch, detail, refused_since, etag, compared_at"
    );
    COMPARED = sql!(
        "update heads set worker = null, lease_until = 0, compared_at = ", now!(), ",
            compare_at = ", now!(), " + cast($4 as bigint), etag = $5, version = version + $6
         where repository_id = $1 and head_sha = $2 and epoch = $3
         returning version - published_version"
    );
    // GitHub shows something else than it acknowledged.
    MISTRUST = sql!("update checks set digest = null, shown = null, completed = $2 where id = $1");
    FORGET = sql!("delete from checks where id = $1");
    MENDED = sql!(
        "insert into mends (what, times) values ($1, $2)
         on conflict (what) do update set times = mends.times + excluded.times"
    );
    // GitHub ends check runs that are open for 14 days.
    TOO_OLD = sql!(
        "select id from runs where state <> 'concluded' and created_at < ", now!(), " - $1
            and cancel is null order by created_at, id limit 50"
    );
    END_GROUP = sql!(
        "insert into ended_groups (repository_id, head_sha, head_ref, ended_at)
         values ($1, $2, $3, ", now!(), ") on conflict do nothing"
    );
    // Of a repository.
    GROUPS_LEFT = sql!(
        "select distinct r.head_sha, r.head_ref from runs r
         where r.repository_id = $1 and ", of_group_left!(), " order by r.head_sha, r.head_ref"
    );
    // Whose runs are all over for so long.
    GROUPS_UNHEARD = sql!(
        "select distinct r.repository_id, r.head_sha, r.head_ref from runs r
         where r.concluded_at < ", now!(), " - $1 and ", of_group_left!(), "
            and not exists (select 1 from runs n where n.head_sha = r.head_sha
                and n.repository_id = r.repository_id and n.head_ref = r.head_ref
                and n.pull is null and n.triggered_by not in ('push', 'schedule')
                and (n.concluded_at is null or n.concluded_at >= ", now!(), " - $1))
         order by r.repository_id, r.head_sha, r.head_ref limit 50"
    );
    // Whoever makes a run of it waits.
    LOCK = sql!("update repositories set seen_at = seen_at where id = $1");
    GROUP_ENDED = sql!(
        "select ended_at from ended_groups
         where repository_id = $1 and head_sha = $2 and head_ref = $3"
    );
    RAISE_KNOWN = sql!(
        "update heads set version = version + 1 where repository_id = $1 and head_sha = $2"
    );
}

/// A claimed head's columns; its mark, and when it was compared last.
type Row = (i64, String, i64, i64, Option<String>, Option<i64>, Option<String>, i64);

impl Store {
    /// The head that is to be compared next, leased as if to publish it.
    pub async fn claim_comparison(
        &self,
        worker: WorkerId,
        term: Duration,
    ) -> Result<Option<Comparison>, StoreError> {
        loop {
            let due: Option<(i64,)> = self.inner.main.one(DUE, args![]).await?;
            if due.is_none() {
                return Ok(None);
            }
            let mut tx = self.begin().await?;
            let claimed: Option<Row> = tx.one(CLAIM, args![worker, term]).await?;
            tx.commit().await?;
            let Some(row) = claimed else { return Ok(None) };
            let (repository, head, version, epoch, detail, refused, etag, compared_at) = row;
            let claimed: Claimed = (repository, head, version, epoch, detail, refused);
            if let Some(head) = self.head(&claimed).await? {
                let told_at = head.checks.iter().filter_map(|check| check.told_at).max();
                let compared_at = Timestamp::from_millis(compared_at);
                let etag = etag.filter(|_| told_at.is_none_or(|told_at| told_at < compared_at));
                return Ok(Some(Comparison { head, etag, told_at }));
            }
            // Retention took all of its runs.
            let (repository, head, _, epoch, ..) = claimed;
            let args = args![repository, head, epoch, None::<i64>, None::<&str>, false];
            self.inner.main.execute(COMPARED, args).await?;
        }
    }

    /// Gives the head back.
    pub async fn settle_comparison(
        &self,
        head: ClaimedHead,
        compared: Compared,
    ) -> Result<(), StoreError> {
        let Compared { next, etag, again } = compared;
        let next = next.map(|next| i64::try_from(next.as_millis()).unwrap_or(i64::MAX / 4));
        let mut tx = self.begin().await?;
        let args = args![head.repository.id, &head.head_sha, head.epoch, next, etag, again];
        let left: Option<(i64,)> = tx.one(COMPARED, args).await?;
        let (unpublished,) = left.ok_or(StoreError::LeaseLost)?;
        // What changed meanwhile woke publishers that found it held.
        if unpublished > 0 {
            tx.nudge(Topic::Heads);
        }
        tx.commit().await
    }

    /// GitHub shows a check run otherwise than it acknowledged: it is told again. `completed`: as it
    /// shows it.
    pub async fn mistrust_check(
        &self,
        head: &ClaimedHead,
        check: CheckId,
        completed: bool,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        fence(&mut tx, head).await?;
        tx.execute(MISTRUST, args![check, completed]).await?;
        tx.commit().await
    }

    /// GitHub has it no more: it is made again, if it is still wanted.
    pub async fn forget_check(&self, head: &ClaimedHead, check: CheckId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        fence(&mut tx, head).await?;
        tx.execute(FORGET, args![check]).await?;
        tx.commit().await
    }

    /// Counts what was set right.
    pub async fn count_mended(&self, what: &str, times: u64) -> Result<(), StoreError> {
        self.inner.main.execute(MENDED, args![what, times]).await.map(drop)
    }

    /// Runs that were made longer ago than this and have not come to their end, nor were asked to.
    pub async fn runs_open_for(&self, age: Duration) -> Result<Vec<RunId>, StoreError> {
        let rows: Vec<(String,)> = self.inner.main.all(TOO_OLD, args![age]).await?;
        rows.iter().map(|(id,)| parse("runs.id", id)).collect()
    }

    /// A merge group is gone: no run is made for it any more, and others with its commit are judged
    /// without it. One that is enqueued again has another commit.
    pub async fn end_group(
        &self,
        repository: &Repository,
        (head, branch): (&Sha, &str),
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        // Also locks the repository's row: a run is made before, and found, or after, and is not.
        see_repository(&mut tx, repository).await?;
        if tx.execute(END_GROUP, args![repository.id, head, branch]).await? > 0 {
            raise_known(&mut tx, repository.id, head).await?;
        }
        tx.commit().await
    }

    /// The same for all of a repository's, of which nothing will be heard.
    pub async fn end_groups(&self, repository: u64) -> Result<(), StoreError> {
        let groups: Vec<(String, String)> =
            self.inner.main.all(GROUPS_LEFT, args![repository]).await?;
        for (head, branch) in groups {
            self.end_unheard(repository, (&head, &branch)).await?;
        }
        Ok(())
    }

    /// The same for those whose runs are all over for this long: GitHub has merged or dropped them, and was
    /// not heard. Answers how many those are.
    pub async fn end_groups_unheard(&self, age: Duration) -> Result<usize, StoreError> {
        let groups: Vec<(i64, String, String)> =
            self.inner.main.all(GROUPS_UNHEARD, args![age]).await?;
        for (repository, head, branch) in &groups {
            self.end_unheard(number(*repository), (head, branch)).await?;
        }
        Ok(groups.len())
    }

    async fn end_unheard(
        &self,
        repository: u64,
        (head, branch): (&str, &str),
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(LOCK, args![repository]).await?;
        if tx.execute(END_GROUP, args![repository, head, branch]).await? > 0 {
            raise_known(&mut tx, repository, &parse("runs.head_sha", head)?).await?;
        }
        tx.commit().await
    }
}

/// Is the merge group that a run is for gone?
pub(super) async fn group_has_ended(
    tx: &mut Tx<'_>,
    run: &super::NewRun,
) -> Result<bool, StoreError> {
    let group = args![run.repository.id, &run.head_sha, run.head_ref.as_str()];
    let ended: Option<(i64,)> = tx.one(GROUP_ENDED, group).await?;
    Ok(ended.is_some())
}

/// Has a head published anew, if it ever was: whose head it is has changed.
pub(super) async fn raise_known(
    tx: &mut Tx<'_>,
    repository: u64,
    head: &Sha,
) -> Result<(), StoreError> {
    if tx.execute(RAISE_KNOWN, args![repository, head]).await? > 0 {
        tx.nudge(Topic::Heads);
    }
    Ok(())
}
