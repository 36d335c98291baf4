//! Tells people at a terminal, logs of build servers and scripts what happens, each in its own
//! way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde_json::json;

use super::test::{LocalDone, LocalResult, Verdict};
use crate::ambient;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::plan::Plan;
use crate::domain::run::StepRecord;
use crate::domain::state::{Conclusion, Outcome, SkipReason, StepState};
use crate::domain::time::{Timestamp, human};

/// How many lines of a failed step's log are shown at the end.
const TAIL_LINES: usize = 30;
/// How many failed tests of a step are named.
const TESTS: usize = 20;

/// In which way to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Live, for people
    Human,
    /// A line for each event
    Plain,
    /// A JSON object for each event
    Json,
}

impl Format {
    /// What suits standard output.
    pub fn of_stdout() -> Self {
        if io::stdout().is_terminal() && io::stderr().is_terminal() {
            Self::Human
        } else {
            Self::Plain
        }
    }
}

/// Where it is told.
pub struct Terminal {
    format: Format,
    out: Mutex<Box<dyn Write + Send>>,
    bars: MultiProgress,
    lines: Mutex<BTreeMap<ConnectorName, Line>>,
    /// Are colours welcome?
    colours: bool,
}

/// The live line of a connector.
struct Line {
    bar: ProgressBar,
    running: Running,
}

/// The steps that run, and since when.
type Running = Arc<Mutex<BTreeMap<StepId, Timestamp>>>;

impl Terminal {
    /// Standard output, in a given way or in the one that suits it.
    pub fn stdout(format: Option<Format>) -> Self {
        let format = format.unwrap_or_else(Format::of_stdout);
        let colours = io::stdout().is_terminal() && ambient::env("NO_COLOR").is_none();
        Self { colours, ..Self::new(format, Box::new(io::stdout())) }
    }

    /// Anything that takes text.
    pub fn new(format: Format, out: Box<dyn Write + Send>) -> Self {
        Self {
            format,
            out: Mutex::new(out),
            bars: MultiProgress::new(),
            lines: Mutex::new(BTreeMap::new()),
            colours: false,
        }
    }

    /// Something for people, beside the events.
    pub fn say(&self, text: &str) {
        match self.format {
            Format::Json => self.event(&json!({"type": "message", "text": text})),
            Format::Human | Format::Plain => self.line(text),
        }
    }

    pub(super) fn begin(&self, connectors: usize) {
        match (self.format, connectors) {
            (Format::Json, _) => self.event(&json!({"type": "begin", "connectors": connectors})),
            (_, 0) => self.line("nothing to run"),
            (_, n) => self.line(&format!("{} to test", counted(n, "connector"))),
        }
    }

    /// A connector's turn has come.
    pub(super) fn connector(&self, plan: &Plan) {
        let name = plan.connector();
        match self.format {
            Format::Json => self.event(&json!({
                "type": "connector", "connector": name, "state": "running", "conclusion": null,
            })),
            Format::Plain => {}
            Format::Human => {
                let running = Running::default();
                let bar = self.bars.add(ProgressBar::new_spinner());
                bar.set_style(style(running.clone()));
                bar.set_prefix(name.to_string());
                bar.enable_steady_tick(Duration::from_millis(250));
                lock(&self.lines).insert(name.clone(), Line { bar, running });
            }
        }
    }

    /// A step changed.
    pub(super) fn step(&self, connector: &ConnectorName, step: &StepRecord) {
        match self.format {
            Format::Json => self.event(&step_event(connector, step)),
            Format::Plain => {
                let (id, how) = (&step.id, described(step));
                self.line(&format!("{connector} / {id}: {how}"));
            }
            Format::Human => {
                let lines = lock(&self.lines);
                let Some(line) = lines.get(connector) else { return };
                let mut running = lock(&line.running);
                if let StepState::Running { started_at } = step.state {
                    running.insert(step.id.clone(), started_at);
                } else {
                    running.remove(&step.id);
                }
            }
        }
    }

    pub(super) fn connector_done(&self, done: &LocalDone) {
        let name = done.plan.connector();
        if self.format == Format::Json {
            self.event(&json!({
                "type": "connector", "connector": name, "state": "concluded",
                "conclusion": done.conclusion,
                "duration": done.finished_at.since(done.started_at).as_secs_f64(),
            }));
            return;
        }
        if let Some(line) = lock(&self.lines).remove(name) {
            line.bar.finish_and_clear();
            self.bars.remove(&line.bar);
        }
        self.line(&self.outcome_line(done));
    }

    fn outcome_line(&self, done: &LocalDone) -> String {
        let name = done.plan.connector();
        let took = human(done.finished_at.since(done.started_at));
        let ran = done.steps.iter().filter(|step| step.state.outcome().is_some()).count();
        let bad: Vec<String> = failed(done).map(|step| step.id.to_string()).collect();
        match done.conclusion {
            Conclusion::Success => {
                let mark = self.coloured("32", "✓");
                format!("{mark} {name}: passed · {} · {took}", counted(ran, "step"))
            }
            Conclusion::Cancelled => {
                format!("{} {name}: cancelled · {took}", self.coloured("33", "-"))
            }
            Conclusion::Failure | Conclusion::ActionRequired => {
                let mark = self.coloured("31", "✗");
                let place = if bad.is_empty() { "" } else { " at " };
                format!("{mark} {name}: failed{place}{} · {took}", bad.join(", "))
            }
        }
    }

    /// Everything has ended: what failed and why, then the verdict.
    pub(super) fn end(&self, result: &LocalResult, took: Duration, reports: Option<&Path>) {
        if self.format == Format::Json {
            self.event(&summary_event(result, took));
            return;
        }
        for job in &result.jobs {
            for step in failed(job) {
                self.line(&failure(job.plan.connector(), step));
            }
        }
        let count =
            |conclusion| result.jobs.iter().filter(move |job| job.conclusion == conclusion).count();
        let passed = count(Conclusion::Success);
        let failed = count(Conclusion::Failure);
        let cancelled = count(Conclusion::Cancelled);
        let mut text = match result.verdict {
            Verdict::Passed => self.coloured("32", "passed"),
            Verdict::Failed => self.coloured("31", "failed"),
            Verdict::CouldNotRun => self.coloured("31", "could not run"),
            Verdict::Interrupted => self.coloured("33", "interrupted"),
        };
        let _ = write!(text, ": {passed} of {} passed", counted(result.jobs.len(), "connector"));
        for (count, what) in [(failed, "failed"), (cancelled, "cancelled")] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        let _ = write!(text, " · {}", human(took));
        if let Some(folder) = reports {
            let _ = write!(text, "\nlogs: {}", folder.display());
        }
        self.line(&text);
    }

    fn coloured(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn event(&self, event: &serde_json::Value) {
        self.line(&event.to_string());
    }

    /// Writes a line above the live ones. Nobody to read it (a closed pipe) is no reason to stop
    /// testing.
    fn line(&self, text: &str) {
        let write = || {
            let mut out = lock(&self.out);
            let _ = writeln!(out, "{text}").and_then(|()| out.flush());
        };
        if self.format == Format::Human { self.bars.suspend(write) } else { write() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connector's name and the steps that run, each with its age.
fn style(running: Running) -> ProgressStyle {
    let steps = move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
        let now = ambient::now();
        let running = lock(&running);
        let steps: Vec<String> = running
            .iter()
            .map(|(step, since)| format!("{step} {}", age(now.since(*since))))
            .collect();
        let _ = to.write_str(if steps.is_empty() { "waiting for a slot" } else { "" });
        let _ = to.write_str(&steps.join(", "));
    };
    let style = ProgressStyle::with_template("{spinner} {prefix}: {steps}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner()).with_key("steps", steps)
}

/// Whole seconds: tenths would flicker.
fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds} s") } else { human(duration) }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Steps that stand in the way of green, or would if they counted.
fn failed(job: &LocalDone) -> impl Iterator<Item = &StepRecord> {
    job.steps.iter().filter(|step| match step.state.outcome() {
        Some(Outcome::Failed | Outcome::TimedOut | Outcome::Errored) => true,
        Some(Outcome::Succeeded | Outcome::Cancelled) | None => false,
    })
}

/// A step's state in words.
fn described(step: &StepRecord) -> String {
    let reason = step.facts.reason.as_deref();
    let because = reason.map_or(String::new(), |reason| format!(": {reason}"));
    match &step.state {
        StepState::Waiting if step.attempt > 1 => reason.unwrap_or("waiting").to_owned(),
        StepState::Waiting => "waiting".to_owned(),
        StepState::Running { .. } if step.attempt > 1 => format!("running, try {}", step.attempt),
        StepState::Running { .. } => "running".to_owned(),
        StepState::Skipped { reason: SkipReason::NotAsked, .. } => "not asked for".to_owned(),
        StepState::Skipped { reason, .. } => reason.to_string(),
        StepState::Finished { started_at, finished_at, outcome } => {
            let took = human(finished_at.since(*started_at));
            let code = step.facts.exit_code.filter(|code| *code != 0);
            let code = code.map_or(String::new(), |code| format!(" (exit {code})"));
            let how = match outcome {
                Outcome::Succeeded => "passed",
                Outcome::Failed => "failed",
                Outcome::TimedOut => "timed out",
                Outcome::Errored => "could not run",
                Outcome::Cancelled => "cancelled",
            };
            format!("{how}{code} after {took}{because}")
        }
    }
}

/// A failed step for the end: its failed tests, then the end of its log.
fn failure(connector: &ConnectorName, step: &StepRecord) -> String {
    let mut text = format!("\n== {connector} / {}: {}", step.id, described(step));
    if let Some(tests) = &step.facts.tests {
        let all = tests.passed + tests.failed + tests.skipped;
        let _ = write!(text, "\n   {} of {all} tests failed", tests.failed);
        for test in tests.failures.iter().take(TESTS) {
            let message = test.message.lines().next().unwrap_or_default();
            let _ = write!(text, "\n   - {}: {message}", test.name);
        }
        if tests.failures.len() > TESTS {
            let _ = write!(text, "\n   … and {} more", tests.failures.len() - TESTS);
        }
    }
    for line in tail(&step.facts.excerpt) {
        let _ = write!(text, "\n   | {line}");
    }
    text
}

/// The last lines, of each what a terminal would show after its carriage returns.
fn tail(excerpt: &str) -> Vec<&str> {
    let lines: Vec<&str> = excerpt
        .lines()
        .map(|line| line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default())
        .collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec()
}

fn step_event(connector: &ConnectorName, step: &StepRecord) -> serde_json::Value {
    let mut event = step_json(step);
    event["type"] = json!("step");
    event["connector"] = json!(connector);
    event["step"] = event["id"].take();
    if let Some(object) = event.as_object_mut() {
        object.remove("id");
    }
    event
}

/// A step with the field names of the API (design §6.3).
fn step_json(step: &StepRecord) -> serde_json::Value {
    let (started_at, finished_at) = match &step.state {
        StepState::Running { started_at } => (Some(started_at), None),
        StepState::Finished { started_at, finished_at, .. } => {
            (Some(started_at), Some(finished_at))
        }
        StepState::Waiting | StepState::Skipped { .. } => (None, None),
    };
    json!({
        "id": step.id,
        "state": step.state.as_str(),
        "outcome": step.state.outcome(),
        "reason": step.facts.reason,
        "exit_code": step.facts.exit_code,
        "attempt": step.attempt,
        "queued_at": step.queued_at,
        "started_at": started_at,
        "finished_at": finished_at,
        "tests": step.facts.tests,
        "artifacts": step.facts.artifacts,
    })
}

fn summary_event(result: &LocalResult, took: Duration) -> serde_json::Value {
    let connectors: Vec<_> = result
        .jobs
        .iter()
        .map(|job| {
            json!({
                "name": job.plan.connector(),
                "conclusion": job.conclusion,
                "duration": job.finished_at.since(job.started_at).as_secs_f64(),
                "steps": job.steps.iter().map(step_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "type": "summary",
        "run": result.run,
        "verdict": result.verdict.as_str(),
        "exit_status": result.verdict.status(),
        "duration": took.as_secs_f64(),
        "connectors": connectors,
    })
}
