//! What never came is found: deliveries that failed, events that nobody sent, events that come late,
//! twice or under another GUID. Real servers, a simulated GitHub.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "recovery/again.rs"]
mod again;
#[path = "recovery/chaos.rs"]
mod chaos;
#[path = "support/clock.rs"]
mod clock;
#[path = "recovery/given_up.rs"]
mod given_up;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/world.rs"]
mod world;

use std::time::Duration;

use github_simulator::{Change, Commit, OpenPull, RepositoryOptions};
use world::{Extra, REPO, Steps, World};

const CONFIG: &str = "version: 1\npreset: none\nignore: [\"docs/**\"]\nconnectors: [{ match: \
    \"{name}/connector.txt\" }]\npipelines:\n  - steps: [{ id: unit, image: x, run: \"sh ./unit.sh\" }]\n";

pub(crate) const FILES: &[(&str, &str)] = &[
    (".github/checkvalve.yml", CONFIG),
    ("source-a/connector.txt", "a"),
    ("source-a/unit.sh", "echo a is fine\n"),
    ("docs/readme.md", "# Docs\n"),
];

/// A world whose server looks so often.
pub(crate) async fn world_every(every: &str, database: Option<String>) -> World {
    let env = vec![("CHECKVALVE_RECOVERY", every.to_owned())];
    World::set_up(Steps::Host, database, Extra { env, ..Extra::default() }, FILES).await
}

/// A change of documents alone: its run concludes at once.
pub(crate) async fn change(world: &World, branch: &str, text: &str) -> String {
    world.push(branch, &[("docs/readme.md", text)]).await
}

async fn concluded(world: &World, head: &str) {
    world.until_check(head, "checkvalve", "success").await;
    world.settle().await;
}

fn asks(world: &World) -> usize {
    let calls = world.sim.calls();
    calls.iter().filter(|call| call.path.ends_with("/attempts")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_failed_is_asked_for_and_handled_as_any_other() {
    let world = world_every("1s", None).await;
    let head = world.push("change", &[("source-a/code.txt", "new")]).await;
    world.settle().await;
    world.sim.faults().drop_deliveries(1);
    world.open("change").await;
    concluded(&world, &head).await;
    let runs = world.runs().await;
    assert_eq!((runs.len(), &runs[0]["trigger"]), (1, &"pull_request".into()));
    world
        .until("what was missing is known to have come", async |world: &World| {
            let metrics = world.http.get(format!("{}/metrics", world.url)).send().await.unwrap();
            let metrics = metrics.text().await.unwrap();
            metrics.contains("checkvalve_deliveries_missing{state=\"came\"} 1\n")
        })
        .await;
    assert_eq!(asks(&world), 1, "once, and not while it is under way");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_while_nobody_listened_is_asked_for_at_the_start() {
    // It would not look a second time while the test lasts.
    let mut world = world_every("1h", None).await;
    change(&world, "first", "1").await;
    let number = world.open("first").await;
    world.settle().await;
    world.kill();
    let head = change(&world, "change", "2").await;
    world.open("change").await;
    world.sim.comment(REPO, number, "ada", "/test source-a").await.unwrap();
    world.sim.quiet().await;
    world.start().await;
    concluded(&world, &head).await;
    world.until("the comment is obeyed", async |world: &World| world.runs().await.len() == 3).await;
    world.settle().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_no_log_knows_are_found_at_the_pull_requests() {
    let world = world_every("1s", None).await;
    let faults = world.sim.faults();
    change(&world, "change", "1").await;
    faults.lose_deliveries(1);
    let number = world.open("change").await;
    let opened = world.sim.pull_request(REPO, number).head_sha;
    concluded(&world, &opened).await;

    // The push itself, its suite, and the pull request's event.
    faults.lose_deliveries(3);
    let pushed = change(&world, "change", "2").await;
    faults.lose_deliveries(0);
    concluded(&world, &pushed).await;
    assert_eq!(world.runs().await.len(), 2);

    // Nothing is found where nothing was lost; and a look at what has not changed is free.
    let unchanged = |world: &World| {
        let calls = world.sim.calls();
        calls.iter().filter(|c| c.path.ends_with("/pulls") && c.status == 304).count()
    };
    let before = unchanged(&world);
    let looks = async |world: &World| unchanged(world) >= before + 2;
    world.until("it was looked at twice", looks).await;
    assert_eq!(world.runs().await.len(), 2);
    world.finish().await;
}

/// No log knows of it: GitHub's goes back three days, and what it never sent was never there.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_no_log_knows_is_found_among_the_comments_and_obeyed_once() {
    let mut world = world_every("1s", None).await;
    let head = change(&world, "change", "1").await;
    let number = world.open("change").await;
    concluded(&world, &head).await;
    world.sim.comment(REPO, number, "ada", "/test source-a").await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), 2);

    // While nobody listens, and nobody will ever be told.
    world.kill();
    let faults = world.sim.faults();
    faults.lose_deliveries(4);
    let lost = world.sim.comment(REPO, number, "ada", "/test source-a").await.unwrap();
    world.sim.comment(REPO, number, "ada", "I would test it again.").await.unwrap();
    let edited = world.sim.comment(REPO, number, "ada", "I like it.").await.unwrap();
    let issue = world.sim.open_issue(REPO, "ada", "It leaks").unwrap();
    world.sim.comment(REPO, issue, "ada", "/test").await.unwrap();
    world.sim.advance(Duration::from_secs(2));
    faults.lose_deliveries(1);
    world.sim.edit_comment(REPO, edited, "ada", "/test").await.unwrap();
    faults.lose_deliveries(0);
    world.start().await;
    world.until("it is obeyed", async |world: &World| world.runs().await.len() == 3).await;
    let said = world.sim.comments(REPO, number).into_iter().find(|one| one.id == lost).unwrap();
    world
        .until("it is said to be accepted", async |world: &World| {
            let said = world.sim.comments(REPO, number);
            let said = said.into_iter().find(|one| one.id == lost).unwrap();
            said.reactions.iter().any(|(_, reaction)| reaction == "rocket")
        })
        .await;
    assert_eq!(said.body, "/test source-a");

    // Its event comes after all, under another GUID.
    let mut told = world.sim.deliveries().into_iter().filter(|one| one.status == "OK");
    let told = told.rfind(|one| one.event == "issue_comment");
    let mut told: serde_json::Value = serde_json::from_slice(&told.unwrap().body).unwrap();
    told["comment"]["id"] = lost.into();
    told["comment"]["body"] = said.body.into();
    world.sim.send_event("issue_comment", &told).unwrap();
    world.settle().await;

    // A look at what was seen is free, and finds nothing more; not what an edit made a command.
    let unchanged = |world: &World| {
        let calls = world.sim.calls();
        calls.iter().filter(|c| c.path.ends_with("/issues/comments") && c.status == 304).count()
    };
    let before = unchanged(&world);
    let looks = async |world: &World| unchanged(world) >= before + 3;
    world.until("it was looked at three times", looks).await;
    assert_eq!(world.runs().await.len(), 3, "{:?}", world.runs().await);
    let replies = world.sim.comments(REPO, number);
    assert_eq!(replies.len(), 4, "nothing is to be said: {replies:?}");
    assert_eq!(world.server_log().matches("comments: no event told of it: ").count(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_anybody_listened_was_said_to_others() {
    let world = world_every("1s", None).await;
    world.settle().await;
    // A repository that the App does not know yet, with another robot's commands.
    let options = RepositoryOptions { install: false, ..RepositoryOptions::default() };
    world.sim.create_repository("acme/other", options).await.unwrap();
    let files = FILES.iter();
    let files = files.map(|(path, text)| ((*path).to_owned(), Change::Write((*text).into())));
    let commit = Commit::new("All", "ada", files.collect());
    world.sim.commit("acme/other", "main", commit).await.unwrap();
    let write = vec![("docs/x.md".to_owned(), Change::Write("x".into()))];
    let commit = Commit::new("A change", "ada", write);
    world.sim.commit("acme/other", "change", commit).await.unwrap();
    let pull = OpenPull::new("change", "main", "ada", "A change");
    let number = world.sim.open_pull_request("acme/other", pull).await.unwrap();
    world.sim.comment("acme/other", number, "ada", "/test").await.unwrap();
    world.sim.advance(Duration::from_secs(2));
    world.sim.set_permission("acme/other", "ada", github_simulator::Permission::Write);
    world.sim.install("acme/other").unwrap();
    let runs = async |world: &World| {
        world.json("/api/v1/runs?repo=acme/other").await.as_array().unwrap().len()
    };
    world.until("its head has its run", async |world: &World| runs(world).await == 1).await;
    let looked = |world: &World| {
        let calls = world.sim.calls();
        calls.iter().filter(|call| call.path == "/repos/acme/other/issues/comments").count()
    };
    world.until("it was looked at", async |world: &World| looked(world) >= 3).await;
    assert_eq!(runs(&world).await, 1);
    // From then on it is listened to.
    world.sim.faults().lose_deliveries(1);
    world.sim.comment("acme/other", number, "ada", "/test source-a").await.unwrap();
    world.until("it is obeyed", async |world: &World| runs(world).await == 2).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_end_ends_what_runs_and_a_lost_return_brings_it_back() {
    let mut world = world_every("1s", None).await;
    let slow = [("source-a/unit.sh", "[ -e /tmp/never-there ] || sleep 20\n")];
    let head = world.push("change", &slow).await;
    let number = world.open("change").await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    world.sim.faults().lose_deliveries(1);
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    // All are looked at when a server starts, and once an hour.
    world.kill();
    world.start().await;
    world.until_check(&head, "checkvalve", "cancelled").await;
    world.settle().await;

    world.sim.faults().lose_deliveries(1);
    world.sim.reopen_pull_request(REPO, number, "ada").await.unwrap();
    world.until("it runs again", async |world: &World| world.runs().await.len() == 2).await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forks_event_is_waited_for_since_it_alone_says_who_pushed() {
    let world = world_every("1s", None).await;
    let fork = RepositoryOptions {
        fork_of: Some(REPO.to_owned()),
        install: false,
        ..RepositoryOptions::default()
    };
    world.sim.create_repository("ada/connectors", fork).await.unwrap();
    let write = |text: &str| vec![("docs/x.md".to_owned(), Change::Write(text.into()))];
    let commit = Commit::new("A change", "ada", write("1"));
    let head = world.sim.commit("ada/connectors", "change", commit).await.unwrap();
    let fork = Some("ada/connectors".to_owned());
    let pull = OpenPull { fork, ..OpenPull::new("change", "main", "ada", "A change") };
    world.sim.faults().lose_deliveries(1);
    world.sim.open_pull_request(REPO, pull).await.unwrap();
    // Nobody says who pushed, in the end: that is said, and nothing is run.
    world.until_check(&head, "checkvalve", "action_required").await;
    let title = world.check(&head, "checkvalve").output.title.unwrap();
    assert!(title.contains("not known who pushed"), "{title}");
    world.settle().await;

    // The next event is dropped, and comes late: it names the pusher.
    world.sim.faults().drop_deliveries(1);
    let commit = Commit::new("A change", "ada", write("2"));
    let head = world.sim.commit("ada/connectors", "change", commit).await.unwrap();
    concluded(&world, &head).await;
    let of_head = |run: &&serde_json::Value| run["head_sha"] == head.as_str();
    assert_eq!(world.runs().await.iter().filter(of_head).count(), 1, "not refused before it came");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_github_has_no_more_is_given_up_and_said() {
    let world = world_every("1s", None).await;
    change(&world, "first", "1").await;
    let number = world.open("first").await;
    world.settle().await;
    world.sim.faults().fail_next("POST", "/app/hook/deliveries/", 1, 410);
    world.sim.faults().drop_deliveries(1);
    world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    let given_up = async |world: &World| {
        let metrics = world.http.get(format!("{}/metrics", world.url)).send().await.unwrap();
        metrics.text().await.unwrap().contains("missing{state=\"given_up\"} 1\n")
    };
    world.until("it is given up", given_up).await;
    assert!(world.server_log().contains("a delivery is given up: GitHub's log has it no more"));
    let listed = again::cli(&world, &["list", "--json"]);
    let lost = &listed["missing"][0];
    assert_eq!((&lost["state"], &lost["event"]), (&"given_up".into(), &"issue_comment".into()));
    // Somebody wants it all the same.
    let guid = lost["guid"].as_str().unwrap();
    let asked = again::cli(&world, &["handle", guid, "--json"]);
    assert_eq!(asked["asked_for"][0], guid);
    world.until("it is obeyed", async |world: &World| world.runs().await.len() == 2).await;
    world.settle().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_log_can_be_had_that_is_said_once_and_the_rest_goes_on() {
    let world = world_every("1s", None).await;
    world.sim.faults().fail_next("GET", "/app/hook/deliveries", 1000, 410);
    let head = change(&world, "change", "1").await;
    world.sim.faults().lose_deliveries(1);
    world.open("change").await;
    concluded(&world, &head).await;
    let asked = async |world: &World| {
        let calls = world.sim.calls();
        calls.iter().filter(|c| c.path == "/app/hook/deliveries" && c.status == 410).count() >= 3
    };
    world.until("it was asked for three times", asked).await;
    assert_eq!(world.server_log().matches("keeps no log of deliveries").count(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_one_looks() {
    let Some(database) = postgres::database().await else { return };
    let mut world = world_every("1s", Some(database)).await;
    world.start_another().await;
    let looks = |world: &World| {
        let calls = world.sim.calls();
        calls.iter().filter(|call| call.path == "/app/hook/deliveries").count()
    };
    let before = looks(&world);
    tokio::time::sleep(Duration::from_millis(3500)).await;
    let during = looks(&world) - before;
    assert!((2..=5).contains(&during), "{during} looks in 3.5 s");
    let head = change(&world, "change", "1").await;
    world.settle().await;
    world.sim.faults().drop_deliveries(1);
    world.open("change").await;
    concluded(&world, &head).await;
    assert_eq!((asks(&world), world.runs().await.len()), (1, 1));
    world.finish().await;
}
