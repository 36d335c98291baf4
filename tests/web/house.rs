//! A server on a port of its own, over a fresh `SQLite` database and a folder of objects, and the
//! means to put runs of every state into it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use checkvalve::ambient;
use checkvalve::blobs::{Blobs, BlobsUrl};
use checkvalve::domain::cache::Reuse;
use checkvalve::domain::event::{Actor, PullFacts};
use checkvalve::domain::ids::{JobId, RunId, WorkerId};
use checkvalve::domain::impact::{ChangeKind, Explanation, Look, Reason, Rule};
use checkvalve::domain::links::Links;
use checkvalve::domain::names::{ConnectorName, StepId};
use checkvalve::domain::pipeline::{Network, StepSpec};
use checkvalve::domain::plan::{About, Inputs, Plan};
use checkvalve::domain::run::{Job, Problem, Repository, Run, Selection, StepFacts, StepRecord};
use checkvalve::domain::state::{Conclusion, Outcome, StepState};
use checkvalve::domain::time::Timestamp;
use checkvalve::domain::trigger::{Scope, Trigger};
use checkvalve::domain::trust::Trust;
use checkvalve::domain::unselected::Unselected;
use checkvalve::github::Registrar;
use checkvalve::secrets::seal::Seal;
use checkvalve::store::{Created, Lease, NewJob, NewRun, PlannedRun, Store};
use checkvalve::web::{
    self, EngineAnswer, GivenSecrets, Health, Metrics, Registration, Signers, Web,
};
use hmac::{Hmac, Mac};
use reqwest::{Client, RequestBuilder, Response};
use secrecy::SecretString;
use sha2::Sha256;
use sqlx::{Connection as _, SqliteConnection};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) const SECRET: &str = "It's a Secret to Everybody";
pub(crate) const NEXT_SECRET: &str = "the secret after it";
pub(crate) const KEY: [u8; 32] = [7; 32];
pub(crate) const TOKEN: &str = "token-of-the-api";
pub(crate) const TERM: Duration = Duration::from_mins(1);

#[derive(Debug)]
struct Engine(Result<(), String>);

impl Health for Engine {
    fn engine(&self) -> EngineAnswer<'_> {
        Box::pin(async { self.0.clone() })
    }
}

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) blobs: Blobs,
    pub(crate) base: String,
    pub(crate) client: Client,
    pub(crate) stop: CancellationToken,
    pub(crate) worker: WorkerId,
    pub(crate) seal: Arc<Seal>,
    pub(crate) registration: Option<Arc<Registration>>,
    /// Kept for as long as the house stands.
    folder: tempfile::TempDir,
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How a house differs from the usual one.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    pub(crate) listen: &'static str,
    pub(crate) api_token: bool,
    pub(crate) engine: Result<(), String>,
    /// Where GitHub's API is, for a server that has no App yet.
    pub(crate) github: Option<String>,
    /// Do its settings hold secrets of the webhook all the same?
    pub(crate) secrets_left: bool,
}

impl Default for Plot {
    fn default() -> Self {
        let (listen, api_token, engine) = ("127.0.0.1:0", true, Ok(()));
        Self { listen, api_token, engine, github: None, secrets_left: false }
    }
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::on(Plot::default()).await
    }

    pub(crate) async fn on(plot: Plot) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite:{}", folder.path().join("web.db").display());
        let store = Store::open(&database).await.unwrap();
        let objects = BlobsUrl::Folder(folder.path().join("objects"));
        let blobs = Blobs::open(&objects, |_| None).await.unwrap();
        let listener = TcpListener::bind(plot.listen).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let secret = |text: &str| SecretString::from(text.to_owned());
        let given = if plot.github.is_none() || plot.secrets_left {
            GivenSecrets { current: Some(secret(SECRET)), next: Some(secret(NEXT_SECRET)) }
        } else {
            GivenSecrets::default()
        };
        let github = plot.github.as_deref().and_then(|api| api.strip_suffix("/api/v3"));
        let github = github.unwrap_or("https://github.com").to_owned();
        let seal = Arc::new(Seal::new(&KEY).unwrap());
        let signers = Signers::open(store.clone(), seal.clone(), given).await.unwrap();
        let registration = plot.github.map(|api_url| {
            let github = Registrar::new(&api_url, None).unwrap();
            Arc::new(Registration::new(seal.clone(), github, vec!["acme".to_owned()]))
        });
        let web = Web {
            store: store.clone(),
            blobs: blobs.clone(),
            links: Links { public: base.clone(), github },
            signers: Arc::new(signers),
            registration: registration.clone(),
            api_token: plot.api_token.then(|| secret(TOKEN)),
            key: Arc::new(KEY),
            health: Arc::new(Engine(plot.engine)),
            metrics: Arc::new(Metrics::default()),
            stop: stop.clone(),
        };
        tokio::spawn(web::serve(listener, web::router(web), stop.clone()));
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let worker = WorkerId::new(ambient::ulid());
        Self { store, blobs, base, client, stop, worker, seal, registration, folder }
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(reqwest::Method::GET, path).send().await.unwrap()
    }

    /// The page's text, which must be there.
    pub(crate) async fn page(&self, path: &str) -> String {
        let response = self.get(path).await;
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{path}: {text}");
        text
    }

    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        serde_json::from_str(&self.page(path).await).unwrap()
    }

    /// Nothing is written to the database until this connection lets go of it.
    pub(crate) async fn lock_database(&self) -> SqliteConnection {
        let url = format!("sqlite:{}", self.folder.path().join("web.db").display());
        let mut lock = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query("begin immediate").execute(&mut lock).await.unwrap();
        lock
    }

    /// A webhook as GitHub sends it, signed with `secret`.
    pub(crate) fn hook(
        &self,
        secret: &str,
        event: &str,
        guid: &str,
        body: &[u8],
    ) -> RequestBuilder {
        self.request(reqwest::Method::POST, "/webhooks/github")
            .header("content-type", "application/json")
            .header("x-github-event", event)
            .header("x-github-delivery", guid)
            .header("x-hub-signature-256", signature(secret, body))
            .body(body.to_vec())
    }

    /// Makes a run, unplanned.
    pub(crate) async fn make(&self, tale: &Tale) -> RunId {
        let repository = tale.repository();
        let facts = tale.pull_facts();
        self.store.observe_pull(&repository, &facts, false).await.unwrap();
        let id = RunId::new(ambient::ulid());
        let run = NewRun {
            id,
            repository,
            pull: (!tale.trigger.is_of_branch()).then_some(tale.pull),
            title: tale.title.clone(),
            head_ref: "feature/ünïcode".to_owned(),
            base_ref: "main".to_owned(),
            head_sha: tale.sha.repeat(40).parse().unwrap(),
            base_sha: "b".repeat(40).parse().unwrap(),
            trigger: tale.trigger,
            cause: id.to_string(),
            actor: "octo<cat>".to_owned(),
            scope: Scope::Affected,
            reuse: Reuse::All,
            trust: tale.trust,
            problem: tale.problem.clone(),
        };
        match self.store.create_run(run).await.unwrap() {
            Created::Fresh(id) | Created::Exists(id) => id,
            Created::Outdated => panic!("another head was seen"),
        }
    }

    /// Makes a run and plans it: these connectors, each with the steps `install` → `unit`, `lint`.
    pub(crate) async fn planned(&self, tale: &Tale) -> RunId {
        let id = self.make(tale).await;
        let lease = self.store.claim_planning(self.worker, TERM).await.unwrap().unwrap();
        assert_eq!(lease.run.id, id);
        self.store.settle_planning(lease, tale.planned()).await.unwrap();
        id
    }

    pub(crate) async fn claim(&self) -> (Lease, Run, Job) {
        self.store.claim_job(self.worker, TERM).await.unwrap().unwrap()
    }

    pub(crate) async fn run(&self, id: RunId) -> Run {
        self.store.run(id).await.unwrap().unwrap()
    }
}

pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// What a run is about.
#[derive(Debug, Clone)]
pub(crate) struct Tale {
    pub(crate) private: bool,
    pub(crate) repository: &'static str,
    pub(crate) pull: u64,
    pub(crate) title: String,
    /// One hex digit; the head commit is forty of it.
    pub(crate) sha: &'static str,
    pub(crate) connectors: Vec<&'static str>,
    pub(crate) problem: Option<(Conclusion, Problem)>,
    pub(crate) trust: Trust,
    /// Of the default branch, and of no pull request, where it is a push's or a schedule's.
    pub(crate) trigger: Trigger,
    /// More that its change does not reach.
    pub(crate) beside: Vec<&'static str>,
}

impl Default for Tale {
    fn default() -> Self {
        Self {
            private: false,
            repository: "acme/connectors",
            pull: 12,
            title: "Read <script>alert(1)</script> & \"quotes\"".to_owned(),
            sha: "a",
            connectors: vec!["source-faker"],
            problem: None,
            trust: Trust::Trusted,
            trigger: Trigger::PullRequest,
            beside: Vec::new(),
        }
    }
}

impl Tale {
    pub(crate) fn repository(&self) -> Repository {
        Repository {
            id: self.repository.bytes().map(u64::from).sum(),
            name: self.repository.parse().unwrap(),
            installation: 1,
            private: self.private,
        }
    }

    pub(crate) fn planned(&self) -> PlannedRun {
        PlannedRun {
            merge_base: Some("c".repeat(40).parse().unwrap()),
            selection: Selection {
                complete: true,
                files: 3,
                ignored: 1,
                origin: "`.github/checkvalve.yml` at 1a2b3c".to_owned(),
                notes: vec!["the base's rules added 1 connector".to_owned()],
                removed: vec!["source-gone".to_owned()],
                archived: vec!["source-<b>old</b>".to_owned()],
                unselected: Some(unselected(&self.beside)),
                ..Selection::default()
            },
            jobs: self.connectors.iter().map(|name| new_job(name)).collect(),
        }
    }

    fn pull_facts(&self) -> PullFacts {
        PullFacts {
            number: self.pull,
            title: self.title.clone(),
            author: Actor { login: "octo<cat>".to_owned(), bot: false },
            open: true,
            draft: false,
            head_sha: self.sha.repeat(40).parse().unwrap(),
            head_ref: "feature/ünïcode".to_owned(),
            head_repo: Some(self.repository.parse().unwrap()),
            head_repo_id: None,
            base_sha: "b".repeat(40).parse().unwrap(),
            base_ref: "main".to_owned(),
        }
    }
}

/// What the rules found at connectors that are not selected.
fn unselected(beside: &[&str]) -> Unselected {
    let names = ["source-other", "source-gone", "source-<b>old</b>"];
    Unselected::of(names.iter().chain(beside).map(|name| Explanation {
        name: (*name).to_owned(),
        selected: false,
        reasons: Vec::new(),
        looked: vec![
            Look {
                rule: format!("root connectors/{name}"),
                because: "none of 3 changed paths lies in it".to_owned(),
            },
            Look {
                rule: "impact <i>shared/**</i>".to_owned(),
                because: "`x<script>alert(4)</script>` matches, but reaches kind `go`".to_owned(),
            },
        ],
    }))
}

pub(crate) fn step_id(name: &str) -> StepId {
    name.parse().unwrap()
}

fn spec(id: &str, needs: &[&str]) -> StepSpec {
    StepSpec {
        image: "python:3.11".to_owned(),
        run: vec!["echo \"<b>hello</b>\"".to_owned()],
        needs: needs.iter().map(|need| step_id(need)).collect(),
        timeout_ms: 60_000,
        retries: 1,
        network: Network::None,
        ..StepSpec::new(step_id(id))
    }
}

fn about() -> About {
    serde_json::from_value(serde_json::json!({
        "language": "<b>python</b>",
        "support_level": "certified",
        "documentation": "https://docs.example.com/\"><script>alert(5)</script>",
    }))
    .unwrap()
}

fn new_job(connector: &str) -> NewJob {
    let name: ConnectorName = connector.parse().unwrap();
    let steps = vec![
        spec("install", &[]),
        spec("lint", &["install"]),
        spec("unit", &["install"]),
        spec("publish <i>", &["unit", "lint"]),
    ];
    let root = format!("connectors/{connector}");
    let reason = |path: &str, rule, via: &[&str]| Reason {
        path: path.to_owned(),
        rule,
        via: via.iter().map(|&name| name.to_owned()).collect(),
    };
    NewJob {
        id: JobId::new(ambient::ulid()),
        change: ChangeKind::Modified,
        reasons: vec![
            reason(&format!("{root}/main.py"), Rule::Root, &[]),
            reason("lib/<b>shared</b>.py", Rule::Depends, &["lib-shared", "lib-http"]),
        ],
        plan: Plan::new(name, root, Inputs::default(), steps).unwrap().with_about(about()),
        left_out: Vec::new(),
    }
}

/// The record of a step that runs since a while.
pub(crate) fn running(id: &str) -> StepRecord {
    let state = StepState::Running { started_at: ago(30) };
    StepRecord {
        id: step_id(id),
        state,
        attempt: 1,
        queued_at: ago(40),
        facts: StepFacts::default(),
    }
}

pub(crate) fn finished(id: &str, outcome: Outcome) -> StepRecord {
    let state = StepState::Finished { started_at: ago(30), finished_at: ago(18), outcome };
    StepRecord { state, ..running(id) }
}

pub(crate) fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(ambient::now().as_millis() - seconds * 1000)
}

pub(crate) async fn put(house: &House, key: &str, content: impl Into<Bytes>) {
    house.blobs.put(key, content.into(), "text/plain").await.unwrap();
}
