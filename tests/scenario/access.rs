//! What happens to the App and its repositories, seen from GitHub: suspended and back, renamed;
//! drafts, and labels that are commands.

use serde_json::{Value, json};

use super::world::{REPO, Steps, World};
use github_simulator::Permission;

const CONFIG: &str = "preset: none\nconnectors: [{ match: \"{name}/connector.txt\" }]\npipelines:\n  \
    - steps: [{ id: unit, image: x, run: \"sh ./unit.sh\" }]\n";

const FILES: &[(&str, &str)] = &[
    (".github/checkvalve.yml", CONFIG),
    ("source-a/connector.txt", "a"),
    ("source-a/unit.sh", "echo a is fine\n"),
    ("source-b/connector.txt", "b"),
    ("source-b/unit.sh", "echo b is fine\n"),
];

/// The newest payload of an event, to be sent with something else in it.
fn payload(world: &World, event: &str) -> Value {
    let known = world.sim.deliveries().into_iter().rfind(|one| one.event == event).unwrap();
    serde_json::from_slice(&known.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_ends_what_runs_and_its_end_brings_it_back() {
    let world = World::new(Steps::Host, FILES).await;
    let gate = tempfile::tempdir().unwrap();
    let gate = gate.path().join("open");
    let waits = format!("while ! test -e {}; do sleep 0.1; done\n", gate.display());
    let green = world.push("green", &[("source-b/code.txt", "1")]).await;
    world.open("green").await;
    world.settle().await;
    let head = world.push("change", &[("source-a/unit.sh", &waits)]).await;
    world.open("change").await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    let before = world.runs().await.len();

    world.sim.suspend(REPO).unwrap();
    world.settle().await;
    let run = world.runs().await.remove(0);
    assert_eq!(run["conclusion"], "cancelled", "{run}");
    // GitHub would refuse to hear of it: it is not asked, again and again.
    assert_eq!(world.check(&head, "source-a / unit").status, "in_progress");
    let calls = || world.sim.calls().iter().filter(|call| call.status == 403).count();
    let refused = calls();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(calls(), refused);
    // Opened while nobody was told.
    let unseen = world.push("unseen", &[("source-b/code.txt", "2")]).await;
    world.open("unseen").await;

    std::fs::write(&gate, "").unwrap();
    world.sim.unsuspend(REPO).unwrap();
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: success\nsource-a / unit: success\n");
    assert_eq!(world.table(&unseen), "checkvalve: success\nsource-b / unit: success\n");
    assert_eq!(world.runs().await.len(), before + 2, "what was green is left alone");
    assert_eq!(world.check(&green, "checkvalve").conclusion.as_deref(), Some("success"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_repository_keeps_its_reports_and_goes_on_under_its_new_name() {
    let world = World::new(Steps::Host, FILES).await;
    world.push("change", &[("source-a/code.txt", "1")]).await;
    world.open("change").await;
    world.settle().await;
    let first = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let mut event = payload(&world, "pull_request");
    world.sim.rename_repository(REPO, "integrations").unwrap();
    event["action"] = json!("renamed");
    event["repository"]["name"] = json!("integrations");
    event["repository"]["full_name"] = json!("acme/integrations");
    event["changes"] = json!({ "repository": { "name": { "from": "connectors" } } });
    event.as_object_mut().unwrap().remove("pull_request");
    world.sim.send_event("repository", &event).unwrap();
    world.settle().await;
    let listed = world.json("/api/v1/runs?repo=acme/integrations").await;
    assert_eq!(listed[0]["id"], first.as_str(), "{listed}");
    for stored in ["report.html", "report.json"] {
        let answer = world.http.get(format!("{}/runs/{first}/source-a/{stored}", world.url));
        assert!(answer.send().await.unwrap().status().is_success(), "{stored}");
    }
    let log = format!("{}/api/v1/runs/{first}/connectors/source-a/steps/unit/log", world.url);
    assert_eq!(world.http.get(log).send().await.unwrap().text().await.unwrap(), "a is fine\n");

    let change =
        vec![("source-b/code.txt".to_owned(), github_simulator::Change::Write(b"1".to_vec()))];
    let commit = github_simulator::Commit::new("More", "ada", change);
    let head = world.sim.commit("acme/integrations", "change", commit).await.unwrap();
    world.settle().await;
    let checks = world.sim.latest_check_runs("acme/integrations", &head);
    assert_eq!(checks[0].conclusion.as_deref(), Some("success"), "{checks:?}");
    let listed = world.json("/api/v1/runs?repo=acme/integrations").await;
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(world.sim.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_tested_as_any_other_and_stays_so() {
    let world = World::new(Steps::Host, FILES).await;
    let head = world.push("change", &[("source-a/code.txt", "1")]).await;
    let number = world.open("change").await;
    world.settle().await;
    world.sim.convert_to_draft(REPO, number, "ada").await.unwrap();
    world.settle().await;
    let page = world.http.get(format!("{}/r/{REPO}", world.url)).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("draft"));
    world.sim.ready_for_review(REPO, number, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), 1, "neither is a new change");
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_is_a_command_is_obeyed_from_writers() {
    let world = World::new(Steps::Host, FILES).await;
    world.sim.set_permission(REPO, "rita", Permission::Read);
    world.push("change", &[("source-a/code.txt", "1")]).await;
    world.open("change").await;
    world.settle().await;
    let label = |name: &str, sender: &str| {
        let mut event = payload(&world, "pull_request");
        event["action"] = json!("labeled");
        event["label"] = json!({ "id": 1, "name": name, "color": "ededed", "default": false });
        event["sender"]["login"] = json!(sender);
        world.sim.send_event("pull_request", &event).unwrap();
    };
    label("bug", "ada");
    label("/test source-b", "rita");
    world.settle().await;
    assert_eq!(world.runs().await.len(), 1);
    label("/test source-b", "ada");
    world.settle().await;
    let runs = world.runs().await;
    assert_eq!((runs.len(), &runs[0]["trigger"]), (2, &json!("button")));
    let whole = world.json(&format!("/api/v1/runs/{}", runs[0]["id"].as_str().unwrap())).await;
    assert_eq!(whole["connectors"][0]["name"], "source-b");
    world.finish().await;
}
