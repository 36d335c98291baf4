//! What runs, as a picture of lines: each running connector with its steps, and a count of the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use console::{measure_text_width, truncate_str};

use super::texts::{Paint, age, counted};
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::plan::Plan;
use crate::domain::run::StepRecord;
use crate::domain::state::{Conclusion, Outcome, StepState};
use crate::domain::time::Timestamp;

/// At least so many connectors are shown, however low the terminal is.
const FEWEST: usize = 3;

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// How the moving part looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) paint: Paint,
    pub(super) spinner: &'static str,
}

/// What is known of all connectors of a call.
#[derive(Debug)]
pub(super) struct Board {
    began: Timestamp,
    total: usize,
    /// In the order in which they began.
    running: Vec<Row>,
    done: BTreeMap<ConnectorName, Conclusion>,
    /// It was asked to end.
    pub(super) stopping: bool,
}

#[derive(Debug)]
struct Row {
    connector: ConnectorName,
    since: Timestamp,
    /// In the plan's order.
    steps: Vec<(StepId, StepState)>,
}

impl Board {
    pub(super) fn new(total: usize, began: Timestamp) -> Self {
        Self { began, total, running: Vec::new(), done: BTreeMap::new(), stopping: false }
    }

    /// A connector's turn has come.
    pub(super) fn connector(&mut self, plan: &Plan, since: Timestamp) {
        let steps = plan.steps().iter().map(|spec| (spec.id.clone(), StepState::Waiting));
        let steps = steps.collect();
        self.running.push(Row { connector: plan.connector().clone(), since, steps });
    }

    pub(super) fn step(&mut self, connector: &ConnectorName, step: &StepRecord) {
        let row = self.running.iter_mut().find(|row| row.connector == *connector);
        let steps = row.into_iter().flat_map(|row| &mut row.steps);
        for (_, state) in steps.filter(|(id, _)| *id == step.id) {
            *state = step.state.clone();
        }
    }

    pub(super) fn done(&mut self, connector: &ConnectorName, conclusion: Conclusion) {
        self.running.retain(|row| row.connector != *connector);
        self.done.insert(connector.clone(), conclusion);
    }

    /// The picture: never wider or higher than the terminal, so that nothing of it wraps or scrolls.
    pub(super) fn lines(&self, now: Timestamp, size: Size, look: Look) -> Vec<String> {
        // The last column stays free: some terminals wrap once it is written.
        let width = size.columns.saturating_sub(1).max(1);
        // Half of the screen is for what is told above.
        let most = (size.rows / 2).max(FEWEST).min(size.rows.saturating_sub(2));
        let shown = if self.running.len() > most { most.saturating_sub(1) } else { most };
        let mut lines: Vec<String> =
            self.running.iter().take(shown).map(|row| row.line(now, width, look)).collect();
        let more = self.running.len().saturating_sub(shown);
        if more > 0 && most > 0 {
            lines.push(format!("  … and {more} more"));
        }
        lines.push(self.counts(now, look.paint));
        lines.into_iter().map(|line| truncate_str(&line, width, "…").into_owned()).collect()
    }

    fn counts(&self, now: Timestamp, paint: Paint) -> String {
        let of = |wanted| self.done.values().filter(|done| **done == wanted).count();
        let (done, running) = (self.done.len(), self.running.len());
        let failed = of(Conclusion::Failure) + of(Conclusion::ActionRequired);
        let mut facts = vec![
            age(now.since(self.began)),
            format!("{done} of {} done", counted(self.total, "connector")),
        ];
        if failed > 0 {
            facts.push(paint.red(&format!("{failed} failed")));
        }
        let waiting = self.total.saturating_sub(done + running);
        let parts =
            [(of(Conclusion::Cancelled), "cancelled"), (running, "running"), (waiting, "waiting")];
        facts.extend(parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
        let facts = facts.join(" · ");
        if self.stopping {
            return format!("{} · {facts}", paint.yellow("stopping (Ctrl-C: at once)"));
        }
        facts
    }
}

impl Row {
    /// With every step if that fits; else with those that run.
    fn line(&self, now: Timestamp, width: usize, look: Look) -> String {
        let head = format!("{} {} {}", look.spinner, self.connector, age(now.since(self.since)));
        let all: Vec<String> =
            self.steps.iter().map(|(id, state)| step(id, state, now, look.paint)).collect();
        let whole = format!("{head} · {}", all.join(" "));
        if measure_text_width(&whole) <= width {
            return whole;
        }
        let running: Vec<String> = self
            .steps
            .iter()
            .filter(|(_, state)| matches!(state, StepState::Running { .. }))
            .map(|(id, state)| step(id, state, now, look.paint))
            .collect();
        let settled = self.steps.iter().filter(|(_, state)| state.is_settled()).count();
        let running = if running.is_empty() { "waiting".to_owned() } else { running.join(" ") };
        format!("{head} · {running} · {settled}/{}", self.steps.len())
    }
}

fn step(id: &StepId, state: &StepState, now: Timestamp, paint: Paint) -> String {
    match state {
        StepState::Waiting => paint.dim(&format!("○ {id}")),
        StepState::Running { started_at } => format!("▸ {id} {}", age(now.since(*started_at))),
        StepState::Skipped { .. } => paint.dim(&format!("- {id}")),
        StepState::Finished { outcome: Outcome::Succeeded, .. } => {
            format!("{} {id}", paint.green("✓"))
        }
        StepState::Finished { outcome: Outcome::Cancelled, .. } => {
            format!("{} {id}", paint.yellow("-"))
        }
        StepState::Finished { .. } => format!("{} {id}", paint.red("✗")),
    }
}

/// How long one picture stays.
pub(super) const FRAME: Duration = Duration::from_millis(120);

/// The spinner at a moment; plain characters for consoles that have no others.
pub(super) fn spinner(frame: usize, plain: bool) -> &'static str {
    const DOTS: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
    const PLAIN: [&str; 4] = ["|", "/", "-", "\\"];
    if plain { PLAIN[frame % PLAIN.len()] } else { DOTS[frame % DOTS.len()] }
}
