//! Carries out a plan: decide → start → record. Sees neither GitHub, the database nor the web.
//!
//! One job is one future: dropping it ends what it started. What must be written down before
//! something happens goes through the [`Journal`], which may refuse (the lease is lost), and then
//! everything ends at once.

mod asks;
mod attempt;
mod builtin;
mod course;
mod found;
mod lineage;
mod pinned;
mod places;
mod reuse;
mod slots;
mod spool;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::{Future, ready};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::domain::annotation::Standing;
use crate::domain::cache::{Cached, Ingredients, Known, Reuse, Share};
use crate::domain::ids::{JobId, RunId};
use crate::domain::names::{ConnectorName, SecretName, StepId};
use crate::domain::pipeline::Resources;
use crate::domain::plan::Plan;
use crate::domain::renewal::{Renewed, WrittenBack};
use crate::domain::run::{Artifact, LogRef, StepRecord};
use crate::domain::secret::JobSecrets;
use crate::domain::turn::{Maker, Turn};
use crate::exec::{Executor, SourceArchive};
use slots::{Room, Slots};

/// Where an engine writes down what happens. Whoever implements it decides what is durable.
pub trait Journal: Send + Sync {
    type Error: std::error::Error + Send + Sync + 'static;

    /// Steps that changed, all those of one decision together. A step runs only after its record
    /// as running was accepted.
    fn record(&self, steps: &[StepRecord]) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Something was printed; `offset` counts the bytes of this try before it.
    fn printed(
        &self,
        step: &StepId,
        attempt: u32,
        offset: u64,
        chunk: &Bytes,
    ) -> impl Future<Output = ()> + Send;

    /// Stores what a try left behind.
    fn keep(&self, left: &Left) -> impl Future<Output = Result<Kept, Self::Error>> + Send;

    /// What is known of a step made of this.
    fn recall(
        &self,
        _step: &StepId,
        _ingredients: &Ingredients,
    ) -> impl Future<Output = Result<Known, Self::Error>> + Send {
        ready(Ok(Known::default()))
    }

    /// Stores what an earlier run's step left behind as this attempt's; `None` if it is not there
    /// any more, or `halt` came first. Unless all of it is stored, none of it is.
    fn replay(
        &self,
        _step: (&StepId, u32),
        _earlier: &Cached,
        _halt: &CancellationToken,
    ) -> impl Future<Output = Result<Option<Kept>, Self::Error>> + Send {
        ready(Ok(None))
    }

    /// Keeps a settled step's result for later runs.
    fn remember(
        &self,
        _step: &StepRecord,
        _ingredients: &Ingredients,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        ready(Ok(()))
    }

    /// Takes back what was remembered of a step made of this: it failed this time.
    fn forget(
        &self,
        _ingredients: &Ingredients,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        ready(Ok(()))
    }

    /// Who is working out what is made of this, if one had to wait for them; asking takes nothing.
    fn maker(
        &self,
        _ingredients: &Ingredients,
        _waited: Option<&Maker>,
    ) -> impl Future<Output = Result<Option<Maker>, Self::Error>> + Send {
        ready(Ok(None))
    }

    /// Asks for the turn to work out what is made of this, after having waited for somebody.
    fn turn(
        &self,
        _step: &StepId,
        _ingredients: &Ingredients,
        _waited: Option<&Maker>,
    ) -> impl Future<Output = Result<Turn, Self::Error>> + Send {
        ready(Ok(Turn::Free))
    }

    /// Ends a turn that left no result to be remembered; `failed`, if it would fail for others, too.
    fn end_turn(
        &self,
        _ingredients: &Ingredients,
        _failed: bool,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        ready(Ok(()))
    }

    /// The job has something to do, or only waits from now on. Told at every turn of it, changed or
    /// not.
    fn paces(&self, _pace: Pace) {}

    /// The connector renewed a secret: its value is lasting once this is answered, and nowhere in
    /// clear. Of several the last one counts.
    fn renewed(&self, _renewed: &Renewed) -> impl Future<Output = Result<(), Self::Error>> + Send {
        ready(Ok(()))
    }

    /// Writes back where they come from those of these secrets that the job renewed, and answers what
    /// came of each.
    fn write_back(
        &self,
        _secrets: &[SecretName],
    ) -> impl Future<Output = Result<Vec<WrittenBack>, Self::Error>> + Send {
        ready(Ok(Vec::new()))
    }
}

/// Whether a job has anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It has.
    Busy,
    /// Nothing of it has begun here, and it waits for a slot.
    Queues,
    /// It goes on when a pause is over: before another try, or before it asks whether another job
    /// has worked out what it wants.
    Rests,
}

/// Where a job's source comes from: asked for when a step is about to run, and not before.
pub trait Source: fmt::Debug + Send + Sync {
    /// The archive; an error in words.
    fn fetch(&self) -> BoxFuture<'_, Result<Arc<SourceArchive>, String>>;

    /// Of these paths those that are files of the commit on which findings are shown, and whether
    /// the change touches them. What can't be known is left out.
    fn standings(&self, _paths: BTreeSet<String>) -> BoxFuture<'_, BTreeMap<String, Standing>> {
        Box::pin(ready(BTreeMap::new()))
    }
}

/// One that is there already.
impl Source for SourceArchive {
    fn fetch(&self) -> BoxFuture<'_, Result<Arc<SourceArchive>, String>> {
        let archive = Arc::new(Self { tar: self.tar.clone() });
        Box::pin(ready(Ok(archive)))
    }
}

/// Earlier results that a job may use, and those that it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobCache {
    /// GitHub's id.
    pub repository: u64,
    pub reuse: Reuse,
    /// With whom it shares what it leaves.
    pub share: Share,
}

/// What a try left in the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    pub step: StepId,
    pub attempt: u32,
    /// The log's file.
    pub log: PathBuf,
    pub bytes: u64,
    pub lines: u64,
    /// Bytes that the cap cut off.
    pub cut: u64,
    /// The folder with what the step left in `$CHECKVALVE_OUT`.
    pub out: PathBuf,
    /// The paths in it, `/`-separated and sorted, that the step's `artifacts` match.
    pub artifacts: Vec<String>,
}

/// Where it was stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    pub log: Option<LogRef>,
    pub artifacts: Vec<Artifact>,
}

/// For whom a job runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLabels {
    pub instance: String,
    pub run: RunId,
    pub job: JobId,
    pub epoch: i64,
    pub connector: ConnectorName,
}

/// A job to carry out.
#[derive(Debug, Clone)]
pub struct JobRun<'a> {
    pub plan: &'a Plan,
    /// How far its steps are. Steps without a record have not begun. What is running here is begun
    /// again; see [`crate::domain::decide::resume`].
    pub records: Vec<StepRecord>,
    pub labels: JobLabels,
    /// Added to each step's own: `CHECKVALVE_SHA` and the like.
    pub env: BTreeMap<String, String>,
    pub secrets: JobSecrets,
    pub source: Arc<dyn Source>,
    /// Absent where results are neither used again nor kept.
    pub cache: Option<JobCache>,
    /// A folder of this job alone, for logs and what steps leave.
    pub spool: PathBuf,
    /// Begin nothing more after a failure that counts.
    pub fail_fast: bool,
    pub images: Images,
}

/// What becomes of the images that a job builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Images {
    /// They are named `checkvalve/<repository id>:<job>`, and removed at the job's end.
    OfJob { repository: u64 },
    /// They are for whoever runs the job: named as the connector says, with this tag.
    Kept { tag: &'static str },
}

/// Asks a job to end early, and says why. Clones are the same request.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl Stop {
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for the end. The first reason given stays.
    pub fn stop(&self, reason: impl Into<String>) {
        let _ = self.reason.set(reason.into());
        self.token.cancel();
    }

    pub fn is_stopped(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Why, once it is stopped.
    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// Resolves when the end is asked for.
    pub async fn stopped(&self) {
        self.token.cancelled().await;
    }
}

/// How an engine behaves where its plan leaves it open.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// How often a step is tried again after an error of ours.
    pub error_retries: u32,
    /// The pause before the first try again; each further one is five times as long.
    pub backoff: Duration,
    /// Bytes of log that are kept of a try.
    pub log_cap: u64,
    /// How long what a try left for people may be looked through.
    pub look_limit: Duration,
    /// What steps that declare `resources` may use at once, altogether; without, they are not counted.
    pub resources: Option<Resources>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            error_retries: 3,
            backoff: Duration::from_secs(1),
            log_cap: 1 << 30,
            look_limit: Duration::from_mins(5),
            resources: None,
        }
    }
}

/// Why a job could not be carried on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError<J: std::error::Error> {
    /// The journal refused; everything that ran was ended.
    #[error(transparent)]
    Journal(J),
    /// Nothing can run without the source. The records are as they are.
    #[error("the source could not be had: {why}")]
    Source { why: String, records: Vec<StepRecord> },
}

/// Carries out jobs, any number at once, with so many steps at once altogether.
#[derive(Debug)]
pub struct Engine<E> {
    executor: Arc<E>,
    slots: Slots,
    options: Arc<EngineOptions>,
}

impl<E> Clone for Engine<E> {
    /// Clones share the slots.
    fn clone(&self) -> Self {
        Self {
            executor: self.executor.clone(),
            slots: self.slots.clone(),
            options: self.options.clone(),
        }
    }
}

impl<E: Executor> Engine<E> {
    pub fn new(executor: E, slots: usize) -> Self {
        Self::with_options(executor, slots, EngineOptions::default())
    }

    pub fn with_options(executor: E, slots: usize, options: EngineOptions) -> Self {
        let room = Room { slots, resources: options.resources };
        Self { executor: Arc::new(executor), slots: Slots::new(room), options: Arc::new(options) }
    }

    /// Runs a job until all of its steps are settled, and answers their records in the plan's
    /// order. After `stop` what runs is ended and what waits is cancelled, with its reason.
    pub async fn run<J: Journal>(
        &self,
        job: JobRun<'_>,
        journal: &J,
        stop: &Stop,
    ) -> Result<Vec<StepRecord>, EngineError<J::Error>> {
        let records = course::Course::new(self, &job, journal, stop).run().await?;
        builtin::clear_away(&*self.executor, &job, &records).await;
        Ok(records)
    }
}
