//! What built-in steps ask of an executor that has images: to build one, and to call its own
//! entrypoint.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;

use super::StepRun;
use crate::domain::build::Sources;
use crate::domain::time::Timestamp;

/// Where a called image finds its configuration: in memory, so that no layer ever holds it.
pub const CONFIG: &str = "/checkvalve/secrets/config.json";

/// An image to be built.
#[derive(Debug, Clone)]
pub struct ImageBuild {
    /// Whose it is, its network and limits; its variables are the build's arguments.
    pub step: StepRun,
    /// A tar archive. Of an image that stays it has the `Dockerfile` at its top; that of one that goes
    /// with its job is added by the executor, as it was read.
    pub context: PathBuf,
    /// What it takes from elsewhere.
    pub sources: Sources,
    /// What the context's `.dockerignore` says, if it has one.
    pub ignore: Option<String>,
    /// The name that the image gets.
    pub tag: String,
    pub labels: BTreeMap<String, String>,
    /// With whom it shares what it leaves on the engine, in plain letters: others may make of that
    /// what they want.
    pub scope: String,
    /// Does it go with its job?
    pub passing: bool,
    /// When the engine began with it; before that it had what it builds on brought.
    pub begun: Arc<OnceLock<Timestamp>>,
    /// What the images that it builds on were when the plan was carried out first, by their names.
    pub pins: BTreeMap<String, String>,
    /// What they are, once they are there: by digest, or by id where no registry knows them.
    pub bases: Arc<Mutex<BTreeMap<String, String>>>,
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEnd {
    /// The image's id.
    Built(String),
    /// What the build said: the connector's fault.
    Failed(String),
    Halted(Halted),
}

/// One call of an image's own entrypoint.
#[derive(Debug, Clone)]
pub struct Talk {
    /// Whose it is, its image (by id), variables, network and limits.
    pub step: StepRun,
    pub arguments: Vec<String>,
    /// Files for the image to read, by absolute path. No secrets: they lie in its layer.
    pub files: Vec<(String, Vec<u8>)>,
    /// What it finds at [`CONFIG`].
    pub config: Option<Vec<u8>>,
    /// How long it may take.
    pub limit: Duration,
}

/// A step over an image, which it finds as a file.
#[derive(Debug, Clone)]
pub struct Scan {
    pub step: StepRun,
    /// The image's id.
    pub image: String,
    /// Where the step finds it, as `docker save` has it.
    pub path: &'static str,
    /// Where it is kept on its way.
    pub spool: PathBuf,
}

/// Something that it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Out(Bytes),
    Err(Bytes),
}

/// How a call ended. All that was printed has been handed on by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TalkEnd {
    Exited {
        code: i64,
        out_of_memory: bool,
    },
    /// Ended at its limit.
    TimedOut,
    /// The image can't be called so: the connector's fault, in words.
    Unfit(String),
    Halted(Halted),
}

/// Why something was not carried out, and not by the connector's fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halted {
    Cancelled,
    Errored { reason: String, retry: bool },
}

impl Halted {
    /// An executor without images.
    pub(super) fn no_images() -> Self {
        Self::Errored { reason: needs_docker("it works with images"), retry: false }
    }
}

/// Why a step can't run as a plain process.
pub(super) fn needs_docker(since: &str) -> String {
    format!(
        "this step needs the Docker executor, since {since}: choose it with `--executor docker` \
         (`test`) or CHECKVALVE_EXECUTOR=docker (`serve` and `worker`)"
    )
}

impl From<super::Halt> for Halted {
    fn from(halt: super::Halt) -> Self {
        match halt {
            super::Halt::Cancelled => Self::Cancelled,
            super::Halt::Errored { reason, retry } => Self::Errored { reason, retry },
            super::Halt::Failed { reason } => Self::Errored { reason, retry: false },
        }
    }
}
