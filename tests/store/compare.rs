//! Heads that are compared with what GitHub shows of them.

use std::time::Duration;

use checkvalve::domain::event::PullFacts;
use checkvalve::domain::names::Sha;
use checkvalve::domain::parties::Whose;
use checkvalve::domain::trigger::Trigger;
use checkvalve::store::{
    CheckRecord, ClaimedHead, Compared, Created, NewRun, Rest, Store, StoreError,
};
use sqlx::Connection as _;

use crate::checks::check;
use crate::fixture::{
    LONG, Place, SHORT, create, new_run, pull, repository, sha, wait_out, worker,
};

/// As if every head had been told of long ago.
async fn all_are_due(place: &Place) {
    const SQL: &str = "update heads set compare_at = 1 where compare_at is not null";
    if place.url.starts_with("sqlite") {
        let mut database = sqlx::SqliteConnection::connect(&place.url).await.unwrap();
        sqlx::query(SQL).execute(&mut database).await.unwrap();
    } else {
        let mut database = sqlx::PgConnection::connect(&place.url).await.unwrap();
        sqlx::query(SQL).execute(&mut database).await.unwrap();
    }
}

/// Tells GitHub of the head that is due, with one check run.
async fn publish(store: &Store) -> CheckRecord {
    let head = store.claim_head(worker(), LONG).await.unwrap().expect("due");
    let told = CheckRecord { github_id: Some(5), completed: true, ..check("checkvalve") };
    let told = CheckRecord { digest: Some("digest".to_owned()), ..told };
    store.acknowledge_check(&head, &told, None).await.unwrap();
    store.settle_head(head, Rest::default()).await.unwrap();
    told
}

fn later(etag: &str) -> Compared {
    Compared { next: Some(LONG), etag: Some(etag.to_owned()), again: false }
}

pub(crate) async fn a_head_is_compared_by_one_when_it_is_due(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    all_are_due(place).await;
    assert!(store.claim_comparison(worker(), LONG).await.unwrap().is_none(), "not told of yet");
    let told = publish(&store).await;
    let late = store.claim_comparison(worker(), SHORT).await.unwrap();
    let late = late.expect("it was due before").head;
    assert!(store.claim_comparison(worker(), LONG).await.unwrap().is_none(), "one at a time");
    wait_out().await;
    let comparison = store.claim_comparison(worker(), LONG).await.unwrap().expect("given up");
    assert_eq!((comparison.etag, comparison.head.head_sha.clone()), (None, sha('a')));
    let refused = [
        store.mistrust_check(&late, told.id, false).await,
        store.forget_check(&late, told.id).await,
        store.settle_comparison(late, later("late")).await,
    ];
    for answer in refused {
        assert!(matches!(answer, Err(StoreError::LeaseLost)), "{answer:?}");
    }
    store.settle_comparison(comparison.head, later("one")).await.unwrap();
    assert!(store.claim_comparison(worker(), LONG).await.unwrap().is_none(), "later");
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none(), "nothing has changed");

    // What was well is asked about by its mark, until something is told again.
    all_are_due(place).await;
    let comparison = store.claim_comparison(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(comparison.etag.as_deref(), Some("one"));
    // A change waits until the comparison is over, and is not lost.
    create(&store, new_run('a', "2")).await;
    assert!(store.claim_head(worker(), LONG).await.unwrap().is_none());
    store.settle_comparison(comparison.head, later("one")).await.unwrap();
    publish(&store).await;
    all_are_due(place).await;
    let comparison = store.claim_comparison(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(comparison.etag, None);
    let never = Compared::default();
    store.settle_comparison(comparison.head, never).await.unwrap();
    all_are_due(place).await;
    assert!(store.claim_comparison(worker(), LONG).await.unwrap().is_none(), "for good");
}

pub(crate) async fn what_github_shows_otherwise_is_told_again(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let told = publish(&store).await;
    all_are_due(place).await;
    let head = store.claim_comparison(worker(), LONG).await.unwrap().unwrap().head;
    store.mistrust_check(&head, told.id, false).await.unwrap();
    let again = Compared { again: true, ..later("x") };
    store.settle_comparison(head, again.clone()).await.unwrap();
    let head = store.claim_head(worker(), LONG).await.unwrap().expect("told again");
    let found = &head.checks[0];
    assert_eq!((found.digest.as_deref(), found.completed), (None, false));
    store.settle_head(head, Rest::default()).await.unwrap();
    all_are_due(place).await;
    let head = store.claim_comparison(worker(), LONG).await.unwrap().unwrap().head;
    store.forget_check(&head, told.id).await.unwrap();
    store.settle_comparison(head, again).await.unwrap();
    let head = store.claim_head(worker(), LONG).await.unwrap().expect("told again");
    assert!(head.checks.is_empty(), "to be made again");
    for times in [1, 2] {
        store.count_mended("lost", times).await.unwrap();
    }
    let label = ("found".to_owned(), "lost".to_owned());
    let counted = ("checkvalve_heads_compared_total".to_owned(), vec![label], 3);
    assert!(store.counts().await.unwrap().contains(&counted));
}

/// What is due of a head, with who has left it.
async fn told(store: &Store) -> Option<(Sha, Vec<Whose>)> {
    let head = store.claim_head(worker(), LONG).await.unwrap()?;
    let (sha, gone) = (head.head_sha.clone(), head.gone.clone());
    store.settle_head(head, Rest::default()).await.unwrap();
    Some((sha, gone))
}

pub(crate) async fn who_leaves_a_commit_has_it_judged_anew(place: &Place) {
    let store = place.open().await;
    let of = |number: u64| PullFacts { number, ..pull('a') };
    for number in [12, 13] {
        store.observe_pull(&repository(), &of(number), false).await.unwrap();
        let run = NewRun { pull: Some(number), ..new_run('a', "1") };
        create(&store, run).await;
    }
    assert_eq!(told(&store).await, Some((sha('a'), vec![])));
    // Seen the same again, nothing is to be told.
    store.observe_pull(&repository(), &of(12), false).await.unwrap();
    assert_eq!(told(&store).await, None);
    let closed = PullFacts { open: false, ..of(13) };
    store.observe_pull(&repository(), &closed, false).await.unwrap();
    assert_eq!(told(&store).await, Some((sha('a'), vec![Whose::Pull(13)])));
    tokio::time::sleep(Duration::from_millis(5)).await;
    let pushed = PullFacts { head_sha: sha('b'), ..of(12) };
    store.observe_pull(&repository(), &pushed, false).await.unwrap();
    let gone = vec![Whose::Pull(13), Whose::Pull(12)];
    assert_eq!(told(&store).await, Some((sha('a'), gone)));
    store.observe_pull(&repository(), &of(12), false).await.unwrap();
    assert_eq!(told(&store).await, None, "its own run tells of what it came back to");

    let group = "gh-readonly-queue/main/pr-1-a";
    store.end_group(&repository(), (&sha('a'), group)).await.unwrap();
    let gone = vec![Whose::Pull(13), Whose::Group(group.to_owned())];
    assert_eq!(told(&store).await, Some((sha('a'), gone)));
    store.end_group(&repository(), (&sha('a'), group)).await.unwrap();
    assert_eq!(told(&store).await, None, "told before");
    // It is asked for late, or once more: nothing waits for it.
    let late = NewRun {
        pull: None,
        head_ref: group.to_owned(),
        trigger: Trigger::MergeGroup,
        ..new_run('a', "merge-group")
    };
    assert_eq!(store.create_run(late.clone()).await.unwrap(), Created::Outdated);
    // Nor is it run again, whoever asks: a button that was pressed before it went, say.
    for trigger in [Trigger::Button, Trigger::Manual] {
        let again = NewRun { trigger, cause: "again".to_owned(), ..late.clone() };
        assert_eq!(store.create_run(again).await.unwrap(), Created::Outdated);
    }
    let other = NewRun { head_sha: sha('c'), ..late };
    assert!(matches!(store.create_run(other).await.unwrap(), Created::Fresh(_)));
}

pub(crate) async fn refusals_count_from_the_first_and_end_with_access(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let claim = async || store.claim_head(worker(), LONG).await.unwrap();
    let head: ClaimedHead = claim().await.unwrap();
    assert_eq!(head.refused_since, None);
    store.refuse_head(head, Duration::ZERO, "no").await.unwrap();
    let head = claim().await.unwrap();
    let since = head.refused_since.expect("it was refused");
    store.retry_head(head, Duration::ZERO, "away").await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    store.refuse_head(claim().await.unwrap(), Duration::ZERO, "no").await.unwrap();
    let head = claim().await.unwrap();
    assert_eq!(head.refused_since, Some(since));
    store.give_up_head(head, Rest::default(), "no").await.unwrap();
    assert!(claim().await.is_none(), "given up");
    store.publish_again(repository().installation).await.unwrap();
    let head = claim().await.expect("access is back");
    assert_eq!(head.refused_since, None);
    // What has only more to tell is due as well.
    let rest = Rest { change: Duration::ZERO, again: Some(LONG) };
    store.settle_head(head, rest).await.unwrap();
    assert!(claim().await.is_none());
    store.publish_again(repository().installation).await.unwrap();
    assert!(claim().await.is_some());
}

/// GitHub tells nobody what becomes of it while the App is suspended.
pub(crate) async fn a_merge_group_of_which_nothing_is_heard_counts_as_gone(place: &Place) {
    let store = place.open().await;
    let group = "gh-readonly-queue/main/pr-1-a";
    let of_group = |head: char, cause: &str| NewRun {
        pull: None,
        head_ref: group.to_owned(),
        trigger: Trigger::MergeGroup,
        ..new_run(head, cause)
    };
    let first = create(&store, of_group('a', "merge-group")).await;
    let push = NewRun { pull: None, trigger: Trigger::Push, ..new_run('c', "push") };
    let push = create(&store, push).await;
    store.cancel_run(push, None, "enough").await.unwrap();
    wait_out().await;
    assert_eq!(store.end_groups_unheard(SHORT).await.unwrap(), 0, "it has not ended");
    store.cancel_run(first, None, "enough").await.unwrap();
    // Somebody has it run again, and again it ends.
    let again = NewRun { trigger: Trigger::Button, ..of_group('a', "again") };
    let again = create(&store, again).await;
    wait_out().await;
    assert_eq!(store.end_groups_unheard(SHORT).await.unwrap(), 0, "its newest run has not");
    store.cancel_run(again, None, "enough").await.unwrap();
    assert_eq!(store.end_groups_unheard(LONG).await.unwrap(), 0, "a moment ago");
    while told(&store).await.is_some() {}
    wait_out().await;
    assert_eq!(store.end_groups_unheard(SHORT).await.unwrap(), 1, "no push is one");
    assert_eq!(store.end_groups_unheard(SHORT).await.unwrap(), 0, "once");
    let gone = vec![Whose::Group(group.to_owned())];
    assert_eq!(told(&store).await, Some((sha('a'), gone)), "it is judged anew");

    // It stays so for as long as there is a run of it.
    wait_out().await;
    store.forget(SHORT).await.unwrap();
    assert_eq!(store.gone_groups(7, &sha('a')).await.unwrap(), [group]);
    for run in [first, again] {
        store.forget_run(run).await.unwrap();
    }
    store.forget(SHORT).await.unwrap();
    assert_eq!(store.gone_groups(7, &sha('a')).await.unwrap(), Vec::<String>::new());

    // Nor is anything heard of a repository that is lost.
    create(&store, of_group('d', "merge-group")).await;
    store.end_groups(7).await.unwrap();
    assert_eq!(store.gone_groups(7, &sha('d')).await.unwrap(), [group]);
    assert_eq!(store.gone_groups(7, &sha('c')).await.unwrap(), Vec::<String>::new());
}

pub(crate) async fn what_is_refused_for_good_is_not_compared_sooner(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    publish(&store).await;
    all_are_due(place).await;
    let comparison = store.claim_comparison(worker(), LONG).await.unwrap().expect("due");
    let much_later = Duration::from_hours(9);
    let behind = Compared { next: Some(much_later), etag: None, again: true };
    store.settle_comparison(comparison.head, behind).await.unwrap();
    let head = store.claim_head(worker(), LONG).await.unwrap().expect("told again");
    store.give_up_head(head, Rest::default(), "no").await.unwrap();
    let due = compare_at(place).await - checkvalve::ambient::now().as_millis();
    assert!(due > 8 * 3_600_000, "in {due} ms");
}

async fn compare_at(place: &Place) -> i64 {
    const SQL: &str = "select compare_at from heads";
    if place.url.starts_with("sqlite") {
        let mut database = sqlx::SqliteConnection::connect(&place.url).await.unwrap();
        sqlx::query_scalar(SQL).fetch_one(&mut database).await.unwrap()
    } else {
        let mut database = sqlx::PgConnection::connect(&place.url).await.unwrap();
        sqlx::query_scalar(SQL).fetch_one(&mut database).await.unwrap()
    }
}
