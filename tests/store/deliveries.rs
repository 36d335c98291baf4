//! Intake: durable, once, and handled by one at a time.

use std::time::Duration;

use bytes::Bytes;
use checkvalve::domain::recovery::HANDLING;
use checkvalve::store::{
    DeliveryQuery, DeliveryRow, Handled, NewDelivery, Store, StoreError, Taken, Topic,
};

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

/// Many of them within one commit, and so within one millisecond.
pub(crate) async fn deliveries_are_claimed_in_the_order_in_which_they_came(place: &Place) {
    let store = place.open().await;
    // No order of GUIDs is theirs.
    let guids: Vec<String> = (0..30).map(|i| format!("guid-{:02}", i * 7 % 30)).collect();
    let sent = guids.iter().map(|guid| store.take_in(delivery(guid)));
    for taken in futures_util::future::join_all(sent).await {
        assert_eq!(taken.unwrap(), Taken::Fresh);
    }
    let mut claimed = Vec::new();
    while let Some(claim) = store.claim_delivery().await.unwrap() {
        claimed.push(claim.guid);
    }
    assert_eq!(claimed, guids);
}

pub(crate) async fn bodies_come_back_as_they_were(place: &Place) {
    let store = place.open().await;
    let body: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let mut sent = delivery("a");
    sent.body = Bytes::from(body.clone());
    // JSON can hold a NUL in a string, and PostgreSQL's text can't.
    sent.action = Some("ope\0ned".to_owned());
    sent.headers = Some(r#"{"x-github-event":"pull_request"}"#.to_owned());
    store.take_in(sent).await.unwrap();
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    assert_eq!(claimed.body, body);
    assert_eq!((claimed.event.as_str(), claimed.attempt), ("pull_request", 1));
    let stored = store.delivery("a").await.unwrap().unwrap();
    assert_eq!(stored.row.action.as_deref(), Some("ope\u{fffd}ned"));
    assert_eq!((stored.row.bytes, &stored.body), (70_000, &Bytes::from(body)));
    assert_eq!(stored.headers.as_deref(), Some(r#"{"x-github-event":"pull_request"}"#));
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
    let rows = store.deliveries(&DeliveryQuery::default(), 10).await.unwrap();
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
    let later = Handled::Later(Duration::from_millis(500), "GitHub is away".to_owned());
    store.settle_delivery(claimed, later).await.unwrap();
    assert!(store.claim_delivery().await.unwrap().is_none());
    assert!(!store.queue().await.unwrap().idle);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(store.claim_delivery().await.unwrap().unwrap().attempt, 2);
}

pub(crate) async fn a_delivery_can_be_handled_again(place: &Place) {
    let store = place.open().await;
    store.take_in(delivery("a")).await.unwrap();
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    store.settle_delivery(claimed, Handled::Ignored("not served".to_owned())).await.unwrap();
    let both = ["a".to_owned(), "b".to_owned()];
    assert_eq!(store.handle_again(&both, ("ada", "command")).await.unwrap(), ["a"]);
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    assert_eq!((claimed.body, claimed.attempt), (Bytes::from_static(b"{}"), 1), "tried anew");
    let again = store.delivery("a").await.unwrap().unwrap().again;
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].actor.as_str(), again[0].route.as_str()), ("ada", "command"));
}

/// While it is handled, somebody asks for it again: the first handler's word does not count.
pub(crate) async fn who_handles_what_is_asked_for_again_is_too_late(place: &Place) {
    let store = place.open().await;
    store.take_in(delivery("a")).await.unwrap();
    let early = store.claim_delivery().await.unwrap().unwrap();
    store.handle_again(&["a".to_owned()], ("ada", "page")).await.unwrap();
    let refused = store.settle_delivery(early, Handled::Done(String::new())).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    assert!(store.claim_delivery().await.unwrap().is_some());
}

async fn handled(store: &Store, event: (&str, Option<&str>), guid: &str, how: Handled) {
    let (event, action) = event;
    let (event, action) = (event.to_owned(), action.map(str::to_owned));
    store.take_in(NewDelivery { event, action, ..delivery(guid) }).await.unwrap();
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    store.settle_delivery(claimed, how).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3)).await;
}

pub(crate) async fn classes_of_deliveries_are_found(place: &Place) {
    let store = place.open().await;
    let (done, refused) = (Handled::Done("made".to_owned()), Handled::Refused("no".to_owned()));
    handled(&store, ("pull_request", Some("opened")), "1", done.clone()).await;
    handled(&store, ("pull_request", Some("closed")), "2", refused.clone()).await;
    handled(&store, ("push", None), "3", done).await;
    handled(&store, ("pull_request", Some("opened")), "4", refused).await;
    store.take_in(delivery("5")).await.unwrap();
    let all = store.deliveries(&DeliveryQuery::default(), 10).await.unwrap();
    let guids = |rows: &[DeliveryRow]| rows.iter().map(|row| row.guid.clone()).collect::<Vec<_>>();
    assert_eq!(guids(&all), ["5", "4", "3", "2", "1"]);
    assert_eq!((all[0].handled_by, all[1].handled_by), (None, Some(HANDLING)));

    let text = |text: &str| Some(text.to_owned());
    let class = async |query: DeliveryQuery| store.delivery_class(&query).await.unwrap().join(" ");
    let any = DeliveryQuery::default;
    let pulls = DeliveryQuery { event: text("pull_request"), ..any() };
    assert_eq!(class(pulls.clone()).await, "1 2 4 5", "in the order in which they came");
    let opened = DeliveryQuery { action: text("opened"), ..pulls.clone() };
    assert_eq!(class(opened).await, "1 4 5");
    let refused = DeliveryQuery { outcome: text("refused"), ..any() };
    assert_eq!(class(refused).await, "2 4");
    assert_eq!(class(DeliveryQuery { handled_before: Some(HANDLING), ..any() }).await, "");
    let older = DeliveryQuery { handled_before: Some(HANDLING + 1), ..any() };
    assert_eq!(class(older).await, "1 2 3 4", "what waits is handled by the newest anyway");
    let since = DeliveryQuery { since: Some(all[2].received_at), ..any() };
    assert_eq!(class(since).await, "3 4 5");
    let until = DeliveryQuery { until: Some(all[2].received_at), ..any() };
    assert_eq!(class(until).await, "1 2");
    let after = Some((all[1].received_at, all[1].guid.clone()));
    let page = store.deliveries(&DeliveryQuery { after, ..pulls }, 10).await.unwrap();
    assert_eq!(guids(&page), ["2", "1"]);
}

pub(crate) async fn bodies_about_our_own_checks_are_not_kept(place: &Place) {
    let store = place.open().await;
    let kept = async |guid: &str, event, how: Handled| {
        handled(&store, event, guid, how).await;
        let stored = store.delivery(guid).await.unwrap().unwrap();
        (stored.row.state, stored.body.len())
    };
    let ignored = || Handled::Ignored("our own".to_owned());
    let echo = kept("a", ("check_run", Some("completed")), ignored()).await;
    assert_eq!(echo, ("ignored".to_owned(), 0));
    // What somebody pressed can be handled again, also where it was not for us.
    for (guid, event) in [
        ("b", ("check_run", Some("requested_action"))),
        ("c", ("check_suite", Some("rerequested"))),
    ] {
        assert_eq!(kept(guid, event, ignored()).await, ("ignored".to_owned(), 2), "{guid}");
    }
    let again = ["b".to_owned()];
    store.handle_again(&again, ("ada", "command")).await.unwrap();
    let claimed = store.claim_delivery().await.unwrap().unwrap();
    assert_eq!((claimed.guid.as_str(), claimed.body.len()), ("b", 2));
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
