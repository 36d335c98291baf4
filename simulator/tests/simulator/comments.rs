//! Behaviours 99–105: comments, reactions, permissions.

use std::time::Duration;

use github_simulator::Permission;
use serde_json::{Value, json};

use crate::common::{REPO, Receiver, Scene};

fn comments(scene: &Scene) -> String {
    scene.path(&format!("/issues/{}/comments", scene.number))
}

/// Behaviour 99: 65,536 characters, whatever their bytes.
#[tokio::test]
async fn a_comment_has_a_longest_length_in_characters() {
    let scene = Scene::new().await;
    scene.client.post(&comments(&scene), json!({ "body": "é".repeat(65_536) })).await.expect(201);
    scene.no_violations();
    let reply = scene.client.post(&comments(&scene), json!({ "body": "é".repeat(65_537) })).await;
    let reply = reply.expect(422).json();
    assert_eq!(reply["message"], "Validation Failed");
    let error = json!({
        "resource": "IssueComment", "code": "unprocessable", "field": "data",
        "message": "Body is too long (maximum is 65536 characters)",
    });
    assert_eq!(reply["errors"], json!([error]));
    scene.client.post(&comments(&scene), json!({})).await.expect(422);
    scene.client.post(&comments(&scene), json!({ "body": " " })).await.expect(422);
}

/// Behaviour 100: of pull requests.
#[tokio::test]
async fn conversations_may_be_locked_or_missing() {
    let scene = Scene::new().await;
    scene.github.lock_conversation(REPO, scene.number, true).unwrap();
    scene.client.post(&comments(&scene), json!({ "body": "x" })).await.expect(403);
    let path = scene.path("/issues/999/comments");
    scene.client.post(&path, json!({ "body": "x" })).await.expect(404);
    scene.client.get(&path).await.expect(404);
}

/// Behaviour 105: an edit tells what was there before.
#[tokio::test]
async fn comments_are_edited_listed_and_deleted() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    let ours =
        scene.client.post(&comments(&scene), json!({ "body": "one" })).await.expect(201).json();
    let path = scene.path(&format!("/issues/comments/{}", ours["id"]));
    let edited = scene.client.patch(&path, json!({ "body": "two" })).await.expect(200).json();
    assert_eq!(edited["body"], "two");
    scene.github.quiet().await;
    let event = receiver.last("issue_comment.edited").json();
    assert_eq!(event["changes"]["body"]["from"], "one");
    assert!(event["issue"]["pull_request"].is_object());
    let theirs = scene.github.comment(REPO, scene.number, "ada", "hello").await.unwrap();
    let path_of_theirs = scene.path(&format!("/issues/comments/{theirs}"));
    scene.client.patch(&path_of_theirs, json!({ "body": "mine" })).await.expect(403);
    let listed = scene.client.get(&comments(&scene)).await.expect(200).json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(scene.client.get(&path).await.expect(200).json()["body"], "two");
    scene.client.send("DELETE", &path, &[], None).await.expect(204);
    scene.client.get(&path).await.expect(404);
    scene.no_violations();
}

/// Those of issues among them, from a time on; by number, or as is asked for.
#[tokio::test]
async fn all_comments_of_a_repository_are_listed_from_a_time_on() {
    let scene = Scene::new().await;
    let issue = scene.github.open_issue(REPO, "ada", "It leaks").unwrap();
    let mut ids = Vec::new();
    for (number, body) in [(scene.number, "one"), (issue, "two"), (scene.number, "three")] {
        ids.push(scene.github.comment(REPO, number, "ada", body).await.unwrap());
        scene.github.advance(Duration::from_secs(10));
    }
    let listed = async |query: &str| -> Vec<u64> {
        let path = scene.path(&format!("/issues/comments{query}"));
        let all = scene.client.get(&path).await.expect(200).json();
        all.as_array().unwrap().iter().map(|one| one["id"].as_u64().unwrap()).collect()
    };
    assert_eq!(listed("").await, ids);
    let path = scene.path("/issues/comments");
    let all = scene.client.get(&path).await.expect(200).json();
    assert!(all[0]["html_url"].as_str().unwrap().contains("/pull/"), "{all}");
    assert!(all[1]["html_url"].as_str().unwrap().contains("/issues/"), "{all}");
    let second = all[1]["updated_at"].as_str().unwrap();
    assert_eq!(listed(&format!("?since={second}")).await, ids[1..]);
    // An edit brings an old one to the end.
    scene.github.edit_comment(REPO, ids[0], "ada", "once more").await.unwrap();
    let order = listed(&format!("?since={second}&sort=updated&direction=asc")).await;
    assert_eq!(order, [ids[1], ids[2], ids[0]]);
    assert_eq!(listed("?sort=created").await, [ids[2], ids[1], ids[0]]);
    assert_eq!(listed("?direction=desc").await, ids, "ignored without `sort`");
    assert_eq!(listed("?sort=updated&direction=asc&per_page=1&page=2").await, ids[2..]);
    scene.no_violations();
    scene.client.get(&scene.path("/issues/comments?sort=votes")).await.expect(200);
    if cfg!(feature = "contract") && crate::common::contract().is_some() {
        assert_eq!(scene.github.violations().len(), 1, "no word of GitHub's");
    }
}

/// Behaviour 101: 201, then 200.
#[tokio::test]
async fn a_reaction_is_new_only_once() {
    let scene = Scene::new().await;
    let id = scene.github.comment(REPO, scene.number, "ada", "/retest").await.unwrap();
    let path = scene.path(&format!("/issues/comments/{id}/reactions"));
    let new = scene.client.post(&path, json!({ "content": "eyes" })).await.expect(201).json();
    let old = scene.client.post(&path, json!({ "content": "eyes" })).await.expect(200).json();
    assert_eq!(new["id"], old["id"]);
    let bot = format!("{}[bot]", scene.app.slug);
    assert_eq!(scene.github.comments(REPO, scene.number)[0].reactions, [(bot, "eyes".to_owned())]);
    assert_eq!(scene.client.get(&path).await.expect(200).json().as_array().unwrap().len(), 1);
    scene.no_violations();
    scene.client.post(&path, json!({ "content": "shrug" })).await.expect(422);
    scene.client.send("DELETE", &format!("{path}/{}", new["id"]), &[], None).await.expect(204);
    scene.client.send("DELETE", &format!("{path}/{}", new["id"]), &[], None).await.expect(404);
}

/// Behaviour 102: five roles, four words.
#[tokio::test]
async fn the_permission_endpoint_folds_roles() {
    let scene = Scene::new().await;
    for (user, role, permission, name) in [
        ("a", Permission::Admin, "admin", "admin"),
        ("m", Permission::Maintain, "write", "maintain"),
        ("w", Permission::Write, "write", "write"),
        ("t", Permission::Triage, "read", "triage"),
        ("n", Permission::None, "read", "read"),
    ] {
        scene.github.set_permission(REPO, user, role);
        let path = scene.path(&format!("/collaborators/{user}/permission"));
        let reply = scene.client.get(&path).await.expect(200).json();
        assert_eq!(
            (&reply["permission"], &reply["role_name"]),
            (&json!(permission), &json!(name)),
            "{user}"
        );
    }
    scene.client.get(&scene.path("/collaborators/nobody-knows/permission")).await.expect(404);
    scene.client.get(&scene.path("/collaborators/w")).await.expect(204);
    scene.client.get(&scene.path("/collaborators/n")).await.expect(404);
    scene.no_violations();
}

/// Behaviour 102: an outsider has nothing in a private repository.
#[tokio::test]
async fn private_repositories_give_outsiders_nothing() {
    let scene = Scene::with(crate::common::config(), true).await;
    scene.github.set_permission(REPO, "n", Permission::None);
    let path = scene.path("/collaborators/n/permission");
    assert_eq!(scene.client.get(&path).await.expect(200).json()["permission"], "none");
    scene.no_violations();
}

/// Behaviour 103: the association is no permission.
#[tokio::test]
async fn the_association_disagrees_with_the_permission() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    scene.github.set_permission(REPO, "writer", Permission::Write);
    scene.github.set_permission(REPO, "reader", Permission::Read);
    let mut associations: Vec<Value> = Vec::new();
    for user in ["writer", "reader", "stranger"] {
        scene.github.comment(REPO, scene.number, user, "/retest").await.unwrap();
        scene.github.quiet().await;
        let event = receiver.last("issue_comment.created").json();
        associations.push(event["comment"]["author_association"].clone());
    }
    assert_eq!(associations, ["CONTRIBUTOR", "MEMBER", "NONE"]);
}
