//! Built-in steps: judged here, by pure rules of `domain`, over files and what images say.

mod acceptance;
mod build;
mod listen;
mod qa;
mod renewals;
mod scan;
mod upload;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::asks::Asks;
use super::{Images, JobRun};
use crate::ambient;
use crate::domain::annotation::Annotations;
use crate::domain::builtin::{Builtin, JUNIT, Report};
use crate::domain::cache::Share;
use crate::domain::names::StepId;
use crate::domain::overview;
use crate::domain::pipeline::StepSpec;
use crate::domain::plan::Plan;
use crate::domain::redact::Redactor;
use crate::domain::run::{Segment, StepRecord};
use crate::domain::state::Outcome;
use crate::domain::time::Timestamp;
use crate::exec::images::Halted;
use crate::exec::{Ended, Executor, StepRun};

/// A wait that people need not be told of.
const MOMENT: Duration = Duration::from_millis(500);

/// A built-in step that is about to begin.
pub(super) struct Task {
    pub(super) builtin: Builtin,
    pub(super) plan: Plan,
    pub(super) step: StepRun,
    pub(super) images: Images,
    /// With whom the job shares what it leaves.
    pub(super) share: Option<Share>,
    /// The image that a step before it built.
    pub(super) image: Option<String>,
    /// How the job's steps went, for one that tells of them.
    pub(super) records: Vec<StepRecord>,
    /// Of the job's secrets.
    pub(super) redactor: Arc<Redactor>,
    /// Cancelled before the step is stopped, if it is for the step's own limit.
    pub(super) overdue: CancellationToken,
    pub(super) asks: Asks,
}

/// What came of judging.
struct Judged {
    report: Report,
    /// Why there is no more of it.
    halted: Option<Halted>,
}

impl From<Report> for Judged {
    fn from(report: Report) -> Self {
        Self { report, halted: None }
    }
}

/// The image that a step works with: what the last step of those it needs built.
pub(super) fn image_for(
    plan: &Plan,
    step: &StepId,
    records: &BTreeMap<StepId, StepRecord>,
) -> Option<String> {
    built_for(plan, step, records).map(|(_, image)| image)
}

/// The same, with the step that built it.
pub(super) fn built_for<'p>(
    plan: &'p Plan,
    step: &StepId,
    records: &BTreeMap<StepId, StepRecord>,
) -> Option<(&'p StepId, String)> {
    let builds = plan.before(step, Builtin::Build);
    let built = |build: &'p StepId| Some((build, records.get(build)?.facts.built.clone()?));
    builds.into_iter().rev().find_map(built)
}

/// What a step that tells of the others is told of them.
pub(super) fn told_of(spec: &StepSpec, records: &BTreeMap<StepId, StepRecord>) -> Vec<StepRecord> {
    if spec.is(Builtin::Report) { records.values().cloned().collect() } else { Vec::new() }
}

/// What the steps work with.
struct Site<'a, E> {
    executor: &'a E,
    task: &'a Task,
    log: &'a mpsc::Sender<Bytes>,
    stop: &'a CancellationToken,
    /// The image that was built, known at once: it must be removed whatever comes after.
    built: OnceLock<String>,
    /// When the engine began to build it.
    begun: Arc<OnceLock<Timestamp>>,
    /// What it builds on.
    bases: Arc<Mutex<BTreeMap<String, String>>>,
    /// How the commands ended that it ran.
    ran: OnceLock<Ended>,
    /// What it read of the annotations that those left.
    found: OnceLock<Annotations>,
}

/// What comes of a built-in step beside its end.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The image that it built.
    pub(super) image: Option<String>,
    /// What it built on, by the names that its recipe has.
    pub(super) bases: BTreeMap<String, String>,
    /// What its SARIF report holds, if it was read.
    pub(super) annotations: Option<Annotations>,
}

impl<E> Site<'_, E> {
    /// Nobody to read it is nobody to miss it.
    async fn say(&self, text: String) {
        if !text.is_empty() {
            let _ = self.log.send(text.into()).await;
        }
    }
}

/// Carries it out; everything that is to be read goes to `log`.
pub(super) async fn run<E: Executor>(
    executor: Arc<E>,
    task: Task,
    log: mpsc::Sender<Bytes>,
    stop: CancellationToken,
) -> (Ended, Made) {
    let started_at = ambient::now();
    let (built, ran, found) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
    let (executor, task, log, stop) = (&*executor, &task, &log, &stop);
    let (begun, bases) = (Arc::default(), Arc::default());
    let site = Site { executor, task, log, stop, built, begun, bases, ran, found };
    let judged = judge(&site).await;
    let (outcome, reason, retry) = match judged {
        // It tells how others went, which is no fault of its own.
        Ok(_) if task.builtin == Builtin::Report => (Outcome::Succeeded, None, false),
        // Nothing to write back is nothing wrong.
        Ok(report) if task.builtin == Builtin::UploadSecrets => {
            (Outcome::Succeeded, report.note, false)
        }
        Ok(report) => {
            let (outcome, reason) = report.outcome();
            (outcome, reason, false)
        }
        Err(Halted::Cancelled) => (Outcome::Cancelled, None, false),
        Err(Halted::Errored { reason, retry }) => (Outcome::Errored, Some(reason), retry),
    };
    let finished_at = ambient::now();
    // Stopped before the engine began is not its author's doing: it waited for what it builds on.
    let waited = task.builtin == Builtin::Build && outcome == Outcome::Cancelled;
    let begun = site.begun.get().copied().or((!waited).then_some(started_at));
    let whole = || parts(started_at, begun, finished_at);
    let (built, ran) = (site.built.into_inner(), site.ran.into_inner());
    let bases = site.bases.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let made = Made { image: built, bases, annotations: site.found.into_inner() };
    let (exit_code, image_digest, segments) = match ran {
        Some(ran) => (ran.exit_code, ran.image_digest, ran.segments),
        None => (None, None, whole()),
    };
    let ended = Ended {
        outcome,
        exit_code,
        reason,
        retry,
        started_at,
        finished_at,
        segments,
        image_digest,
        services: BTreeMap::new(),
    };
    (ended, made)
}

/// What of its time it waited for what it builds on, and what it ran; less than a moment's wait is not told.
fn parts(started_at: Timestamp, begun: Option<Timestamp>, finished_at: Timestamp) -> Vec<Segment> {
    let part = |name: &str, started_at, finished_at| {
        (started_at <= finished_at).then(|| Segment {
            name: name.to_owned(),
            started_at,
            finished_at,
        })
    };
    let Some(begun) = begun else {
        return part("pull", started_at, finished_at).into_iter().collect();
    };
    let waited = begun.since(started_at) >= MOMENT;
    let from = if waited { begun } else { started_at };
    let pull = part("pull", started_at, begun).filter(|_| waited);
    pull.into_iter().chain(part("run", from, finished_at)).collect()
}

async fn judge<E: Executor>(site: &Site<'_, E>) -> Result<Report, Halted> {
    let Judged { mut report, halted } = match site.task.builtin {
        Builtin::Qa => qa::judge(site).await?.into(),
        Builtin::Build => build::judge(site).await?.into(),
        Builtin::Acceptance => acceptance::judge(site).await?,
        Builtin::Scan => scan::judge(site).await?.into(),
        Builtin::UploadSecrets => upload::judge(site).await?.into(),
        Builtin::Report => overview(site.task).into(),
    };
    for case in &mut report.cases {
        case.redact(&site.task.redactor);
    }
    site.say(report.log()).await;
    let kept = keep(site.task, &report).await;
    match halted {
        Some(halted) => Err(halted),
        None => kept.map(|()| report),
    }
}

/// How all others went.
fn overview(task: &Task) -> Report {
    let record = |id: &StepId| task.records.iter().find(|record| record.id == *id);
    overview::of(&task.plan, &task.step.labels.step, record)
}

/// Removes what a job built and nobody needs any more.
pub(super) async fn clear_away<E: Executor>(
    executor: &E,
    job: &JobRun<'_>,
    records: &[StepRecord],
) {
    if matches!(job.images, Images::Kept { .. }) {
        return;
    }
    for image in records.iter().filter_map(|record| record.facts.built.as_deref()) {
        if let Err(error) = executor.forget(image).await {
            tracing::warn!(image, error = error.to_string(), "a built image was not removed");
        }
    }
}

/// The image that a step before this one built.
fn built_image<E>(site: &Site<'_, E>) -> Result<String, Halted> {
    site.task.image.clone().ok_or_else(|| {
        let reason = "the image is not known: the step that builds it did not build one in this \
                      job; run it together with this step";
        Halted::Errored { reason: reason.to_owned(), retry: false }
    })
}

/// Leaves the cases where a step leaves its report.
async fn keep(task: &Task, report: &Report) -> Result<(), Halted> {
    let file = task.step.out.join(JUNIT);
    let written = async {
        tokio::fs::create_dir_all(&task.step.out).await?;
        tokio::fs::write(&file, report.junit()).await
    };
    written.await.map_err(|e: io::Error| again(format!("{}: {e}", file.display())))
}

/// Ours, and another try may do better.
fn again(reason: impl Into<String>) -> Halted {
    Halted::Errored { reason: reason.into(), retry: true }
}

/// Work on the source that blocks, on a thread of its own.
async fn blocking<T: Send + 'static>(
    stop: &CancellationToken,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Halted> {
    let done = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(Halted::Cancelled),
        done = tokio::task::spawn_blocking(work) => done,
    };
    let done = done.map_err(|e| again(e.to_string()))?;
    done.map_err(|e| again(format!("the source could not be read: {e}")))
}
