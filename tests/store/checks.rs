//! Publishing: every change of a head is told, once, by one publisher.

use std::time::Duration;

use checkvalve::ambient;
use checkvalve::domain::ids::CheckId;
use checkvalve::domain::state::Outcome;
use checkvalve::store::{Annotated, CheckRecord, CommentAnswer, StoreError};

use crate::fixture::{
    LONG, Place, SHORT, claim, create, create_planned, new_run, running, settle, sha, wait_out,
    with, worker,
};

fn check(name: &str) -> CheckRecord {
    CheckRecord {
        id: CheckId::new(ambient::ulid()),
        name: name.to_owned(),
        occasion: "run".to_owned(),
        github_id: None,
        digest: None,
        completed: false,
        created_at: ambient::now(),
        annotated: Annotated::default(),
    }
}

pub(crate) async fn a_head_is_published_once_per_change(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &["source-a"]).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    assert_eq!((head.head_sha.clone(), head.runs.len(), head.runs[0].id), (sha('a'), 1, run));
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none(), "leased");
    store.settle_head(head).await.unwrap();
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none(), "nothing changed");
    assert_eq!(store.queue().await.unwrap().checks_pending, 0);
    let (lease, job) = claim(&store).await;
    settle(&store, lease, &job, Outcome::Succeeded).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.settle_head(head).await.unwrap();
}

pub(crate) async fn a_change_while_publishing_is_not_lost(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &["source-a"]).await;
    let (lease, job) = claim(&store).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.record(&lease, &[with(&job, "install", running())]).await.unwrap();
    store.settle_head(head).await.unwrap();
    let again = store.claim_head(worker(), LONG).await.unwrap().expect("due again");
    assert!(matches!(
        again.runs[0].jobs[0].steps[0].state,
        checkvalve::domain::state::StepState::Running { .. }
    ));
    // A superseded head is told too.
    store.settle_head(again).await.unwrap();
    create(&store, new_run('b', "2")).await;
    let mut due = Vec::new();
    while let Some(head) = store.claim_head(worker(), LONG).await.unwrap() {
        due.push(head.head_sha);
    }
    due.sort();
    assert_eq!(due, [sha('a'), sha('b')]);
}

pub(crate) async fn a_publisher_that_lost_its_head_is_refused(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let late = store.claim_head(worker(), SHORT).await.unwrap().unwrap();
    wait_out().await;
    let current = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    let refused = [
        store.intend_check(&late, &check("x")).await,
        store.acknowledge_check(&late, &check("x")).await,
        store.settle_head(late).await,
    ];
    for answer in refused {
        assert!(matches!(answer, Err(StoreError::LeaseLost)), "{answer:?}");
    }
    store.settle_head(current).await.unwrap();
}

/// What it told GitHub may have been written over what is true: that is told again.
pub(crate) async fn what_a_late_publisher_told_is_told_again(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let late = store.claim_head(worker(), SHORT).await.unwrap().unwrap();
    wait_out().await;
    let current = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    let told = CheckRecord {
        github_id: Some(12),
        digest: Some("new".to_owned()),
        completed: true,
        ..check("checkvalve")
    };
    store.acknowledge_check(&current, &told).await.unwrap();
    store.settle_head(current).await.unwrap();
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none(), "all is told");

    store.doubt_check(&late, told.id, 12).await.unwrap();
    let again = store.claim_head(worker(), LONG).await.unwrap().expect("due again");
    assert_eq!(again.checks, [CheckRecord { digest: None, ..told.clone() }]);
    // How far its annotations are is kept beside it.
    let since = Some(ambient::now());
    let annotated = Annotated { sent: 50, intended: 73, since };
    store.annotate_check(&again, told.id, annotated).await.unwrap();
    store.acknowledge_check(&again, &told).await.unwrap();
    store.retry_head(again, Duration::ZERO, "the line was cut").await.unwrap();
    let again = store.claim_head(worker(), LONG).await.unwrap().expect("due again");
    assert_eq!(again.checks, [CheckRecord { annotated, ..told.clone() }]);
    store.settle_head(again).await.unwrap();
    let refused = store.annotate_check(&late, told.id, Annotated::default()).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)));

    // A second check run was made of one intent: GitHub shows that one, so it is the one to tell.
    store.doubt_check(&late, told.id, 13).await.unwrap();
    let again = store.claim_head(worker(), LONG).await.unwrap().expect("due again");
    // Its annotations are to be counted.
    let annotated = Annotated { sent: 0, intended: 1, since };
    let twin =
        CheckRecord { github_id: Some(13), digest: None, completed: false, annotated, ..told };
    assert_eq!(again.checks, [twin]);
}

pub(crate) async fn a_head_comes_back_when_it_is_due(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.retry_head(head, Duration::from_millis(80), "rate limited").await.unwrap();
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none());
    assert_eq!(store.queue().await.unwrap().checks_pending, 1);
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_some());
}

pub(crate) async fn intents_survive_and_are_found_by_githubs_id(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    let mut first = check("source-a / unit");
    store.intend_check(&head, &first).await.unwrap();
    store.intend_check(&head, &first).await.unwrap();
    let pending = check("checkvalve");
    store.intend_check(&head, &pending).await.unwrap();
    assert!(store.check_ids(7, &sha('a')).await.unwrap().is_empty());

    first.github_id = Some(4_000_000_000);
    "a later run".clone_into(&mut first.occasion);
    first.digest = Some("d1".to_owned());
    store.acknowledge_check(&head, &first).await.unwrap();
    let mut second =
        CheckRecord { created_at: first.created_at.plus(SHORT), ..check("source-a / unit") };
    second.github_id = Some(4_000_000_001);
    second.completed = true;
    store.acknowledge_check(&head, &second).await.unwrap();
    store.retry_head(head, Duration::ZERO, "").await.unwrap();

    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(head.checks, [first.clone(), pending, second.clone()]);
    let found = store.check_by_github_id(7, 4_000_000_000).await.unwrap();
    assert_eq!(found, Some((first, sha('a'))));
    assert_eq!(store.check_by_github_id(8, 4_000_000_000).await.unwrap(), None);
    let ids = store.check_ids(7, &sha('a')).await.unwrap();
    assert_eq!(ids, [("source-a / unit".to_owned(), 4_000_000_001)]);
}

pub(crate) async fn comments_are_answered_once(place: &Place) {
    let store = place.open().await;
    let unknown = CommentAnswer { comment: 5, reply: None, settled: false };
    assert_eq!(store.comment(7, 5).await.unwrap(), unknown);
    assert_eq!(store.comment(7, 5).await.unwrap(), unknown);
    let answer = CommentAnswer { comment: 5, reply: Some(6), settled: true };
    store.answer_comment(7, &answer).await.unwrap();
    assert_eq!(store.comment(7, 5).await.unwrap(), answer);
    assert_eq!(store.comment(8, 5).await.unwrap(), unknown, "another repository's");
}
