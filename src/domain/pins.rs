//! With which images a plan is carried out again: those that it was carried out with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ids::RunId;
use super::names::{ServiceAlias, StepId};
use super::pipeline::StepSpec;
use super::plan::Plan;
use super::run::StepRecord;

/// Images by digest, or by id where no registry knows them, of steps and their services, and those that
/// steps built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// The run whose plan it is.
    pub run: RunId,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    steps: BTreeMap<StepId, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    services: BTreeMap<StepId, BTreeMap<ServiceAlias, String>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    bases: BTreeMap<StepId, BTreeMap<String, String>>,
}

impl Pins {
    /// What the steps of a run's job ran with; those that did not run get what others had under the same
    /// name. None where nothing was written down.
    pub fn of(run: RunId, plan: &Plan, records: &[StepRecord]) -> Option<Self> {
        let empty =
            Self { run, steps: BTreeMap::new(), services: BTreeMap::new(), bases: BTreeMap::new() };
        let before = plan.pins().cloned();
        let mut pins = before.map_or(empty, |before| Self { run, ..before });
        for record in records {
            let facts = &record.facts;
            if let Some(digest) = &facts.image_digest {
                pins.steps.insert(record.id.clone(), digest.clone());
            }
            if !facts.services.is_empty() {
                let services = pins.services.entry(record.id.clone()).or_default();
                services.extend(facts.services.clone());
            }
            if !facts.bases.is_empty() {
                pins.bases.entry(record.id.clone()).or_default().extend(facts.bases.clone());
            }
        }
        let by_name = pins.by_name(plan.steps());
        for spec in plan.steps() {
            let known = |image: &String| by_name.get(image).cloned();
            if let Some(digest) = known(&spec.image) {
                pins.steps.entry(spec.id.clone()).or_insert(digest);
            }
            for service in &spec.services {
                if let Some(digest) = known(&service.image) {
                    let services = pins.services.entry(spec.id.clone()).or_default();
                    services.entry(service.alias.clone()).or_insert(digest);
                }
            }
        }
        let some = !(pins.steps.is_empty() && pins.services.is_empty() && pins.bases.is_empty());
        some.then_some(pins)
    }

    /// What the images were that a step's own was built on, by their names.
    pub fn bases(&self, step: &StepId) -> Option<&BTreeMap<String, String>> {
        self.bases.get(step)
    }

    fn by_name(&self, steps: &[StepSpec]) -> BTreeMap<String, String> {
        let mut by_name = BTreeMap::new();
        for spec in steps {
            let own = self.step(&spec.id).map(|digest| (&spec.image, digest));
            let services = spec.services.iter().filter_map(|service| {
                Some((&service.image, self.service(&spec.id, &service.alias)?))
            });
            for (name, digest) in own.into_iter().chain(services) {
                if !name.is_empty() {
                    by_name.entry(name.clone()).or_insert_with(|| digest.to_owned());
                }
            }
        }
        by_name
    }

    /// A step's image.
    pub fn step(&self, step: &StepId) -> Option<&str> {
        self.steps.get(step).map(String::as_str)
    }

    /// The image of a step's service.
    pub fn service(&self, step: &StepId, alias: &ServiceAlias) -> Option<&str> {
        self.services.get(step)?.get(alias).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Inputs;
    use super::super::run::StepFacts;
    use super::super::service::Service;
    use super::super::state::StepState;
    use super::super::time::Timestamp;
    use super::*;

    fn run(n: u8) -> RunId {
        format!("run_0{}", char::from(b'0' + n).to_string().repeat(25)).parse().unwrap()
    }

    fn step(id: &str, image: &str, services: &[(&str, &str)]) -> StepSpec {
        let service = |(alias, image): &(&str, &str)| -> Service {
            serde_json::from_value(serde_json::json!({ "alias": alias, "image": image })).unwrap()
        };
        StepSpec {
            image: image.to_owned(),
            services: services.iter().map(service).collect(),
            ..StepSpec::new(id.parse().unwrap())
        }
    }

    fn record(id: &str, image: Option<&str>, services: &[(&str, &str)]) -> StepRecord {
        let service =
            |(alias, digest): &(&str, &str)| (alias.parse().unwrap(), (*digest).to_owned());
        let facts = StepFacts {
            image_digest: image.map(str::to_owned),
            services: services.iter().map(service).collect(),
            ..StepFacts::default()
        };
        let (state, queued_at) = (StepState::Waiting, Timestamp::from_millis(0));
        StepRecord { id: id.parse().unwrap(), state, attempt: 1, queued_at, facts }
    }

    #[test]
    fn what_ran_is_kept_and_what_did_not_gets_what_others_had() {
        let steps = vec![
            step("install", "python:3", &[]),
            step("unit", "python:3", &[("db", "postgres:1")]),
            step("lint", "ruff:1", &[("db", "postgres:1")]),
            step("other", "node:1", &[]),
        ];
        let plan = Plan::new("a".parse().unwrap(), "a".into(), Inputs::default(), steps).unwrap();
        assert_eq!(Pins::of(run(1), &plan, &[]), None);
        // The name was moved while the job ran.
        let records = [
            record("install", Some("p1"), &[]),
            record("unit", Some("p2"), &[("db", "d1")]),
            record("lint", None, &[]),
        ];
        let pins = Pins::of(run(1), &plan, &records);
        let same = plan.clone().with_pins(pins.clone());
        let images = |plan: &Plan| -> Vec<String> {
            let service = |spec: &StepSpec, service: &Service| {
                format!(" {}", plan.service_image_of(spec, service))
            };
            let of = |spec: &StepSpec| {
                let services = spec.services.iter().map(|beside| service(spec, beside));
                plan.image_of(spec).to_owned() + &services.collect::<String>()
            };
            plan.steps().iter().map(of).collect()
        };
        assert_eq!(images(&same), ["p1", "p2 d1", "ruff:1 d1", "node:1"]);
        assert_eq!(same.digest(), plan.digest(), "it is the same plan");
        let stored: Plan = serde_json::from_str(&serde_json::to_string(&same).unwrap()).unwrap();
        assert_eq!(stored, same);
        // Once more, by what ran then and what ran before.
        let again = Pins::of(run(2), &same, &[record("lint", Some("r1"), &[("db", "d1")])]);
        let again = plan.with_pins(again);
        assert_eq!(images(&again), ["p1", "p2 d1", "r1 d1", "node:1"]);
        assert_eq!(again.pins().map(|pins| pins.run), Some(run(2)));
    }

    #[test]
    fn what_an_image_was_built_on_is_kept_by_its_name() {
        let steps = vec![step("build", "", &[])];
        let plan = Plan::new("a".parse().unwrap(), "a".into(), Inputs::default(), steps).unwrap();
        let built = |bases: &[(&str, &str)]| {
            let mut built = record("build", None, &[]);
            let pair = |(name, id): &(&str, &str)| ((*name).to_owned(), (*id).to_owned());
            built.facts.bases = bases.iter().map(pair).collect();
            built
        };
        let pins = Pins::of(run(1), &plan, &[built(&[("a:1", "1"), ("b:1", "2")])]);
        let same = plan.with_pins(pins);
        // A try that ended before all were there takes nothing away.
        let pins = Pins::of(run(2), &same, &[built(&[("b:1", "2")])]).unwrap();
        let bases = pins.bases(&"build".parse().unwrap()).unwrap();
        assert_eq!(
            bases.iter().map(|(name, id)| format!("{name} {id}")).collect::<Vec<_>>(),
            ["a:1 1", "b:1 2"]
        );
        assert_eq!(pins.bases(&"unit".parse().unwrap()), None);
    }
}
