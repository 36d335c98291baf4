//! Several pull requests, or merge groups, with one head commit.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use checkvalve::domain::check::{
    ACTION_DESCRIPTION_MAX, ACTION_IDENTIFIER_MAX, ACTION_LABEL_MAX, ACTIONS_MAX, DesiredCheck,
    SUMMARY_MAX_BYTES,
};
use checkvalve::domain::parties::{Approving, Whose};
use checkvalve::domain::run::{Job, ProblemKind, Run};
use checkvalve::domain::state::{Outcome, StepState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::domain::trust::Trust;
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

/// A stranger's pull request that nobody has approved, of which `jobs` ran.
fn strangers(number: u128, whose: (u64, &str), jobs: Vec<Job>) -> Run {
    let awaited = broken(0, ProblemKind::NotTrusted, "mallory may not write", "Look at it.\n\n");
    let run = of(number, whose, jobs);
    Run { trust: Trust::Untrusted, problem: awaited.problem, ..run }
}

fn green(number: u128, whose: (u64, &str)) -> Run {
    of(number, whose, vec![two("a", ok())])
}

fn labels(check: &DesiredCheck) -> Vec<&str> {
    check.actions.iter().map(|action| action.label.as_str()).collect()
}

#[test]
fn what_somebody_must_act_on_comes_before_a_failure() {
    // An approval against one base says nothing of another.
    let approved = Run { trust: Trust::Approved, ..differing()[0].clone() };
    let head = desired(&[approved, strangers(2, (13, "release"), vec![])], &links()).remove(0);
    assert_eq!(head.status.word(), "action_required");
    assert!(head.title.starts_with("→ release: Approval needed: mallory"), "{}", head.title);
    assert_eq!(labels(&head), ["Approve for #13"]);
    // Nor does a writer's: where more is affected, his second account would have it green untested.
    let trusted = green(1, (12, "stacked"));
    let head = desired(&[trusted, strangers(2, (13, "main"), vec![])], &links()).remove(0);
    assert_eq!(head.status.word(), "action_required");
}

#[test]
fn a_stranger_with_somebody_elses_commit_holds_nothing_up_and_turns_nothing_green() {
    // Whoever came first, and whatever ran of it.
    let red = || vec![two("a", failed()), two("z", failed())];
    let open = || vec![two("a", StepState::Running { started_at: at(20) })];
    for (ours, hers, base) in [(1, 2, "main"), (2, 1, "main")] {
        for jobs in [vec![], red(), open(), vec![two("a", ok())]] {
            let mut runs = [green(ours, (12, "main")), strangers(hers, (13, base), jobs)];
            runs.sort_by_key(|run| run.id);
            assert_eq!(
                table(&runs, &View::default()),
                "checkvalve: success\na / build: success\na / unit: success\n"
            );
            let trusted = runs.iter().find(|run| run.pull == Some(12)).unwrap().clone();
            let head = desired(&runs, &links()).remove(0);
            assert_eq!(head.occasion, trusted.id.to_string(), "no new check run for her sake");
            assert_eq!(head.title, "a passed · #13 waits for an approval");
            let own = head.summary.find("[Pull request 12]").unwrap();
            let theirs = head.summary.find("[Pull request 13]").unwrap();
            assert!(own < theirs && head.summary.contains("waits for an approval"));
            assert!(head.summary.contains("It does not count here"), "{}", head.summary);
            // What is red stays red; what was approved stands for it as well.
            let failed = Run { jobs: vec![two("a", failed())], ..trusted.clone() };
            let runs_of = |own: &Run| {
                let other =
                    |run: &Run| if run.pull == Some(12) { own.clone() } else { run.clone() };
                runs.iter().map(other).collect::<Vec<_>>()
            };
            assert_eq!(desired(&runs_of(&failed), &links())[0].status.word(), "failure");
            let approved = Run { trust: Trust::Approved, ..trusted.clone() };
            assert_eq!(desired(&runs_of(&approved), &links())[0].status.word(), "success");
            // Alone, or beside another like it, it is never green.
            let hers = runs.iter().find(|run| run.pull == Some(13)).unwrap().clone();
            let again = Run { pull: Some(14), ..hers.clone() };
            for alone in [vec![hers.clone()], vec![hers.clone(), again]] {
                assert_eq!(desired(&alone, &links())[0].status.word(), "action_required");
            }
            let gone = [Whose::Pull(12)];
            let view = View { gone: &gone, ..View::default() };
            let left = desired_in(&runs, &links(), &view);
            assert_eq!(left[0].status.word(), "action_required", "who left stands for nothing");
        }
    }
}

#[test]
fn a_stranger_with_the_commit_of_a_merge_group_does_not_throw_it_out_of_the_queue() {
    let branch = "gh-readonly-queue/main/pr-7-0123";
    let group = |jobs| {
        let run = run(1, Trigger::MergeGroup, jobs);
        Run { pull: None, head_ref: branch.to_owned(), base_ref: "main".to_owned(), ..run }
    };
    let gone = [Whose::Group(branch.to_owned())];
    let running = || vec![two("a", StepState::Running { started_at: at(20) })];
    // Against any base, planned or not: GitHub drops the group at the first word that is no success.
    for (base, jobs) in [("release", vec![]), ("release", running()), ("main", running())] {
        let queued = group(vec![two("a", ok())]);
        let runs = [queued.clone(), strangers(2, (13, base), jobs)];
        let head = desired(&runs, &links()).remove(0);
        assert_eq!(head.status.word(), "success", "{base}");
        assert_eq!(head.occasion, queued.id.to_string(), "no new check run for her sake");
        assert_eq!(head.title, "a passed · #13 waits for an approval");
        // Once the group has left, she has shown nothing that was not tested for her.
        let view = View { gone: &gone, ..View::default() };
        let left = desired_in(&runs, &links(), &view);
        assert_ne!(left[0].status.word(), "success", "{base}");
    }
    // What somebody has approved, or may write, counts beside it as ever.
    let queued = group(vec![two("a", ok())]);
    let red = of(2, (13, "release"), vec![two("a", failed())]);
    for trust in [Trust::Approved, Trust::Trusted] {
        let runs = [queued.clone(), Run { trust, ..red.clone() }];
        assert_eq!(desired(&runs, &links())[0].status.word(), "failure");
    }
}

#[test]
fn a_button_on_a_shared_check_says_whom_it_approves() {
    // One's own buttons come first: strangers, however many, take none of them.
    let aside = strangers(2, (13, "main"), vec![]);
    let head = desired(&[green(1, (12, "main")), aside], &links()).remove(0);
    assert_eq!(labels(&head), ["Run without cache", "Approve for #13"]);
    let approve = &head.actions[1];
    assert_eq!(approve.description, "Run it for #13 → main");
    assert_eq!(Approving::read(&approve.identifier), Some(Approving::of(13, "main")));
    let release = strangers(2, (13, "release"), vec![]);
    // Several: each has its own.
    let main = strangers(3, (14, "main"), vec![]);
    let head = desired(&[release.clone(), main], &links()).remove(0);
    assert_eq!(labels(&head), ["Approve for #13", "Approve for #14"]);
    let of = head.actions.iter().map(|action| Approving::read(&action.identifier).unwrap().pull);
    assert_eq!(of.collect::<Vec<_>>(), [13, 14]);
    // Nobody shares it: nothing else can be meant.
    let head = desired(&[release], &links()).remove(0);
    assert_eq!(head.actions[0].identifier, "approve");
}

#[test]
fn a_crowd_of_strangers_takes_nobodys_room() {
    let long = "x/".repeat(120);
    let mut runs = vec![of(1, (12, &long), vec![two("a", failed())])];
    let crowd = (0..60).map(|n| {
        let mut run = strangers(u128::from(n) + 2, (n + 13, &long), vec![two("z", failed())]);
        run.problem.as_mut().unwrap().text = "`x` ".repeat(5_000);
        run
    });
    runs.extend(crowd);
    let checks = desired(&runs, &links());
    assert_eq!(checks.len(), 3, "hers have no check runs");
    let head = &checks[0];
    let expected = "0 of 1 connector passed · a failed at unit · 60 others wait for approvals";
    assert_eq!(head.title, expected);
    assert!(head.summary.len() <= SUMMARY_MAX_BYTES, "{}", head.summary.len());
    assert!(head.summary.contains("57 more wait for an approval"), "{}", head.summary);
    let ours = head.summary.find("[Pull request 13]").unwrap();
    assert!(head.summary[..ours].contains("| [a]"), "{}", head.summary);
    assert_eq!(head.actions.len(), ACTIONS_MAX);
    for action in &head.actions {
        assert!(action.label.chars().count() <= ACTION_LABEL_MAX, "{action:?}");
        assert!(action.description.chars().count() <= ACTION_DESCRIPTION_MAX, "{action:?}");
        assert!(action.identifier.len() <= ACTION_IDENTIFIER_MAX, "{action:?}");
    }
}
