//! What a job built before it changed hands may have stayed on another engine.

use std::collections::BTreeMap;

use super::Course;
use crate::ambient;
use crate::domain::builtin::Builtin;
use crate::domain::names::StepId;
use crate::domain::pipeline::StepSpec;
use crate::domain::run::StepFacts;
use crate::domain::state::StepState;
use crate::engine::{Journal, builtin};
use crate::exec::Executor;

impl<E: Executor, J: Journal> Course<'_, E, J> {
    /// Lets the steps wait again that built images which others still wait for, and which are not
    /// on this engine.
    pub(super) async fn build_again(&mut self) -> Result<(), J::Error> {
        let mut gone: BTreeMap<StepId, String> = BTreeMap::new();
        for spec in self.job.plan.steps().iter().filter(|spec| works_with_image(spec)) {
            let state = self.records.get(&spec.id).map(|record| &record.state);
            if self.stop.is_stopped() || state != Some(&StepState::Waiting) {
                continue;
            }
            let built = builtin::built_for(self.job.plan, &spec.id, &self.records);
            if let Some((build, image)) = built
                && !gone.contains_key(build)
                // An engine that does not answer is the step's to meet: it may have the image.
                && matches!(self.engine.executor.identify(&image).await, Ok(None))
            {
                gone.insert(build.clone(), image);
            }
        }
        let now = ambient::now();
        let mut changed = Vec::new();
        for (build, image) in gone {
            let reason = format!("the image {image} is not on this engine; it is built again");
            if self.hit(&build).is_some() {
                self.give_up(&build, &reason);
            }
            let Some(record) = self.records.get_mut(&build) else { continue };
            record.state = StepState::Waiting;
            record.attempt += 1;
            record.queued_at = now;
            record.facts = StepFacts { reason: Some(reason), ..StepFacts::default() };
            changed.push(record.clone());
        }
        if changed.is_empty() { Ok(()) } else { self.journal.record(&changed).await }
    }

    /// Is the image that the step works with yet to be built? Steps in between have settled where
    /// it is built again.
    pub(super) fn awaits_image(&self, step: &StepId) -> bool {
        let plan = self.job.plan;
        let settled = |build: &&StepId| {
            self.records.get(*build).is_none_or(|record| record.state.is_settled())
        };
        plan.step(step).is_some_and(works_with_image)
            && !plan.before(step, Builtin::Build).iter().all(settled)
    }
}

fn works_with_image(spec: &StepSpec) -> bool {
    spec.uses.is_some_and(|uses| match uses.builtin {
        Builtin::Acceptance | Builtin::Scan => true,
        Builtin::Qa | Builtin::Build | Builtin::UploadSecrets | Builtin::Report => false,
    })
}
