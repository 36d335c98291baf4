//! Pipelines to measure with: run by the product and, container by container, by hand. Times come
//! from what the steps themselves print, or from whoever started the whole; never from the product.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::server::{bare, binary};

/// What the reference pipelines run in; `scripts/images` makes it.
pub(crate) const IMAGE: &str = "checkvalve-test/busybox:1";
/// Steps at once, of both runners: more than a pipeline here can use by itself.
pub(crate) const SLOTS: usize = 8;

/// One step, as the product's own `plan --json` has it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// `<connector>/<step>`.
    pub(crate) id: String,
    pub(crate) connector: String,
    pub(crate) root: String,
    pub(crate) needs: Vec<String>,
    /// The step whose file system it inherits.
    pub(crate) from: Option<String>,
    pub(crate) image: String,
    pub(crate) script: String,
}

/// Eight steps that only sleep, as a connector's: together 4.0 s, their critical path (install, unit,
/// build, acceptance, report) 2.5 s.
pub(crate) const REFERENCE: &[(&str, f64, &[&str])] = &[
    ("qa", 0.3, &[]),
    ("format", 0.2, &[]),
    ("install", 0.5, &[]),
    ("unit", 0.6, &["install"]),
    ("integration", 1.0, &["unit"]),
    ("build", 0.4, &["unit"]),
    ("acceptance", 0.8, &["build"]),
    ("report", 0.2, &["qa", "format", "integration", "acceptance"]),
];

/// A repository of connectors that have one pipeline, in a folder of its own.
#[derive(Debug)]
pub(crate) struct Repository {
    folder: TempDir,
    /// Arguments that select what is run.
    select: Vec<String>,
}

/// How long it took.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// From the start of whoever runs it to its end.
    pub(crate) wall: Duration,
    /// When each step began and ended by its own clock, in seconds, in the order of beginning.
    pub(crate) marks: Vec<(String, f64, f64)>,
}

impl Run {
    /// Between the first step's first breath and the last one's last, in milliseconds.
    pub(crate) fn span(&self) -> f64 {
        let begin = self.marks.iter().map(|mark| mark.1).fold(f64::INFINITY, f64::min);
        let end = self.marks.iter().map(|mark| mark.2).fold(f64::NEG_INFINITY, f64::max);
        (end - begin) * 1e3
    }

    /// From each beginning to the next, of steps that follow each other, in milliseconds.
    pub(crate) fn periods(&self) -> impl Iterator<Item = f64> {
        self.marks.iter().zip(self.marks.iter().skip(1)).map(|(a, b)| (b.1 - a.1) * 1e3)
    }
}

/// A repository file up to its steps: a connector is a folder with a `bench.txt`.
pub(crate) const HEAD: &str = "version: 1\npreset: none\nconnectors:\n  - { kind: bench, match: \
                               \"{name}/bench.txt\" }\npipelines:\n  - for: { kind: bench }\n    \
                               steps:\n";

/// One step of it, in a container without network.
pub(crate) fn step_line(id: &str, needs: &str, run: &[&str]) -> String {
    let run: Vec<String> = run.iter().map(|command| format!("\"{command}\"")).collect();
    format!(
        "      - {{ id: {id}, image: \"{IMAGE}\", network: none, needs: [{needs}], run: [{}] }}\n",
        run.join(", ")
    )
}

/// A line of a repository file; one with a step's command gets marks around it.
fn marked(line: &str) -> String {
    match line.split_once("run: ") {
        Some((before, run)) => format!("{before}run: [\"{BEGIN}\", {run}, \"{END}\"]\n"),
        None => format!("{line}\n"),
    }
}

pub(crate) const BEGIN: &str = "echo BEGIN $EPOCHREALTIME";
pub(crate) const END: &str = "echo END $EPOCHREALTIME";

impl Repository {
    /// With a chain of `length` steps that do nothing, each in a container of its own.
    pub(crate) fn chain(length: usize) -> anyhow::Result<Self> {
        let line = |n: usize| {
            let needs = if n == 0 { String::new() } else { format!("step-{:02}", n - 1) };
            step_line(&format!("step-{n:02}"), &needs, &[BEGIN, END])
        };
        Self::with(1, &(0..length).map(line).collect::<String>())
    }

    /// The same chain, each step inheriting from the one before.
    pub(crate) fn heirs(length: usize) -> anyhow::Result<Self> {
        let line = |n: usize| {
            let from = match n {
                0 => format!("image: \"{IMAGE}\""),
                n => format!("from: step-{:02}", n - 1),
            };
            let run = format!("run: [\"{BEGIN}\", \"{END}\"]");
            format!("      - {{ id: step-{n:02}, {from}, network: none, {run} }}\n")
        };
        Self::with(1, &(0..length).map(line).collect::<String>())
    }

    /// So many connectors with [`REFERENCE`].
    pub(crate) fn reference(connectors: usize) -> anyhow::Result<Self> {
        let line = |(id, sleep, needs): &(&str, f64, &[&str])| {
            step_line(id, &needs.join(", "), &[BEGIN, &format!("sleep {sleep}"), END])
        };
        Self::with(connectors, &REFERENCE.iter().map(line).collect::<String>())
    }

    /// The same, where a step inherits from the one that it needs if that is one alone.
    pub(crate) fn inheriting(connectors: usize) -> anyhow::Result<Self> {
        let line = |(id, sleep, needs): &(&str, f64, &[&str])| {
            let base = match needs {
                [parent] => format!("from: {parent}"),
                needs => format!("image: \"{IMAGE}\", needs: [{}]", needs.join(", ")),
            };
            let run = format!("run: [\"{BEGIN}\", \"sleep {sleep}\", \"{END}\"]");
            format!("      - {{ id: {id}, {base}, network: none, {run} }}\n")
        };
        Self::with(connectors, &REFERENCE.iter().map(line).collect::<String>())
    }

    /// So many connectors with these lines below `steps:`.
    pub(crate) fn with(connectors: usize, steps: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
        let work = folder.path().join("work");
        write(&work.join(".github/checkvalve.yml"), &format!("{HEAD}{steps}"))?;
        for n in 0..connectors {
            write(&work.join(format!("unit-{n:02}/bench.txt")), "a connector\n")?;
        }
        Self::committed(folder, &["--all"])
    }

    /// The example repository, its steps made to say when they begin and end.
    pub(crate) fn example(connector: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
        let work = folder.path().join("work");
        copy(&examples()?, &work)?;
        let file = work.join(".github/checkvalve.yml");
        let marked: String = fs::read_to_string(&file)?.lines().map(marked).collect();
        write(&file, &marked)?;
        Self::committed(folder, &["--name", connector])
    }

    fn committed(folder: TempDir, select: &[&str]) -> anyhow::Result<Self> {
        let work = folder.path().join("work");
        git(&work, &["init", "--quiet", "--initial-branch=main"])?;
        git(&work, &["add", "--all"])?;
        let who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"];
        git(&work, &[&who[..], &["commit", "--quiet", "--message=Bench"]].concat())?;
        Ok(Self { folder, select: select.iter().map(|&word| word.to_owned()).collect() })
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn product(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary()?);
        bare(&mut command);
        command
            .args(arguments)
            .args(&self.select)
            .current_dir(self.work())
            .env("CHECKVALVE_STATE_DIR", self.folder.path().join("state"))
            .stdin(Stdio::null());
        Ok(command)
    }

    /// The steps as the product plans them, in its order.
    pub(crate) fn steps(&self) -> anyhow::Result<Vec<Step>> {
        let output = self.product(&["plan", "--json"])?.output()?;
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "checkvalve plan: {}", said());
        let plan: Value = serde_json::from_slice(&output.stdout)?;
        let jobs = plan["jobs"].as_array().context("a plan without jobs")?;
        let steps = jobs.iter().map(Step::parse_all).collect::<Result<Vec<_>, _>>()?;
        Ok(steps.concat())
    }

    /// Through `checkvalve test --executor docker`.
    pub(crate) fn run_product(&self, slots: usize) -> anyhow::Result<Run> {
        let reports = tempfile::tempdir_in(self.folder.path())?;
        let folder = reports.path().display().to_string();
        let mut command = self.product(&["test", "--executor", "docker"])?;
        command.args(["--concurrency", &slots.to_string(), "--no-cache"]);
        command.args(["--report-dir", &folder, "--format", "plain"]);
        let begin = Instant::now();
        let output = command.output()?;
        let wall = begin.elapsed();
        ensure!(
            output.status.success(),
            "checkvalve test: {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let mut logs = Vec::new();
        step_logs(reports.path(), &mut logs)?;
        Ok(Run { wall, marks: in_order(logs)? })
    }

    /// The whole tree.
    pub(crate) fn archive(&self) -> anyhow::Result<Vec<u8>> {
        let output =
            Command::new("git").args(["archive", "HEAD"]).current_dir(self.work()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }
}

impl Step {
    #[cfg(test)]
    pub(crate) fn named(id: &str, needs: &[&str]) -> Self {
        let needs = needs.iter().map(|id| (*id).to_owned()).collect();
        let (connector, root) = (String::new(), String::new());
        let (image, script) = (String::new(), String::new());
        Self { id: id.to_owned(), connector, root, needs, from: None, image, script }
    }

    pub(crate) fn needs(&self) -> impl Iterator<Item = &str> {
        self.needs.iter().map(String::as_str)
    }

    /// Those of one connector.
    fn parse_all(job: &Value) -> anyhow::Result<Vec<Self>> {
        let connector = job["connector"].as_str().context("a job's connector")?;
        let root = job["plan"]["root"].as_str().context("a plan's root")?;
        let steps = job["plan"]["steps"].as_array().context("a plan without steps")?;
        steps.iter().map(|step| Self::parse(connector, root, step)).collect()
    }

    fn parse(connector: &str, root: &str, step: &Value) -> anyhow::Result<Self> {
        let texts = |name: &str| -> Vec<String> {
            let all = step[name].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let text = |name: &str| step[name].as_str().map(str::to_owned).context("a plan's step");
        let within = |id: &str| format!("{connector}/{id}");
        Ok(Self {
            id: within(&text("id")?),
            connector: connector.to_owned(),
            root: root.to_owned(),
            needs: texts("needs").iter().map(|id| within(id)).collect(),
            from: step["from"].as_str().map(within),
            image: text("image")?,
            script: format!("exec 2>&1; {}\n", texts("run").join("\n")),
        })
    }
}

/// The longest way through the steps, in milliseconds, when each takes what it took in this run.
pub(crate) fn critical_path(steps: &[Step], run: &Run) -> f64 {
    let mut until: BTreeMap<&str, f64> = BTreeMap::new();
    for step in steps {
        let mark = run.marks.iter().find(|mark| mark.0 == step.id);
        let own = mark.map_or(f64::NAN, |mark| (mark.2 - mark.1) * 1e3);
        let before = step.needs.iter().filter_map(|id| until.get(id.as_str()));
        until.insert(&step.id, before.copied().fold(0.0, f64::max) + own);
    }
    until.into_values().fold(0.0, f64::max)
}

/// `<connector>/<step>/<attempt>/log.txt` anywhere below.
fn step_logs(folder: &Path, logs: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            step_logs(&path, logs)?;
            continue;
        }
        let mut above = path.ancestors().skip(1).filter_map(|p| p.file_name()?.to_str());
        if path.ends_with("log.txt") && above.next().is_some_and(|a| a.parse::<u32>().is_ok()) {
            let (step, connector) = (above.next(), above.next());
            let id = format!("{}/{}", connector.unwrap_or_default(), step.unwrap_or_default());
            logs.push((id, fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// When each began and ended; all must have.
pub(crate) fn in_order(logs: Vec<(String, String)>) -> anyhow::Result<Vec<(String, f64, f64)>> {
    let mut marks = Vec::new();
    for (id, log) in logs {
        let mark = |word: &str| -> anyhow::Result<f64> {
            let value = log.lines().find_map(|line| line.strip_prefix(word));
            let value = value.with_context(|| format!("{id} printed no {word}: {log}"))?;
            Ok(value.trim().parse()?)
        };
        let (begin, end) = (mark("BEGIN ")?, mark("END ")?);
        marks.push((id, begin, end));
    }
    marks.sort_by(|a, b| a.1.total_cmp(&b.1));
    Ok(marks)
}

/// The example repository of this source tree.
pub(crate) fn examples() -> anyhow::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/connectors");
    folder.canonicalize().context("examples/connectors")
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().context("a file in a folder")?)?;
    Ok(fs::write(path, text)?)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

pub(crate) fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("git").args(arguments).current_dir(folder).output()?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_pipeline_has_the_critical_path_that_it_is_said_to_have() {
        let steps: Vec<Step> =
            REFERENCE.iter().map(|(id, _, needs)| Step::named(id, needs)).collect();
        let marks = REFERENCE.iter().map(|(id, sleep, _)| ((*id).to_owned(), 0.0, *sleep));
        let run = Run { wall: Duration::ZERO, marks: marks.collect() };
        assert!((critical_path(&steps, &run) - 2500.0).abs() < 1e-6);
        assert!((REFERENCE.iter().map(|step| step.1).sum::<f64>() - 4.0).abs() < 1e-9);
    }

    #[test]
    fn marks_are_put_around_commands_and_read_from_logs() {
        assert_eq!(marked("    network: none"), "    network: none\n");
        let line = marked("    run: \"make\"");
        assert_eq!(line, format!("    run: [\"{BEGIN}\", \"make\", \"{END}\"]\n"));
        let log = |text: &str| vec![("a".to_owned(), text.to_owned())];
        let marks = in_order(log("BEGIN 1.5\nhello\nEND 2.25\n")).unwrap();
        assert_eq!(marks, [("a".to_owned(), 1.5, 2.25)]);
        assert!(in_order(log("BEGIN 1.5\n")).is_err(), "a step that was cut off");
    }
}
