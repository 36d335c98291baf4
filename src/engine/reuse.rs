//! Earlier results: which of a job's steps have one, and why the others do not.

use std::collections::BTreeMap;

use super::{JobRun, Journal};
use crate::domain::cache::{self, CacheFacts, CacheState, Cached, Ingredients, Surroundings};
use crate::domain::names::StepId;
use crate::domain::pipeline::{CachePolicy, StepSpec};
use crate::domain::state::{Outcome, StepState};
use crate::exec::Executor;

/// What is to be expected of a step.
#[derive(Debug, Default)]
pub(super) struct Prospect {
    /// If they are all known.
    pub(super) ingredients: Option<Ingredients>,
    pub(super) hit: Option<Cached>,
    pub(super) facts: Option<CacheFacts>,
    /// May its result be used by later runs?
    pub(super) lasting: bool,
}

impl Prospect {
    /// The name under which what it leaves is kept.
    pub(super) fn name(&self) -> Option<String> {
        self.ingredients.as_ref().filter(|_| self.lasting).map(Ingredients::key)
    }

    /// Is a result like this one to be kept?
    pub(super) fn keeps(&self, spec: &StepSpec, outcome: Outcome) -> Option<&Ingredients> {
        let wanted = match outcome {
            Outcome::Succeeded => true,
            Outcome::Failed => spec.cache == CachePolicy::All,
            Outcome::TimedOut | Outcome::Errored | Outcome::Cancelled => false,
        };
        self.ingredients.as_ref().filter(|_| wanted && self.lasting)
    }

    fn off(because: &str) -> Self {
        Self { facts: Some(CacheFacts::off(because)), ..Self::default() }
    }
}

/// Looks up all steps of a job that have not settled.
pub(super) async fn prospects<E: Executor, J: Journal>(
    executor: &E,
    job: &JobRun<'_>,
    journal: &J,
) -> Result<BTreeMap<StepId, Prospect>, J::Error> {
    let steps = job.plan.steps().iter();
    let all_off = |because: &str| {
        steps.clone().map(|spec| (spec.id.clone(), Prospect::off(because))).collect()
    };
    let Some(repository) = job.cache.as_ref().map(|cache| cache.repository) else {
        return Ok(all_off("results of such runs are not kept"));
    };
    let Some(identity) = executor.identity() else {
        return Ok(all_off("steps run on the host itself, whose state is not known"));
    };
    if job.plan.sources().is_empty() {
        return Ok(all_off("what its inputs hold is not known"));
    }
    let around = Surroundings { repository, executor: &identity };
    let mut images = BTreeMap::new();
    for spec in job.plan.steps() {
        if !images.contains_key(&spec.image) {
            images.insert(spec.image.clone(), executor.identify(&spec.image).await);
        }
    }
    let ingredients = ingredients(job, &around, |image| images.get(image).cloned().flatten());
    let mut prospects = BTreeMap::new();
    for spec in job.plan.steps() {
        let ingredients = ingredients.get(&spec.id).cloned();
        prospects.insert(spec.id.clone(), prospect(job, journal, spec, ingredients).await?);
    }
    Ok(prospects)
}

/// Those of every step of which all is known.
pub(super) fn ingredients(
    job: &JobRun<'_>,
    around: &Surroundings<'_>,
    image: impl Fn(&str) -> Option<String>,
) -> BTreeMap<StepId, Ingredients> {
    let mut keys: BTreeMap<StepId, String> = BTreeMap::new();
    let mut all = BTreeMap::new();
    // A plan's order puts each step after its needs.
    for spec in job.plan.steps() {
        let need = |step: &StepId| keys.get(step).cloned();
        if let Some(found) = Ingredients::of(job.plan, spec, around, &image, need) {
            keys.insert(spec.id.clone(), found.key());
            all.insert(spec.id.clone(), found);
        }
    }
    all
}

async fn prospect<J: Journal>(
    job: &JobRun<'_>,
    journal: &J,
    spec: &StepSpec,
    ingredients: Option<Ingredients>,
) -> Result<Prospect, J::Error> {
    let settled = job.records.iter().any(|r| r.id == spec.id && r.state.is_settled());
    if settled {
        return Ok(Prospect { ingredients, ..Prospect::default() });
    }
    if let Some(because) = cache::never(job.plan, spec) {
        return Ok(Prospect { ingredients, ..Prospect::off(&because) });
    }
    let Some(ingredients) = ingredients else {
        let because = "an image that it needs is not on this host yet".to_owned();
        let facts = CacheFacts { state: CacheState::Miss, key: None, because };
        return Ok(Prospect { facts: Some(facts), lasting: true, ..Prospect::default() });
    };
    let known = journal.recall(&spec.id, &ingredients).await?;
    let reuse = job.cache.as_ref().map(|cache| cache.reuse).unwrap_or_default();
    let (hit, facts) = match cache::judge(spec, &ingredients, known, reuse) {
        Ok(hit) => (Some(hit), None),
        Err(facts) => (None, Some(facts)),
    };
    Ok(Prospect { ingredients: Some(ingredients), hit, facts, lasting: true })
}

/// Did every need end as its key supposes? A failure that is allowed is another beginning.
pub(super) fn as_supposed<'s>(
    spec: &StepSpec,
    state: impl Fn(&StepId) -> Option<&'s StepState>,
) -> bool {
    spec.needs.iter().all(|need| match state(need) {
        Some(StepState::Skipped { .. }) => true,
        Some(state) => state.outcome() == Some(Outcome::Succeeded),
        None => false,
    })
}
