//! The steps of pipelines.

use std::collections::{BTreeMap, BTreeSet};

use super::builtin::Does;
use super::keys::{RESOURCES, STEP, WHEN};
use super::problems::{Place, Problems};
use super::reader::Fields;
use super::secrets::Used;
use super::sections::Kinds;
use super::services::Listed;
use crate::domain::matrix::Matrix;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::pipeline::{CachePolicy, DEFAULT_TIMEOUT, Network, Resources, StepSpec};
use crate::domain::plan::{Inputs, Plan, PlanError};
use crate::domain::rules::{Condition, Pattern, closest};
use crate::domain::yaml::{Node, Value};

/// A step as it stands in the file.
pub(super) struct Step {
    pub(super) place: Place,
    pub(super) spec: StepSpec,
    /// The ids that it needs.
    pub(super) needs: Vec<(Place, String)>,
    /// Where it says whose file system it inherits.
    pub(super) from: Option<(Place, String)>,
    /// Where it names an image.
    pub(super) image: Option<Place>,
    pub(super) matrix: Option<Matrix>,
}

pub(super) const MAX_STEPS: usize = 100;

/// What steps say that belongs to their pipeline.
#[derive(Default)]
pub(super) struct Rest {
    pub(super) inputs: Vec<Pattern>,
    pub(super) when: BTreeMap<StepId, Condition>,
    pub(super) compose: BTreeMap<StepId, String>,
    pub(super) kinds: Kinds,
    pub(super) used: Used,
}

impl Problems<'_> {
    /// Steps that make a plan.
    pub(super) fn steps(&mut self, node: &Node, rest: &mut Rest) -> Option<Vec<StepSpec>> {
        let items = self.list(node, "`steps`");
        if items.is_empty() {
            if matches!(node.value, Value::List(_)) {
                self.add(
                    node.place,
                    "the pipeline has no steps",
                    "add a step: `{ id, image, run }`",
                );
            }
            return None;
        }
        if items.len() > MAX_STEPS {
            let what = format!("the pipeline has {} steps", items.len());
            self.add(node.place, what, format!("a pipeline has at most {MAX_STEPS}"));
            return None;
        }
        let mut read: Vec<Step> = Vec::new();
        let mut whole = true;
        for item in items {
            match self.step(item, rest) {
                Some(mut step) => {
                    whole &= self.matrix(item, &mut step);
                    read.push(step);
                }
                None => whole = false,
            }
        }
        whole &= self.unique(&read);
        let ids = ids_of(items);
        whole &= self.needs(&mut read, &ids);
        whole &= self.parents(&mut read, &ids);
        whole &= self.inherits_no_secrets(&read);
        whole &= self.uploaded(&mut read);
        whole &= self.reported(&mut read);
        if !whole {
            return None;
        }
        let places: BTreeMap<StepId, Place> =
            read.iter().map(|step| (step.spec.id.clone(), step.place)).collect();
        let specs: Vec<StepSpec> = read.iter().map(|step| step.spec.clone()).collect();
        if !self.acyclic(&specs, &places) || !self.inherited(&mut read) {
            return None;
        }
        self.expanded(read, rest)
    }

    fn unique(&mut self, steps: &[Step]) -> bool {
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        let mut unique = true;
        for Step { place, spec, .. } in steps {
            // Check names differ in more than case, for the eyes of whoever reads them.
            if let Some(first) = seen.insert(spec.id.as_str().to_lowercase(), *place) {
                let what = format!("two steps are called `{}`", spec.id);
                let mend = format!("give each its own id; the first is on line {}", first.line);
                self.add(*place, what, mend);
                unique = false;
            }
        }
        unique
    }

    /// `ids` are those of all steps, also of ones that could not be read.
    fn needs(&mut self, steps: &mut [Step], ids: &BTreeSet<&str>) -> bool {
        let mut known = true;
        for Step { spec, needs, .. } in steps {
            for (place, needed) in needs.iter() {
                if ids.contains(needed.as_str()) {
                    spec.needs.extend(needed.parse::<StepId>());
                    continue;
                }
                known = false;
                let what = format!("step `{}` needs `{needed}`, which does not exist", spec.id);
                self.add(*place, what, a_step(needed, ids));
            }
            let mut seen = BTreeSet::new();
            spec.needs.retain(|id| seen.insert(id.clone()));
        }
        known
    }

    fn acyclic(&mut self, steps: &[StepSpec], places: &BTreeMap<StepId, Place>) -> bool {
        let Ok(anyone) = "any".parse::<ConnectorName>() else { return true };
        match Plan::new(anyone, String::new(), Inputs::default(), steps.to_vec()) {
            Ok(plan) => self.built_before(&plan, places),
            Err(error) => {
                let at = match &error {
                    PlanError::Cycle(ids) => ids.first(),
                    PlanError::Duplicate(id) | PlanError::UnknownNeed { step: id, .. } => Some(id),
                    PlanError::Empty => None,
                };
                let place = at.and_then(|id| places.get(id)).copied().unwrap_or(Place::START);
                self.add(place, error.to_string(), "take one of the `needs` out");
                false
            }
        }
    }

    fn step(&mut self, node: &Node, rest: &mut Rest) -> Option<Step> {
        let fields = self.fields(node, &STEP)?;
        let id = self.step_id(&fields);
        let named = id.as_ref().map_or_else(|| "the step".to_owned(), |id| format!("step `{id}`"));
        let from = self.from(&fields);
        let does = self.does(&fields, &named);
        let needs = fields.get("needs").map(|node| self.texts(node, "`needs`")).unwrap_or_default();
        let cache = self.cache(&fields);
        let timeout =
            fields.get("timeout").map_or(Some(DEFAULT_TIMEOUT), |n| self.duration(n, "`timeout`"));
        let retries = fields.get("retries").map_or(Some(0), |n| self.count(n, "`retries`", 10));
        let network = self.network(&fields);
        let resources = fields.get("resources").map(|node| self.resources(node));
        let env = fields.get("env").map(|node| self.env(node)).unwrap_or_default();
        let secrets = self.step_secrets(&fields, &env, &mut rest.used);
        let Listed { services, compose } = self.services(&fields);
        let kept = self.kept(&fields, does.as_ref());
        let fail = self.fails_on(&fields, &named);
        if let Some(node) = fields.get("inputs") {
            let inputs = self.patterns(node, "`inputs`");
            rest.inputs.extend(inputs.into_iter().map(|(_, pattern)| pattern));
        }
        let when = fields.get("when").map(|node| self.when(node, &mut rest.kinds));
        let always = self.flag(&fields, "always");
        let allow_failure = self.flag(&fields, "allow_failure");
        let untrusted = self.flag(&fields, "untrusted");
        let isolate = self.flag(&fields, "isolate");
        let resources = match resources {
            Some(asked) => Some(asked?),
            None => None,
        };
        if let (Some(when), Some(id)) = (when, &id) {
            rest.when.insert(id.clone(), when?);
        }
        rest.compose.extend(id.clone().zip(compose));
        let Does { image, run, uses } = does?;
        let spec = StepSpec {
            image,
            run,
            uses,
            always,
            env,
            secrets,
            services,
            timeout_ms: u64::try_from(timeout?.as_millis()).unwrap_or(u64::MAX),
            retries: retries?,
            network: network?,
            resources,
            artifacts: kept.artifacts,
            junit: kept.reports.junit,
            sarif: kept.reports.sarif,
            coverage: kept.reports.coverage,
            fail,
            allow_failure,
            untrusted,
            isolate,
            cache,
            ..StepSpec::new(id?)
        };
        let image = fields.get("image").map(|node| node.place);
        Some(Step { place: node.place, spec, needs, from, image, matrix: None })
    }

    fn network(&mut self, fields: &Fields<'_>) -> Option<Network> {
        let Some(node) = fields.get("network") else { return Some(Network::Bridge) };
        self.word(node, "`network`", &[("none", Network::None), ("bridge", Network::Bridge)])
    }

    fn when(&mut self, node: &Node, kinds: &mut Kinds) -> Option<Condition> {
        let fields = self.fields(node, &WHEN)?;
        let mut condition = Condition::default();
        if let Some(node) = fields.get("files") {
            let files = self.patterns(node, "`files`");
            condition.files = files.into_iter().map(|(_, pattern)| pattern).collect();
        }
        if let Some(node) = fields.get("attributes") {
            condition.attributes = self.values(node, kinds);
        }
        if condition == Condition::default() {
            let mend = "write `when: { files: \"unit_tests/**\" }`, or remove it";
            self.add(fields.place, "`when` says nothing", mend);
        }
        Some(condition)
    }

    fn values(&mut self, node: &Node, kinds: &mut Kinds) -> BTreeMap<String, Vec<String>> {
        let mut values = BTreeMap::new();
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, "`attributes`", "a mapping from attributes to values");
            return values;
        };
        for entry in entries {
            let wanted = self.texts(&entry.node, &format!("`attributes.{}`", entry.key));
            if entry.key == "kind" {
                kinds.extend(wanted.iter().cloned());
            }
            let wanted: Vec<String> = wanted.into_iter().map(|(_, value)| value).collect();
            if wanted.is_empty() {
                let what =
                    format!("`attributes.{}` has no values: no connector has one", entry.key);
                self.add(entry.place, what, "name one, or remove it");
            }
            if values.insert(entry.key.clone(), wanted).is_some() {
                let what = format!("`{}` stands twice in `attributes`", entry.key);
                self.add(entry.place, what, "put both into one list");
            }
        }
        values
    }

    fn flag(&mut self, fields: &Fields<'_>, key: &str) -> bool {
        fields.get(key).and_then(|node| self.boolean(node, &format!("`{key}`"))).unwrap_or(false)
    }

    fn cache(&mut self, fields: &Fields<'_>) -> CachePolicy {
        use CachePolicy::{All, Never, Success};
        let Some(node) = fields.get("cache") else { return CachePolicy::default() };
        let words = [
            ("success", Success),
            ("all", All),
            ("never", Never),
            ("off", Never),
            ("false", Never),
        ];
        let asked = match node.value {
            Value::Bool(truth) => Some(if truth { Success } else { Never }),
            Value::Null | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                self.word(node, "`cache`", &words)
            }
        };
        asked.unwrap_or_default()
    }

    fn step_id(&mut self, fields: &Fields<'_>) -> Option<StepId> {
        let Some(node) = fields.get("id") else {
            self.add(
                fields.place,
                "the step has no `id`",
                "add `id: unit`: it names the check run",
            );
            return None;
        };
        let text = self.text(node, "`id`")?;
        match text.parse() {
            Ok(id) => Some(id),
            Err(error) => {
                let error: crate::domain::names::InvalidName = error;
                self.add(node.place, error.to_string(), "it becomes a part of a check's name");
                None
            }
        }
    }

    /// Its own, or nothing where it has its parent's.
    pub(super) fn image(&mut self, fields: &Fields<'_>, named: &str) -> Option<String> {
        let Some(node) = fields.get("image") else {
            if fields.get("from").is_some() {
                return Some(String::new());
            }
            let mend = "add `image: \"python:3.11\"`: the container that it runs in, or a built-in step's `uses`";
            self.add(fields.place, format!("{named} has no `image`"), mend);
            return None;
        };
        let image = self.text(node, "`image`")?;
        // One with places for values is a name once they are in.
        let is_open = fields.get("matrix").is_some() || image.contains('{');
        (is_open || self.image_name(node.place, &image)).then_some(image)
    }

    pub(super) fn run(&mut self, fields: &Fields<'_>, named: &str) -> Option<Vec<String>> {
        let Some(node) = fields.get("run") else {
            let mend = "add `run: \"…\"`: a command for `sh -e -c`, or a list of them";
            self.add(fields.place, format!("{named} has nothing to `run`"), mend);
            return None;
        };
        let before = self.error_count();
        let commands: Vec<String> =
            self.texts(node, "`run`").into_iter().map(|(_, command)| command).collect();
        if commands.is_empty() && self.error_count() == before {
            self.add(node.place, format!("{named} has nothing to `run`"), "add a command");
        }
        (!commands.is_empty() && self.error_count() == before).then_some(commands)
    }

    pub(super) fn env(&mut self, node: &Node) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, "`env`", "a mapping from names to values");
            return env;
        };
        for entry in entries {
            let name = &entry.key;
            if !is_variable_name(name) {
                let mend = "use letters, digits and `_`, not beginning with a digit";
                self.add(entry.place, format!("`{name}` can't be an environment variable"), mend);
            } else if name.starts_with("CHECKVALVE_") {
                let mend = "choose another name: `CHECKVALVE_` ones are set for every step";
                self.add(entry.place, format!("`{name}` is reserved"), mend);
            }
            let Some(value) = entry.node.written() else {
                self.wrong_type(&entry.node, &format!("`env.{name}`"), "a text");
                continue;
            };
            if value.contains('\0') {
                self.add(
                    entry.node.place,
                    format!("`env.{name}` holds a NUL character"),
                    "remove it",
                );
            }
            if env.insert(name.clone(), value).is_some() {
                self.add(
                    entry.place,
                    format!("`{name}` stands twice in `env`"),
                    "keep one of them",
                );
            }
        }
        env
    }

    pub(super) fn resources(&mut self, node: &Node) -> Option<Resources> {
        let fields = self.fields(node, &RESOURCES)?;
        let (Some(cpus), Some(memory)) = (fields.get("cpus"), fields.get("memory")) else {
            let mend = "give both: `resources: { cpus: 2, memory: 2Gi }`";
            self.add(fields.place, "`resources` is incomplete", mend);
            return None;
        };
        let cpus = self.positive(cpus, "`cpus`", 1024.0);
        let memory = self.size(memory, "`memory`");
        Some(Resources { cpus: cpus?, memory: memory? })
    }
}

/// The mend for a name that no step of the pipeline has.
pub(super) fn a_step(name: &str, ids: &BTreeSet<&str>) -> String {
    match closest(name, ids.iter().copied()) {
        Some(id) => format!("did you mean `{id}`?"),
        None => "name a step of the same pipeline".to_owned(),
    }
}

fn ids_of(steps: &[Node]) -> BTreeSet<&str> {
    let entries = steps.iter().filter_map(|step| match &step.value {
        Value::Map(entries) => entries.iter().find(|entry| entry.key == "id"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => None,
    });
    entries
        .filter_map(|entry| match &entry.node.value {
            Value::Text(id) => Some(id.as_str()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                None
            }
        })
        .collect()
}

fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
