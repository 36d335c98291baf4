//! The demo, as a stranger runs it.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "support/images.rs"]
mod images;

use assert_cmd::Command;

/// The demo with `--once`: what it printed.
fn demo(executor: &str) -> String {
    let state = tempfile::tempdir().unwrap();
    let ended = Command::cargo_bin("checkvalve")
        .unwrap()
        .args(["demo", "--once"])
        .env("CHECKVALVE_EXECUTOR", executor)
        .env("CHECKVALVE_STATE_DIR", state.path())
        .timeout(std::time::Duration::from_secs(170))
        .assert()
        .success();
    let said = String::from_utf8(ended.get_output().stdout.clone()).unwrap();
    let report = said.lines().find_map(|line| line.split("file://").nth(1)).unwrap();
    let page = std::fs::read_to_string(report).unwrap();
    assert!(page.contains("source-weather"), "the stored report names the connectors");
    let report = std::path::Path::new(report).with_file_name("source-weather/report.json");
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report["connector_version"], "0.1.0", "as its metadata.yaml says");
    said
}

/// Every check run of the pull request with its conclusion stands in the closing table.
fn answers_every_step(said: &str) {
    let table = said.split("The check runs of").nth(1).unwrap();
    for (name, conclusion) in [
        ("checkvalve", "failure"),
        ("destination-ledger / write", "success"),
        ("source-orders / integration", "success"),
        ("source-shop / unit", "success"),
        ("source-weather / integration", "skipped"),
        ("source-weather / summary", "success"),
        ("source-weather / unit", "failure"),
    ] {
        let line = table.lines().find(|line| line.contains(&format!(" {name} ")));
        let line = line.unwrap_or_else(|| panic!("no line for `{name}` in:\n{table}"));
        assert!(line.contains(conclusion), "{line}");
    }
    assert!(!table.contains("source-slow"), "the change does not affect it:\n{table}");
    assert!(table.contains("1 of 8 tests failed"), "the tests are counted:\n{table}");
}

#[test]
fn the_demo_answers_its_pull_request_without_docker() {
    answers_every_step(&demo("host"));
}

#[tokio::test]
async fn the_demo_answers_its_pull_request_in_containers() {
    if images::engine().await.is_some() {
        answers_every_step(&demo("docker"));
    }
}
