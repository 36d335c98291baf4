//! From exec to the first accepted event: with a database that has to be made, and with one that is
//! there.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::floors::Floor;
use crate::http;
use crate::intake::count;
use crate::load::Request;
use crate::payload::{self, Signed};
use crate::server::{GitHub, Options, Server, binary};
use crate::stats::Samples;
use crate::table::{self, Table};

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let github = GitHub::start()?;
    let signed = payload::pull_request();
    let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
    let kept = folder.path().join("kept");
    // Makes the database that is there from then on.
    product(&github, &kept, &signed)?;
    let (mut version, mut floor, mut absent, mut present) =
        (Samples::default(), Samples::default(), Samples::default(), Samples::default());
    for round in 0..rounds {
        version.push(execute()?);
        floor.push(bare(&folder.path().join(format!("{round}.db")), &signed)?);
        absent.push(product(&github, &folder.path().join(format!("state-{round}")), &signed)?);
        present.push(product(&github, &kept, &signed)?);
    }
    table::title("Cold start: from exec to the first accepted event");
    let mut table = Table::new(&["what", "p50 ms", "worst ms"]);
    for (name, samples) in [
        ("checkvalve --version, to its end", &version),
        ("floor: axum and SQLite, database absent", &floor),
        ("checkvalve serve, database absent", &absent),
        ("checkvalve serve, database present", &present),
    ] {
        let figures = [samples.median(), samples.quantile(1.0)];
        table.row(name, figures.map(|figure| format!("{figure:.0}")));
    }
    table.print();
    for (name, samples) in [("absent", &absent), ("present", &present)] {
        let median = samples.median();
        table::aim(&format!("database {name}: {median:.0} ms (aim: at most 300)"), median <= 300.0);
    }
    let accepted = github
        .runtime
        .block_on(count(&format!("sqlite:{}", kept.join("checkvalve.db").display())))?;
    ensure!(
        usize::try_from(accepted)? == rounds + 1,
        "{accepted} events are in the database that was kept, and {} were accepted",
        rounds + 1
    );
    Ok(())
}

fn execute() -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let status = Command::new(binary()?).arg("--version").stdout(Stdio::null()).status()?;
    ensure!(status.success(), "checkvalve --version: {status}");
    Ok(begin.elapsed())
}

fn bare(database: &Path, signed: &Signed) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let floor = Floor::committing(&format!("sqlite:{}", database.display()));
    let (_process, address) = floor.start()?;
    let answer = http::send(address, Request::new(address, "pull_request", signed).fresh())?;
    ensure!(answer.status == 202, "the floor answered {}", answer.status);
    Ok(begin.elapsed())
}

fn product(github: &GitHub, state: &Path, signed: &Signed) -> anyhow::Result<Duration> {
    let mut server = Server::spawn(github, state, &Options::recording())?;
    let mut request = Request::new(server.address, "pull_request", signed);
    // Refused connections and "not yet" are waited out.
    server.wait(|server| {
        Ok(http::send(server.address, request.fresh()).is_ok_and(|answer| answer.status == 202))
    })?;
    let taken = server.begun.elapsed();
    // Killed on the spot: the next start finds what a crash leaves.
    drop(server);
    Ok(taken)
}
