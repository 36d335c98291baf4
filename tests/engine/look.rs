//! What a step left for people is looked through behind its own time: that has an end, too.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use checkvalve::ambient;
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::plan::Plan;
use checkvalve::domain::run::StepRecord;
use checkvalve::domain::secret::{
    Brought, Delivery, JobSecrets, SecretSource, SecretSpec, SecretValue,
};
use checkvalve::domain::state::Outcome;
use checkvalve::engine::{Engine, EngineOptions, JobRun, Stop};
use checkvalve::exec::{Divided, Division, Ended, Executor, StepRun};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::scripted::Notes;
use super::steps::{Place, plan};
use super::{job, options, step};

/// Steps end at once, with a report that takes minutes to be freed of secrets.
struct Leaver(Outcome);

impl Executor for Leaver {
    type Left = ();

    async fn run(
        &self,
        step: StepRun,
        _: Option<()>,
        _: mpsc::Sender<Bytes>,
        _: CancellationToken,
    ) -> (Ended, Option<()>) {
        let report = std::fs::File::create(step.out.join("junit.xml")).unwrap();
        report.set_len(32 << 30).unwrap();
        let now = ambient::now();
        let ended = Ended {
            outcome: self.0,
            exit_code: None,
            reason: None,
            retry: false,
            started_at: now,
            finished_at: now,
            segments: vec![],
            image_digest: None,
            services: BTreeMap::new(),
        };
        (ended, None)
    }

    async fn divide(&self, (): (), _: Division) -> Divided<()> {
        Divided::nothing()
    }

    async fn keep(&self, (): (), _: &str) {}

    async fn recall(&self, _: &str) -> Option<()> {
        None
    }

    fn identity(&self) -> Option<String> {
        None
    }

    async fn identify(&self, _: &str) -> Result<Option<String>, String> {
        Ok(None)
    }
}

fn reported() -> Plan {
    let junit = Some("junit.xml".to_owned());
    plan(vec![StepSpec { junit, artifacts: vec!["*".to_owned()], ..step("unit", &[], "x") }])
}

fn with_secret<'a>(plan: &'a Plan, place: &Place) -> JobRun<'a> {
    let secret = SecretSpec {
        name: "token".parse().unwrap(),
        source: SecretSource::Local { file: "token".to_owned() },
        delivery: Delivery::File,
    };
    let value = Ok(SecretValue::new(b"hunter2hunter2".to_vec()));
    let brought = Brought { secret, value, note: None };
    let secrets = JobSecrets::new(&"source-x".parse().unwrap(), [brought]);
    JobRun { secrets, ..job(plan, place) }
}

async fn run(outcome: Outcome, options: EngineOptions, stop: &Stop, place: &Place) -> StepRecord {
    let plan = reported();
    let engine = Engine::with_options(Leaver(outcome), 2, options);
    let records = engine.run(with_secret(&plan, place), &Notes::default(), stop).await.unwrap();
    records.into_iter().next().unwrap()
}

fn reason(record: &StepRecord) -> &str {
    assert!(record.facts.artifacts.is_empty() && record.facts.tests.is_none());
    record.facts.reason.as_deref().unwrap()
}

#[tokio::test]
async fn a_look_that_takes_too_long_is_no_success() {
    let missing = "that took longer than 0.1 s; its artifacts and reports are missing";
    for (outcome, expected) in
        [(Outcome::Succeeded, Outcome::Errored), (Outcome::Failed, Outcome::Failed)]
    {
        let options = EngineOptions { look_limit: Duration::from_millis(100), ..options() };
        let record = run(outcome, options, &Stop::new(), &Place::new()).await;
        assert_eq!(record.state.outcome(), Some(expected));
        assert!(reason(&record).ends_with(missing), "{}", reason(&record));
    }
}

#[tokio::test]
async fn whoever_asks_for_an_end_does_not_wait_for_the_look() {
    let (place, stop) = (Place::new(), Stop::new());
    let end = async {
        // It is written anew beside the report: the step itself has ended by then.
        while !has_two_files(place.path()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.stop("nobody wants it");
    };
    let (record, ()) = tokio::join!(run(Outcome::Succeeded, options(), &stop, &place), end);
    assert_eq!(record.state.outcome(), Some(Outcome::Cancelled));
    assert_eq!(reason(&record), "nobody wants it");
}

/// Is there a folder `out` with two files in it?
fn has_two_files(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    let two = folder.ends_with("out") && paths.len() == 2;
    two || paths.iter().any(|path| path.is_dir() && has_two_files(path))
}
