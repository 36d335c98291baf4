//! `uses: acceptance` with real images and a real engine.

use std::time::{Duration, Instant};

use bollard::query_parameters::ListContainersOptions;
use checkvalve::domain::builtin::Builtin;
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::plan::Plan;
use checkvalve::domain::run::StepRecord;
use checkvalve::domain::state::Outcome;

use super::build::docker;
use super::images::engine;
use super::{Done, built, carry_out, plan, resident_mib, resume, uses};

const CONFIG: &str = "
acceptance_tests:
  spec: { tests: [{}] }
  connection:
    tests:
      - { config_path: secrets/config.json }
      - { config_path: invalid_config.json, status: failed }
  discovery: { tests: [{}] }
  basic_read: { tests: [{ timeout_seconds: 120 }] }
  full_refresh: { tests: [{}] }
  incremental: { tests: [{}] }
";

/// A connector in a few lines of shell; `--state` is its sixth argument.
const CONNECTOR: &str = r#"#!/bin/sh
say() { printf '%s\n' "$1"; }
config=$3
case "$1" in
  spec) say '{"type":"SPEC","spec":{"connectionSpecification":{"type":"object","properties":{"token":{"type":"string","airbyte_secret":true}}}}}' ;;
  check)
    grep -q ' /checkvalve/secrets tmpfs ' /proc/mounts || exit 9
    cat "$config" > /dev/null
    if grep -q s3cr3t-token "$config"
    then say '{"type":"CONNECTION_STATUS","connectionStatus":{"status":"SUCCEEDED"}}'
    else say '{"type":"CONNECTION_STATUS","connectionStatus":{"status":"FAILED","message":"no"}}'
    fi ;;
  discover) say '{"type":"CATALOG","catalog":{"streams":[{"name":"users","json_schema":{"type":"object","properties":{"id":{"type":"integer"}}},"supported_sync_modes":["full_refresh","incremental"],"default_cursor_field":["id"],"source_defined_primary_key":[["id"]]}]}}' ;;
  read)
    grep -q '"name":"users"' "$5" || exit 8
    echo "to the error stream" >&2
    printf 'half a \377 line, '; say 'and its end'
    if [ "$6" != --state ]; then say '{"type":"RECORD","record":{"stream":"users","data":{"id":1},"emitted_at":1}}'; fi
    say '{"type":"RECORD","record":{"stream":"users","data":{"id":2},"emitted_at":1}}'
    say '{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"users"},"stream_state":{"id":2}}}}' ;;
esac
"#;

fn both() -> Plan {
    let step = |step: StepSpec| StepSpec { network: Network::None, timeout_ms: 120_000, ..step };
    plan(vec![step(uses(Builtin::Build, &[])), step(uses(Builtin::Acceptance, &["build"]))])
}

/// Builds the connector with its user, and speaks with it.
async fn judged(connector: &str, user: &str, config: &str) -> Option<Done> {
    judged_after(Vec::new(), connector, user, config).await
}

/// Goes on after what another worker did.
async fn judged_after(
    records: Vec<StepRecord>,
    connector: &str,
    user: &str,
    config: &str,
) -> Option<Done> {
    engine().await?;
    let dockerfile = format!(
        "FROM checkvalve-test/busybox:1\nCOPY connector.sh /connector.sh\nUSER {user}\n\
         ENTRYPOINT [\"sh\", \"/connector.sh\"]\n"
    );
    let files = [
        ("Dockerfile", dockerfile.as_str()),
        ("connector.sh", connector),
        ("acceptance-test-config.yml", config),
        ("secrets/config.json", r#"{"token":"s3cr3t-token"}"#),
        ("invalid_config.json", r#"{"token":"wrong-token"}"#),
    ];
    Some(resume(docker().await, &both(), &files, records).await)
}

#[tokio::test]
async fn a_good_image_passes_whoever_it_runs_as() {
    for user in ["0", "1000"] {
        let Some(done) = judged(CONNECTOR, user, CONFIG).await else { return };
        let log = done.log("acceptance");
        assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{user}: {log}");
        let (_, failed, skipped, _) = done.tests("acceptance");
        assert_eq!((failed, skipped), (0, 0), "{log}");
        assert!(log.contains("to the error stream\n"), "{log}");
        assert!(log.contains("| half a \u{fffd} line, and its end\n"), "{log}");
    }
}

#[tokio::test]
async fn a_broken_image_fails_by_its_rule() {
    for (from, to, case) in [
        (
            "\"data\":{\"id\":2}",
            "\"data\":{\"id\":\"two\"}",
            "basic_read: records follow their schemas",
        ),
        ("\"id\":2}}}}' ;;", "\"id\":2}}}}'; exit 4 ;;", "basic_read: ends well"),
        ("cat \"$config\" > /dev/null", "cat \"$config\"", "connection 1: keeps secrets"),
    ] {
        let connector = CONNECTOR.replace(from, to);
        assert_ne!(connector, CONNECTOR);
        let Some(done) = judged(&connector, "0", CONFIG).await else { return };
        let log = done.log("acceptance");
        assert_eq!(done.outcome("acceptance"), Outcome::Failed, "{log}");
        assert!(done.tests("acceptance").3.contains(&case), "{case}: {log}");
        assert!(!log.contains("s3cr3t-token"), "{log}");
    }
}

#[tokio::test]
async fn an_image_that_hangs_is_ended_at_the_tests_limit() {
    let connector = CONNECTOR.replace("discover) say", "discover) sleep 1000; say");
    let config = CONFIG
        .replace("discovery: { tests: [{}] }", "discovery: { tests: [{ timeout_seconds: 2 }] }");
    let begun = Instant::now();
    let config = config.split("  basic_read").next().unwrap();
    let Some(done) = judged(&connector, "0", config).await else { return };
    let log = done.log("acceptance");
    assert!(log.contains("it did not end within 2.0 s"), "{log}");
    let failed = ["discovery: ends well", "discovery: is one CATALOG"];
    assert_eq!(done.tests("acceptance").3, failed, "{log}");
    assert!(begun.elapsed() < Duration::from_mins(1), "{:?}", begun.elapsed());
    let api = engine().await.unwrap();
    let job = done.notes.kept.lock().unwrap().len();
    assert_eq!(job, 2);
    let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
    let names = api.list_containers(Some(options)).await.unwrap();
    let still = names
        .iter()
        .filter(|c| c.command.as_deref().is_some_and(|c| c.contains("connector.sh discover")));
    assert_eq!(still.count(), 0);
}

#[tokio::test]
async fn records_without_end_take_no_memory() {
    let record = r#"{"type":"RECORD","record":{"stream":"users","data":{"id":2},"emitted_at":1}}"#;
    let connector = CONNECTOR
        .replace("echo \"to the error stream\" >&2", &format!("yes '{record}' | head -n 300000"));
    let config = CONFIG.split("  full_refresh").next().unwrap();
    let before = resident_mib();
    let Some(done) = judged(&connector, "0", config).await else { return };
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.log("acceptance"));
    let more = resident_mib().saturating_sub(before);
    assert!(more < 64, "{more} MiB more");
}

#[tokio::test]
async fn an_image_without_a_shell_still_answers_to_spec() {
    let Some(_) = engine().await else { return };
    let files = [
        ("Dockerfile", "FROM checkvalve-test/bare:1\nENTRYPOINT [\"/bin/busybox\", \"false\"]\n"),
        ("acceptance-test-config.yml", CONFIG),
        ("secrets/config.json", "{}"),
    ];
    let done = carry_out(docker().await, &both(), &files).await;
    let log = done.log("acceptance");
    assert_eq!(done.outcome("acceptance"), Outcome::Failed, "{}", done.reason("acceptance"));
    assert!(log.contains("the image has no `sh`"), "{log}");
}

#[tokio::test]
async fn an_image_that_is_gone_is_built_again() {
    let gone = built(&format!("sha256:{}", "0".repeat(64)));
    let Some(done) = judged_after(vec![gone], CONNECTOR, "0", CONFIG).await else { return };
    assert_eq!(done.outcome("acceptance"), Outcome::Succeeded, "{}", done.reason("acceptance"));
    assert_eq!(done.step("build").attempt, 2);
}
