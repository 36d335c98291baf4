//! What people ask for beside a change: an approval, a merge group, a re-run, a cancel; and what is found by
//! comparing. Each with a kill at each failpoint on its way, in the order in which it comes by: in the end it is
//! done, and done once.

use std::time::Duration;

use checkvalve::ambient::failpoint::{self, Failpoint};
use serde_json::Value;

use crate::clock::Clock;
use crate::failpoints::{until_killed, until_ready_or_dead};
use crate::world::{Extra, REPO, Steps, World};
use crate::{made_once, postgres};

const FORK: &str = "mallory/connectors";
const GREEN: &str = "checkvalve: success\nsource-a / unit: success\n";
const FILES: &[(&str, &str)] = &[
    (
        ".github/checkvalve.yml",
        "version: 1\npreset: none\nconnectors: [{ match: \"{name}/connector.txt\" }]\npipelines:\n  - on: \
         [pull_request, merge_group]\n    steps: [{ id: unit, image: x, run: \"sh ./unit.sh\" }]\n",
    ),
    ("source-a/connector.txt", "a"),
    ("source-a/unit.sh", "echo a is fine\n"),
];

const APPROVAL: &[&str] = &[
    "commit-before:1:insert into deliveries",
    "commit-after:1:insert into deliveries",
    "call-after:1:/permission",
    "commit-before:1:store/audit.rs",
    "commit-after:1:store/audit.rs",
    "commit-before:2:store/planning.rs",
    "commit-before:1:store/jobs.rs",
];
const GROUP: &[&str] = &[
    "commit-before:1:insert into deliveries",
    "commit-before:1:store/runs.rs",
    "commit-after:1:store/runs.rs",
    "commit-after:1:store/planning.rs",
    "commit-before:1:store/jobs.rs",
];
const GROUP_IS_GONE: &[&str] = &[
    "commit-after:1:insert into deliveries",
    "commit-before:1:store/compare.rs",
    "commit-after:1:store/compare.rs",
];
const RERUN: &[&str] = &[
    "commit-after:1:insert into deliveries",
    "commit-before:1:store/audit.rs",
    "commit-after:1:store/audit.rs",
    "commit-after:2:store/planning.rs",
    "commit-before:1:store/jobs.rs",
];
const CANCEL: &[&str] = &[
    "commit-after:1:insert into deliveries",
    "call-after:1:/permission",
    "commit-before:1:store/audit.rs",
    "commit-after:1:store/audit.rs",
];
const COMPARISON: &[&str] = &[
    "commit-after:1:store/compare.rs",
    "call-before:1:GET /repos/acme/connectors/commits/",
    "call-after:1:GET /repos/acme/connectors/commits/",
];

async fn begin(database: Option<String>) -> World {
    // What GitHub was not answered is asked for at once; and no holder is taken for dead that is slow.
    let env = [("CHECKVALVE_RECOVERY", "1s"), ("CHECKVALVE_LEASE", "15s")];
    let env = env.map(|(name, value)| (name, value.to_owned())).to_vec();
    World::set_up(Steps::Host, database, Extra { env, ..Extra::default() }, FILES).await
}

/// Of a server that was killed: somebody does something, and it dies at each of these in turn.
async fn through(world: &mut World, failpoints: &[&str], does: impl AsyncFnOnce(&World)) {
    let mut does = Some(does);
    for text in failpoints {
        let at: Failpoint = text.parse().unwrap();
        world.launch((failpoint::VARIABLE, text), 4);
        until_ready_or_dead(world).await;
        if let Some(does) = does.take() {
            does(world).await;
        }
        until_killed(world, &at).await;
    }
    world.start().await;
    world.settle().await;
}

/// A pull request of Ada's that has passed.
async fn green(world: &World, branch: &str) -> (u64, String) {
    let head = world.push(branch, &[("source-a/code.txt", branch)]).await;
    let number = world.open(branch).await;
    world.settle().await;
    assert_eq!(world.table(&head), GREEN);
    (number, head)
}

async fn runs_of(world: &World, head: &str) -> Vec<Value> {
    world.runs().await.into_iter().filter(|run| run["head_sha"] == head).collect()
}

fn reactions(world: &World, number: u64) -> Vec<String> {
    let comments = world.sim.comments(REPO, number);
    assert_eq!(comments.len(), 1, "no answer but a reaction: {comments:?}");
    comments[0].reactions.iter().map(|(_, what)| what.clone()).collect()
}

async fn an_approval(world: &mut World) {
    world.fork(FORK).await;
    let changes = [("source-a/code.txt", "hers")];
    let head = world.push_to((FORK, "mallory"), "change", &changes).await;
    let number = world.open_from((FORK, "mallory"), ("change", "main")).await;
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: action_required\n");
    let asked = format!("/ok-to-test {}", &head[..12]);
    let approves = async |world: &World| {
        world.sim.comment(REPO, number, "ada", &asked).await.unwrap();
    };
    world.kill();
    through(world, APPROVAL, approves).await;
    assert_eq!(world.table(&head), GREEN);
    assert_eq!(reactions(world, number), ["eyes", "rocket"]);
    // The one that waited for it, and the one that it had.
    assert_eq!(runs_of(world, &head).await.len(), 2);
    made_once(world, &head, 2);
}

async fn a_merge_group(world: &mut World) {
    let (number, _) = green(world, "queued").await;
    let mut head = String::new();
    let enqueues = async |world: &World| {
        head = world.sim.enqueue(REPO, &[number], "ada").await.unwrap().head_sha;
    };
    world.kill();
    through(world, GROUP, enqueues).await;
    assert_eq!(world.table(&head), GREEN);
    assert_eq!(runs_of(world, &head).await.len(), 1);
    made_once(world, &head, 1);
    let dequeues = async |world: &World| world.sim.dequeue(REPO, number, "ada").await.unwrap();
    world.kill();
    through(world, GROUP_IS_GONE, dequeues).await;
    assert_eq!(world.table(&head), GREEN);
    assert_eq!(runs_of(world, &head).await.len(), 1);
}

async fn a_rerun(world: &mut World) {
    let (_, head) = green(world, "again").await;
    let check = world.check(&head, "source-a / unit").id;
    let presses = async |world: &World| {
        world.sim.rerequest_check_run(REPO, check, "ada").await.unwrap();
    };
    world.kill();
    through(world, RERUN, presses).await;
    assert_eq!(world.table(&head), GREEN);
    let runs = runs_of(world, &head).await;
    let triggers: Vec<&Value> = runs.iter().map(|run| &run["trigger"]).collect();
    assert_eq!(triggers, ["button", "pull_request"]);
    made_once(world, &head, 2);
}

async fn a_cancel(world: &mut World) {
    let head = world.push("slow", &[("source-a/unit.sh", "sleep 40\n")]).await;
    let number = world.open("slow").await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    let cancels = async |world: &World| {
        world.sim.comment(REPO, number, "ada", "/cancel").await.unwrap();
    };
    world.kill();
    through(world, CANCEL, cancels).await;
    assert_eq!(world.table(&head), "checkvalve: cancelled\nsource-a / unit: cancelled\n");
    assert_eq!(reactions(world, number), ["eyes", "rocket"]);
    assert_eq!(runs_of(world, &head).await.len(), 1);
    made_once(world, &head, 1);
}

/// By the clock of its database, which only `SQLite`'s is moved on here.
async fn a_comparison(world: &mut World) {
    let (_, head) = green(world, "lost").await;
    let mut clock = Clock::of_state(&world.state.path().join("state")).await;
    let check = world.check(&head, "source-a / unit").id;
    world.kill();
    world.sim.lose_check_run(REPO, check).unwrap();
    clock.skip(Duration::from_mins(11)).await;
    world.sim.advance(Duration::from_mins(11));
    through(world, COMPARISON, async |_| {}).await;
    world.until("it is made again", async |world: &World| world.table(&head) == GREEN).await;
    made_once(world, &head, 1);
}

macro_rules! done_once_whatever_dies {
    ($($deed:ident),+) => {
        mod done_once_whatever_dies_on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $deed() {
                let mut world = super::begin(None).await;
                super::$deed(&mut world).await;
                world.finish().await;
            })+
        }
        mod done_once_whatever_dies_on_postgresql {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $deed() {
                let Some(database) = super::postgres::database().await else { return };
                let mut world = super::begin(Some(database)).await;
                super::$deed(&mut world).await;
                world.finish().await;
            })+
        }
    };
}

done_once_whatever_dies!(an_approval, a_merge_group, a_rerun, a_cancel);

#[tokio::test(flavor = "multi_thread")]
async fn what_github_lost_is_found_by_comparing_whatever_dies() {
    let mut world = begin(None).await;
    a_comparison(&mut world).await;
    world.finish().await;
}
