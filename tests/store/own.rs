//! Runs that one process carries out by itself: `test` on one's own machine.

use std::collections::BTreeMap;
use std::time::Duration;

use checkvalve::domain::cache::Ingredients;
use checkvalve::domain::run::StepFacts;
use checkvalve::domain::state::{Conclusion, Outcome, RunState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::store::{NewResult, NewRun};

use crate::fixture::{LONG, Place, connector, new_run, read, repository, step, worker};

pub(crate) async fn results_of_an_own_run_are_found_until_it_is_forgotten(place: &Place) {
    let store = place.open().await;
    let run = NewRun { pull: None, trigger: Trigger::Manual, ..new_run('a', "own") };
    store.begin_own_run(&run).await.unwrap();
    assert_eq!(read(&store, run.id).await.state, RunState::Running);
    assert!(store.claim_planning(worker(), LONG).await.unwrap().is_none(), "nobody else's");
    let all = BTreeMap::from([("`run`".to_owned(), "make".to_owned())]);
    let made_of: Ingredients = serde_json::from_value(serde_json::to_value(all).unwrap()).unwrap();
    let (name, unit) = (connector("source-a"), step("unit"));
    let facts = StepFacts { excerpt: "fine".into(), ..StepFacts::default() };
    let result = NewResult {
        repository: repository().id,
        connector: &name,
        step: &unit,
        origin: run.id,
        outcome: Outcome::Succeeded,
        facts: &facts,
        ingredients: &made_of,
    };
    let recall = || store.recall(repository().id, &name, &unit, &made_of);
    store.keep_own_result(result).await.unwrap();
    let found = recall().await.unwrap().result.unwrap();
    assert_eq!((found.origin, found.kept_by, &found.facts), (run.id, run.id, &facts));
    store.forget_own_result(&made_of).await.unwrap();
    assert!(recall().await.unwrap().result.is_none());
    store.keep_own_result(result).await.unwrap();
    store.end_own_run(run.id, Conclusion::Success).await.unwrap();
    assert_eq!(read(&store, run.id).await.conclusion, Some(Conclusion::Success));
    assert_eq!(store.old_own_runs(Duration::from_hours(1)).await.unwrap(), []);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.old_own_runs(Duration::ZERO).await.unwrap(), [run.id]);
    store.forget_own_run(run.id).await.unwrap();
    assert!(recall().await.unwrap().result.is_none());
}
