//! Behaviours 100, 104 and 105: members of organisations, and conversations of other kinds.

use github_simulator::{Permission, RepositoryOptions};
use serde_json::json;

use crate::common::{Client, REPO, Receiver, Scene, config};

async fn scene(members: &str) -> Scene {
    let mut config = config();
    config.permissions.insert("members".to_owned(), members.to_owned());
    Scene::with(config, false).await
}

/// Behaviour 104: 204 for a member, 404 for others, and for a caller who is outside a redirect to
/// the public members. One who takes everything below 400 for a yes lets strangers in.
#[tokio::test]
async fn membership_has_three_answers() {
    let scene = scene("read").await;
    scene.github.add_member("acme", "grace");
    scene.github.add_member("other", "grace");
    scene.client.get("/orgs/acme/members/grace").await.expect(204);
    scene.client.get("/orgs/acme/members/GRACE").await.expect(204);
    scene.client.get("/orgs/acme/members/mallory").await.expect(404);
    scene.client.get("/orgs/nowhere/members/grace").await.expect(404);
    let outside = scene.client.get("/orgs/other/members/mallory").await.expect(302);
    assert!(outside.header("location").ends_with("/orgs/other/public_members/mallory"));
    Client::new(&scene.github, None).get("/orgs/acme/members/grace").await.expect(401);
    let member = scene.client.get("/orgs/acme/memberships/grace").await.expect(200).json();
    assert_eq!((&member["state"], &member["user"]["login"]), (&json!("active"), &json!("grace")));
    scene.client.get("/orgs/acme/memberships/mallory").await.expect(404);
    scene.client.get("/orgs/other/memberships/grace").await.expect(403);
    scene.github.add_to_team("acme", "plumbers", "joseph");
    scene.client.get("/orgs/acme/teams/plumbers/memberships/joseph").await.expect(200);
    scene.client.get("/orgs/acme/teams/plumbers/memberships/grace").await.expect(404);
    scene.no_violations();
}

/// Behaviour 104: it takes `members: read`.
#[tokio::test]
async fn membership_takes_a_permission() {
    let scene = Scene::new().await;
    scene.github.add_member("acme", "grace");
    let reply = scene.client.get("/orgs/acme/members/grace").await.expect(403);
    assert_eq!(reply.header("x-accepted-github-permissions"), "members=read");
}

/// Behaviour 105: the comment of a plain issue has no `issue.pull_request`; one who does not look
/// takes the issue's number for a pull request's.
#[tokio::test]
async fn comments_on_issues_are_no_pull_requests() {
    let scene = scene("read").await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    let issue = scene.github.open_issue(REPO, "ada", "It leaks").unwrap();
    let id = scene.github.comment(REPO, issue, "ada", "/retest").await.unwrap();
    scene.github.quiet().await;
    let event = receiver.last("issue_comment.created").json();
    assert_eq!(event["issue"]["number"], issue);
    assert!(event["issue"].get("pull_request").is_none());
    scene.client.get(&scene.path(&format!("/pulls/{issue}"))).await.expect(404);
    scene.github.edit_comment(REPO, id, "ada", "/test all").await.unwrap();
    scene.github.comment(REPO, scene.number, "ada", "/retest").await.unwrap();
    let ours = scene.path(&format!("/issues/{issue}/comments"));
    scene.client.post(&ours, json!({ "body": "no" })).await.expect(201);
    scene.github.quiet().await;
    let edited = receiver.last("issue_comment.edited").json();
    assert_eq!(edited["changes"]["body"]["from"], "/retest");
    let all = receiver.all();
    let comments: Vec<_> = all.iter().filter(|r| r.kind() == "issue_comment.created").collect();
    assert!(comments[1].json()["issue"]["pull_request"].is_object());
    // Who obeys bots, obeys itself.
    assert_eq!(comments[2].json()["comment"]["user"]["type"], "Bot");
    assert_eq!(comments[2].json()["sender"]["type"], "Bot");
    assert_eq!(scene.client.get(&ours).await.expect(200).json().as_array().unwrap().len(), 2);
    scene.no_violations();
}

/// Behaviour 100: locked is 403, deleted is 410, unknown is 404.
#[tokio::test]
async fn a_deleted_issue_is_gone() {
    let scene = scene("read").await;
    let issue = scene.github.open_issue(REPO, "ada", "It leaks").unwrap();
    let path = scene.path(&format!("/issues/{issue}/comments"));
    let post = async || scene.client.post(&path, json!({ "body": "hello" })).await.status;
    assert_eq!(post().await, 201);
    scene.github.lock_issue(REPO, issue, true).unwrap();
    assert_eq!(post().await, 403);
    scene.github.lock_issue(REPO, issue, false).unwrap();
    scene.github.delete_issue(REPO, issue).unwrap();
    assert_eq!(post().await, 410);
    scene.client.get(&path).await.expect(410);
    assert!(scene.github.comment(REPO, issue, "ada", "x").await.is_err());
    let unknown = scene.path("/issues/999/comments");
    scene.client.post(&unknown, json!({ "body": "hello" })).await.expect(404);
}

/// Behaviours 102 and 103: on a public repository everybody reads, whatever the association says;
/// one who obeys members obeys readers, and ignores writers.
#[tokio::test]
async fn association_and_permission_disagree() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    scene.github.create_repository("acme/other", RepositoryOptions::default()).await.unwrap();
    scene.github.set_permission(REPO, "writer", Permission::Write);
    scene.github.set_permission(REPO, "reader", Permission::Read);
    let mut wrong = Vec::new();
    for (user, may) in [("writer", true), ("reader", false)] {
        scene.github.comment(REPO, scene.number, user, "/retest").await.unwrap();
        scene.github.quiet().await;
        let comment = receiver.last("issue_comment.created").json()["comment"].clone();
        let by_association =
            ["OWNER", "MEMBER"].contains(&comment["author_association"].as_str().unwrap());
        let path = scene.path(&format!("/collaborators/{user}/permission"));
        let permission = scene.client.get(&path).await.expect(200).json();
        let by_permission =
            ["write", "admin"].contains(&permission["permission"].as_str().unwrap());
        assert_eq!(by_permission, may);
        wrong.push(by_association != may);
    }
    assert_eq!(wrong, [true, true]);
}
