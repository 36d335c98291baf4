//! The App that was registered here, and the secrets of its webhook.

use std::time::Duration;

use checkvalve::store::{NewSecret, SecretState, Store, StoredApp};

use crate::fixture::{LONG, Place, worker};

fn app(slug: &str) -> StoredApp {
    StoredApp {
        app_id: "77".to_owned(),
        slug: slug.to_owned(),
        url: format!("https://github.com/apps/{slug}"),
        client_id: "Iv1".to_owned(),
        sealed: slug.as_bytes().to_vec(),
    }
}

fn new(mark: &str) -> NewSecret {
    NewSecret { mark: mark.to_owned(), sealed: mark.as_bytes().to_vec() }
}

/// Mark, state, whether it is still there and whether it counts, of each secret, by mark.
async fn secrets(store: &Store) -> Vec<(String, SecretState, bool, bool)> {
    let rows = store.webhook_secrets().await.unwrap().into_iter();
    let mut rows: Vec<_> =
        rows.map(|row| (row.mark, row.state, row.sealed.is_some(), row.counts)).collect();
    rows.sort_by(|one, other| one.0.cmp(&other.0));
    rows
}

pub(crate) async fn one_app_is_kept_and_ends_all_offers(place: &Place) {
    let (store, other) = (place.open().await, place.open().await);
    assert_eq!(store.app().await.unwrap(), None);
    let (first, second) = (worker(), worker());
    store.offer_setup(first, "m1").await.unwrap();
    store.offer_setup(second, "m2").await.unwrap();
    store.offer_setup(first, "m3").await.unwrap();
    assert_eq!(other.setup_offers(LONG).await.unwrap(), ["m2", "m3"], "one a server");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(store.setup_offers(Duration::from_millis(1)).await.unwrap().is_empty(), "too old");
    assert!(store.keep_app(&app("ours"), &new("a")).await.unwrap());
    assert!(!other.keep_app(&app("theirs"), &new("b")).await.unwrap());
    assert_eq!(other.app().await.unwrap(), Some(app("ours")));
    assert!(other.setup_offers(LONG).await.unwrap().is_empty());
    assert_eq!(secrets(&store).await, [("a".to_owned(), SecretState::Current, true, true)]);
    // A server that has not heard of it offers in vain.
    store.offer_setup(second, "m4").await.unwrap();
    assert!(store.setup_offers(LONG).await.unwrap().is_empty());
    assert!(store.forget_app().await.unwrap());
    assert!(!store.forget_app().await.unwrap());
    assert!(store.keep_app(&app("another"), &new("c")).await.unwrap());
    let current = ("c".to_owned(), SecretState::Current, true, true);
    let forgotten = ("a".to_owned(), SecretState::Previous, false, false);
    assert_eq!(secrets(&store).await, [forgotten, current]);
}

pub(crate) async fn who_forgets_the_app_forgets_all_its_secrets_at_once(place: &Place) {
    let store = place.open().await;
    assert!(store.keep_app(&app("ours"), &new("a")).await.unwrap());
    store.begin_secret(&new("b")).await.unwrap().unwrap();
    assert!(store.promote_secret("b", &[new("set")], LONG).await.unwrap());
    store.begin_secret(&new("c")).await.unwrap().unwrap();
    assert!(secrets(&store).await.iter().all(|(.., counts)| *counts));
    assert!(store.forget_app().await.unwrap());
    let gone = |mark: &str| (mark.to_owned(), SecretState::Previous, false, false);
    assert_eq!(secrets(&store).await, ["a", "b", "c", "set"].map(gone));
    // Secrets of an App of the settings are not lost to who forgets one that never was.
    assert_eq!(store.begin_secret(&new("d")).await.unwrap().unwrap().mark, "d");
    assert!(store.promote_secret("d", &[], LONG).await.unwrap());
    assert!(!store.forget_app().await.unwrap());
    let kept = ("d".to_owned(), SecretState::Current, true, true);
    assert_eq!(secrets(&store).await[3], kept);
    store.forget_secret("d").await.unwrap();
    assert_eq!(secrets(&store).await[3], gone("d"));
}

pub(crate) async fn a_secret_is_replaced_in_steps_that_can_be_repeated(place: &Place) {
    let store = place.open().await;
    assert!(store.keep_app(&app("ours"), &new("a")).await.unwrap());
    let next = store.begin_secret(&new("b")).await.unwrap().unwrap();
    assert_eq!((next.mark.as_str(), next.state, next.seen), ("b", SecretState::Next, false));
    // Who begins again goes on with the same.
    assert_eq!(store.begin_secret(&new("c")).await.unwrap().unwrap(), next);
    assert!(!next.heard);
    store.hear_secret("b").await.unwrap();
    store.see_secret("b").await.unwrap();
    let next = store.begin_secret(&new("c")).await.unwrap().unwrap();
    assert!(next.heard && next.seen);
    assert!(!store.drop_unheard_secret("b").await.unwrap(), "GitHub may have been told");
    assert!(!store.promote_secret("c", &[], LONG).await.unwrap(), "it is not the next one");
    let given = [new("of the settings"), new("b")];
    assert!(store.promote_secret("b", &given, LONG).await.unwrap());
    assert!(!store.promote_secret("b", &given, LONG).await.unwrap(), "it is already");
    let (current, previous) = (SecretState::Current, SecretState::Previous);
    let row = |mark: &str, state, kept, counts| (mark.to_owned(), state, kept, counts);
    let all = [
        row("a", previous, true, true),
        row("b", current, true, true),
        row("of the settings", previous, true, true),
    ];
    assert_eq!(secrets(&store).await, all);
    assert_eq!(store.begin_secret(&new("a")).await.unwrap(), None, "it was one already");
    // The next time, what was replaced counts no more, and what was replaced before is not asked.
    store.begin_secret(&new("c")).await.unwrap().unwrap();
    assert!(store.promote_secret("c", &[new("a")], Duration::ZERO).await.unwrap());
    store.clear_secrets().await.unwrap();
    let all = [
        row("a", previous, true, true),
        row("b", previous, false, false),
        row("c", current, true, true),
        row("of the settings", previous, true, true),
    ];
    assert_eq!(secrets(&store).await, all);
}

pub(crate) async fn a_secret_that_no_server_heard_of_is_given_up(place: &Place) {
    let store = place.open().await;
    store.begin_secret(&new("a")).await.unwrap().unwrap();
    assert!(store.drop_unheard_secret("a").await.unwrap());
    assert!(store.webhook_secrets().await.unwrap().is_empty());
    assert_eq!(store.begin_secret(&new("b")).await.unwrap().unwrap().mark, "b");
}

pub(crate) async fn of_many_that_replace_a_secret_at_once_one_does(place: &Place) {
    let store = place.open().await;
    let begun = (0..8).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            let next = store.begin_secret(&new(&format!("n{n}"))).await.unwrap().unwrap();
            let promoted = store.promote_secret(&next.mark, &[], LONG).await.unwrap();
            (next.mark, promoted)
        })
    });
    let mut promoted = Vec::new();
    for one in begun.collect::<Vec<_>>() {
        let (mark, done) = one.await.unwrap();
        promoted.extend(done.then_some(mark));
    }
    let rows = store.webhook_secrets().await.unwrap();
    let in_state = |state| rows.iter().filter(|row| row.state == state).count();
    assert_eq!((in_state(SecretState::Next), in_state(SecretState::Current)), (0, 1), "{rows:?}");
    // Nobody's promotion was undone by another's: each that was told of is there.
    assert_eq!(promoted.len(), rows.len(), "{promoted:?} {rows:?}");
}
