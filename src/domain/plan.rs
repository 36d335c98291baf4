//! A pipeline resolved for one connector at one commit. A [`Plan`] is acyclic by type: nothing
//! but [`Plan::new`] makes one.

mod about;
mod merge;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, de};
use sha2::{Digest, Sha256};

pub use self::about::About;
pub use self::merge::{Conflict, Merge};
use super::builtin::Builtin;
use super::names::{ConnectorName, SecretName, StepId};
use super::pins::Pins;
use super::pipeline::StepSpec;
use super::qa::Basis;
use super::secret::SecretSpec;
use super::service::Service;

/// Why steps are not a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("two steps are called `{0}`; give each its own id")]
    Duplicate(StepId),
    #[error("step `{step}` needs `{needs}`, which does not exist{}", closest(.suggestion.as_ref()))]
    UnknownNeed { step: StepId, needs: StepId, suggestion: Option<StepId> },
    #[error("steps need each other in a circle: {}", circle(.0))]
    Cycle(Vec<StepId>),
    #[error("the pipeline has no steps")]
    Empty,
}

fn closest(suggestion: Option<&StepId>) -> String {
    suggestion.map_or_else(String::new, |step| format!("; did you mean `{step}`?"))
}

fn circle(steps: &[StepId]) -> String {
    let mut names: Vec<String> = steps.iter().map(|step| format!("`{step}`")).collect();
    names.extend(names.first().cloned());
    names.join(" → ")
}

/// Which part of the source tree a job's containers receive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Folders and files, whole.
    pub paths: Vec<String>,
    /// Globs over the tree's paths.
    pub globs: Vec<String>,
}

/// The steps of one connector in an order in which each comes after what it needs; ties keep the
/// order of declaration.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    connector: ConnectorName,
    /// The connector's folder (or file), `/`-separated, relative to the tree.
    root: String,
    /// The connector's own version at this commit, as its attributes say; for reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "About::is_empty")]
    about: About,
    /// What `qa` judges by beside the tree, if a step asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<Basis>,
    /// Of the jobs with the same lock, one runs at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<String>,
    /// A new head of its pull request does not end it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    outlives_head: bool,
    /// Absent: the head is tested as it was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    merge: Option<Merge>,
    /// Present: none of its steps runs, for there is no merge to be tested.
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<Conflict>,
    /// The code is a stranger's: its steps have nothing to take.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    guarded: bool,
    inputs: Inputs,
    /// What the inputs hold, by parts of the tree: a digest of each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sources: BTreeMap<String, String>,
    steps: Vec<StepSpec>,
    /// Where its steps' secrets come from; never a value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<SecretSpec>,
    /// Present: it is an earlier run's, and goes with that run's images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pins: Option<Pins>,
}

impl Plan {
    pub fn new(
        connector: ConnectorName,
        root: String,
        inputs: Inputs,
        steps: Vec<StepSpec>,
    ) -> Result<Self, PlanError> {
        let steps = in_order(steps.into_iter().map(after_its_parent).collect())?;
        let (version, about, basis) = (None, About::default(), None);
        let (sources, secrets) = (BTreeMap::new(), Vec::new());
        let (lock, outlives_head, guarded) = (None, false, false);
        let (merge, conflict, pins) = (None, None, None);
        Ok(Self {
            connector,
            root,
            version,
            about,
            basis,
            lock,
            outlives_head,
            merge,
            conflict,
            guarded,
            inputs,
            sources,
            steps,
            secrets,
            pins,
        })
    }

    /// The same plan, under a lock.
    #[must_use]
    pub fn with_lock(self, lock: Option<String>) -> Self {
        Self { lock, ..self }
    }

    /// Of the jobs of a repository with the same lock, one runs at a time.
    pub fn lock(&self) -> Option<&str> {
        self.lock.as_deref()
    }

    /// The same plan, which a new head ends or not.
    #[must_use]
    pub fn with_outlives_head(self, outlives_head: bool) -> Self {
        Self { outlives_head, ..self }
    }

    /// Is it carried on when its pull request has a new head?
    pub fn outlives_head(&self) -> bool {
        self.outlives_head
    }

    /// The same plan, of a merge.
    #[must_use]
    pub fn with_merge(self, merge: Option<Merge>) -> Self {
        Self { merge, ..self }
    }

    /// What is tested in place of the head, if something is.
    pub fn merge(&self) -> Option<&Merge> {
        self.merge.as_ref()
    }

    /// The same plan, held for a conflict: it waits for nobody, and is in nobody's way.
    #[must_use]
    pub fn held(self, conflict: Option<Conflict>) -> Self {
        if conflict.is_none() {
            return self;
        }
        Self { conflict, lock: None, secrets: Vec::new(), ..self }
    }

    /// Why none of its steps runs, if none does.
    pub fn conflict(&self) -> Option<&Conflict> {
        self.conflict.as_ref()
    }

    /// The same plan, with the images of an earlier run.
    #[must_use]
    pub fn with_pins(self, pins: Option<Pins>) -> Self {
        Self { pins, ..self }
    }

    /// The images of the earlier run whose plan it is, if it is one's.
    pub fn pins(&self) -> Option<&Pins> {
        self.pins.as_ref()
    }

    /// What a step's container is made of: what the step names, unless the plan is an earlier run's.
    pub fn image_of<'p>(&'p self, spec: &'p StepSpec) -> &'p str {
        let pinned = self.pins.as_ref().and_then(|pins| pins.step(&spec.id));
        pinned.filter(|_| !spec.image.is_empty()).unwrap_or(&spec.image)
    }

    /// The same of what runs beside a step.
    pub fn service_image_of<'p>(&'p self, spec: &StepSpec, service: &'p Service) -> &'p str {
        let pinned = self.pins.as_ref().and_then(|pins| pins.service(&spec.id, &service.alias));
        pinned.unwrap_or(&service.image)
    }

    /// What the images were that a step's own image was built on, by their names, if the plan is an
    /// earlier run's.
    pub fn bases_of(&self, step: &StepId) -> Option<&BTreeMap<String, String>> {
        self.pins.as_ref()?.bases(step)
    }

    /// The same plan, of a stranger's code: each step in a container of its own, without secrets, and
    /// in nobody's way.
    #[must_use]
    pub fn guarded(mut self) -> Self {
        for step in &mut self.steps {
            step.isolate = true;
        }
        Self { guarded: true, lock: None, secrets: Vec::new(), ..self }
    }

    /// Is the code a stranger's, that nobody approved?
    pub fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// The same plan, with where its steps' secrets come from.
    #[must_use]
    pub fn with_secrets(self, secrets: Vec<SecretSpec>) -> Self {
        Self { secrets, ..self }
    }

    pub fn secrets(&self) -> &[SecretSpec] {
        &self.secrets
    }

    /// The same plan, with the version that the connector's attributes give.
    #[must_use]
    pub fn with_version(self, version: Option<String>) -> Self {
        Self { version, ..self }
    }

    /// The same plan, with what its reader may want to know of the connector.
    #[must_use]
    pub fn with_about(self, about: About) -> Self {
        Self { about, ..self }
    }

    /// The same plan, with the digests of what its inputs hold.
    #[must_use]
    pub fn with_sources(self, sources: BTreeMap<String, String>) -> Self {
        Self { sources, ..self }
    }

    /// Digests of what the inputs hold, by parts of the tree; none if that is not known.
    pub fn sources(&self) -> &BTreeMap<String, String> {
        &self.sources
    }

    /// The same plan, with what `qa` judges by.
    #[must_use]
    pub fn with_basis(self, basis: Option<Basis>) -> Self {
        Self { basis, ..self }
    }

    /// What `qa` judges by beside the tree: facts of planning, since a plan is fixed when made.
    pub fn basis(&self) -> Option<&Basis> {
        self.basis.as_ref()
    }

    pub fn about(&self) -> &About {
        &self.about
    }

    pub fn connector(&self) -> &ConnectorName {
        &self.connector
    }

    pub fn root(&self) -> &str {
        &self.root
    }

    /// The connector's own version, if its attributes give one.
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    pub fn steps(&self) -> &[StepSpec] {
        &self.steps
    }

    pub fn step(&self, id: &StepId) -> Option<&StepSpec> {
        self.steps.iter().find(|step| step.id == *id)
    }

    /// The steps of this kind that a step comes after, in the plan's order.
    pub fn before(&self, step: &StepId, builtin: Builtin) -> Vec<&StepId> {
        let mut needed: BTreeSet<&StepId> = BTreeSet::new();
        for spec in self.steps.iter().rev() {
            if spec.id == *step || needed.contains(&spec.id) {
                needed.extend(&spec.needs);
            }
        }
        let wanted = |spec: &&StepSpec| spec.is(builtin) && needed.contains(&spec.id);
        self.steps.iter().filter(wanted).map(|spec| &spec.id).collect()
    }

    /// A step, and every step that comes after it.
    pub fn from_on(&self, first: &StepId) -> BTreeSet<StepId> {
        let mut after: BTreeSet<StepId> = BTreeSet::new();
        // The plan's order puts each step after its needs.
        for spec in &self.steps {
            if spec.id == *first || spec.needs.iter().any(|need| after.contains(need)) {
                after.insert(spec.id.clone());
            }
        }
        after
    }

    /// The steps to run where only these are wanted, in the plan's order: with those that build the
    /// images which these work with, since an image is gone with its job.
    pub fn to_run(&self, wanted: &BTreeSet<StepId>) -> Vec<StepId> {
        let mut all: BTreeSet<&StepId> = wanted.iter().collect();
        for spec in self.steps.iter().filter(|spec| wanted.contains(&spec.id)) {
            if spec.is(Builtin::Acceptance) || spec.is(Builtin::Scan) {
                all.extend(self.before(&spec.id, Builtin::Build));
            }
        }
        let ids = self.steps.iter().map(|spec| &spec.id);
        ids.filter(|id| all.contains(id)).cloned().collect()
    }

    /// Is each of its steps left out, but for those that come after the others and test nothing?
    pub fn tests_nothing(&self) -> bool {
        let after = |step: &StepSpec| step.is(Builtin::Report) || step.is(Builtin::UploadSecrets);
        self.steps.iter().all(|step| step.left_out.is_some() || after(step))
    }

    /// The secrets that go back to where they come from when the connector renews them.
    pub fn written_back(&self) -> BTreeSet<&SecretName> {
        let uploads = self.steps.iter().filter(|step| step.is(Builtin::UploadSecrets));
        uploads.filter(|step| step.left_out.is_none()).flat_map(|step| &step.secrets).collect()
    }

    /// What no two jobs may have at once: such a secret is good for one of them alone.
    pub fn exclusive_secrets(&self) -> BTreeSet<String> {
        let back = self.written_back();
        let renewed = self.secrets.iter().filter(|secret| back.contains(&secret.name));
        renewed.filter_map(|secret| secret.source.shared(&self.connector)).collect()
    }

    /// A digest of everything that the plan says: equal plans, equal digests, on every machine. One
    /// that is carried out again is the same plan, whatever it was carried out with.
    pub fn digest(&self) -> String {
        let said = Self { pins: None, ..self.clone() };
        let json = serde_json::to_vec(&said).unwrap_or_default();
        hex::encode(Sha256::digest(json))
    }
}

impl<'de> Deserialize<'de> for Plan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Stored {
            connector: ConnectorName,
            root: String,
            #[serde(default)]
            version: Option<String>,
            #[serde(default)]
            about: About,
            #[serde(default)]
            basis: Option<Basis>,
            #[serde(default)]
            lock: Option<String>,
            #[serde(default)]
            outlives_head: bool,
            #[serde(default)]
            merge: Option<Merge>,
            #[serde(default)]
            conflict: Option<Conflict>,
            #[serde(default)]
            guarded: bool,
            inputs: Inputs,
            #[serde(default)]
            sources: BTreeMap<String, String>,
            steps: Vec<StepSpec>,
            #[serde(default)]
            secrets: Vec<SecretSpec>,
            #[serde(default)]
            pins: Option<Pins>,
        }
        let stored = Stored::deserialize(deserializer)?;
        Self::new(stored.connector, stored.root, stored.inputs, stored.steps)
            .map(|plan| plan.with_version(stored.version).with_about(stored.about))
            .map(|plan| plan.with_sources(stored.sources).with_secrets(stored.secrets))
            .map(|plan| plan.with_basis(stored.basis).with_lock(stored.lock))
            .map(|plan| plan.with_outlives_head(stored.outlives_head).with_merge(stored.merge))
            .map(|plan| plan.held(stored.conflict))
            .map(|plan| if stored.guarded { plan.guarded() } else { plan })
            .map(|plan| plan.with_pins(stored.pins))
            .map_err(de::Error::custom)
    }
}

/// The part of a path below a connector's root, which may be the path itself.
pub fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    let root = root.trim_matches('/');
    if root.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(root)?;
    if rest.is_empty() {
        return Some(path.rsplit('/').next().unwrap_or(path));
    }
    rest.strip_prefix('/')
}

/// Who inherits from a step needs it.
fn after_its_parent(mut step: StepSpec) -> StepSpec {
    if let Some(from) = step.from.clone().filter(|from| !step.needs.contains(from)) {
        step.needs.push(from);
    }
    step
}

fn in_order(steps: Vec<StepSpec>) -> Result<Vec<StepSpec>, PlanError> {
    if steps.is_empty() {
        return Err(PlanError::Empty);
    }
    check_names(&steps)?;
    let mut waiting = steps;
    let mut placed = BTreeSet::new();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let next = waiting.iter().position(|step| step.needs.iter().all(|id| placed.contains(id)));
        let Some(next) = next else { return Err(PlanError::Cycle(find_cycle(&waiting))) };
        let step = waiting.remove(next);
        placed.insert(step.id.clone());
        ordered.push(step);
    }
    Ok(ordered)
}

fn check_names(steps: &[StepSpec]) -> Result<(), PlanError> {
    let mut ids = BTreeSet::new();
    for step in steps {
        if !ids.insert(&step.id) {
            return Err(PlanError::Duplicate(step.id.clone()));
        }
    }
    for step in steps {
        for needs in &step.needs {
            if !ids.contains(needs) {
                let suggestion = ids
                    .iter()
                    .map(|id| (strsim::damerau_levenshtein(id.as_str(), needs.as_str()), *id))
                    .filter(|(distance, _)| *distance <= 3)
                    .min()
                    .map(|(_, id)| id.clone());
                let (step, needs) = (step.id.clone(), needs.clone());
                return Err(PlanError::UnknownNeed { step, needs, suggestion });
            }
        }
    }
    Ok(())
}

/// One circle among steps of which each waits for another of them.
fn find_cycle(waiting: &[StepSpec]) -> Vec<StepId> {
    let by_id: BTreeMap<&StepId, &StepSpec> = waiting.iter().map(|s| (&s.id, s)).collect();
    let mut path: Vec<&StepId> = Vec::new();
    let mut at = waiting.first().map(|step| &step.id);
    while let Some(id) = at {
        if let Some(start) = path.iter().position(|seen| *seen == id) {
            return path[start..].iter().map(|id| (*id).clone()).collect();
        }
        path.push(id);
        at = by_id.get(id).and_then(|s| s.needs.iter().find(|need| by_id.contains_key(need)));
    }
    Vec::new()
}
