//! Check runs that say in their names for whom they are, and are to be called otherwise, where GitHub
//! refuses it.

use std::time::Duration;

use checkvalve::domain::names::Sha;
use checkvalve::domain::run::Repository;
use checkvalve::store::{NewRun, PlannedRun};
use github_simulator::Call;

use crate::fixture::{create_with, new_run, planned};
use crate::world::{REPO, SECOND, World, job};

const OLD: &str = "source-000 / s2 (→ main)";
const NEW: &str = "source-000 / s2 (→ next)";

/// A run of a pull request against this base, of so many connectors.
async fn run(
    world: &World,
    (repository, head): (&Repository, &Sha),
    (pull, base): (u64, &str),
    connectors: usize,
) {
    let new = NewRun {
        repository: repository.clone(),
        head_sha: head.clone(),
        pull: Some(pull),
        base_ref: base.to_owned(),
        ..new_run('a', base)
    };
    let jobs = (0..connectors).map(|nth| job(nth, 3)).collect();
    create_with(&world.store, new, PlannedRun { jobs, ..planned(&[]) }).await;
}

/// Two pull requests with one head, for which a step came out differently; told a moment ago.
async fn differing_now() -> (World, Repository, Sha) {
    let mut world = World::new().await;
    let repository = world.repository(REPO).await;
    let head = world.commit(&repository, "1").await;
    for whose in [(1, "main"), (2, "release")] {
        run(&world, (&repository, &head), whose, 1).await;
    }
    world.end(1, &["source-000"]).await;
    world.end(1, &[]).await;
    world.settle(SECOND).await;
    assert_eq!(world.checks(&head)[OLD], "failure");
    (world, repository, head)
}

/// The same, minutes ago.
async fn differing() -> (World, Repository, Sha) {
    let (mut world, repository, head) = differing_now().await;
    world.skip(Duration::from_mins(3)).await;
    (world, repository, head)
}

/// How often GitHub was asked to change this check run.
fn changes(world: &World, id: u64) -> usize {
    let path = format!("/check-runs/{id}");
    let is_one = |call: &&Call| call.method == "PATCH" && call.path.ends_with(&path);
    world.sim.calls().iter().filter(is_one).count()
}

/// So many jobs end well, one in each `pause`, and each time all is published that may be.
async fn end_one_by_one(world: &mut World, jobs: usize, pause: Duration) {
    for _ in 0..jobs {
        world.end(1, &[]).await;
        world.publish().await;
        world.skip(pause).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_github_refuses_is_not_asked_for_again() {
    let (mut world, repository, head) = differing().await;
    let id = world.check(&head, OLD).id;
    let before = changes(&world, id);
    let path = format!("/repos/{REPO}/check-runs/{id}");
    world.sim.faults().fail_next("PATCH", &path, 1_000, 422);
    // Pointed at another base, it is another change.
    run(&world, (&repository, &head), (1, "next"), 8).await;
    end_one_by_one(&mut world, 8, Duration::from_secs(20)).await;
    world.settle(SECOND).await;
    let asked = changes(&world, id) - before;
    assert!((1..=3).contains(&asked), "it was asked {asked} times");
    assert_eq!(world.checks(&head)["checkvalve"], "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_apps_check_run_keeps_its_name_and_holds_up_nothing() {
    let (mut world, repository, head) = differing().await;
    let id = world.check(&head, OLD).id;
    let before = changes(&world, id);
    let path = format!("/repos/{REPO}/check-runs/{id}");
    world.sim.faults().fail_next("PATCH", &path, 1_000, 403);
    run(&world, (&repository, &head), (1, "next"), 8).await;
    end_one_by_one(&mut world, 4, Duration::from_secs(5)).await;
    assert_eq!(world.checks(&head)["source-002 / s1"], "success");
    world.end(4, &[]).await;
    world.settle(SECOND).await;
    let asked = changes(&world, id) - before;
    assert!((1..=3).contains(&asked), "it was asked {asked} times");
    let checks = world.checks(&head);
    assert_eq!((checks["checkvalve"].as_str(), checks[OLD].as_str()), ("success", "failure"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_run_that_some_of_githubs_hosts_do_not_know_yet_holds_up_no_other() {
    let (mut world, repository, head) = differing_now().await;
    let id = world.check(&head, OLD).id;
    let before = changes(&world, id);
    let path = format!("/repos/{REPO}/check-runs/{id}");
    world.sim.faults().fail_next("PATCH", &path, 4, 404);
    run(&world, (&repository, &head), (1, "next"), 8).await;
    end_one_by_one(&mut world, 4, Duration::from_secs(5)).await;
    assert_eq!(world.checks(&head)["source-002 / s1"], "success");
    assert!(changes(&world, id) - before <= 1, "nor is it asked about at every pass");
    world.end(4, &[]).await;
    world.settle(SECOND).await;
    assert!(changes(&world, id) - before <= 8);
    let checks = world.checks(&head);
    assert_eq!(checks["checkvalve"], "success");
    assert!(!checks.contains_key(OLD), "{checks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_run_that_github_lost_is_not_renamed_for_ever() {
    let (mut world, repository, head) = differing().await;
    let id = world.check(&head, OLD).id;
    let before = changes(&world, id);
    world.sim.lose_check_run(REPO, id).unwrap();
    run(&world, (&repository, &head), (1, "next"), 8).await;
    end_one_by_one(&mut world, 8, Duration::from_secs(20)).await;
    world.settle(SECOND).await;
    assert_eq!(changes(&world, id) - before, 1);
    let checks = world.checks(&head);
    assert!(!checks.contains_key(OLD) && !checks.contains_key(NEW), "{checks:?}");
    assert_eq!(checks["checkvalve"], "success");
    world.is_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_is_refused_beside_a_wrong_name_is_left_alone() {
    let (mut world, repository, head) = differing().await;
    let path = format!("/repos/{REPO}/check-runs");
    for method in ["POST", "PATCH"] {
        world.sim.faults().fail_next(method, &path, 10_000, 422);
    }
    run(&world, (&repository, &head), (1, "next"), 1).await;
    let before = world.writes();
    for _ in 0..20 {
        world.publish().await;
        world.skip(SECOND).await;
    }
    let asked = world.writes() - before;
    assert!(asked <= 8, "GitHub was asked {asked} times");
    assert_eq!(world.store.queue().await.unwrap().checks_pending, 0, "it is left at that");
}

/// What can be mended is asked for less and less often, and is told once it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_may_not_be_told_for_now_waits_longer_each_time() {
    let (mut world, repository, head) = differing().await;
    world.sim.suspend(REPO).unwrap();
    run(&world, (&repository, &head), (1, "next"), 1).await;
    world.end(1, &[]).await;
    let before = world.sim.calls().len();
    for _ in 0..60 {
        world.publish().await;
        world.skip(SECOND).await;
    }
    let asked = world.sim.calls().len() - before;
    assert!(asked <= 60, "GitHub was asked {asked} times in a minute");
    world.sim.unsuspend(REPO).unwrap();
    world.store.publish_again(repository.installation).await.unwrap();
    world.settle(SECOND).await;
    let checks = world.checks(&head);
    assert_eq!(
        (checks["checkvalve"].as_str(), checks.contains_key(OLD)),
        ("success", false),
        "{checks:?}"
    );
}

/// A name is refused for good; who gets access back, or a permission, is asked about it once more.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_refused_is_asked_for_again_when_access_is_back() {
    let (mut world, repository, head) = differing().await;
    let id = world.check(&head, OLD).id;
    let path = format!("/repos/{REPO}/check-runs/{id}");
    world.sim.faults().fail_next("PATCH", &path, 1, 403);
    run(&world, (&repository, &head), (1, "next"), 1).await;
    world.end(1, &[]).await;
    world.settle(SECOND).await;
    world.skip(Duration::from_hours(1)).await;
    world.settle(SECOND).await;
    assert!(world.checks(&head).contains_key(OLD), "it was asked once");
    // Nothing else of the head is to be told.
    world.store.publish_again(repository.installation).await.unwrap();
    world.settle(SECOND).await;
    let checks = world.checks(&head);
    assert!(!checks.contains_key(OLD), "{checks:?}");
}

/// By a program that did not write down when: it was made long ago all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_check_run_of_which_nobody_knows_when_it_was_told_is_not_renamed_for_ever() {
    let (mut world, repository, head) = differing().await;
    let id = world.check(&head, OLD).id;
    world.forget_when(OLD).await;
    world.sim.lose_check_run(REPO, id).unwrap();
    let before = changes(&world, id);
    run(&world, (&repository, &head), (1, "next"), 1).await;
    world.end(1, &[]).await;
    world.settle(SECOND).await;
    assert_eq!(changes(&world, id) - before, 1);
    assert!(!world.checks(&head).contains_key(OLD));
}
