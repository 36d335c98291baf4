//! What a host of GitHub's does not know, or not yet: that is no pull request that was closed, and nobody
//! who may do nothing.

use std::time::Duration;

use checkvalve::domain::state::RunState;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::comments::{reactions, replies, skip, with_pull};
use crate::{REPO, World};

fn path(number: u64) -> String {
    format!("/repos/{REPO}/pulls/{number}")
}

fn reads(world: &World, number: u64) -> usize {
    let path = path(number);
    let calls = world.sim.calls();
    calls.iter().filter(|call| call.method == "GET" && call.path == path).count()
}

/// What waits is tried again.
async fn again(world: &World, clock: &mut Clock) {
    skip(world, clock, Duration::from_mins(1)).await;
    world.handle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_ends_no_run() {
    let (mut world, number, mut clock) = with_pull().await;
    world.sim.convert_to_draft(REPO, number, "ada").await.unwrap();
    world.tell().await;
    world.sim.ready_for_review(REPO, number, "ada").await.unwrap();
    let ready = world.sent("pull_request", "ready_for_review");
    // The first read is answered, and the second one by a host that does not know it.
    let before = reads(&world, number);
    world.sim.faults().latency(Duration::from_millis(300));
    world.store.take_in(crate::as_sent(&ready)).await.unwrap();
    let intake = world.intake.clone();
    let handling =
        tokio::spawn(async move { intake.pass(&CancellationToken::new()).await.unwrap() });
    while reads(&world, number) == before {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    world.sim.faults().fail_next("GET", &path(number), 1, 404);
    handling.await.unwrap();
    world.sim.faults().latency(Duration::ZERO);
    let untouched = async |world: &World| {
        let run = world.runs().await.remove(0);
        (run.state, run.cancel) == (RunState::Queued, None)
    };
    assert!(untouched(&world).await);
    assert_eq!(world.handled(&ready.guid).await.0, "waiting");
    again(&world, &mut clock).await;
    assert_eq!(world.handled(&ready.guid).await.0, "done");

    // Nor does one that goes on failing, which is believed in the end.
    world.sim.faults().fail_next("GET", &path(number), 1000, 404);
    world.handle_again(&ready.guid).await;
    for _ in 0..3 {
        assert_eq!(world.handled(&ready.guid).await.0, "waiting");
        again(&world, &mut clock).await;
    }
    assert_eq!(world.handled(&ready.guid).await.0, "refused");
    assert!(untouched(&world).await);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_yet_is_asked_for_again() {
    let (mut world, _, mut clock) = with_pull().await;
    world.push(REPO, "another", "two").await;
    let number = world.open(REPO, "another").await;
    let comment = world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.sim.faults().fail_next("GET", &path(number), 2, 404);
    world.tell().await;
    assert_eq!(world.runs().await.len(), 1);
    for (event, action) in [("pull_request", "opened"), ("issue_comment", "created")] {
        assert_eq!(world.handled(&world.sent(event, action).guid).await.0, "waiting", "{event}");
    }
    again(&world, &mut clock).await;
    assert_eq!(world.runs().await.len(), 3, "its own, and the one that was asked for");
    assert_eq!(reactions(&world, number, comment), ["eyes", "rocket"]);
    assert_eq!(replies(&world, number), Vec::<String>::new());
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_had_says_nothing_of_who_may_what() {
    let (mut world, number, mut clock) = with_pull().await;
    world.reconnect();
    let comment = world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.sim.faults().fail_next("POST", "/app/installations/", 1, 404);
    world.tell().await;
    assert_eq!(world.runs().await.len(), 1);
    again(&world, &mut clock).await;
    assert_eq!(world.runs().await.len(), 2);
    assert_eq!(reactions(&world, number, comment), ["eyes", "rocket"]);
    world.sim.stop().await;
}
