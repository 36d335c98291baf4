//! Jobs under leases: claimed, kept alive, recorded and settled by their holder alone.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Store;
use super::deliveries::held;
use super::error::StoreError;
use super::nudge::Topic;
use super::pool::{Sql, Tx};
use super::read;
use super::rotations;
use super::rows::{StateColumns, count, parse, state_columns, to_json};
use super::settle::{end_steps, job_changed};
use crate::domain::ids::{JobId, RunId, WorkerId};
use crate::domain::names::ConnectorName;
use crate::domain::patience::{Pause, Waited};
use crate::domain::run::{Job, Run, StepFacts, StepRecord};
use crate::domain::state::Conclusion;
use crate::domain::time::Timestamp;

/// A job whose holders died this often is given up: it may be what kills them.
pub const MOST_CLAIMS: u32 = 5;

/// Who polls finds what is due later than this soon enough.
const WOKEN_WITHIN: Duration = Duration::from_mins(1);

/// The right to work on a job until it expires. Made by [`Store::claim_job`] alone.
#[derive(Debug)]
pub struct Lease {
    pub run: RunId,
    pub job: JobId,
    pub worker: WorkerId,
    pub epoch: i64,
    /// How long after the last good heartbeat was *sent* it may expire.
    pub term: Duration,
    /// How often it was held before, and came to nothing for what may pass.
    pub waited: Waited,
}

/// What a heartbeat answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Why the job's end was asked for.
    pub cancel: Option<String>,
}

macro_rules! take {
    () => {
        concat!(
            "update jobs set state = 'running', worker = $1, epoch = epoch + 1,
                attempt = attempt + 1, lease_until = ",
            now!(),
            " + $2, started_at = coalesce(started_at, ",
            now!(),
            "), revision = -1"
        )
    };
}

/// What a claim of a job answers: [`Taken`].
macro_rules! taken {
    () => {
        "id, run_id, epoch, tries, refused, rested"
    };
}

/// Of the jobs with the same lock, the one that waits longest, unless one runs (one that was put off is in
/// nobody's way); none whose secrets
/// another one may still renew.
macro_rules! free {
    () => {
        concat!(
            "(j.lock_key is null or not exists (select 1 from jobs o
            where o.lock_key = j.lock_key and o.state <> 'concluded'
                and (o.state = 'running' or (o.due_at <= ",
            now!(),
            "
                    and (o.created_at, o.position, o.id) < (j.created_at, j.position, j.id)))))
            and not exists (select 1 from job_secrets s
                join secret_locks l on l.secret = s.secret
                where s.job_id = j.id and l.job_id <> j.id)"
        )
    };
}

statements! {
    // A lock stays with the job whose holder died until that is taken over and ends.
    // Before new work: a run waits for these. MOST_CLAIMS is $3.
    CLAIM_EXPIRED = skip_locked!(
        concat!(
            take!(), " where id = (select id from jobs where state = 'running'
                and lease_until <= ", now!(), " and cancel is null and attempt < $3
                order by lease_until limit 1"
        ),
        concat!(") returning ", taken!())
    );
    // The runs that have a job to be claimed: those that hold the fewest workers first, so that a
    // change of everything is in nobody's way. Some, since others may claim in between.
    TO_SERVE = sql!(
        "select j.run_id from jobs j where j.state = 'queued' and j.due_at <= ", now!(), "
            and ", free!(), "
         group by j.run_id, j.priority
         order by j.priority,
            (select count(*) from jobs r where r.run_id = j.run_id and r.state = 'running'),
            min(j.created_at), j.run_id
         limit 16"
    );
    CLAIM_QUEUED = skip_locked!(
        concat!(
            take!(), " where id = (select id from jobs j where j.run_id = $3
                and j.state = 'queued' and j.due_at <= ", now!(), " and ", free!(), "
                order by j.priority, j.created_at, j.position limit 1"
        ),
        concat!(") returning ", taken!())
    );
    START_RUN = sql!(
        "update runs set state = 'running', started_at = coalesce(started_at, ", now!(), ")
         where id = $1 and state = 'queued'"
    );
    RESTART_STEPS = sql!(
        "update steps set state = 'waiting', attempt = attempt + 1, started_at = null, reason = null,
            revision = -1
         where job_id = $1 and state = 'running'"
    );
    BEAT = sql!(
        "update jobs set lease_until = ", now!(), " + $3
         where id = $1 and epoch = $2 and state = 'running' returning cancel"
    );
    // Locks the row as a write does, so that nobody takes the job over in between.
    FENCE = sql!(
        "update jobs set epoch = epoch where id = $1 and epoch = $2 and state = 'running'
         returning run_id"
    );
    // What is told of a job says that it waits no more.
    GOES_ON = sql!("update jobs set waits = null where id = $1 and waits is not null");
    RECORD = sql!(
        "update steps set state = $3, outcome = $4, skipped = $5, started_at = $6,
            finished_at = $7, attempt = $8, queued_at = $9, reason = $10, facts = $11,
            revision = -1
         where job_id = $1 and id = $2"
    );
    SETTLE = sql!(
        "update jobs set state = 'concluded', conclusion = $3, concluded_at = ", now!(), ",
            worker = null, revision = -1
         where id = $1 and epoch = $2 and state = 'running' returning run_id, cancel, lock_key,
            concluded_at"
    );
    // Given back is not failed: it does not count as a claim.
    RELEASE = sql!(
        "update jobs set state = 'queued', worker = null, attempt = attempt - 1, lease_until = 0,
            revision = -1
         where id = $1 and epoch = $2 and state = 'running' and cancel is null returning run_id"
    );
    // No failed holder's claim either: what is waited for is counted by itself.
    POSTPONE = sql!(
        "update jobs set state = 'queued', worker = null, attempt = attempt - 1, lease_until = 0,
            due_at = ", now!(), " + $3, waits = $4, tries = $5, refused = $6, rested = $7,
            revision = -1
         where id = $1 and epoch = $2 and state = 'running' and cancel is null returning run_id"
    );
    HOLDER = sql!(
        "select now from clock where exists
            (select 1 from jobs where id = $1 and epoch = $2 and state = 'running')"
    );
    JOB_OF = sql!("select id from jobs where run_id = $1 and connector = $2");
    RUNNING = sql!(
        "select id, epoch from jobs where state = 'running' and lease_until > ", now!()
    );
    // Each part has an index of its own; together they would read every job that there ever was.
    OPEN = sql!(
        "select id from jobs where state = 'queued' union all select id from jobs where state = 'running'"
    );
    // Its state shuts out the holder, should it come back; its epoch says where its last objects
    // are. MOST_CLAIMS is $1.
    ABANDON = skip_locked!(
        concat!(
            "update jobs set state = 'concluded', concluded_at = ", now!(), ",
                conclusion = case when cancel is null then 'failure' else 'cancelled' end,
                revision = -1
             where id = (select id from jobs where state = 'running' and lease_until <= ", now!(), "
                and (cancel is not null or attempt >= $1) order by lease_until limit 1"
        ),
        ") returning id, run_id, cancel, lock_key"
    );
}

impl Store {
    /// The next job: queued, or running under an expired lease (its running steps wait again, attempt raised).
    /// The run comes without its jobs: there may be hundreds, and this one comes beside it.
    pub async fn claim_job(
        &self,
        worker: WorkerId,
        term: Duration,
    ) -> Result<Option<(Lease, Run, Job)>, StoreError> {
        // Of two that want one secret and are claimed at the same moment, one is not claimed: there
        // may be others.
        for _ in 0..8 {
            match retried!(self.claim_job_once(worker, term))? {
                Claimed::Job(claimed) => return Ok(Some(*claimed)),
                Claimed::None => return Ok(None),
                Claimed::Contended => {}
            }
        }
        Ok(None)
    }

    async fn claim_job_once(
        &self,
        worker: WorkerId,
        term: Duration,
    ) -> Result<Claimed, StoreError> {
        let mut tx = self.begin().await?;
        let Some(taken) = take(&mut tx, worker, term).await? else {
            return Ok(Claimed::None);
        };
        let (job, run, epoch, tries, refused, rested) = taken;
        if !rotations::lock(&mut tx, &job).await? {
            return Ok(Claimed::Contended);
        }
        tx.execute(START_RUN, args![run.as_str()]).await?;
        job_changed(&mut tx, &run, &job).await?;
        let run = read::header(&mut tx, &run).await?;
        let job = read::job(&mut tx, &job).await?;
        tx.commit().await?;
        let waited = Waited { tries: count(tries), refused: count(refused), rested: count(rested) };
        let lease = Lease { run: run.id, job: job.id, worker, epoch, term, waited };
        Ok(Claimed::Job(Box::new((lease, run, job))))
    }

    pub async fn heartbeat(&self, lease: &Lease) -> Result<Beat, StoreError> {
        let mut tx = self.begin_lightly().await?;
        let beat: Option<(Option<String>,)> =
            tx.one(BEAT, args![lease.job, lease.epoch, lease.term]).await?;
        tx.commit().await?;
        let (cancel,) = beat.ok_or(StoreError::LeaseLost)?;
        Ok(Beat { cancel })
    }

    pub async fn record(&self, lease: &Lease, steps: &[StepRecord]) -> Result<(), StoreError> {
        retried!(self.record_once(lease, steps))
    }

    async fn record_once(&self, lease: &Lease, steps: &[StepRecord]) -> Result<(), StoreError> {
        let job = lease.job.to_string();
        let mut tx = self.begin_lightly().await?;
        let run = fenced(&mut tx, FENCE, lease).await?;
        tx.execute(GOES_ON, args![job.as_str()]).await?;
        record(&mut tx, &job, steps).await?;
        job_changed(&mut tx, &run, &job).await?;
        tx.commit().await
    }

    /// Ends the job with its steps' last records, and says when; the last one of a run concludes the run. Consumes the right.
    pub async fn settle_job(
        &self,
        lease: Lease,
        steps: &[StepRecord],
        conclusion: Conclusion,
    ) -> Result<Timestamp, StoreError> {
        retried!(self.settle_job_once(&lease, steps, conclusion))
    }

    async fn settle_job_once(
        &self,
        lease: &Lease,
        steps: &[StepRecord],
        conclusion: Conclusion,
    ) -> Result<Timestamp, StoreError> {
        let job = lease.job.to_string();
        let mut tx = self.begin_lightly().await?;
        let settle = args![job.as_str(), lease.epoch, conclusion.as_str()];
        let settled: Option<(String, Option<String>, Option<String>, i64)> =
            tx.one(SETTLE, settle).await?;
        let (run, cancel, lock, at) = settled.ok_or(StoreError::LeaseLost)?;
        if lock.is_some() {
            tx.nudge(Topic::Jobs);
        }
        record(&mut tx, &job, steps).await?;
        match cancel {
            Some(why) => end_steps(&mut tx, &job, "cancelled", &why).await?,
            None if conclusion == Conclusion::Cancelled => {
                end_steps(&mut tx, &job, "cancelled", "cancelled").await?;
            }
            None => end_steps(&mut tx, &job, "errored", "infrastructure: never settled").await?,
        }
        rotations::free(&mut tx, &job).await?;
        job_changed(&mut tx, &run, &job).await?;
        tx.commit().await?;
        Ok(Timestamp::from_millis(at))
    }

    /// Gives the job back unfinished (worker shutting down): queued again at once, or ended if that was asked for.
    pub async fn release_job(&self, lease: Lease) -> Result<(), StoreError> {
        self.give_back(lease, None).await
    }

    /// Gives the job back for what may pass: it is queued again, not to be claimed before the pause
    /// is over, or ended if that was asked for.
    pub async fn put_off_job(&self, lease: Lease, pause: &Pause) -> Result<(), StoreError> {
        self.give_back(lease, Some(pause)).await?;
        if let Some(wait) = Some(pause.after).filter(|wait| *wait < WOKEN_WITHIN) {
            self.inner.nudges.wake_after(Topic::Jobs, wait);
        }
        Ok(())
    }

    async fn give_back(&self, lease: Lease, pause: Option<&Pause>) -> Result<(), StoreError> {
        match retried!(self.give_back_once(&lease, pause)) {
            Err(StoreError::LeaseLost) => {}
            done => return done,
        }
        // Lost, or asked to end: then nobody may claim it any more, and it ends here.
        let cancel = self.heartbeat(&lease).await?.cancel;
        if cancel.is_none() {
            return Err(StoreError::LeaseLost);
        }
        self.settle_job(lease, &[], Conclusion::Cancelled).await.map(drop)
    }

    async fn give_back_once(&self, lease: &Lease, pause: Option<&Pause>) -> Result<(), StoreError> {
        let job = lease.job.to_string();
        let mut tx = self.begin().await?;
        let run = match pause {
            None => fenced(&mut tx, RELEASE, lease).await?,
            Some(Pause { after, awaits, waited: Waited { tries, refused, rested } }) => {
                let (job, awaits) = (job.as_str(), awaits.as_str());
                let postpone = args![job, lease.epoch, *after, awaits, *tries, *refused, *rested];
                let run: Option<(String,)> = tx.one(POSTPONE, postpone).await?;
                run.map(|(run,)| run).ok_or(StoreError::LeaseLost)?
            }
        };
        restart_steps(&mut tx, &job).await?;
        rotations::free(&mut tx, &job).await?;
        job_changed(&mut tx, &run, &job).await?;
        tx.nudge(Topic::Jobs);
        tx.commit().await
    }

    /// Of these (job, epoch) pairs, the ones that still run under that epoch and an unexpired lease: the reaper keeps them.
    pub async fn alive(&self, pairs: &[(JobId, i64)]) -> Result<Vec<(JobId, i64)>, StoreError> {
        let rows: Vec<(String, i64)> = self.inner.main.all(RUNNING, args![]).await?;
        let running: BTreeSet<(JobId, i64)> = rows
            .iter()
            .map(|(job, epoch)| Ok((parse("jobs.id", job)?, *epoch)))
            .collect::<Result<_, StoreError>>()?;
        Ok(pairs.iter().filter(|pair| running.contains(pair)).copied().collect())
    }

    /// Which of these jobs have not concluded: somebody works on them, or will.
    pub async fn open_jobs(&self, jobs: &[JobId]) -> Result<BTreeSet<JobId>, StoreError> {
        let rows: Vec<(String,)> = self.inner.main.all(OPEN, args![]).await?;
        let open = rows.iter().map(|(job,)| parse("jobs.id", job));
        let open: BTreeSet<JobId> = open.collect::<Result<_, StoreError>>()?;
        Ok(jobs.iter().filter(|job| open.contains(job)).copied().collect())
    }

    /// The time at which this lease still held.
    pub(super) async fn held_at(&self, lease: &Lease) -> Result<i64, StoreError> {
        let now: Option<(i64,)> =
            self.inner.main.one(HOLDER, args![lease.job, lease.epoch]).await?;
        now.map(|(now,)| now).ok_or(StoreError::LeaseLost)
    }

    pub(super) async fn job_of(
        &self,
        run: RunId,
        connector: &ConnectorName,
    ) -> Result<Option<String>, StoreError> {
        let job: Option<(String,)> = self.inner.main.one(JOB_OF, args![run, connector]).await?;
        Ok(job.map(|(job,)| job))
    }

    /// Jobs whose lease expired and that were asked to cancel, or claimed [`MOST_CLAIMS`] times, are settled. Answers how many.
    pub async fn settle_abandoned(&self) -> Result<u64, StoreError> {
        let mut settled = 0;
        while retried!(self.abandon_one())? {
            settled += 1;
        }
        Ok(settled)
    }

    async fn abandon_one(&self) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let found: Option<(String, String, Option<String>, Option<String>)> =
            tx.one(ABANDON, args![MOST_CLAIMS]).await?;
        let Some((job, run, cancel, lock)) = found else { return Ok(false) };
        if lock.is_some() {
            tx.nudge(Topic::Jobs);
        }
        if let Some(why) = cancel {
            end_steps(&mut tx, &job, "cancelled", &why).await?;
        } else {
            let why = format!("infrastructure: given up after {MOST_CLAIMS} attempts");
            end_steps(&mut tx, &job, "errored", &why).await?;
        }
        rotations::free(&mut tx, &job).await?;
        job_changed(&mut tx, &run, &job).await?;
        tx.commit().await?;
        Ok(true)
    }
}

/// What came of a claim.
enum Claimed {
    Job(Box<(Lease, Run, Job)>),
    None,
    /// Another job was faster with a secret that this one needs for itself.
    Contended,
}

/// Job, run, epoch; and how often it came to nothing: in all, and refused in a row; and what was rested.
type Taken = (String, String, i64, i64, i64, i64);

async fn take(
    tx: &mut Tx<'_>,
    worker: WorkerId,
    term: Duration,
) -> Result<Option<Taken>, StoreError> {
    let taken_over: Option<Taken> = tx.one(CLAIM_EXPIRED, args![worker, term, MOST_CLAIMS]).await?;
    if let Some(taken) = taken_over {
        restart_steps(tx, &taken.0).await?;
        return Ok(Some(taken));
    }
    let runs: Vec<(String,)> = tx.all(TO_SERVE, args![]).await?;
    for (run,) in runs {
        let claimed = tx.one(CLAIM_QUEUED, args![worker, term, run]).await?;
        if claimed.is_some() {
            return Ok(claimed);
        }
    }
    Ok(None)
}

/// What ran of a job waits again, for another attempt.
pub(super) async fn restart_steps(tx: &mut Tx<'_>, job: &str) -> Result<(), StoreError> {
    tx.execute(RESTART_STEPS, args![job]).await.map(drop)
}

/// Keeps a job from being taken over until the transaction ends; answers its run.
pub(super) async fn still_held(tx: &mut Tx<'_>, lease: &Lease) -> Result<String, StoreError> {
    fenced(tx, FENCE, lease).await
}

/// The run of a job that is still this holder's.
async fn fenced(tx: &mut Tx<'_>, statement: Sql, lease: &Lease) -> Result<String, StoreError> {
    let run: Option<(String,)> = tx.one(statement, args![lease.job, lease.epoch]).await?;
    run.map(|(run,)| run).ok_or(StoreError::LeaseLost)
}

async fn record(tx: &mut Tx<'_>, job: &str, steps: &[StepRecord]) -> Result<(), StoreError> {
    for step in steps {
        let StateColumns { state, outcome, skipped, started_at, finished_at } =
            state_columns(&step.state)?;
        let facts = to_json(&StepFacts { reason: None, ..step.facts.clone() })?;
        let values = args![
            job,
            &step.id,
            state,
            outcome,
            skipped,
            started_at,
            finished_at,
            step.attempt,
            step.queued_at,
            step.facts.reason.as_deref(),
            facts,
        ];
        held(tx.execute(RECORD, values).await?).map_err(|_| {
            StoreError::Inconsistent(format!("{job} has no step `{}` to record", step.id))
        })?;
    }
    Ok(())
}
