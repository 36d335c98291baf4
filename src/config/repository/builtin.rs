//! What a step does: an image with commands, or a built-in step.

use std::collections::BTreeMap;

use super::keys::REPORTS;
use super::pipelines::Step;
use super::problems::{Place, Problems};
use super::reader::Fields;
use crate::domain::builtin::{Builtin, JUNIT, Uses};
use crate::domain::names::StepId;
use crate::domain::plan::Plan;
use crate::domain::rules::Pattern;
use crate::domain::scan::{self, FailOn};
use crate::domain::yaml::{Node, Value};

/// What a step does.
pub(super) struct Does {
    pub(super) image: String,
    pub(super) run: Vec<String>,
    pub(super) uses: Option<Uses>,
}

/// What is kept of what a step leaves, and the reports among it.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) artifacts: Vec<String>,
    pub(super) reports: Reports,
}

/// Files under `$CHECKVALVE_OUT` that are read.
#[derive(Default)]
pub(super) struct Reports {
    pub(super) junit: Option<String>,
    pub(super) sarif: Option<String>,
    pub(super) coverage: Option<String>,
}

/// Keys that say nothing to a built-in step.
fn senseless(builtin: Option<Builtin>) -> &'static [&'static str] {
    match builtin {
        Some(Builtin::Qa) => &[
            "image",
            "run",
            "reports",
            "from",
            "isolate",
            "matrix",
            "services",
            "env",
            "network",
            "resources",
        ],
        // It has a container of its own, with the scanner's commands.
        Some(Builtin::Scan) => &["from", "isolate", "matrix", "services"],
        // It comes after what has its secrets, whatever happened, and runs nothing.
        Some(Builtin::UploadSecrets) => &[
            "image",
            "run",
            "reports",
            "from",
            "isolate",
            "matrix",
            "services",
            "env",
            "network",
            "resources",
            "always",
            "cache",
            "untrusted",
        ],
        // It comes last, whatever happened, and runs nothing.
        Some(Builtin::Report) => &[
            "image",
            "run",
            "reports",
            "from",
            "isolate",
            "matrix",
            "services",
            "env",
            "network",
            "resources",
            "needs",
            "always",
            "secrets",
            "cache",
        ],
        Some(Builtin::Build | Builtin::Acceptance) | None => {
            &["image", "run", "reports", "from", "isolate", "matrix", "services"]
        }
    }
}

impl Problems<'_> {
    pub(super) fn does(&mut self, fields: &Fields<'_>, named: &str) -> Option<Does> {
        let Some(node) = fields.get("uses") else {
            let (image, run) = (self.image(fields, named), self.run(fields, named));
            return Some(Does { image: image?, run: run?, uses: None });
        };
        let builtin = self.builtin(node);
        for key in senseless(builtin) {
            if let Some(entry) = fields.entry(key) {
                let what = format!("`{key}` says nothing to a built-in step, and {named} is one");
                self.add(entry.place, what, format!("remove `{key}`, or `uses`"));
            }
        }
        let builtin = builtin?;
        self.runs_trusted(fields, builtin);
        let (mut image, mut run) = (Some(String::new()), Some(Vec::new()));
        if builtin == Builtin::Scan {
            (image, run) = (self.image(fields, named), self.run(fields, named));
        }
        Some(Does { image: image?, run: run?, uses: Some(builtin.into()) })
    }

    /// Before an approval no image is built, so none is called either.
    fn runs_trusted(&mut self, fields: &Fields<'_>, builtin: Builtin) {
        let with_images = matches!(builtin, Builtin::Build | Builtin::Acceptance | Builtin::Scan);
        if with_images
            && let Some(untrusted) = fields.get("untrusted")
            && matches!(untrusted.value, Value::Bool(true))
        {
            let what = format!(
                "`uses: {}` can't be `untrusted`: images are not built of strangers' code",
                builtin.as_str()
            );
            self.add(untrusted.place, what, "remove `untrusted`");
        }
    }

    fn builtin(&mut self, node: &Node) -> Option<Builtin> {
        self.word(node, "`uses`", &Builtin::ALL.map(|builtin| (builtin.as_str(), builtin)))
    }

    /// What is kept of what the step leaves, and the reports among it: a built-in step writes its
    /// own.
    pub(super) fn kept(&mut self, fields: &Fields<'_>, does: Option<&Does>) -> Kept {
        let artifacts = fields.get("artifacts").map(|node| self.patterns(node, "`artifacts`"));
        let artifacts = artifacts.into_iter().flatten().map(|(_, pattern)| pattern.to_string());
        let mut artifacts: Vec<String> = artifacts.collect();
        let mut reports = fields.get("reports").map(|node| self.reports(node)).unwrap_or_default();
        if !fields.has("uses") {
            return Kept { artifacts, reports };
        }
        if does.and_then(|does| does.uses).is_some_and(|uses| uses.builtin == Builtin::Scan) {
            for key in ["junit", "coverage"] {
                let entry = fields.get("reports").and_then(|node| entry_of(node, key));
                if let Some(place) = entry {
                    let what = format!("`{key}` says nothing to a scan, which writes SARIF");
                    self.add(place, what, "remove it");
                }
            }
            let sarif = reports.sarif.take().unwrap_or_else(|| scan::SARIF.to_owned());
            artifacts.push(globset::escape(&sarif));
            reports.sarif = Some(sarif);
        }
        artifacts.push(JUNIT.to_owned());
        // The tests that a report tells of are others'.
        let tells = does.and_then(|does| does.uses).is_some_and(|it| it.builtin == Builtin::Report);
        reports.junit = (!tells).then(|| JUNIT.to_owned());
        Kept { artifacts, reports }
    }

    fn reports(&mut self, node: &Node) -> Reports {
        let Some(fields) = self.fields(node, &REPORTS) else { return Reports::default() };
        let mut path = |key: &str, example: &str| {
            let node = fields.get(key)?;
            let file = self.text(node, &format!("`{key}`"))?;
            if Pattern::parse(&file).is_err() {
                let mend = format!("write a path under `$CHECKVALVE_OUT`, such as `{example}`");
                self.add(node.place, format!("`{key}` can't be `{file}`"), mend);
            }
            Some(file)
        };
        Reports {
            junit: path("junit", "junit.xml"),
            sarif: path("sarif", "ruff.sarif"),
            coverage: path("coverage", "coverage.xml"),
        }
    }

    /// Which findings fail a scan; nothing else has any.
    pub(super) fn fails_on(&mut self, fields: &Fields<'_>, named: &str) -> FailOn {
        let Some(entry) = fields.entry("fail") else { return FailOn::default() };
        let is_scan = fields.get("uses").is_some_and(
            |node| matches!(&node.value, Value::Text(text) if text == Builtin::Scan.as_str()),
        );
        if !is_scan {
            let what = format!("`fail` says nothing to {named}, which is no `uses: scan`");
            let mend = "remove it; `allow_failure: true` lets a failure not count";
            self.add(entry.place, what, mend);
        }
        let words = FailOn::ALL.map(|fail| (fail.as_str(), fail));
        self.word(&entry.node, "`fail`", &words).unwrap_or_default()
    }

    /// A report comes after all others, and there is one.
    pub(super) fn reported(&mut self, steps: &mut [Step]) -> bool {
        let ids: Vec<StepId> = steps.iter().map(|step| step.spec.id.clone()).collect();
        let is_report = |step: &Step| step.spec.is(Builtin::Report);
        let reports: Vec<StepId> =
            steps.iter().filter(|step| is_report(step)).map(|step| step.spec.id.clone()).collect();
        let before = self.error_count();
        for step in steps.iter() {
            if let Some(report) = step.spec.needs.iter().find(|need| reports.contains(need)) {
                let what =
                    format!("step `{}` needs `{report}`, a report, which comes last", step.spec.id);
                self.add(step.place, what, "need the steps themselves");
            }
        }
        for step in steps.iter().filter(|step| is_report(step)).skip(1) {
            let what = format!("`{}` is a second report", step.spec.id);
            self.add(step.place, what, "keep one of them");
        }
        for step in steps.iter_mut().filter(|step| is_report(step)) {
            step.spec.always = true;
            let own = step.spec.id.clone();
            step.spec.needs = ids.iter().filter(|id| **id != own).cloned().collect();
        }
        self.error_count() == before
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
            if !step.uses.is_some_and(|uses| uses.builtin.takes_image()) {
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

/// Where a mapping has a key.
fn entry_of(node: &Node, key: &str) -> Option<Place> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| entry.place)
}
