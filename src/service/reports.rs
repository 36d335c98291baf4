//! A job's reports, written once it has settled: its verdict does not wait for them, and whoever
//! archives it after a crash writes the same.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tracing::warn;

use super::archive::pretty;
use crate::blobs::{BlobError, Blobs, Object};
use crate::domain::cache::CacheState;
use crate::domain::links::Links;
use crate::domain::names::StepId;
use crate::domain::objects;
use crate::domain::run::{Job, LogRef, Run, StepRecord};
use crate::render::{graph, report, timeline};

/// How much of each log the report shows.
const SHOWN: u64 = 64 * 1024;
/// How much of a stored log is in memory at once.
const PART: u64 = 4 << 20;

/// What the reports of a job are made of.
pub(super) struct Reports<'a> {
    pub(super) run: &'a Run,
    /// Settled; its steps name their logs.
    pub(super) job: &'a Job,
    pub(super) links: &'a Links,
    pub(super) blobs: &'a Blobs,
    /// Where the logs lie of the steps that ran here, on the host that has run it.
    pub(super) spool: Option<&'a Path>,
    /// A folder for what is being put together.
    pub(super) scratch: &'a Path,
}

impl Reports<'_> {
    /// The logs that steps name are to have their final names by now.
    pub(super) async fn write(&self) -> anyhow::Result<()> {
        let Self { run, job, links, .. } = *self;
        let logs = self.last_of_logs().await?;
        let html = report::job_html(run, job, links, &logs);
        let json = report::job_json(run, job, links);
        self.put("report.json", pretty(&json), "application/json").await?;
        self.put("report.html", html.into(), "text/html; charset=utf-8").await?;
        self.put("junit.xml", report::junit_xml(job).into(), "application/xml").await?;
        self.put("graph.svg", graph::job_svg(job).into(), "image/svg+xml").await?;
        self.put("timeline.svg", timeline::job_svg(job).into(), "image/svg+xml").await?;
        let folder = tempfile::Builder::new().prefix("log-").tempdir_in(self.scratch)?;
        let log = self.whole_log(folder.path()).await?;
        let key = self.key("log.txt");
        Ok(self.blobs.put_file(&key, &log, "text/plain; charset=utf-8").await?)
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", objects::job_prefix(self.run, &self.job.connector))
    }

    async fn put(&self, name: &str, bytes: Bytes, kind: &str) -> Result<(), BlobError> {
        self.blobs.put(&self.key(name), bytes, kind).await
    }

    /// The last part of each step's log.
    async fn last_of_logs(&self) -> Result<Vec<(StepId, Vec<u8>)>, BlobError> {
        let mut logs = Vec::new();
        for step in &self.job.steps {
            let spooled = match self.spooled(step) {
                Some(path) => last_bytes(&path, SHOWN).await.ok(),
                None => None,
            };
            let bytes = match (spooled, &step.facts.log) {
                (Some(bytes), _) => bytes,
                (None, Some(log)) => {
                    let start = log.bytes.saturating_sub(SHOWN);
                    let part = self.stored(log, (start, SHOWN)).await?;
                    part.map(|part| part.bytes.to_vec()).unwrap_or_default()
                }
                (None, None) => continue,
            };
            logs.push((step.id.clone(), bytes));
        }
        Ok(logs)
    }

    /// All steps' logs in the pipeline's order, one after the other, each under its name.
    async fn whole_log(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let path = folder.join("log.txt");
        let mut whole = File::create(&path).await?;
        for step in &self.job.steps {
            let heading = format!("==> {} (attempt {})\n", step.id, step.attempt);
            whole.write_all(heading.as_bytes()).await?;
            let reused = step.facts.cache.as_ref().filter(|cache| cache.state == CacheState::Hit);
            if let Some(cache) = reused {
                let key = step.facts.log.as_ref().map_or("", |log| log.key.as_str());
                let note = format!("{}; its log: {key}\n", cache.because);
                whole.write_all(note.as_bytes()).await?;
            }
            let spooled = match self.spooled(step) {
                Some(path) => File::open(path).await.ok(),
                None => None,
            };
            match (spooled, &step.facts.log) {
                (Some(mut log), _) => drop(tokio::io::copy(&mut log, &mut whole).await?),
                (None, Some(log)) => self.copy_stored(log, &mut whole).await?,
                (None, None) => {}
            }
            whole.write_all(b"\n").await?;
        }
        whole.flush().await?;
        Ok(path)
    }

    /// Copies a stored log; what can't be had of it is named.
    async fn copy_stored(&self, log: &LogRef, to: &mut File) -> anyhow::Result<()> {
        let mut at = 0;
        while at < log.bytes {
            let part = self.stored(log, (at, PART)).await?;
            let Some(part) = part.filter(|part| !part.bytes.is_empty()) else {
                let note = format!("checkvalve: its log could not be read here: {}\n", log.key);
                return Ok(to.write_all(note.as_bytes()).await?);
            };
            to.write_all(&part.bytes).await?;
            at += part.bytes.len() as u64;
        }
        Ok(())
    }

    async fn stored(&self, log: &LogRef, range: (u64, u64)) -> Result<Option<Object>, BlobError> {
        if log.bytes == 0 {
            return Ok(None);
        }
        let part = self.blobs.get(&log.key, Some(range)).await?;
        if part.is_none() {
            // A report without a log is better than none.
            warn!(run = %self.run.id, key = log.key, "a log is missing in the report");
        }
        Ok(part)
    }

    /// Where the engine spooled a step's log.
    fn spooled(&self, step: &StepRecord) -> Option<PathBuf> {
        Some(self.spool?.join(objects::step_log(&step.id, step.attempt)))
    }
}

async fn last_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path).await?;
    let length = file.metadata().await?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(most))).await?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}
