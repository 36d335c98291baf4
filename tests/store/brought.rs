//! Who pushed the heads of forks' pull requests.

use std::time::Duration;

use checkvalve::domain::event::PullFacts;

use crate::fixture::{Place, create, new_run, pull, repository, sha};

pub(crate) async fn who_pushed_a_head_is_known_as_long_as_it_is_asked(place: &Place) {
    let store = place.open().await;
    let id = repository().id;
    let known = async |head| store.pusher(id, 12, &sha(head)).await.unwrap().is_some();
    let forget = async || {
        tokio::time::sleep(Duration::from_millis(5)).await;
        store.forget(Duration::ZERO).await.unwrap();
    };
    for head in ['a', 'b', 'c'] {
        store.bring(id, &pull(head), Some("mallory")).await.unwrap();
    }
    // A had a run and is replaced, B is the head, and nobody will ask about C.
    let run = create(&store, new_run('a', "1")).await;
    store.observe_pull(&repository(), &pull('b'), false).await.unwrap();
    forget().await;
    assert_eq!([known('a').await, known('b').await, known('c').await], [true, true, false]);
    // Closed, it may be opened again.
    let closed = PullFacts { open: false, ..pull('b') };
    store.observe_pull(&repository(), &closed, false).await.unwrap();
    store.cancel_run(run, None, "enough").await.unwrap();
    store.forget_run(run).await.unwrap();
    forget().await;
    assert_eq!([known('a').await, known('b').await], [false, true]);
    store.observe_pull(&repository(), &pull('d'), true).await.unwrap();
    forget().await;
    assert!(!known('b').await);
}
