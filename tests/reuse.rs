//! Earlier results: used where nothing that they depend on has changed, and nowhere else.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "reuse/heirs.rs"]
mod heirs;
#[path = "support/images.rs"]
mod images;
#[path = "support/scripted.rs"]
mod scripted;
#[expect(dead_code, reason = "shared with the executors' tests")]
#[path = "support/steps.rs"]
mod steps;

use std::collections::BTreeMap;
use std::time::Duration;

use checkvalve::ambient;
use checkvalve::domain::cache::{Reuse, Share};
use checkvalve::domain::ids::{JobId, RunId};
use checkvalve::domain::pipeline::{CachePolicy, StepSpec};
use checkvalve::domain::run::{StepFacts, StepRecord};
use checkvalve::domain::secret::JobSecrets;
use checkvalve::domain::state::StepState;
use checkvalve::domain::turn::Maker;
use checkvalve::engine::{Engine, EngineOptions, Images, JobCache, JobLabels, JobRun, Stop};
use checkvalve::exec::Executor;
use scripted::{Notes, Scripted};
use steps::{Place, plan, spec};

/// One host and what it keeps from run to run.
struct House<E> {
    executor: E,
    instance: String,
    notes: Notes,
    source: String,
    reuse: Reuse,
    share: Share,
}

impl<E: Executor + Clone> House<E> {
    fn new(executor: E) -> Self {
        let (source, reuse, share) = ("1".to_owned(), Reuse::All, Share::Repository);
        let instance = format!("reuse-{}", ambient::ulid());
        Self { executor, instance, notes: Notes::default(), source, reuse, share }
    }

    async fn run(&self, steps: Vec<StepSpec>) -> Vec<StepRecord> {
        self.resume(steps, vec![], &Stop::new()).await
    }

    async fn resume(
        &self,
        steps: Vec<StepSpec>,
        records: Vec<StepRecord>,
        stop: &Stop,
    ) -> Vec<StepRecord> {
        let place = Place::new();
        self.notes.printed.lock().unwrap().clear();
        let sources = BTreeMap::from([("source-x/src".to_owned(), self.source.repeat(64))]);
        let plan = plan(steps).with_sources(sources);
        let options =
            EngineOptions { backoff: Duration::from_millis(10), ..EngineOptions::default() };
        let engine = Engine::with_options(self.executor.clone(), 4, options);
        let ulid = ambient::ulid();
        let job = JobRun {
            plan: &plan,
            records,
            labels: JobLabels {
                instance: self.instance.clone(),
                run: RunId::new(ulid),
                job: JobId::new(ulid),
                epoch: 1,
                connector: "source-x".parse().unwrap(),
            },
            env: BTreeMap::from([("CHECKVALVE_SHA".to_owned(), ulid.to_string())]),
            secrets: JobSecrets::default(),
            source: place.source.clone(),
            images: Images::OfJob { repository: 1 },
            cache: Some(JobCache { repository: 1, reuse: self.reuse, share: self.share }),
            spool: place.path().join(ulid.to_string()),
            fail_fast: false,
        };
        engine.run(job, &self.notes, stop).await.unwrap()
    }
}

/// `id=outcome:hit` for each.
fn told(records: &[StepRecord]) -> String {
    let word = |record: &StepRecord| {
        let outcome = record.state.outcome().map_or("-", |outcome| outcome.as_str());
        let cache = record.facts.cache.as_ref().map_or("none", |cache| cache.state.as_str());
        format!("{}={outcome}:{cache}", record.id)
    };
    records.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn because<'r>(records: &'r [StepRecord], step: &str) -> &'r str {
    let record = records.iter().find(|record| record.id.as_str() == step).unwrap();
    &record.facts.cache.as_ref().unwrap().because
}

fn step(id: &str, needs: &[&str], script: &str) -> StepSpec {
    spec("python", id, needs, script)
}

fn from(parent: &str, id: &str, script: &str) -> StepSpec {
    StepSpec { from: Some(parent.parse().unwrap()), ..step(id, &[], script) }
}

fn steps() -> Vec<StepSpec> {
    vec![step("install", &[], "ok"), from("install", "unit", "ok"), step("lint", &["unit"], "ok")]
}

#[tokio::test]
async fn what_has_not_changed_is_not_run_again() {
    let mut house = House::new(Scripted::default());
    let first = house.run(steps()).await;
    assert_eq!(told(&first), "install=succeeded:miss unit=succeeded:miss lint=succeeded:miss");
    assert_eq!(because(&first, "unit"), "no earlier result of this step is known");
    let second = house.run(steps()).await;
    assert_eq!(told(&second), "install=succeeded:hit unit=succeeded:hit lint=succeeded:hit");
    assert!(because(&second, "unit").starts_with("reused from run "));
    assert_eq!(second[1].facts.log, first[1].facts.log);
    assert_eq!(house.executor.begun.lock().unwrap().len(), 3, "nothing ran a second time");

    house.source = "2".to_owned();
    let third = house.run(steps()).await;
    assert_eq!(told(&third), "install=succeeded:miss unit=succeeded:miss lint=succeeded:miss");
    assert_eq!(
        because(&third, "install"),
        "file `source-x/src` changed (111111111111 → 222222222222)"
    );
    house.reuse = Reuse::Never;
    let afresh = house.run(steps()).await;
    assert_eq!(told(&afresh), "install=succeeded:miss unit=succeeded:miss lint=succeeded:miss");
    assert_eq!(because(&afresh, "install"), "the run was asked to reuse nothing");
}

#[tokio::test]
async fn a_strangers_code_uses_everybodys_results_and_leaves_none() {
    let mut house = House::new(Scripted::default());
    house.share = Share::Nothing;
    let mut slow = steps();
    slow[0].run = vec!["ok 3100".to_owned()];
    let strangers = house.run(slow).await;
    assert_eq!(told(&strangers), "install=succeeded:miss unit=succeeded:miss lint=succeeded:miss");
    assert!(house.notes.results.lock().unwrap().is_empty(), "nothing is kept of it");
    assert!(house.executor.snapshots.lock().unwrap().is_empty(), "no file system either");

    house.share = Share::Repository;
    let ours = house.run(steps()).await;
    assert_eq!(told(&ours), "install=succeeded:miss unit=succeeded:miss lint=succeeded:miss");
    let kept = house.notes.results.lock().unwrap().len();
    house.share = Share::Nothing;
    let again = house.run(steps()).await;
    assert_eq!(told(&again), "install=succeeded:hit unit=succeeded:hit lint=succeeded:hit");
    // What it has to run itself, and how that ends, changes nothing for anybody.
    let mut fails = steps();
    fails[1].run = vec!["fail".to_owned()];
    house.run(fails).await;
    assert_eq!(house.notes.results.lock().unwrap().len(), kept);
}

#[tokio::test]
async fn what_an_approved_pull_request_leaves_is_its_own() {
    let mut house = House::new(Scripted::default());
    house.run(vec![step("install", &[], "ok")]).await;
    house.share = Share::Pull(7);
    let seven = house.run(steps()).await;
    assert_eq!(told(&seven), "install=succeeded:hit unit=succeeded:miss lint=succeeded:miss");
    let seven = house.run(steps()).await;
    assert_eq!(told(&seven), "install=succeeded:hit unit=succeeded:hit lint=succeeded:hit");
    for other in [Share::Nothing, Share::Pull(8), Share::Repository] {
        house.share = other;
        let missed = "install=succeeded:hit unit=succeeded:miss lint=succeeded:miss";
        let told = told(&house.run(steps()).await);
        assert_eq!(told, missed, "{other:?}");
    }
}

#[tokio::test]
async fn failures_and_what_says_never_are_run_again() {
    let fail = |cache| StepSpec { cache, ..step("unit", &[], "fail") };
    for (cache, reuse, second) in [
        (CachePolicy::Success, Reuse::All, "unit=failed:miss"),
        (CachePolicy::All, Reuse::All, "unit=failed:hit"),
        (CachePolicy::All, Reuse::Success, "unit=failed:miss"),
        (CachePolicy::Never, Reuse::All, "unit=failed:off"),
    ] {
        let mut house = House::new(Scripted::default());
        house.run(vec![fail(cache)]).await;
        house.reuse = reuse;
        assert_eq!(told(&house.run(vec![fail(cache)]).await), second, "{cache:?} {reuse:?}");
    }
    let house = House::new(Scripted::default());
    let mut never = steps();
    never[0].cache = CachePolicy::Never;
    house.run(never.clone()).await;
    let records = house.run(never).await;
    assert_eq!(told(&records), "install=succeeded:off unit=succeeded:off lint=succeeded:hit");
}

#[tokio::test]
async fn a_need_that_failed_is_another_beginning() {
    let steps = |lint: &str| {
        let lint = StepSpec { allow_failure: true, ..step("lint", &[], lint) };
        vec![lint, step("unit", &["lint"], "ok")]
    };
    let house = House::new(Scripted::default());
    house.run(steps("fail")).await;
    // The failure is not kept, and neither is what came after it.
    assert_eq!(told(&house.run(steps("fail")).await), "lint=failed:miss unit=succeeded:miss");
}

#[tokio::test]
async fn a_beginning_is_another_one_however_far_back_it_was() {
    let steps = |install: &str| {
        let install = StepSpec { allow_failure: true, ..step("install", &[], install) };
        vec![install, from("install", "unit", "ok"), from("unit", "accept", "ok")]
    };
    // Half an installation, on which the rest happens to pass: nothing of it may be used later,
    // and nothing that is known of a whole one may be used for it.
    let house = House::new(Scripted::default());
    house.run(steps("fail")).await;
    assert!(house.notes.results.lock().unwrap().is_empty());
    let records = house.run(steps("fail")).await;
    assert_eq!(told(&records), "install=failed:miss unit=succeeded:miss accept=succeeded:miss");
    let histories = house.executor.histories.lock().unwrap().clone();
    assert_eq!(histories[3..], ["install", "install unit", "install unit accept"]);
}

#[tokio::test]
async fn a_failure_takes_back_the_success_that_was_made_of_the_same() {
    let mut house = House::new(Scripted::default());
    let ok = || vec![step("unit", &[], "ok")];
    house.run(ok()).await;
    assert_eq!(told(&house.run(ok()).await), "unit=succeeded:hit");
    // The same step fails when it is asked to run without earlier results.
    house.executor.spoilt.store(true, std::sync::atomic::Ordering::SeqCst);
    house.reuse = Reuse::Never;
    assert_eq!(told(&house.run(ok()).await), "unit=failed:miss");
    house.reuse = Reuse::Success;
    assert_eq!(told(&house.run(ok()).await), "unit=failed:miss", "not green without a run");
}

#[tokio::test]
async fn an_earlier_result_that_is_long_in_coming_holds_up_nothing() {
    let house = House::new(Scripted::default());
    let steps = |unit: &str| vec![step("endless", &[], "ok"), step("unit", &[], unit)];
    house.run(steps("ok")).await;
    let (stop, begun) = (Stop::new(), house.executor.begun.clone());
    let end = async {
        while begun.lock().unwrap().len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.stop("superseded");
    };
    let resumed = house.resume(steps("ok 6"), vec![], &stop);
    let both = async { tokio::join!(resumed, end).0 };
    let records = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
    assert_eq!(told(&records), "endless=cancelled:none unit=succeeded:miss");
}

#[tokio::test]
async fn a_job_that_ends_waits_for_copies_to_be_taken_back() {
    let house = House::new(Scripted::default());
    let steps = || vec![step("endless", &[], "ok")];
    house.run(steps()).await;
    let stop = Stop::new();
    let end = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stop.stop("superseded");
    };
    let records = async { tokio::join!(house.resume(steps(), vec![], &stop), end).0 };
    let records = tokio::time::timeout(Duration::from_secs(10), records).await.unwrap();
    assert_eq!(told(&records), "endless=cancelled:none");
    assert_eq!(house.notes.taken_back.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[tokio::test]
async fn all_that_is_used_again_is_written_down_at_once() {
    let house = House::new(Scripted::default());
    house.run(steps()).await;
    let before = house.notes.records.lock().unwrap().len();
    let records = house.run(steps()).await;
    assert_eq!(told(&records), "install=succeeded:hit unit=succeeded:hit lint=succeeded:hit");
    assert_eq!(house.notes.records.lock().unwrap().len(), before + 1);
}

/// Of three in a row the middle one can't be copied: the last one is used all the same, once the
/// middle one has run.
#[tokio::test]
async fn what_supposes_a_copy_that_failed_waits_for_the_step_to_run() {
    let house = House::new(Scripted::default());
    let steps = || {
        vec![
            step("lint", &[], "ok"),
            step("unreadable", &["lint"], "ok"),
            step("unit", &["unreadable"], "ok"),
        ]
    };
    house.run(steps()).await;
    let before = house.executor.begun.lock().unwrap().len();
    let records = house.run(steps()).await;
    let all = "lint=succeeded:hit unreadable=succeeded:miss unit=succeeded:hit";
    assert_eq!(told(&records), all);
    assert_eq!(house.executor.begun.lock().unwrap().len(), before + 1);
}

/// Its worker died in it, and somebody else has worked it out since.
#[tokio::test]
async fn a_further_attempt_uses_what_others_found_meanwhile() {
    let house = House::new(Scripted::default());
    let steps = || vec![step("unit", &[], "ok")];
    house.run(steps()).await;
    let again = StepRecord {
        id: "unit".parse().unwrap(),
        state: StepState::Waiting,
        attempt: 2,
        queued_at: ambient::now(),
        facts: StepFacts::default(),
    };
    let records = house.resume(steps(), vec![again], &Stop::new()).await;
    assert_eq!((told(&records).as_str(), records[0].attempt), ("unit=succeeded:hit", 2));
}

/// Whoever holds what a step needs may need the very slot that the step would wait with.
#[tokio::test]
async fn who_waits_for_another_job_asks_for_no_slot() {
    let house = House::new(Scripted::default());
    let ulid = ambient::ulid();
    *house.notes.busy.lock().unwrap() = Some(Maker {
        run: RunId::new(ulid),
        job: JobId::new(ulid),
        epoch: 1,
        connector: "source-y".parse().unwrap(),
        step: "unit".parse().unwrap(),
    });
    let free = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(house.executor.begun.lock().unwrap().is_empty());
        let told = house.notes.records.lock().unwrap().clone();
        let [records] = told.as_slice() else { panic!("{told:?}") };
        assert!(records[0].facts.reason.as_ref().unwrap().starts_with("waits for `unit`"));
        *house.notes.busy.lock().unwrap() = None;
        records[0].queued_at
    };
    let steps = vec![step("unit", &[], "ok")];
    let both = async { tokio::join!(house.run(steps), free) };
    let (records, queued) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert_eq!(told(&records), "unit=succeeded:miss");
    assert_eq!(records[0].queued_at, queued, "it has waited all along");
}

/// While a step runs, the one after it gets its beginning; one that is not begun leaves nothing.
#[tokio::test]
async fn the_next_beginning_is_made_ready_meanwhile() {
    let house = House::new(Scripted { warms: true, ..Scripted::default() });
    let steps = |install: &str| {
        let script = format!("{install} 100");
        vec![
            step("install", &[], &script),
            step("unit", &["install"], "ok"),
            from("install", "lint", "ok"),
        ]
    };
    house.run(steps("ok")).await;
    let mut histories = house.executor.histories.lock().unwrap().clone();
    histories.sort();
    assert_eq!(histories, ["(unit ready) unit", "install", "install lint"]);
    let records = house.run(steps("fail")).await;
    assert!(told(&records).starts_with("install=failed:miss unit=-"), "{}", told(&records));
    assert_eq!(house.executor.alive.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_earlier_result_that_can_not_be_read_is_worked_out_again() {
    let house = House::new(Scripted::default());
    let steps = || vec![step("unreadable", &[], "ok"), step("unit", &["unreadable"], "ok")];
    house.run(steps()).await;
    let records = house.run(steps()).await;
    assert_eq!(told(&records), "unreadable=succeeded:miss unit=succeeded:hit");
    assert!(because(&records, "unreadable").contains("could not be copied"));
}
