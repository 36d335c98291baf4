//! The budget of an installation: however many processes publish, they spend one.

use std::time::Duration;

use checkvalve::domain::budget::Urgency;
use checkvalve::domain::detail::{Detail, Room};
use checkvalve::domain::run::Repository;
use checkvalve::store::{
    CheckRecord, ClaimedHead, Closed, NewRun, Rest, Spent, Stage, Store, Wish,
};

use crate::checks::{ALL, check};
use crate::fixture::{LONG, Place, create, new_run, repository, worker};

async fn claimed(store: &Store) -> ClaimedHead {
    store.claim_head(worker(), LONG).await.unwrap().expect("a head")
}

/// A run of another repository of the same installation.
fn of_another(head: char) -> NewRun {
    let name = "acme/others".parse().unwrap();
    NewRun { repository: Repository { id: 8, name, ..repository() }, ..new_run(head, "1") }
}

/// Asks to make so many check runs; how many may be.
async fn made(store: &Store, head: &ClaimedHead, count: usize) -> (usize, Spent) {
    let checks: Vec<CheckRecord> = (0..count).map(|nth| check(&format!("a / {nth}"))).collect();
    let wishes: Vec<Wish<'_>> =
        checks.iter().map(|check| Wish { urgency: Urgency::News, makes: Some(check) }).collect();
    let spent = store.spend(head, ALL, &wishes).await.unwrap();
    (spent.granted.iter().filter(|granted| **granted).count(), spent)
}

pub(crate) async fn one_budget_for_all_who_publish(place: &Place) {
    let stores = [place.open().await, place.open().await];
    create(&stores[0], new_run('a', "1")).await;
    create(&stores[0], of_another('b')).await;
    let heads = [claimed(&stores[0]).await, claimed(&stores[1]).await];
    assert_ne!(heads[0].repository.id, heads[1].repository.id);
    let spend = |nth: usize| made(&stores[nth], &heads[nth], 15);
    let (one, other) = tokio::join!(spend(0), spend(1));
    // Twenty at once, two of which are kept for verdicts; a slow machine earns one more.
    let sum = one.0 + other.0;
    assert!((18..=20).contains(&sum), "{} and {}", one.0, other.0);
    let wait = one.1.wait.or(other.1.wait).unwrap();
    assert!(wait <= Duration::from_secs(3), "{wait:?}");
    let verdict = [Wish { urgency: Urgency::First, makes: None }];
    assert_eq!(stores[0].spend(&heads[0], ALL, &verdict).await.unwrap().granted, [true]);
    assert!(heads.iter().all(|head| head.spare == 20));
}

pub(crate) async fn an_hour_that_is_used_up_leaves_the_verdicts(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let head = claimed(&store).await;
    // Comments, reactions: nobody asks for them, and they count.
    for _ in 0..400 {
        store.count_content(head.repository.installation).await.unwrap();
    }
    let (granted, spent) = made(&store, &head, 1).await;
    assert_eq!((granted, spent.wait.unwrap() > Duration::from_mins(50)), (0, true));
    store
        .settle_head(head, Rest { change: Duration::ZERO, again: Some(Duration::ZERO) })
        .await
        .unwrap();
    let head = claimed(&store).await;
    assert_eq!((head.room.left, head.spare), (0, 0));
    let first = check("checkvalve");
    let appears = [Wish { urgency: Urgency::First, makes: Some(&first) }];
    let spent = store.spend(&head, ALL, &appears).await.unwrap();
    assert!(spent.wait.unwrap() < Duration::from_secs(70), "{spent:?}");
}

pub(crate) async fn who_is_told_to_wait_tells_the_others(place: &Place) {
    let stores = [place.open().await, place.open().await];
    create(&stores[0], new_run('a', "1")).await;
    let head = claimed(&stores[0]).await;
    let installation = head.repository.installation;
    assert!(stores[1].closed_budgets().await.unwrap().is_empty());
    for (wait, refusals) in [(40, 2), (20, 1)] {
        let wait = Duration::from_secs(wait);
        stores[0].close_budget(Closed { installation, wait, refusals }).await.unwrap();
    }
    let closed = stores[1].closed_budgets().await.unwrap();
    assert_eq!((closed.len(), closed[0].installation, closed[0].refusals), (1, installation, 1));
    assert!((30..=40).contains(&closed[0].wait.as_secs()), "the longer one counts: {closed:?}");
    let (granted, spent) = made(&stores[1], &head, 1).await;
    assert_eq!(granted, 0);
    assert!(spent.wait.unwrap() > Duration::from_secs(30), "{spent:?}");
    let closed = Closed { installation: 99, wait: Duration::ZERO, refusals: 1 };
    stores[0].close_budget(closed).await.unwrap();
    assert_eq!(stores[1].closed_budgets().await.unwrap().len(), 1, "what is over is not told");
}

pub(crate) async fn a_head_with_more_to_tell_comes_back(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let again = Rest { change: Duration::ZERO, again: Some(Duration::from_millis(300)) };
    store.settle_head(claimed(&store).await, again).await.unwrap();
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none());
    assert_eq!(store.queue().await.unwrap().checks_pending, 1);
    tokio::time::sleep(Duration::from_millis(400)).await;
    let head = claimed(&store).await;
    // What fails then is not forgotten, though nothing has changed.
    store.retry_head(head, Duration::from_millis(300), "GitHub was away").await.unwrap();
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none());
    tokio::time::sleep(Duration::from_millis(400)).await;
    // A change does not wait for the rest, but for the pause that follows a look.
    let later = Rest { change: Duration::from_millis(500), again: Some(LONG) };
    store.settle_head(claimed(&store).await, later).await.unwrap();
    create(&store, new_run('a', "2")).await;
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none());
    tokio::time::sleep(Duration::from_millis(600)).await;
    let head = claimed(&store).await;
    assert_eq!(head.runs.len(), 2);
    store.settle_head(head, Rest::default()).await.unwrap();
    assert_eq!(store.queue().await.unwrap().checks_pending, 0);
}

pub(crate) async fn heads_know_what_others_have_in_hand(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let head = claimed(&store).await;
    assert_eq!((head.detail, head.room), (None, Room { left: 400, claimed: 0, repositories: 1 }));
    let (one, other) = (check("a"), check("b"));
    let wishes = [&one, &other].map(|check| Wish { urgency: Urgency::News, makes: Some(check) });
    let stage = Stage { detail: Detail::Connector, wanted: 300 };
    store.spend(&head, stage, &wishes).await.unwrap();
    create(&store, of_another('b')).await;
    let another = claimed(&store).await;
    assert_eq!(another.room, Room { left: 398, claimed: 298, repositories: 2 });
    let again = Rest { change: Duration::ZERO, again: Some(Duration::ZERO) };
    store.settle_head(head, again).await.unwrap();
    let head = claimed(&store).await;
    assert_eq!((head.detail, head.room.claimed), (Some(Detail::Connector), 0), "its own");
    store.settle_head(head, Rest::default()).await.unwrap();
    store.settle_head(another, again).await.unwrap();
    let another = claimed(&store).await;
    assert_eq!(another.room, Room { left: 398, claimed: 0, repositories: 1 });
}
