//! Pipelines to measure with: run by the product and, container by container, by hand. Times come
//! from what the steps themselves print, or from whoever started the whole; never from the product.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::containers::{self, Container};
use crate::docker::Engine;
use crate::server::{bare, binary};

/// What the reference pipelines run in; `scripts/images` makes it.
pub(crate) const IMAGE: &str = "checkvalve-test/busybox:1";
/// Steps at once, of both runners: more than any pipeline here can use.
const SLOTS: &str = "8";

/// One step, as the product's own `plan --json` has it.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) id: String,
    needs: Vec<String>,
    /// The step whose file system it inherits.
    from: Option<String>,
    image: String,
    script: String,
}

/// Eight steps that only sleep: together 4.0 s, their critical path (deps, unit, image, smoke,
/// summary) 2.5 s.
pub(crate) const REFERENCE: &[(&str, f64, &[&str])] = &[
    ("static", 0.3, &[]),
    ("docs", 0.2, &[]),
    ("deps", 0.4, &[]),
    ("unit", 0.7, &["deps"]),
    ("contract", 1.0, &["unit"]),
    ("image", 0.5, &["unit"]),
    ("smoke", 0.7, &["image"]),
    ("summary", 0.2, &["static", "docs", "contract", "smoke"]),
];

/// A repository of one connector, `unit`, in a folder of its own.
#[derive(Debug)]
pub(crate) struct Repository {
    folder: TempDir,
    connector: String,
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

const BEGIN: &str = "echo BEGIN $EPOCHREALTIME";
const END: &str = "echo END $EPOCHREALTIME";

impl Repository {
    /// With a chain of `length` steps that do nothing, each in a container of its own.
    pub(crate) fn chain(length: usize) -> anyhow::Result<Self> {
        let step = |n: usize| {
            let needs = if n == 0 { String::new() } else { format!("step-{:02}", n - 1) };
            (format!("step-{n:02}"), 0.0, needs)
        };
        Self::of((0..length).map(step))
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
        Self::with(&format!("{HEAD}{}", (0..length).map(line).collect::<String>()))
    }

    /// With [`REFERENCE`].
    pub(crate) fn reference() -> anyhow::Result<Self> {
        let steps = REFERENCE.iter();
        Self::of(steps.map(|(id, sleep, needs)| ((*id).to_owned(), *sleep, needs.join(", "))))
    }

    /// The same, where a step inherits from the one that it needs if that is one alone.
    pub(crate) fn inheriting() -> anyhow::Result<Self> {
        let line = |(id, sleep, needs): &(&str, f64, &[&str])| {
            let base = match needs {
                [parent] => format!("from: {parent}"),
                needs => format!("image: \"{IMAGE}\", needs: [{}]", needs.join(", ")),
            };
            let run = format!("run: [\"{BEGIN}\", \"sleep {sleep}\", \"{END}\"]");
            format!("      - {{ id: {id}, {base}, network: none, {run} }}\n")
        };
        Self::with(&format!("{HEAD}{}", REFERENCE.iter().map(line).collect::<String>()))
    }

    fn of(steps: impl Iterator<Item = (String, f64, String)>) -> anyhow::Result<Self> {
        let mut text = HEAD.to_owned();
        for (id, sleep, needs) in steps {
            let sleep = (sleep > 0.0).then(|| format!("sleep {sleep}"));
            let run: Vec<&str> =
                [Some(BEGIN), sleep.as_deref(), Some(END)].into_iter().flatten().collect();
            text.push_str(&step_line(&id, &needs, &run));
        }
        Self::with(&text)
    }

    fn with(text: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
        write(&folder.path().join("work/.github/checkvalve.yml"), text)?;
        write(&folder.path().join("work/unit/bench.txt"), "a connector\n")?;
        Self::committed(folder, "unit")
    }

    /// The example repository, its steps made to say when they begin and end.
    pub(crate) fn example(connector: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("checkvalve-bench-").tempdir()?;
        let work = folder.path().join("work");
        copy(&examples()?, &work)?;
        let file = work.join(".github/checkvalve.yml");
        let marked: String = fs::read_to_string(&file)?.lines().map(marked).collect();
        write(&file, &marked)?;
        Self::committed(folder, connector)
    }

    fn committed(folder: TempDir, connector: &str) -> anyhow::Result<Self> {
        let work = folder.path().join("work");
        git(&work, &["init", "--quiet", "--initial-branch=main"])?;
        git(&work, &["add", "--all"])?;
        let who = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"];
        git(&work, &[&who[..], &["commit", "--quiet", "--message=Bench"]].concat())?;
        Ok(Self { folder, connector: connector.to_owned() })
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn product(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(binary()?);
        bare(&mut command);
        command
            .args(arguments)
            .args(["--name", &self.connector])
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
        let steps = plan.pointer("/jobs/0/plan/steps").and_then(Value::as_array);
        steps.context("a plan without steps")?.iter().map(Step::parse).collect()
    }

    /// Through `checkvalve test --executor docker`.
    pub(crate) fn run_product(&self) -> anyhow::Result<Run> {
        let reports = tempfile::tempdir_in(self.folder.path())?;
        let folder = reports.path().display().to_string();
        let mut command = self.product(&["test", "--executor", "docker"])?;
        command.args(["--concurrency", SLOTS, "--report-dir", &folder, "--format", "plain"]);
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

    /// The same containers in the same order, by hand. `at_once` false: one after the other.
    pub(crate) fn run_by_hand(
        &self,
        steps: &[Step],
        sandbox: bool,
        at_once: bool,
    ) -> anyhow::Result<Run> {
        let begin = Instant::now();
        let source = containers::source(&self.archive()?)?;
        let mut by_hand =
            ByHand { steps, started: BTreeSet::new(), logs: Vec::new(), bases: BTreeMap::new() };
        let (done, ended) = mpsc::channel();
        let mut images = Vec::new();
        thread::scope(|scope| -> anyhow::Result<()> {
            while by_hand.logs.len() < steps.len() {
                while let Some(step) = by_hand.next(at_once) {
                    let (done, source) = (done.clone(), &source);
                    let base = by_hand.bases.remove(&step.id).unwrap_or(Base::Source);
                    let heirs = by_hand.heirs(step);
                    let (id, container) = (step.id.clone(), self.container(step, sandbox));
                    let errand = Errand { id, container, base, heirs };
                    scope.spawn(move || errand.run(source, &done));
                }
                let (id, log, left) = ended.recv()??;
                images.extend(left.values().filter_map(Base::image));
                by_hand.bases.extend(left);
                by_hand.logs.push((id, log));
            }
            Ok(())
        })?;
        let wall = begin.elapsed();
        images.sort();
        images.dedup();
        let mut engine = Engine::connect()?;
        for image in images {
            engine.remove_image(&image)?;
        }
        Ok(Run { wall, marks: in_order(by_hand.logs)? })
    }

    fn container(&self, step: &Step, sandbox: bool) -> Container {
        let root = self.root();
        let env = [
            ("CI", "true"),
            ("CHECKVALVE_CONNECTOR", &self.connector),
            ("CHECKVALVE_ROOT", &root),
            ("CHECKVALVE_OUT", "/checkvalve/out"),
            ("CHECKVALVE_SECRETS", "/checkvalve/secrets"),
        ];
        Container {
            image: step.image.clone(),
            script: step.script.clone(),
            workdir: format!("/workspace/{root}"),
            env: env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            sandbox,
        }
    }

    fn root(&self) -> String {
        if self.connector == "unit" {
            return self.connector.clone();
        }
        format!("airbyte-integrations/connectors/{}", self.connector)
    }

    /// The whole tree.
    fn archive(&self) -> anyhow::Result<Vec<u8>> {
        let output =
            Command::new("git").args(["archive", "HEAD"]).current_dir(self.work()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }
}

/// What a step begins with.
enum Base {
    Source,
    /// A container that waits for commands.
    Open(String),
    /// What another step left.
    Image(String),
}

impl Base {
    fn image(&self) -> Option<String> {
        match self {
            Self::Image(image) => Some(image.clone()),
            Self::Source | Self::Open(_) => None,
        }
    }
}

/// A step's outcome: its log, and what its heirs begin with.
type Done = mpsc::Sender<anyhow::Result<(String, String, BTreeMap<String, Base>)>>;

/// A step to be carried out.
struct Errand {
    id: String,
    container: Container,
    base: Base,
    heirs: Vec<String>,
}

impl Errand {
    fn run(self, source: &[u8], done: &Done) {
        let Self { id, container, base, heirs } = self;
        let log = Engine::connect()
            .and_then(|mut engine| carry_out(&mut engine, &container, (base, source), heirs));
        // Nobody listens any more once another step has failed.
        let _ = done.send(log.map(|(log, left)| (id, log, left)));
    }
}

/// Runs a step and divides what it leaves: its first heir goes on in its container, the others have
/// an image. What it printed, and what each heir begins with.
fn carry_out(
    engine: &mut Engine,
    container: &Container,
    (base, source): (Base, &[u8]),
    heirs: Vec<String>,
) -> anyhow::Result<(String, BTreeMap<String, Base>)> {
    let id = match (base, heirs.is_empty()) {
        (Base::Source, true) => return Ok((container.run(engine, source)?, BTreeMap::new())),
        (Base::Image(image), true) => {
            let container = Container { image, ..container.clone() };
            return Ok((container.run(engine, &[])?, BTreeMap::new()));
        }
        (Base::Source, false) => container.open(engine, source)?,
        (Base::Image(image), false) => {
            Container { image, ..container.clone() }.open(engine, &[])?
        }
        (Base::Open(id), _) => id,
    };
    let log = container.run_in(engine, &id)?;
    let mut left = BTreeMap::new();
    if heirs.len() > 1 {
        let image = engine.commit(&id)?;
        left.extend(heirs.iter().skip(1).map(|heir| (heir.clone(), Base::Image(image.clone()))));
    }
    match heirs.into_iter().next() {
        Some(first) => drop(left.insert(first, Base::Open(id))),
        None => engine.remove(&id)?,
    }
    Ok((log, left))
}

/// What was started by hand, and what has ended, with its log.
struct ByHand<'a> {
    steps: &'a [Step],
    started: BTreeSet<&'a str>,
    logs: Vec<(String, String)>,
    bases: BTreeMap<String, Base>,
}

impl<'a> ByHand<'a> {
    /// The next step to start, if one may be.
    fn next(&mut self, at_once: bool) -> Option<&'a Step> {
        if !at_once && self.started.len() > self.logs.len() {
            return None;
        }
        let ended = |id: &String| self.logs.iter().any(|(other, _)| other == id);
        let ready =
            |step: &&Step| !self.started.contains(step.id.as_str()) && step.needs.iter().all(ended);
        let step = self.steps.iter().find(ready)?;
        self.started.insert(&step.id);
        Some(step)
    }

    /// Who inherits from a step, the one that most others wait for first.
    fn heirs(&self, step: &Step) -> Vec<String> {
        let heirs = self.steps.iter().filter(|heir| heir.from.as_ref() == Some(&step.id));
        let mut heirs: Vec<&Step> = heirs.collect();
        heirs.sort_by_key(|heir| std::cmp::Reverse(self.behind(&heir.id)));
        heirs.into_iter().map(|heir| heir.id.clone()).collect()
    }

    /// How many steps come after it at most, one after the other.
    fn behind(&self, id: &str) -> usize {
        let after = self.steps.iter().filter(|step| step.needs().any(|need| need == id));
        after.map(|step| 1 + self.behind(&step.id)).max().unwrap_or(0)
    }
}

impl Step {
    pub(crate) fn needs(&self) -> impl Iterator<Item = &str> {
        self.needs.iter().map(String::as_str)
    }

    fn parse(step: &Value) -> anyhow::Result<Self> {
        let texts = |name: &str| -> Vec<String> {
            let all = step[name].as_array().into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let text = |name: &str| step[name].as_str().map(str::to_owned).context("a plan's step");
        Ok(Self {
            id: text("id")?,
            needs: texts("needs"),
            from: step["from"].as_str().map(str::to_owned),
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

/// `<step>/<attempt>/log.txt` anywhere below.
fn step_logs(folder: &Path, logs: &mut Vec<(String, String)>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            step_logs(&path, logs)?;
            continue;
        }
        let mut above = path.ancestors().skip(1).filter_map(|p| p.file_name()?.to_str());
        if path.ends_with("log.txt") && above.next().is_some_and(|a| a.parse::<u32>().is_ok()) {
            let step = above.next().unwrap_or_default().to_owned();
            logs.push((step, fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// When each began and ended; all must have.
fn in_order(logs: Vec<(String, String)>) -> anyhow::Result<Vec<(String, f64, f64)>> {
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

    fn step(id: &str, needs: &[&str]) -> Step {
        let needs = needs.iter().map(|id| (*id).to_owned()).collect();
        let (image, script) = (String::new(), String::new());
        Step { id: id.to_owned(), needs, from: None, image, script }
    }

    #[test]
    fn the_reference_pipeline_has_the_critical_path_that_it_is_said_to_have() {
        let steps: Vec<Step> = REFERENCE.iter().map(|(id, _, needs)| step(id, needs)).collect();
        let marks = REFERENCE.iter().map(|(id, sleep, _)| ((*id).to_owned(), 0.0, *sleep));
        let run = Run { wall: Duration::ZERO, marks: marks.collect() };
        assert!((critical_path(&steps, &run) - 2500.0).abs() < 1e-6);
        assert!((REFERENCE.iter().map(|step| step.1).sum::<f64>() - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_step_starts_when_all_that_it_needs_has_ended() {
        let steps = [step("a", &[]), step("b", &["a"]), step("c", &[])];
        let (started, logs, bases) = (BTreeSet::new(), Vec::new(), BTreeMap::new());
        let mut by_hand = ByHand { steps: &steps, started, logs, bases };
        let next = |by_hand: &mut ByHand<'_>, at_once| {
            by_hand.next(at_once).map(|step| step.id.clone()).unwrap_or_default()
        };
        assert_eq!(next(&mut by_hand, false), "a");
        assert_eq!(next(&mut by_hand, false), "", "one after the other");
        assert_eq!(next(&mut by_hand, true), "c");
        assert_eq!(next(&mut by_hand, true), "", "b still needs a");
        by_hand.logs.push(("a".to_owned(), String::new()));
        assert_eq!(next(&mut by_hand, true), "b");
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
