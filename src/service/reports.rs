//! A job's reports, written under its epoch when it ends.

use std::io;
use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tracing::warn;

use super::archive::pretty;
use super::journal::JobJournal;
use crate::ambient;
use crate::blobs::{BlobError, Object};
use crate::domain::cache::CacheState;
use crate::domain::links::Links;
use crate::domain::names::StepId;
use crate::domain::objects;
use crate::domain::run::{Job, LogRef, Run, StepRecord};
use crate::domain::state::{Conclusion, RunState};
use crate::render::{graph, report, timeline};

/// How much of each log the report shows.
const SHOWN: u64 = 64 * 1024;
/// How much of a stored log is in memory at once.
const PART: u64 = 4 << 20;

/// What the reports of a job are made of.
pub(super) struct Reports<'a> {
    pub(super) run: &'a Run,
    pub(super) job: &'a Job,
    pub(super) links: &'a Links,
    /// Where the logs lie of the steps that ran here.
    pub(super) spool: &'a Path,
    /// What ran elsewhere, or was used again, is in the store.
    pub(super) journal: &'a JobJournal<'a>,
}

impl Reports<'_> {
    pub(super) async fn write(
        &self,
        records: &[StepRecord],
        conclusion: Conclusion,
    ) -> Result<(), BlobError> {
        let Self { run, job, links, journal, .. } = *self;
        let now = ambient::now();
        let job = Job {
            state: RunState::Concluded,
            conclusion: Some(conclusion),
            started_at: job.started_at.or(Some(now)),
            concluded_at: Some(now),
            steps: records.to_vec(),
            ..job.clone()
        };
        let logs = self.last_of_logs(&job).await;
        let html = report::job_html(run, &job, links, &logs);
        let json = report::job_json(run, &job, links);
        journal.put("report.json", pretty(&json), "application/json").await?;
        journal.put("report.html", html.into(), "text/html; charset=utf-8").await?;
        journal.put("junit.xml", report::junit_xml(&job).into(), "application/xml").await?;
        journal.put("graph.svg", graph::job_svg(&job).into(), "image/svg+xml").await?;
        journal.put("timeline.svg", timeline::job_svg(&job).into(), "image/svg+xml").await?;
        if let Ok(log) = self.whole_log(&job).await {
            journal.put_file("log.txt", &log, "text/plain; charset=utf-8").await?;
        }
        Ok(())
    }

    /// The last part of each step's log.
    async fn last_of_logs(&self, job: &Job) -> Vec<(StepId, Vec<u8>)> {
        let mut logs = Vec::new();
        for step in &job.steps {
            let bytes = match (last_bytes(&self.spooled(step), SHOWN).await, &step.facts.log) {
                (Ok(bytes), _) => bytes,
                (Err(_), Some(log)) => {
                    let start = log.bytes.saturating_sub(SHOWN);
                    let part = self.stored(log, (start, SHOWN)).await;
                    part.map(|part| part.bytes.to_vec()).unwrap_or_default()
                }
                (Err(_), None) => continue,
            };
            logs.push((step.id.clone(), bytes));
        }
        logs
    }

    /// All steps' logs in the pipeline's order, one after the other, each under its name.
    async fn whole_log(&self, job: &Job) -> io::Result<PathBuf> {
        let path = self.spool.join("log.txt");
        let mut whole = File::create(&path).await?;
        for step in &job.steps {
            let heading = format!("==> {} (attempt {})\n", step.id, step.attempt);
            whole.write_all(heading.as_bytes()).await?;
            let reused = step.facts.cache.as_ref().filter(|cache| cache.state == CacheState::Hit);
            if let Some(cache) = reused {
                let key = step.facts.log.as_ref().map_or("", |log| log.key.as_str());
                let note = format!("{}; its log: {key}\n", cache.because);
                whole.write_all(note.as_bytes()).await?;
            }
            if let Ok(mut log) = File::open(self.spooled(step)).await {
                tokio::io::copy(&mut log, &mut whole).await?;
            } else if let Some(log) = &step.facts.log {
                self.copy_stored(log, &mut whole).await?;
            }
            whole.write_all(b"\n").await?;
        }
        whole.flush().await?;
        Ok(path)
    }

    /// Copies a stored log; what can't be had of it is named.
    async fn copy_stored(&self, log: &LogRef, to: &mut File) -> io::Result<()> {
        let mut at = 0;
        while at < log.bytes {
            let part = self.stored(log, (at, PART)).await;
            let Some(part) = part.filter(|part| !part.bytes.is_empty()) else {
                let note = format!("checkvalve: its log could not be read here: {}\n", log.key);
                return to.write_all(note.as_bytes()).await;
            };
            to.write_all(&part.bytes).await?;
            at += part.bytes.len() as u64;
        }
        Ok(())
    }

    /// A report without a log is better than none.
    async fn stored(&self, log: &LogRef, range: (u64, u64)) -> Option<Object> {
        if log.bytes == 0 {
            return None;
        }
        let part = self.journal.part(&log.key, range).await;
        part.unwrap_or_else(|error| {
            warn!(run = %self.run.id, "a log is missing in the report: {error}");
            None
        })
    }

    /// Where the engine spools a step's log.
    fn spooled(&self, step: &StepRecord) -> PathBuf {
        self.spool.join(objects::step_log(&step.id, step.attempt))
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
