//! How a state looks: one word, one symbol, one class, the same on GitHub, pages, pictures and in
//! the terminal. Colour is never the only sign.

use std::time::Duration;

use crate::domain::run::{Job, Run, StepRecord};
use crate::domain::state::{Conclusion, Outcome, RunState, StepState};
use crate::domain::time::Timestamp;

/// A state as people tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    Waiting,
    Running,
    Passed,
    Failed,
    TimedOut,
    /// Ours, not the connector's.
    Errored,
    /// Failed, and does not count (`allow_failure`).
    Tolerated,
    Cancelled,
    Skipped,
    ActionRequired,
}

impl Look {
    /// A step within its job: a failure that does not count looks different, and what a concluded
    /// job never started is cancelled. A merge that can't be made is for people to act on.
    pub fn of_step(job: &Job, step: &StepRecord) -> Self {
        let tolerated = job.plan.step(&step.id).is_some_and(|spec| spec.allow_failure);
        match &step.state {
            StepState::Waiting | StepState::Running { .. } if job.state == RunState::Concluded => {
                Self::Cancelled
            }
            StepState::Waiting => Self::Waiting,
            StepState::Running { .. } => Self::Running,
            state if state.conflict().is_some() => Self::ActionRequired,
            StepState::Skipped { .. } => Self::Skipped,
            StepState::Finished { outcome, .. } => match outcome {
                Outcome::Succeeded => Self::Passed,
                Outcome::Failed | Outcome::TimedOut if tolerated => Self::Tolerated,
                Outcome::Failed => Self::Failed,
                Outcome::TimedOut => Self::TimedOut,
                Outcome::Errored => Self::Errored,
                Outcome::Cancelled => Self::Cancelled,
            },
        }
    }

    pub fn of_job(job: &Job) -> Self {
        let errored = |step: &StepRecord| Self::of_step(job, step) == Self::Errored;
        Self::of_ended(job.state, job.conclusion, job.steps.iter().any(errored))
    }

    /// A job of which it is known whether a step errored.
    pub fn of_ended(state: RunState, conclusion: Option<Conclusion>, errored: bool) -> Self {
        let look = Self::of_conclusion(state, conclusion);
        if look == Self::Failed && errored { Self::Errored } else { look }
    }

    pub fn of_run(run: &Run) -> Self {
        Self::of_conclusion(run.state, run.conclusion)
    }

    /// A run or a job.
    pub fn of_conclusion(state: RunState, conclusion: Option<Conclusion>) -> Self {
        match (state, conclusion) {
            (_, Some(Conclusion::Success)) => Self::Passed,
            (_, Some(Conclusion::Failure)) => Self::Failed,
            (_, Some(Conclusion::ActionRequired)) => Self::ActionRequired,
            (_, Some(Conclusion::Cancelled)) | (RunState::Concluded, None) => Self::Cancelled,
            (RunState::Queued, None) => Self::Waiting,
            (RunState::Running, None) => Self::Running,
        }
    }

    /// Lower case, as in a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Errored => "infrastructure error",
            Self::Tolerated => "failed, does not count",
            Self::Cancelled => "cancelled",
            Self::Skipped => "not run",
            Self::ActionRequired => "action required",
        }
    }

    /// One character that differs in shape from all others, of common fonts.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Waiting => "○",
            Self::Running => "▶",
            Self::Passed => "✓",
            Self::Failed => "✗",
            Self::TimedOut => "◷",
            Self::Errored => "⚠",
            Self::Tolerated => "≈",
            Self::Cancelled => "⊘",
            Self::Skipped => "–",
            Self::ActionRequired => "!",
        }
    }

    /// For Markdown on GitHub, which has no colours of ours.
    pub fn emoji(self) -> &'static str {
        match self {
            Self::Waiting => "⏳",
            Self::Running => "🔄",
            Self::Passed => "✅",
            Self::Failed => "❌",
            Self::TimedOut => "⏰",
            Self::Errored => "⚠️",
            Self::Tolerated => "➖",
            Self::Cancelled => "🚫",
            Self::Skipped => "⏭️",
            Self::ActionRequired => "✋",
        }
    }

    /// The class that colours it (`is-…` in the style sheet).
    pub fn class(self) -> &'static str {
        match self {
            Self::Waiting => "is-waiting",
            Self::Running => "is-running",
            Self::Passed => "is-passed",
            Self::Failed => "is-failed",
            Self::TimedOut => "is-timed-out",
            Self::Errored => "is-errored",
            Self::Tolerated => "is-tolerated",
            Self::Cancelled => "is-cancelled",
            Self::Skipped => "is-skipped",
            Self::ActionRequired => "is-action",
        }
    }

    /// Whether people should look at it first.
    pub fn is_bad(self) -> bool {
        match self {
            Self::Failed | Self::TimedOut | Self::Errored | Self::ActionRequired => true,
            Self::Waiting
            | Self::Running
            | Self::Passed
            | Self::Tolerated
            | Self::Cancelled
            | Self::Skipped => false,
        }
    }
}

/// When a step began to run; `None` if it never did.
pub fn started_at(step: &StepRecord) -> Option<Timestamp> {
    match step.state {
        StepState::Running { started_at } | StepState::Finished { started_at, .. } => {
            Some(started_at)
        }
        StepState::Waiting | StepState::Skipped { .. } => None,
    }
}

/// When a step settled, by running or by being skipped.
pub fn settled_at(step: &StepRecord) -> Option<Timestamp> {
    match step.state {
        StepState::Finished { finished_at, .. } => Some(finished_at),
        StepState::Skipped { at, .. } => Some(at),
        StepState::Waiting | StepState::Running { .. } => None,
    }
}

/// How long a finished step ran.
pub fn took(step: &StepRecord) -> Option<Duration> {
    match step.state {
        StepState::Finished { started_at, finished_at, .. } => Some(finished_at.since(started_at)),
        StepState::Waiting | StepState::Running { .. } | StepState::Skipped { .. } => None,
    }
}

/// How long a concluded job took from its start.
pub fn job_took(job: &Job) -> Option<Duration> {
    Some(job.concluded_at?.since(job.started_at?))
}

/// How long a concluded run took from its making.
pub fn run_took(run: &Run) -> Option<Duration> {
    Some(run.concluded_at?.since(run.created_at))
}

/// Why a step ended as it did, in words: the record's, else the skip's.
pub fn reason(step: &StepRecord) -> Option<String> {
    let recorded = step.facts.reason.clone().filter(|reason| !reason.trim().is_empty());
    recorded.or_else(|| match &step.state {
        StepState::Skipped { reason, .. } => Some(reason.to_string()),
        StepState::Waiting | StepState::Running { .. } | StepState::Finished { .. } => None,
    })
}
