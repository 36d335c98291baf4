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
#[path = "trust/thefts.rs"]
mod thefts;
#[path = "trust/threats.rs"]
mod threats;
#[path = "support/world.rs"]
mod world;

use github_simulator::{Change, Commit, OpenPull, RepositoryOptions};
use serde_json::Value;
use world::{REPO, World};

/// One connector whose `lint` may run before an approval, and whose `unit` may not.
const CONFIG: &str = r#"
version: 1
preset: none
connectors:
  - { kind: sh, match: "{name}/connector.txt", where: { name: ["source-*"] } }
pipelines:
  - for: { kind: sh }
    steps:
      - { id: lint, image: "checkvalve-test/busybox:1", run: "sh ./lint.sh", untrusted: true }
      - { id: unit, image: "checkvalve-test/busybox:1", network: none, run: "sh ./unit.sh" }
"#;
const CONFIG_PATH: &str = ".github/checkvalve.yml";

const FILES: &[(&str, &str)] = &[
    (CONFIG_PATH, CONFIG),
    ("source-a/connector.txt", "a"),
    ("source-a/lint.sh", "echo a is tidy\n"),
    ("source-a/unit.sh", "echo a is fine\n"),
];

/// The same without a step that may run before an approval: what hosts can be used for.
const PLAIN: &str = r#"
version: 1
preset: none
connectors:
  - { kind: sh, match: "{name}/connector.txt", where: { name: ["source-*"] } }
pipelines:
  - for: { kind: sh }
    steps:
      - { id: unit, image: x, network: none, run: "sh ./unit.sh" }
"#;

const PLAIN_FILES: &[(&str, &str)] = &[
    (CONFIG_PATH, PLAIN),
    ("source-a/connector.txt", "a"),
    ("source-a/unit.sh", "echo a is fine\n"),
];

/// Mallory's fork; she may read the repository, as everybody may.
const FORK: &str = "mallory/connectors";

async fn make_fork(world: &World) {
    make_fork_at(world, FORK).await;
}

async fn make_fork_at(world: &World, at: &str) {
    let fork = RepositoryOptions {
        fork_of: Some(REPO.to_owned()),
        install: false,
        ..RepositoryOptions::default()
    };
    world.sim.create_repository(at, fork).await.unwrap();
}

/// A commit on a branch of the fork; an empty content deletes the file.
async fn push(world: &World, branch: &str, files: &[(&str, &str)]) -> String {
    push_as(world, "mallory", branch, files).await
}

async fn push_as(world: &World, who: &str, branch: &str, files: &[(&str, &str)]) -> String {
    push_to(world, (FORK, who), branch, files).await
}

async fn push_to(
    world: &World,
    (fork, who): (&str, &str),
    branch: &str,
    files: &[(&str, &str)],
) -> String {
    let change = |text: &str| match text {
        "" => Change::Delete,
        text => Change::Write(text.as_bytes().to_vec()),
    };
    let changes = files.iter().map(|(path, text)| ((*path).to_owned(), change(text))).collect();
    world.sim.commit(fork, branch, Commit::new("A change", who, changes)).await.unwrap()
}

async fn open_as(world: &World, author: &str, branch: &str) -> u64 {
    open_from(world, (FORK, author), branch).await
}

async fn open_from(world: &World, (fork, author): (&str, &str), branch: &str) -> u64 {
    let fork = Some(fork.to_owned());
    let pull = OpenPull { fork, ..OpenPull::new(branch, "main", author, "A change") };
    world.sim.open_pull_request(REPO, pull).await.unwrap()
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
