//! Several pull requests, or merge groups, with one head commit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use checkvalve::domain::parties::Whose;
use checkvalve::domain::run::{Job, ProblemKind, Run};
use checkvalve::domain::state::{Outcome, StepState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::render::checks::{Made, View, desired, desired_in};

use super::sample::{at, broken, ended, job, links, run, spec, with};

fn two(connector: &str, unit: StepState) -> Job {
    let steps = vec![spec("build", &[]), spec("unit", &["build"])];
    with(job(connector, steps), vec![ended(10, 20, Outcome::Succeeded), unit])
}

fn ok() -> StepState {
    ended(10, 20, Outcome::Succeeded)
}

fn failed() -> StepState {
    ended(10, 20, Outcome::Failed)
}

fn of(number: u128, (pull, base): (u64, &str), jobs: Vec<Job>) -> Run {
    let run = run(number, Trigger::PullRequest, jobs);
    Run { pull: Some(pull), base_ref: base.to_owned(), ..run }
}

/// `b` failed against `main`, and passed against `release`.
fn differing() -> [Run; 2] {
    [
        of(1, (12, "main"), vec![two("a", ok()), two("b", failed())]),
        of(2, (13, "release"), vec![two("a", ok()), two("b", ok())]),
    ]
}

fn table(runs: &[Run], view: &View<'_>) -> String {
    desired_in(runs, &links(), view).into_iter().fold(String::new(), |mut table, check| {
        let _ = writeln!(table, "{}: {}", check.name, check.status.word());
        table
    })
}

#[test]
fn what_differs_is_named_after_its_base_and_the_worst_counts() {
    let runs = differing();
    assert_eq!(
        table(&runs, &View::default()),
        "checkvalve: failure\na / build: success\na / unit: success\nb / build: success\n\
         b / unit (→ main): failure\nb / unit (→ release): success\n"
    );
    // One that GitHub has stays, and says the worst.
    let there = Made { occasion: "run", completed: true };
    let view = View { made: BTreeMap::from([("b / unit", there)]), ..View::default() };
    assert!(table(&runs, &view).contains("b / unit: failure\nb / unit (→ main): failure\n"));
    let head = desired(&runs, &links()).remove(0);
    assert_eq!(
        head.title,
        "→ main: 1 of 2 connectors passed · b failed at unit · → release: All 2 connectors passed"
    );
    assert!(
        head.summary.contains("## [Pull request 12](https://ci.example.com/"),
        "{}",
        head.summary
    );
    assert!(head.summary.contains(" → release: All 2 connectors passed\n"), "{}", head.summary);
    assert!(head.text.unwrap().contains("b / unit"));
    assert!(head.actions.is_empty(), "whose is meant is not known");
    // A green one, however late, hides no red one.
    let mut turned = differing();
    turned.reverse();
    assert_eq!(desired(&turned, &links())[0].status.word(), "failure");
}

#[test]
fn while_one_is_open_nothing_is_said_apart() {
    let running = StepState::Running { started_at: at(20) };
    let [one, other] = differing();
    let other = of(2, (13, "release"), vec![two("b", running), other.jobs[0].clone()]);
    assert_eq!(
        table(&[one, other], &View::default()),
        "checkvalve: in_progress\na / build: success\na / unit: success\nb / build: success\n\
         b / unit: in_progress\n"
    );
}

#[test]
fn who_has_left_the_commit_does_not_count_until_nobody_is_left() {
    let runs = differing();
    let state = |gone: &[Whose]| {
        let view = View { gone, ..View::default() };
        desired_in(&runs, &links(), &view)[0].status.word()
    };
    let [one, other] = [Whose::Pull(12), Whose::Pull(13)];
    assert_eq!(state(std::slice::from_ref(&one)), "success");
    assert_eq!(state(std::slice::from_ref(&other)), "failure");
    assert_eq!(state(&[one.clone(), other.clone()]), "success", "what the last one came to");
    assert_eq!(state(&[other, one]), "failure");
}

#[test]
fn merge_groups_share_a_commit_and_pushes_do_not() {
    let [mut group, pull] = differing();
    group.pull = None;
    group.trigger = Trigger::MergeGroup;
    group.head_ref = "gh-readonly-queue/main/pr-7-0123".to_owned();
    group.base_ref = "release".to_owned();
    let mut push = of(3, (0, "main"), vec![two("b", failed()), two("c", failed())]);
    push.pull = None;
    push.trigger = Trigger::Push;
    let shown = table(&[group.clone(), pull.clone(), push.clone()], &View::default());
    let whose = "b / unit (→ release, gh-readonly-queue/main/pr-7-0123): failure\n\
                 b / unit (→ release, #13): success\n";
    assert!(shown.ends_with(whose), "{shown}");
    assert!(!shown.contains("c / "), "{shown}");
    assert_eq!(table(&[push], &View::default()), "");
    let gone = [Whose::Group(group.head_ref.clone())];
    let view = View { gone: &gone, ..View::default() };
    assert!(table(&[group, pull], &view).starts_with("checkvalve: success\n"));
}

#[test]
fn what_somebody_must_act_on_comes_before_a_failure() {
    let [one, _] = differing();
    let stranger = broken(2, ProblemKind::NotTrusted, "Not run", "Its author may not write.");
    let stranger = Run { pull: Some(13), base_ref: "release".to_owned(), ..stranger };
    let head = desired(&[one, stranger], &links()).remove(0);
    assert_eq!(head.status.word(), "action_required");
    assert!(head.title.starts_with("→ release: Approval needed: Not run"), "{}", head.title);
}
