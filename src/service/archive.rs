//! Stored objects get their final names: first written under the worker's epoch, copied from the
//! epoch that the fenced settle accepted. Repeatable, so a crash between costs nothing.

use bytes::Bytes;
use tracing::info;

use crate::blobs::{BlobError, Blobs};
use crate::domain::ids::JobId;
use crate::domain::links::Links;
use crate::domain::objects;
use crate::domain::run::Run;
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
        for (run, job) in &jobs {
            self.archive_job(run, *job).await?;
        }
        let runs = self.store.unarchived_runs(16).await?;
        for run in &runs {
            self.archive_run(run).await?;
        }
        Ok(!jobs.is_empty() || !runs.is_empty())
    }

    /// Copies the accepted epoch's objects to their final names.
    pub async fn archive_job(&self, run: &Run, id: JobId) -> anyhow::Result<()> {
        let Some(job) = run.jobs.iter().find(|job| job.id == id) else { return Ok(()) };
        let from = objects::epoch_prefix(run, &job.connector, job.epoch);
        let to = objects::job_prefix(run, &job.connector);
        for key in self.blobs.list(&from).await? {
            if let Some(name) = key.strip_prefix(&from) {
                self.blobs.copy(&key, &format!("{to}{name}")).await?;
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

/// JSON as people read it, with a newline at the end.
pub(super) fn pretty(value: &serde_json::Value) -> Bytes {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text.into()
}
