//! Results that later runs may use: kept under a lease, found by their key, gone with their run.

use std::collections::BTreeMap;

use checkvalve::domain::cache::Ingredients;
use checkvalve::domain::run::StepFacts;
use checkvalve::domain::state::Outcome;
use checkvalve::domain::trust::Trust;
use checkvalve::store::{NewResult, NewRun, StoreError};

use crate::fixture::{
    LONG, Place, SHORT, claim, connector, create_planned, create_with, new_run, planned,
    repository, settle, step, wait_out, worker,
};

fn ingredients(value: &str) -> Ingredients {
    let all = BTreeMap::from([("`run`".to_owned(), value.to_owned())]);
    serde_json::from_value(serde_json::to_value(all).unwrap()).unwrap()
}

pub(crate) async fn a_result_is_found_by_its_key_alone(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &["source-a"]).await;
    let (lease, job) = claim(&store).await;
    let (a, b) = (ingredients("a"), ingredients("b"));
    let (id, name, unit) = (repository().id, connector("source-a"), step("unit"));
    let known = store.recall(id, &name, &unit, &a).await.unwrap();
    assert!(known.result.is_none() && known.last.is_none());
    let facts = StepFacts { excerpt: "fine".into(), ..StepFacts::default() };
    let result = NewResult {
        repository: id,
        connector: &name,
        step: &unit,
        origin: run,
        outcome: Outcome::Succeeded,
        facts: &facts,
        ingredients: &a,
    };
    store.keep_result(&lease, result).await.unwrap();
    let found = store.recall(id, &name, &unit, &a).await.unwrap().result.unwrap();
    assert_eq!((found.outcome, &found.facts), (Outcome::Succeeded, &facts));
    assert_eq!((found.origin, found.kept_by), (run, run));
    // Another key: not it, but what it differs from is known.
    let known = store.recall(id, &name, &unit, &b).await.unwrap();
    assert!(known.result.is_none());
    assert_eq!(known.last, Some(a.clone()));
    // Another repository sees nothing of it.
    let known = store.recall(id + 1, &name, &unit, &a).await.unwrap();
    assert!(known.result.is_none() && known.last.is_none());
    // A later one under the same key takes its place.
    let facts = StepFacts { excerpt: "later".into(), ..StepFacts::default() };
    store.keep_result(&lease, NewResult { facts: &facts, ..result }).await.unwrap();
    let found = store.recall(id, &name, &unit, &a).await.unwrap().result.unwrap();
    assert_eq!(&*found.facts.excerpt, "later");

    settle(&store, lease, &job, Outcome::Succeeded).await;
    store.forget_run(run).await.unwrap();
    let known = store.recall(id, &name, &unit, &a).await.unwrap();
    assert!(known.result.is_none(), "its log and artifacts are gone");
}

pub(crate) async fn a_late_holder_keeps_no_result(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &["source-a"]).await;
    let (lease, _, _) = store.claim_job(worker(), SHORT).await.unwrap().unwrap();
    wait_out().await;
    let _other = store.claim_job(worker(), LONG).await.unwrap().unwrap();
    let (name, unit, made_of) = (connector("source-a"), step("unit"), ingredients("a"));
    let result = NewResult {
        repository: repository().id,
        connector: &name,
        step: &unit,
        origin: run,
        outcome: Outcome::Succeeded,
        facts: &StepFacts::default(),
        ingredients: &made_of,
    };
    let refused = store.keep_result(&lease, result).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    let known = store.recall(repository().id, &name, &unit, &made_of).await.unwrap();
    assert!(known.result.is_none());
}

pub(crate) async fn a_result_is_taken_back_by_who_holds_the_job(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &["source-a"]).await;
    let (late, _, _) = store.claim_job(worker(), SHORT).await.unwrap().unwrap();
    let (name, unit, a, b) =
        (connector("source-a"), step("unit"), ingredients("a"), ingredients("b"));
    for ingredients in [&a, &b] {
        let result = NewResult {
            repository: repository().id,
            connector: &name,
            step: &unit,
            origin: run,
            outcome: Outcome::Succeeded,
            facts: &StepFacts::default(),
            ingredients,
        };
        store.keep_result(&late, result).await.unwrap();
    }
    wait_out().await;
    let (lease, _, _) = store.claim_job(worker(), LONG).await.unwrap().unwrap();
    let known = async |ingredients: &Ingredients| {
        let known = store.recall(repository().id, &name, &unit, ingredients).await.unwrap();
        known.result.is_some()
    };
    let refused = store.forget_result(&late, &a).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    assert!(known(&a).await, "a late holder takes nothing back");
    store.forget_result(&lease, &a).await.unwrap();
    assert_eq!((known(&a).await, known(&b).await), (false, true));
    store.forget_result(&lease, &a).await.unwrap();
}

pub(crate) async fn whose_code_it_was_decides_who_finds_its_results(place: &Place) {
    let store = place.open().await;
    let (id, name, unit) = (repository().id, connector("source-a"), step("unit"));
    let facts = StepFacts::default();
    let kinds = [
        ('a', Trust::Untrusted, "theirs"),
        ('b', Trust::Approved, "approved"),
        ('c', Trust::Trusted, "ours"),
    ];
    for (head, trust, value) in kinds {
        let run = NewRun { trust, pull: Some(u64::from(u32::from(head))), ..new_run(head, "1") };
        let run = create_with(&store, run, planned(&["source-a"])).await;
        let (lease, job) = claim(&store).await;
        let made_of = ingredients(value);
        let result = NewResult {
            repository: id,
            connector: &name,
            step: &unit,
            origin: run,
            outcome: Outcome::Succeeded,
            facts: &facts,
            ingredients: &made_of,
        };
        store.keep_result(&lease, result).await.unwrap();
        // Whoever comes with another key: what is theirs alone tells others nothing.
        let other = store.recall(id, &name, &unit, &ingredients("other")).await.unwrap();
        assert_eq!(other.last.is_some(), trust == Trust::Trusted, "{trust:?}");
        let found = store.recall(id, &name, &unit, &made_of).await.unwrap().result;
        assert_eq!(found.is_some(), trust != Trust::Untrusted, "a stranger's is not kept");
        settle(&store, lease, &job, Outcome::Succeeded).await;
    }
}
