//! Who may is the default branch's to say.

use github_simulator::{OpenPull, Permission};

use super::world::{Extra, REPO, Steps, World};
use super::{
    CONFIG_PATH, PLAIN, PLAIN_FILES, WAITS, approval, ask, make_fork, open_as, push_as, strangers,
};

const GREEN: &str = "checkvalve: success\nsource-a / unit: success\n";

fn files(config: &str) -> Vec<(&str, &str)> {
    let others = PLAIN_FILES.iter().copied().filter(|(path, _)| *path != CONFIG_PATH);
    std::iter::once((CONFIG_PATH, config)).chain(others).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_branch_says_which_permission_commands_and_approves() {
    let config = format!("{PLAIN}policy: {{ approve: maintain }}\n");
    let world = World::new(Steps::Host, &files(&config)).await;
    world.sim.set_permission(REPO, "moira", Permission::Maintain);
    // What the change says of it is a stranger's wish.
    let open = format!("{PLAIN}policy: {{ approve: write, bots: [helper] }}\n");
    let (head, number) = strangers(&world, &[(CONFIG_PATH, &open)]).await;
    let reply = ask(&world, number, "ada", &approval(&head)).await;
    assert!(reply.contains("Only people who may maintain this repository approve"), "{reply}");
    let reply = ask(&world, number, "ada", "/test").await;
    assert!(reply.contains("people who may maintain this repository"), "{reply}");
    assert_eq!(ask(&world, number, "helper[bot]", "/test").await, "");
    assert_eq!(world.table(&head), WAITS);
    assert_eq!(ask(&world, number, "moira", &approval(&head)).await, "");
    assert_eq!(world.check(&head, "checkvalve").conclusion.as_deref(), Some("success"));

    // A file that can't be read there opens nothing to anybody but administrators.
    world.push("main", &[(CONFIG_PATH, "policy: [")]).await;
    let next = super::push(&world, "change", &[("source-a/code.txt", "new")]).await;
    world.settle().await;
    let reply = ask(&world, number, "moira", &approval(&next)).await;
    assert!(reply.contains("may administer"), "{reply}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_was_taken_away_a_moment_ago_approves_nothing() {
    let world = World::new(Steps::Host, PLAIN_FILES).await;
    let (head, number) = strangers(&world, &[("source-a/code.txt", "new")]).await;
    // Known from now on, for a while.
    assert!(ask(&world, number, "ada", "/retest").await.contains("is not run"));
    world.sim.set_permission(REPO, "ada", Permission::Read);
    let reply = ask(&world, number, "ada", &approval(&head)).await;
    assert!(reply.contains("`ada` may not"), "{reply}");
    assert_eq!(world.table(&head), WAITS);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bots_that_the_policy_lists_count_as_writers_and_approve_nothing() {
    let config = format!("{PLAIN}policy: {{ bots: [\"renovate[bot]\"] }}\n");
    let world = World::new(Steps::Host, &files(&config)).await;
    make_fork(&world).await;
    push_as(&world, "renovate[bot]", "listed", &[("source-a/code.txt", "0")]).await;
    let number = open_as(&world, "renovate[bot]", "listed").await;
    world.settle().await;
    let listed = push_as(&world, "renovate[bot]", "listed", &[("source-a/code.txt", "1")]).await;
    let other = push_as(&world, "evil[bot]", "other", &[("source-a/code.txt", "2")]).await;
    let waits = open_as(&world, "evil[bot]", "other").await;
    world.settle().await;
    assert_eq!((world.table(&listed), world.table(&other)), (GREEN.to_owned(), WAITS.to_owned()));
    let before = world.runs().await.len();
    assert_eq!(ask(&world, number, "renovate[bot]", "/test").await, "");
    assert_eq!(world.runs().await.len(), before + 1, "its commands are obeyed");
    ask(&world, waits, "renovate[bot]", &approval(&other)).await;
    assert_eq!(world.table(&other), WAITS, "and its approvals are not");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_the_default_branchs_to_declare_whatever_the_base_is() {
    let granted = Extra {
        env: vec![("CHECKVALVE_SECRET_TOKEN", "a-token-of-the-server".to_owned())],
        file: Some(format!(
            "[[grants]]\nrepositories = [\"{REPO}\"]\nenv = [\"CHECKVALVE_SECRET_*\"]\n"
        )),
        ..Extra::default()
    };
    let world = World::set_up(Steps::Host, None, granted, PLAIN_FILES).await;
    // A branch that somebody made, which declares what the default branch does not.
    let declares = format!("{PLAIN}secrets:\n  token: {{ from: env }}\n");
    let takes = declares.replace("network: none,", "network: none, secrets: [token],");
    world.push("mine", &[(CONFIG_PATH, &declares)]).await;
    let head = world.push("change", &[(CONFIG_PATH, &takes)]).await;
    let pull = OpenPull::new("change", "mine", "ada", "Take it");
    world.sim.open_pull_request(REPO, pull).await.unwrap();
    world.settle().await;
    let check = world.check(&head, "checkvalve");
    assert_eq!(check.conclusion.as_deref(), Some("failure"));
    let title = check.output.title.unwrap();
    assert!(title.contains("the default branch declares no secret `token`"), "{title}");
    world.finish().await;
}
