//! The next step's beginning is made ready while others run.

use super::{Course, Event};
use crate::ambient;
use crate::domain::decide::{self, Decision};
use crate::domain::names::StepId;
use crate::domain::pipeline::StepSpec;
use crate::domain::state::{Outcome, StepState};
use crate::engine::Journal;
use crate::exec::Executor;

impl<'a, E: Executor, J: Journal> Course<'a, E, J> {
    /// Has made ready what can begin once all that runs now has succeeded: of the most urgent steps
    /// as many as run.
    pub(super) fn warm_up(&mut self) {
        let running = |state: &StepState| matches!(state, StepState::Running { .. });
        let busy = self.records.values().filter(|record| running(&record.state)).count();
        let room = busy.saturating_sub(self.warm.len());
        if self.stop.is_stopped() || room == 0 {
            return;
        }
        let mut next = self.next_in_line();
        next.sort_by_key(|spec| std::cmp::Reverse(self.remaining.get(&spec.id).copied()));
        for spec in next.into_iter().take(room) {
            let Some(attempt) = self.attempt(spec) else { return };
            let step = spec.id.clone();
            self.warm.insert(step.clone());
            self.under_way.push(Box::pin(async move {
                Event::Warm(step, attempt.warm().await.map(Box::new))
            }));
        }
    }

    /// Of the steps that wait for those that run, the ones that begin anew and have no result yet.
    fn next_in_line(&self) -> Vec<&'a StepSpec> {
        let (now, outcome) = (ambient::now(), Outcome::Succeeded);
        let mut states = self.states();
        for state in states.values_mut() {
            if let StepState::Running { started_at } = *state {
                *state = StepState::Finished { started_at, finished_at: now, outcome };
            }
        }
        let startable = self.startable();
        let next = |decision| match decision {
            Decision::Start(step) => Some(step).filter(|step| !startable.contains(step)),
            Decision::Skip(..) => None,
        };
        let decisions = decide::decide(self.job.plan, &states, usize::MAX);
        let steps = decisions.into_iter().filter_map(next);
        let steps = steps.filter_map(|step| self.job.plan.step(&step));
        steps.filter(|spec| self.is_worth_warming(spec)).collect()
    }

    fn is_worth_warming(&self, spec: &StepSpec) -> bool {
        let first = self.records.get(&spec.id).is_some_and(|record| record.attempt == 1);
        let anew = spec.from.is_none() && spec.uses.is_none();
        let hit = self.prospects.get(&spec.id).is_some_and(|prospect| prospect.hit.is_some());
        first && anew && spec.secrets.is_empty() && !hit && !self.warm.contains(&spec.id)
    }

    /// It has begun without, if it could not wait.
    pub(super) fn warmed(&mut self, step: StepId, left: Option<Box<E::Left>>) {
        let waits = |id| self.records.get(id).is_some_and(|r| r.state == StepState::Waiting);
        if let Some(left) = left.filter(|_| waits(&step)) {
            self.shares.insert(step, *left);
        }
    }
}
