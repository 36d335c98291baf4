//! One result, wanted by several jobs at once: one of them works it out, and the others wait.

use std::time::Duration;

use super::{Course, Event};
use crate::domain::cache::{self, Reuse};
use crate::domain::names::StepId;
use crate::domain::pipeline::StepSpec;
use crate::domain::run::StepFacts;
use crate::domain::state::Outcome;
use crate::domain::turn::{Maker, Turn};
use crate::engine::Journal;
use crate::exec::Executor;

/// How often a step that waits looks again.
const LOOK: Duration = Duration::from_secs(1);

impl<E: Executor, J: Journal> Course<'_, E, J> {
    /// Has the steps wait that others are at, before they queue for anything.
    pub(super) async fn stand_aside(&mut self) -> Result<(), J::Error> {
        if self.stop.is_stopped() {
            return Ok(());
        }
        for step in self.startable() {
            let asked = self.turns.contains(&step) || self.free.contains(&step);
            if asked || !self.may_wait(&step) {
                continue;
            }
            let prospect = self.prospects.get(&step);
            let Some(ingredients) = prospect.and_then(|prospect| prospect.ingredients.as_ref())
            else {
                continue;
            };
            match self.journal.maker(ingredients, self.waited.get(&step)).await? {
                Some(maker) => self.wait_for(&step, maker).await?,
                None => drop(self.free.insert(step)),
            }
        }
        Ok(())
    }

    /// May the step begin now? If not, it has a result by now, or waits for somebody.
    pub(super) async fn has_turn(&mut self, step: &StepId) -> Result<bool, J::Error> {
        if self.turns.contains(step) || !self.may_wait(step) {
            return Ok(true);
        }
        let Some(ingredients) =
            self.prospects.get(step).and_then(|prospect| prospect.ingredients.clone())
        else {
            return Ok(true);
        };
        let waited = self.waited.get(step);
        match self.journal.turn(step, &ingredients, waited).await? {
            Turn::Free | Turn::Beside => Ok(true),
            Turn::Theirs(maker) => {
                self.wait_for(step, maker).await?;
                Ok(false)
            }
            Turn::Ours => {
                // Somebody may have ended between our looking and our turn.
                if self.look_again(step).await? {
                    self.journal.end_turn(&ingredients, false).await?;
                    return Ok(false);
                }
                self.turns.insert(step.clone());
                Ok(true)
            }
        }
    }

    /// Is its result one that others could use, and it one that could use others'?
    fn may_wait(&self, step: &StepId) -> bool {
        let reuse = self.job.cache.as_ref().map(|cache| cache.reuse);
        let reuses = matches!(reuse, Some(Reuse::All | Reuse::Success));
        let (Some(spec), Some(prospect)) = (self.job.plan.step(step), self.prospects.get(step))
        else {
            return false;
        };
        let wanted = prospect.lasting && prospect.hit.is_none() && !prospect.given_up;
        reuses && wanted && self.is_as_supposed(spec)
    }

    /// Looks up the step's result once more; true if there is one that can be used now.
    pub(super) async fn look_again(&mut self, step: &StepId) -> Result<bool, J::Error> {
        let (Some(spec), Some(prospect)) = (self.job.plan.step(step), self.prospects.get_mut(step))
        else {
            return Ok(false);
        };
        let Some(ingredients) = &prospect.ingredients else { return Ok(false) };
        let known = self.journal.recall(step, ingredients).await?;
        let reuse = self.job.cache.as_ref().map(|cache| cache.reuse).unwrap_or_default();
        prospect.hit = cache::judge(spec, ingredients, known, reuse).ok();
        Ok(prospect.hit.is_some() && self.usable(step).is_some())
    }

    async fn wait_for(&mut self, step: &StepId, maker: Maker) -> Result<(), J::Error> {
        self.resting.insert(step.clone());
        let (id, halt) = (step.clone(), self.halt.clone());
        self.under_way.push(Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = halt.cancelled() => {}
            }
            Event::Rested(id)
        }));
        let before = self.waited.insert(step.clone(), maker.clone());
        let Some(record) = self.records.get_mut(step).filter(|_| before.as_ref() != Some(&maker))
        else {
            return Ok(());
        };
        let cache = self.prospects.get(step).and_then(|prospect| prospect.facts.clone());
        let (reason, tries) = (Some(maker.reason()), record.facts.tries);
        record.facts = StepFacts { reason, cache, tries, ..StepFacts::default() };
        let record = record.clone();
        self.journal.record(std::slice::from_ref(&record)).await
    }

    /// Ends the step's turn if nothing of it was remembered.
    pub(super) async fn end_turn(
        &mut self,
        spec: &StepSpec,
        outcome: Option<Outcome>,
        remembered: bool,
    ) -> Result<(), J::Error> {
        if !self.turns.remove(&spec.id) || remembered {
            return Ok(());
        }
        let failed = match outcome {
            Some(Outcome::Failed | Outcome::TimedOut) => true,
            Some(Outcome::Succeeded | Outcome::Errored | Outcome::Cancelled) | None => false,
        };
        match self.prospects.get(&spec.id).and_then(|prospect| prospect.ingredients.as_ref()) {
            Some(ingredients) => self.journal.end_turn(ingredients, failed).await,
            None => Ok(()),
        }
    }
}
