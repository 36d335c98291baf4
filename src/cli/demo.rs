//! `demo`: everything here. A simulated GitHub gets a connector repository, a pull request is
//! opened, and its check runs appear one by one. No account, no network, nothing left on the host.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use github_simulator::{
    Change, CheckRun, Commit, Config, OpenPull, Permission, RepositoryOptions, Simulator,
};
use include_dir::{Dir, include_dir};
use tokio::time::sleep;

use super::engine::docker_options;
use super::exit::{Exit, UsageError};
use super::serve::{self, Parts, Running};
use super::signals;
use crate::ambient;
use crate::config::server::Settings;
use crate::exec::docker::Docker;
use crate::store::RunQuery;

/// The repository that the simulated GitHub holds, and the change that the pull request makes.
static REPOSITORY: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/examples/connectors");
static CHANGE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/examples/demo-change");

const NAME: &str = "acme/connectors";
const AUTHOR: &str = "ada";
const BRANCH: &str = "kuwaiti-dinars";
const TITLE: &str = "Know cancelled orders, finer wind, and Kuwaiti dinars";
/// The image of the example's steps; `scripts/images` makes it.
const IMAGE: &str = "checkvalve-example/python:1";
/// Longer than the example takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(10);

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the pages are (default 127.0.0.1:8080; with --once any free port)
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// End when the pull request is answered
    #[arg(long)]
    once: bool,
}

pub async fn run(args: &DemoArgs, mut settings: Settings) -> anyhow::Result<Exit> {
    let out = &mut io::stdout();
    let state = state_folder(&settings)?;
    let simulator = Simulator::start(Config::default()).await?;
    writeln!(out, "A simulated GitHub listens on {}", simulator.url())?;
    point_at(&mut settings, &simulator, &state, args);
    if settings.text("CHECKVALVE_EXECUTOR").is_none() {
        let (executor, said) = choose_executor(&settings).await?;
        writeln!(out, "{said}")?;
        settings.set("CHECKVALVE_EXECUTOR", executor.to_owned());
    }
    let workers = settings.workers()?;
    let running = serve::start(&settings, Parts { server: true, workers }).await?;
    let head = open_pull_request(&simulator, &running, out).await?;
    let ended = tokio::select! {
        ended = watch(&simulator, &running, &head, out) => Some(ended),
        () = signals::end() => None,
    };
    let exit = match ended {
        None => Exit::Interrupted,
        Some(ended) => {
            ended?;
            epilogue(&running, &state, out).await?;
            if !args.once {
                stay(&simulator, &head, out).await?;
            }
            Exit::Passed
        }
    };
    running.stop().await;
    simulator.stop().await;
    Ok(exit)
}

/// `CHECKVALVE_STATE_DIR`, or a temporary folder that outlives the demo: its reports are to be
/// looked at.
fn state_folder(settings: &Settings) -> anyhow::Result<PathBuf> {
    if let Some(folder) = settings.text("CHECKVALVE_STATE_DIR") {
        return Ok(PathBuf::from(folder));
    }
    let folder = tempfile::Builder::new().prefix("checkvalve-demo-").tempdir()?;
    Ok(folder.keep())
}

fn point_at(settings: &mut Settings, simulator: &Simulator, state: &Path, args: &DemoArgs) {
    let app = simulator.app();
    settings.set("CHECKVALVE_STATE_DIR", state.display().to_string());
    settings.set("CHECKVALVE_REPOSITORIES", NAME.to_owned());
    settings.set("CHECKVALVE_GITHUB_API_URL", simulator.api_url());
    settings.set("CHECKVALVE_GITHUB_URL", simulator.url());
    settings.set("CHECKVALVE_GITHUB_APP_ID", app.id.to_string());
    settings.set("CHECKVALVE_GITHUB_PRIVATE_KEY", app.private_key_pem);
    settings.set("CHECKVALVE_WEBHOOK_SECRET", app.webhook_secret);
    // A demo touches nothing of an installation that the environment may describe.
    settings.unset("CHECKVALVE_DATABASE_URL");
    settings.unset("CHECKVALVE_PUBLIC_URL");
    settings.set("CHECKVALVE_STORE", format!("file:{}", state.join("objects").display()));
    match &args.listen {
        Some(listen) => settings.set("CHECKVALVE_LISTEN", listen.clone()),
        None if args.once => settings.set("CHECKVALVE_LISTEN", "127.0.0.1:0".to_owned()),
        None => {}
    }
}

async fn choose_executor(settings: &Settings) -> Result<(&'static str, String), UsageError> {
    let options = docker_options("demo", settings, None)?;
    let docker = match Docker::connect(settings.text("DOCKER_HOST"), options).await {
        Ok(docker) => docker,
        Err(error) => {
            let said = format!(
                "There is no Docker here ({error}): steps run as plain processes of this machine."
            );
            return Ok(("host", said));
        }
    };
    if docker.has_image(IMAGE).await {
        return Ok(("docker", "Steps run in Docker containers without a network.".to_owned()));
    }
    let said = format!(
        "Docker is here, but not the image {IMAGE} (`scripts/images` makes it): steps run as plain \
         processes of this machine."
    );
    Ok(("host", said))
}

async fn open_pull_request(
    simulator: &Simulator,
    running: &Running,
    out: &mut impl Write,
) -> anyhow::Result<String> {
    simulator.create_repository(NAME, RepositoryOptions::default()).await?;
    simulator.set_permission(NAME, AUTHOR, Permission::Write);
    let first = Commit::new("Begin", AUTHOR, files(&REPOSITORY));
    simulator.commit(NAME, "main", first).await?;
    simulator.install_webhook(&format!("{}/webhooks/github", running.links.public));
    let change = Commit::new(TITLE, AUTHOR, files(&CHANGE));
    let head = simulator.commit(NAME, BRANCH, change).await?;
    let pull = OpenPull::new(BRANCH, "main", AUTHOR, TITLE);
    let number = simulator.open_pull_request(NAME, pull).await?;
    writeln!(out, "{AUTHOR} opened pull request #{number} of {NAME}: {TITLE}")?;
    writeln!(out, "  on GitHub      {}/{NAME}/pull/{number}", simulator.url())?;
    let ours = running.links.pull(&NAME.parse()?, number);
    writeln!(out, "  on Checkvalve  {ours}\n")?;
    Ok(head)
}

fn files(dir: &Dir<'_>) -> Vec<(String, Change)> {
    let mut files = Vec::new();
    for file in dir.files() {
        let path = file.path().display().to_string();
        if !path.contains("__pycache__") {
            files.push((path, Change::Write(file.contents().to_vec())));
        }
    }
    for folder in dir.dirs() {
        files.extend(self::files(folder));
    }
    files
}

/// Prints each check run's changes until `checkvalve` is concluded and everything is published,
/// then all of them with their conclusions.
async fn watch(
    simulator: &Simulator,
    running: &Running,
    head: &str,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut shown: BTreeMap<u64, String> = BTreeMap::new();
    let started = tokio::time::Instant::now();
    loop {
        let checks = simulator.check_runs(NAME, head);
        for check in &checks {
            let state = state(check);
            if shown.get(&check.id) != Some(&state) {
                writeln!(out, "{:>6.1} s  {}", started.elapsed().as_secs_f64(), line(check))?;
                shown.insert(check.id, state);
            }
        }
        let done = |check: &CheckRun| check.status == "completed";
        let concluded = checks.iter().any(|c| c.name == "checkvalve") && checks.iter().all(done);
        if concluded && running.store.queue().await?.idle {
            return table(simulator, head, out);
        }
        if started.elapsed() > PATIENCE {
            table(simulator, head, out)?;
            anyhow::bail!("the pull request was not answered within {PATIENCE:?}");
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn state(check: &CheckRun) -> String {
    check.conclusion.clone().unwrap_or_else(|| check.status.clone())
}

fn line(check: &CheckRun) -> String {
    let title = check.output.title.as_deref().unwrap_or_default();
    format!("{} {:<34} {:<16} {title}", symbol(check), check.name, state(check))
}

fn symbol(check: &CheckRun) -> &'static str {
    match check.conclusion.as_deref() {
        Some("success") => "✓",
        Some("skipped" | "neutral") => "-",
        Some("cancelled") => "⊘",
        Some(_) => "✗",
        None if check.status == "in_progress" => "▸",
        None => "·",
    }
}

fn table(simulator: &Simulator, head: &str, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "\nThe check runs of {}:\n", &head[..12])?;
    for check in simulator.latest_check_runs(NAME, head) {
        writeln!(out, "  {}", line(&check))?;
    }
    Ok(writeln!(out)?)
}

/// Where the pages and the stored reports are.
async fn epilogue(running: &Running, state: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    archived(running).await;
    let runs = running.store.runs(&RunQuery { limit: 1, ..RunQuery::default() }).await?;
    let run = runs.first().context("the demo made no run")?;
    writeln!(out, "The run's page:     {}", running.links.run(run.id))?;
    let objects = state.join("objects");
    let index = objects.join(crate::domain::objects::run_prefix(run)).join("index.html");
    writeln!(out, "Its stored report:  file://{}", index.display())?;
    Ok(())
}

/// Waits a moment for the stored report's final name.
async fn archived(running: &Running) {
    for _ in 0..50 {
        if running.store.unarchived_runs(1).await.is_ok_and(|runs| runs.is_empty()) {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn stay(simulator: &Simulator, head: &str, out: &mut impl Write) -> anyhow::Result<()> {
    let number = simulator.pull_request(NAME, 1).number;
    writeln!(
        out,
        "\nTry a command, as a comment on the pull request:\n\n  curl '{}/_simulator/comments' -d \
         '{{\"repository\":\"{NAME}\",\"number\":{number},\"user\":\"{AUTHOR}\",\"body\":\"/retest\"}}'\n\n\
         Ctrl-C ends the demo.",
        simulator.url()
    )?;
    let mut shown: BTreeMap<u64, String> =
        simulator.check_runs(NAME, head).iter().map(|c| (c.id, state(c))).collect();
    let started = ambient::now();
    loop {
        tokio::select! {
            () = signals::end() => return Ok(()),
            () = sleep(Duration::from_millis(200)) => {}
        }
        for check in simulator.check_runs(NAME, head) {
            let state = state(&check);
            if shown.get(&check.id) != Some(&state) {
                let elapsed = ambient::now().since(started).as_secs_f64();
                writeln!(out, "{elapsed:>6.1} s  {}", line(&check))?;
                shown.insert(check.id, state);
            }
        }
    }
}
