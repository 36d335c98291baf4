//! The main flow, seen from the App: installed, told, asked, answered.

use crate::common::{REPO, Receiver, Scene, write};
use github_simulator::{Commit, OpenPull, Permission, RepositoryOptions, Simulator};
use serde_json::json;

/// Behaviours 44 and 65: the usual story.
#[tokio::test]
async fn a_pull_request_gets_its_check_run_and_comment() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    let body = json!({
        "name": "build", "head_sha": scene.head, "status": "in_progress",
        "started_at": "2026-11-21T09:00:00Z", "external_id": "run_1",
        "details_url": "https://ci.example/1",
        "output": { "title": "Building", "summary": "…", "text": "*log*" },
    });
    let created = scene.check(body).await.expect(201).json();
    assert_eq!(created["status"], "in_progress");
    assert_eq!(created["pull_requests"][0]["number"], scene.number);
    let id = created["id"].as_u64().unwrap();
    let path = scene.path(&format!("/check-runs/{id}"));
    let done =
        scene.client.patch(&path, json!({ "conclusion": "success" })).await.expect(200).json();
    assert_eq!(done["status"], "completed");
    assert_ne!(done["completed_at"], json!(null));
    let path = scene.path(&format!("/issues/{}/comments", scene.number));
    let comment = scene.client.post(&path, json!({ "body": "hello" })).await.expect(201).json();
    assert_eq!(comment["user"]["type"], "Bot");
    scene.github.quiet().await;
    assert_eq!(
        receiver.kinds(),
        [
            "ping",
            "check_run.created",
            "check_run.completed",
            "check_suite.completed",
            "issue_comment.created"
        ]
    );
    let runs = scene.github.latest_check_runs(REPO, &scene.head);
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].conclusion.as_deref(), Some("success"));
    assert_eq!(runs[0].external_id, "run_1");
    scene.no_violations();
}

/// Behaviour 63: what a push sends.
#[tokio::test]
async fn a_push_sends_the_suite_and_synchronizes() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    let change = vec![write("source-a/main.py", "print(2)\n")];
    let sha = scene.github.commit(REPO, "topic", Commit::new("More", "ada", change)).await.unwrap();
    scene.github.quiet().await;
    assert_eq!(receiver.kinds(), ["ping", "check_suite.requested", "pull_request.synchronize"]);
    let event = receiver.last("pull_request.synchronize").json();
    assert_eq!(event["before"], scene.head);
    assert_eq!(event["after"], sha);
    assert_eq!(event["pull_request"]["head"]["sha"], sha);
    assert_eq!(event["installation"]["id"], scene.installation);
    let pull = scene.github.pull_request(REPO, scene.number);
    assert_eq!(pull.head_sha, sha);
}

/// Behaviours 60, 63, 94 and 97: nothing about pushes in forks, and nothing that leads from the
/// commit to the pull request.
#[tokio::test]
async fn a_pull_request_from_a_fork_has_its_head_in_the_base_repository() {
    let scene = Scene::new().await;
    let options = RepositoryOptions {
        fork_of: Some(REPO.to_owned()),
        install: false,
        owner: github_simulator::OwnerKind::User,
        ..Default::default()
    };
    scene.github.create_repository("mallory/connectors", options).await.unwrap();
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    let change = Commit::new("Evil", "mallory", vec![write("x", "y")]);
    let sha = scene.github.commit("mallory/connectors", "evil", change).await.unwrap();
    let open = OpenPull {
        fork: Some("mallory/connectors".to_owned()),
        ..OpenPull::new("evil", "main", "mallory", "Take this")
    };
    let number = scene.github.open_pull_request(REPO, open).await.unwrap();
    scene.github.quiet().await;
    // Nothing about the push: GitHub does not look into forks.
    assert_eq!(receiver.kinds(), ["ping", "pull_request.opened"]);
    let event = receiver.last("pull_request.opened").json();
    assert_eq!(event["pull_request"]["head"]["repo"]["full_name"], "mallory/connectors");
    assert_eq!(event["pull_request"]["base"]["repo"]["full_name"], REPO);
    let run = scene.check(json!({ "name": "build", "head_sha": sha })).await.expect(201).json();
    assert_eq!(run["pull_requests"], json!([]));
    let suites = scene.github.check_suites(REPO, &sha);
    assert_eq!(suites[0].head_branch, None);
    let of_commit =
        scene.client.get(&scene.path(&format!("/commits/{sha}/pulls"))).await.expect(200);
    assert_eq!(of_commit.json(), json!([]));
    scene.github.delete_repository("mallory/connectors").unwrap();
    let pull = scene.client.get(&scene.path(&format!("/pulls/{number}"))).await.expect(200).json();
    assert_eq!(pull["head"]["repo"], json!(null));
    assert_eq!(pull["head"]["sha"], sha);
    scene.no_violations();
}

#[tokio::test]
async fn a_second_simulator_is_another_world() {
    let one = Simulator::start(crate::common::config()).await.unwrap();
    let other = Simulator::start(crate::common::config()).await.unwrap();
    one.create_repository(REPO, RepositoryOptions::default()).await.unwrap();
    assert_ne!(one.url(), other.url());
    assert!(other.git_folder(REPO).is_none());
    one.set_permission(REPO, "ada", Permission::Admin);
    let client = crate::common::Client::new(&one, None);
    client.get(&format!("/repos/{REPO}")).await.expect(200);
    let folder = one.folder().to_owned();
    assert!(folder.exists());
    let before = std::time::Instant::now();
    one.stop().await;
    assert!(before.elapsed().as_millis() < 900, "idle connections held it up");
    let address = one.url().replace("http://", "");
    let again =
        github_simulator::Config { listen: address.parse().unwrap(), ..crate::common::config() };
    Simulator::start(again).await.unwrap().stop().await;
    drop(one);
    assert!(!folder.exists());
}
