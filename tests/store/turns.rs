//! One result that several jobs want: who works it out, who waits, and who takes over.

use std::collections::BTreeMap;
use std::time::Duration;

use checkvalve::domain::cache::Ingredients;
use checkvalve::domain::run::StepFacts;
use checkvalve::domain::state::{Conclusion, Outcome};
use checkvalve::domain::turn::{Maker, Turn};
use checkvalve::store::{Lease, NewResult, Store, StoreError};

use crate::fixture::{LONG, Place, claim, connector, create_planned, repository, step, worker};

fn ingredients() -> Ingredients {
    let all = BTreeMap::from([("`run`".to_owned(), "make".to_owned())]);
    serde_json::from_value(serde_json::to_value(all).unwrap()).unwrap()
}

async fn ask(store: &Store, lease: &Lease, waited: Option<&Maker>) -> Turn {
    store.take_turn(lease, &step("unit"), &ingredients(), waited).await.unwrap()
}

fn maker(turn: Turn) -> Maker {
    let Turn::Theirs(maker) = turn else { panic!("{turn:?}") };
    maker
}

pub(crate) async fn of_several_one_works_and_the_others_know_for_whom_they_wait(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    let ((one, job), (other, _)) = (claim(&store).await, claim(&store).await);
    assert_eq!(ask(&store, &one, None).await, Turn::Ours);
    assert_eq!(ask(&store, &one, None).await, Turn::Ours, "asked twice");
    let seen = maker(ask(&store, &other, None).await);
    assert_eq!((seen.run, seen.job, seen.epoch), (run, one.job, one.epoch));
    assert_eq!((&seen.connector, &seen.step), (&job.connector, &step("unit")));
    assert!(seen.reason().contains(&run.to_string()), "{}", seen.reason());
    // The result and the end of the turn are one.
    let (made_of, facts) = (ingredients(), StepFacts::default());
    let (name, unit) = (connector("source-a"), step("unit"));
    let result = NewResult {
        repository: repository().id,
        connector: &name,
        step: &unit,
        origin: run,
        outcome: Outcome::Succeeded,
        facts: &facts,
        ingredients: &made_of,
    };
    store.keep_result(&one, result).await.unwrap();
    let known = store.recall(repository().id, &name, &unit, &made_of).await.unwrap();
    assert!(known.result.is_some());
    assert_eq!(ask(&store, &other, Some(&seen)).await, Turn::Ours);
    assert_eq!(maker(ask(&store, &one, None).await).job, other.job);
    // What is not held any more takes no turn.
    store.settle_job(one, &[], Conclusion::Cancelled).await.unwrap();
    store.end_turn(&other, &made_of, false).await.unwrap();
}

pub(crate) async fn another_takes_over_when_a_turn_dies_or_is_given_back(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &["source-a", "source-b"]).await;
    // Long enough for the others to be claimed and to ask, on a host that is busy.
    let term = Duration::from_secs(2);
    let (dies, _, _) = store.claim_job(worker(), term).await.unwrap().unwrap();
    let (waits, _) = claim(&store).await;
    assert_eq!(ask(&store, &dies, None).await, Turn::Ours);
    let seen = maker(ask(&store, &waits, None).await);
    tokio::time::sleep(term + Duration::from_millis(200)).await;
    // Its lease is over: nobody is at it, and it can't come back.
    assert_eq!(ask(&store, &waits, Some(&seen)).await, Turn::Ours);
    let late = store.take_turn(&dies, &step("unit"), &ingredients(), None).await;
    assert!(
        matches!(late, Ok(Turn::Theirs(_)) | Err(StoreError::LeaseLost)),
        "a late one is refused: {late:?}"
    );
    store.end_turn(&dies, &ingredients(), false).await.unwrap();
    let (next, _, _) = store.claim_job(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(maker(ask(&store, &next, None).await).job, waits.job, "not ended by the late one");
    // Given back, as when it is cancelled: the next one takes it.
    store.end_turn(&waits, &ingredients(), false).await.unwrap();
    assert_eq!(ask(&store, &next, None).await, Turn::Ours);
}

pub(crate) async fn who_waited_for_a_failure_goes_on_beside_others(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &["source-a", "source-b", "source-c"]).await;
    let (one, _) = claim(&store).await;
    let (two, _) = claim(&store).await;
    let (three, _) = claim(&store).await;
    assert_eq!(ask(&store, &one, None).await, Turn::Ours);
    let seen = maker(ask(&store, &two, None).await);
    store.end_turn(&one, &ingredients(), true).await.unwrap();
    assert_eq!(ask(&store, &two, Some(&seen)).await, Turn::Beside);
    assert_eq!(ask(&store, &three, Some(&seen)).await, Turn::Beside);
    // Who comes later knows nothing of it.
    assert_eq!(ask(&store, &three, None).await, Turn::Ours);
    maker(ask(&store, &two, None).await);
}

pub(crate) async fn of_many_that_ask_at_once_one_has_it(place: &Place) {
    let store = place.open().await;
    let names = ["source-a", "source-b", "source-c", "source-d", "source-e", "source-f"];
    create_planned(&store, 'a', &names).await;
    let mut tasks = Vec::new();
    for _ in names {
        let ((lease, _), store) = (claim(&store).await, store.clone());
        tasks.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            ask(&store, &lease, None).await
        }));
    }
    let mut ours = 0;
    for task in tasks {
        match task.await.unwrap() {
            Turn::Ours => ours += 1,
            Turn::Theirs(_) => {}
            turn @ (Turn::Beside | Turn::Free) => panic!("{turn:?}"),
        }
    }
    assert_eq!(ours, 1);
}
