//! A job's place in the queue for a slot: one, for its most urgent step.

use std::cmp::Reverse;

use futures_util::future::BoxFuture;

use super::Course;
use crate::ambient;
use crate::domain::names::StepId;
use crate::domain::pipeline::{Resources, StepSpec};
use crate::engine::Journal;
use crate::engine::slots::Ask;
use crate::exec::Executor;

impl<E: Executor, J: Journal> Course<'_, E, J> {
    /// The step to begin next: the one that most of the job waits for, in the plan's order among
    /// equals.
    pub(super) fn most_urgent(&self) -> Option<StepId> {
        let startable = self.startable();
        let steps = self.job.plan.steps().iter().filter(|spec| startable.contains(&spec.id));
        let first = steps.min_by_key(|spec| Reverse(self.remaining.get(&spec.id).copied()));
        first.map(|spec| spec.id.clone())
    }

    /// Stands in the queue for this step, and for no other.
    pub(super) fn ask_for(&mut self, wanted: Option<StepId>) {
        if wanted.as_ref() == self.asking.as_ref().map(|(step, _)| step) {
            return;
        }
        self.asking = wanted.map(|step| {
            let ask = Ask {
                run: self.job.labels.run,
                remaining: self.remaining.get(&step).copied().unwrap_or_default(),
                resources: self.job.plan.step(&step).and_then(declared),
            };
            let slot: BoxFuture<'static, _> = Box::pin(self.engine.slots.clone().ask(ask));
            (step, slot)
        });
    }

    /// Notes since when steps could be started that could not before.
    pub(super) fn queue(&mut self) {
        let startable = self.startable();
        let now = ambient::now();
        let waited = |step: &&StepId| self.waited.contains_key(*step);
        // Who waited for another job has waited all along.
        for step in startable.difference(&self.ready).filter(|step| !waited(step)) {
            if let Some(record) = self.records.get_mut(step) {
                record.queued_at = now;
            }
        }
        self.ready = startable;
    }
}

/// What a step declares for itself and for what runs beside it.
fn declared(spec: &StepSpec) -> Option<Resources> {
    let beside = spec.services.iter().filter_map(|service| service.resources);
    spec.resources.into_iter().chain(beside).reduce(|all, more| Resources {
        cpus: all.cpus + more.cpus,
        memory: all.memory.saturating_add(more.memory),
    })
}
