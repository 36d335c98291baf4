//! Which connectors a change affects: `checkvalve affected` beside the same rule in Python with plain
//! git, on a repository made for it and, if `CHECKVALVE_REAL_REPO` names one, on a real clone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::monorepo::{self, Change, Monorepo};
use crate::process::Process;
use crate::server::{bare, binary};
use crate::stats::{Samples, figure};
use crate::table::{self, Table};

/// As many as Airbyte's repository had in 2026.
const CONNECTORS: usize = 678;
const GROWTH: [usize; 3] = [1250, 2500, 5000];
const FLOOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/impact_floor.py");
const REAL: &str = "CHECKVALVE_REAL_REPO";

/// The time and memory of one program.
#[derive(Default)]
struct Figures {
    times: Samples,
    /// MiB.
    most: f64,
}

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
    let made = Monorepo::make(&folder.path().join("made"), CONNECTORS)?;
    let title = format!("{CONNECTORS} connectors, {} files", made.files);
    compare(&title, &made.path, &made.changes(), folder.path(), rounds)?;
    if let Some(real) = std::env::vars_os().find(|(name, _)| name == REAL) {
        let path = PathBuf::from(real.1);
        let title = format!("the clone that {REAL} names");
        compare(&title, &path, &monorepo::real_changes(&path)?, folder.path(), rounds)?;
    }
    growth(folder.path(), rounds)
}

fn compare(
    title: &str,
    repo: &Path,
    changes: &[Change],
    folder: &Path,
    rounds: usize,
) -> anyhow::Result<()> {
    table::title(title);
    let mut table = Table::new(&["change", "files", "p50 ms", "worst ms", "MiB", "× Python"]);
    let mut aims = Vec::new();
    for change in changes {
        let caches = folder.join("caches");
        // The cache is filled now; both say the same.
        agree(repo, change, &caches)?;
        let (mut floor, mut warm, mut cold) =
            (Figures::default(), Figures::default(), Figures::default());
        for round in 0..rounds {
            warm.measure(product(repo, change, &caches)?)?;
            floor.measure(python(repo, change))?;
            if round % 2 == 0 {
                let fresh = tempfile::tempdir_in(folder)?;
                forget(repo)?;
                cold.measure(product(repo, change, fresh.path())?)?;
            }
        }
        let of_floor = floor.times.median();
        let named =
            [("floor: Python and git", &floor), ("warm", &warm), ("cold, not in memory", &cold)];
        for (name, one) in named {
            table.row(&format!("{}, {name}", change.name), one.cells(change.files, of_floor));
        }
        aims.extend(reached(change, &warm, &cold));
    }
    table.print();
    for (text, reached) in aims {
        table::aim(&text, reached);
    }
    Ok(())
}

/// What a change may take, and whether it took less.
fn reached(change: &Change, warm: &Figures, cold: &Figures) -> [(String, bool); 3] {
    let most_warm = if change.files < 1000 { 300.0 } else { 1000.0 };
    let most_cold = 2000.0;
    let mebibytes = warm.most.max(cold.most);
    let name = change.name;
    let aim = |how: &str, took: f64, most: f64| {
        (format!("{name}, {how}: {took:.0} ms (aim: at most {most:.0})"), took <= most)
    };
    [
        aim("warm", warm.times.median(), most_warm),
        aim("cold", cold.times.median(), most_cold),
        (format!("{name}: {mebibytes:.0} MiB resident (aim: at most 200)"), mebibytes <= 200.0),
    ]
}

/// How the time grows with the repository, for a change of two files.
fn growth(folder: &Path, rounds: usize) -> anyhow::Result<()> {
    let caches = folder.join("caches");
    let mut made = Vec::new();
    for connectors in GROWTH {
        let repo = Monorepo::make(&folder.join(connectors.to_string()), connectors)?;
        agree(&repo.path, &repo.changes()[0], &caches)?;
        made.push((connectors, repo, Figures::default(), Figures::default()));
    }
    // In turn, so that what else goes on here meets all of them.
    for _ in 0..rounds {
        for (_, repo, warm, cold) in &mut made {
            let change = &repo.changes()[0];
            warm.measure(product(&repo.path, change, &caches)?)?;
            let fresh = tempfile::tempdir_in(folder)?;
            cold.measure(product(&repo.path, change, fresh.path())?)?;
        }
    }
    table::title("Growth: a change of two files");
    let heads = ["connectors", "files", "warm ms", "per connector µs", "nothing kept ms", "MiB"];
    let mut table = Table::new(&heads);
    let mut costs = Vec::new();
    for (connectors, repo, warm, cold) in &made {
        let each = 1e3 * warm.times.median() / figure(*connectors);
        costs.push(each);
        let figures = [
            repo.files.to_string(),
            format!("{:.0}", warm.times.median()),
            format!("{each:.0}"),
            format!("{:.0}", cold.times.median()),
            format!("{:.0}", warm.most.max(cold.most)),
        ];
        table.row(&connectors.to_string(), figures);
    }
    table.print();
    if let (Some(first), Some(last)) = (costs.first(), costs.last()) {
        let ratio = last / first;
        table::aim(
            &format!(
                "a connector of the largest costs {ratio:.2} of one of the smallest (aim: 1.1)"
            ),
            ratio <= 1.1,
        );
    }
    Ok(())
}

impl Figures {
    fn cells(&self, files: usize, floor: f64) -> [String; 5] {
        let times = &self.times;
        [
            files.to_string(),
            format!("{:.0}", times.median()),
            format!("{:.0}", times.quantile(1.0)),
            format!("{:.0}", self.most),
            format!("{:.2}", times.median() / floor),
        ]
    }

    /// Runs a program to its end, which must be a good one.
    fn measure(&mut self, mut command: Command) -> anyhow::Result<()> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let begin = Instant::now();
        let mut process = Process::spawn(&mut command)?;
        let status = loop {
            if let Ok(memory) = process.memory() {
                self.most = self.most.max(memory.peak);
            }
            if let Some(status) = process.child().try_wait()? {
                break status;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        self.times.push(begin.elapsed());
        ensure!(status.success(), "{command:?}: {status}");
        Ok(())
    }
}

fn product(repo: &Path, change: &Change, caches: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(binary()?);
    bare(&mut command);
    command.arg("--repo").arg(repo).env("XDG_CACHE_HOME", caches);
    command.args(["affected", "--json", "--base", &change.base, "--head", &change.head]);
    if let Some(file) = &change.pipelines {
        command.arg("--pipelines").arg(file);
    }
    Ok(command)
}

fn python(repo: &Path, change: &Change) -> Command {
    let mut command = Command::new("python3");
    command.arg(FLOOR).arg(repo).args([&change.base, &change.head]);
    command
}

/// Both programs name the same connectors.
fn agree(repo: &Path, change: &Change, caches: &Path) -> anyhow::Result<()> {
    let ours = product(repo, change, caches)?.stderr(Stdio::inherit()).output()?;
    ensure!(ours.status.success(), "checkvalve affected: {}", ours.status);
    let answer: serde_json::Value = serde_json::from_slice(&ours.stdout)?;
    let all = answer["connectors"].as_array().context("no connectors")?.iter();
    let mut ours: Vec<&str> = all
        .filter(|one| one["change"] != "removed")
        .filter_map(|one| one["name"].as_str())
        .collect();
    ours.sort_unstable();
    let theirs = python(repo, change).stderr(Stdio::inherit()).output()?;
    ensure!(theirs.status.success(), "the floor: {}", theirs.status);
    let theirs = String::from_utf8(theirs.stdout)?;
    let theirs: Vec<&str> = theirs.split_whitespace().collect();
    let missed = theirs.iter().find(|name| !ours.contains(name));
    ensure!(missed.is_none(), "{}: Checkvalve misses {missed:?}", change.name);
    // Derived dependencies and both sides of renames select more.
    ensure!(
        change.pipelines.is_some() || change.real || ours == theirs,
        "{}: Checkvalve selects {ours:?}, Python {theirs:?}",
        change.name
    );
    Ok(())
}

/// Takes the repository's packs out of the kernel's memory: the next one reads them from the disk.
fn forget(repo: &Path) -> anyhow::Result<()> {
    for place in ["objects/pack", ".git/objects/pack"] {
        let Ok(found) = std::fs::read_dir(repo.join(place)) else { continue };
        for entry in found {
            let file = std::fs::File::open(entry?.path())?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}
