//! The critical path: the chain of steps that made a job take as long as it did.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::names::StepId;
use crate::domain::run::Job;

use super::look;

/// The chain of needs whose finished steps took longest together, in order; steps that did not run
/// are not in it. Of equal chains, the one that was declared first. Empty while nothing finished.
pub fn critical_path(job: &Job) -> Vec<StepId> {
    let mut longest: BTreeMap<&StepId, (Duration, Option<&StepId>)> = BTreeMap::new();
    let mut end: Option<(Duration, &StepId)> = None;
    // The plan's order puts every step after what it needs.
    for spec in job.plan.steps() {
        let took = job.step(&spec.id).and_then(look::took).unwrap_or_default();
        let mut before: Option<(Duration, &StepId)> = None;
        for need in &spec.needs {
            let chain = longest.get(need).map_or(Duration::ZERO, |(chain, _)| *chain);
            if before.is_none_or(|(best, _)| chain > best) {
                before = Some((chain, need));
            }
        }
        let chain = took + before.map_or(Duration::ZERO, |(chain, _)| chain);
        longest.insert(&spec.id, (chain, before.map(|(_, need)| need)));
        if end.is_none_or(|(best, _)| chain > best) {
            end = Some((chain, &spec.id));
        }
    }
    let ran = |id: &StepId| job.step(id).and_then(look::took).is_some();
    let mut path = Vec::new();
    let mut at = end.map(|(_, id)| id);
    while let Some(id) = at {
        if ran(id) {
            path.push(id.clone());
        }
        at = longest.get(id).and_then(|(_, before)| *before);
    }
    path.reverse();
    path
}

/// How long the steps of a path ran together.
pub fn path_took(job: &Job, path: &[StepId]) -> Duration {
    path.iter().filter_map(|id| job.step(id).and_then(look::took)).sum()
}
