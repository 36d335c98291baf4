//! What GitHub shows of a head is true in the end, whatever was refused, lost or turned up late.

use std::path::Path;
use std::time::Duration;

use checkvalve::ambient;
use checkvalve::blobs::Blobs;
use checkvalve::domain::check::{CheckStatus, DesiredCheck};
use checkvalve::domain::ids::CheckId;
use checkvalve::domain::names::Sha;
use checkvalve::domain::trigger::Trigger;
use checkvalve::service::archive::Archivist;
use checkvalve::service::janitor::Janitor;
use github_simulator::{CheckRun, CompletedPatch};

use crate::fixture::{create, new_run, worker};
use crate::world::{REPO, SECOND, World};

const DAY: Duration = Duration::from_hours(24);

pub(crate) async fn janitor(world: &World, folder: &Path) -> Janitor {
    let url = format!("file:{}", folder.join("objects").display()).parse().unwrap();
    let blobs = Blobs::open(&url, |_| None).await.unwrap();
    let (links, scratch) = (world.publisher.links.clone(), folder.join("scratch"));
    Janitor {
        store: world.store.clone(),
        archivist: Archivist::new(world.store.clone(), blobs, links, scratch),
        reaper: None,
        worker: worker(),
        retention: 45 * DAY,
        kept: std::sync::Arc::default(),
    }
}

fn made(world: &World, head: &Sha, name: &str) -> Vec<CheckRun> {
    let all = world.sim.check_runs(REPO, head.as_str());
    all.into_iter().filter(|check| check.name == name).collect()
}

/// A check run that says that it runs.
pub(crate) fn open(head: &Sha, name: &str) -> DesiredCheck {
    DesiredCheck {
        name: name.to_owned(),
        head_sha: head.clone(),
        occasion: String::new(),
        status: CheckStatus::InProgress { started_at: ambient::now() },
        details_url: String::new(),
        title: "Running".to_owned(),
        summary: "A late one.".to_owned(),
        text: None,
        actions: Vec::new(),
        annotations: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conclusion_outlives_days_without_access() {
    let (mut world, repository, head) = World::running((1, 8)).await;
    world.settle(SECOND).await;
    world.end(1, &[]).await;
    // What waited for days is refused once more, since GitHub's replicas do not agree yet.
    world.backdate(4 * DAY).await;
    world.skip(2 * Duration::from_hours(1)).await;
    world.sim.suspend(REPO).unwrap();
    world.publish().await;
    world.sim.unsuspend(REPO).unwrap();
    world.settle(SECOND).await;
    assert_eq!(world.checks(&head)["checkvalve"], "success");

    // Refused for longer than anybody tries: told when the App gets its access back.
    world.run_by((&repository, &head), Trigger::Comment, &[0]).await;
    world.settle(SECOND).await;
    world.end(1, &["source-000"]).await;
    world.sim.suspend(REPO).unwrap();
    world.skip(2 * Duration::from_hours(1)).await;
    world.publish().await;
    for _ in 0..2 {
        world.skip(2 * DAY).await;
        world.publish().await;
    }
    assert_eq!(world.store.queue().await.unwrap().checks_pending, 0, "given up");
    world.sim.unsuspend(REPO).unwrap();
    world.store.publish_again(repository.installation).await.unwrap();
    world.settle(SECOND).await;
    assert_eq!(world.checks(&head)["checkvalve"], "failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_run_that_stays_gets_the_annotations_of_every_occasion() {
    let mut world = World::new().await;
    let repository = world.repository(REPO).await;
    world.use_up(&repository, 380).await;
    let head = world.commit(&repository, "1").await;
    world.run(&repository, &head, (3, 8)).await;
    world.settle(SECOND).await;
    world.end_finding(1..61).await;
    world.settle(SECOND).await;
    let name = "source-000 / s2";
    assert_eq!(world.check(&head, name).output.annotations.len(), 60);

    // There is no room for another one of it: the same says how it ended this time.
    world.run_by((&repository, &head), Trigger::Comment, &[0]).await;
    // Who waits at a screen comes first.
    world.end_finding(101..171).await;
    world.end(2, &[]).await;
    world.settle(SECOND).await;
    assert_eq!(made(&world, &head, name).len(), 1);
    let lines = world.check(&head, name).output.annotations;
    let lines: std::collections::BTreeSet<u64> =
        lines.iter().map(|it| it["start_line"].as_u64().unwrap()).collect();
    assert_eq!(lines.len(), 130);
    assert_eq!(world.check(&head, name).output.annotations.len(), 130, "each once");

    // Somebody presses "Re-run" on it: they see that it runs.
    world.run_by((&repository, &head), Trigger::Button, &[0]).await;
    world.settle(SECOND).await;
    assert_eq!(world.checks(&head)[name], "queued");
    assert_eq!(made(&world, &head, name).len(), 2);
    world.end(1, &[]).await;
    world.settle(SECOND).await;
    assert_eq!(world.checks(&head)[name], "success");
    world.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_refuses_keeps_no_annotations_of_others_back() {
    let (mut world, _, head) = World::running((1, 3)).await;
    world.settle(SECOND).await;
    let verdict = world.check(&head, "checkvalve").id;
    let path = format!("/repos/{REPO}/check-runs/{verdict}");
    world.sim.faults().fail_next("PATCH", &path, 1_000, 422);
    world.end_finding(1..61).await;
    for _ in 0..12 {
        world.publish().await;
        world.skip(SECOND).await;
    }
    let unit = world.check(&head, "source-000 / s2");
    assert_eq!((unit.conclusion.as_deref(), unit.output.annotations.len()), (Some("failure"), 60));
    let asked = world.sim.calls().iter().filter(|call| call.path.ends_with(&path)).count();
    assert!(asked <= 4, "the refused one was asked about {asked} times");
    assert_eq!(world.store.queue().await.unwrap().checks_pending, 0, "it is left at that");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_lost_or_shows_otherwise_is_set_right() {
    let (mut world, repository, head) = World::running((1, 3)).await;
    world.end(1, &[]).await;
    world.settle(SECOND).await;
    let lost = world.check(&head, "source-000 / s1").id;
    world.sim.lose_check_run(REPO, lost).unwrap();
    world.sim.faults().completed_patch(CompletedPatch::Allow);
    let github = world.publisher.github.clone();
    let untrue = world.check(&head, "source-000 / s0");
    github.update_check(&repository, untrue.id, &open(&head, &untrue.name)).await.unwrap();
    assert_eq!(world.checks(&head)["source-000 / s0"], "in_progress");
    world.compare().await;
    let checks = world.checks(&head);
    assert_eq!(checks.len(), 4, "{checks:?}");
    assert!(checks.values().all(|state| state == "success"), "{checks:?}");

    // All is well: the next time costs nothing.
    world.compare().await;
    let before = world.sim.calls().len();
    world.compare().await;
    let calls = world.sim.calls().split_off(before);
    let told: Vec<(&str, u16)> = calls.iter().map(|call| (&*call.method, call.status)).collect();
    assert_eq!(told, [("GET", 304)]);
    let counts = world.store.counts().await.unwrap();
    let found = |what: &str| {
        let of = |labels: &[(String, String)]| labels.iter().any(|(_, found)| found == what);
        counts.iter().find(|(_, labels, _)| of(labels)).map(|(.., count)| *count)
    };
    assert_eq!((found("lost"), found("untrue"), found("nothing")), (Some(1), Some(1), Some(2)));
    // Nobody looks at what is weeks old.
    world.skip(20 * DAY).await;
    world.compare().await;
    let before = world.sim.calls().len();
    world.skip(20 * DAY).await;
    world.compare().await;
    assert_eq!(world.sim.calls().len(), before);
    world.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_run_that_is_lost_before_its_end_is_made_again() {
    let (mut world, _, head) = World::running((1, 3)).await;
    world.settle(SECOND).await;
    for name in ["checkvalve", "source-000 / s1"] {
        world.sim.lose_check_run(REPO, world.check(&head, name).id).unwrap();
    }
    world.skip(Duration::from_mins(3)).await;
    world.end(1, &[]).await;
    let took = world.settle(SECOND).await;
    assert!(took < Duration::from_secs(30), "{took:?}");
    let checks = world.checks(&head);
    assert_eq!(checks.len(), 4, "{checks:?}");
    assert!(checks.values().all(|state| state == "success"), "{checks:?}");
    world.is_clean();
}

/// After a create whose outcome nobody knew, say: GitHub shows the newest of a name.
#[tokio::test(flavor = "multi_thread")]
async fn twins_that_turn_up_late_are_concluded_as_ours_are() {
    let (mut world, repository, head) = World::running((1, 2)).await;
    world.settle(SECOND).await;
    let github = world.publisher.github.clone();
    let ours = world.check(&head, "checkvalve");
    let twin: CheckId = ours.external_id.parse().unwrap();
    let nobodys = || CheckId::new(ambient::ulid());
    let late = [("checkvalve", twin), ("source-000 / s0", nobodys()), ("source-999", nobodys())];
    for (name, id) in late {
        github.create_check(&repository, &open(&head, name), id).await.unwrap();
    }
    world.compare().await;
    assert_eq!(world.checks(&head)["source-999"], "cancelled", "no run stands behind it");
    assert_eq!(world.checks(&head)["source-000 / s0"], "in_progress", "what it is of is open");
    world.end(1, &[]).await;
    world.settle(SECOND).await;
    world.compare().await;
    let all = world.sim.check_runs(REPO, head.as_str());
    assert!(all.iter().all(|check| check.status == "completed"), "{all:?}");
    for name in ["checkvalve", "source-000 / s0"] {
        let made = made(&world, &head, name);
        let conclusions: Vec<_> = made.iter().map(|check| check.conclusion.as_deref()).collect();
        assert_eq!(conclusions, [Some("success"); 2], "{name}");
    }
    let before = world.writes();
    world.compare().await;
    world.compare().await;
    assert_eq!(world.writes(), before, "nothing is told twice");
    world.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn github_is_away_for_an_hour_and_back() {
    let (mut world, _, head) = World::running((2, 2)).await;
    world.settle(SECOND).await;
    world.end(1, &[]).await;
    // A call is tried four times; then the head waits, and nothing of it is lost.
    world.sim.faults().fail_next("PATCH", "/repos/acme/connectors/check-runs/", 4, 502);
    world.publish().await;
    assert_eq!(world.checks(&head)["source-000 / s1"], "queued");
    world.end(1, &[]).await;
    world.skip(Duration::from_hours(1)).await;
    world.settle(SECOND).await;
    let checks = world.checks(&head);
    assert!(checks.values().all(|state| state == "success"), "{checks:?}");
    assert_eq!(world.sim.check_runs(REPO, head.as_str()).len(), 5, "none was made twice");
    world.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_began_ends_before_github_calls_it_stale() {
    let mut world = World::new().await;
    let repository = world.repository(REPO).await;
    let head = world.commit(&repository, "1").await;
    let new = new_run('a', "1");
    let new =
        checkvalve::store::NewRun { repository: repository.clone(), head_sha: head.clone(), ..new };
    create(&world.store, new).await;
    world.settle(SECOND).await;
    assert_eq!(world.checks(&head)["checkvalve"], "queued");
    let folder = tempfile::tempdir().unwrap();
    let janitor = janitor(&world, folder.path()).await;
    janitor.tidy().await.unwrap();
    world.settle(SECOND).await;
    assert_eq!(world.checks(&head)["checkvalve"], "queued", "a day is no fortnight");
    world.skip(13 * DAY + Duration::from_hours(1)).await;
    janitor.tidy().await.unwrap();
    world.settle(SECOND).await;
    let check = world.check(&head, "checkvalve");
    assert_eq!(check.conclusion.as_deref(), Some("cancelled"));
    let title = check.output.title.unwrap_or_default();
    assert!(title.contains("did not end within 13 days"), "{title}");
    world.is_clean();
}
