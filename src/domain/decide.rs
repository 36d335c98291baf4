//! The scheduler of one job: pure, deterministic, safe to ask again after a crash.

use std::collections::BTreeMap;

use super::names::StepId;
use super::plan::Plan;
use super::state::{SkipReason, StepState};

/// The states of all steps of a plan.
pub type States = BTreeMap<StepId, StepState>;

/// What should happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Start(StepId),
    Skip(StepId, SkipReason),
}

/// Everything that should happen now: skips cascade within one call; starts are at most
/// `free_slots`, in the plan's order.
pub fn decide(_plan: &Plan, _states: &States, _free_slots: usize) -> Vec<Decision> {
    todo!()
}
