//! Steps that inherit the file system of another.

use std::collections::{BTreeMap, BTreeSet};

use super::pipelines::{Step, a_step};
use super::problems::{Place, Problems};
use super::reader::Fields;
use crate::domain::names::StepId;
use crate::domain::pipeline::StepSpec;

impl Problems<'_> {
    /// Whose file system a step says that it inherits.
    pub(super) fn from(&mut self, fields: &Fields<'_>) -> Option<(Place, String)> {
        let node = fields.get("from")?;
        self.text(node, "`from`").map(|parent| (node.place, parent))
    }

    /// Names parents, and what they and their heirs can't be. `ids` are those of all steps, also of
    /// ones that could not be read.
    pub(super) fn parents(&mut self, steps: &mut [Step], ids: &BTreeSet<&str>) -> bool {
        let before = self.error_count();
        for Step { place, spec, from, .. } in steps {
            let Some((at, parent)) = from else { continue };
            let named = format!("step `{}`", spec.id);
            match parent.parse() {
                Ok(id) if ids.contains(parent.as_str()) => spec.from = Some(id),
                Ok(_) | Err(_) => {
                    let what = format!("{named} inherits from `{parent}`, which does not exist");
                    self.add(*at, what, a_step(parent, ids));
                }
            }
            if spec.always {
                let what = format!("{named} is to run always, and inherits from `{parent}`");
                let mend = "remove `always` or `from`: a step that never ran leaves nothing behind";
                self.add(*place, what, mend);
            }
        }
        self.error_count() == before
    }

    /// Gives heirs the image of the step that their chain begins with. There is no circle among
    /// them.
    pub(super) fn inherited(&mut self, steps: &mut [Step]) -> bool {
        let before = self.error_count();
        let specs: BTreeMap<StepId, StepSpec> =
            steps.iter().map(|step| (step.spec.id.clone(), step.spec.clone())).collect();
        for step in steps {
            let Some(parent) = parent(&specs, &step.spec) else { continue };
            let named = format!("step `{}`", step.spec.id);
            let mut first = parent;
            while let Some(before) = self::parent(&specs, first) {
                first = before;
            }
            if let Some(place) = step.image.filter(|_| step.spec.image != first.image) {
                let what = format!(
                    "{named} names the image `{}`, and inherits from `{}`, which has `{}`",
                    step.spec.image, parent.id, first.image
                );
                self.add(place, what, "remove one of `image` and `from`");
            }
            step.spec.image.clone_from(&first.image);
            if step.spec.untrusted && !parent.untrusted {
                let what = format!(
                    "{named} is `untrusted`, and inherits from `{}`, which is not",
                    parent.id
                );
                let mend = "make both `untrusted`: before an approval its parent would not run";
                self.add(step.place, what, mend);
            }
        }
        self.error_count() == before
    }
}

fn parent<'s>(specs: &'s BTreeMap<StepId, StepSpec>, of: &StepSpec) -> Option<&'s StepSpec> {
    of.from.as_ref().and_then(|from| specs.get(from))
}
