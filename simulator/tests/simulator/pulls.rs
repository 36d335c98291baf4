//! Behaviours 87–98: pull requests, files, comparisons, contents.

use github_simulator::{Change, Commit, OpenPull};
use serde_json::json;

use crate::common::{REPO, Receiver, Scene, write};

/// Behaviour 93: who takes `null` for no is wrong once.
#[tokio::test]
async fn mergeable_is_unknown_to_the_first_reader() {
    let scene = Scene::new().await;
    let path = scene.path(&format!("/pulls/{}", scene.number));
    let first = scene.client.get(&path).await.expect(200).json();
    assert_eq!((&first["mergeable"], &first["mergeable_state"]), (&json!(null), &json!("unknown")));
    assert_eq!((&first["changed_files"], &first["commits"]), (&json!(2), &json!(1)));
    let second = scene.client.get(&path).await.expect(200).json();
    assert_eq!(second["mergeable"], true);
    assert!(second["merge_commit_sha"].is_string());
    let change = Commit::new("Clash", "ada", vec![write("source-a/main.py", "other\n")]);
    scene.github.commit(REPO, "main", change).await.unwrap();
    let change = Commit::new("More", "ada", vec![write("docs/new.md", "more\n")]);
    scene.github.commit(REPO, "topic", change).await.unwrap();
    scene.client.get(&path).await.expect(200);
    assert_eq!(scene.client.get(&path).await.expect(200).json()["mergeable"], false);
    scene.no_violations();
}

/// Behaviour 88: renames and binary files.
#[tokio::test]
async fn files_have_status_counts_and_patches() {
    let scene = Scene::new().await;
    let changes = vec![
        ("README.md".to_owned(), Change::Delete),
        write("READ ME – neu.md", "one\ntwo\nthree\n"),
        ("logo.png".to_owned(), Change::Write(vec![0, 1, 2, 0, 255])),
        ("run.sh".to_owned(), Change::WriteExecutable(b"#!/bin/sh\n".to_vec())),
        ("link".to_owned(), Change::Symlink("run.sh".to_owned())),
    ];
    scene.github.commit(REPO, "topic", Commit::new("Files", "ada", changes)).await.unwrap();
    let path = scene.path(&format!("/pulls/{}/files", scene.number));
    let files = scene.client.get(&path).await.expect(200).json();
    let find = |name: &str| {
        files.as_array().unwrap().iter().find(|file| file["filename"] == name).unwrap().clone()
    };
    assert_eq!(files.as_array().unwrap().len(), 6);
    let renamed = find("READ ME – neu.md");
    assert_eq!(
        (&renamed["status"], &renamed["previous_filename"]),
        (&json!("renamed"), &json!("README.md"))
    );
    let binary = find("logo.png");
    assert!(binary.get("patch").is_none());
    assert_eq!(binary["status"], "added");
    let modified = find("source-a/main.py");
    assert_eq!((&modified["additions"], &modified["deletions"]), (&json!(1), &json!(1)));
    assert_eq!(modified["patch"], "@@ -1 +1 @@\n-print()\n+print(1)");
    scene.no_violations();
}

#[tokio::test]
async fn pulls_are_found_by_state_head_and_commit() {
    let scene = Scene::new().await;
    let get = async |rest: &str| {
        let list = scene.client.get(&scene.path(rest)).await.expect(200).json();
        list.as_array().unwrap().len()
    };
    assert_eq!(get("/pulls").await, 1);
    assert_eq!(get("/pulls?state=open&head=acme:topic").await, 1);
    assert_eq!(get("/pulls?head=acme:other").await, 0);
    assert_eq!(get(&format!("/commits/{}/pulls", scene.head)).await, 1);
    scene.github.close_pull_request(REPO, scene.number, "ada").await.unwrap();
    assert_eq!(get("/pulls").await, 0);
    assert_eq!(get("/pulls?state=closed").await, 1);
    scene.client.get(&scene.path("/pulls/77")).await.expect(404);
    scene.no_violations();
}

/// Behaviour 98: what the payload says is not what is there now.
#[tokio::test]
async fn a_force_push_moves_the_head_between_webhook_and_fetch() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    scene.github.faults().pause_deliveries();
    let change = |text: &str| Commit::new("x", "ada", vec![write("f", text)]);
    let first = scene.github.commit(REPO, "topic", change("1")).await.unwrap();
    let back = Commit { parent: Some(scene.base.clone()), ..change("2") };
    assert!(scene.github.commit(REPO, "topic", back.clone()).await.is_err());
    let forced = Commit { force: true, ..back };
    let second = scene.github.commit(REPO, "topic", forced).await.unwrap();
    scene.github.faults().resume_deliveries();
    scene.github.quiet().await;
    let afters: Vec<String> = receiver
        .all()
        .iter()
        .filter(|r| r.kind() == "pull_request.synchronize")
        .map(|r| r.json()["after"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(afters, [first, second.clone()]);
    let path = scene.path(&format!("/pulls/{}", scene.number));
    assert_eq!(scene.client.get(&path).await.expect(200).json()["head"]["sha"], second);
}

#[tokio::test]
async fn drafts_close_and_reopen_with_events() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    let open = OpenPull { draft: true, ..OpenPull::new("topic", "main", "ada", "Draft") };
    let number = scene.github.open_pull_request(REPO, open).await.unwrap();
    scene.github.ready_for_review(REPO, number, "ada").await.unwrap();
    scene.github.convert_to_draft(REPO, number, "ada").await.unwrap();
    scene.github.close_pull_request(REPO, number, "ada").await.unwrap();
    scene.github.reopen_pull_request(REPO, number, "ada").await.unwrap();
    scene.github.quiet().await;
    let actions = ["opened", "ready_for_review", "converted_to_draft", "closed", "reopened"];
    let expected: Vec<String> = actions.iter().map(|a| format!("pull_request.{a}")).collect();
    assert_eq!(receiver.kinds()[1..], expected);
}

#[tokio::test]
async fn a_pull_request_is_pointed_at_another_base_with_an_event_that_says_which_it_was() {
    let scene = Scene::new().await;
    let change = Commit::new("A release", "ada", vec![write("docs/release.md", "1\n")]);
    let release = scene.github.commit(REPO, "release", change).await.unwrap();
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    assert!(
        scene.github.retarget_pull_request((REPO, scene.number), "nowhere", "ada").await.is_err()
    );
    scene.github.retarget_pull_request((REPO, scene.number), "release", "ada").await.unwrap();
    scene.github.quiet().await;
    let told = receiver.all().into_iter().find(|one| one.kind() == "pull_request.edited").unwrap();
    let base = &told.json()["changes"]["base"];
    assert_eq!((&base["ref"]["from"], &base["sha"]["from"]), (&json!("main"), &json!(scene.base)));
    let path = scene.path(&format!("/pulls/{}", scene.number));
    let pull = scene.client.get(&path).await.expect(200).json();
    let base = &pull["base"];
    assert_eq!((&base["ref"], &base["sha"]), (&json!("release"), &json!(release)));
    scene.no_violations();
}

/// Behaviour 89: a comparison, and the ends that are not there.
#[tokio::test]
async fn commits_compare_and_have_files() {
    let scene = Scene::new().await;
    let compared = scene.client.get(&scene.path("/compare/main...topic")).await.expect(200).json();
    assert_eq!((&compared["status"], &compared["ahead_by"]), (&json!("ahead"), &json!(1)));
    assert_eq!(compared["files"].as_array().unwrap().len(), 2);
    assert_eq!(compared["merge_base_commit"]["sha"], scene.base);
    scene.client.get(&scene.path("/compare/main...nowhere")).await.expect(404);
    let commit = scene.client.get(&scene.path("/commits/topic")).await.expect(200).json();
    assert_eq!(commit["sha"], scene.head);
    assert_eq!(commit["stats"]["total"], 3);
    assert_eq!(commit["author"]["login"], "ada");
    let headers = [("accept", "application/vnd.github.sha")];
    let http = reqwest::Client::new();
    let url = format!("{}{}", scene.github.api_url(), scene.path("/commits/topic"));
    let sha = http.get(url).header("user-agent", "t").header(headers[0].0, headers[0].1);
    assert_eq!(sha.send().await.unwrap().text().await.unwrap(), scene.head);
    let reference = scene.client.get(&scene.path("/git/ref/heads/topic")).await.expect(200).json();
    assert_eq!(reference["object"]["sha"], scene.head);
    let pull = scene.path(&format!("/git/ref/pull/{}/head", scene.number));
    assert_eq!(scene.client.get(&pull).await.expect(200).json()["object"]["sha"], scene.head);
    scene.client.get(&scene.path("/git/ref/heads/nowhere")).await.expect(404);
    scene.no_violations();
}

/// Behaviour 92: within the limits.
#[tokio::test]
async fn contents_are_files_and_folders() {
    let scene = Scene::new().await;
    let file = scene.client.get(&scene.path("/contents/source-a/main.py")).await.expect(200).json();
    assert_eq!((&file["content"], &file["encoding"]), (&json!("cHJpbnQoKQo=\n"), &json!("base64")));
    let path = scene.path("/contents/source-a/main.py?ref=topic");
    assert_eq!(scene.client.get(&path).await.expect(200).json()["content"], "cHJpbnQoMSkK\n");
    let folder = scene.client.get(&scene.path("/contents/source-a")).await.expect(200).json();
    assert_eq!(folder[0]["path"], "source-a/main.py");
    let root = scene.client.get(&scene.path("/contents/")).await.expect(200).json();
    assert_eq!(root.as_array().unwrap().len(), 2);
    scene.no_violations();
    scene.client.get(&scene.path("/contents/nowhere")).await.expect(404);
    scene.client.get(&scene.path("/contents/README.md?ref=nowhere")).await.expect(404);
}

/// Behaviours 87, 89 and 90: 300 files in a comparison, and none in a diff.
#[tokio::test]
async fn large_pull_requests_are_cut_without_a_flag() {
    let scene = Scene::new().await;
    let files: Vec<_> = (0..310).map(|n| write(&format!("many/{n}"), &format!("{n}\n"))).collect();
    scene.github.commit(REPO, "topic", Commit::new("Many", "ada", files)).await.unwrap();
    let path = scene.path(&format!("/pulls/{}", scene.number));
    assert_eq!(scene.client.get(&path).await.expect(200).json()["changed_files"], 312);
    let compared = scene.client.get(&scene.path("/compare/main...topic")).await.expect(200).json();
    assert_eq!(compared["files"].as_array().unwrap().len(), 300);
    let page = scene.client.get(&format!("{path}/files?per_page=100&page=4")).await.expect(200);
    assert_eq!(page.json().as_array().unwrap().len(), 12);
    scene.no_violations();
    let http = reqwest::Client::new().get(format!("{}{path}", scene.github.api_url()));
    let http = http.header("user-agent", "t").header("accept", "application/vnd.github.diff");
    let reply = http.send().await.unwrap();
    assert_eq!(reply.status(), 406);
    assert!(reply.text().await.unwrap().contains("too_large"));
}

#[tokio::test]
async fn a_merge_moves_the_base_branch() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    let sha = scene.github.merge_pull_request(REPO, scene.number, "ada").await.unwrap();
    scene.github.quiet().await;
    assert_eq!(receiver.last("pull_request.closed").json()["pull_request"]["merged"], true);
    let main = scene.client.get(&scene.path("/commits/main")).await.expect(200).json();
    assert_eq!(main["sha"], sha);
    assert_eq!(main["parents"].as_array().unwrap().len(), 2);
    assert!(scene.github.merge_pull_request(REPO, scene.number, "ada").await.is_err());
    scene.no_violations();
}

#[tokio::test]
async fn a_pull_request_is_pointed_at_another_base() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    let release = Commit::new("Release", "ada", vec![write("released", "1")]);
    let tip = scene.github.commit(REPO, "release", release).await.unwrap();
    let of = (REPO, scene.number);
    scene.github.retarget_pull_request(of, "release", "ada").await.unwrap();
    scene.github.quiet().await;
    let event = receiver.last("pull_request.edited").json();
    assert_eq!(event["changes"]["base"]["ref"]["from"], "main");
    let path = scene.path(&format!("/pulls/{}", scene.number));
    let pull = scene.client.get(&path).await.expect(200).json();
    assert_eq!((&pull["base"]["ref"], &pull["base"]["sha"]), (&json!("release"), &json!(tip)));
    assert!(scene.github.retarget_pull_request(of, "nowhere", "ada").await.is_err());
    scene.no_violations();
}

/// Behaviour 96: 409.
#[tokio::test]
async fn an_empty_repository_has_no_git() {
    let scene = Scene::new().await;
    let options = github_simulator::RepositoryOptions::default();
    scene.github.create_repository("acme/empty", options).await.unwrap();
    let reply = scene.client.get("/repos/acme/empty/commits/main").await.expect(409);
    assert_eq!(reply.message(), "Git Repository is empty.");
    assert_eq!(scene.client.get("/meta").await.expect(200).json()["hooks"][0], "127.0.0.1/32");
    scene.no_violations();
}
