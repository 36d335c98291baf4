//! Built-in steps, from the plan to the record: what they judge, log, leave and hand on.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "builtin/acceptance.rs"]
mod acceptance;
#[path = "builtin/breaches.rs"]
mod breaches;
#[path = "builtin/build.rs"]
mod build;
#[path = "builtin/credentials.rs"]
mod credentials;
#[path = "builtin/cut.rs"]
mod cut;
#[path = "support/forgetful.rs"]
mod forgetful;
#[path = "builtin/image.rs"]
mod image;
#[path = "support/images.rs"]
mod images;
#[path = "builtin/layers.rs"]
mod layers;
#[path = "builtin/lost.rs"]
mod lost;
#[path = "builtin/qa.rs"]
mod qa;
#[expect(dead_code, reason = "nothing here is counted, and nobody logs in")]
#[path = "support/registry.rs"]
mod registry;
#[path = "builtin/renewals.rs"]
mod renewals;
#[path = "builtin/report.rs"]
mod report;
#[path = "builtin/scan.rs"]
mod scan;
#[path = "support/scripted.rs"]
mod scripted;
#[path = "builtin/speaker.rs"]
mod speaker;
#[expect(dead_code, reason = "shared with the executors' tests")]
#[path = "support/steps.rs"]
mod steps;
#[path = "builtin/telling.rs"]
mod telling;
#[expect(dead_code, reason = "no server is needed")]
#[path = "support/tls.rs"]
mod tls;
#[path = "builtin/trusting.rs"]
mod trusting;

use std::collections::BTreeMap;
use std::sync::Arc;

use checkvalve::ambient;
use checkvalve::domain::builtin::{Builtin, JUNIT};
use checkvalve::domain::ids::{JobId, RunId};
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::plan::{Inputs, Plan};
use checkvalve::domain::run::{StepFacts, StepRecord};
use checkvalve::domain::secret::JobSecrets;
use checkvalve::domain::state::{Outcome, StepState};
use checkvalve::engine::{Engine, Images, JobLabels, JobRun, Stop};
use checkvalve::exec::{Executor, SourceArchive};
use scripted::Notes;
use tempfile::TempDir;

const ROOT: &str = "connectors/source-x";

/// A step as the repository file makes it.
fn uses(builtin: Builtin, needs: &[&str]) -> StepSpec {
    StepSpec {
        uses: Some(builtin.into()),
        needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
        artifacts: vec![JUNIT.to_owned()],
        junit: Some(JUNIT.to_owned()),
        ..StepSpec::new(builtin.as_str().parse().unwrap())
    }
}

fn plan(steps: Vec<StepSpec>) -> Plan {
    Plan::new("source-x".parse().unwrap(), ROOT.into(), Inputs::default(), steps).unwrap()
}

/// Files as a job's source; paths that begin with `/` count from the top, others from the root.
fn source(folder: &TempDir, files: &[(&str, &str)]) -> Arc<SourceArchive> {
    let tar = folder.path().join("source.tar");
    let mut builder = tar::Builder::new(std::fs::File::create(&tar).unwrap());
    for (path, body) in files {
        let path = path.strip_prefix('/').map_or(format!("{ROOT}/{path}"), str::to_owned);
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(body.len() as u64);
        builder.append_data(&mut header, path, body.as_bytes()).unwrap();
    }
    builder.finish().unwrap();
    Arc::new(SourceArchive { tar })
}

/// What came of a job.
struct Done {
    records: Vec<StepRecord>,
    notes: Notes,
}

impl Done {
    fn step(&self, id: &str) -> &StepRecord {
        self.records.iter().find(|record| record.id.as_str() == id).unwrap()
    }

    fn outcome(&self, id: &str) -> Outcome {
        let settled = self.step(id).state.outcome();
        settled.unwrap_or_else(|| panic!("{id} was not run: {:#?}", self.records))
    }

    fn reason(&self, id: &str) -> &str {
        self.step(id).facts.reason.as_deref().unwrap_or_default()
    }

    fn log(&self, id: &str) -> String {
        let printed = self.notes.printed.lock().unwrap();
        let log = printed.iter().filter(|((step, _), _)| step.as_str() == id);
        log.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    /// Passed, failed, skipped, and the names of those that failed.
    fn tests(&self, id: &str) -> (u32, u32, u32, Vec<&str>) {
        let tests = self.step(id).facts.tests.as_ref().unwrap();
        let names = tests.failures.iter().map(|failure| failure.name.as_str()).collect();
        (tests.passed, tests.failed, tests.skipped, names)
    }
}

async fn carry_out<E: Executor>(executor: E, plan: &Plan, files: &[(&str, &str)]) -> Done {
    resume(executor, plan, files, Vec::new()).await
}

/// Goes on with a job that another worker began.
async fn resume<E: Executor>(
    executor: E,
    plan: &Plan,
    files: &[(&str, &str)],
    records: Vec<StepRecord>,
) -> Done {
    run(executor, plan, files, Begin { records, ..Begin::default() }).await
}

/// What a job begins with, beside its plan and its source.
struct Begin {
    records: Vec<StepRecord>,
    images: Images,
    secrets: JobSecrets,
    stop: Stop,
}

impl Default for Begin {
    fn default() -> Self {
        let images = Images::OfJob { repository: 1 };
        let (secrets, stop) = (JobSecrets::default(), Stop::new());
        Self { records: Vec::new(), images, secrets, stop }
    }
}

async fn run<E: Executor>(
    executor: E,
    plan: &Plan,
    files: &[(&str, &str)],
    Begin { records, images, secrets, stop }: Begin,
) -> Done {
    let (folder, notes, ulid) = (tempfile::tempdir().unwrap(), Notes::default(), ambient::ulid());
    let job = JobRun {
        plan,
        records,
        labels: JobLabels {
            instance: format!("test-{ulid}"),
            run: RunId::new(ulid),
            job: JobId::new(ulid),
            epoch: 1,
            connector: "source-x".parse().unwrap(),
        },
        env: BTreeMap::new(),
        secrets,
        source: source(&folder, files),
        spool: folder.path().join("spool"),
        fail_fast: false,
        images,
        cache: None,
    };
    let records = Engine::new(executor, 2).run(job, &notes, &stop).await.unwrap();
    Done { records, notes }
}

/// This process' memory in use, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A record of a build that another worker saw through.
fn built(image: &str) -> StepRecord {
    let now = ambient::now();
    let outcome = Outcome::Succeeded;
    StepRecord {
        id: "build".parse().unwrap(),
        state: StepState::Finished { started_at: now, finished_at: now, outcome },
        attempt: 1,
        queued_at: now,
        facts: StepFacts { built: Some(image.to_owned()), ..StepFacts::default() },
    }
}
