//! The way to an engine: a socket here, an address with or without TLS, or a host over SSH.

mod ssh;
mod tls;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker as Api;
use bollard::models::SystemInfo;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::image::Pulls;
use super::layers::Notes;
use super::{ApiError, Docker, DockerOptions, told};
use crate::ambient;
use crate::domain::pipeline::Resources;
use crate::exec::ExecError;

/// The engine's socket when nothing else is said.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// What a step may use that declares nothing is a part of its result's key.
const GRANTED_IN: u64 = 256 << 20;

/// How long an answer may take, but for the slow ones.
const TIMEOUT: Duration = Duration::from_mins(2);

impl Docker {
    /// Connects to `host`, as `DOCKER_HOST` has it (`unix://…`, `tcp://…` or `ssh://…`); without,
    /// to the first engine that answers at one of the usual sockets.
    pub async fn connect(host: Option<&str>, options: DockerOptions) -> Result<Self, ExecError> {
        if let Some(host) = host {
            return Self::connect_to(host, options).await;
        }
        let mut first = None;
        for socket in sockets(DEFAULT_HOST, ambient::env) {
            let connected = Self::connect_to(&format!("unix://{socket}"), options.clone()).await;
            match connected {
                Ok(docker) => return Ok(docker),
                Err(error) => first = first.or(Some(error)),
            }
        }
        match first {
            Some(error) => Err(error),
            None => Self::connect_to(DEFAULT_HOST, options).await,
        }
    }

    async fn connect_to(host: &str, options: DockerOptions) -> Result<Self, ExecError> {
        let host = host.to_owned();
        let line = Line::to(&host, options.tls.as_deref());
        let line = line.map_err(|why| ExecError::NoEngine { host: host.clone(), why })?;
        let away = |e: ApiError| ExecError::NoEngine { host: host.clone(), why: line.why(&e) };
        let api = line.api.clone().negotiate_version().await.map_err(away)?;
        let info = api.info().await.map_err(away)?;
        if let Some(lacks) = lacks(&info) {
            tracing::warn!("{}", said_of_lacks(&host, &lacks));
        }
        let memory = info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(1 << 32);
        let cores = info.ncpu.and_then(|n| u32::try_from(n).ok()).map_or(1.0, f64::from);
        // A quarter is left to the engine and the host, so that a step is ended before they are.
        // In whole parts, since the same host's memory reads a little different after a restart.
        let memory = (memory / 4 * 3).max(GRANTED_IN) / GRANTED_IN * GRANTED_IN;
        let whole = Resources { cpus: cores, memory };
        let limits = options.limits.unwrap_or(whole);
        let starts = Arc::new(Semaphore::new(options.starts.max(1)));
        let part = |part: Option<String>| part.unwrap_or_else(|| "unknown".to_owned());
        let platform = format!("{}/{}", part(info.os_type), part(info.architecture));
        let notes = notes(options.builds.clone()).await;
        Ok(Self {
            platform,
            notes,
            seen: Arc::default(),
            pulls: Pulls::new(options.config.clone()),
            api,
            host,
            options: Arc::new(options),
            limits,
            cores,
            starts,
            network_turn: Arc::default(),
            removals: TaskTracker::new(),
        })
    }

    /// Is the engine there?
    pub async fn ping(&self) -> Result<(), ExecError> {
        let answer = tokio::time::timeout(Duration::from_secs(10), self.api.ping()).await;
        let why = match answer {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(e)) => told(&e),
            Err(_) => "no answer within 10 s".to_owned(),
        };
        Err(ExecError::NoEngine { host: self.host.clone(), why })
    }

    /// The engine's version and API version, for people.
    pub async fn version(&self) -> Result<String, ExecError> {
        let version = self.api.version().await.map_err(|e| ExecError::Engine(told(&e)))?;
        let known = |part: Option<String>| part.unwrap_or_else(|| "unknown".to_owned());
        Ok(format!("{} (API {})", known(version.version), known(version.api_version)))
    }
}

/// The limits of a step that an engine says it can't hold it to: one without root on a host whose control
/// groups are not handed to it takes them, and does nothing.
fn lacks(info: &SystemInfo) -> Option<Vec<&'static str>> {
    let told = [
        (info.memory_limit, "memory"),
        (info.pids_limit, "processes"),
        (info.cpu_cfs_quota, "processors"),
    ];
    let lacks: Vec<_> =
        told.into_iter().filter(|(can, _)| *can == Some(false)).map(|(_, what)| what).collect();
    (!lacks.is_empty()).then_some(lacks)
}

fn said_of_lacks(host: &str, lacks: &[&str]) -> String {
    format!(
        "the engine at {host} can't limit a step's {}: one step can take all that the machine has; \
         start the host with control groups of version 2, and hand them to the engine's user",
        lacks.join(", ")
    )
}

/// The notes of builds in a folder, if there is one.
async fn notes(folder: Option<PathBuf>) -> Option<Arc<Notes>> {
    let folder = folder?;
    let notes = tokio::task::spawn_blocking(move || Notes::open(folder)).await;
    let notes = notes.unwrap_or_else(|e| Err(io::Error::other(e)));
    notes.inspect_err(|e| tracing::warn!("builds are not noted: {e}")).ok().map(Arc::new)
}

/// Sockets that are there: the system's, then one's own (a rootless engine, Docker Desktop).
fn sockets(system: &str, env: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let system = system.strip_prefix("unix://").map(str::to_owned);
    let runtime = env("XDG_RUNTIME_DIR").map(|folder| format!("{folder}/docker.sock"));
    let desktop = env("HOME").map(|home| format!("{home}/.docker/run/docker.sock"));
    let all = [system, runtime, desktop].into_iter().flatten();
    all.filter(|socket| Path::new(socket).exists()).collect()
}

/// A client, and what is known of the way besides.
struct Line {
    api: Api,
    ssh: Option<ssh::Said>,
}

impl Line {
    fn to(host: &str, tls: Option<&Path>) -> Result<Self, String> {
        let connected = if host.starts_with("ssh://") {
            return ssh::connect(host).map(|(api, ssh)| Self { api, ssh: Some(ssh) });
        } else if let (Some(address), Some(folder)) = (host.strip_prefix("tcp://"), tls) {
            tls::connect(address, folder)?
        } else {
            Api::connect_with_host(host).map_err(|e| told(&e))?
        };
        Ok(Self { api: connected, ssh: None })
    }

    /// Why nothing answers: SSH knows it better.
    fn why(&self, error: &ApiError) -> String {
        let said = self.ssh.as_ref().and_then(ssh::Said::last);
        said.map_or_else(|| told(error), |said| format!("{} ({said})", told(error)))
    }
}

/// Where certificates and credentials are, if nothing else is said.
pub fn usual_config() -> Option<PathBuf> {
    ambient::env("HOME").map(|home| Path::new(&home).join(".docker"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_can_not_hold_a_step_to_its_limits_is_told_with_the_mend() {
        let info = |can| SystemInfo {
            memory_limit: Some(can),
            pids_limit: Some(can),
            cpu_cfs_quota: can.then_some(true),
            ..SystemInfo::default()
        };
        assert_eq!(lacks(&info(true)), None);
        assert_eq!(lacks(&SystemInfo::default()), None, "an engine that does not say");
        let found = lacks(&info(false)).unwrap();
        assert_eq!(found, ["memory", "processes"]);
        let said = said_of_lacks("unix:///x", &found);
        assert!(said.contains("unix:///x can't limit a step's memory, processes"), "{said}");
        assert!(said.contains("version 2"), "{said}");
    }

    #[test]
    fn a_rootless_engines_socket_is_found_where_the_system_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name).display().to_string();
        let env = |name: &str| match name {
            "XDG_RUNTIME_DIR" => Some(place("run")),
            "HOME" => Some(place("home")),
            _ => None,
        };
        let [system, rootless, desktop] =
            ["docker.sock", "run/docker.sock", "home/.docker/run/docker.sock"].map(place);
        let found = || sockets(&format!("unix://{system}"), env);
        assert!(found().is_empty());
        for folder in [&rootless, &desktop] {
            std::fs::create_dir_all(Path::new(folder).parent().unwrap()).unwrap();
        }
        for (socket, all) in [
            (&desktop, vec![&desktop]),
            (&rootless, vec![&rootless, &desktop]),
            (&system, vec![&system, &rootless, &desktop]),
        ] {
            std::fs::write(socket, "").unwrap();
            assert_eq!(found().iter().collect::<Vec<_>>(), all);
        }
    }
}
