use super::super::builtin::Uses;
use super::super::plan::Inputs;
use super::super::qa::{Basis, Change};
use super::*;

fn plan(change: impl Fn(&mut Vec<StepSpec>)) -> Plan {
    let step = |id: &str, from: Option<&str>| StepSpec {
        from: from.map(|from| from.parse().unwrap()),
        image: "python:3".to_owned(),
        run: vec![format!("make {id}")],
        ..StepSpec::new(id.parse().unwrap())
    };
    let mut steps = vec![step("install", None), step("unit", Some("install"))];
    change(&mut steps);
    Plan::new("source-x".parse().unwrap(), "source-x".into(), Inputs::default(), steps).unwrap()
}

const AROUND: Surroundings<'_> =
    Surroundings { repository: 1, executor: "docker linux/amd64", resources: None, pull: None };

fn ingredients(plan: &Plan, id: &str) -> Option<Ingredients> {
    ingredients_in(&AROUND, plan, id)
}

fn ingredients_in(around: &Surroundings<'_>, plan: &Plan, id: &str) -> Option<Ingredients> {
    let spec = plan.step(&id.parse().unwrap()).unwrap();
    let image = |name: &str| Some(format!("{name}@sha256:{}", "a".repeat(64)));
    let need = |step: &StepId| ingredients_in(around, plan, step.as_str()).map(|need| need.key());
    Ingredients::of(plan, spec, around, image, need)
}

fn key(plan: &Plan, id: &str) -> String {
    ingredients(plan, id).unwrap().key()
}

#[test]
fn whatever_can_change_a_result_changes_its_key_and_those_behind_it() {
    let before = plan(|_| {});
    assert_eq!(key(&before, "unit"), key(&plan(|_| {}), "unit"));
    let changes: [fn(&mut Vec<StepSpec>); 8] = [
        |steps| steps[0].run.push("more".into()),
        |steps| {
            steps[0].resources = Some(Resources { cpus: 1.0, memory: 1 << 30 });
        },
        |steps| steps[0].junit = Some("other.xml".into()),
        |steps| steps[0].image = "python:4".into(),
        |steps| drop(steps[0].env.insert("A".into(), "b".into())),
        |steps| steps[0].network = super::super::pipeline::Network::None,
        |steps| steps[0].artifacts.push("*.log".into()),
        |steps| steps[0].junit = Some("junit.xml".into()),
    ];
    for change in changes {
        let after = plan(change);
        assert_ne!(key(&before, "install"), key(&after, "install"));
        assert_ne!(key(&before, "unit"), key(&after, "unit"), "it inherits");
    }
    let after = plan(|steps| steps[1].run.push("more".into()));
    assert_eq!(key(&before, "install"), key(&after, "install"));
    let sources = |digest: &str| {
        let sources = BTreeMap::from([("source-x/main.py".to_owned(), digest.to_owned())]);
        plan(|_| {}).with_sources(sources)
    };
    assert_ne!(key(&sources("1"), "unit"), key(&sources("2"), "unit"));
}

#[test]
fn whatever_is_around_a_plan_changes_its_keys() {
    let plan = plan(|_| {});
    let around =
        |around: Surroundings<'_>| ingredients_in(&around, &plan, "install").unwrap().key();
    let granted = |memory| Some(Resources { cpus: 2.0, memory });
    let keys = [
        around(AROUND),
        around(Surroundings { repository: 2, ..AROUND }),
        around(Surroundings { pull: Some(3), ..AROUND }),
        around(Surroundings { pull: Some(4), ..AROUND }),
        around(Surroundings { executor: "docker linux/arm64", ..AROUND }),
        around(Surroundings { resources: granted(1 << 30), ..AROUND }),
        around(Surroundings { resources: granted(2 << 30), ..AROUND }),
    ];
    let different: std::collections::BTreeSet<&String> = keys.iter().collect();
    assert_eq!(different.len(), keys.len());
    let own = self::plan(|steps| steps[0].resources = granted(1 << 30));
    let of = |memory| {
        let around = Surroundings { resources: granted(memory), ..AROUND };
        ingredients_in(&around, &own, "install").unwrap().key()
    };
    assert_eq!(of(3 << 30), of(4 << 30), "it declares its own");
}

#[test]
fn whose_plan_it_is_changes_its_keys() {
    let step = |id: &str, uses: Option<Uses>| StepSpec {
        image: "python:3".to_owned(),
        uses,
        ..StepSpec::new(id.parse().unwrap())
    };
    let of = |connector: &str, root: &str, step: StepSpec, basis: Option<Basis>| {
        let (id, inputs) = (step.id.clone(), Inputs::default());
        let plan =
            Plan::new(connector.parse().unwrap(), root.to_owned(), inputs, vec![step]).unwrap();
        key(&plan.with_basis(basis), id.as_str())
    };
    let qa = |version| Some(Uses { builtin: Builtin::Qa, version });
    let basis = |icons| Basis { airbyte: true, icons, change: Change::Nothing };
    let keys = [
        of("source-x", "source-x", step("unit", None), None),
        of("source-y", "source-x", step("unit", None), None),
        of("source-x", "source-y", step("unit", None), None),
        of("source-x", "source-x", step("other", None), None),
        of("source-x", "source-x", step("unit", qa(1)), None),
        of("source-x", "source-x", step("unit", qa(2)), None),
        of("source-x", "source-x", step("unit", qa(1)), Some(basis(true))),
        of("source-x", "source-x", step("unit", qa(1)), Some(basis(false))),
    ];
    let different: std::collections::BTreeSet<&String> = keys.iter().collect();
    assert_eq!(different.len(), keys.len());
}

/// Whoever adds a field to a step is to think of its key.
#[test]
fn the_names_of_a_full_steps_ingredients() {
    let plan = plan(|steps| {
        steps.push(StepSpec { image: "sh".into(), ..StepSpec::new("lint".parse().unwrap()) });
        steps[1].env.insert("A".into(), "b".into());
        steps[1].needs.push("lint".parse().unwrap());
    });
    let sources = BTreeMap::from([("source-x/src".to_owned(), "1".to_owned())]);
    let names = |plan: &Plan| {
        let found = ingredients(plan, "unit").unwrap();
        found.0.keys().cloned().collect::<Vec<String>>().join(", ")
    };
    let plan = plan.with_sources(sources);
    assert_eq!(
        names(&plan),
        "Checkvalve's key, `artifacts`, `network`, `reports`, `resources`, `run`, connector, \
         executor, file `source-x/src`, image, inherited from `install`, repository, root, step, \
         step `lint`, variable `A`"
    );
    let qa = self::plan(|steps| steps[1].uses = Some(Builtin::Qa.into()));
    assert_eq!(
        names(&qa),
        "Checkvalve's key, `artifacts`, `network`, `reports`, `resources`, `run`, built-in step, \
         connector, executor, inherited from `install`, repository, root, step, the base"
    );
}

#[test]
fn a_list_of_commands_is_not_the_text_that_it_reads_like() {
    let of = |run: &[&str]| {
        let run: Vec<String> = run.iter().map(ToString::to_string).collect();
        key(&plan(|steps| steps[0].run.clone_from(&run)), "install")
    };
    assert_ne!(of(&["false && true", "echo ok"]), of(&["false && true\necho ok"]));
    // A file that is called like one of our names takes nobody's place.
    let sources = BTreeMap::from([("run".to_owned(), "1".to_owned())]);
    let of = |run: &str| {
        let plan = plan(|steps| steps[0].run = vec![run.to_owned()]);
        key(&plan.with_sources(sources.clone()), "install")
    };
    assert_ne!(of("a"), of("b"));
}

#[test]
fn what_differs_is_told_with_old_and_new() {
    let of = |run: &str, digest: &str| {
        let plan = plan(|steps| steps[0].run = vec![run.to_owned()]);
        let sources = BTreeMap::from([("source-x/src".to_owned(), digest.repeat(64))]);
        ingredients(&plan.with_sources(sources), "install").unwrap()
    };
    let told = of("make", "b").differences(&of("make all", "a"));
    assert_eq!(
        told,
        "`run` changed (`[\"make all\"]` → `[\"make\"]`); file `source-x/src` changed (aaaaaaaaaaaa → \
         bbbbbbbbbbbb)"
    );
    assert_eq!(of("make", "a").differences(&of("make", "a")), "");
}

#[test]
fn failures_are_reused_only_where_both_say_so() {
    let plan = plan(|steps| steps[0].cache = CachePolicy::All);
    let spec = &plan.steps()[0];
    let ingredients = ingredients(&plan, "install").unwrap();
    let run = RunId::new(super::super::ids::Ulid::nil());
    let known = |outcome| {
        let facts = StepFacts::default();
        let result = Cached { outcome, facts, origin: run, kept_by: run };
        Known { result: Some(result), ..Known::default() }
    };
    let used =
        |spec: &StepSpec, outcome, reuse| judge(spec, &ingredients, known(outcome), reuse).is_ok();
    let careful = StepSpec { cache: CachePolicy::Success, ..spec.clone() };
    for (spec, outcome, reuse, expected) in [
        (spec, Outcome::Succeeded, Reuse::All, true),
        (spec, Outcome::Succeeded, Reuse::Success, true),
        (spec, Outcome::Succeeded, Reuse::Never, false),
        (spec, Outcome::Failed, Reuse::All, true),
        (spec, Outcome::Failed, Reuse::Success, false),
        (&careful, Outcome::Failed, Reuse::All, false),
    ] {
        assert_eq!(used(spec, outcome, reuse), expected, "{outcome:?} {reuse:?}");
    }
}

#[test]
fn who_inherits_from_what_is_never_reused_is_not_either() {
    let plan = plan(|steps| steps[0].cache = CachePolicy::Never);
    assert!(never(&plan, &plan.steps()[0]).unwrap().contains("cache: never"));
    assert!(never(&plan, &plan.steps()[1]).unwrap().contains("inherits from `install`"));
}
