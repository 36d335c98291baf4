//! Several jobs want one result at once: one of them works it out, and the others wait for it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/scripted.rs"]
mod scripted;
#[expect(dead_code, reason = "shared with the executors' tests")]
#[path = "support/steps.rs"]
mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use checkvalve::ambient;
use checkvalve::domain::cache::{CacheState, Cached, Ingredients, Known, Reuse, Share};
use checkvalve::domain::ids::{JobId, RunId};
use checkvalve::domain::names::StepId;
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::run::StepRecord;
use checkvalve::domain::secret::JobSecrets;
use checkvalve::domain::state::StepState;
use checkvalve::domain::turn::{Maker, Turn};
use checkvalve::engine::{
    Engine, EngineOptions, Images, JobCache, JobLabels, JobRun, Journal, Kept, Left, Stop,
};
use scripted::{Lost, Notes, Scripted};
use steps::{Place, plan, spec};
use tokio_util::sync::CancellationToken;

/// What a database knows, for all jobs of a house.
#[derive(Default, Clone)]
struct Shared(Arc<House>);

#[derive(Default)]
struct House {
    notes: Notes,
    /// Who is at it, by key; and whether that has failed.
    makers: Mutex<BTreeMap<String, (JobId, bool)>>,
    /// Who was told to wait.
    waiting: Mutex<BTreeSet<JobId>>,
}

struct Desk {
    house: Shared,
    job: JobId,
    records: Mutex<Vec<StepRecord>>,
}

impl Journal for Desk {
    type Error = Lost;

    async fn record(&self, steps: &[StepRecord]) -> Result<(), Lost> {
        self.records.lock().unwrap().extend_from_slice(steps);
        Ok(())
    }

    async fn printed(&self, _: &StepId, _: u32, _: u64, _: &Bytes) {}

    async fn keep(&self, left: &Left) -> Result<Kept, Lost> {
        self.house.0.notes.keep(left).await
    }

    async fn recall(&self, step: &StepId, ingredients: &Ingredients) -> Result<Known, Lost> {
        self.house.0.notes.recall(step, ingredients).await
    }

    async fn replay(
        &self,
        step: (&StepId, u32),
        earlier: &Cached,
        halt: &CancellationToken,
    ) -> Result<Option<Kept>, Lost> {
        self.house.0.notes.replay(step, earlier, halt).await
    }

    async fn remember(&self, step: &StepRecord, ingredients: &Ingredients) -> Result<(), Lost> {
        self.house.0.notes.remember(step, ingredients).await?;
        self.house.0.makers.lock().unwrap().remove(&ingredients.key());
        Ok(())
    }

    async fn turn(
        &self,
        step: &StepId,
        ingredients: &Ingredients,
        waited: Option<&Maker>,
    ) -> Result<Turn, Lost> {
        let mut makers = self.house.0.makers.lock().unwrap();
        let maker = |job| Maker {
            run: RunId::new(ambient::ulid()),
            job,
            epoch: 1,
            connector: "source-x".parse().unwrap(),
            step: step.clone(),
        };
        let turn = match makers.get(&ingredients.key()) {
            Some((job, true)) if waited.is_some_and(|waited| waited.job == *job) => Turn::Beside,
            Some((job, false)) if *job != self.job => {
                self.house.0.waiting.lock().unwrap().insert(self.job);
                Turn::Theirs(maker(*job))
            }
            Some(_) | None => Turn::Ours,
        };
        if turn == Turn::Ours {
            makers.insert(ingredients.key(), (self.job, false));
        }
        Ok(turn)
    }

    async fn end_turn(&self, ingredients: &Ingredients, failed: bool) -> Result<(), Lost> {
        let mut makers = self.house.0.makers.lock().unwrap();
        if failed {
            makers.insert(ingredients.key(), (self.job, true));
        } else {
            makers.remove(&ingredients.key());
        }
        Ok(())
    }
}

/// Runs a job; answers its last records and all that were written on the way.
async fn job(
    engine: &Engine<Scripted>,
    house: &Shared,
    (steps, reuse): (Vec<StepSpec>, Reuse),
    stop: &Stop,
) -> (Vec<StepRecord>, Vec<StepRecord>) {
    let place = Place::new();
    let sources = BTreeMap::from([("source-x/src".to_owned(), "1".repeat(64))]);
    let plan = plan(steps).with_sources(sources);
    let ulid = ambient::ulid();
    let id = JobId::new(ulid);
    let run = JobRun {
        plan: &plan,
        records: vec![],
        labels: JobLabels {
            instance: "turns".to_owned(),
            run: RunId::new(ulid),
            job: id,
            epoch: 1,
            connector: "source-x".parse().unwrap(),
        },
        env: BTreeMap::new(),
        secrets: JobSecrets::default(),
        source: place.source.clone(),
        images: Images::OfJob { repository: 1 },
        cache: Some(JobCache { repository: 1, reuse, share: Share::Repository }),
        spool: place.path().join(ulid.to_string()),
        fail_fast: false,
    };
    let desk = Desk { house: house.clone(), job: id, records: Mutex::default() };
    let records = engine.run(run, &desk, stop).await.unwrap();
    (records, desk.records.into_inner().unwrap())
}

fn engine(slots: usize) -> (Engine<Scripted>, Scripted) {
    let executor = Scripted::default();
    let options = EngineOptions { backoff: Duration::from_millis(10), ..EngineOptions::default() };
    (Engine::with_options(executor.clone(), slots, options), executor)
}

fn steps(script: &str) -> Vec<StepSpec> {
    vec![spec("python", "unit", &[], script)]
}

fn begun(executor: &Scripted) -> usize {
    executor.begun.lock().unwrap().len()
}

/// However busy the host is; what never comes is the test's failure.
async fn until(comes: impl Fn() -> bool) {
    let came = async {
        while !comes() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), came).await.unwrap();
}

/// So many steps have begun, at any time.
async fn until_begun(executor: &Scripted, count: usize) {
    until(|| begun(executor) == count).await;
}

/// So many jobs have been told to wait.
async fn until_waiting(house: &Shared, count: usize) {
    until(|| house.0.waiting.lock().unwrap().len() == count).await;
}

fn outcome(record: &StepRecord) -> (&'static str, CacheState) {
    let cache = record.facts.cache.as_ref().unwrap().state;
    (record.state.outcome().unwrap().as_str(), cache)
}

#[tokio::test]
async fn one_works_and_the_others_take_what_it_found_and_say_for_whom_they_wait() {
    let (engine, executor) = engine(4);
    let (house, stop) = (Shared::default(), Stop::new());
    let run = || job(&engine, &house, (steps("ok gate"), Reuse::All), &stop);
    let late = async || {
        until_begun(&executor, 1).await;
        run().await
    };
    let open = async {
        until_waiting(&house, 2).await;
        executor.gate.0.add_permits(1);
    };
    let (first, second, third, ()) = tokio::join!(run(), late(), late(), open);
    assert_eq!(begun(&executor), 1, "it ran once");
    assert_eq!(outcome(&first.0[0]), ("succeeded", CacheState::Miss));
    for (records, told) in [second, third] {
        assert_eq!(outcome(&records[0]), ("succeeded", CacheState::Hit));
        assert_eq!(told[0].state, StepState::Waiting);
        let reason = told[0].facts.reason.as_deref().unwrap();
        assert!(reason.starts_with("waits for `unit` of source-x in run run_"), "{reason}");
        assert_eq!(records[0].facts.reason, None, "and then it does not wait any more");
    }
}

#[tokio::test]
async fn another_takes_over_from_one_that_is_cancelled() {
    let (engine, executor) = engine(4);
    let (house, stopped, stop) = (Shared::default(), Stop::new(), Stop::new());
    // The script is part of the key.
    let cancelled = job(&engine, &house, (steps("ok gate"), Reuse::All), &stopped);
    let waiting = async {
        until_begun(&executor, 1).await;
        job(&engine, &house, (steps("ok gate"), Reuse::All), &stop).await
    };
    let over = async {
        until_waiting(&house, 1).await;
        stopped.stop("nobody wants it");
        until_begun(&executor, 2).await;
        stop.stop("seen");
    };
    let ((first, _), (second, told), ()) =
        Box::pin(async { tokio::join!(cancelled, waiting, over) }).await;
    assert_eq!(outcome(&first[0]).0, "cancelled");
    assert_eq!(told[0].state, StepState::Waiting);
    assert_eq!(second[0].facts.reason.as_deref(), Some("seen"));
    assert!(house.0.makers.lock().unwrap().is_empty(), "no turn is left");
}

#[tokio::test]
async fn those_who_waited_for_a_failure_try_at_once_side_by_side() {
    let (engine, executor) = engine(8);
    let (house, stop) = (Shared::default(), Stop::new());
    let run = || job(&engine, &house, (steps("fail gate"), Reuse::All), &stop);
    let late = async || {
        until_begun(&executor, 1).await;
        run().await
    };
    let open = async {
        until_waiting(&house, 3).await;
        executor.gate.0.add_permits(1);
        // None of the others gets through before all of them stand at the gate.
        until_begun(&executor, 4).await;
        executor.gate.0.add_permits(3);
    };
    let all = async { tokio::join!(run(), late(), late(), late(), open) };
    let (one, two, three, four, ()) = Box::pin(all).await;
    for (records, _) in [one, two, three, four] {
        assert_eq!(outcome(&records[0]).0, "failed");
    }
    assert_eq!(begun(&executor), 4);
}

#[tokio::test]
async fn who_asks_for_no_results_waits_for_nobody() {
    let (engine, executor) = engine(4);
    let (house, stop) = (Shared::default(), Stop::new());
    let run = |reuse| job(&engine, &house, (steps("ok gate"), reuse), &stop);
    let open = async {
        until_begun(&executor, 3).await;
        executor.gate.0.add_permits(3);
    };
    tokio::join!(run(Reuse::All), run(Reuse::Never), run(Reuse::Inherited), open);
    assert_eq!((begun(&executor), executor.most.load(Ordering::SeqCst)), (3, 3));
    assert!(house.0.waiting.lock().unwrap().is_empty());
}

/// What a step begins with is not given up for a wait, and a wait takes no slot from others.
#[tokio::test]
async fn a_wait_holds_no_slot() {
    let (engine, executor) = engine(2);
    let (house, stop) = (Shared::default(), Stop::new());
    let first = job(&engine, &house, (steps("ok gate"), Reuse::All), &stop);
    let others = async {
        until_begun(&executor, 1).await;
        let mut more = steps("ok gate");
        more.push(spec("python", "lint", &[], "ok 1"));
        more.push(spec("python", "docs", &[], "ok 1"));
        job(&engine, &house, (more, Reuse::All), &stop).await
    };
    let open = async {
        until_waiting(&house, 1).await;
        // Both slots would be taken by the one who works and the one who waits.
        until_begun(&executor, 3).await;
        executor.gate.0.add_permits(1);
    };
    let (_, (records, _), ()) = tokio::join!(first, others, open);
    let hit = records.iter().find(|record| record.id.as_str() == "unit").unwrap();
    assert_eq!(outcome(hit), ("succeeded", CacheState::Hit));
    let order: Vec<String> =
        executor.begun.lock().unwrap().iter().map(|(step, _)| step.clone()).collect();
    assert_eq!(order, ["unit", "lint", "docs"]);
    assert_eq!(executor.most.load(Ordering::SeqCst), 2);
}
