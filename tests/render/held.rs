//! Check runs of connectors that a conflict with the base branch holds.

use checkvalve::domain::check::DesiredCheck;
use checkvalve::domain::detail::Detail;
use checkvalve::domain::plan::Conflict;
use checkvalve::domain::run::{Job, Run};
use checkvalve::domain::state::{Conclusion, Outcome, SkipReason, StepState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::domain::verdict::{head_verdict, to_retest};
use checkvalve::render::checks::{View, desired, desired_in};

use super::sample::{NOT_ASKED, at, ended, job, links, run, spec, with};

const FILES: [&str; 2] = ["shared/base.py", "source-a/`odd`.py"];

fn held(connector: &str) -> Job {
    let files = FILES.iter().map(|file| (*file).to_owned()).collect();
    let conflict = Conflict::new("b0".repeat(20).parse().unwrap(), files);
    let reason = SkipReason::Conflict { what: conflict.what() };
    let skipped = StepState::Skipped { at: at(3), reason };
    let job = job(connector, vec![spec("unit", &[]), spec("build", &["unit"])]);
    let job = with(job, vec![skipped.clone(), skipped]);
    Job { plan: job.plan.held(Some(conflict)), conclusion: Some(Conclusion::ActionRequired), ..job }
}

fn passed(connector: &str) -> Job {
    let states = vec![ended(10, 14, Outcome::Succeeded), ended(14, 20, Outcome::Succeeded)];
    with(job(connector, vec![spec("unit", &[]), spec("build", &["unit"])]), states)
}

fn both() -> Run {
    run(1, Trigger::PullRequest, vec![held("source-a"), passed("source-b")])
}

fn one(checks: Vec<DesiredCheck>, name: &str) -> DesiredCheck {
    checks.into_iter().find(|check| check.name == name).unwrap()
}

fn said(check: &DesiredCheck) -> String {
    format!("{} | {} | {}", check.name, check.status.word(), check.title)
}

#[test]
fn the_conflict_is_said_on_the_checks_of_who_is_held_and_on_no_other() {
    let checks = desired(&[both()], &links());
    let said: Vec<String> = checks.iter().map(said).collect();
    let says = "action_required | Not run: 2 files conflict with the base branch";
    assert_eq!(
        said,
        [
            "checkvalve | failure | 1 of 2 connectors passed · source-a is held: 2 files conflict \
             with the base branch"
                .to_owned(),
            format!("source-a / unit | {says}"),
            format!("source-a / build | {says}"),
            "source-b / unit | success | Passed in 0.4 s".to_owned(),
            "source-b / build | success | Passed in 0.6 s".to_owned(),
        ]
    );
    let files = "the two don't merge:\n\n```text\nshared/base.py\nsource-a/`odd`.py\n```\n\nMerge \
                 the base branch into this one";
    for (name, times) in [("source-a / unit", 1), ("source-b / unit", 0)] {
        let summary = one(checks.clone(), name).summary;
        assert_eq!(summary.matches(files).count(), times, "{summary}");
    }
    let head = one(checks, "checkvalve");
    let text = head.text.unwrap();
    assert_eq!(text.matches(files).count(), 1, "once for all of its steps: {text}");
    let actions: Vec<&str> = head.actions.iter().map(|it| it.identifier.as_str()).collect();
    assert_eq!(actions, ["retest", "test", "no-cache"]);
}

#[test]
fn a_connectors_own_check_says_it_too() {
    let view = View { detail: Detail::Connector, ..View::default() };
    let check = one(desired_in(&[both()], &links(), &view), "source-a");
    let title = "Not run: 2 files conflict with the base branch";
    assert_eq!(said(&check), format!("source-a | action_required | {title}"));
    assert_eq!(check.summary.matches("shared/base.py").count(), 1, "{}", check.summary);
}

#[test]
fn what_is_held_counts_until_it_was_tested() {
    let runs = [both()];
    assert_eq!(head_verdict(&runs).conclusion, Some(Conclusion::Failure));
    let again = to_retest(&runs);
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].0.as_str(), again[0].1.len()), ("source-a", 2));
    // Asked for later, when nothing was in the way any more.
    let later = |job| Run { created_at: at(500), ..run(2, Trigger::Comment, vec![job]) };
    let runs = [both(), later(passed("source-a"))];
    assert_eq!(head_verdict(&runs).conclusion, Some(Conclusion::Success));
    // One step of two is not enough.
    let states = vec![ended(10, 14, Outcome::Succeeded), NOT_ASKED()];
    let half = with(job("source-a", vec![spec("unit", &[]), spec("build", &["unit"])]), states);
    let runs = [both(), later(half)];
    assert_eq!(head_verdict(&runs).conclusion, Some(Conclusion::Failure));
}
