//! Comments that are told late, are in somebody's hands, or for whose answers there is no room.

use std::time::{Duration, Instant};

use checkvalve::domain::state::{Conclusion, RunState};
use checkvalve::service::recovery::Recovery;
use checkvalve::store::{Closed, Hold};
use github_simulator::{Delivery, Permission};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::log::recovery;
use crate::{REPO, World};

/// The clock of its database.
pub(crate) async fn clock(world: &World) -> Clock {
    let database = world.folder.path().join("checkvalve.db");
    Clock::of(&format!("sqlite:{}", database.display())).await
}

/// A world with a pull request that has its run; its number, and the clock of its database.
pub(crate) async fn with_pull() -> (World, u64, Clock) {
    let mut world = World::new().await;
    let clock = clock(&world).await;
    world.push(REPO, "change", "one").await;
    let number = world.open(REPO, "change").await;
    world.tell().await;
    assert_eq!(world.runs().await.len(), 1);
    (world, number, clock)
}

/// Time goes by, here and at GitHub.
pub(crate) async fn skip(world: &World, clock: &mut Clock, by: Duration) {
    clock.skip(by).await;
    world.sim.advance(by);
}

/// Looks at everything, once more.
async fn sweep(recovery: &Recovery) {
    // Two sweeps have half a pause between them.
    tokio::time::sleep(recovery.every * 6 / 10).await;
    recovery.pass(&CancellationToken::new()).await.unwrap();
}

/// GitHub wants to be left alone for so long: there is no room for an answer.
async fn close(world: &World, wait: Duration) {
    let installation = world.repository().await.installation;
    world.store.close_budget(Closed { installation, wait, refusals: 1 }).await.unwrap();
}

/// What was given to a comment, in its order.
pub(crate) fn reactions(world: &World, number: u64, comment: u64) -> Vec<String> {
    let comments = world.sim.comments(REPO, number);
    let comment = comments.into_iter().find(|one| one.id == comment).unwrap();
    comment.reactions.into_iter().map(|(_, what)| what).collect()
}

/// Our replies.
pub(crate) fn replies(world: &World, number: u64) -> Vec<String> {
    let ours = world.sim.comments(REPO, number).into_iter();
    let ours = ours.filter(|one| one.body.contains("<!-- checkvalve answers "));
    ours.map(|one| one.body).collect()
}

/// The reactions that GitHub was asked for, answered or not.
fn reacted(world: &World) -> usize {
    let calls = world.sim.calls();
    calls.iter().filter(|call| call.method == "POST" && call.path.ends_with("/reactions")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_is_told_late_ends_nothing_that_was_made_after_it() {
    let (mut world, number, mut clock) = with_pull().await;
    let late = world.sim.comment(REPO, number, "ada", "/cancel").await.unwrap();
    let written = world.sent("issue_comment", "created");
    // Told with the rest once somebody listens again: the push, and only then the comment.
    skip(&world, &mut clock, Duration::from_mins(5)).await;
    let head = world.push(REPO, "change", "two").await;
    world.tell_those(|one| one.guid != written.guid).await;
    let newest = async |world: &World| world.runs().await.remove(0);
    assert_eq!(newest(&world).await.head_sha.as_str(), head);
    world.tell_late(&written).await;
    assert_eq!(newest(&world).await.state, RunState::Queued, "it was not there to be meant");
    assert_eq!(reactions(&world, number, late), ["eyes", "confused"]);
    let said = replies(&world, number).remove(0);
    assert!(said.contains("was made after it was written"), "{said}");

    // Said again, it is meant; and so it is within the second, as GitHub tells it.
    world.sim.comment(REPO, number, "ada", "/cancel").await.unwrap();
    world.tell().await;
    assert_eq!(newest(&world).await.conclusion, Some(Conclusion::Cancelled));

    // Both are told late: what an earlier comment asked for is meant, however late it was made.
    let before = world.runs().await.len();
    world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.sim.comment(REPO, number, "ada", "/cancel").await.unwrap();
    skip(&world, &mut clock, Duration::from_mins(5)).await;
    world.tell().await;
    assert_eq!(world.runs().await.len(), before + 1);
    assert_eq!(newest(&world).await.conclusion, Some(Conclusion::Cancelled));
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_is_told_late_ends_nothing_that_was_made_after_it() {
    let (mut world, _, mut clock) = with_pull().await;
    let opened = world.sent("pull_request", "opened");
    let mut told: Value = serde_json::from_slice(&opened.body).unwrap();
    told["action"] = json!("labeled");
    told["label"] = json!({ "name": "/cancel" });
    let (guid, action) = ("labeled".to_owned(), Some("labeled".to_owned()));
    let late = Delivery { guid, action, body: told.to_string().into(), ..opened };
    skip(&world, &mut clock, Duration::from_mins(5)).await;
    world.push(REPO, "change", "two").await;
    world.tell().await;
    world.tell_late(&late).await;
    let (state, note) = world.handled("labeled").await;
    assert_eq!(
        (state.as_str(), note.contains("made after it was written")),
        ("ignored", true),
        "{note}"
    );
    assert_eq!(world.runs().await[0].state, RunState::Queued, "it was not there to be meant");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_without_an_answer_keep_no_others_from_being_heard() {
    let (mut world, number, mut clock) = with_pull().await;
    let recovery = recovery(&world);
    sweep(&recovery).await;
    // Nobody is told of them, and none can be answered.
    let one = world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    let two = world.sim.comment(REPO, number, "ada", "/test all").await.unwrap();
    world.tell_those(|_| false).await;
    skip(&world, &mut clock, Duration::from_mins(10)).await;
    close(&world, Duration::from_hours(1)).await;
    sweep(&recovery).await;
    assert_eq!(world.runs().await.len(), 3, "each is obeyed");
    assert_eq!(reacted(&world), 0);
    for _ in 0..3 {
        skip(&world, &mut clock, Duration::from_mins(30)).await;
        sweep(&recovery).await;
    }
    for comment in [one, two] {
        assert_eq!(reactions(&world, number, comment).last().unwrap(), "rocket");
    }
    assert_eq!(world.runs().await.len(), 3, "once");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_cannot_be_answered_keeps_no_page_behind_it_from_being_read() {
    let (mut world, number, mut clock) = with_pull().await;
    let recovery = recovery(&world);
    sweep(&recovery).await;
    world.sim.set_permission(REPO, "rita", Permission::Read);
    let answers = format!("/repos/{REPO}/issues/{number}/comments");
    world.sim.faults().fail_next("POST", &answers, 1, 404);
    world.sim.comment(REPO, number, "rita", "/test").await.unwrap();
    for _ in 0..3 {
        for _ in 0..50 {
            world.sim.comment(REPO, number, "rita", "I like it.").await.unwrap();
        }
        skip(&world, &mut clock, Duration::from_secs(2)).await;
    }
    world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.tell_those(|_| false).await;
    skip(&world, &mut clock, Duration::from_mins(10)).await;
    sweep(&recovery).await;
    assert_eq!(replies(&world, number), Vec::<String>::new());
    assert_eq!(world.runs().await.len(), 2, "Ada is obeyed");
    // It is mended, and nothing was forgotten.
    skip(&world, &mut clock, Duration::from_mins(10)).await;
    sweep(&recovery).await;
    assert_eq!((replies(&world, number).len(), world.runs().await.len()), (1, 2));
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_in_somebodys_hand_is_answered_by_nobody_else() {
    let (mut world, number, mut clock) = with_pull().await;
    let recovery = recovery(&world);
    sweep(&recovery).await;
    world.sim.set_permission(REPO, "rita", Permission::Read);
    let comment = world.sim.comment(REPO, number, "rita", "/test all").await.unwrap();
    let repository = world.repository().await.id;
    let held = world.store.hold_comment(repository, comment).await.unwrap();
    let Hold::Ours(lease, _) = held else { panic!("{held:?}") };
    let guid = world.sent("issue_comment", "created").guid;
    world.tell().await;
    assert_eq!(world.handled(&guid).await.0, "waiting");
    world.sim.advance(Duration::from_mins(10));
    sweep(&recovery).await;
    assert_eq!(world.sim.comments(REPO, number).len(), 1);
    assert_eq!(reactions(&world, number, comment), Vec::<String>::new());

    world.store.release_comment(lease).await.unwrap();
    clock.skip(Duration::from_secs(5)).await;
    world.handle().await;
    assert_eq!(world.handled(&guid).await.0, "done");
    sweep(&recovery).await;
    assert_eq!(replies(&world, number).len(), 1);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_is_answered_when_a_moments_lack_is_over() {
    let (mut world, number, mut clock) = with_pull().await;
    world.sim.set_permission(REPO, "rita", Permission::Read);
    close(&world, Duration::from_mins(1)).await;
    world.sim.comment(REPO, number, "rita", "/test").await.unwrap();
    let guid = world.sent("issue_comment", "created").guid;
    world.tell().await;
    let (state, note) = world.handled(&guid).await;
    assert_eq!(state, "waiting", "{note}");
    assert_eq!(replies(&world, number), Vec::<String>::new());
    clock.skip(Duration::from_mins(2)).await;
    world.handle().await;
    assert_eq!(world.handled(&guid).await.0, "done");
    assert!(replies(&world, number)[0].contains("may not"));
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_handles_deliveries_does_not_wait_for_reactions_and_none_is_lost() {
    let (mut world, number, mut clock) = with_pull().await;
    close(&world, Duration::from_secs(4)).await;
    let comment = world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    let begun = Instant::now();
    world.tell().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(world.runs().await.len(), 2, "obeyed at once");
    assert_eq!(reactions(&world, number, comment), Vec::<String>::new());
    clock.skip(Duration::from_secs(10)).await;
    world.handle().await;
    assert_eq!(reactions(&world, number, comment), ["eyes", "rocket"]);
    let guid = world.sent("issue_comment", "created").guid;
    assert_eq!(world.handled(&guid).await.0, "done");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eyes_are_given_and_paid_for_once_however_often_a_comment_is_tried() {
    let (mut world, number, mut clock) = with_pull().await;
    let pull = format!("/repos/{REPO}/pulls/{number}");
    // Each try asks four times.
    world.sim.faults().fail_next("GET", &pull, 8, 502);
    let comment = world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.tell().await;
    clock.skip(Duration::from_mins(10)).await;
    world.handle().await;
    assert_eq!(world.runs().await.len(), 1, "it could not be decided");
    assert_eq!(reacted(&world), 1);
    clock.skip(Duration::from_mins(10)).await;
    world.handle().await;
    assert_eq!(reactions(&world, number, comment), ["eyes", "rocket"]);
    assert_eq!(reacted(&world), 2);
    world.sim.stop().await;
}
