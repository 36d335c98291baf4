//! Not a test: a server with a run of every kind, to look at its pages in a browser.
//! `cargo nextest run --run-ignored only gallery`, then open <http://127.0.0.1:8199/>.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use checkvalve::domain::ids::RunId;
use checkvalve::domain::objects;
use checkvalve::domain::run::{
    Artifact, Job, LogRef, Problem, ProblemKind, Run, Segment, StepFacts, StepRecord, TestFailure,
    Tests,
};
use checkvalve::domain::state::{Conclusion, Outcome, SkipReason, StepState};
use checkvalve::render::report;
use checkvalve::store::{Lease, LogTail};

use super::house::{House, Plot, Tale, ago, finished, put, running, step_id};

const OPEN_FOR: Duration = Duration::from_mins(10);

fn log() -> String {
    let mut log = String::from("\u{1b}[1m=== test session starts ===\u{1b}[0m\n");
    for n in 1..2_300 {
        let _ = writeln!(
            log,
            "tests/test_read.py::test_page[{n}] \u{1b}[32mPASSED\u{1b}[0m [{}%]",
            n / 23
        );
    }
    log + "tests/test_cursor.py::test_resumes \u{1b}[31mFAILED\u{1b}[0m\n\n\
        \u{1b}[31m\u{1b}[1mE   AssertionError: assert '2026-01-01' == '2026-01-02'\u{1b}[0m\n\
        downloading 10%\rdownloading 100%\n<b>not bold</b>\n1 failed, 41 passed in 11.3s\n"
}

/// Puts a log and answers the step's facts.
async fn facts(house: &House, run: &Run, job: &Job, epoch: i64, step: &str) -> StepFacts {
    let prefix = objects::epoch_prefix(run, &job.connector, epoch);
    let key = format!("{prefix}/{}", objects::step_log(&step_id(step), 1));
    let log = log();
    put(house, &key, log.clone()).await;
    StepFacts {
        log: Some(LogRef { key, bytes: log.len() as u64, lines: 2_308, cut: 0 }),
        image_digest: Some("sha256:4f1c0de5a1b2".to_owned()),
        segments: vec![
            Segment { name: "pull".to_owned(), started_at: ago(30), finished_at: ago(28) },
            Segment { name: "run".to_owned(), started_at: ago(28), finished_at: ago(18) },
        ],
        ..StepFacts::default()
    }
}

async fn failed(house: &House, lease: &Lease, run: &Run, job: &Job) -> Vec<StepRecord> {
    let mut unit = finished("unit", Outcome::Failed);
    unit.facts = facts(house, run, job, lease.epoch, "unit").await;
    unit.facts.exit_code = Some(1);
    unit.facts.reason = Some("exit code 1".to_owned());
    unit.facts.artifacts = vec![Artifact {
        path: "coverage/index.html".to_owned(),
        key: "x".to_owned(),
        bytes: 48_312,
    }];
    unit.facts.tests = Some(Tests {
        passed: 41,
        failed: 1,
        skipped: 2,
        failures: vec![TestFailure {
            name: "tests.test_cursor::test_resumes".to_owned(),
            message: "assert '2026-01-01' == '2026-01-02'\n  - 2026-01-02\n  + 2026-01-01"
                .to_owned(),
            file: Some("unit_tests/test_cursor.py".to_owned()),
            line: Some(31),
        }],
    });
    let skipped =
        StepState::Skipped { at: ago(18), reason: SkipReason::Needs { step: step_id("unit") } };
    let mut install = finished("install", Outcome::Succeeded);
    install.state = StepState::Finished {
        started_at: ago(55),
        finished_at: ago(31),
        outcome: Outcome::Succeeded,
    };
    vec![
        install,
        finished("lint", Outcome::Succeeded),
        unit,
        StepRecord { state: skipped, ..running("publish <i>") },
    ]
}

async fn settle(
    house: &House,
    lease: Lease,
    steps: &[StepRecord],
    conclusion: Conclusion,
    id: RunId,
) {
    let job = lease.job;
    house.store.settle_job(lease, steps, conclusion).await.unwrap();
    let run = house.run(id).await;
    let job = run.jobs.iter().find(|j| j.id == job).unwrap();
    let links = checkvalve::domain::links::Links {
        public: house.base.clone(),
        github: "https://github.com".to_owned(),
    };
    let prefix = objects::job_prefix(&run, &job.connector);
    put(house, &format!("{prefix}/report.html"), report::job_html(&run, job, &links, &[])).await;
}

async fn broken(house: &House) {
    let problem = Problem {
        kind: ProblemKind::Configuration,
        title: "`.github/checkvalve.yml` has an unknown key".to_owned(),
        text: "line 4: `stepz` is no key of a pipeline; did you mean `steps`?".to_owned(),
        place: Some((".github/checkvalve.yml".to_owned(), 4)),
    };
    let tale = Tale {
        pull: 9,
        sha: "9",
        title: "Add a pipeline for destinations".to_owned(),
        problem: Some((Conclusion::Failure, problem)),
        ..Tale::default()
    };
    house.make(&tale).await;
}

async fn ended(house: &House, tale: &Tale) -> RunId {
    let id = house.planned(tale).await;
    for _ in 0..3 {
        let (lease, run, job) = house.claim().await;
        let mut steps = failed(house, &lease, &run, &job).await;
        let mut conclusion = Conclusion::Failure;
        if job.connector.as_str() != "source-faker" {
            steps[2] = finished("unit", Outcome::Succeeded);
            steps[3] = finished("publish <i>", Outcome::Succeeded);
            conclusion = Conclusion::Success;
        }
        settle(house, lease, &steps, conclusion, id).await;
    }
    id
}

/// Prints a line a second for as long as the gallery is open.
async fn print_on(house: &House, lease: &Lease) {
    let mut text = String::new();
    let until = tokio::time::Instant::now() + OPEN_FOR;
    while tokio::time::Instant::now() < until {
        let _ = writeln!(text, "tests/test_live.py::test_{} \u{1b}[32mPASSED\u{1b}[0m", text.len());
        let tail = LogTail { start: 0, bytes: Bytes::from(text.clone()), attempt: 1, ended: false };
        house.store.heartbeat(lease).await.unwrap();
        house.store.write_tail(lease, &step_id("unit"), tail).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
#[ignore = "serves pages for ten minutes, to be looked at"]
async fn gallery() {
    let house = House::on(Plot { listen: "127.0.0.1:8199", ..Plot::default() }).await;
    broken(&house).await;
    let tale = Tale {
        title: "source-faker: resume from the stored cursor".to_owned(),
        connectors: vec!["destination-jsonl", "source-faker", "source-postgres"],
        ..Tale::default()
    };
    let done = ended(&house, &tale).await;
    let title = "Shared HTTP client: back off on 429".to_owned();
    let live = house.planned(&Tale { pull: 14, sha: "e", title, ..tale }).await;
    let (lease, run, job) = house.claim().await;
    let mut steps = failed(&house, &lease, &run, &job).await;
    steps[2] = running("unit");
    steps[3] = StepRecord { state: StepState::Waiting, ..running("publish <i>") };
    house.store.record(&lease, &steps).await.unwrap();
    println!("{0}/runs/{done}\n{0}/runs/{live}/{1}/unit", house.base, job.connector);
    print_on(&house, &lease).await;
}
