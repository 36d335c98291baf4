//! The JSON Schema that editors use says what the reader says.

use std::collections::BTreeSet;

use checkvalve::config::repository::{resolve, schema};
use checkvalve::domain::catalog::Paths;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::{read, with_steps};

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}

fn value(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

/// The blocks of a page that are repository files.
fn files_of(page: &str) -> Vec<&str> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter(|block| ["version:", "preset:"].iter().any(|key| block.contains(key))).collect()
}

/// A file that is right but for what stands at `key` of a mapping of this shape.
fn with(shape: &str, key: &str, value: &Value) -> Value {
    let put = |mut mapping: Value| {
        mapping[key] = value.clone();
        mapping
    };
    let component = json!({ "name": "a", "include": ["a"] });
    let step = json!({ "id": "a", "image": "x", "run": "c" });
    let mut file = json!({ "components": [component] });
    let in_step = |key: &str, inner: Value| {
        let mut step = step.clone();
        step[key] = inner;
        json!([{ "steps": [step] }])
    };
    match shape {
        "file" => return put(file),
        "connector" => file["connectors"] = json!([put(json!({ "match": "{name}/x" }))]),
        "component" => file["components"] = json!([put(component)]),
        "impact" => file["impact"] = json!([put(json!({ "paths": ["a"], "reaches": "all" }))]),
        "selector" => file["pipelines"] = json!([{ "for": put(json!({})), "steps": [step] }]),
        "pipeline" => file["pipelines"] = json!([put(json!({ "steps": [step] }))]),
        "step" if ["uses", "fail"].contains(&key) => {
            file["secrets"] = json!({ "b": { "from": "gsm" } });
            file["pipelines"] = json!([{ "steps": beside_others(&put(builtin(key, value))) }]);
        }
        "step" => file["pipelines"] = json!([{ "steps": [put(step)] }]),
        "resources" => {
            let both = json!({ "cpus": 1, "memory": "1Gi" });
            file["pipelines"] = in_step("resources", put(both));
        }
        "service" | "ready" | "compose" => {
            let service = json!({ "alias": "a", "image": "x" });
            let services = match shape {
                "service" => json!([put(service)]),
                "ready" => {
                    json!([{ "alias": "a", "image": "x", "ready": put(json!({ "port": 1 })) }])
                }
                _ => put(json!({ "compose": "a.yml" })),
            };
            file["pipelines"] = in_step("services", services);
        }
        "when" => file["pipelines"] = in_step("when", put(json!({ "files": "x" }))),
        "reports" => file["pipelines"] = in_step("reports", put(json!({}))),
        "policy" => file["policy"] = put(json!({})),
        "schedule" => return scheduled(file, &step, &put(json!({ "cron": "0 2 * * *" }))),
        "secret" => {
            let mut secret = put(json!({ "from": "gsm" }));
            if secret["from"] == "sops" {
                secret["file"] = json!("config.yaml");
            }
            file["secrets"] = json!({ "a": secret });
        }
        other => panic!("there is no way to try `{other}`"),
    }
    file
}

/// The file with a schedule, and a pipeline for it.
fn scheduled(mut file: Value, step: &Value, schedule: &Value) -> Value {
    file["schedules"] = json!([schedule]);
    file["pipelines"] = json!([{ "on": "schedule", "steps": [step] }]);
    file
}

/// What a built-in step says beside its key.
fn builtin(key: &str, value: &Value) -> Value {
    match value.as_str() {
        Some("report") => json!({ "id": "a" }),
        Some("upload-secrets") => json!({ "id": "a", "secrets": ["b"] }),
        _ if key == "fail" || value == "scan" => {
            json!({ "id": "a", "needs": "z", "uses": "scan", "image": "x", "run": "c" })
        }
        _ => json!({ "id": "a", "needs": "z" }),
    }
}

/// Of the built-in ones, some need what another one made, or was given.
fn beside_others(step: &Value) -> Value {
    let build = json!({ "id": "z", "uses": "build" });
    let tests = json!({ "id": "y", "needs": "z", "uses": "acceptance", "secrets": ["b"] });
    json!([build, tests, step])
}

/// Every shape with its properties.
fn shapes() -> Vec<(String, Map<String, Value>)> {
    let schema = schema();
    let definitions = schema["$defs"].as_object().unwrap().clone();
    let all = definitions.into_iter().chain([("file".to_owned(), schema)]);
    all.filter_map(|(id, shape)| Some((id, shape.get("properties")?.as_object()?.clone())))
        .collect()
}

#[test]
fn it_is_a_schema_of_the_draft_that_it_names() {
    jsonschema::meta::validate(&schema()).unwrap();
    assert_eq!(schema()["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(shapes().len(), 16);
    for (shape, properties) in shapes() {
        for (key, property) in properties {
            for words in ["title", "description"] {
                assert!(property[words].is_string(), "{shape}.{key} has no {words}");
            }
        }
    }
}

#[test]
fn what_the_repository_shows_validates() {
    let pages = [
        include_str!("../../README.md"),
        include_str!("../../docs/repository-file.md"),
        include_str!("../../docs/presets.md"),
        include_str!("../../docs/security.md"),
    ];
    let mut files: Vec<&str> = pages.iter().flat_map(|page| files_of(page)).collect();
    assert!(files.len() >= 5, "{files:#?}");
    files.push(include_str!("../../examples/connectors/.github/checkvalve.yml"));
    for file in files {
        validator().validate(&value(file)).unwrap_or_else(|error| panic!("{error}\n{file}"));
        if let Err(invalid) = resolve(Some(("a.yml", file)), "here", &Paths::default()) {
            panic!("{invalid}");
        }
    }
}

#[test]
fn the_reader_knows_the_same_keys() {
    for (shape, properties) in shapes() {
        let unknown = "zzzzzzzzzzzz";
        let file = with(&shape, unknown, &json!(1));
        assert!(!validator().is_valid(&file), "{shape}");
        let errors = read(&file.to_string()).unwrap_err().errors;
        let error = errors.iter().find(|wrong| wrong.what.contains(unknown)).unwrap();
        let known = error.mend.strip_prefix("known keys: ").unwrap();
        let known: BTreeSet<&str> = known.split(", ").collect();
        assert_eq!(known, properties.keys().map(String::as_str).collect(), "{shape}");
    }
}

#[test]
fn the_reader_takes_every_word_default_and_example() {
    let validator = validator();
    let mut tried = 0;
    for (shape, properties) in shapes() {
        for (key, property) in &properties {
            let default = property.get("default").into_iter();
            let examples = property.get("examples").and_then(Value::as_array).into_iter().flatten();
            let listed = key == "on" || property.pointer("/anyOf/0/enum").is_some();
            let words = [property.get("enum"), property.pointer("/anyOf/0/enum")];
            let words = words.into_iter().flatten().filter_map(Value::as_array).flatten();
            let words = words.map(|word| match key.as_str() {
                "on" => json!(["pull_request", word]),
                _ if listed && key != "cache" => json!([word]),
                _ => word.clone(),
            });
            for value in default.chain(examples).cloned().chain(words) {
                let file = with(&shape, key, &value);
                let text = file.to_string();
                assert!(validator.is_valid(&file), "{shape}.{key} does not take {value}");
                assert!(read(&text).is_ok(), "{shape}.{key}: {}", read(&text).unwrap_err());
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "{tried}");
}

#[test]
fn wrong_files_fail() {
    for wrong in [
        "- a".to_owned(),
        "version: 2".to_owned(),
        "conectors: []".to_owned(),
        "preset: airbite".to_owned(),
        "secrets: { config: { from: vault } }".to_owned(),
        "schedules: [{}]".to_owned(),
        "schedules: [{ cron: 5 }]".to_owned(),
        "schedules: { cron: \"0 2 * * *\" }".to_owned(),
        "schedules: [{ cron: \"0 2 * * *\", selct: {} }]".to_owned(),
        "unclaimed: maybe".to_owned(),
        "ignore: [3]".to_owned(),
        "ignore: [/a]".to_owned(),
        "ignore: [\"\"]".to_owned(),
        "policy: { approve: read }".to_owned(),
        "policy: { bots: 3 }".to_owned(),
        "policy: { detail: none }".to_owned(),
        "connectors: { match: a }".to_owned(),
        "connectors: [{ kind: a }]".to_owned(),
        "connectors: [{ match: x, where: [a] }]".to_owned(),
        "connectors: [{ match: x, attributes: { language: a..b } }]".to_owned(),
        "connectors: [{ match: x, depends: [maven] }]".to_owned(),
        "connectors: [{ match: x, depends: [python-imports] }]".to_owned(),
        "connectors: [{ match: x, depends: [python-imports: []] }]".to_owned(),
        "connectors: [{ match: x, depends: [python-imports: [/a]] }]".to_owned(),
        "connectors: [{ match: x, depends: [gradle: a] }]".to_owned(),
        "connectors: [{ match: x, conventions: other }]".to_owned(),
        "components: [{ include: [a] }]".to_owned(),
        "components: [{ name: a }]".to_owned(),
        "components: [{ name: a/b, include: [a] }]".to_owned(),
        "impact: [{ paths: [a] }]".to_owned(),
        "impact: [{ reaches: all }]".to_owned(),
        "impact: [{ paths: [a], reaches: { colour: red } }]".to_owned(),
        "pipelines: [{ for: {} }]".to_owned(),
        "pipelines: [{ on: [pushes], steps: [] }]".to_owned(),
        "pipelines: [{ supersede: 'no', steps: [] }]".to_owned(),
        "pipelines: [{ lock: 3, steps: [] }]".to_owned(),
    ] {
        neither_takes(&wrong);
    }
}

fn neither_takes(wrong: &str) {
    assert!(!validator().is_valid(&value(wrong)), "the schema takes {wrong}");
    assert!(read(wrong).is_err(), "the reader takes {wrong}");
}

#[test]
fn wrong_steps_fail() {
    let step = |fields: &str| with_steps(&format!("      - {{ {fields} }}\n"));
    for wrong in [
        step("id: a, image: x, run: y, matrix: {}"),
        step("id: a, image: x, run: y, matrix: { v: [] }"),
        step("id: a, image: x, run: y, matrix: { V: [1] }"),
        step("id: a, image: x, run: y, matrix: { v: [a b] }"),
        step("id: a, uses: qa, matrix: { v: [1] }"),
        step("image: x, run: y"),
        step("id: a, run: y"),
        step("id: a, image: 3.11, run: y"),
        step("id: a, image: x, run: 3"),
        step("id: a, image: x, run: y, timeout: 10"),
        step("id: a, image: x, run: y, timeout: 0s"),
        step("id: a, image: x, run: y, retries: 11"),
        step("id: a, image: x, run: y, always: 'yes'"),
        step("id: a, image: x, run: y, network: lan"),
        step("id: a, image: x, run: y, cache: sometimes"),
        step("id: a, image: x, run: y, from: b"),
        step("id: a, image: x, run: y, services: [{ image: z }]"),
        step("id: a, image: x, run: y, services: [{ alias: db }]"),
        step("id: a, image: x, run: y, services: { file: a.yml }"),
        step("id: a, image: x, run: y, services: [{ alias: a, image: x, ready: { port: 0 } }]"),
        step("id: a, image: x, run: y, services: [{ alias: a, image: x, ready: { port: x } }]"),
        step("id: a, uses: build, services: [{ alias: a, image: x }]"),
        step("id: a, image: x, run: y, resources: { cpus: 2 }"),
        step("id: a, image: x, run: y, resources: { cpus: 0, memory: 1Gi }"),
        step("id: a, image: x, run: y, resources: { cpus: 1, memory: lots }"),
        step("id: a, image: x, run: y, env: { 1A: b }"),
        step("id: a, image: x, run: y, env: { CHECKVALVE_OUT: b }"),
        step("id: a, image: x, run: y, env: { A: [b] }"),
    ] {
        neither_takes(&wrong);
    }
}
