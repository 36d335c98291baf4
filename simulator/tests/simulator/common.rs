//! A client that sends what it is told, and a receiver that keeps what it gets.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use github_simulator::{App, Change, Commit, Config, OpenPull, Simulator};
use serde_json::{Value, json};

pub(crate) const REPO: &str = "acme/connectors";

/// An answer with its body read.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// A client that sends exactly what it is told.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) api: String,
    pub(crate) token: Option<String>,
}

impl Client {
    pub(crate) fn new(github: &Simulator, token: Option<String>) -> Self {
        let http =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, api: github.api_url(), token }
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Reply {
        let url =
            if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.api) };
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .header("user-agent", "tests")
            .header("accept", "application/vnd.github+json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.unwrap();
        Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, &[], Some(body.to_string())).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.send("PATCH", path, &[], Some(body.to_string())).await
    }
}

#[expect(clippy::disallowed_methods, reason = "tests may look at the clock")]
pub(crate) fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

pub(crate) fn sign_jwt(app: &App, claims: &Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(app.private_key_pem.as_bytes()).unwrap();
    jsonwebtoken::encode(&jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256), claims, &key)
        .unwrap()
}

pub(crate) fn jwt(app: &App) -> String {
    jwt_at(app, now())
}

/// A JWT for the simulator's time after it was moved on.
pub(crate) fn jwt_at(app: &App, now: i64) -> String {
    sign_jwt(app, &json!({ "iat": now - 60, "exp": now + 500, "iss": app.client_id }))
}

/// Puts commits straight into a repository's folder, behind the simulator's back and without an
/// event: as many as git takes in one go.
pub(crate) async fn fast_import(github: &Simulator, repository: &str, stream: &str) {
    use tokio::io::AsyncWriteExt as _;
    let mut child = tokio::process::Command::new("git")
        .current_dir(github.git_folder(repository).unwrap())
        .args(["fast-import", "--quiet", "--force"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stream.as_bytes()).await.unwrap();
    assert!(child.wait().await.unwrap().success());
}

/// The contract folder, when this machine has one.
#[expect(clippy::disallowed_methods, reason = "tests read their own switches")]
pub(crate) fn contract() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("CHECKVALVE_GITHUB_CONTRACT").map(std::path::PathBuf::from);
    let required = std::env::var_os("CHECKVALVE_REQUIRE").is_some_and(|value| value == "all");
    match &folder {
        None => eprintln!("not checked: CHECKVALVE_GITHUB_CONTRACT names no folder"),
        Some(folder) if required => {
            let file = folder.join("openapi-subset.json");
            assert!(file.exists(), "CHECKVALVE_GITHUB_CONTRACT: there is no {}", file.display());
        }
        Some(_) => {}
    }
    folder
}

/// A simulator with one repository, one commit on main, one branch, one open pull request.
pub(crate) struct Scene {
    pub(crate) github: Simulator,
    pub(crate) app: App,
    pub(crate) installation: u64,
    pub(crate) head: String,
    pub(crate) base: String,
    pub(crate) number: u64,
    pub(crate) client: Client,
    pub(crate) as_app: Client,
}

pub(crate) fn write(path: &str, text: &str) -> (String, Change) {
    (path.to_owned(), Change::Write(text.as_bytes().to_vec()))
}

#[expect(clippy::disallowed_methods, reason = "tests read their own switches")]
pub(crate) fn config() -> Config {
    let contract = std::env::var_os("CHECKVALVE_GITHUB_CONTRACT").map(std::path::PathBuf::from);
    Config { contract, ..Config::default() }
}

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::with(config(), false).await
    }

    pub(crate) async fn with(config: Config, private: bool) -> Self {
        let github = Simulator::start(config).await.unwrap();
        let options = github_simulator::RepositoryOptions { private, ..Default::default() };
        let info = github.create_repository(REPO, options).await.unwrap();
        let first =
            vec![write("README.md", "one\ntwo\nthree\n"), write("source-a/main.py", "print()\n")];
        let base = github.commit(REPO, "main", Commit::new("Start", "ada", first)).await.unwrap();
        let change = vec![write("source-a/main.py", "print(1)\n"), write("docs/new.md", "hi\n")];
        let head = github.commit(REPO, "topic", Commit::new("Mend", "ada", change)).await.unwrap();
        github.set_permission(REPO, "ada", github_simulator::Permission::Write);
        let open = OpenPull::new("topic", "main", "ada", "Mend source-a");
        let number = github.open_pull_request(REPO, open).await.unwrap();
        let app = github.app();
        let as_app = Client::new(&github, Some(jwt(&app)));
        let path = format!("/app/installations/{}/access_tokens", info.installation_id);
        let reply = as_app.post(&path, json!({})).await.expect(201);
        let token = reply.json()["token"].as_str().unwrap().to_owned();
        let client = Client::new(&github, Some(token));
        Self { github, app, installation: info.installation_id, head, base, number, client, as_app }
    }

    /// `/repos/acme/connectors<rest>`
    #[expect(clippy::unused_self, reason = "reads better at the calls")]
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/repos/{REPO}{rest}")
    }

    pub(crate) async fn check(&self, body: Value) -> Reply {
        self.client.post(&self.path("/check-runs"), body).await
    }

    #[track_caller]
    pub(crate) fn no_violations(&self) {
        assert_eq!(self.github.violations(), Vec::<String>::new());
    }
}

/// One received delivery.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `event.action`
    pub(crate) fn kind(&self) -> String {
        let action = self.json()["action"].as_str().map(|action| format!(".{action}"));
        format!("{}{}", self.header("x-github-event"), action.unwrap_or_default())
    }
}

/// A webhook receiver.
#[derive(Clone, Default)]
pub(crate) struct Receiver {
    pub(crate) received: Arc<Mutex<Vec<Received>>>,
    pub(crate) answer: Arc<Mutex<(u16, std::time::Duration)>>,
    pub(crate) url: String,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let receiver = Self { url, ..Self::default() };
        receiver.answer(202, std::time::Duration::ZERO);
        let router = Router::new()
            .fallback(take)
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver
    }

    pub(crate) fn answer(&self, status: u16, after: std::time::Duration) {
        *self.answer.lock().unwrap() = (status, after);
    }

    pub(crate) fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    pub(crate) fn kinds(&self) -> Vec<String> {
        self.all().iter().map(Received::kind).collect()
    }

    #[track_caller]
    pub(crate) fn last(&self, kind: &str) -> Received {
        let all = self.all();
        all.into_iter()
            .rev()
            .find(|r| r.kind() == kind)
            .unwrap_or_else(|| panic!("no {kind}: {:?}", self.kinds()))
    }

    pub(crate) fn clear(&self) {
        self.received.lock().unwrap().clear();
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.received.lock().unwrap().push(Received { headers, body });
    let (status, after) = *receiver.answer.lock().unwrap();
    tokio::time::sleep(after).await;
    StatusCode::from_u16(status).unwrap()
}
