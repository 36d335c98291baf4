//! Starting, stopping and looking at a simulator.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::{
    App, Call, CheckRun, CheckSuite, Comment, Config, Delivery, Permission, PullRequest,
};
use crate::choices::Choices;
use crate::clock::{Clock, Entropy};
use crate::contract::Contract;
use crate::deliveries::{self, Outbox};
use crate::error::Error;
use crate::faults::Faults;
use crate::limits::Limits;
use crate::server;
use crate::shapes::checks::run_view;
use crate::world::{Repository, World, latest};

/// The key of every simulated App: published with this crate, so for tests only.
const PRIVATE_KEY: &str = include_str!("../keys/test-only-app-key.pem");
const APP_ID: u64 = 29_310;

/// What the server, the deliveries and the driving test share.
#[derive(Debug)]
pub(crate) struct Inner {
    world: Mutex<World>,
    choices: Mutex<Arc<Choices>>,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) faults: Faults,
    pub(crate) limits: Limits,
    pub(crate) outbox: Outbox,
    pub(crate) http: reqwest::Client,
    pub(crate) contract: Contract,
    pub(crate) folder: PathBuf,
    /// Pushes happen one after the other.
    pub(crate) pushing: tokio::sync::Mutex<()>,
    pub(crate) stop: CancellationToken,
    /// The listener is closed.
    pub(crate) stopped: CancellationToken,
}

impl Inner {
    /// The state. Nobody panics while holding it in a way that leaves it half changed, so a
    /// poisoned lock is used all the same.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the simulator behaves where GitHub does not say how it does.
    pub(crate) fn choices(&self) -> Arc<Choices> {
        Arc::clone(&self.choices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A running GitHub. Clones are the same one; it ends with [`Simulator::stop`] or with the last
/// clone.
#[derive(Debug, Clone)]
pub struct Simulator {
    pub(crate) inner: Arc<Inner>,
    _life: Arc<Life>,
}

/// Ends the server and removes the temporary folder when the last handle goes.
#[derive(Debug)]
struct Life {
    stop: CancellationToken,
    temporary: Option<PathBuf>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(folder) = &self.temporary {
            // Left-over temporary files are no reason to fail.
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

impl Simulator {
    /// Starts listening. Returns when requests are answered.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let bind = |source| Error::Bind { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let entropy = Entropy::default();
        let clock = Clock::default();
        let temporary = config.folder.is_none().then(|| {
            std::env::temp_dir().join(format!("github-simulator-{}", &entropy.hex()[..16]))
        });
        let folder = config.folder.clone().or_else(|| temporary.clone()).unwrap_or_default();
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let app = App {
            id: APP_ID,
            slug: "checkvalve".to_owned(),
            client_id: "Iv23liSimulatorClient".to_owned(),
            private_key_pem: PRIVATE_KEY.to_owned(),
            webhook_secret: config.webhook_secret.clone().unwrap_or_default(),
        };
        let contract = Contract::open(config.contract.as_deref())?;
        let url = format!("http://{address}");
        let world = World::new(url, app, config.permissions, config.events, clock.now());
        let (outbox, jobs) = Outbox::new();
        let stop = CancellationToken::new();
        let inner = Arc::new(Inner {
            world: Mutex::new(world),
            choices: Mutex::default(),
            clock,
            entropy,
            faults: Faults::default(),
            limits: Limits::default(),
            outbox,
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .map_err(|error| Error::Delivery(error.to_string()))?,
            contract,
            folder,
            pushing: tokio::sync::Mutex::default(),
            stop: stop.clone(),
            stopped: CancellationToken::new(),
        });
        tokio::spawn(deliveries::run(Arc::clone(&inner), jobs));
        tokio::spawn(server::run(Arc::clone(&inner), listener));
        Ok(Self { inner, _life: Arc::new(Life { stop, temporary }) })
    }

    /// A handle that does not keep the simulator alive: for its own server.
    pub(crate) fn guest(inner: Arc<Inner>) -> Self {
        let stop = CancellationToken::new();
        Self { inner, _life: Arc::new(Life { stop, temporary: None }) }
    }

    /// `http://127.0.0.1:PORT`: pages at `<url>/<owner>/<repo>/pull/<n>`, git at
    /// `<url>/<owner>/<repo>.git`.
    pub fn url(&self) -> String {
        self.inner.world().url.clone()
    }

    /// `http://127.0.0.1:PORT/api/v3`, as an Enterprise Server has it.
    pub fn api_url(&self) -> String {
        self.inner.world().api_url.clone()
    }

    /// The registered App.
    pub fn app(&self) -> App {
        self.inner.world().app.clone()
    }

    /// Sends deliveries there from now on, beginning with `ping`; before, they are only logged.
    pub fn install_webhook(&self, url: &str) {
        let mut world = self.inner.world();
        world.hook.url = Some(url.to_owned());
        self.inner.emit_ping(&mut world);
    }

    /// Switches the hook between JSON and form bodies.
    pub fn webhook_content_type_form(&self, form: bool) {
        self.inner.world().hook.form = form;
    }

    /// Changes the secret; `None` ends signing.
    pub fn webhook_secret(&self, secret: Option<&str>) {
        let mut world = self.inner.world();
        world.hook.secret = secret.map(str::to_owned);
        secret.unwrap_or_default().clone_into(&mut world.app.webhook_secret);
    }

    /// All check runs on a commit, oldest first, of all Apps. Empty for unknown commits.
    pub fn check_runs(&self, repository: &str, sha: &str) -> Vec<CheckRun> {
        let world = self.inner.world();
        let Some(found) = world.repository(repository) else { return Vec::new() };
        found.runs.values().filter(|run| run.head_sha == sha).map(run_view).collect()
    }

    /// The newest check run of every name on a commit, by name.
    pub fn latest_check_runs(&self, repository: &str, sha: &str) -> Vec<CheckRun> {
        let world = self.inner.world();
        let Some(found) = world.repository(repository) else { return Vec::new() };
        let mut runs: Vec<CheckRun> = latest(found.runs.values().filter(|run| run.head_sha == sha))
            .into_iter()
            .map(run_view)
            .collect();
        runs.sort_by(|a, b| a.name.cmp(&b.name));
        runs
    }

    /// The check suites on a commit, oldest first.
    pub fn check_suites(&self, repository: &str, sha: &str) -> Vec<CheckSuite> {
        let world = self.inner.world();
        let Some(found) = world.repository(repository) else { return Vec::new() };
        let suites = found.suites.values().filter(|suite| suite.head_sha == sha);
        suites
            .map(|suite| CheckSuite {
                id: suite.id,
                app_id: suite.app_id,
                head_sha: suite.head_sha.clone(),
                head_branch: suite.head_branch.clone(),
                status: suite.status.to_owned(),
                conclusion: suite.conclusion.clone(),
            })
            .collect()
    }

    /// The comments of a pull request, oldest first.
    pub fn comments(&self, repository: &str, number: u64) -> Vec<Comment> {
        let world = self.inner.world();
        let Some(found) = world.repository(repository) else { return Vec::new() };
        let comments = found.comments.values().filter(|comment| comment.number == number);
        comments
            .map(|comment| Comment {
                id: comment.id,
                user: comment.user.clone(),
                body: comment.body.clone(),
                reactions: comment
                    .reactions
                    .iter()
                    .map(|reaction| (reaction.user.clone(), reaction.content.clone()))
                    .collect(),
            })
            .collect()
    }

    /// A pull request.
    ///
    /// # Panics
    ///
    /// When there is none: a test that asks for it is wrong. See [`Self::find_pull_request`].
    #[track_caller]
    pub fn pull_request(&self, repository: &str, number: u64) -> PullRequest {
        match self.find_pull_request(repository, number) {
            Some(pull) => pull,
            None => panic!("there is no pull request {repository}#{number}"),
        }
    }

    /// A pull request, if there is one.
    pub fn find_pull_request(&self, repository: &str, number: u64) -> Option<PullRequest> {
        let world = self.inner.world();
        let pull = world.repository(repository)?.pulls.get(&number)?;
        let head = pull.head_repository.and_then(|id| world.repositories.get(&id));
        Some(PullRequest {
            id: pull.id,
            number,
            title: pull.title.clone(),
            body: pull.body.clone().unwrap_or_default(),
            author: pull.author.clone(),
            draft: pull.draft,
            state: pull.state().to_owned(),
            merged: pull.merged,
            head_sha: pull.head_sha.clone(),
            head_branch: pull.head_branch.clone(),
            head_repository: head.map(Repository::full_name),
            base_sha: pull.base_sha.clone(),
            base_branch: pull.base_branch.clone(),
        })
    }

    /// Gives a person a role. The person exists from then on.
    pub fn set_permission(&self, repository: &str, user: &str, permission: Permission) {
        let mut world = self.inner.world();
        world.meet(user);
        if let Some(found) = world.repository_mut(repository) {
            found.roles.insert(user.to_lowercase(), permission);
        }
    }

    /// What `author_association` says about a person, which need not fit their permission.
    pub fn set_association(&self, repository: &str, user: &str, association: &str) {
        let mut world = self.inner.world();
        world.meet(user);
        if let Some(found) = world.repository_mut(repository) {
            found.associations.insert(user.to_lowercase(), association.to_owned());
        }
    }

    /// A personal token, to see what GitHub refuses to those who are no App.
    pub fn personal_token(&self, user: &str) -> String {
        let token = format!("ghp_{}", &self.inner.entropy.hex()[..36]);
        let mut world = self.inner.world();
        world.meet(user);
        world.personal_tokens.insert(token.clone(), user.to_owned());
        token
    }

    /// Every delivery attempt so far, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.inner.world().deliveries.iter().map(deliveries::DeliveryRow::view).collect()
    }

    /// Sends an event again, as the App's settings page does.
    #[expect(clippy::unused_async, reason = "like everything else that acts")]
    pub async fn redeliver(&self, guid: &str) -> Result<(), Error> {
        self.inner
            .redeliver(|row| row.guid == guid)
            .map(|_| ())
            .ok_or_else(|| Error::NotFound(format!("delivery {guid} of the last 3 days")))
    }

    /// Sends any body with exactly these headers to the webhook: for bad input. Answers the
    /// receiver's status and text.
    pub async fn deliver_raw(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Result<(u16, String), Error> {
        let url = self.inner.world().hook.url.clone();
        let url = url.ok_or_else(|| Error::Refused("no webhook is installed".to_owned()))?;
        let mut request = self.inner.http.post(url).body(body.into());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let failed = |error: reqwest::Error| Error::Delivery(error.to_string());
        let response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        Ok((status, response.text().await.map_err(failed)?))
    }

    /// Sends any event, signed and logged like a real one: for unknown events and actions.
    /// Answers its GUID, or `None` when a fault lost it.
    pub fn send_event(&self, event: &str, payload: &serde_json::Value) -> Option<String> {
        let mut world = self.inner.world();
        self.inner.post(&mut world, event, (None, None), payload)
    }

    /// The signature that GitHub would put on a body.
    pub fn sign(&self, body: &[u8]) -> String {
        deliveries::sha256_signature(&self.inner.world().app.webhook_secret, body)
    }

    /// Every REST and git request answered so far, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.world().calls.clone()
    }

    /// What must not have happened: requests or answers off GitHub's description, calls made
    /// while rate limited. Tests assert that it is empty.
    pub fn violations(&self) -> Vec<String> {
        self.inner.world().violations.clone()
    }

    /// The switches for trouble.
    pub fn faults(&self) -> &Faults {
        &self.inner.faults
    }

    /// Chooses otherwise where GitHub's behaviour is not published.
    pub fn choose(&self, change: impl FnOnce(&mut Choices)) {
        let mut choices = self.inner.choices.lock().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut choices));
    }

    /// What is chosen now.
    pub fn choices(&self) -> Choices {
        self.inner.choices().as_ref().clone()
    }

    /// The primary rate limit of everybody from now on; `None` is GitHub's own numbers.
    pub fn primary_limit(&self, limit: Option<u64>) {
        self.inner.limits.set_primary(limit);
    }

    /// Moves the simulator's clock on: tokens expire, deliveries age, runs go stale. What is under
    /// way sees it pass as well: a receiver that has not answered yet may be out of time.
    pub fn advance(&self, by: Duration) {
        self.inner.clock.advance(by);
    }

    /// The folder of a repository's bare git repository.
    pub fn git_folder(&self, repository: &str) -> Option<PathBuf> {
        self.inner.world().repository(repository).map(|found| found.folder.clone())
    }

    /// Where the bare repositories are.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Waits until no delivery is under way.
    pub async fn quiet(&self) {
        self.inner.quiet().await;
    }

    /// Stops listening and delivering; the port is free when this returns.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.stopped.cancelled().await;
    }
}
