//! A stranger's pull request with a commit that is somebody else's as well.

use github_simulator::{CheckRun, MergeGroup, OpenPull};

use super::world::{REPO, Steps, World};
use super::{FORK, PLAIN_FILES, WAITS, make_fork, open_as, strangers};

/// The same for merge groups.
const MERGED: &str = "version: 1\npreset: none\nconnectors: [{ kind: sh, match: \"{name}/connector.txt\" }]\n\
    pipelines:\n  - on: [pull_request, merge_group]\n    steps: [{ id: unit, image: x, network: none, run: \
    \"sh ./unit.sh\" }]\n";

const GREEN: &str = "checkvalve: success\nsource-a / unit: success\n";

/// Ada's pull request, and a fork that has her commit.
async fn adas(unit: &str) -> (World, String, u64) {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    world.push("release", &[("source-a/notes.txt", "released")]).await;
    let head = world.push("change", &[("source-a/unit.sh", unit)]).await;
    let number = world.open("change").await;
    world.settle().await;
    make_fork(&world).await;
    (world, head, number)
}

/// Mallory opens a pull request with a branch of her fork.
async fn hers(world: &World, base: &str) -> u64 {
    let number = world.open_from((FORK, "mallory"), ("change", base)).await;
    world.settle().await;
    number
}

/// The identifiers of the buttons that approve.
fn approving(check: &CheckRun) -> Vec<String> {
    let approves = |label: &str| label.starts_with("Approve");
    let buttons = check.actions.iter().filter(|one| approves(&one.label));
    buttons.map(|one| one.identifier.clone()).collect()
}

async fn page(world: &World, number: u64) -> String {
    let page = world.http.get(format!("{}/r/{REPO}/pull/{number}", world.url)).send().await;
    page.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_opens_a_pull_request_with_anothers_commit_holds_nothing_up() {
    let (world, head, number) = adas("echo fine\n").await;
    assert_eq!(world.table(&head), GREEN);
    let theirs = hers(&world, "main").await;
    assert_eq!(world.table(&head), GREEN);
    let check = world.check(&head, "checkvalve");
    let title = check.output.title.clone().unwrap();
    assert_eq!(title, format!("source-a passed · #{theirs} waits for an approval"));
    assert!(check.output.summary.clone().unwrap().contains("It does not count here"));
    // Her pull request makes no riddle of the buttons on Ada's.
    let unit = world.check(&head, "source-a / unit");
    world.sim.rerequest_check_run(REPO, unit.id, "ada").await.unwrap();
    world.settle().await;
    let newest = world.runs().await.remove(0);
    assert_eq!((&newest["pull_request"], &newest["trigger"]), (&number.into(), &"button".into()));
    assert_eq!(world.table(&head), GREEN);
    // It is approved by itself, against its own base, and counts from then on.
    let check = world.check(&head, "checkvalve");
    let [approve] = approving(&check).try_into().unwrap();
    world.sim.click_action(REPO, check.id, &approve, "mallory").await.unwrap();
    world.settle().await;
    assert_eq!(approving(&world.check(&head, "checkvalve")), [approve.as_str()], "she may not");
    world.sim.click_action(REPO, check.id, &approve, "ada").await.unwrap();
    world.settle().await;
    let newest = world.runs().await.remove(0);
    assert_eq!(newest["pull_request"], theirs);
    let check = world.check(&head, "checkvalve");
    let title = check.output.title.clone().unwrap();
    assert!(
        title.contains(&format!("#{number}: ")) && title.contains(&format!("#{theirs}: ")),
        "{title}"
    );
    assert_eq!((check.conclusion.as_deref(), approving(&check).len()), (Some("success"), 0));
    let told = format!("Approve this commit for #{theirs} on checkvalve");
    assert!(page(&world, theirs).await.contains(&told));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_commit_never_goes_green_by_anothers_and_red_stays_red() {
    let (world, head, number) = adas("exit 1\n").await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("failure"));
    hers(&world, "main").await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("failure"));
    // Ada's is gone: what is left waits.
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
    let check = world.check(&head, "checkvalve");
    assert_eq!(check.conclusion.as_deref(), Some("action_required"));
    assert_eq!(check.actions[0].label, "Approve this commit");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_green_against_another_base_shows_no_stranger_green() {
    let (world, head, _) = adas("echo fine\n").await;
    hers(&world, "release").await;
    let check = world.check(&head, "checkvalve");
    assert_eq!(check.conclusion.as_deref(), Some("action_required"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_press_approves_is_one_pull_request_against_one_base() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    for base in ["release", "next"] {
        world.push(base, &[("source-a/notes.txt", base)]).await;
    }
    let (head, one) = strangers(&world, &[("source-a/code.txt", "new")]).await;
    let alone = world.check(&head, "checkvalve");
    let other = hers(&world, "release").await;
    let check = world.check(&head, "checkvalve");
    let labels: Vec<&str> = check.actions.iter().map(|action| action.label.as_str()).collect();
    assert_eq!(labels, [format!("Approve for #{one}"), format!("Approve for #{other}")]);
    // The button of the page before, on which there was only one.
    world.sim.click_action(REPO, alone.id, "approve", "ada").await.unwrap();
    world.settle().await;
    assert_eq!((world.table(&head), world.runs().await.len()), (WAITS.to_owned(), 2));
    let said = page(&world, one).await + &page(&world, other).await;
    assert!(said.contains("Look at the one that is meant"), "{said}");
    // Pointed at another base since the page was loaded: that is another change.
    let shown = approving(&check);
    world.sim.retarget_pull_request((REPO, other), "next", "mallory").await.unwrap();
    world.settle().await;
    let now = world.check(&head, "checkvalve");
    let mut late = world.sim.deliveries();
    late.retain(|one| one.event == "check_run");
    let mut told: serde_json::Value = serde_json::from_slice(&late.pop().unwrap().body).unwrap();
    told["action"] = "requested_action".into();
    told["requested_action"] = serde_json::json!({ "identifier": shown[1] });
    told["sender"]["login"] = "ada".into();
    world.sim.send_event("check_run", &told).unwrap();
    world.settle().await;
    assert_eq!(world.table(&head), WAITS);
    assert!(page(&world, other).await.contains("is not what the button was for"));
    // What it shows now is what it approves; the other one still waits.
    world.sim.click_action(REPO, now.id, &approving(&now)[1], "ada").await.unwrap();
    world.settle().await;
    let newest = world.runs().await.remove(0);
    assert_eq!(
        (&newest["pull_request"], &newest["conclusion"]),
        (&other.into(), &"success".into())
    );
    let check = world.check(&head, "checkvalve");
    assert_eq!(check.conclusion.as_deref(), Some("action_required"));
    assert_eq!(check.actions[0].label, format!("Approve for #{one}"));
    world.sim.click_action(REPO, check.id, &approving(&check)[0], "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_changed_a_moment_ago_is_not_what_was_looked_at() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    world.push("release", &[("source-a/notes.txt", "released")]).await;
    make_fork(&world).await;
    let head = super::push(&world, "change", &[("source-a/code.txt", "new")]).await;
    let number = open_as(&world, "mallory", "change").await;
    world.settle().await;
    let check = world.check(&head, "checkvalve");
    world.sim.faults().pause_deliveries();
    world.sim.retarget_pull_request((REPO, number), "release", "mallory").await.unwrap();
    world.sim.click_action(REPO, check.id, "approve", "ada").await.unwrap();
    world.sim.faults().resume_deliveries();
    world.settle().await;
    assert_eq!(world.table(&head), WAITS);
    assert!(page(&world, number).await.contains("is not what the button was for"));
    world.finish().await;
}

/// Ada's pull request in the queue.
async fn queued() -> (World, MergeGroup, u64) {
    const QUEUE: &[(&str, &str)] = &[
        (super::CONFIG_PATH, MERGED),
        ("source-a/connector.txt", "a"),
        ("source-a/unit.sh", "echo a is fine\n"),
    ];
    let world = World::new(Steps::Host, QUEUE).await;
    world.push("release", &[("source-a/notes.txt", "released")]).await;
    world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    let group = world.sim.enqueue(REPO, &[number], "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.table(&group.head_sha), GREEN);
    (world, group, number)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_for_a_pull_request_is_run_again_for_it_beside_a_merge_group() {
    let (world, group, _) = queued().await;
    let head = group.head_sha.as_str();
    let branch = group.head_ref.strip_prefix("refs/heads/").unwrap();
    // It promotes what is about to be merged.
    let pull = OpenPull::new(branch, "release", "ada", "A release");
    let number = world.sim.open_pull_request(REPO, pull).await.unwrap();
    world.settle().await;
    assert_eq!(world.check(head, "checkvalve").conclusion.as_deref(), Some("success"));
    let newest = async || world.runs().await.remove(0);
    assert_eq!(newest().await["pull_request"], number);
    let check = world.check(head, "checkvalve");
    world.sim.rerequest_check_run(REPO, check.id, "ada").await.unwrap();
    world.settle().await;
    let run = newest().await;
    assert_eq!((&run["pull_request"], &run["trigger"]), (&number.into(), &"button".into()));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_with_the_commit_of_a_merge_group_leaves_it_in_the_queue() {
    let (world, group, number) = queued().await;
    let head = group.head_sha.as_str();
    // Anybody may fetch the queue's branch.
    make_fork(&world).await;
    let branch = group.head_ref.strip_prefix("refs/heads/").unwrap();
    let theirs = world.open_from((FORK, "mallory"), (branch, "release")).await;
    world.settle().await;
    assert_eq!(world.table(head), GREEN);
    let title = world.check(head, "checkvalve").output.title.unwrap();
    assert_eq!(title, format!("source-a passed · #{theirs} waits for an approval"));

    // The group's buttons are its own, and the one that approves is hers.
    let unit = world.check(head, "source-a / unit");
    world.sim.rerequest_check_run(REPO, unit.id, "ada").await.unwrap();
    world.settle().await;
    let newest = world.runs().await.remove(0);
    assert_eq!((&newest["pull_request"], &newest["trigger"]), (&().into(), &"button".into()));
    assert_eq!(world.table(head), GREEN);

    // Out of the queue, it stands for nobody.
    world.sim.dequeue(REPO, number, "ada").await.unwrap();
    world.settle().await;
    let check = world.check(head, "checkvalve");
    assert_eq!(check.conclusion.as_deref(), Some("action_required"));
    let approve = check.actions[0].identifier.clone();
    world.sim.click_action(REPO, check.id, &approve, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.remove(0)["pull_request"], theirs);
    assert_eq!(world.check(head, "checkvalve").conclusion.as_deref(), Some("success"));
    world.finish().await;
}
