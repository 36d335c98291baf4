//! Buttons on a merge group: its commit has no pull request, and can be run again all the same.

use github_simulator::Permission;

use crate::FILES;
use crate::world::{REPO, Steps, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_group_runs_again_by_its_buttons_until_it_is_gone() {
    let world = World::new(Steps::Host, FILES).await;
    world.sim.set_permission(REPO, "rita", Permission::Read);
    // Green by itself, and red with what came into the branch meanwhile.
    world.push("change", &[("source-a/unit.sh", "[ ! -e broken.txt ]\n")]).await;
    let number = world.open("change").await;
    world.settle().await;
    world.push("main", &[("source-a/broken.txt", "by another change\n")]).await;
    let group = world.sim.enqueue(REPO, &[number], "ada").await.unwrap();
    world.settle().await;
    let head = group.head_sha;
    let check = |name: &str| world.check(&head, name);
    assert_eq!(check("checkvalve").conclusion.as_deref(), Some("failure"));
    let of_group = async || {
        let runs = world.runs().await.into_iter().filter(|run| run["head_sha"] == head.as_str());
        runs.map(|run| run["trigger"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of_group().await, ["merge_group"]);

    // Who may not command is refused.
    world.sim.click_action(REPO, check("checkvalve").id, "retest", "rita").await.unwrap();
    world.settle().await;
    assert_eq!(of_group().await.len(), 1);
    let newest = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let run = world.json(&format!("/api/v1/runs/{newest}")).await;
    assert_eq!(run["audit"][0]["decision"], "refused", "{run}");

    world.sim.click_action(REPO, check("checkvalve").id, "retest", "ada").await.unwrap();
    world.settle().await;
    assert_eq!(of_group().await, ["button", "merge_group"]);
    world.sim.rerequest_check_run(REPO, check("source-a / unit").id, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(of_group().await.len(), 3);
    world.sim.rerequest_check_suite(REPO, check("checkvalve").suite_id, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(of_group().await.len(), 4);
    world.sim.click_action(REPO, check("checkvalve").id, "no-cache", "ada").await.unwrap();
    world.settle().await;
    assert_eq!(of_group().await.len(), 5);
    assert_eq!(
        world.table(&head),
        "checkvalve: failure\nsource-a / unit: failure\n",
        "as its own pipeline says, and for itself"
    );

    // Out of the queue: nobody waits for it.
    world.sim.dequeue(REPO, number, "ada").await.unwrap();
    world.settle().await;
    world.sim.rerequest_check_run(REPO, check("checkvalve").id, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(of_group().await.len(), 5);
    let newest = world.runs().await.into_iter().find(|run| run["head_sha"] == head.as_str());
    let newest = newest.unwrap()["id"].as_str().unwrap().to_owned();
    let url = format!("{}/api/v1/runs/{newest}/retest", world.url);
    let asked = world.http.post(url).bearer_auth("scenario-token").send().await.unwrap();
    assert_eq!(asked.status(), 409);
    let said = asked.text().await.unwrap();
    assert!(said.contains("merge group of this commit is gone"), "{said}");
    assert_eq!(of_group().await.len(), 5);
    let run = world.json(&format!("/api/v1/runs/{newest}")).await;
    assert_eq!(
        (&run["audit"][0]["decision"], &run["audit"][0]["route"]),
        (&"refused".into(), &"api".into())
    );
    world.finish().await;
}
