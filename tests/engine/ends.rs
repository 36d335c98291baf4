//! Limits, stops, first failures and journals that refuse.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use checkvalve::domain::pipeline::StepSpec;
use checkvalve::engine::{Engine, EngineError, JobRun, Stop};

use super::scripted::{Lost, Notes, Scripted};
use super::steps::{Place, plan};
use super::{job, options, run_scripted, step, told};

#[tokio::test]
async fn a_limit_ends_a_step_and_a_step_that_never_ran_is_ours() {
    let limit = |step: StepSpec| StepSpec { timeout_ms: 50, ..step };
    let steps = vec![limit(step("slow", &[], "ok 9000")), limit(step("unborn", &[], "stuck 9000"))];
    let (records, ..) = run_scripted(steps, &Stop::new()).await;
    assert_eq!(told(&records), "slow=timed_out unborn=errored");
    assert_eq!(records[0].facts.reason.as_deref(), Some("ended after 0.1 s, its limit"));
    assert!(records[1].facts.reason.as_ref().unwrap().starts_with("did not get to run"));
}

#[tokio::test]
async fn a_stop_settles_everything_and_says_why() {
    let stop = Stop::new();
    let later = stop.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        later.stop("superseded by 1a2b3c4d5e6f");
        later.stop("a second reason");
    });
    let steps = vec![
        step("done", &[], "ok"),
        step("running", &[], "ok 9000"),
        step("waiting", &["running"], "ok"),
        StepSpec { always: true, ..step("tidy", &["waiting"], "ok") },
    ];
    let (records, _, scripted) = run_scripted(steps, &stop).await;
    assert_eq!(told(&records), "done=succeeded running=cancelled waiting=cancelled tidy=cancelled");
    for record in &records[1..] {
        assert_eq!(record.facts.reason.as_deref(), Some("superseded by 1a2b3c4d5e6f"));
    }
    assert_eq!(scripted.running.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stop_while_a_skip_is_written_down_settles_what_waits() {
    let (place, stop) = (Place::new(), Stop::new());
    let engine = Engine::with_options(Scripted::default(), 4, options());
    let useless = StepSpec { left_out: Some("of no use".into()), ..step("useless", &[], "ok") };
    let plan = plan(vec![useless, step("unit", &[], "ok")]);
    let notes = Notes { stop_at_skips: Some(stop.clone()), ..Notes::default() };
    let records = engine.run(job(&plan, &place), &notes, &stop).await.unwrap();
    assert_eq!(told(&records), "useless=- unit=cancelled");
    assert_eq!(records[1].facts.reason.as_deref(), Some("enough"));
}

#[tokio::test]
async fn the_first_failure_can_end_the_rest() {
    let place = Place::new();
    let engine = Engine::with_options(Scripted::default(), 1, options());
    let plan = plan(vec![
        StepSpec { allow_failure: true, ..step("advice", &[], "fail") },
        step("lint", &[], "fail"),
        step("unit", &[], "ok"),
        StepSpec { always: true, ..step("tidy", &[], "ok") },
    ]);
    let job = JobRun { fail_fast: true, ..job(&plan, &place) };
    let records = engine.run(job, &Notes::default(), &Stop::new()).await.unwrap();
    assert_eq!(told(&records), "advice=failed lint=failed unit=- tidy=succeeded");
    assert_eq!(
        records[2].facts.reason.as_deref(),
        Some("not run: stopped at the failure of `lint`")
    );
}

#[tokio::test]
async fn a_refusing_journal_ends_everything_at_once() {
    let (place, scripted) = (Place::new(), Scripted::default());
    let engine = Engine::with_options(scripted.clone(), 4, options());
    let plan = plan(vec![
        step("a", &[], "ok 9000"),
        step("b", &[], "ok 9000"),
        step("c", &[], "ok 20"),
        step("d", &["c"], "ok"),
    ]);
    let notes = Notes { lose_after: Some(3), ..Notes::default() };
    let begun = Instant::now();
    let result = engine.run(job(&plan, &place), &notes, &Stop::new()).await;
    assert!(matches!(result, Err(EngineError::Journal(Lost))));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(scripted.running.load(Ordering::SeqCst), 0, "nothing is left running");
}
