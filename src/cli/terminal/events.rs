//! One JSON object a line for each event, with the field names of the API (`checkvalve schema
//! events`). Fields are only ever added.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::test::{LocalDone, LocalResult};
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::plan::Plan;
use crate::domain::run::StepRecord;
use crate::domain::state::{Conclusion, RunState};
use crate::render::api::CacheJson;
use crate::render::look;

/// What steps printed and is not told yet: characters of which only the first bytes are there.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<(ConnectorName, StepId), (u32, u64, Vec<u8>)>);

impl Held {
    /// What can be told of a step's log now that this came: its offset and text.
    pub(super) fn take(
        &mut self,
        (connector, step): (&ConnectorName, &StepId),
        attempt: u32,
        offset: u64,
        chunk: &[u8],
    ) -> Option<(u64, String)> {
        let key = (connector.clone(), step.clone());
        let held = self.0.remove(&key).filter(|(of, ..)| *of == attempt);
        let (start, mut bytes) = held.map_or((offset, Vec::new()), |(_, at, bytes)| (at, bytes));
        bytes.extend_from_slice(chunk);
        let whole = match std::str::from_utf8(&bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Ok(_) | Err(_) => bytes.len(),
        };
        let rest = bytes.split_off(whole);
        if !rest.is_empty() {
            self.0.insert(key, (attempt, start + whole as u64, rest));
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        (!text.is_empty()).then_some((start, text))
    }

    /// What is left of a step that has ended: bytes that are no character.
    pub(super) fn rest(
        &mut self,
        connector: &ConnectorName,
        step: &StepId,
    ) -> Option<(u32, u64, String)> {
        let (attempt, start, bytes) = self.0.remove(&(connector.clone(), step.clone()))?;
        Some((attempt, start, String::from_utf8_lossy(&bytes).into_owned()))
    }
}

pub(super) fn message(text: &str) -> Value {
    json!({"type": "message", "text": text})
}

/// The first event: what will be run.
pub(super) fn begun<'p>(run: RunId, plans: impl Iterator<Item = &'p Plan>) -> Value {
    let connectors: Vec<Value> = plans
        .map(|plan| {
            let step = |id: &StepId| json!({"id": id, "state": "waiting", "outcome": null});
            let steps: Vec<Value> = plan.steps().iter().map(|spec| step(&spec.id)).collect();
            json!({"name": plan.connector(), "root": plan.root(), "state": RunState::Queued,
                   "conclusion": null, "steps": steps})
        })
        .collect();
    json!({
        "type": "run", "id": run, "state": RunState::Running, "conclusion": null,
        "verdict": null, "exit_status": null, "duration": null, "connectors": connectors,
    })
}

pub(super) fn connector(plan: &Plan) -> Value {
    json!({
        "type": "connector", "name": plan.connector(), "root": plan.root(),
        "state": RunState::Running, "conclusion": null, "duration": null,
    })
}

pub(super) fn connector_done(done: &LocalDone) -> Value {
    json!({
        "type": "connector", "name": done.plan.connector(), "root": done.plan.root(),
        "state": RunState::Concluded, "conclusion": done.conclusion, "duration": took(done),
    })
}

pub(super) fn step(connector: &ConnectorName, step: &StepRecord) -> Value {
    let mut event = of_step(step);
    event["type"] = json!("step");
    event["connector"] = json!(connector);
    event
}

pub(super) fn log(
    connector: &ConnectorName,
    (step, attempt): (&StepId, u32),
    (offset, text): (u64, &str),
) -> Value {
    json!({
        "type": "log", "connector": connector, "step": step, "attempt": attempt,
        "offset": offset, "skipped": 0, "text": text,
    })
}

/// The last event.
pub(super) fn ended(result: &LocalResult, duration: Duration) -> Value {
    let connectors: Vec<Value> = result
        .jobs
        .iter()
        .map(|job| {
            json!({
                "name": job.plan.connector(),
                "root": job.plan.root(),
                "state": RunState::Concluded,
                "conclusion": job.conclusion,
                "duration": took(job),
                "steps": job.steps.iter().map(of_step).collect::<Vec<_>>(),
            })
        })
        .collect();
    let conclusion: Conclusion = result.verdict.into();
    json!({
        "type": "run",
        "id": result.run,
        "state": RunState::Concluded,
        "conclusion": conclusion,
        "verdict": result.verdict.as_str(),
        "exit_status": result.verdict.status(),
        "duration": duration.as_secs_f64(),
        "connectors": connectors,
    })
}

fn took(done: &LocalDone) -> f64 {
    done.finished_at.since(done.started_at).as_secs_f64()
}

/// A step with the field names of the API (design §6.3).
fn of_step(step: &StepRecord) -> Value {
    json!({
        "id": step.id,
        "state": step.state.as_str(),
        "outcome": step.state.outcome(),
        "reason": look::reason(step),
        "exit_code": step.facts.exit_code,
        "attempt": step.attempt,
        "queued_at": step.queued_at,
        "started_at": look::started_at(step),
        "finished_at": look::settled_at(step),
        "cache": CacheJson::of(step),
        "tests": step.facts.tests,
        "artifacts": step.facts.artifacts,
    })
}

/// The line of an event. JSON lets stand what a terminal takes for a command, or what reverses the
/// order of reading: both are written as escapes, which read back as the same text.
pub(super) fn line(seq: u64, at: crate::domain::time::Timestamp, mut event: Value) -> String {
    event["seq"] = json!(seq);
    event["at"] = json!(at);
    let mut line = String::new();
    for c in event.to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                line.push_str(&escaped(c));
            }
            c => line.push(c),
        }
    }
    line
}

fn escaped(c: char) -> String {
    format!("\\u{:04x}", u32::from(c))
}
