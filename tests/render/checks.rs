//! Check runs as GitHub gets them.

use std::fmt::Write as _;
use std::time::Duration;

use checkvalve::domain::check::{CheckStatus, DesiredCheck};
use checkvalve::domain::run::{Job, ProblemKind, Run, StepFacts};
use checkvalve::domain::state::{Outcome, SkipReason, StepState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::domain::trust::Trust;
use checkvalve::render::checks::desired;

use super::sample::{
    NOT_ASKED, at, broken, command, ended, five, job, links, rich, run, skipped_for, spec,
    unplanned, with, with_timeout,
};

/// `name | status | title`, a line each.
fn table(runs: &[Run]) -> String {
    let mut table = String::new();
    for check in desired(runs, &links()) {
        let status = match check.status {
            CheckStatus::Queued => "queued",
            CheckStatus::InProgress { .. } => "in progress",
            CheckStatus::Completed { conclusion, .. } => conclusion.as_str(),
        };
        let _ = writeln!(table, "{} | {status} | {}", check.name, check.title);
    }
    table
}

fn one(runs: &[Run], name: &str) -> DesiredCheck {
    desired(runs, &links()).into_iter().find(|check| check.name == name).unwrap()
}

fn ok() -> StepState {
    ended(10, 14, Outcome::Succeeded)
}

#[test]
fn a_run_with_everything() {
    insta::assert_snapshot!(table(&[rich()]), @r#"
    checkvalve | failure | 1 of 3 connectors passed · destination-mongo had an infrastructure error at install, source-faker failed at unit
    destination-mongo / install | failure | Infrastructure error: the image could not be pulled: connection reset (tried 3 times)
    destination-mongo / unit | skipped | Not run: `install` did not succeed
    source-faker / install | success | Passed in 8.3 s
    source-faker / unit | failure | 3 of 41 tests failed · 12 s
    source-faker / lint | success | Passed in 2.4 s
    source-faker / build | skipped | Not run: `unit` did not succeed
    source-faker / acceptance | skipped | Not run: `unit` did not succeed
    source-stripe / install | success | Passed in 5.0 s
    source-stripe / unit | success | Passed in 8.9 s
    source-stripe / lint | success | Passed in 1.9 s
    source-stripe / build | success | Passed in 15 s
    source-stripe / acceptance | success | Passed in 8.9 s
    "#);
}

#[test]
fn the_summary_of_checkvalve() {
    insta::assert_snapshot!(one(&[rich()], "checkvalve").summary);
}

#[test]
fn the_summary_of_a_failed_step() {
    insta::assert_snapshot!(one(&[rich()], "source-faker / unit").summary);
}

#[test]
fn titles_of_checkvalve() {
    let config =
        broken(1, ProblemKind::Configuration, "unknown key `stepz`; did you mean `steps`?", "x");
    let ours = broken(1, ProblemKind::Infrastructure, "the repository could not be fetched", "x");
    let foreign =
        broken(1, ProblemKind::NotTrusted, "octocat may not write to acme/connectors", "x");
    let mut superseded = run(
        1,
        Trigger::PullRequest,
        vec![with(job("a", vec![spec("unit", &[])]), vec![ended(10, 20, Outcome::Cancelled)])],
    );
    superseded.cancel = Some(format!("superseded by {}", "2f".repeat(20)));
    let passed = || with(job("a", vec![spec("unit", &[])]), vec![ok()]);
    let one = run(1, Trigger::PullRequest, vec![passed()]);
    let stopped = || with(job("b", vec![spec("unit", &[])]), vec![ended(1, 9, Outcome::Cancelled)]);
    let partly = run(1, Trigger::PullRequest, vec![passed(), stopped()]);
    let mut unpiped = run(1, Trigger::PullRequest, vec![]);
    unpiped.selection.as_mut().unwrap().without_pipeline = vec!["source-x".into()];
    let fresh = run(1, Trigger::PullRequest, vec![job("a", five()), job("b", five())]);
    let runs = [
        unplanned(1, Trigger::PullRequest),
        fresh,
        run(1, Trigger::PullRequest, vec![]),
        unpiped,
        one,
        superseded,
        partly,
        config,
        ours,
        foreign,
    ];
    let titles: String = runs
        .iter()
        .map(|run| table(std::slice::from_ref(run)).lines().next().unwrap().to_owned() + "\n")
        .collect();
    insta::assert_snapshot!(titles, @r#"
    checkvalve | queued | Finding the affected connectors
    checkvalve | in progress | 0 of 2 connectors finished
    checkvalve | success | No connector is affected
    checkvalve | success | No affected connector has a pipeline
    checkvalve | success | a passed
    checkvalve | cancelled | Superseded by 2f2f2f2f2f2f
    checkvalve | cancelled | 1 of 2 connectors passed · b was cancelled at unit
    checkvalve | failure | Configuration error: unknown key `stepz`; did you mean `steps`?
    checkvalve | failure | Infrastructure error: the repository could not be fetched
    checkvalve | action_required | Approval needed: octocat may not write to acme/connectors
    "#);
}

#[test]
fn titles_of_steps() {
    let mut tolerated = spec("lint", &[]);
    tolerated.allow_failure = true;
    let slow = with_timeout(spec("slow", &[]), Duration::from_secs(90));
    let specs = vec![
        spec("passed", &[]),
        spec("exited", &[]),
        spec("limit", &[]),
        slow,
        spec("errored", &[]),
        tolerated,
        spec("skipped", &["exited"]),
        spec("left-out", &[]),
        spec("running", &[]),
        spec("waiting", &["running"]),
        spec("next", &[]),
    ];
    let mut job = with(
        job("c", specs),
        vec![
            ok(),
            ended(10, 40, Outcome::Failed),
            ended(0, 18_001, Outcome::TimedOut),
            ended(0, 900, Outcome::TimedOut),
            ended(0, 9, Outcome::Errored),
            ended(0, 20, Outcome::Failed),
            skipped_for("exited"),
            NOT_ASKED(),
            StepState::Running { started_at: at(50) },
            StepState::Waiting,
            StepState::Waiting,
        ],
    );
    job.steps[1].facts = StepFacts { exit_code: Some(2), ..StepFacts::default() };
    job.steps[4].facts.reason = Some("no space left on device".into());
    job.steps[5].facts.exit_code = Some(1);
    insta::assert_snapshot!(table(&[run(1, Trigger::PullRequest, vec![job])]), @r#"
    checkvalve | in progress | 0 of 1 connector finished · c failed at exited
    c / passed | success | Passed in 0.4 s
    c / exited | failure | Exited with code 2 after 3.0 s
    c / limit | timed_out | Timed out after 30 min
    c / slow | timed_out | Timed out after 1 min 30 s
    c / errored | failure | Infrastructure error: no space left on device
    c / lint | neutral | Exited with code 1 after 2.0 s · does not count
    c / skipped | skipped | Not run: `exited` did not succeed
    c / left-out | skipped | Not run: not asked for
    c / running | in progress | Running
    c / waiting | queued | Waiting for `running`
    c / next | queued | Waiting for its turn
    "#);
}

#[test]
fn a_retest_takes_over_only_what_it_runs() {
    let steps = || vec![spec("build", &[]), spec("unit", &["build"])];
    let first = run(
        1,
        Trigger::PullRequest,
        vec![with(job("a", steps()), vec![ok(), ended(10, 20, Outcome::Failed)])],
    );
    let again = command(
        2,
        &[("a", "unit")],
        vec![with(
            job("a", steps()),
            vec![NOT_ASKED(), StepState::Running { started_at: at(500) }],
        )],
    );
    let runs = [first, again];
    insta::assert_snapshot!(table(&runs), @r#"
    checkvalve | in progress | 0 of 1 connector finished
    a / build | success | Passed in 0.4 s
    a / unit | in progress | Running
    "#);
    let checks = desired(&runs, &links());
    assert_eq!(checks[0].occasion, runs[1].id.to_string());
    assert_eq!(checks[1].occasion, runs[0].id.to_string(), "the build is the first run's");
    assert_eq!(checks[2].occasion, runs[1].id.to_string());
}

#[test]
fn runs_of_the_branch_publish_nothing() {
    let push = run(1, Trigger::Push, vec![with(job("a", vec![spec("unit", &[])]), vec![ok()])]);
    assert!(desired(&[push], &links()).is_empty());
    assert!(desired(&[], &links()).is_empty());
}

#[test]
fn buttons_are_those_that_would_be_obeyed() {
    let labels = |runs: &[Run]| -> Vec<String> {
        one(runs, "checkvalve").actions.into_iter().map(|action| action.identifier).collect()
    };
    assert_eq!(labels(&[rich()]), ["retest", "test", "no-cache"]);
    assert_eq!(labels(&[broken(1, ProblemKind::Infrastructure, "x", "y")]), ["test"]);
    let green = with(job("a", vec![spec("unit", &[])]), vec![ok()]);
    assert_eq!(labels(&[run(1, Trigger::PullRequest, vec![green])]), ["no-cache"]);
    assert!(labels(&[run(1, Trigger::PullRequest, vec![])]).is_empty());
    assert_eq!(labels(&[broken(1, ProblemKind::NotTrusted, "x", "y")]), ["approve"]);
    assert_eq!(labels(&[unplanned(1, Trigger::PullRequest)]), ["cancel"]);
}

#[test]
fn a_problem_says_its_place_and_stays_closed() {
    let mut run =
        broken(1, ProblemKind::Configuration, "unknown key `stepz`", "```yaml\n  stepz: []\n");
    run.problem.as_mut().unwrap().place = Some((".github/checkvalve.yml".into(), 12));
    insta::assert_snapshot!(one(&[run], "checkvalve").summary, @r#"
    [.github/checkvalve.yml:12](https://github.com/acme/connectors/blob/1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f/.github/checkvalve.yml#L12)

    ```yaml
      stepz: []
    ```

    [Run: graph, timeline, logs, reports](https://ci.example.com/runs/run_01M3250V000000000000000001) · [All runs of this pull request](https://ci.example.com/r/acme/connectors/pull/12)
    "#);
}

#[test]
fn a_mass_change_keeps_within_the_limit_and_shows_the_failures_first() {
    let mut jobs = Vec::new();
    for n in 0..600 {
        let outcome = if n % 100 == 99 { Outcome::Failed } else { Outcome::Succeeded };
        let states = vec![ok(), ok(), ok(), ok(), ended(1, 5, outcome)];
        jobs.push(with(job(&format!("source-with-a-long-name-{n:03}"), five()), states));
    }
    let check = one(&[run(1, Trigger::PullRequest, jobs)], "checkvalve");
    assert_eq!(
        check.title,
        "594 of 600 connectors passed · source-with-a-long-name-099 failed at acceptance, \
         source-with-a-long-name-199 failed at acceptance, source-with-a-long-name-299 failed at acceptance and 3 more"
    );
    assert!(check.summary.len() <= 65_535);
    assert!(check.summary.contains("name-599](https"), "the last failure is in the table");
    assert!(check.summary.contains(" more connectors: the run's page shows all."));
}

/// A run of `unit` and `build`, in these states.
fn of_two(states: Vec<StepState>) -> Run {
    let job = job("source-a", vec![spec("unit", &[]), spec("build", &["unit"])]);
    run(1, Trigger::PullRequest, vec![with(job, states)])
}

/// A rule that requires the step's check must not wait for what no run will ever do.
#[test]
fn a_step_that_is_of_no_use_is_skipped_also_in_a_run_that_was_stopped() {
    let reason = SkipReason::Condition { why: "there is no `src/**` in `c`".to_owned() };
    let left_out = StepState::Skipped { at: at(0), reason };
    let mut stopped = of_two(vec![left_out, ended(10, 20, Outcome::Cancelled)]);
    stopped.cancel = Some("cancelled by ada".to_owned());
    let shown = table(&[stopped]);
    let unit = "source-a / unit | skipped | Not run: there is no `src/**` in `c`";
    assert!(shown.contains(unit), "{shown}");
    assert!(shown.contains("source-a / build | cancelled"), "{shown}");
}

fn stopped(why: &str) -> Run {
    let states = vec![ended(10, 20, Outcome::Cancelled), skipped_for("unit")];
    Run { cancel: Some(why.to_owned()), ..of_two(states) }
}

/// Runs that came to a plan, with a name for each state.
fn planned_states() -> Vec<(&'static str, Run)> {
    let passed = || with(job("source-a", vec![spec("unit", &[])]), vec![ok()]);
    let mut nothing = run(1, Trigger::PullRequest, vec![]);
    nothing.selection.as_mut().unwrap().unclaimed = vec!["README.txt".into()];
    let mut unknown = run(1, Trigger::PullRequest, vec![passed()]);
    let selection = unknown.selection.as_mut().unwrap();
    selection.complete = false;
    selection.because = Some("base and head have no common ancestor".into());
    let mut superseded = stopped(&format!("superseded by {}", "2f".repeat(20)));
    superseded.superseded_by = Some(unplanned(2, Trigger::PullRequest).id);
    vec![
        ("all passed", run(1, Trigger::PullRequest, vec![passed()])),
        ("nothing affected", nothing),
        ("change set unknown", unknown),
        ("timed out", of_two(vec![ended(0, 18_001, Outcome::TimedOut), skipped_for("unit")])),
        ("superseded", superseded),
        ("cancelled", stopped("cancelled by ada")),
        ("closed", stopped("the pull request was closed")),
    ]
}

/// Runs that came to none.
fn broken_states() -> Vec<(&'static str, Run)> {
    let mut configuration = broken(
        1,
        ProblemKind::Configuration,
        "a step has no key `neeeds`; did you mean `needs`?",
        "The repository file is not valid:\n\n```text\n.github/checkvalve.yml:12:9: a step has no key `neeeds`\n```\n",
    );
    configuration.problem.as_mut().unwrap().place = Some((".github/checkvalve.yml".into(), 12));
    let infrastructure = broken(
        1,
        ProblemKind::Infrastructure,
        "Infrastructure error: the change could not be read",
        "git could not reach github.com\n\nThis is not the connector's fault.",
    );
    let foreign = broken(
        1,
        ProblemKind::NotTrusted,
        "Approval needed: eve may not write to this repository",
        "The code of this pull request is not run yet.",
    );
    vec![
        ("configuration error", configuration),
        ("infrastructure error", infrastructure),
        ("not trusted", foreign),
    ]
}

/// Every check in the states that someone is woken for, one under the other.
#[test]
fn what_a_maintainer_reads_at_night() {
    let mut read = String::new();
    for (state, run) in planned_states().into_iter().chain(broken_states()) {
        for check in desired(&[run], &links()) {
            let actions: Vec<&str> = check.actions.iter().map(|a| a.label.as_str()).collect();
            let (name, title, buttons) = (&check.name, &check.title, actions.join(", "));
            let _ = writeln!(read, "<<< {state}: {name} | {title} | {buttons}\n{}", check.summary);
        }
    }
    insta::assert_snapshot!(read);
}

#[test]
fn what_is_waited_for_is_said_until_it_comes() {
    let awaits = Some("GitHub does not answer `git`".to_owned());
    let unread = Run { awaits: awaits.clone(), ..unplanned(1, Trigger::PullRequest) };
    let check = one(&[unread], "checkvalve");
    assert_eq!(
        (check.title.as_str(), check.status),
        ("Waiting to read the change", CheckStatus::Queued)
    );
    let said = "**Waits, and goes on by itself:** GitHub does not answer \\`git\\`.";
    assert!(check.summary.contains(said), "{}", check.summary);

    let held = Job { awaits, ..job("a", vec![spec("unit", &[])]) };
    let runs = [run(1, Trigger::PullRequest, vec![held])];
    assert_eq!(one(&runs, "a / unit").title, "Waiting to read the commit");
    for name in ["checkvalve", "a / unit"] {
        let summary = one(&runs, name).summary;
        assert!(summary.contains(said), "{name}: {summary}");
    }
}

#[test]
fn an_error_of_the_repository_file_is_annotated_where_it_stands() {
    let text = "The repository file is not valid:\n\n```text\nunknown key `stepz`\n```\n";
    let wrong = |place: Option<(&str, u32)>, trust| {
        let mut run = broken(1, ProblemKind::Configuration, "unknown key `stepz`", text);
        run.problem.as_mut().unwrap().place = place.map(|(file, line)| (file.to_owned(), line));
        one(&[Run { trust, ..run }], "checkvalve").annotations
    };
    let place = Some((".github/checkvalve.yml", 7));
    let annotations = wrong(place, Trust::Trusted);
    let [at_line] = annotations.as_slice() else { panic!("{annotations:?}") };
    assert_eq!(
        (at_line.path.as_str(), at_line.start_line, at_line.end_line),
        (".github/checkvalve.yml", 7, 7)
    );
    assert_eq!(at_line.title, "unknown key `stepz`");
    assert_eq!(at_line.message, "The repository file is not valid:\n\nunknown key `stepz`");
    assert_eq!(wrong(None, Trust::Trusted), []);
    assert_eq!(wrong(place, Trust::Untrusted), [], "that is the base's file");
}
