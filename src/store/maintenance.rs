//! What the janitor does: final names for objects, retention, named leases.

use std::time::Duration;

use super::Store;
use super::error::StoreError;
use super::pool::Sql;
use super::read::assemble;
use super::rows::{RunRow, parse};
use crate::domain::ids::{JobId, RunId, WorkerId};
use crate::domain::recovery::ENTERPRISE_WINDOW;
use crate::domain::run::Run;

/// Runs answered by one call: each is whole.
const FORGOTTEN: u32 = 50;
/// Live tails serve nobody once their step ended.
const TAILS_KEPT: Duration = Duration::from_hours(24);

/// Half as long again as it has been due: soon at first, then at least every hour.
macro_rules! postponed {
    () => {
        concat!(
            now!(),
            " + (case when ",
            now!(),
            " - concluded_at > 7200000 then 3600000 else 2000 + (",
            now!(),
            " - concluded_at) / 2 end)"
        )
    };
}

statements! {
    UNARCHIVED_JOBS = sql!(
        "select run_id, id from jobs where state = 'concluded' and archived_at is null
            and archive_at <= ", now!(), "
         order by archive_at, concluded_at, id limit $1"
    );
    IS_ARCHIVED = sql!("select epoch from jobs where id = $1 and archived_at is not null");
    RUN_OF = sql!("select ", run_columns!(), " where r.id = $1");
    ARCHIVE_JOB = sql!("update jobs set archived_at = ", now!(), " where id = $1 and state = 'concluded'");
    // A run's page links its jobs' reports, so those come first.
    UNARCHIVED_RUNS = sql!(
        "select ", run_columns!(), " where r.state = 'concluded' and r.archived_at is null
            and r.archive_at <= ", now!(), "
            and not exists (select 1 from jobs j where j.run_id = r.id and j.archived_at is null)
         order by r.archive_at, r.concluded_at, r.id limit $1"
    );
    ARCHIVE_RUN = sql!("update runs set archived_at = ", now!(), " where id = $1 and state = 'concluded'");
    POSTPONE_JOB = sql!("update jobs set archive_at = ", postponed!(), " where id = $1");
    POSTPONE_RUN = sql!("update runs set archive_at = ", postponed!(), " where id = $1");
    OLD_RUNS = sql!(
        "select ", run_columns!(), " where r.concluded_at < ", now!(), " - $1
         order by r.concluded_at, r.id limit $2"
    );
    DELETE_RUN = sql!("delete from runs where id = $1 and state = 'concluded'");
    DELETE_HEADS = sql!(
        "delete from heads where ((version <= published_version and again_at is null) or repository_id
                in (select id from repositories where withdrawn is not null))
            and lease_until <= ", now!(), "
            and not exists (select 1 from runs r
                where r.head_sha = heads.head_sha and r.repository_id = heads.repository_id)"
    );
    DELETE_DELIVERIES = sql!(
        "delete from deliveries where received_at < ", now!(), " - $1 and state <> 'waiting'"
    );
    // The last of a schedule stays: it says that the schedule is not new.
    DELETE_DUE_TIMES = sql!(
        "delete from due_times where due_at < ", now!(), " - $1 and exists (
            select 1 from due_times later where later.repository_id = due_times.repository_id
                and later.schedule = due_times.schedule and later.due_at > due_times.due_at)"
    );
    // Without it, a run that is left would be a group's in the queue.
    DELETE_GROUPS = sql!(
        "delete from ended_groups where ended_at < ", now!(), " - $1 and not exists (
            select 1 from runs r where r.head_sha = ended_groups.head_sha
                and r.repository_id = ended_groups.repository_id and r.pull is null)"
    );
    DELETE_COMMENTS = sql!("delete from comments where seen_at < ", now!(), " - $1");
    HOLD = sql!(
        "insert into leases (name, worker, lease_until) values ($1, $2, ", now!(), " + $3)
         on conflict (name) do update
            set worker = excluded.worker, lease_until = excluded.lease_until
         where leases.worker = excluded.worker or leases.lease_until <= ", now!()
    );
}

impl Store {
    /// Concluded jobs whose objects have not got their final names yet, with their whole runs.
    pub async fn unarchived_jobs(&self, limit: u32) -> Result<Vec<(Run, JobId)>, StoreError> {
        let mut tx = self.snapshot().await?;
        let rows: Vec<(String, String)> = tx.all(UNARCHIVED_JOBS, args![limit]).await?;
        let mut found: Vec<(Run, JobId)> = Vec::with_capacity(rows.len());
        for (run, job) in rows {
            let job = parse("jobs.id", &job)?;
            let id: RunId = parse("jobs.run_id", &run)?;
            let known = found.iter().find(|(run, _)| run.id == id).map(|(run, _)| run.clone());
            let run = if let Some(run) = known {
                Some(run)
            } else {
                let row = tx.all(RUN_OF, args![run]).await?;
                assemble(&mut tx, row).await?.pop()
            };
            found.extend(run.map(|run| (run, job)));
        }
        Ok(found)
    }

    /// Has somebody archived it since it was listed?
    pub async fn is_job_archived(&self, job: JobId) -> Result<bool, StoreError> {
        let found: Option<(i64,)> = self.inner.main.one(IS_ARCHIVED, args![job]).await?;
        Ok(found.is_some())
    }

    pub async fn mark_job_archived(&self, job: JobId) -> Result<(), StoreError> {
        let mut tx = self.begin_lightly().await?;
        tx.execute(ARCHIVE_JOB, args![job]).await?;
        tx.commit().await
    }

    /// This job can't be archived for now: others come first.
    pub async fn postpone_job(&self, job: JobId) -> Result<(), StoreError> {
        self.inner.main.execute(POSTPONE_JOB, args![job]).await.map(drop)
    }

    /// Concluded runs whose jobs are archived and they themselves are not.
    pub async fn unarchived_runs(&self, limit: u32) -> Result<Vec<Run>, StoreError> {
        let mut tx = self.snapshot().await?;
        let rows = tx.all(UNARCHIVED_RUNS, args![limit]).await?;
        assemble(&mut tx, rows).await
    }

    pub async fn mark_run_archived(&self, run: RunId) -> Result<(), StoreError> {
        self.inner.main.execute(ARCHIVE_RUN, args![run]).await.map(drop)
    }

    /// This run can't be archived for now: others come first.
    pub async fn postpone_run(&self, run: RunId) -> Result<(), StoreError> {
        self.inner.main.execute(POSTPONE_RUN, args![run]).await.map(drop)
    }

    /// Runs that concluded longer ago than this, the oldest first: at most 50. Their objects are to
    /// go before them ([`Store::forget_run`]): a row that is left finds its objects again, an
    /// object without a row would stay for ever.
    pub async fn expired_runs(&self, older_than: Duration) -> Result<Vec<Run>, StoreError> {
        let mut tx = self.snapshot().await?;
        let rows: Vec<RunRow> = tx.all(OLD_RUNS, args![older_than, FORGOTTEN]).await?;
        assemble(&mut tx, rows).await
    }

    /// Forgets a concluded run whose objects are gone.
    pub async fn forget_run(&self, run: RunId) -> Result<(), StoreError> {
        self.inner.main.execute(DELETE_RUN, args![run]).await.map(drop)
    }

    /// Enforces retention of what has no objects: logs' tails, deliveries, comments and what was asked
    /// for, older than this, and heads whose runs are gone.
    pub async fn forget(&self, older_than: Duration) -> Result<(), StoreError> {
        for (statement, args) in [
            (DELETE_HEADS, args![]),
            (DELETE_DELIVERIES, args![older_than]),
            (DELETE_COMMENTS, args![older_than]),
            (DELETE_GROUPS, args![older_than]),
            (DELETE_DUE_TIMES, args![older_than]),
        ] {
            self.inner.main.execute(statement, args).await?;
        }
        self.forget_audit(older_than).await?;
        self.forget_handled_again(older_than).await?;
        // GitHub's log must not find anew what was given up.
        self.forget_missing(older_than.max(2 * ENTERPRISE_WINDOW)).await?;
        self.forget_approvals(older_than).await?;
        self.forget_brought(older_than).await?;
        self.forget_old_tails(older_than.min(TAILS_KEPT)).await
    }

    async fn forget_old_tails(&self, older_than: Duration) -> Result<(), StoreError> {
        const NOW: Sql = Sql::same("select now from clock");
        let now: Option<(i64,)> = self.inner.main.one(NOW, args![]).await?;
        let age = i64::try_from(older_than.as_millis()).unwrap_or(i64::MAX);
        match now {
            Some((now,)) => self.forget_tails(now.saturating_sub(age)).await,
            None => Ok(()),
        }
    }

    /// A named lease for a loop of which one process at a time does the work: true while it is ours.
    pub async fn hold(
        &self,
        name: &str,
        worker: WorkerId,
        term: Duration,
    ) -> Result<bool, StoreError> {
        Ok(self.inner.main.execute(HOLD, args![name, worker, term]).await? == 1)
    }
}
