//! "Re-run" on one of our check runs, by its name.

use std::collections::BTreeSet;

use super::{Effects, retest, test};
use crate::domain::command::Tested;
use crate::domain::names::StepId;
use crate::domain::run::Run;
use crate::domain::state::RunState;
use crate::domain::trigger::{Scope, Target};
use crate::domain::verdict;
use crate::render::checks::{HEAD_CHECK, connector_of_check};

/// What the check run of this name stands for runs again.
pub(super) fn check(effects: &mut Effects, runs: &[Run], name: &str) {
    match name.split_once(" / ") {
        Some((connector, id)) => {
            // Whoever presses it on a step wants to see that step run.
            effects.afresh = true;
            step(effects, runs, connector, id);
        }
        None if name == HEAD_CHECK => all(effects, runs),
        None => connector(effects, runs, connector_of_check(name)),
    }
}

/// "Re-run" on a connector: what of it did not succeed; all of it, if all is green.
fn connector(effects: &mut Effects, runs: &[Run], name: &str) {
    let standings = verdict::head_verdict(runs).standings;
    let mut of_connector = standings.iter().filter(|s| s.job.connector.as_str() == name).peekable();
    if of_connector.peek().is_none() {
        effects.not.push(format!("`{name}` is not known on this commit"));
        return;
    }
    if of_connector.any(|s| !s.step.state.is_settled()) {
        effects.not.push(format!("`{name}` runs now"));
        return;
    }
    let target = Target { connector: name.to_owned(), step: None };
    retest(effects, runs, std::slice::from_ref(&target));
    if effects.scope.is_none() {
        effects.not.clear();
        effects.afresh = true;
        effects.scope = Some(Scope::Again { targets: vec![target] });
    }
}

/// "Re-run" on a step: it, and what was skipped because of it.
fn step(effects: &mut Effects, runs: &[Run], connector: &str, step: &str) {
    let standings = verdict::head_verdict(runs).standings;
    let of_connector: Vec<_> =
        standings.iter().filter(|s| s.job.connector.as_str() == connector).collect();
    let Some(pressed) = of_connector.iter().find(|s| s.step.id.as_str() == step) else {
        effects.not.push(format!("`{connector} / {step}` is not known on this commit"));
        return;
    };
    if !pressed.step.state.is_settled() {
        effects.not.push(format!("`{connector} / {step}` runs now"));
        return;
    }
    let mut again: BTreeSet<&StepId> = BTreeSet::from([&pressed.step.id]);
    for spec in pressed.job.plan.steps() {
        let skipped =
            of_connector.iter().any(|s| s.step.id == spec.id && s.step.state.outcome().is_none());
        if skipped && spec.needs.iter().any(|needed| again.contains(needed)) {
            again.insert(&spec.id);
        }
    }
    let targets: Vec<Target> = again
        .into_iter()
        .map(|id| Target { connector: connector.to_owned(), step: Some(id.to_string()) })
        .collect();
    effects.scope = Some(Scope::Again { targets });
}

/// "Re-run" on `checkvalve`: what did not succeed; everything, if all is green.
fn all(effects: &mut Effects, runs: &[Run]) {
    retest(effects, runs, &[]);
    let running = runs.iter().any(|run| run.state != RunState::Concluded);
    if effects.scope.is_none() && !running {
        test(effects, &Tested::Affected);
    }
}
