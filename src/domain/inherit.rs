//! Which step inherits whose file system, and which of a step's heirs may go on in its container.

use std::collections::BTreeMap;

use super::names::StepId;
use super::pipeline::StepSpec;
use super::plan::Plan;

/// The step whose file system this one inherits: the nearest one along `from` that is not left out.
pub fn origin<'p>(plan: &'p Plan, spec: &StepSpec) -> Option<&'p StepSpec> {
    let mut from = spec.from.as_ref();
    while let Some(parent) = from.and_then(|id| plan.step(id)) {
        if parent.left_out.is_none() {
            return Some(parent);
        }
        from = parent.from.as_ref();
    }
    None
}

/// The steps that inherit what a step leaves, in the plan's order.
pub fn heirs<'p>(plan: &'p Plan, parent: &StepId) -> impl Iterator<Item = &'p StepSpec> {
    let inherits = move |spec: &&StepSpec| {
        spec.left_out.is_none()
            && spec.from.is_some()
            && origin(plan, spec).is_some_and(|origin| origin.id == *parent)
    };
    plan.steps().iter().filter(inherits)
}

/// May the heir's commands run in the container in which its parent's ran? Only where it would
/// have got the same one, and where neither was given anything in confidence.
pub fn may_go_on(parent: &StepSpec, heir: &StepSpec) -> bool {
    let secrets = !parent.secrets.is_empty() || !heir.secrets.is_empty();
    let services = !parent.services.is_empty() || !heir.services.is_empty();
    let apart = parent.isolate || heir.isolate || secrets || services;
    !apart
        && parent.image == heir.image
        && parent.network == heir.network
        && parent.resources == heir.resources
        && parent.untrusted == heir.untrusted
}

/// Of a step's heirs, the one for which its container is kept alive: the one on which the longest
/// chain of others waits, since the rest of them begin a little later.
pub fn successor<'p>(
    plan: &Plan,
    parent: &StepSpec,
    heirs: impl IntoIterator<Item = &'p StepSpec>,
) -> Option<&'p StepSpec> {
    let waiting = waiting(plan);
    let fitting = heirs.into_iter().filter(|heir| may_go_on(parent, heir));
    // The last of equal ones is the maximum; the plan's first is meant.
    let mut fitting: Vec<&StepSpec> = fitting.collect();
    fitting.reverse();
    fitting.into_iter().max_by_key(|heir| waiting.get(&heir.id).copied())
}

/// How many steps at most come one after the other, from a step on to the end.
fn waiting(plan: &Plan) -> BTreeMap<&StepId, usize> {
    let mut longest: BTreeMap<&StepId, usize> = BTreeMap::new();
    for spec in plan.steps().iter().rev() {
        let behind = longest.get(&spec.id).copied().unwrap_or(0) + 1;
        longest.insert(&spec.id, behind);
        for need in &spec.needs {
            let before = longest.entry(need).or_default();
            *before = (*before).max(behind);
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::super::plan::Inputs;
    use super::*;

    fn step(id: &str, from: Option<&str>, needs: &[&str]) -> StepSpec {
        let id: StepId = id.parse().unwrap();
        StepSpec {
            from: from.map(|from| from.parse().unwrap()),
            needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
            image: "python".to_owned(),
            ..StepSpec::new(id)
        }
    }

    fn plan(steps: Vec<StepSpec>) -> Plan {
        Plan::new("source-x".parse().unwrap(), String::new(), Inputs::default(), steps).unwrap()
    }

    fn names<'p>(steps: impl Iterator<Item = &'p StepSpec>) -> Vec<&'p str> {
        steps.map(|step| step.id.as_str()).collect()
    }

    #[test]
    fn who_inherits_from_a_step_that_is_left_out_inherits_from_its_parent() {
        let mut unit = step("unit", Some("install"), &[]);
        unit.left_out = Some("it has none".to_owned());
        let plan =
            plan(vec![step("install", None, &[]), unit, step("integration", Some("unit"), &[])]);
        let integration = plan.step(&"integration".parse().unwrap()).unwrap();
        assert_eq!(origin(&plan, integration).unwrap().id.as_str(), "install");
        assert_eq!(names(heirs(&plan, &"install".parse().unwrap())), ["integration"]);
        assert_eq!(names(heirs(&plan, &"unit".parse().unwrap())), [""; 0]);
    }

    #[test]
    fn the_container_goes_to_the_heir_that_most_wait_for() {
        let plan = plan(vec![
            step("unit", None, &[]),
            step("integration", Some("unit"), &[]),
            step("build", Some("unit"), &[]),
            step("acceptance", Some("build"), &[]),
            step("report", None, &["integration", "acceptance"]),
        ]);
        let unit = plan.step(&"unit".parse().unwrap()).unwrap();
        let chosen = |heirs: Vec<&StepSpec>| {
            successor(&plan, unit, heirs).map(|heir| heir.id.as_str().to_owned())
        };
        assert_eq!(chosen(heirs(&plan, &unit.id).collect()).as_deref(), Some("build"));
        let alone = StepSpec { isolate: true, ..step("build", Some("unit"), &[]) };
        assert_eq!(chosen(vec![&alone]), None);
    }
}
