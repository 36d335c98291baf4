//! Stories of a pull request, over HTTP: a simulated GitHub on one side, the real server on the
//! other.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "scenario/access.rs"]
mod access;
#[path = "scenario/anew.rs"]
mod anew;
#[path = "scenario/annotations.rs"]
mod annotations;
#[path = "scenario/branches.rs"]
mod branches;
#[path = "scenario/commands.rs"]
mod commands;
#[path = "scenario/enterprise.rs"]
mod enterprise;
#[path = "support/gate.rs"]
mod gate;
#[path = "scenario/heads.rs"]
mod heads;
#[path = "support/https.rs"]
mod https;
#[path = "support/images.rs"]
mod images;
#[path = "scenario/keys.rs"]
mod keys;
#[path = "scenario/pinned.rs"]
mod pinned;
#[path = "support/postgres.rs"]
mod postgres;
#[path = "scenario/reused.rs"]
mod reused;
#[path = "scenario/rotation.rs"]
mod rotation;
#[path = "support/s3.rs"]
mod s3;
#[path = "scenario/setup.rs"]
mod setup;
#[path = "scenario/slow.rs"]
mod slow;
#[expect(dead_code, reason = "no server of its own is needed")]
#[path = "support/tls.rs"]
mod tls;
#[path = "support/world.rs"]
mod world;

use github_simulator::{Commit, OpenPull, Permission, RepositoryOptions};
use world::{REPO, Steps, World};

/// Two connectors, each with a pipeline of three steps; `source-b`'s `unit` depends on a file.
const CONFIG: &str = r#"
version: 1
preset: none
ignore: ["docs/**"]
connectors:
  - { kind: sh, match: "{name}/connector.txt", where: { name: ["source-*"] } }
unclaimed: all
pipelines:
  - for: { kind: sh }
    steps:
      - { id: install, image: "checkvalve-test/busybox:1", network: none, run: "echo installing $CHECKVALVE_CONNECTOR" }
      - { id: unit, image: "checkvalve-test/busybox:1", network: none, needs: [install], run: "sh ./unit.sh" }
      - { id: build, image: "checkvalve-test/busybox:1", network: none, needs: [unit], run: "echo built; echo product > $CHECKVALVE_OUT/product.txt", artifacts: ["*.txt"] }
"#;

const CONFIG_PATH: &str = ".github/checkvalve.yml";

const FILES: &[(&str, &str)] = &[
    (CONFIG_PATH, CONFIG),
    ("source-a/connector.txt", "a"),
    ("source-a/unit.sh", "echo a is fine\n"),
    ("source-b/connector.txt", "b"),
    ("source-b/unit.sh", "echo b is fine\n"),
    ("docs/readme.md", "# Docs\n"),
];

const SLOW: &str = "echo begins; sleep 30; echo ends\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_opened_pull_request_gets_a_check_run_for_each_step() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    let head = world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    world.settle().await;

    assert_eq!(
        world.table(&head),
        "checkvalve: success\nsource-a / build: success\nsource-a / install: success\n\
         source-a / unit: success\n"
    );
    let unit = world.check(&head, "source-a / unit");
    assert!(unit.details_url.starts_with(&world.url), "{}", unit.details_url);
    assert!(unit.started_at.is_some() && unit.completed_at >= unit.started_at);
    let page = world.http.get(&unit.details_url).send().await.unwrap();
    assert!(page.status().is_success());
    assert!(page.text().await.unwrap().contains("a is fine"));

    let run = world.runs().await.remove(0);
    assert_eq!(run["conclusion"], "success");
    assert_eq!(run["pull_request"], number);
    let id = run["id"].as_str().unwrap();
    let log = format!("{}/api/v1/runs/{id}/connectors/source-a/steps/unit/log", world.url);
    assert_eq!(world.http.get(log).send().await.unwrap().text().await.unwrap(), "a is fine\n");
    let whole = world.json(&format!("/api/v1/runs/{id}")).await;
    assert_eq!(whole["connectors"][0]["reasons"][0]["path"], "source-a/code.txt");
    for stored in ["report.json", "report.html", "junit.xml", "graph.svg", "timeline.svg"] {
        let answer = world.http.get(format!("{}/runs/{id}/source-a/{stored}", world.url));
        assert!(answer.send().await.unwrap().status().is_success(), "{stored}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_supersedes_what_runs_for_the_old_head() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    let old = world.push("change", &[("source-a/unit.sh", SLOW)]).await;
    world.open("change").await;
    world.until_check(&old, "source-a / unit", "in_progress").await;
    let new = world.push("change", &[("source-a/unit.sh", "echo quick\n")]).await;
    world.settle().await;

    let unit = world.check(&old, "source-a / unit");
    assert_eq!(unit.conclusion.as_deref(), Some("cancelled"));
    let title = unit.output.title.unwrap_or_default();
    assert!(title.to_lowercase().contains(&format!("superseded by {}", &new[..12])), "{title}");
    assert_eq!(world.check(&old, "checkvalve").conclusion.as_deref(), Some("cancelled"));
    assert_eq!(world.check(&new, "checkvalve").conclusion.as_deref(), Some("success"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retest_runs_again_only_what_failed() {
    let marks = tempfile::tempdir().unwrap();
    let dir = marks.path().display().to_string();
    let fails_once = format!(
        "echo x >> {dir}/unit\nif [ $(wc -l < {dir}/unit) -lt 2 ]; then echo boom; exit 3; fi\n"
    );
    let config = CONFIG.replace("echo installing", &format!("echo x >> {dir}/install; echo"));
    let world = World::new(Steps::Host, FILES).await;
    let changes = [(CONFIG_PATH, config.as_str()), ("source-a/unit.sh", &fails_once)];
    let head = world.push("change", &changes).await;
    let number = world.open("change").await;
    world.settle().await;
    assert_eq!(world.check(&head, "source-a / unit").conclusion.as_deref(), Some("failure"));
    assert_eq!(world.check(&head, "source-a / build").conclusion.as_deref(), Some("skipped"));
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("failure"));
    let lines =
        |name: &str| std::fs::read_to_string(marks.path().join(name)).unwrap().lines().count();
    assert_eq!((lines("install"), lines("unit")), (2, 1), "both connectors, once");

    let comment = world.sim.comment(REPO, number, "ada", "/retest").await.unwrap();
    world.settle().await;
    assert_eq!(
        world.table(&head),
        "checkvalve: success\nsource-a / build: success\nsource-a / install: success\n\
         source-a / unit: success\nsource-b / build: success\nsource-b / install: success\n\
         source-b / unit: success\n"
    );
    assert_eq!((lines("install"), lines("unit")), (2, 2), "only what failed ran again");
    let reactions = world.sim.comments(REPO, number).remove(0);
    assert_eq!(reactions.id, comment);
    let contents: Vec<&str> = reactions.reactions.iter().map(|(_, what)| what.as_str()).collect();
    assert_eq!(contents, ["eyes", "rocket"]);
    // By the plan that was made, and not by another one.
    let runs = world.runs().await;
    let mut digests = Vec::new();
    for run in &runs {
        let report = format!("/runs/{}/source-a/report.json", run["id"].as_str().unwrap());
        digests.push(world.json(&report).await["plan_digest"].clone());
    }
    assert_eq!(digests[0], digests[1]);
    let api = |run: &serde_json::Value| format!("/api/v1/runs/{}", run["id"].as_str().unwrap());
    let again = world.json(&api(&runs[0])).await;
    let notes = again["selection"]["notes"].to_string();
    assert!(notes.contains(runs[1]["id"].as_str().unwrap()), "{notes}");

    // From a step on: what comes before it is left alone.
    world.sim.comment(REPO, number, "ada", "/test source-a --from unit").await.unwrap();
    world.settle().await;
    assert_eq!((lines("install"), lines("unit")), (2, 3));
    let run = world.json(&api(&world.runs().await[0])).await;
    let states: Vec<&str> = run["connectors"][0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["skipped", "finished", "finished"], "{run}");
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));
    let comment = world.sim.comment(REPO, number, "ada", "/test --from unitt").await.unwrap();
    world.settle().await;
    let replies = world.sim.comments(REPO, number);
    let reply = replies.iter().find(|reply| reply.body.contains(&comment.to_string())).unwrap();
    assert!(reply.body.contains("did you mean `unit`"), "{}", reply.body);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_for_a_green_connector_does_not_make_a_red_head_green() {
    let world = World::new(Steps::Host, FILES).await;
    let changes = [("source-a/unit.sh", "exit 1\n"), ("source-b/code.txt", "new")];
    let head = world.push("change", &changes).await;
    let number = world.open("change").await;
    world.settle().await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("failure"));

    world.sim.comment(REPO, number, "ada", "/test source-b").await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), 2);
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("failure"));
    assert_eq!(world.check(&head, "source-b / unit").conclusion.as_deref(), Some("success"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_documents_concludes_at_once_without_steps() {
    let world = World::new(Steps::Host, FILES).await;
    let head = world.push("docs", &[("docs/readme.md", "# Better docs\n")]).await;
    world.open("docs").await;
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: success\n");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_comes_twice_makes_one_run() {
    let world = World::new(Steps::Host, FILES).await;
    let head = world.push("change", &[("source-a/code.txt", "new")]).await;
    world.open("change").await;
    world.settle().await;
    let opened = world.sim.deliveries().into_iter().find(|delivery| {
        delivery.event == "pull_request" && delivery.action.as_deref() == Some("opened")
    });
    let guid = opened.unwrap().guid;
    world.sim.redeliver(&guid).await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), 1);
    assert_eq!(world.sim.check_runs(REPO, &head).len(), 4, "no check run was made twice");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_steps_run_and_started_again_every_check_concludes() {
    if images::engine().await.is_none() {
        return;
    }
    let mut world = World::new(Steps::Docker, FILES).await;
    let slow = "echo begins; sleep 4; echo ends\n";
    let changes = [("source-a/unit.sh", slow), ("source-b/unit.sh", slow)];
    let head = world.push("change", &changes).await;
    world.open("change").await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    world.until_check(&head, "source-b / unit", "in_progress").await;
    // A step is told as running before its container is made.
    let made = async |world: &World| !world.containers().is_empty();
    world.until("a step has its container", made).await;
    world.kill();
    assert!(!world.containers().is_empty(), "the steps' containers outlive the server");
    world.start().await;
    world.settle().await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));
    assert_eq!(world.check(&head, "source-b / build").conclusion.as_deref(), Some("success"));
    let run = world.runs().await.remove(0);
    let whole = world.json(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap())).await;
    assert_eq!(whole["connectors"][0]["steps"][1]["attempt"], 2, "the second try counts");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_code_of_someone_who_may_not_write_is_not_run() {
    let world = World::new(Steps::Host, FILES).await;
    let fork = RepositoryOptions {
        fork_of: Some(REPO.to_owned()),
        install: false,
        ..RepositoryOptions::default()
    };
    world.sim.create_repository("mallory/connectors", fork).await.unwrap();
    let change = vec![(
        "source-a/unit.sh".to_owned(),
        github_simulator::Change::Write(b"echo stolen\n".to_vec()),
    )];
    let commit = Commit::new("Be evil", "mallory", change);
    let head = world.sim.commit("mallory/connectors", "evil", commit).await.unwrap();
    let fork = Some("mallory/connectors".to_owned());
    let pull = OpenPull { fork, ..OpenPull::new("evil", "main", "mallory", "Nothing to see") };
    let number = world.sim.open_pull_request(REPO, pull).await.unwrap();
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: action_required\n");

    // Neither her own word nor a maintainer's command changes that.
    world.sim.comment(REPO, number, "mallory", "/test").await.unwrap();
    world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: action_required\n");
    let replies = world.sim.comments(REPO, number);
    assert_eq!(replies.len(), 4, "each command has one reply");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_obeyed_from_writers_only() {
    let world = World::new(Steps::Host, FILES).await;
    world.sim.set_permission(REPO, "rita", Permission::Read);
    let head = world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    world.settle().await;
    world.sim.comment(REPO, number, "rita", "/test all").await.unwrap();
    world.settle().await;
    assert_eq!(world.runs().await.len(), 1);
    let comments = world.sim.comments(REPO, number);
    let reactions: Vec<&str> = comments[0].reactions.iter().map(|(_, r)| r.as_str()).collect();
    assert_eq!(reactions, ["eyes", "confused"]);
    assert!(comments[1].body.contains("may not"), "{}", comments[1].body);
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_repository_file_is_a_failed_check_with_the_line_and_the_mend() {
    let world = World::new(Steps::Host, FILES).await;
    let typo = CONFIG.replace("pipelines:", "pipelnes:");
    let head = world.push("typo", &[(CONFIG_PATH, &typo)]).await;
    world.open("typo").await;
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: failure\n");
    let check = world.check(&head, "checkvalve");
    let summary = check.output.summary.unwrap_or_default();
    assert!(summary.contains("pipelines"), "the closest key is named: {summary}");
    assert!(summary.contains("checkvalve.yml:8:1"), "the line is named: {summary}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_image_is_ours_and_not_the_authors() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    let config = CONFIG.replace("checkvalve-test/busybox:1", "checkvalve-test/nowhere:9");
    let head = world.push("image", &[(CONFIG_PATH, &config)]).await;
    world.open("image").await;
    world.settle().await;
    let install = world.check(&head, "source-a / install");
    assert_eq!(install.conclusion.as_deref(), Some("failure"));
    let title = install.output.title.unwrap_or_default();
    assert!(title.starts_with("Infrastructure error"), "{title}");
    assert_eq!(world.check(&head, "source-a / unit").conclusion.as_deref(), Some("skipped"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_cancels_and_cancel_cancels() {
    let world = World::new(Steps::Host, FILES).await;
    let head = world.push("one", &[("source-a/unit.sh", SLOW)]).await;
    let one = world.open("one").await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    world.sim.close_pull_request(REPO, one, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.check(&head, "source-a / unit").conclusion.as_deref(), Some("cancelled"));
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("cancelled"));

    let head = world.push("two", &[("source-b/unit.sh", SLOW)]).await;
    let two = world.open("two").await;
    world.until_check(&head, "source-b / unit", "in_progress").await;
    world.sim.comment(REPO, two, "ada", "/cancel").await.unwrap();
    world.settle().await;
    assert_eq!(world.check(&head, "source-b / unit").conclusion.as_deref(), Some("cancelled"));
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("cancelled"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buttons_run_again_what_they_are_on() {
    let world = World::new(Steps::Host, FILES).await;
    let changes = [("source-a/unit.sh", "exit 1\n"), ("source-b/code.txt", "new")];
    let head = world.push("change", &changes).await;
    world.open("change").await;
    world.settle().await;
    let unit = world.check(&head, "source-a / unit");
    let before = world.sim.check_runs(REPO, &head).len();
    world.sim.rerequest_check_run(REPO, unit.id, "ada").await.unwrap();
    world.settle().await;
    let again = world.check(&head, "source-a / unit");
    assert_ne!(again.id, unit.id, "a completed check run is not moved back; a new one is made");
    assert_eq!(again.conclusion.as_deref(), Some("failure"));
    // The step, the one skipped because of it, and the verdict.
    assert_eq!(world.sim.check_runs(REPO, &head).len(), before + 3);

    world.sim.rerequest_check_suite(REPO, unit.suite_id, "ada").await.unwrap();
    world.settle().await;
    let newest = world.runs().await.remove(0);
    assert_eq!(newest["trigger"], "button");
    assert_ne!(world.check(&head, "source-b / unit").id, 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_that_are_not_served_are_left_alone() {
    let world = World::new(Steps::Host, FILES).await;
    world.sim.create_repository("other/connectors", RepositoryOptions::default()).await.unwrap();
    let change = |text: &str| {
        vec![("a.txt".to_owned(), github_simulator::Change::Write(text.as_bytes().to_vec()))]
    };
    world
        .sim
        .commit("other/connectors", "main", Commit::new("1", "ada", change("1")))
        .await
        .unwrap();
    let commit = Commit::new("2", "ada", change("2"));
    let head = world.sim.commit("other/connectors", "change", commit).await.unwrap();
    let pull = OpenPull::new("change", "main", "ada", "A change");
    world.sim.open_pull_request("other/connectors", pull).await.unwrap();
    world.settle().await;
    assert!(world.sim.check_runs("other/connectors", &head).is_empty());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_force_push_back_to_an_earlier_head_is_a_new_occasion() {
    let world = World::new(Steps::Host, FILES).await;
    let first = world.push("change", &[("source-a/code.txt", "1")]).await;
    world.open("change").await;
    world.settle().await;
    world.push("change", &[("source-a/code.txt", "2")]).await;
    world.settle().await;
    let back =
        Commit { parent: Some(first.clone()), force: true, ..Commit::new("3", "ada", vec![]) };
    let third = world.sim.commit(REPO, "change", back).await.unwrap();
    world.settle().await;
    assert_eq!(world.check(&third, "checkvalve").conclusion.as_deref(), Some("success"));
    assert_eq!(world.runs().await.len(), 3);
    world.finish().await;
}
