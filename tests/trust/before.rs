//! Before an approval: by whose configuration, and what is selected.

use super::world::{Steps, World};
use super::{CONFIG, CONFIG_PATH, FILES, WAITS, approval, ask, images, log, step, strangers};

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_that_changes_its_own_pipelines_is_run_by_its_bases() {
    if images::engine().await.is_none() {
        return;
    }
    let world = World::new(Steps::Docker, FILES).await;
    let hers = CONFIG
        .replace("run: \"sh ./lint.sh\"", "run: \"echo by her pipeline\"")
        .replace("run: \"sh ./unit.sh\"", "run: \"echo by hers, too\", untrusted: true");
    let changes = [(CONFIG_PATH, hers.as_str()), ("source-a/code.txt", "new")];
    let (head, number) = strangers(&world, &changes).await;
    assert_eq!(world.table(&head), "checkvalve: action_required\nsource-a / lint: success\n");
    assert_eq!(log(&world, "lint").await, "a is tidy\n");
    let summary = world.check(&head, "checkvalve").output.summary.unwrap();
    assert!(summary.contains("- configuration: [.github/checkvalve.yml]"), "{summary}");
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
