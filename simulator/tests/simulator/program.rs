//! The program, its control routes and its pages.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

async fn post(control: &str, path: &str, body: Value) -> Value {
    let reply =
        reqwest::Client::new().post(format!("{control}{path}")).body(body.to_string()).send().await;
    let reply = reply.unwrap();
    let status = reply.status().as_u16();
    let text = reply.text().await.unwrap();
    assert_eq!(status, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn get(url: &str) -> (u16, String) {
    let reply = reqwest::Client::new().get(url).send().await.unwrap();
    (reply.status().as_u16(), reply.text().await.unwrap())
}

/// What GitHub is like, and the merge queue.
async fn settings(control: &str) {
    let chosen = post(control, "/choices", json!({ "spent_code": 422 })).await;
    assert_eq!((&chosen["spent_code"], &chosen["moved_write"]), (&json!(422), &json!(307)));
    post(control, "/advance", json!({ "seconds": 60 })).await;
    post(control, "/enterprise-server", json!({ "version": "3.19" })).await;
    post(control, "/members", json!({ "organization": "acme", "user": "ada" })).await;
    let issue = json!({ "repository": "acme/plugs", "user": "ada", "title": "It leaks" });
    assert_eq!(post(control, "/issues", issue).await["number"], 2);
    let rules =
        json!({ "repository": "acme/plugs", "branch": "main", "checks": [{ "name": "build" }] });
    post(control, "/required-checks", rules).await;
    let queue = json!({ "repository": "acme/plugs", "numbers": [1], "user": "ada" });
    assert_eq!(post(control, "/enqueue", queue).await["pull_requests"], json!([1]));
    post(control, "/run-merge-queue", json!({ "repository": "acme/plugs" })).await;
    post(control, "/delivery-plan", json!({ "lost": 10 })).await;
    post(control, "/faults", json!({ "unreliable_reads": 5, "old_payloads": true })).await;
}

#[tokio::test]
async fn it_is_usable_without_rust() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_github-simulator"))
        .arg("--repository")
        .arg(format!("acme/plugs={}", folder.display()))
        .env_remove("CHECKVALVE_GITHUB_CONTRACT")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut text = String::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        text.push_str(&line);
        if line == "}" {
            break;
        }
    }
    let started: Value = serde_json::from_str(&text).unwrap();
    assert!(started["app"]["private_key_pem"].as_str().unwrap().contains("PRIVATE KEY"));
    let url = started["url"].as_str().unwrap();
    let control = started["control_url"].as_str().unwrap();
    let commit = json!({
        "repository": "acme/plugs", "branch": "topic", "message": "m", "author": "ada",
        "files": [{ "path": "a.txt", "text": "<hello>" }],
    });
    let sha = post(control, "/commits", commit).await["sha"].as_str().unwrap().to_owned();
    let pull = json!({
        "repository": "acme/plugs", "head": "topic", "author": "ada", "title": "<b>Bold</b>",
    });
    assert_eq!(post(control, "/pull-requests", pull).await["number"], 1);
    let comment =
        json!({ "repository": "acme/plugs", "user": "ada", "number": 1, "body": "/retest" });
    post(control, "/comments", comment).await;
    let role = json!({ "repository": "acme/plugs", "user": "ada", "permission": "write" });
    post(control, "/permissions", role).await;
    post(control, "/faults", json!({ "latency_ms": 1, "drop_deliveries": 1 })).await;
    let (status, page) = get(&format!("{url}/acme/plugs/pull/1")).await;
    assert_eq!(status, 200);
    assert!(page.contains("&lt;b&gt;Bold") && page.contains("/retest"));
    assert_eq!(get(&format!("{url}/")).await.0, 200);
    assert_eq!(get(&format!("{url}/acme/plugs")).await.0, 200);
    assert_eq!(get(&format!("{url}/acme/nothing/pull/1")).await.0, 404);
    let (_, pull) = get(&format!("{control}/pull-request?repository=acme/plugs&number=1")).await;
    assert!(pull.contains(&sha));
    settings(control).await;
    let (status, text) = get(&format!("{control}/nonsense")).await;
    assert_eq!(status, 400);
    assert!(text.contains("nonsense"));
    child.kill().await.unwrap();
}
