//! What the stories begin with.

use std::time::Duration;

use bytes::Bytes;
use checkvalve::ambient;
use checkvalve::domain::audit::Route;
use checkvalve::domain::cache::Reuse;
use checkvalve::domain::event::{Actor, PullFacts};
use checkvalve::domain::ids::{JobId, RunId, WorkerId};
use checkvalve::domain::impact::{ChangeKind, Reason, Rule};
use checkvalve::domain::names::{ConnectorName, Sha, StepId};
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::plan::{Inputs, Plan};
use checkvalve::domain::run::{Job, Repository, Run, Selection, StepRecord};
use checkvalve::domain::state::{Conclusion, Outcome, StepState};
use checkvalve::domain::trigger::{Scope, Trigger};
use checkvalve::domain::trust::Trust;
use checkvalve::store::{Act, Created, Lease, NewDelivery, NewJob, NewRun, PlannedRun, Store};

/// A lease that no test outlives.
pub(crate) const LONG: Duration = Duration::from_mins(10);
/// A lease that ends while a test waits.
pub(crate) const SHORT: Duration = Duration::from_millis(200);

/// A database that nobody else has.
pub(crate) struct Place {
    pub(crate) url: String,
    /// Goes with the test.
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("state/checkvalve.db").display());
        Self { url, _folder: Some(folder) }
    }

    pub(crate) async fn postgres() -> Option<Self> {
        crate::postgres::database().await.map(|url| Self { url, _folder: None })
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(&self.url).await.unwrap()
    }
}

/// Until a `SHORT` lease is over, by the database's clock.
pub(crate) async fn wait_out() {
    tokio::time::sleep(SHORT + Duration::from_millis(40)).await;
}

pub(crate) fn worker() -> WorkerId {
    WorkerId::new(ambient::ulid())
}

pub(crate) fn sha(digit: char) -> Sha {
    digit.to_string().repeat(40).parse().unwrap()
}

pub(crate) fn step(id: &str) -> StepId {
    id.parse().unwrap()
}

pub(crate) fn connector(name: &str) -> ConnectorName {
    name.parse().unwrap()
}

pub(crate) fn delivery(guid: &str) -> NewDelivery {
    NewDelivery {
        guid: guid.to_owned(),
        event: "pull_request".to_owned(),
        action: Some("opened".to_owned()),
        headers: None,
        body: Bytes::from_static(b"{}"),
    }
}

pub(crate) fn repository() -> Repository {
    Repository { id: 7, name: "acme/connectors".parse().unwrap(), installation: 3, private: true }
}

pub(crate) fn pull(head: char) -> PullFacts {
    PullFacts {
        number: 12,
        title: "Faster \u{1f980}".to_owned(),
        author: Actor { login: "ada".to_owned(), bot: false },
        open: true,
        draft: false,
        head_sha: sha(head),
        head_ref: "faster".to_owned(),
        head_repo: None,
        head_repo_id: None,
        base_sha: sha('0'),
        base_ref: "main".to_owned(),
    }
}

/// What Ada asks for in a comment on pull request 12, at a head of forty times `a`.
pub(crate) fn act(cause: &str, asked: &str) -> Act {
    Act {
        repository: repository(),
        pull: Some(12),
        head: Some(sha('a')),
        actor: "ada".to_owned(),
        route: Route::Comment,
        cause: cause.to_owned(),
        asked: asked.to_owned(),
    }
}

/// A run of pull request 12 at a head of forty such digits.
pub(crate) fn new_run(head: char, cause: &str) -> NewRun {
    NewRun {
        id: RunId::new(ambient::ulid()),
        repository: repository(),
        pull: Some(12),
        title: "Faster".to_owned(),
        head_ref: "faster".to_owned(),
        base_ref: "main".to_owned(),
        head_sha: sha(head),
        base_sha: sha('0'),
        trigger: Trigger::PullRequest,
        cause: cause.to_owned(),
        actor: "ada".to_owned(),
        scope: Scope::Affected,
        reuse: Reuse::All,
        trust: Trust::Trusted,
        problem: None,
    }
}

pub(crate) fn spec(id: &str, needs: &[&str]) -> StepSpec {
    StepSpec {
        image: "python:3.11".to_owned(),
        run: vec!["true".to_owned()],
        needs: needs.iter().map(|id| step(id)).collect(),
        timeout_ms: 1000,
        network: Network::None,
        ..StepSpec::new(step(id))
    }
}

/// `install`, and `unit` after it.
pub(crate) fn new_job(name: &str) -> NewJob {
    let steps = vec![spec("install", &[]), spec("unit", &["install"])];
    NewJob {
        id: JobId::new(ambient::ulid()),
        change: ChangeKind::Modified,
        reasons: vec![Reason { path: format!("{name}/a.py"), rule: Rule::Root, via: Vec::new() }],
        plan: Plan::new(connector(name), name.to_owned(), Inputs::default(), steps).unwrap(),
        left_out: Vec::new(),
    }
}

pub(crate) fn planned(names: &[&str]) -> PlannedRun {
    PlannedRun {
        merge_base: Some(sha('f')),
        selection: Selection { complete: true, files: 2, ..Selection::default() },
        jobs: names.iter().map(|name| new_job(name)).collect(),
    }
}

/// The same jobs, under locks (none: empty).
pub(crate) fn locked(jobs: &[(&str, &str)]) -> PlannedRun {
    let job = |(name, lock): &(&str, &str)| {
        let job = new_job(name);
        let lock = (!lock.is_empty()).then(|| (*lock).to_owned());
        NewJob { plan: job.plan.with_lock(lock), ..job }
    };
    PlannedRun { jobs: jobs.iter().map(job).collect(), ..planned(&[]) }
}

/// Makes a run with this plan.
pub(crate) async fn create_with(store: &Store, run: NewRun, planned: PlannedRun) -> RunId {
    let run = create(store, run).await;
    let lease = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(lease.run.id, run);
    store.settle_planning(lease, planned).await.unwrap();
    run
}

/// Makes a run, which must be new.
pub(crate) async fn create(store: &Store, run: NewRun) -> RunId {
    match store.create_run(run).await.unwrap() {
        Created::Fresh(run) => run,
        made @ (Created::Exists(_) | Created::Outdated) => panic!("not made: {made:?}"),
    }
}

/// Makes a run with a job for each of these connectors.
pub(crate) async fn create_planned(store: &Store, head: char, names: &[&str]) -> RunId {
    let run = create(store, new_run(head, "1")).await;
    let lease = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(lease.run.id, run);
    store.settle_planning(lease, planned(names)).await.unwrap();
    run
}

pub(crate) async fn claim(store: &Store) -> (Lease, Job) {
    let (lease, _, job) = store.claim_job(worker(), LONG).await.unwrap().expect("a job");
    (lease, job)
}

pub(crate) async fn read(store: &Store, run: RunId) -> Run {
    store.run(run).await.unwrap().expect("the run")
}

/// A step's record with another state.
pub(crate) fn with(job: &Job, id: &str, state: StepState) -> StepRecord {
    StepRecord { state, ..job.step(&step(id)).unwrap().clone() }
}

pub(crate) fn running() -> StepState {
    StepState::Running { started_at: ambient::now() }
}

pub(crate) fn finished(outcome: Outcome) -> StepState {
    let now = ambient::now();
    StepState::Finished { started_at: now, finished_at: now, outcome }
}

/// Both steps ended so, and the job with them.
pub(crate) async fn settle(store: &Store, lease: Lease, job: &Job, outcome: Outcome) {
    let steps = ["install", "unit"].map(|id| with(job, id, finished(outcome)));
    let conclusion = match outcome {
        Outcome::Succeeded => Conclusion::Success,
        Outcome::Cancelled => Conclusion::Cancelled,
        Outcome::Failed | Outcome::TimedOut | Outcome::Errored => Conclusion::Failure,
    };
    store.settle_job(lease, &steps, conclusion).await.unwrap();
}
