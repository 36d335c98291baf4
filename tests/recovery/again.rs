//! Once more: late, under another GUID, or because somebody asks for it. Nothing is done twice.

use std::process::Command;

use serde_json::{Value, json};

use crate::world::{REPO, World};
use crate::{change, world_every};

/// `checkvalve deliveries …` beside the server; what it prints, as JSON.
pub(crate) fn cli(world: &World, args: &[&str]) -> Value {
    let done = Command::new(env!("CARGO_BIN_EXE_checkvalve"))
        .arg("deliveries")
        .args(args)
        .env("CHECKVALVE_STATE_DIR", world.state.path().join("state"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// All that came, oldest first: event, action, payload.
fn sent(world: &World) -> Vec<(String, Option<String>, Value)> {
    let deliveries = world.sim.deliveries().into_iter().filter(|one| one.status == "OK");
    let of = |one: github_simulator::Delivery| {
        (one.event, one.action, serde_json::from_slice(&one.body).unwrap())
    };
    deliveries.map(of).collect()
}

/// The runs, newest first.
async fn done(world: &World) -> Vec<String> {
    let runs = world.runs().await;
    runs.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

/// A pull request with everything that people do to one; how many runs that makes.
async fn busy(world: &World) -> usize {
    let first = world.push("change", &[("source-a/code.txt", "1")]).await;
    let number = world.open("change").await;
    world.settle().await;
    world.sim.comment(REPO, number, "ada", "/test source-a").await.unwrap();
    world.settle().await;
    let unit = world.check(&first, "source-a / unit");
    world.sim.rerequest_check_run(REPO, unit.id, "ada").await.unwrap();
    world.settle().await;
    world.sim.rerequest_check_suite(REPO, unit.suite_id, "ada").await.unwrap();
    world.settle().await;
    let mut label = sent(world).into_iter().rfind(|(event, ..)| event == "pull_request").unwrap().2;
    label["action"] = json!("labeled");
    label["label"] = json!({ "id": 1, "name": "/test", "color": "ededed", "default": false });
    world.sim.send_event("pull_request", &label).unwrap();
    world.settle().await;
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
    world.sim.reopen_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
    change(world, "change", "2").await;
    world.settle().await;
    change(world, "main", "3").await;
    world.settle().await;
    // Opened, comment, Re-run, Re-run all, label, reopened, pushed. No pipeline runs `on: push`.
    7
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_under_two_guids_or_handled_again_is_done_once() {
    let world = world_every("1h", None).await;
    let runs = busy(&world).await;
    let before = done(&world).await;
    assert_eq!(before.len(), runs, "{:?}", world.runs().await);
    // All that was sent comes once more, each under a GUID of its own.
    for (event, _, payload) in sent(&world) {
        world.sim.send_event(&event, &payload).unwrap();
    }
    world.settle().await;
    assert_eq!(done(&world).await, before);

    // And a class of it is handled again, for somebody asks.
    let named = cli(&world, &["handle", "--event", "pull_request", "--dry-run", "--json"]);
    let pulls = named["deliveries"].as_array().unwrap().len();
    assert!(pulls >= 5, "{named}");
    let again = cli(&world, &["handle", "--since", "1h", "--json"]);
    let all = again["deliveries"].as_array().unwrap().len();
    assert!(all > pulls, "{again}");
    world.settle().await;
    assert_eq!(done(&world).await, before);
    let listed = cli(&world, &["list", "--limit", "1000", "--json"]);
    for row in listed["deliveries"].as_array().unwrap() {
        assert!(["done", "ignored"].contains(&row["state"].as_str().unwrap()), "{row}");
        assert_eq!(row["handled_by"], listed["handling"]);
    }
    let guid = again["deliveries"][0].as_str().unwrap();
    let shown = cli(&world, &["show", guid, "--json"]);
    assert_eq!(shown["handled_again"][0]["route"], "command");
    assert_eq!(shown["headers"]["x-github-delivery"], guid);
    assert!(shown["headers"].get("x-hub-signature-256").is_none(), "{shown}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_push_that_is_told_late_changes_nothing() {
    let world = world_every("1h", None).await;
    change(&world, "change", "1").await;
    world.open("change").await;
    let old = change(&world, "change", "2").await;
    world.settle().await;
    let synchronize = sent(&world)
        .into_iter()
        .rfind(|(event, action, _)| {
            event == "pull_request" && action.as_deref() == Some("synchronize")
        })
        .unwrap()
        .2;
    let new = change(&world, "change", "3").await;
    world.settle().await;
    let before = done(&world).await;
    world.sim.send_event("pull_request", &synchronize).unwrap();
    world.settle().await;
    assert_eq!(done(&world).await, before);
    assert_eq!(world.check(&new, "checkvalve").conclusion.as_deref(), Some("success"));
    let rows = cli(&world, &["list", "--event", "pull_request.synchronize", "--json"]);
    let note = rows["deliveries"][0]["note"].as_str().unwrap();
    assert!(note.contains("stale: the head is another by now"), "{note}");
    assert_eq!(world.sim.check_runs(REPO, &old).len(), 1);
    world.finish().await;
}

/// There and back again: what is current is tested, whichever event of it comes, and in which order.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_back_is_tested_again_and_late_events_of_it_are_not() {
    let world = world_every("1h", None).await;
    let first = change(&world, "change", "A").await;
    world.open("change").await;
    world.settle().await;
    change(&world, "change", "B").await;
    world.settle().await;
    // The very commit that was its head before.
    world.sim.move_branch(REPO, "change", &first, "ada").await.unwrap();
    world.settle().await;
    let before = done(&world).await;
    assert_eq!(before.len(), 3);
    for (event, _, payload) in sent(&world).into_iter().rev() {
        world.sim.send_event(&event, &payload).unwrap();
    }
    world.settle().await;
    assert_eq!(done(&world).await, before);
    assert_eq!(world.check(&first, "checkvalve").conclusion.as_deref(), Some("success"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_close_does_not_end_what_was_reopened() {
    let world = world_every("1h", None).await;
    let head = change(&world, "change", "1").await;
    let number = world.open("change").await;
    world.settle().await;
    // The close comes after the reopening.
    world.sim.faults().reverse_deliveries(2);
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.sim.reopen_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
    let page =
        world.http.get(format!("{}/r/{REPO}/pull/{number}", world.url)).send().await.unwrap();
    assert!(!page.text().await.unwrap().contains("closed"), "it is open");
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));
    assert_eq!(world.runs().await.len(), 1, "it was never seen closed");

    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
    world.sim.reopen_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), 2, "reopened is a new occasion");
    world.finish().await;
}

/// A suspension that is told again, after its end, takes nothing away.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_that_is_told_late_takes_nothing_away() {
    let world = world_every("1h", None).await;
    change(&world, "change", "1").await;
    world.open("change").await;
    world.settle().await;
    world.sim.suspend(REPO).unwrap();
    world.settle().await;
    world.sim.unsuspend(REPO).unwrap();
    world.settle().await;
    let suspended = sent(&world).into_iter().rfind(|(event, action, _)| {
        event == "installation" && action.as_deref() == Some("suspend")
    });
    world.sim.send_event("installation", &suspended.unwrap().2).unwrap();
    world.settle().await;
    let head = change(&world, "other", "2").await;
    world.open("other").await;
    world.settle().await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));
    world.finish().await;
}
