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
        (step, attempt): (&StepId, u32),
        earlier: &Cached,
        halt: &CancellationToken,
    ) -> io::Result<Option<Kept>> {
        let Some(results) = self.results else { return Ok(None) };
        let Some(keep) = &self.keep else {
            let there = tokio::select! {
                biased;
                () = halt.cancelled() => return Ok(None),
                there = results.has(earlier) => or_warn(there),
            };
            let (log, artifacts) = (earlier.facts.log.clone(), earlier.facts.artifacts.clone());
            return Ok(there.then_some(Kept { log, artifacts }));
        };
        let (mut kept, mut copies) = (Kept::default(), Vec::new());
        if let Some(log) = &earlier.facts.log {
            let name = objects::step_log(step, attempt);
            kept.log = Some(LogRef { key: self.key(&name), ..log.clone() });
            copies.push((log.key.as_str(), name));
        }
        for artifact in &earlier.facts.artifacts {
            let name = objects::step_artifact(step, attempt, &artifact.path);
            kept.artifacts.push(Artifact { key: self.key(&name), ..artifact.clone() });
            copies.push((artifact.key.as_str(), name));
        }
        let all = tokio::select! {
            biased;
            () = halt.cancelled() => return Ok(None),
            all = results.copy_all(&copies, keep) => or_warn(all),
        };
        Ok(all.then_some(kept))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::results::tests::results;
    use crate::cli::terminal::Format;
    use crate::domain::ids::{RunId, Ulid};
    use crate::domain::pipeline::StepSpec;
    use crate::domain::plan::Inputs;
    use crate::domain::run::StepFacts;
    use crate::domain::state::Outcome;

    #[tokio::test]
    async fn a_replay_ends_when_it_is_asked_to_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let results = results(folder.path(), &["log"]).await;
        let terminal = Terminal::new(Format::Plain, Box::new(io::sink()));
        let step: StepId = "unit".parse().unwrap();
        let steps = vec![StepSpec { run: vec!["x".to_owned()], ..StepSpec::new(step.clone()) }];
        let name = "source-a".parse().unwrap();
        let plan = Plan::new(name, String::new(), Inputs::default(), steps).unwrap();
        let log = LogRef { key: "log".to_owned(), bytes: 1, lines: 1, cut: 0 };
        let (origin, facts) =
            (RunId::new(Ulid::nil()), StepFacts { log: Some(log), ..StepFacts::default() });
        let outcome = Outcome::Succeeded;
        let earlier = Cached { outcome, facts, origin, kept_by: origin };
        let reports = folder.path().join("reports");
        for to in [Some(reports.as_path()), None] {
            let journal = LocalJournal::new(&terminal, &plan, Some(&results), to);
            let halt = CancellationToken::new();
            halt.cancel();
            assert_eq!(journal.replay((&step, 1), &earlier, &halt).await.unwrap(), None);
            assert!(!reports.exists());
            let halt = CancellationToken::new();
            let kept = journal.replay((&step, 1), &earlier, &halt).await.unwrap();
            assert!(kept.unwrap().log.is_some());
            assert_eq!(reports.join("source-a/unit/1/log.txt").exists(), to.is_some());
            let _ = std::fs::remove_dir_all(&reports);
        }
    }
}
