//! The engine over a scripted executor, over real processes and over real containers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "engine/ends.rs"]
mod ends;
#[path = "support/images.rs"]
mod images;
#[path = "support/line.rs"]
mod line;
#[path = "engine/look.rs"]
mod look;
#[path = "engine/paces.rs"]
mod paces;
#[path = "engine/real.rs"]
mod real;
#[path = "support/scripted.rs"]
mod scripted;
#[expect(dead_code, reason = "shared with the executors' tests")]
#[path = "support/steps.rs"]
mod steps;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use checkvalve::ambient;
use checkvalve::domain::ids::{JobId, RunId};
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::plan::Plan;
use checkvalve::domain::run::StepRecord;
use checkvalve::domain::secret::{
    Brought, Delivery, JobSecrets, NoValue, SecretSource, SecretSpec,
};
use checkvalve::domain::state::{Outcome, SkipReason, StepState};
use checkvalve::engine::{Engine, EngineOptions, Images, JobLabels, JobRun, Stop};
use proptest::prelude::*;
use scripted::{Notes, Scripted};
use steps::{Place, plan, spec};

fn options() -> EngineOptions {
    EngineOptions { backoff: Duration::from_millis(10), ..EngineOptions::default() }
}

fn job<'a>(plan: &'a Plan, place: &Place) -> JobRun<'a> {
    let ulid = ambient::ulid();
    JobRun {
        plan,
        records: vec![],
        labels: JobLabels {
            instance: format!("test-{ulid}"),
            run: RunId::new(ulid),
            job: JobId::new(ulid),
            epoch: 1,
            connector: "source-x".parse().unwrap(),
        },
        env: BTreeMap::from([("CHECKVALVE_SHA".to_owned(), "abc".to_owned())]),
        secrets: JobSecrets::default(),
        source: place.source.clone(),
        cache: None,
        spool: place.path().join(ulid.to_string()),
        fail_fast: false,
        images: Images::OfJob { repository: 1 },
    }
}

fn step(id: &str, needs: &[&str], script: &str) -> StepSpec {
    spec("", id, needs, script)
}

/// `id=outcome` or `id=-`, in the plan's order.
fn told(records: &[StepRecord]) -> String {
    let word = |record: &StepRecord| match record.state.outcome() {
        Some(outcome) => outcome.as_str(),
        None => "-",
    };
    let words: Vec<_> = records.iter().map(|r| format!("{}={}", r.id, word(r))).collect();
    words.join(" ")
}

async fn run_scripted(steps: Vec<StepSpec>, stop: &Stop) -> (Vec<StepRecord>, Notes, Scripted) {
    let (place, scripted, notes) = (Place::new(), Scripted::default(), Notes::default());
    let engine = Engine::with_options(scripted.clone(), 8, options());
    let plan = plan(steps);
    let records = engine.run(job(&plan, &place), &notes, stop).await.unwrap();
    (records, notes, scripted)
}

#[tokio::test]
async fn a_plan_runs_in_order_and_skips_what_lost_its_need() {
    let steps = vec![
        step("lint", &[], "fail"),
        step("install", &[], "ok 50"),
        step("unit", &["install"], "ok"),
        step("build", &["unit", "lint"], "ok"),
        StepSpec { always: true, ..step("tidy", &["build"], "ok") },
    ];
    let (records, notes, scripted) = run_scripted(steps, &Stop::new()).await;
    assert_eq!(
        told(&records),
        "lint=failed install=succeeded unit=succeeded build=- tidy=succeeded"
    );
    let build = &records[3];
    let reason = SkipReason::Needs { step: "lint".parse().unwrap() };
    assert!(matches!(&build.state, StepState::Skipped { reason: r, .. } if *r == reason));
    assert_eq!(build.facts.reason.as_deref(), Some("not run: `lint` did not succeed"));
    assert_eq!(scripted.most.load(Ordering::SeqCst), 2);
    assert_eq!(records[2].queued_at, records[2].queued_at.max(records[1].queued_at));
    // Each step is recorded as running before, and as settled once.
    let notes = notes.records.lock().unwrap();
    let states: Vec<_> = notes
        .iter()
        .flatten()
        .filter(|record| record.id.as_str() == "unit")
        .map(|record| record.state.as_str())
        .collect();
    assert_eq!(states, ["running", "finished"]);
    assert_eq!(&*records[0].facts.excerpt, "fail\n");
    assert_eq!(records[0].facts.log.as_ref().unwrap().lines, 1);
}

#[tokio::test]
async fn slots_are_shared_by_jobs_and_no_job_hogs_them() {
    let (place, scripted) = (Place::new(), Scripted::default());
    let engine = Engine::with_options(scripted.clone(), 2, options());
    let wide = |prefix: &str, n: usize| {
        plan((0..n).map(|i| step(&format!("{prefix}{i}"), &[], "ok 20")).collect())
    };
    let (big, small) = (wide("big", 12), wide("small", 1));
    let (notes, stop) = (Notes::default(), Stop::new());
    let late = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        engine.clone().run(job(&small, &place), &notes, &stop).await
    };
    let (one, two) = tokio::join!(engine.run(job(&big, &place), &notes, &stop), late);
    assert_eq!((one.unwrap().len(), two.unwrap().len()), (12, 1));
    assert_eq!(scripted.most.load(Ordering::SeqCst), 2);
    let begun = scripted.begun.lock().unwrap();
    let place = begun.iter().position(|(step, _)| step == "small0").unwrap();
    assert!(place <= 4, "the small job waited for {place} steps of the big one");
}

#[tokio::test]
async fn our_errors_are_tried_again_and_the_connectors_failures_as_declared() {
    let steps = vec![
        step("flaky-engine", &[], "err 1 2"),
        step("dead-engine", &[], "err"),
        step("hopeless", &[], "hopeless"),
        StepSpec { retries: 2, ..step("flaky-test", &[], "fail 1 1") },
        StepSpec { retries: 1, ..step("broken-test", &[], "fail") },
        step("plain", &[], "fail"),
    ];
    let (records, notes, _) = run_scripted(steps, &Stop::new()).await;
    let attempts: Vec<_> =
        records.iter().map(|record| (record.attempt, record.state.outcome().unwrap())).collect();
    assert_eq!(
        attempts,
        [
            (3, Outcome::Succeeded),
            (4, Outcome::Errored),
            (1, Outcome::Errored),
            (2, Outcome::Succeeded),
            (2, Outcome::Failed),
            (1, Outcome::Failed),
        ]
    );
    assert_eq!(records[1].facts.reason.as_deref(), Some("engine away"));
    let kept = notes.kept.lock().unwrap();
    assert_eq!(kept.len(), 13, "every try's log is kept");
    let records = notes.records.lock().unwrap();
    let again = records.iter().flatten().find(|r| r.state == StepState::Waiting).unwrap();
    assert!(again.facts.reason.as_ref().unwrap().ends_with("it is tried again"), "{again:?}");
}

#[tokio::test]
async fn a_resumed_job_runs_again_what_was_running_and_nothing_else() {
    let place = Place::new();
    let scripted = Scripted::default();
    let engine = Engine::with_options(scripted.clone(), 4, options());
    let plan = plan(vec![step("a", &[], "ok"), step("b", &["a"], "ok"), step("c", &["b"], "ok")]);
    let now = ambient::now();
    let record = |id: &str, state| StepRecord {
        id: id.parse().unwrap(),
        state,
        attempt: 1,
        queued_at: now,
        facts: checkvalve::domain::run::StepFacts::default(),
    };
    let done =
        StepState::Finished { started_at: now, finished_at: now, outcome: Outcome::Succeeded };
    let records = vec![record("a", done), record("b", StepState::Running { started_at: now })];
    let job = JobRun { records, ..job(&plan, &place) };
    let records = engine.run(job, &Notes::default(), &Stop::new()).await.unwrap();
    assert_eq!(told(&records), "a=succeeded b=succeeded c=succeeded");
    let begun = scripted.begun.lock().unwrap();
    assert_eq!(*begun, [("b".to_owned(), 2), ("c".to_owned(), 1)]);
}

#[tokio::test]
async fn what_a_step_has_used_up_of_its_tries_a_takeover_does_not_give_back() {
    let (place, scripted) = (Place::new(), Scripted::default());
    let engine = Engine::with_options(scripted.clone(), 4, options());
    let plan = plan(vec![StepSpec { retries: 1, ..step("unit", &[], "fail") }]);
    let notes = Notes::default();
    let records = engine.run(job(&plan, &place), &notes, &Stop::new()).await.unwrap();
    assert_eq!((told(&records).as_str(), records[0].attempt), ("unit=failed", 2));
    // The worker dies while the second try runs.
    let written = notes.records.lock().unwrap().clone();
    let second = |record: &&StepRecord| record.attempt == 2 && record.state.as_str() == "running";
    let died = written.iter().flatten().find(second).unwrap();
    let stored = serde_json::to_string(died).unwrap();
    let job =
        JobRun { records: vec![serde_json::from_str(&stored).unwrap()], ..job(&plan, &place) };
    let records = engine.run(job, &Notes::default(), &Stop::new()).await.unwrap();
    assert_eq!((told(&records).as_str(), records[0].attempt), ("unit=failed", 3));
    assert_eq!(scripted.begun.lock().unwrap().len(), 3, "the third was its last");
}

/// Steps that need some of the earlier ones and end in any way, a few of them cleaning up or left
/// out.
fn random_plans() -> impl Strategy<Value = Plan> {
    let words = prop_oneof![Just("ok 1"), Just("fail 1"), Just("hopeless 1"), Just("err 1 1")];
    let flags = (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.2));
    proptest::collection::vec((any::<u8>(), words, flags), 1..9).prop_map(|steps| {
        let steps = steps.iter().enumerate().map(|(n, (needs, words, flags))| {
            let (always, allow_failure, useless) = *flags;
            let needs: Vec<_> =
                (0..n).filter(|i| needs >> i & 1 == 1).map(|i| format!("s{i}")).collect();
            let needs: Vec<_> = needs.iter().map(String::as_str).collect();
            let spec = step(&format!("s{n}"), &needs, words);
            let left_out = useless.then(|| "of no use".to_owned());
            StepSpec { always, allow_failure, left_out, ..spec }
        });
        plan(steps.collect())
    })
}

fn check_run(plan: &Plan, records: &[StepRecord], slots: usize, scripted: &Scripted) {
    assert!(records.iter().all(|record| record.state.is_settled()), "{}", told(records));
    assert!(scripted.most.load(Ordering::SeqCst) <= slots);
    let begun = scripted.begun.lock().unwrap();
    let first = |id: &str| begun.iter().position(|(step, _)| step == id);
    let last = |id: &str| begun.iter().rposition(|(step, _)| step == id);
    for spec in plan.steps() {
        for need in &spec.needs {
            let (Some(at), Some(needed)) = (first(spec.id.as_str()), last(need.as_str())) else {
                continue;
            };
            assert!(needed < at, "`{}` before `{need}` had ended", spec.id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_run_settles_in_order_and_within_its_slots(
        plan in random_plans(), slots in 1_usize..4, fail_fast in any::<bool>(),
        stop_after in proptest::option::of(0_u64..20), stop_at_skips in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (place, scripted, stop) = (Place::new(), Scripted::default(), Stop::new());
            if let Some(delay) = stop_after {
                let stop = stop.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(delay)).await;
                    stop.stop("enough");
                });
            }
            let options = EngineOptions { backoff: Duration::from_millis(1), ..options() };
            let engine = Engine::with_options(scripted.clone(), slots, options);
            let job = JobRun { fail_fast, ..job(&plan, &place) };
            let stop_at_skips = stop_at_skips.then(|| stop.clone());
            let notes = Notes { stop_at_skips, ..Notes::default() };
            let run = engine.run(job, &notes, &stop);
            let records = tokio::time::timeout(Duration::from_secs(20), run).await;
            check_run(&plan, &records.unwrap().unwrap(), slots, &scripted);
            assert_eq!(scripted.running.load(Ordering::SeqCst), 0);
        });
    }
}

#[tokio::test]
async fn a_step_whose_secret_can_not_be_had_says_why_and_is_not_tried_again() {
    let (place, scripted, notes) = (Place::new(), Scripted::default(), Notes::default());
    let plan = plan(vec![
        StepSpec { secrets: vec!["token".parse().unwrap()], ..step("live", &[], "ok") },
        step("report", &["live"], "ok"),
        step("unit", &[], "ok"),
    ]);
    let why = "two versions of it are enabled; disable one";
    let secret = SecretSpec {
        name: "token".parse().unwrap(),
        source: SecretSource::Local { file: "token".to_owned() },
        delivery: Delivery::File,
    };
    let brought = Brought { secret, value: Err(NoValue::Unavailable(why.to_owned())), note: None };
    let connector = "source-x".parse().unwrap();
    let job = JobRun { secrets: JobSecrets::new(&connector, [brought]), ..job(&plan, &place) };
    let engine = Engine::with_options(scripted, 8, options());
    let records = engine.run(job, &notes, &Stop::new()).await.unwrap();
    assert_eq!(told(&records), "live=errored report=- unit=succeeded");
    let live = &records[0];
    assert_eq!(live.facts.reason, Some(format!("secret `token`: {why}")));
    assert_eq!(live.attempt, 1, "another try would be told the same");
}
