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
mod left;
mod network;
mod output;
mod reaper;
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
use crate::domain::pipeline::{Network, Resources};
use crate::domain::subnet::Subnet;
use agent::{Agent, Said};
use container::{Container, Start};
use left::Form;
use secrets::Handover;

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
    /// Removals of containers whose runs were dropped.
    removals: TaskTracker,
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

/// What a container that was started is held by.
enum Attached<'c> {
    Watch(watch::Watch<'c>),
    Agent(Agent),
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
        Reaper::new(self.api.clone(), self.options.instance.clone())
    }

    /// Waits until the containers of dropped runs are removed. Whoever is about to exit should.
    pub async fn settled(&self) {
        self.removals.close();
        self.removals.wait().await;
        self.removals.reopen();
    }

    async fn try_run(
        &self,
        given: &Given<'_>,
        on: Option<Left>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        let Given { step, cancel, .. } = *given;
        let (image, from) = match on {
            Some(Left { image, base, form: Form::Alive(container, agent) }) => {
                course.image_digest.clone_from(&image.digest);
                course.enter("run");
                let held = Held { container, agent: None, image, base };
                return self.go_on(held, agent, given, course).await;
            }
            Some(Left { image, form: Form::Kept(kept), .. }) => (image, Some(kept)),
            Some(ready @ Left { form: Form::Ready { .. }, .. }) => {
                if let Some(held) = ready.ready_for(step) {
                    course.image_digest.clone_from(&held.image.digest);
                    return self.start_in(held, given, course).await;
                }
                let found = self.find_image(&step.image, course);
                (unless_stopped(cancel, found).await?, None)
            }
            // Divided, there is none that has only ended.
            Some(Left { form: Form::Ended(_), .. }) | None => {
                let found = self.find_image(&step.image, course);
                (unless_stopped(cancel, found).await?, None)
            }
        };
        course.image_digest.clone_from(&image.digest);
        let own = from.as_ref().map_or(&image.id, |kept| &kept.id).clone();
        let beside = self.services(given, &own, course).await?;
        let network = beside.as_ref().map(|beside| beside.network().to_owned());
        let result = self.try_alone(given, (image, from), network, course).await;
        let Some(beside) = beside else { return result };
        let result = beside.after(result, given.log).await;
        beside.end().await;
        result
    }

    /// The network of a step without services: none, or the one that steps share.
    async fn network_of(&self, step: &StepRun, cancel: &CancellationToken) -> Result<String, Halt> {
        match step.network {
            Network::None => Ok("none".to_owned()),
            Network::Bridge if step.guarded => match &self.options.guarded_network {
                None => Ok("none".to_owned()),
                Some(name) => unless_stopped(cancel, network::prepared(&self.api, name)).await,
            },
            Network::Bridge => {
                let (name, turn) = (&self.options.network, &*self.network_turn);
                unless_stopped(cancel, network::ensure(&self.api, name, turn)).await
            }
        }
    }

    /// Runs the step in a container of its own, on a network of its own if it has one.
    async fn try_alone(
        &self,
        given: &Given<'_>,
        (image, from): (image::Image, Option<Arc<left::Kept>>),
        network: Option<String>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        let Given { step, cancel, .. } = *given;
        course.enter("create");
        let network = match network {
            Some(own) => own,
            None => self.network_of(step, cancel).await?,
        };
        let id = from.as_ref().map_or(&image.id, |kept| &kept.id);
        let body = if image.is_shared(step) {
            self.shared_body(step, id, network)
        } else {
            self.body(step, (id, from.is_some()), network)?
        };
        let made = Container::create(&self.api, &self.removals, &step.image, body).await;
        let container = made.map_err(|halt| match (halt, &from) {
            // What another step left has been removed in the meantime: it can be made again.
            (Halt::Errored { reason, .. }, Some(_)) => Halt::again(reason),
            (halt, _) => halt,
        })?;
        // From here on the container is there: whatever happens, it is left to the step's heirs,
        // or removed and waited for.
        let held = Held { container, agent: None, image, base: from };
        let result = self.use_container(held, given, course).await;
        course.leave();
        result
    }

    async fn use_container(
        &self,
        held: Held,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        if held.base.is_none() {
            let upload = self.upload(&held.container, given.step, &held.image);
            if let Err(halt) = unless_stopped(given.cancel, upload).await {
                held.container.remove().await;
                return Err(halt);
            }
        }
        self.start_in(held, given, course).await
    }

    /// Runs the step in a container that has all it needs but a process.
    async fn start_in(
        &self,
        held: Held,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        course.enter("start");
        let shared = held.image.is_shared(given.step);
        let attached = match self.start(&held.container, shared, given).await {
            Ok(attached) => attached,
            Err(halt) => {
                held.container.remove().await;
                return Err(halt);
            }
        };
        course.enter("run");
        match attached {
            Attached::Agent(agent) => self.go_on(held, agent, given, course).await,
            Attached::Watch(watch) => {
                let (grace, cancel) = (self.options.grace, given.cancel);
                let ended = watch.until_exit(cancel, grace, &given.step.image).await;
                self.leave(held, ended, given, course).await
            }
        }
    }

    /// Runs the step where others ran before it, or will after it.
    async fn go_on(
        &self,
        held: Held,
        mut agent: Agent,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        let Given { step, log, cancel } = *given;
        let script = match self.standalone(step) {
            Ok(script) => script,
            Err(halt) => return self.leave(held, Err(halt), given, course).await,
        };
        let stop = (cancel, self.options.grace);
        let (ended, agent) = match agent.run(&held.container, &script, log, stop).await {
            Ok(Said::Lives { exit, alone }) => (Ok(exit), alone.then_some(agent)),
            Ok(Said::Ended(exit)) => (Ok(exit), None),
            Err(halt) => (Err(halt), None),
        };
        self.leave(Held { agent, ..held }, ended, given, course).await
    }

    /// Takes out what is wanted of the step, and hands its container on, or removes it.
    async fn leave(
        &self,
        held: Held,
        ended: Result<Exit, Halt>,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        let Held { container, agent, image, base } = held;
        let ended = match ended {
            Ok(exit) => self.finish(&container, exit, given, course).await,
            Err(halt) => Err(halt),
        };
        course.leave();
        match ended {
            Ok(exit) if given.step.leave && !exit.stopped => {
                let form = match agent {
                    Some(agent) => Form::Alive(container, agent),
                    None => Form::Ended(container.ended().await),
                };
                Ok((exit, Some(Left { image, base, form })))
            }
            Ok(exit) => {
                container.remove().await;
                Ok((exit, None))
            }
            Err(halt) => {
                container.remove().await;
                Err(halt)
            }
        }
    }

    async fn finish(
        &self,
        container: &Container,
        mut exit: Exit,
        given: &Given<'_>,
        course: &mut Course,
    ) -> Result<Exit, Halt> {
        let Given { step, log, .. } = *given;
        if exit.reason.as_deref() == Some(watch::OUT_OF_MEMORY) {
            let mib = self.granted(step.resources).memory >> 20;
            exit.reason = Some(format!("out of memory: limit {mib} MiB"));
        }
        if step.keep_out {
            course.enter("collect");
            for note in self.collect(container, step).await? {
                // Nobody to read it is nobody to miss it.
                let _ = log.send(format!("checkvalve: {note}\n").into()).await;
            }
        }
        Ok(exit)
    }

    /// Starts a container, attached before, so that no output is missed.
    async fn start<'c>(
        &'c self,
        container: &'c Container,
        shared: bool,
        given: &Given<'_>,
    ) -> Result<Attached<'c>, Halt> {
        let Given { step, log, cancel } = *given;
        let permit = unless_stopped(cancel, async {
            self.starts.acquire().await.map_err(|e| Halt::again(e.to_string()))
        });
        let _permit = permit.await?;
        let mut tries = 0;
        loop {
            // A start that fails ends what was attached before it.
            let handover = Handover::attach(&self.api, container.name(), &step.secrets).await?;
            let attached = if shared {
                Attached::Agent(Agent::attach(container, &step.image).await?)
            } else {
                let watch = watch::Watch::begin(&self.api, container.name(), log.clone());
                Attached::Watch(watch.await?)
            };
            tries += 1;
            match container.start(&step.image, tries < container::AMBIGUOUS).await? {
                Start::Done => {
                    if let Some(handover) = handover {
                        unless_stopped(cancel, handover.give()).await?;
                    }
                    return Ok(attached);
                }
                Start::Again => tokio::time::sleep(container::SOON).await,
            }
        }
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

    async fn identify(&self, image: &str) -> Result<Option<String>, String> {
        if let Some((digest, at)) = self.seen.lock().await.get(image)
            && at.elapsed() < SEEN
        {
            return Ok(Some(digest.clone()));
        }
        let found = match self.api.inspect_image(image).await {
            Ok(found) => image::Image::from(found),
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
