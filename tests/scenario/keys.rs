//! What pipelines say of their jobs, seen from GitHub: matrices, locks, merges, heads that stay.

use std::fmt::Write as _;
use std::process::Command;

use super::images;
use super::world::{REPO, Steps, World};

const MARKER: &str = "connector.txt";

/// A repository file with one pipeline of these keys.
fn config(pipeline: &str) -> String {
    format!(
        "preset: none\nconnectors: [{{ match: \"{{name}}/{MARKER}\" }}]\npipelines:\n{pipeline}"
    )
}

async fn world(pipeline: &str, files: &[(&str, &str)]) -> World {
    let config = config(pipeline);
    let mut all =
        vec![(".github/checkvalve.yml", config.as_str()), ("source-a/connector.txt", "a")];
    all.extend(files);
    World::new(Steps::Host, &all).await
}

/// Id, state and outcome of each step of the newest run's first connector.
async fn steps(world: &World) -> String {
    let run = world.runs().await.remove(0);
    let whole = world.json(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap())).await;
    let mut told = String::new();
    for step in whole["connectors"][0]["steps"].as_array().unwrap() {
        let state = step["outcome"].as_str().or(step["state"].as_str()).unwrap();
        writeln!(told, "{}: {state}", step["id"].as_str().unwrap()).unwrap();
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn each_value_of_a_matrix_has_a_check_of_its_own() {
    let world = world(
        "  - steps:\n      - { id: unit, image: x, matrix: { v: [1, 2] }, \
         run: \"echo value $MATRIX_V; test -e fixed || test $MATRIX_V = 1\" }\n      \
         - { id: after, image: x, needs: unit, run: \"true\" }\n",
        &[],
    )
    .await;
    let head = world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    world.settle().await;
    assert_eq!(
        world.table(&head),
        "checkvalve: failure\nsource-a / after: skipped\nsource-a / unit (1): success\n\
         source-a / unit (2): failure\n"
    );
    let page = world.check(&head, "source-a / unit (2)").details_url;
    let page = world.http.get(page).send().await.unwrap();
    assert!(page.status().is_success());
    assert!(page.text().await.unwrap().contains("value 2"));

    // One instance, by its name; and all of them by the step's.
    world.sim.comment(REPO, number, "ada", "/test source-a/unit (2)").await.unwrap();
    world.settle().await;
    let one = "unit (1): skipped\nunit (2): failed\nafter: skipped\n";
    assert_eq!(steps(&world).await, one);
    world.sim.comment(REPO, number, "ada", "/test source-a/unit").await.unwrap();
    world.settle().await;
    assert_eq!(steps(&world).await, "unit (1): succeeded\nunit (2): failed\nafter: skipped\n");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pull_requests_with_one_lock_take_turns() {
    let world = world(
        "  - lock: \"live-{name}\"\n    steps: [{ id: unit, image: x, run: \"sh ./unit.sh\" }]\n",
        &[("source-a/unit.sh", "echo before\n")],
    )
    .await;
    let gate = tempfile::tempdir().unwrap();
    let gate = gate.path().join("open");
    let waits = format!("while ! test -e {}; do sleep 0.1; done; echo done\n", gate.display());
    let first = world.push("one", &[("source-a/unit.sh", &waits)]).await;
    let one = world.open("one").await;
    world.until_check(&first, "source-a / unit", "in_progress").await;
    let second = world.push("two", &[("source-a/unit.sh", "echo two\n")]).await;
    world.open("two").await;
    world.until_check(&second, "source-a / unit", "queued").await;
    world
        .until("the second one says what it waits for", async |world: &World| {
            let run = world.runs().await.remove(0);
            let path = format!("/api/v1/runs/{}", run["id"].as_str().unwrap());
            let run = world.json(&path).await;
            let step = &run["connectors"][0]["steps"][0];
            let reason = step["reason"].as_str().unwrap_or_default().to_owned();
            if reason.is_empty() {
                return false;
            }
            let holder =
                format!("waits for the lock `live-source-a`, which `source-a` of #{one} (");
            assert!(reason.starts_with(&holder), "{reason}");
            assert_eq!(step["state"], "waiting");
            let page = world.http.get(step["url"].as_str().unwrap()).send().await.unwrap();
            assert!(page.text().await.unwrap().contains("waits for the lock"));
            true
        })
        .await;
    std::fs::write(&gate, "").unwrap();
    world.settle().await;
    for head in [first, second] {
        assert_eq!(world.check(&head, "source-a / unit").conclusion.as_deref(), Some("success"));
    }
    world.finish().await;
}

/// How many of `source-a`'s jobs say that they wait for something.
async fn waiting(world: &World, what: &str) -> usize {
    let mut waiting = 0;
    for run in world.runs().await {
        let run = world.json(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap())).await;
        let first = &run["connectors"][0];
        let reason = first["steps"][0]["reason"].as_str().unwrap_or_default();
        waiting += usize::from(first["name"] == "source-a" && reason.starts_with(what));
    }
    waiting
}

/// Opens six pull requests of equal trees and different commits, of which one works on `source-a` and
/// five wait for it; four jobs may be in hand. Then one of another connector, which runs.
async fn six_wait_and_another_runs(
    world: &World,
    files: &[(&str, &str)],
    what: &str,
) -> Vec<String> {
    let mut heads = Vec::new();
    for n in 0..6 {
        let branch = format!("waits-{n}");
        world.push(&branch, &[("source-a/note", branch.as_str())]).await;
        heads.push(world.push(&branch, &[&[("source-a/note", "")], files].concat()).await);
        world.open(&branch).await;
    }
    world.until("five wait", async |world: &World| waiting(world, what).await == 5).await;
    let free = world.push("free", &[("source-b/code.txt", "new")]).await;
    world.open("free").await;
    world.until_check(&free, "source-b / unit", "success").await;
    assert_eq!(waiting(world, what).await, 5, "and those still wait");
    heads
}

#[tokio::test(flavor = "multi_thread")]
async fn more_jobs_wait_for_a_lock_than_there_are_workers_and_others_run() {
    let world = world(
        "  - { for: { name: source-a }, lock: live, \
         steps: [{ id: unit, image: x, run: \"sh ./unit.sh\" }] }\n  \
         - { steps: [{ id: unit, image: x, run: \"echo run\" }] }\n",
        &[("source-b/connector.txt", "b")],
    )
    .await;
    let gate = tempfile::tempdir().unwrap();
    let gate = gate.path().join("open");
    let waits = format!("while ! test -e {}; do sleep 0.1; done; echo done\n", gate.display());
    let files = [("source-a/unit.sh", waits.as_str())];
    let heads = six_wait_and_another_runs(&world, &files, "waits for the lock").await;
    std::fs::write(&gate, "").unwrap();
    world.settle().await;
    for head in heads {
        assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_jobs_wait_for_a_result_than_there_are_workers_and_others_run() {
    if images::engine().await.is_none() {
        return;
    }
    let config = config(&format!(
        "  - steps: [{{ id: unit, image: \"{}\", network: none, run: \"sh ./unit.sh\" }}]\n",
        images::BUSYBOX
    ));
    let files = [
        (".github/checkvalve.yml", config.as_str()),
        ("source-a/connector.txt", "a"),
        ("source-b/connector.txt", "b"),
        ("source-b/unit.sh", "echo b\n"),
    ];
    let world = World::new(Steps::Docker, &files).await;
    let waits = "while ! test -e /tmp/open; do sleep 0.1; done; echo done\n";
    let files = [("source-a/unit.sh", waits)];
    let heads = six_wait_and_another_runs(&world, &files, "waits for `unit` of source-a").await;
    let containers = world.containers();
    let [one] = &containers[..] else { panic!("one works for all: {containers:?}") };
    let opened = Command::new("docker").args(["exec", one, "mkdir", "/tmp/open"]).status();
    assert!(opened.unwrap().success());
    world.settle().await;
    for head in heads {
        let unit = world.check(&head, "source-a / unit");
        assert_eq!(unit.conclusion.as_deref(), Some("success"));
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_outlives_its_head_comes_to_its_end() {
    let world = world(
        "  - supersede: false\n    steps: [{ id: unit, image: x, run: \"sh ./unit.sh\" }]\n",
        &[("source-a/unit.sh", "echo old\n")],
    )
    .await;
    let gate = tempfile::tempdir().unwrap();
    let gate = gate.path().join("open");
    let waits = format!("while ! test -e {}; do sleep 0.1; done; echo done\n", gate.display());
    let old = world.push("change", &[("source-a/unit.sh", &waits)]).await;
    world.open("change").await;
    world.until_check(&old, "source-a / unit", "in_progress").await;
    let new = world.push("change", &[("source-a/unit.sh", "echo new\n")]).await;
    world.until_check(&new, "checkvalve", "success").await;
    assert_eq!(world.check(&old, "source-a / unit").status, "in_progress");
    std::fs::write(&gate, "").unwrap();
    world.settle().await;
    assert_eq!(world.table(&old), "checkvalve: success\nsource-a / unit: success\n");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_merge_is_tested_and_a_conflict_is_named() {
    let world = world(
        "  - merge: true\n    steps:\n      - { id: unit, image: x, run: \"cat ours.txt theirs.txt\" }\n",
        &[("source-a/ours.txt", "before\n"), ("source-a/theirs.txt", "before\n")],
    )
    .await;
    let head = world.push("change", &[("source-a/ours.txt", "of the head\n")]).await;
    let conflicting = world.push("other", &[("source-a/theirs.txt", "of another\n")]).await;
    let base = world.push("main", &[("source-a/theirs.txt", "of the base\n")]).await;
    world.open("change").await;
    world.settle().await;
    let unit = world.check(&head, "source-a / unit");
    assert_eq!(unit.conclusion.as_deref(), Some("success"));
    let merge = format!("merge of `{}` with `{}`", &head[..12], &base[..12]);
    let summary = unit.output.summary.unwrap();
    assert!(summary.contains(&merge), "{summary}");
    let run = world.runs().await.remove(0);
    let id = run["id"].as_str().unwrap();
    let log = format!("{}/api/v1/runs/{id}/connectors/source-a/steps/unit/log", world.url);
    let log = world.http.get(log).send().await.unwrap().text().await.unwrap();
    assert_eq!(log, "of the head\nof the base\n");

    world.open("other").await;
    world.settle().await;
    let check = world.check(&conflicting, "checkvalve");
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    let title = check.output.title.unwrap();
    assert!(title.contains("`source-a/theirs.txt` conflicts with the base branch"), "{title}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_holds_only_the_connectors_that_test_the_merge() {
    let world = world(
        "  - for: { name: source-a }\n    merge: true\n    \
         steps: [{ id: unit, image: x, run: \"true\" }]\n  \
         - steps: [{ id: unit, image: x, run: \"cat code.txt\" }]\n",
        &[("source-b/connector.txt", "b"), ("shared.txt", "before\n")],
    )
    .await;
    let files = [
        ("shared.txt", "of the head\n"),
        ("source-a/code.txt", "new\n"),
        ("source-b/code.txt", "new\n"),
    ];
    let head = world.push("change", &files).await;
    world.push("main", &[("shared.txt", "of the base\n")]).await;
    let number = world.open("change").await;
    world.settle().await;
    assert_eq!(
        world.table(&head),
        "checkvalve: failure\nsource-a / unit: action_required\nsource-b / unit: success\n"
    );
    let unit = world.check(&head, "source-a / unit");
    let title = "Not run: `shared.txt` conflicts with the base branch";
    assert_eq!(unit.output.title.as_deref(), Some(title));
    let summary = unit.output.summary.unwrap();
    assert!(summary.contains("```text\nshared.txt\n```"), "{summary}");
    let page = world.http.get(unit.details_url).send().await.unwrap();
    assert!(page.text().await.unwrap().contains("conflicts with the base branch"));
    let run = world.runs().await.remove(0);
    let report = format!("/runs/{}/source-a/report.json", run["id"].as_str().unwrap());
    let report = world.json(&report).await;
    assert_eq!((&report["success"], &report["skipped_steps"][0]), (&false.into(), &"unit".into()));

    // Asked for again it is planned anew: the same commits still don't merge.
    world.sim.comment(REPO, number, "ada", "/retest").await.unwrap();
    world.settle().await;
    assert_eq!(steps(&world).await, "unit: skipped\n");
    assert_eq!(
        world.check(&head, "source-a / unit").conclusion.as_deref(),
        Some("action_required")
    );
    // The mend.
    let head = world.push("change", &[("shared.txt", "of the base\n")]).await;
    world.settle().await;
    assert_eq!(
        world.table(&head),
        "checkvalve: success\nsource-a / unit: success\nsource-b / unit: success\n"
    );
    world.finish().await;
}
