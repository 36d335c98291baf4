//! Schedules, with a clock that the test moves: two processes' loops on one database, a simulated
//! GitHub, real git.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "support/postgres.rs"]
mod postgres;

use std::sync::Arc;
use std::time::Duration;

use checkvalve::ambient;
use checkvalve::blobs::Blobs;
use checkvalve::config::grants::Grants;
use checkvalve::config::server::Served;
use checkvalve::domain::ids::WorkerId;
use checkvalve::domain::run::{Repository, Run};
use checkvalve::domain::state::Conclusion;
use checkvalve::domain::time::Timestamp;
use checkvalve::domain::trigger::Trigger;
use checkvalve::git::GitCache;
use checkvalve::github::{Github, GithubSettings};
use checkvalve::service::intake::Intake;
use checkvalve::service::planner::Planner;
use checkvalve::service::schedule::Scheduler;
use checkvalve::service::source::Sources;
use checkvalve::store::{NewDelivery, RunQuery, Store};
use github_simulator::{Change, Commit, Config, RepositoryOptions, Simulator};

const REPO: &str = "acme/connectors";

fn file(schedules: &str) -> String {
    format!(
        "preset: none\nconnectors:\n  - {{ kind: sh, match: \"{{name}}/connector.txt\" }}\npipelines:\n  \
         - steps: [{{ id: unit, image: x, run: \"true\" }}]\n  \
         - on: schedule\n    steps: [{{ id: nightly, image: x, run: \"true\" }}]\n{schedules}"
    )
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

struct World {
    sim: Simulator,
    folder: tempfile::TempDir,
    repository: Repository,
    url: String,
    store: Store,
}

impl World {
    async fn new(database: Option<String>, schedules: &str) -> Self {
        let sim = Simulator::start(Config::default()).await.unwrap();
        let info = sim.create_repository(REPO, RepositoryOptions::default()).await.unwrap();
        let repository = Repository {
            id: info.id,
            name: REPO.parse().unwrap(),
            installation: info.installation_id,
            private: false,
        };
        let folder = tempfile::tempdir().unwrap();
        let sqlite = || format!("sqlite:{}", folder.path().join("checkvalve.db").display());
        let url = database.unwrap_or_else(sqlite);
        let store = Store::open(&url).await.unwrap();
        let world = Self { sim, folder, repository, url, store };
        world.push(&[("source-a/connector.txt", "a"), ("destination-b/connector.txt", "b")]).await;
        world.push(&[(".github/checkvalve.yml", &file(schedules))]).await;
        world
    }

    async fn push(&self, files: &[(&str, &str)]) -> String {
        let write = |text: &str| Change::Write(text.as_bytes().to_vec());
        let changes = files.iter().map(|(path, text)| ((*path).to_owned(), write(text)));
        let commit = Commit::new("A change", "ada", changes.collect());
        self.sim.commit(REPO, "main", commit).await.unwrap()
    }

    fn sources(&self, folder: &str) -> Sources {
        let app = self.sim.app();
        let settings = GithubSettings {
            api_url: self.sim.api_url(),
            app_id: app.id.to_string(),
            private_key: app.private_key_pem.into(),
            ca_file: None,
        };
        Sources {
            github: Arc::new(Github::new(settings).unwrap()),
            cache: GitCache::new(self.folder.path().join(folder)),
            github_url: self.sim.url(),
        }
    }

    /// A process's loop, with a database connection and a git cache of its own.
    async fn scheduler(&self, folder: &str) -> Scheduler {
        let sources = self.sources(folder);
        Scheduler {
            store: Store::open(&self.url).await.unwrap(),
            github: sources.github.clone(),
            sources,
            served: Arc::new(Served::parse("acme/*").unwrap()),
            worker: WorkerId::new(ambient::ulid()),
            pauses: Arc::default(),
        }
    }

    async fn runs(&self) -> Vec<Run> {
        self.store.runs(&RunQuery::default()).await.unwrap()
    }

    /// The newest run, planned.
    async fn planned(&self) -> Run {
        let planner = Planner {
            store: self.store.clone(),
            sources: self.sources("planner"),
            blobs: Blobs::open(
                &format!("file:{}", self.folder.path().join("objects").display()).parse().unwrap(),
                |_| None,
            )
            .await
            .unwrap(),
            grants: Grants::default(),
            worker: WorkerId::new(ambient::ulid()),
        };
        while planner.pass().await.unwrap() {}
        self.runs().await.remove(0)
    }
}

const NIGHTLY: &str = "schedules:\n  - { cron: \"0 2 * * *\", select: { name: \"source-*\" } }\n";

async fn two_processes_make_one_run(database: Option<String>) {
    let world = World::new(database, NIGHTLY).await;
    let (one, other) = (world.scheduler("one").await, world.scheduler("other").await);
    // The App was installed before anybody listened.
    one.list().await.unwrap();
    one.pass(at("2026-11-21T23:00:00Z")).await.unwrap();
    assert_eq!(world.runs().await.len(), 0, "not due for the night before it was seen");
    let head = world.push(&[("source-a/code.txt", "1")]).await;
    let night = at("2026-11-22T02:00:04Z");
    for _ in 0..3 {
        let (a, b) = tokio::join!(one.pass(night), other.pass(night));
        assert!(!a.unwrap() && !b.unwrap(), "a pass does all there is");
        // Whoever has the lease next looks for itself.
        one.store.expire_leases_of(one.worker).await.unwrap();
        other.store.expire_leases_of(other.worker).await.unwrap();
    }
    let run = world.planned().await;
    assert_eq!(world.runs().await.len(), 1);
    assert_eq!((run.trigger, run.head_sha.as_str()), (Trigger::Schedule, head.as_str()));
    let names: Vec<&str> = run.jobs.iter().map(|job| job.connector.as_str()).collect();
    assert_eq!(names, ["source-a"], "what is selected, changed or not");
    let steps: Vec<&str> = run.jobs[0].steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(steps, ["nightly"], "by the pipeline of schedules");
    assert_eq!(run.actor, "0 2 * * *");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_make_one_run_of_a_due_time() {
    Box::pin(two_processes_make_one_run(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_make_one_run_of_a_due_time_on_postgresql() {
    let Some(database) = postgres::database().await else { return };
    Box::pin(two_processes_make_one_run(Some(database))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_makes_up_for_the_last_due_time_alone_and_says_so() {
    let world = World::new(None, NIGHTLY).await;
    let scheduler = world.scheduler("one").await;
    world.store.see(&world.repository).await.unwrap();
    // A fortnight ago, by the clock that the run's making is stamped with.
    let now = ambient::now();
    let fortnight = i64::try_from(Duration::from_hours(14 * 24).as_millis()).unwrap();
    scheduler.pass(Timestamp::from_millis(now.as_millis() - fortnight)).await.unwrap();
    scheduler.pass(now).await.unwrap();
    scheduler.pass(now.plus(Duration::from_secs(20))).await.unwrap();
    let run = world.planned().await;
    assert_eq!(world.runs().await.len(), 1, "one of fourteen");
    let due = checkvalve::domain::schedule::due_of(&run.cause).unwrap();
    assert!(now.since(due) < Duration::from_hours(24));
    let notes = run.selection.unwrap().notes;
    let said = notes.iter().any(|note| note.contains("late") && note.contains("not made up for"));
    assert_eq!(said, run.created_at.since(due) > Duration::from_mins(5), "{notes:?}");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_says_when_it_is_due_counts() {
    let world = World::new(None, NIGHTLY).await;
    let scheduler = world.scheduler("one").await;
    world.store.see(&world.repository).await.unwrap();
    scheduler.pass(at("2026-11-21T23:00:00Z")).await.unwrap();
    // Nobody tells of this push; a selection that is empty is a run all the same.
    let none = NIGHTLY.replace("source-*", "nothing-*");
    world.push(&[(".github/checkvalve.yml", &file(&none))]).await;
    scheduler.pass(at("2026-11-22T02:00:01Z")).await.unwrap();
    assert_eq!(world.runs().await.len(), 0, "the one that was due is gone, the new one is new");
    scheduler.pass(at("2026-11-23T02:00:01Z")).await.unwrap();
    let run = world.planned().await;
    assert_eq!((run.jobs.len(), run.conclusion), (0, Some(Conclusion::Success)));

    // A slip in the file does not end what ran every night: the run says the line.
    world.push(&[(".github/checkvalve.yml", &file(&NIGHTLY.replace("0 2", "0 25")))]).await;
    scheduler.pass(at("2026-11-24T02:00:01Z")).await.unwrap();
    let run = world.planned().await;
    assert_eq!(world.runs().await.len(), 2);
    let problem = run.problem.unwrap();
    assert!(problem.title.contains("the hour can't be `25`"), "{}", problem.title);
    assert_eq!(problem.place.unwrap(), (".github/checkvalve.yml".to_owned(), 9));

    // GitHub is away: the due time is not lost.
    let away = world.sim.git_folder(REPO).unwrap();
    std::fs::rename(&away, away.with_extension("away")).unwrap();
    scheduler.pass(at("2026-11-25T02:00:01Z")).await.unwrap();
    assert_eq!(world.runs().await.len(), 2);
    std::fs::rename(away.with_extension("away"), &away).unwrap();
    scheduler.pass(at("2026-11-25T02:10:00Z")).await.unwrap();
    assert_eq!(world.runs().await.len(), 3);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_app_is_not_any_more_nothing_is_due() {
    let world = World::new(None, NIGHTLY).await;
    let scheduler = world.scheduler("one").await;
    scheduler.list().await.unwrap();
    scheduler.pass(at("2026-11-21T23:00:00Z")).await.unwrap();
    world.sim.uninstall(REPO).unwrap();
    // The event was lost; the list says it all the same.
    scheduler.list().await.unwrap();
    assert_eq!(world.store.withdrawn().await.unwrap(), [world.repository.id]);
    scheduler.pass(at("2026-11-22T02:00:01Z")).await.unwrap();
    assert_eq!(world.runs().await.len(), 0);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_a_name_that_is_not_served_nothing_goes_on() {
    let world = World::new(None, NIGHTLY).await;
    let scheduler = world.scheduler("one").await;
    world.store.see(&world.repository).await.unwrap();
    scheduler.pass(at("2026-11-21T23:00:00Z")).await.unwrap();
    scheduler.pass(at("2026-11-22T02:00:01Z")).await.unwrap();
    world.sim.rename_repository(REPO, "other").unwrap();
    let Repository { id, installation, .. } = world.repository;
    let renamed = serde_json::json!({
        "action": "renamed",
        "repository": { "id": id, "full_name": "acme/other", "private": false },
        "installation": { "id": installation },
    });
    let delivery = NewDelivery {
        guid: "renamed".to_owned(),
        event: "repository".to_owned(),
        action: Some("renamed".to_owned()),
        headers: None,
        body: renamed.to_string().into(),
    };
    world.store.take_in(delivery).await.unwrap();
    let intake = Intake {
        store: world.store.clone(),
        github: scheduler.github.clone(),
        served: Arc::new(Served::parse(REPO).unwrap()),
    };
    while intake.pass(&tokio_util::sync::CancellationToken::new()).await.unwrap() {}
    let run = world.runs().await.remove(0);
    let why = run.cancel.unwrap();
    assert!(why.contains("acme/other") && why.contains("CHECKVALVE_REPOSITORIES"), "{why}");
    let scheduler = Scheduler { served: intake.served, ..scheduler };
    scheduler.pass(at("2026-11-23T02:00:01Z")).await.unwrap();
    assert_eq!(world.runs().await.len(), 1, "its schedules are not followed either");
    world.sim.stop().await;
}
