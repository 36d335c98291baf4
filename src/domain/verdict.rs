//! The verdict on a head commit over all of its runs: the latest settled outcome of every step that
//! the head's own plan requires. A command adds outcomes and never shrinks what is required.

use super::names::{ConnectorName, StepId};
use super::run::{Job, Run, StepRecord};
use super::state::Conclusion;

/// One required step and the record that counts for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing<'a> {
    pub run: &'a Run,
    pub job: &'a Job,
    pub step: &'a StepRecord,
    /// Is it of the head's own plan (else only a command asked for it, and it does not count)?
    pub required: bool,
}

/// How a head commit stands.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadVerdict<'a> {
    /// `None` while something that counts is unsettled or unplanned.
    pub conclusion: Option<Conclusion>,
    /// Every step ever planned on this head, by connector, then in the plan's order; for each the
    /// newest run's record that was not merely left out (`NotAsked`).
    pub standings: Vec<Standing<'a>>,
    /// The run whose plan is required: the newest caused by the pull request itself.
    pub own: Option<&'a Run>,
}

/// Judges all runs of one head commit, oldest first.
pub fn head_verdict(_runs: &[Run]) -> HeadVerdict<'_> {
    todo!()
}

/// What `/retest` runs again: steps that count and did not succeed, and those never run; what runs
/// or waits now is left alone. Empty when nothing is to be done.
pub fn to_retest(_runs: &[Run]) -> Vec<(ConnectorName, Vec<StepId>)> {
    todo!()
}
