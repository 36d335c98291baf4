//! The write budget: GitHub's published limits are kept, whatever there is to tell, and nothing is
//! lost for them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

#[path = "support/clock.rs"]
mod clock;
#[path = "store/fixture.rs"]
#[expect(dead_code, reason = "written for the store's stories")]
mod fixture;
#[path = "support/given.rs"]
mod given;
#[path = "budget/heads.rs"]
mod heads;
#[path = "budget/interleavings.rs"]
mod interleavings;
#[path = "budget/names.rs"]
mod names;
#[path = "budget/open.rs"]
mod open;
#[path = "support/pace.rs"]
mod pace;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "budget/reads.rs"]
mod reads;
#[path = "budget/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use github_simulator::SecondaryLimit;
use world::{REPO, SECOND, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_small_pull_request_is_shown_whole_at_once() {
    let (mut world, _, head) = World::running((1, 8)).await;
    // No time goes by: all of it is within what may be written at once.
    world.publish().await;
    let made = world.sim.check_runs(REPO, head.as_str());
    assert_eq!((made.len(), made[0].name.as_str()), (9, "checkvalve"));
    world.end(1, &["source-000"]).await;
    world.settle(SECOND).await;
    let checks = world.checks(&head);
    let of = |name: &str| checks[name].as_str();
    assert_eq!(of("checkvalve"), "failure");
    assert_eq!((of("source-000 / s1"), of("source-000 / s2")), ("success", "failure"));
    assert_eq!((of("source-000 / s3"), checks.len()), ("skipped", 9));
    assert_eq!(world.refused(), 0);
    world.is_clean();
}

/// 300 connectors of eight steps, all over within a minute: a check run for each, the failed steps',
/// and the verdict at once; GitHub never has to refuse.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_three_hundred_connectors_keeps_to_githubs_limits() {
    const STEP: Duration = Duration::from_secs(3);
    let fail = ["source-017", "source-044", "source-211"];
    let (mut world, _, head) = World::running((300, 8)).await;
    let (mut now, mut ended, mut told) = (Duration::ZERO, BTreeMap::new(), BTreeMap::new());
    while told.len() < 301 {
        assert!(now < Duration::from_mins(15), "{} are told", told.len());
        let before = ended.len();
        for nth in before..before + world.end(15, &fail).await {
            ended.insert(nth, now);
        }
        world.publish().await;
        for (name, state) in world.checks(&head) {
            let open = matches!(&*state, "queued" | "in_progress");
            if !open && !name.contains(" / ") {
                told.entry(name).or_insert(now);
            }
        }
        world.skip(STEP).await;
        now += STEP;
    }
    let verdict = told.remove("checkvalve").unwrap();
    let last = *ended.values().max().unwrap();
    let slowest = told.values().enumerate().map(|(nth, told)| told.saturating_sub(ended[&nth]));
    println!(
        "300 connectors x 8 steps: checkvalve concluded {} s after the last step (aim: 10), a \
         connector's check at most {} s after it (aim: 300); {} writes, {} refused (aim: 0)",
        verdict.saturating_sub(last).as_secs(),
        slowest.max().unwrap().as_secs(),
        world.writes(),
        world.refused(),
    );
    assert!(verdict <= last + Duration::from_secs(10), "{verdict:?} for {last:?}");
    // Jobs are taken in their order.
    for (nth, (name, told)) in told.iter().enumerate() {
        assert!(*told <= ended[&nth] + Duration::from_mins(5), "{name}: {told:?}");
    }
    world.settle(STEP).await;
    let checks = world.checks(&head);
    assert!(checks.values().all(|state| !matches!(&**state, "queued" | "in_progress")));
    assert_eq!(checks.len(), 301 + fail.len(), "a failed step has its own");
    for name in fail {
        assert_eq!((&*checks[name], &*checks[&format!("{name} / s2")]), ("failure", "failure"));
    }
    let head = world.check(&head, "checkvalve");
    assert_eq!(head.conclusion.as_deref(), Some("failure"));
    let summary = head.output.summary.unwrap();
    assert!(summary.starts_with("**One check run a connector:**"), "{summary}");
    assert!(summary.contains("One for each of the 2400 steps here would be too many"), "{summary}");
    assert_eq!(world.refused(), 0);
    world.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn detail_is_less_while_the_hour_is_short_and_comes_back() {
    let mut world = World::new().await;
    let repository = world.repository(REPO).await;
    world.use_up(&repository, 380).await;
    let head = world.commit(&repository, "1").await;
    world.run(&repository, &head, (3, 8)).await;
    world.settle(SECOND).await;
    let names = |world: &World| world.checks(&head).into_keys().collect::<Vec<_>>().join(", ");
    assert_eq!(names(&world), "checkvalve, source-000, source-001, source-002");
    // The run goes on; what was made stays and is concluded, in whatever detail.
    world.use_up(&repository, 20).await;
    world.end(1, &[]).await;
    world.settle(SECOND).await;
    assert_eq!(world.checks(&head)["source-000"], "success");
    assert_eq!(world.checks(&head).len(), 4);
    // What fails now has no check run of its own: there is none left. The verdict says all.
    world.end(2, &["source-001"]).await;
    world.settle(SECOND).await;
    assert_eq!(world.checks(&head)["source-001"], "failure");
    assert_eq!(names(&world), "checkvalve, source-000, source-001, source-002");
    let small = world.commit(&repository, "2").await;
    world.run(&repository, &small, (3, 2)).await;
    world.end(3, &[]).await;
    world.settle(SECOND).await;
    assert_eq!(world.checks(&small), [("checkvalve".to_owned(), "success".to_owned())].into());
    let summary = world.check(&small, "checkvalve").output.summary.unwrap();
    assert!(summary.starts_with("**No more check runs than this:**"), "{summary}");

    world.skip(Duration::from_hours(1)).await;
    world.skip(Duration::from_mins(3)).await;
    world.run(&repository, &small, (3, 2)).await;
    world.end(3, &[]).await;
    world.settle(SECOND).await;
    let checks = world.checks(&small);
    assert_eq!((checks.len(), &*checks["source-002 / s1"]), (7, "success"));
    let summary = world.check(&small, "checkvalve").output.summary.unwrap();
    assert!(!summary.contains("check runs an hour"), "{summary}");
    world.is_clean();
}

/// Two processes, two repositories of one installation: one budget, shared fairly; no twin.
#[tokio::test(flavor = "multi_thread")]
async fn two_publishers_share_one_budget() {
    let mut world = World::new().await;
    let repositories = [world.repository(REPO).await, world.repository("acme/others").await];
    assert_eq!(repositories[0].installation, repositories[1].installation);
    let mut heads = Vec::new();
    for repository in &repositories {
        let head = world.commit(repository, "1").await;
        world.run(repository, &head, (25, 3)).await;
        heads.push(head);
    }
    let other = world.another().await;
    let made = |world: &World| {
        let names = [REPO, "acme/others"].into_iter().zip(&heads);
        names.map(|(name, head)| world.sim.check_runs(name, head.as_str())).collect::<Vec<_>>()
    };
    let begun = Instant::now();
    let mut gone = Duration::ZERO;
    while gone < Duration::from_mins(1) {
        let (one, two) = tokio::join!(world.publisher.pass(), other.pass());
        if !(one.unwrap() | two.unwrap()) {
            world.skip(SECOND).await;
            gone += SECOND;
        }
    }
    // Those at once, one a second, and what the machine itself took.
    let most = 20 + 61 + usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!((60..=most).contains(&world.writes()), "{} of {most}", world.writes());
    // What is only queued leaves 8 of 20 to news. Two who do not know of each other write twice as much at once.
    let at_once = pace::at_once(&world.sim.calls());
    assert!((8..=16).contains(&at_once), "{at_once} at once");
    let counts: Vec<usize> = made(&world).iter().map(Vec::len).collect();
    assert!(counts.iter().all(|count| *count >= 25), "{counts:?}");
    while world.end(10, &[]).await > 0 {}
    while world.store.queue().await.unwrap().checks_pending > 0 {
        let (one, two) = tokio::join!(world.publisher.pass(), other.pass());
        if !(one.unwrap() | two.unwrap()) {
            world.skip(SECOND).await;
        }
    }
    for made in made(&world) {
        assert!(made.iter().all(|check| check.conclusion.as_deref() == Some("success")));
        let names: BTreeSet<&str> = made.iter().map(|check| check.name.as_str()).collect();
        assert_eq!((names.len(), made.len()), (76, 76), "a name was made twice");
    }
    assert_eq!(world.refused(), 0);
    world.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_is_told_to_wait_both_do() {
    let mut world = World::new().await;
    let repositories = [world.repository(REPO).await, world.repository("acme/others").await];
    let mut heads = Vec::new();
    for repository in &repositories {
        let head = world.commit(repository, "1").await;
        world.run(repository, &head, (1, 3)).await;
        heads.push(head);
    }
    let other = world.another().await;
    // Each has a token by now, and told about one head.
    assert!(world.publisher.pass().await.unwrap() && other.pass().await.unwrap());
    world.settle(SECOND).await;
    world.end(2, &[]).await;
    let lasts = Duration::from_secs(3);
    for (status, retry_after, remaining_zero) in [(429, true, false), (403, false, true)] {
        let limit = SecondaryLimit { status, lasts, retry_after, remaining_zero };
        world.sim.faults().secondary_limit(limit);
        let (refused, calls) = (world.refused(), world.sim.calls().len());
        assert!(world.publisher.pass().await.unwrap());
        assert_eq!(world.refused(), refused + 1);
        let asked = world.sim.calls().len();
        while other.pass().await.unwrap() {}
        world.publish().await;
        assert_eq!(world.sim.calls().len(), asked, "someone asked all the same");
        assert!(asked > calls);
        // By the machine's own clock: GitHub's client knows no other.
        tokio::time::sleep(lasts + Duration::from_millis(2_500)).await;
    }
    world.settle(SECOND).await;
    assert_eq!(world.refused(), 2);
    assert!(world.checks(&heads[0]).values().all(|state| state == "success"));
    world.is_clean();
}

/// A check run of which nobody knows whether it was made holds up no other, and is made once.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_made_is_looked_for_and_nothing_else_waits() {
    let (mut world, _, head) = World::running((2, 2)).await;
    world.sim.faults().fail_next("POST", "/repos/acme/connectors/check-runs", 1, 502);
    world.publish().await;
    assert!(world.checks(&head).is_empty(), "the first one failed");
    world.skip(Duration::from_secs(2)).await;
    world.publish().await;
    assert_eq!(world.checks(&head).len(), 4, "all but the one in doubt");
    assert!(!world.checks(&head).contains_key("checkvalve"));
    world.end(2, &[]).await;
    let took = world.settle(SECOND).await;
    assert!((50..70).contains(&took.as_secs()), "{took:?}");
    let made = world.sim.check_runs(REPO, head.as_str());
    let names: BTreeSet<&str> = made.iter().map(|check| check.name.as_str()).collect();
    assert_eq!((names.len(), made.len()), (5, 5));
    assert!(made.iter().all(|check| check.conclusion.as_deref() == Some("success")));
    world.is_clean();
}
