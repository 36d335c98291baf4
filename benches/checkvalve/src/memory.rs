//! Resident memory: idle after the start, under a flood of deliveries, and with eight jobs at work.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use github_simulator::{Change, Commit, OpenPull, Permission, RepositoryOptions, Simulator};

use crate::load;
use crate::payload;
use crate::pipelines;
use crate::postgres::Postgres;
use crate::process::Memory;
use crate::server::{GitHub, Options, Server};
use crate::table::{self, Table};

const FLOOD: Duration = Duration::from_secs(5);
const JOBS: usize = 8;
const STEPS: usize = 4;
const REPOSITORY: &str = "acme/many";
const AUTHOR: &str = "quill";

pub(crate) fn run() -> anyhow::Result<()> {
    let github = GitHub::start()?;
    let postgres = Postgres::start()?;
    let mut table = Table::new(&["when", "resident MiB", "of it own", "peak MiB"]);
    let mut row = |name: &str, memory: Memory| {
        let figures = [memory.resident, memory.anonymous, memory.peak];
        table.row(name, figures.map(|figure| format!("{figure:.1}")));
        memory
    };
    let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
    let database = postgres.as_ref().map(|server| server.create("memory")).transpose()?;
    let kinds = [("SQLite", None), ("PostgreSQL", database)];
    let mut idle = Vec::new();
    for (name, database) in
        kinds.into_iter().filter(|(name, url)| *name == "SQLite" || url.is_some())
    {
        let options = Options { database, ..Options::recording() };
        let mut server = Server::start(&github, &folder.path().join(name), &options)?;
        thread::sleep(Duration::from_secs(2));
        idle.push((name, row(&format!("{name}: idle"), server.process.memory()?)));
        let flood = load::closed(server.address, &payload::pull_request(), 16, FLOOD)?;
        let label = format!("{name}: after {:.0} deliveries/s for 5 s", flood.rate());
        row(&label, server.process.memory()?);
        server.wait(|server| {
            let queue = crate::http::get_json(server.address, "/api/v1/queue")?;
            thread::sleep(Duration::from_millis(100));
            Ok(queue["deliveries_pending"] == 0)
        })?;
        row(&format!("{name}: all of them handled"), server.process.memory()?);
        ensure!(server.process.terminate()?.success(), "the server did not end well");
    }
    let jobs = row(
        &format!("SQLite: after {JOBS} jobs of {STEPS} containers at once"),
        eight_jobs(&github, &folder.path().join("jobs"))?,
    );
    table::title("Resident memory");
    table.print();
    for (name, memory) in idle {
        let resident = memory.resident;
        table::aim(&format!("{name}: idle {resident:.1} MiB (aim: at most 20)"), resident <= 20.0);
    }
    let peak = jobs.peak;
    table::aim(&format!("{JOBS} jobs: peak {peak:.1} MiB (goal: at most 50)"), peak <= 50.0);
    Ok(())
}

/// A pull request that touches as many connectors, all of which must pass.
fn eight_jobs(github: &GitHub, state: &std::path::Path) -> anyhow::Result<Memory> {
    let options = Options {
        repositories: REPOSITORY,
        workers: JOBS,
        database: None,
        more: vec![("CHECKVALVE_SLOTS", JOBS.to_string())],
    };
    let mut server = Server::start(github, state, &options)?;
    let hook = format!("http://{}{}", server.address, load::PATH);
    let head = github.runtime.block_on(open(&github.simulator, &hook))?;
    let simulator = &github.simulator;
    server.wait(|server| {
        let checks = simulator.latest_check_runs(REPOSITORY, &head);
        thread::sleep(Duration::from_millis(50));
        Ok(checks.len() == JOBS * STEPS + 1
            && checks.iter().all(|check| check.conclusion.is_some())
            && server.is_idle()?)
    })?;
    for check in simulator.latest_check_runs(REPOSITORY, &head) {
        let conclusion = check.conclusion.as_deref();
        ensure!(conclusion == Some("success"), "{}: {conclusion:?}", check.name);
    }
    let memory = server.process.memory()?;
    ensure!(server.process.terminate()?.success(), "the server did not end well");
    Ok(memory)
}

/// The head of a pull request on a repository made for this.
async fn open(simulator: &Simulator, hook: &str) -> anyhow::Result<String> {
    simulator.create_repository(REPOSITORY, RepositoryOptions::default()).await?;
    simulator.set_permission(REPOSITORY, AUTHOR, Permission::Write);
    let mut file = pipelines::HEAD.to_owned();
    for step in 0..STEPS {
        // A step prints 20,000 lines: about 1 MB.
        file.push_str(&pipelines::step_line(
            &format!("step-{step}"),
            "",
            &["seq 20000 | sed 's/^/a line of output that says nothing in particular /'"],
        ));
    }
    let mut changes = vec![(".github/checkvalve.yml".to_owned(), Change::Write(file.into_bytes()))];
    let connectors = |text: &'static str| {
        (0..JOBS).map(move |n| {
            (format!("connector-{n}/bench.txt"), Change::Write(text.as_bytes().to_vec()))
        })
    };
    changes.extend(connectors("first\n"));
    simulator.commit(REPOSITORY, "main", Commit::new("Begin", AUTHOR, changes)).await?;
    simulator.install_webhook(hook);
    let change = Commit::new("Change all", AUTHOR, connectors("second\n").collect());
    let head = simulator.commit(REPOSITORY, "all", change).await?;
    let pull = OpenPull::new("all", "main", AUTHOR, "Change all connectors");
    simulator.open_pull_request(REPOSITORY, pull).await?;
    Ok(head)
}
