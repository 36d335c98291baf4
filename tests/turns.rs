//! Several jobs want one result at once: one of them works it out, and the others wait for it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/scripted.rs"]
mod scripted;
#[expect(dead_code, reason = "shared with the executors' tests")]
#[path = "support/steps.rs"]
mod steps;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use checkvalve::ambient;
use checkvalve::domain::cache::{CacheState, Cached, Ingredients, Known, Reuse};
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
            Some((job, false)) if *job != self.job => Turn::Theirs(maker(*job)),
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
        cache: Some(JobCache { repository: 1, reuse }),
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

fn outcome(record: &StepRecord) -> (&'static str, CacheState) {
    let cache = record.facts.cache.as_ref().unwrap().state;
    (record.state.outcome().unwrap().as_str(), cache)
}

#[tokio::test]
async fn one_works_and_the_others_take_what_it_found_and_say_for_whom_they_wait() {
    let (engine, executor) = engine(4);
    let (house, stop) = (Shared::default(), Stop::new());
    let run = |late| {
        let (engine, house, stop) = (&engine, &house, &stop);
        async move {
            tokio::time::sleep(Duration::from_millis(late)).await;
            job(engine, house, (steps("ok 700"), Reuse::All), stop).await
        }
    };
    let (first, second, third) = tokio::join!(run(0), run(100), run(100));
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
    let cancelled = async {
        let run = job(&engine, &house, (steps("ok 5000"), Reuse::All), &stopped);
        let end = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stopped.stop("nobody wants it");
        };
        tokio::join!(run, end).0
    };
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The script is part of the key.
        job(&engine, &house, (steps("ok 5000"), Reuse::All), &stop).await
    };
    let over = async {
        while begun(&executor) < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.stop("seen");
    };
    let limit = Duration::from_secs(4);
    let all = Box::pin(async { tokio::join!(cancelled, waiting, over) });
    let ((first, _), (second, told), ()) = tokio::time::timeout(limit, all).await.unwrap();
    assert_eq!(outcome(&first[0]).0, "cancelled");
    assert_eq!(told[0].state, StepState::Waiting);
    assert_eq!(second[0].facts.reason.as_deref(), Some("seen"));
    assert!(house.0.makers.lock().unwrap().is_empty(), "no turn is left");
}

#[tokio::test]
async fn those_who_waited_for_a_failure_try_at_once_side_by_side() {
    let (engine, executor) = engine(8);
    let (house, stop) = (Shared::default(), Stop::new());
    let run = |late| {
        let (engine, house, stop) = (&engine, &house, &stop);
        async move {
            tokio::time::sleep(Duration::from_millis(late)).await;
            job(engine, house, (steps("fail 600"), Reuse::All), stop).await
        }
    };
    let began = std::time::Instant::now();
    let (one, two, three, four) = tokio::join!(run(0), run(100), run(100), run(100));
    assert!(began.elapsed() < Duration::from_millis(2400), "{:?}", began.elapsed());
    for (records, _) in [one, two, three, four] {
        assert_eq!(outcome(&records[0]).0, "failed");
    }
    assert_eq!(begun(&executor), 4);
}

#[tokio::test]
async fn who_asks_for_no_results_waits_for_nobody() {
    let (engine, executor) = engine(4);
    let (house, stop) = (Shared::default(), Stop::new());
    let run = |reuse| job(&engine, &house, (steps("ok 400"), reuse), &stop);
    tokio::join!(run(Reuse::All), run(Reuse::Never), run(Reuse::Inherited));
    assert_eq!((begun(&executor), executor.most.load(std::sync::atomic::Ordering::SeqCst)), (3, 3));
}

/// What a step begins with is not given up for a wait, and a wait takes no slot from others.
#[tokio::test]
async fn a_wait_holds_no_slot() {
    let (engine, executor) = engine(2);
    let (house, stop) = (Shared::default(), Stop::new());
    let first = job(&engine, &house, (steps("ok 900"), Reuse::All), &stop);
    let others = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut more = steps("ok 900");
        more.push(spec("python", "lint", &[], "ok 100"));
        more.push(spec("python", "docs", &[], "ok 100"));
        job(&engine, &house, (more, Reuse::All), &stop).await
    };
    let (_, (records, _)) = tokio::join!(first, others);
    let hit = records.iter().find(|record| record.id.as_str() == "unit").unwrap();
    assert_eq!(outcome(hit), ("succeeded", CacheState::Hit));
    let order: Vec<String> =
        executor.begun.lock().unwrap().iter().map(|(step, _)| step.clone()).collect();
    assert_eq!(order, ["unit", "lint", "docs"]);
    assert_eq!(executor.most.load(std::sync::atomic::Ordering::SeqCst), 2);
}
