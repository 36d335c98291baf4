//! Whose code runs, and what a stranger's could take: stories on forks, over HTTP.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "trust/approvals.rs"]
mod approvals;
#[path = "trust/before.rs"]
mod before;
#[path = "support/images.rs"]
mod images;
#[path = "trust/policy.rs"]
mod policy;
#[path = "trust/pushers.rs"]
mod pushers;
#[path = "trust/reruns.rs"]
mod reruns;
#[path = "trust/shared.rs"]
mod shared;
#[path = "trust/thefts.rs"]
mod thefts;
#[path = "trust/threats.rs"]
mod threats;
#[macro_use]
#[path = "support/world.rs"]
mod world;

use serde_json::Value;
use world::{REPO, World};

/// One connector whose `lint` may run before an approval, and whose `unit` may not.
const CONFIG: &str = sources_with!(
    r#"
      - { id: lint, image: "checkvalve-test/busybox:1", run: "sh ./lint.sh", untrusted: true }
      - { id: unit, image: "checkvalve-test/busybox:1", network: none, run: "sh ./unit.sh" }
"#
);
const CONFIG_PATH: &str = ".github/checkvalve.yml";

const FILES: &[(&str, &str)] = &[
    (CONFIG_PATH, CONFIG),
    ("source-a/connector.txt", "a"),
    ("source-a/lint.sh", "echo a is tidy\n"),
    ("source-a/unit.sh", "echo a is fine\n"),
];

/// The same without a step that may run before an approval: what hosts can be used for.
const PLAIN: &str =
    sources_with!("      - { id: unit, image: x, network: none, run: \"sh ./unit.sh\" }\n");

const PLAIN_FILES: &[(&str, &str)] = &[
    (CONFIG_PATH, PLAIN),
    ("source-a/connector.txt", "a"),
    ("source-a/unit.sh", "echo a is fine\n"),
];

/// Mallory's fork; she may read the repository, as everybody may.
const FORK: &str = "mallory/connectors";

async fn make_fork(world: &World) {
    world.fork(FORK).await;
}

/// A commit of Mallory's on a branch of her fork.
async fn push(world: &World, branch: &str, files: &[(&str, &str)]) -> String {
    push_as(world, "mallory", branch, files).await
}

async fn push_as(world: &World, who: &str, branch: &str, files: &[(&str, &str)]) -> String {
    world.push_to((FORK, who), branch, files).await
}

async fn open_as(world: &World, author: &str, branch: &str) -> u64 {
    world.open_from((FORK, author), (branch, "main")).await
}

/// Mallory's pull request with these files, told and settled: its head and number.
async fn strangers(world: &World, files: &[(&str, &str)]) -> (String, u64) {
    make_fork(world).await;
    let head = push(world, "change", files).await;
    let number = open_as(world, "mallory", "change").await;
    world.settle().await;
    (head, number)
}

/// A comment, and our reply to it (empty: there is none), once all has settled.
async fn ask(world: &World, number: u64, who: &str, body: &str) -> String {
    let comment = world.sim.comment(REPO, number, who, body).await.unwrap();
    world.settle().await;
    let mark = format!("<!-- checkvalve answers {comment} -->");
    let reply = world.sim.comments(REPO, number).into_iter().find(|one| one.body.contains(&mark));
    reply.map(|reply| reply.body).unwrap_or_default()
}

fn approval(head: &str) -> String {
    format!("/ok-to-test {}", &head[..12])
}

const WAITS: &str = "checkvalve: action_required\n";

/// The newest run's log of a step.
async fn log(world: &World, step: &str) -> String {
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    log_of(world, &run, step).await
}

async fn log_of(world: &World, run: &str, step: &str) -> String {
    let path = format!("/api/v1/runs/{run}/connectors/source-a/steps/{step}/log");
    let answer = world.http.get(format!("{}{path}", world.url)).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.text().await.unwrap()
}

/// A step of the newest run, as the API has it.
async fn step(world: &World, step: &str) -> Value {
    let run = world.runs().await.remove(0)["id"].as_str().unwrap().to_owned();
    let run = world.json(&format!("/api/v1/runs/{run}")).await;
    let steps = run["connectors"][0]["steps"].as_array().unwrap().clone();
    steps.into_iter().find(|one| one["id"] == step).unwrap()
}
