//! Behaviours 63–71: suites, re-runs, buttons.

use github_simulator::{Commit, RerunButton};
use serde_json::json;

use crate::common::{REPO, Receiver, Scene, write};

async fn listening(scene: &Scene) -> Receiver {
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    scene.github.quiet().await;
    receiver.clear();
    receiver
}

/// Behaviours 63 and 72: settings and trailers.
#[tokio::test]
async fn pushes_request_a_suite_unless_told_not_to() {
    let scene = Scene::new().await;
    let receiver = listening(&scene).await;
    let push = async |text: &str, message: &str| {
        let commit = Commit::new(message, "ada", vec![write("f", text)]);
        scene.github.commit(REPO, "other", commit).await.unwrap();
        scene.github.quiet().await;
        let kinds = receiver.kinds();
        receiver.clear();
        kinds
    };
    assert_eq!(push("1", "One").await, ["check_suite.requested"]);
    assert!(push("2", "Two\n\n\nskip-checks: true").await.is_empty());
    scene.github.auto_trigger_checks(REPO, false);
    assert!(push("3", "Three").await.is_empty());
    let body = json!({ "auto_trigger_checks": [{ "app_id": scene.app.id, "setting": true }] });
    let path = scene.path("/check-suites/preferences");
    let reply = scene.client.patch(&path, body).await.expect(200).json();
    assert_eq!(reply["preferences"]["auto_trigger_checks"][0]["setting"], true);
    assert_eq!(push("4", "Four").await, ["check_suite.requested"]);
    scene.no_violations();
}

/// Behaviour 64: what is published of the order.
#[tokio::test]
async fn a_suite_ends_with_its_runs_by_the_worst() {
    let scene = Scene::new().await;
    let receiver = listening(&scene).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let body = json!({ "name": name, "head_sha": scene.head, "status": "in_progress" });
        ids.push(scene.check(body).await.expect(201).json()["id"].clone());
    }
    for (id, conclusion) in ids.iter().zip(["success", "timed_out", "neutral"]) {
        assert_ne!(scene.github.check_suites(REPO, &scene.head)[0].status, "completed");
        let path = scene.path(&format!("/check-runs/{id}"));
        scene.client.patch(&path, json!({ "conclusion": conclusion })).await.expect(200);
    }
    let suite = &scene.github.check_suites(REPO, &scene.head)[0];
    assert_eq!(
        (suite.status.as_str(), suite.conclusion.as_deref()),
        ("completed", Some("timed_out"))
    );
    scene.github.quiet().await;
    let event = receiver.last("check_suite.completed").json();
    assert_eq!(event["check_suite"]["conclusion"], "timed_out");
    assert_eq!(event["check_suite"]["latest_check_runs_count"], 3);
}

/// Behaviours 66, 67 and 69: the suite is queued; the run stays as it was.
#[tokio::test]
async fn a_rerequest_queues_the_suite_and_leaves_the_run() {
    let scene = Scene::new().await;
    let body = json!({ "name": "a", "head_sha": scene.head, "conclusion": "failure" });
    let run = scene.check(body).await.expect(201).json();
    let receiver = listening(&scene).await;
    let path = scene.path(&format!("/check-runs/{}/rerequest", run["id"]));
    assert_eq!(scene.client.send("POST", &path, &[], None).await.expect(201).json(), json!({}));
    scene.github.quiet().await;
    assert_eq!(receiver.kinds(), ["check_run.rerequested"]);
    let event = receiver.last("check_run.rerequested").json();
    assert_eq!(event["sender"]["type"], "Bot");
    assert_eq!(event["check_run"]["status"], "completed");
    assert_eq!(event["check_run"]["check_suite"]["status"], "queued");
    assert_eq!(event["check_run"]["check_suite"]["conclusion"], json!(null));
    let open = scene.check(json!({ "name": "b", "head_sha": scene.head })).await.expect(201).json();
    let path = scene.path(&format!("/check-runs/{}/rerequest", open["id"]));
    scene.client.post(&path, json!({})).await.expect(422);
    let suite = run["check_suite"]["id"].as_u64().unwrap();
    let path = scene.path(&format!("/check-suites/{suite}"));
    scene.client.send("POST", &format!("{path}/rerequest"), &[], None).await.expect(201);
    assert_eq!(scene.client.get(&path).await.expect(200).json()["id"], suite);
    scene.github.quiet().await;
    assert_eq!(receiver.kinds().last().unwrap(), "check_suite.rerequested");
    scene.no_violations();
}

/// Behaviour 68: who listens to one of two events misses the other.
#[tokio::test]
async fn the_rerun_button_has_three_ways() {
    let scene = Scene::new().await;
    let body = json!({ "name": "a", "head_sha": scene.head, "conclusion": "failure" });
    let run = scene.check(body).await.expect(201).json()["id"].as_u64().unwrap();
    let receiver = listening(&scene).await;
    let mut seen = Vec::new();
    for button in [RerunButton::Run, RerunButton::Suite, RerunButton::Both] {
        scene.github.faults().rerun_button(button);
        scene.github.rerequest_check_run(REPO, run, "ada").await.unwrap();
        scene.github.quiet().await;
        seen.push(receiver.kinds().join(" "));
        receiver.clear();
    }
    let both = "check_run.rerequested check_suite.rerequested";
    assert_eq!(seen, ["check_run.rerequested", "check_suite.rerequested", both]);
    let other = scene.github.other_apps_check_run(REPO, &scene.head, "x", "success").await.unwrap();
    assert!(scene.github.rerequest_check_run(REPO, other.id, "ada").await.is_err());
}

/// Behaviour 70: buttons.
#[tokio::test]
async fn buttons_show_after_the_end() {
    let scene = Scene::new().await;
    let receiver = listening(&scene).await;
    let action = json!({ "label": "Mend", "description": "Mends it", "identifier": "mend" });
    let body = json!({ "name": "a", "head_sha": scene.head, "actions": [action] });
    let run = scene.check(body).await.expect(201).json()["id"].as_u64().unwrap();
    assert!(scene.github.click_action(REPO, run, "mend", "ada").await.is_err());
    let path = scene.path(&format!("/check-runs/{run}"));
    scene.client.patch(&path, json!({ "conclusion": "failure" })).await.expect(200);
    assert!(scene.github.click_action(REPO, run, "other", "ada").await.is_err());
    scene.github.click_action(REPO, run, "mend", "ada").await.unwrap();
    scene.github.quiet().await;
    let event = receiver.last("check_run.requested_action").json();
    assert_eq!(event["requested_action"]["identifier"], "mend");
    assert_eq!(event["sender"]["login"], "ada");
    scene.no_violations();
}

/// Behaviours 59 and 71: one for an App and a commit.
#[tokio::test]
async fn suites_are_made_once_per_commit() {
    let scene = Scene::new().await;
    scene.github.auto_trigger_checks(REPO, false);
    let commit = Commit::new("Quiet", "ada", vec![write("q", "q")]);
    let sha = scene.github.commit(REPO, "quiet", commit).await.unwrap();
    let path = scene.path("/check-suites");
    let made = scene.client.post(&path, json!({ "head_sha": sha })).await.expect(201).json();
    let again = scene.client.post(&path, json!({ "head_sha": sha })).await.expect(200).json();
    assert_eq!(made["id"], again["id"]);
    let listed = scene.client.get(&scene.path(&format!("/commits/{sha}/check-suites"))).await;
    assert_eq!(listed.expect(200).json()["total_count"], 1);
    scene.no_violations();
    scene.client.post(&path, json!({ "head_sha": "0".repeat(40) })).await.expect(422);
}

/// Behaviour 69: our own re-request comes back as an event by a bot; one who obeys it goes round
/// and round.
#[tokio::test]
async fn our_own_rerequest_comes_back() {
    let scene = Scene::new().await;
    let body = json!({ "name": "a", "head_sha": scene.head, "conclusion": "failure" });
    let run = scene.check(body).await.expect(201).json()["id"].as_u64().unwrap();
    let receiver = listening(&scene).await;
    let path = scene.path(&format!("/check-runs/{run}/rerequest"));
    let obey = async |heeds_sender: bool| {
        let mut rounds = 0;
        while rounds < 5 {
            scene.github.quiet().await;
            let asked = receiver.all().pop();
            receiver.clear();
            let Some(event) = asked.map(|r| r.json()) else { break };
            if heeds_sender && event["sender"]["type"] == "Bot" {
                break;
            }
            scene.client.post(&path, json!({})).await.expect(201);
            rounds += 1;
        }
        rounds
    };
    scene.github.rerequest_check_run(REPO, run, "ada").await.unwrap();
    assert_eq!(obey(true).await, 1);
    scene.github.rerequest_check_run(REPO, run, "ada").await.unwrap();
    assert_eq!(obey(false).await, 5, "for ever, if it were let");
}
