//! A process of ours: all that a server does, a pass at a time, with connections, caches and jobs in hand of its
//! own. It is killed by dropping what it is about.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use checkvalve::ambient;
use checkvalve::blobs::Blobs;
use checkvalve::config::grants::Grants;
use checkvalve::config::server::Served;
use checkvalve::domain::ids::WorkerId;
use checkvalve::domain::links::Links;
use checkvalve::domain::run::{Job, Run, StepRecord, job_conclusion};
use checkvalve::domain::state::{Outcome, SkipReason, StepState};
use checkvalve::git::GitCache;
use checkvalve::github::{Github, GithubSettings};
use checkvalve::service::archive::Archivist;
use checkvalve::service::intake::Intake;
use checkvalve::service::janitor::Janitor;
use checkvalve::service::ledger::SharedPoints;
use checkvalve::service::planner::Planner;
use checkvalve::service::publisher::Publisher;
use checkvalve::service::recovery::Recovery;
use checkvalve::service::source::Sources;
use checkvalve::store::{Lease, Store, StoreError};
use futures_util::future::{BoxFuture, join_all};
use github_simulator::Simulator;
use tokio_util::sync::CancellationToken;

/// No lease is waited for: time is moved on.
pub(crate) const TERM: Duration = Duration::from_secs(30);

/// What a server does beside carrying out jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Intake,
    Planner,
    Publisher,
    Compare,
    Recovery,
    Janitor,
}

impl Part {
    pub(crate) const ALL: [Self; 6] = [
        Self::Intake,
        Self::Planner,
        Self::Publisher,
        Self::Compare,
        Self::Recovery,
        Self::Janitor,
    ];
}

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) worker: WorkerId,
    intake: Intake,
    planner: Planner,
    publisher: Publisher,
    recovery: Recovery,
    janitor: Janitor,
    held: Vec<(Lease, Run, Job)>,
}

impl House {
    pub(crate) async fn open(sim: &Simulator, url: &str, folder: &Path) -> Self {
        let store = Store::open(url).await.unwrap();
        let app = sim.app();
        let settings = GithubSettings {
            api_url: sim.api_url(),
            app_id: app.id.to_string(),
            private_key: app.private_key_pem.into(),
            ca_file: None,
        };
        let points = SharedPoints { store: store.clone() };
        let github = Arc::new(Github::new(settings).unwrap().sharing(Arc::new(points)));
        let worker = WorkerId::new(ambient::ulid());
        let served = Arc::new(Served::parse("acme/*").unwrap());
        let intake = Intake { store: store.clone(), github: github.clone(), served };
        let links = Links { public: "https://ci.example.org".to_owned(), github: sim.url() };
        let (archived, scratch) = (links.clone(), folder.join("scratch"));
        let publisher = Publisher { store: store.clone(), github: github.clone(), links, worker };
        let recovery = Recovery {
            intake: intake.clone(),
            worker,
            every: Duration::from_millis(1),
            kept: Duration::from_hours(45 * 24),
            memory: Arc::default(),
        };
        let objects = format!("file:{}", folder.join("objects").display()).parse().unwrap();
        let blobs = Blobs::open(&objects, |_| None).await.unwrap();
        let janitor = Janitor {
            store: store.clone(),
            archivist: Archivist::new(store.clone(), blobs.clone(), archived, scratch),
            reaper: None,
            worker,
            retention: Duration::from_hours(45 * 24),
            kept: Arc::default(),
        };
        let planner = Planner {
            store: store.clone(),
            sources: Sources {
                github,
                cache: GitCache::new(folder.join("git")),
                github_url: sim.url(),
            },
            blobs,
            grants: Grants::parse(&grants()).unwrap(),
            worker,
        };
        Self { store, worker, intake, planner, publisher, recovery, janitor, held: Vec::new() }
    }

    /// Does one pass of each, all at once; an error is said, as a loop does, and is not the end.
    pub(crate) async fn works(&self, parts: &[Part]) -> Vec<String> {
        let passes = parts.iter().map(|part| async move {
            let passed = self.pass(*part).await;
            passed.err().map(|error| format!("{part:?}: {error:#}"))
        });
        join_all(passes).await.into_iter().flatten().collect()
    }

    /// The same until nothing is left to do.
    pub(crate) async fn finishes(&self, part: Part) {
        while self.pass(part).await.unwrap_or(false) {}
    }

    fn pass(&self, part: Part) -> BoxFuture<'_, anyhow::Result<bool>> {
        Box::pin(async move {
            let never = CancellationToken::new();
            match part {
                Part::Intake => self.intake.pass(&never).await,
                Part::Planner => self.planner.pass().await,
                Part::Publisher => self.publisher.pass().await,
                Part::Compare => self.publisher.compare().await,
                Part::Recovery => self.recovery.pass(&never).await,
                Part::Janitor => self.janitor.tidy().await,
            }
        })
    }

    /// Takes the next job in hand, and begins its first step.
    pub(crate) async fn claims(&mut self) -> Option<&(Lease, Run, Job)> {
        let (lease, run, job) = self.store.claim_job(self.worker, TERM).await.unwrap()?;
        let first = job.steps.iter().find(|step| !step.state.is_settled());
        if let Some(first) = first {
            let running = StepState::Running { started_at: ambient::now() };
            let begun = StepRecord { state: running, ..first.clone() };
            assert_not_lost(self.store.record(&lease, &[begun]).await);
        }
        self.held.push((lease, run, job));
        self.held.last()
    }

    /// A job that it has in hand ends: as it is told to, or its n-th step fails.
    pub(crate) async fn ends(&mut self, nth: usize, fails_at: Option<usize>) -> Option<String> {
        if self.held.is_empty() {
            return None;
        }
        let (lease, run, job) = self.held.swap_remove(nth % self.held.len());
        let cancelled = match self.store.heartbeat(&lease).await {
            Ok(beat) => beat.cancel.is_some() || job.cancel.is_some(),
            Err(StoreError::LeaseLost) => false,
            Err(error) => panic!("{error}"),
        };
        let steps = ended(&job, cancelled, fails_at);
        let conclusion = job_conclusion(&job.plan, &steps);
        let settled = self.store.settle_job(lease, &steps, conclusion).await;
        let is_lost = matches!(settled, Err(StoreError::LeaseLost));
        assert_not_lost(settled.map(drop));
        let how = if is_lost { "too late" } else { conclusion.as_str() };
        Some(format!("{} of {}: {how}", job.connector, run.id))
    }

    pub(crate) fn has_jobs(&self) -> bool {
        !self.held.is_empty()
    }
}

/// Whose lease is lost is refused, and that is as it should be.
fn assert_not_lost(done: Result<(), StoreError>) {
    match done {
        Ok(()) | Err(StoreError::LeaseLost) => {}
        Err(error) => panic!("{error}"),
    }
}

fn ended(job: &Job, cancelled: bool, fails_at: Option<usize>) -> Vec<StepRecord> {
    let now = ambient::now();
    let mut steps = job.steps.clone();
    let mut failed: Option<&str> = None;
    for (nth, step) in steps.iter_mut().enumerate() {
        if step.state.is_settled() {
            continue;
        }
        let finished = |outcome| StepState::Finished { started_at: now, finished_at: now, outcome };
        step.state = match failed {
            _ if cancelled => finished(Outcome::Cancelled),
            // Each needs the one before.
            Some(need) => StepState::Skipped {
                at: now,
                reason: SkipReason::Needs { step: need.parse().unwrap() },
            },
            None if fails_at == Some(nth) => finished(Outcome::Failed),
            None => finished(Outcome::Succeeded),
        };
        if fails_at == Some(nth) && failed.is_none() {
            failed = Some(job.steps[nth].id.as_str());
        }
    }
    steps
}

fn grants() -> toml::Value {
    let table: toml::Table =
        "grants = [{ repositories = [\"acme/*\"], env = [\"CHECKVALVE_SECRET_TOKEN\"] }]"
            .parse()
            .unwrap();
    table["grants"].clone()
}

/// Goes on with `work` so often at most: then it is dropped where it stands, as by a kill.
pub(crate) async fn killed_after<F: Future>(times: usize, work: F) -> Option<F::Output> {
    let (mut work, mut left) = (pin!(work), times);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        work.as_mut().poll(context).map(Some)
    })
    .await
}
