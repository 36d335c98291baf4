//! What every change of a run ends with: its revision, its conclusion, its head's version.
//!
//! Rows changed in a transaction carry `revision = -1` until [`changed`] has locked the run and
//! learnt the number that they get.

use super::error::StoreError;
use super::nudge::Topic;
use super::pool::Tx;

statements! {
    RAISE = sql!(
        "update runs set revision = revision + 1 where id = $1
         returning revision, repository_id, head_sha"
    );
    STAMP_JOBS = sql!("update jobs set revision = $2 where run_id = $1 and revision = -1");
    STAMP_STEPS = sql!("update steps set revision = $2 where run_id = $1 and revision = -1");
    STAMP_JOB = sql!("update jobs set revision = $2 where id = $1 and revision = -1");
    STAMP_STEPS_OF_JOB = sql!("update steps set revision = $2 where job_id = $1 and revision = -1");
    // The run is locked by now, so this sees what all others committed of its jobs.
    CONCLUDE = sql!(
        "update runs set state = 'concluded', concluded_at = ", now!(), ",
            conclusion = case
                when trust = 'untrusted' and cancel is null then 'action_required'
                when exists (select 1 from jobs where run_id = $1
                    and conclusion in ('failure', 'action_required')) then 'failure'
                when cancel is not null or exists (select 1 from jobs where run_id = $1
                    and conclusion = 'cancelled') then 'cancelled'
                else 'success' end
         where id = $1 and state <> 'concluded' and planned_at is not null
            and not exists (select 1 from jobs where run_id = $1 and state <> 'concluded')"
    );
    RAISE_HEAD = sql!(
        "insert into heads (repository_id, head_sha) values ($1, $2)
         on conflict (repository_id, head_sha) do update set version = heads.version + 1"
    );
    END_STEPS = sql!(
        "update steps set state = 'finished', outcome = $2, reason = $3, revision = -1,
            started_at = coalesce(started_at, ", now!(), "), finished_at = ", now!(), "
         where job_id = $1 and state in ('waiting', 'running')"
    );
}

/// A head commit that GitHub is to be told about: its repository's id and its name.
pub(super) type Head = (i64, String);

/// How much of a run a transaction changed.
#[derive(Clone, Copy)]
pub(super) enum Extent<'a> {
    Run,
    Job(&'a str),
}

/// Locks the run, raises its revision, stamps what changed with it, and concludes the run if
/// nothing of it is left. Everything that the transaction changes of jobs comes before this, and
/// [`raise_head`] after it: one order of locks for all.
pub(super) async fn changed(
    tx: &mut Tx<'_>,
    run: &str,
    extent: Extent<'_>,
) -> Result<Head, StoreError> {
    let raised: Option<(i64, i64, String)> = tx.one(RAISE, args![run]).await?;
    let (revision, repository, head) =
        raised.ok_or_else(|| StoreError::Inconsistent(format!("{run} is missing")))?;
    let (jobs, steps, id) = match extent {
        Extent::Run => (STAMP_JOBS, STAMP_STEPS, run),
        Extent::Job(job) => (STAMP_JOB, STAMP_STEPS_OF_JOB, job),
    };
    tx.execute(jobs, args![id, revision]).await?;
    tx.execute(steps, args![id, revision]).await?;
    tx.execute(CONCLUDE, args![run]).await?;
    tx.nudge(Topic::Runs);
    Ok((repository, head))
}

/// Notes that GitHub has to be told about this head.
pub(super) async fn raise_head(
    tx: &mut Tx<'_>,
    (repository, head): Head,
) -> Result<(), StoreError> {
    tx.nudge(Topic::Heads);
    tx.execute(RAISE_HEAD, args![repository, head]).await.map(drop)
}

/// [`changed`] and [`raise_head`] for a transaction about one job.
pub(super) async fn job_changed(tx: &mut Tx<'_>, run: &str, job: &str) -> Result<(), StoreError> {
    let head = changed(tx, run, Extent::Job(job)).await?;
    raise_head(tx, head).await
}

/// Ends what a job has not settled: every step of a settled job is settled.
pub(super) async fn end_steps(
    tx: &mut Tx<'_>,
    job: &str,
    outcome: &'static str,
    why: &str,
) -> Result<(), StoreError> {
    tx.execute(END_STEPS, args![job, outcome, why]).await.map(drop)
}
