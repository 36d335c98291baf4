//! Where steps run: [`Executor`] is the one seam where the world is slow and unreliable.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::{JobId, RunId};
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::pipeline::{Network, Resources};
use crate::domain::run::Segment;
use crate::domain::state::Outcome;
use crate::domain::time::Timestamp;

/// Who a container or process belongs to; written as labels for the reaper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// The installation of Checkvalve (its state folder's id), so that two on one engine never
    /// reap each other's.
    pub instance: String,
    pub run: RunId,
    pub job: JobId,
    pub epoch: i64,
    pub connector: ConnectorName,
    pub step: StepId,
    pub attempt: u32,
}

/// The source of a job as a tar archive in the worker's spool.
#[derive(Debug)]
pub struct SourceArchive {
    pub tar: PathBuf,
}

/// One try at one step.
#[derive(Debug, Clone)]
pub struct StepRun {
    pub labels: Labels,
    pub image: String,
    pub run: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// The working folder within the source tree.
    pub workdir: String,
    pub source: Arc<SourceArchive>,
    pub network: Network,
    pub resources: Option<Resources>,
    /// Where the executor puts what the step left in `$CHECKVALVE_OUT`.
    pub out: PathBuf,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub outcome: Outcome,
    pub exit_code: Option<i64>,
    /// In words, when the outcome alone does not say it: out of memory, image missing.
    pub reason: Option<String>,
    /// Is another try worth it? Only for [`Outcome::Errored`].
    pub retry: bool,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub segments: Vec<Segment>,
    pub image_digest: Option<String>,
}

/// Runs one step somewhere. `stop` asks it to end early: an executor that honours it leaves nothing
/// running behind and answers [`Outcome::Cancelled`]. Everything printed goes to `log`, in order,
/// complete when the future ends. Running a step twice is allowed.
pub trait Executor: Send + Sync + 'static {
    fn run(
        &self,
        step: StepRun,
        log: mpsc::Sender<Bytes>,
        stop: CancellationToken,
    ) -> impl Future<Output = Ended> + Send;
}
