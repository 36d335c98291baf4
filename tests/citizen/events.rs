//! What becomes of the App and its repositories: moved to another owner, uninstalled, a permission
//! withdrawn and given back.

use serde_json::{Value, json};

use crate::world::{REPO, Steps, World, manifest};
use crate::{FILES, change};

/// A step that waits until the file is there, or a minute.
fn gate() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open");
    let waits = format!(
        "n=0; while ! test -e {} && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done\n",
        open.display()
    );
    (folder, waits)
}

fn conclusion(world: &World, repository: &str, head: &str, name: &str) -> Option<String> {
    let checks = world.sim.latest_check_runs(repository, head);
    checks.into_iter().find(|check| check.name == name)?.conclusion
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_moves_to_another_owner_is_followed_while_something_runs() {
    let world = World::new(Steps::Host, FILES).await;
    let (gate, waits) = gate();
    let head = world.push("change", &[("source-a/unit.sh", &waits)]).await;
    world.open("change").await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    let known = world.sim.deliveries().into_iter().rfind(|one| one.event == "pull_request");
    let mut event: Value = serde_json::from_slice(&known.unwrap().body).unwrap();
    world.sim.rename_repository(REPO, "moved").unwrap();
    event["action"] = json!("transferred");
    event["repository"]["name"] = json!("moved");
    event["repository"]["full_name"] = json!("acme/moved");
    event["changes"] = json!({ "owner": { "from": { "organization": { "login": "former" } } } });
    event.as_object_mut().unwrap().remove("pull_request");
    world.sim.send_event("repository", &event).unwrap();
    let followed = async |world: &World| {
        let listed = world.json("/api/v1/runs?repo=acme/moved").await;
        listed[0]["head_sha"] == head.as_str()
    };
    world.until("it is known under its new name", followed).await;
    std::fs::write(gate.path().join("open"), "").unwrap();
    world.settle().await;
    let verdict = conclusion(&world, "acme/moved", &head, "checkvalve");
    assert_eq!(verdict.as_deref(), Some("success"));
    assert_eq!(world.sim.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uninstalled_app_ends_what_runs_and_asks_nothing_more() {
    let world = World::new(Steps::Host, FILES).await;
    let (_gate, waits) = gate();
    let head = world.push("change", &[("source-a/unit.sh", &waits)]).await;
    world.open("change").await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    let id = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    world.sim.uninstall(REPO).unwrap();
    let ended = async |world: &World| {
        let run = world.json(&format!("/api/v1/runs/{id}")).await;
        run["conclusion"] == "cancelled"
    };
    world.until("the run is ended", ended).await;
    let page = world.http.get(format!("{}/runs/{id}", world.url)).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("the App was uninstalled"), "{page}");
    // Nothing is pending for a GitHub that would refuse to hear of it.
    world.settle().await;
    let writes = |world: &World| {
        let calls = world.sim.calls().into_iter();
        calls.filter(|call| call.path.contains("/check-runs") && call.method != "GET").count()
    };
    let before = writes(&world);
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(writes(&world), before);
    assert_eq!(world.sim.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_permission_is_waited_for_and_all_is_told_once_it_is_accepted_again() {
    let mut world = World::new(Steps::Host, FILES).await;
    let (all, _) = manifest::granted();
    let mut fewer = all.clone();
    fewer.insert("checks".to_owned(), "read".to_owned());
    world.sim.accept_permissions(REPO, fewer).unwrap();
    // No token that was minted before is used.
    world.kill();
    world.start().await;
    let head = change(&world, "change").await;
    world.open("change").await;
    let refused = async |world: &World| {
        let calls = world.sim.calls();
        calls.iter().any(|call| call.path.ends_with("/check-runs") && call.status == 403)
    };
    world.until("GitHub refuses a check run", refused).await;
    world
        .until("the run ends all the same", async |world: &World| {
            world.runs().await.first().is_some_and(|run| run["conclusion"] == "success")
        })
        .await;
    assert_eq!(world.sim.check_runs(REPO, &head).len(), 0);

    world.sim.accept_permissions(REPO, all).unwrap();
    world.until_check(&head, "checkvalve", "success").await;
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: success\nsource-a / unit: success\n");
    world.finish().await;
}
