use std::sync::Arc;

use serde_json::{Value, json};

use super::config::{Asked, Config, Suite};
use super::*;
use crate::domain::redact::Redactor;
use crate::domain::yaml;

fn state(value: &Value) -> States {
    let mut states = States::default();
    assert!(states.hear(value.as_object().unwrap().clone(), |_| true));
    states
}

fn catalog(cursor: &[&str]) -> Catalog {
    let stream = json!({
        "name": "users", "json_schema": {}, "supported_sync_modes": ["incremental"],
        "default_cursor_field": cursor,
    });
    Catalog::configured(&json!({ "streams": [{ "stream": stream }] })).unwrap()
}

#[test]
fn a_cursor_is_found_in_every_form_of_state() {
    let own = json!({ "stream_descriptor": { "name": "users" }, "stream_state": { "at": "2024" } });
    let stream = json!({ "type": "STREAM", "stream": own.clone() });
    let global = json!({ "type": "GLOBAL", "global": { "stream_states": [own] } });
    let legacy = json!({ "data": { "users": { "at": "2024" } } });
    let catalog = catalog(&["at"]);
    for message in [stream, global, legacy] {
        let states = state(&message);
        assert_eq!(states.cursor(&catalog.streams[0]), Some(json!("2024")), "{message}");
        let mut again = States::default();
        again.hear_all(&states.to_json());
        assert_eq!(again, states, "what is handed in is what was heard");
    }
    let other = json!({ "type": "STREAM", "stream": {
        "stream_descriptor": { "name": "users", "namespace": "n" }, "stream_state": { "at": 1 } } });
    assert_eq!(state(&other).cursor(&catalog.streams[0]), None);
}

fn judged(catalog: &Catalog, test: &config::Test) -> Read {
    Read::new(catalog, test, Arc::default())
}

/// Reads so many records since a state.
fn read(since: &States, records: usize) -> Read {
    let catalog = catalog(&["at"]);
    let mut read = judged(&catalog, &config::Test::default()).since(since.clone());
    for n in 0..records {
        let record = json!({ "stream": "users", "data": { "at": n }, "emitted_at": 1 });
        let line = json!({ "type": "RECORD", "record": record }).to_string();
        read.hear(heard(line.as_bytes()), &mut Expected::default());
    }
    read
}

#[test]
fn where_no_cursor_can_tell_a_second_read_has_fewer_records() {
    let own = json!({ "stream_descriptor": { "name": "users" }, "stream_state": { "page": "x" } });
    let blind = state(&json!({ "type": "STREAM", "stream": own }));
    let first = read(&States::default(), 3);
    assert_eq!(read(&blind, 2).honours(&first), Verdict::Passed);
    assert!(matches!(read(&blind, 3).honours(&first), Verdict::Failed(_)));
    let own = json!({ "stream_descriptor": { "name": "users" }, "stream_state": { "at": 0 } });
    let seeing = state(&json!({ "type": "STREAM", "stream": own }));
    assert_eq!(read(&seeing, 3).honours(&first), Verdict::Passed, "none lies before its cursor");
    assert!(matches!(read(&seeing, 4).honours(&first), Verdict::Failed(_)), "there are more");
}

#[test]
fn a_state_that_no_record_can_be_compared_with_tells_nothing() {
    let first = read(&States::default(), 3);
    for at in [json!("1704067200"), json!("2024-01-01T00:00:00Z"), json!(null)] {
        let own = json!({ "stream_descriptor": { "name": "users" }, "stream_state": { "at": at } });
        let since = state(&json!({ "type": "STREAM", "stream": own }));
        let verdict = read(&since, 3).honours(&first);
        assert!(matches!(verdict, Verdict::Failed(_)), "{at}: the same 3 records: {verdict:?}");
        assert_eq!(read(&since, 2).honours(&first), Verdict::Passed, "{at}");
    }
}

#[test]
fn secrets_are_those_that_the_spec_marks() {
    let spec = json!({ "properties": {
        "start": { "type": "string" },
        "auth": { "oneOf": [{ "properties": {
            "key": { "type": "string", "airbyte_secret": true },
            "kind": { "type": "string" },
        } }] },
    } });
    let config =
        json!({ "start": "2024-01-01", "auth": { "key": "a\"quoted-key", "kind": "token-kind" } });
    let mut secrets = Secrets::of(Some(&spec), &config);
    let named = Named("check");
    secrets.hear(b"2024-01-01 token-kind");
    assert_eq!(keeps_secrets(named, &secrets).verdict, Verdict::Passed);
    secrets.hear(br#"{"k":"a\"quoted-key"}"#);
    assert!(matches!(keeps_secrets(named, &secrets).verdict, Verdict::Failed(_)));
    let unmarked = Secrets::of(Some(&json!({})), &config);
    assert!(matches!(keeps_secrets(named, &unmarked).verdict, Verdict::Skipped(_)));
}

/// A value that is printed, by the SPEC's schema and the configuration.
fn kept(spec: &Value, config: &Value, printed: &str) -> Verdict {
    let mut secrets = Secrets::of(Some(spec), config);
    secrets.hear(format!("it is {printed}, which").as_bytes());
    keeps_secrets(Named("check"), &secrets).verdict
}

#[test]
fn what_is_marked_is_secret_wherever_the_mark_stands() {
    let secret = json!({ "type": "string", "airbyte_secret": true });
    let plain = json!({ "type": "string" });
    let key = json!({ "key": "marked-key", "other": "plain-text" });
    for (schema, config) in [
        (json!({ "properties": { "key": secret, "other": plain } }), &key),
        (
            json!({ "properties": { "key": { "$ref": "#/definitions/key" } },
            "definitions": { "key": secret } }),
            &key,
        ),
        (
            json!({ "properties": { "key": { "allOf": [{ "$ref": "#key" }] } },
            "definitions": { "a": { "$id": "#key", "airbyte_secret": true } } }),
            &key,
        ),
        (json!({ "properties": { "key": { "oneOf": [{ "type": "null" }, secret] } } }), &key),
        (json!({ "anyOf": [{}, { "properties": { "key": secret } }] }), &key),
        (json!({ "properties": { "other": plain }, "additionalProperties": secret }), &key),
        (json!({ "patternProperties": { "^k": secret, "^o": plain } }), &key),
        (json!({ "if": {}, "then": { "properties": { "key": secret } } }), &key),
        (
            json!({ "$ref": "#/definitions/all", "definitions": {
            "all": { "properties": { "key": secret, "next": { "$ref": "#/definitions/all" } } } } }),
            &json!({ "next": { "next": { "key": "marked-key", "other": "plain-text" } } }),
        ),
        (
            json!({ "properties": { "keys": { "type": "array", "items": secret } } }),
            &json!({ "keys": ["a", "marked-key"], "other": ["plain-text"] }),
        ),
        (
            json!({ "properties": { "keys": { "items": [plain], "additionalItems": secret } } }),
            &json!({ "keys": ["plain-text", "marked-key"] }),
        ),
        (
            json!({ "properties": { "keys": { "contains": { "properties": { "of": secret } } } } }),
            &json!({ "keys": [{ "of": "marked-key", "name": "plain-text" }] }),
        ),
        // As older configurations have it, beside the place that the schema knows.
        (json!({ "properties": { "auth": { "properties": { "key": secret } } } }), &key),
    ] {
        assert!(matches!(kept(&schema, config, "marked-key"), Verdict::Failed(_)), "{schema}");
        assert_eq!(kept(&schema, config, "plain-text"), Verdict::Passed, "{schema}");
    }
    let whole = json!({ "properties": { "key": { "type": "object", "airbyte_secret": true } } });
    let config = json!({ "key": { "pin": 12_345_678, "texts": ["marked-key"] } });
    for told in ["12345678", "marked-key"] {
        assert!(matches!(kept(&whole, &config, told), Verdict::Failed(_)), "{told}");
    }
}

#[test]
fn what_was_given_in_confidence_is_secret_whatever_a_spec_says() {
    let config = json!({ "token": "s3cr3t-token", "account": "acme-account", "day": "2024-01-01" });
    let confided = config.to_string();
    let redactor = Redactor::of([confided.as_bytes()], "source-x").unwrap();
    let redactor = Arc::new(redactor);
    for spec in [Some(json!({})), None] {
        let mut secrets = Secrets::of(spec.as_ref(), &config).with(redactor.clone());
        secrets.hear(b"of 2024-01-01 and source-x");
        assert_eq!(keeps_secrets(Named("check"), &secrets).verdict, Verdict::Passed);
        secrets.hear(b"this is acme-account");
        let Verdict::Failed(told) = keeps_secrets(Named("check"), &secrets).verdict else {
            panic!("it was printed")
        };
        assert!(told[0].text.starts_with("1 lines held a value that the step was given"));
    }
}

#[test]
fn a_hostile_spec_is_no_use_and_takes_no_time() {
    // Each of many values under each of many variants of a schema that holds itself.
    let variants: Vec<Value> =
        (0..400).map(|n| json!({ "title": n, "items": { "$ref": "#" } })).collect();
    let spec = json!({ "anyOf": variants, "items": { "$ref": "#" } });
    let config = json!([vec!["sk_live_0123"; 500]]);
    assert!(matches!(kept(&spec, &config, "sk_live_0123"), Verdict::Failed(_)), "it is guessed");
}

fn configured(text: &str) -> Result<Config, Vec<String>> {
    let told = |flaw: crate::domain::catalog::Flaw| {
        let place = flaw.place.unwrap();
        format!("{}:{} {}; {}", place.line, place.column, flaw.text, flaw.mend)
    };
    config::read(&yaml::parse(text).unwrap()).map_err(|flaws| flaws.into_iter().map(told).collect())
}

#[test]
fn the_file_is_read_with_what_it_asks_for_beyond() {
    let text = "connector_image: x:dev\ntest_strictness_level: high\ncustom_environment_variables: { A: 1, B: true }\n\
        acceptance_tests:\n  basic_read:\n    tests:\n      - deployment_mode: cloud\n        timeout_seconds: 1.5\n        \
        empty_streams: [{ name: a, bypass_reason: b }, c]\n        fail_on_extra_columns: false\n        validate_schema: false\n  \
        connector_attributes: { tests: [{}] }\n  incremental: { bypass_reason: none }\n";
    let config = configured(text).unwrap();
    assert!(config.strict);
    assert_eq!((config.env["A"].as_str(), config.env["B"].as_str()), ("1", "true"));
    let Asked::Tests(tests) = &config.suites[&Suite::BasicRead] else { panic!() };
    assert_eq!(tests[0].deployment.as_deref(), Some("CLOUD"));
    assert_eq!(tests[0].timeout, Some(Duration::from_millis(1500)));
    assert!(tests[0].any_schema && tests[0].empty_streams.contains("a"));
    assert_eq!(config.suites[&Suite::Incremental], Asked::Bypassed("none".to_owned()));
    assert_eq!(config.notes.len(), 2, "{:?}", config.notes);
}

/// Texts, and what is told of each.
const ERRORS: &[(&str, &str)] = &[
    ("a: 1\n", "1:1 `the file` has no key `a`; remove it"),
    (
        "connector_image: x\n",
        "1:1 it has no `acceptance_tests`; add `acceptance_tests:` with the suites",
    ),
    (
        "acceptance_tests:\n  spec: {}\n",
        "2:9 `spec` has no `tests`; add `tests:` with a list, or a `bypass_reason`",
    ),
    (
        "acceptance_tests:\n  spec: { tests: [], bypass_reason: x }\n",
        "2:22 `spec` has both `tests` and a `bypass_reason`; keep one of them",
    ),
    (
        "acceptance_tests:\n  spec: { tests: [{ status: failed }] }\n",
        "2:21 `a test of spec` has no key `status`; remove it",
    ),
    (
        "acceptance_tests:\n  spec: { tests: [] }\n",
        "2:18 `spec` has no test in its list; add a test (`- {}` is one), or a `bypass_reason` in \
             place of the list",
    ),
    (
        "tests:\n  spec: []\ntest_strictness_level: high\n",
        "2:9 `spec` has no test in its list; add a test (`- {}` is one), or a `bypass_reason` in \
             place of the list",
    ),
    (
        "acceptance_tests:\n  spec: { bypass_reason: }\n",
        "2:9 `spec` has no `tests`; add `tests:` with a list, or a `bypass_reason`",
    ),
    (
        "acceptance_tests: {}\ntests: {}\n",
        "2:1 it has both `acceptance_tests` and the older `tests`; keep one of them",
    ),
    (
        "acceptance_tests: { spec: { bypass_reason: a }, spec: { bypass_reason: b } }\n",
        "1:49 `spec` stands twice in `acceptance_tests`; keep one of them",
    ),
    (
        "acceptance_tests: {}\nbase_path: integration_tests\n",
        "2:12 `base_path` can't be `integration_tests`: paths begin at the connector's folder; \
             remove it, and write the paths from there",
    ),
    (
        "acceptance_tests: {}\ncustom_environment_variables: { A: [1] }\n",
        "2:36 `A` can't be a list; write a text",
    ),
    (
        "tests:\n  basic_read: [{ empty_streams: [{ name: a, bypas_reason: b }] }]\n",
        "2:45 `empty_streams` has no key `bypas_reason`; did you mean `bypass_reason`?",
    ),
    (
        "tests:\n  full_refresh: [{ ignored_fields: { a: [{ nam: x }] } }]\n",
        "2:44 `ignored_fields` has no key `nam`; did you mean `name`?",
    ),
    (
        "tests:\n  connector_attributes: [{ allowed_hosts: { bypass_reson: x } }]\n",
        "2:45 `allowed_hosts` has no key `bypass_reson`; did you mean `bypass_reason`?",
    ),
    (
        "acceptance_tests: { connector_documentation: { test: [] } }\n",
        "1:48 `connector_documentation` has no key `test`; did you mean `tests`?",
    ),
    (
        "tests:\n  spec: [{ backward_compatibility_tests_config: { disable_for: 1 } }]\n",
        "2:51 `backward_compatibility_tests_config` has no key `disable_for`; remove it",
    ),
    (
        "tests:\n  incremental: [{ future_state: { cursor_format: { streams: [{ nam: a }] } } }]\n",
        "2:64 `streams` has no key `nam`; did you mean `name`?",
    ),
    (
        "acceptance_tests: []\ntest_strictness_level: middle\n",
        "1:19 `acceptance_tests` can't be a list; write a mapping",
    ),
];

#[test]
fn every_error_of_the_file_has_its_place() {
    for (text, told) in ERRORS {
        let errors = configured(text).unwrap_err();
        assert!(errors.iter().any(|error| error == told), "{errors:?}\n--- not ---\n{told}");
    }
}

#[test]
fn what_is_asked_for_and_not_judged_is_noted() {
    let text = "base_path: ./\ntests:\n  basic_read:\n  - expect_records: { path: a, exact_order: true, \
        extra_fields: false }\n    validate_primary_keys_data_type: false\n  incremental:\n  - future_state: \
        { future_state_path: b, missing_streams: [{ name: x, bypass_reason: y }], cursor_format: { \
        format: z, streams: [{ name: x, format: z }] } }\n  connector_attributes: [{ \
        streams_without_primary_key: [{ name: x }] }]\n";
    let notes = configured(text).unwrap().notes;
    assert_eq!(
        notes,
        [
            "`exact_order` of `expect_records` is not judged here",
            "`validate_primary_keys_data_type` of `basic_read` is not judged here",
            "`missing_streams` of `future_state` is not judged here",
            "`cursor_format` of `future_state` is not judged here",
            "the suite `connector_attributes` is not judged here",
        ]
    );
}

fn told(read: &mut Read, message: &Value) {
    read.hear(heard(message.to_string().as_bytes()), &mut Expected::default());
}

#[test]
fn states_take_no_more_than_their_share_of_memory() {
    let catalog = catalog(&["at"]);
    let mut read = judged(&catalog, &config::Test::default());
    let of = |name: &str, state: &str| json!({ "stream_descriptor": { "name": name }, "stream_state": { "at": state } });
    let stream =
        |own: Value| json!({ "type": "STATE", "state": { "type": "STREAM", "stream": own } });
    for n in 0..100 {
        told(&mut read, &stream(of(&format!("other{n}"), "x")));
    }
    assert!(read.states().is_empty(), "nobody asked for them");
    let all = [of("users", "1"), of("other", "2")];
    let global = json!({ "type": "GLOBAL", "global": { "stream_states": all } });
    told(&mut read, &json!({ "type": "STATE", "state": global }));
    assert_eq!(read.has_states(), Verdict::Passed);
    assert!(!read.states().to_json().to_string().contains("other"));
    told(&mut read, &stream(of("users", &"x".repeat(40 << 20))));
    told(&mut read, &stream(of("users", &"y".repeat(40 << 20))));
    assert_eq!(read.has_states(), Verdict::Passed, "the later one is in the other's place");
    told(&mut read, &json!({ "type": "STATE", "state": { "data": "z".repeat(40 << 20) } }));
    assert!(matches!(read.has_states(), Verdict::Failed(_)));
}

/// A second read of one record, since the state of a stream, as a test asks for it.
fn looked_back(asked: &str, state_at: &Value, record_at: &Value) -> Verdict {
    let text = format!("acceptance_tests:\n  incremental: {{ tests: [{{ {asked} }}] }}\n");
    let config = configured(&text).unwrap();
    let Asked::Tests(tests) = &config.suites[&Suite::Incremental] else { panic!() };
    let own =
        json!({ "stream_descriptor": { "name": "users" }, "stream_state": { "at": state_at } });
    let since = state(&json!({ "type": "STREAM", "stream": own }));
    let mut second = judged(&catalog(&["at"]), &tests[0]).since(since);
    let record = json!({ "stream": "users", "data": { "at": record_at }, "emitted_at": 1 });
    told(&mut second, &json!({ "type": "RECORD", "record": record }));
    second.honours(&read(&States::default(), 1))
}

#[test]
fn a_look_back_that_is_declared_is_no_fault() {
    let (state, near, far) =
        (json!("2024-01-10T00:00:00Z"), json!("2024-01-08 12:00:00"), json!("2024-01-01"));
    assert!(matches!(looked_back("threshold_days: 0", &state, &near), Verdict::Failed(_)));
    assert_eq!(looked_back("threshold_days: 3", &state, &near), Verdict::Passed);
    assert!(matches!(looked_back("threshold_days: 3", &state, &far), Verdict::Failed(_)));
    let number = looked_back("threshold_days: 3", &json!(10), &json!(9));
    assert!(matches!(number, Verdict::Skipped(_)), "{number:?}");
    let elsewhere = looked_back("cursor_paths: { users: [a, b] }", &state, &near);
    assert!(matches!(elsewhere, Verdict::Skipped(_)), "{elsewhere:?}");
}

#[test]
fn a_secret_of_several_lines_is_known_by_each() {
    let spec = json!({ "properties": { "key": { "airbyte_secret": true } } });
    let key = "-----BEGIN KEY-----\nfirstline\nsecondline\n-----END KEY-----\n";
    let mut secrets = Secrets::of(Some(&spec), &json!({ "key": key }));
    secrets.hear(b"-----BEGIN KEY-----");
    assert_eq!(keeps_secrets(Named("check"), &secrets).verdict, Verdict::Passed);
    secrets.hear(b"x firstline");
    assert!(matches!(keeps_secrets(Named("check"), &secrets).verdict, Verdict::Failed(_)));
}

#[test]
fn a_record_is_freed_of_secrets_before_what_is_told_of_it_is_cut() {
    let name = "config".parse().unwrap();
    let redactor = Redactor::new([(&name, b"secret-0123456789".as_slice())], "source-x").unwrap();
    let mut read = Read::new(&catalog(&["at"]), &config::Test::default(), Arc::new(redactor));
    let stream = format!("{}secret-0123456789", "x".repeat(2020));
    let record = json!({ "stream": stream, "data": {}, "emitted_at": 1 });
    for _ in 0..2 {
        told(&mut read, &json!({ "type": "RECORD", "record": record }));
    }
    let end = End::Exited { code: 0, out_of_memory: false };
    let cases = read.cases(Named("read"), &end);
    let strangers = cases.iter().find(|case| case.name.contains("belong")).unwrap();
    let Verdict::Failed(findings) = &strangers.verdict else { panic!() };
    assert_eq!(findings.len(), 2);
    for finding in findings {
        assert!(finding.text.contains("x***") && finding.text.len() < 2100, "{}", finding.text);
    }
}

#[test]
fn without_a_spec_what_may_be_secret_is() {
    let config = json!({ "start": "2024-01-01T00:00:00Z", "host": "https://api2.example.com",
        "kind": "client_credentials", "name": "source weather", "id": "1234567890",
        "auth": { "token": "sk_live_0123", "url": "https://user:pass1234@db" } });
    let mut secrets = Secrets::of(None, &config);
    for plain in
        ["2024-01-01T00:00:00Z", "https://api2.example.com", "source weather", "1234567890"]
    {
        secrets.hear(plain.as_bytes());
        assert_eq!(keeps_secrets(Named("check"), &secrets).verdict, Verdict::Passed, "{plain}");
    }
    secrets.hear(b"sk_live_0123");
    assert!(matches!(keeps_secrets(Named("check"), &secrets).verdict, Verdict::Failed(_)));
}

/// What ignored fields leave of a record.
fn left(field: &str, data: &Value) -> bool {
    let text =
        format!("tests: {{ full_refresh: [{{ ignored_fields: {{ users: [\"{field}\"] }} }}] }}\n");
    let config = configured(&text).unwrap();
    let Asked::Tests(tests) = &config.suites[&Suite::FullRefresh] else { panic!() };
    let read = |data: &Value| {
        let mut read = judged(&catalog(&["at"]), &tests[0]);
        let record = json!({ "stream": "users", "data": data, "emitted_at": 1 });
        told(&mut read, &json!({ "type": "RECORD", "record": record }));
        read
    };
    let first = json!({ "a": 1, "b": { "c": 1, "d": 1 }, "e": [{ "f": 1, "g": 1 }] });
    read(&first).same(&read(data)) == Verdict::Passed
}

#[test]
fn fields_that_may_differ_are_those_that_are_named() {
    for (field, data) in [
        ("a", json!({ "a": 2, "b": { "c": 1, "d": 1 }, "e": [{ "f": 1, "g": 1 }] })),
        ("b/c", json!({ "a": 1, "b": { "c": 2, "d": 1 }, "e": [{ "f": 1, "g": 1 }] })),
        ("*/c", json!({ "a": 1, "b": { "c": 2, "d": 1 }, "e": [{ "f": 1, "g": 1 }] })),
        ("b/*", json!({ "a": 1, "b": { "c": 2, "d": 2, "x": 1 }, "e": [{ "f": 1, "g": 1 }] })),
        ("e/f", json!({ "a": 1, "b": { "c": 1, "d": 1 }, "e": [{ "f": 2, "g": 1 }] })),
        ("e/*/f", json!({ "a": 1, "b": { "c": 1, "d": 1 }, "e": [{ "f": 2, "g": 1 }] })),
        ("e/0/f", json!({ "a": 1, "b": { "c": 1, "d": 1 }, "e": [{ "f": 2, "g": 1 }] })),
    ] {
        assert!(left(field, &data), "{field}");
        assert!(!left("x", &data) && !left("b/d", &data), "{field}");
    }
}

#[test]
fn a_schema_that_is_too_much_to_judge_by_lets_no_record_pass() {
    let double = |at: usize| json!({ "anyOf": vec![json!({ "$ref": format!("#/d/{at}") }); 2] });
    let all: Vec<Value> = (1..40).map(double).collect();
    let stream = json!({ "name": "users", "json_schema": { "d": all, "$ref": "#/d/0" } });
    let catalog = Catalog::configured(&json!({ "streams": [{ "stream": stream }] })).unwrap();
    let end = End::Exited { code: 0, out_of_memory: false };
    let fit = |test: &config::Test| {
        let cases = judged(&catalog, test).cases(Named("read"), &end);
        cases.into_iter().find(|case| case.name.contains("follow")).unwrap().verdict
    };
    let Verdict::Failed(told) = fit(&config::Test::default()) else { panic!("it passed") };
    assert!(told[0].text.starts_with("stream `users`: no record can follow its schema"));
    assert!(told[0].text.ends_with("comes to more than 100000 schemas"), "{}", told[0].text);
    let any = config::Test { any_schema: true, ..config::Test::default() };
    assert_eq!(fit(&any), Verdict::Passed);
}
