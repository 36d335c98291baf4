//! Behaviours 110 and 111: an App that is registered from a manifest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use github_simulator::{RepositoryOptions, Simulator};
use serde_json::{Value, json};

use crate::common::{Client, Receiver, config, jwt};

fn manifest(hook: &str) -> Value {
    json!({
        "name": "My Plugs!", "url": "https://plugs.example",
        "hook_attributes": { "url": hook },
        "redirect_url": "http://127.0.0.1:9/back",
        "default_events": ["pull_request"],
        "default_permissions": { "pull_requests": "read", "metadata": "read" },
    })
}

/// What comes back in the redirect of a registration, by name.
async fn register(github: &Simulator, place: &str, manifest: &Value) -> BTreeMap<String, String> {
    let client = Client::new(github, None);
    let mut text = String::new();
    for byte in manifest.to_string().bytes() {
        write!(text, "%{byte:02X}").unwrap();
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let url = format!("{}{place}", github.url());
    let reply = client.send("POST", &url, &form, Some(format!("manifest={text}"))).await;
    let reply = reply.expect(302);
    let (back, query) = reply.header("location").split_once('?').unwrap();
    assert_eq!(back, "http://127.0.0.1:9/back");
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

async fn convert(github: &Simulator, code: &str) -> crate::common::Reply {
    let path = format!("/app-manifests/{code}/conversions");
    Client::new(github, None).send("POST", &path, &[], None).await
}

/// Behaviour 110: a code is good once and for an hour, and has a budget of its own.
#[tokio::test]
async fn a_code_is_exchanged_once() {
    let github = Simulator::start(config()).await.unwrap();
    let receiver = Receiver::start().await;
    let back = register(&github, "/settings/apps/new?state=s", &manifest(&receiver.url)).await;
    let reply = convert(&github, &back["code"]).await.expect(201);
    assert_eq!(reply.header("x-ratelimit-resource"), "integration_manifest");
    let app = reply.json();
    assert_eq!(app["slug"], "my-plugs");
    assert!(app["pem"].as_str().unwrap().contains("PRIVATE KEY"));
    assert_eq!(app["webhook_secret"], github.app().webhook_secret);
    assert!(app["client_secret"].is_string());
    convert(&github, &back["code"]).await.expect(404);
    convert(&github, "unknown").await.expect(404);
    github.choose(|choices| choices.spent_code = 422);
    convert(&github, &back["code"]).await.expect(422);
    github.choose(|choices| choices.spent_code = 404);
    let late = register(&github, "/settings/apps/new", &manifest(&receiver.url)).await;
    github.advance(Duration::from_mins(61));
    convert(&github, &late["code"]).await.expect(404);
    assert_eq!(github.violations(), Vec::<String>::new());
}

/// Behaviour 110: the exchanged credentials are those of the App from then on.
#[tokio::test]
async fn the_registered_app_works() {
    let github = Simulator::start(config()).await.unwrap();
    let receiver = Receiver::start().await;
    let before = github.app();
    let place = "/organizations/acme/settings/apps/new";
    let back = register(&github, place, &manifest(&receiver.url)).await;
    convert(&github, &back["code"]).await.expect(201);
    let app = github.app();
    assert_ne!((app.id, &app.webhook_secret), (before.id, &before.webhook_secret));
    let me = Client::new(&github, Some(jwt(&app))).get("/app").await.expect(200).json();
    assert_eq!((&me["id"], &me["slug"]), (&json!(app.id), &json!("my-plugs")));
    assert_eq!(me["permissions"], json!({ "pull_requests": "read", "metadata": "read" }));
    // The old one is somebody else now.
    Client::new(&github, Some(jwt(&before))).get("/app").await.expect(404);
    github.create_repository("acme/plugs", RepositoryOptions::default()).await.unwrap();
    github.quiet().await;
    assert_eq!(receiver.kinds(), ["ping", "installation.created"]);
    let got = receiver.last("installation.created");
    assert_eq!(got.header("x-hub-signature-256"), github.sign(&got.body));
    assert_eq!(got.header("x-github-hook-installation-target-id"), app.id.to_string());
}

/// Behaviour 111: `state` comes back as it was sent; when it does not, the redirect is not the
/// answer to our question. One who does not compare registers somebody else's App.
#[tokio::test]
async fn a_state_comes_back_unchanged_or_is_forged() {
    let github = Simulator::start(config()).await.unwrap();
    let manifest = manifest("http://127.0.0.1:9/hook");
    let place = "/settings/apps/new?state=s3cret%2Fstate";
    let back = register(&github, place, &manifest).await;
    assert_eq!(back["state"], "s3cret%2Fstate");
    let none = register(&github, "/settings/apps/new", &manifest).await;
    assert!(!none.contains_key("state"));
    github.faults().wrong_manifest_state(true);
    let forged = register(&github, place, &manifest).await;
    assert_ne!(forged["state"], "s3cret%2Fstate");
    convert(&github, &forged["code"]).await.expect(201);
}

/// What an Enterprise Server does not have can't be asked for.
#[tokio::test]
async fn a_manifest_asks_for_no_more_than_there_is() {
    let github = Simulator::start(config()).await.unwrap();
    let mut manifest = manifest("http://127.0.0.1:9/hook");
    let place = format!("{}/settings/apps/new", github.url());
    let send = async |manifest: &Value| {
        let mut text = String::new();
        for byte in manifest.to_string().bytes() {
            write!(text, "%{byte:02X}").unwrap();
        }
        let client = Client::new(&github, None);
        client.send("POST", &place, &[], Some(format!("manifest={text}"))).await
    };
    github.enterprise_server(Some("3.19")).unwrap();
    send(&manifest).await.expect(302);
    manifest["default_events"] = json!(["merge_group"]);
    assert!(send(&manifest).await.expect(422).text.contains("merge queues"));
    manifest["default_events"] = json!([]);
    manifest["default_permissions"]["merge_queues"] = json!("read");
    send(&manifest).await.expect(422);
    github.enterprise_server(Some("3.20")).unwrap();
    send(&manifest).await.expect(302);
}

/// A manifest without what is required is refused where a person would read it.
#[tokio::test]
async fn a_manifest_must_be_whole() {
    let github = Simulator::start(config()).await.unwrap();
    let client = Client::new(&github, None);
    for (form, part) in [
        ("manifest=%7B", "no JSON"),
        ("", "no JSON"),
        ("manifest=%7B%22name%22%3A%22n%22%7D", "/url"),
    ] {
        let url = format!("{}/settings/apps/new", github.url());
        let reply = client.send("POST", &url, &[], Some(form.to_owned())).await.expect(422);
        assert!(reply.text.contains(part), "{}", reply.text);
    }
}
