//! `uses: acceptance`: a step that ends in the middle keeps what was judged until then.

use checkvalve::domain::builtin::JUNIT;
use checkvalve::domain::state::Outcome;
use checkvalve::engine::Stop;
use checkvalve::exec::images::{Halted, TalkEnd};

use super::speaker::{FILES, Speaker, WELL, both, files};
use super::{Begin, Done, carry_out, plan, run};

/// What was judged before `discover` stands in the log, and in a `JUnit` file that is kept.
fn keeps(done: &Done) -> String {
    let log = done.log("acceptance");
    for case in ["spec: is one SPEC", "connection 1: succeeds", "connection 2: keeps secrets"] {
        assert!(log.contains(&format!("passed   {case}\n")), "{log}");
    }
    for suite in ["basic_read", "full_refresh", "incremental"] {
        assert!(log.contains(&format!("skipped  {suite}: is made: not begun")), "{log}");
    }
    assert_eq!(done.tests("acceptance").0, 4 + 3 + 3, "{log}");
    assert!(done.step("acceptance").facts.artifacts.iter().any(|kept| kept.path == JUNIT));
    log
}

#[tokio::test]
async fn a_test_that_runs_into_the_steps_limit_is_named() {
    let mut steps = both().steps().to_vec();
    steps[1].timeout_ms = 2_000;
    let done = carry_out(Speaker::good().hanging("discover"), &plan(steps), FILES).await;
    assert_eq!(done.outcome("acceptance"), Outcome::TimedOut);
    assert!(done.reason("acceptance").starts_with("ended after 2.0 s, its limit"));
    let log = keeps(&done);
    assert_eq!(done.tests("acceptance").3, ["discovery: ends within the step's time"], "{log}");
    let failures = &done.step("acceptance").facts.tests.as_ref().unwrap().failures;
    assert!(failures[0].message.contains("`timeout` of 2.0 s ended it"), "{failures:?}");
}

#[tokio::test]
async fn a_step_that_is_cancelled_keeps_what_was_judged() {
    let stop = Stop::new();
    let ends = stop.clone();
    let speaker = Speaker::new(move |call, good| {
        if call == "discover" {
            ends.stop("superseded");
        }
        (good.into_bytes(), WELL)
    });
    let begin = Begin { stop, ..Begin::default() };
    let done = run(speaker.hanging("discover"), &both(), FILES, begin).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Cancelled);
    let log = keeps(&done);
    assert!(log.contains("skipped  discovery: is made: cut off: the step was cancelled"), "{log}");
    assert_eq!(done.tests("acceptance").1, 0, "{log}");
}

#[tokio::test]
async fn an_engine_that_goes_away_takes_nothing_with_it() {
    let away = Halted::Errored { reason: "the engine went away".to_owned(), retry: false };
    let speaker = Speaker::ending("discover", TalkEnd::Halted(away));
    let done = carry_out(speaker, &both(), FILES).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Errored);
    assert_eq!(done.reason("acceptance"), "the engine went away");
    let log = keeps(&done);
    assert!(log.contains("skipped  discovery: is made: cut off: the engine went away"), "{log}");
}

/// Also what is kept of a test in its midst is freed of its configuration.
#[tokio::test]
async fn what_is_kept_of_a_cut_test_has_no_secrets() {
    let (stop, config) = (Stop::new(), "tests: { basic_read: [{}], full_refresh: [{}] }\n");
    let ends = stop.clone();
    let speaker = Speaker::new(move |call, good| match call {
        "discover" => {
            let good = good.replace("[\"full_refresh\"]", "[\"s3cr3t-token\"]");
            (good.into_bytes(), WELL)
        }
        "read1" => {
            ends.stop("superseded");
            (good.into_bytes(), WELL)
        }
        _ => (good.into_bytes(), WELL),
    });
    let files = files(&[("acceptance-test-config.yml", config)]);
    let begin = Begin { stop, ..Begin::default() };
    let done = run(speaker.hanging("read1"), &both(), &files, begin).await;
    let (log, facts) = (done.log("acceptance"), &done.step("acceptance").facts);
    assert!(log.contains("FAILED   discover for basic_read: sync modes are known"), "{log}");
    assert!(log.contains("there is no sync mode `***`"), "{log}");
    assert!(!log.contains("s3cr3t") && !format!("{facts:?}").contains("s3cr3t"), "{log}");
}
