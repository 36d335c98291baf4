//! When nothing has changed: from the webhook to all verdicts, without a container.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;

use crate::http;
use crate::many::Many;
use crate::pipelines::{REFERENCE, step_line};
use crate::server::{GitHub, Options, Server};
use crate::stats::{Samples, figure, wall_clock};
use crate::table::{self, Table};

const CONNECTORS: usize = 50;
const REPOSITORY: &str = "acme/unchanged";

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let github = GitHub::start()?;
    let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
    let steps: String = REFERENCE
        .iter()
        .map(|(id, _, needs)| step_line(id, &needs.join(", "), &["echo $CHECKVALVE_CONNECTOR"]))
        .collect();
    let many = Many::prepare(&github, REPOSITORY, CONNECTORS, &steps)?;
    let options = Options {
        repositories: REPOSITORY,
        workers: CONNECTORS,
        database: None,
        more: vec![("CHECKVALVE_SLOTS", "16".to_owned())],
    };
    let mut server = Server::start(&github, &folder.path().join("state"), &options)?;
    let (head, posted) = many.change_all(&server, "first")?;
    many.succeeded(&mut server, &head, Duration::from_mins(10))?;
    let first = posted.elapsed();
    quiet(&mut server)?;
    let (mut verdicts, mut told) = (Samples::default(), Samples::default());
    let since = seconds() + 1;
    std::thread::sleep(Duration::from_secs(1));
    for round in 0..rounds {
        let (head, posted) = many.change_all(&server, &format!("again-{round}"))?;
        let run = many.succeeded(&mut server, &head, Duration::from_mins(2))?;
        verdicts.push(posted.elapsed());
        quiet(&mut server)?;
        told.push(posted.elapsed());
        all_reused(&server, &run)?;
    }
    let started = started(since)?;
    ensure!(started == 0, "{started} containers were started");
    table::title("50 connectors of 8 steps, nothing changed");
    let mut table = Table::new(&["from the webhook until", "p50 ms", "worst ms", "ms a step"]);
    let all = figure(CONNECTORS * REFERENCE.len());
    let mut row = |name: &str, samples: &Samples| {
        let (median, worst) = (samples.median(), samples.quantile(1.0));
        let figures =
            [format!("{median:.0}"), format!("{worst:.0}"), format!("{:.2}", median / all)];
        table.row(name, figures);
    };
    let mut once = Samples::default();
    once.push(first);
    row("all verdicts, everything run", &once);
    row("all verdicts, everything reused", &verdicts);
    row("the same, and everything told to GitHub", &told);
    table.print();
    let median = verdicts.median();
    table::aim(&format!("all verdicts after {median:.0} ms (aim: at most 500)"), median <= 500.0);
    Ok(())
}

/// Until nothing is left to be said to GitHub.
fn quiet(server: &mut Server) -> anyhow::Result<()> {
    server.wait_for(Duration::from_mins(10), |server| {
        std::thread::sleep(Duration::from_millis(20));
        server.is_idle()
    })
}

/// Every step of every connector.
fn all_reused(server: &Server, run: &str) -> anyhow::Result<()> {
    let run = http::get_json(server.address, &format!("/api/v1/runs/{run}"))?;
    let connectors = run["connectors"].as_array().into_iter().flatten();
    let steps: Vec<_> = connectors
        .flat_map(|connector| connector["steps"].as_array().into_iter().flatten())
        .collect();
    ensure!(steps.len() == CONNECTORS * REFERENCE.len(), "{} steps", steps.len());
    let other = steps.iter().find(|step| step["cache"]["state"] != "hit");
    ensure!(other.is_none(), "not reused: {other:?}");
    Ok(())
}

/// How many containers were started since then, by the engine's own account.
fn started(since: i64) -> anyhow::Result<usize> {
    let (since, until) = (since.to_string(), seconds().to_string());
    let output = Command::new("docker")
        .args(["events", "--since", &since, "--until", &until])
        .args(["--filter", "event=start", "--format", "{{.ID}}"])
        .output()?;
    ensure!(output.status.success(), "docker events: {}", output.status);
    Ok(String::from_utf8(output.stdout)?.lines().count())
}

fn seconds() -> i64 {
    wall_clock() / 1_000_000
}
