//! The repository file, `.github/checkvalve.yml`, and the presets that stand in for it.
//!
//! All errors of a file are found at once. A key that this version can't obey is refused, or, where
//! it asks for nothing that would change a result, accepted with a remark; never ignored silently.

mod pipelines;
mod presets;
mod problems;
mod reader;
mod sections;

use std::collections::BTreeSet;

use self::problems::Problems;
pub use self::problems::{Invalid, Place, Wrong};
use self::reader::{Fields, Shape};
use self::sections::Kinds;
use crate::domain::catalog::Paths;
use crate::domain::rules::{Preset, RepoRules, Unclaimed, closest};
use crate::domain::yaml::{self, Node, Value};

/// Where a repository says what its connectors are.
pub const FILE: &str = ".github/checkvalve.yml";
/// The other spelling, which would be overlooked.
const MISSPELT: &str = ".github/checkvalve.yaml";

const FILE_SHAPE: Shape = Shape {
    what: "the file",
    known: &[
        "version",
        "preset",
        "ignore",
        "connectors",
        "components",
        "impact",
        "unclaimed",
        "pipelines",
        "policy",
    ],
    not_yet: &[
        ("secrets", "secrets are not there yet: remove it, and the steps that need one"),
        ("schedules", "schedules are not there yet: remove it; pipelines run for pull requests"),
        ("depends", "`depends` belongs to a connector rule, and is not built yet: use `impact:`"),
    ],
};
const POLICY: Shape = Shape {
    what: "`policy`",
    known: &["approve", "detail"],
    not_yet: &[("bots", "bots are not told apart yet: remove it")],
};

/// The repository's rules at one tree: its file's, its preset's, or both.
///
/// `file` is the text of [`FILE`] (or of the file that stands in for it) and the name under which
/// errors speak of it; `at` says in words which tree this is.
pub fn resolve(file: Option<(&str, &str)>, at: &str, paths: &Paths) -> Result<RepoRules, Invalid> {
    match file {
        Some((name, text)) => from_file(name, text, at, paths),
        None if paths.has_file(MISSPELT) => {
            let mend = format!("rename it to `{FILE}`");
            Err(Invalid::whole(MISSPELT, format!("`{MISSPELT}` is not read"), mend))
        }
        None => match presets::recognise(paths) {
            Preset::None => Err(Invalid::whole(
                FILE,
                format!("there is no `{FILE}`, and the layout is not a known one"),
                "add the file; docs/repository-file.md shows one".to_owned(),
            )),
            preset @ (Preset::Airbyte | Preset::Estuary | Preset::Tinybird | Preset::Airflow) => {
                let mut rules = RepoRules::empty(format!("preset {preset}, recognised {at}"));
                presets::apply(preset, &mut rules);
                Ok(rules)
            }
        },
    }
}

fn from_file(name: &str, text: &str, at: &str, paths: &Paths) -> Result<RepoRules, Invalid> {
    let mut problems = Problems::new(name, text);
    let document = match yaml::parse(text) {
        Ok(document) => document,
        Err((place, what)) => {
            let mend = "mend the YAML; an editor with YAML support shows where it breaks";
            problems.add(place, what, mend);
            return problems.finish().map(|_| RepoRules::empty(String::new()));
        }
    };
    let mut rules = RepoRules::empty(format!("{name} {at}"));
    if let Some(fields) = problems.fields(&document, &FILE_SHAPE) {
        problems.sections(&fields, &mut rules, paths);
    }
    rules.notes = problems.finish()?;
    Ok(rules)
}

impl Problems<'_> {
    fn sections(&mut self, fields: &Fields<'_>, rules: &mut RepoRules, paths: &Paths) {
        if let Some(node) = fields.get("version")
            && !matches!(&node.value, Value::Number(text) if text == "1")
        {
            self.add(
                node.place,
                "this version reads files of `version: 1` only",
                "write `version: 1`",
            );
        }
        let mut kinds = Kinds::new();
        self.ignore(fields, rules);
        for item in self.items(fields, "connectors") {
            rules.connectors.extend(self.connector_rule(item));
        }
        for item in self.items(fields, "components") {
            rules.components.extend(self.component(item));
        }
        self.distinct_components(fields, rules);
        for item in self.items(fields, "impact") {
            rules.impact.extend(self.impact_rule(item, &mut kinds));
        }
        for item in self.items(fields, "pipelines") {
            rules.pipelines.extend(self.pipeline(item, &mut kinds));
        }
        if let Some(node) = fields.get("policy") {
            self.policy(node);
        }
        let preset = self.preset(fields, rules, paths);
        presets::apply(preset, rules);
        if preset != Preset::None {
            rules.origin = format!("{} (preset {preset})", rules.origin);
        }
        let words =
            [("all", Unclaimed::All), ("none", Unclaimed::None), ("error", Unclaimed::Error)];
        if let Some(unclaimed) =
            fields.get("unclaimed").and_then(|node| self.word(node, "`unclaimed`", &words))
        {
            rules.unclaimed = unclaimed;
        }
        self.known_kinds(&kinds, rules);
    }

    fn items<'n>(&mut self, fields: &Fields<'n>, key: &str) -> &'n [Node] {
        fields.get(key).map(|node| self.list(node, &format!("`{key}`"))).unwrap_or_default()
    }

    fn ignore(&mut self, fields: &Fields<'_>, rules: &mut RepoRules) {
        let Some(node) = fields.get("ignore") else { return };
        for (place, pattern) in self.patterns(node, "`ignore`") {
            if let Some(variable) = pattern.variables().into_iter().next() {
                let what = format!("nothing gives the variable `{{{variable}}}` a value");
                self.add(place, what, "write `*` for any name");
            }
            rules.ignore.push(pattern);
        }
    }

    fn distinct_components(&mut self, fields: &Fields<'_>, rules: &RepoRules) {
        let mut seen = BTreeSet::new();
        for component in &rules.components {
            if !seen.insert(component.name.to_lowercase()) {
                let place = fields.entry("components").map_or(fields.place, |entry| entry.place);
                let what = format!("two components are called `{}`", component.name);
                self.add(place, what, "give each its own name, or join their `include` lists");
            }
        }
    }

    /// The file's preset; without one, a file that says nothing of connectors adds to the layout
    /// that is recognised.
    fn preset(&mut self, fields: &Fields<'_>, rules: &RepoRules, paths: &Paths) -> Preset {
        let Some(node) = fields.get("preset") else {
            if fields.get("connectors").is_some() || fields.get("components").is_some() {
                return Preset::None;
            }
            let preset = presets::recognise(paths);
            if preset == Preset::None {
                let mend = "add `connectors:`, `components:` or a `preset:`";
                self.add(fields.place, "the file says nothing of connectors", mend);
            }
            return preset;
        };
        let Some(text) = self.text(node, "`preset`") else { return Preset::None };
        match text.as_str() {
            "airbyte" => Preset::Airbyte,
            "none" => {
                if rules.connectors.is_empty() && rules.components.is_empty() {
                    let mend = "add `connectors:` or `components:`";
                    self.add(fields.place, "the file says nothing of connectors", mend);
                }
                Preset::None
            }
            "estuary" | "tinybird" | "airflow" => {
                let mend = "the presets are `airbyte` and `none` so far: write the layout under \
                            `connectors:`";
                self.add(node.place, format!("the preset `{text}` is not there yet"), mend);
                Preset::None
            }
            other => {
                let known = ["airbyte", "estuary", "tinybird", "airflow", "none"];
                let mend = closest(other, known).map_or_else(
                    || "the presets are `airbyte` and `none` so far".to_owned(),
                    |known| format!("did you mean `{known}`?"),
                );
                self.add(node.place, format!("there is no preset `{other}`"), mend);
                Preset::None
            }
        }
    }

    fn policy(&mut self, node: &Node) {
        let Some(fields) = self.fields(node, &POLICY) else { return };
        if let Some(node) = fields.get("approve") {
            let words = [("write", true), ("maintain", false), ("admin", false)];
            if self.word(node, "`approve`", &words) == Some(false) {
                let mend = "write `write`: whoever may write may run, so far";
                self.add(node.place, "`approve` can only be `write` yet", mend);
            }
        }
        if let Some(node) = fields.get("detail") {
            let words = [("step", true), ("connector", false), ("summary", false)];
            if self.word(node, "`detail`", &words) == Some(false) {
                let mend = "write `step`: one check run a step is what there is so far";
                self.add(node.place, "`detail` can only be `step` yet", mend);
            }
        }
    }

    /// A selector of a kind that no connector can have would select nothing, silently.
    fn known_kinds(&mut self, kinds: &Kinds, rules: &RepoRules) {
        let known: BTreeSet<&str> = rules
            .connectors
            .iter()
            .filter_map(|rule| rule.kind.as_deref())
            .chain(rules.components.iter().filter_map(|component| component.kind.as_deref()))
            .collect();
        for (place, kind) in kinds {
            if known.contains(kind.as_str()) {
                continue;
            }
            let mend = closest(kind, known.iter().copied()).map_or_else(
                || "give a connector rule or component this `kind`".to_owned(),
                |known| format!("did you mean `{known}`?"),
            );
            self.add(*place, format!("no connector rule makes the kind `{kind}`"), mend);
        }
    }
}
