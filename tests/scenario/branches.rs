//! Commits that are no pull request's, seen from GitHub: pushes to the default branch, merge groups,
//! schedules.

use serde_json::{Value, json};

use super::world::{REPO, Steps, World};
use github_simulator::{Change, Commit};

const STEP: &str = "steps: [{ id: unit, image: x, run: \"sh ./unit.sh\" }]";

fn config(pipelines: &str) -> String {
    format!(
        "preset: none\nignore: [\"docs/**\"]\nconnectors: [{{ match: \"{{name}}/connector.txt\" }}]\n{pipelines}"
    )
}

async fn world(pipelines: &str) -> World {
    let config = config(pipelines);
    let files = [
        (".github/checkvalve.yml", config.as_str()),
        ("source-a/connector.txt", "a"),
        ("source-a/unit.sh", "echo a is fine\n"),
        ("source-b/connector.txt", "b"),
        ("source-b/unit.sh", "echo b is fine\n"),
    ];
    World::new(Steps::Host, &files).await
}

/// Trigger, head and conclusion of each run, newest first, and its connectors.
async fn told(world: &World) -> Vec<(String, String, Vec<String>)> {
    let mut told = Vec::new();
    for run in world.runs().await {
        let whole = world.json(&format!("/api/v1/runs/{}", run["id"].as_str().unwrap())).await;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let connectors = whole["connectors"].as_array().unwrap().iter();
        let connectors = connectors
            .map(|one| format!("{}: {}", text(&one["name"]), text(&one["conclusion"])))
            .collect();
        told.push((text(&run["trigger"]), text(&run["head_sha"]), connectors));
    }
    told
}

/// An event of GitHub's about the repository, with what every one has.
fn send(world: &World, event: &str, what: Value) {
    let known = world.sim.deliveries().into_iter().rfind(|one| one.event == "push").unwrap();
    let known: Value = serde_json::from_slice(&known.body).unwrap();
    let mut payload = what;
    for key in ["repository", "installation", "sender"] {
        payload[key] = known[key].clone();
    }
    world.sim.send_event(event, &payload).unwrap();
}

/// The queue's branch with a commit on it, and the event that asks for its checks.
async fn enqueue(world: &World, files: &[(&str, &str)]) -> (String, Value) {
    let branch = "gh-readonly-queue/main/pr-7-0123456789abcdef";
    let mut git = std::process::Command::new("git");
    git.arg("--git-dir").arg(world.sim.git_folder(REPO).unwrap());
    let base = git.args(["rev-parse", "main"]).output().unwrap().stdout;
    let base = String::from_utf8(base).unwrap().trim().to_owned();
    let head = world.push(branch, files).await;
    let group = json!({
        "head_sha": head,
        "head_ref": format!("refs/heads/{branch}"),
        "base_sha": base,
        "base_ref": "refs/heads/main",
        "head_commit": { "id": head, "message": "Merge pull request #7" },
    });
    send(world, "merge_group", json!({ "action": "checks_requested", "merge_group": group }));
    (head, group)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_to_the_default_branch_runs_what_asks_for_it_and_shows_nothing_on_github() {
    let world = world(&format!(
        "pipelines:\n  - {{ for: {{ name: source-b }}, {STEP} }}\n  - {{ on: [push], {STEP} }}\n"
    ))
    .await;
    let badge = format!("{}/r/{REPO}/connectors/source-a/badge.json", world.url);
    let head = world.push("main", &[("source-a/code.txt", "1"), ("source-b/code.txt", "1")]).await;
    world.settle().await;
    // The pipeline of `source-b` for pull requests does not hide the one for pushes.
    let expected = ["source-a: success".to_owned(), "source-b: success".to_owned()];
    assert_eq!(told(&world).await, [("push".to_owned(), head.clone(), expected.to_vec())]);
    assert_eq!(world.sim.check_runs(REPO, &head).len(), 0, "no name that a pull request requires");
    let shown: Value = world.http.get(&badge).send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["message"], "passed", "{shown}");

    // A failure is the branch's, whatever else is pushed behind it.
    world.push("main", &[("source-a/unit.sh", "exit 1\n")]).await;
    world.push("main", &[("source-b/code.txt", "2")]).await;
    world.push("topic", &[("source-b/code.txt", "3")]).await;
    world.settle().await;
    let runs = told(&world).await;
    assert_eq!(runs.len(), 3, "none for the topic branch: {runs:?}");
    assert_eq!(runs[1].2, ["source-a: failure"]);
    assert_eq!(runs[0].2, ["source-b: success"]);
    let shown: Value = world.http.get(&badge).send().await.unwrap().json().await.unwrap();
    assert_eq!((&shown["message"], &shown["color"]), (&json!("failed"), &json!("red")));

    // A forced push takes a commit away: what that had changed has changed back.
    let parent = Some(head.clone());
    let change = vec![("docs/a.md".to_owned(), Change::Write(b"a".to_vec()))];
    let commit = Commit { parent, force: true, ..Commit::new("Again", "ada", change) };
    world.sim.commit(REPO, "main", commit).await.unwrap();
    world.settle().await;
    let runs = told(&world).await;
    assert_eq!(runs[0].2, ["source-a: success", "source-b: success"]);

    // Run again, it stays the branch's.
    let url = format!(
        "{}/api/v1/runs/{}/retest",
        world.url,
        world.runs().await[0]["id"].as_str().unwrap()
    );
    let asked = world.http.post(url).bearer_auth("scenario-token").send().await.unwrap();
    assert_eq!(asked.status(), 202);
    world.settle().await;
    let runs = world.runs().await;
    assert_eq!((&runs[0]["trigger"], &runs[0]["conclusion"]), (&json!("push"), &json!("success")));
    let head = runs[0]["head_sha"].as_str().unwrap();
    assert_eq!(world.sim.check_runs(REPO, head).len(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_pipeline_for_pushes_a_push_leaves_nothing() {
    let world = world(&format!("pipelines:\n  - {{ {STEP} }}\n")).await;
    world.push("main", &[("source-a/code.txt", "1")]).await;
    world.settle().await;
    assert_eq!(told(&world).await, []);
    // Unless the file may have meant to run something, and can't be read.
    world.push("main", &[(".github/checkvalve.yml", "pipelnes: []\n")]).await;
    world.settle().await;
    let run = world.runs().await.remove(0);
    assert_eq!((&run["trigger"], &run["conclusion"]), (&json!("push"), &json!("failure")));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_group_gets_its_verdict_and_ends_with_the_group() {
    let world = world(&format!(
        "pipelines:\n  - {{ on: [merge_group], {STEP} }}\n  - steps: [{{ id: lint, image: x, run: \"true\" }}]\n"
    ))
    .await;
    // Also where nothing is affected: the queue waits for the check.
    world.push("main", &[("docs/a.md", "a")]).await;
    let (head, _) = enqueue(&world, &[("docs/b.md", "b")]).await;
    world.settle().await;
    assert_eq!(world.table(&head), "checkvalve: success\n");

    let slow = [("source-a/unit.sh", "echo begins; sleep 30\n")];
    let (head, group) = enqueue(&world, &slow).await;
    world.until_check(&head, "source-a / unit", "in_progress").await;
    // What is pushed meanwhile does not end it; its own end does.
    world.push("main", &[("source-b/code.txt", "1")]).await;
    world.sim.quiet().await;
    assert_eq!(world.check(&head, "source-a / unit").status, "in_progress");
    let gone = json!({ "action": "destroyed", "reason": "dequeued", "merge_group": group });
    send(&world, "merge_group", gone);
    world.settle().await;
    let runs = world.runs().await.len();
    let check = world.check(&head, "checkvalve");
    assert_eq!(check.conclusion.as_deref(), Some("cancelled"));
    let title = check.output.title.unwrap_or_default();
    assert!(title.contains("taken out of the queue"), "{title}");
    assert_eq!(
        world.table(&head),
        "checkvalve: cancelled\nsource-a / unit: cancelled\n",
        "its own pipeline, and not the pull request's"
    );

    // What asked for its checks is delivered once more, and of another group after its end alone.
    let mut other = group.clone();
    other["head_ref"] = json!("refs/heads/gh-readonly-queue/main/pr-8-0123456789abcdef");
    let gone = json!({ "action": "destroyed", "reason": "invalidated", "merge_group": other });
    send(&world, "merge_group", gone);
    for late in [group, other] {
        send(&world, "merge_group", json!({ "action": "checks_requested", "merge_group": late }));
    }
    world.settle().await;
    assert_eq!(world.runs().await.len(), runs, "nobody waits for it");
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("cancelled"));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_of_the_default_branch_runs_what_it_selects() {
    let world = world(&format!("pipelines:\n  - {{ {STEP} }}\n")).await;
    let scheduled = config(&format!(
        "pipelines:\n  - {{ on: [schedule], {STEP} }}\nschedules:\n  - {{ cron: \"* * * * *\", select: {{ name: source-b }} }}\n"
    ));
    // On another branch it says nothing.
    world.push("topic", &[(".github/checkvalve.yml", &scheduled)]).await;
    let head = world.push("main", &[(".github/checkvalve.yml", &scheduled)]).await;
    world
        .until("the schedule is due", async |world: &World| {
            world.runs().await.iter().any(|run| run["trigger"] == "schedule")
        })
        .await;
    world.settle().await;
    let runs = told(&world).await;
    let (trigger, of, connectors) = runs.last().unwrap();
    assert_eq!((trigger.as_str(), of), ("schedule", &head));
    assert_eq!(connectors, &["source-b: success"]);
    assert_eq!(world.sim.check_runs(REPO, &head).len(), 0);
    world
        .push(
            "main",
            &[(".github/checkvalve.yml", &config(&format!("pipelines:\n  - {{ {STEP} }}\n")))],
        )
        .await;
    world.finish().await;
}
