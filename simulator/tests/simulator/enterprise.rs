//! Enterprise Server: other numbers, and parts missing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Client, REPO, Receiver, Scene, config, jwt_at, now, sign_jwt};

/// A client that needs the budget's headers, or `status` in errors, works with github.com only.
#[tokio::test]
async fn an_enterprise_server_has_no_budget_and_no_status() {
    let scene = Scene::new().await;
    scene.github.primary_limit(Some(1));
    scene.github.enterprise_server(Some("3.19")).unwrap();
    for _ in 0..3 {
        let reply = scene.client.get(&scene.path("")).await.expect(200);
        assert_eq!(reply.header("x-ratelimit-remaining"), "");
        assert_eq!(reply.header("x-github-enterprise-version"), "enterprise-server@3.19.0");
        assert_ne!(reply.header("x-github-request-id"), "");
    }
    let error = scene.client.get("/rate_limit").await.expect(404).json();
    assert!(error.get("status").is_none());
    assert_eq!(error["message"], "Rate limiting is not enabled.");
    scene.github.enterprise_server(None).unwrap();
    assert_eq!(scene.client.get("/nowhere").await.expect(404).json()["status"], "404");
    assert!(scene.github.enterprise_server(Some("newest")).is_err());
}

/// The newest API version comes with 3.21, the client ID as issuer with 3.14.
#[tokio::test]
async fn an_enterprise_server_knows_what_its_version_knows() {
    let scene = Scene::new().await;
    let newest = [("x-github-api-version", "2026-03-10")];
    let issued = async |issuer: Value| {
        let claims = json!({ "iat": now() - 60, "exp": now() + 500, "iss": issuer });
        let client = Client::new(&scene.github, Some(sign_jwt(&scene.app, &claims)));
        client.get("/app").await.status
    };
    for (version, newest_api, client_id) in
        [("3.13", 400, 404), ("3.14", 400, 200), ("3.20", 400, 200), ("3.21", 200, 200)]
    {
        scene.github.enterprise_server(Some(version)).unwrap();
        let path = scene.path("");
        scene.client.send("GET", &path, &newest, None).await.expect(newest_api);
        scene.client.get(&path).await.expect(200);
        assert_eq!(issued(json!(scene.app.client_id)).await, client_id, "{version}");
        assert_eq!(issued(json!(scene.app.id)).await, 200, "{version}");
    }
}

/// Deliveries tell the version; receivers have 30 seconds, the log 7 days.
#[tokio::test]
async fn an_enterprise_server_delivers_with_more_patience() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.enterprise_server(Some("3.19")).unwrap();
    scene.github.install_webhook(&receiver.url);
    scene.github.quiet().await;
    let ping = receiver.last("ping");
    assert_eq!(ping.header("x-github-enterprise-version"), "3.19.0");
    assert_ne!(ping.header("x-github-enterprise-host"), "");
    receiver.answer(200, Duration::from_millis(600));
    scene.github.comment(REPO, scene.number, "ada", "slow").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    scene.github.advance(Duration::from_secs(25));
    scene.github.quiet().await;
    assert_eq!(scene.github.deliveries().last().unwrap().status, "OK");
    let list = async |days: i64| {
        let app = jwt_at(&scene.app, now() + days * 24 * 3600);
        let client = Client::new(&scene.github, Some(app));
        client.get("/app/hook/deliveries").await.expect(200).json().as_array().unwrap().len()
    };
    scene.github.advance(Duration::from_hours(6 * 24));
    assert_eq!(list(6).await, 2);
    scene.github.enterprise_server(None).unwrap();
    assert_eq!(list(6).await, 0);
}

/// Behind something that speaks TLS for it, its links are what the outside sees.
#[tokio::test]
async fn an_enterprise_server_may_be_known_by_another_address() {
    let scene = Scene::new().await;
    scene.github.known_as("https://git.corp.example/");
    assert_eq!(scene.github.api_url(), "https://git.corp.example/api/v3");
    let shape = scene.client.get(&scene.path("")).await;
    // The client of this test asks where it asked before.
    let shape = shape.expect(200).json();
    let address = shape["html_url"].as_str().unwrap();
    assert!(address.starts_with("https://git.corp.example/"), "{address}");
}

/// Versions before 3.20 do not describe `merge_group`: who waits for it waits in vain.
#[tokio::test]
async fn an_enterprise_server_has_no_merge_groups() {
    let mut config = config();
    config.permissions.insert("merge_queues".to_owned(), "read".to_owned());
    config.events.push("merge_group".to_owned());
    let scene = Scene::with(config, false).await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    for (version, arrives) in [(Some("3.19"), false), (Some("3.20"), true), (None, true)] {
        scene.github.enterprise_server(version).unwrap();
        receiver.clear();
        scene.github.enqueue(REPO, &[scene.number], "ada").await.unwrap();
        scene.github.dequeue(REPO, scene.number, "ada").await.unwrap();
        scene.github.quiet().await;
        let kinds = receiver.kinds();
        assert!(kinds.contains(&"pull_request.enqueued".to_owned()));
        let told = kinds.contains(&"merge_group.checks_requested".to_owned());
        assert_eq!(told, arrives, "{version:?}: {kinds:?}");
    }
}
