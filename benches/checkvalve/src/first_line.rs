//! From the webhook to the first line of a step: beside a container that is made and started by hand,
//! at once, with the same tree and limits.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::containers::{self, Container};
use crate::docker::Engine;
use crate::http;
use crate::many::Many;
use crate::pipelines::{BEGIN, IMAGE, Repository};
use crate::server::{GitHub, Options, Server};
use crate::stats::{Samples, wall_clock};
use crate::table::{self, Table};

const REPOSITORY: &str = "acme/line";
/// Those before the others fill caches and open connections.
const WARM_UP: usize = 2;
/// What was written to GitHub is earned again.
const EARNED: Duration = Duration::from_secs(5);

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let github = GitHub::start()?;
    let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
    let step = |more: &str| {
        format!(
            "      - {{ id: say, image: \"{IMAGE}\", network: none{more}, run: [\"{BEGIN}\"] }}\n"
        )
    };
    // Nothing of it is reused: every round begins a container.
    let many = Many::prepare(&github, REPOSITORY, 1, &step(", cache: never"))?;
    let options = Options {
        repositories: REPOSITORY,
        workers: 2,
        database: None,
        more: vec![("CHECKVALVE_EXECUTOR", "docker".to_owned())],
    };
    let mut server = Server::start(&github, &folder.path().join("state"), &options)?;
    let source = containers::source(&Repository::with(1, &step(""))?.archive()?)?;
    let (mut floor, mut product) = (Samples::default(), Samples::default());
    for round in 0..rounds + WARM_UP {
        let by_hand = by_hand(&source)?;
        let (head, posted) = many.change_all(&server, &format!("change-{round}"))?;
        let posted = wall_clock() - i64::try_from(posted.elapsed().as_micros())?;
        let run = many.succeeded(&mut server, &head, Duration::from_mins(1))?;
        let path = format!("/api/v1/runs/{run}/connectors/connector-00/steps/say/log");
        let log = http::get(server.address, &path)?;
        let said = said(&String::from_utf8_lossy(&log.body))?;
        if round >= WARM_UP {
            floor.push(by_hand);
            product.push(Duration::from_micros(u64::try_from(said - posted)?));
        }
        server.wait_for(Duration::from_mins(1), Server::is_idle)?;
        std::thread::sleep(EARNED);
    }
    table::title("From the webhook to the step's own first line");
    let mut table = Table::new(&["who", "p50 ms", "worst ms", "x floor"]);
    let mut row = |name: &str, samples: &Samples| {
        let (median, worst) = (samples.median(), samples.quantile(1.0));
        let times = format!("{:.2}", median / floor.median());
        table.row(name, [format!("{median:.0}"), format!("{worst:.0}"), times]);
    };
    row("floor: create, upload and start by hand", &floor);
    row("checkvalve: from the delivery on", &product);
    table.print();
    let ratio = product.median() / floor.median();
    table::aim(&format!("{ratio:.2} of its floor (aim: at most 1.25)"), ratio <= 1.25);
    Ok(())
}

/// From the wish to the first line, with nothing in between.
fn by_hand(source: &[u8]) -> anyhow::Result<Duration> {
    let container = Container {
        image: IMAGE.to_owned(),
        script: BEGIN.to_owned(),
        workdir: "/workspace".to_owned(),
        env: BTreeMap::new(),
        sandbox: true,
    };
    let begun = wall_clock();
    let log = container.run(&mut Engine::connect()?, source)?;
    Ok(Duration::from_micros(u64::try_from(said(&log)? - begun)?))
}

/// When the step spoke, in microseconds, by the clock that it shares with us.
fn said(log: &str) -> anyhow::Result<i64> {
    let mark = log.lines().find_map(|line| line.strip_prefix("BEGIN "));
    let mark = mark.with_context(|| format!("no mark in: {log}"))?.trim();
    let (seconds, micros) = mark.split_once('.').context("a time without a fraction")?;
    ensure!(micros.len() == 6, "a time of other digits: {mark}");
    Ok(seconds.parse::<i64>()? * 1_000_000 + micros.parse::<i64>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_time_in_microseconds() {
        assert_eq!(said("hello\nBEGIN 12.000345\n").unwrap(), 12_000_345);
        assert!(said("BEGIN 12.5\n").is_err() && said("").is_err());
    }
}
