//! Why we act.

use serde::{Deserialize, Serialize};

/// The vocabulary of the API's `trigger`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    PullRequest,
    Comment,
    Button,
    MergeGroup,
    Push,
    Schedule,
    Manual,
}

impl Trigger {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PullRequest => "pull_request",
            Self::Comment => "comment",
            Self::Button => "button",
            Self::MergeGroup => "merge_group",
            Self::Push => "push",
            Self::Schedule => "schedule",
            Self::Manual => "manual",
        }
    }
}

/// What a run is asked to do with what it finds. Fixed when the run is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scope {
    /// Every connector that the change can affect, every step.
    Affected,
    /// Every connector of the repository.
    All,
    /// These, whether affected or not; a connector with no steps named runs all of its steps.
    Only { targets: Vec<Target> },
    /// The same, by the plans that were made of them for this head before: the configuration is not
    /// asked again.
    Again { targets: Vec<Target> },
    /// Of what the other scope says, this step of each connector that has it, and what comes after
    /// it.
    From { step: String, of: Box<Scope> },
}

impl Scope {
    /// Without the step at which it begins.
    pub fn connectors(&self) -> &Self {
        match self {
            Self::From { of, .. } => of.connectors(),
            Self::Affected | Self::All | Self::Only { .. } | Self::Again { .. } => self,
        }
    }

    /// The step at which it begins.
    pub fn first(&self) -> Option<&str> {
        match self {
            Self::From { step, .. } => Some(step),
            Self::Affected | Self::All | Self::Only { .. } | Self::Again { .. } => None,
        }
    }

    /// Is it about everything that is affected, with all of its steps?
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Affected | Self::All)
    }
}

/// A connector, or one step of it, as commands and buttons name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    pub connector: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}
