//! Behaviours 15–30: App JWTs and installation tokens.

use std::time::Duration;

use github_simulator::{Permission, RepositoryOptions, TokenFormat};
use serde_json::{Value, json};

use crate::common::{Client, REPO, Scene, config, jwt, now, sign_jwt};

async fn refusal_of(scene: &Scene, claims: &Value) -> String {
    let client = Client::new(&scene.github, Some(sign_jwt(&scene.app, claims)));
    client.get("/app").await.expect(401).message()
}

/// Behaviour 19: the App is named by number or client ID.
#[tokio::test]
async fn a_sound_jwt_is_the_app_by_id_or_client_id() {
    let scene = Scene::new().await;
    for issuer in [json!(scene.app.id), json!(scene.app.id.to_string()), json!(scene.app.client_id)]
    {
        let claims = json!({ "iat": now() - 60, "exp": now() + 540, "iss": issuer });
        let client = Client::new(&scene.github, Some(sign_jwt(&scene.app, &claims)));
        assert_eq!(client.get("/app").await.expect(200).json()["id"], scene.app.id);
    }
    let claims = json!({ "iat": now() - 60, "exp": now() + 540, "iss": "somebody" });
    let client = Client::new(&scene.github, Some(sign_jwt(&scene.app, &claims)));
    assert_eq!(client.get("/app").await.expect(404).message(), "Integration not found");
    scene.no_violations();
}

/// Behaviour 15: another key, another algorithm, garbage.
#[tokio::test]
async fn jwts_that_cannot_be_decoded_are_refused() {
    let scene = Scene::new().await;
    let claims = json!({ "iat": now() - 60, "exp": now() + 540, "iss": scene.app.id });
    let key = jsonwebtoken::EncodingKey::from_secret(b"guess");
    let wrong_algorithm =
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let mut wrong_signature = sign_jwt(&scene.app, &claims);
    let cut = wrong_signature.rfind('.').unwrap();
    wrong_signature.replace_range(cut + 1..cut + 9, "AAAAAAAA");
    for token in [wrong_algorithm, wrong_signature, "a.b.c".to_owned()] {
        let reply = Client::new(&scene.github, Some(token)).get("/app").await.expect(401);
        assert_eq!(reply.message(), "A JSON web token could not be decoded");
    }
}

/// Behaviours 16–18: each wrong claim has its words.
#[tokio::test]
async fn claims_are_checked_with_githubs_words() {
    let scene = Scene::new().await;
    let id = scene.app.id;
    let far = json!({ "iat": now() - 60, "exp": now() + 700, "iss": id });
    assert_eq!(
        refusal_of(&scene, &far).await,
        "'Expiration time' claim ('exp') is too far in the future"
    );
    let not_future = "'Expiration time' claim ('exp') must be a numeric value representing the \
                      future time at which the assertion expires";
    let past = json!({ "iat": now() - 60, "exp": now() - 5, "iss": id });
    assert_eq!(refusal_of(&scene, &past).await, not_future);
    let text = json!({ "iat": now() - 60, "exp": "soon", "iss": id });
    assert_eq!(refusal_of(&scene, &text).await, not_future);
    let early = json!({ "iat": now() + 60, "exp": now() + 300, "iss": id });
    let not_integer = "'Issued at' claim ('iat') must be an Integer representing the time that \
                       the assertion was issued";
    assert_eq!(refusal_of(&scene, &early).await, not_integer);
    let none = json!({ "exp": now() + 300, "iss": id });
    assert_eq!(refusal_of(&scene, &none).await, not_integer);
}

/// Behaviour 20: a JWT for the App, a token for what it is installed on.
#[tokio::test]
async fn the_two_kinds_of_credentials_are_not_exchangeable() {
    let scene = Scene::new().await;
    scene.client.get("/app").await.expect(401);
    scene.as_app.get(&scene.path("")).await.expect(403);
    scene.as_app.get("/installation/repositories").await.expect(403);
    Client::new(&scene.github, None).get("/app").await.expect(401);
}

fn token_path(scene: &Scene) -> String {
    format!("/app/installations/{}/access_tokens", scene.installation)
}

/// Behaviours 21 and 22: two forms in turn, one hour.
#[tokio::test]
async fn tokens_have_both_forms_and_an_hour() {
    let scene = Scene::new().await;
    let mint = async || scene.as_app.post(&token_path(&scene), json!({})).await.expect(201).json();
    let (one, other) = (mint().await, mint().await);
    let mut lengths = [one, other].map(|token| token["token"].as_str().unwrap().len());
    lengths.sort_unstable();
    assert_eq!(lengths[0], 40);
    assert!(lengths[1] > 450, "{lengths:?}");
    let headers = [("x-github-stateless-s2s-token", "enabled")];
    let forced =
        scene.as_app.send("POST", &token_path(&scene), &headers, None).await.expect(201).json();
    let token = forced["token"].as_str().unwrap();
    assert!(
        token.starts_with(&format!("ghs_{}_", scene.app.id)) && token.matches('.').count() == 2
    );
    let expires = forced["expires_at"].as_str().unwrap();
    let expires = chrono::DateTime::parse_from_rfc3339(expires).unwrap().timestamp();
    assert!((3590..=3600).contains(&(expires - now())));
    let client = Client::new(&scene.github, Some(token.to_owned()));
    client.get(&scene.path("")).await.expect(200);
    scene.github.faults().token_format(TokenFormat::Classic);
    assert_eq!(mint().await["token"].as_str().unwrap().len(), 40);
    scene.no_violations();
}

/// Behaviour 23: after its hour, or once revoked, a token is nothing.
#[tokio::test]
async fn expired_and_revoked_tokens_are_bad_credentials() {
    let scene = Scene::new().await;
    scene.client.send("DELETE", "/installation/token", &[], None).await.expect(204);
    scene.client.get(&scene.path("")).await.expect(401);
    let token = scene.as_app.post(&token_path(&scene), json!({})).await.expect(201).json();
    let client = Client::new(&scene.github, token["token"].as_str().map(str::to_owned));
    client.get(&scene.path("")).await.expect(200);
    scene.github.advance(Duration::from_secs(3601));
    assert_eq!(client.get(&scene.path("")).await.expect(401).message(), "Bad credentials");
}

/// Behaviour 24: the same, counted in calls.
#[tokio::test]
async fn a_fresh_token_may_be_unknown_at_first() {
    let scene = Scene::new().await;
    scene.github.faults().unknown_fresh_tokens(2);
    let token = scene.as_app.post(&token_path(&scene), json!({})).await.expect(201).json();
    let client = Client::new(&scene.github, token["token"].as_str().map(str::to_owned));
    client.get(&scene.path("")).await.expect(401);
    client.get(&scene.path("")).await.expect(401);
    client.get(&scene.path("")).await.expect(200);
}

/// Behaviours 25–28: what is too much, not there, suspended or deleted.
#[tokio::test]
async fn minting_refuses_what_the_installation_lacks() {
    let scene = Scene::new().await;
    let mint = async |body: Value| scene.as_app.post(&token_path(&scene), body).await;
    let reply = mint(json!({ "permissions": { "contents": "write" } })).await.expect(422);
    let text = "The permissions requested are not granted to this installation.";
    assert_eq!(reply.message(), text);
    let reply = mint(json!({ "repositories": ["nowhere"] })).await.expect(422);
    assert_eq!(reply.message(), "Validation Failed");
    let many: Vec<u64> = (0..501).collect();
    mint(json!({ "repository_ids": many })).await.expect(422);
    scene.as_app.post("/app/installations/1/access_tokens", json!({})).await.expect(404);
    scene.github.suspend(REPO).unwrap();
    let reply = mint(json!({})).await.expect(403);
    assert_eq!(reply.message(), "This installation has been suspended");
    scene.client.get(&scene.path("")).await.expect(403);
    let listed = scene.as_app.get("/app/installations").await.expect(200).json();
    assert_ne!(listed[0]["suspended_at"], json!(null));
    scene.github.unsuspend(REPO).unwrap();
    mint(json!({})).await.expect(201);
    scene.github.uninstall(REPO).unwrap();
    mint(json!({})).await.expect(404);
    scene.client.get(&scene.path("")).await.expect(401);
}

/// Behaviour 29: the refusal says what would have been enough.
#[tokio::test]
async fn a_missing_permission_is_named() {
    let scene = Scene::new().await;
    let body = json!({ "permissions": { "checks": "read", "contents": "read" } });
    let token = scene.as_app.post(&token_path(&scene), body).await.expect(201).json();
    assert_eq!(token["permissions"]["checks"], "read");
    let client = Client::new(&scene.github, token["token"].as_str().map(str::to_owned));
    let body = json!({ "name": "a", "head_sha": scene.head });
    let reply = client.post(&scene.path("/check-runs"), body).await.expect(403);
    assert_eq!(reply.message(), "Resource not accessible by integration");
    assert_eq!(reply.header("x-accepted-github-permissions"), "checks=write");
    let path = scene.path(&format!("/issues/{}/comments", scene.number));
    let reply = client.post(&path, json!({ "body": "x" })).await.expect(403);
    assert_eq!(reply.header("x-accepted-github-permissions"), "issues=write; pull_requests=write");
    client.get(&scene.path("/collaborators/ada/permission")).await.expect(200);
}

/// Behaviour 30: private ones hide, public ones can be read.
#[tokio::test]
async fn repositories_outside_the_selection_hide_or_only_read() {
    let scene = Scene::with(config(), true).await;
    let options = RepositoryOptions { install: false, ..Default::default() };
    scene.github.create_repository("acme/open", options.clone()).await.unwrap();
    let options = RepositoryOptions { private: true, ..options };
    scene.github.create_repository("acme/closed", options).await.unwrap();
    scene.client.get("/repos/acme/closed").await.expect(404);
    scene.client.get("/repos/acme/open").await.expect(200);
    let body = json!({ "name": "a", "head_sha": scene.head });
    scene.client.post("/repos/acme/open/check-runs", body).await.expect(403);
    let mine = scene.client.get("/installation/repositories").await.expect(200).json();
    assert_eq!(mine["total_count"], 1);
    scene.no_violations();
}

#[tokio::test]
async fn the_installation_is_found_by_repository() {
    let scene = Scene::new().await;
    let found = scene.as_app.get(&scene.path("/installation")).await.expect(200).json();
    assert_eq!(found["id"], scene.installation);
    let path = format!("/app/installations/{}", scene.installation);
    assert_eq!(scene.as_app.get(&path).await.expect(200).json()["app_id"], scene.app.id);
    scene.no_violations();
}

/// Behaviour 54: people do not make check runs.
#[tokio::test]
async fn a_person_is_no_app() {
    let scene = Scene::new().await;
    scene.github.set_permission(REPO, "ada", Permission::Admin);
    let ada = Client::new(&scene.github, Some(scene.github.personal_token("ada")));
    let body = json!({ "name": "a", "head_sha": scene.head });
    let reply = ada.post(&scene.path("/check-runs"), body).await.expect(403);
    assert_eq!(reply.message(), "You must authenticate via a GitHub App.");
    assert!(jwt(&scene.app).contains('.'));
}

/// Behaviour 21: the answer of minting has what was asked for, and says which repositories.
#[tokio::test]
async fn a_minted_token_tells_what_it_may() {
    let scene = Scene::new().await;
    let info = scene.github.create_repository("acme/other", RepositoryOptions::default()).await;
    let other = info.unwrap().id;
    let whole = scene.as_app.post(&token_path(&scene), json!({})).await.expect(201).json();
    assert!(whole.get("repositories").is_none());
    assert_eq!(whole["permissions"]["checks"], "write");
    assert!(whole["expires_at"].as_str().unwrap().ends_with('Z'));
    let body = json!({ "repository_ids": [other], "permissions": { "contents": "read" } });
    let narrow = scene.as_app.post(&token_path(&scene), body).await.expect(201).json();
    assert_eq!(narrow["repository_selection"], "selected");
    assert_eq!(narrow["repositories"][0]["full_name"], "acme/other");
    assert_eq!(narrow["permissions"], json!({ "contents": "read", "metadata": "read" }));
    let client = Client::new(&scene.github, narrow["token"].as_str().map(str::to_owned));
    client.get("/repos/acme/other/contents/").await.expect(409);
    let commit = json!({ "name": "a", "head_sha": scene.head });
    client.post(&scene.path("/check-runs"), commit).await.expect(403);
    scene.no_violations();
}

/// Behaviour 22: the stateless form is long and has dots; a client that measures 40 characters,
/// or cuts at them, breaks.
#[tokio::test]
async fn a_stateless_token_does_not_fit_40_characters() {
    let scene = Scene::new().await;
    scene.github.faults().token_format(TokenFormat::Stateless);
    let minted = scene.as_app.post(&token_path(&scene), json!({})).await.expect(201).json();
    let token = minted["token"].as_str().unwrap().to_owned();
    assert!(token.contains('.') && token.len() > 450);
    Client::new(&scene.github, Some(token.clone())).get(&scene.path("")).await.expect(200);
    let cut = Client::new(&scene.github, Some(token[..40].to_owned()));
    cut.get(&scene.path("")).await.expect(401);
    let headers = [("x-github-stateless-s2s-token", "disabled")];
    let path = token_path(&scene);
    let classic = scene.as_app.send("POST", &path, &headers, None).await.expect(201).json();
    assert_eq!(classic["token"].as_str().unwrap().len(), 40);
}

/// Behaviour 24: for up to five seconds a fresh token may be unknown; one who gives up at the
/// first 401 gives up for nothing.
#[tokio::test]
async fn a_fresh_token_takes_seconds_to_be_known() {
    let scene = Scene::new().await;
    scene.github.faults().fresh_tokens_after(Duration::from_secs(5));
    let token = scene.as_app.post(&token_path(&scene), json!({})).await.expect(201).json();
    let client = Client::new(&scene.github, token["token"].as_str().map(str::to_owned));
    client.get(&scene.path("")).await.expect(401);
    scene.github.advance(Duration::from_secs(3));
    client.get(&scene.path("")).await.expect(401);
    scene.github.advance(Duration::from_secs(2));
    client.get(&scene.path("")).await.expect(200);
}

/// Behaviour 16: ten minutes ahead is the edge, by the server's clock: who signs for exactly ten
/// minutes with a clock that is fast is refused.
#[tokio::test]
async fn ten_minutes_ahead_is_the_edge() {
    let scene = Scene::new().await;
    let with = async |ahead: i64| {
        let claims = json!({ "iat": now() - 60, "exp": now() + ahead, "iss": scene.app.id });
        Client::new(&scene.github, Some(sign_jwt(&scene.app, &claims))).get("/app").await.status
    };
    assert_eq!(with(595).await, 200);
    assert_eq!(with(605).await, 401);
    // Five seconds later, on the server, it would have been right.
    scene.github.advance(Duration::from_secs(6));
    assert_eq!(with(605).await, 200);
}
