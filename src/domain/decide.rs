//! The scheduler of one job: pure, deterministic, safe to ask again after a crash.

use std::collections::BTreeMap;

use super::names::StepId;
use super::pipeline::StepSpec;
use super::plan::Plan;
use super::run::StepRecord;
use super::state::{Outcome, SkipReason, StepState};

/// The states of all steps of a plan. A step without one is waiting.
pub type States = BTreeMap<StepId, StepState>;

/// What should happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Start(StepId),
    Skip(StepId, SkipReason),
}

/// How a step's needs stand.
enum Needs {
    Open,
    Met,
    /// The step that is to blame.
    Unmet(StepId),
}

/// Where a need stands, seen from the step that has it.
#[derive(Clone)]
enum Standing {
    Open,
    Met,
    /// Met for what waits for it; but it left nothing that a step could begin with.
    Spent(StepId),
    /// The step that is to blame: itself, or the one for whose sake it was skipped, since that is
    /// the one to look at.
    Unmet(StepId),
}

/// Everything that should happen now: skips cascade within one call; starts are at most
/// `free_slots`, in the plan's order.
pub fn decide(plan: &Plan, states: &States, free_slots: usize) -> Vec<Decision> {
    let mut decisions = Vec::new();
    let mut standings: BTreeMap<&StepId, Standing> = BTreeMap::new();
    let mut free = free_slots;
    // A plan's order puts each step after its needs, so that one pass sees every consequence.
    for spec in plan.steps() {
        let state = states.get(&spec.id).unwrap_or(&StepState::Waiting);
        let mut standing = standing(spec, state, &standings);
        if let (StepState::Waiting, Some(why)) = (state, &spec.left_out) {
            let reason = SkipReason::Condition { why: why.clone() };
            decisions.push(Decision::Skip(spec.id.clone(), reason));
            standing = through(spec, &standings);
        } else if *state == StepState::Waiting {
            match needs(spec, &standings) {
                Needs::Met if free > 0 => {
                    free -= 1;
                    decisions.push(Decision::Start(spec.id.clone()));
                }
                Needs::Open | Needs::Met => {}
                Needs::Unmet(step) => {
                    standing = Standing::Unmet(step.clone());
                    decisions.push(Decision::Skip(spec.id.clone(), SkipReason::Needs { step }));
                }
            }
        }
        standings.insert(&spec.id, standing);
    }
    decisions
}

fn standing(
    spec: &StepSpec,
    state: &StepState,
    standings: &BTreeMap<&StepId, Standing>,
) -> Standing {
    match state {
        StepState::Waiting | StepState::Running { .. } => Standing::Open,
        StepState::Finished { outcome, .. } => match outcome {
            Outcome::Succeeded => Standing::Met,
            Outcome::Failed if spec.allow_failure => Standing::Met,
            // Its container was ended with it.
            Outcome::TimedOut if spec.allow_failure => Standing::Spent(spec.id.clone()),
            Outcome::Failed | Outcome::TimedOut | Outcome::Errored | Outcome::Cancelled => {
                Standing::Unmet(spec.id.clone())
            }
        },
        StepState::Skipped { reason, .. } => match reason {
            SkipReason::NotAsked | SkipReason::Unapproved => Standing::Met,
            SkipReason::Condition { .. } => through(spec, standings),
            SkipReason::Conflict { .. } => Standing::Unmet(spec.id.clone()),
            SkipReason::Needs { step } | SkipReason::FailFast { step } => {
                Standing::Unmet(step.clone())
            }
        },
    }
}

/// What needs a step that is left out waits for what that step would have waited for.
fn through(spec: &StepSpec, standings: &BTreeMap<&StepId, Standing>) -> Standing {
    match needs(spec, standings) {
        Needs::Open => Standing::Open,
        Needs::Met => Standing::Met,
        Needs::Unmet(step) => Standing::Unmet(step),
    }
}

fn needs(spec: &StepSpec, standings: &BTreeMap<&StepId, Standing>) -> Needs {
    let mut needs = spec.needs.iter().filter_map(|id| Some((id, standings.get(id)?)));
    let open = needs.clone().any(|(_, need)| matches!(need, Standing::Open));
    if spec.always {
        return if open { Needs::Open } else { Needs::Met };
    }
    let unmet = needs.find_map(|(id, need)| match need {
        Standing::Unmet(step) => Some(step.clone()),
        Standing::Spent(step) if spec.from.as_ref() == Some(id) => Some(step.clone()),
        Standing::Open | Standing::Met | Standing::Spent(_) => None,
    });
    match unmet {
        Some(step) => Needs::Unmet(step),
        None if open => Needs::Open,
        None => Needs::Met,
    }
}

/// The skips of a run that is to stop at the first failure, if one that counts has happened: what
/// has not begun is left out. Steps marked `always` still run: they clean up.
pub fn fail_fast(plan: &Plan, states: &States) -> Vec<Decision> {
    let failed = plan.steps().iter().find(|spec| {
        let outcome = states.get(&spec.id).and_then(StepState::outcome);
        match outcome {
            Some(Outcome::Failed | Outcome::TimedOut) => !spec.allow_failure,
            Some(Outcome::Errored) => true,
            Some(Outcome::Succeeded | Outcome::Cancelled) | None => false,
        }
    });
    let Some(failed) = failed else { return Vec::new() };
    plan.steps()
        .iter()
        .filter(|spec| !spec.always)
        .filter(|spec| states.get(&spec.id).is_none_or(|state| *state == StepState::Waiting))
        .map(|spec| {
            Decision::Skip(spec.id.clone(), SkipReason::FailFast { step: failed.id.clone() })
        })
        .collect()
}

/// Takes over from a holder that died: what it had running waits again, as the next attempt. Its
/// containers must have been removed before.
#[must_use]
pub fn resume(records: Vec<StepRecord>) -> Vec<StepRecord> {
    let again = |record: StepRecord| match record.state {
        StepState::Running { .. } => {
            StepRecord { state: StepState::Waiting, attempt: record.attempt + 1, ..record }
        }
        StepState::Waiting | StepState::Finished { .. } | StepState::Skipped { .. } => record,
    };
    records.into_iter().map(again).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::pipeline::Network;
    use crate::domain::plan::Inputs;
    use crate::domain::run::StepFacts;
    use crate::domain::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_millis(1);

    fn id(name: &str) -> StepId {
        name.parse().unwrap()
    }

    fn spec(name: &str, needs: &[&str]) -> StepSpec {
        StepSpec {
            image: "busybox".into(),
            run: vec!["true".into()],
            needs: needs.iter().map(|need| id(need)).collect(),
            timeout_ms: 1000,
            network: Network::None,
            ..StepSpec::new(id(name))
        }
    }

    fn plan(steps: Vec<StepSpec>) -> Plan {
        Plan::new("source-x".parse().unwrap(), "source-x".into(), Inputs::default(), steps).unwrap()
    }

    fn finished(outcome: Outcome) -> StepState {
        StepState::Finished { started_at: NOW, finished_at: NOW, outcome }
    }

    #[test]
    fn skips_cascade_in_one_call_and_name_the_step_to_look_at() {
        let plan = plan(vec![
            spec("lint", &[]),
            spec("unit", &["lint"]),
            spec("build", &["unit"]),
            StepSpec { always: true, ..spec("tidy", &["build"]) },
        ]);
        let states = States::from([(id("lint"), finished(Outcome::Failed))]);
        let blame = || SkipReason::Needs { step: id("lint") };
        assert_eq!(
            decide(&plan, &states, 4),
            [
                Decision::Skip(id("unit"), blame()),
                Decision::Skip(id("build"), blame()),
                Decision::Start(id("tidy")),
            ]
        );
    }

    #[test]
    fn what_needs_a_step_that_is_left_out_waits_for_what_that_would_have_waited_for() {
        let why = "there is no `unit_tests/**`".to_owned();
        let plan = plan(vec![
            spec("install", &[]),
            StepSpec { left_out: Some(why.clone()), ..spec("unit", &["install"]) },
            spec("build", &["unit"]),
        ]);
        let skip = Decision::Skip(id("unit"), SkipReason::Condition { why: why.clone() });
        let decisions = decide(&plan, &States::new(), 4);
        assert_eq!(decisions, [Decision::Start(id("install")), skip]);
        let settled = StepState::Skipped { at: NOW, reason: SkipReason::Condition { why } };
        let after = |outcome| {
            let done = (id("install"), finished(outcome));
            decide(&plan, &States::from([done, (id("unit"), settled.clone())]), 1)
        };
        assert_eq!(after(Outcome::Succeeded), [Decision::Start(id("build"))]);
        let blame = SkipReason::Needs { step: id("install") };
        assert_eq!(after(Outcome::Failed), [Decision::Skip(id("build"), blame)]);
    }

    #[test]
    fn a_need_that_was_not_asked_for_or_may_fail_is_met() {
        let plan = plan(vec![
            StepSpec { allow_failure: true, ..spec("lint", &[]) },
            spec("install", &[]),
            spec("unit", &["lint", "install"]),
        ]);
        let not_asked = StepState::Skipped { at: NOW, reason: SkipReason::NotAsked };
        for (outcome, starts) in [
            (Outcome::Failed, true),
            (Outcome::TimedOut, true),
            (Outcome::Succeeded, true),
            (Outcome::Errored, false),
            (Outcome::Cancelled, false),
        ] {
            let states =
                States::from([(id("lint"), finished(outcome)), (id("install"), not_asked.clone())]);
            let started = decide(&plan, &states, 1) == [Decision::Start(id("unit"))];
            assert_eq!(started, starts, "{outcome:?}");
        }
    }

    #[test]
    fn nobody_inherits_from_a_step_that_was_ended_at_its_limit() {
        let heir =
            |name: &str, parent: &str| StepSpec { from: Some(id(parent)), ..spec(name, &[]) };
        let plan = plan(vec![
            StepSpec { allow_failure: true, ..spec("lint", &[]) },
            heir("unit", "lint"),
            StepSpec { left_out: Some("of no use".to_owned()), ..heir("types", "lint") },
            heir("deep", "types"),
            spec("report", &["lint"]),
        ]);
        let after = |outcome| {
            let states = States::from([(id("lint"), finished(outcome))]);
            decide(&plan, &states, 9)
        };
        let blame = || SkipReason::Needs { step: id("lint") };
        let useless = SkipReason::Condition { why: "of no use".to_owned() };
        assert_eq!(
            after(Outcome::TimedOut),
            [
                Decision::Skip(id("unit"), blame()),
                Decision::Skip(id("types"), useless),
                Decision::Skip(id("deep"), blame()),
                Decision::Start(id("report")),
            ]
        );
        assert!(after(Outcome::Failed).contains(&Decision::Start(id("unit"))), "it left something");
    }

    #[test]
    fn stopping_at_the_first_failure_leaves_out_what_has_not_begun() {
        let plan = plan(vec![
            spec("lint", &[]),
            spec("unit", &[]),
            spec("build", &[]),
            StepSpec { always: true, ..spec("tidy", &[]) },
        ]);
        let states = States::from([
            (id("lint"), finished(Outcome::Failed)),
            (id("unit"), StepState::Running { started_at: NOW }),
        ]);
        let reason = SkipReason::FailFast { step: id("lint") };
        assert_eq!(fail_fast(&plan, &states), [Decision::Skip(id("build"), reason)]);
        assert_eq!(fail_fast(&plan, &States::new()), []);
    }

    #[test]
    fn a_dead_holders_running_steps_wait_again_as_the_next_attempt() {
        let record = |name: &str, state| StepRecord {
            id: id(name),
            state,
            attempt: 1,
            queued_at: NOW,
            facts: StepFacts::default(),
        };
        let records = resume(vec![
            record("a", finished(Outcome::Failed)),
            record("b", StepState::Running { started_at: NOW }),
        ]);
        assert_eq!((&records[0].state, records[0].attempt), (&finished(Outcome::Failed), 1));
        assert_eq!((&records[1].state, records[1].attempt), (&StepState::Waiting, 2));
    }

    /// Steps each of which may need any earlier one and inherit from the first of those, with
    /// `always` and `allow_failure` at random.
    fn plans() -> impl Strategy<Value = Plan> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>());
        proptest::collection::vec((any::<u16>(), flags), 1..12).prop_map(|steps| {
            let steps = steps.iter().enumerate().map(|(n, (needs, flags))| {
                let (always, allow_failure, inherits) = *flags;
                let needs: Vec<String> =
                    (0..n).filter(|i| needs >> i & 1 == 1).map(|i| format!("s{i}")).collect();
                let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
                let from = needs.first().filter(|_| inherits && !always).map(|need| id(need));
                StepSpec { from, always, allow_failure, ..spec(&format!("s{n}"), &needs) }
            });
            plan(steps.collect())
        })
    }

    fn outcomes() -> impl Strategy<Value = Vec<Outcome>> {
        let outcome = prop_oneof![
            3 => Just(Outcome::Succeeded),
            1 => Just(Outcome::Failed),
            1 => Just(Outcome::TimedOut),
            1 => Just(Outcome::Errored),
            1 => Just(Outcome::Cancelled),
        ];
        proptest::collection::vec(outcome, 12)
    }

    fn settled(states: &States, step: &StepId) -> bool {
        states.get(step).is_some_and(StepState::is_settled)
    }

    fn check_decision(plan: &Plan, states: &States, decision: &Decision) {
        match decision {
            Decision::Start(step) => {
                let spec = plan.step(step).unwrap();
                assert!(spec.needs.iter().all(|need| settled(states, need)), "{step} too early");
            }
            Decision::Skip(_, SkipReason::Needs { step }) => {
                let outcome = states.get(step).and_then(StepState::outcome);
                assert!(outcome.is_some_and(|outcome| outcome != Outcome::Succeeded), "{step}");
            }
            Decision::Skip(_, reason) => panic!("{reason:?}"),
        }
    }

    proptest! {
        #[test]
        fn every_plan_settles_within_its_slots_and_in_order(
            plan in plans(), outcomes in outcomes(), slots in 1_usize..4,
            picks in proptest::collection::vec(any::<usize>(), 12),
        ) {
            let mut states = States::new();
            let mut running: Vec<StepId> = Vec::new();
            let mut picks = picks.into_iter();
            let mut ended = outcomes.into_iter();
            loop {
                let free = slots - running.len();
                let decisions = decide(&plan, &states, free);
                prop_assert_eq!(&decisions, &decide(&plan, &states, free), "the same answer twice");
                let steps: BTreeSet<&StepId> = decisions
                    .iter()
                    .map(|(Decision::Start(step) | Decision::Skip(step, _))| step)
                    .collect();
                prop_assert_eq!(steps.len(), decisions.len(), "each step once");
                for decision in decisions {
                    check_decision(&plan, &states, &decision);
                    match decision {
                        Decision::Start(step) => {
                            running.push(step.clone());
                            states.insert(step, StepState::Running { started_at: NOW });
                        }
                        Decision::Skip(step, reason) => {
                            states.insert(step, StepState::Skipped { at: NOW, reason });
                        }
                    }
                }
                prop_assert!(running.len() <= slots);
                if running.is_empty() {
                    break;
                }
                let step = running.remove(picks.next().unwrap_or(0) % running.len());
                states.insert(step, finished(ended.next().unwrap_or(Outcome::Succeeded)));
            }
            for spec in plan.steps() {
                prop_assert!(settled(&states, &spec.id), "{} is left", spec.id);
            }
        }
    }
}
