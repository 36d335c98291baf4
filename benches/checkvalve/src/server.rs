//! The product under test: `checkvalve serve`, with a GitHub of our own behind it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use github_simulator::{Config, Simulator};
use tokio::runtime::Runtime;

use crate::http;
use crate::payload::SECRET;
use crate::process::Process;

/// The simulated GitHub, in this process.
#[derive(Debug)]
pub(crate) struct GitHub {
    pub(crate) runtime: Runtime,
    pub(crate) simulator: Simulator,
}

impl GitHub {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let config = Config { webhook_secret: Some(SECRET.to_owned()), ..Config::default() };
        let simulator = runtime.block_on(Simulator::start(config))?;
        Ok(Self { runtime, simulator })
    }

    /// Host and port of it.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        let url = self.simulator.url();
        Ok(url.trim_start_matches("http://").parse()?)
    }
}

/// How to start a server.
#[derive(Debug, Clone)]
pub(crate) struct Options<'a> {
    pub(crate) repositories: &'a str,
    pub(crate) workers: usize,
    /// `None`: `SQLite` in the state folder.
    pub(crate) database: Option<String>,
    pub(crate) more: Vec<(&'static str, String)>,
}

impl Options<'_> {
    /// Serves nobody: deliveries are recorded, and nothing follows from them.
    pub(crate) fn recording() -> Self {
        Self { repositories: "nobody/none", workers: 0, database: None, more: Vec::new() }
    }
}

/// A running `checkvalve serve`; killed when this goes out of scope.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// When it was executed.
    pub(crate) begun: Instant,
    log: PathBuf,
}

impl Server {
    /// Executes it; it may not listen yet.
    pub(crate) fn spawn(
        github: &GitHub,
        state: &Path,
        options: &Options<'_>,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let log = state.with_extension("log");
        let mut command = Command::new(binary()?);
        bare(&mut command);
        command
            .args(["serve", "--listen", &address.to_string()])
            .args(["--workers", &options.workers.to_string()])
            .env("CHECKVALVE_STATE_DIR", state)
            .env("CHECKVALVE_REPOSITORIES", options.repositories)
            .env("CHECKVALVE_WEBHOOK_SECRET", SECRET)
            .env("CHECKVALVE_GITHUB_API_URL", github.simulator.api_url())
            .env("CHECKVALVE_GITHUB_URL", github.simulator.url())
            .env("CHECKVALVE_GITHUB_APP_ID", github.simulator.app().id.to_string())
            .env("CHECKVALVE_GITHUB_PRIVATE_KEY", github.simulator.app().private_key_pem)
            .envs(options.database.iter().map(|url| ("CHECKVALVE_DATABASE_URL", url)))
            .envs(options.more.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let begun = Instant::now();
        let process = Process::spawn(&mut command)?;
        Ok(Self { process, address, begun, log })
    }

    /// Executes it and waits until it answers.
    pub(crate) fn start(
        github: &GitHub,
        state: &Path,
        options: &Options<'_>,
    ) -> anyhow::Result<Self> {
        let mut server = Self::spawn(github, state, options)?;
        server.wait(|server| {
            Ok(http::get(server.address, "/healthz").is_ok_and(|answer| is_fine(&answer)))
        })?;
        Ok(server)
    }

    /// Until `done`, at most 60 s.
    pub(crate) fn wait(
        &mut self,
        done: impl FnMut(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        self.wait_for(Duration::from_mins(1), done)
    }

    /// Until `done`, at most so long.
    pub(crate) fn wait_for(
        &mut self,
        patience: Duration,
        mut done: impl FnMut(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let since = Instant::now();
        while !done(self)? {
            if let Err(error) = self.process.check_running() {
                bail!("{error}: {}", self.last_words());
            }
            if since.elapsed() > patience {
                bail!("waited {patience:?} in vain; the server's log ends: {}", self.last_words());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Nothing queued, running, unhandled or unpublished.
    pub(crate) fn is_idle(&self) -> anyhow::Result<bool> {
        Ok(http::get_json(self.address, "/api/v1/queue")?["idle"] == true)
    }

    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("\n")
    }
}

fn is_fine(response: &http::Response) -> bool {
    response.status == 200
}

/// The program under test: built with this one, and beside it.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name("checkvalve");
    if !path.exists() {
        bail!("{} does not exist; scripts/bench builds it", path.display());
    }
    Ok(path)
}

/// Without the settings of whoever runs the benchmarks.
pub(crate) fn bare(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CHECKVALVE_") || text.starts_with("AWS_") {
            command.env_remove(&name);
        }
    }
    command.env_remove("TEST_REPORTS_BUCKET_NAME");
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}
