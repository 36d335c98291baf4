//! Everyone at once: creators, planners, workers that die, people who cancel, publishers, a janitor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use checkvalve::domain::state::Outcome;
use checkvalve::store::{NewRun, RunQuery, Store, StoreError};

use crate::fixture::{LONG, Place, new_run, planned, running, settle, sha, with, worker};

const ENOUGH: usize = 12;
/// Until so many runs were made, however slow the disk is.
const LONGEST: Duration = Duration::from_mins(1);
const NAMES: [&str; 4] = ["source-a", "source-b", "source-c", "source-d"];

/// Work goes on until this; then everyone tidies up.
#[derive(Clone)]
struct Shared {
    store: Store,
    over: Arc<AtomicBool>,
    made: Arc<AtomicUsize>,
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    async fn create(self, pull: u64) {
        let heads = ['a', 'b', 'c'];
        let mut i = 0;
        while self.goes_on() {
            let head = heads[i % heads.len()];
            let run = NewRun { pull: Some(pull), ..new_run(head, &format!("{pull}-{i}")) };
            self.store.create_run(run).await.unwrap();
            self.made.fetch_add(1, Ordering::Relaxed);
            i += 1;
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    async fn plan(self) {
        while self.goes_on() {
            if let Some(lease) = self.store.claim_planning(worker(), LONG).await.unwrap() {
                held(&self.store.settle_planning(lease, planned(&NAMES)).await);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Every third time it dies with the job in its hands.
    async fn work(self) {
        let me = worker();
        let mut i = 0;
        while self.goes_on() {
            i += 1;
            let term = if i % 3 == 0 { Duration::from_millis(30) } else { LONG };
            let Some((lease, _, job)) = self.store.claim_job(me, term).await.unwrap() else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            held(&self.store.record(&lease, &[with(&job, "install", running())]).await);
            match i % 3 {
                0 => {}
                1 => held(&self.store.release_job(lease).await),
                _ => settle(&self.store, lease, &job, Outcome::Succeeded).await,
            }
        }
    }

    async fn cancel(self) {
        while self.goes_on() {
            let query = RunQuery { limit: 5, ..RunQuery::default() };
            for run in self.store.runs(&query).await.unwrap() {
                let named = [NAMES[0].parse().unwrap(), NAMES[3].parse().unwrap()];
                self.store.cancel_run(run.id, Some(&named), "not these").await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    }

    async fn publish(self) {
        while self.goes_on() {
            if let Some(head) = self.store.claim_head(worker(), LONG).await.unwrap() {
                self.store.settle_head(head, checkvalve::store::Rest::default()).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    async fn tidy(self) {
        while self.goes_on() {
            self.store.settle_abandoned().await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Superseded or cancelled meanwhile is as good as done; anything else is an error.
fn held(answer: &Result<(), StoreError>) {
    assert!(matches!(answer, Ok(()) | Err(StoreError::LeaseLost)), "{answer:?}");
}

pub(crate) async fn everything_at_once_settles(place: &Place) {
    let store = place.open().await;
    let shared = Shared {
        store: store.clone(),
        over: Arc::new(AtomicBool::new(false)),
        made: Arc::new(AtomicUsize::new(0)),
    };
    let mut tasks = vec![
        tokio::spawn(shared.clone().cancel()),
        tokio::spawn(shared.clone().publish()),
        tokio::spawn(shared.clone().tidy()),
    ];
    for pull in [1, 2] {
        tasks.push(tokio::spawn(shared.clone().create(pull)));
        tasks.push(tokio::spawn(shared.clone().plan()));
        tasks.push(tokio::spawn(shared.clone().work()));
        tasks.push(tokio::spawn(shared.clone().work()));
    }
    let began = Instant::now();
    while shared.made.load(Ordering::Relaxed) < ENOUGH && began.elapsed() < LONGEST {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shared.over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    drain(&store).await;

    let mut seen = 0;
    for head in ['a', 'b', 'c'] {
        for run in store.runs_of_head(7, &sha(head)).await.unwrap() {
            seen += 1;
            assert!(run.conclusion.is_some(), "{} never ended", run.id);
            for job in &run.jobs {
                assert!(job.conclusion.is_some(), "{} never ended", job.id);
                assert!(job.steps.iter().all(|step| step.state.is_settled()), "{:?}", job.steps);
            }
        }
    }
    assert_eq!(seen, shared.made.load(Ordering::Relaxed));
    assert!(seen >= ENOUGH, "only {seen} runs in {LONGEST:?}");
}

/// What the loops would do in the end, until nothing is left.
async fn drain(store: &Store) {
    let started = Instant::now();
    while !store.queue().await.unwrap().idle {
        assert!(started.elapsed() < Duration::from_mins(1), "{:?}", store.queue().await);
        if let Some(lease) = store.claim_planning(worker(), LONG).await.unwrap() {
            store.settle_planning(lease, planned(&NAMES)).await.unwrap();
        }
        while let Some((lease, _, job)) = store.claim_job(worker(), LONG).await.unwrap() {
            settle(store, lease, &job, Outcome::Succeeded).await;
        }
        store.settle_abandoned().await.unwrap();
        while let Some(head) = store.claim_head(worker(), LONG).await.unwrap() {
            store.settle_head(head, checkvalve::store::Rest::default()).await.unwrap();
        }
        archive(store).await;
    }
}

/// As if every object had its final name.
pub(crate) async fn archive(store: &Store) {
    for (_, job) in store.unarchived_jobs(50).await.unwrap() {
        store.mark_job_archived(job).await.unwrap();
    }
    for run in store.unarchived_runs(50).await.unwrap() {
        store.mark_run_archived(run.id).await.unwrap();
    }
}
