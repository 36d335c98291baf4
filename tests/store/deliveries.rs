//! Intake: durable, once, and handled by one at a time.

use std::time::Duration;

use bytes::Bytes;
use checkvalve::store::{Handled, StoreError, Taken, Topic};

use crate::fixture::{Place, delivery};

pub(crate) async fn one_of_many_equal_deliveries_is_fresh(place: &Place) {
    let store = place.open().await;
    let mut sends = Vec::new();
    for i in 0..240 {
        let store = store.clone();
        // 24 GUIDs, ten times each, all at once.
        let delivery = delivery(&format!("guid-{}", i % 24));
        sends.push(tokio::spawn(async move { store.take_in(delivery).await.unwrap() }));
    }
    let mut fresh = 0;
    for send in sends {
        fresh += usize::from(send.await.unwrap() == Taken::Fresh);
    }
    assert_eq!(fresh, 24);
    assert_eq!(store.queue().await.unwrap().deliveries_pending, 24);
    assert_eq!(store.take_in(delivery("guid-3")).await.unwrap(), Taken::Duplicate);
}

pub(crate) async fn bodies_come_back_as_they_were(place: &Place) {
    let store = place.open().await;
    let body: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let mut sent = delivery("a");
    sent.body = Bytes::from(body.clone());
    // JSON can hold a NUL in a string, and PostgreSQL's text can't.
    sent.action = Some("ope\0ned".to_owned());
    store.take_in(sent).await.unwrap();
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    assert_eq!(claimed.body, body);
    assert_eq!((claimed.event.as_str(), claimed.attempt), ("pull_request", 1));
    let (row, stored) = store.delivery("a").await.unwrap().unwrap();
    assert_eq!((row.action.as_deref(), stored), (Some("ope\u{fffd}ned"), Bytes::from(body)));
}

pub(crate) async fn a_delivery_is_claimed_once_until_its_lease_ends(place: &Place) {
    let store = place.open().await;
    for guid in ["a", "b"] {
        store.take_in(delivery(guid)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let first = store.claim_delivery().await.unwrap().unwrap();
    let second = store.claim_delivery().await.unwrap().unwrap();
    assert_eq!((first.guid.as_str(), second.guid.as_str()), ("a", "b"));
    assert!(store.claim_delivery().await.unwrap().is_none());
    store.settle_delivery(first, Handled::Done("made a run".to_owned())).await.unwrap();
    store.settle_delivery(second, Handled::Refused("no such".to_owned())).await.unwrap();
    assert!(store.claim_delivery().await.unwrap().is_none());
    let rows = store.deliveries(None, 10).await.unwrap();
    let states: Vec<&str> = rows.iter().map(|row| row.state.as_str()).collect();
    assert_eq!(states, ["refused", "done"]);
    assert_eq!(rows[1].note.as_deref(), Some("made a run"));
}

pub(crate) async fn a_late_handler_is_refused(place: &Place) {
    let store = place.open().await;
    store.take_in(delivery("a")).await.unwrap();
    let late = store.claim_delivery().await.unwrap().unwrap();
    let twin = late.clone();
    store.settle_delivery(late, Handled::Later(Duration::ZERO, "soon".to_owned())).await.unwrap();
    let current = store.claim_delivery().await.unwrap().unwrap();
    assert_eq!(current.attempt, 2);
    let refused = store.settle_delivery(twin, Handled::Done(String::new())).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    store.settle_delivery(current, Handled::Done(String::new())).await.unwrap();
}

pub(crate) async fn what_failed_for_now_comes_back_when_it_is_due(place: &Place) {
    let store = place.open().await;
    store.take_in(delivery("a")).await.unwrap();
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    let later = Handled::Later(Duration::from_millis(80), "GitHub is away".to_owned());
    store.settle_delivery(claimed, later).await.unwrap();
    assert!(store.claim_delivery().await.unwrap().is_none());
    assert!(!store.queue().await.unwrap().idle);
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert_eq!(store.claim_delivery().await.unwrap().unwrap().attempt, 2);
}

pub(crate) async fn a_delivery_can_be_handled_again(place: &Place) {
    let store = place.open().await;
    store.take_in(delivery("a")).await.unwrap();
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    store.settle_delivery(claimed, Handled::Ignored("not served".to_owned())).await.unwrap();
    assert!(store.handle_again("a").await.unwrap());
    assert!(!store.handle_again("b").await.unwrap());
    assert_eq!(store.claim_delivery().await.unwrap().unwrap().body, "{}");
}

pub(crate) async fn bodies_about_our_own_checks_are_not_kept(place: &Place) {
    let store = place.open().await;
    let mut ours = delivery("a");
    ours.event = String::from("check_run");
    store.take_in(ours).await.unwrap();
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    store.settle_delivery(claimed, Handled::Ignored("our own".to_owned())).await.unwrap();
    let (row, body) = store.delivery("a").await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), body.len()), ("ignored", 0));
}

/// Registered before the query, a nudge is not lost; and on `PostgreSQL` it crosses processes.
pub(crate) async fn a_waiting_loop_is_woken(place: &Place) {
    let sender = place.open().await;
    let mut receivers = vec![sender.clone()];
    if place.url.starts_with("postgres") {
        receivers.push(place.open().await);
        // The other store's LISTEN is under way.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut nudges: Vec<_> = receivers.iter().map(|to| to.nudge(Topic::Deliveries)).collect();
    let mut others: Vec<_> = receivers.iter().map(|to| to.nudge(Topic::Jobs)).collect();
    sender.take_in(delivery("a")).await.unwrap();
    for nudge in &mut nudges {
        let woken = tokio::time::timeout(Duration::from_secs(5), nudge.changed()).await;
        assert!(woken.is_ok(), "nobody was woken");
    }
    for other in &mut others {
        let woken = tokio::time::timeout(Duration::from_millis(50), other.changed()).await;
        assert!(woken.is_err(), "woken for what it does not wait for");
    }
}
