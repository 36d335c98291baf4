//! Approvals: of one commit, until the pull request is seen with another.

use checkvalve::domain::audit::{Decision, Route, Ruling};
use checkvalve::domain::event::{Actor, PullFacts};
use checkvalve::domain::run::{Problem, ProblemKind, Run};
use checkvalve::domain::state::{Conclusion, RunState};
use checkvalve::domain::trust::Trust;
use checkvalve::store::{ApprovalOrder, Created, NewRun, Orders, Store};

use crate::fixture::{
    LONG, Place, act, create, new_run, planned, pull, read, repository, sha, worker,
};

fn facts(head: char, base: &str) -> PullFacts {
    let author = Actor { login: "mallory".to_owned(), bot: false };
    PullFacts { author, base_ref: base.to_owned(), ..pull(head) }
}

/// Orders it, with a run; did anything come of it?
async fn order(store: &Store, cause: &str, approval: ApprovalOrder) -> bool {
    let run = NewRun { trust: Trust::Approved, ..new_run('a', cause) };
    let orders = Orders { approval: Some(approval), run: Some(run), ..Orders::default() };
    let judge = |done: &checkvalve::store::Done| {
        let decision =
            if done.approved == Some(true) { Decision::Accepted } else { Decision::Refused };
        Ruling { decision, because: String::new() }
    };
    let record = store.obey(&act(cause, "/ok-to-test"), &orders, &judge).await.unwrap();
    assert_eq!(record.runs.is_empty(), record.ruling.decision == Decision::Refused);
    record.ruling.decision == Decision::Accepted
}

fn give(base: &str) -> ApprovalOrder {
    ApprovalOrder::Give { head: sha('a'), base_ref: base.to_owned(), known: Some(1) }
}

async fn by(store: &Store, head: char, base: &str) -> Option<String> {
    let found = store.approval(repository().id, &facts(head, base)).await.unwrap();
    found.map(|approval| approval.actor)
}

pub(crate) async fn an_approval_is_of_one_commit_and_void_for_good_once_another_was_seen(
    place: &Place,
) {
    let store = place.open().await;
    store.observe_pull(&repository(), &facts('a', "main"), false).await.unwrap();
    assert_eq!(by(&store, 'a', "main").await, None);
    assert!(order(&store, "1", give("main")).await);
    assert!(!order(&store, "2", give("main")).await, "it holds already: no second run");
    assert_eq!(by(&store, 'a', "main").await.as_deref(), Some("ada"));
    assert_eq!(by(&store, 'b', "main").await, None);
    assert_eq!(by(&store, 'a', "next").await, None, "it was not looked at against that");
    // Seen again as it was: nothing changes.
    store.observe_pull(&repository(), &facts('a', "main"), false).await.unwrap();
    assert!(by(&store, 'a', "main").await.is_some());
    store.observe_pull(&repository(), &facts('b', "main"), false).await.unwrap();
    assert!(!order(&store, "late", give("main")).await, "judged before another one was seen");
    store.observe_pull(&repository(), &facts('a', "main"), false).await.unwrap();
    assert_eq!(by(&store, 'a', "main").await, None, "it does not come back with the commit");
    assert!(order(&store, "3", give("main")).await);
    store.observe_pull(&repository(), &facts('a', "next"), false).await.unwrap();
    assert_eq!(by(&store, 'a', "main").await, None, "pointed at another base");
}

pub(crate) async fn by_whose_approval_a_run_runs_is_known_also_when_it_is_void(place: &Place) {
    let store = place.open().await;
    store.observe_pull(&repository(), &facts('a', "main"), false).await.unwrap();
    assert!(order(&store, "1", give("main")).await);
    let run = store.runs_of_head(repository().id, &sha('a')).await.unwrap().remove(0);
    let approval = async |run: &Run| store.approval_of_run(run).await.unwrap();
    let known = approval(&run).await.unwrap();
    assert_eq!((known.actor.as_str(), known.route), ("ada", Route::Comment));
    assert_eq!((known.head_sha, known.base_ref.as_str()), (sha('a'), "main"));
    assert_eq!(known.void, None);
    for trust in [Trust::Trusted, Trust::Untrusted] {
        assert_eq!(approval(&Run { trust, ..run.clone() }).await, None, "it runs by none");
    }
    assert_eq!(approval(&Run { base_ref: "next".to_owned(), ..run.clone() }).await, None);
    store.observe_pull(&repository(), &facts('b', "main"), false).await.unwrap();
    let (_, why) = approval(&run).await.unwrap().void.unwrap();
    assert!(why.starts_with("the head was bbbb"), "{why}");
}

pub(crate) async fn who_pushed_a_head_is_known_from_its_event_alone(place: &Place) {
    let store = place.open().await;
    let (repository, told) = (repository(), facts('a', "main"));
    let pusher = async || store.pusher(repository.id, 12, &sha('a')).await.unwrap();
    store.observe_pull(&repository, &told, false).await.unwrap();
    create(&store, NewRun { actor: "ada".to_owned(), ..new_run('a', "1") }).await;
    assert_eq!(pusher().await, None, "not by its runs");
    store.bring(repository.id, &told, None).await.unwrap();
    assert_eq!(pusher().await, None);
    for who in [Some("mallory"), Some("ada"), None] {
        store.bring(repository.id, &told, who).await.unwrap();
        assert_eq!(pusher().await.as_deref(), Some("mallory"), "who pushed it first");
    }
    assert_eq!(store.pusher(repository.id, 12, &sha('b')).await.unwrap(), None);
    assert!(store.is_as_first_seen(repository.id, &told).await.unwrap());
    assert!(!store.is_as_first_seen(repository.id, &facts('a', "next")).await.unwrap());
    store.bring(repository.id, &facts('b', "main"), None).await.unwrap();
    assert!(!store.is_as_first_seen(repository.id, &told).await.unwrap(), "there was another");
}

pub(crate) async fn an_approval_can_be_taken_back_once(place: &Place) {
    let store = place.open().await;
    store.observe_pull(&repository(), &facts('a', "main"), false).await.unwrap();
    let take_back = || ApprovalOrder::Withdraw { head: sha('a') };
    assert!(!order(&store, "1", take_back()).await);
    assert!(order(&store, "2", give("main")).await);
    assert!(order(&store, "3", take_back()).await);
    assert_eq!(by(&store, 'a', "main").await, None);
    assert!(!order(&store, "4", take_back()).await);
    assert!(order(&store, "5", give("main")).await);
}

pub(crate) async fn a_strangers_run_is_planned_and_ends_by_asking_for_an_approval(place: &Place) {
    let store = place.open().await;
    store.observe_pull(&repository(), &facts('a', "main"), false).await.unwrap();
    let problem = Problem {
        kind: ProblemKind::NotTrusted,
        title: "Approval needed".to_owned(),
        text: "x".to_owned(),
        place: None,
    };
    let problem = Some((Conclusion::ActionRequired, problem));
    let run = NewRun { trust: Trust::Untrusted, problem, ..new_run('a', "generation-1") };
    let Created::Fresh(id) = store.create_run(run).await.unwrap() else { panic!() };
    let made = read(&store, id).await;
    assert_eq!((made.state, made.trust), (RunState::Queued, Trust::Untrusted));
    assert_eq!(made.conclusion, None);
    let lease = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    store.settle_planning(lease, planned(&[])).await.unwrap();
    let ended = read(&store, id).await;
    assert_eq!(ended.state, RunState::Concluded);
    assert_eq!(ended.conclusion, Some(Conclusion::ActionRequired));
    assert_eq!(ended.problem.unwrap().kind, ProblemKind::NotTrusted);
}
