//! Behaviours 38–62: check runs, and every way to get one refused.

use std::time::Duration;

use github_simulator::CompletedPatch;
use serde_json::{Value, json};

use crate::common::{REPO, Scene};

/// A body that is accepted, with changes.
fn body(scene: &Scene, changes: &Value) -> Value {
    let mut body = json!({ "name": "build", "head_sha": scene.head });
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

/// First layer: one text, no `errors`.
async fn refused_by_schema(scene: &Scene, sent: Value, detail: &str) {
    let reply = scene.check(sent).await.expect(422).json();
    assert_eq!(reply["message"], format!("Invalid request.\n\n{detail}"));
    assert_eq!(reply["status"], "422");
    assert!(reply.get("errors").is_none());
    assert!(reply["documentation_url"].is_string());
}

/// Second layer: `Validation Failed` with `errors`.
async fn refused_by_model(scene: &Scene, sent: Value, error: Value) {
    let reply = scene.check(sent).await.expect(422).json();
    assert_eq!(reply["message"], "Validation Failed");
    assert_eq!(reply["errors"], json!([error]));
}

/// Behaviour 38: only on commits that are here.
#[tokio::test]
async fn an_unknown_commit_has_no_checks() {
    let scene = Scene::new().await;
    let sha = "0123456789012345678901234567890123456789";
    let reply = scene.check(body(&scene, &json!({ "head_sha": sha }))).await.expect(422);
    assert_eq!(reply.message(), format!("No commit found for SHA: {sha}"));
    scene.check(body(&scene, &json!({ "head_sha": "main" }))).await.expect(422);
}

/// Behaviours 39 and 45: what is missing is named.
#[tokio::test]
async fn required_fields_are_missed_by_name() {
    let scene = Scene::new().await;
    refused_by_schema(&scene, json!({ "name": "a" }), "\"head_sha\" wasn't supplied.").await;
    refused_by_schema(&scene, json!({ "head_sha": scene.head }), "\"name\" wasn't supplied.").await;
    let sent = body(&scene, &json!({ "output": { "title": "t" } }));
    refused_by_schema(&scene, sent, "\"summary\" wasn't supplied.").await;
    let sent = body(&scene, &json!({ "output": { "summary": "s" } }));
    refused_by_schema(&scene, sent, "\"title\" wasn't supplied.").await;
}

/// Behaviour 40: a client that sends `null` for nothing is refused.
#[tokio::test]
async fn null_is_not_a_missing_field() {
    let scene = Scene::new().await;
    let sent = body(&scene, &json!({ "conclusion": null, "details_url": null }));
    let detail = "For 'properties/conclusion', nil is not a string.\n\
                  For 'properties/details_url', nil is not a string.";
    let reply = scene.check(sent).await.expect(422).json();
    let mut lines: Vec<&str> = reply["message"].as_str().unwrap().split('\n').skip(2).collect();
    lines.sort_unstable();
    assert_eq!(lines.join("\n"), detail);
}

/// Behaviours 41 and 42: unknown words, and those that are GitHub's.
#[tokio::test]
async fn words_must_be_known() {
    let scene = Scene::new().await;
    let conclusions = "[\"success\", \"failure\", \"neutral\", \"cancelled\", \"timed_out\", \
                       \"action_required\", \"skipped\"]";
    for word in ["great", "stale"] {
        let sent = body(&scene, &json!({ "conclusion": word }));
        refused_by_schema(&scene, sent, &format!("{word} is not a member of {conclusions}.")).await;
    }
    for word in ["waiting", "requested", "pending"] {
        let sent = body(&scene, &json!({ "status": word }));
        let detail =
            format!("{word} is not a member of [\"queued\", \"in_progress\", \"completed\"].");
        refused_by_schema(&scene, sent, &detail).await;
    }
}

/// Behaviours 43 and 44: the one does not go without the other.
#[tokio::test]
async fn completed_wants_a_conclusion_and_a_conclusion_completes() {
    let scene = Scene::new().await;
    let missing = json!({ "resource": "CheckRun", "code": "missing_field", "field": "conclusion" });
    refused_by_model(&scene, body(&scene, &json!({ "status": "completed" })), missing.clone())
        .await;
    let sent = body(&scene, &json!({ "completed_at": "2026-11-21T09:00:00Z" }));
    refused_by_model(&scene, sent, missing).await;
    let run =
        scene.check(body(&scene, &json!({ "conclusion": "neutral" }))).await.expect(201).json();
    assert_eq!(run["status"], "completed");
    assert!(run["completed_at"].is_string());
    scene.check(body(&scene, &json!({ "started_at": "yesterday" }))).await.expect(422);
}

/// Behaviours 46 and 47: who counts characters only is refused by the second layer.
#[tokio::test]
async fn texts_have_limits_in_characters_and_in_bytes() {
    let scene = Scene::new().await;
    let output = |text: String| json!({ "output": { "title": "t", "summary": text } });
    let sent = body(&scene, &output("a".repeat(65_536)));
    refused_by_schema(&scene, sent, "Only 65535 characters are allowed; 65536 were supplied.")
        .await;
    let sent = body(&scene, &output("é".repeat(40_000)));
    let error = json!({
        "resource": "CheckRun", "code": "custom", "field": "summary",
        "message": "summary exceeds a maximum bytesize of 65535",
    });
    refused_by_model(&scene, sent, error).await;
    scene.check(body(&scene, &output("a".repeat(65_535)))).await.expect(201);
}

fn annotation(changes: &Value) -> Value {
    let mut annotation = json!({
        "path": "a.py", "start_line": 1, "end_line": 1,
        "annotation_level": "warning", "message": "m",
    });
    for (name, value) in changes.as_object().unwrap() {
        annotation[name] = value.clone();
    }
    annotation
}

fn with_annotations(annotations: &[Value]) -> Value {
    json!({ "output": { "title": "t", "summary": "s", "annotations": annotations } })
}

/// Behaviours 48 and 49: 50 a time, and every time more; who sends all again has them twice.
#[tokio::test]
async fn annotations_are_limited_and_appended() {
    let scene = Scene::new().await;
    let many = vec![annotation(&json!({})); 51];
    let sent = body(&scene, &with_annotations(&many));
    refused_by_schema(&scene, sent, "No more than 50 items are allowed; 51 were supplied.").await;
    assert!(scene.github.check_runs(REPO, &scene.head).is_empty());
    let run = scene.check(body(&scene, &with_annotations(&many[..50]))).await.expect(201).json();
    let path = scene.path(&format!("/check-runs/{}", run["id"]));
    let again = scene.client.patch(&path, with_annotations(&many[..50])).await.expect(200).json();
    assert_eq!(again["output"]["annotations_count"], 100);
    let page = scene.client.get(&format!("{path}/annotations?per_page=100")).await.expect(200);
    assert_eq!(page.json().as_array().unwrap().len(), 100);
    assert!(scene.github.violations().iter().all(|text| text.starts_with("request of")));
}

/// Behaviours 50 and 51: lines, columns and lengths.
#[tokio::test]
async fn annotations_must_point_somewhere() {
    let scene = Scene::new().await;
    let error = json!({ "resource": "CheckRun", "code": "invalid", "field": "annotations" });
    for wrong in [
        json!({ "start_line": 0, "end_line": 0 }),
        json!({ "start_line": 2 }),
        json!({ "end_line": 3, "start_column": 1 }),
        json!({ "start_column": 0 }),
        json!({ "message": "m".repeat(64 * 1024 + 1) }),
        json!({ "raw_details": "m".repeat(64 * 1024 + 1) }),
        json!({ "title": "t".repeat(256) }),
    ] {
        let sent = body(&scene, &with_annotations(&[annotation(&wrong)]));
        refused_by_model(&scene, sent, error.clone()).await;
    }
    let sent =
        body(&scene, &with_annotations(&[annotation(&json!({ "annotation_level": "bad" }))]));
    let detail = "bad is not a member of [\"notice\", \"warning\", \"failure\"].";
    refused_by_schema(&scene, sent, detail).await;
    let sound = annotation(&json!({ "start_column": 1, "end_column": 4 }));
    scene.check(body(&scene, &with_annotations(&[sound]))).await.expect(201);
}

/// Behaviour 52: three buttons with short words.
#[tokio::test]
async fn buttons_are_few_and_short() {
    let scene = Scene::new().await;
    let button = |label: &str| json!({ "label": label, "description": "d", "identifier": "i" });
    let four = vec![button("a"); 4];
    let sent = body(&scene, &json!({ "actions": four }));
    refused_by_schema(&scene, sent, "No more than 3 items are allowed; 4 were supplied.").await;
    let sent = body(&scene, &json!({ "actions": [button(&"x".repeat(21))] }));
    refused_by_schema(&scene, sent, "Only 20 characters are allowed; 21 were supplied.").await;
    let sent = body(&scene, &json!({ "actions": [{ "label": "a", "description": "d" }] }));
    refused_by_schema(&scene, sent, "\"identifier\" wasn't supplied.").await;
}

/// Behaviour 53: an address of the web, or none at all.
#[tokio::test]
async fn details_url_must_be_a_web_address() {
    let scene = Scene::new().await;
    let error = |message: &str| {
        json!({
            "resource": "CheckRun", "code": "custom", "field": "details_url", "message": message,
        })
    };
    for wrong in ["", "ftp://x", "ci.example"] {
        let sent = body(&scene, &json!({ "details_url": wrong }));
        refused_by_model(&scene, sent, error("details_url must use the http or https scheme"))
            .await;
    }
    let sent = body(&scene, &json!({ "details_url": "http://a b" }));
    refused_by_model(&scene, sent, error("details_url is not a valid URL")).await;
    let run = scene.check(body(&scene, &json!({}))).await.expect(201).json();
    assert_eq!(run["details_url"], format!("{}/apps/checkvalve", scene.github.url()));
}

/// Behaviours 55 and 67: other Apps' runs are theirs.
#[tokio::test]
async fn only_the_owner_app_changes_a_run() {
    let scene = Scene::new().await;
    let other =
        scene.github.other_apps_check_run(REPO, &scene.head, "lint", "success").await.unwrap();
    let path = scene.path(&format!("/check-runs/{}", other.id));
    let reply = scene.client.patch(&path, json!({ "conclusion": "failure" })).await.expect(403);
    let text = format!(
        "Invalid app_id `{}` - check run can only be modified by the GitHub App that created it.",
        scene.app.id
    );
    assert_eq!(reply.message(), text);
    scene.client.post(&format!("{path}/rerequest"), json!({})).await.expect(403);
    let ours = scene.check(body(&scene, &json!({ "name": "lint" }))).await.expect(201).json();
    let all = scene.github.latest_check_runs(REPO, &scene.head);
    assert_eq!(all.len(), 2);
    assert_ne!(ours["check_suite"]["id"], other.suite_id);
}

/// Behaviour 56: three ways; who reopens instead of making a new run loses in two.
#[tokio::test]
async fn a_completed_run_reopens_by_switch_only() {
    let scene = Scene::new().await;
    let run =
        scene.check(body(&scene, &json!({ "conclusion": "failure" }))).await.expect(201).json();
    let path = scene.path(&format!("/check-runs/{}", run["id"]));
    let reopen = json!({ "status": "in_progress" });
    let same = scene.client.patch(&path, reopen.clone()).await.expect(200).json();
    assert_eq!((&same["status"], &same["conclusion"]), (&json!("completed"), &json!("failure")));
    scene.github.faults().completed_patch(CompletedPatch::Reject);
    scene.client.patch(&path, reopen.clone()).await.expect(422);
    scene.github.faults().completed_patch(CompletedPatch::Allow);
    let open = scene.client.patch(&path, reopen).await.expect(200).json();
    assert_eq!((&open["status"], &open["conclusion"]), (&json!("in_progress"), &json!(null)));
    let ended = json!({ "conclusion": "success" });
    assert_eq!(scene.client.patch(&path, ended).await.expect(200).json()["conclusion"], "success");
    scene.no_violations();
}

/// Behaviour 57: the older one is there, and not listed.
#[tokio::test]
async fn the_newest_of_one_name_is_listed() {
    let scene = Scene::new().await;
    let first =
        scene.check(body(&scene, &json!({ "conclusion": "failure" }))).await.expect(201).json();
    let second = scene.check(body(&scene, &json!({}))).await.expect(201).json();
    assert_eq!(first["check_suite"]["id"], second["check_suite"]["id"]);
    let path = scene.path(&format!("/commits/{}/check-runs", scene.head));
    let latest = scene.client.get(&path).await.expect(200).json();
    assert_eq!(latest["total_count"], 1);
    assert_eq!(latest["check_runs"][0]["id"], second["id"]);
    let all = scene.client.get(&format!("{path}?filter=all")).await.expect(200).json();
    assert_eq!(all["total_count"], 2);
    let by_branch = scene.client.get(&scene.path("/commits/topic/check-runs")).await.expect(200);
    assert_eq!(by_branch.json()["total_count"], 1);
    scene.client.get(&scene.path("/commits/nowhere/check-runs")).await.expect(422);
    let one = scene.client.get(&scene.path(&format!("/check-runs/{}", first["id"]))).await;
    assert_eq!(one.expect(200).json()["conclusion"], "failure");
    let path = scene.path(&format!("/check-suites/{}/check-runs", first["check_suite"]["id"]));
    assert_eq!(scene.client.get(&path).await.expect(200).json()["total_count"], 1);
    let none = scene.client.get(&format!("{path}?status=completed&check_name=build")).await;
    assert_eq!(none.expect(200).json()["total_count"], 0);
    scene.no_violations();
}

/// Behaviour 61: GitHub ends it by itself.
#[tokio::test]
async fn a_forgotten_run_goes_stale_after_a_fortnight() {
    let scene = Scene::new().await;
    scene.check(body(&scene, &json!({ "status": "in_progress" }))).await.expect(201);
    scene.github.advance(Duration::from_hours(15 * 24));
    // Tokens have expired by then; the repository is public.
    let app = crate::common::Client::new(&scene.github, None);
    let path = scene.path(&format!("/commits/{}/check-runs", scene.head));
    let run = &app.get(&path).await.expect(200).json()["check_runs"][0];
    assert_eq!((&run["status"], &run["conclusion"]), (&json!("completed"), &json!("stale")));
}

/// Behaviour 45: an update wants the summary as well, though not the title.
#[tokio::test]
async fn an_update_wants_the_summary() {
    let scene = Scene::new().await;
    let run = scene.check(body(&scene, &json!({}))).await.expect(201).json();
    let path = scene.path(&format!("/check-runs/{}", run["id"]));
    let reply = scene.client.patch(&path, json!({ "output": { "title": "t" } })).await.expect(422);
    assert_eq!(reply.message(), "Invalid request.\n\n\"summary\" wasn't supplied.");
    scene.client.patch(&path, json!({ "output": { "summary": "s" } })).await.expect(200);
}

/// Behaviour 58: of more than a thousand runs of one name in a suite, the oldest go.
#[tokio::test]
async fn a_name_has_a_thousand_runs() {
    let scene = Scene::new().await;
    let ours = scene.check(body(&scene, &json!({}))).await.expect(201).json();
    // Nobody need be told of them all.
    scene.github.uninstall(REPO).unwrap();
    let one = async || {
        let run = scene.github.other_apps_check_run(REPO, &scene.head, "build", "success").await;
        run.unwrap().id
    };
    let first = one().await;
    for _ in 0..999 {
        one().await;
    }
    let nobody = crate::common::Client::new(&scene.github, None);
    let path = scene.path(&format!("/check-runs/{first}"));
    nobody.get(&path).await.expect(200);
    one().await;
    nobody.get(&path).await.expect(404);
    assert_eq!(scene.github.check_runs(REPO, &scene.head).len(), 1001, "ours is in another suite");
    nobody.get(&scene.path(&format!("/check-runs/{}", ours["id"]))).await.expect(200);
}

/// Behaviour 65: an App is told of other Apps' runs and suites too; one who does not look whose
/// they are answers to them.
#[tokio::test]
async fn other_apps_runs_are_told_as_well() {
    let scene = Scene::new().await;
    let receiver = crate::common::Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    scene.check(body(&scene, &json!({ "conclusion": "success" }))).await.expect(201);
    scene.github.other_apps_check_run(REPO, &scene.head, "x", "failure").await.unwrap();
    scene.github.quiet().await;
    let kinds = ["check_run.created", "check_run.completed", "check_suite.completed"];
    assert_eq!(receiver.kinds()[1..], [kinds, kinds].concat());
    let apps: Vec<bool> = receiver.all()[1..]
        .iter()
        .map(|r| {
            let event = r.json();
            let app = ["/check_run/app/id", "/check_suite/app/id"];
            app.iter().find_map(|at| event.pointer(at)).unwrap() == scene.app.id
        })
        .collect();
    assert_eq!(apps, [true, true, true, false, false, false]);
}
