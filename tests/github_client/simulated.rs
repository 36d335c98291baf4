//! Against the simulator: what GitHub does and refuses.

mod checks;

use std::sync::Arc;
use std::time::Duration;

use checkvalve::ambient;
use checkvalve::domain::check::CheckStatus;
use checkvalve::domain::names::Sha;
use checkvalve::domain::policy::Permission;
use checkvalve::domain::recovery::AttemptEnd;
use checkvalve::domain::run::Repository;
use checkvalve::github::{Github, GithubError, PullsBefore, Reaction, Retry};
use checkvalve::render::replies;
use github_simulator::{
    Change, Commit, Config, OpenPull, Permission as Role, RepositoryOptions, SecondaryLimit,
    Simulator, TokenFormat,
};
use secrecy::ExposeSecret;

use super::{KEY, REPOSITORY, check, contract, external_id, settings};

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
        let ours = |violation: &String| !violation.starts_with("answer ");
        let violations = self.simulator.violations();
        assert_eq!(violations.into_iter().filter(ours).collect::<Vec<_>>(), Vec::<String>::new());
    }
}

fn write(path: &str, text: &str) -> (String, Change) {
    (path.to_owned(), Change::Write(text.as_bytes().to_vec()))
}

// ---- Who we are ---------------------------------------------------------------------------------

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
        assert!(world.github.pull(&world.repository, number).await.is_ok());
    }
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_by_githubs_and_a_dead_token_is_replaced() {
    let world = World::new().await;
    let number = world.pull().await;
    world.github.pull(&world.repository, number).await.unwrap();
    // GitHub's clock moves: the token has expired, and our JWTs are from the past.
    world.simulator.advance(Duration::from_hours(2));
    assert!(world.github.pull(&world.repository, number).await.is_ok());
    assert_eq!(world.calls("POST", "/access_tokens"), 3, "minted, refused for the clock, minted");
    assert!(world.github.app_id().await.is_ok(), "the clock is remembered");
    assert_eq!(world.calls("GET", "/app"), 1);
}

#[tokio::test]
async fn a_token_that_is_too_fresh_is_waited_for() {
    let world = World::new().await;
    let number = world.pull().await;
    world.simulator.faults().unknown_fresh_tokens(2);
    assert!(world.github.pull(&world.repository, number).await.is_ok());
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
    assert!(matches!(error, GithubError::NotInstalled { .. }), "{error}");
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
    let pull = world.github.pull(&world.repository, number).await.unwrap();
    assert_eq!((pull.number, pull.open, pull.draft), (number, true, false));
    assert_eq!(pull.head_sha, world.head);
    assert_eq!((pull.head_ref.as_str(), pull.base_ref.as_str()), ("topic", "main"));
    assert_eq!((pull.title.as_str(), pull.author.login.as_str()), ("Mend it", "ada"));
    assert_eq!(pull.head_repo.unwrap(), world.repository.name);
    world.simulator.close_pull_request(REPOSITORY, number, "ada").await.unwrap();
    assert!(!world.github.pull(&world.repository, number).await.unwrap().open);
    let unknown = world.github.pull(&world.repository, 999).await.unwrap_err();
    assert!(matches!(unknown, GithubError::NotFound { .. }), "{unknown}");
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
async fn what_changed_of_the_open_pull_requests_is_read_and_nothing_costs_nothing() {
    let world = World::new().await;
    for n in 0..103 {
        let branch = format!("topic-{n}");
        let commit = Commit::new("Mend", "ada", vec![write("a/x.py", &n.to_string())]);
        world.simulator.commit(REPOSITORY, &branch, commit).await.unwrap();
        let open = OpenPull::new(&branch, "main", "ada", &branch);
        world.simulator.open_pull_request(REPOSITORY, open).await.unwrap();
    }
    let since = async |before: Option<&PullsBefore>| {
        world.github.open_pulls_since(&world.repository, before).await.unwrap()
    };
    let all = since(None).await.unwrap();
    assert_eq!((all.pulls.len(), all.whole, all.calls), (103, true, 2));
    let before = PullsBefore { tag: all.tag.unwrap(), at: all.now };
    let left = world.github.rate(world.repository.installation).unwrap().remaining;
    assert_eq!(since(Some(&before)).await, None);
    let rate = world.github.rate(world.repository.installation).unwrap();
    assert_eq!(rate.remaining, left, "nothing of the limit");

    // One is pushed to, hours after the others: it stands first, and the rest was seen.
    world.simulator.advance(Duration::from_hours(2));
    let later = since(None).await.unwrap();
    assert!(later.now.since(before.at) > Duration::from_hours(1), "by GitHub's clock");
    let before = PullsBefore { tag: later.tag.unwrap(), at: later.now };
    let commit = Commit::new("Mend", "ada", vec![write("a/x.py", "again")]);
    let head = world.simulator.commit(REPOSITORY, "topic-0", commit).await.unwrap();
    let changed = since(Some(&before)).await.unwrap();
    assert_eq!((changed.whole, changed.calls), (false, 1));
    assert_eq!(changed.pulls[0].facts.head_sha.as_str(), head);
    assert!(changed.pulls[0].updated_at > changed.pulls[1].updated_at);
    world.is_clean();
}

#[tokio::test]
async fn the_log_of_deliveries_is_read_page_by_page_and_one_is_asked_for_again() {
    let world = World::new().await;
    // Nobody listens there.
    world.simulator.install_webhook("http://127.0.0.1:9/webhooks/github");
    let number = world.pull().await;
    for n in 0..120 {
        let said = format!("comment {n}");
        world.simulator.comment(REPOSITORY, number, "ada", &said).await.unwrap();
    }
    world.simulator.quiet().await;
    let first = world.github.delivery_log(None).await.unwrap();
    let second = world.github.delivery_log(first.next.as_deref()).await.unwrap();
    assert_eq!((first.attempts.len(), second.next.as_deref()), (100, None));
    let all: Vec<_> = first.attempts.iter().chain(&second.attempts).collect();
    assert_eq!(all.len(), 122, "the greeting, the opening, the comments");
    let failed = AttemptEnd::Failed("failed to connect to host".to_owned());
    assert!(all.iter().all(|attempt| attempt.end == failed), "{:?}", all[0]);
    let (newest, oldest) = (all[0], all[121]);
    assert_eq!(
        (newest.event.as_str(), newest.action.as_deref()),
        ("issue_comment", Some("created"))
    );
    assert_eq!((oldest.event.as_str(), oldest.action.as_deref()), ("ping", None));
    assert!(first.now.since(newest.delivered_at) < Duration::from_mins(1));

    world.github.redeliver(oldest.id).await.unwrap();
    world.simulator.quiet().await;
    let again = world.github.delivery_log(None).await.unwrap().attempts.remove(0);
    assert_eq!(again.guid, oldest.guid, "the same event, another attempt");
    assert_ne!(again.id, oldest.id);
    let gone = world.github.redeliver(1).await.unwrap_err();
    assert!(matches!(gone, GithubError::NotFound { .. }), "{gone}");
    // What a settings file of yesterday called GitHub is not to see today's credentials.
    let elsewhere = world.github.delivery_log(Some("http://127.0.0.1:9/app/hook/deliveries")).await;
    assert_eq!(elsewhere.unwrap().attempts[0].guid, oldest.guid, "the log's beginning instead");
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
    // The longest that we write; who writes more hears of it.
    let longest = replies::reply(&"- ä\n".repeat(40_000), marker);
    let last = github.comment(repository, number, &longest).await.unwrap();
    assert_eq!(world.simulator.comments(REPOSITORY, number)[1].body, longest);
    assert_eq!(github.find_comment(repository, number, marker).await.unwrap(), Some(last));
    let longer = github.comment(repository, number, &"ä".repeat(70_000)).await;
    assert!(matches!(longer, Err(GithubError::Refused { status: 422, .. })), "{longer:?}");
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
    assert!(world.github.pull(&world.repository, number).await.is_ok());

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
