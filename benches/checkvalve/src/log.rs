//! A step that prints a million lines: until all of it is stored and can be read.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::by_hand::{self, How};
use crate::http;
use crate::many::Many;
use crate::pipelines::{BEGIN, END, IMAGE, Repository};
use crate::server::{GitHub, Options, Server};
use crate::stats::{median, wall_clock};
use crate::table::{self, Table};

const LINES: usize = 1_000_000;
/// With its end.
const LINE: usize = 100;
const REPOSITORY: &str = "acme/talkative";
/// Whose steps print a line each: what one run costs, whatever it prints.
const QUIET: &str = "acme/quiet";

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let line =
        "a line of output that says nothing in particular and says it at some length ".repeat(2);
    let line = line.get(..LINE - 1).context("a short line")?;
    let print = format!("yes '{line}' | head -n {LINES}");
    let steps = format!(
        "      - {{ id: print, image: \"{IMAGE}\", network: none, cache: never, run: [\"{BEGIN}\", \
         \"{print}\", \"{END}\"] }}\n"
    );
    let repository = Repository::with(1, &steps)?;
    let plan = repository.steps()?;
    let github = GitHub::start()?;
    let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
    let many = Many::prepare(&github, REPOSITORY, 1, &steps)?;
    let quiet = Many::prepare(&github, QUIET, 1, &steps.replace(&print, "echo one line"))?;
    let options = Options { repositories: "acme/*", workers: 1, database: None, more: Vec::new() };
    let mut server = Server::start(&github, &folder.path().join("state"), &options)?;
    std::thread::sleep(Duration::from_secs(2));
    let idle = server.process.memory()?;
    let (head, _) = quiet.change_all(&server, "one-line")?;
    quiet.succeeded(&mut server, &head, Duration::from_mins(2))?;
    std::thread::sleep(Duration::from_secs(2));
    let before = server.process.memory()?;
    let (mut by_hand, mut product) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let run = by_hand::run(&repository, &plan, How { slots: 1, sandbox: true })?;
        by_hand.push(run.span());
        let (head, _) = many.change_all(&server, &format!("round-{round}"))?;
        let id = many.succeeded(&mut server, &head, Duration::from_mins(2))?;
        let concluded = wall_clock();
        let begin = read(&server, &id, line)?;
        #[expect(clippy::cast_precision_loss, reason = "some seconds in microseconds")]
        product.push((concluded - begin) as f64 / 1e3);
    }
    let memory = server.process.memory()?;
    ensure!(server.process.terminate()?.success(), "the server did not end well");
    report(&by_hand, &product);
    let growth = memory.peak - before.peak;
    table::note(&format!(
        "resident, MiB: {:.1} idle; {:.1} at most in a run that prints a line, {:.1} at most in \
         those that print a million",
        idle.resident, before.peak, memory.peak
    ));
    table::aim(&format!("grew by {growth:.1} MiB (aim: at most 16)"), growth <= 16.0);
    Ok(())
}

fn report(by_hand: &[f64], product: &[f64]) {
    table::title("A million lines of 100 bytes through one step");
    let mut table = Table::new(&["way", "ms", "MB/s", "x floor"]);
    let megabytes = crate::stats::figure(LINES * LINE) / 1e6;
    let floor = megabytes / median(by_hand);
    for (name, times) in [
        ("floor: attached by hand, no log driver, held in memory", by_hand),
        ("checkvalve serve: until the run is concluded and its log stored", product),
    ] {
        let time = median(times);
        let figures = [
            format!("{time:.0}"),
            format!("{:.0}", megabytes / time * 1e3),
            format!("{:.2}", megabytes / time / floor),
        ];
        table.row(name, figures);
    }
    table.print();
    let ratio = megabytes / median(product) / floor;
    table::aim(&format!("{ratio:.2} of the floor's rate (aim: at least 0.6)"), ratio >= 0.6);
}

/// Reads the stored log back, of which no byte may be missing; when the step began, in microseconds.
fn read(server: &Server, run: &str, line: &str) -> anyhow::Result<i64> {
    let path = format!("/api/v1/runs/{run}/connectors/connector-00/steps/print/log");
    let answer = http::get(server.address, &path)?;
    ensure!(answer.status == 200, "the log: {}", answer.status);
    let text = String::from_utf8(answer.body)?;
    let printed = text.lines().filter(|&printed| printed == line).count();
    ensure!(printed == LINES, "{printed} lines of {LINES} are stored");
    let begin = text.lines().find_map(|line| line.strip_prefix("BEGIN "));
    let seconds: f64 = begin.context("no BEGIN")?.trim().parse()?;
    #[expect(clippy::cast_possible_truncation, reason = "microseconds of this century")]
    Ok((seconds * 1e6) as i64)
}
