//! How long an event is asked for that does not come: for as long as GitHub has it, however often we
//! look. Its clock and the database's are moved on.

use std::sync::Arc;
use std::time::Duration;

use checkvalve::ambient;
use checkvalve::config::server::Served;
use checkvalve::domain::ids::WorkerId;
use checkvalve::domain::recovery::{WINDOW, wait_after};
use checkvalve::github::{Github, GithubSettings};
use checkvalve::service::intake::Intake;
use checkvalve::service::recovery::Recovery;
use checkvalve::store::{MissingRow, Store};
use github_simulator::{Change, Commit, Config, RepositoryOptions, Simulator};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::world::{REPO, manifest};

/// GitHub tells of what happens to a port at which nobody listens.
struct Deaf {
    sim: Simulator,
    store: Store,
    recovery: Recovery,
    clock: Clock,
    _folder: tempfile::TempDir,
}

impl Deaf {
    async fn new(every: Duration) -> Self {
        let (permissions, events) = manifest::granted();
        let config = Config { permissions, events, ..Config::default() };
        let sim = Simulator::start(config).await.unwrap();
        sim.create_repository(REPO, RepositoryOptions::default()).await.unwrap();
        sim.quiet().await;
        sim.install_webhook("http://127.0.0.1:9/webhooks/github");
        sim.quiet().await;
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("checkvalve.db").display());
        let store = Store::open(&url).await.unwrap();
        let clock = Clock::of(&url).await;
        let app = sim.app();
        let settings = GithubSettings {
            api_url: sim.api_url(),
            app_id: app.id.to_string(),
            private_key: app.private_key_pem.into(),
            ca_file: None,
        };
        let intake = Intake {
            store: store.clone(),
            github: Arc::new(Github::new(settings).unwrap()),
            served: Arc::new(Served::parse("acme/*").unwrap()),
        };
        let recovery = Recovery {
            intake,
            worker: WorkerId::new(ambient::ulid()),
            every,
            kept: Duration::from_hours(45 * 24),
            memory: Arc::default(),
        };
        Self { sim, store, recovery, clock, _folder: folder }
    }

    async fn looks(&self) -> Vec<MissingRow> {
        self.recovery.pass(&CancellationToken::new()).await.unwrap();
        self.sim.quiet().await;
        self.store.missing(10).await.unwrap()
    }

    async fn skip(&mut self, by: Duration) {
        self.clock.skip(by).await;
        self.sim.advance(by);
    }

    fn asks(&self) -> usize {
        let calls = self.sim.calls();
        calls.iter().filter(|call| call.path.ends_with("/attempts")).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_asked_for_as_long_as_github_has_it_however_often_we_look() {
    let every = Duration::from_secs(1);
    let mut deaf = Deaf::new(every).await;
    let write = vec![("a.txt".to_owned(), Change::Write(b"a".to_vec()))];
    let commit = Commit::new("A change", "ada", write);
    deaf.sim.commit(REPO, "main", commit).await.unwrap();
    deaf.sim.quiet().await;
    // GitHub told of the push, and of the suite that it asks for, which nobody acts on.
    let sent = deaf.sim.deliveries();
    assert!(sent.iter().any(|one| one.event == "check_suite"), "{sent:?}");
    for nth in 1..=12 {
        let missing = deaf.looks().await;
        let [push] = &missing[..] else { panic!("{missing:?}") };
        assert_eq!((push.event.as_str(), push.state.as_str()), ("push", "missing"));
        assert_eq!((push.asked, deaf.asks()), (nth, nth as usize));
        assert_eq!(deaf.looks().await[0].asked, nth, "an attempt is fresh");
        deaf.skip(wait_after(nth, every)).await;
    }

    deaf.skip(WINDOW).await;
    let given_up = deaf.looks().await.remove(0);
    assert_eq!((given_up.state.as_str(), deaf.asks()), ("given_up", 12));
    let note = given_up.note.unwrap();
    assert!(note.starts_with("asked for in vain for three days: "), "{note}");
    deaf.skip(WINDOW).await;
    assert_eq!((deaf.looks().await.len(), deaf.asks()), (1, 12));
    // Somebody wants it all the same: GitHub is asked, whatever it says to that.
    deaf.store.ask_again(&given_up.guid).await.unwrap();
    let note = deaf.looks().await.remove(0).note.unwrap();
    assert_eq!((note.as_str(), deaf.asks()), ("GitHub's log has it no more", 13));
    deaf.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_github_cannot_deliver_again_keeps_no_other_ones_from_being_asked_for() {
    let every = Duration::from_secs(1);
    let mut deaf = Deaf::new(every).await;
    for text in ["a", "b"] {
        let write = vec![("a.txt".to_owned(), Change::Write(text.into()))];
        deaf.sim.commit(REPO, "main", Commit::new(text, "ada", write)).await.unwrap();
        deaf.sim.quiet().await;
        deaf.sim.advance(Duration::from_secs(1));
    }
    let sent = deaf.sim.deliveries();
    let first = sent.iter().find(|one| one.event == "push").unwrap();
    let path = format!("/app/hook/deliveries/{}/attempts", first.id);
    deaf.sim.faults().fail_next("POST", &path, 1000, 500);
    let missing = deaf.looks().await;
    let asked = |guid: &str| missing.iter().find(|one| one.guid == guid).unwrap().asked;
    let other = sent.iter().rfind(|one| one.event == "push").unwrap();
    assert_eq!((asked(&first.guid), asked(&other.guid)), (1, 1));
    let to_first = |deaf: &Deaf| deaf.sim.calls().iter().filter(|one| one.path == path).count();
    let asks = to_first(&deaf);
    assert!(asks > 0 && deaf.asks() > asks, "the other one is asked for");
    deaf.looks().await;
    assert_eq!(to_first(&deaf), asks, "it waits");
    deaf.sim.faults().fail_no_more();
    deaf.skip(wait_after(1, every)).await;
    deaf.looks().await;
    assert!(to_first(&deaf) > asks, "and is asked for again");
    deaf.sim.stop().await;
}
