//! Runs to render: built by hand, times fixed.

use std::time::Duration;

use checkvalve::domain::cache::Reuse;
use checkvalve::domain::ids::{JobId, RunId, Ulid};
use checkvalve::domain::impact::{ChangeKind, Explanation, Look, Reason, Rule};
use checkvalve::domain::links::Links;
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::plan::{Inputs, Plan};
use checkvalve::domain::run::{
    Artifact, Job, LogRef, Problem, ProblemKind, Repository, Run, Segment, Selection, StepFacts,
    StepRecord, TestFailure, Tests,
};
use checkvalve::domain::state::{Conclusion, Outcome, RunState, SkipReason, StepState};
use checkvalve::domain::time::Timestamp;
use checkvalve::domain::trigger::{Scope, Target, Trigger};
use checkvalve::domain::trust::Trust;
use checkvalve::domain::unselected::Unselected;

pub(crate) fn links() -> Links {
    Links { public: "https://ci.example.com".into(), github: "https://github.com".into() }
}

/// Seconds (tenths) after the run's making.
pub(crate) fn at(tenths: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + tenths * 100)
}

pub(crate) fn spec(id: &str, needs: &[&str]) -> StepSpec {
    StepSpec {
        image: "docker.io/library/python:3.11".into(),
        run: vec![format!("run-{id} --all")],
        needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
        timeout_ms: 1_800_000,
        network: Network::None,
        ..StepSpec::new(id.parse().unwrap())
    }
}

pub(crate) fn plan(connector: &str, steps: Vec<StepSpec>) -> Plan {
    let root = format!("connectors/{connector}");
    let plan = Plan::new(connector.parse().unwrap(), root, Inputs::default(), steps).unwrap();
    plan.with_version(Some("1.4.2".to_owned()))
}

/// What a reader may want to know of a connector.
pub(crate) fn about(job: Job) -> Job {
    let about = serde_json::json!({
        "language": "python",
        "support_level": "certified",
        "documentation": "https://docs.example.com/faker?a=1&b=\"2\"",
    });
    Job { plan: job.plan.with_about(serde_json::from_value(about).unwrap()), ..job }
}

/// Why these connectors are not selected, in the words of a rule that looked at them.
pub(crate) fn unselected(names: &[&str]) -> Unselected {
    Unselected::of(names.iter().map(|name| Explanation {
        name: (*name).to_owned(),
        selected: false,
        reasons: vec![],
        looked: vec![Look {
            rule: format!("root connectors/{name}"),
            because: "none of 3 changed paths lies in it".to_owned(),
        }],
    }))
}

/// A job whose steps all wait.
pub(crate) fn job(connector: &str, steps: Vec<StepSpec>) -> Job {
    let plan = plan(connector, steps);
    let steps = plan
        .steps()
        .iter()
        .map(|spec| StepRecord {
            id: spec.id.clone(),
            state: StepState::Waiting,
            attempt: 1,
            queued_at: at(0),
            facts: StepFacts::default(),
        })
        .collect();
    Job {
        id: JobId::new(Ulid::from_parts(1, u128::from(connector.len() as u64))),
        connector: connector.parse().unwrap(),
        change: ChangeKind::Modified,
        reasons: vec![Reason {
            path: format!("connectors/{connector}/main.py"),
            rule: Rule::Root,
            via: vec![],
        }],
        plan,
        state: RunState::Queued,
        conclusion: None,
        attempt: 1,
        epoch: 1,
        created_at: at(0),
        started_at: None,
        concluded_at: None,
        cancel: None,
        awaits: None,
        steps,
    }
}

pub(crate) fn ended(from: i64, to: i64, outcome: Outcome) -> StepState {
    StepState::Finished { started_at: at(from), finished_at: at(to), outcome }
}

pub(crate) fn skipped_for(step: &str) -> StepState {
    StepState::Skipped { at: at(216), reason: SkipReason::Needs { step: step.parse().unwrap() } }
}

pub(crate) const NOT_ASKED: fn() -> StepState =
    || StepState::Skipped { at: at(0), reason: SkipReason::NotAsked };

/// Sets the states in the plan's order, and the job's own state from them.
pub(crate) fn with(mut job: Job, states: Vec<StepState>) -> Job {
    for (step, state) in job.steps.iter_mut().zip(states) {
        step.state = state;
    }
    let settled = job.steps.iter().all(|step| step.state.is_settled());
    let waiting = job.steps.iter().all(|step| step.state == StepState::Waiting);
    job.state = match (settled, waiting) {
        (true, _) => RunState::Concluded,
        (false, true) => RunState::Queued,
        (false, false) => RunState::Running,
    };
    if !waiting {
        job.started_at = Some(at(5));
    }
    if settled {
        job.concluded_at = Some(at(400));
        job.conclusion = Some(checkvalve::domain::run::job_conclusion(&job.plan, &job.steps));
    }
    job
}

/// A run that is not planned yet; `number` orders runs.
pub(crate) fn unplanned(number: u128, trigger: Trigger) -> Run {
    Run {
        id: RunId::new(Ulid::from_parts(1_790_000_000_000, number)),
        repository: Repository {
            id: 7,
            name: "acme/connectors".parse().unwrap(),
            installation: 1,
            private: false,
        },
        pull: Some(12),
        title: "Read the new endpoint".into(),
        head_ref: "new-endpoint".into(),
        base_ref: "main".into(),
        head_sha: "1f".repeat(20).parse().unwrap(),
        base_sha: "b0".repeat(20).parse().unwrap(),
        merge_base: Some("b0".repeat(20).parse().unwrap()),
        trigger,
        cause: "generation-1".into(),
        actor: "octocat".into(),
        scope: Scope::Affected,
        reuse: Reuse::All,
        trust: Trust::Trusted,
        kept_under: None,
        state: RunState::Queued,
        conclusion: None,
        problem: None,
        selection: None,
        created_at: at(0),
        started_at: None,
        concluded_at: None,
        superseded_by: None,
        cancel: None,
        awaits: None,
        revision: 1,
        jobs: Vec::new(),
    }
}

/// A planned run with these jobs; concluded if they all are.
pub(crate) fn run(number: u128, trigger: Trigger, jobs: Vec<Job>) -> Run {
    let over = jobs.iter().all(|job| job.state == RunState::Concluded);
    let worst =
        jobs.iter().filter_map(|job| job.conclusion).max_by_key(|conclusion| match conclusion {
            Conclusion::Success => 0,
            Conclusion::Failure => 1,
            Conclusion::ActionRequired | Conclusion::Cancelled => 2,
        });
    Run {
        state: if over { RunState::Concluded } else { RunState::Running },
        conclusion: over.then(|| worst.unwrap_or(Conclusion::Success)),
        selection: Some(Selection {
            complete: true,
            files: 3,
            ignored: 1,
            origin: ".github/checkvalve.yml at 1f1f1f1f1f1f".into(),
            ..Selection::default()
        }),
        started_at: Some(at(2)),
        concluded_at: over.then(|| at(401)),
        jobs,
        ..unplanned(number, trigger)
    }
}

/// A command for single steps.
pub(crate) fn command(number: u128, targets: &[(&str, &str)], jobs: Vec<Job>) -> Run {
    let targets = targets
        .iter()
        .map(|(connector, step)| Target {
            connector: (*connector).into(),
            step: Some((*step).into()),
        })
        .collect();
    Run {
        scope: Scope::Only { targets },
        cause: format!("comment-{number}"),
        ..run(number, Trigger::Comment, jobs)
    }
}

pub(crate) fn broken(number: u128, kind: ProblemKind, title: &str, text: &str) -> Run {
    Run {
        state: RunState::Concluded,
        conclusion: Some(match kind {
            ProblemKind::NotTrusted => Conclusion::ActionRequired,
            ProblemKind::Configuration | ProblemKind::Infrastructure => Conclusion::Failure,
        }),
        problem: Some(Problem { kind, title: title.into(), text: text.into(), place: None }),
        concluded_at: Some(at(9)),
        ..unplanned(number, Trigger::PullRequest)
    }
}

/// install → unit, lint → build → acceptance
pub(crate) fn five() -> Vec<StepSpec> {
    vec![
        spec("install", &[]),
        spec("unit", &["install"]),
        spec("lint", &["install"]),
        spec("build", &["unit"]),
        spec("acceptance", &["build", "lint"]),
    ]
}

/// The run that the pictures of the documents could show: one connector failed with failing tests,
/// one passed, one had our error.
pub(crate) fn rich() -> Run {
    let mut mongo = with(
        job("destination-mongo", vec![spec("install", &[]), spec("unit", &["install"])]),
        vec![ended(20, 40, Outcome::Errored), skipped_for("install")],
    );
    mongo.steps[0].facts.reason =
        Some("the image could not be pulled: connection reset (tried 3 times)".into());
    let stripe = with(
        job("source-stripe", five()),
        vec![ok(10, 60), ok(61, 150), ok(61, 80), ok(150, 300), ok(301, 390)],
    );
    let mut run = run(1, Trigger::PullRequest, vec![mongo, about(faker()), stripe]);
    if let Some(selection) = &mut run.selection {
        selection.unclaimed = vec!["tools/release.sh".into()];
        selection.unclaimed_selects = Some(false);
        selection.removed = vec!["source-old".into()];
        selection.archived = vec!["source-kept".into()];
        selection.unselected = Some(unselected(&["source-kept", "source-old", "source-other"]));
        selection.notes = vec!["the base branch is 2 commits ahead".into()];
    }
    run
}

fn ok(from: i64, to: i64) -> StepState {
    ended(from, to, Outcome::Succeeded)
}

fn segment(name: &str, from: i64, to: i64) -> Segment {
    Segment { name: name.into(), started_at: at(from), finished_at: at(to) }
}

/// Failed with failing tests.
fn faker() -> Job {
    let mut faker = with(
        job("source-faker", five()),
        vec![
            ok(12, 95),
            ended(96, 216, Outcome::Failed),
            ok(96, 120),
            skipped_for("unit"),
            skipped_for("unit"),
        ],
    );
    faker.reasons.push(Reason {
        path: "libs/cdk/http.py".into(),
        rule: Rule::Depends,
        via: vec!["libs/cdk/read.py:3".into(), "connectors/source-faker/main.py:12".into()],
    });
    for (step, queued) in faker.steps.iter_mut().zip([0, 95, 95, 216, 216]) {
        step.queued_at = at(queued);
    }
    faker.steps[0].facts.segments =
        vec![segment("pull", 12, 40), segment("create", 40, 44), segment("run", 44, 95)];
    faker.steps[1].facts = failing_unit();
    faker.steps[2].facts.segments = vec![segment("create", 96, 99), segment("run", 99, 120)];
    faker
}

fn failing_unit() -> StepFacts {
    let failure = |name: &str, message: &str| TestFailure {
        name: format!("unit_tests.{name}"),
        message: message.into(),
        file: None,
        line: None,
    };
    let users = TestFailure {
        file: Some("unit_tests/test_source.py".into()),
        line: Some(41),
        ..failure(
            "test_source.test_read[users]",
            ">       assert len(records) == 10\nE       assert 9 == 10\nE        +  where 9 = len([...])",
        )
    };
    StepFacts {
        reason: None,
        exit_code: Some(1),
        image_digest: Some(format!("sha256:{}", "ab".repeat(32))),
        built: None,
        bases: std::collections::BTreeMap::new(),
        tries: checkvalve::domain::run::Tries::default(),
        services: std::collections::BTreeMap::new(),
        log: Some(LogRef { key: "runs/x/log.txt".into(), bytes: 18_432, lines: 320, cut: 0 }),
        tests: Some(Tests {
            passed: 38,
            failed: 3,
            skipped: 2,
            failures: vec![
                users,
                failure("test_source.test_read[orders]", "KeyError: 'cursor'"),
                failure("test_spec.test_spec_is_json", ""),
            ],
        }),
        annotations: None,
        coverage: None,
        places: std::collections::BTreeMap::new(),
        artifacts: vec![Artifact {
            path: "htmlcov/index.html".into(),
            key: "runs/x/artifacts/htmlcov/index.html".into(),
            bytes: 4_096,
        }],
        cache: None,
        segments: vec![
            segment("create", 96, 100),
            segment("run", 100, 213),
            segment("collect", 213, 216),
        ],
        excerpt: LOG.into(),
    }
}

/// What pytest prints, in colour, with a progress bar before it.
pub(crate) const LOG: &str = "\u{1b}[32mCollecting\u{1b}[0m requests\n\r 10%\r 55%\r100% done\n\
============================= test session starts ==============================\n\
collected 43 items\n\
\n\
unit_tests/test_source.py \u{1b}[32m.\u{1b}[0m\u{1b}[31mF\u{1b}[0m\u{1b}[31mF\u{1b}[0m\n\
=================================== FAILURES ===================================\n\
\u{1b}[31m\u{1b}[1m_______________________________ test_read[users] _______________________________\u{1b}[0m\n\
>       assert len(records) == 10\n\
\u{1b}[1m\u{1b}[31mE       assert 9 == 10\u{1b}[0m\n\
\u{1b}[31m=================== \u{1b}[1m3 failed\u{1b}[0m, \u{1b}[32m38 passed\u{1b}[0m, 2 skipped in 11.30s\u{1b}[31m ===================\u{1b}[0m\n";

/// A step with another limit than the default.
pub(crate) fn with_timeout(mut spec: StepSpec, limit: Duration) -> StepSpec {
    spec.timeout_ms = u64::try_from(limit.as_millis()).unwrap();
    spec
}
