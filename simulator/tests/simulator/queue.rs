//! Behaviours 106–109: required checks, commit statuses, the merge queue.

use std::time::Duration;

use github_simulator::{Commit, Config, MergeGroup, OpenPull, RequiredCheck};
use serde_json::{Value, json};

use crate::common::{REPO, Receiver, Scene, config, write};

/// With what is needed for statuses and merge groups.
async fn scene() -> (Scene, Receiver) {
    let mut config = config();
    for (name, level) in [("statuses", "write"), ("merge_queues", "read")] {
        config.permissions.insert(name.to_owned(), level.to_owned());
    }
    config.events.extend(["status".to_owned(), "merge_group".to_owned()]);
    listening(config).await
}

async fn listening(config: Config) -> (Scene, Receiver) {
    let scene = Scene::with(config, false).await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    scene.github.quiet().await;
    receiver.clear();
    (scene, receiver)
}

fn required(name: &str, app: Option<u64>) -> RequiredCheck {
    RequiredCheck { name: name.to_owned(), app }
}

async fn second_pull(scene: &Scene) -> u64 {
    let base = Some(scene.base.clone());
    let change = vec![write("second", "2")];
    let commit = Commit { parent: base, ..Commit::new("Second", "ada", change) };
    scene.github.commit(REPO, "second", commit).await.unwrap();
    let open = OpenPull::new("second", "main", "ada", "Second");
    scene.github.open_pull_request(REPO, open).await.unwrap()
}

async fn report(scene: &Scene, name: &str, sha: &str, conclusion: &str) {
    let body = json!({ "name": name, "head_sha": sha, "conclusion": conclusion });
    scene.check(body).await.expect(201);
}

/// Only the queue's part of what was received.
fn told(receiver: &Receiver) -> Vec<String> {
    let kinds = receiver.kinds().into_iter();
    kinds.filter(|kind| kind.contains("queued") || kind.contains("merge_group")).collect()
}

/// Behaviour 106: a group holds several pull requests, its payload does not say which, and its
/// branch names the last one only. One who takes the number from the name misses the first.
#[tokio::test]
async fn a_merge_group_asks_for_checks() {
    let (scene, receiver) = scene().await;
    let second = second_pull(&scene).await;
    let group = scene.github.enqueue(REPO, &[scene.number, second], "ada").await.unwrap();
    scene.github.quiet().await;
    assert_eq!(
        told(&receiver),
        ["pull_request.enqueued", "pull_request.enqueued", "merge_group.checks_requested"]
    );
    let event = receiver.last("merge_group.checks_requested").json();
    let told: &Value = &event["merge_group"];
    assert_eq!(told["head_sha"], group.head_sha);
    assert_eq!(told["base_sha"], scene.base);
    assert_eq!(told["base_ref"], "refs/heads/main");
    let prefix = format!("refs/heads/gh-readonly-queue/main/pr-{second}-");
    assert!(told["head_ref"].as_str().unwrap().starts_with(&prefix));
    assert!(!event.to_string().contains("pull_requests"));
    let branch = group.head_ref.trim_start_matches("refs/heads/").to_owned();
    let tip = scene.client.get(&scene.path(&format!("/commits/{branch}"))).await.expect(200);
    assert_eq!(tip.json()["sha"], group.head_sha);
    let compared = format!("/compare/{}...{}", group.base_sha, group.head_sha);
    let files = scene.client.get(&scene.path(&compared)).await.expect(200).json();
    assert_eq!(files["files"].as_array().unwrap().len(), 3, "of both pull requests");
    scene.no_violations();
}

/// Behaviour 106: a group behind another is built on it: the SHA in its name is not its base.
#[tokio::test]
async fn a_later_group_is_built_on_the_one_before() {
    let (scene, receiver) = scene().await;
    let second = second_pull(&scene).await;
    let first = scene.github.enqueue(REPO, &[scene.number], "ada").await.unwrap();
    let later = scene.github.enqueue(REPO, &[second], "ada").await.unwrap();
    assert_eq!(later.base_sha, first.head_sha);
    let by_name = later.head_ref.rsplit('-').next().unwrap().to_owned();
    assert_ne!(by_name, later.base_sha, "who diffs against the name's SHA diffs too much");
    assert!(scene.github.enqueue(REPO, &[second], "ada").await.is_err());
    // Someone takes the first out: the later one is built on nothing any more.
    scene.github.dequeue(REPO, scene.number, "ada").await.unwrap();
    scene.github.quiet().await;
    let reasons: Vec<Value> = receiver
        .all()
        .iter()
        .filter(|r| r.kind() == "merge_group.destroyed")
        .map(|r| r.json()["reason"].clone())
        .collect();
    assert_eq!(reasons, ["dequeued", "invalidated"]);
    let branch = later.head_ref.trim_start_matches("refs/heads/").to_owned();
    let path = scene.path(&format!("/git/ref/heads/{branch}"));
    scene.client.get(&path).await.expect(404);
}

/// Behaviour 107: a client that reports to the pull request's head only is ejected with it.
#[tokio::test]
async fn a_group_without_its_checks_is_ejected() {
    let (scene, receiver) = scene().await;
    scene.github.require_checks(REPO, "main", vec![required("build", None)]).unwrap();
    for (overdue, reason) in [("dequeued", "dequeued"), ("invalidated", "invalidated")] {
        scene.github.choose(|choices| overdue.clone_into(&mut choices.overdue_group));
        scene.github.enqueue(REPO, &[scene.number], "ada").await.unwrap();
        scene.github.queue_timeout(REPO, Duration::from_mins(10)).unwrap();
        // Not where it was asked for.
        report(&scene, "build", &scene.head, "success").await;
        scene.github.run_merge_queue(REPO).await.unwrap();
        scene.github.quiet().await;
        assert_eq!(told(&receiver), ["pull_request.enqueued", "merge_group.checks_requested"]);
        scene.github.advance(Duration::from_mins(11));
        scene.github.run_merge_queue(REPO).await.unwrap();
        scene.github.quiet().await;
        let dequeued = receiver.last("pull_request.dequeued").json();
        assert_eq!(
            (&dequeued["reason"], &dequeued["number"]),
            (&json!("CI_TIMEOUT"), &json!(scene.number))
        );
        assert_eq!(receiver.last("merge_group.destroyed").json()["reason"], reason);
        assert!(!scene.github.pull_request(REPO, scene.number).merged);
        receiver.clear();
    }
}

/// Behaviour 107: the right client's group is merged, and the failed one's is not.
#[tokio::test]
async fn a_group_with_its_checks_is_merged() {
    let (scene, receiver) = scene().await;
    scene.github.require_checks(REPO, "main", vec![required("build", None)]).unwrap();
    let second = second_pull(&scene).await;
    let failing = scene.github.enqueue(REPO, &[scene.number], "ada").await.unwrap();
    report(&scene, "build", &failing.head_sha, "failure").await;
    scene.github.run_merge_queue(REPO).await.unwrap();
    let passing: MergeGroup = scene.github.enqueue(REPO, &[second], "ada").await.unwrap();
    report(&scene, "build", &passing.head_sha, "success").await;
    scene.github.run_merge_queue(REPO).await.unwrap();
    scene.github.quiet().await;
    let reasons: Vec<(Value, Value)> = receiver
        .all()
        .iter()
        .filter(|r| r.kind() == "pull_request.dequeued")
        .map(|r| (r.json()["number"].clone(), r.json()["reason"].clone()))
        .collect();
    let number = scene.number;
    assert_eq!(reasons, [(json!(number), json!("CI_FAILURE")), (json!(second), json!("MERGE"))]);
    assert_eq!(receiver.last("merge_group.destroyed").json()["reason"], "merged");
    assert!(scene.github.pull_request(REPO, second).merged);
    assert!(!scene.github.pull_request(REPO, number).merged);
    let main = scene.client.get(&scene.path("/commits/main")).await.expect(200).json();
    assert_eq!(main["sha"], passing.head_sha);
    scene.no_violations();
}

async fn mergeable_state(scene: &Scene) -> String {
    let path = scene.path(&format!("/pulls/{}", scene.number));
    scene.client.get(&path).await.expect(200);
    let state = scene.client.get(&path).await.expect(200).json()["mergeable_state"].clone();
    let blockers = scene.github.merge_blockers(REPO, scene.number).unwrap();
    assert_eq!(blockers.is_empty(), state == "clean", "{blockers:?}");
    state.as_str().unwrap().to_owned()
}

/// Behaviour 108: each required name must be there and pass on the newest head, from the App that
/// is demanded, and all that have the name must.
#[tokio::test]
async fn a_merge_needs_every_required_check() {
    let (scene, _receiver) = scene().await;
    let checks = vec![required("build", None), required("seal", Some(scene.app.id))];
    scene.github.require_checks(REPO, "main", checks).unwrap();
    assert_eq!(mergeable_state(&scene).await, "blocked");
    assert!(scene.github.merge_pull_request(REPO, scene.number, "ada").await.is_err());
    report(&scene, "build", &scene.head, "neutral").await;
    // Another App's `seal` does not count.
    scene.github.other_apps_check_run(REPO, &scene.head, "seal", "success").await.unwrap();
    assert_eq!(mergeable_state(&scene).await, "blocked");
    report(&scene, "seal", &scene.head, "skipped").await;
    assert_eq!(mergeable_state(&scene).await, "clean");
    // A status of the same name must pass as well, and so must another App's run.
    let statuses = scene.path(&format!("/statuses/{}", scene.head));
    let status = |state: &str| json!({ "state": state, "context": "build" });
    scene.client.post(&statuses, status("pending")).await.expect(201);
    assert_eq!(mergeable_state(&scene).await, "blocked");
    scene.client.post(&statuses, status("success")).await.expect(201);
    assert_eq!(mergeable_state(&scene).await, "clean");
    scene.github.other_apps_check_run(REPO, &scene.head, "build", "failure").await.unwrap();
    assert_eq!(mergeable_state(&scene).await, "blocked");
    scene.github.other_apps_check_run(REPO, &scene.head, "build", "success").await.unwrap();
    assert_eq!(mergeable_state(&scene).await, "clean");
    // A push begins anew: what was reported on the old head does not count.
    let commit = Commit::new("More", "ada", vec![write("more", "1")]);
    scene.github.commit(REPO, "topic", commit).await.unwrap();
    assert_eq!(mergeable_state(&scene).await, "blocked");
    scene.no_violations();
}

/// Behaviour 109: statuses have limits, and the combined state takes the worst.
#[tokio::test]
async fn statuses_combine_and_have_limits() {
    let (scene, receiver) = scene().await;
    let path = scene.path(&format!("/statuses/{}", scene.head));
    let combined = async || {
        let path = scene.path(&format!("/commits/{}/status", scene.head));
        scene.client.get(&path).await.expect(200).json()
    };
    assert_eq!(combined().await["state"], "pending", "of nothing");
    let post = async |context: &str, state: &str| {
        let body =
            json!({ "state": state, "context": context, "target_url": "https://ci.example" });
        scene.client.post(&path, body).await.expect(201)
    };
    post("a", "success").await;
    assert_eq!(combined().await["state"], "success");
    post("b", "pending").await;
    assert_eq!(combined().await["state"], "pending");
    post("c", "error").await;
    assert_eq!(combined().await["state"], "failure");
    post("C", "success").await;
    post("b", "success").await;
    let now = combined().await;
    assert_eq!((&now["state"], &now["total_count"]), (&json!("success"), &json!(3)));
    let listed = scene.path("/commits/topic/statuses");
    assert_eq!(scene.client.get(&listed).await.expect(200).json().as_array().unwrap().len(), 5);
    scene.github.quiet().await;
    let event = receiver.all().into_iter().rfind(|r| r.kind() == "status").unwrap().json();
    assert_eq!((&event["state"], &event["sha"]), (&json!("success"), &json!(scene.head)));
    assert_eq!(event["branches"][0]["name"], "topic");
    scene.no_violations();
    let refused = async |changes: Value| {
        let mut body = json!({ "state": "success" });
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        scene.client.post(&path, body).await.expect(422).json()
    };
    let long = refused(json!({ "description": "d".repeat(141) })).await;
    assert_eq!(long["errors"][0]["field"], "description");
    let scheme = refused(json!({ "target_url": "ftp://ci" })).await;
    assert_eq!(scheme["errors"][0]["field"], "target_url");
    let word = refused(json!({ "state": "great" })).await;
    assert!(word["message"].as_str().unwrap().starts_with("Invalid request.\n\ngreat is not"));
    let unknown = scene.path(&format!("/statuses/{}", "0".repeat(40)));
    scene.client.post(&unknown, json!({ "state": "success" })).await.expect(422);
}

/// Behaviour 109: a thousand of one context on one commit.
#[tokio::test]
async fn a_context_has_a_thousand_statuses() {
    let mut config = Config::default();
    config.permissions.insert("statuses".to_owned(), "write".to_owned());
    let scene = Scene::with(config, false).await;
    let path = scene.path(&format!("/statuses/{}", scene.head));
    let post = async |context: &str| {
        scene.client.post(&path, json!({ "state": "success", "context": context })).await.status
    };
    for _ in 0..1000 {
        assert_eq!(post("ci").await, 201);
    }
    assert_eq!(post("ci").await, 422);
    assert_eq!(post("other").await, 201);
}
