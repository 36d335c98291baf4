//! The verdict on a head commit over all of its runs.

use checkvalve::domain::names::StepId;
use checkvalve::domain::run::{Job, ProblemKind, Run};
use checkvalve::domain::state::{Conclusion, Outcome, RunState, StepState};
use checkvalve::domain::trigger::{Scope, Trigger};
use checkvalve::domain::trust::Trust;
use checkvalve::domain::verdict::{head_verdict, to_retest};

use super::sample::{
    NOT_ASKED, at, broken, command, ended, job, run, skipped_for, spec, unplanned, with,
};

use Conclusion::{ActionRequired, Cancelled, Failure, Success};

fn two(connector: &str, states: [StepState; 2]) -> Job {
    with(job(connector, vec![spec("build", &[]), spec("unit", &["build"])]), states.into())
}

fn ok() -> StepState {
    ended(10, 20, Outcome::Succeeded)
}

fn failed() -> StepState {
    ended(10, 20, Outcome::Failed)
}

fn cancelled() -> StepState {
    ended(10, 20, Outcome::Cancelled)
}

fn own(jobs: Vec<Job>) -> Run {
    run(1, Trigger::PullRequest, jobs)
}

/// `a` is green, `b` failed at unit.
fn red() -> Run {
    own(vec![two("a", [ok(), ok()]), two("b", [ok(), failed()])])
}

fn stopped(mut run: Run) -> Run {
    run.cancel = Some("superseded by 2f2f2f2f2f2f".into());
    run
}

fn conclusion(runs: &[Run]) -> Option<Conclusion> {
    head_verdict(runs).conclusion
}

fn again(runs: &[Run]) -> Vec<String> {
    let again = to_retest(runs).into_iter();
    again
        .map(|(connector, steps)| {
            let steps: Vec<&str> = steps.iter().map(StepId::as_str).collect();
            format!("{connector}: {}", steps.join(" "))
        })
        .collect()
}

#[test]
fn one_run() {
    let tolerant = || {
        let mut lint = spec("lint", &[]);
        lint.allow_failure = true;
        job("a", vec![lint, spec("unit", &[])])
    };
    let table = vec![
        ("all passed", own(vec![two("a", [ok(), ok()])]), Some(Success)),
        ("one failed", red(), Some(Failure)),
        (
            "failed at its need",
            own(vec![two("a", [failed(), skipped_for("build")])]),
            Some(Failure),
        ),
        ("timed out", own(vec![two("a", [ok(), ended(1, 9, Outcome::TimedOut)])]), Some(Failure)),
        ("ours", own(vec![two("a", [ok(), ended(1, 9, Outcome::Errored)])]), Some(Failure)),
        ("nothing affected", own(vec![]), Some(Success)),
        (
            "still running",
            own(vec![two("a", [ok(), StepState::Running { started_at: at(9) }])]),
            None,
        ),
        ("waiting", own(vec![two("a", [StepState::Waiting, StepState::Waiting])]), None),
        (
            "red, and another still runs",
            own(vec![two("a", [ok(), StepState::Waiting]), two("b", [ok(), failed()])]),
            None,
        ),
        ("not planned", unplanned(1, Trigger::PullRequest), None),
        (
            "a failure that does not count",
            own(vec![with(tolerant(), vec![failed(), ok()])]),
            Some(Success),
        ),
        (
            "our error always counts",
            own(vec![with(tolerant(), vec![ended(1, 2, Outcome::Errored), ok()])]),
            Some(Failure),
        ),
        (
            "superseded",
            stopped(own(vec![two("a", [ok(), cancelled()]), two("b", [failed(), cancelled()])])),
            Some(Cancelled),
        ),
        ("superseded when all was done", stopped(own(vec![two("a", [ok(), ok()])])), Some(Success)),
        (
            "one connector cancelled, another red",
            own(vec![two("a", [ok(), cancelled()]), two("b", [ok(), failed()])]),
            Some(Failure),
        ),
        ("one connector cancelled", own(vec![two("a", [ok(), cancelled()])]), Some(Cancelled)),
        ("configuration", broken(1, ProblemKind::Configuration, "x", "y"), Some(Failure)),
        ("infrastructure", broken(1, ProblemKind::Infrastructure, "x", "y"), Some(Failure)),
        ("not trusted", broken(1, ProblemKind::NotTrusted, "x", "y"), Some(ActionRequired)),
        ("merge group", run(1, Trigger::MergeGroup, vec![two("a", [ok(), ok()])]), Some(Success)),
    ];
    for (name, run, expected) in table {
        assert_eq!(conclusion(std::slice::from_ref(&run)), expected, "{name}");
    }
}

#[test]
fn a_run_stopped_before_its_plan_is_cancelled() {
    let run = Run {
        state: RunState::Concluded,
        conclusion: Some(Cancelled),
        ..unplanned(1, Trigger::PullRequest)
    };
    assert_eq!(conclusion(&[run]), Some(Cancelled));
}

#[test]
fn a_job_that_ended_with_open_steps_never_hangs() {
    let mut job = two("a", [ok(), StepState::Waiting]);
    job.state = RunState::Concluded;
    assert_eq!(conclusion(&[own(vec![job])]), Some(Cancelled));
}

#[test]
fn testing_a_green_connector_leaves_a_red_head_red() {
    let green = command(2, &[("a", "unit")], vec![two("a", [NOT_ASKED(), ok()])]);
    assert_eq!(conclusion(&[red(), green.clone()]), Some(Failure));
    assert_eq!(again(&[red(), green]), ["b: unit"]);
}

#[test]
fn a_retest_turns_it_green() {
    let waits = command(2, &[("b", "unit")], vec![two("b", [NOT_ASKED(), StepState::Waiting])]);
    assert_eq!(conclusion(&[red(), waits.clone()]), None);
    assert!(again(&[red(), waits]).is_empty(), "what waits is left alone");
    let green = command(2, &[("b", "unit")], vec![two("b", [NOT_ASKED(), ok()])]);
    assert_eq!(conclusion(&[red(), green.clone()]), Some(Success));
    assert!(again(&[red(), green.clone()]).is_empty());
    // and a later failure of the same step makes it red again
    let worse = command(3, &[("b", "unit")], vec![two("b", [NOT_ASKED(), failed()])]);
    assert_eq!(conclusion(&[red(), green, worse]), Some(Failure));
}

#[test]
fn what_was_skipped_for_a_failure_still_has_to_run() {
    let own = own(vec![two("a", [failed(), skipped_for("build")])]);
    assert_eq!(again(std::slice::from_ref(&own)), ["a: build unit"]);
    let only_build = command(2, &[("a", "build")], vec![two("a", [ok(), NOT_ASKED()])]);
    assert_eq!(conclusion(&[own.clone(), only_build.clone()]), Some(Failure));
    assert_eq!(again(&[own, only_build]), ["a: unit"]);
}

#[test]
fn cancelled_then_retested() {
    let mut own = own(vec![two("a", [ok(), cancelled()])]);
    own.cancel = Some("asked by octocat".into());
    assert_eq!(conclusion(std::slice::from_ref(&own)), Some(Cancelled));
    assert_eq!(again(std::slice::from_ref(&own)), ["a: unit"]);
    let retest = command(2, &[("a", "unit")], vec![two("a", [NOT_ASKED(), ok()])]);
    assert_eq!(conclusion(&[own.clone(), retest]), Some(Success));
    let cancelled_too = command(2, &[("a", "unit")], vec![two("a", [NOT_ASKED(), cancelled()])]);
    assert_eq!(conclusion(&[own, cancelled_too]), Some(Cancelled));
}

#[test]
fn a_command_on_another_connector_does_not_count() {
    let extra = command(2, &[("z", "unit")], vec![two("z", [NOT_ASKED(), failed()])]);
    let runs = [own(vec![two("a", [ok(), ok()])]), extra];
    let verdict = head_verdict(&runs);
    assert_eq!(verdict.conclusion, Some(Success));
    let extra = verdict.standings.iter().find(|standing| standing.job.connector.as_str() == "z");
    assert!(!extra.unwrap().required);
    assert!(again(&runs).is_empty());
}

#[test]
fn an_unplanned_command_holds_the_verdict_back() {
    let command = unplanned(2, Trigger::Comment);
    assert_eq!(conclusion(&[own(vec![two("a", [ok(), ok()])]), command]), None);
}

#[test]
fn after_a_fault_a_command_for_everything_stands_in() {
    let fault = broken(1, ProblemKind::Infrastructure, "git fetch failed", "");
    assert!(again(std::slice::from_ref(&fault)).is_empty());
    let single = command(2, &[("a", "unit")], vec![two("a", [ok(), ok()])]);
    assert_eq!(conclusion(&[fault.clone(), single.clone()]), Some(Failure));
    let all = run(3, Trigger::Button, vec![two("a", [ok(), ok()])]);
    assert_eq!(all.scope, Scope::Affected);
    assert_eq!(conclusion(&[fault, single, all]), Some(Success));
}

#[test]
fn the_newest_plan_of_the_pull_request_is_what_is_required() {
    // The base moved: the newer run of the same head affects more.
    let newer =
        run(2, Trigger::PullRequest, vec![two("a", [ok(), ok()]), two("c", [ok(), failed()])]);
    assert_eq!(conclusion(&[own(vec![two("a", [ok(), ok()])]), newer]), Some(Failure));
    let smaller = run(2, Trigger::PullRequest, vec![two("a", [ok(), ok()])]);
    assert_eq!(conclusion(&[red(), smaller]), Some(Success));
}

#[test]
fn runs_of_the_branch_do_not_count() {
    let push = run(2, Trigger::Push, vec![two("a", [ok(), failed()])]);
    assert_eq!(conclusion(&[own(vec![two("a", [ok(), ok()])]), push.clone()]), Some(Success));
    let schedule = Run { trigger: Trigger::Schedule, ..push };
    assert_eq!(conclusion(&[red(), schedule]), Some(Failure));
}

#[test]
fn single_steps_alone_are_no_verdict() {
    let single = command(1, &[("a", "unit")], vec![two("a", [NOT_ASKED(), ok()])]);
    assert_eq!(conclusion(&[single]), Some(ActionRequired));
}

#[test]
fn a_head_whose_own_run_is_a_strangers_is_never_green() {
    let guarded = |run: Run| Run { trust: Trust::Untrusted, ..run };
    let green = || vec![two("a", [ok(), ok()])];
    let failed = || guarded(broken(1, ProblemKind::Infrastructure, "disk full", "x"));
    let asked = |trust| Run { trust, ..run(2, Trigger::Manual, green()) };
    assert_eq!(conclusion(&[guarded(own(green()))]), Some(ActionRequired));
    assert_eq!(conclusion(&[guarded(own(vec![]))]), Some(ActionRequired));
    assert_eq!(conclusion(&[failed(), asked(Trust::Untrusted)]), Some(Failure));
    // Its author may write by now.
    assert_eq!(conclusion(&[failed(), asked(Trust::Trusted)]), Some(Success));
}
