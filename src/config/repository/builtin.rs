//! What a step does: an image with commands, or a built-in step.

use std::collections::BTreeMap;

use super::keys::BUILTINS_TO_COME;
use super::problems::{Place, Problems};
use super::reader::Fields;
use crate::domain::builtin::{Builtin, JUNIT, Uses};
use crate::domain::names::StepId;
use crate::domain::plan::Plan;
use crate::domain::yaml::{Node, Value};

/// What a step does.
pub(super) struct Does {
    pub(super) image: String,
    pub(super) run: Vec<String>,
    pub(super) uses: Option<Uses>,
}

/// Keys that say nothing to a built-in step, and those that say nothing to one that runs nothing.
const SENSELESS: &[&str] = &["image", "run", "reports", "from", "isolate", "matrix", "services"];
const SENSELESS_TO_QA: &[&str] = &[
    "image", "run", "reports", "from", "isolate", "matrix", "services", "env", "network", "resources",
];

impl Problems<'_> {
    pub(super) fn does(&mut self, fields: &Fields<'_>, named: &str) -> Option<Does> {
        let Some(node) = fields.get("uses") else {
            let (image, run) = (self.image(fields, named), self.run(fields, named));
            return Some(Does { image: image?, run: run?, uses: None });
        };
        let builtin = self.builtin(node);
        let senseless = if builtin == Some(Builtin::Qa) { SENSELESS_TO_QA } else { SENSELESS };
        for key in senseless {
            if let Some(entry) = fields.entry(key) {
                let what = format!("`{key}` says nothing to a built-in step, and {named} is one");
                self.add(entry.place, what, format!("remove `{key}`, or `uses`"));
            }
        }
        Some(Does { image: String::new(), run: Vec::new(), uses: Some(builtin?.into()) })
    }

    fn builtin(&mut self, node: &Node) -> Option<Builtin> {
        if let Value::Text(text) = &node.value
            && BUILTINS_TO_COME.contains(&text.as_str())
        {
            let what = format!("`uses: {text}` is not possible yet");
            let mend = "remove the step, or do its work with an `image` and a `run`";
            self.add(node.place, what, mend);
            return None;
        }
        self.word(node, "`uses`", &Builtin::ALL.map(|builtin| (builtin.as_str(), builtin)))
    }

    /// What is kept of what the step leaves, and the test report among it: a built-in step writes
    /// its own.
    pub(super) fn kept(&mut self, fields: &Fields<'_>) -> (Vec<String>, Option<String>) {
        let artifacts = fields.get("artifacts").map(|node| self.patterns(node, "`artifacts`"));
        let artifacts = artifacts.into_iter().flatten().map(|(_, pattern)| pattern.to_string());
        let mut artifacts: Vec<String> = artifacts.collect();
        if fields.has("uses") {
            artifacts.push(JUNIT.to_owned());
            return (artifacts, Some(JUNIT.to_owned()));
        }
        (artifacts, fields.get("reports").and_then(|node| self.reports(node)))
    }

    /// What works with an image comes after the one step that builds it; and a built-in step leaves
    /// no file system to anybody.
    pub(super) fn built_before(&mut self, plan: &Plan, places: &BTreeMap<StepId, Place>) -> bool {
        let before = self.error_count();
        let place = |step: &StepId| places.get(step).copied().unwrap_or(Place::START);
        for step in plan.steps() {
            let parent = step.from.as_ref().and_then(|from| plan.step(from));
            if let Some(parent) = parent.filter(|parent| parent.uses.is_some()) {
                let what = format!(
                    "step `{}` inherits from `{}`, a built-in step, which leaves no file system",
                    step.id, parent.id
                );
                self.add(place(&step.id), what, "write `needs` in place of `from`, and an `image`");
            }
            if !step.is(Builtin::Acceptance) {
                continue;
            }
            let (how_many, mend) = match plan.before(&step.id, Builtin::Build).as_slice() {
                [_] => continue,
                [] => ("no step", "add a step `{ id: build, uses: build }`, and need it"),
                [_, _, ..] => ("more than one step", "need one that builds"),
            };
            let what = format!("step `{}` comes after {how_many} that builds an image", step.id);
            self.add(place(&step.id), what, mend);
        }
        self.error_count() == before
    }
}
