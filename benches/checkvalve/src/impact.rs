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
        let (mut warm, mut cold, mut floor) =
            (Figures::default(), Figures::default(), Figures::default());
        // Fills the cache, and shows that both say the same.
        agree(repo, change, &caches)?;
        for _ in 0..rounds {
            warm.measure(product(repo, change, &caches)?)?;
            floor.measure(python(repo, change))?;
        }
        for _ in 0..rounds.div_ceil(2) {
            let fresh = tempfile::tempdir_in(folder)?;
            forget(repo)?;
            cold.measure(product(repo, change, fresh.path())?)?;
        }
        for (name, one) in [
            ("floor: Python and git", &floor),
            ("warm", &warm),
            ("cold: nothing kept, not in memory", &cold),
        ] {
            let ratio = one.times.median() / floor.times.median();
            table.row(
                &format!("{}, {name}", change.name),
                [
                    change.files.to_string(),
                    format!("{:.0}", one.times.median()),
                    format!("{:.0}", one.times.quantile(1.0)),
                    format!("{:.0}", one.most),
                    format!("{ratio:.2}"),
                ],
            );
        }
        judge(change, &warm, &cold, &mut aims);
    }
    table.print();
    for (text, reached) in aims {
        table::aim(&text, reached);
    }
    Ok(())
}

/// How the time grows with the repository, for a change of two files.
/// How a change's figures stand against the aims.
fn judge(change: &Change, warm: &Figures, cold: &Figures, aims: &mut Vec<(String, bool)>) {
    let small = change.files < 1000;
    let (warm_aim, cold_aim) = if small { (300.0, 2000.0) } else { (1000.0, 3000.0) };
    let most = warm.most.max(cold.most);
    aims.push((
        format!(
            "{}, warm: {:.0} ms (aim: at most {warm_aim:.0})",
            change.name,
            warm.times.median()
        ),
        warm.times.median() <= warm_aim,
    ));
    aims.push((
        format!(
            "{}, cold: {:.0} ms (aim: at most {cold_aim:.0})",
            change.name,
            cold.times.median()
        ),
        cold.times.median() <= cold_aim,
    ));
    aims.push((
        format!("{}: {most:.0} MiB resident at most (aim: 200)", change.name),
        most <= 200.0,
    ));
}

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
