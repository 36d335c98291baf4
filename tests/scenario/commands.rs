//! Commands and buttons, seen from GitHub: what is done, what is said, what is written down.

use std::time::Duration;

use github_simulator::OpenPull;
use serde_json::{Value, json};

use super::world::{REPO, Steps, World};
use super::{FILES, SLOW};

/// The reactions to a comment.
fn reactions(world: &World, number: u64, comment: u64) -> Vec<String> {
    let comments = world.sim.comments(REPO, number);
    let comment = comments.into_iter().find(|one| one.id == comment).unwrap();
    comment.reactions.into_iter().map(|(_, what)| what).collect()
}

/// Our reply to a comment; there must be one alone.
fn reply(world: &World, number: u64, comment: u64) -> String {
    let mark = format!("<!-- checkvalve answers {comment} -->");
    let comments = world.sim.comments(REPO, number);
    let replies: Vec<_> = comments.iter().filter(|one| one.body.contains(&mark)).collect();
    assert_eq!(replies.len(), 1, "{comments:?}");
    replies[0].body.clone()
}

/// Until there are so many comments, ours among them.
async fn until_comments(world: &World, number: u64, count: usize) {
    let there = async |world: &World| world.sim.comments(REPO, number).len() == count;
    world.until("it is answered", there).await;
}

/// What was written down, newest first, of all runs: (route, asked, decision, because).
async fn audit(world: &World) -> Vec<[String; 4]> {
    let mut records: Vec<(String, [String; 4])> = Vec::new();
    for run in world.runs().await {
        let whole = world.json(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap())).await;
        for record in whole["audit"].as_array().unwrap() {
            let text = |field: &str| record[field].as_str().unwrap().to_owned();
            let told = ["route", "asked", "decision", "because"].map(text);
            records.push((text("at"), told));
        }
    }
    records.sort();
    records.dedup();
    records.into_iter().rev().map(|(_, told)| told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_ends_what_it_names_and_says_what_it_did() {
    let world = World::new(Steps::Host, FILES).await;
    let head =
        world.push("change", &[("source-a/unit.sh", SLOW), ("source-b/unit.sh", SLOW)]).await;
    let number = world.open("change").await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    world.until_check(&head, "source-b / unit", "in_progress").await;

    // A step alone, and a name that nothing has: nothing ends, and each is told why.
    let body = "/cancel source-a/unit\n/cancel sorce-b";
    let refused = world.sim.comment(REPO, number, "ada", body).await.unwrap();
    until_comments(&world, number, 2).await;
    let text = reply(&world, number, refused);
    assert!(
        text.contains("a step can't be ended by itself; `/cancel source-a` ends all"),
        "{text}"
    );
    assert!(text.contains("did you mean `source-b`?"), "{text}");
    assert_eq!(reactions(&world, number, refused), ["eyes", "confused"]);
    assert_eq!(world.check(&head, "source-a / unit").status, "in_progress");

    let named = world.sim.comment(REPO, number, "ada", "/cancel SOURCE-A").await.unwrap();
    world.until_check(&head, "source-a / unit", "cancelled").await;
    world
        .until("it is accepted", async |world: &World| {
            reactions(world, number, named) == ["eyes", "rocket"]
        })
        .await;
    assert_eq!(world.check(&head, "source-b / unit").status, "in_progress", "it alone goes on");

    // It ended already: nothing is done, so nothing is accepted.
    let late = world.sim.comment(REPO, number, "ada", "/cancel source-a").await.unwrap();
    until_comments(&world, number, 5).await;
    let text = reply(&world, number, late);
    assert!(text.contains("`source-a` is not cancelled: "), "{text}");
    assert_eq!(reactions(&world, number, late), ["eyes", "confused"]);

    // The button of the check that still runs, as GitHub would send it.
    let check = world.check(&head, "checkvalve");
    assert_eq!(check.actions.iter().map(|a| a.identifier.as_str()).collect::<Vec<_>>(), ["cancel"]);
    press(&world, &check, "cancel");
    world.settle().await;
    assert_eq!(world.check(&head, "source-b / unit").conclusion.as_deref(), Some("cancelled"));
    // It comes once more, late: by now something else might run.
    press(&world, &check, "cancel");
    world.settle().await;
    let written = audit(&world).await;
    let told: Vec<[&str; 3]> = written
        .iter()
        .map(|[route, asked, decision, _]| [&**route, &**asked, &**decision])
        .collect();
    assert_eq!(
        told,
        [
            ["button", "Cancel on checkvalve", "accepted"],
            ["comment", "/cancel SOURCE-A", "accepted"],
        ]
    );
    assert_eq!(written[1][3], "Ends: `source-a`.");
    let page =
        world.http.get(format!("{}/r/{REPO}/pull/{number}", world.url)).send().await.unwrap();
    let page = page.text().await.unwrap();
    for said in ["/cancel sorce-b", "nothing that runs or waits is called so", "what ran has ended"]
    {
        assert!(page.contains(said), "what was refused is written down, too: {said}");
    }
    world.finish().await;
}

/// A button, pressed by Ada. GitHub need not show it on a check run that has not ended.
fn press(world: &World, check: &github_simulator::CheckRun, identifier: &str) {
    let deliveries = world.sim.deliveries();
    let opened = deliveries.iter().find(|one| one.event == "pull_request").unwrap();
    let opened: Value = serde_json::from_slice(&opened.body).unwrap();
    let payload = json!({
        "action": "requested_action",
        "requested_action": { "identifier": identifier },
        "check_run": {
            "id": check.id, "name": check.name, "external_id": check.external_id,
            "head_sha": opened["pull_request"]["head"]["sha"],
            "app": { "id": world.sim.app().id },
        },
        "repository": opened["repository"],
        "installation": opened["installation"],
        "sender": opened["sender"],
    });
    world.sim.send_event("check_run", &payload).unwrap();
}

/// So long after the last write all twenty are there again, at one a second.
const REST: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_one_comment_work_together() {
    let world = World::new(Steps::Host, FILES).await;
    let head = world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    world.settle().await;
    assert_eq!(world.checks(&head).len(), 4, "only source-a is affected");

    let both = world.sim.comment(REPO, number, "ada", "/test\n/test SOURCE-B").await.unwrap();
    world.settle().await;
    let names = |run: &Value| -> Vec<String> {
        let connectors = run["connectors"].as_array().unwrap();
        connectors.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let newest = async || {
        let run = world.runs().await.remove(0);
        world.json(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap())).await
    };
    assert_eq!(names(&newest().await), ["source-a", "source-b"]);
    assert_eq!(reactions(&world, number, both), ["eyes", "rocket"]);
    assert_eq!(world.check(&head, "source-b / build").conclusion.as_deref(), Some("success"));

    // The budget of writes is full again, so that nothing has to wait for its turn.
    tokio::time::sleep(REST).await;
    // What is known runs; of the rest, and of the commands, the one reply tells.
    let body = "/test source-b source-bb\n/help\n/test source-a/nonsense";
    let partly = world.sim.comment(REPO, number, "ada", body).await.unwrap();
    world.settle().await;
    assert_eq!(names(&newest().await), ["source-b"]);
    let text = reply(&world, number, partly);
    for said in
        ["Runs: ", "`source-bb`; did you mean `source-b`?", "nothing is called `source-a/nonsense`"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
    let mut given = reactions(&world, number, partly);
    given.sort();
    assert_eq!(given, ["confused", "eyes", "rocket"], "accepted, before its names were looked for");

    let help = world.sim.comment(REPO, number, "ada", "/help\n/retest").await.unwrap();
    world.settle().await;
    let text = reply(&world, number, help);
    assert!(text.contains("| `/retest` |") && text.contains("what counts is green"), "{text}");
    assert_eq!(world.runs().await.len(), 3, "nothing was left to run again");

    let undone = world.sim.comment(REPO, number, "ada", "/test\n/cancel").await.unwrap();
    world.settle().await;
    assert!(reply(&world, number, undone).contains("use two comments"));
    assert_eq!(world.runs().await.len(), 3);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_is_obeyed_once_and_its_edits_never() {
    let mut world = World::new(Steps::Host, FILES).await;
    world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    world.settle().await;
    let plain = world.sim.comment(REPO, number, "ada", "looks good").await.unwrap();
    world.sim.edit_comment(REPO, plain, "ada", "/test all").await.unwrap();
    let obeyed = world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), 2);
    world.sim.edit_comment(REPO, obeyed, "ada", "/test all").await.unwrap();
    world.settle().await;

    // The same comment once more: under its own delivery, under another, and after a restart.
    let sent = world.sim.deliveries();
    let sent = sent
        .iter()
        .rfind(|one| one.event == "issue_comment" && one.action.as_deref() == Some("created"));
    let sent = sent.unwrap();
    world.sim.redeliver(&sent.guid).await.unwrap();
    let payload: Value = serde_json::from_slice(&sent.body).unwrap();
    world.sim.send_event("issue_comment", &payload).unwrap();
    world.settle().await;
    world.kill();
    world.start().await;
    world.sim.send_event("issue_comment", &payload).unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), 2);
    assert_eq!(world.sim.comments(REPO, number).len(), 2, "nothing was said");
    assert_eq!(reactions(&world, number, plain), Vec::<String>::new());
    assert_eq!(audit(&world).await.len(), 1);

    // Our own account, and other bots.
    let ours = format!("{}[bot]", world.sim.app().slug);
    for bot in [ours.as_str(), "other[bot]"] {
        let mut payload = payload.clone();
        payload["comment"]["id"] = json!(payload["comment"]["id"].as_u64().unwrap() + 1000);
        payload["comment"]["user"] = json!({ "login": bot, "type": "Bot" });
        world.sim.send_event("issue_comment", &payload).unwrap();
        world.settle().await;
    }
    assert_eq!(world.runs().await.len(), 2);
    let page =
        world.http.get(format!("{}/r/{REPO}/pull/{number}", world.url)).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("<code>other[bot]</code> is a bot"), "{page}");
    assert!(!page.contains(&ours), "what we say ourselves asks for nothing");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_button_on_a_commit_of_two_pull_requests_is_refused_with_words() {
    let world = World::new(Steps::Host, FILES).await;
    world.push("main-2", &[("docs/readme.md", "# Other docs\n")]).await;
    let head = world.push("change", &[("source-a/unit.sh", "exit 1\n")]).await;
    let one = world.open("change").await;
    world.settle().await;
    let check = world.check(&head, "checkvalve");
    let buttons: Vec<&str> = check.actions.iter().map(|a| a.identifier.as_str()).collect();
    assert_eq!(buttons, ["retest", "test", "no-cache"]);
    world.sim.click_action(REPO, check.id, "no-cache", "ada").await.unwrap();
    world.settle().await;
    let run = world
        .json(&format!("/api/v1/runs/{}", world.runs().await[0]["id"].as_str().unwrap()))
        .await;
    assert_eq!(run["audit"][0]["asked"], "Run without cache on checkvalve");
    assert_eq!(run["audit"][0]["actor"], "ada");

    let pull = OpenPull::new("change", "main-2", "ada", "The same for another branch");
    let two = world.sim.open_pull_request(REPO, pull).await.unwrap();
    world.settle().await;
    let before = world.runs().await.len();
    let check = world.check(&head, "checkvalve");
    world.sim.rerequest_check_run(REPO, check.id, "ada").await.unwrap();
    world.sim.rerequest_check_suite(REPO, check.suite_id, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), before);
    // One of them is closed: now it is plain which is meant.
    world.sim.close_pull_request(REPO, two, "ada").await.unwrap();
    world.settle().await;
    let ours = format!("{}[bot]", world.sim.app().slug);
    world.sim.rerequest_check_run(REPO, check.id, &ours).await.unwrap();
    world.sim.rerequest_check_suite(REPO, check.suite_id, &ours).await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), before, "our own request is none");
    world.sim.rerequest_check_run(REPO, check.id, "ada").await.unwrap();
    world.settle().await;
    let runs = world.runs().await;
    assert_eq!((runs.len(), runs[0]["pull_request"].as_u64()), (before + 1, Some(one)));
    assert_eq!(audit(&world).await[0][0], "rerun");
    let page = world.http.get(format!("{}/r/{REPO}/pull/{two}", world.url)).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains(&format!("the head of #{one} and #{two}: comment ")), "{page}");
    world.finish().await;
}
