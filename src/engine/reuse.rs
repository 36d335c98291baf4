//! Earlier results: which of a job's steps have one, and why the others do not.

use std::collections::{BTreeMap, BTreeSet};

use super::{JobRun, Journal};
use crate::domain::cache::{
    self, CacheFacts, CacheState, Cached, Ingredients, Known, Surroundings,
};
use crate::domain::names::StepId;
use crate::domain::pipeline::{CachePolicy, StepSpec};
use crate::domain::plan::Plan;
use crate::domain::run::StepRecord;
use crate::domain::state::{Outcome, SkipReason, StepState};
use crate::exec::Executor;

/// What a result means for later runs.
pub(super) enum Keeps<'p> {
    /// They may use it.
    This(&'p Ingredients),
    /// It speaks against an earlier one made of the same.
    NoOther(&'p Ingredients),
    Nothing,
}

/// What is to be expected of a step.
#[derive(Debug, Default)]
pub(super) struct Prospect {
    /// If they are all known.
    pub(super) ingredients: Option<Ingredients>,
    pub(super) hit: Option<Cached>,
    pub(super) facts: Option<CacheFacts>,
    /// Its result is known, and can't be used.
    pub(super) given_up: bool,
    /// May its result be used by later runs?
    pub(super) lasting: bool,
    /// What it took the last time, in milliseconds.
    pub(super) usual: Option<u64>,
}

impl Prospect {
    /// The name under which what it leaves is kept.
    pub(super) fn name(&self) -> Option<String> {
        self.ingredients.as_ref().filter(|_| self.lasting).map(Ingredients::key)
    }

    /// Is a result like this one to be kept?
    pub(super) fn keeps(&self, spec: &StepSpec, record: &StepRecord) -> Keeps<'_> {
        let Some(ingredients) = self.ingredients.as_ref().filter(|_| self.lasting) else {
            return Keeps::Nothing;
        };
        // It may have been moved since it was looked up.
        let image = record.facts.image_digest.as_deref();
        if image.is_some() && image != ingredients.image() {
            return Keeps::Nothing;
        }
        let services = &record.facts.services;
        if services.iter().any(|(alias, digest)| ingredients.differs(alias, digest)) {
            return Keeps::Nothing;
        }
        match record.state.outcome() {
            Some(Outcome::Succeeded) => Keeps::This(ingredients),
            // What ended it for a reason of its host's is not the step's to repeat.
            Some(Outcome::Failed)
                if spec.cache == CachePolicy::All && record.facts.reason.is_none() =>
            {
                Keeps::This(ingredients)
            }
            Some(Outcome::Failed | Outcome::TimedOut) => Keeps::NoOther(ingredients),
            Some(Outcome::Errored | Outcome::Cancelled) | None => Keeps::Nothing,
        }
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
    let Some((repository, share)) = job.cache.as_ref().map(|cache| (cache.repository, cache.share))
    else {
        return Ok(all_off("results of such runs are not kept"));
    };
    let Some(identity) = executor.identity() else {
        return Ok(all_off("steps run on the host itself, whose state is not known"));
    };
    if job.plan.sources().is_empty() {
        return Ok(all_off("what its inputs hold is not known"));
    }
    let resources = executor.capacity();
    let pull = share.pull();
    let around = Surroundings { repository, executor: &identity, resources, pull };
    let images = images(executor, job).await;
    let image = |image: &str| images.get(image).cloned().flatten();
    let own = ingredients(job, &around, image);
    // What it leaves is its own; what it finds may be everybody's.
    let shared = match pull {
        Some(_) => ingredients(job, &Surroundings { pull: None, ..around }, image),
        None => BTreeMap::new(),
    };
    let mut prospects = BTreeMap::new();
    for spec in job.plan.steps() {
        let of = (own.get(&spec.id).cloned(), shared.get(&spec.id));
        let mut prospect = prospect(job, journal, spec, of).await?;
        prospect.lasting &= share.keeps();
        prospects.insert(spec.id.clone(), prospect);
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
    (ingredients, shared): (Option<Ingredients>, Option<&Ingredients>),
) -> Result<Prospect, J::Error> {
    if let Some(because) = cache::never(job.plan, spec) {
        return Ok(Prospect { ingredients, ..Prospect::off(&because) });
    }
    let settled = job.records.iter().find(|r| r.id == spec.id && r.state.is_settled());
    if let Some(settled) = settled {
        let mut lasting = true;
        // What a step that is not asked for left in another run is as good as its result was.
        if settled.state.outcome().is_none()
            && let Some(ingredients) = &ingredients
        {
            let known = journal.recall(&spec.id, ingredients).await?;
            let succeeded = |result: Cached| result.outcome == Outcome::Succeeded;
            lasting = known.result.is_some_and(succeeded);
        }
        return Ok(Prospect { ingredients, lasting, ..Prospect::default() });
    }
    let Some(ingredients) = ingredients else {
        let because = "an image that it needs is not on this host yet".to_owned();
        let facts = CacheFacts { state: CacheState::Miss, key: None, because };
        return Ok(Prospect { facts: Some(facts), lasting: true, ..Prospect::default() });
    };
    let mut known = journal.recall(&spec.id, &ingredients).await?;
    if let Some(shared) = shared.filter(|_| known.result.is_none()) {
        let everybodys = journal.recall(&spec.id, shared).await?;
        known = Known { result: everybodys.result, ..known };
    }
    let usual = known.usual;
    let reuse = job.cache.as_ref().map(|cache| cache.reuse).unwrap_or_default();
    let (hit, facts) = match cache::judge(spec, &ingredients, known, reuse) {
        Ok(hit) => (Some(hit), None),
        Err(facts) => (None, Some(facts)),
    };
    let ingredients = Some(ingredients);
    Ok(Prospect { ingredients, hit, facts, lasting: true, usual, ..Prospect::default() })
}

/// The steps before which everything ended as their keys suppose: each need succeeded, or was not
/// asked for or of no use, and so on up to the first. A failure that is allowed is another beginning
/// for all that comes after it.
pub(super) fn as_supposed(
    plan: &Plan,
    state: impl Fn(&StepId) -> Option<StepState>,
) -> BTreeSet<&StepId> {
    let mut supposed = BTreeSet::new();
    // A plan's order puts each step after its needs.
    for spec in plan.steps() {
        let fine = |need: &StepId| match state(need) {
            Some(StepState::Skipped { reason, .. }) => match reason {
                SkipReason::NotAsked | SkipReason::Unapproved | SkipReason::Condition { .. } => {
                    true
                }
                SkipReason::Needs { .. }
                | SkipReason::FailFast { .. }
                | SkipReason::Conflict { .. } => false,
            },
            Some(state) => state.outcome() == Some(Outcome::Succeeded),
            None => false,
        };
        if spec.needs.iter().all(|need| supposed.contains(need) && fine(need)) {
            supposed.insert(&spec.id);
        }
    }
    supposed
}

/// Learns the digests of images that were not here before.
pub(super) async fn learn<E: Executor>(
    executor: &E,
    job: &JobRun<'_>,
    prospects: &mut BTreeMap<StepId, Prospect>,
) {
    let (Some(cache), Some(identity)) = (&job.cache, executor.identity()) else { return };
    let (repository, resources) = (cache.repository, executor.capacity());
    let pull = cache.share.pull();
    let around = Surroundings { repository, executor: &identity, resources, pull };
    let images = images(executor, job).await;
    let known = ingredients(job, &around, |image| images.get(image).cloned().flatten());
    for (id, ingredients) in known {
        if let Some(prospect) = prospects.get_mut(&id).filter(|p| p.ingredients.is_none()) {
            prospect.ingredients = Some(ingredients);
        }
    }
}

async fn images<E: Executor>(executor: &E, job: &JobRun<'_>) -> BTreeMap<String, Option<String>> {
    let mut images = BTreeMap::new();
    for spec in job.plan.steps() {
        let of_service = |service| job.plan.service_image_of(spec, service);
        for image in spec.services.iter().map(of_service).chain([job.plan.image_of(spec)]) {
            if !images.contains_key(image) {
                // What can't be told now makes no key.
                let digest = executor.identify(image).await.unwrap_or_default();
                images.insert(image.to_owned(), digest);
            }
        }
    }
    images
}
