//! GitHub's "Re-run" on the head of a fork, of which GitHub says to which pull request it belongs with
//! an empty list.

use github_simulator::Permission;
use serde_json::Value;

use super::world::{REPO, Steps, World};
use super::{PLAIN_FILES, WAITS, approval, ask, strangers};

/// A writer's fork.
const HERS: (&str, &str) = ("ada/connectors", "ada");

async fn world() -> World {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    world.sim.set_permission(REPO, "moira", Permission::Maintain);
    world
}

/// Moira presses "Re-run" on a check run, and "Re-run all" on its suite; what came of it, newest first.
async fn rerun(world: &World, head: &str, name: &str) -> Vec<Value> {
    let check = world.check(head, name);
    world.sim.rerequest_check_run(REPO, check.id, "moira").await.unwrap();
    world.settle().await;
    let suite = world.sim.check_suites(REPO, head)[0].id;
    world.sim.rerequest_check_suite(REPO, suite, "moira").await.unwrap();
    world.settle().await;
    for told in world.sim.deliveries().iter().filter(|one| one.event == "check_run") {
        let told: Value = serde_json::from_slice(&told.body).unwrap();
        let pulls = &told["check_run"]["pull_requests"];
        assert!(pulls.as_array().is_none_or(Vec::is_empty), "a fork's: {pulls}");
    }
    world.runs().await
}

async fn page(world: &World, number: u64) -> String {
    let page = world.http.get(format!("{}/r/{REPO}/pull/{number}", world.url)).send().await;
    page.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writers_fork_is_re_run_by_its_commit() {
    let world = world().await;
    world.fork(HERS.0).await;
    let head = world.push_to(HERS, "change", &[("source-a/unit.sh", "exit 1\n")]).await;
    let number = world.open_from(HERS, ("change", "main")).await;
    world.settle().await;
    let runs = rerun(&world, &head, "source-a / unit").await;
    assert_eq!(runs.len(), 3);
    for run in &runs {
        assert_eq!(
            (&run["pull_request"], &run["trust"]["state"]),
            (&number.into(), &"trusted".into())
        );
    }
    // The same commit against another base: whose is meant is not known.
    world.push("release", &[("source-a/notes.txt", "released")]).await;
    let other = world.open_from(HERS, ("change", "release")).await;
    world.settle().await;
    assert_eq!(rerun(&world, &head, "checkvalve").await.len(), 4);
    let said = page(&world, other).await;
    let words = format!("the head of #{number} and #{other}: comment");
    assert!(said.contains(&words), "{said}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_fork_stays_what_it_is_whoever_re_runs_it() {
    let world = world().await;
    let (head, number) = strangers(&world, &[("source-a/unit.sh", "exit 1\n")]).await;
    assert_eq!(rerun(&world, &head, "checkvalve").await.len(), 1);
    assert_eq!(world.table(&head), WAITS);
    assert!(page(&world, number).await.contains("This command does not approve it"));
    // Approved, it is re-run on that approval's word, and no farther.
    ask(&world, number, "ada", &approval(&head)).await;
    let runs = rerun(&world, &head, "source-a / unit").await;
    assert_eq!(runs.len(), 4);
    for run in &runs[..3] {
        assert_eq!(run["trust"]["state"], "approved", "{run}");
    }
    ask(&world, number, "ada", "/ok-to-test cancel").await;
    let before = world.runs().await.len();
    assert_eq!(rerun(&world, &head, "checkvalve").await.len(), before);
    let check = world.check(&head, "checkvalve");
    assert_eq!(check.conclusion.as_deref(), Some("action_required"));
    world.finish().await;
}
