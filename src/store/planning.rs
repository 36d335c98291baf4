//! From a run that was asked for to a run with jobs.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::Store;
use super::arg::Arg;
use super::cancels::end_noted;
use super::deliveries::held;
use super::error::StoreError;
use super::nudge::Topic;
use super::pool::{Rows, Tx};
use super::read;
use super::rotations;
use super::rows::{count, to_json, to_word};
use super::settle::{Extent, changed, raise_head};
use crate::domain::ids::{JobId, WorkerId};
use crate::domain::impact::{ChangeKind, Reason};
use crate::domain::names::{Sha, StepId};
use crate::domain::patience::{Pause, Waited};
use crate::domain::plan::{Conflict, Plan};
use crate::domain::run::{Problem, Run, Selection};
use crate::domain::state::{Conclusion, SkipReason};

/// One job of a planned run.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub id: JobId,
    pub change: ChangeKind,
    pub reasons: Vec<Reason>,
    pub plan: Plan,
    /// Steps that are left out from the start (state skipped, not asked for); empty: all run.
    pub left_out: Vec<StepId>,
}

/// What planning made of a run.
#[derive(Debug, Clone)]
pub struct PlannedRun {
    pub merge_base: Option<Sha>,
    pub selection: Selection,
    pub jobs: Vec<NewJob>,
}

/// The right to plan a run. Made by [`Store::claim_planning`] alone.
#[derive(Debug)]
pub struct PlanningLease {
    pub run: Run,
    /// How often it was claimed.
    pub attempt: u32,
    /// How often of those it came to nothing for what may pass.
    pub waited: Waited,
    pub(crate) epoch: i64,
}

pub(super) const JOBS: Rows = Rows {
    insert: "insert into jobs (id, run_id, connector, change_kind, reasons, plan, position,
        priority, created_at, lock_key, supersede, state, conclusion, started_at, concluded_at,
        revision)",
    columns: 15,
    fixed: ", -1",
    rest: "",
};

pub(super) const STEPS: Rows = Rows {
    insert: "insert into steps (job_id, id, run_id, position, state, skipped, finished_at, attempt,
        queued_at, reason, facts, revision)",
    columns: 11,
    fixed: ", -1",
    rest: "",
};

statements! {
    // Asked before the claim, so that loops that were woken in vain leave SQLite's writer alone.
    DUE = sql!(
        "select created_at from runs where planned_at is null and state = 'queued'
            and due_at <= ", now!(), " and lease_until <= ", now!(), " limit 1"
    );
    CLAIM = skip_locked!(
        concat!(
            "update runs set epoch = epoch + 1, attempt = attempt + 1, worker = $1,
                lease_until = ", now!(), " + $2
             where id = (select id from runs
                where planned_at is null and state = 'queued'
                    and due_at <= ", now!(), " and lease_until <= ", now!(), "
                order by priority, created_at limit 1"
        ),
        ") returning id, attempt, epoch, tries, refused, rested"
    );
    EXTEND = sql!(
        "update runs set lease_until = ", now!(), " + $3
         where id = $1 and epoch = $2 and state = 'queued' and planned_at is null"
    );
    PLANNED = sql!(
        "update runs set planned_at = ", now!(), ", merge_base = $3, selection = $4, worker = null,
            planning_error = null
         where id = $1 and epoch = $2 and state = 'queued' and planned_at is null
         returning priority"
    );
    FAIL = sql!(
        "update runs set state = 'concluded', conclusion = $3, problem = $4, worker = null,
            concluded_at = ", now!(), "
         where id = $1 and epoch = $2 and state = 'queued' and planned_at is null"
    );
    WITHDRAW = sql!(
        "delete from runs where id = $1 and epoch = $2 and state = 'queued' and planned_at is null"
    );
    RETRY = sql!(
        "update runs set due_at = ", now!(), " + $3, lease_until = 0, planning_error = $4,
            tries = $5, refused = $6, rested = $7, worker = null
         where id = $1 and epoch = $2 and state = 'queued' and planned_at is null"
    );
    // Those with a lock come in the order in which they were made: who waits behind another is as
    // urgent as itself only if that one is.
    HURRY = sql!(
        "update jobs set priority = $2
         where lock_key = $1 and state <> 'concluded' and state = 'queued' and priority > $2"
    );
}

impl Store {
    /// The oldest run that waits to be planned, leased.
    pub async fn claim_planning(
        &self,
        worker: WorkerId,
        term: Duration,
    ) -> Result<Option<PlanningLease>, StoreError> {
        let due: Option<(i64,)> = self.inner.main.one(DUE, args![]).await?;
        if due.is_none() {
            return Ok(None);
        }
        let mut tx = self.begin().await?;
        let claimed: Option<(String, i64, i64, i64, i64, i64)> =
            tx.one(CLAIM, args![worker, term]).await?;
        let Some((run, attempt, epoch, tries, refused, rested)) = claimed else { return Ok(None) };
        let run = read::header(&mut tx, &run).await?;
        tx.commit().await?;
        let waited = Waited { tries: count(tries), refused: count(refused), rested: count(rested) };
        Ok(Some(PlanningLease { run, attempt: count(attempt), waited, epoch }))
    }

    pub async fn extend_planning(
        &self,
        lease: &PlanningLease,
        term: Duration,
    ) -> Result<(), StoreError> {
        held(self.inner.main.execute(EXTEND, args![lease.run.id, lease.epoch, term]).await?)
    }

    /// Stores the plan: run, jobs and steps in one transaction. No jobs: the run is concluded, success.
    pub async fn settle_planning(
        &self,
        lease: PlanningLease,
        planned: PlannedRun,
    ) -> Result<(), StoreError> {
        retried!(self.settle_planning_once(&lease, &planned))
    }

    async fn settle_planning_once(
        &self,
        lease: &PlanningLease,
        planned: &PlannedRun,
    ) -> Result<(), StoreError> {
        let run = lease.run.id.to_string();
        let mut tx = self.begin().await?;
        let selection = to_json(&planned.selection)?;
        let fence = args![run.as_str(), lease.epoch, planned.merge_base.as_ref(), selection];
        let fenced: Option<(i64,)> = tx.one(PLANNED, fence).await?;
        let (priority,) = fenced.ok_or(StoreError::LeaseLost)?;
        let now = tx.now().await?;
        let of = (run.as_str(), lease.run.repository.id);
        insert_jobs(&mut tx, of, &planned.jobs, (priority, now)).await?;
        end_noted(&mut tx, &run).await?;
        let head = changed(&mut tx, &run, Extent::Run).await?;
        raise_head(&mut tx, head).await?;
        tx.nudge(Topic::Jobs);
        tx.commit().await
    }

    /// Planning can't succeed: the run is concluded with this problem.
    pub async fn fail_planning(
        &self,
        lease: PlanningLease,
        conclusion: Conclusion,
        problem: Problem,
    ) -> Result<(), StoreError> {
        let run = lease.run.id.to_string();
        let problem = to_json(&problem)?;
        let mut tx = self.begin().await?;
        let fence = args![run.as_str(), lease.epoch, conclusion.as_str(), problem];
        held(tx.execute(FAIL, fence).await?)?;
        let head = changed(&mut tx, &run, Extent::Run).await?;
        raise_head(&mut tx, head).await?;
        tx.commit().await
    }

    /// Nobody asked for anything: the run is forgotten as if it had not been made.
    pub async fn withdraw_run(&self, lease: PlanningLease) -> Result<(), StoreError> {
        held(self.inner.main.execute(WITHDRAW, args![lease.run.id, lease.epoch]).await?)
    }

    /// Planning failed for now: it is tried again after the pause, and the check says meanwhile what
    /// is waited for.
    pub async fn retry_planning(
        &self,
        lease: PlanningLease,
        pause: &Pause,
    ) -> Result<(), StoreError> {
        let run = lease.run.id.to_string();
        let Pause { after, awaits, waited: Waited { tries, refused, rested } } = pause;
        let (run, awaits) = (run.as_str(), awaits.as_str());
        let retry = args![run, lease.epoch, *after, awaits, *tries, *refused, *rested];
        let mut tx = self.begin().await?;
        held(tx.execute(RETRY, retry).await?)?;
        if pause.is_told() {
            let head = changed(&mut tx, run, Extent::Run).await?;
            raise_head(&mut tx, head).await?;
        }
        tx.commit().await
    }
}

async fn insert_jobs(
    tx: &mut Tx<'_>,
    (run, repository): (&str, u64),
    new: &[NewJob],
    (priority, now): (i64, i64),
) -> Result<(), StoreError> {
    let lock = |job: &NewJob| job.plan.lock().map(|lock| format!("{repository}/{lock}"));
    // In one order, whoever else does the same.
    let locks: BTreeSet<String> = new.iter().filter_map(lock).collect();
    for lock in locks {
        tx.execute(HURRY, args![lock, priority]).await?;
    }
    let mut jobs = VecDeque::with_capacity(new.len());
    let mut steps = VecDeque::new();
    for (position, job) in (0_i64..).zip(new) {
        // Nobody need claim one of which nothing runs.
        let held = job.plan.conflict().map(|_| Conclusion::ActionRequired.as_str());
        let (state, ended_at) =
            if held.is_some() { ("concluded", Some(now)) } else { ("queued", None) };
        jobs.push_back(args![
            job.id,
            run,
            job.plan.connector(),
            to_word(&job.change)?,
            to_json(&job.reasons)?,
            to_json(&job.plan)?,
            position,
            priority,
            now,
            lock(job),
            i64::from(!job.plan.outlives_head()),
            state,
            held,
            ended_at,
            ended_at,
        ]);
        steps.extend(step_rows(run, job, now)?);
    }
    tx.insert::<()>(&JOBS, jobs).await?;
    tx.insert::<()>(&STEPS, steps).await?;
    for job in new {
        rotations::need(tx, job.id, &job.plan).await?;
    }
    Ok(())
}

fn step_rows(run: &str, job: &NewJob, now: i64) -> Result<Vec<Vec<Arg>>, StoreError> {
    let left_out: BTreeSet<&StepId> = job.left_out.iter().collect();
    let guarded = job.plan.is_guarded();
    let not_wanted = if guarded { SkipReason::Unapproved } else { SkipReason::NotAsked };
    let conflict = job.plan.conflict().map(Conflict::what);
    let mut rows = Vec::new();
    for (position, step) in (0_i64..).zip(job.plan.steps()) {
        let of_no_use = || step.left_out.clone().map(|why| SkipReason::Condition { why });
        let skip = match &conflict {
            _ if left_out.contains(&step.id) => Some(not_wanted.clone()),
            Some(what) => of_no_use().or(Some(SkipReason::Conflict { what: what.clone() })),
            // The job's holder says which are of no use.
            None => None,
        };
        let (state, skipped, finished_at, said) = match skip {
            Some(reason) => {
                ("skipped", Some(to_json(&reason)?), Some(now), Some(reason.to_string()))
            }
            None => ("waiting", None, None, None),
        };
        rows.push(args![
            job.id,
            &step.id,
            run,
            position,
            state,
            skipped,
            finished_at,
            1_i64,
            now,
            said,
            "{}",
        ]);
    }
    Ok(rows)
}
