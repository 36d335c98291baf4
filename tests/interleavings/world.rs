//! A simulated GitHub, a database whose clock can be moved on, and two processes on it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use checkvalve::domain::run::Run;
use checkvalve::store::{NewDelivery, RunQuery, Store};
use github_simulator::{
    Change, Commit, Config, Delivery, Permission, RepositoryOptions, Simulator,
};
use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};

use crate::house::{House, Part};
use crate::manifest;
use crate::receiver::receiver;

pub(crate) const REPO: &str = "acme/connectors";
pub(crate) const FORK: &str = "mallory/connectors";

/// Two connectors of three steps in a row: of a stranger's only the first may run, and the last has a secret.
const FILES: &[(&str, &str)] = &[
    (
        ".github/checkvalve.yml",
        r#"
version: 1
preset: none
ignore: ["docs/**"]
connectors:
  - { kind: sh, match: "{name}/connector.txt", where: { name: ["source-*"] } }
unclaimed: none
pipelines:
  - for: { kind: sh }
    on: [pull_request, merge_group, push]
    steps:
      - { id: lint, image: "checkvalve-test/busybox:1", network: none, untrusted: true, run: "true" }
      - { id: unit, image: "checkvalve-test/busybox:1", needs: [lint], run: "true" }
      - { id: live, image: "checkvalve-test/busybox:1", needs: [unit], secrets: [token], run: "true" }
secrets:
  token: { from: env, as: env }
"#,
    ),
    ("source-a/connector.txt", "a"),
    ("source-b/connector.txt", "b"),
    ("docs/readme.md", "# Docs"),
];

enum Clock {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Clock {
    /// Of a database that was migrated before.
    async fn of(url: &str) -> Self {
        let table =
            "create table moved_on (by_ms BIGINT not null); insert into moved_on values (0);";
        if url.starts_with("sqlite:") {
            let mut database = SqliteConnection::connect(url).await.unwrap();
            let view = "drop view clock; create view clock as select
                 cast(round(unixepoch('subsec') * 1000) as integer) + (select by_ms from moved_on) as now";
            database.execute(sqlx::AssertSqlSafe(format!("{table}{view}"))).await.unwrap();
            return Self::Sqlite(database);
        }
        let mut database = PgConnection::connect(url).await.unwrap();
        let view = "create or replace view clock as select (extract(epoch from clock_timestamp()) * 1000)::bigint
             + (select by_ms from moved_on) as now";
        database.execute(sqlx::AssertSqlSafe(format!("{table}{view}"))).await.unwrap();
        Self::Postgres(database)
    }

    async fn skip(&mut self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap();
        let moves = "update moved_on set by_ms = by_ms + $1";
        let rows = match self {
            Self::Sqlite(database) => {
                sqlx::query(moves).bind(by).execute(database).await.unwrap().rows_affected()
            }
            Self::Postgres(database) => {
                sqlx::query(moves).bind(by).execute(database).await.unwrap().rows_affected()
            }
        };
        assert_eq!(rows, 1);
    }
}

pub(crate) struct World {
    pub(crate) sim: Simulator,
    url: String,
    clock: Clock,
    /// The test's own look at the database.
    pub(crate) store: Store,
    pub(crate) houses: Vec<House>,
    folder: tempfile::TempDir,
    /// Attempts to deliver, by GitHub's number, that were seen.
    seen: BTreeSet<u64>,
    /// What GitHub sent and nobody took in yet.
    pub(crate) pending: Vec<Delivery>,
    /// What happened, for whoever wants to know why.
    pub(crate) log: Vec<String>,
}

impl World {
    /// A served repository, with Ada, who may write; and Mallory's fork of it.
    pub(crate) async fn new(database: Option<String>) -> Self {
        let (permissions, events) = manifest::granted();
        let sim =
            Simulator::start(Config { permissions, events, ..Config::default() }).await.unwrap();
        // Whoever writes more than GitHub lets, is refused.
        sim.faults().enforce_secondary_limits(true);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("checkvalve.db");
        let url = database.unwrap_or_else(|| format!("sqlite:{}", file.display()));
        let store = Store::open(&url).await.unwrap();
        let clock = Clock::of(&url).await;
        let (houses, seen, pending, log) = Default::default();
        let mut world = Self { sim, url, clock, store, houses, folder, seen, pending, log };
        for nth in 0..2 {
            let house = world.open(nth).await;
            world.houses.push(house);
        }
        world.found().await;
        world
    }

    async fn found(&mut self) {
        self.sim.install_webhook(&receiver().await);
        // As at a start: from here on nothing may be missed.
        assert_eq!(self.houses[0].works(&[Part::Recovery]).await, Vec::<String>::new());
        self.sim.create_repository(REPO, RepositoryOptions::default()).await.unwrap();
        self.sim.set_permission(REPO, "ada", Permission::Write);
        self.push((REPO, "ada"), "main", FILES).await;
        self.push((REPO, "ada"), "release", &[("docs/release.md", "1")]).await;
        let fork = RepositoryOptions {
            fork_of: Some(REPO.to_owned()),
            install: false,
            ..RepositoryOptions::default()
        };
        self.sim.create_repository(FORK, fork).await.unwrap();
    }

    async fn open(&self, nth: usize) -> House {
        House::open(&self.sim, &self.url, &self.place(nth)).await
    }

    fn place(&self, nth: usize) -> PathBuf {
        self.folder.path().join(format!("state-{nth}"))
    }

    /// In the place of a process that died. Who starts in its folder knows whose leases those were.
    pub(crate) async fn reopen(&mut self, nth: usize, same_folder: bool) {
        let house = self.open(nth).await;
        if same_folder {
            house.store.expire_leases_of(self.houses[nth].worker).await.unwrap();
        }
        self.houses[nth] = house;
    }

    pub(crate) async fn push(
        &self,
        (repository, who): (&str, &str),
        branch: &str,
        files: &[(&str, &str)],
    ) -> String {
        let change = |text: &str| Change::Write(text.as_bytes().to_vec());
        let changes = files.iter().map(|(path, text)| ((*path).to_owned(), change(text))).collect();
        self.sim.commit(repository, branch, Commit::new("A change", who, changes)).await.unwrap()
    }

    /// The fork has what is in the repository.
    pub(crate) fn fetch_into_fork(&self) {
        let [from, to] = [REPO, FORK].map(|name| self.sim.git_folder(name).unwrap());
        let mut git = std::process::Command::new("git");
        git.arg("--git-dir").arg(to).args(["fetch", "--quiet"]).arg(from);
        assert!(git.arg("+refs/heads/*:refs/theirs/*").status().unwrap().success());
    }

    /// Time goes by, here and at GitHub.
    pub(crate) async fn skip(&mut self, by: Duration) {
        self.clock.skip(by).await;
        self.sim.advance(by);
    }

    /// What GitHub sent since.
    pub(crate) async fn hear(&mut self) {
        self.sim.quiet().await;
        for delivery in self.sim.deliveries() {
            if self.seen.insert(delivery.id) {
                self.pending.push(delivery);
            }
        }
    }

    /// Takes one in, as the webhook does.
    pub(crate) async fn take_in(&mut self, delivery: &Delivery) {
        let Delivery { guid, event, action, body, .. } = delivery.clone();
        self.store.take_in(NewDelivery { guid, event, action, headers: None, body }).await.unwrap();
    }

    /// All runs there are, oldest first.
    pub(crate) async fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        loop {
            let before = runs.last().map(|run| run.id);
            let page =
                self.store.runs(&RunQuery { before, limit: 200, ..RunQuery::default() }).await;
            let page = page.unwrap();
            if page.is_empty() {
                runs.reverse();
                return runs;
            }
            runs.extend(page);
        }
    }
}
