//! Comments that asked for something.

use std::time::Duration;

use checkvalve::store::{CommentAnswer, CommentLease, Hold, Store, StoreError};

use crate::fixture::Place;

async fn hold(store: &Store, repository: u64, comment: u64) -> (CommentLease, CommentAnswer) {
    match store.hold_comment(repository, comment).await.unwrap() {
        Hold::Ours(lease, answer) => (lease, answer),
        theirs @ Hold::Theirs(_) => panic!("{theirs:?}"),
    }
}

pub(crate) async fn comments_are_answered_once(place: &Place) {
    let store = place.open().await;
    let unknown = CommentAnswer {
        comment: 5,
        reply: None,
        shown: None,
        settled: false,
        begun: None,
        amended: 0,
    };
    let (lease, answer) = hold(&store, 7, 5).await;
    assert_eq!(answer, unknown);
    store.release_comment(lease).await.unwrap();
    let (lease, answer) = hold(&store, 7, 5).await;
    assert_eq!(answer, unknown);
    assert!(!store.is_settled(7, 5).await.unwrap());
    let answer = CommentAnswer { reply: Some(6), settled: true, ..answer };
    store.answer_comment(lease, &answer).await.unwrap();
    assert!(store.is_settled(7, 5).await.unwrap());
    assert_eq!(hold(&store, 7, 5).await.1, answer);
    assert_eq!(hold(&store, 8, 5).await.1, unknown, "another repository's");
    assert!(!store.is_settled(8, 5).await.unwrap());
}

pub(crate) async fn a_comment_is_in_one_hand_and_comes_back_by_itself(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    let (dead, _) = hold(&store, 7, 5).await;
    let theirs = other.hold_comment(7, 5).await.unwrap();
    let Hold::Theirs(left) = theirs else { panic!("{theirs:?}") };
    assert!(left > Duration::ZERO && left <= Duration::from_secs(10), "{left:?}");
    store.note_reaction(dead, "eyes").await.unwrap();
    // Its process is killed.
    tokio::time::sleep(left + Duration::from_millis(50)).await;
    let (lease, answer) = hold(&other, 7, 5).await;
    assert_eq!(answer.shown.as_deref(), Some("eyes"));
    let replied = CommentAnswer { reply: Some(6), ..answer.clone() };
    other.answer_comment(lease, &replied).await.unwrap();
    // It was not dead, and is late.
    let late = |done: Result<(), StoreError>| assert!(matches!(done, Err(StoreError::LeaseLost)));
    late(store.extend_comment(dead).await);
    late(store.note_reaction(dead, "rocket").await);
    late(store.answer_comment(dead, &CommentAnswer { settled: true, ..answer.clone() }).await);
    store.release_comment(dead).await.unwrap();
    // Who does not know of a reply does not make it forgotten.
    let (lease, known) = hold(&store, 7, 5).await;
    assert_eq!(known, replied);
    store.answer_comment(lease, &CommentAnswer { settled: true, ..answer }).await.unwrap();
    late(store.extend_comment(lease).await);
    let (_, known) = hold(&store, 7, 5).await;
    assert_eq!(known, CommentAnswer { settled: true, ..replied });
}

pub(crate) async fn of_many_who_want_a_comment_one_gets_it(place: &Place) {
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let store = place.open().await;
        asking.spawn(async move { store.hold_comment(7, 5).await.unwrap() });
    }
    let held = asking.join_all().await;
    let ours = held.iter().filter(|hold| matches!(hold, Hold::Ours(..))).count();
    assert_eq!(ours, 1, "{held:?}");
}

pub(crate) async fn a_reply_that_was_begun_is_known_until_its_end_is(place: &Place) {
    let store = place.open().await;
    let (lease, _) = hold(&store, 7, 5).await;
    store.begin_reply(lease).await.unwrap();
    store.release_comment(lease).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (next, answer) = hold(&store, 7, 5).await;
    assert!(answer.begun.is_some_and(|begun| begun >= Duration::from_millis(10)), "{answer:?}");
    assert!(matches!(store.begin_reply(lease).await, Err(StoreError::LeaseLost)));
    // GitHub refused it; then it took one.
    store.refused_reply(next).await.unwrap();
    store.release_comment(next).await.unwrap();
    let (next, answer) = hold(&store, 7, 5).await;
    assert_eq!(answer.begun, None);
    store.begin_reply(next).await.unwrap();
    store.answer_comment(next, &CommentAnswer { reply: Some(6), ..answer }).await.unwrap();
    assert_eq!(hold(&store, 7, 5).await.1.begun, None);
}
