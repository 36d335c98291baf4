//! Behaviours 73–86: webhook deliveries.

use std::time::Duration;

use github_simulator::{Config, Simulator};
use hmac::{Hmac, Mac as _};
use serde_json::json;

use crate::common::{Client, REPO, Receiver, Scene, config, jwt, now, sign_jwt};

async fn listening(scene: &Scene) -> Receiver {
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    scene.github.quiet().await;
    receiver
}

async fn comment(scene: &Scene, text: &str) {
    scene.github.comment(REPO, scene.number, "ada", text).await.unwrap();
}

/// Behaviours 73 and 74: both signatures, over exactly these bytes; one who signs what it parsed
/// and wrote anew has other bytes.
#[tokio::test]
async fn bytes_are_signed_twice() {
    let scene = Scene::new().await;
    let receiver = listening(&scene).await;
    comment(&scene, "bell \u{7} escape \u{1b} é 😀").await;
    scene.github.quiet().await;
    let got = receiver.last("issue_comment.created");
    let secret = scene.app.webhook_secret.as_bytes();
    let mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap().chain_update(&got.body);
    let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(got.header("x-hub-signature-256"), expected);
    assert_eq!(scene.github.sign(&got.body), expected);
    let mac = Hmac::<sha1::Sha1>::new_from_slice(secret).unwrap().chain_update(&got.body);
    let expected = format!("sha1={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(got.header("x-hub-signature"), expected);
    let text = String::from_utf8(got.body.to_vec()).unwrap();
    assert!(text.contains("bell \\u0007 escape \\u001B é 😀"));
    assert!(!text.contains('\n') && !text.contains("\": "));
}

/// Behaviours 80 and 81: the headers, and a `ping` without anything in it.
#[tokio::test]
async fn headers_are_githubs() {
    let scene = Scene::new().await;
    let receiver = listening(&scene).await;
    let ping = receiver.last("ping");
    assert_eq!(ping.header("x-github-hook-installation-target-type"), "integration");
    assert_eq!(ping.header("x-github-hook-installation-target-id"), scene.app.id.to_string());
    let agent = ping.header("user-agent");
    assert!(agent.starts_with("GitHub-Hookshot/") && agent.len() == "GitHub-Hookshot/".len() + 7);
    assert_eq!(ping.header("x-github-delivery").len(), 36);
    assert_eq!(ping.header("content-type"), "application/json");
    let body = ping.json();
    for absent in ["installation", "repository", "action"] {
        assert!(body.get(absent).is_none(), "{absent}");
    }
}

/// Behaviour 73: no secret, no signature.
#[tokio::test]
async fn without_a_secret_there_is_no_signature() {
    let github = Simulator::start(Config { webhook_secret: None, ..config() }).await.unwrap();
    let receiver = Receiver::start().await;
    github.install_webhook(&receiver.url);
    github.quiet().await;
    let ping = receiver.last("ping");
    assert_eq!(ping.header("x-hub-signature-256"), "");
    assert_eq!(ping.header("x-hub-signature"), "");
}

/// Behaviour 84: a form is signed as it is sent.
#[tokio::test]
async fn a_form_body_is_signed_as_encoded() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.webhook_content_type_form(true);
    scene.github.install_webhook(&receiver.url);
    scene.github.quiet().await;
    let got = receiver.all().remove(0);
    assert_eq!(got.header("content-type"), "application/x-www-form-urlencoded");
    assert!(got.body.starts_with(b"payload=%7B"));
    assert_eq!(got.header("x-hub-signature-256"), scene.github.sign(&got.body));
}

/// Behaviours 75 and 86: every failure is in the log, though the filter `failure` finds only some.
#[tokio::test]
async fn failures_are_logged_and_never_retried() {
    let scene = Scene::new().await;
    let receiver = listening(&scene).await;
    scene.github.faults().delivery_timeout(Duration::from_millis(100));
    receiver.answer(500, Duration::ZERO);
    comment(&scene, "one").await;
    scene.github.quiet().await;
    receiver.answer(200, Duration::from_millis(400));
    comment(&scene, "two").await;
    scene.github.quiet().await;
    scene.github.install_webhook("http://127.0.0.1:1/");
    scene.github.quiet().await;
    let seen = scene.github.deliveries();
    let last: Vec<(&str, Option<u16>)> =
        seen.iter().rev().take(3).map(|d| (d.status.as_str(), d.status_code)).collect();
    assert_eq!(
        last,
        [
            ("failed to connect to host", None),
            ("timed out", None),
            ("Invalid HTTP Response: 500", Some(500)),
        ]
    );
    let comments = receiver.kinds().iter().filter(|k| *k == "issue_comment.created").count();
    assert_eq!(comments, 2);
    let failed = scene.as_app.get("/app/hook/deliveries?status=failure").await.expect(200).json();
    assert_eq!(failed.as_array().unwrap().len(), 1);
    scene.no_violations();
}

/// Behaviour 76: the same event in a new delivery, for three days.
#[tokio::test]
async fn a_redelivery_has_the_same_guid_and_bytes() {
    let scene = Scene::new().await;
    let receiver = listening(&scene).await;
    comment(&scene, "again").await;
    scene.github.quiet().await;
    let listed = scene.as_app.get("/app/hook/deliveries").await.expect(200).json();
    let item = &listed[0];
    assert_eq!((&item["event"], &item["redelivery"]), (&json!("issue_comment"), &json!(false)));
    let path = format!("/app/hook/deliveries/{}", item["id"]);
    let detail = scene.as_app.get(&path).await.expect(200).json();
    assert_eq!(detail["request"]["payload"]["action"], "created");
    assert_eq!(detail["request"]["headers"]["X-GitHub-Delivery"], item["guid"]);
    let attempt = scene.as_app.send("POST", &format!("{path}/attempts"), &[], None).await;
    assert_eq!(attempt.expect(202).json(), json!({}));
    scene.github.quiet().await;
    let all = receiver.all();
    let (first, second) = (&all[all.len() - 2], &all[all.len() - 1]);
    assert_eq!(first.body, second.body);
    assert_eq!(first.header("x-github-delivery"), second.header("x-github-delivery"));
    let listed = scene.as_app.get("/app/hook/deliveries").await.expect(200).json();
    assert_eq!(listed[0]["redelivery"], true);
    assert_ne!(listed[0]["id"], item["id"]);
    scene.no_violations();
    scene.github.advance(Duration::from_hours(4 * 24));
    let later = now() + 4 * 24 * 3600;
    let claims = json!({ "iat": later - 60, "exp": later + 500, "iss": scene.app.id });
    let app = Client::new(&scene.github, Some(sign_jwt(&scene.app, &claims)));
    app.send("POST", &format!("{path}/attempts"), &[], None).await.expect(404);
    assert_eq!(app.get("/app/hook/deliveries").await.expect(200).json(), json!([]));
}

/// Behaviour 86: page by page by what the `Link` says.
#[tokio::test]
async fn the_log_is_paged_by_cursor() {
    let scene = Scene::new().await;
    let receiver = listening(&scene).await;
    for n in 0..5 {
        comment(&scene, &n.to_string()).await;
    }
    scene.github.quiet().await;
    // The ping and the comments: what came before the webhook was never a delivery.
    let all = 6;
    assert!(scene.github.deliveries().len() > all);
    let mut path = "/app/hook/deliveries?per_page=2".to_owned();
    let (mut ids, mut pages) = (Vec::new(), 0);
    loop {
        let reply = scene.as_app.get(&path).await.expect(200);
        ids.extend(
            reply.json().as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()),
        );
        pages += 1;
        let Some(next) = reply.header("link").split(['<', '>']).nth(1).map(str::to_owned) else {
            break;
        };
        path = next;
    }
    assert_eq!((ids.len(), pages), (all, all.div_ceil(2)));
    assert!(ids.is_sorted_by(|a, b| a > b));
    assert!(!receiver.all().is_empty());
    scene.no_violations();
}

/// Behaviour 77: one fault at a time.
#[tokio::test]
async fn faults_drop_lose_double_delay_reverse_and_hold() {
    let scene = Scene::new().await;
    let receiver = listening(&scene).await;
    let bodies = || -> Vec<String> {
        let all = receiver.all();
        let comments = all.iter().filter(|r| r.kind() == "issue_comment.created");
        comments.map(|r| r.json()["comment"]["body"].as_str().unwrap().to_owned()).collect()
    };
    let faults = scene.github.faults();
    faults.drop_deliveries(1);
    comment(&scene, "dropped").await;
    faults.lose_deliveries(1);
    comment(&scene, "lost").await;
    faults.duplicate_deliveries(1);
    comment(&scene, "twice").await;
    scene.github.quiet().await;
    assert_eq!(bodies(), ["twice", "twice"]);
    let guids: Vec<String> = receiver.all().iter().map(|r| r.header("x-github-delivery")).collect();
    assert_eq!(guids[guids.len() - 1], guids[guids.len() - 2]);
    receiver.clear();
    faults.delay_deliveries(1, Duration::from_millis(150));
    comment(&scene, "late").await;
    comment(&scene, "early").await;
    scene.github.quiet().await;
    assert_eq!(bodies(), ["early", "late"]);
    receiver.clear();
    faults.reverse_deliveries(3);
    for text in ["1", "2", "3"] {
        comment(&scene, text).await;
    }
    scene.github.quiet().await;
    assert_eq!(bodies(), ["3", "2", "1"]);
    receiver.clear();
    faults.pause_deliveries();
    comment(&scene, "held").await;
    scene.github.quiet().await;
    assert!(bodies().is_empty());
    faults.resume_deliveries();
    scene.github.quiet().await;
    assert_eq!(bodies(), ["held"]);
    let dropped = scene.github.deliveries();
    let dropped = dropped.iter().find(|d| d.status == "failed to connect to host").unwrap();
    scene.github.redeliver(&dropped.guid).await.unwrap();
    scene.github.quiet().await;
    assert_eq!(bodies(), ["held", "dropped"]);
}

/// Behaviour 79: what is not permitted or not ticked does not come.
#[tokio::test]
async fn events_need_their_permission_and_subscription() {
    let permissions = [("checks", "read"), ("metadata", "read"), ("issues", "read")];
    let permissions = permissions.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let events = vec!["pull_request".to_owned(), "push".to_owned()];
    let github = Simulator::start(Config { permissions, events, ..config() }).await.unwrap();
    let receiver = Receiver::start().await;
    github.install_webhook(&receiver.url);
    github.create_repository(REPO, github_simulator::RepositoryOptions::default()).await.unwrap();
    let commit = |text: &str| {
        github_simulator::Commit::new("c", "ada", vec![crate::common::write("f", text)])
    };
    github.commit(REPO, "main", commit("1")).await.unwrap();
    github.commit(REPO, "topic", commit("2")).await.unwrap();
    let open = github_simulator::OpenPull::new("topic", "main", "ada", "t");
    let number = github.open_pull_request(REPO, open).await.unwrap();
    github.comment(REPO, number, "ada", "not ticked").await.unwrap();
    let sha = github.pull_request(REPO, number).head_sha;
    github.other_apps_check_run(REPO, &sha, "x", "success").await.unwrap();
    github.quiet().await;
    // check_run comes unticked, with `checks: read`; suites are requested with `write` only.
    assert_eq!(
        receiver.kinds(),
        [
            "ping",
            "installation.created",
            "check_run.created",
            "check_run.completed",
            "check_suite.completed"
        ]
    );
}

/// Behaviour 82: events nobody knows.
#[tokio::test]
async fn raw_and_unknown_events_reach_the_receiver() {
    let scene = Scene::new().await;
    let receiver = listening(&scene).await;
    let (status, _) = scene
        .github
        .deliver_raw(&[("x-github-event", "push"), ("x-hub-signature-256", "sha256=00")], "{")
        .await
        .unwrap();
    assert_eq!(status, 202);
    let guid = scene.github.send_event("galaxy", &json!({ "action": "born" })).unwrap();
    scene.github.quiet().await;
    let got = receiver.last("galaxy.born");
    assert_eq!(got.header("x-github-delivery"), guid);
}

/// Behaviour 85: the secret is changed over REST.
#[tokio::test]
async fn the_hook_is_configured_over_rest() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let body = json!({ "url": receiver.url, "secret": "rotated" });
    let config = scene.as_app.patch("/app/hook/config", body).await.expect(200).json();
    assert_eq!(config["url"], receiver.url);
    assert_eq!(config["secret"], "********");
    comment(&scene, "signed anew").await;
    scene.github.quiet().await;
    let got = receiver.last("issue_comment.created");
    let mac = Hmac::<sha2::Sha256>::new_from_slice(b"rotated").unwrap().chain_update(&got.body);
    let expected = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    assert_eq!(got.header("x-hub-signature-256"), expected);
    assert_eq!(
        scene.as_app.get("/app/hook/config").await.expect(200).json()["content_type"],
        "json"
    );
    assert!(jwt(&scene.app).len() > 100);
    scene.no_violations();
}
