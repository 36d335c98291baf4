//! Replies that may be there already, answers that are not true any more, and what nobody waits for.

use std::time::Duration;

use checkvalve::domain::audit::Ruling;
use checkvalve::domain::recovery::WINDOW;
use checkvalve::service::commands::Answers;
use checkvalve::store::{CommentLease, Hold};
use github_simulator::Permission;
use tokio_util::sync::CancellationToken;

use crate::comments::{reactions, replies, skip, with_pull};
use crate::log::recovery;
use crate::{REPO, World};

/// Calls to GitHub about a pull request's comments.
fn about_comments(world: &World, method: &str, number: u64) -> usize {
    let path = format!("/repos/{REPO}/issues/{number}/comments");
    let calls = world.sim.calls();
    calls.iter().filter(|call| call.method == method && call.path.starts_with(&path)).count()
}

async fn hold(world: &World, comment: u64) -> CommentLease {
    let repository = world.repository().await.id;
    match world.store.hold_comment(repository, comment).await.unwrap() {
        Hold::Ours(lease, _) => lease,
        theirs @ Hold::Theirs(_) => panic!("{theirs:?}"),
    }
}

fn answers(world: &World) -> Answers {
    let intake = &world.intake;
    let (store, github, served) = (&intake.store, &intake.github, &intake.served);
    Answers { store: store.clone(), github: github.clone(), served: served.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_may_be_there_is_looked_for_and_another_is_not() {
    let (mut world, number, mut clock) = with_pull().await;
    world.sim.set_permission(REPO, "rita", Permission::Read);
    world.sim.comment(REPO, number, "rita", "/test").await.unwrap();
    world.tell().await;
    assert_eq!(replies(&world, number).len(), 1);
    assert_eq!(about_comments(&world, "GET", number), 0, "nobody had begun one");

    // GitHub's end of it is not known, and its lists may be late.
    let path = format!("/repos/{REPO}/issues/{number}/comments");
    world.sim.faults().fail_next("POST", &path, 1, 502);
    world.sim.comment(REPO, number, "rita", "/test all").await.unwrap();
    let guid = world.sent("issue_comment", "created").guid;
    world.tell().await;
    clock.skip(Duration::from_secs(20)).await;
    world.handle().await;
    assert_eq!((replies(&world, number).len(), about_comments(&world, "GET", number)), (1, 1));
    let (state, note) = world.handled(&guid).await;
    assert_eq!(state, "waiting");
    assert!(note.contains("may show an answer"), "{note}");
    clock.skip(Duration::from_mins(2)).await;
    world.handle().await;
    assert_eq!(world.handled(&guid).await.0, "done");
    assert_eq!(replies(&world, number).len(), 2);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_a_process_that_died_is_found_and_edited() {
    let (mut world, number, mut clock) = with_pull().await;
    world.sim.set_permission(REPO, "rita", Permission::Read);
    let comment = world.sim.comment(REPO, number, "rita", "/test").await.unwrap();
    let lease = hold(&world, comment).await;
    world.store.begin_reply(lease).await.unwrap();
    let said = format!("You may not.\n\n<!-- checkvalve answers {comment} -->");
    let repository = world.repository().await;
    world.intake.github.comment(&repository, number, &said).await.unwrap();
    clock.skip(Duration::from_secs(10)).await;
    world.tell().await;
    let replies = replies(&world, number);
    assert_eq!(replies.len(), 1);
    assert_ne!(replies[0], said, "it is edited");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_turned_out_otherwise_is_said_once_github_is_there_again() {
    let (mut world, number, mut clock) = with_pull().await;
    let comment = world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.tell().await;
    assert_eq!(reactions(&world, number, comment), ["eyes", "rocket"]);
    assert_eq!(replies(&world, number), Vec::<String>::new());
    let store = world.store.clone();
    let answers = answers(&world);
    let stop = CancellationToken::new();
    let say = async || answers.pass(&stop).await.unwrap();
    say().await;
    assert_eq!(replies(&world, number), Vec::<String>::new(), "nothing is owed");

    let repository = world.repository().await.id;
    let cause = format!("comment-{comment}");
    let amend = async |why: &str| {
        let about = (cause.as_str(), Some(comment));
        store.amend_audit(repository, about, &Ruling::refused(why)).await.unwrap()
    };
    let path = format!("/repos/{REPO}/issues/{number}/comments");
    world.sim.faults().fail_next("POST", &path, 8, 502);
    assert!(amend("Nothing is called `x`.").await);
    assert!(!amend("Nothing is called `x`.").await, "it is on record");
    say().await;
    world.sim.faults().fail_no_more();
    clock.skip(Duration::from_mins(2)).await;
    for _ in 0..2 {
        say().await;
        assert_eq!(replies(&world, number).len(), 1);
    }
    assert!(replies(&world, number)[0].contains("Nothing is called `x`."));

    // And once more, in the same place.
    assert!(amend("Nothing is called `y`.").await);
    say().await;
    assert_eq!(replies(&world, number).len(), 1);
    assert!(replies(&world, number)[0].contains("Nothing is called `y`."));
    assert_eq!(store.owed_answers(WINDOW).await.unwrap(), []);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_long_ago_and_one_of_a_closed_pull_request_are_not_found() {
    let (mut world, number, mut clock) = with_pull().await;
    let recovery = recovery(&world);
    let looked = async || {
        tokio::time::sleep(recovery.every * 6 / 10).await;
        recovery.pass(&CancellationToken::new()).await.unwrap();
    };
    looked().await;
    world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.tell_those(|_| false).await;
    // Nobody was there for four days.
    skip(&world, &mut clock, WINDOW + Duration::from_hours(24)).await;
    looked().await;
    assert_eq!(world.runs().await.len(), 1, "nobody waits for it any more");

    world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.tell_those(|_| false).await;
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.tell().await;
    skip(&world, &mut clock, Duration::from_mins(10)).await;
    looked().await;
    assert_eq!(world.runs().await.len(), 1);
    assert_eq!(replies(&world, number), Vec::<String>::new(), "to be told so is of no use by now");

    // Reopened while nobody heard of it.
    world.sim.reopen_pull_request(REPO, number, "ada").await.unwrap();
    let comment = world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.tell_those(|_| false).await;
    skip(&world, &mut clock, Duration::from_mins(2)).await;
    looked().await;
    assert_eq!(reactions(&world, number, comment), ["eyes", "rocket"], "GitHub knows");
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_github_refuses_is_tried_seldom_and_given_up() {
    let (mut world, number, mut clock) = with_pull().await;
    let comment = world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.tell().await;
    let repository = world.repository().await.id;
    let about = format!("comment-{comment}");
    let refused = Ruling::refused("Nothing is called `x`.");
    let about = (about.as_str(), Some(comment));
    assert!(world.store.amend_audit(repository, about, &refused).await.unwrap());
    let path = format!("/repos/{REPO}/issues/{number}/comments");
    world.sim.faults().fail_next("POST", &path, 100, 404);
    let (answers, stop) = (answers(&world), CancellationToken::new());
    // A look a minute, for an hour.
    for _ in 0..60 {
        answers.pass(&stop).await.unwrap();
        skip(&world, &mut clock, Duration::from_mins(1)).await;
    }
    assert_eq!(about_comments(&world, "POST", number), 4);
    assert_eq!(reactions(&world, number, comment), ["eyes", "rocket", "confused"]);
    assert_eq!(world.store.owed_answers(WINDOW).await.unwrap(), []);
    world.sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_somebody_deleted_is_made_anew() {
    let (mut world, number, mut clock) = with_pull().await;
    let comment = world.sim.comment(REPO, number, "ada", "/test").await.unwrap();
    world.tell().await;
    let repository = world.repository().await.id;
    let cause = format!("comment-{comment}");
    let (answers, stop) = (answers(&world), CancellationToken::new());
    let about = (cause.as_str(), Some(comment));
    let gone = format!("/repos/{REPO}/issues/comments/");
    for (said, there) in [("one", 1), ("two", 2)] {
        assert!(world.store.amend_audit(repository, about, &Ruling::refused(said)).await.unwrap());
        world.sim.faults().fail_next("PATCH", &gone, 1, 404);
        answers.pass(&stop).await.unwrap();
        assert_eq!(
            replies(&world, number).len(),
            there,
            "what this simulator keeps is gone at GitHub"
        );
        skip(&world, &mut clock, Duration::from_mins(2)).await;
    }
    world.sim.stop().await;
}
