//! What must hold when something breaks: servers that are killed, servers beside each other, a
//! GitHub that fails, deliveries out of order. Real servers, both databases.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[cfg(debug_assertions)]
#[path = "support/clock.rs"]
mod clock;
#[cfg(debug_assertions)]
#[path = "crash/deeds.rs"]
mod deeds;
#[cfg(debug_assertions)]
#[path = "crash/failpoints.rs"]
mod failpoints;
#[path = "support/images.rs"]
mod images;
#[cfg(debug_assertions)]
#[path = "support/left.rs"]
mod left;
#[path = "crash/made.rs"]
mod made;
#[path = "support/postgres.rs"]
mod postgres;
#[cfg(debug_assertions)]
#[path = "crash/starts.rs"]
mod starts;
#[path = "crash/stored.rs"]
mod stored;
#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use github_simulator::{Change, Commit, OpenPull, Permission, RepositoryOptions};
use stored::{stored, stored_as};
use world::{REPO, Steps, World};

const CONFIG_PATH: &str = ".github/checkvalve.yml";

/// Two connectors of three steps that leave a line each time they run; `source-b` fails.
fn files(marks: &Path) -> Vec<(&'static str, String)> {
    let marks = marks.display();
    let step = |id: &str, needs: &str, end: &str| {
        format!(
            "      - {{ id: {id}, image: \"checkvalve-test/busybox:1\", network: none, \
             needs: [{needs}], run: \"echo {id} $CHECKVALVE_CONNECTOR; [ ! -d {marks} ] || echo x >> \
             {marks}/$CHECKVALVE_SHA-$CHECKVALVE_CONNECTOR-{id}; sleep 0.3; {end}\" }}\n"
        )
    };
    let config = format!(
        "version: 1\npreset: none\nignore: [\"docs/**\"]\nconnectors:\n  - {{ kind: sh, match: \
         \"{{name}}/connector.txt\", where: {{ name: [\"source-*\"] }} }}\nunclaimed: all\n\
         pipelines:\n  - for: {{ kind: sh }}\n    steps:\n{}{}{}",
        step("install", "", "true"),
        step("unit", "install", "[ $CHECKVALVE_CONNECTOR = source-a ]"),
        step("build", "unit", "true"),
    );
    vec![
        (CONFIG_PATH, config),
        ("source-a/connector.txt", "a".to_owned()),
        ("source-b/connector.txt", "b".to_owned()),
        ("docs/readme.md", "# Docs\n".to_owned()),
    ]
}

async fn world(steps: Steps, database: Option<String>, marks: &Path) -> World {
    let files = files(marks);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, &**text)).collect();
    World::with(steps, database, &files).await
}

/// Steps that inherit, two of them from one, and show what they began with.
fn chain() -> Vec<(&'static str, String)> {
    let step = |id: &str, from: &str, end: &str| {
        let begin = if from.is_empty() {
            "image: \"checkvalve-test/busybox:1\"".to_owned()
        } else {
            format!("from: {from}")
        };
        format!(
            "      - {{ id: {id}, {begin}, network: none, run: \"echo {id} $CHECKVALVE_CONNECTOR; cat \
             made 2> /dev/null || true; echo {id} >> made; sleep 0.3; {end}\" }}\n"
        )
    };
    let mut files = files(Path::new("/nowhere"));
    let (head, _) = files[0].1.split_once("    steps:\n").unwrap();
    files[0].1 = [
        format!("{head}    steps:\n"),
        step("install", "", "true"),
        step("unit", "install", "[ $CHECKVALVE_CONNECTOR = source-a ]"),
        step("lint", "install", "true"),
        step("build", "unit", "true"),
    ]
    .concat();
    files
}

const UNDISTURBED_CHAIN: &str = "checkvalve: failure\nsource-a / build: success\n\
     source-a / install: success\nsource-a / lint: success\nsource-a / unit: success\n\
     source-b / build: skipped\nsource-b / install: success\nsource-b / lint: success\n\
     source-b / unit: failure\n";

/// A pull request that changes both connectors; its head.
async fn change_both(world: &World, branch: &str) -> String {
    let changes = [("source-a/code.txt", branch), ("source-b/code.txt", branch)];
    let head = world.push(branch, &changes).await;
    world.open(branch).await;
    head
}

const UNDISTURBED: &str = "checkvalve: failure\nsource-a / build: success\n\
     source-a / install: success\nsource-a / unit: success\nsource-b / build: skipped\n\
     source-b / install: success\nsource-b / unit: failure\n";

/// The checks of an undisturbed run, each made once.
fn as_undisturbed(world: &World, head: &str) {
    assert_eq!(world.table(head), UNDISTURBED);
    made_once(world, head, 1);
}

/// No name has more check runs than there were occasions for one.
fn made_once(world: &World, head: &str, occasions: usize) {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for check in world.sim.check_runs(REPO, head) {
        let id = check.external_id.clone();
        assert!(ids.insert(id), "one intent made two check runs of `{}`", check.name);
        *made.entry(check.name).or_default() += 1;
    }
    assert!(made.values().all(|made| *made <= occasions), "{made:?}");
}

/// SIGKILL at moments spread over a run, and thrice in one: the end is that of an undisturbed run.
async fn killed_at_any_moment(database: Option<String>) {
    let marks = tempfile::tempdir().unwrap();
    let mut world = world(Steps::Host, database, marks.path()).await;
    let head = change_both(&world, "undisturbed").await;
    world.settle().await;
    as_undisturbed(&world, &head);
    let undisturbed = stored(&world, &head).await;
    let jitter = checkvalve::ambient::now().as_millis().unsigned_abs() % 60;
    eprintln!("jitter: {jitter} ms");
    let moments = [vec![0], vec![250], vec![700], vec![150, 500, 300]];
    for (nth, moments) in moments.iter().enumerate() {
        let head = change_both(&world, &format!("killed-{nth}")).await;
        // Acknowledged: from here on it must not be lost.
        world.sim.quiet().await;
        for moment in moments {
            tokio::time::sleep(Duration::from_millis(moment + jitter)).await;
            world.kill();
            world.start().await;
        }
        world.settle().await;
        as_undisturbed(&world, &head);
        stored_as(&undisturbed, &stored(&world, &head).await);
    }
    world.finish().await;
}

/// The same with containers that inherit: nothing of what was killed is left on the engine.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_in_containers() {
    if images::engine().await.is_none() {
        return;
    }
    let files = chain();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, &**text)).collect();
    let volumes = left::volumes();
    let mut world = World::with(Steps::Docker, None, &files).await;
    let head = change_both(&world, "undisturbed").await;
    world.settle().await;
    assert_eq!(world.table(&head), UNDISTURBED_CHAIN);
    let undisturbed = stored(&world, &head).await;
    let jitter = checkvalve::ambient::now().as_millis().unsigned_abs() % 60;
    eprintln!("jitter: {jitter} ms");
    for (nth, moments) in [vec![900], vec![1600], vec![600, 1500]].iter().enumerate() {
        let head = change_both(&world, &format!("killed-{nth}")).await;
        world.sim.quiet().await;
        for moment in moments {
            tokio::time::sleep(Duration::from_millis(moment + jitter)).await;
            world.kill();
            world.start().await;
        }
        world.settle().await;
        assert_eq!(world.table(&head), UNDISTURBED_CHAIN);
        made_once(&world, &head, 1);
        stored_as(&undisturbed, &stored(&world, &head).await);
    }
    world
        .until("nothing is left on the engine", async |world: &World| {
            left::of(world, &volumes).is_empty()
        })
        .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_on_sqlite() {
    killed_at_any_moment(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_on_postgresql() {
    let Some(database) = postgres::database().await else { return };
    killed_at_any_moment(Some(database)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_database_do_everything_once() {
    let Some(database) = postgres::database().await else { return };
    let marks = tempfile::tempdir().unwrap();
    let mut world = world(Steps::Host, Some(database), marks.path()).await;
    world.start_another().await;
    world.sim.faults().deliver_everything_twice(true);
    let mut heads = Vec::new();
    for branch in ["one", "two", "three", "four"] {
        heads.push(change_both(&world, branch).await);
    }
    world.settle().await;
    for head in &heads {
        as_undisturbed(&world, head);
    }
    assert_eq!(world.runs().await.len(), heads.len());
    for mark in std::fs::read_dir(marks.path()).unwrap() {
        let mark = mark.unwrap().path();
        let runs = std::fs::read_to_string(&mark).unwrap().lines().count();
        assert_eq!(runs, 1, "{} ran more than once", mark.display());
    }
    world.finish().await;
}

/// The server that is stopped in the middle finds, when it goes on, that another has taken over.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_frozen_past_its_leases_harms_nothing() {
    let Some(database) = postgres::database().await else { return };
    let marks = tempfile::tempdir().unwrap();
    let mut world = world(Steps::Host, Some(database), marks.path()).await;
    let head = change_both(&world, "frozen").await;
    // Not by its check run: the step may well be over before GitHub is told that it runs.
    let mark = marks.path().join(format!("{head}-source-a-install"));
    world.until("a step runs", async |_: &World| mark.exists()).await;
    world.signal("-STOP");
    world.start_another().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.signal("-CONT");
    world.settle().await;
    as_undisturbed(&world, &head);
    world.finish().await;
}

async fn terminated_while_steps_run(steps: Steps) {
    let marks = tempfile::tempdir().unwrap();
    let mut world = world(steps, None, marks.path()).await;
    // Containers' processes are the host's, too: a time of its own tells ours.
    let (nap, pattern) = match steps {
        Steps::Docker => ("sleep 2.7", "^sleep 2[.]7$"),
        Steps::Host => ("sleep 2.6", "^sleep 2[.]6$"),
    };
    let slow = files(marks.path())[0].1.replace("sleep 0.3", &format!("echo begun; {nap}"));
    let changes = [(CONFIG_PATH, slow.as_str()), ("source-a/code.txt", "new")];
    let head = world.push("slow", &changes).await;
    world.open("slow").await;
    world.until_check(&head, "source-a / install", "in_progress").await;
    world.until_check(&head, "source-b / install", "in_progress").await;
    let took = world.terminate();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(world.containers(), Vec::<String>::new(), "containers outlive the server");
    let processes = std::process::Command::new("pgrep").args(["-f", pattern]).output();
    assert_eq!(String::from_utf8_lossy(&processes.unwrap().stdout), "", "processes outlive it");
    world.start().await;
    world.settle().await;
    as_undisturbed(&world, &head);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_while_containers_run_and_started_again() {
    if images::engine().await.is_some() {
        terminated_while_steps_run(Steps::Docker).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_while_processes_run_and_started_again() {
    terminated_while_steps_run(Steps::Host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_github_costs_time_and_nothing_else() {
    let marks = tempfile::tempdir().unwrap();
    let world = world(Steps::Host, None, marks.path()).await;
    let faults = world.sim.faults();
    faults.latency(Duration::from_millis(40));
    faults.unknown_fresh_tokens(1);
    faults.fail_next("POST", "/app/installations", 2, 500);
    // More than one call's own attempts: the delivery and the head come back.
    faults.fail_next("GET", "/repos/acme/connectors/pulls/", 4, 401);
    faults.fail_next("POST", "/repos/acme/connectors/check-runs", 2, 502);
    faults.fail_next("POST", "/repos/acme/connectors/check-runs", 2, 401);
    faults.fail_next("PATCH", "/repos/acme/connectors/check-runs", 3, 502);
    faults.fail_next("GIT", "/", 1, 503);
    let head = change_both(&world, "change").await;
    world.settle().await;
    as_undisturbed(&world, &head);
    world.finish().await;
}

async fn fork_of_ada(world: &World) {
    let fork = RepositoryOptions {
        fork_of: Some(REPO.to_owned()),
        install: false,
        ..RepositoryOptions::default()
    };
    world.sim.create_repository("ada/connectors", fork).await.unwrap();
}

async fn push_to_fork(world: &World, who: &str, files: &[(&str, &str)]) -> String {
    let change = |text: &str| Change::Write(text.as_bytes().to_vec());
    let changes = files.iter().map(|(path, text)| ((*path).to_owned(), change(text)));
    let commit = Commit::new("A change", who, changes.collect());
    world.sim.commit("ada/connectors", "change", commit).await.unwrap()
}

/// Ada's pull request from her fork.
async fn open_fork(world: &World) -> u64 {
    let fork = Some("ada/connectors".to_owned());
    let pull = OpenPull { fork, ..OpenPull::new("change", "main", "ada", "A change") };
    world.sim.open_pull_request(REPO, pull).await.unwrap()
}

/// A delivery that was read early and is written late must not have the last word.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_delivery_of_an_old_head_does_not_end_the_run_of_the_new_one() {
    let marks = tempfile::tempdir().unwrap();
    let world = world(Steps::Host, None, marks.path()).await;
    fork_of_ada(&world).await;
    // The handler of the first delivery has read the pull request and now waits for this.
    world.sim.faults().fail_next("GET", "/repos/acme/connectors/collaborators/", 2, 502);
    let both = [("source-a/code.txt", "old"), ("source-b/code.txt", "old")];
    let old = push_to_fork(&world, "ada", &both).await;
    open_fork(&world).await;
    let asked = async |world: &World| {
        let calls = world.sim.calls();
        calls.iter().filter(|call| call.path.contains("/collaborators/")).count() >= 2
    };
    world.until("the permission is asked for in vain", asked).await;
    let new = push_to_fork(&world, "ada", &[("source-a/code.txt", "newer")]).await;
    world.settle().await;
    assert_eq!(world.table(&new), UNDISTURBED);
    made_once(&world, &new, 2);
    let runs = world.runs().await;
    let ended = runs.iter().filter(|run| run["head_sha"] == old.as_str());
    assert!(ended.clone().all(|run| run["conclusion"] == "cancelled"), "{runs:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_deliveries_doubled_and_in_any_order_come_to_the_same() {
    let marks = tempfile::tempdir().unwrap();
    let world = world(Steps::Host, None, marks.path()).await;
    let faults = world.sim.faults();
    faults.pause_deliveries();
    faults.deliver_everything_twice(true);
    let mut heads = vec![change_both(&world, "change").await];
    faults.reverse_deliveries(20);
    for nth in 0..10 {
        let text = format!("version {nth}");
        heads.push(world.push("change", &[("source-b/code.txt", &text)]).await);
    }
    let number = 1;
    world.sim.comment(REPO, number, "ada", "/test source-a").await.unwrap();
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.sim.reopen_pull_request(REPO, number, "ada").await.unwrap();
    faults.resume_deliveries();
    world.settle().await;
    let sent = world.sim.deliveries().len();
    assert!(sent >= 25, "{sent} deliveries, each twice");
    let head = heads.pop().unwrap();
    assert_eq!(world.table(&head), UNDISTURBED);
    for old in heads {
        for check in world.checks(&old) {
            assert_eq!(check.conclusion.as_deref(), Some("cancelled"), "{} {old}", check.name);
        }
    }
    made_once(&world, &head, 3);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_is_answered_once_whatever_fails() {
    let marks = tempfile::tempdir().unwrap();
    let world = world(Steps::Host, None, marks.path()).await;
    let head = change_both(&world, "change").await;
    world.settle().await;
    // The rocket fails for longer than the call itself is patient: the comment is judged again.
    // Between the eyes and the rocket lie two calls.
    world.sim.faults().latency(Duration::from_millis(300));
    let comment = world.sim.comment(REPO, 1, "ada", "/retest").await.unwrap();
    let reactions = format!("/repos/acme/connectors/issues/comments/{comment}/reactions");
    world
        .until("the eyes are there", async |world: &World| {
            world.sim.comments(REPO, 1)[0].reactions.len() == 1
        })
        .await;
    world.sim.faults().fail_next("POST", &reactions, 4, 502);
    world.sim.faults().latency(Duration::ZERO);
    world.settle().await;
    let comments = world.sim.comments(REPO, 1);
    let contents: Vec<&str> = comments[0].reactions.iter().map(|(_, what)| &**what).collect();
    assert_eq!(contents, ["eyes", "rocket"]);
    assert_eq!((comments.len(), world.runs().await.len()), (1, 2));
    made_once(&world, &head, 2);
    world.finish().await;
}

/// Ada may write; her fork's branch was pushed by Mallory, who may not.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_push_to_a_writers_fork_is_not_run_whoever_asks() {
    let marks = tempfile::tempdir().unwrap();
    let world = world(Steps::Host, None, marks.path()).await;
    world.sim.set_permission(REPO, "mallory", Permission::Read);
    fork_of_ada(&world).await;
    let push = async |who: &str, text: &str| {
        push_to_fork(&world, who, &[("source-a/code.txt", text)]).await
    };
    let first = push("ada", "fine").await;
    let number = open_fork(&world).await;
    world.settle().await;
    assert_eq!(world.check(&first, "source-a / unit").conclusion.as_deref(), Some("success"));

    let evil = push("mallory", "evil").await;
    world.settle().await;
    let refused = "checkvalve: action_required\n";
    assert_eq!(world.table(&evil), refused);
    world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.settle().await;
    assert_eq!(world.table(&evil), refused, "a command approves nothing");
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
    world.sim.reopen_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.table(&evil), refused, "reopening approves nothing");
    let check = world.check(&evil, "checkvalve");
    assert!(check.output.title.unwrap().contains("mallory"), "who it is about is said");

    let mended = push("ada", "fine again").await;
    world.settle().await;
    assert_eq!(world.check(&mended, "source-a / unit").conclusion.as_deref(), Some("success"));
    world.finish().await;
}
