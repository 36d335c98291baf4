//! The App that was registered here, and the secrets of its webhook.

use std::sync::Arc;
use std::time::Duration;

use checkvalve::secrets::seal::Seal;
use checkvalve::store::{GivenSecret, NewSecret, SecretState, Store, StoredApp};
use checkvalve::web::{GivenSecrets, Signers, kept_secret};
use sqlx::Connection as _;

use crate::fixture::{LONG, Place, worker};

fn app(slug: &str) -> StoredApp {
    StoredApp {
        app_id: format!("id of {slug}"),
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
    assert!(store.keep_app(&app("ours"), &new("a"), &[]).await.unwrap());
    assert!(!other.keep_app(&app("theirs"), &new("b"), &[]).await.unwrap());
    assert_eq!(other.app().await.unwrap(), Some(app("ours")));
    assert!(other.setup_offers(LONG).await.unwrap().is_empty());
    assert_eq!(secrets(&store).await, [("a".to_owned(), SecretState::Current, true, true)]);
    // A server that has not heard of it offers in vain.
    store.offer_setup(second, "m4").await.unwrap();
    assert!(store.setup_offers(LONG).await.unwrap().is_empty());
    assert!(store.forget_app().await.unwrap());
    assert!(!store.forget_app().await.unwrap());
    assert!(store.keep_app(&app("another"), &new("c"), &[]).await.unwrap());
    let current = ("c".to_owned(), SecretState::Current, true, true);
    let forgotten = ("a".to_owned(), SecretState::Previous, false, false);
    assert_eq!(secrets(&store).await, [forgotten, current]);
}

pub(crate) async fn who_forgets_the_app_forgets_all_its_secrets_at_once(place: &Place) {
    let store = place.open().await;
    assert!(store.keep_app(&app("ours"), &new("a"), &[]).await.unwrap());
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

pub(crate) async fn a_secret_counts_for_the_app_that_it_was_kept_for_alone(place: &Place) {
    let store = place.open().await;
    // Of the App of the settings: one that counts, one that still does, and one that is to follow.
    for mark in ["a", "b"] {
        assert_eq!(store.begin_secret(&new(mark)).await.unwrap().unwrap().app, None);
        assert!(store.promote_secret(mark, &[], LONG).await.unwrap());
    }
    store.begin_secret(&new("c")).await.unwrap().unwrap();
    // And one that is only in a setting.
    let foreign = ["in a setting".to_owned()];
    assert!(store.keep_app(&app("ours"), &new("d"), &foreign).await.unwrap());
    let gone = |mark: &str| (mark.to_owned(), SecretState::Previous, false, false);
    let current = ("d".to_owned(), SecretState::Current, true, true);
    let old = ["a", "b", "c"].map(gone);
    let mut expected = [old.as_slice(), &[current, gone("in a setting")]].concat();
    assert_eq!(secrets(&store).await, expected);
    let rows = store.webhook_secrets().await.unwrap();
    let own = rows.iter().find(|row| row.mark == "d").unwrap();
    assert_eq!(own.app.as_deref(), Some("id of ours"));
    // What another server's settings held.
    store.disown_secrets(&["elsewhere".to_owned()]).await.unwrap();
    expected.insert(4, gone("elsewhere"));
    assert_eq!(secrets(&store).await, expected);
    assert_eq!(store.begin_secret(&new("e")).await.unwrap().unwrap().app, own.app);
    // For the App of the settings these count again, and nothing that was kept does.
    assert!(store.forget_app().await.unwrap());
    assert_eq!(secrets(&store).await, ["a", "b", "c", "d", "e"].map(gone));
    store.disown_secrets(&["in a setting".to_owned()]).await.unwrap();
    assert_eq!(secrets(&store).await.len(), 5, "there is no App whose it is not");
}

pub(crate) async fn what_servers_spoke_of_is_not_the_apps_that_is_registered(place: &Place) {
    let store = place.open().await;
    let given = |mark: &str, next| GivenSecret { mark: mark.to_owned(), next };
    // By a server that died before it saw that there is an App now.
    store.say_given_secrets(&[given("set", false), given("set next", true)]).await.unwrap();
    assert!(store.keep_app(&app("ours"), &new("a"), &["own".to_owned()]).await.unwrap());
    let gone = |mark: &str| (mark.to_owned(), SecretState::Previous, false, false);
    let current = ("a".to_owned(), SecretState::Current, true, true);
    assert_eq!(secrets(&store).await, [current, gone("own"), gone("set"), gone("set next")]);
}

/// A `rotate-webhook-secret` of before migration 17 says of no App whose secret it keeps.
pub(crate) async fn what_an_old_rotation_keeps_is_its_to_give_up(place: &Place) {
    let store = place.open().await;
    let seal = Arc::new(Seal::new(&[7; 32]).unwrap());
    let [current, next] =
        ["a", "b"].map(|text| kept_secret(&seal, &text.to_owned().into()).unwrap());
    assert!(store.keep_app(&app("ours"), &current, &[]).await.unwrap());
    store.begin_secret(&next).await.unwrap().unwrap();
    forget_whose(place).await;
    // A server that does not take it says so by its silence, and leaves it as it is.
    Signers::open(store.clone(), seal, GivenSecrets::default()).await.unwrap();
    store.clear_secrets().await.unwrap();
    let rows = store.webhook_secrets().await.unwrap();
    let row = rows.into_iter().find(|row| row.mark == next.mark).unwrap();
    assert_eq!((row.heard, row.counts, row.sealed), (false, false, Some(next.sealed.clone())));
    assert!(store.drop_unheard_secret(&next.mark).await.unwrap(), "GitHub is not told");
}

async fn forget_whose(place: &Place) {
    const SQL: &str = "update webhook_secrets set app_id = null where state = 'next'";
    if place.url.starts_with("sqlite") {
        let mut database = sqlx::SqliteConnection::connect(&place.url).await.unwrap();
        sqlx::query(SQL).execute(&mut database).await.unwrap();
    } else {
        let mut database = sqlx::PgConnection::connect(&place.url).await.unwrap();
        sqlx::query(SQL).execute(&mut database).await.unwrap();
    }
}

pub(crate) async fn who_replaces_a_secret_retires_those_that_servers_speak_of(place: &Place) {
    let store = place.open().await;
    let given = |mark: &str, next| GivenSecret { mark: mark.to_owned(), next };
    let all = [given("set", false), given("set next", true)];
    store.say_given_secrets(&all).await.unwrap();
    store.say_given_secrets(&[given("set elsewhere", false)]).await.unwrap();
    let mut known = store.given_secrets().await.unwrap();
    known.sort_by(|one, other| one.mark.cmp(&other.mark));
    assert_eq!(
        known,
        [given("set", false), given("set elsewhere", false), given("set next", true)]
    );
    store.begin_secret(&new("a")).await.unwrap().unwrap();
    assert!(store.promote_secret("a", &[new("set")], LONG).await.unwrap());
    let row = |mark: &str, state, kept| (mark.to_owned(), state, kept, true);
    let retired = [
        row("a", SecretState::Current, true),
        row("set", SecretState::Previous, true),
        row("set elsewhere", SecretState::Previous, false),
    ];
    assert_eq!(secrets(&store).await, retired, "one that is to follow is left");
    store.begin_secret(&new("b")).await.unwrap().unwrap();
    assert!(store.promote_secret("b", &[], Duration::ZERO).await.unwrap());
    assert_eq!(secrets(&store).await.len(), 4, "each once");
}

pub(crate) async fn a_secret_is_replaced_in_steps_that_can_be_repeated(place: &Place) {
    let store = place.open().await;
    assert!(store.keep_app(&app("ours"), &new("a"), &[]).await.unwrap());
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
