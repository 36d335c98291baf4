//! What never came, and how far GitHub's log was read.

use std::collections::BTreeSet;
use std::time::Duration;

use checkvalve::domain::recovery::{Attempt, AttemptEnd};
use checkvalve::domain::time::Timestamp;
use checkvalve::domain::trigger::Trigger;
use checkvalve::store::{Created, LogMark, NewRun};

use crate::fixture::{LONG, Place, delivery, new_run, pull, repository, sha};

fn attempt(id: u64, guid: &str, status: &str) -> Attempt {
    Attempt {
        id,
        guid: guid.to_owned(),
        event: "push".to_owned(),
        action: None,
        delivered_at: Timestamp::from_millis(i64::try_from(id).unwrap()),
        end: AttemptEnd::of_status(status),
    }
}

fn guids(rows: &[checkvalve::store::MissingRow]) -> Vec<&str> {
    rows.iter().map(|row| row.guid.as_str()).collect()
}

pub(crate) async fn what_never_came_is_asked_for_until_it_comes_or_is_given_up(place: &Place) {
    let store = place.open().await;
    store.take_in(delivery("here")).await.unwrap();
    let asked: BTreeSet<&str> = ["here", "a", "b", "quo\"te"].into();
    assert_eq!(store.held(&asked).await.unwrap(), BTreeSet::from(["here".to_owned()]));

    let failed = [attempt(2, "b", "timed out"), attempt(1, "a", "OK")];
    assert_eq!(store.note_missing(&failed).await.unwrap(), 2);
    assert_eq!(store.note_missing(&failed).await.unwrap(), 0, "the same log, read again");
    let due = store.due_missing(10).await.unwrap();
    assert_eq!(guids(&due), ["a", "b"], "oldest first");
    assert_eq!((due[1].attempt, due[1].failure.as_str(), due[1].asked), (2, "timed out", 0));

    store.note_asked("a", Duration::from_millis(500)).await.unwrap();
    store.note_asked("b", LONG).await.unwrap();
    assert!(store.due_missing(10).await.unwrap().is_empty(), "not while an attempt is fresh");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let due = store.due_missing(10).await.unwrap();
    assert_eq!((guids(&due), due[0].asked), (vec!["a"], 1));

    // Its new attempt failed as well: by that it is asked for.
    assert_eq!(store.note_missing(&[attempt(9, "a", "failed")]).await.unwrap(), 1);
    assert_eq!(store.due_missing(10).await.unwrap()[0].attempt, 9);
    store.give_up("a", "in vain").await.unwrap();
    store.take_in(delivery("b")).await.unwrap();
    assert_eq!(store.note_came().await.unwrap(), 1);
    let left = store.missing(10).await.unwrap();
    assert_eq!((guids(&left), left[0].state.as_str()), (vec!["a"], "given_up"));
    assert_eq!(left[0].note.as_deref(), Some("in vain"));
    assert_eq!(store.missing_one("b").await.unwrap().unwrap().state, "came");
    store.note_missing(&[attempt(12, "a", "failed")]).await.unwrap();
    assert!(store.due_missing(10).await.unwrap().is_empty(), "given up stays given up");

    store.ask_again("a").await.unwrap();
    let due = store.due_missing(10).await.unwrap();
    assert_eq!((guids(&due), due[0].asked), (vec!["a"], 0), "unless somebody wants it");
    // It came in the end, by whatever way.
    store.give_up("a", "in vain").await.unwrap();
    store.take_in(delivery("a")).await.unwrap();
    assert_eq!(store.note_came().await.unwrap(), 1);
    assert!(store.missing(10).await.unwrap().is_empty());

    let counted: Vec<(String, i64)> = store
        .counts()
        .await
        .unwrap()
        .into_iter()
        .filter(|(name, ..)| name == "checkvalve_deliveries_missing")
        .map(|(_, labels, count)| (labels[0].1.clone(), count))
        .collect();
    assert_eq!(counted, [("came".to_owned(), 2)]);
}

pub(crate) async fn what_is_asked_for_too_long_is_given_up_and_begun_anew_for_who_wants_it(
    place: &Place,
) {
    let store = place.open().await;
    let failed = [attempt(1, "a", "timed out"), attempt(2, "never asked for", "timed out")];
    store.note_missing(&failed).await.unwrap();
    store.note_asked("a", LONG).await.unwrap();
    assert!(store.give_up_old(LONG, "in vain: ").await.unwrap().is_empty(), "not yet");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let old = Duration::from_millis(500);
    let given_up = store.give_up_old(old, "in vain: ").await.unwrap();
    assert_eq!(guids(&given_up), ["a"]);
    assert_eq!(given_up[0].note.as_deref(), Some("in vain: timed out"));
    store.ask_again("a").await.unwrap();
    store.note_asked("a", LONG).await.unwrap();
    assert!(store.give_up_old(old, "in vain: ").await.unwrap().is_empty(), "its time begins anew");
}

pub(crate) async fn how_far_comments_were_looked_at_never_goes_back(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.comments_read_to(7).await.unwrap(), None);
    store.see(&repository()).await.unwrap();
    assert_eq!(store.comments_read_to(7).await.unwrap(), None, "known, and not looked at");
    let at = Timestamp::from_millis;
    store.read_comments_to(7, at(20)).await.unwrap();
    store.read_comments_to(7, at(10)).await.unwrap();
    store.see(&repository()).await.unwrap();
    assert_eq!(place.open().await.comments_read_to(7).await.unwrap(), Some(at(20)));
}

pub(crate) async fn a_look_at_the_log_goes_on_where_it_was(place: &Place) {
    let store = place.open().await;
    assert_eq!(store.log_mark().await.unwrap(), None);
    store.take_in(delivery("first")).await.unwrap();
    let far = Timestamp::from_millis(i64::MAX / 2);
    let from = Timestamp::from_millis(5);
    let mark = store.begin_log(from, far).await.unwrap();
    assert_eq!((mark.read_to, &mark.reading), (from, &None));
    assert!(mark.since < far, "what we acknowledged before is here, or was lost");

    let began = Timestamp::from_millis(77);
    let reading = Some((began, "https://github.example/page?cursor=x".to_owned()));
    let pending = Some(Timestamp::from_millis(66));
    let going_on = LogMark { reading, pending, ..mark.clone() };
    store.set_log_mark(&going_on).await.unwrap();
    let other = place.open().await;
    assert_eq!(other.log_mark().await.unwrap(), Some(going_on));
    let ended = LogMark { read_to: began, reading: None, ..mark };
    store.set_log_mark(&ended).await.unwrap();
    assert_eq!(other.begin_log(far, far).await.unwrap(), ended, "begun once");
    store.count_recovery_calls(3).await.unwrap();
    store.count_recovery_calls(4).await.unwrap();
    let counts = store.counts().await.unwrap();
    let calls = counts.iter().find(|(name, ..)| name == "checkvalve_recovery_calls").unwrap();
    assert_eq!(calls.2, 7);
}

pub(crate) async fn the_head_of_the_own_run_outlives_the_run(place: &Place) {
    let store = place.open().await;
    let known = async || store.pull_known(7, 12).await.unwrap();
    assert_eq!(known().await, None);
    store.observe_pull(&repository(), &pull('a'), false).await.unwrap();
    assert_eq!(known().await.unwrap().own_head, None, "seen, and not run");
    let command = NewRun { trigger: Trigger::Comment, ..new_run('a', "comment-1") };
    store.create_run(command).await.unwrap();
    assert_eq!(known().await.unwrap().own_head, None, "a command's run is not its own");
    let own = store.create_run(new_run('a', "generation-1")).await.unwrap();
    assert_eq!(known().await.unwrap().own_head, Some(sha('a')));
    let Created::Fresh(own) = own else { panic!("{own:?}") };
    store.cancel_run(own, None, "enough").await.unwrap();
    store.forget_run(own).await.unwrap();
    assert!(store.run(own).await.unwrap().is_none());
    store.observe_pull(&repository(), &pull('b'), false).await.unwrap();
    let after = known().await.unwrap();
    assert_eq!((after.own_head, after.facts.head_sha), (Some(sha('a')), sha('b')));
}

pub(crate) async fn what_runs_of_a_pull_request_is_known(place: &Place) {
    let store = place.open().await;
    store.observe_pull(&repository(), &pull('a'), false).await.unwrap();
    assert!(store.pulls_running(7).await.unwrap().is_empty());
    let Created::Fresh(run) = store.create_run(new_run('a', "1")).await.unwrap() else { panic!() };
    store.create_run(new_run('a', "2")).await.unwrap();
    let running = store.pulls_running(7).await.unwrap();
    assert_eq!(running.iter().map(|known| known.facts.number).collect::<Vec<_>>(), [12]);
    store.cancel_run(run, None, "enough").await.unwrap();
    assert_eq!(store.pulls_running(7).await.unwrap().len(), 1);
}
