//! Git over smart HTTP, with the real git program.

use std::path::Path;

use base64::Engine as _;
use serde_json::json;

use crate::common::{REPO, Scene, config};

/// Runs git with an `Authorization` header from the environment; its output or its complaint.
async fn git(folder: &Path, token: Option<&str>, arguments: &[&str]) -> Result<String, String> {
    let mut command = tokio::process::Command::new("git");
    command
        .current_dir(folder)
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .args(["-c", "protocol.version=2", "-c", "credential.helper="])
        .args(arguments);
    if let Some(token) = token {
        let basic =
            base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "http.extraHeader")
            .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {basic}"));
    }
    let output = command.output().await.unwrap();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A folder that goes with the test.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(scene: &Scene) -> Self {
        let folder = scene.github.folder().join("clones");
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

fn remote(scene: &Scene) -> String {
    format!("{}/{REPO}.git", scene.github.url())
}

#[tokio::test]
async fn a_public_repository_clones_for_everybody() {
    let scene = Scene::new().await;
    let folder = Folder::new(&scene);
    git(&folder.0, None, &["clone", "--quiet", &remote(&scene), "one"]).await.unwrap();
    let clone = folder.0.join("one");
    assert_eq!(git(&clone, None, &["rev-parse", "origin/topic"]).await.unwrap(), scene.head);
    assert_eq!(std::fs::read_to_string(clone.join("README.md")).unwrap(), "one\ntwo\nthree\n");
}

#[tokio::test]
async fn a_private_repository_wants_a_token_with_contents() {
    let scene = Scene::with(config(), true).await;
    let folder = Folder::new(&scene);
    let clone = |name: &'static str| {
        ["clone".to_owned(), "--quiet".to_owned(), remote(&scene), name.to_owned()]
    };
    let run = async |token: Option<&str>, name: &'static str| {
        let arguments = clone(name);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        git(&folder.0, token, &arguments).await
    };
    assert!(run(None, "none").await.is_err());
    assert!(run(Some("ghs_wrong"), "wrong").await.is_err());
    run(scene.client.token.as_deref(), "right").await.unwrap();
    let path = format!("/app/installations/{}/access_tokens", scene.installation);
    let body = json!({ "permissions": { "checks": "write" } });
    let weak = scene.as_app.post(&path, body).await.expect(201).json();
    assert!(run(weak["token"].as_str(), "weak").await.unwrap_err().contains("403"));
    scene.github.advance(std::time::Duration::from_secs(3601));
    assert!(run(scene.client.token.as_deref(), "late").await.is_err());
    let http = reqwest::Client::new();
    let url = format!("{}/info/refs?service=git-upload-pack", remote(&scene));
    let reply = http.get(&url).send().await.unwrap();
    assert_eq!(reply.status(), 401);
    assert!(reply.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    let gone = url.replace("connectors", "nothing");
    assert_eq!(http.get(gone).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn any_reachable_commit_is_fetched_by_sha_with_filters() {
    let scene = Scene::new().await;
    let folder = Folder::new(&scene);
    let bare = folder.0.join("cache");
    std::fs::create_dir_all(&bare).unwrap();
    git(&bare, None, &["init", "--quiet", "--bare", "."]).await.unwrap();
    let url = remote(&scene);
    let fetch = ["fetch", "--quiet", "--depth=1", "--filter=blob:none", &url, &scene.head];
    git(&bare, None, &fetch).await.unwrap();
    assert_eq!(git(&bare, None, &["rev-parse", "FETCH_HEAD"]).await.unwrap(), scene.head);
    let reference = format!("refs/pull/{}/head", scene.number);
    git(&bare, None, &["fetch", "--quiet", &url, &reference]).await.unwrap();
    assert_eq!(git(&bare, None, &["rev-parse", "FETCH_HEAD"]).await.unwrap(), scene.head);
    let calls = scene.github.calls();
    assert!(calls.iter().any(|call| call.operation.as_deref() == Some("git/upload-pack")));
}

#[tokio::test]
async fn pushes_and_injected_failures_are_refused() {
    let scene = Scene::new().await;
    let folder = Folder::new(&scene);
    let url = remote(&scene);
    git(&folder.0, None, &["clone", "--quiet", &url, "two"]).await.unwrap();
    let clone = folder.0.join("two");
    let token = scene.client.token.as_deref();
    assert!(
        git(&clone, token, &["push", "--quiet", "origin", "HEAD:refs/heads/new"]).await.is_err()
    );
    scene.github.faults().fail_next("GIT", "/", 1, 500);
    assert!(git(&clone, None, &["fetch", "--quiet"]).await.is_err());
    git(&clone, None, &["fetch", "--quiet"]).await.unwrap();
}
