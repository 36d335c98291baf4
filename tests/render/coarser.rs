//! Check runs where not every step has its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use checkvalve::domain::check::CheckStatus;
use checkvalve::domain::detail::Detail;
use checkvalve::domain::run::Run;
use checkvalve::domain::state::{Outcome, StepState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::render::checks::{Made, View, desired_in, wanted};

use super::sample::{at, ended, job, links, rich, run, skipped_for, spec, with};

fn view(detail: Detail, spare: u32) -> View<'static> {
    View { detail, spare, ..View::default() }
}

fn table(runs: &[Run], view: &View<'_>) -> String {
    let mut table = String::new();
    for check in desired_in(runs, &links(), view) {
        let status = match check.status {
            CheckStatus::Queued | CheckStatus::InProgress { .. } => check.status.word(),
            CheckStatus::Completed { conclusion, .. } => conclusion.as_str(),
        };
        let _ = writeln!(table, "{} | {status} | {}", check.name, check.title);
    }
    table
}

#[test]
fn a_connector_stands_for_its_steps_and_failed_ones_for_themselves() {
    let shown = table(&[rich()], &view(Detail::Connector, 1));
    let lines: Vec<&str> = shown.lines().collect();
    let begins = [
        "checkvalve | failure | 1 of 3 connectors passed",
        "destination-mongo | failure | Infrastructure error at install: the image could not be",
        "source-faker | failure | unit: 3 of 41 tests failed · 12 s",
        "source-stripe | success | Passed in ",
        // There is room for one of the two that failed.
        "destination-mongo / install | failure | Infrastructure error: the image could not be",
    ];
    assert_eq!(lines.len(), begins.len(), "{shown}");
    for (line, begin) in lines.into_iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
    let alone = table(&[rich()], &view(Detail::Summary, 9));
    assert_eq!(alone.lines().count(), 1, "{alone}");
}

#[test]
fn checkvalve_says_what_is_left_out_and_why() {
    let summary = |detail| desired_in(&[rich()], &links(), &view(detail, 0)).remove(0).summary;
    let connectors = summary(Detail::Connector);
    assert!(connectors.starts_with("**One check run a connector:**"), "{connectors}");
    assert!(connectors.contains("One for each of the 12 steps here"), "{connectors}");
    let alone = summary(Detail::Summary);
    assert!(alone.starts_with("**No more check runs than this:**"), "{alone}");
    assert!(!summary(Detail::Step).contains("an hour"));
}

#[test]
fn a_failed_connector_shows_its_steps_and_what_the_failed_one_says() {
    let checks = desired_in(&[rich()], &links(), &view(Detail::Connector, 0));
    let summary = checks.into_iter().find(|check| check.name == "source-faker").unwrap().summary;
    let at = |words: &str| summary.find(words).unwrap_or_else(|| panic!("{words}: {summary}"));
    assert!(at("| Step |") < at("❌ failed | 3 of 41 tests failed"));
    assert!(at("❌ failed | 3 of 41 tests failed") < at("## unit\n\n### Tests: 3 failed"));
    assert!(!summary.contains("## lint"), "what passed needs no words");
}

/// A repository that wants no more is not told that it has less.
#[test]
fn what_is_wanted_is_no_want() {
    let mut coarse = rich();
    coarse.selection.as_mut().unwrap().detail = Detail::Connector;
    let runs = [coarse];
    assert_eq!(wanted(&runs, &[]), Detail::Connector);
    let view = View { wanted: wanted(&runs, &[]), ..view(Detail::Connector, 9) };
    let checks = desired_in(&runs, &links(), &view);
    assert!(!checks[0].summary.contains("an hour"));
    assert!(checks.iter().all(|check| !check.name.contains(" / ")), "no step has its own");
}

#[test]
fn what_github_has_is_kept_up_in_any_detail() {
    let made = |completed| Made { occasion: "run_0", completed };
    let made =
        BTreeMap::from([("source-faker / lint", made(true)), ("source-stripe", made(false))]);
    let shown = |detail| table(&[rich()], &View { made: made.clone(), ..view(detail, 0) });
    let summary = shown(Detail::Summary);
    assert_eq!(summary.lines().count(), 3, "{summary}");
    assert!(
        summary.contains("source-stripe | success")
            && summary.contains("source-faker / lint | success")
    );
    let steps = shown(Detail::Step);
    assert!(steps.contains("\nsource-stripe | success"), "{steps}");
    // Of twelve steps one has a check run, of another occasion; so has one of three connectors.
    let view = View { made, ..View::default() };
    let need = view.need(&[rich()]);
    assert_eq!((need.step, need.connector), (12, 2));
}

#[test]
fn a_connector_says_how_far_it_is_and_how_it_ended() {
    let ok = || ended(10, 14, Outcome::Succeeded);
    let runs = StepState::Running { started_at: at(50) };
    let states = [
        vec![StepState::Waiting, StepState::Waiting],
        vec![runs.clone(), StepState::Waiting],
        vec![ok(), runs],
        vec![ok(), ok()],
        vec![ended(10, 40, Outcome::Failed), skipped_for("unit")],
        vec![ended(0, 18_001, Outcome::TimedOut), skipped_for("unit")],
        vec![ended(0, 9, Outcome::Errored), skipped_for("unit")],
        vec![ok(), ended(10, 20, Outcome::Cancelled)],
    ];
    let said = states.map(|states| {
        let of_two = job("source-a", vec![spec("unit", &[]), spec("build", &["unit"])]);
        let run = run(1, Trigger::PullRequest, vec![with(of_two, states)]);
        let shown = table(&[run], &view(Detail::Connector, 0));
        shown.lines().nth(1).unwrap().to_owned()
    });
    let expected = [
        "source-a | queued | Waiting for a worker",
        "source-a | in_progress | 0 of 2 steps finished",
        "source-a | in_progress | 1 of 2 steps finished",
        "source-a | success | Passed in 0.4 s · 2 steps",
        "source-a | failure | unit: Failed after 3.0 s",
        "source-a | timed_out | unit: Timed out after 30 min",
        "source-a | failure | Infrastructure error at unit",
        "source-a | cancelled | build: Cancelled",
    ];
    assert_eq!(said, expected);
}

/// Merges may wait for `checkvalve`: a connector of that name is called something else.
#[test]
fn a_connector_can_not_pass_for_the_head() {
    let of_one =
        with(job("checkvalve", vec![spec("unit", &[])]), vec![ended(1, 2, Outcome::Failed)]);
    let run = run(1, Trigger::PullRequest, vec![of_one]);
    let checks = desired_in(&[run], &links(), &view(Detail::Connector, 0));
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["checkvalve", "checkvalve (connector)"]);
    assert_eq!(checkvalve::render::checks::connector_of_check(names[1]), "checkvalve");
}
