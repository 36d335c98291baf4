//! Earlier results on a job's way: which are used, and what is left for later runs.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::{Course, Event};
use crate::ambient;
use crate::domain::cache::{CacheFacts, CacheState, Cached, Ingredients, Reuse};
use crate::domain::decide::{self, Decision};
use crate::domain::names::StepId;
use crate::domain::pipeline::StepSpec;
use crate::domain::run::{StepFacts, StepRecord};
use crate::domain::state::{Outcome, SkipReason, StepState};
use crate::engine::reuse::{self, Keeps};
use crate::engine::{Journal, Kept, places};
use crate::exec::Executor;

/// How many results are copied at once.
const AT_ONCE: usize = 4;

/// Steps with the attempt that they are at, and their earlier results.
type Round = Vec<(StepId, u32, Cached)>;

/// An earlier result of a step, and where it stands as this job's, if it does.
pub(super) struct Replayed<Error> {
    step: StepId,
    hit: Cached,
    /// Absent if it was not copied since one that it supposes was not.
    kept: Option<Result<Option<Kept>, Error>>,
}

impl<'a, E: Executor, J: Journal> Course<'a, E, J> {
    /// Has the earlier results copied of what could start, and of what could once those stand; beside
    /// everything else.
    pub(super) fn replay(&mut self) {
        if self.stop.is_stopped() {
            return;
        }
        let rounds = self.reusable();
        if rounds.is_empty() {
            return;
        }
        self.replaying.extend(rounds.iter().flatten().map(|(step, ..)| step.clone()));
        let (journal, halt) = (self.journal, self.halt.clone());
        // Together, so that they are written down together.
        self.under_way
            .push(Box::pin(async move { Event::Replayed(copy_all(journal, rounds, &halt).await) }));
    }

    /// The steps that have an earlier result, in rounds: each supposes that those before it stand.
    fn reusable(&self) -> Vec<Round> {
        let mut states = self.states();
        let mut rounds = Vec::new();
        loop {
            let (mut round, mut skipped) = (Vec::new(), false);
            let supposed = reuse::as_supposed(self.job.plan, |step| states.get(step).cloned());
            for decision in decide::decide(self.job.plan, &states, usize::MAX) {
                match decision {
                    Decision::Start(step) => {
                        let as_supposed = supposed.contains(&step) && !self.awaits_image(&step);
                        let hit = self.hit(&step).filter(|_| as_supposed).cloned();
                        let attempt = self.records.get(&step).map_or(1, |record| record.attempt);
                        round.extend(hit.map(|hit| (step, attempt, hit)));
                    }
                    Decision::Skip(step, reason) => {
                        skipped = true;
                        states.insert(step, StepState::Skipped { at: ambient::now(), reason });
                    }
                }
            }
            if round.is_empty() && !skipped {
                return rounds;
            }
            let now = ambient::now();
            for (step, _, hit) in &round {
                let outcome = hit.outcome;
                let ended = StepState::Finished { started_at: now, finished_at: now, outcome };
                states.insert(step.clone(), ended);
            }
            rounds.extend(Some(round).filter(|round| !round.is_empty()));
        }
    }

    /// Settles the steps whose earlier results are this job's now; the others run.
    pub(super) async fn replayed(&mut self, done: Vec<Replayed<J::Error>>) -> Result<(), J::Error> {
        let now = ambient::now();
        let mut changed = Vec::new();
        for Replayed { step, hit, kept } in done {
            self.replaying.remove(&step);
            let kept = match kept {
                Some(Ok(Some(kept))) => kept,
                // It may be used yet, after what it supposes has run.
                None => continue,
                Some(Ok(None)) => {
                    self.give_up(&step, "what its last result left is not kept any more");
                    continue;
                }
                Some(Err(error)) => {
                    tracing::warn!(%step, "an earlier result is not used: {error}");
                    self.give_up(&step, "what its last result left could not be copied");
                    continue;
                }
            };
            let mut facts = hit.facts;
            Box::pin(places::renew(&mut facts, self.job)).await;
            let made_of = self.prospects.get(&step).and_then(|it| it.ingredients.as_ref());
            let key = made_of.map(Ingredients::key).unwrap_or_default();
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
            self.warm.remove(&step);
        }
        if changed.is_empty() { Ok(()) } else { self.journal.record(&changed).await }
    }

    /// A step's earlier result, if it may be used now.
    pub(super) fn usable(&self, step: &StepId) -> Option<Cached> {
        let as_supposed = self.is_as_supposed(self.job.plan.step(step)?);
        self.hit(step).filter(|_| as_supposed).cloned()
    }

    pub(super) fn hit(&self, step: &StepId) -> Option<&Cached> {
        self.prospects.get(step)?.hit.as_ref()
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

/// Copies round after round, until one of a round can't be had.
async fn copy_all<J: Journal>(
    journal: &J,
    rounds: Vec<Round>,
    halt: &CancellationToken,
) -> Vec<Replayed<J::Error>> {
    let (mut done, mut all) = (Vec::new(), true);
    for round in rounds {
        if !all {
            let left = round.into_iter();
            done.extend(left.map(|(step, _, hit)| Replayed { step, hit, kept: None }));
            continue;
        }
        let copies = round.into_iter().map(|(step, attempt, hit)| async move {
            let kept = Some(journal.replay((&step, attempt), &hit, halt).await);
            Replayed { step, hit, kept }
        });
        let replayed: Vec<_> = stream::iter(copies).buffered(AT_ONCE).collect().await;
        all = replayed.iter().all(|replayed| matches!(replayed.kept, Some(Ok(Some(_)))));
        done.extend(replayed);
    }
    done
}
