//! When a step's result may be used again: a key of everything that can change it, and in words what
//! differs from the last time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::builtin::Builtin;
use super::ids::RunId;
use super::inherit;
use super::names::{ServiceAlias, StepId};
use super::pipeline::{CachePolicy, Resources, StepSpec};
use super::plan::Plan;
use super::run::StepFacts;
use super::state::Outcome;
use super::trust::Trust;

/// Raised when a key means something else than before.
const VERSION: &str = "2";
/// How many differences are told.
const TOLD: usize = 3;
/// The ingredient that keeps a pull request's results apart.
const PULL: &str = "pull request";
/// Longer values are told by their digest.
const SHORT: usize = 60;

/// Which earlier results a run may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// None: asked to run without.
    Never,
    /// None, but what steps inherit from earlier runs' steps: asked to run these.
    Inherited,
    /// Successes: asked to run again what failed.
    Success,
    /// Failures too, of steps that say `cache: all`.
    #[default]
    All,
}

impl Reuse {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Inherited => "inherited",
            Self::Success => "success",
            Self::All => "all",
        }
    }

    fn takes(self, policy: CachePolicy, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Succeeded => matches!(self, Self::Success | Self::All),
            Outcome::Failed => self == Self::All && policy == CachePolicy::All,
            Outcome::TimedOut | Outcome::Errored | Outcome::Cancelled => false,
        }
    }
}

/// With whom a run shares results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Share {
    /// With everybody in the repository.
    Repository,
    /// A stranger's, whose commit was approved: it may use everybody's, and what it leaves is for its
    /// pull request alone.
    Pull(u64),
    /// A stranger's: it may use everybody's, and leaves nothing.
    Nothing,
}

impl Share {
    pub fn of(trust: Trust, pull: Option<u64>) -> Self {
        match (trust, pull) {
            (Trust::Trusted, _) => Self::Repository,
            (Trust::Approved, Some(pull)) => Self::Pull(pull),
            (Trust::Approved, None) | (Trust::Untrusted, _) => Self::Nothing,
        }
    }

    /// The pull request whose alone the results are.
    pub fn pull(self) -> Option<u64> {
        match self {
            Self::Pull(pull) => Some(pull),
            Self::Repository | Self::Nothing => None,
        }
    }

    pub fn keeps(self) -> bool {
        match self {
            Self::Repository | Self::Pull(_) => true,
            Self::Nothing => false,
        }
    }
}

/// What is outside of a plan and can change what its steps do.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings<'a> {
    /// GitHub's id: nothing is shared between repositories.
    pub repository: u64,
    /// What runs the steps: its kind, platform, and what it adds to them.
    pub executor: &'a str,
    /// What a step may use that declares nothing.
    pub resources: Option<Resources>,
    /// The pull request whose alone the result is, if it is one's.
    pub pull: Option<u64>,
}

/// Everything that can change a step's result, by names that people understand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ingredients(BTreeMap<String, String>);

impl Ingredients {
    /// Those of a step, if everything is known: `image` answers an image's digest, `need` the key
    /// of a step that it needs.
    pub fn of(
        plan: &Plan,
        spec: &StepSpec,
        around: &Surroundings<'_>,
        image: impl Fn(&str) -> Option<String>,
        need: impl Fn(&StepId) -> Option<String>,
    ) -> Option<Self> {
        let mut all = BTreeMap::new();
        let mut add = |name: String, value: String| drop(all.insert(name, value));
        add("Checkvalve's key".to_owned(), VERSION.to_owned());
        add("repository".to_owned(), around.repository.to_string());
        add("executor".to_owned(), around.executor.to_owned());
        if let Some(pull) = around.pull {
            add(PULL.to_owned(), pull.to_string());
        }
        match spec.uses {
            None => add("image".to_owned(), image(plan.image_of(spec))?),
            Some(uses) => {
                add("built-in step".to_owned(), serde_json::to_string(&uses).unwrap_or_default());
                let basis = serde_json::to_string(&(plan.basis(), plan.version()));
                add("the base".to_owned(), basis.unwrap_or_default());
            }
        }
        add("step".to_owned(), spec.id.to_string());
        add("root".to_owned(), plan.root().to_owned());
        add("connector".to_owned(), plan.connector().to_string());
        // As lists: two that read the same when joined are not the same.
        add("`run`".to_owned(), list(&spec.run));
        let network = serde_json::to_string(&spec.network).unwrap_or_default();
        add("`network`".to_owned(), network.trim_matches('"').to_owned());
        add("`artifacts`".to_owned(), list(&spec.artifacts));
        let resources = spec.resources.or(around.resources);
        let resources = resources.map(|r| format!("{} CPUs, {} bytes", r.cpus, r.memory));
        add("`resources`".to_owned(), resources.unwrap_or_default());
        add("`reports`".to_owned(), spec.junit.clone().unwrap_or_default());
        for (name, report) in [("sarif", &spec.sarif), ("coverage", &spec.coverage)] {
            if let Some(path) = report {
                add(format!("`reports.{name}`"), path.clone());
            }
        }
        for (name, value) in &spec.env {
            add(format!("variable `{name}`"), value.clone());
        }
        for service in &spec.services {
            add(image_of(&service.alias), image(plan.service_image_of(spec, service))?);
            let said = serde_json::to_string(service).unwrap_or_default();
            add(format!("service `{}`", service.alias), said);
        }
        for (path, digest) in plan.sources() {
            add(format!("file `{path}`"), digest.clone());
        }
        let origin = inherit::origin(plan, spec).map(|origin| &origin.id);
        for step in spec.needs.iter().filter(|id| Some(*id) != origin) {
            let left_out = plan.step(step).is_some_and(|spec| spec.left_out.is_some());
            let key = if left_out { Some("left out".to_owned()) } else { need(step) };
            add(format!("step `{step}`"), key?);
        }
        if let Some(origin) = origin {
            add(format!("inherited from `{origin}`"), need(origin)?);
        }
        Some(Self(all))
    }

    /// The digest of the image.
    pub fn image(&self) -> Option<&str> {
        self.0.get("image").map(String::as_str)
    }

    /// Was the service run from another image than this was said to be?
    pub fn differs(&self, alias: &ServiceAlias, digest: &str) -> bool {
        self.0.get(&image_of(alias)).is_none_or(|known| known != digest)
    }

    /// 64 hexadecimal digits: equal ingredients, equal keys, on every machine.
    pub fn key(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        hex::encode(Sha256::digest(json))
    }

    /// What is different from earlier ones, in words; names of steps stand for what is different in
    /// them.
    pub fn differences(&self, earlier: &Self) -> String {
        // Whose it is alone is no difference in what it is made of.
        let names: std::collections::BTreeSet<&String> =
            self.0.keys().chain(earlier.0.keys()).filter(|name| *name != PULL).collect();
        let different = |name: &&String| self.0.get(*name) != earlier.0.get(*name);
        let mut told: Vec<String> = Vec::new();
        let mut count = 0;
        for name in names.into_iter().filter(different) {
            count += 1;
            if told.len() < TOLD {
                told.push(match (earlier.0.get(name), self.0.get(name)) {
                    (Some(old), Some(new)) => {
                        format!("{name} changed ({} → {})", short(old), short(new))
                    }
                    (None, _) => format!("{name} is new"),
                    (Some(_), None) => format!("{name} is gone"),
                });
            }
        }
        match count - told.len() {
            0 => told.join("; "),
            more => format!("{}; and {more} more", told.join("; ")),
        }
    }
}

fn image_of(service: &ServiceAlias) -> String {
    format!("image of service `{service}`")
}

fn list(of: &[String]) -> String {
    serde_json::to_string(of).unwrap_or_default()
}

/// As people can compare it.
fn short(value: &str) -> String {
    let is_digest = value.len() >= 40 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        return value[..12].to_owned();
    }
    if let Some((name, digest)) = value.split_once("sha256:") {
        return format!("{name}sha256:{}", digest.chars().take(12).collect::<String>());
    }
    if value.len() > SHORT || value.contains('\n') {
        return hex::encode(Sha256::digest(value))[..12].to_owned();
    }
    format!("`{value}`")
}

/// An earlier result.
#[derive(Debug, Clone, PartialEq)]
pub struct Cached {
    pub outcome: Outcome,
    pub facts: StepFacts,
    /// The run in which it was worked out.
    pub origin: RunId,
    /// The run whose objects hold its log and artifacts.
    pub kept_by: RunId,
}

/// What is known of a step before it runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// The result under its key.
    pub result: Option<Cached>,
    /// The ingredients of the last result of a step of that name.
    pub last: Option<Ingredients>,
    /// What that one took, in milliseconds.
    pub usual: Option<u64>,
}

/// Whether a step's result was used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheState {
    Hit,
    Miss,
    Off,
}

impl CacheState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Off => "off",
        }
    }
}

/// What a step's record says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheFacts {
    pub state: CacheState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub because: String,
}

impl CacheFacts {
    pub fn off(because: impl Into<String>) -> Self {
        Self { state: CacheState::Off, key: None, because: because.into() }
    }

    fn miss(key: String, because: String) -> Self {
        Self { state: CacheState::Miss, key: Some(key), because }
    }

    pub fn hit(key: String, origin: RunId) -> Self {
        let because = format!("reused from run {origin}: nothing that it depends on has changed");
        Self { state: CacheState::Hit, key: Some(key), because }
    }
}

/// Why a step's result is neither used again nor kept, whatever it is made of.
pub fn never(plan: &Plan, spec: &StepSpec) -> Option<String> {
    if spec.cache == CachePolicy::Never {
        return Some("the step says `cache: never`".to_owned());
    }
    match spec.uses.map(|uses| uses.builtin) {
        None | Some(Builtin::Qa) => {}
        // The image is gone with its job, and what a connector answers is of the moment.
        Some(Builtin::Build | Builtin::Acceptance | Builtin::Scan) => {
            return Some("what is built, and what it answers, is worked out anew".to_owned());
        }
        Some(Builtin::UploadSecrets | Builtin::Report) => {
            return Some("it tells of this job alone".to_owned());
        }
    }
    // Their values are no part of what a key is made of.
    if !spec.secrets.is_empty() {
        return Some("it has secrets".to_owned());
    }
    let parent = inherit::origin(plan, spec)?;
    never(plan, parent)?;
    Some(format!("it inherits from `{}`, whose results are never reused", parent.id))
}

/// The result that a run uses for a step, or why none.
pub fn judge(
    spec: &StepSpec,
    ingredients: &Ingredients,
    known: Known,
    reuse: Reuse,
) -> Result<Cached, CacheFacts> {
    let key = ingredients.key();
    if reuse == Reuse::Never {
        let because = "the run was asked to reuse nothing".to_owned();
        return Err(CacheFacts::miss(key, because));
    }
    if reuse == Reuse::Inherited {
        let because = "the run was asked to run this step".to_owned();
        return Err(CacheFacts::miss(key, because));
    }
    match (known.result, known.last) {
        (Some(result), _) if reuse.takes(spec.cache, result.outcome) => Ok(result),
        (Some(_), _) => {
            let because = "it failed with all of this the last time, and failures are not reused";
            Err(CacheFacts::miss(key, because.to_owned()))
        }
        (None, Some(last)) => {
            let differences = ingredients.differences(&last);
            let because = if differences.is_empty() {
                "its last result is not kept any more".to_owned()
            } else {
                differences
            };
            Err(CacheFacts::miss(key, because))
        }
        (None, None) => {
            Err(CacheFacts::miss(key, "no earlier result of this step is known".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests;
