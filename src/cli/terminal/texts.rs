//! What a terminal is told, in words. What comes out of connectors — names, reasons, tests, logs —
//! is cleaned of whatever would control the terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::test::LocalDone;
use crate::domain::cache::CacheState;
use crate::domain::names::ConnectorName;
use crate::domain::run::StepRecord;
use crate::domain::state::{Conclusion, Outcome, SkipReason, StepState};
use crate::domain::time::human;
use crate::render::log::plain_line;

/// How many lines of a failed step's log are shown at the end.
const TAIL_LINES: usize = 30;
/// How many failed tests of a step are named.
const TESTS: usize = 20;
/// Longer lines are cut: a minified script must not fill the screen.
const LINE_MAX: usize = 500;

/// Colours, if they are welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    pub(super) fn red(self, text: &str) -> String {
        self.coloured("31", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.coloured("32", text)
    }

    pub(super) fn yellow(self, text: &str) -> String {
        self.coloured("33", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.coloured("2", text)
    }

    fn coloured(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// One line without anything that controls a terminal, and not without end.
pub(super) fn clean(line: &str) -> String {
    let plain = plain_line(line);
    match plain.char_indices().nth(LINE_MAX) {
        Some((cut, _)) => format!("{}…", &plain[..cut]),
        None => plain,
    }
}

/// The same of several lines.
pub(super) fn clean_lines(text: &str) -> String {
    text.lines().map(plain_line).collect::<Vec<_>>().join("\n")
}

/// Whole seconds: tenths would flicker.
pub(super) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds} s") } else { human(duration) }
}

pub(super) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// A connector's end on one line.
pub(super) fn outcome_line(done: &LocalDone, paint: Paint) -> String {
    let name = clean(done.plan.connector().as_str());
    let took = human(done.finished_at.since(done.started_at));
    let ran = done.steps.iter().filter(|step| step.state.outcome().is_some()).count();
    let bad: Vec<String> = failed(done).map(|step| clean(step.id.as_str())).collect();
    match done.conclusion {
        Conclusion::Success => {
            let reused = done.steps.iter().filter(|step| is_reused(step)).count();
            let reused =
                if reused == 0 { String::new() } else { format!(", {reused} of them reused") };
            let mark = paint.green("✓");
            format!("{mark} {name}: passed · {}{reused} · {took}", counted(ran, "step"))
        }
        Conclusion::Cancelled => {
            format!("{} {name}: cancelled · {took}", paint.yellow("-"))
        }
        Conclusion::Failure | Conclusion::ActionRequired => {
            let place = if bad.is_empty() { "" } else { " at " };
            format!("{} {name}: failed{place}{} · {took}", paint.red("✗"), bad.join(", "))
        }
    }
}

fn is_reused(step: &StepRecord) -> bool {
    step.facts.cache.as_ref().is_some_and(|cache| cache.state == CacheState::Hit)
}

/// Which of a connector's steps were not run because of an earlier result, and why: a line for
/// each reason.
pub(super) fn reused_lines(done: &LocalDone) -> Vec<String> {
    let mut steps: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for step in done.steps.iter().filter(|step| is_reused(step)) {
        let because = step.facts.cache.as_ref().map_or("", |cache| cache.because.as_str());
        steps.entry(because).or_default().push(clean(step.id.as_str()));
    }
    let line = |(because, steps): (&str, Vec<String>)| {
        format!("  {}: {}", steps.join(", "), clean(because))
    };
    steps.into_iter().map(line).collect()
}

/// Steps that stand in the way of green, or would if they counted.
pub(super) fn failed(job: &LocalDone) -> impl Iterator<Item = &StepRecord> {
    job.steps.iter().filter(|step| match step.state.outcome() {
        Some(Outcome::Failed | Outcome::TimedOut | Outcome::Errored) => true,
        Some(Outcome::Succeeded | Outcome::Cancelled) | None => false,
    })
}

/// A step's state in words.
pub(super) fn described(step: &StepRecord) -> String {
    let reason = step.facts.reason.as_deref().map(clean_reason);
    let because = reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
    match &step.state {
        StepState::Waiting => reason.unwrap_or_else(|| "waiting".to_owned()),
        StepState::Running { .. } if step.attempt > 1 => format!("running, try {}", step.attempt),
        StepState::Running { .. } => format!("running{}", not_reused(step)),
        StepState::Skipped { reason: SkipReason::NotAsked, .. } => "not asked for".to_owned(),
        StepState::Skipped { reason, .. } => clean_reason(&reason.to_string()),
        StepState::Finished { started_at, finished_at, outcome } => {
            let reused = step.facts.cache.as_ref().filter(|cache| cache.state == CacheState::Hit);
            let code = step.facts.exit_code.filter(|code| *code != 0);
            let code = code.map_or(String::new(), |code| format!(" (exit {code})"));
            let how = match outcome {
                Outcome::Succeeded => "passed",
                Outcome::Failed => "failed",
                Outcome::TimedOut => "timed out",
                Outcome::Errored => "could not run",
                Outcome::Cancelled => "cancelled",
            };
            if let Some(cache) = reused {
                return format!("{how}{code}: {}{because}", clean(&cache.because));
            }
            let took = human(finished_at.since(*started_at));
            format!("{how}{code} after {took}{because}")
        }
    }
}

fn clean_reason(reason: &str) -> String {
    clean(&reason.lines().collect::<Vec<_>>().join(" "))
}

/// Why a step runs though there are earlier results.
fn not_reused(step: &StepRecord) -> String {
    let missed = step.facts.cache.as_ref().filter(|cache| cache.state == CacheState::Miss);
    missed.map_or(String::new(), |cache| format!(" ({})", clean(&cache.because)))
}

/// A failed step for the end: its failed tests, then the end of its log.
pub(super) fn failure(connector: &ConnectorName, step: &StepRecord) -> String {
    let (name, id) = (clean(connector.as_str()), clean(step.id.as_str()));
    let mut text = format!("\n== {name} / {id}: {}", described(step));
    if let Some(tests) = &step.facts.tests {
        let all = tests.passed + tests.failed + tests.skipped;
        let _ = write!(text, "\n   {} of {all} tests failed", tests.failed);
        for test in tests.failures.iter().take(TESTS) {
            let message = test.message.lines().next().unwrap_or_default();
            let _ = write!(text, "\n   - {}: {}", clean_reason(&test.name), clean(message));
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
fn tail(excerpt: &str) -> Vec<String> {
    let lines: Vec<&str> = excerpt.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| clean(line)).collect()
}
