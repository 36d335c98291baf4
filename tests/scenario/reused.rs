//! What earlier runs did is not done again, and is whole.

use super::world::{REPO, Steps, World};
use super::{CONFIG, FILES, images};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_push_does_not_change_is_reused_with_its_log_and_artifacts() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    world.settle().await;
    // Another commit with the same connector in it: a page is none of its inputs.
    let head = world.push("change", &[("docs/readme.md", "# Better docs\n")]).await;
    world.settle().await;
    let first = world.runs().await.pop().unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(
        world.table(&head),
        "checkvalve: success\nsource-a / build: success\nsource-a / install: success\n\
         source-a / unit: success\n"
    );
    let unit = world.check(&head, "source-a / unit");
    assert_eq!(unit.output.title.as_deref(), Some("Passed · reused, nothing has changed"));
    assert!(unit.output.summary.unwrap().contains(&first), "it says from which run");
    let run = world.runs().await.remove(0);
    let id = run["id"].as_str().unwrap();
    let whole = world.json(&format!("/api/v1/runs/{id}")).await;
    let cache = &whole["connectors"][0]["steps"][1]["cache"];
    assert_eq!(cache["state"], "hit", "{cache}");
    let steps = format!("{}/api/v1/runs/{id}/connectors/source-a/steps", world.url);
    let log = world.http.get(format!("{steps}/unit/log")).send().await.unwrap();
    assert_eq!(log.text().await.unwrap(), "a is fine\n");
    let report = world.json(&format!("/runs/{id}/source-a/report.json")).await;
    let artifact = report["steps"][2]["artifacts"][0]["key"].as_str().unwrap();
    assert!(artifact.contains(id) && artifact.ends_with("product.txt"), "{artifact}");

    world.sim.comment(REPO, number, "ada", "/test source-a --no-cache").await.unwrap();
    world.settle().await;
    let run = world.runs().await.remove(0);
    let whole = world.json(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap())).await;
    let cache = &whole["connectors"][0]["steps"][1]["cache"];
    assert_eq!(cache["because"], "the run was asked to reuse nothing", "{cache}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_earlier_result_that_is_not_whole_nothing_is_published() {
    if images::engine().await.is_none() {
        return;
    }
    let kept = "echo product > $CHECKVALVE_OUT/product.txt";
    let random = "echo x > $CHECKVALVE_OUT/$(cat /proc/sys/kernel/random/uuid).txt";
    let config = CONFIG.replace(kept, &format!("{kept}; {random}"));
    let mut files = FILES.to_vec();
    files[0].1 = &config;
    let world = World::new(Steps::Docker, &files).await;
    world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    world.settle().await;
    let artifacts = |named: &str| {
        let find = ["-name", named, "-path", "*/artifacts/*"];
        let objects = world.state.path().join("state/objects");
        let found = std::process::Command::new("find").arg(objects).args(find).output().unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        found.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for product in artifacts("product.txt") {
        std::fs::remove_file(product).unwrap();
    }
    world.sim.comment(REPO, number, "ada", "/test source-a").await.unwrap();
    world.settle().await;
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let whole = world.json(&format!("/api/v1/runs/{run}")).await;
    let cache = &whole["connectors"][0]["steps"][2]["cache"];
    assert!(cache["because"].as_str().unwrap().contains("not kept any more"), "{cache}");
    let ours = artifacts("*").into_iter();
    let ours = ours.filter(|name| name.contains(&run) && !name.contains(".epoch-"));
    assert_eq!(ours.count(), 2, "the step's own two, and none of the earlier run's");
    world.finish().await;
}
