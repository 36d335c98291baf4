//! A simulated GitHub that counts as GitHub publishes it, a real database, and publishers. Both
//! clocks can be moved on together, so that an hour's limits are tested in seconds.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use checkvalve::domain::annotation::{Annotation, Annotations, Level, Standing};
use checkvalve::domain::ids::JobId;
use checkvalve::domain::impact::{ChangeKind, Reason, Rule};
use checkvalve::domain::links::Links;
use checkvalve::domain::names::Sha;
use checkvalve::domain::plan::{Inputs, Plan};
use checkvalve::domain::run::{Repository, job_conclusion};
use checkvalve::domain::state::{Outcome, SkipReason, StepState};
use checkvalve::domain::trigger::{Scope, Trigger};
use checkvalve::github::{Github, GithubSettings};
use checkvalve::service::ledger::SharedPoints;
use checkvalve::service::publisher::Publisher;
use checkvalve::store::{NewJob, NewRun, PlannedRun, Store};
use checkvalve::{ambient, domain::ids::RunId};
use github_simulator::{Change, CheckRun, Commit, Config, RepositoryOptions, Simulator};

use crate::clock::Clock;
use crate::fixture::{LONG, connector, create_with, finished, new_run, planned, spec, worker};
use crate::given::given;

const KEY: &str = include_str!("../../simulator/keys/test-only-app-key.pem");
pub(crate) const REPO: &str = "acme/connectors";
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct World {
    pub(crate) sim: Simulator,
    pub(crate) store: Store,
    pub(crate) publisher: Publisher,
    url: String,
    clock: Clock,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::checked(given("CHECKVALVE_GITHUB_CONTRACT", "openapi-subset.json")).await
    }

    /// Against GitHub's published description, if that is given.
    pub(crate) async fn checked(contract: Option<PathBuf>) -> Self {
        let sim = Simulator::start(Config { contract, ..Config::default() }).await.unwrap();
        sim.faults().enforce_secondary_limits(true);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("checkvalve.db");
        let url = format!("sqlite:{}", file.display());
        let store = Store::open(&url).await.unwrap();
        let clock = Clock::of(&url).await;
        let publisher = publisher(&sim, store.clone());
        Self { sim, store, publisher, url, clock, _folder: folder }
    }

    /// The same, with a head whose run has so many connectors, each with so many steps in a row.
    pub(crate) async fn running(size: (usize, usize)) -> (Self, Repository, Sha) {
        let world = Self::new().await;
        let repository = world.repository(REPO).await;
        let head = world.commit(&repository, "1").await;
        world.run(&repository, &head, size).await;
        (world, repository, head)
    }

    /// As if so much had been made in this hour.
    pub(crate) async fn use_up(&self, repository: &Repository, times: u32) {
        for _ in 0..times {
            self.store.count_content(repository.installation).await.unwrap();
        }
    }

    /// A publisher as of another process: it shares nothing but the database.
    pub(crate) async fn another(&self) -> Publisher {
        publisher(&self.sim, Store::open(&self.url).await.unwrap())
    }

    /// GitHub's client as of another process, which shares its points with all of the database.
    pub(crate) async fn reader(&self) -> Github {
        sharing(&self.sim, Store::open(&self.url).await.unwrap())
    }

    /// Time goes by, here and at GitHub.
    pub(crate) async fn skip(&mut self, by: Duration) {
        self.clock.skip(by).await;
        self.sim.advance(by);
    }

    pub(crate) async fn repository(&self, name: &str) -> Repository {
        let made = self.sim.create_repository(name, RepositoryOptions::default()).await.unwrap();
        Repository {
            id: made.id,
            name: name.parse().unwrap(),
            installation: made.installation_id,
            private: false,
        }
    }

    pub(crate) async fn commit(&self, repository: &Repository, text: &str) -> Sha {
        let change = ("a.txt".to_owned(), Change::Write(text.as_bytes().to_vec()));
        let commit = Commit::new("A change", "ada", vec![change]);
        let name = repository.name.to_string();
        self.sim.commit(&name, "main", commit).await.unwrap().parse().unwrap()
    }

    /// A run of so many connectors, each with so many steps in a row.
    pub(crate) async fn run(
        &self,
        repository: &Repository,
        head: &Sha,
        (connectors, steps): (usize, usize),
    ) -> RunId {
        let cause = ambient::ulid().to_string();
        let new = NewRun {
            repository: repository.clone(),
            head_sha: head.clone(),
            ..new_run('a', &cause)
        };
        let jobs = (0..connectors).map(|nth| job(nth, steps)).collect();
        create_with(&self.store, new, PlannedRun { jobs, ..planned(&[]) }).await
    }

    /// A run that was asked for, of these connectors.
    pub(crate) async fn run_by(
        &self,
        (repository, head): (&Repository, &Sha),
        trigger: Trigger,
        connectors: &[usize],
    ) -> RunId {
        let cause = ambient::ulid().to_string();
        let new = NewRun {
            repository: repository.clone(),
            head_sha: head.clone(),
            trigger,
            scope: Scope::Only { targets: Vec::new() },
            ..new_run('a', &cause)
        };
        let jobs = connectors.iter().map(|nth| job(*nth, 8)).collect();
        create_with(&self.store, new, PlannedRun { jobs, ..planned(&[]) }).await
    }

    /// The next job fails at its third step, with a finding at each of these lines.
    pub(crate) async fn end_finding(&self, lines: std::ops::Range<u32>) {
        let (lease, _, job) = self.store.claim_job(worker(), LONG).await.unwrap().unwrap();
        let mut steps = job.steps.clone();
        for step in &mut steps {
            step.state = finished(Outcome::Succeeded);
        }
        let path = format!("{}/a.py", job.connector);
        let finding = |line| Annotation {
            level: Level::Error,
            rule: "E501".to_owned(),
            message: format!("line {line} is too long"),
            path: Some(path.clone()),
            line: Some(line),
            end_line: None,
            column: None,
        };
        steps[2].state = finished(Outcome::Failed);
        let kept: Vec<Annotation> = lines.map(finding).collect();
        let errors = u32::try_from(kept.len()).unwrap();
        steps[2].facts.annotations = Some(Annotations { errors, kept, ..Annotations::default() });
        steps[2].facts.places = BTreeMap::from([(path.clone(), Standing::Changed)]);
        let conclusion = job_conclusion(&job.plan, &steps);
        self.store.settle_job(lease, &steps, conclusion).await.unwrap();
    }

    /// As if all that is known had happened so much earlier.
    pub(crate) async fn backdate(&mut self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        let runs = "update runs set created_at = created_at - $1, concluded_at = concluded_at - $1";
        sqlx::query(runs).bind(by).execute(&mut self.clock.database).await.unwrap();
    }

    /// As if this check run had been told of before it was written down when.
    pub(crate) async fn forget_when(&mut self, name: &str) {
        let forget = sqlx::query("update checks set told_at = null where name = $1").bind(name);
        let done = forget.execute(&mut self.clock.database).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
    }

    /// Compares what is due with what GitHub shows, and tells what that leads to; some minutes later.
    pub(crate) async fn compare(&mut self) {
        self.skip(Duration::from_mins(11)).await;
        while self.publisher.compare().await.unwrap() {}
        self.settle(Duration::from_secs(1)).await;
    }

    /// So many jobs end, the connectors of these numbers at their third step.
    pub(crate) async fn end(&self, jobs: usize, fail: &[&str]) -> usize {
        for done in 0..jobs {
            let Some((lease, _, job)) = self.store.claim_job(worker(), LONG).await.unwrap() else {
                return done;
            };
            let fails = fail.contains(&job.connector.as_str());
            let mut steps = job.steps.clone();
            for (nth, step) in steps.iter_mut().enumerate() {
                step.state = match nth {
                    2 if fails => finished(Outcome::Failed),
                    nth if nth > 2 && fails => StepState::Skipped {
                        at: ambient::now(),
                        reason: SkipReason::Needs { step: "s2".parse().unwrap() },
                    },
                    _ => finished(Outcome::Succeeded),
                };
            }
            let conclusion = job_conclusion(&job.plan, &steps);
            self.store.settle_job(lease, &steps, conclusion).await.unwrap();
        }
        jobs
    }

    /// Publishes whatever is due now.
    pub(crate) async fn publish(&self) {
        while self.publisher.pass().await.unwrap() {}
    }

    /// Publishes until nothing is left to tell; how long that took at GitHub.
    pub(crate) async fn settle(&mut self, step: Duration) -> Duration {
        let mut took = Duration::ZERO;
        self.publish().await;
        while self.store.queue().await.unwrap().checks_pending > 0 {
            assert!(took < Duration::from_hours(2), "it never ends");
            self.skip(step).await;
            took += step;
            self.publish().await;
        }
        took
    }

    /// The newest of each name: conclusion, or status.
    pub(crate) fn checks(&self, head: &Sha) -> BTreeMap<String, String> {
        let runs = self.sim.latest_check_runs(REPO, head.as_str());
        let state = |run: CheckRun| (run.name, run.conclusion.unwrap_or(run.status));
        runs.into_iter().map(state).collect()
    }

    pub(crate) fn check(&self, head: &Sha, name: &str) -> CheckRun {
        let runs = self.sim.latest_check_runs(REPO, head.as_str());
        runs.into_iter().find(|run| run.name == name).expect(name)
    }

    pub(crate) fn refused(&self) -> usize {
        self.sim.calls().iter().filter(|call| matches!(call.status, 403 | 429)).count()
    }

    /// Writes to check runs so far.
    pub(crate) fn writes(&self) -> usize {
        let calls = self.sim.calls();
        let writes = |call: &&github_simulator::Call| {
            call.path.contains("/check-runs") && matches!(&*call.method, "POST" | "PATCH")
        };
        calls.iter().filter(writes).count()
    }

    /// Nothing was sent that GitHub would not take, nor while it had asked to wait.
    pub(crate) fn is_clean(&self) {
        let ours = |violation: &String| !violation.starts_with("answer ");
        let violations: Vec<String> = self.sim.violations().into_iter().filter(ours).collect();
        assert_eq!(violations, Vec::<String>::new());
    }
}

fn sharing(sim: &Simulator, store: Store) -> Github {
    let settings = GithubSettings {
        api_url: sim.api_url(),
        app_id: sim.app().id.to_string(),
        private_key: KEY.into(),
        ca_file: None,
    };
    Github::new(settings).unwrap().sharing(Arc::new(SharedPoints { store }))
}

fn publisher(sim: &Simulator, store: Store) -> Publisher {
    let github = Arc::new(sharing(sim, store.clone()));
    let links = Links {
        public: "https://ci.example.org".to_owned(),
        github: "https://github.com".to_owned(),
    };
    Publisher { store, github, links, worker: worker() }
}

pub(crate) fn job(nth: usize, steps: usize) -> NewJob {
    let name = format!("source-{nth:03}");
    let ids: Vec<String> = (0..steps).map(|step| format!("s{step}")).collect();
    let specs = ids.iter().enumerate().map(|(nth, id)| match nth.checked_sub(1) {
        Some(before) => spec(id, &[&ids[before]]),
        None => spec(id, &[]),
    });
    let plan = Plan::new(connector(&name), name.clone(), Inputs::default(), specs.collect());
    NewJob {
        id: JobId::new(ambient::ulid()),
        change: ChangeKind::Modified,
        reasons: vec![Reason { path: format!("{name}/a.py"), rule: Rule::Root, via: Vec::new() }],
        plan: plan.unwrap(),
        left_out: Vec::new(),
    }
}
