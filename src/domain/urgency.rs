//! Which step of a plan is waited for most: how much comes after it.

use std::collections::BTreeMap;

use super::names::StepId;
use super::plan::Plan;

/// What a step takes of which nothing is known, in milliseconds.
const UNKNOWN: u64 = 10_000;

/// For each step, how long the plan takes from its beginning on if nothing has to wait, in
/// milliseconds. `usual` is what steps took before, in milliseconds.
pub fn remaining(plan: &Plan, usual: &BTreeMap<StepId, u64>) -> BTreeMap<StepId, u64> {
    let mut behind: BTreeMap<&StepId, u64> = BTreeMap::new();
    let mut remaining = BTreeMap::new();
    // A plan's order puts each step after its needs.
    for spec in plan.steps().iter().rev() {
        let own = match usual.get(&spec.id) {
            _ if spec.left_out.is_some() => 0,
            Some(took) => *took,
            None => UNKNOWN,
        };
        let whole = behind.get(&spec.id).copied().unwrap_or(0).saturating_add(own);
        for need in &spec.needs {
            let longest = behind.entry(need).or_default();
            *longest = whole.max(*longest);
        }
        remaining.insert(spec.id.clone(), whole);
    }
    remaining
}

#[cfg(test)]
mod tests {
    use super::super::pipeline::StepSpec;
    use super::super::plan::Inputs;
    use super::*;

    fn id(text: &str) -> StepId {
        text.parse().unwrap()
    }

    fn plan() -> Plan {
        let step = |name: &str, needs: &[&str]| StepSpec {
            needs: needs.iter().map(|need| id(need)).collect(),
            ..StepSpec::new(id(name))
        };
        let steps = vec![
            step("qa", &[]),
            step("install", &[]),
            step("unit", &["install"]),
            step("end", &["qa", "unit"]),
        ];
        Plan::new("source-x".parse().unwrap(), "source-x".into(), Inputs::default(), steps).unwrap()
    }

    #[test]
    fn what_most_steps_wait_for_is_the_most_urgent() {
        let remaining = remaining(&plan(), &BTreeMap::new());
        let steps: Vec<u64> = ["install", "unit", "qa", "end"]
            .iter()
            .map(|step| remaining[&id(step)] / UNKNOWN)
            .collect();
        assert_eq!(steps, [3, 2, 2, 1]);
    }

    #[test]
    fn what_took_long_before_counts_as_long() {
        let usual = BTreeMap::from([(id("qa"), 90_000), (id("install"), 500), (id("unit"), 1_000)]);
        let remaining = remaining(&plan(), &usual);
        assert!(remaining[&id("qa")] > remaining[&id("install")], "{remaining:?}");
    }
}
