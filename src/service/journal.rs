//! What a job's engine tells, kept under the job's lease: states in the database, live tails,
//! logs and artifacts in the object store.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::places::Place;
use super::rotations::{JobRotations, Keeper, NotKept};
use super::tails::Tails;
use crate::blobs::{BlobError, Blobs};
use crate::domain::cache::{Cached, Ingredients, Known};
use crate::domain::names::{ConnectorName, SecretName, StepId};
use crate::domain::objects;
use crate::domain::renewal::{Renewed, WrittenBack};
use crate::domain::run::{Artifact, Job, LogRef, Run, StepRecord};
use crate::domain::turn::{Maker, Turn};
use crate::engine::{Journal, Kept, Left, Pace};
use crate::store::{Lease, NewResult, Store, StoreError};

/// How many objects of an earlier result are copied at once.
const COPIES: usize = 4;

/// At most four flushes a second.
pub(super) const FLUSH: Duration = Duration::from_millis(250);

/// Why something could not be kept; the job's try ends, and the job is tried again elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
    #[error(transparent)]
    Secret(#[from] NotKept),
    #[error("{path}: {source}")]
    Spool { path: String, source: std::io::Error },
}

impl JournalError {
    pub(super) fn is_lease_lost(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::LeaseLost)
                | Self::Secret(NotKept::Store(StoreError::LeaseLost))
        )
    }
}

/// Records one job.
pub(super) struct JobJournal<'a> {
    store: &'a Store,
    blobs: &'a Blobs,
    lease: &'a Lease,
    run: &'a Run,
    /// Objects go here first; the settle names the epoch that is accepted.
    prefix: String,
    /// Their final names, as reports show them.
    final_prefix: String,
    connector: ConnectorName,
    tails: Mutex<Tails>,
    place: &'a Place,
    pub(super) rotations: JobRotations<'a>,
}

impl<'a> JobJournal<'a> {
    pub(super) fn new(
        keeper: &'a Keeper,
        blobs: &'a Blobs,
        lease: &'a Lease,
        (run, job): (&'a Run, &'a Job),
        place: &'a Place,
    ) -> Self {
        let connector = &job.connector;
        Self {
            store: &keeper.store,
            blobs,
            lease,
            run,
            prefix: objects::epoch_prefix(run, connector, lease.epoch),
            final_prefix: objects::job_prefix(run, connector),
            connector: connector.clone(),
            tails: Mutex::default(),
            place,
            rotations: JobRotations::new(keeper, lease, &job.plan),
        }
    }

    /// Writes the tails that changed since the last time.
    pub(super) async fn flush(&self) {
        let changed = self.tails().take_changed();
        for (step, tail) in changed {
            if let Err(error) = self.store.write_tail(self.lease, &step, tail).await {
                debug!(run = %self.run.id, %step, "live tail not written: {error}");
                self.tails().not_written(&step);
            }
        }
    }

    fn tails(&self) -> MutexGuard<'_, Tails> {
        self.tails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put_file(
        &self,
        name: &str,
        file: &std::path::Path,
        kind: &str,
    ) -> Result<(), BlobError> {
        let key = format!("{}/{name}", self.prefix);
        (|| self.blobs.put_file(&key, file, kind)).retry(patience()).await
    }
}

/// The object store is given about ten seconds to come back.
fn patience() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(300))
        .with_max_delay(Duration::from_secs(4))
        .with_max_times(5)
}

impl Journal for JobJournal<'_> {
    type Error = JournalError;

    async fn record(&self, steps: &[StepRecord]) -> Result<(), JournalError> {
        Ok(self.store.record(self.lease, steps).await?)
    }

    fn paces(&self, pace: Pace) {
        self.place.paces(pace);
    }

    async fn printed(&self, step: &StepId, attempt: u32, offset: u64, chunk: &Bytes) {
        self.tails().printed(step, attempt, (offset, chunk));
    }

    async fn keep(&self, left: &Left) -> Result<Kept, JournalError> {
        let name = objects::step_log(&left.step, left.attempt);
        self.put_file(&name, &left.log, "text/plain; charset=utf-8").await?;
        self.tails().ended(&left.step);
        let log = LogRef {
            key: format!("{}/{name}", self.final_prefix),
            bytes: left.bytes,
            lines: left.lines,
            cut: left.cut,
        };
        let mut artifacts = Vec::new();
        for path in &left.artifacts {
            let file = left.out.join(path);
            let name = objects::step_artifact(&left.step, left.attempt, path);
            let shown = |source| JournalError::Spool { path: path.clone(), source };
            let bytes = tokio::fs::metadata(&file).await.map_err(shown)?.len();
            self.put_file(&name, &file, "application/octet-stream").await?;
            let key = format!("{}/{name}", self.final_prefix);
            artifacts.push(Artifact { path: path.clone(), key, bytes });
        }
        Ok(Kept { log: Some(log), artifacts })
    }

    async fn recall(
        &self,
        step: &StepId,
        ingredients: &Ingredients,
    ) -> Result<Known, JournalError> {
        let repository = self.run.repository.id;
        Ok(self.store.recall(repository, &self.connector, step, ingredients).await?)
    }

    async fn replay(
        &self,
        (step, attempt): (&StepId, u32),
        earlier: &Cached,
        halt: &CancellationToken,
    ) -> Result<Option<Kept>, JournalError> {
        let (mut kept, mut copies) = (Kept::default(), Vec::new());
        if let Some(log) = &earlier.facts.log {
            let name = objects::step_log(step, attempt);
            let key = format!("{}/{name}", self.final_prefix);
            copies.push((log.key.as_str(), name));
            kept.log = Some(LogRef { key, ..log.clone() });
        }
        for artifact in &earlier.facts.artifacts {
            let name = objects::step_artifact(step, attempt, &artifact.path);
            let key = format!("{}/{name}", self.final_prefix);
            copies.push((artifact.key.as_str(), name));
            kept.artifacts.push(Artifact { key, ..artifact.clone() });
        }
        let all = tokio::select! {
            biased;
            () = halt.cancelled() => Ok(false),
            all = self.take_over_all(&copies) => all,
        };
        if matches!(all, Ok(true)) {
            return Ok(Some(kept));
        }
        // Everything under an epoch's prefix is published.
        for (_, name) in &copies {
            let key = format!("{}/{name}", self.prefix);
            if let Err(error) = self.blobs.delete(&key).await {
                warn!(run = %self.run.id, %step, "a part of an earlier result stays: {error}");
                break;
            }
        }
        all.map(|_| None).map_err(JournalError::from)
    }

    async fn remember(
        &self,
        step: &StepRecord,
        ingredients: &Ingredients,
    ) -> Result<(), JournalError> {
        let Some(outcome) = step.state.outcome() else { return Ok(()) };
        let mut facts = step.facts.clone();
        if let Some(log) = &mut facts.log {
            log.key = self.as_written(&log.key);
        }
        for artifact in &mut facts.artifacts {
            artifact.key = self.as_written(&artifact.key);
        }
        let result = NewResult {
            repository: self.run.repository.id,
            connector: &self.connector,
            step: &step.id,
            origin: self.run.id,
            outcome,
            facts: &facts,
            ingredients,
        };
        Ok(self.store.keep_result(self.lease, result).await?)
    }

    async fn forget(&self, ingredients: &Ingredients) -> Result<(), JournalError> {
        Ok(self.store.forget_result(self.lease, ingredients).await?)
    }

    async fn maker(
        &self,
        ingredients: &Ingredients,
        waited: Option<&Maker>,
    ) -> Result<Option<Maker>, JournalError> {
        Ok(self.store.maker(self.lease, ingredients, waited).await?)
    }

    async fn turn(
        &self,
        step: &StepId,
        ingredients: &Ingredients,
        waited: Option<&Maker>,
    ) -> Result<Turn, JournalError> {
        Ok(self.store.take_turn(self.lease, step, ingredients, waited).await?)
    }

    async fn end_turn(&self, ingredients: &Ingredients, failed: bool) -> Result<(), JournalError> {
        Ok(self.store.end_turn(self.lease, ingredients, failed).await?)
    }

    async fn renewed(&self, renewed: &Renewed) -> Result<(), JournalError> {
        Ok(self.rotations.renewed(renewed).await?)
    }

    async fn write_back(&self, secrets: &[SecretName]) -> Result<Vec<WrittenBack>, JournalError> {
        Ok(self.rotations.write_back(secrets).await?)
    }
}

impl JobJournal<'_> {
    /// Copies earlier runs' objects, a few at once; false as soon as one is not there.
    async fn take_over_all(&self, copies: &[(&str, String)]) -> Result<bool, BlobError> {
        let copies: Vec<_> = copies.iter().map(|(from, name)| self.take_over(from, name)).collect();
        let mut copies = stream::iter(copies).buffer_unordered(COPIES);
        while let Some(copied) = copies.next().await {
            if !copied? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Copies an earlier run's object to this one's; false if it is not there.
    async fn take_over(&self, from: &str, name: &str) -> Result<bool, BlobError> {
        let to = format!("{}/{name}", self.prefix);
        (|| self.blobs.copy(from, &to)).retry(patience()).await
    }

    /// The name under which an object is there already, before the job is archived.
    fn as_written(&self, key: &str) -> String {
        match key.strip_prefix(&self.final_prefix) {
            Some(name) => format!("{}{name}", self.prefix),
            None => key.to_owned(),
        }
    }
}
