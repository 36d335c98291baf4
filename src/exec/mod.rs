//! Where steps run: [`Executor`] is the one seam where the world is slow and unreliable.

pub mod docker;
mod executors;
mod files;
pub mod host;
pub mod images;
mod out;
mod pipe;
mod remove;
mod script;
mod source;
mod trust;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ambient;
use crate::domain::ids::{JobId, RunId};
use crate::domain::names::{ConnectorName, ServiceAlias, StepId};
use crate::domain::pipeline::{Network, Resources};
use crate::domain::run::Segment;
use crate::domain::secret::Secret;
use crate::domain::service::Service;
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

pub use executors::{Executors, Lefts};
pub use files::Beside;
use images::{BuildEnd, Halted, ImageBuild, Said, Scan, Talk, TalkEnd};
pub use remove::remove_tree;
pub use source::SourceArchive;
pub use trust::Trust;

/// One try at one step.
#[expect(clippy::struct_excessive_bools, reason = "they are told apart by their names")]
#[derive(Debug, Clone)]
pub struct StepRun {
    pub labels: Labels,
    pub image: String,
    pub run: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Delivered in memory only: never in an image, an archive, arguments or a snapshot.
    pub secrets: Vec<Secret>,
    /// What runs beside it, on a network that is theirs alone, until it has ended.
    pub services: Vec<Service>,
    /// The working folder within the source tree.
    pub workdir: String,
    pub source: Arc<SourceArchive>,
    pub network: Network,
    /// The code is a stranger's, that nobody approved: it gets neither capabilities nor a network, but
    /// one that the operator prepared.
    pub guarded: bool,
    pub resources: Option<Resources>,
    /// Where the executor puts what the step left in `$CHECKVALVE_OUT`.
    pub out: PathBuf,
    /// Is any of that wanted? If not, fetching it is spared.
    pub keep_out: bool,
    /// Does another step inherit its file system?
    pub leave: bool,
    /// May one of those go on where this one ran, while that is still alive? Then the step is one
    /// of several that run one after the other in one place.
    pub shared: bool,
}

/// How what a step left is to be divided among its heirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    pub labels: Labels,
    /// How many there are.
    pub heirs: usize,
    /// May the first of them go on where the step ran?
    pub go_on: bool,
    /// Is it wanted for later runs too?
    pub keep: bool,
}

/// What a division came to.
#[derive(Debug)]
pub struct Divided<L> {
    /// One for each heir, as far as they could be had: each its own.
    pub shares: Vec<L>,
    /// For later runs, if that was asked for.
    pub kept: Option<L>,
    /// Why shares are missing.
    pub trouble: Option<String>,
    pub segment: Option<Segment>,
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
    /// The images of its services.
    pub services: BTreeMap<ServiceAlias, String>,
}

/// Runs one step somewhere. `stop` asks it to end early: an executor that honours it leaves nothing
/// running behind and answers [`Outcome::Cancelled`]. Everything printed goes to `log`, in order,
/// complete when the future ends. Running a step twice is allowed.
pub trait Executor: Send + Sync + 'static {
    /// The file system that a step left, for one heir: dropped, it is gone.
    type Left: Send + 'static;

    /// Begins from the step's image and source, or from what another step left. With
    /// [`StepRun::leave`] what this one leaves is answered too, if there is anything: of a step
    /// that was asked to end there never is.
    fn run(
        &self,
        step: StepRun,
        on: Option<Self::Left>,
        log: mpsc::Sender<Bytes>,
        stop: CancellationToken,
    ) -> impl Future<Output = (Ended, Option<Self::Left>)> + Send;

    /// Makes ready what a step that inherits nothing is to begin with, as far as that can be done
    /// before its turn; [`run`](Self::run) then begins on it. `None` where nothing is gained.
    fn warm(&self, _step: StepRun) -> impl Future<Output = Option<Self::Left>> + Send {
        std::future::ready(None)
    }

    /// Makes of what a step left one share for each heir. No share is used before all are there,
    /// so that none sees what another one writes.
    fn divide(
        &self,
        left: Self::Left,
        into: Division,
    ) -> impl Future<Output = Divided<Self::Left>> + Send;

    /// What there is of it for all steps together, where that is known.
    fn capacity(&self) -> Option<Resources> {
        None
    }

    /// What steps run on, as far as it can change what they do; `None` if that can't be told.
    fn identity(&self) -> Option<String>;

    /// What steps trust beside what their images do.
    fn trust(&self) -> Option<Trust> {
        None
    }

    /// The digest of an image, if it is there; why it can't be told otherwise.
    fn identify(&self, image: &str) -> impl Future<Output = Result<Option<String>, String>> + Send;

    /// Keeps a share for later runs under a name, 64 hexadecimal digits.
    fn keep(&self, share: Self::Left, name: &str) -> impl Future<Output = ()> + Send;

    /// What was kept under a name, if it is still there.
    fn recall(&self, name: &str) -> impl Future<Output = Option<Self::Left>> + Send;

    /// Builds an image, of which nothing is left if that fails. What the build prints goes to
    /// `log`.
    fn build(
        &self,
        _build: ImageBuild,
        _log: mpsc::Sender<Bytes>,
        _stop: CancellationToken,
    ) -> impl Future<Output = BuildEnd> + Send {
        std::future::ready(BuildEnd::Halted(Halted::no_images()))
    }

    /// Calls an image's own entrypoint; what it prints goes to `said`, in order, complete when the
    /// future ends. Nothing of it runs any more then.
    fn talk(
        &self,
        _talk: Talk,
        _said: mpsc::Sender<Said>,
        _stop: CancellationToken,
    ) -> impl Future<Output = TalkEnd> + Send {
        std::future::ready(TalkEnd::Halted(Halted::no_images()))
    }

    /// Runs a step that is handed an image as a file.
    fn scan(
        &self,
        _scan: Scan,
        _log: mpsc::Sender<Bytes>,
        _stop: CancellationToken,
    ) -> impl Future<Output = Ended> + Send {
        let halt = match Halted::no_images() {
            Halted::Cancelled => Halt::Cancelled,
            Halted::Errored { reason, retry } => Halt::Errored { reason, retry },
        };
        std::future::ready(Course::begin().end(Err(halt)))
    }

    /// Removes an image that [`build`](Self::build) made.
    fn forget(&self, _image: &str) -> impl Future<Output = Result<(), ExecError>> + Send {
        std::future::ready(Ok(()))
    }
}

/// Why an executor is of no use at all.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    #[error(
        "no Docker Engine answers at `{host}`: {why}. Start Docker, or set DOCKER_HOST to where it \
         runs, or run steps as plain processes with `--executor host` \
         (`test`) or CHECKVALVE_EXECUTOR=host (`serve` and `worker`)"
    )]
    NoEngine { host: String, why: String },
    #[error("the Docker Engine refused: {0}")]
    Engine(String),
    #[error(
        "the certificates of `{}`, which CHECKVALVE_CA_FILE names, can't be used: {why}",
        path.display()
    )]
    Certificates { path: PathBuf, why: String },
}

impl<L> Divided<L> {
    /// There is nothing to inherit.
    pub fn nothing() -> Self {
        Self { shares: Vec::new(), kept: None, trouble: None, segment: None }
    }

    fn map<M>(self, wrap: impl Fn(L) -> M) -> Divided<M> {
        Divided {
            shares: self.shares.into_iter().map(&wrap).collect(),
            kept: self.kept.map(wrap),
            trouble: self.trouble,
            segment: self.segment,
        }
    }
}

/// Why a try ended before its commands did.
#[derive(Debug)]
enum Halt {
    Cancelled,
    Errored {
        reason: String,
        retry: bool,
    },
    /// The pipeline's own doing, in words.
    Failed {
        reason: String,
    },
}

impl Halt {
    /// Ours, and another try may do better.
    fn again(reason: impl Into<String>) -> Self {
        Self::Errored { reason: reason.into(), retry: true }
    }

    /// Nothing will change by trying again.
    fn never(reason: impl Into<String>) -> Self {
        Self::Errored { reason: reason.into(), retry: false }
    }
}

/// What the commands of a step came to.
#[derive(Debug)]
struct Exit {
    code: i64,
    reason: Option<String>,
    /// Did it end because it was asked to?
    stopped: bool,
}

/// The course of one try: when it began and where its time went.
#[derive(Debug)]
struct Course {
    started_at: Timestamp,
    segments: Vec<Segment>,
    open: Option<(&'static str, Timestamp)>,
    image_digest: Option<String>,
    services: BTreeMap<ServiceAlias, String>,
}

impl Course {
    fn begin() -> Self {
        let started_at = ambient::now();
        let services = BTreeMap::new();
        Self { started_at, segments: Vec::new(), open: None, image_digest: None, services }
    }

    /// Ends the segment that is open and opens another.
    fn enter(&mut self, name: &'static str) {
        self.leave();
        self.open = Some((name, ambient::now()));
    }

    fn leave(&mut self) {
        if let Some((name, started_at)) = self.open.take() {
            let finished_at = ambient::now();
            self.segments.push(Segment { name: name.to_owned(), started_at, finished_at });
        }
    }

    fn end(mut self, result: Result<Exit, Halt>) -> Ended {
        self.leave();
        let (outcome, exit_code, reason, retry) = match result {
            Ok(exit) if exit.stopped => (Outcome::Cancelled, Some(exit.code), exit.reason, false),
            Ok(exit) if exit.code == 0 => (Outcome::Succeeded, Some(0), exit.reason, false),
            Ok(exit) => (Outcome::Failed, Some(exit.code), exit.reason, false),
            Err(Halt::Cancelled) => (Outcome::Cancelled, None, None, false),
            Err(Halt::Errored { reason, retry }) => (Outcome::Errored, None, Some(reason), retry),
            Err(Halt::Failed { reason }) => (Outcome::Failed, None, Some(reason), false),
        };
        Ended {
            outcome,
            exit_code,
            reason,
            retry,
            started_at: self.started_at,
            finished_at: ambient::now(),
            segments: self.segments,
            image_digest: self.image_digest,
            services: self.services,
        }
    }
}

/// Waits for `work` unless `cancel` comes first, in which case `work` is dropped.
async fn unless_stopped<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = Result<T, Halt>>,
) -> Result<T, Halt> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(Halt::Cancelled),
        result = work => result,
    }
}
