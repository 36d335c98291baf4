//! A world for scenarios: a simulated GitHub, the real server as a process of its own, and a small
//! connector repository. `finish` asserts that nothing is left over.

#![allow(
    dead_code,
    unreachable_pub,
    unused_macros,
    reason = "each scenario file uses a part of it"
)]

use std::fmt::Write as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use github_simulator::{
    Change, CheckRun, Commit, Config, OpenPull, Permission, RepositoryOptions, Simulator,
};
use serde_json::Value;

#[path = "cutter.rs"]
pub mod cutter;
#[path = "given.rs"]
mod given;
#[path = "manifest.rs"]
pub mod manifest;

pub const REPO: &str = "acme/connectors";

/// A repository file whose connectors, folders called `source-…`, have these steps.
macro_rules! sources_with {
    ($steps:expr) => {
        concat!(
            "version: 1\npreset: none\nconnectors:\n  - { kind: sh, match: \"{name}/connector.txt\", ",
            "where: { name: [\"source-*\"] } }\npipelines:\n  - for: { kind: sh }\n    steps:\n",
            $steps
        )
    };
}
/// Jobs at once.
const WORKERS: usize = 4;

/// Where steps of this world run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steps {
    Docker,
    Host,
}

/// Settings beside the usual ones.
#[derive(Default)]
pub struct Extra {
    pub env: Vec<(&'static str, String)>,
    /// The text of a settings file.
    pub file: Option<String>,
    /// By which address GitHub's API is reached.
    pub via: Option<Via>,
    /// The settings name no App: `/setup` is to register it.
    pub unregistered: bool,
    /// What else GitHub is, before anybody looks.
    pub github: Option<Prepare>,
}

/// Makes the simulator something else.
pub type Prepare = Box<dyn Fn(&Simulator) + Send + Sync>;

/// From an address to one that leads there.
pub type Via = Box<dyn Fn(&str) -> String + Send + Sync>;

pub struct World {
    pub sim: Simulator,
    pub state: tempfile::TempDir,
    pub url: String,
    port: u16,
    /// The webhook's secret, as the settings have it.
    secret: String,
    steps: Steps,
    database: Option<String>,
    extra: Extra,
    server: Option<Child>,
    others: Vec<Child>,
    pub http: reqwest::Client,
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl World {
    /// A served repository with Ada, who may write, and a running server on `SQLite`.
    pub async fn new(steps: Steps, files: &[(&str, &str)]) -> Self {
        Self::with(steps, None, files).await
    }

    pub async fn with(steps: Steps, database: Option<String>, files: &[(&str, &str)]) -> Self {
        Self::set_up(steps, database, Extra::default(), files).await
    }

    pub async fn set_up(
        steps: Steps,
        database: Option<String>,
        extra: Extra,
        files: &[(&str, &str)],
    ) -> Self {
        // No more than a real installation would give us.
        let (permissions, events) = manifest::granted();
        let config = Config { contract: contract(), permissions, events, ..Config::default() };
        let sim = Simulator::start(config).await.unwrap();
        if let Some(prepare) = &extra.github {
            prepare(&sim);
        }
        sim.create_repository(REPO, RepositoryOptions::default()).await.unwrap();
        sim.set_permission(REPO, "ada", Permission::Write);
        let port = free_port();
        let secret = sim.app().webhook_secret;
        let mut world = Self {
            sim,
            state: tempfile::tempdir().unwrap(),
            url: format!("http://127.0.0.1:{port}"),
            port,
            secret,
            steps,
            database,
            extra,
            server: None,
            others: Vec::new(),
            // A server that is stopped in the middle accepts, and never answers.
            http: reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap(),
        };
        world.push("main", files).await;
        world.start().await;
        if !world.extra.unregistered {
            world.sim.install_webhook(&format!("{}/webhooks/github", world.url));
        }
        world
    }

    /// Starts the server (again) and waits until it is ready.
    pub async fn start(&mut self) {
        self.server = Some(self.spawn(self.serve("state", self.port, WORKERS)));
        self.until("the server is ready", Self::is_ready).await;
    }

    /// Starts the server so that it is about to die: with one more variable and so many workers.
    /// Nobody waits until it is ready, which it may never be.
    pub fn launch(&mut self, variable: (&str, &str), workers: usize) {
        let mut command = self.serve("state", self.port, workers);
        command.env(variable.0, variable.1);
        self.server = Some(self.spawn(command));
    }

    pub async fn is_ready(&self) -> bool {
        let answer = self.http.get(format!("{}/readyz", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    pub fn has_ended(&mut self) -> bool {
        self.server.as_mut().is_none_or(|server| server.try_wait().unwrap().is_some())
    }

    /// How the server ended by itself, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.server.as_mut().unwrap().try_wait().unwrap();
        if ended.is_some() {
            self.server = None;
        }
        ended
    }

    /// Starts one more server on the same database and object store, with a state folder of its
    /// own, as on another host.
    pub async fn start_another(&mut self) {
        let port = free_port();
        let folder = format!("state-{port}");
        self.others.push(self.spawn(self.serve(&folder, port, WORKERS)));
        self.until("the other server is ready", async |world: &Self| {
            let answer = world.http.get(format!("http://127.0.0.1:{port}/readyz")).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    fn serve(&self, folder: &str, port: u16, workers: usize) -> Command {
        let (listen, workers) = (format!("127.0.0.1:{port}"), workers.to_string());
        self.command(folder, &["serve", "--listen", &listen, "--workers", &workers])
    }

    fn spawn(&self, mut command: Command) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.state.path().join("server.log"))
            .unwrap();
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// The program with the server's settings.
    pub fn command(&self, folder: &str, arguments: &[&str]) -> Command {
        let app = self.sim.app();
        let api = self.sim.api_url();
        let api = self.extra.via.as_ref().map_or_else(|| api.clone(), |via| via(&api));
        let mut command = Command::new(env!("CARGO_BIN_EXE_checkvalve"));
        if let Some(text) = &self.extra.file {
            let file = self.state.path().join("settings.toml");
            std::fs::write(&file, text).unwrap();
            command.arg("--config").arg(file);
        }
        command
            .args(arguments)
            .env("CHECKVALVE_STATE_DIR", self.state.path().join(folder))
            .env("CHECKVALVE_REPOSITORIES", "acme/*")
            .env("CHECKVALVE_GITHUB_API_URL", api)
            .env("CHECKVALVE_GITHUB_URL", self.sim.url())
            .env("CHECKVALVE_API_TOKEN", "scenario-token")
            .env("CHECKVALVE_LEASE", "3s")
            .env("CHECKVALVE_SLOTS", "4")
            .env("CHECKVALVE_LOG", "info,checkvalve=debug")
            .env("CHECKVALVE_EXECUTOR", if self.steps == Steps::Docker { "docker" } else { "host" })
            .stdin(Stdio::null())
            .envs(self.extra.env.iter().map(|(name, value)| (name, value)));
        if !self.extra.unregistered {
            command
                .env("CHECKVALVE_GITHUB_APP_ID", app.id.to_string())
                .env("CHECKVALVE_GITHUB_PRIVATE_KEY", app.private_key_pem)
                .env("CHECKVALVE_WEBHOOK_SECRET", &self.secret);
        }
        if let Some(url) = &self.database {
            let objects = self.state.path().join("objects").display().to_string();
            command.env("CHECKVALVE_DATABASE_URL", url);
            command.env("CHECKVALVE_STORE", format!("file:{objects}"));
        }
        command
    }

    /// SIGKILL: no chance to clean up.
    pub fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// The most memory that the server ever held, in MiB.
    pub fn peak_memory(&self) -> u64 {
        let id = self.server.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// What the server was started with, `NAME=value` each.
    pub fn environment(&self) -> Vec<String> {
        let id = self.server.as_ref().unwrap().id();
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap();
        environment
            .split(|&b| b == 0)
            .map(|one| String::from_utf8_lossy(one).into_owned())
            .collect()
    }

    /// SIGTERM, and how long the end took.
    pub fn terminate(&mut self) -> Duration {
        let mut server = self.server.take().unwrap();
        let asked = Instant::now();
        let pid = server.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(server.wait().unwrap().success(), "it did not end well");
        asked.elapsed()
    }

    /// Sends a signal to the first server.
    pub fn signal(&self, signal: &str) {
        let pid = self.server.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    pub fn server_log(&self) -> String {
        std::fs::read_to_string(self.state.path().join("server.log")).unwrap_or_default()
    }

    /// Waits for a condition; fails with the server's log when it does not come.
    pub async fn until(&self, what: &str, condition: impl AsyncFn(&Self) -> bool) {
        let started = Instant::now();
        while !condition(self).await {
            if started.elapsed() > Duration::from_secs(90) {
                let log = self.server_log();
                let tail: Vec<&str> = log.lines().rev().take(60).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                panic!("it never came that {what}; the server's log ends:\n{}", tail.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    pub async fn json(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    /// Waits until nothing is under way: deliveries, runs, check runs.
    pub async fn settle(&self) {
        self.sim.quiet().await;
        self.until("everything is settled", async |world: &Self| {
            let Ok(answer) = world.http.get(format!("{}/api/v1/queue", world.url)).send().await
            else {
                return false;
            };
            let queue: Value = answer.json().await.unwrap_or_default();
            queue["idle"] == true
        })
        .await;
        self.sim.quiet().await;
    }

    /// A commit by Ada; an empty content deletes the file.
    pub async fn push(&self, branch: &str, files: &[(&str, &str)]) -> String {
        self.push_to((REPO, "ada"), branch, files).await
    }

    /// The same by somebody else, or in a fork.
    pub async fn push_to(
        &self,
        (repository, who): (&str, &str),
        branch: &str,
        files: &[(&str, &str)],
    ) -> String {
        let change = |text: &str| match text {
            "" => Change::Delete,
            text => Change::Write(text.as_bytes().to_vec()),
        };
        let changes = files.iter().map(|(path, text)| ((*path).to_owned(), change(text))).collect();
        self.sim.commit(repository, branch, Commit::new("A change", who, changes)).await.unwrap()
    }

    /// A fork, of which our App knows nothing.
    pub async fn fork(&self, at: &str) {
        let fork = RepositoryOptions {
            fork_of: Some(REPO.to_owned()),
            install: false,
            ..RepositoryOptions::default()
        };
        self.sim.create_repository(at, fork).await.unwrap();
    }

    /// A pull request from a fork.
    pub async fn open_from(
        &self,
        (fork, author): (&str, &str),
        (branch, base): (&str, &str),
    ) -> u64 {
        let fork = Some(fork.to_owned());
        let pull = OpenPull { fork, ..OpenPull::new(branch, base, author, "A change") };
        self.sim.open_pull_request(REPO, pull).await.unwrap()
    }

    pub async fn open(&self, branch: &str) -> u64 {
        let pull = OpenPull::new(branch, "main", "ada", "A change");
        self.sim.open_pull_request(REPO, pull).await.unwrap()
    }

    pub fn checks(&self, sha: &str) -> Vec<CheckRun> {
        self.sim.latest_check_runs(REPO, sha)
    }

    /// The newest check runs as lines: name, conclusion or status, title.
    pub fn table(&self, sha: &str) -> String {
        let mut table = String::new();
        for check in self.checks(sha) {
            let state = check.conclusion.as_deref().unwrap_or(&check.status);
            writeln!(table, "{}: {state}", check.name).unwrap();
        }
        table
    }

    pub fn check(&self, sha: &str, name: &str) -> CheckRun {
        self.checks(sha).into_iter().find(|check| check.name == name).unwrap_or_else(|| {
            panic!("no check run `{name}`; there are:\n{}", self.table(sha));
        })
    }

    /// Waits until a check run has this status or conclusion.
    pub async fn until_check(&self, sha: &str, name: &str, state: &str) {
        self.until(&format!("`{name}` is {state}"), async |world: &Self| {
            world.checks(sha).iter().any(|check| {
                check.name == name
                    && (check.status == state || check.conclusion.as_deref() == Some(state))
            })
        })
        .await;
    }

    /// All runs of the repository, newest first.
    pub async fn runs(&self) -> Vec<Value> {
        let list = self.json(&format!("/api/v1/runs?repo={REPO}")).await;
        list["runs"].as_array().or(list.as_array()).cloned().unwrap_or_default()
    }

    /// Ids of this installation's containers, running or not.
    pub fn containers(&self) -> Vec<String> {
        self.labelled(&["ps", "-aq"])
    }

    /// Ids of this installation's images: what steps left to their heirs, snapshots, what
    /// was built.
    pub fn images(&self) -> Vec<String> {
        self.labelled(&["images", "-q", "--no-trunc"])
    }

    pub fn networks(&self) -> Vec<String> {
        self.labelled(&["network", "ls", "-q"])
    }

    /// What the engine lists that has this installation's label.
    fn labelled(&self, list: &[&str]) -> Vec<String> {
        let instance =
            std::fs::read_to_string(self.state.path().join("state/instance")).unwrap_or_default();
        let filter = format!("label=io.checkvalve.instance={}", instance.trim());
        let listed = Command::new("docker").args(list).args(["--filter", &filter]).output();
        let listed = listed.unwrap();
        String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect()
    }

    /// Nothing is left over: every check run is concluded, every contract was kept, no container
    /// and no error is left.
    pub async fn finish(mut self) {
        self.settle().await;
        let shas: std::collections::BTreeSet<String> = self
            .runs()
            .await
            .iter()
            .filter_map(|run| run["head_sha"].as_str().map(str::to_owned))
            .collect();
        for sha in shas {
            for check in self.sim.check_runs(REPO, &sha) {
                assert_eq!(check.status, "completed", "{} on {sha} is not concluded", check.name);
            }
        }
        assert_eq!(self.sim.violations(), Vec::<String>::new());
        if self.steps == Steps::Docker {
            assert_eq!(self.containers(), Vec::<String>::new(), "containers are left");
        }
        // A worker whose job another one took clears up when it notices.
        let spool = self.state.path().join("state/spool/0");
        self.until("no spool is left", async |_: &Self| {
            std::fs::read_dir(&spool).map(Iterator::count).unwrap_or_default() == 0
        })
        .await;
        let log = self.server_log();
        assert!(!log.contains("panicked"), "the server panicked:\n{log}");
        self.kill();
        self.sim.stop().await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for mut server in self.server.take().into_iter().chain(self.others.drain(..)) {
            let _ = server.kill();
            let _ = server.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the servers' log:\n{}", self.server_log());
        }
    }
}

/// GitHub's published description, if it is here; else said and not checked.
fn contract() -> Option<std::path::PathBuf> {
    given::given("CHECKVALVE_GITHUB_CONTRACT", "openapi-subset.json")
}
