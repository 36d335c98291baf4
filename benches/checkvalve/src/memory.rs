//! Resident memory: idle after the start, under a flood of deliveries, and with many jobs at work.

use std::thread;
use std::time::Duration;

use anyhow::ensure;

use crate::floors::Floor;
use crate::load;
use crate::many::Many;
use crate::payload;
use crate::pipelines::step_line;
use crate::postgres::Postgres;
use crate::process::Memory;
use crate::server::{GitHub, Options, Server};
use crate::table::{self, Table};

const FLOOD: Duration = Duration::from_secs(5);
const FEW: usize = 8;
const MANY: usize = 50;
const STEPS: usize = 4;

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
    let own = format!("sqlite:{}", folder.path().join("floor.db").display());
    let (bare, _) = Floor::committing(&own).start()?;
    thread::sleep(Duration::from_secs(2));
    row("floor: axum and SQLite, idle", bare.memory()?);
    drop(bare);
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
    let mut loaded = Vec::new();
    for (count, slots) in [(FEW, FEW), (MANY, 16)] {
        let name = format!("SQLite: after {count} jobs of {STEPS} containers, {slots} at once");
        let state = folder.path().join(format!("jobs-{count}"));
        loaded.push((count, row(&name, jobs(&github, &state, (count, slots))?)));
    }
    table::title("Resident memory");
    table.print();
    for (name, memory) in idle {
        let resident = memory.resident;
        table::aim(&format!("{name}: idle {resident:.1} MiB (aim: at most 20)"), resident <= 20.0);
    }
    for (count, memory) in loaded {
        let peak = memory.peak;
        table::aim(&format!("{count} jobs: peak {peak:.1} MiB (aim: at most 50)"), peak <= 50.0);
    }
    Ok(())
}

/// The most resident while so many jobs of [`STEPS`] containers are at work at once.
fn jobs(
    github: &GitHub,
    state: &std::path::Path,
    (jobs, slots): (usize, usize),
) -> anyhow::Result<Memory> {
    let repository = if jobs == FEW { "acme/few" } else { "acme/many" };
    // A step prints 20,000 lines: about 1 MB.
    let print = "seq 20000 | sed 's/^/a line of output that says nothing in particular /'";
    let line = |step| step_line(&format!("step-{step}"), "", &[print]);
    let many = Many::prepare(github, repository, jobs, &(0..STEPS).map(line).collect::<String>())?;
    let options = Options {
        repositories: repository,
        workers: jobs,
        database: None,
        more: vec![("CHECKVALVE_SLOTS", slots.to_string())],
    };
    let mut server = Server::start(github, state, &options)?;
    let (head, _) = many.change_all(&server, "all")?;
    many.succeeded(&mut server, &head, Duration::from_mins(10))?;
    server.wait_for(Duration::from_mins(10), |server| {
        thread::sleep(Duration::from_millis(50));
        server.is_idle()
    })?;
    let checks = github.simulator.latest_check_runs(repository, &head);
    ensure!(checks.len() == jobs * STEPS + 1, "{} check runs", checks.len());
    for check in checks {
        let conclusion = check.conclusion.as_deref();
        ensure!(conclusion == Some("success"), "{}: {conclusion:?}", check.name);
    }
    let memory = server.process.memory()?;
    ensure!(server.process.terminate()?.success(), "the server did not end well");
    Ok(memory)
}
