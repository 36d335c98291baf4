//! Steps as people declare them, after the file's shorthands are resolved.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::builtin::{Builtin, Uses};
use super::names::{SecretName, StepId};
use super::scan::FailOn;
use super::service::Service;

/// A step's access to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    None,
    Bridge,
}

/// What a step may use of its host.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// CPU cores.
    pub cpus: f64,
    /// Bytes of memory.
    pub memory: u64,
}

/// Which of a step's results later runs may reuse.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    #[default]
    Success,
    /// Failures too, though never by `/retest`.
    All,
    Never,
}

impl CachePolicy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The default of a step's `timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(30);

/// One declared step.
#[expect(clippy::struct_excessive_bools, reason = "keys are what they are")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepSpec {
    pub id: StepId,
    /// The step of the file of which this is the instance with certain values of its `matrix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_of: Option<StepId>,
    /// The image of the step's container; the host executor needs none, nor does a built-in step.
    pub image: String,
    /// Commands in order, each for `sh -e -c`; none for a built-in step.
    pub run: Vec<String>,
    /// What it does, if it is a built-in step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<Uses>,
    #[serde(default)]
    pub needs: Vec<StepId>,
    /// The step, one of `needs`, whose file system it inherits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<StepId>,
    /// It never shares a live container with the steps before and after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolate: bool,
    #[serde(default, skip_serializing_if = "CachePolicy::is_default")]
    pub cache: CachePolicy,
    /// Runs once its needs are settled, however they ended.
    #[serde(default)]
    pub always: bool,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it is given in confidence; the plan says where each comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    /// What runs beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    /// Milliseconds.
    pub timeout_ms: u64,
    /// How often a *failed* step is tried again; errors of ours are retried apart from this.
    #[serde(default)]
    pub retries: u32,
    pub network: Network,
    #[serde(default)]
    pub resources: Option<Resources>,
    /// Globs under `$CHECKVALVE_OUT` that are kept.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// A `JUnit` file under `$CHECKVALVE_OUT`.
    #[serde(default)]
    pub junit: Option<String>,
    /// A SARIF file there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sarif: Option<String>,
    /// A report of coverage there, Cobertura's or lcov's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<String>,
    /// Which findings of a scan fail it.
    #[serde(default, skip_serializing_if = "FailOn::is_default")]
    pub fail: FailOn,
    /// A failure is shown and does not count.
    #[serde(default)]
    pub allow_failure: bool,
    /// May run before a foreign change is approved.
    #[serde(default)]
    pub untrusted: bool,
    /// Why it is not run for this connector, in words, if its `when` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

impl StepSpec {
    /// A step with the file's defaults that does nothing yet.
    pub fn new(id: StepId) -> Self {
        Self {
            id,
            instance_of: None,
            image: String::new(),
            run: Vec::new(),
            uses: None,
            needs: Vec::new(),
            from: None,
            isolate: false,
            cache: CachePolicy::default(),
            always: false,
            env: BTreeMap::new(),
            secrets: Vec::new(),
            services: Vec::new(),
            timeout_ms: u64::try_from(DEFAULT_TIMEOUT.as_millis()).unwrap_or(u64::MAX),
            retries: 0,
            network: Network::Bridge,
            resources: None,
            artifacts: Vec::new(),
            junit: None,
            sarif: None,
            coverage: None,
            fail: FailOn::default(),
            allow_failure: false,
            untrusted: false,
            left_out: None,
        }
    }

    /// Is it this built-in step?
    pub fn is(&self, builtin: Builtin) -> bool {
        self.uses.is_some_and(|uses| uses.builtin == builtin)
    }

    /// Is it one of those that people mean by this name: its id, or that of the step of the file
    /// that it is an instance of? Case and blanks are no difference.
    pub fn is_called(&self, name: &str) -> bool {
        let bare = |text: &str| -> String {
            text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
        };
        let name = bare(name);
        bare(self.id.as_str()) == name
            || self.instance_of.as_ref().is_some_and(|of| bare(of.as_str()) == name)
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
