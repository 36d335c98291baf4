//! Who pushed a fork's head, which is not always who opens the pull request, or whose it is.

use std::time::Duration;

use checkvalve::store::Store;

use super::world::{REPO, Steps, World};
use super::{PLAIN_FILES, WAITS, ask, make_fork, open_as, push};

const GREEN: &str = "checkvalve: success\nsource-a / unit: success\n";

/// Ada's fork, to which Mallory may push.
const HERS: &str = "ada/connectors";

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_a_pull_request_from_somebody_elses_fork_has_not_pushed_its_head() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    make_fork(&world).await;
    let head = push(&world, "change", &[("source-a/code.txt", "evil")]).await;
    open_as(&world, "ada", "change").await;
    world.settle().await;
    assert_eq!(world.table(&head), WAITS);
    let title = world.check(&head, "checkvalve").output.title.unwrap();
    assert_eq!(title, "Approval needed: it is not known who pushed this commit");
    // What she pushes there herself is hers.
    let head = super::push_as(&world, "ada", "change", &[("source-a/code.txt", "fine")]).await;
    world.settle().await;
    assert_eq!(world.table(&head), GREEN);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reopens_a_pull_request_has_not_pushed_its_head_when_older_runs_are_gone() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    world.fork(HERS).await;
    world.push_to((HERS, "ada"), "change", &[("source-a/code.txt", "fine")]).await;
    let number = world.open_from((HERS, "ada"), ("change", "main")).await;
    world.settle().await;
    let evil = [("source-a/code.txt", "evil")];
    let head = world.push_to((HERS, "mallory"), "change", &evil).await;
    world.settle().await;
    assert_eq!(world.table(&head), WAITS);
    forget_runs(&world, async || {
        world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
        world.sim.reopen_pull_request(REPO, number, "ada").await.unwrap();
        world.settle().await;
    })
    .await;
    let reply = ask(&world, number, "ada", "/test").await;
    assert!(reply.contains("is not run"), "{reply}");
    assert_eq!(world.table(&head), WAITS);
    world.finish().await;
}

/// Forgets the runs that there were before, as retention does.
async fn forget_runs(world: &World, then: impl AsyncFnOnce()) {
    let database = world.state.path().join("state/checkvalve.db");
    let store = Store::open(&format!("sqlite:{}", database.display())).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let old = store.expired_runs(Duration::ZERO).await.unwrap();
    assert_eq!(old.len(), 2);
    then().await;
    for run in old {
        store.forget_run(run.id).await.unwrap();
    }
}
