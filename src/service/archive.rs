//! Stored objects get their final names: first written under the worker's epoch, copied from the
//! epoch that the fenced settle accepted. Repeatable, so a crash between costs nothing.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::planning::Definition;
use super::reports::Reports;
use crate::blobs::{BlobError, Blobs};
use crate::domain::ids::JobId;
use crate::domain::links::Links;
use crate::domain::objects;
use crate::domain::run::{Job, Run};
use crate::render::report;
use crate::store::Store;

/// What a run can be planned again from.
const REPLAY: &str = "replay.json";

/// How many jobs are archived at once: those that still wait for their verdict come first.
const AT_ONCE: usize = 2;
/// And of these, how many reports are written: each is a megabyte or two meanwhile.
const REPORTS_AT_ONCE: usize = 1;

/// Archives what has concluded. Clones share what they do at once.
#[derive(Debug, Clone)]
pub struct Archivist {
    store: Store,
    pub(super) blobs: Blobs,
    links: Links,
    /// A folder for what is being put together.
    scratch: PathBuf,
    room: Arc<Semaphore>,
    desk: Arc<Semaphore>,
}

impl Archivist {
    pub fn new(store: Store, blobs: Blobs, links: Links, scratch: PathBuf) -> Self {
        Self {
            store,
            blobs,
            links,
            scratch,
            room: Arc::new(Semaphore::new(AT_ONCE)),
            desk: Arc::new(Semaphore::new(REPORTS_AT_ONCE)),
        }
    }

    /// Archives concluded jobs, then concluded runs; false when there were none.
    pub async fn pass(&self) -> anyhow::Result<bool> {
        // One that can't be archived must not keep the others from it.
        let (mut archived, mut failed) = (0, None);
        for (run, job) in &self.store.unarchived_jobs(16).await? {
            match unharmed(Box::pin(self.archive_job(run, *job, None))).await {
                Ok(()) => archived += 1,
                Err(error) => {
                    failed = Some(error.context(format!("{} of {}", job, run.id)));
                    self.store.postpone_job(*job).await?;
                }
            }
        }
        for run in &self.store.unarchived_runs(16).await? {
            match unharmed(Box::pin(self.archive_run(run))).await {
                Ok(()) => archived += 1,
                Err(error) => {
                    failed = Some(error.context(run.id.to_string()));
                    self.store.postpone_run(run.id).await?;
                }
            }
        }
        failed.map_or(Ok(archived > 0), Err)
    }

    /// Copies the accepted epoch's objects to their final names; and from earlier epochs, what the
    /// job's steps refer to: a step that ended before its worker died is not run again. Then the
    /// reports, for which logs that lie in `spool` need not come back from the store.
    pub(super) async fn archive_job(
        &self,
        run: &Run,
        id: JobId,
        spool: Option<&Path>,
    ) -> anyhow::Result<()> {
        let Some(job) = run.jobs.iter().find(|job| job.id == id) else { return Ok(()) };
        let _room = self.room.acquire().await?;
        // Who carried it out and who looks for what was left may both have waited for the room.
        if self.store.is_job_archived(id).await? {
            return Ok(());
        }
        let to = objects::job_prefix(run, &job.connector);
        let kept = referred_to(job);
        for epoch in 1..=job.epoch {
            let from = objects::epoch_prefix(run, &job.connector, epoch);
            for key in self.blobs.list(&from).await? {
                let Some(name) = key.strip_prefix(&from) else { continue };
                let name = format!("{to}{name}");
                if epoch == job.epoch || kept.contains(name.as_str()) {
                    self.blobs.copy(&key, &name).await?;
                }
            }
        }
        let (links, blobs, scratch) = (&self.links, &self.blobs, &*self.scratch);
        if job.started_at.is_some() {
            let _desk = self.desk.acquire().await?;
            Reports { run, job, links, blobs, spool, scratch }.write().await?;
        }
        Ok(self.store.mark_job_archived(id).await?)
    }

    async fn archive_run(&self, run: &Run) -> anyhow::Result<()> {
        let prefix = objects::run_prefix(run);
        let index = report::index_html(run, &self.links);
        let json = report::run_json(run, &self.links);
        let mut replay = report::replay_json(run);
        let name = format!("{prefix}/{REPLAY}");
        let written = self.blobs.get(&name, None).await?;
        let planning = written.map(|object| planning_of(&object.bytes)).transpose();
        self.put(&prefix, "index.html", index.into(), "text/html; charset=utf-8").await?;
        self.put(&prefix, "run.json", pretty(&json), "application/json").await?;
        match planning {
            Ok(planning) => {
                replay["planning"] = planning.unwrap_or_default();
                self.put(&prefix, REPLAY, compact(&replay), "application/json").await?;
            }
            // What can't be read is not written over.
            Err(error) => warn!(run.id = %run.id, "{name} is left as it is: {error}"),
        }
        self.store.mark_run_archived(run.id).await?;
        info!(run.id = %run.id, "archived");
        Ok(())
    }

    async fn put(
        &self,
        prefix: &str,
        name: &str,
        bytes: Bytes,
        kind: &str,
    ) -> Result<(), BlobError> {
        self.blobs.put(&format!("{prefix}/{name}"), bytes, kind).await
    }

    /// Deletes the objects of runs that retention has forgotten.
    pub async fn forget(&self, run: &Run) -> Result<(), BlobError> {
        for key in self.blobs.list(&objects::run_prefix(run)).await? {
            self.blobs.delete(&key).await?;
        }
        Ok(())
    }
}

/// A panic over one odd report is that report's alone.
async fn unharmed<F>(archiving: F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let caught = AssertUnwindSafe(archiving).catch_unwind().await;
    caught.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked")))
}

/// Writes down what a run's plans were made of, under the name that the rest of it will join once
/// the run has concluded.
pub(super) async fn keep_definition(
    blobs: &Blobs,
    run: &Run,
    definition: &Definition,
) -> Result<(), BlobError> {
    let replay = json!({"run": run.id, "planning": definition});
    let key = format!("{}/{REPLAY}", objects::run_prefix(run));
    blobs.put(&key, compact(&replay), "application/json").await
}

/// What was written down when the run was planned.
fn planning_of(replay: &[u8]) -> Result<Value, serde_json::Error> {
    let mut replay: Value = serde_json::from_slice(replay)?;
    Ok(replay.get_mut("planning").map(Value::take).unwrap_or_default())
}

/// On one line: of a tree of thousands of files people read nothing.
fn compact(value: &Value) -> Bytes {
    format!("{value}\n").into()
}

/// The final names of the logs and artifacts that a job's steps name.
fn referred_to(job: &Job) -> BTreeSet<&str> {
    let facts = || job.steps.iter().map(|step| &step.facts);
    let logs = facts().filter_map(|facts| facts.log.as_ref()).map(|log| log.key.as_str());
    let artifacts = facts().flat_map(|facts| &facts.artifacts).map(|kept| kept.key.as_str());
    logs.chain(artifacts).collect()
}

/// JSON as people read it, with a newline at the end.
pub(super) fn pretty(value: &Value) -> Bytes {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text.into()
}
