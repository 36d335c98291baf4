//! Of what is planned, only a part; and what was planned before, once more.

use std::collections::{BTreeMap, BTreeSet};

use super::{Planned, PlannedJob, UnknownName, unknown};
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::pins::Pins;
use crate::domain::pipeline::StepSpec;
use crate::domain::run::{Job, Run};
use crate::domain::trigger::{Scope, Target};

/// The same plans, of which only a step and what comes after it run. Connectors that have no such
/// step have no job.
pub(super) fn begin_at(step: &str, planned: Planned) -> Result<Planned, Vec<UnknownName>> {
    let Planned { merge_base, mut selection, jobs, unknown: unknown_names, definition } = planned;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let mut known: BTreeSet<StepId> = BTreeSet::new();
    for job in jobs {
        let steps = job.plan.steps();
        known.extend(steps.iter().map(|spec| spec.id.clone()));
        // All instances of a matrix are called alike.
        let first = steps.iter().filter(|spec| spec.is_called(step));
        let after: BTreeSet<StepId> = first.flat_map(|first| job.plan.from_on(&first.id)).collect();
        if after.is_empty() {
            without.push(job.connector.to_string());
        } else {
            with.push(PlannedJob { only: job.plan.to_run(&after), ..job });
        }
    }
    if with.is_empty() && !without.is_empty() {
        return Err(vec![unknown(step, known.iter().map(StepId::as_str))]);
    }
    if !without.is_empty() {
        let names = without.join(", ");
        selection.notes.push(format!("Not run, as they have no step `{step}`: {names}."));
    }
    Ok(Planned { merge_base, selection, jobs: with, unknown: unknown_names, definition })
}

/// What `scope` asks for again, by the plans of the head's earlier runs, oldest first; `None` if it
/// asks for something else, or if a plan is not there any more.
pub fn planned_before(scope: &Scope, runs: &[Run]) -> Option<Result<Planned, Vec<UnknownName>>> {
    let Scope::Again { targets } = scope.connectors() else { return None };
    let mut jobs = Vec::new();
    let mut newest: Option<&Run> = None;
    for (connector, steps) in by_connector(targets) {
        let (run, job) = last_plan(runs, &connector, &steps)?;
        newest = newest.filter(|newest| newest.id >= run.id).or(Some(run));
        let named = |spec: &&StepSpec| steps.iter().any(|step| spec.is_called(step));
        let named = job.plan.steps().iter().filter(named);
        let wanted: BTreeSet<StepId> = named.map(|spec| spec.id.clone()).collect();
        jobs.push(PlannedJob {
            connector: job.connector.clone(),
            change: job.change,
            reasons: job.reasons.clone(),
            only: job.plan.to_run(&wanted),
            plan: job.plan.clone().with_pins(Pins::of(run.id, &job.plan, &job.steps)),
        });
    }
    let run = newest?;
    let mut selection = run.selection.clone().unwrap_or_default();
    selection.notes.push(format!(
        "The plans are those of run {} and not made anew, and its images are the same, wherever their \
         names lead now; `/test` makes them anew, with what the configuration is now.",
        run.id
    ));
    let merge_base = run.merge_base.clone();
    let planned = Planned { merge_base, selection, jobs, unknown: Vec::new(), definition: None };
    Some(match scope.first() {
        Some(step) => begin_at(step, planned),
        None => Ok(planned),
    })
}

/// Connectors in lower case, each with the steps asked for; none: all.
fn by_connector(targets: &[Target]) -> BTreeMap<String, Vec<&str>> {
    let mut all: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let whole = targets.iter().filter(|target| target.step.is_none());
    let whole: BTreeSet<String> = whole.map(|target| target.connector.to_lowercase()).collect();
    for target in targets {
        let connector = target.connector.to_lowercase();
        let steps = target.step.as_deref().filter(|_| !whole.contains(&connector));
        all.entry(connector).or_default().extend(steps);
    }
    all
}

/// The newest plan of a connector, with the run that has it, if it has all of these steps.
fn last_plan<'r>(runs: &'r [Run], connector: &str, steps: &[&str]) -> Option<(&'r Run, &'r Job)> {
    let same = |name: &ConnectorName| name.as_str().to_lowercase() == connector;
    let job = |run: &'r Run| {
        let job = run.jobs.iter().find(|job| same(&job.connector))?;
        Some((run, job))
    };
    let (run, job) = runs.iter().rev().find_map(job)?;
    // Nothing of it ran: what merges now is planned as it is.
    if job.plan.conflict().is_some() {
        return None;
    }
    let has = |step: &&str| job.plan.steps().iter().any(|spec| spec.is_called(step));
    steps.iter().all(has).then_some((run, job))
}
