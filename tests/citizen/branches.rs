//! What pushes to the default branch work out, pull requests use.

use crate::world::{Steps, World};
use crate::{CONFIG, FILES, images, title};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_push_worked_out_is_used_by_pull_requests() {
    // On the host itself nothing is used again.
    if images::engine().await.is_none() {
        return;
    }
    let config = CONFIG.replace("image: x", "image: \"checkvalve-test/busybox:1\", network: none");
    let mut files = FILES.to_vec();
    files[0].1 = &config;
    let world = World::new(Steps::Docker, &files).await;
    world.push("main", &[("source-a/code.txt", "1")]).await;
    world.settle().await;
    let pushed = world.runs().await.remove(0);
    assert_eq!((&pushed["trigger"], &pushed["conclusion"]), (&"push".into(), &"success".into()));
    world.push("main", &[("source-a/code.txt", "2")]).await;
    world.settle().await;

    // A pull request that goes back to what was pushed first.
    let head = world.push("back", &[("source-a/code.txt", "1")]).await;
    world.open("back").await;
    world.settle().await;
    let unit = title(&world, &head, "source-a / unit");
    assert_eq!(unit, "Passed · reused, nothing has changed");
    let run = world.runs().await.remove(0);
    let whole = world.json(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap())).await;
    let cache = &whole["connectors"][0]["steps"][0]["cache"];
    assert_eq!(cache["state"], "hit", "{whole}");
    let said = cache["because"].as_str().unwrap();
    assert!(
        said.starts_with(&format!("reused from run {}", pushed["id"].as_str().unwrap())),
        "{said}"
    );
    let summary = world.check(&head, "source-a / unit").output.summary.unwrap();
    assert!(summary.contains(pushed["id"].as_str().unwrap()), "it says from which run: {summary}");
    world.finish().await;
}
