//! Deliveries that somebody has handled again.

use std::time::Duration;

use checkvalve::store::{Due, Handled};

use crate::fixture::{Place, delivery};

pub(crate) async fn what_is_handled_again_goes_after_what_comes_now(place: &Place) {
    let store = place.open().await;
    let old: Vec<String> = (0..40).map(|nth| format!("old-{nth:02}")).collect();
    for guid in &old {
        store.take_in(delivery(guid)).await.unwrap();
        let claimed = store.claim_delivery().await.unwrap().unwrap();
        store.settle_delivery(claimed, Handled::Done(String::new())).await.unwrap();
    }
    // Two who ask for some of them.
    store.handle_again(&old[..30], ("ada", "command")).await.unwrap();
    store.handle_again(&old[30..], ("bob", "command")).await.unwrap();
    store.take_in(delivery("new")).await.unwrap();
    store.handle_again(&["new".to_owned()], ("ada", "page")).await.unwrap();
    let mut order = Vec::new();
    let first = store.claim_delivery_of(fresh()).await.unwrap().unwrap();
    order.push(first.guid.clone());
    let later = Handled::Later(Duration::ZERO, "GitHub is away".to_owned());
    let next = store.settle_and_claim_delivery(first, later, Due::default()).await.unwrap();
    assert_eq!(next.as_ref().unwrap().guid, "new", "also when it is tried again");
    let done = || Handled::Done(String::new());
    assert!(
        store.settle_and_claim_delivery(next.unwrap(), done(), fresh()).await.unwrap().is_none()
    );
    let mut next = store.claim_delivery().await.unwrap();
    while let Some(claimed) = next {
        order.push(claimed.guid.clone());
        next = store.settle_and_claim_delivery(claimed, done(), Due::default()).await.unwrap();
    }
    let expected: Vec<&str> = ["new"].into_iter().chain(old.iter().map(String::as_str)).collect();
    assert_eq!(order, expected, "as they came, and none of them waits");
}

fn fresh() -> Due {
    Due { fresh: true, ..Due::default() }
}

/// What comes now keeps its place, and is no try, while its installation has no points.
pub(crate) async fn what_is_held_for_points_is_passed_over_until_there_are_some(place: &Place) {
    let store = place.open().await;
    for guid in ["first", "second", "third"] {
        store.take_in(delivery(guid)).await.unwrap();
    }
    let held = |installation| Due { held: vec![installation], ..Due::default() };
    let first = store.claim_delivery().await.unwrap().unwrap();
    let second =
        store.settle_and_claim_delivery(first, Handled::Held(7), held(7)).await.unwrap().unwrap();
    assert_eq!(second.guid, "second");
    store.settle_delivery(second, Handled::Held(77)).await.unwrap();
    let third = store
        .claim_delivery_of(Due { held: vec![7, 77], ..Due::default() })
        .await
        .unwrap()
        .unwrap();
    assert_eq!(third.guid, "third");
    // Another wait, for half of an hour's limit, holds up nothing that comes now.
    let short = Due { fresh: true, short: vec![7], held: vec![77] };
    let first = store.settle_and_claim_delivery(third, Handled::Held(7), short).await.unwrap();
    let first = first.unwrap();
    assert_eq!((first.guid.as_str(), first.attempt, first.again), ("first", 1, false));
    let next = store
        .settle_and_claim_delivery(first, Handled::Done(String::new()), held(7))
        .await
        .unwrap();
    assert_eq!(next.unwrap().guid, "second");
}

pub(crate) async fn what_waits_for_one_installation_keeps_no_other_ones_waiting(place: &Place) {
    let store = place.open().await;
    let guids: Vec<String> = (0..3).map(|nth| format!("old-{nth}")).collect();
    for guid in &guids {
        store.take_in(delivery(guid)).await.unwrap();
    }
    while let Some(claimed) = store.claim_delivery().await.unwrap() {
        assert!(!claimed.again);
        store.settle_delivery(claimed, Handled::Done(String::new())).await.unwrap();
    }
    store.handle_again(&guids, ("ada", "command")).await.unwrap();
    let short = |installations: &[u64]| Due { short: installations.to_vec(), ..Due::default() };
    for installation in [7, 77] {
        let claimed = store.claim_delivery_of(short(&[7, 77])).await.unwrap().unwrap();
        assert!(claimed.again);
        store.settle_delivery(claimed, Handled::GivesWay(installation)).await.unwrap();
    }
    let next = async |due| {
        let claimed = store.claim_delivery_of(due).await.unwrap()?;
        let (guid, attempt) = (claimed.guid.clone(), claimed.attempt);
        store
            .settle_delivery(claimed, Handled::Later(Duration::ZERO, String::new()))
            .await
            .unwrap();
        Some((guid, attempt))
    };
    let is = |nth: usize, attempt| Some((guids[nth].clone(), attempt));
    assert_eq!(next(short(&[7, 77])).await, is(2, 1), "of another one");
    let before = store.claim_delivery_of(Due::default()).await.unwrap().unwrap();
    assert_eq!(before.guid, guids[2], "and before those that gave way");
    store.settle_delivery(before, Handled::Done(String::new())).await.unwrap();
    assert_eq!(next(short(&[7])).await, is(1, 1), "to give way was no try");
    assert_eq!(next(short(&[77])).await, is(0, 1));
    assert_eq!(next(short(&[])).await, is(0, 2));
    assert_eq!(next(fresh()).await, None);
}
