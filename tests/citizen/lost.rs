//! "Made, but the answer was lost": GitHub did it, and the line broke before it could say so.

use std::collections::BTreeMap;

use github_simulator::Permission;

use crate::world::cutter::Cutter;
use crate::world::{Extra, REPO, Steps, Via, World};
use crate::{FILES, change};

/// A world that reaches GitHub's API over a line that is cut.
async fn world_over(cutter: &Cutter) -> World {
    let through = cutter.clone();
    let via: Via = Box::new(move |url| through.via(url));
    World::set_up(Steps::Host, None, Extra { via: Some(via), ..Extra::default() }, FILES).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_run_whose_answer_was_lost_is_found_and_not_made_again() {
    let cutter = Cutter::new(b"/connectors/check-runs HTTP/1.1", 2).await;
    let world = world_over(&cutter).await;
    let changes = [("source-a/code.txt", "new"), ("source-b/code.txt", "new")];
    let head = world.push("change", &changes).await;
    world.open("change").await;
    world.settle().await;
    assert!(cutter.is_used_up(), "no answer was lost");
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for check in world.sim.check_runs(REPO, &head) {
        *made.entry(check.name).or_default() += 1;
    }
    let once = ["checkvalve", "source-a / unit", "source-b / unit"];
    assert_eq!(made, once.map(|name| (name.to_owned(), 1)).into());
    assert_eq!(
        world.table(&head),
        "checkvalve: success\nsource-a / unit: success\nsource-b / unit: success\n"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_whose_answer_was_lost_is_found_and_not_written_again() {
    let cutter = Cutter::new(b"/comments HTTP/1.1", 1).await;
    let world = world_over(&cutter).await;
    world.sim.set_permission(REPO, "rita", Permission::Read);
    change(&world, "change").await;
    let number = world.open("change").await;
    world.settle().await;
    world.sim.comment(REPO, number, "rita", "/test all").await.unwrap();
    world.settle().await;
    assert!(cutter.is_used_up(), "no answer was lost");
    let comments = world.sim.comments(REPO, number);
    assert_eq!(comments.len(), 2, "hers, and one reply: {comments:#?}");
    assert!(comments[1].body.contains("may not"), "{}", comments[1].body);
    world.finish().await;
}
