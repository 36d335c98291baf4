//! Default branches with their schedules, and repositories that the App loses and gets back.

use std::time::Duration;

use checkvalve::ambient;
use checkvalve::domain::ids::RunId;
use checkvalve::domain::rules::Selector;
use checkvalve::domain::run::Repository;
use checkvalve::domain::schedule::Schedule;
use checkvalve::domain::state::{Conclusion, RunState};
use checkvalve::domain::time::Timestamp;
use checkvalve::domain::trigger::{Scope, Trigger};
use checkvalve::store::{Branch, DueTime, NewRun, Rest, Withdrawn};

use crate::fixture::{
    LONG, Place, create, create_planned, new_run, pull, read, repository, sha, worker,
};

fn schedule(cron: &str) -> Schedule {
    let kind = vec!["python".to_owned()];
    Schedule { cron: cron.parse().unwrap(), select: Selector { kind, ..Selector::default() } }
}

fn branch(schedules: &[Schedule]) -> Branch {
    Branch {
        repository: 7,
        name: "main".to_owned(),
        head: sha('a'),
        schedules: schedules.to_vec(),
        problem: Some("the file is wrong".to_owned()),
        look_at: at(99),
    }
}

fn at(minute: u64) -> Timestamp {
    Timestamp::parse("2026-11-22T00:00:00Z").unwrap().plus(Duration::from_mins(minute))
}

/// A run of a schedule; `head` is what its process saw of the branch.
fn due_run(head: char) -> NewRun {
    let select = schedule("0 2 * * *").select;
    NewRun {
        pull: None,
        trigger: Trigger::Schedule,
        base_sha: sha(head),
        scope: Scope::Matching { select },
        ..new_run(head, "due")
    }
}

pub(crate) async fn a_due_time_is_taken_once(place: &Place) {
    let store = place.open().await;
    store.see(&repository()).await.unwrap();
    let due = || DueTime { schedule: "nightly", at: at(120) };
    // Each of them saw another head.
    let (one, other) = (place.open().await, place.open().await);
    let (one, other) = tokio::join!(
        one.create_due_run(due_run('a'), due()),
        other.create_due_run(due_run('b'), due()),
    );
    let made: Vec<RunId> = [one.unwrap(), other.unwrap()].into_iter().flatten().collect();
    assert_eq!(made.len(), 1, "{made:?}");
    let run = read(&store, made[0]).await;
    assert_eq!(run.scope, due_run('a').scope, "the selector comes back as it was");
    assert_eq!(store.create_due_run(due_run('c'), due()).await.unwrap(), None);
    let next = DueTime { schedule: "nightly", at: at(121) };
    assert!(store.create_due_run(due_run('c'), next).await.unwrap().is_some());
    let runs = store.unconcluded(7).await.unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(store.last_due(7).await.unwrap()["nightly"], at(121));
    assert_eq!(store.last_due(8).await.unwrap().len(), 0);
}

pub(crate) async fn schedules_count_from_when_they_were_first_seen(place: &Place) {
    let store = place.open().await;
    store.see(&repository()).await.unwrap();
    let (nightly, weekly) = (schedule("0 2 * * *"), schedule("0 3 * * 1"));
    let noted = branch(std::slice::from_ref(&nightly));
    store.note_branch(&noted, at(0)).await.unwrap();
    assert_eq!(store.branches().await.unwrap(), [noted]);
    store.note_branch(&branch(&[nightly.clone(), weekly.clone()]), at(5)).await.unwrap();
    let last = store.last_due(7).await.unwrap();
    assert_eq!((last[&nightly.key()], last[&weekly.key()]), (at(0), at(5)));
    let key = nightly.key();
    let due = DueTime { schedule: &key, at: at(120) };
    store.create_due_run(due_run('a'), due).await.unwrap();
    store.note_branch(&branch(&[nightly.clone(), weekly.clone()]), at(130)).await.unwrap();
    assert_eq!(store.last_due(7).await.unwrap()[&key], at(120), "what ran stays");
    // One that goes and comes back is new: it is not due for the time between.
    store.note_branch(&branch(std::slice::from_ref(&weekly)), at(140)).await.unwrap();
    store.note_branch(&branch(&[nightly.clone(), weekly]), at(150)).await.unwrap();
    assert_eq!(store.last_due(7).await.unwrap()[&key], at(150));
    // Retention leaves the last of each.
    store.forget(Duration::ZERO).await.unwrap();
    assert_eq!(store.last_due(7).await.unwrap().len(), 2);
    let mut nudge = store.nudge(checkvalve::store::Topic::Schedules);
    store.look_again(7).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), nudge.changed()).await.unwrap();
    assert_eq!(store.branches().await.unwrap()[0].look_at, Timestamp::from_millis(0));
}

pub(crate) async fn what_the_app_lost_is_published_when_it_is_back(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &["source-a"]).await;
    let taken = store.withdraw(Withdrawn::Named(4, &[repository().name]), "taken").await.unwrap();
    assert_eq!(taken, Vec::<u64>::new(), "another installation's");
    let name = "ACME/connectors".parse().unwrap();
    let taken = store.withdraw(Withdrawn::Named(3, &[name]), "taken").await.unwrap();
    assert_eq!(taken, [7]);
    assert_eq!(store.withdraw(Withdrawn::Installation(3), "x").await.unwrap(), Vec::<u64>::new());
    assert_eq!(store.withdrawn().await.unwrap(), [7]);
    assert_eq!(store.unconcluded(7).await.unwrap(), [run]);
    store.cancel_run(run, None, "taken").await.unwrap();
    assert_eq!(read(&store, run).await.state, RunState::Concluded);
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none());
    assert_eq!(store.queue().await.unwrap().checks_pending, 0, "nobody waits for it");
    // An event of before that is handled late does not bring it back.
    store.see(&repository()).await.unwrap();
    assert_eq!(store.withdrawn().await.unwrap(), [7]);
    assert!(store.restore(&repository()).await.unwrap());
    assert!(!store.restore(&repository()).await.unwrap(), "it is back already");
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(head.head_sha, sha('a'));
    store.retry_head(head, LONG, "refused").await.unwrap();
    store.publish_again(3).await.unwrap();
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.settle_head(head, Rest::default()).await.unwrap();
    // Given to another installation, as when it moved to another owner.
    store.withdraw(Withdrawn::Repository(7), "gone").await.unwrap();
    store.see(&Repository { installation: 4, ..repository() }).await.unwrap();
    assert_eq!(store.withdrawn().await.unwrap(), Vec::<u64>::new());
}

pub(crate) async fn what_is_private_is_not_shown_by_an_old_event(place: &Place) {
    let store = place.open().await;
    let private = async || store.repositories().await.unwrap()[0].repository.private;
    let public = Repository { private: false, ..repository() };
    store.see(&public).await.unwrap();
    assert!(!private().await);
    store.see(&repository()).await.unwrap();
    assert!(private().await, "the event says so");
    store.see(&public).await.unwrap();
    assert!(private().await, "an event of before, delivered again");
    store.restore(&public).await.unwrap();
    assert!(!private().await, "GitHub lists it as public now");
}

/// An event of before it was renamed and installed anew, that comes after that was known.
pub(crate) async fn what_acts_on_an_old_event_replaces_nothing_that_is_known(place: &Place) {
    let store = place.open().await;
    let now = Repository { private: false, ..repository() };
    store.restore(&now).await.unwrap();
    store.withdraw(Withdrawn::Repository(7), "taken").await.unwrap();
    let name = "acme/before".parse().unwrap();
    let then = Repository { name, installation: 1, ..now.clone() };
    create(&store, NewRun { repository: then.clone(), ..new_run('a', "late") }).await;
    store.observe_pull(&then, &pull('a'), false).await.unwrap();
    assert_eq!(store.known_repository(7).await.unwrap(), Some(now.clone()));
    assert_eq!(store.withdrawn().await.unwrap(), [7]);
    let private = Repository { private: true, ..then.clone() };
    create(&store, NewRun { repository: private, ..new_run('a', "private then") }).await;
    let hidden = Repository { private: true, ..now };
    assert_eq!(store.known_repository(7).await.unwrap(), Some(hidden));
    store.restore(&then).await.unwrap();
    assert_eq!(store.known_repository(7).await.unwrap(), Some(then), "GitHub lists it so now");
    assert_eq!(store.withdrawn().await.unwrap(), Vec::<u64>::new());
}

/// Uninstalled and installed again, it has another installation: what was refused is due at once.
pub(crate) async fn what_was_installed_anew_counts_as_given_back(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &["source-a"]).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.retry_head(head, LONG, "refused").await.unwrap();
    store.withdraw(Withdrawn::Installation(3), "uninstalled").await.unwrap();
    assert!(store.restore(&Repository { installation: 4, ..repository() }).await.unwrap());
    assert_eq!(store.withdrawn().await.unwrap(), Vec::<u64>::new());
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_some());
}

pub(crate) async fn a_run_that_nobody_asked_for_is_forgotten(place: &Place) {
    let store = place.open().await;
    let push = NewRun { pull: None, trigger: Trigger::Push, ..new_run('a', "push-1") };
    let push = NewRun { head_ref: "main".to_owned(), ..push };
    let run = create(&store, push.clone()).await;
    assert_eq!(store.last_pushed(7, "main").await.unwrap(), Some(sha('a')));
    let lease = store.claim_planning(worker(), Duration::ZERO).await.unwrap().unwrap();
    let later = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    assert!(store.withdraw_run(lease).await.is_err(), "another planner has it");
    store.withdraw_run(later).await.unwrap();
    assert!(store.run(run).await.unwrap().is_none());
    assert_eq!(store.last_pushed(7, "main").await.unwrap(), None);
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none());
    assert!(store.queue().await.unwrap().idle);
}

pub(crate) async fn pointed_at_another_base_it_is_another_change(place: &Place) {
    let store = place.open().await;
    let old = create(&store, new_run('a', "1")).await;
    let elsewhere = NewRun { base_ref: "next".to_owned(), ..new_run('a', "2") };
    let new = create(&store, elsewhere).await;
    let run = read(&store, old).await;
    assert_eq!((run.conclusion, run.superseded_by), (Some(Conclusion::Cancelled), Some(new)));
    assert!(run.cancel.unwrap().contains("merged into next"));
    assert_eq!(read(&store, new).await.cancel, None);
}

pub(crate) async fn objects_stand_under_the_name_of_their_time(place: &Place) {
    let store = place.open().await;
    let run = create(&store, new_run('a', "1")).await;
    let before = checkvalve::domain::objects::run_prefix(&read(&store, run).await);
    let name = "acme/integrations".parse().unwrap();
    store.see(&Repository { name, ..repository() }).await.unwrap();
    let run = read(&store, run).await;
    assert_eq!(run.repository.name.as_str(), "acme/integrations");
    assert_eq!(checkvalve::domain::objects::run_prefix(&run), before);
    assert!(run.created_at <= ambient::now().plus(Duration::from_mins(1)));
}
