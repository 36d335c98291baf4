//! Publishing: every change of a head is told, once, by one publisher.

use std::time::Duration;

use checkvalve::ambient;
use checkvalve::domain::budget::Urgency;
use checkvalve::domain::check::ShownCheck;
use checkvalve::domain::detail::Detail;
use checkvalve::domain::ids::CheckId;
use checkvalve::domain::state::Outcome;
use checkvalve::store::{
    Annotated, CheckRecord, ClaimedHead, Rest, Spent, Stage, Store, StoreError, Wish,
};

use crate::fixture::{
    LONG, Place, SHORT, claim, create, create_planned, new_run, running, settle, sha, wait_out,
    with, worker,
};

pub(crate) fn check(name: &str) -> CheckRecord {
    CheckRecord::new(CheckId::new(ambient::ulid()), name, "run", ambient::now())
}

pub(crate) const ALL: Stage = Stage { detail: Detail::Step, wanted: 0 };

/// Stores the intent to make these, in this order.
async fn intend(
    store: &Store,
    head: &ClaimedHead,
    checks: &[&CheckRecord],
) -> Result<Spent, StoreError> {
    let wishes: Vec<Wish<'_>> =
        checks.iter().map(|check| Wish { urgency: Urgency::First, makes: Some(check) }).collect();
    store.spend(head, ALL, &wishes).await
}

pub(crate) async fn a_head_is_published_once_per_change(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &["source-a"]).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    assert_eq!((head.head_sha.clone(), head.runs.len(), head.runs[0].id), (sha('a'), 1, run));
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none(), "leased");
    store.settle_head(head, Rest::default()).await.unwrap();
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none(), "nothing changed");
    assert_eq!(store.queue().await.unwrap().checks_pending, 0);
    let (lease, job) = claim(&store).await;
    settle(&store, lease, &job, Outcome::Succeeded).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.settle_head(head, Rest::default()).await.unwrap();
}

pub(crate) async fn a_change_while_publishing_is_not_lost(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &["source-a"]).await;
    let (lease, job) = claim(&store).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.record(&lease, &[with(&job, "install", running())]).await.unwrap();
    store.settle_head(head, Rest::default()).await.unwrap();
    let again = store.claim_head(worker(), LONG).await.unwrap().expect("due again");
    assert!(matches!(
        again.runs[0].jobs[0].steps[0].state,
        checkvalve::domain::state::StepState::Running { .. }
    ));
    // A superseded head is told too.
    store.settle_head(again, Rest::default()).await.unwrap();
    create(&store, new_run('b', "2")).await;
    let mut due = Vec::new();
    while let Some(head) = store.claim_head(worker(), LONG).await.unwrap() {
        due.push(head.head_sha);
    }
    due.sort();
    assert_eq!(due, [sha('a'), sha('b')]);
}

pub(crate) async fn a_publisher_that_lost_its_head_is_refused(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let late = store.claim_head(worker(), SHORT).await.unwrap().unwrap();
    wait_out().await;
    let current = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    let refused = [
        intend(&store, &late, &[&check("x")]).await.map(drop),
        store.acknowledge_check(&late, &check("x"), None).await,
        store.pass_over_check(&late, None, None).await,
        store.settle_head(late, Rest::default()).await,
    ];
    for answer in refused {
        assert!(matches!(answer, Err(StoreError::LeaseLost)), "{answer:?}");
    }
    store.settle_head(current, Rest::default()).await.unwrap();
}

pub(crate) async fn what_is_called_otherwise_is_told_again_under_its_name(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let late = store.claim_head(worker(), SHORT).await.unwrap().unwrap();
    wait_out().await;
    let current = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    let digest = Some("of its old name".to_owned());
    let told =
        CheckRecord { github_id: Some(12), digest, completed: true, ..check("x (→ main)") };
    store.acknowledge_check(&current, &told, None).await.unwrap();
    let refused = store.rename_check(&late, told.id, "x (→ evil)").await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    store.rename_check(&current, told.id, "x (→ next)").await.unwrap();
    let (record, _) = store.check_by_github_id(7, 12).await.unwrap().unwrap();
    assert_eq!((record.name.as_str(), record.digest, record.completed), ("x (→ next)", None, true));
}

/// What it told GitHub may have been written over what is true: that is told again.
pub(crate) async fn what_a_late_publisher_told_is_told_again(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let late = store.claim_head(worker(), SHORT).await.unwrap().unwrap();
    wait_out().await;
    let current = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    let told = CheckRecord {
        github_id: Some(12),
        digest: Some("new".to_owned()),
        completed: true,
        ..check("checkvalve")
    };
    store.acknowledge_check(&current, &told, None).await.unwrap();
    store.settle_head(current, Rest::default()).await.unwrap();
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none(), "all is told");

    store.doubt_check(&late, told.id, 12).await.unwrap();
    let again = store.claim_head(worker(), LONG).await.unwrap().expect("due again");
    let told_at = again.checks[0].told_at;
    assert!(told_at.is_some());
    let told = CheckRecord { told_at, begun_at: again.checks[0].begun_at, ..told };
    assert_eq!(again.checks, [CheckRecord { digest: None, ..told.clone() }]);
    // How far its annotations are is kept beside it.
    let since = Some(ambient::now());
    let annotated = Annotated { sent: 50, intended: 73, since, before: Some(7) };
    store.annotate_check(&again, told.id, annotated).await.unwrap();
    store.acknowledge_check(&again, &told, None).await.unwrap();
    store.retry_head(again, Duration::ZERO, "the line was cut").await.unwrap();
    let again = store.claim_head(worker(), LONG).await.unwrap().expect("due again");
    let told = CheckRecord { told_at: again.checks[0].told_at, ..told };
    assert_eq!(again.checks, [CheckRecord { annotated, ..told.clone() }]);
    store.settle_head(again, Rest::default()).await.unwrap();
    let refused = store.annotate_check(&late, told.id, Annotated::default()).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)));

    // A second check run was made of one intent: GitHub shows that one, so it is the one to tell.
    store.doubt_check(&late, told.id, 13).await.unwrap();
    let again = store.claim_head(worker(), LONG).await.unwrap().expect("due again");
    // Its annotations are to be counted.
    let annotated = Annotated { sent: 0, intended: 1, since, before: Some(0) };
    let twin =
        CheckRecord { github_id: Some(13), digest: None, completed: false, annotated, ..told };
    assert_eq!(again.checks, [twin]);
}

pub(crate) async fn a_head_comes_back_when_it_is_due(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    store.retry_head(head, Duration::from_millis(500), "rate limited").await.unwrap();
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none());
    assert_eq!(store.queue().await.unwrap().checks_pending, 1);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_some());
}

pub(crate) async fn intents_survive_and_are_found_by_githubs_id(place: &Place) {
    let store = place.open().await;
    let run = create(&store, new_run('a', "1")).await.to_string();
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    let mut first = check("source-a / unit");
    intend(&store, &head, &[&first]).await.unwrap();
    intend(&store, &head, &[&first]).await.unwrap();
    let later = first.created_at.plus(Duration::from_millis(1));
    let pending = CheckRecord { created_at: later, ..check("checkvalve") };
    intend(&store, &head, &[&pending]).await.unwrap();
    assert!(store.shown_checks(7, &sha('a')).await.unwrap().is_empty());

    first.github_id = Some(4_000_000_000);
    "a later run".clone_into(&mut first.occasion);
    first.digest = Some("d1".to_owned());
    first.shown = Some("queued".to_owned());
    store.acknowledge_check(&head, &first, None).await.unwrap();
    let mut second =
        CheckRecord { created_at: first.created_at.plus(SHORT), ..check("source-a / unit") };
    second.github_id = Some(4_000_000_001);
    second.occasion.clone_from(&run);
    second.completed = true;
    store.acknowledge_check(&head, &second, None).await.unwrap();
    store.retry_head(head, Duration::ZERO, "").await.unwrap();

    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    let stored = |record: &CheckRecord| {
        let found = head.checks.iter().find(|known| known.id == record.id).unwrap();
        assert!(found.may_exist());
        assert_eq!(found.told_at.is_some(), record.github_id.is_some());
        CheckRecord { begun_at: found.begun_at, told_at: found.told_at, ..record.clone() }
    };
    assert_eq!(head.checks, [stored(&first), stored(&pending), stored(&second)]);
    let found = store.check_by_github_id(7, 4_000_000_000).await.unwrap();
    assert_eq!(found, Some((stored(&first), sha('a'))));
    assert_eq!(store.check_by_github_id(8, 4_000_000_000).await.unwrap(), None);
    let (name, github_id, pull) = ("source-a / unit".to_owned(), 4_000_000_001, Some(12));
    let shown = store.shown_checks(7, &sha('a')).await.unwrap();
    assert_eq!(
        shown,
        [ShownCheck { name, github_id, occasion: run, pull }],
        "of runs that are there"
    );
}

/// Of several intents only the one that GitHub is being asked for is in doubt.
pub(crate) async fn what_github_was_never_asked_for_is_forgotten(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let mut head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    let [mut first, second, third, fourth] = ["checkvalve", "a", "b", "c"].map(check);
    intend(&store, &head, &[&first, &second, &third, &fourth]).await.unwrap();
    let mut begun = Vec::new();
    let mut look = async |head: ClaimedHead| {
        store.retry_head(head, Duration::ZERO, "").await.unwrap();
        let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
        let may = head.checks.iter().filter(|check| check.may_exist());
        begun.push(may.map(|check| check.name.clone()).collect::<Vec<_>>());
        head
    };
    head = look(head).await;
    first.github_id = Some(1);
    store.acknowledge_check(&head, &first, Some(second.id)).await.unwrap();
    head = look(head).await;
    store.pass_over_check(&head, Some(second.id), Some(third.id)).await.unwrap();
    head = look(head).await;
    // The next intents take the place of those.
    intend(&store, &head, &[]).await.unwrap();
    head = look(head).await;
    assert_eq!(head.checks.len(), 2);
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected =
        [&["checkvalve"][..], &["checkvalve", "a"], &["checkvalve", "b"], &["checkvalve", "b"]];
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    for (found, expected) in begun.into_iter().zip(expected) {
        assert_eq!(sorted(found), sorted(named(expected)));
    }
}
