//! Steps in containers of a Docker Engine, near or far: nothing but its API is used, so that a
//! remote engine works as a local one.
//!
//! What can't be inspected is ours and never the step's: an engine that went away, a container
//! that vanished, an exit status that nobody can vouch for.

mod agent;
mod build;
mod connect;
mod container;
mod credentials;
mod image;
mod layers;
mod left;
mod network;
mod output;
mod reaper;
mod run;
mod said;
mod scan;
mod secrets;
mod services;
mod talk;
mod transfer;
mod warm;
mod watch;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::Docker as Api;
use bollard::errors::Error as ApiError;
use bytes::Bytes;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::connect::{DEFAULT_HOST, usual_config};
pub use self::left::Left;
pub use self::reaper::Reaper;
use super::images::{self, BuildEnd, ImageBuild, Scan, Talk, TalkEnd};
use super::{
    Course, Divided, Division, Ended, ExecError, Executor, Exit, Halt, StepRun, Trust,
    unless_stopped,
};
use crate::domain::pipeline::Resources;
use crate::domain::subnet::Subnet;
use agent::Agent;
use container::Container;

/// How long an upload or a stop may keep its answer back; the client's own limit of two minutes is
/// short of a large source on a slow line.
const SLOW: Duration = Duration::from_mins(15);

/// For how long an image's digest is taken to be what it was.
const SEEN: Duration = Duration::from_secs(5);

/// How an executor of containers behaves.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// The installation's id, which the reaper goes by.
    pub instance: String,
    /// How long a step has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// What a step may use that declares nothing; the engine's whole share if `None`.
    pub limits: Option<Resources>,
    /// How many containers may be starting at once: more only makes each slower.
    pub starts: usize,
    /// The engine's network for steps that may use one; made if it is not there.
    pub network: String,
    /// The engine's network for steps of strangers' code, prepared by its operator; without one they
    /// have none.
    pub guarded_network: Option<String>,
    /// Where steps' own networks, which they share with their services, are taken from.
    pub pool: Subnet,
    /// What steps trust beside what their images do.
    pub trust: Option<Trust>,
    /// The folder of certificates for an engine behind TLS.
    pub tls: Option<PathBuf>,
    /// The folder of Docker's own configuration, which has the registries' credentials.
    pub config: Option<PathBuf>,
    /// The folder in which builds note what they need, and that says whose their layers are, so that
    /// those of a killed process are found.
    pub builds: Option<PathBuf>,
}

impl DockerOptions {
    /// The defaults for an installation.
    pub fn new(instance: impl Into<String>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            instance: instance.into(),
            grace: Duration::from_secs(10),
            limits: None,
            starts: 2.max(cores * 2),
            network: network::STEPS.to_owned(),
            guarded_network: None,
            pool: Subnet::default(),
            trust: None,
            tls: None,
            config: None,
            builds: None,
        }
    }
}

/// A Docker Engine to run steps on. Clones share the bound on starts.
#[derive(Debug, Clone)]
pub struct Docker {
    api: Api,
    host: String,
    options: Arc<DockerOptions>,
    /// What a step gets that declares nothing, and the most that any may get.
    limits: Resources,
    cores: f64,
    starts: Arc<Semaphore>,
    /// As `linux/x86_64`.
    platform: String,
    /// Images that were looked up a moment ago, with their digests.
    seen: Arc<Mutex<HashMap<String, (String, Instant)>>>,
    pulls: image::Pulls,
    /// Whose turn it is to make the network.
    network_turn: Arc<Mutex<()>>,
    /// Removals of containers whose runs were dropped, and builds.
    removals: TaskTracker,
    notes: Option<Arc<layers::Notes>>,
}

/// A container, and what it came from.
struct Held {
    container: Container,
    /// By which it takes another step.
    agent: Option<Agent>,
    /// With which its chain of steps began.
    image: image::Image,
    /// With which the container did, if a step left that.
    base: Option<Arc<left::Kept>>,
}

/// What [`Executor::run`] was given.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    step: &'a StepRun,
    log: &'a mpsc::Sender<Bytes>,
    cancel: &'a CancellationToken,
}

impl Docker {
    /// Is this image on the engine already?
    pub async fn has_image(&self, image: &str) -> bool {
        self.api.inspect_image(image).await.is_ok()
    }

    /// Finds and removes this installation's containers.
    pub fn reaper(&self) -> Reaper {
        Reaper::new(self.api.clone(), self.options.instance.clone(), self.notes.as_deref().cloned())
    }

    /// Waits until the containers of dropped runs and builds are removed. Whoever is about to exit should.
    pub async fn settled(&self) {
        self.removals.close();
        self.removals.wait().await;
        self.removals.reopen();
    }
}

impl Executor for Docker {
    type Left = Left;

    async fn run(
        &self,
        step: StepRun,
        on: Option<Left>,
        log: mpsc::Sender<Bytes>,
        cancel: CancellationToken,
    ) -> (Ended, Option<Left>) {
        let given = Given { step: &step, log: &log, cancel: &cancel };
        let mut course = Course::begin();
        match self.try_run(&given, on, &mut course).await {
            Ok((exit, left)) => (course.end(Ok(exit)), left),
            Err(halt) => (course.end(Err(halt)), None),
        }
    }

    async fn warm(&self, step: StepRun) -> Option<Left> {
        self.warm_up(&step).await.unwrap_or_else(|halt| {
            // The step itself meets it again, and says it.
            tracing::debug!(step = %step.labels.step, "not made ready: {halt:?}");
            None
        })
    }

    async fn divide(&self, left: Left, into: Division) -> Divided<Left> {
        self.divide_left(left, into).await
    }

    fn capacity(&self) -> Option<Resources> {
        Some(self.limits)
    }

    fn identity(&self) -> Option<String> {
        let trust = self.options.trust.as_ref().map(Trust::digest).unwrap_or_default();
        Some(format!("docker {} {trust}", self.platform).trim_end().to_owned())
    }

    fn trust(&self) -> Option<Trust> {
        self.options.trust.clone()
    }

    async fn identify(&self, image: &str) -> Result<Option<String>, String> {
        if let Some((digest, at)) = self.seen.lock().await.get(image)
            && at.elapsed() < SEEN
        {
            return Ok(Some(digest.clone()));
        }
        let found = match self.api.inspect_image(image).await {
            Ok(found) => image::Image::of(found, image),
            Err(error) if container::is_missing(&error) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let Some(digest) = found.digest else { return Ok(None) };
        let mut seen = self.seen.lock().await;
        seen.retain(|_, (_, at)| at.elapsed() < SEEN);
        seen.insert(image.to_owned(), (digest.clone(), Instant::now()));
        Ok(Some(digest))
    }

    async fn keep(&self, share: Left, name: &str) {
        self.keep_left(share, name).await;
    }

    async fn recall(&self, name: &str) -> Option<Left> {
        self.recall_left(name).await
    }

    async fn build(
        &self,
        build: ImageBuild,
        log: mpsc::Sender<Bytes>,
        stop: CancellationToken,
    ) -> BuildEnd {
        self.build_image(&build, &log, &stop).await
    }

    async fn talk(
        &self,
        talk: Talk,
        said: mpsc::Sender<images::Said>,
        stop: CancellationToken,
    ) -> TalkEnd {
        self.call(&talk, &said, &stop).await
    }

    async fn scan(&self, scan: Scan, log: mpsc::Sender<Bytes>, stop: CancellationToken) -> Ended {
        let given = Given { step: &scan.step, log: &log, cancel: &stop };
        let mut course = Course::begin();
        let exit = self.run_scanner(&scan, &given, &mut course).await;
        course.end(exit)
    }

    async fn forget(&self, image: &str) -> Result<(), ExecError> {
        self.forget_image(image).await
    }
}

/// An error of the engine's in its own words.
fn told(error: &ApiError) -> String {
    if let ApiError::DockerResponseServerError { message, .. } = error {
        return message.trim().to_owned();
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let why = cause.to_string();
        if !text.contains(&why) {
            text = format!("{text}: {why}");
        }
        source = cause.source();
    }
    text
}

/// Ours: a refusal (4xx) stays one, everything else may pass.
fn halt(what: &str, error: &ApiError) -> Halt {
    let reason = format!("{what}: {}", told(error));
    let refused = matches!(
        error,
        ApiError::DockerResponseServerError { status_code: 400..=408 | 410..=499, .. }
    );
    if refused { Halt::never(reason) } else { Halt::again(reason) }
}
