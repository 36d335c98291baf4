//! Steps as plain processes in a private copy of the source: for one's own machine, since nothing
//! here keeps a step from reading what its user may read. What it started ends with it.

mod secrets;
mod tree;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::out::{CAPS, Taken};
use super::source::relative;
use super::{
    Course, Divided, Division, Ended, Executor, Exit, Halt, StepRun, Trust, images, remove_tree,
    script, unless_stopped,
};
use crate::ambient;
use secrets::Secrets;
use tree::Tree;

/// How long the output may stay open after everything that we know of has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs steps as processes of the user who runs Checkvalve.
#[derive(Debug, Clone)]
pub struct Host {
    grace: Duration,
    trust: Option<Trust>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new(Duration::from_secs(10))
    }
}

/// Where a try works; removed with everything in it when it ends.
#[derive(Debug)]
struct Place {
    folder: TempDir,
    out: PathBuf,
    /// Variables that name the file of certificate authorities, if steps are to trust one.
    trusted: Option<Vec<(&'static str, PathBuf)>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // The folder's own end would stop at what the step made read-only.
        let _ = remove_tree(self.folder.path());
    }
}

/// The private copy of the source in which a step worked.
#[derive(Debug)]
pub struct Left(Place);

impl Host {
    /// `grace` is what a step has between SIGTERM and SIGKILL.
    pub fn new(grace: Duration) -> Self {
        Self { grace, trust: None }
    }

    /// The same, with what steps trust beside what this machine does.
    #[must_use]
    pub fn with_trust(self, trust: Option<Trust>) -> Self {
        Self { trust, ..self }
    }

    async fn try_run(
        &self,
        (step, on): (&StepRun, Option<Left>),
        log: &mpsc::Sender<Bytes>,
        cancel: &CancellationToken,
        course: &mut Course,
    ) -> Result<(Exit, Option<Left>), Halt> {
        if step.guarded {
            return Err(Halt::never(
                "strangers' code does not run on the host itself before somebody has approved it",
            ));
        }
        if !step.services.is_empty() {
            return Err(Halt::never(images::needs_docker("its services run in containers")));
        }
        course.enter("create");
        let place = match on {
            Some(Left(place)) => place,
            None => unless_stopped(cancel, prepare(step, self.trust.clone())).await?,
        };
        let secrets = match step.secrets.as_slice() {
            [] => None,
            secrets => Some(Secrets::deliver(secrets).map_err(Halt::never)?),
        };
        course.enter("run");
        let mark = ambient::ulid().to_string();
        let (mut child, output) = spawn(step, (&place, secrets.as_ref()), &mark)?;
        let tree = Tree::of(&child, &mark, place.folder.path().to_owned());
        let _lifeline = lifeline(&child)?;
        let exited = CancellationToken::new();
        let pump = tokio::spawn(pump(output, log.clone(), exited.clone()));
        let pump = AbortOnDropHandle::new(pump);
        let exit = self.until_exit(&mut child, &tree, cancel).await;
        let left = blocking(move || Ok(tree.end())).await?;
        exited.cancel();
        let drained = pump.await.unwrap_or_else(|e| Err(io::Error::other(e)));
        let drained = drained.err().map(|e| format!("the output may lack its end: {e}"));
        let exit = exit?;
        course.enter("collect");
        let (left_out, place) = collect(place, step, step.leave && !exit.stopped).await?;
        for note in [left, drained].into_iter().flatten().chain(left_out) {
            let _ = log.send(format!("checkvalve: {note}\n").into()).await;
        }
        Ok((exit, place.map(Left)))
    }

    async fn until_exit(
        &self,
        child: &mut Child,
        tree: &Tree,
        cancel: &CancellationToken,
    ) -> Result<Exit, Halt> {
        let status = tokio::select! {
            biased;
            status = child.wait() => status,
            () = cancel.cancelled() => return self.end(child, tree).await,
        };
        Ok(exit(status.map_err(|e| lost(&e))?, false))
    }

    /// SIGTERM to the whole tree, and to what is left of it after the grace, SIGKILL.
    async fn end(&self, child: &mut Child, tree: &Tree) -> Result<Exit, Halt> {
        tree.terminate();
        let in_time = tokio::time::timeout(self.grace, child.wait()).await;
        let status = if let Ok(status) = in_time {
            status
        } else {
            tree.kill();
            child.wait().await
        };
        Ok(exit(status.map_err(|e| lost(&e))?, true))
    }
}

impl Executor for Host {
    type Left = Left;

    async fn run(
        &self,
        step: StepRun,
        on: Option<Left>,
        log: mpsc::Sender<Bytes>,
        cancel: CancellationToken,
    ) -> (Ended, Option<Left>) {
        let mut course = Course::begin();
        match self.try_run((&step, on), &log, &cancel, &mut course).await {
            Ok((exit, left)) => (course.end(Ok(exit)), left),
            Err(halt) => (course.end(Err(halt)), None),
        }
    }

    /// The first heir works on where the step did; the others get copies. Paths that the step wrote
    /// into files still name the first one's folder.
    async fn divide(&self, left: Left, into: Division) -> Divided<Left> {
        let mut course = Course::begin();
        course.enter("snapshot");
        let mut divided = Divided::nothing();
        for _ in 1..into.heirs {
            match left.copy().await {
                Ok(copy) => divided.shares.push(copy),
                Err(e) => divided.trouble = Some(format!("no copy could be made: {e}")),
            }
        }
        course.leave();
        divided.segment = course.segments.pop().filter(|_| into.heirs > 1);
        if into.heirs > 0 {
            divided.shares.insert(0, left);
        }
        divided
    }

    fn identity(&self) -> Option<String> {
        None
    }

    async fn identify(&self, _image: &str) -> Result<Option<String>, String> {
        Ok(None)
    }

    /// Nothing is kept here: the next run installs anew.
    async fn keep(&self, _share: Left, _name: &str) {}

    async fn recall(&self, _name: &str) -> Option<Left> {
        None
    }
}

impl Left {
    async fn copy(&self) -> io::Result<Self> {
        let from = self.0.folder.path();
        let beside = from.parent().unwrap_or(Path::new("."));
        let folder = TempDir::with_prefix_in("work-", beside)?;
        let root = folder.path().canonicalize()?;
        let output = Command::new("cp")
            .args(["-a", "--reflink=auto", "--"])
            .args([from.join("."), root.clone()])
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let trusted =
            self.0.trusted.as_ref().map(|trusted| {
                trusted.iter().map(|(name, _)| (*name, root.join("ca.pem"))).collect()
            });
        let out = root.join("out");
        Ok(Self(Place { folder, out, trusted }))
    }
}

fn lost(error: &io::Error) -> Halt {
    Halt::again(format!("the step's process could not be waited for: {error}"))
}

/// As a shell says it: 128 and the signal that ended it.
fn exit(status: ExitStatus, stopped: bool) -> Exit {
    let signal = status.signal();
    let code = status.code().or_else(|| signal.map(|signal| 128 + signal)).unwrap_or(-1);
    let reason = signal.filter(|_| !stopped).map(|signal| format!("ended by signal {signal}"));
    Exit { code: code.into(), reason, stopped }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Halt> {
    let result = tokio::task::spawn_blocking(work).await;
    result.map_err(|e| Halt::again(e.to_string()))?.map_err(|e| Halt::again(e.to_string()))
}

/// Unpacks the source beside where the step's files are to go.
async fn prepare(step: &StepRun, trust: Option<Trust>) -> Result<Place, Halt> {
    let (source, workdir) = (step.source.clone(), relative(&step.workdir));
    let beside = step.out.parent().unwrap_or(Path::new(".")).to_owned();
    let place = move || {
        std::fs::create_dir_all(&beside)?;
        let folder = TempDir::with_prefix_in("work-", beside)?;
        // Processes are found by their working folder too, and there links are resolved.
        let root = folder.path().canonicalize()?;
        for name in ["home", "tmp", "out", "secrets", "tree"] {
            std::fs::create_dir(root.join(name))?;
        }
        let trusted = trust.map(|trust| {
            let file = root.join("ca.pem");
            std::fs::write(&file, trust.pem())?;
            io::Result::Ok(trust.variables().map(|name| (name, file.clone())).collect())
        });
        let trusted = trusted.transpose()?;
        source.unpack(&root.join("tree"))?;
        std::fs::create_dir_all(root.join("tree").join(workdir))?;
        let out = root.join("out");
        Ok(Place { folder, out, trusted })
    };
    let prepared = blocking(place).await;
    prepared.map_err(|halt| match halt {
        Halt::Errored { reason, retry } => {
            let reason = format!("the source could not be unpacked: {reason}");
            Halt::Errored { reason, retry }
        }
        other @ (Halt::Cancelled | Halt::Failed { .. }) => other,
    })
}

fn spawn(
    step: &StepRun,
    (place, secrets): (&Place, Option<&Secrets>),
    mark: &str,
) -> Result<(Child, pipe::Receiver), Halt> {
    let start = || -> io::Result<(Child, pipe::Receiver)> {
        let (reader, writer) = io::pipe()?;
        let root = place.folder.path().canonicalize()?;
        let folder = secrets.map_or_else(|| root.join("secrets"), |s| s.folder().to_owned());
        let path = ambient::env("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let child = Command::new("sh")
            .args(["-e", "-c", &script::script(&step.run)])
            .current_dir(root.join("tree").join(relative(&step.workdir)))
            .env_clear()
            .env("PATH", path)
            .env("LANG", ambient::env("LANG").unwrap_or_else(|| "C.UTF-8".into()))
            .env("HOME", root.join("home"))
            .env("TMPDIR", root.join("tmp"))
            .envs(place.trusted.iter().flatten().map(|(name, file)| (name, file)))
            .envs(&step.env)
            .env("CHECKVALVE_OUT", root.join("out"))
            .env("CHECKVALVE_SECRETS", folder)
            .envs(secrets.into_iter().flat_map(Secrets::variables))
            .env(tree::MARK, mark)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?))
    };
    start().map_err(|e| Halt::again(format!("the step's shell could not be started: {e}")))
}

/// A process that ends the step's group if we die without a chance to: its standard input, which
/// we hold, closes then.
fn lifeline(step: &Child) -> Result<Child, Halt> {
    let group = step.id().unwrap_or_default();
    let lifeline = Command::new("sh")
        .args(["-c", "read -r _; kill -s KILL -- \"-$1\"", "sh", &group.to_string()])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    lifeline.map_err(|e| Halt::again(format!("the step's shell could not be watched: {e}")))
}

/// Hands the output on as it comes. A slow reader slows the step down, and nothing piles up.
async fn pump(
    mut output: pipe::Receiver,
    log: mpsc::Sender<Bytes>,
    exited: CancellationToken,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(64 * 1024);
        let too_long = async {
            exited.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        let count = tokio::select! {
            count = output.read_buf(&mut buffer) => count?,
            () = too_long => return Err(io::Error::other("a hidden process keeps it open")),
        };
        if count == 0 {
            return Ok(());
        }
        // Without a reader the step goes on all the same, its output read and forgotten.
        let _ = log.send(buffer.split().freeze()).await;
    }
}

/// Takes what is wanted of the step; with `leave` its place too, where another one is to work.
async fn collect(
    place: Place,
    step: &StepRun,
    leave: bool,
) -> Result<(Vec<String>, Option<Place>), Halt> {
    let (to, keep) = (step.out.clone(), step.keep_out);
    blocking(move || {
        let notes = if keep { Taken::new(&to, CAPS).folder_tree(&place.out)? } else { Vec::new() };
        if !leave {
            drop(place);
            return Ok((notes, None));
        }
        if place.out.symlink_metadata().is_ok() {
            remove_tree(&place.out)?;
        }
        std::fs::create_dir(&place.out)?;
        Ok((notes, Some(place)))
    })
    .await
}
