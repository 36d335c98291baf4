//! Before an approval: by whose configuration, and what is selected.

use super::world::{REPO, Steps, World};
use super::{
    CONFIG, CONFIG_PATH, FILES, PLAIN_FILES, WAITS, approval, ask, images, log, step, strangers,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_that_changes_its_own_pipelines_is_run_by_its_bases() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    let hers = CONFIG
        .replace("run: \"sh ./lint.sh\"", "run: \"echo by her pipeline\"")
        .replace("run: \"sh ./unit.sh\"", "run: \"sh ./mine; echo by hers, too\", untrusted: true");
    let changes = [(CONFIG_PATH, hers.as_str()), ("source-a/mine", "true\n")];
    let (head, number) = strangers(&world, &changes).await;
    assert_eq!(world.table(&head), "checkvalve: action_required\nsource-a / lint: success\n");
    assert_eq!(log(&world, "lint").await, "a is tidy\n");
    let summary = world.check(&head, "checkvalve").output.summary.unwrap();
    assert!(summary.contains("- configuration: [.github/checkvalve.yml]"), "{summary}");
    assert!(summary.contains("- script: [source-a/mine]"), "by her pipelines: {summary}");
    assert!(summary.contains("The change also changes pipelines"), "{summary}");
    ask(&world, number, "ada", &approval(&head)).await;
    assert_eq!(log(&world, "unit").await, "by hers, too\n");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_that_ignores_everything_is_tested_all_the_same() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    let hers = CONFIG.replace("preset: none", "preset: none\nignore: [\"**\"]");
    let changes = [(CONFIG_PATH, hers.as_str()), ("source-a/unit.sh", "exit 1\n")];
    let (head, number) = strangers(&world, &changes).await;
    assert_eq!(world.table(&head), "checkvalve: action_required\nsource-a / lint: success\n");
    ask(&world, number, "ada", &approval(&head)).await;
    assert_eq!(
        world.table(&head),
        "checkvalve: failure\nsource-a / lint: success\nsource-a / unit: failure\n"
    );
    let summary = world.check(&head, "checkvalve").output.summary.unwrap();
    assert!(
        summary.contains("selected is what either the base's or the head's rules"),
        "{summary}"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_runs_nothing_of_a_stranger_before_an_approval() {
    let world = World::new(Steps::Host, FILES).await;
    let (head, number) = strangers(&world, &[("source-a/lint.sh", "echo stolen\n")]).await;
    let lint = world.check(&head, "source-a / lint");
    assert_eq!(lint.conclusion.as_deref(), Some("failure"));
    let title = lint.output.title.unwrap();
    assert!(title.starts_with("Infrastructure error: strangers' code does not run"), "{title}");
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("action_required"));
    ask(&world, number, "ada", &approval(&head)).await;
    assert_eq!(log(&world, "lint").await, "stolen\n", "approved, it is as good as a writer's");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_configuration_on_either_side_waits_for_the_approval() {
    let world = World::new(Steps::Host, FILES).await;
    let (head, number) = strangers(&world, &[(CONFIG_PATH, "version: [")]).await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("action_required"));
    let summary = world.check(&head, "checkvalve").output.summary.unwrap();
    assert!(
        summary.contains("The head's configuration is not valid and was left out"),
        "{summary}"
    );
    ask(&world, number, "ada", &approval(&head)).await;
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("failure"));

    // A fork that mends what is broken on the base.
    world.push("main", &[(CONFIG_PATH, "version: [")]).await;
    let mends = super::push(&world, "mends", &[("source-a/code.txt", "new")]).await;
    super::open_as(&world, "mallory", "mends").await;
    world.settle().await;
    assert_eq!(world.table(&mends), WAITS);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_planned_of_a_stranger_waits_for_the_approval_all_the_same() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    super::make_fork(&world).await;
    let head = super::push(&world, "change", &[("source-a/code.txt", "new")]).await;
    // The commit is not there, so that it is not waited for.
    world.sim.faults().pause_deliveries();
    let number = super::open_as(&world, "mallory", "change").await;
    let pull = format!("refs/pull/{number}/head");
    let folder = world.sim.git_folder(REPO).unwrap();
    let git = |args: &[&str]| {
        let done =
            std::process::Command::new("git").arg("-C").arg(&folder).args(args).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    git(&["update-ref", "-d", &pull]);
    git(&["-c", "gc.reflogExpire=now", "reflog", "expire", "--all", "--expire=now"]);
    git(&["gc", "--quiet", "--prune=now"]);
    world.sim.faults().resume_deliveries();
    // When planning was given up, and not while it is tried again.
    world
        .until("it is said that it was not planned", async |world: &World| {
            let checks = world.checks(&head);
            let summaries = checks.into_iter().filter_map(|check| check.output.summary);
            summaries.into_iter().any(|summary| summary.contains("could not be planned"))
        })
        .await;
    let check = world.check(&head, "checkvalve");
    assert_eq!(check.conclusion.as_deref(), Some("action_required"));
    let title = check.output.title.unwrap_or_default();
    assert_eq!(title, "Approval needed: mallory may not write to this repository");
    let buttons: Vec<&str> = check.actions.iter().map(|one| one.label.as_str()).collect();
    assert_eq!(buttons, ["Approve this commit"]);

    let fork = world.sim.git_folder(super::FORK).unwrap();
    git(&["fetch", "--quiet", &fork.display().to_string(), &format!("+{head}:{pull}")]);
    ask(&world, number, "ada", &approval(&head)).await;
    assert_eq!(world.table(&head), "checkvalve: success\nsource-a / unit: success\n");
    world.finish().await;
}

/// The button is for everybody who sees the check; who may press it says nothing of the code.
#[tokio::test(flavor = "multi_thread")]
async fn a_fork_that_somebody_re_runs_stays_untrusted() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    let (head, number) = strangers(&world, &[("source-a/unit.sh", "echo hers\n")]).await;
    let waits = "checkvalve: action_required\nsource-a / lint: success\n";
    assert_eq!(world.table(&head), waits);
    let suite = world.check(&head, "checkvalve").suite_id;
    for name in ["source-a / lint", "checkvalve"] {
        let check = world.check(&head, name);
        for who in ["mallory", "ada"] {
            world.sim.rerequest_check_run(REPO, check.id, who).await.unwrap();
            world.settle().await;
            assert_eq!(world.table(&head), waits, "{name}, by {who}");
        }
    }
    world.sim.rerequest_check_suite(REPO, suite, "ada").await.unwrap();
    world.settle().await;
    assert_eq!(world.table(&head), waits);
    let runs = world.runs().await;
    assert!(runs.iter().all(|run| run["conclusion"] == "action_required"), "{runs:?}");
    let page = world.http.get(format!("{}/r/{REPO}/pull/{number}", world.url)).send().await;
    let page = page.unwrap().text().await.unwrap();
    assert!(page.contains("Re-run on source-a / lint"), "who asked for it is written down");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_approval_makes_runs_is_reused_by_its_pull_request_alone() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    let changes = [("source-a/code.txt", "the same bytes")];
    let (head, number) = strangers(&world, &changes).await;
    ask(&world, number, "ada", &approval(&head)).await;
    assert_eq!(step(&world, "unit").await["cache"]["state"], "miss");
    // The same commit, asked for again: its own results.
    ask(&world, number, "ada", "/test").await;
    assert_eq!(step(&world, "unit").await["cache"]["state"], "hit");
    // The very same files, by a writer: worked out anew.
    world.push("ours", &changes).await;
    world.open("ours").await;
    world.settle().await;
    for id in ["lint", "unit"] {
        assert_eq!(step(&world, id).await["cache"]["state"], "miss", "{id}");
    }
    // What a writer's run left, a stranger's may use.
    let next = super::push(&world, "again", &changes).await;
    super::open_as(&world, "mallory", "again").await;
    world.settle().await;
    assert_eq!(world.table(&next), "checkvalve: action_required\nsource-a / lint: success\n");
    assert_eq!(step(&world, "lint").await["cache"]["state"], "hit");
    world.finish().await;
}
