//! A repository's configuration after parsing: connector rules, impact rules, pipelines.

mod condition;
mod pattern;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::condition::Condition;
pub use self::pattern::{Pattern, PatternError, Variables, escape};
use super::builtin::Builtin;
use super::catalog::Connector;
use super::detail::Detail;
use super::names::StepId;
use super::pipeline::StepSpec;
use super::policy::Policy;
use super::schedule::Schedule;
use super::secret::SecretSpec;

/// A known layout that needs no repository file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    #[default]
    None,
    Airbyte,
    Estuary,
    Tinybird,
    Airflow,
}

impl Preset {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Airbyte => "airbyte",
            Self::Estuary => "estuary",
            Self::Tinybird => "tinybird",
            Self::Airflow => "airflow",
        }
    }

    /// The tag of an image that is built on one's own machine, as its own tools have it.
    pub fn image_tag(self) -> &'static str {
        match self {
            Self::Estuary => "local",
            Self::None | Self::Airbyte | Self::Tinybird | Self::Airflow => "dev",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a changed path that nothing claims means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclaimed {
    /// It may matter to any connector.
    #[default]
    All,
    /// It matters to none.
    None,
    /// The repository wants every path to be spoken for.
    Error,
}

impl fmt::Display for Unclaimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all connectors",
            Self::None => "no connector",
            Self::Error => "an error",
        })
    }
}

/// Where a connector's facts stand: dotted paths in one YAML, JSON or TOML file in its root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AttributeRule {
    pub file: String,
    /// Attribute → `data.tags[language]`: keys, and a tag of a list of `tag:value` texts.
    pub paths: BTreeMap<String, String>,
}

/// A way in which connectors say what else they are built from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Derivation {
    /// Path dependencies of `pyproject.toml`.
    PyprojectPath,
    /// Local paths in `requirements*.txt`, and files that these include.
    RequirementsPath,
    /// Local paths in `setup.py`.
    SetupPy,
    /// `project(…)` of Gradle builds.
    Gradle,
    /// Sources of `COPY` and `ADD` in Dockerfiles.
    DockerfileCopy,
    /// Images that Dockerfiles build on and that the repository itself makes.
    DockerfileFrom,
    /// Imports of packages of the repository's own Go modules.
    GoImports,
    /// Imports of Python modules below these folders.
    PythonImports { roots: Vec<String> },
}

impl Derivation {
    /// As the repository file has it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::PyprojectPath => "pyproject-path",
            Self::RequirementsPath => "requirements-path",
            Self::SetupPy => "setup-py",
            Self::Gradle => "gradle",
            Self::DockerfileCopy => "dockerfile-copy",
            Self::DockerfileFrom => "dockerfile-from",
            Self::GoImports => "go-imports",
            Self::PythonImports { .. } => "python-imports",
        }
    }
}

impl fmt::Display for Derivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What Airbyte's layout does beyond markers, roots and globs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AirbyteExtras {
    pub enabled: bool,
}

/// How connectors are recognised: one marker file each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectorRule {
    pub kind: Option<String>,
    /// The marker; `{name}` and other variables stand for one path component.
    pub marker: Pattern,
    /// Variable → patterns of which one must match its value.
    pub conditions: BTreeMap<String, Vec<Pattern>>,
    /// Relative to the marker's folder: what must be there, and what must not.
    pub beside: Vec<Pattern>,
    pub unless: Vec<Pattern>,
    /// Default: the marker's folder.
    pub root: Option<Pattern>,
    /// Paths elsewhere that are the connector's own.
    pub owns: Vec<Pattern>,
    /// Names that are none.
    pub exclude: Vec<Pattern>,
    pub attributes: Option<AttributeRule>,
    /// How its connectors say what else they are built from.
    pub depends: Vec<Derivation>,
    pub airbyte: AirbyteExtras,
}

impl ConnectorRule {
    pub fn new(marker: Pattern) -> Self {
        Self {
            kind: None,
            marker,
            conditions: BTreeMap::new(),
            beside: Vec::new(),
            unless: Vec::new(),
            root: None,
            owns: Vec::new(),
            exclude: Vec::new(),
            attributes: None,
            depends: Vec::new(),
            airbyte: AirbyteExtras::default(),
        }
    }
}

/// A unit without a marker: what its patterns cover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Component {
    pub name: String,
    pub kind: Option<String>,
    pub include: Vec<Pattern>,
    pub exclude: Vec<Pattern>,
}

/// Which connectors: AND between the fields, OR within one; an empty field does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    pub name: Vec<Pattern>,
    pub kind: Vec<String>,
    pub language: Vec<String>,
    pub release_stage: Vec<String>,
    pub support_level: Vec<String>,
}

impl Selector {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn matches(&self, connector: &Connector) -> bool {
        let one_of = |wanted: &[String], value: Option<&str>| {
            wanted.is_empty()
                || value.is_some_and(|value| wanted.iter().any(|w| w.eq_ignore_ascii_case(value)))
        };
        let named = self.name.is_empty()
            || self.name.iter().any(|pattern| pattern.matches(connector.name.as_str()));
        named
            && one_of(&self.kind, connector.kind.as_deref())
            && one_of(&self.language, connector.attribute("language"))
            && one_of(&self.release_stage, connector.attribute("release_stage"))
            && one_of(&self.support_level, connector.attribute("support_level"))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.name.iter().map(ToString::to_string).collect();
        let fields = [
            ("name", &names),
            ("kind", &self.kind),
            ("language", &self.language),
            ("release_stage", &self.release_stage),
            ("support_level", &self.support_level),
        ];
        let parts: Vec<String> = fields
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(field, values)| format!("{field} {}", values.join(" or ")))
            .collect();
        if parts.is_empty() {
            f.write_str("every connector")
        } else {
            f.write_str(&parts.join(", "))
        }
    }
}

/// What an impact rule selects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaches {
    All,
    /// Names, in which the variables of the rule's paths may occur.
    Names(Vec<Pattern>),
    Selector(Selector),
}

impl fmt::Display for Reaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("every connector"),
            Self::Names(names) => {
                let names: Vec<&str> = names.iter().map(Pattern::as_str).collect();
                f.write_str(&names.join(", "))
            }
            Self::Selector(selector) => selector.fmt(f),
        }
    }
}

/// Shared code: changed paths that reach connectors elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImpactRule {
    pub paths: Vec<Pattern>,
    pub reaches: Reaches,
}

impl ImpactRule {
    /// Does a change of `path` reach the connector through this rule? The pattern that says so.
    pub fn reaches(&self, path: &str, connector: &Connector) -> Option<&Pattern> {
        self.paths.iter().find(|pattern| match &self.reaches {
            Reaches::All => pattern.matches(path),
            Reaches::Selector(selector) => selector.matches(connector) && pattern.matches(path),
            Reaches::Names(names) => pattern.bindings(path).iter().any(|bound| {
                names
                    .iter()
                    .filter_map(|name| name.fill(bound))
                    .any(|name| name.matches(connector.name.as_str()))
            }),
        })
    }

    /// The paths through which it can reach the connector, its own variables filled in where the
    /// connector fixes them; empty if it can't.
    pub fn inputs_of(&self, connector: &Connector) -> Vec<Pattern> {
        match &self.reaches {
            Reaches::All => self.paths.clone(),
            Reaches::Selector(selector) if selector.matches(connector) => self.paths.clone(),
            Reaches::Selector(_) => Vec::new(),
            Reaches::Names(names) => {
                let bound: Vec<Variables> =
                    names.iter().flat_map(|n| n.exact_bindings(connector.name.as_str())).collect();
                let fill = |pattern: &Pattern| {
                    let filled = bound.iter().filter_map(|bound| pattern.fill(bound));
                    let filled: Vec<Pattern> = filled.collect();
                    // A variable that the names do not fix stays a wildcard: more, not less.
                    if filled.is_empty() { vec![pattern.clone()] } else { filled }
                };
                if bound.is_empty() {
                    Vec::new()
                } else {
                    self.paths.iter().flat_map(fill).collect()
                }
            }
        }
    }
}

/// A declared pipeline; of those for an event, the first whose selector matches is a connector's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pipeline {
    pub selector: Selector,
    pub on: Vec<PipelineTrigger>,
    /// A new head ends the jobs of the old one.
    pub supersede: bool,
    /// Of the jobs with the same lock, one runs at a time; variables of the connector may occur.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// What is tested is the head merged with its base.
    pub merge: bool,
    pub steps: Vec<StepSpec>,
    /// Of the steps that not every connector has a use for.
    pub when: BTreeMap<StepId, Condition>,
    /// Compose files that say which services steps have: each a path from the connector's root.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub compose: BTreeMap<StepId, String>,
    /// What steps name besides the connector's own files.
    pub inputs: Vec<Pattern>,
}

/// The events that pipelines run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PipelineTrigger {
    PullRequest,
    MergeGroup,
    /// To the default branch.
    Push,
    Schedule,
}

impl PipelineTrigger {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PullRequest => "pull_request",
            Self::MergeGroup => "merge_group",
            Self::Push => "push",
            Self::Schedule => "schedule",
        }
    }
}

/// A repository's configuration, resolved with its preset.
#[derive(Debug, Clone, Serialize)]
pub struct RepoRules {
    /// In words: `.github/checkvalve.yml at 1a2b3c` or `preset airbyte`.
    pub origin: String,
    pub preset: Preset,
    pub ignore: Vec<Pattern>,
    pub connectors: Vec<ConnectorRule>,
    pub components: Vec<Component>,
    pub impact: Vec<ImpactRule>,
    pub unclaimed: Unclaimed,
    pub pipelines: Vec<Pipeline>,
    /// What steps may be given in confidence, in the file's order.
    pub secrets: Vec<SecretSpec>,
    /// Runs of the default branch that nobody asks for.
    pub schedules: Vec<Schedule>,
    /// Who may have things run, and approve.
    pub policy: Policy,
    /// The finest check runs that are wanted.
    pub detail: Detail,
    /// Remarks for the check: keys that are accepted and do nothing yet.
    pub notes: Vec<String>,
}

impl RepoRules {
    pub fn empty(origin: String) -> Self {
        Self {
            origin,
            preset: Preset::None,
            ignore: Vec::new(),
            connectors: Vec::new(),
            components: Vec::new(),
            impact: Vec::new(),
            unclaimed: Unclaimed::default(),
            pipelines: Vec::new(),
            secrets: Vec::new(),
            schedules: Vec::new(),
            policy: Policy::default(),
            detail: Detail::default(),
            notes: Vec::new(),
        }
    }

    /// Do both select the same, whatever pipelines they then run?
    pub fn selects_as(&self, other: &Self) -> bool {
        self.ignore == other.ignore
            && self.connectors == other.connectors
            && self.components == other.components
            && self.impact == other.impact
            && self.unclaimed == other.unclaimed
    }

    /// With the pipelines of an event alone. Without one it is a person who asks, who means what pull
    /// requests run, and where nothing runs for those, what runs at all.
    #[must_use]
    pub fn of_event(mut self, event: Option<PipelineTrigger>) -> Self {
        match event {
            Some(event) => self.pipelines.retain(|pipeline| pipeline.on.contains(&event)),
            None => self
                .pipelines
                .sort_by_key(|pipeline| !pipeline.on.contains(&PipelineTrigger::PullRequest)),
        }
        self
    }

    /// Does a step of any pipeline ask for this?
    pub fn uses(&self, builtin: Builtin) -> bool {
        let mut steps = self.pipelines.iter().flat_map(|pipeline| &pipeline.steps);
        steps.any(|step| step.is(builtin))
    }

    pub fn pipeline(&self, connector: &Connector) -> Option<&Pipeline> {
        self.pipelines.iter().find(|pipeline| pipeline.selector.matches(connector))
    }
}

/// The name that `text` was probably meant to be: within a third of its letters.
pub fn closest<'n>(text: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    close(text, names).min().map(|(_, name)| name)
}

/// The names that `text` was probably meant to be, the closest first: those that are hardly less
/// close than the closest, at most so many.
pub fn closest_few<'n>(
    text: &str,
    names: impl IntoIterator<Item = &'n str>,
    most: usize,
) -> Vec<&'n str> {
    let mut found: Vec<(usize, &str)> = close(text, names).collect();
    found.sort_unstable();
    let limit = found.first().map_or(0, |(distance, _)| distance + 1);
    let few = found.into_iter().take_while(|(distance, _)| *distance <= limit);
    few.map(|(_, name)| name).take(most).collect()
}

fn close<'n>(
    text: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> impl Iterator<Item = (usize, &'n str)> {
    let wanted = text.to_lowercase();
    let limit = (text.chars().count() / 3).clamp(1, 4);
    let distance =
        move |name: &'n str| (strsim::damerau_levenshtein(&name.to_lowercase(), &wanted), name);
    names.into_iter().map(distance).filter(move |(distance, _)| *distance <= limit)
}
