//! GitHub, or git alone, is away, or does not know us yet: that is waited for, and said.

use std::time::{Duration, Instant};

use github_simulator::Away;

use crate::clock::Clock;
use crate::world::{REPO, Steps, World};
use crate::{FILES, change, title};

const MINUTES: Duration = Duration::from_mins(5);

async fn clock(world: &World) -> Clock {
    Clock::of_state(&world.state.path().join("state")).await
}

fn tries(world: &World) -> usize {
    world.server_log().matches("planning failed").count()
}

/// Time goes by until planning was tried once more. What has failed is told a moment before its next try is
/// put off: time that went by in between would be lost on it, and goes by again.
async fn another_try(world: &World, clock: &mut Clock) {
    let before = tries(world);
    for _ in 0..10 {
        clock.skip(MINUTES).await;
        let looked = Instant::now();
        while looked.elapsed() < Duration::from_secs(9) {
            if tries(world) > before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    panic!("planning was not tried again; the server's log: {}", world.server_log());
}

/// Time goes by, as above, until both have their verdict.
async fn until_green(world: &World, clock: &mut Clock, heads: [&str; 2]) {
    let is_green = |head: &str| {
        let mut checks = world.checks(head).into_iter();
        checks.any(|check| {
            check.name == "checkvalve" && check.conclusion.as_deref() == Some("success")
        })
    };
    for _ in 0..10 {
        clock.skip(MINUTES).await;
        let looked = Instant::now();
        while looked.elapsed() < Duration::from_secs(9) {
            if heads.into_iter().all(is_green) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    panic!("no verdict came; the server's log: {}", world.server_log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_without_github_is_waited_out_and_every_check_ends_green() {
    let world = World::new(Steps::Host, FILES).await;
    let mut clock = clock(&world).await;
    world.sim.faults().away(Away::Git);
    let first = change(&world, "first").await;
    world.open("first").await;
    world
        .until("the check says what it waits for", async |world: &World| {
            title(world, &first, "checkvalve") == "Waiting to read the change"
        })
        .await;
    let check = world.check(&first, "checkvalve");
    assert_eq!(check.status, "queued");
    let summary = check.output.summary.unwrap();
    assert!(summary.contains("GitHub does not answer git"), "{summary}");

    world.sim.faults().away(Away::Everything);
    let second = change(&world, "second").await;
    world.open("second").await;
    for _ in 0..12 {
        another_try(&world, &mut clock).await;
    }
    world.sim.faults().away(Away::Nothing);
    until_green(&world, &mut clock, [&first, &second]).await;
    for head in [&first, &second] {
        world.until_check(head, "source-a / unit", "success").await;
        let red = world.sim.check_runs(REPO, head).into_iter();
        let red = red.filter(|check| check.conclusion.as_deref() == Some("failure"));
        assert_eq!(red.count(), 0, "nothing was ever red");
    }
    assert_eq!(world.runs().await.len(), 2, "nobody had to ask again");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_git_does_not_know_yet_reddens_nothing() {
    let mut world = World::new(Steps::Host, FILES).await;
    let mut clock = clock(&world).await;
    world.sim.faults().away(Away::Git);
    let head = change(&world, "change").await;
    world.open("change").await;
    world.until("planning was tried", async |world: &World| tries(world) > 0).await;
    world.kill();
    // The first thing that the new process does is to plan, with a new token.
    world.sim.faults().away(Away::Nothing);
    world.sim.faults().fresh_tokens_after(Duration::from_millis(2500));
    clock.skip(MINUTES).await;
    world.start().await;
    world.until_check(&head, "checkvalve", "success").await;
    assert!(world.server_log().contains("is not there or may not be read"), "git was not refused");
    let calls = world.sim.calls();
    let git = |status: u16| calls.iter().any(|c| c.path.contains(".git/") && c.status == status);
    assert!(git(401) && git(200));
    assert_eq!(world.sim.check_runs(REPO, &head).len(), 2, "no check run was concluded before");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_stays_closed_is_said_to_be_in_the_end_and_retest_mends_it() {
    let world = World::new(Steps::Host, FILES).await;
    let mut clock = clock(&world).await;
    let head = change(&world, "change").await;
    world.sim.faults().fail_next("GIT", "/acme/connectors.git", 1_000, 403);
    let number = world.open("change").await;
    world.until("it was tried", async |world: &World| tries(world) > 0).await;
    // Nine times in all; what is told of it comes a little later.
    while tries(&world) < 9 {
        another_try(&world, &mut clock).await;
    }
    assert_eq!(tries(&world), 9);
    world.until_check(&head, "checkvalve", "failure").await;
    let title = title(&world, &head, "checkvalve");
    assert!(title.starts_with("Infrastructure error"), "{title}");

    world.sim.faults().fail_no_more();
    world.sim.comment(REPO, number, "ada", "/retest").await.unwrap();
    world.settle().await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));
    assert_eq!(world.check(&head, "source-a / unit").conclusion.as_deref(), Some("success"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_source_can_not_be_had_waits_for_it() {
    let mut world = World::new(Steps::Host, FILES).await;
    let head = world.push("change", &[("source-a/unit.sh", "sleep 2; echo fine\n")]).await;
    world.open("change").await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    world.kill();
    // As on another host, which has not read the repository yet.
    std::fs::remove_dir_all(world.state.path().join("state/git")).unwrap();
    world.sim.faults().away(Away::Git);
    world.start().await;
    world
        .until("the check says what it waits for", async |world: &World| {
            title(world, &head, "source-a / unit") == "Waiting to read the commit"
        })
        .await;
    let summary = world.check(&head, "source-a / unit").output.summary.unwrap();
    assert!(summary.contains("GitHub does not answer git"), "{summary}");
    // Longer than what it was given up after: the third claim.
    let postponed =
        async |world: &World| world.server_log().matches("the job is tried again in").count() >= 4;
    world.until("it was tried four times", postponed).await;
    world.sim.faults().away(Away::Nothing);
    world.until_check(&head, "checkvalve", "success").await;
    assert_eq!(world.runs().await.len(), 1);
    world.finish().await;
}
