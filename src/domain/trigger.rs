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
}

/// A connector, or one step of it, as commands and buttons name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    pub connector: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}
