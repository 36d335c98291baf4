//! The verdict on a head commit over all of its runs: the latest settled outcome of every step that
//! the head's own plan requires. A command adds outcomes and never shrinks what is required.

use std::collections::{BTreeMap, BTreeSet};

use super::names::{ConnectorName, StepId};
use super::run::{Job, ProblemKind, Run, StepRecord};
use super::state::{Conclusion, Outcome, RunState, SkipReason, StepState};
use super::trigger::Trigger;

/// One step and the record that counts for it.
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
    /// The run whose plan is required: the newest caused by the pull request (or merge group)
    /// itself. If that one could not be planned, the newest command that planned all the same.
    pub own: Option<&'a Run>,
}

/// What a standing says for the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Green,
    Red,
    Cancelled,
    Unsettled,
}

/// Judges all runs of one pull request (or merge group) on one head commit, oldest first. Runs of pushes
/// and schedules do not count: they are about the branch, not about the pull request. Several that
/// share a head commit are judged one by one ([`super::parties::Parties`]).
pub fn head_verdict(runs: &[Run]) -> HeadVerdict<'_> {
    verdict_of(&runs.iter().collect::<Vec<_>>())
}

/// [`head_verdict`] of runs that stand among others.
pub fn verdict_of<'a>(runs: &[&'a Run]) -> HeadVerdict<'a> {
    let own = own_run(runs);
    let standings = standings(runs, own);
    let conclusion = conclude(runs, own, &standings);
    let guarded = own.is_some_and(|own| own.trust.is_guarded());
    HeadVerdict {
        conclusion: conclusion.map(|it| if guarded { held(it) } else { it }),
        standings,
        own,
    }
}

/// What `/retest` runs again: steps that count and did not succeed, and those never run; what runs
/// or waits now is left alone. Empty when nothing is to be done, and when the head's own run never
/// came to a plan: then all that is affected is to be asked for.
pub fn to_retest(runs: &[Run]) -> Vec<(ConnectorName, Vec<StepId>)> {
    unsuccessful(runs, |standing| standing.required)
}

/// The same, and what only commands asked for: where it is named, that is what is meant.
pub fn to_retest_named(runs: &[Run]) -> Vec<(ConnectorName, Vec<StepId>)> {
    unsuccessful(runs, |standing| standing.required || !left_out(standing.step))
}

fn unsuccessful(
    runs: &[Run],
    counts: impl Fn(&Standing<'_>) -> bool,
) -> Vec<(ConnectorName, Vec<StepId>)> {
    let mut again: Vec<(ConnectorName, Vec<StepId>)> = Vec::new();
    let verdict = head_verdict(runs);
    for standing in verdict.standings.iter().filter(|standing| counts(standing)) {
        match weight(standing, &verdict.standings) {
            Weight::Green | Weight::Unsettled => continue,
            Weight::Red | Weight::Cancelled => {}
        }
        let (connector, step) = (&standing.job.connector, standing.step.id.clone());
        match again.last_mut() {
            Some((last, steps)) if last == connector => steps.push(step),
            Some(_) | None => again.push((connector.clone(), vec![step])),
        }
    }
    again
}

fn is_own(run: &Run) -> bool {
    matches!(run.trigger, Trigger::PullRequest | Trigger::MergeGroup)
}

fn counts(run: &Run) -> bool {
    !matches!(run.trigger, Trigger::Push | Trigger::Schedule)
}

fn is_planned(run: &Run) -> bool {
    run.selection.is_some() && run.problem.is_none()
}

fn own_run<'a>(runs: &[&'a Run]) -> Option<&'a Run> {
    let newest = runs.iter().rposition(|run| is_own(run));
    let own = newest.and_then(|index| runs.get(index)).copied();
    let still_planning = |run: &Run| run.state != RunState::Concluded && run.problem.is_none();
    if own.is_some_and(|run| is_planned(run) || still_planning(run)) {
        return own;
    }
    // It broke before it had a plan (or there is none): a command for everything that is affected
    // stands in for it, else the fault could never be mended on this head.
    let later = runs.get(newest.map_or(0, |index| index + 1)..).unwrap_or_default();
    let stands_in = |run: &&&Run| {
        counts(run)
            && !run.trust.is_guarded()
            && (run.problem.is_some() || run.selection.is_some())
            && run.scope.is_whole()
    };
    later.iter().rfind(stands_in).copied().or(own)
}

/// What few steps of a stranger's code may run before an approval say nothing good of it.
fn held(conclusion: Conclusion) -> Conclusion {
    match conclusion {
        Conclusion::Success => Conclusion::ActionRequired,
        Conclusion::Failure | Conclusion::ActionRequired | Conclusion::Cancelled => conclusion,
    }
}

fn standings<'a>(runs: &[&'a Run], own: Option<&'a Run>) -> Vec<Standing<'a>> {
    let required: BTreeSet<(&ConnectorName, &StepId)> =
        steps(own.as_slice()).map(|(_, job, step)| (&job.connector, &step.id)).collect();
    let mut standings: Vec<Standing<'a>> = Vec::new();
    let mut places: BTreeMap<(&ConnectorName, &StepId), usize> = BTreeMap::new();
    let counting: Vec<&Run> = runs.iter().copied().filter(|run| counts(run)).collect();
    for (run, job, step) in steps(&counting) {
        let name = (&job.connector, &step.id);
        let standing = Standing { run, job, step, required: required.contains(&name) };
        let place = *places.entry(name).or_insert(standings.len());
        match standings.get_mut(place) {
            Some(old) if !left_out(step) => *old = standing,
            Some(_) => {}
            None => standings.push(standing),
        }
    }
    // Stable: the steps of a connector keep the plan's order.
    standings.sort_by(|a, b| a.job.connector.cmp(&b.job.connector));
    standings
}

fn steps<'a>(runs: &[&'a Run]) -> impl Iterator<Item = (&'a Run, &'a Job, &'a StepRecord)> {
    let jobs = runs.iter().flat_map(|run| run.jobs.iter().map(|job| (*run, job)));
    jobs.flat_map(|(run, job)| job.steps.iter().map(move |step| (run, job, step)))
}

fn left_out(step: &StepRecord) -> bool {
    let reason = match &step.state {
        StepState::Skipped { reason, .. } => reason,
        StepState::Waiting | StepState::Running { .. } | StepState::Finished { .. } => {
            return false;
        }
    };
    matches!(reason, SkipReason::NotAsked | SkipReason::Unapproved)
}

fn conclude(runs: &[&Run], own: Option<&Run>, standings: &[Standing<'_>]) -> Option<Conclusion> {
    // A run that is not planned yet may add outcomes.
    let planning = |run: &Run| {
        run.state != RunState::Concluded && run.selection.is_none() && run.problem.is_none()
    };
    if runs.iter().copied().filter(|run| counts(run)).any(planning) {
        return None;
    }
    let Some(own) = own else {
        // Only single steps were asked for; what this head requires is not known.
        return Some(Conclusion::ActionRequired);
    };
    if let Some(problem) = &own.problem {
        return Some(match problem.kind {
            ProblemKind::Configuration | ProblemKind::Infrastructure => Conclusion::Failure,
            ProblemKind::NotTrusted => Conclusion::ActionRequired,
        });
    }
    if own.selection.is_none() {
        return Some(Conclusion::Cancelled);
    }
    if own.jobs.is_empty() && own.state == RunState::Concluded {
        // Nothing is affected, unless it was stopped before that was known.
        return Some(own.conclusion.unwrap_or(Conclusion::Success));
    }
    let required = || standings.iter().filter(|standing| standing.required);
    let has = |wanted| required().any(|standing| weight(standing, standings) == wanted);
    if has(Weight::Unsettled) {
        return None;
    }
    let stopped = |standing: &Standing<'_>| {
        weight(standing, standings) == Weight::Cancelled
            && (standing.run.cancel.is_some() || standing.run.superseded_by.is_some())
    };
    Some(if required().any(stopped) {
        Conclusion::Cancelled
    } else if has(Weight::Red) {
        Conclusion::Failure
    } else if has(Weight::Cancelled) {
        Conclusion::Cancelled
    } else {
        Conclusion::Success
    })
}

/// How one connector stands, over all of its steps; `None` while its job is not over.
pub fn connector_verdict(standings: &[Standing<'_>]) -> Option<Conclusion> {
    let weights = standings.iter().map(|one| weight_among(one, standings, standings.len()));
    let weights: Vec<Weight> = weights.collect();
    if weights.contains(&Weight::Unsettled) {
        return None;
    }
    Some(if weights.contains(&Weight::Red) {
        Conclusion::Failure
    } else if weights.contains(&Weight::Cancelled) {
        Conclusion::Cancelled
    } else {
        Conclusion::Success
    })
}

/// `standings` are those of the whole head, sorted by connector.
fn weight(standing: &Standing<'_>, standings: &[Standing<'_>]) -> Weight {
    let start = standings.partition_point(|other| other.job.connector < standing.job.connector);
    let rest = standings.get(start..).unwrap_or_default();
    let end = rest.partition_point(|other| other.job.connector == standing.job.connector);
    weight_among(standing, rest.get(..end).unwrap_or_default(), end)
}

/// `siblings` are the connector's; `hops` bounds how many skips are followed to their cause, since
/// the records may come from plans that order the steps differently.
fn weight_among(standing: &Standing<'_>, siblings: &[Standing<'_>], hops: usize) -> Weight {
    let (run, job) = (standing.run, standing.job);
    if job.state != RunState::Concluded && run.state != RunState::Concluded {
        return Weight::Unsettled;
    }
    match &standing.step.state {
        StepState::Waiting | StepState::Running { .. } => Weight::Cancelled,
        StepState::Finished { outcome, .. } => match outcome {
            Outcome::Succeeded => Weight::Green,
            Outcome::Failed | Outcome::TimedOut if is_tolerated(standing) => Weight::Green,
            Outcome::Failed | Outcome::TimedOut | Outcome::Errored => Weight::Red,
            Outcome::Cancelled => Weight::Cancelled,
        },
        StepState::Skipped { reason: SkipReason::Needs { step }, .. } if hops > 0 => {
            match siblings.iter().find(|other| other.step.id == *step) {
                // Excused while the other's failure stands and does not count; once the other is
                // green, this one still was never run.
                Some(needed) if needed.step.state.outcome() != Some(Outcome::Succeeded) => {
                    weight_among(needed, siblings, hops - 1)
                }
                Some(_) | None => Weight::Red,
            }
        }
        // Of no use to the connector; a job of which nothing is of use tests nothing.
        StepState::Skipped { reason: SkipReason::Condition { .. }, .. } => {
            if job.plan.tests_nothing() { Weight::Red } else { Weight::Green }
        }
        StepState::Skipped { .. } if run.cancel.is_some() || job.cancel.is_some() => {
            Weight::Cancelled
        }
        StepState::Skipped { .. } => Weight::Red,
    }
}

fn is_tolerated(standing: &Standing<'_>) -> bool {
    standing.job.plan.step(&standing.step.id).is_some_and(|spec| spec.allow_failure)
}
