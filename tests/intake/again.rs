//! What somebody has handled again gives way to what comes now.

use std::sync::Arc;
use std::time::{Duration, Instant};

use checkvalve::config::server::Served;
use checkvalve::service::ledger::SharedPoints;
use checkvalve::store::{NewDelivery, RunQuery};
use github_simulator::{Delivery, Permission, RepositoryOptions};

use crate::{REPO, World, as_sent, client};

/// A repository of another installation.
const OTHER: &str = "umbrella/connectors";
const MANY: usize = 30;
/// Of calls an hour.
const LIMIT: u64 = 40;

/// Calls that count against an installation's limit.
fn reads(world: &World) -> usize {
    world.sim.calls().iter().filter(|call| call.path.starts_with("/repos/")).count()
}

/// Two repositories of two installations, and of each how its pull request was opened.
async fn two_installations() -> (World, Vec<Delivery>) {
    let mut world = World::new().await;
    world.intake.served = Arc::new(Served::parse(&format!("{REPO},{OTHER}")).unwrap());
    world.sim.create_repository(OTHER, RepositoryOptions::default()).await.unwrap();
    world.sim.set_permission(OTHER, "ada", Permission::Write);
    let mut opened = Vec::new();
    for repository in [REPO, OTHER] {
        world.push(repository, "main", "the beginning").await;
        world.push(repository, "change", "new").await;
        world.open(repository, "change").await;
        world.tell().await;
        opened.push(world.sent("pull_request", "opened"));
    }
    (world, opened)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handled_again_leaves_half_of_githubs_limit_to_what_comes() {
    let mut world = World::new().await;
    world.push(REPO, "change", "new").await;
    world.open(REPO, "change").await;
    world.tell().await;
    let opened = world.sent("pull_request", "opened");
    let guids: Vec<String> = (0..MANY).map(|nth| format!("again-{nth}")).collect();
    for guid in &guids {
        let one = Delivery { guid: guid.clone(), ..opened.clone() };
        world.store.take_in(as_sent(&one)).await.unwrap();
    }
    world.handle().await;
    world.sim.primary_limit(Some(LIMIT));
    world.reconnect();
    let before = reads(&world);
    let found = world.store.handle_again(&guids, ("ada", "command")).await.unwrap();
    assert_eq!(found.len(), MANY);
    world.handle().await;
    let spent = u64::try_from(reads(&world) - before).unwrap();
    assert!((LIMIT / 2..LIMIT * 3 / 4).contains(&spent), "{spent} calls");
    let waiting = world.store.queue().await.unwrap().deliveries_pending;
    assert!(waiting > 0);

    // What comes now is handled at once, before those.
    let fresh = NewDelivery { guid: "fresh".to_owned(), ..as_sent(&opened) };
    world.store.take_in(fresh).await.unwrap();
    world.handle().await;
    assert_eq!(world.handled("fresh").await.0, "done");
    assert_eq!(world.store.queue().await.unwrap().deliveries_pending, waiting);

    // In the next hour they go on.
    world.sim.primary_limit(None);
    world.reconnect();
    world.handle().await;
    assert_eq!(world.store.queue().await.unwrap().deliveries_pending, 0);
    world.sim.stop().await;
}

/// A branch that is new has nothing to be compared with but what ran last, which is another one later.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_push_of_a_branch_that_is_handled_again_is_the_same_push() {
    let mut world = World::new().await;
    let is_push = |one: &Delivery| one.event == "push";
    let first = world.sim.deliveries().into_iter().find(is_push).unwrap();
    world.push(REPO, "main", "more").await;
    world.tell().await;
    let before = world.store.runs(&RunQuery::default()).await.unwrap();
    assert_eq!(before.len(), 2);
    world.handle_again(&first.guid).await;
    let runs = world.store.runs(&RunQuery::default()).await.unwrap();
    assert_eq!(runs.len(), 2, "{}", world.handled(&first.guid).await.1);
    world.sim.stop().await;
}

/// The same of points: who has used up what there is for a minute is passed over, and keeps its turn.
#[tokio::test(flavor = "multi_thread")]
async fn an_installation_without_points_keeps_no_other_ones_waiting() {
    let (mut world, opened) = two_installations().await;
    let installation = world.repository().await.installation;
    let points = SharedPoints { store: world.store.clone() };
    world.intake.github = Arc::new(client(&world.sim).sharing(Arc::new(points)));
    // All that there is, and what may be waited for.
    while world.store.take_points(Some(installation), 20).await.unwrap().is_some() {}
    let guids: Vec<String> = (0..MANY).map(|nth| format!("come-{nth}")).collect();
    for (nth, guid) in guids.iter().enumerate() {
        // The last one is the other installation's.
        let of = &opened[usize::from(nth + 1 == MANY)];
        let one = Delivery { guid: guid.clone(), ..of.clone() };
        world.store.take_in(as_sent(&one)).await.unwrap();
    }
    let began = Instant::now();
    world.handle().await;
    // Each of them would wait for a second or more.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(world.handled(&guids[MANY - 1]).await.0, "done");
    let (state, note) = world.handled(&guids[MANY - 2]).await;
    assert_eq!((state.as_str(), note.starts_with("waits: ")), ("waiting", true), "{note}");
    // And they are handled when there are more.
    let until = began + Duration::from_mins(2);
    while world.handled(&guids[MANY - 2]).await.0 != "done" {
        assert!(Instant::now() < until, "{:?}", world.handled(&guids[MANY - 2]).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.handle().await;
    }
    let row = world.store.delivery(&guids[MANY - 2]).await.unwrap().unwrap().row;
    assert!(row.attempt <= 3, "to wait for its turn was no try: {}", row.attempt);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_without_room_keeps_no_other_ones_waiting() {
    let (mut world, opened) = two_installations().await;
    let guids: Vec<String> = (0..MANY).map(|nth| format!("again-{nth}")).collect();
    for (nth, guid) in guids.iter().enumerate() {
        // The last one is the other installation's.
        let of = &opened[usize::from(nth + 1 == MANY)];
        let one = Delivery { guid: guid.clone(), ..of.clone() };
        world.store.take_in(as_sent(&one)).await.unwrap();
    }
    world.handle().await;
    world.sim.primary_limit(Some(LIMIT));
    world.reconnect();
    world.store.handle_again(&guids, ("ada", "command")).await.unwrap();
    world.handle().await;
    let (first, last) = (world.handled(&guids[0]).await.0, world.handled(&guids[MANY - 1]).await.0);
    assert_eq!((first.as_str(), last.as_str()), ("done", "done"));
    let (state, note) = world.handled(&guids[MANY - 2]).await;
    assert_eq!((state.as_str(), note.starts_with("waits: ")), ("waiting", true), "{note}");
    world.sim.stop().await;
}
