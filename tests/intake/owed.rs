//! What a loss of access has ended is owed, and what is seen newer meanwhile stays.

use std::sync::Arc;
use std::time::Duration;

use checkvalve::ambient;
use checkvalve::config::server::Served;
use checkvalve::domain::ids::{JobId, WorkerId};
use checkvalve::domain::impact::ChangeKind;
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::plan::{Inputs, Plan};
use checkvalve::domain::run::Selection;
use checkvalve::domain::state::RunState;
use checkvalve::store::{Lease, NewDelivery, NewJob, PlannedRun};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::access::{pull_that_runs, scheduler};
use crate::{REPO, World};

const LONG: Duration = Duration::from_mins(10);

/// What GitHub sends of the App's installation is lost.
async fn tell_nothing_of_the_installation(world: &mut World) {
    world.tell_those(|one| !one.event.starts_with("installation")).await;
}

/// Plans the pull request's run, and takes its job in hand.
async fn take(world: &World) -> Lease {
    let worker = || WorkerId::new(ambient::ulid());
    let lease = world.store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    assert!(lease.run.pull.is_some());
    let steps = vec![StepSpec::new("unit".parse().unwrap())];
    let name = "source-a".parse().unwrap();
    let plan = Plan::new(name, "source-a".to_owned(), Inputs::default(), steps).unwrap();
    let job = NewJob {
        id: JobId::new(ambient::ulid()),
        change: ChangeKind::Modified,
        reasons: Vec::new(),
        plan,
        left_out: Vec::new(),
    };
    let selection = Selection { complete: true, ..Selection::default() };
    let planned = PlannedRun { merge_base: None, selection, jobs: vec![job] };
    world.store.settle_planning(lease, planned).await.unwrap();
    world.store.claim_job(worker(), LONG).await.unwrap().unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_read_when_access_came_back_is_resumed_by_a_later_list() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    world.sim.unsuspend(REPO).unwrap();
    tell_nothing_of_the_installation(&mut world).await;
    let scheduler = scheduler(&world);
    // GitHub's hosts do not agree yet.
    world.sim.faults().fail_next("GET", &format!("/repos/{REPO}/pulls"), 1, 404);
    assert!(scheduler.list().await.is_err());
    assert_eq!(world.withdrawn().await, Vec::<u64>::new(), "what comes now is not to wait");
    assert_eq!(world.runs().await.len(), 1);
    for _ in 0..2 {
        scheduler.list().await.unwrap();
        let runs = world.runs().await;
        assert_eq!((runs.len(), runs[0].state), (2, RunState::Queued), "once");
    }
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_not_stopped_when_access_is_back_is_owed_all_the_same() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    let _held = take(&world).await;
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    let run = world.runs().await.remove(0);
    assert_eq!((run.state, run.cancel.is_some()), (RunState::Running, true), "it is only asked");
    world.sim.unsuspend(REPO).unwrap();
    world.tell().await;
    let runs = world.runs().await;
    assert_eq!((runs.len(), runs[0].state), (2, RunState::Queued));
    world.handle_again(&world.sent("installation", "unsuspend").guid).await;
    scheduler(&world).list().await.unwrap();
    assert_eq!(world.runs().await.len(), 2, "once");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_resumed_is_read_anew_and_overwrites_nothing() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    let head = world.runs().await[0].head_sha.clone();
    let number = world.runs().await[0].pull.unwrap();
    let seen = async |world: &World| {
        let id = world.repository().await.id;
        world.store.pull(id, number).await.unwrap().unwrap()
    };
    let before = seen(&world).await;
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    world.push(REPO, "main", "meanwhile").await;
    world.sim.unsuspend(REPO).unwrap();
    world.tell().await;
    let runs = world.runs().await;
    assert_eq!((runs.len(), &runs[0].head_sha), (2, &head));
    assert_eq!(seen(&world).await, before, "a list is no news of what was seen");

    // Closed after the list was read.
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    world.sim.unsuspend(REPO).unwrap();
    let unsuspended = world.sent("installation", "unsuspend");
    let listed = |world: &World| {
        let path = format!("/repos/{REPO}/pulls");
        world.sim.calls().iter().filter(|call| call.path == path).count()
    };
    let lists = listed(&world);
    world.sim.faults().latency(Duration::from_secs(1));
    world.store.take_in(crate::as_sent(&unsuspended)).await.unwrap();
    let intake = world.intake.clone();
    let handling =
        tokio::spawn(async move { intake.pass(&CancellationToken::new()).await.unwrap() });
    while listed(&world) == lists {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    handling.await.unwrap();
    assert_eq!(world.handled(&unsuspended.guid).await.0, "done");
    assert_eq!(world.runs().await.len(), 2, "nobody waits for it");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_may_not_be_read_does_not_have_the_whole_installation_read_again() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    world.sim.unsuspend(REPO).unwrap();
    world.sim.faults().fail_next("GET", &format!("/repos/{REPO}/pulls"), 1, 404);
    world.tell().await;
    let (state, note) = world.handled(&world.sent("installation", "unsuspend").guid).await;
    assert_eq!((state.as_str(), note.contains("1 could not be read")), ("done", true), "{note}");
    assert_eq!(world.withdrawn().await, Vec::<u64>::new());
    scheduler(&world).list().await.unwrap();
    assert_eq!(world.runs().await.len(), 2);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_group_is_gone_with_the_access_to_it() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    let number = world.runs().await[0].pull.unwrap();
    let group = world.sim.enqueue(REPO, &[number], "ada").await.unwrap();
    world.tell().await;
    let (repository, head) = (world.repository().await.id, group.head_sha.parse().unwrap());
    assert_eq!(world.store.runs_of_head(repository, &head).await.unwrap().len(), 1);
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    world.sim.dequeue(REPO, number, "ada").await.unwrap();
    world.sim.unsuspend(REPO).unwrap();
    world.tell().await;
    assert_eq!(world.store.gone_groups(repository, &head).await.unwrap().len(), 1);
    world.sim.stop().await;
}

/// How often the open pull requests were listed.
fn lists(world: &World) -> usize {
    let path = format!("/repos/{REPO}/pulls");
    world.sim.calls().iter().filter(|call| call.path == path).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_that_was_closed_when_nobody_was_told_is_owed_nothing() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    let number = world.runs().await[0].pull.unwrap();
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.sim.unsuspend(REPO).unwrap();
    world.tell().await;
    let known = world.store.pull(world.repository().await.id, number).await.unwrap().unwrap();
    assert!(!known.facts.open);
    let before = lists(&world);
    scheduler(&world).list().await.unwrap();
    assert_eq!((lists(&world), world.runs().await.len()), (before, 1), "nor is it asked about");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_pushed_to_when_nobody_was_told_is_resumed_with_what_it_is_now() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    let head = world.push(REPO, "change", "newer").await;
    world.sim.unsuspend(REPO).unwrap();
    tell_nothing_of_the_installation(&mut world).await;
    let scheduler = scheduler(&world);
    world.sim.faults().fail_next("GET", &format!("/repos/{REPO}/pulls"), 1, 404);
    assert!(scheduler.list().await.is_err());
    for _ in 0..2 {
        scheduler.list().await.unwrap();
        let runs = world.runs().await;
        assert_eq!((runs.len(), runs[0].head_sha.as_str()), (2, head.as_str()));
    }
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_to_mend_keeps_no_list_from_its_end_and_no_repository_public() {
    let mut world = World::new().await;
    pull_that_runs(&mut world).await;
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    world.sim.unsuspend(REPO).unwrap();
    tell_nothing_of_the_installation(&mut world).await;
    let scheduler = scheduler(&world);
    world.sim.faults().fail_next("GET", &format!("/repos/{REPO}/pulls"), 2, 404);
    assert!(scheduler.list().await.is_err(), "it is back a moment ago: GitHub may not know it yet");
    assert_eq!(world.withdrawn().await, Vec::<u64>::new());
    world.sim.set_private(REPO, true).unwrap();
    let before = lists(&world);
    scheduler.list().await.unwrap();
    assert_eq!(lists(&world) - before, 1, "it is owed a run");
    assert!(world.repository().await.private);
    scheduler.list().await.unwrap();
    assert_eq!(world.runs().await.len(), 2);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_word_of_another_name_ends_nothing() {
    let mut world = World::new().await;
    world.intake.served = Arc::new(Served::parse(REPO).unwrap());
    pull_that_runs(&mut world).await;
    let known = world.repository().await;
    let late = |guid: &str, installation: u64| NewDelivery {
        guid: guid.to_owned(),
        event: "repository".to_owned(),
        action: Some("renamed".to_owned()),
        headers: None,
        body: json!({
            "action": "renamed",
            "repository": { "id": known.id, "full_name": "acme/other", "private": false },
            "installation": { "id": installation },
        })
        .to_string()
        .into(),
    };
    // It was called so for a while, and is not any more.
    world.store.take_in(late("renamed", known.installation)).await.unwrap();
    world.handle().await;
    assert_eq!(world.handled("renamed").await.0, "done");
    assert_eq!(world.repository().await, known);
    assert_eq!(world.runs().await[0].cancel, None);

    // Of an installation that it had before, nor is it given back by that.
    world.sim.suspend(REPO).unwrap();
    world.tell().await;
    world.store.take_in(late("old", 999_999_999)).await.unwrap();
    world.handle().await;
    assert_eq!(world.withdrawn().await, [known.id]);
    assert_eq!(world.repository().await, known);
    world.sim.stop().await;
}
