//! Approvals while events are late or lost.

use std::time::Duration;

use checkvalve::domain::trust::Trust;
use github_simulator::{OpenPull, RepositoryOptions};

use crate::comments::{clock, replies, skip};
use crate::{REPO, World};

/// Mallory's fork; she may read the repository, as everybody may.
const FORK: &str = "mallory/connectors";
const BRANCH: &str = "change";

/// Her pull request, told; its number and head.
async fn strangers(world: &mut World) -> (u64, String) {
    let fork = RepositoryOptions {
        fork_of: Some(REPO.to_owned()),
        install: false,
        ..RepositoryOptions::default()
    };
    world.sim.create_repository(FORK, fork).await.unwrap();
    let head = world.push(FORK, BRANCH, "evil").await;
    let fork = Some(FORK.to_owned());
    let pull = OpenPull { fork, ..OpenPull::new(BRANCH, "main", "mallory", "A change") };
    let number = world.sim.open_pull_request(REPO, pull).await.unwrap();
    world.tell().await;
    assert_eq!(world.runs().await[0].trust, Trust::Untrusted);
    // What is written from here on was written after it was known.
    world.sim.advance(Duration::from_secs(3));
    (number, head)
}

/// Ada's comment, told alone, and our reply to it; empty: there is none.
async fn ask(world: &mut World, number: u64, body: &str) -> String {
    let comment = world.sim.comment(REPO, number, "ada", body).await.unwrap();
    let written = world.sent("issue_comment", "created").guid;
    world.tell_those(|one| one.guid == written).await;
    let (state, note) = world.handled(&written).await;
    assert_eq!(state, "done", "{note}");
    let mark = format!("<!-- checkvalve answers {comment} -->");
    let mut replies = world.sim.comments(REPO, number).into_iter();
    let reply = replies.rfind(|one| one.body.contains(&mark));
    reply.map(|reply| reply.body).unwrap_or_default()
}

/// By whom the pull request's head, as it is there now, is approved.
async fn approved_by(world: &World, number: u64) -> Option<String> {
    let repository = world.repository().await;
    let now = world.intake.github.pull(&repository, number).await.unwrap();
    world.store.approval(repository.id, &now).await.unwrap().map(|approval| approval.actor)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_that_github_names_is_approved_also_before_its_event_comes() {
    let mut world = World::new().await;
    let (number, _) = strangers(&mut world).await;
    let head = world.push(FORK, BRANCH, "better").await;
    let pushed = world.sent("pull_request", "synchronize");
    let reply = ask(&mut world, number, &format!("/ok-to-test {}", &head[..12])).await;
    assert_eq!(reply, "", "a rocket, and no reply");
    assert_eq!(approved_by(&world, number).await.as_deref(), Some("ada"));
    assert_eq!(world.runs().await.len(), 1, "its event makes its run");
    world.tell_late(&pushed).await;
    let run = world.runs().await.remove(0);
    assert_eq!((run.head_sha.as_str(), run.trust), (head.as_str(), Trust::Approved));
    assert_eq!(approved_by(&world, number).await.as_deref(), Some("ada"));
    // The next push is another commit.
    world.push(FORK, BRANCH, "evil again").await;
    world.tell().await;
    assert_eq!(approved_by(&world, number).await, None);
    assert_eq!(world.runs().await[0].trust, Trust::Untrusted);
    world.sim.stop().await;
}

/// Away and back, and of the two events…
enum Told {
    /// … the first could not be followed yet, since GitHub did not answer, and the second is lost.
    Away,
    /// … the first is lost.
    Back,
}

async fn away_and_back(told: Told) {
    let mut world = World::new().await;
    let (number, evil) = strangers(&mut world).await;
    world.push(FORK, BRANCH, "fine").await;
    let away = world.sent("pull_request", "synchronize").guid;
    // What Ada read; and what is the head when her comment comes.
    let back = async |world: &World| {
        world.sim.move_branch(FORK, BRANCH, &evil, "mallory").await.unwrap();
        world.sent("pull_request", "synchronize").guid
    };
    match told {
        Told::Away => {
            world.sim.faults().fail_next("GET", &format!("/repos/{REPO}/pulls/{number}"), 4, 502);
            world.tell().await;
            assert_eq!(world.handled(&away).await.0, "waiting");
            back(&world).await;
        }
        Told::Back => {
            let back = back(&world).await;
            world.tell_those(|one| one.guid == back).await;
        }
    }
    let reply = ask(&mut world, number, "/ok-to-test").await;
    assert!(reply.contains("may not be what you looked at"), "{reply}");
    assert_eq!(approved_by(&world, number).await, None);
    assert!(world.runs().await.iter().all(|run| run.trust == Trust::Untrusted));
    // Named, it is what she wants.
    assert_eq!(ask(&mut world, number, &format!("/ok-to-test {}", &evil[..12])).await, "");
    assert_eq!(approved_by(&world, number).await.as_deref(), Some("ada"));
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_was_away_counts_as_moved_although_its_event_still_waits() {
    Box::pin(away_and_back(Told::Away)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_was_away_counts_as_moved_by_the_event_that_brings_it_back() {
    Box::pin(away_and_back(Told::Back)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_since_is_not_taken_back_by_what_was_written_before() {
    let mut world = World::new().await;
    let mut clock = clock(&world).await;
    let (number, head) = strangers(&mut world).await;
    let approve = format!("/ok-to-test {head}");
    ask(&mut world, number, &approve).await;
    world.sim.comment(REPO, number, "ada", "/ok-to-test cancel").await.unwrap();
    let late = world.sent("issue_comment", "created");
    world.tell_those(|one| one.guid != late.guid).await;
    // Nobody heard that; she takes it back, looks again, and approves it.
    skip(&world, &mut clock, Duration::from_mins(1)).await;
    ask(&mut world, number, "/ok-to-test cancel").await;
    assert_eq!(approved_by(&world, number).await, None);
    ask(&mut world, number, &approve).await;
    skip(&world, &mut clock, Duration::from_mins(5)).await;
    world.tell_late(&late).await;
    assert_eq!(approved_by(&world, number).await.as_deref(), Some("ada"));
    let said = replies(&world, number).pop().unwrap();
    assert!(said.contains("approved this commit after that was written"), "{said}");
    // Said now, it is meant.
    ask(&mut world, number, "/ok-to-test cancel").await;
    assert_eq!(approved_by(&world, number).await, None);
    world.sim.stop().await;
}
