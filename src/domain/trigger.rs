//! Why we act.

use serde::{Deserialize, Serialize};

use super::rules::{PipelineTrigger, Selector};

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

impl Trigger {
    /// The event whose pipelines such a run has; `of_pull`: is it about a pull request?
    pub fn pipelines(self, of_pull: bool) -> PipelineTrigger {
        match self {
            Self::Push => PipelineTrigger::Push,
            Self::Schedule => PipelineTrigger::Schedule,
            Self::MergeGroup => PipelineTrigger::MergeGroup,
            Self::Manual if !of_pull => PipelineTrigger::MergeGroup,
            Self::PullRequest | Self::Comment | Self::Button | Self::Manual => {
                PipelineTrigger::PullRequest
            }
        }
    }

    /// Is it about the default branch, and so shown on no pull request?
    pub fn is_of_branch(self) -> bool {
        matches!(self, Self::Push | Self::Schedule)
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
    /// Every connector that the selector of a schedule names, changed or not.
    Matching { select: Selector },
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
            Self::Affected
            | Self::All
            | Self::Matching { .. }
            | Self::Only { .. }
            | Self::Again { .. } => self,
        }
    }

    /// The step at which it begins.
    pub fn first(&self) -> Option<&str> {
        match self {
            Self::From { step, .. } => Some(step),
            Self::Affected
            | Self::All
            | Self::Matching { .. }
            | Self::Only { .. }
            | Self::Again { .. } => None,
        }
    }

    /// What several commands of one comment ask for together.
    #[must_use]
    pub fn join(one: Option<Self>, other: Self) -> Self {
        match (one, other) {
            (None, other) => other,
            (Some(Self::All), _) | (_, Self::All) => Self::All,
            (Some(Self::Only { mut targets }), Self::Only { targets: more }) => {
                targets.extend(more);
                targets.sort();
                targets.dedup();
                Self::Only { targets }
            }
            (Some(Self::Affected), _) | (_, Self::Affected) => Self::Affected,
            (Some(Self::Again { mut targets }), Self::Again { targets: more }) => {
                targets.extend(more);
                targets.sort();
                targets.dedup();
                Self::Again { targets }
            }
            // Who asks for a plan anew of one of them has it of all.
            (Some(Self::Only { targets }), Self::Again { targets: more })
            | (Some(Self::Again { targets }), Self::Only { targets: more }) => {
                Self::join(Some(Self::Only { targets }), Self::Only { targets: more })
            }
            // No command asks for a schedule's; what people name goes before it.
            (Some(Self::Matching { .. }), other) | (Some(other), Self::Matching { .. }) => other,
            (Some(Self::From { of, .. }), other) | (Some(other), Self::From { of, .. }) => {
                Self::join(Some(*of), other)
            }
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
