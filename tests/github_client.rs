//! The client, against a GitHub that refuses what GitHub refuses, and against servers that fail in
//! ways of which one must not make a second check run.

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
use checkvalve::domain::check::{CheckAction, CheckConclusion, CheckStatus, DesiredCheck};
use checkvalve::domain::ids::CheckId;
use checkvalve::domain::names::Sha;
use checkvalve::domain::policy::Permission;
use checkvalve::domain::run::Repository;
use checkvalve::domain::time::Timestamp;
use checkvalve::github::{Github, GithubError, GithubSettings, Reaction, Retry};
use github_simulator::{
    Change, Commit, Config, OpenPull, Permission as Role, RepositoryOptions, SecondaryLimit,
    Simulator, TokenFormat,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

const REPOSITORY: &str = "acme/connectors";
const KEY: &str = include_str!("../simulator/keys/test-only-app-key.pem");

fn settings(api_url: &str, app_id: &str, key: &str) -> GithubSettings {
    GithubSettings {
        api_url: api_url.to_owned(),
        app_id: app_id.to_owned(),
        private_key: key.into(),
        ca_file: None,
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn contract() -> Option<std::path::PathBuf> {
    std::env::var_os("CHECKVALVE_GITHUB_CONTRACT").map(Into::into)
}

/// A simulated GitHub with one repository, one branch `topic`, and our client.
struct World {
    simulator: Simulator,
    github: Github,
    repository: Repository,
    head: Sha,
}

impl World {
    async fn new() -> Self {
        Self::with(Config { contract: contract(), ..Config::default() }).await
    }

    async fn with(config: Config) -> Self {
        let simulator = Simulator::start(config).await.unwrap();
        let options = RepositoryOptions { private: true, ..RepositoryOptions::default() };
        let made = simulator.create_repository(REPOSITORY, options).await.unwrap();
        let start = Commit::new("Start", "ada", vec![write("README.md", "hello")]);
        simulator.commit(REPOSITORY, "main", start).await.unwrap();
        let mend = Commit::new("Mend", "ada", vec![write("a/x.py", "1")]);
        let head = simulator.commit(REPOSITORY, "topic", mend).await.unwrap();
        let app = simulator.app();
        let github =
            Github::new(settings(&simulator.api_url(), &app.id.to_string(), &app.private_key_pem))
                .unwrap();
        let repository = Repository {
            id: made.id,
            name: REPOSITORY.parse().unwrap(),
            installation: made.installation_id,
            private: true,
        };
        Self { simulator, github, repository, head: head.parse().unwrap() }
    }

    async fn pull(&self) -> u64 {
        let open = OpenPull::new("topic", "main", "ada", "Mend it");
        self.simulator.open_pull_request(REPOSITORY, open).await.unwrap()
    }

    /// How often a call was answered, by method and a part of the path.
    fn calls(&self, method: &str, part: &str) -> usize {
        let calls = self.simulator.calls();
        calls.iter().filter(|call| call.method == method && call.path.contains(part)).count()
    }

    /// Nothing that we sent was off GitHub's description, or sent while limited.
    fn is_clean(&self) {
        assert_eq!(self.simulator.violations(), Vec::<String>::new());
    }
}

fn write(path: &str, text: &str) -> (String, Change) {
    (path.to_owned(), Change::Write(text.as_bytes().to_vec()))
}

fn external_id() -> CheckId {
    CheckId::new(ambient::ulid())
}

fn check(head: &Sha, status: CheckStatus) -> DesiredCheck {
    DesiredCheck {
        name: "source-a / unit".to_owned(),
        head_sha: head.clone(),
        occasion: "run_1".to_owned(),
        status,
        details_url: "https://ci.example.org/runs/1".to_owned(),
        title: "3 of 41 tests failed · 12 s".to_owned(),
        summary: "**no**".to_owned(),
        text: Some("text".to_owned()),
        actions: Vec::new(),
    }
}

fn completed() -> CheckStatus {
    CheckStatus::Completed {
        conclusion: CheckConclusion::Failure,
        started_at: Some(Timestamp::from_millis(1_700_000_000_123)),
        completed_at: Timestamp::from_millis(1_700_000_012_456),
    }
}

// ---- Who we are ---------------------------------------------------------------------------------

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
async fn fifty_callers_share_one_token() {
    let world = Arc::new(World::new().await);
    let callers = (0..50).map(|_| {
        let world = Arc::clone(&world);
        tokio::spawn(async move { world.github.token(world.repository.installation).await })
    });
    let mut tokens = std::collections::BTreeSet::new();
    for caller in callers.collect::<Vec<_>>() {
        tokens.insert(caller.await.unwrap().unwrap().expose_secret().to_owned());
    }
    assert_eq!(tokens.len(), 1);
    assert_eq!(world.calls("POST", "/access_tokens"), 1);
    world.is_clean();
}

#[tokio::test]
async fn the_app_is_known_by_its_id_and_by_its_client_id() {
    let world = World::new().await;
    assert_eq!(world.github.app_id().await.unwrap(), world.simulator.app().id);
    assert_eq!(world.github.app_id().await.unwrap(), world.simulator.app().id);
    assert_eq!(world.calls("GET", "/app"), 1);

    let app = world.simulator.app();
    let url = world.simulator.api_url();
    let by_client = Github::new(settings(&url, &app.client_id, KEY)).unwrap();
    assert_eq!(by_client.app_id().await.unwrap(), app.id);

    let stranger = Github::new(settings(&url, "999999", KEY)).unwrap();
    let error = stranger.app_id().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Never, "{error}");
    world.is_clean();
}

#[tokio::test]
async fn tokens_of_both_formats_work() {
    for format in [TokenFormat::Classic, TokenFormat::Stateless] {
        let world = World::new().await;
        world.simulator.faults().token_format(format);
        let number = world.pull().await;
        assert!(world.github.pull(&world.repository, number).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_githubs_and_a_dead_token_is_replaced() {
    let world = World::new().await;
    let number = world.pull().await;
    world.github.pull(&world.repository, number).await.unwrap();
    // GitHub's clock moves: the token has expired, and our JWTs are from the past.
    world.simulator.advance(Duration::from_hours(2));
    assert!(world.github.pull(&world.repository, number).await.unwrap().is_some());
    assert_eq!(world.calls("POST", "/access_tokens"), 3, "minted, refused for the clock, minted");
    assert!(world.github.app_id().await.is_ok(), "the clock is remembered");
    assert_eq!(world.calls("GET", "/app"), 1);
}

#[tokio::test]
async fn a_token_that_is_too_fresh_is_waited_for() {
    let world = World::new().await;
    let number = world.pull().await;
    world.simulator.faults().unknown_fresh_tokens(2);
    assert!(world.github.pull(&world.repository, number).await.unwrap().is_some());
    assert_eq!(world.calls("POST", "/access_tokens"), 1, "no second token for that");
}

#[tokio::test]
async fn a_suspended_and_a_removed_installation_are_told_apart() {
    let world = World::new().await;
    world.simulator.suspend(REPOSITORY).unwrap();
    let error = world.github.token(world.repository.installation).await.unwrap_err();
    let installation = world.repository.installation;
    assert_eq!(error, GithubError::Suspended { installation });
    assert!(error.to_string().contains("unsuspend"));
    world.simulator.unsuspend(REPOSITORY).unwrap();
    assert!(world.github.token(installation).await.is_ok(), "a refusal is not cached");

    let error = world.github.token(999_999).await.unwrap_err();
    assert!(matches!(error, GithubError::NotFound { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Never);
}

#[tokio::test]
async fn installations_and_their_repositories_are_listed() {
    let world = World::new().await;
    let installations = world.github.installations().await.unwrap();
    assert_eq!(installations, [world.repository.installation]);
    let repositories = world.github.repositories(installations[0]).await.unwrap();
    assert_eq!(repositories, std::slice::from_ref(&world.repository));
    world.simulator.suspend(REPOSITORY).unwrap();
    assert_eq!(world.github.installations().await.unwrap(), Vec::<u64>::new());
}

// ---- Pull requests and people -------------------------------------------------------------------

#[tokio::test]
async fn a_pull_request_is_read_as_it_is_now() {
    let world = World::new().await;
    let number = world.pull().await;
    let pull = world.github.pull(&world.repository, number).await.unwrap().unwrap();
    assert_eq!((pull.number, pull.open, pull.draft), (number, true, false));
    assert_eq!(pull.head_sha, world.head);
    assert_eq!((pull.head_ref.as_str(), pull.base_ref.as_str()), ("topic", "main"));
    assert_eq!((pull.title.as_str(), pull.author.login.as_str()), ("Mend it", "ada"));
    assert_eq!(pull.head_repo.unwrap(), world.repository.name);
    world.simulator.close_pull_request(REPOSITORY, number, "ada").await.unwrap();
    assert!(!world.github.pull(&world.repository, number).await.unwrap().unwrap().open);
    assert_eq!(world.github.pull(&world.repository, 999).await.unwrap(), None);
    world.is_clean();
}

#[tokio::test]
async fn every_page_of_open_pull_requests_is_read_with_the_token() {
    let world = World::new().await;
    for n in 0..103 {
        let branch = format!("topic-{n}");
        let commit = Commit::new("Mend", "ada", vec![write("a/x.py", &n.to_string())]);
        world.simulator.commit(REPOSITORY, &branch, commit).await.unwrap();
        let open = OpenPull::new(&branch, "main", "ada", &branch);
        world.simulator.open_pull_request(REPOSITORY, open).await.unwrap();
    }
    let pulls = world.github.open_pulls(&world.repository).await.unwrap();
    let numbers: Vec<u64> = pulls.iter().map(|pull| pull.number).collect();
    let sorted: std::collections::BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(numbers.len(), 103);
    assert_eq!(numbers, sorted.into_iter().collect::<Vec<_>>(), "each once, oldest first");
    world.is_clean();
}

#[tokio::test]
async fn permissions_are_githubs_finer_roles_and_kept_for_a_minute() {
    let world = World::new().await;
    for (login, role, wanted) in [
        ("ada", Role::Admin, Permission::Admin),
        ("bea", Role::Maintain, Permission::Maintain),
        ("cyd", Role::Write, Permission::Write),
        ("dot", Role::Triage, Permission::Triage),
        ("eve", Role::Read, Permission::Read),
    ] {
        world.simulator.set_permission(REPOSITORY, login, role);
        // What a comment says of its author must not matter.
        world.simulator.set_association(REPOSITORY, login, "NONE");
        assert_eq!(world.github.permission(&world.repository, login).await.unwrap(), wanted);
    }
    let nobody = world.github.permission(&world.repository, "nobody-at-all").await.unwrap();
    assert_eq!(nobody, Permission::None);
    let odd = world.github.permission(&world.repository, "../../issues").await.unwrap();
    assert_eq!(odd, Permission::None);
    for empty in ["", ".", ".."] {
        let of = world.github.permission(&world.repository, empty).await.unwrap();
        assert_eq!(of, Permission::None);
    }
    let before = world.calls("GET", "/permission");
    world.github.permission(&world.repository, "ADA").await.unwrap();
    assert_eq!(world.calls("GET", "/permission"), before, "a login's case does not matter");
}

// ---- Check runs ---------------------------------------------------------------------------------

#[tokio::test]
async fn a_check_run_goes_its_way_to_a_conclusion() {
    let world = World::new().await;
    let id = external_id();
    let queued = check(&world.head, CheckStatus::Queued);
    let run = world.github.create_check(&world.repository, &queued, id).await.unwrap();

    let started_at = Timestamp::from_millis(1_700_000_000_123);
    let running = check(&world.head, CheckStatus::InProgress { started_at });
    world.github.update_check(&world.repository, run, &running).await.unwrap();

    let mut done = check(&world.head, completed());
    done.text = None;
    done.actions = vec![CheckAction {
        label: "Re-run failed".to_owned(),
        description: "Runs again what did not succeed".to_owned(),
        identifier: "retest-failed".to_owned(),
    }];
    world.github.update_check(&world.repository, run, &done).await.unwrap();

    let seen = world.simulator.check_runs(REPOSITORY, world.head.as_str()).remove(0);
    assert_eq!((seen.id, seen.external_id.as_str()), (run, id.to_string().as_str()));
    assert_eq!((seen.status.as_str(), seen.conclusion.as_deref()), ("completed", Some("failure")));
    assert_eq!(seen.started_at.unwrap().timestamp(), 1_700_000_000);
    assert_eq!(seen.completed_at.unwrap().timestamp(), 1_700_000_012);
    assert_eq!(seen.details_url, "https://ci.example.org/runs/1");
    assert_eq!(seen.output.summary.as_deref(), Some("**no**"));
    assert_eq!(seen.output.text.as_deref().unwrap_or_default(), "", "an old text goes");
    assert_eq!(seen.actions.len(), 1);

    done.actions.clear();
    world.github.update_check(&world.repository, run, &done).await.unwrap();
    let seen = world.simulator.check_runs(REPOSITORY, world.head.as_str()).remove(0);
    assert_eq!(seen.actions, [], "and old buttons go");
    world.is_clean();
}

#[tokio::test]
async fn every_conclusion_is_accepted_and_texts_never_cost_one() {
    let world = World::new().await;
    for conclusion in [
        CheckConclusion::Success,
        CheckConclusion::Failure,
        CheckConclusion::Neutral,
        CheckConclusion::Cancelled,
        CheckConclusion::TimedOut,
        CheckConclusion::ActionRequired,
        CheckConclusion::Skipped,
    ] {
        let completed_at = Timestamp::from_millis(1_700_000_000_000);
        let status = CheckStatus::Completed { conclusion, started_at: None, completed_at };
        let mut check = check(&world.head, status);
        check.name = conclusion.as_str().to_owned();
        // 65,535 characters are too many bytes, and GitHub counts bytes.
        check.summary = "🦀".repeat(65_535);
        check.details_url = String::new();
        world.github.create_check(&world.repository, &check, external_id()).await.unwrap();
    }
    for run in world.simulator.check_runs(REPOSITORY, world.head.as_str()) {
        assert_eq!(run.conclusion, Some(run.name));
        assert_eq!(run.output.summary.unwrap().len(), 65_532);
    }
    world.is_clean();
}

#[tokio::test]
async fn our_check_run_is_found_among_others_and_older_ones() {
    let world = World::new().await;
    let (one, other) = (external_id(), external_id());
    let queued = check(&world.head, CheckStatus::Queued);
    assert_eq!(world.github.find_check(&world.repository, &world.head, one).await.unwrap(), None);
    let first = world.github.create_check(&world.repository, &queued, one).await.unwrap();
    // A hundred newer ones of the same name: the listing has two pages, and hides the first.
    for _ in 0..100 {
        world.github.create_check(&world.repository, &queued, external_id()).await.unwrap();
        world.simulator.advance(Duration::from_secs(2));
    }
    world.github.create_check(&world.repository, &queued, other).await.unwrap();
    let found = world.github.find_check(&world.repository, &world.head, one).await.unwrap();
    assert_eq!(found, Some(first));
    assert_eq!(world.github.checks(&world.repository, &world.head).await.unwrap().len(), 102);
    world.is_clean();
}

#[tokio::test]
async fn a_commit_that_github_does_not_know_is_refused_for_good() {
    let world = World::new().await;
    let unknown: Sha = "9".repeat(40).parse().unwrap();
    let queued = check(&unknown, CheckStatus::Queued);
    let error =
        world.github.create_check(&world.repository, &queued, external_id()).await.unwrap_err();
    assert!(matches!(error, GithubError::Refused { status: 422, .. }), "{error}");
    assert!(error.to_string().contains("create a check run"), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(world.calls("POST", "/check-runs"), 1, "and not asked again");
}

#[tokio::test]
async fn a_missing_permission_is_named_with_the_mend() {
    let permissions = [("metadata", "read"), ("checks", "read")];
    let permissions = permissions.map(|(name, level)| (name.to_owned(), level.to_owned()));
    let config = Config { permissions: permissions.into(), ..Config::default() };
    let world = World::with(config).await;
    let queued = check(&world.head, CheckStatus::Queued);
    let error =
        world.github.create_check(&world.repository, &queued, external_id()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, GithubError::Permission { .. }), "{text}");
    assert!(text.contains("checks=write") && text.contains("Permissions & events"), "{text}");
    assert_eq!(error.retry(), Retry::Never);
}

#[tokio::test]
async fn a_renamed_repository_is_followed_also_by_writes() {
    let world = World::new().await;
    world.simulator.rename_repository(REPOSITORY, "acme/renamed").unwrap();
    let queued = check(&world.head, CheckStatus::Queued);
    let run = world.github.create_check(&world.repository, &queued, external_id()).await.unwrap();
    let done = check(&world.head, completed());
    world.github.update_check(&world.repository, run, &done).await.unwrap();
    let seen = world.simulator.check_runs("acme/renamed", world.head.as_str());
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].conclusion.as_deref(), Some("failure"));
}

// ---- Comments -----------------------------------------------------------------------------------

#[tokio::test]
async fn comments_are_written_found_edited_and_reacted_to() {
    let world = World::new().await;
    let number = world.pull().await;
    let marker = "<!-- checkvalve: reply to 1 -->";
    let body = format!("Nothing to run.\n{marker}");
    let (github, repository) = (&world.github, &world.repository);
    assert_eq!(github.find_comment(repository, number, marker).await.unwrap(), None);
    let comment = github.comment(repository, number, &body).await.unwrap();
    assert_eq!(github.find_comment(repository, number, marker).await.unwrap(), Some(comment));
    github.edit_comment(repository, comment, "Edited.").await.unwrap();
    for reaction in [Reaction::Eyes, Reaction::Rocket, Reaction::Confused, Reaction::Eyes] {
        github.react(repository, comment, reaction).await.unwrap();
    }
    let seen = world.simulator.comments(REPOSITORY, number).remove(0);
    assert_eq!((seen.id, seen.body.as_str()), (comment, "Edited."));
    let reactions: Vec<&str> = seen.reactions.iter().map(|(_, content)| content.as_str()).collect();
    assert_eq!(reactions, ["eyes", "rocket", "confused"]);
    github.comment(repository, number, &"ä".repeat(70_000)).await.unwrap();
    world.is_clean();
}

// ---- Limits and failures ------------------------------------------------------------------------

#[tokio::test]
async fn limits_are_obeyed_in_each_of_githubs_forms() {
    for (status, retry_after, remaining_zero, at_least) in [
        (403, true, false, 1),
        (429, true, false, 1),
        (403, false, true, 1),
        (429, false, false, 60),
        (403, false, false, 60),
    ] {
        let world = World::new().await;
        let number = world.pull().await;
        let _ = world.github.token(world.repository.installation).await.unwrap();
        let lasts = Duration::from_secs(5);
        let limit = SecondaryLimit { status, lasts, retry_after, remaining_zero };
        world.simulator.faults().secondary_limit(limit);
        let error = world.github.pull(&world.repository, number).await.unwrap_err();
        let Retry::After(wait) = error.retry() else { panic!("{limit:?}: {error}") };
        assert!(wait >= Duration::from_secs(at_least), "{limit:?}: {wait:?}");
        // Whoever asks meanwhile is refused here, so that GitHub is left alone.
        let before = world.simulator.calls().len();
        let error = world.github.react(&world.repository, 1, Reaction::Eyes).await.unwrap_err();
        assert!(matches!(error, GithubError::RateLimited { .. }), "{error}");
        assert_eq!(world.simulator.calls().len(), before);
        world.is_clean();
    }
}

#[tokio::test]
async fn the_primary_limit_is_kept_and_shown() {
    let world = World::new().await;
    let number = world.pull().await;
    assert_eq!(world.github.rate(world.repository.installation), None);
    world.simulator.primary_limit(Some(2));
    for left in [1, 0] {
        world.github.pull(&world.repository, number).await.unwrap();
        let rate = world.github.rate(world.repository.installation).unwrap();
        assert_eq!((rate.limit, rate.remaining), (2, left));
        assert!(rate.reset > ambient::now());
    }
    let error = world.github.pull(&world.repository, number).await.unwrap_err();
    let Retry::After(wait) = error.retry() else { panic!("{error}") };
    assert!(wait > Duration::from_mins(50), "until the reset: {wait:?}");
    world.is_clean();
}

#[tokio::test]
async fn reads_are_tried_again_and_creations_are_not() {
    let world = World::new().await;
    let number = world.pull().await;
    world.simulator.faults().fail_next("GET", "/repos", 2, 502);
    assert!(world.github.pull(&world.repository, number).await.unwrap().is_some());

    world.simulator.faults().fail_next("POST", "/repos", 1, 502);
    let queued = check(&world.head, CheckStatus::Queued);
    let before = world.calls("POST", "/check-runs");
    let error =
        world.github.create_check(&world.repository, &queued, external_id()).await.unwrap_err();
    assert!(matches!(error, GithubError::Unknown { .. }), "{error}");
    assert_eq!(error.retry(), Retry::Unknown);
    assert_eq!(world.calls("POST", "/check-runs"), before + 1);

    world.simulator.faults().fail_next("GET", "/repos", 50, 503);
    let error = world.github.pull(&world.repository, number).await.unwrap_err();
    assert!(matches!(error.retry(), Retry::After(_)), "{error}");
}

/// A server that answers from a list, and writes down what it was asked.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<(Method, String, HeaderMap, Bytes)>>>,
}

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
            let mut buffer = [0; 65_536];
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
    let (_fake, address) = Fake::start([Answer::Silence, Answer::Silence]).await;
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
