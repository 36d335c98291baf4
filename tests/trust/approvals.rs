//! Approvals: by whom, of what, for how long.

use std::time::Duration;

use github_simulator::Permission;
use serde_json::{Value, json};

use super::world::{REPO, Steps, World};
use super::{FILES, log};
use super::{PLAIN_FILES, WAITS, approval, ask, images, push, strangers};

const GREEN: &str = "checkvalve: success\nsource-a / unit: success\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_change_runs_what_its_base_marks_and_all_of_it_once_somebody_approves() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    let changes = [("source-a/unit.sh", "echo hers\n"), ("source-a/Dockerfile", "FROM scratch\n")];
    let (head, number) = strangers(&world, &changes).await;
    assert_eq!(world.table(&head), "checkvalve: action_required\nsource-a / lint: success\n");
    let check = world.check(&head, "checkvalve");
    let title = check.output.title.clone().unwrap();
    assert_eq!(title, "Approval needed: mallory may not write to this repository");
    let summary = check.output.summary.clone().unwrap();
    assert!(summary.contains(&format!("/ok-to-test {}", &head[..12])), "{summary}");
    assert!(summary.contains("Look at these before you approve"), "{summary}");
    assert!(summary.contains("- Dockerfile: [source-a/Dockerfile]"), "{summary}");
    assert!(summary.contains("- script: [source-a/unit.sh]"), "{summary}");
    let buttons: Vec<&str> = check.actions.iter().map(|one| one.label.as_str()).collect();
    assert_eq!(buttons, ["Approve this commit"]);
    assert_eq!(world.runs().await[0]["conclusion"], "action_required");

    assert_eq!(ask(&world, number, "ada", &approval(&head)).await, "", "no reply, but a rocket");
    assert_eq!(
        world.table(&head),
        "checkvalve: success\nsource-a / lint: success\nsource-a / unit: success\n"
    );
    assert_eq!(log(&world, "unit").await, "hers\n");
    // Approved for later commands on it, too; the next push is another commit.
    assert_eq!(ask(&world, number, "ada", "/test").await, "");
    let next = push(&world, "change", &[("source-a/unit.sh", "echo worse\n")]).await;
    world.settle().await;
    assert_eq!(world.table(&next), "checkvalve: action_required\nsource-a / lint: success\n");
    assert!(ask(&world, number, "ada", "/test").await.contains(&approval(&next)));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_between_reading_and_approving_is_not_approved() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    let (read, number) = strangers(&world, &[("source-a/code.txt", "fine")]).await;
    let pushed = push(&world, "change", &[("source-a/code.txt", "evil")]).await;
    let reply = ask(&world, number, "ada", &approval(&read)).await;
    assert!(reply.contains("the head is another"), "{reply}");
    assert!(reply.contains(&format!("`{}`", approval(&pushed))), "the line to copy: {reply}");
    assert_eq!((world.table(&read), world.table(&pushed)), (WAITS.to_owned(), WAITS.to_owned()));
    // So is a button on the old commit's check, whenever it is pressed.
    let check = world.check(&read, "checkvalve");
    world.sim.click_action(REPO, check.id, "approve", "ada").await.unwrap();
    world.settle().await;
    assert_eq!((world.table(&read), world.table(&pushed)), (WAITS.to_owned(), WAITS.to_owned()));
    ask(&world, number, "ada", &approval(&pushed)).await;
    assert_eq!(world.table(&pushed), GREEN);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_commit_only_a_head_that_was_known_before_is_approved() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    let (head, number) = strangers(&world, &[("source-a/code.txt", "fine")]).await;
    // Written a second before the push, and delivered after it.
    let comment = world.sim.comment(REPO, number, "ada", "I have looked at it").await.unwrap();
    world.settle().await;
    let told = world.sim.deliveries().into_iter().rfind(|one| one.event == "issue_comment");
    let mut told: Value = serde_json::from_slice(&told.unwrap().body).unwrap();
    told["comment"]["body"] = json!("/ok-to-test");
    told["comment"]["created_at"] = json!("2020-01-01T00:00:00Z");
    world.sim.send_event("issue_comment", &told).unwrap();
    world.settle().await;
    assert_eq!(world.table(&head), WAITS);
    let mark = format!("<!-- checkvalve answers {comment} -->");
    let replies = world.sim.comments(REPO, number);
    let reply = replies.iter().find(|one| one.body.contains(&mark)).unwrap();
    assert!(reply.body.contains("may not be what you looked at"), "{}", reply.body);
    assert!(reply.body.contains(&format!("`{}`", approval(&head))), "{}", reply.body);

    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(ask(&world, number, "ada", "/ok-to-test").await, "");
    assert_eq!(world.table(&head), GREEN);
    let reply = ask(&world, number, "ada", &approval(&head)).await;
    assert!(reply.contains("`ada` approved this commit already"), "{reply}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_was_pushed_away_and_back_is_approved_by_its_name_alone() {
    // Whether the events of the other head are handled at once, or when it is gone already.
    for late in [false, true] {
        let world = World::new(Steps::Host, PLAIN_FILES).await;
        let (evil, number) = strangers(&world, &[("source-a/code.txt", "evil")]).await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        if late {
            world.sim.faults().pause_deliveries();
        }
        push(&world, "change", &[("source-a/code.txt", "fine")]).await;
        if !late {
            world.settle().await;
        }
        // What Ada read, and what is the head when her comment comes.
        world.sim.move_branch(super::FORK, "change", &evil, "mallory").await.unwrap();
        world.sim.faults().resume_deliveries();
        world.settle().await;
        let reply = ask(&world, number, "ada", "/ok-to-test").await;
        assert!(reply.contains("may not be what you looked at"), "{late}: {reply}");
        assert!(reply.contains(&format!("`{}`", approval(&evil))), "the line to copy: {reply}");
        assert_eq!(world.table(&evil), WAITS);
        ask(&world, number, "ada", &approval(&evil)).await;
        assert_eq!(world.table(&evil), GREEN);
        world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_button_approves_the_commit_of_its_check_once() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    let (head, number) = strangers(&world, &[("source-a/code.txt", "fine")]).await;
    let check = world.check(&head, "checkvalve");
    // Whoever can see the button can press it.
    world.sim.click_action(REPO, check.id, "approve", "mallory").await.unwrap();
    world.settle().await;
    assert_eq!(world.table(&head), WAITS);
    for _ in 0..2 {
        world.sim.click_action(REPO, check.id, "approve", "ada").await.unwrap();
    }
    world.settle().await;
    assert_eq!(world.table(&head), GREEN);
    assert_eq!(world.runs().await.len(), 2, "two presses, one run");
    let page = world.http.get(format!("{}/r/{REPO}/pull/{number}", world.url)).send().await;
    let page = page.unwrap().text().await.unwrap();
    for said in ["Approve this commit on checkvalve", "This commit is approved", "mallory"] {
        assert!(page.contains(said), "it is written down: {said}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_is_taken_back_ends_what_runs_by_it() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    let slow = "echo begins; sleep 30; echo ends\n";
    let (head, number) = strangers(&world, &[("source-a/unit.sh", slow)]).await;
    let reply = ask(&world, number, "ada", "/ok-to-test cancel").await;
    assert!(reply.contains("this commit is not approved"), "{reply}");
    world.sim.comment(REPO, number, "ada", &approval(&head)).await.unwrap();
    world.until_check(&head, "source-a / unit", "in_progress").await;
    assert_eq!(ask(&world, number, "ada", "/ok-to-test cancel").await, "");
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("action_required"));
    assert_eq!(world.check(&head, "source-a / unit").conclusion.as_deref(), Some("cancelled"));
    let reply = ask(&world, number, "ada", "/test").await;
    assert!(reply.contains("is not run"), "{reply}");
    // Given once more, it holds once more.
    world.sim.comment(REPO, number, "ada", &approval(&head)).await.unwrap();
    world.until_check(&head, "source-a / unit", "in_progress").await;
    ask(&world, number, "ada", "/cancel").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_else_approves_and_nobody_else_does() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    world.sim.set_permission(REPO, "tim", Permission::Triage);
    let (head, number) = strangers(&world, &[("source-a/code.txt", "evil")]).await;
    for who in ["mallory", "tim"] {
        let reply = ask(&world, number, who, &approval(&head)).await;
        assert!(reply.contains(&format!("`{who}` may not")), "{reply}");
    }
    assert_eq!(ask(&world, number, "helper[bot]", &approval(&head)).await, "", "and no reply");
    for command in ["/test", "/test all", "/retest source-a", "lgtm\n/retest"] {
        let reply = ask(&world, number, "ada", command).await;
        assert!(reply.contains("This command does not approve it"), "{command}: {reply}");
    }
    // Buttons and labels of somebody who may.
    let check = world.check(&head, "checkvalve");
    let suite = world.sim.check_suites(REPO, &head)[0].id;
    world.sim.rerequest_check_run(REPO, check.id, "ada").await.unwrap();
    world.sim.rerequest_check_suite(REPO, suite, "ada").await.unwrap();
    let told = world.sim.deliveries().into_iter().rfind(|one| one.event == "pull_request");
    let mut told: Value = serde_json::from_slice(&told.unwrap().body).unwrap();
    told["action"] = json!("labeled");
    told["sender"]["login"] = json!("ada");
    for label in ["/test", &approval(&head)] {
        told["label"] = json!({ "name": label });
        world.sim.send_event("pull_request", &told).unwrap();
    }
    world.settle().await;
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.sim.reopen_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
    // Nor does the token.
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let retest = format!("{}/api/v1/runs/{run}/retest", world.url);
    let answer = world.http.post(retest).bearer_auth("scenario-token").send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 409);
    assert!(answer.text().await.unwrap().contains("not_approved"));
    world.settle().await;
    assert_eq!(world.table(&head), WAITS);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_is_approved_for_the_branch_that_it_was_looked_at_against() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    world.push("release", &[("source-a/notes.txt", "released")]).await;
    let (head, number) = strangers(&world, &[("source-a/code.txt", "fine")]).await;
    ask(&world, number, "ada", &approval(&head)).await;
    assert_eq!(world.table(&head), GREEN);
    // Another pull request with the same head is another one.
    world.open_from((super::FORK, "mallory"), ("change", "release")).await;
    world.settle().await;
    let check = world.check(&head, "checkvalve");
    let summary = check.output.summary.unwrap();
    assert_eq!(check.conclusion.as_deref(), Some("action_required"), "{summary}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_writer_pushes_to_the_repository_itself_is_trusted_whoever_opens_it() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    let head = world.push("change", &[("source-a/code.txt", "new")]).await;
    let pull = github_simulator::OpenPull::new("change", "main", "mallory", "Ada's change");
    world.sim.open_pull_request(REPO, pull).await.unwrap();
    world.settle().await;
    assert_eq!(world.table(&head), GREEN);
    // A writer's own fork needs nobody either, as long as it is the writer who pushes.
    let hers = ("Ada/connectors", "ada");
    world.fork(hers.0).await;
    let head = world.push_to(hers, "hers", &[("source-a/code.txt", "newer")]).await;
    world.open_from(hers, ("hers", "main")).await;
    world.settle().await;
    assert_eq!(world.table(&head), GREEN);
    world.finish().await;
}
