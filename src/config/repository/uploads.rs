//! Steps that write renewed secrets back: which secrets, and after which steps.

use super::pipelines::Step;
use super::problems::{Place, Problems};
use crate::domain::builtin::Builtin;
use crate::domain::names::{SecretName, StepId};
use crate::domain::rules::RepoRules;

impl Problems<'_> {
    /// Such a step comes after all that have one of its secrets, however they ended; and one of them
    /// hears of new values.
    pub(super) fn uploaded(&mut self, steps: &mut [Step]) -> bool {
        let before = self.error_count();
        let is_upload = |step: &Step| step.spec.is(Builtin::UploadSecrets);
        let given: Vec<(StepId, bool, Vec<SecretName>)> = steps
            .iter()
            .filter(|step| !is_upload(step) && !step.spec.secrets.is_empty())
            .map(|step| {
                let hears = step.spec.is(Builtin::Acceptance);
                (step.spec.id.clone(), hears, step.spec.secrets.clone())
            })
            .collect();
        for step in steps.iter_mut().filter(|step| is_upload(step)) {
            let own = &step.spec.secrets;
            if own.is_empty() {
                let what = format!("step `{}` names no secrets to write back", step.spec.id);
                self.add(step.place, what, "add `secrets: [config]`: those that may be updated");
            }
            let heard = |secret: &&SecretName| {
                !given.iter().any(|(_, hears, secrets)| *hears && secrets.contains(secret))
            };
            for secret in own.iter().filter(heard) {
                let what = format!(
                    "no `acceptance` step has the secret `{secret}`, so that nothing would ever \
                     update it"
                );
                let mend = "add it to the `secrets` of the step that tests with it";
                self.add(step.place, what, mend);
            }
            let others = given.iter().filter(|(_, _, secrets)| {
                secrets.iter().any(|secret| step.spec.secrets.contains(secret))
            });
            let others: Vec<StepId> = others.map(|(id, ..)| id.clone()).collect();
            for id in others {
                if !step.spec.needs.contains(&id) {
                    step.spec.needs.push(id);
                }
            }
            step.spec.always = true;
        }
        self.error_count() == before
    }

    /// A secret that is written back comes from where it can be written to.
    pub(super) fn takes_values(&mut self, place: Place, name: &SecretName, rules: &RepoRules) {
        let secret = rules.secrets.iter().find(|secret| secret.name == *name);
        let Some(secret) = secret.filter(|secret| !secret.source.takes_values()) else { return };
        let from = secret.source.as_str();
        let what = format!("the secret `{name}` is `from: {from}`, which is never written to");
        let mend = "write back secrets that are `from: gsm`; under `checkvalve test` also `local`";
        self.add(place, what, mend);
    }
}
