//! Google Secret Manager: labels, pages, versions, refusals.

use std::collections::BTreeMap;

use checkvalve::domain::secret::{SecretSource, SecretValue};
use checkvalve::secrets::google::Account;
use checkvalve::secrets::{Of, Providers};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::google::{Google, assertion, rsa_key};
use super::{access, fetch, secret, text};

/// As a form has it.
const GRANT: &str = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer";

fn file(name: &str) -> SecretSource {
    SecretSource::Gsm { file: name.to_owned() }
}

fn labelled(filename: Option<&str>) -> Value {
    match filename {
        Some(filename) => json!({ "connector": "source-x", "filename": filename }),
        None => json!({ "connector": "source-x" }),
    }
}

async fn stocked() -> Google {
    let google = Google::start().await;
    google.put("SECRET_SOURCE-X__CREDS", &labelled(None), &[(true, "old"), (true, "new")]);
    google.put(
        "SECRET_SOURCE-X_OAUTH__CREDS",
        &labelled(Some("oauth")),
        &[(true, "o"), (false, "x")],
    );
    for n in 0..5 {
        let labels = json!({ "connector": format!("source-x-{n}") });
        google.put(&format!("OTHER_{n}"), &labels, &[(true, "another connector's")]);
    }
    google
}

#[tokio::test]
async fn a_secret_is_found_by_its_labels_through_pages() {
    let google = stocked().await;
    let providers = Providers::new(access(&google), false).unwrap();
    let config = fetch(&providers, file("config"), &[]).await;
    let note = config.as_ref().unwrap().note.clone().unwrap();
    assert!(note.contains("2 versions of it are enabled") && note.contains("newest, 2,"), "{note}");
    assert_eq!(text(config), "new");
    assert_eq!(text(fetch(&providers, file("oauth.json"), &[]).await), "o");
    let why = fetch(&providers, file("other"), &[]).await.unwrap_err();
    assert!(why.contains("no secret with `connector=source-x`"), "{why}");
    assert!(why.contains("its files are: config, oauth"), "{why}");
    assert!(google.asked().iter().filter(|asked| *asked == "list secrets").count() > 6);
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_is_said() {
    let google = stocked().await;
    let providers = Providers::new(access(&google), false).unwrap();
    google.put("AGAIN", &labelled(Some("oauth")), &[(true, "o")]);
    let why = fetch(&providers, file("oauth"), &[]).await.unwrap_err();
    assert!(why.contains("several secrets have"), "{why}");
    google.put("DEAD", &labelled(Some("dead")), &[(false, "o")]);
    let why = fetch(&providers, file("dead"), &[]).await.unwrap_err();
    assert!(why.contains("no version of") && why.contains("is enabled"), "{why}");
    google.put("ODD", &labelled(Some("odd")), &[(true, "o")]);
    for (data, said) in [(json!("%%%"), "malformed"), (json!(""), "empty"), (json!(3), "empty")] {
        google.spoil("ODD", data);
        let why = fetch(&providers, file("odd"), &[]).await.unwrap_err();
        assert!(why.contains(said), "{why}");
    }
}

/// Only an answer that there is none makes a secret missing.
#[tokio::test]
async fn what_google_does_not_have_is_missing_and_what_it_does_not_say_is_not() {
    let google = stocked().await;
    google.put("AGAIN", &labelled(Some("oauth")), &[(true, "o")]);
    google.put("DEAD", &labelled(Some("dead")), &[(false, "o")]);
    google.put("ODD", &labelled(Some("odd")), &[(true, "o")]);
    google.spoil("ODD", json!("%%%"));
    let providers = Providers::new(access(&google), false).unwrap();
    let connector = "source-x".parse().unwrap();
    let of = Of { connector: &connector, root: "connectors/source-x" };
    let missing = async |name: &str| {
        let fetched = providers.fetch(&secret(file(name)), of, &BTreeMap::new()).await;
        fetched.unwrap_err().missing
    };
    assert!(missing("other").await && missing("dead").await);
    assert!(!missing("oauth").await && !missing("odd").await);
    google.busy(50);
    assert!(!missing("other").await);
    google.busy(0);
    google.deny();
    assert!(!missing("other").await);
}

#[tokio::test]
async fn a_busy_google_is_asked_again_and_a_withdrawn_token_renewed() {
    let google = stocked().await;
    let providers = Providers::new(access(&google), false).unwrap();
    google.busy(2);
    assert_eq!(text(fetch(&providers, file("config"), &[]).await), "new");
    google.busy(50);
    let connector = "source-x".parse().unwrap();
    let gsm = providers.gsm().unwrap();
    let error = gsm.newest(&connector, "config").await.unwrap_err();
    assert!(error.passes && error.to_string().contains("429"), "{error}");
    google.busy(0);
    google.forget_tokens();
    assert_eq!(text(fetch(&providers, file("config"), &[]).await), "new");
    google.deny();
    assert!(!gsm.newest(&connector, "config").await.unwrap_err().passes);
    let why = fetch(&providers, file("config"), &[]).await.unwrap_err();
    assert!(why.contains("403") && why.contains("give checkvalve@"), "{why}");
}

#[tokio::test]
async fn a_key_that_is_not_the_accounts_gets_no_token() {
    let google = stocked().await;
    let stranger = google.account_of(&rsa_key());
    let mut access = access(&google);
    access.google = Some(SecretString::from(stranger));
    let providers = Providers::new(access, false).unwrap();
    let why = fetch(&providers, file("config"), &[]).await.unwrap_err();
    assert!(why.contains("Invalid JWT Signature."), "{why}");
    assert!(!why.contains("BEGIN"), "{why}");
    for broken in ["{", "{}", "secret-looking text"] {
        let why = Account::read(&SecretString::from(broken)).unwrap_err().to_string();
        assert!(why.contains("GCP_GSM_CREDENTIALS") && !why.contains("looking"), "{why}");
    }
}

/// Each refusal of the fake breaks a client that is wrong in just that way.
#[tokio::test]
async fn what_stands_in_for_google_refuses_wrong_clients() {
    let google = stocked().await;
    let http = reqwest::Client::new();
    let asks = async |assertion: String, grant: &str| {
        let body = format!("grant_type={grant}&assertion={assertion}");
        let answer = http
            .post(format!("{}/token", google.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap())
    };
    let signed = |claims: Value| assertion(google.key(), &google.url, &claims);
    let now = super::google::now();
    let day = 24 * 3600;
    for (claims, said) in [
        (json!({ "aud": "https://elsewhere.example/token" }), "audience"),
        (json!({ "scope": "email" }), "scope"),
        (json!({ "iat": now - day, "exp": now - day + 3600 }), "timeframe"),
        (json!({ "exp": now + day }), "short-lived"),
        (json!({ "iss": "nobody@example.org" }), "account not found"),
    ] {
        let (status, answer) = asks(signed(claims), GRANT).await;
        assert_eq!(status, 400);
        assert!(answer["error_description"].as_str().unwrap().contains(said), "{answer}");
    }
    let (_, answer) = asks(assertion(&rsa_key(), &google.url, &json!({})), GRANT).await;
    assert_eq!(answer["error_description"], "Invalid JWT Signature.");
    let (_, answer) = asks(signed(json!({})), "password").await;
    assert_eq!(answer["error"], "unsupported_grant_type");
    let (status, good) = asks(signed(json!({})), GRANT).await;
    assert_eq!(status, 200, "{good}");

    let token = good["access_token"].as_str().unwrap().to_owned();
    let get = async |path: &str, token: &str| {
        let url = format!("{}/v1/{path}", google.url);
        http.get(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    let secret = "projects/acme-ci/secrets/SECRET_SOURCE-X_OAUTH__CREDS";
    assert_eq!(get("projects/acme-ci/secrets", "ya29.guessed").await, 401);
    assert_eq!(get("projects/acme-ci/secrets", &token).await, 400);
    assert_eq!(get("projects/other/secrets?filter=labels.connector=a", &token).await, 403);
    assert_eq!(get("projects/acme-ci/secrets/NONE/versions", &token).await, 404);
    assert_eq!(get(&format!("{secret}/versions/2:access"), &token).await, 400);
    assert_eq!(get(&format!("{secret}/versions/1:access"), &token).await, 200);
    google.busy(1);
    assert_eq!(get(&format!("{secret}/versions/1:access"), &token).await, 429);
}

#[tokio::test]
async fn a_rotated_value_is_written_back_and_the_old_versions_disabled() {
    let google = stocked().await;
    let providers = Providers::new(access(&google), false).unwrap();
    let gsm = providers.gsm().unwrap();
    let old = gsm.newest(&"source-x".parse().unwrap(), "config").await.unwrap();
    assert_eq!(old.older.len(), 1);
    let rotated = SecretValue::new(b"rotated".to_vec());
    let added = gsm.replace(&old, &rotated).await.unwrap();
    assert!(added.ends_with("/versions/3"), "{added}");
    let now = gsm.newest(&"source-x".parse().unwrap(), "config").await.unwrap();
    assert_eq!((now.name, now.older.len()), (added, 0));
    let config = fetch(&providers, file("config"), &[]).await;
    assert_eq!(config.as_ref().unwrap().note, None);
    assert_eq!(text(config), "rotated");
}
