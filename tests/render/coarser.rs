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
    insta::assert_snapshot!(table(&[rich()], &view(Detail::Connector, 1)), @"");
    let summary = |detail| desired_in(&[rich()], &links(), &view(detail, 0)).remove(0).summary;
    insta::assert_snapshot!(summary(Detail::Connector).lines().next().unwrap(), @"");
    insta::assert_snapshot!(summary(Detail::Summary).lines().next().unwrap(), @"");
    assert!(!summary(Detail::Step).contains("an hour"));
    let names = table(&[rich()], &view(Detail::Summary, 9));
    assert_eq!(names.lines().count(), 1, "{names}");
}

#[test]
fn the_summary_of_a_failed_connector() {
    let checks = desired_in(&[rich()], &links(), &view(Detail::Connector, 0));
    insta::assert_snapshot!(
        checks.into_iter().find(|check| check.name == "source-faker").unwrap().summary
    );
}

/// A repository that wants no more is not told that it has less.
#[test]
fn what_is_wanted_is_no_want() {
    let mut coarse = rich();
    coarse.selection.as_mut().unwrap().detail = Detail::Connector;
    let runs = [coarse];
    assert_eq!(wanted(&runs), Detail::Connector);
    let view = View { wanted: wanted(&runs), ..view(Detail::Connector, 9) };
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
    // Of thirteen steps one has a check run, of another occasion; so has one of three connectors.
    let view = View { made, ..View::default() };
    let need = view.need(&[rich()]);
    assert_eq!((need.step, need.connector), (13, 2));
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
    let mut said = String::new();
    for states in states {
        let of_two = job("source-a", vec![spec("unit", &[]), spec("build", &["unit"])]);
        let run = run(1, Trigger::PullRequest, vec![with(of_two, states)]);
        said += table(&[run], &view(Detail::Connector, 0)).lines().nth(1).unwrap();
        said.push('\n');
    }
    insta::assert_snapshot!(said, @"");
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
