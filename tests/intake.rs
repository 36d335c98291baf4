//! What is told late, again, or while GitHub is away: intake, the list of repositories and recovery within
//! one process, a simulated GitHub, and a database that the test looks into.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "intake/access.rs"]
mod access;
#[path = "intake/again.rs"]
mod again;
#[path = "intake/approvals.rs"]
mod approvals;
#[path = "support/clock.rs"]
mod clock;
#[path = "intake/comments.rs"]
mod comments;
#[path = "intake/log.rs"]
mod log;
#[expect(unreachable_pub, reason = "others use it from within a module")]
#[path = "support/manifest.rs"]
mod manifest;
#[path = "intake/missing.rs"]
mod missing;
#[path = "intake/owed.rs"]
mod owed;
#[path = "support/receiver.rs"]
mod receiver;
#[path = "intake/said.rs"]
mod said;

use std::collections::BTreeSet;
use std::sync::Arc;

use checkvalve::config::server::Served;
use checkvalve::domain::run::{Repository, Run};
use checkvalve::github::{Github, GithubSettings};
use checkvalve::service::intake::Intake;
use checkvalve::store::{NewDelivery, RunQuery, Store};
use github_simulator::{
    Change, Commit, Config, Delivery, OpenPull, Permission, RepositoryOptions, Simulator,
};
use tokio_util::sync::CancellationToken;

const REPO: &str = "acme/connectors";

struct World {
    sim: Simulator,
    folder: tempfile::TempDir,
    store: Store,
    intake: Intake,
    /// What GitHub sent and was told, or was left out, by GUID.
    told: BTreeSet<String>,
}

impl World {
    /// A served repository with Ada, who may write. Nobody hears of anything until it is told.
    async fn new() -> Self {
        let (permissions, events) = manifest::granted();
        let config = Config { permissions, events, ..Config::default() };
        let sim = Simulator::start(config).await.unwrap();
        sim.create_repository(REPO, RepositoryOptions::default()).await.unwrap();
        sim.set_permission(REPO, "ada", Permission::Write);
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("checkvalve.db");
        let store = Store::open(&format!("sqlite:{}", database.display())).await.unwrap();
        let served = Arc::new(Served::parse("acme/*").unwrap());
        let intake = Intake { store: store.clone(), github: github(&sim), served };
        let mut world = Self { sim, folder, store, intake, told: BTreeSet::new() };
        world.push(REPO, "main", "the beginning").await;
        world.tell().await;
        world
    }

    /// As another process would be: it knows nothing of tokens and limits.
    fn reconnect(&mut self) {
        self.intake.github = github(&self.sim);
    }

    async fn push(&self, repository: &str, branch: &str, text: &str) -> String {
        let (owner, _) = repository.split_once('/').unwrap();
        let who = if owner == "acme" { "ada" } else { owner };
        let change = vec![("readme.md".to_owned(), Change::Write(text.into()))];
        self.sim.commit(repository, branch, Commit::new(text, who, change)).await.unwrap()
    }

    async fn open(&self, repository: &str, branch: &str) -> u64 {
        let pull = OpenPull::new(branch, "main", "ada", "A change");
        self.sim.open_pull_request(repository, pull).await.unwrap()
    }

    /// Tells all that GitHub sent since, in its order, and handles what is due.
    async fn tell(&mut self) {
        self.tell_those(|_| true).await;
    }

    /// The same, of some of it; the rest is lost.
    async fn tell_those(&mut self, wanted: impl Fn(&Delivery) -> bool) {
        for delivery in self.sim.deliveries() {
            if self.told.insert(delivery.guid.clone()) && wanted(&delivery) {
                self.store.take_in(as_sent(&delivery)).await.unwrap();
            }
        }
        self.handle().await;
    }

    /// Tells something once more, or late.
    async fn tell_late(&self, delivery: &Delivery) {
        self.store.take_in(as_sent(delivery)).await.unwrap();
        self.handle().await;
    }

    /// Handles something now, whether or not it was handled, or is to wait.
    async fn handle_again(&self, guid: &str) {
        let found = self.store.handle_again(&[guid.to_owned()], ("ada", "command")).await.unwrap();
        assert_eq!(found, [guid]);
        self.handle().await;
    }

    async fn handle(&self) {
        while self.intake.pass(&CancellationToken::new()).await.unwrap() {}
    }

    /// The newest of its kind that GitHub sent.
    fn sent(&self, event: &str, action: &str) -> Delivery {
        let is_one = |one: &Delivery| one.event == event && one.action.as_deref() == Some(action);
        self.sim.deliveries().into_iter().rfind(is_one).unwrap()
    }

    /// How a delivery was handled: its state, and what was said of it.
    async fn handled(&self, guid: &str) -> (String, String) {
        let row = self.store.delivery(guid).await.unwrap().unwrap().row;
        (row.state, row.note.unwrap_or_default())
    }

    async fn repository(&self) -> Repository {
        self.store.repository(&REPO.parse().unwrap()).await.unwrap().unwrap()
    }

    /// Of pull requests, newest first.
    async fn runs(&self) -> Vec<Run> {
        let mut runs = self.store.runs(&RunQuery::default()).await.unwrap();
        runs.retain(|run| run.pull.is_some());
        runs
    }

    async fn withdrawn(&self) -> Vec<u64> {
        self.store.withdrawn().await.unwrap()
    }
}

fn github(sim: &Simulator) -> Arc<Github> {
    Arc::new(client(sim))
}

fn client(sim: &Simulator) -> Github {
    let app = sim.app();
    let settings = GithubSettings {
        api_url: sim.api_url(),
        app_id: app.id.to_string(),
        private_key: app.private_key_pem.into(),
        ca_file: None,
    };
    Github::new(settings).unwrap()
}

fn as_sent(delivery: &Delivery) -> NewDelivery {
    NewDelivery {
        guid: delivery.guid.clone(),
        event: delivery.event.clone(),
        action: delivery.action.clone(),
        headers: None,
        body: delivery.body.clone(),
    }
}
