//! Tells the terminal, keeps what later calls may use, and copies what steps leave to the report
//! folder if there is one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::renewals::LocalRenewals;
use crate::cli::results::{Results, ResultsError};
use crate::cli::terminal::Terminal;
use crate::domain::cache::{Cached, Ingredients, Known};
use crate::domain::names::{SecretName, StepId};
use crate::domain::objects;
use crate::domain::plan::Plan;
use crate::domain::renewal::{Renewed, WrittenBack};
use crate::domain::run::{Artifact, LogRef, StepRecord};
use crate::engine::{Journal, Kept, Left};

pub(super) struct LocalJournal<'a> {
    terminal: &'a Terminal,
    plan: &'a Plan,
    results: Option<&'a Results>,
    /// The connector's folder below the report folder.
    folder: String,
    keep: Option<PathBuf>,
    /// What steps left in the spool, until their result is kept.
    left: Mutex<BTreeMap<StepId, Left>>,
    renewals: Option<Arc<LocalRenewals>>,
}

impl<'a> LocalJournal<'a> {
    pub(super) fn new(
        terminal: &'a Terminal,
        plan: &'a Plan,
        results: Option<&'a Results>,
        reports: Option<&Path>,
    ) -> Self {
        let folder = objects::segment(plan.connector().as_str());
        let keep = reports.map(|dir| dir.join(&folder));
        Self { terminal, plan, results, folder, keep, left: Mutex::default(), renewals: None }
    }

    pub(super) fn with_renewals(self, renewals: Option<Arc<LocalRenewals>>) -> Self {
        Self { renewals, ..self }
    }

    /// Writes back what no step did.
    pub(super) async fn write_rest(&self) -> Vec<WrittenBack> {
        match &self.renewals {
            Some(renewals) => renewals.write_back(None).await,
            None => Vec::new(),
        }
    }

    /// Writes `log.txt`: all steps' logs in the plan's order.
    pub(super) async fn join_logs(&self, steps: &[StepRecord]) -> io::Result<()> {
        let Some(keep) = &self.keep else { return Ok(()) };
        tokio::fs::create_dir_all(keep).await?;
        let mut whole = tokio::fs::File::create(keep.join("log.txt")).await?;
        for step in steps.iter().filter(|step| step.facts.log.is_some()) {
            whole.write_all(format!("===== {} =====\n", step.id).as_bytes()).await?;
            let log = keep.join(objects::step_log(&step.id, step.attempt));
            tokio::io::copy(&mut tokio::fs::File::open(log).await?, &mut whole).await?;
        }
        whole.flush().await
    }

    /// Where an object of the run stands in the reports.
    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }
}

impl Journal for LocalJournal<'_> {
    type Error = io::Error;

    async fn record(&self, steps: &[StepRecord]) -> io::Result<()> {
        for step in steps {
            self.terminal.step(self.plan.connector(), step);
        }
        Ok(())
    }

    async fn printed(&self, step: &StepId, attempt: u32, offset: u64, chunk: &Bytes) {
        self.terminal.printed(self.plan.connector(), (step, attempt), offset, chunk);
    }

    async fn keep(&self, left: &Left) -> io::Result<Kept> {
        let log = objects::step_log(&left.step, left.attempt);
        let mut artifacts = Vec::new();
        if let Some(keep) = &self.keep {
            copy(&left.log, &keep.join(&log)).await?;
            for path in &left.artifacts {
                let name = objects::step_artifact(&left.step, left.attempt, path);
                let bytes = copy(&left.out.join(path), &keep.join(&name)).await?;
                artifacts.push(Artifact { path: path.clone(), key: self.key(&name), bytes });
            }
        }
        if self.results.is_some() {
            let mut all = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            all.insert(left.step.clone(), left.clone());
        }
        let key = self.key(&log);
        let log = LogRef { key, bytes: left.bytes, lines: left.lines, cut: left.cut };
        Ok(Kept { log: Some(log), artifacts })
    }

    async fn recall(&self, step: &StepId, ingredients: &Ingredients) -> io::Result<Known> {
        let Some(results) = self.results else { return Ok(Known::default()) };
        Ok(or_warn(results.recall(self.plan.connector(), step, ingredients).await))
    }

    async fn replay(
        &self,
        step: &StepId,
        earlier: &Cached,
        _stop: &CancellationToken,
    ) -> io::Result<Option<Kept>> {
        let Some(results) = self.results else { return Ok(None) };
        let Some(keep) = &self.keep else {
            let there = or_warn(results.has(earlier).await);
            let (log, artifacts) = (earlier.facts.log.clone(), earlier.facts.artifacts.clone());
            return Ok(there.then_some(Kept { log, artifacts }));
        };
        let mut kept = Kept::default();
        if let Some(log) = &earlier.facts.log {
            let name = objects::step_log(step, 1);
            if !or_warn(results.copy(&log.key, &keep.join(&name)).await) {
                return Ok(None);
            }
            kept.log = Some(LogRef { key: self.key(&name), ..log.clone() });
        }
        for artifact in &earlier.facts.artifacts {
            let name = objects::step_artifact(step, 1, &artifact.path);
            if !or_warn(results.copy(&artifact.key, &keep.join(&name)).await) {
                return Ok(None);
            }
            kept.artifacts.push(Artifact { key: self.key(&name), ..artifact.clone() });
        }
        Ok(Some(kept))
    }

    async fn remember(&self, step: &StepRecord, ingredients: &Ingredients) -> io::Result<()> {
        let Some(results) = self.results else { return Ok(()) };
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(&step.id);
        let of = (step, left.as_ref());
        or_warn(results.remember(self.plan.connector(), of, ingredients).await);
        Ok(())
    }

    async fn forget(&self, ingredients: &Ingredients) -> io::Result<()> {
        let Some(results) = self.results else { return Ok(()) };
        or_warn(results.take_back(ingredients).await);
        Ok(())
    }

    async fn renewed(&self, renewed: &Renewed) -> io::Result<()> {
        match &self.renewals {
            Some(renewals) => renewals.keep(renewed).await,
            None => Ok(()),
        }
    }

    async fn write_back(&self, secrets: &[SecretName]) -> io::Result<Vec<WrittenBack>> {
        match &self.renewals {
            Some(renewals) => Ok(renewals.write_back(Some(secrets)).await),
            None => Ok(Vec::new()),
        }
    }
}

/// What can't be kept or had is no reason not to test.
fn or_warn<T: Default>(done: Result<T, ResultsError>) -> T {
    done.unwrap_or_else(|error| {
        tracing::warn!("{error}");
        T::default()
    })
}

async fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    if let Some(folder) = to.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let copied = tokio::fs::copy(from, to).await;
    copied.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", to.display())))
}
