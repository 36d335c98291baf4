//! How far a step, a job and a run are. A state carries exactly the facts that are true in it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::StepId;
use super::time::Timestamp;

/// How a step ended. *Failed* is the connector's, *errored* is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    Failed,
    TimedOut,
    Errored,
    Cancelled,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Errored => "errored",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a step was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SkipReason {
    /// A step that it needs did not succeed.
    Needs { step: StepId },
    /// The step's `when` does not hold for the connector; that stands in nobody's way.
    Condition { why: String },
    /// Left out by whoever asked for the run (`--skip`, `--only`, a re-run of other steps).
    NotAsked,
    /// The code is a stranger's, and nobody has approved it.
    Unapproved,
    /// Its pipeline tests the merge with the base, and there is none.
    Conflict { what: String },
    /// Another step failed and the run was to stop at the first failure.
    FailFast { step: StepId },
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Needs { step } => write!(f, "not run: `{step}` did not succeed"),
            Self::Condition { why } => write!(f, "not run: {why}"),
            Self::Conflict { what } => write!(f, "not run: {what}"),
            Self::NotAsked => f.write_str("not run: not asked for"),
            Self::Unapproved => f.write_str("not run: it waits for an approval"),
            Self::FailFast { step } => write!(f, "not run: stopped at the failure of `{step}`"),
        }
    }
}

/// Where a step is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StepState {
    Waiting,
    Running { started_at: Timestamp },
    Finished { started_at: Timestamp, finished_at: Timestamp, outcome: Outcome },
    Skipped { at: Timestamp, reason: SkipReason },
}

impl StepState {
    /// Was it left out by its condition?
    pub fn is_of_no_use(&self) -> bool {
        matches!(self, Self::Skipped { reason: SkipReason::Condition { .. }, .. })
    }

    /// What stands in the way of the merge that it would test, if something does.
    pub fn conflict(&self) -> Option<&str> {
        match self {
            Self::Skipped { reason: SkipReason::Conflict { what }, .. } => Some(what),
            Self::Waiting | Self::Running { .. } | Self::Finished { .. } | Self::Skipped { .. } => {
                None
            }
        }
    }

    pub fn is_settled(&self) -> bool {
        match self {
            Self::Finished { .. } | Self::Skipped { .. } => true,
            Self::Waiting | Self::Running { .. } => false,
        }
    }

    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Finished { outcome, .. } => Some(*outcome),
            Self::Waiting | Self::Running { .. } | Self::Skipped { .. } => None,
        }
    }

    /// The API's vocabulary.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running { .. } => "running",
            Self::Finished { .. } => "finished",
            Self::Skipped { .. } => "skipped",
        }
    }
}

/// Where a run, or a connector's job in it, is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Queued,
    Running,
    Concluded,
}

impl RunState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Concluded => "concluded",
        }
    }
}

/// The verdict on a run or a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    Success,
    Failure,
    ActionRequired,
    Cancelled,
}

impl Conclusion {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::ActionRequired => "action_required",
            Self::Cancelled => "cancelled",
        }
    }
}
