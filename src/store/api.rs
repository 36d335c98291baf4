//! SKELETON (to be split into files by topic): the store's types and calls.
#![expect(clippy::todo, clippy::unused_async, clippy::needless_pass_by_value, reason = "skeleton")]

use std::time::Duration;

use bytes::Bytes;

use crate::domain::event::PullFacts;
use crate::domain::ids::{CheckId, JobId, RunId, WorkerId};
use crate::domain::impact::{ChangeKind, Reason};
use crate::domain::names::{ConnectorName, RepoName, Sha, StepId};
use crate::domain::plan::Plan;
use crate::domain::run::{Job, Problem, Repository, Run, Selection, StepRecord};
use crate::domain::state::Conclusion;
use crate::domain::time::Timestamp;
use crate::domain::trigger::{Scope, Trigger};

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Someone else holds the job (or delivery, head, planning) now; this writer must stop.
    #[error("the lease is lost: another worker holds it, or it was settled")]
    LeaseLost,
    #[error("the database holds something that it should not: {0}")]
    Inconsistent(String),
    #[error("`{0}` is no database: write `sqlite:<file>` or `postgres://…`")]
    Url(String),
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// One webhook as GitHub sent it.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// `X-GitHub-Delivery`: unique for an event, the same on redelivery.
    pub guid: String,
    pub event: String,
    pub action: Option<String>,
    pub body: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Fresh,
    /// Its GUID was here before; nothing was stored.
    Duplicate,
}

/// The right to handle a stored delivery.
#[derive(Debug, Clone)]
pub struct ClaimedDelivery {
    pub guid: String,
    pub event: String,
    pub body: Bytes,
    pub received_at: Timestamp,
    /// 1 for the first try at handling it.
    pub attempt: u32,
    pub(crate) epoch: i64,
}

/// How a delivery was handled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handled {
    /// Acted on: what was done, in words.
    Done(String),
    /// Not for us: why.
    Ignored(String),
    /// Can never be handled: why.
    Refused(String),
    /// Try again after this long; the error of this time.
    Later(Duration, String),
}

/// A pull request as we last saw it. The generation rises when head or base changes, or it reopens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSeen {
    pub facts: PullFacts,
    pub generation: i64,
}

/// A run to be made. Unique by (repository id, pull, base, head, trigger, cause).
#[derive(Debug, Clone)]
pub struct NewRun {
    pub id: RunId,
    pub repository: Repository,
    pub pull: Option<u64>,
    pub title: String,
    pub head_ref: String,
    pub base_ref: String,
    pub head_sha: Sha,
    pub base_sha: Sha,
    pub trigger: Trigger,
    pub cause: String,
    pub actor: String,
    pub scope: Scope,
    /// Present: the run is made concluded, with this as its reason.
    pub problem: Option<(Conclusion, Problem)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    Fresh(RunId),
    Exists(RunId),
}

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
    pub attempt: u32,
    pub(crate) epoch: i64,
}

/// The right to work on a job until it expires. Made by [`Store::claim_job`] alone.
#[derive(Debug)]
pub struct Lease {
    pub run: RunId,
    pub job: JobId,
    pub worker: WorkerId,
    pub epoch: i64,
    /// How long after the last good heartbeat was *sent* it may expire.
    pub term: Duration,
}

/// What a heartbeat answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Why the job's end was asked for.
    pub cancel: Option<String>,
}

/// Which runs a page or the API asks for; newest first.
#[derive(Debug, Clone, Default)]
pub struct RunQuery {
    pub repository: Option<RepoName>,
    pub pull: Option<u64>,
    pub head_sha: Option<Sha>,
    pub before: Option<RunId>,
    /// At most this many; 0 means 50.
    pub limit: u32,
}

/// `/api/v1/queue`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Queue {
    pub idle: bool,
    pub queued: u64,
    pub running: u64,
    pub oldest_seconds: u64,
    pub deliveries_pending: u64,
    pub checks_pending: u64,
}

/// The last bytes that a running step printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTail {
    /// The offset of `bytes` in the whole log.
    pub start: u64,
    pub bytes: Bytes,
    pub attempt: u32,
    /// Nothing more will come.
    pub ended: bool,
}

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

/// A comment that asked for something, and our answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentAnswer {
    pub comment: u64,
    /// GitHub's id of our reply.
    pub reply: Option<u64>,
    pub settled: bool,
}

/// A repository with what the pages show of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    pub repository: Repository,
    pub last_run: Option<Timestamp>,
}

/// The database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// `sqlite:<file>` or `postgres://…`; migrates, guarded against another process doing the same.
    pub async fn open(_url: &str) -> Result<Self, StoreError> {
        todo!()
    }
    /// For `/readyz`.
    pub async fn check(&self) -> Result<(), StoreError> {
        todo!()
    }
    /// Resolves when something changed that a loop may wait for (`topic`), or never: a hint over polling.
    /// SQLite: in-process notify; PostgreSQL: LISTEN/NOTIFY. Register before you query.
    pub fn nudge(&self, _topic: Topic) -> Nudge {
        todo!()
    }

    // ---- deliveries
    /// Durable when it returns. Many at once share one commit.
    pub async fn take_in(&self, _delivery: NewDelivery) -> Result<Taken, StoreError> {
        todo!()
    }
    /// The oldest unhandled delivery that is due, leased for a minute.
    pub async fn claim_delivery(&self) -> Result<Option<ClaimedDelivery>, StoreError> {
        todo!()
    }
    pub async fn settle_delivery(
        &self,
        _claim: ClaimedDelivery,
        _how: Handled,
    ) -> Result<(), StoreError> {
        todo!()
    }

    // ---- pull requests and runs
    /// Notes what was seen; raises the generation if head or base changed or `reopened`.
    pub async fn observe_pull(
        &self,
        _repository: &Repository,
        _facts: &PullFacts,
        _reopened: bool,
    ) -> Result<PullSeen, StoreError> {
        todo!()
    }
    pub async fn pull(
        &self,
        _repository: u64,
        _number: u64,
    ) -> Result<Option<PullSeen>, StoreError> {
        todo!()
    }
    /// Makes the run (unplanned) and asks runs of *another* head of its pull request to cancel
    /// ("superseded by <sha>", `superseded_by`), in one transaction. A run that exists is left as it is.
    pub async fn create_run(&self, _run: NewRun) -> Result<Created, StoreError> {
        todo!()
    }
    /// The oldest run that waits to be planned, leased.
    pub async fn claim_planning(
        &self,
        _worker: WorkerId,
        _term: Duration,
    ) -> Result<Option<PlanningLease>, StoreError> {
        todo!()
    }
    pub async fn extend_planning(
        &self,
        _lease: &PlanningLease,
        _term: Duration,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Stores the plan: run, jobs and steps in one transaction. No jobs: the run is concluded, success.
    pub async fn settle_planning(
        &self,
        _lease: PlanningLease,
        _planned: PlannedRun,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Planning can't succeed: the run is concluded with this problem.
    pub async fn fail_planning(
        &self,
        _lease: PlanningLease,
        _conclusion: Conclusion,
        _problem: Problem,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Planning failed for now: try again after this long.
    pub async fn retry_planning(
        &self,
        _lease: PlanningLease,
        _after: Duration,
        _error: &str,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Asks a run (or only these connectors of it) to end. Unclaimed jobs and unplanned runs end at once; the
    /// holders of others stop and settle. Answers how many jobs (or unplanned runs) were asked.
    pub async fn cancel_run(
        &self,
        _run: RunId,
        _connectors: Option<&[ConnectorName]>,
        _why: &str,
    ) -> Result<u64, StoreError> {
        todo!()
    }

    // ---- jobs
    /// The next job: queued, or running under an expired lease (its running steps wait again, attempt raised).
    pub async fn claim_job(
        &self,
        _worker: WorkerId,
        _term: Duration,
    ) -> Result<Option<(Lease, Run, Job)>, StoreError> {
        todo!()
    }
    pub async fn heartbeat(&self, _lease: &Lease) -> Result<Beat, StoreError> {
        todo!()
    }
    pub async fn record(&self, _lease: &Lease, _steps: &[StepRecord]) -> Result<(), StoreError> {
        todo!()
    }
    /// Ends the job with its steps' last records; the last one of a run concludes the run. Consumes the right.
    pub async fn settle_job(
        &self,
        _lease: Lease,
        _steps: &[StepRecord],
        _conclusion: Conclusion,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Gives the job back unfinished (worker shutting down): queued again at once.
    pub async fn release_job(&self, _lease: Lease) -> Result<(), StoreError> {
        todo!()
    }
    /// Of these (job, epoch) pairs, the ones that still run under that epoch and an unexpired lease: the reaper keeps them.
    pub async fn alive(&self, _pairs: &[(JobId, i64)]) -> Result<Vec<(JobId, i64)>, StoreError> {
        todo!()
    }
    /// Jobs that were asked to cancel and whose lease expired, or that were claimed more than 5 times, are settled. Answers how many.
    pub async fn settle_abandoned(&self) -> Result<u64, StoreError> {
        todo!()
    }
    /// Concluded jobs and runs whose objects have not got their final names yet.
    pub async fn unarchived_jobs(&self, _limit: u32) -> Result<Vec<(Run, JobId)>, StoreError> {
        todo!()
    }
    pub async fn mark_job_archived(&self, _job: JobId) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn unarchived_runs(&self, _limit: u32) -> Result<Vec<Run>, StoreError> {
        todo!()
    }
    pub async fn mark_run_archived(&self, _run: RunId) -> Result<(), StoreError> {
        todo!()
    }

    // ---- live logs (SQLite: a second file, so that intake is never behind logs)
    /// Replaces the tail of a running step's log.
    pub async fn write_tail(
        &self,
        _lease: &Lease,
        _step: &StepId,
        _tail: LogTail,
    ) -> Result<(), StoreError> {
        todo!()
    }
    pub async fn tail(
        &self,
        _run: RunId,
        _connector: &ConnectorName,
        _step: &StepId,
    ) -> Result<Option<LogTail>, StoreError> {
        todo!()
    }

    // ---- publishing
    /// A head commit whose runs changed since it was last published, leased. A head is due when `version` is
    /// ahead of what was published and its `not_before` has passed.
    pub async fn claim_head(
        &self,
        _worker: WorkerId,
        _term: Duration,
    ) -> Result<Option<ClaimedHead>, StoreError> {
        todo!()
    }
    /// Stores the intent before GitHub is asked.
    pub async fn intend_check(
        &self,
        _head: &ClaimedHead,
        _check: &CheckRecord,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Stores what GitHub acknowledged.
    pub async fn acknowledge_check(
        &self,
        _head: &ClaimedHead,
        _check: &CheckRecord,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Everything of the claimed version is published.
    pub async fn settle_head(&self, _head: ClaimedHead) -> Result<(), StoreError> {
        todo!()
    }
    /// Not all of it: come back after this long.
    pub async fn retry_head(
        &self,
        _head: ClaimedHead,
        _after: Duration,
        _error: &str,
    ) -> Result<(), StoreError> {
        todo!()
    }
    /// Every head with a run, by its check run of ours.
    pub async fn check_by_github_id(
        &self,
        _repository: u64,
        _github_id: u64,
    ) -> Result<Option<(CheckRecord, Sha)>, StoreError> {
        todo!()
    }

    // ---- comments
    /// First sight of a comment inserts it; answers what is known.
    pub async fn comment(
        &self,
        _repository: u64,
        _comment: u64,
    ) -> Result<CommentAnswer, StoreError> {
        todo!()
    }
    pub async fn answer_comment(
        &self,
        _repository: u64,
        _answer: &CommentAnswer,
    ) -> Result<(), StoreError> {
        todo!()
    }

    // ---- reading
    pub async fn run(&self, _run: RunId) -> Result<Option<Run>, StoreError> {
        todo!()
    }
    pub async fn runs(&self, _query: &RunQuery) -> Result<Vec<Run>, StoreError> {
        todo!()
    }
    /// All runs of a head, oldest first.
    pub async fn runs_of_head(
        &self,
        _repository: u64,
        _head: &Sha,
    ) -> Result<Vec<Run>, StoreError> {
        todo!()
    }
    /// GitHub's ids of the current check runs of a run's steps: (connector / step name, id).
    pub async fn check_ids(
        &self,
        _repository: u64,
        _head: &Sha,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        todo!()
    }
    pub async fn repositories(&self) -> Result<Vec<RepositoryRow>, StoreError> {
        todo!()
    }
    pub async fn repository(&self, _name: &RepoName) -> Result<Option<Repository>, StoreError> {
        todo!()
    }
    pub async fn pulls(&self, _repository: u64, _limit: u32) -> Result<Vec<PullSeen>, StoreError> {
        todo!()
    }
    pub async fn queue(&self) -> Result<Queue, StoreError> {
        todo!()
    }
    /// Numbers for `/metrics`: deliveries by event and how they were handled, runs and steps by outcome.
    pub async fn counts(&self) -> Result<Vec<(String, Vec<(String, String)>, i64)>, StoreError> {
        todo!()
    }
    /// Enforces retention: concluded runs, their logs' tails and deliveries older than this.
    pub async fn forget(&self, _older_than: Duration) -> Result<Vec<Run>, StoreError> {
        todo!()
    }
    /// A named lease for a loop of which one process at a time does the work.
    pub async fn hold(
        &self,
        _name: &str,
        _worker: WorkerId,
        _term: Duration,
    ) -> Result<bool, StoreError> {
        todo!()
    }
}

/// What a loop may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Deliveries,
    Planning,
    Jobs,
    Cancels,
    Heads,
    /// Any change of any run: live pages.
    Runs,
}

/// A registered interest; `changed` resolves at the next change after registration.
#[derive(Debug)]
pub struct Nudge {}

impl Nudge {
    pub async fn changed(&mut self) {
        todo!()
    }
}
