//! Stored objects get their final names: first written under the worker's epoch, copied from the
//! epoch that the fenced settle accepted. Repeatable, so a crash between costs nothing.

use std::collections::BTreeSet;

use bytes::Bytes;
use tracing::info;

use crate::blobs::{BlobError, Blobs};
use crate::domain::ids::JobId;
use crate::domain::links::Links;
use crate::domain::objects;
use crate::domain::run::{Job, Run};
use crate::render::report;
use crate::store::Store;

/// Archives what has concluded.
#[derive(Debug, Clone)]
pub struct Archivist {
    pub store: Store,
    pub blobs: Blobs,
    pub links: Links,
}

impl Archivist {
    /// Archives concluded jobs, then concluded runs; false when there were none.
    pub async fn pass(&self) -> anyhow::Result<bool> {
        let jobs = self.store.unarchived_jobs(16).await?;
        // One that can't be archived must not keep the others from it.
        let (mut archived, mut failed) = (0, None);
        for (run, job) in &jobs {
            match self.archive_job(run, *job).await {
                Ok(()) => archived += 1,
                Err(error) => failed = Some(error.context(format!("{} of {}", job, run.id))),
            }
        }
        for run in &self.store.unarchived_runs(16).await? {
            match self.archive_run(run).await {
                Ok(()) => archived += 1,
                Err(error) => failed = Some(error.context(run.id.to_string())),
            }
        }
        failed.map_or(Ok(archived > 0), Err)
    }

    /// Copies the accepted epoch's objects to their final names; and from earlier epochs, what the
    /// job's steps refer to: a step that ended before its worker died is not run again.
    pub async fn archive_job(&self, run: &Run, id: JobId) -> anyhow::Result<()> {
        let Some(job) = run.jobs.iter().find(|job| job.id == id) else { return Ok(()) };
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
        Ok(self.store.mark_job_archived(id).await?)
    }

    async fn archive_run(&self, run: &Run) -> anyhow::Result<()> {
        let prefix = objects::run_prefix(run);
        let index = report::index_html(run, &self.links);
        let json = report::run_json(run, &self.links);
        let replay = report::replay_json(run);
        self.put(&prefix, "index.html", index.into(), "text/html; charset=utf-8").await?;
        self.put(&prefix, "run.json", pretty(&json), "application/json").await?;
        self.put(&prefix, "replay.json", pretty(&replay), "application/json").await?;
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

/// The final names of the logs and artifacts that a job's steps name.
fn referred_to(job: &Job) -> BTreeSet<&str> {
    let facts = || job.steps.iter().map(|step| &step.facts);
    let logs = facts().filter_map(|facts| facts.log.as_ref()).map(|log| log.key.as_str());
    let artifacts = facts().flat_map(|facts| &facts.artifacts).map(|kept| kept.key.as_str());
    logs.chain(artifacts).collect()
}

/// JSON as people read it, with a newline at the end.
pub(super) fn pretty(value: &serde_json::Value) -> Bytes {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text.into()
}
