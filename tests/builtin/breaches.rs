//! `uses: acceptance`: for each rule an image that breaks exactly that one and passes all others.

use checkvalve::domain::state::Outcome;
use checkvalve::exec::images::TalkEnd;

use super::carry_out;
use super::speaker::{Speaker, WELL, both, by, files, judged, with};

/// In which call, what is replaced by what, and the one case that fails.
const BREACHES: &[(&str, &str, &str, &str)] = &[
    ("spec", "\"SPEC\"", "\"SPECK\"", "spec: is one SPEC"),
    ("spec", "SPEC\"}\n", "SPEC\"}\n{\"type\":\"SPEC\",\"spec\":{}}\n", "spec: is one SPEC"),
    ("spec", "SPEC\"}\n", "SPEC\"}\n{\"type\":\"SPEC\",\"spec\":1}\n", "spec: is one SPEC"),
    ("spec", "\"title\":\"T\"", "\"title\":\"Other\"", "spec: is what spec_path has"),
    ("check", "SUCCEEDED", "FAILED", "connection 1: succeeds"),
    ("check", "\"CONNECTION_STATUS\"", "\"STATUS\"", "connection 1: succeeds"),
    ("check", "all is well", "your token is s3cr3t-token", "connection 1: keeps secrets"),
    (
        "check",
        "STATUS\"}\n",
        "STATUS\"}\n{\"connectionStatus\":{\"status\":\"SUCCEEDED\"},\"type\":\"CONNECTION_STATUS\"}\n",
        "connection 1: succeeds",
    ),
    (
        "check",
        "STATUS\"}\n",
        "STATUS\"}\n{\"connectionStatus\":{},\"type\":\"CONNECTION_STATUS\"}\n",
        "connection 1: succeeds",
    ),
    ("invalid", "FAILED", "SUCCEEDED", "connection 2: fails"),
    (
        "invalid",
        "STATUS\"}\n",
        "STATUS\"}\n{\"connectionStatus\":{\"status\":\"FAILED\"},\"type\":\"CONNECTION_STATUS\"}\n",
        "connection 2: fails",
    ),
    ("invalid", "no such token", "no such token wrong-token", "connection 2: keeps secrets"),
    (
        "discover",
        "\"CATALOG\"}\n",
        "\"CATALOG\"}\n{\"type\":\"CATALOG\",\"catalog\":{}}\n",
        "discovery: is one CATALOG",
    ),
    (
        "discover",
        "\"CATALOG\"}\n",
        "\"CATALOG\"}\n{\"type\":\"CATALOG\"}\n",
        "discovery: is one CATALOG",
    ),
    (
        "discover",
        "\"description\":\"the id\"",
        "\"not\":{\"type\":\"string\"}",
        "discovery: schemas use no allOf and no not",
    ),
    (
        "discover",
        "\"description\":\"the id\"",
        "\"allOf\":[{}]",
        "discovery: schemas use no allOf and no not",
    ),
    (
        "discover",
        "\"description\":\"a tag\"",
        "\"additionalProperties\":false",
        "discovery: schemas take additional properties",
    ),
    (
        "discover",
        "\"description\":\"a tag\"",
        "\"patternProperties\":{\"x\":{\"allOf\":[{}]}}",
        "discovery: schemas use no allOf and no not",
    ),
    (
        "discover",
        "\"description\":\"a tag\"",
        "\"additionalProperties\":{\"additionalProperties\":false}",
        "discovery: schemas take additional properties",
    ),
    (
        "discover",
        "[\"full_refresh\"]",
        "[\"full_refresh\",\"sometimes\"]",
        "discovery: sync modes are known",
    ),
    ("discover", "[\"full_refresh\"]", "[\"full_refresh\",1]", "discovery: sync modes are known"),
    ("discover", "[\"full_refresh\"]", "[]", "discovery: sync modes are known"),
    (
        "discover",
        "\"default_cursor_field\":[]",
        "\"default_cursor_field\":[\"when\"]",
        "discovery: cursors are in the schema",
    ),
    (
        "discover",
        "\"default_cursor_field\":[\"updated\"]",
        "\"default_cursor_field\":\"updated\"",
        "discovery: cursors are in the schema",
    ),
    (
        "discover",
        "\"source_defined_primary_key\":[[\"name\"]]",
        "\"source_defined_primary_key\":\"name\"",
        "discovery: primary keys are in the schema",
    ),
    (
        "discover",
        "\"source_defined_primary_key\":[[\"name\"]]",
        "\"source_defined_primary_key\":[[]]",
        "discovery: primary keys are in the schema",
    ),
    (
        "discover",
        "\"source_defined_primary_key\":[[\"name\"]]",
        "\"source_defined_primary_key\":[[\"id\"]]",
        "discovery: primary keys are in the schema",
    ),
    (
        "read1",
        "\"emitted_at\":2",
        "\"emitted_at\":\"2\"",
        "basic_read: emitted_at is a whole number",
    ),
    ("read1", "\"emitted_at\":2", "\"emitted_at\":2.5", "basic_read: emitted_at is a whole number"),
    ("read1", "\"emitted_at\":2,", "", "basic_read: emitted_at is a whole number"),
    ("read1", "\"seen\":1", "\"seen\":\"one\"", "basic_read: records follow their schemas"),
    (
        "read1",
        "\"stream\":\"tags\"}",
        "\"stream\":\"tags\"},\"type\":\"RECORD\"}\n{\"record\":{\"data\":{},\"emitted_at\":1,\"stream\":\"others\"}",
        "basic_read: records belong to the catalog",
    ),
    (
        "read1",
        "{\"name\":\"x\"}",
        "{\"name\":\"x\"},\"stream\":\"tags\",\"emitted_at\":1},\"type\":\"RECORD\"}\n{\"record\":{\"data\":1,\"emitted_at\":2",
        "basic_read: records are well formed",
    ),
    (
        "read1",
        "not a message at all",
        "{\"type\":\"STATE\",\"state\":1}",
        "basic_read: records are well formed",
    ),
    (
        "read1",
        "\"emitted_at\":2,\"stream\":\"tags\"},\"type\":\"RECORD\"",
        "\"stream\":\"tags\"},\"type\":\"RECORDS\"",
        "basic_read: every stream has records",
    ),
    ("read1", "\"id\":1,", "\"id\":7,", "basic_read: expected records are there"),
    ("read1", "\"name\":\"x\"", "\"name\":\"s3cr3t-token\"", "basic_read: keeps secrets"),
    ("read3", "\"id\":3,", "\"id\":4,", "full_refresh: both reads are equal"),
    (
        "read3",
        "{\"name\":\"x\"},\"emitted_at\":2,\"stream\":\"tags\"},\"type\":\"RECORD\"",
        "{\"name\":\"x\"},\"emitted_at\":2,\"stream\":\"tags\"},\"type\":\"RECORDS\"",
        "full_refresh: both reads are equal",
    ),
    ("read2", "reading", "reading with s3cr3t-token", "full_refresh: keeps secrets"),
    ("read3", "not a message at all", "it is s3cr3t-token", "full_refresh: keeps secrets"),
    ("discover", "\"a tag\"", "\"as s3cr3t-token says\"", "discovery: keeps secrets"),
    ("read5", "\"reading\"", "\"s3cr3t-token\"", "incremental: keeps secrets"),
    (
        "read4",
        "\"type\":\"STATE\"",
        "\"type\":\"STATUS\"",
        "incremental: every stream prints its state",
    ),
    (
        "read5",
        "\"updated\":\"2024-01-03\"},\"emitted_at\"",
        "\"updated\":\"2024-01-02\"},\"emitted_at\"",
        "incremental: the state is honoured",
    ),
    (
        "read6",
        "not a message at all",
        "{\"type\":\"RECORD\",\"record\":{\"stream\":\"users\",\"data\":{},\"emitted_at\":1}}",
        "incremental: nothing lies in the future",
    ),
];

#[tokio::test]
async fn each_rule_is_broken_by_itself() {
    for (on, from, to, case) in BREACHES {
        let done = judged(Speaker::but(on, from, to)).await;
        let log = done.log("acceptance");
        assert_eq!(done.tests("acceptance").3, [*case], "{on}: {from} -> {to}\n{log}");
        assert_eq!(done.outcome("acceptance"), Outcome::Failed);
        assert!(!log.contains("s3cr3t-token"), "{log}");
        let told = format!("{:?}", done.step("acceptance").facts);
        assert!(!told.contains("s3cr3t-token"), "{told}");
    }
}

/// Tests, a breach of the answer, and the one case that fails by it: what others would fail by, too,
/// is not asked for.
const ALONE: &[(&str, &str, &str, &str, &str)] = &[
    ("spec", "spec", "\"type\":\"object\"", "\"type\":\"thing\"", SCHEMA_OF_SPEC),
    ("spec", "spec", "\"connectionSpecification\":", "\"specification\":", SCHEMA_OF_SPEC),
    (
        "spec",
        "spec",
        "\"connectionSpecification\":",
        "\"connectionSpecification\":true,\"x\":",
        SCHEMA_OF_SPEC,
    ),
    (
        "discovery",
        "discover",
        "\"description\":\"the id\"",
        "\"minimum\":\"the id\"",
        "discovery: schemas are schemas",
    ),
    (
        "discovery",
        "discover",
        "\"description\":\"the id\"",
        "\"$ref\":\"other.json\"",
        "discovery: schemas are schemas",
    ),
    ("discovery", "discover", "\"json_schema\":", "\"schema\":", "discovery: schemas are schemas"),
    (
        "discovery",
        "discover",
        "\"name\":\"tags\"",
        "\"name\":\"users\"",
        "discovery: streams have names of their own",
    ),
    (
        "discovery",
        "discover",
        "\"name\":\"tags\"",
        "\"name\":\" \"",
        "discovery: streams have names of their own",
    ),
    ("discovery", "discover", "\"streams\":[", "\"stream\":[", "discovery: has a stream"),
    ("discovery", "discover", "\"CATALOG\"", "\"CATALOGUE\"", "discovery: is one CATALOG"),
];

const SCHEMA_OF_SPEC: &str = "spec: connectionSpecification is a schema";

#[tokio::test]
async fn what_others_need_is_broken_by_itself() {
    for (suite, on, from, to, case) in ALONE {
        // Without `json_schema` nothing has a cursor or a key.
        let keys = if *from == "\"json_schema\":" { 2 } else { 0 };
        let config = format!("acceptance_tests:\n  {suite}: {{ tests: [{{}}] }}\n");
        let done = by(Speaker::but(on, from, to), &config).await;
        let (log, failed) = (done.log("acceptance"), done.tests("acceptance").3);
        assert_eq!(failed[0], *case, "{from} -> {to}\n{log}");
        assert_eq!(failed.len(), 1 + keys, "{from} -> {to}\n{log}");
        assert_eq!(done.outcome("acceptance"), Outcome::Failed);
    }
    let apart =
        Speaker::but("discover", "\"name\":\"tags\"", "\"name\":\"users\",\"namespace\":\"b\"");
    let config = "acceptance_tests:\n  discovery: { tests: [{}] }\n";
    let done = by(apart, config).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
}

#[tokio::test]
async fn the_file_of_a_spec_may_hold_the_schema_alone() {
    let schema = r#"{"title": "T", "type": "object", "required": ["token"], "properties": {
        "token": {"type": "string", "airbyte_secret": true}, "start": {"type": "string"}}}"#;
    let path = "integration_tests/spec.json";
    let done = with(Speaker::good(), path, schema).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
    let whole = "{\"documentationUrl\": \"https://other\", \"connectionSpecification\": ";
    for other in [schema.replace("\"T\"", "\"U\""), format!("{whole}{schema}}}")] {
        let done = with(Speaker::good(), path, &other).await;
        assert_eq!(done.tests("acceptance").3, ["spec: is what spec_path has"]);
    }
}

/// A catalog of a file, of which the schema of a property is so.
fn catalog_of(property: &str) -> String {
    format!(
        "{{\"streams\": [{{\"stream\": {{\"name\": \"tags\", \"supported_sync_modes\": \
         [\"full_refresh\"], \"json_schema\": {{\"properties\": {{\"name\": {property}}}}}}}}}]}}"
    )
}

const BY_FILE: &str =
    "acceptance_tests:\n  basic_read: { tests: [{ configured_catalog_path: catalog.json }] }\n";

#[tokio::test]
async fn records_of_a_stream_whose_schema_is_none_do_not_pass() {
    let speaker = Speaker::good();
    let calls = speaker.calls.clone();
    for (property, why) in [
        ("{\"minimum\": \"x\"}", "at `/properties/name/minimum`: \"x\" is not of type \"number\""),
        ("{\"$ref\": \"#/definitions/none\"}", "none"),
        ("{\"pattern\": \"(\"}", "pattern"),
    ] {
        let catalog = catalog_of(property);
        let changes = [("acceptance-test-config.yml", BY_FILE), ("catalog.json", &catalog)];
        let done = carry_out(speaker.clone(), &both(), &files(&changes)).await;
        let log = done.log("acceptance");
        assert_eq!(done.tests("acceptance").3, ["basic_read: records follow their schemas"]);
        assert!(log.contains("stream `tags`: no record can follow its schema"), "{log}");
        assert!(log.contains(why), "{log}");
    }
    assert!(calls.lock().unwrap().iter().all(|(call, _)| call != "discover"), "the file counts");
    let lenient = BY_FILE.replace("}]", ", validate_schema: false }]");
    let catalog = catalog_of("{\"minimum\": \"x\"}");
    let changes = [("acceptance-test-config.yml", lenient.as_str()), ("catalog.json", &catalog)];
    let done = carry_out(speaker, &both(), &files(&changes)).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
    for (catalog, told) in [("", "is not there"), ("{}", "is no configured catalog")] {
        let changes = [("acceptance-test-config.yml", BY_FILE), ("catalog.json", catalog)];
        let done = carry_out(Speaker::good(), &both(), &files(&changes)).await;
        assert_eq!(done.tests("acceptance").3, ["basic_read: can be made"]);
        assert!(done.log("acceptance").contains(told), "{}", done.log("acceptance"));
    }
}

/// A `discover` that others need is judged, also where nobody asked for its judgement.
#[tokio::test]
async fn streams_that_are_only_needed_must_be_good_all_the_same() {
    let crash = TalkEnd::Exited { code: 3, out_of_memory: false };
    for suite in ["basic_read", "full_refresh", "incremental"] {
        let config = format!("acceptance_tests:\n  {suite}: {{ tests: [{{}}] }}\n");
        let ending = |end: &TalkEnd| Speaker::ending("discover", end.clone());
        let but = |from, to| Speaker::but("discover", from, to);
        for (speaker, rule, told) in [
            (ending(&crash), "ends well", "exited with code 3"),
            (ending(&TalkEnd::TimedOut), "ends well", "did not end within 5 min 00 s"),
            (but("\"CATALOG\"", "\"CATALOGUE\""), "is one CATALOG", "0 CATALOG messages"),
            (but("\"streams\":", "\"stream\":"), "has a stream", "has no streams"),
            (but("[\"full_refresh\"]", "[\"full_refresh\",\"x\"]"), "sync modes are known", "`x`"),
        ] {
            let done = by(speaker.clone(), &config).await;
            let (log, failed) = (done.log("acceptance"), done.tests("acceptance").3);
            let known = failed.iter().filter(|name| name.starts_with("discover for "));
            let case = format!("discover for {suite}: {rule}");
            assert_eq!(known.collect::<Vec<_>>(), [&case], "{log}");
            assert!(log.contains(told), "{log}");
            assert_eq!(done.outcome("acceptance"), Outcome::Failed);
            let bypassed = format!("{config}  discovery: {{ bypass_reason: later }}\n");
            let done = by(speaker, &bypassed).await;
            let failed = done.tests("acceptance").3;
            assert_eq!(failed.contains(&case.as_str()), rule != "sync modes are known");
        }
    }
    // Once asked for, they are known.
    let speaker = Speaker::good();
    let calls = speaker.calls.clone();
    by(speaker, "tests: { basic_read: [{}], full_refresh: [{}], incremental: [{}] }\n").await;
    let calls = calls.lock().unwrap();
    assert_eq!(calls.iter().filter(|(call, _)| call == "discover").count(), 1);
}

#[tokio::test]
async fn a_secret_on_the_error_stream_is_printed_as_well() {
    for (on, case) in [
        ("check", "connection 1: keeps secrets"),
        ("discover", "discovery: keeps secrets"),
        ("read1", "basic_read: keeps secrets"),
        ("read3", "full_refresh: keeps secrets"),
        ("read6", "incremental: keeps secrets"),
    ] {
        for text in ["using s3cr3t-token\n", "without an end: s3cr3t-token"] {
            let done = judged(Speaker::good().murmuring(on, text)).await;
            let log = done.log("acceptance");
            assert_eq!(done.tests("acceptance").3, [case], "{log}");
            assert!(log.contains("***") && !log.contains("s3cr3t-token"), "{log}");
        }
    }
}

/// The tags' record, as no record any more.
fn no_tags(call: &str, good: String, on: &[&str]) -> (Vec<u8>, TalkEnd) {
    let tags = "{\"name\":\"x\"},\"emitted_at\":2,\"stream\":\"tags\"},\"type\":\"RECORD\"";
    if !on.contains(&call) {
        return (good.into_bytes(), WELL);
    }
    (good.replace(tags, &tags.replace("RECORD", "RECORDS")).into_bytes(), WELL)
}

#[tokio::test]
async fn empty_streams_and_no_others_may_be_empty() {
    let test = "basic_read: { tests: [{}] }\n  full_refresh: { tests: [{ ignored_fields: { users: [seen] } }] }\n";
    let config = format!("acceptance_tests:\n  {test}");
    let named = config.replacen("[{}]", "[{ empty_streams: [{ name: tags }] }]", 1);
    let never = || Speaker::new(|call, good| no_tags(call, good, &["read1", "read2", "read3"]));
    let done = by(never(), &config).await;
    let failed = ["basic_read: every stream has records", "full_refresh: every stream has records"];
    assert_eq!(done.tests("acceptance").3, failed, "{}", done.log("acceptance"));
    let speaker = never();
    let calls = speaker.calls.clone();
    let done = by(speaker, &named).await;
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
    let asked: Vec<bool> = calls
        .lock()
        .unwrap()
        .iter()
        .filter(|(call, _)| call.starts_with("read"))
        .map(|(_, talk)| String::from_utf8_lossy(&talk.files[0].1).contains("\"tags\""))
        .collect();
    assert_eq!(asked, [false, true, true], "a basic read does not ask for it");
    // Two reads without records are equal, and tell nothing.
    let done = judged(Speaker::new(|call, good| no_tags(call, good, &["read2", "read3"]))).await;
    assert_eq!(done.tests("acceptance").3, ["full_refresh: every stream has records"]);
    let all = config.replacen("[{}]", "[{ empty_streams: [tags, users] }]", 1);
    let done = by(Speaker::good(), &all).await;
    assert!(done.log("acceptance").contains("`empty_streams` names every stream"));
}
