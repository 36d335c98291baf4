//! Against servers that fail: settings, silence, half answers, other hosts.

use std::collections::VecDeque;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use checkvalve::ambient;
use checkvalve::domain::check::CheckStatus;
use checkvalve::domain::names::Sha;
use checkvalve::domain::run::Repository;
use checkvalve::github::{Github, GithubError, Retry};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{KEY, REPOSITORY, check, external_id, settings, tls};

/// A server that answers from a list, and writes down what it was asked.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

type Asked = (Method, String, HeaderMap, Bytes);

enum Answer {
    Status(u16, Value),
    With(u16, &'static [(&'static str, &'static str)], Value),
    Text(u16, &'static str),
    /// Never answers.
    Silence,
}

impl Fake {
    async fn start(answers: impl IntoIterator<Item = Answer>) -> (Self, SocketAddr) {
        let fake = Self::default();
        fake.answers.lock().unwrap().extend(answers);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = fake.clone();
        let router = Router::new().fallback(move |method, uri, headers, body| {
            server.clone().answer(method, uri, headers, body)
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        (fake, address)
    }

    async fn answer(self, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
        self.asked.lock().unwrap().push((method, uri.to_string(), headers, body));
        if uri.path().ends_with("/access_tokens") {
            let token = json!({ "token": TOKEN, "expires_at": "2099-01-01T00:00:00Z" });
            return (StatusCode::CREATED, axum::Json(token)).into_response();
        }
        let answer = self.answers.lock().unwrap().pop_front();
        let code = |status| StatusCode::from_u16(status).unwrap();
        match answer {
            Some(Answer::Status(status, body)) => (code(status), axum::Json(body)).into_response(),
            Some(Answer::With(status, headers, body)) => {
                let mut response = (code(status), axum::Json(body)).into_response();
                for (name, value) in headers {
                    response.headers_mut().insert(*name, value.parse().unwrap());
                }
                response
            }
            Some(Answer::Text(status, text)) => (code(status), text).into_response(),
            Some(Answer::Silence) => std::future::pending().await,
            None => (StatusCode::IM_A_TEAPOT, "nothing more").into_response(),
        }
    }

    fn asked(&self) -> Vec<(Method, String)> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|(method, uri, ..)| (method.clone(), uri.clone())).collect()
    }
}

/// As long and as dotted as GitHub's stateless ones.
const TOKEN: &str = concat!(
    "ghs_29310_eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3NjM3MTIwMDAsImV4cCI6MTc2MzcxNTYw",
    "MCwiaXNzIjoiMjkzMTAiLCJzdWIiOiJpbnN0YWxsYXRpb24ifQ.Zm9yLXRlc3RzLW9ubHktbm90LWEtc2lnbmF0dXJl"
);

fn repository() -> Repository {
    Repository { id: 5, name: REPOSITORY.parse().unwrap(), installation: 7, private: true }
}

fn github(address: SocketAddr) -> Github {
    Github::new(settings(&format!("http://{address}/api/v3/"), "29310", KEY)).unwrap()
}

fn head() -> Sha {
    "1".repeat(40).parse().unwrap()
}

#[tokio::test]
async fn requests_are_complete_and_hold_no_null() {
    let made = json!({ "id": 11 });
    let (fake, address) = Fake::start([Answer::Status(201, made)]).await;
    let github = github(address);
    let mut bare = check(&head(), CheckStatus::Queued);
    bare.text = None;
    let id = github.create_check(&repository(), &bare, external_id()).await.unwrap();
    assert_eq!(id, 11);
    let asked = fake.asked.lock().unwrap();
    let (method, uri, headers, body) = asked.last().unwrap();
    assert_eq!(
        (method.as_str(), uri.as_str()),
        ("POST", "/api/v3/repos/acme/connectors/check-runs")
    );
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    assert!(header("user-agent").unwrap().starts_with("checkvalve/"));
    assert_eq!(header("x-github-api-version"), Some("2022-11-28"));
    assert_eq!(header("authorization"), Some(format!("Bearer {TOKEN}").as_str()));
    assert_eq!(headers.get_all("authorization").iter().count(), 1);
    assert_eq!(headers.get_all("user-agent").iter().count(), 1);
    assert_eq!(header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(body).unwrap();
    let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["details_url", "external_id", "head_sha", "name", "output", "status"]);
    assert!(!body.to_string().contains("null"), "{body}");
}

#[tokio::test]
async fn the_jwt_keeps_within_githubs_ten_minutes() {
    let (fake, address) = Fake::start([Answer::Status(200, json!({ "id": 29310 }))]).await;
    github(address).app_id().await.unwrap();
    let asked = fake.asked.lock().unwrap();
    let jwt = asked[0].2["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let mut parts = jwt.split('.').map(|part| {
        let decoded = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, part);
        serde_json::from_slice::<Value>(&decoded.unwrap_or_default()).unwrap_or_default()
    });
    assert_eq!(parts.next().unwrap()["alg"], "RS256");
    let claims = parts.next().unwrap();
    let now = ambient::now().as_millis() / 1000;
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((now - 65..=now - 55).contains(&iat), "{iat} {now}");
    assert!(exp <= now + 540 && exp > now + 60, "{exp} {now}");
    assert_eq!(claims["iss"], "29310");
}

#[tokio::test]
async fn every_write_that_may_have_happened_says_so() {
    let queued = check(&head(), CheckStatus::Queued);
    for answer in [
        Answer::Status(500, json!({ "message": "Server Error" })),
        Answer::Text(502, "<html>Bad gateway</html>"),
        Answer::Text(201, "<html>a proxy's page</html>"),
        Answer::Status(201, json!({ "no": "id" })),
    ] {
        let (fake, address) = Fake::start([answer]).await;
        let github = github(address);
        let error = github.create_check(&repository(), &queued, external_id()).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Unknown, "{error}");
        assert_eq!(fake.asked().len(), 2, "a token and one attempt");
    }
    // The connection ends after the request and before an answer.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let minted = json!({ "token": TOKEN, "expires_at": "2099-01-01T00:00:00Z" }).to_string();
        for n in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = vec![0; 65_536];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer).await;
            if n == 0 {
                let head = format!(
                    "HTTP/1.1 201 Created\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    minted.len()
                );
                let _ = tokio::io::AsyncWriteExt::write_all(
                    &mut stream,
                    format!("{head}{minted}").as_bytes(),
                )
                .await;
            }
        }
    });
    let github = github(address);
    let error = github.comment(&repository(), 1, "hello").await.unwrap_err();
    assert_eq!(error.retry(), Retry::Unknown, "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_was_certainly_not_asked() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = github(address).comment(&repository(), 1, "hello").await.unwrap_err();
    assert!(matches!(error, GithubError::Unavailable { .. }), "{error}");
    assert!(matches!(error.retry(), Retry::After(_)));
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_given_up_within_the_deadline() {
    let (_fake, address) = Fake::start([Answer::Silence, Answer::Silence, Answer::Silence]).await;
    let github = github(address);
    let queued = check(&head(), CheckStatus::Queued);
    let begun = std::time::Instant::now();
    let repository = repository();
    let (read, written) = tokio::join!(
        github.pull(&repository, 1),
        github.create_check(&repository, &queued, external_id())
    );
    assert!(matches!(read.unwrap_err().retry(), Retry::After(_)));
    assert_eq!(written.unwrap_err().retry(), Retry::Unknown);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_then_it_is_an_error() {
    let bad = || Answer::Status(401, json!({ "message": "Bad credentials" }));
    let (fake, address) = Fake::start((0..20).map(|_| bad())).await;
    let error = github(address).pull(&repository(), 1).await.unwrap_err();
    assert!(matches!(error, GithubError::Unauthorized { .. }), "{error}");
    assert!(error.to_string().contains("CHECKVALVE_GITHUB_APP_ID"), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    let mints = fake.asked().iter().filter(|(_, uri)| uri.ends_with("/access_tokens")).count();
    assert!(mints <= 2, "{mints}");
    assert!(fake.asked().len() <= 8, "many wrong credentials lock everybody out");
}

#[tokio::test]
async fn nothing_is_followed_or_sent_to_another_host() {
    let (other, elsewhere) = Fake::start([]).await;
    let link: &'static str =
        Box::leak(format!("<http://{elsewhere}/page=2>; rel=\"next\"").into_boxed_str());
    let location: &'static str = Box::leak(format!("http://{elsewhere}/x").into_boxed_str());
    let links: &'static [_] = Box::leak(Box::new([("link", link)]));
    let locations: &'static [_] = Box::leak(Box::new([("location", location)]));
    let (_fake, address) =
        Fake::start([Answer::With(200, links, json!([])), Answer::With(302, locations, json!({}))])
            .await;
    let github = github(address);
    let error = github.open_pulls(&repository()).await.unwrap_err();
    assert!(error.to_string().contains("next page"), "{error}");
    let error = github.pull(&repository(), 1).await.unwrap_err();
    assert!(matches!(error, GithubError::Refused { status: 302, .. }), "{error}");
    assert_eq!(other.asked(), [], "no token left for another host");
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_an_error_and_not_a_short_list() {
    let links: &'static [(&str, &str)] =
        &[("link", r#"</api/v3/repositories/5/pulls?page=2>; rel="next""#)];
    let (fake, address) = Fake::start([
        Answer::With(200, links, json!([])),
        Answer::Status(404, json!({ "message": "Not Found" })),
    ])
    .await;
    let error = github(address).open_pulls(&repository()).await.unwrap_err();
    assert!(matches!(error, GithubError::NotFound { .. }), "{error}");
    assert_eq!(fake.asked().last().unwrap().1, "/api/v3/repositories/5/pulls?page=2");
}

#[tokio::test]
async fn errors_repeat_githubs_words_and_never_a_token() {
    let echo = format!("Validation Failed for {TOKEN}");
    let body = json!({
        "message": echo,
        "errors": [
            { "resource": "CheckRun", "code": "custom", "field": "details_url", "message": "must use http" },
            { "resource": "CheckRun", "code": "missing_field", "field": "conclusion" },
            "a plain text",
        ],
    });
    let (_fake, address) = Fake::start([Answer::Status(422, body)]).await;
    let github = github(address);
    let queued = check(&head(), CheckStatus::Queued);
    let error = github.create_check(&repository(), &queued, external_id()).await.unwrap_err();
    let text = format!("{error} {error:?} {github:?}");
    assert!(!text.contains("eyJ") && !text.contains("ghs_"), "{text}");
    for part in ["details_url: must use http", "conclusion: missing_field", "a plain text", "422"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let token = github.token(7).await.unwrap();
    assert_eq!(token.expose_secret(), TOKEN);
    assert!(!format!("{token:?}").contains("ghs_"));
}

#[tokio::test]
async fn without_a_hint_the_wait_for_a_limit_doubles() {
    let limited =
        || Answer::Status(403, json!({ "message": "You have exceeded a secondary rate limit." }));
    let (_fake, address) = Fake::start([limited()]).await;
    let error = github(address).pull(&repository(), 1).await.unwrap_err();
    assert_eq!(error.retry(), Retry::After(Duration::from_mins(1)));
}

#[tokio::test]
async fn a_bad_key_is_found_at_once_and_the_mend_is_said() {
    let public = KEY.replace("PRIVATE", "PUBLIC");
    let cut = &KEY[..KEY.len() / 2];
    for bad in [
        "",
        "secret",
        public.as_str(),
        cut,
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
    ] {
        let error = Github::new(settings("https://api.github.com", "1", bad)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, GithubError::PrivateKey { .. }), "{text}");
        assert!(text.contains("CHECKVALVE_GITHUB_PRIVATE_KEY") && text.contains("Private keys"));
        assert_eq!(error.retry(), Retry::Never);
        assert!(bad.is_empty() || !text.contains("AAAA"), "{text}");
    }
    let one_line = KEY.trim().replace('\n', "\\n");
    assert!(Github::new(settings("https://api.github.com", "1", &one_line)).is_ok());
}

#[tokio::test]
async fn a_bad_url_or_certificate_is_found_at_once() {
    for bad in ["", "api.github.com", "ftp://x", "https://user:secret@host", "https://h/?a=b"] {
        let error = Github::new(settings(bad, "1", KEY)).unwrap_err();
        assert!(error.to_string().contains("CHECKVALVE_GITHUB_API_URL"), "{error}");
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"no certificate").unwrap();
    let mut settings = settings("https://api.github.com", "1", KEY);
    settings.ca_file = Some(file.path().to_owned());
    let error = Github::new(settings.clone()).unwrap_err();
    assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
    settings.ca_file = Some("/nowhere/ca.pem".into());
    assert!(Github::new(settings).unwrap_err().to_string().contains("/nowhere/ca.pem"));
}

#[tokio::test]
async fn a_key_of_another_app_is_refused_with_the_mend() {
    let body = json!({ "message": "A JSON web token could not be decoded" });
    let (fake, address) = Fake::start([Answer::Status(401, body)]).await;
    let error = github(address).app_id().await.unwrap_err();
    assert!(matches!(error, GithubError::Unauthorized { .. }), "{error}");
    assert!(error.to_string().contains("could not be decoded"), "{error}");
    assert!(error.to_string().contains("CHECKVALVE_GITHUB_APP_ID"), "{error}");
    assert_eq!(fake.asked().len(), 1, "asking again would lock everybody out");
}

// ---- TLS ----------------------------------------------------------------------------------------

#[tokio::test]
async fn more_authorities_can_be_trusted_and_others_are_not() {
    let Some(server) = tls::server().await else { return };
    let stranger = Github::new(settings(&server.url, "1", KEY)).unwrap();
    let mut trusting = settings(&server.url, "1", KEY);
    trusting.ca_file = Some(server.ca_file.clone());
    let trusted = Github::new(trusting).unwrap();
    let (refused, page) = (stranger.app_id().await, trusted.app_id().await);
    let (refused, page) = (refused.unwrap_err().to_string(), page.unwrap_err().to_string());
    assert!(refused.contains("invalid peer certificate"), "{refused}");
    assert!(page.contains("unreadable"), "TLS stood, the page is not GitHub's: {page}");
}
