//! Earlier results on a job's way: which are used, and what is left for later runs.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::stream;

use super::{Course, Event};
use crate::ambient;
use crate::domain::cache::{CacheFacts, CacheState, Cached, Reuse};
use crate::domain::names::StepId;
use crate::domain::pipeline::StepSpec;
use crate::domain::run::{StepFacts, StepRecord};
use crate::domain::state::{Outcome, SkipReason, StepState};
use crate::engine::reuse::{self, Keeps, Prospect};
use crate::engine::{Journal, Kept, places};
use crate::exec::Executor;

/// How many results are copied at once.
const AT_ONCE: usize = 4;

/// An earlier result of a step, and where it stands as this job's, if it does.
pub(super) struct Replayed<Error> {
    step: StepId,
    hit: Cached,
    kept: Result<Option<Kept>, Error>,
}

impl<'a, E: Executor, J: Journal> Course<'a, E, J> {
    /// Has what could start and has an earlier result copied, beside everything else.
    pub(super) fn replay(&mut self) {
        if self.stop.is_stopped() {
            return;
        }
        let startable = self.startable().into_iter();
        let hits = startable.filter_map(|step| Some((self.usable(&step)?, step)));
        let hits: Vec<(Cached, StepId)> = hits.collect();
        if hits.is_empty() {
            return;
        }
        self.replaying.extend(hits.iter().map(|(_, step)| step.clone()));
        let (journal, halt) = (self.journal, self.halt.clone());
        let copies = hits.into_iter().map(move |(hit, step)| {
            let halt = halt.clone();
            async move {
                let kept = journal.replay(&step, &hit, &halt).await;
                Replayed { step, hit, kept }
            }
        });
        // Together, so that they are written down together.
        let copies = stream::iter(copies).buffered(AT_ONCE).collect();
        self.under_way.push(Box::pin(async move { Event::Replayed(copies.await) }));
    }

    /// Settles the steps whose earlier results are this job's now; the others run.
    pub(super) async fn replayed(&mut self, done: Vec<Replayed<J::Error>>) -> Result<(), J::Error> {
        let now = ambient::now();
        let mut changed = Vec::new();
        for Replayed { step, hit, kept } in done {
            self.replaying.remove(&step);
            let kept = match kept {
                Ok(Some(kept)) => kept,
                Ok(None) => {
                    self.give_up(&step, "what its last result left is not kept any more");
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%step, "an earlier result is not used: {error}");
                    self.give_up(&step, "what its last result left could not be copied");
                    continue;
                }
            };
            let mut facts = hit.facts;
            Box::pin(places::renew(&mut facts, self.job)).await;
            let key = self.prospects.get(&step).and_then(Prospect::name).unwrap_or_default();
            let record = self.records.get_mut(&step);
            // It may have been cancelled in the meantime.
            let Some(record) = record.filter(|record| record.state == StepState::Waiting) else {
                continue;
            };
            let outcome = hit.outcome;
            record.state = StepState::Finished { started_at: now, finished_at: now, outcome };
            record.facts = StepFacts {
                log: kept.log,
                artifacts: kept.artifacts,
                segments: Vec::new(),
                cache: Some(CacheFacts::hit(key, hit.origin)),
                ..facts
            };
            changed.push(record.clone());
            // What its parent left for it, should it have to run.
            self.shares.remove(&step);
        }
        if changed.is_empty() { Ok(()) } else { self.journal.record(&changed).await }
    }

    /// A step's earlier result, if it may be used now.
    pub(super) fn usable(&self, step: &StepId) -> Option<Cached> {
        let (spec, record) = (self.job.plan.step(step)?, self.records.get(step)?);
        let as_supposed = self.is_as_supposed(spec);
        let hit = self.prospects.get(step)?.hit.as_ref();
        hit.filter(|_| as_supposed && record.attempt == 1).cloned()
    }

    pub(super) fn is_as_supposed(&self, spec: &StepSpec) -> bool {
        self.as_supposed().contains(&spec.id)
    }

    fn as_supposed(&self) -> BTreeSet<&'a StepId> {
        let state = |step: &StepId| self.records.get(step).map(|record| record.state.clone());
        reuse::as_supposed(self.job.plan, state)
    }

    /// Under which names what this job's steps left may be found: of those that succeeded, or were
    /// not asked for and are known to have succeeded, on the way that their names suppose.
    pub(super) fn names(&self) -> BTreeMap<StepId, String> {
        let reuse = self.job.cache.as_ref().map(|cache| cache.reuse);
        if reuse.is_none_or(|reuse| reuse == Reuse::Never) {
            return BTreeMap::new();
        }
        let supposed = self.as_supposed();
        let there = |step: &StepId| match self.records.get(step).map(|record| &record.state) {
            Some(StepState::Finished { outcome, .. }) => *outcome == Outcome::Succeeded,
            Some(StepState::Skipped { reason, .. }) => *reason == SkipReason::NotAsked,
            Some(StepState::Waiting | StepState::Running { .. }) | None => false,
        };
        let names = self.prospects.iter().filter(|(id, _)| supposed.contains(id) && there(id));
        names.filter_map(|(id, prospect)| Some((id.clone(), prospect.name()?))).collect()
    }

    pub(super) fn give_up(&mut self, step: &StepId, because: &str) {
        if let Some(prospect) = self.prospects.get_mut(step) {
            prospect.hit = None;
            prospect.given_up = true;
            let (key, because) = (prospect.name(), because.to_owned());
            prospect.facts = Some(CacheFacts { state: CacheState::Miss, key, because });
        }
    }

    /// Keeps a result for later runs, now that it is written down as this one's; false if it is not
    /// one to be kept.
    pub(super) async fn remember(
        &mut self,
        spec: &StepSpec,
        record: &StepRecord,
        kept: Vec<(String, E::Left)>,
    ) -> Result<bool, J::Error> {
        if !self.is_as_supposed(spec) {
            return Ok(false);
        }
        let unknown = self.prospects.get(&spec.id).is_some_and(|p| p.ingredients.is_none());
        if unknown {
            reuse::learn(&*self.engine.executor, self.job, &mut self.prospects).await;
        }
        let Some(prospect) = self.prospects.get(&spec.id) else { return Ok(false) };
        match prospect.keeps(spec, record) {
            Keeps::This(ingredients) => self.journal.remember(record, ingredients).await?,
            Keeps::NoOther(ingredients) => {
                self.journal.forget(ingredients).await?;
                return Ok(false);
            }
            Keeps::Nothing => return Ok(false),
        }
        if record.state.outcome() == Some(Outcome::Succeeded) {
            for (name, left) in kept {
                self.engine.executor.keep(left, &name).await;
            }
        }
        Ok(true)
    }
}
