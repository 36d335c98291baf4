//! What people ask for: done once, written down, and held when it comes early.

use std::sync::atomic::{AtomicU32, Ordering};

use checkvalve::domain::audit::{Decision, Ruling};
use checkvalve::domain::state::{Conclusion, Outcome, RunState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::store::{CancelOrder, CommentAnswer, Created, Done, Hold, NewRun, Orders, Owed};

use crate::fixture::{
    LONG, Place, SHORT, act, connector, create, create_planned, new_run, planned, read, repository,
    sha, wait_out, worker,
};

const ASKED: &str = "/test; /cancel source-b";

fn comment(head: char, cause: &str) -> NewRun {
    NewRun { trigger: Trigger::Comment, ..new_run(head, cause) }
}

pub(crate) async fn an_act_is_carried_out_once_and_written_down(place: &Place) {
    let store = place.open().await;
    let old = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    let orders = || Orders {
        approval: None,
        cancels: vec![CancelOrder {
            run: old,
            connectors: Some(vec![connector("SOURCE-B"), connector("source-z")]),
            why: "cancelled by ada".to_owned(),
        }],
        run: Some(comment('a', "comment-5")),
        about: None,
    };
    let judged = AtomicU32::new(0);
    let judge = |done: &Done| {
        judged.fetch_add(1, Ordering::Relaxed);
        assert_eq!(done.stopped[0].1.jobs, [connector("source-b")], "what was really asked to end");
        assert!(matches!(done.made, Some(Created::Fresh(_))), "{done:?}");
        Ruling::of(&["ends".to_owned()], &["no".to_owned()])
    };
    let first = store.obey(&act("comment-5", ASKED), &orders(), &judge).await.unwrap();
    assert_eq!((first.ruling.decision, first.runs.len()), (Decision::Partly, 2));
    assert_eq!(first.ruling.because, "ends\nno");
    let again = store.obey(&act("comment-5", ASKED), &orders(), &judge).await.unwrap();
    assert_eq!((again, judged.load(Ordering::Relaxed)), (first.clone(), 1));
    let jobs = read(&store, old).await.jobs;
    assert_eq!((jobs[0].state, jobs[1].state), (RunState::Queued, RunState::Concluded));
    assert_eq!(store.runs_of_head(7, &sha('a')).await.unwrap().len(), 2);

    // Found by everything that it is about.
    assert_eq!(store.audited(7, "comment-5").await.unwrap().as_ref(), Some(&first));
    assert_eq!(store.audited(8, "comment-5").await.unwrap(), None);
    assert_eq!(store.audit_of_run(7, old).await.unwrap(), std::slice::from_ref(&first));
    assert_eq!(store.audit_of_pull(7, 12).await.unwrap(), [first]);
    assert!(store.audit_of_pull(7, 13).await.unwrap().is_empty());

    let later = Ruling::refused("nothing is called so");
    assert!(store.amend_audit(7, ("comment-5", None), &later).await.unwrap());
    assert_eq!(store.audited(7, "comment-5").await.unwrap().unwrap().ruling, later);
}

pub(crate) async fn what_turns_out_otherwise_is_owed_until_it_is_said(place: &Place) {
    let store = place.open().await;
    let accepted = Ruling::of(&["Runs.".to_owned()], &[]);
    let judge = |_: &Done| accepted.clone();
    store.obey(&act("comment-5", "/test"), &Orders::default(), &judge).await.unwrap();
    let hold = async || match store.hold_comment(7, 5).await.unwrap() {
        Hold::Ours(lease, answer) => (lease, answer),
        theirs @ Hold::Theirs(_) => panic!("{theirs:?}"),
    };
    let owed = async || store.owed_answers(LONG).await.unwrap();
    let amend = async |why: &str| {
        let about = ("comment-5", Some(5));
        store.amend_audit(7, about, &Ruling::refused(why)).await.unwrap()
    };
    let (lease, answer) = hold().await;
    assert!(amend("one").await);
    assert!(!amend("one").await, "it is on record");
    assert_eq!(owed().await, [], "somebody has it in hand");
    // What was in hand before is not the answer to what turned out since.
    let settled = CommentAnswer { settled: true, ..answer };
    store.answer_comment(lease, &settled).await.unwrap();
    assert_eq!(owed().await, [Owed { repository: repository(), comment: 5, tries: 0 }]);
    let (lease, _) = hold().await;
    store.put_off_answer(lease, LONG).await.unwrap();
    assert_eq!(owed().await, [], "not so soon");
    let (lease, _) = hold().await;
    store.put_off_answer(lease, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(owed().await, [Owed { repository: repository(), comment: 5, tries: 2 }]);
    let (lease, answer) = hold().await;
    assert_eq!((answer.amended, answer.settled), (1, true));
    assert!(amend("two").await);
    store.answer_comment(lease, &answer).await.unwrap();
    let (lease, answer) = hold().await;
    assert_eq!(answer.amended, 2);
    store.answer_comment(lease, &answer).await.unwrap();
    assert_eq!(owed().await, []);
    assert_eq!(hold().await.1.amended, 0);
}

pub(crate) async fn of_many_that_carry_out_one_act_one_does(place: &Place) {
    let store = place.open().await;
    let old = create_planned(&store, 'a', &["source-a"]).await;
    let mut racers = Vec::new();
    for _ in 0..8 {
        let store = store.clone();
        racers.push(tokio::spawn(async move {
            let order = CancelOrder { run: old, connectors: None, why: "ada".to_owned() };
            let run = Some(comment('a', "comment-5"));
            let orders = Orders { cancels: vec![order], run, ..Orders::default() };
            let judge = |done: &Done| Ruling::of(&[format!("{}", done.stopped[0].1.count())], &[]);
            store.obey(&act("comment-5", ASKED), &orders, &judge).await.unwrap()
        }));
    }
    for racer in racers {
        let record = racer.await.unwrap();
        assert_eq!(record.ruling.because, "1", "each hears of what the one did");
    }
    assert_eq!(store.runs_of_head(7, &sha('a')).await.unwrap().len(), 2);
    assert_eq!(read(&store, old).await.conclusion, Some(Conclusion::Cancelled));
}

pub(crate) async fn a_cancel_that_comes_before_the_plan_holds(place: &Place) {
    let store = place.open().await;
    let run = create(&store, new_run('a', "1")).await;
    let lease = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    let named = [connector("Source-B"), connector("source-z")];
    assert_eq!(store.cancel_run(run, Some(&named), "cancelled by ada").await.unwrap(), 0);
    assert_eq!(read(&store, run).await.state, RunState::Queued, "the run itself goes on");
    store.settle_planning(lease, planned(&["source-a", "source-b"])).await.unwrap();
    let planned_run = read(&store, run).await;
    let [a, b] = planned_run.jobs.as_slice() else { panic!("{:?}", planned_run.jobs) };
    assert_eq!((a.state, a.cancel.as_deref()), (RunState::Queued, None));
    assert_eq!(
        (b.conclusion, b.cancel.as_deref()),
        (Some(Conclusion::Cancelled), Some("cancelled by ada"))
    );
    for step in &b.steps {
        assert_eq!(step.state.outcome(), Some(Outcome::Cancelled));
        assert_eq!(step.facts.reason.as_deref(), Some("cancelled by ada"));
    }
    // All that a run has may be named before it is known.
    let other = create(&store, new_run('a', "2")).await;
    let lease = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    store.cancel_run(other, Some(&[connector("source-a")]), "not this").await.unwrap();
    store.settle_planning(lease, planned(&["source-a"])).await.unwrap();
    assert_eq!(read(&store, other).await.conclusion, Some(Conclusion::Cancelled));
}

pub(crate) async fn what_was_asked_for_is_forgotten_when_it_is_old(place: &Place) {
    let store = place.open().await;
    let refuse = |_: &Done| Ruling::refused("may not");
    store.obey(&act("comment-1", ASKED), &Orders::default(), &refuse).await.unwrap();
    store.forget(LONG).await.unwrap();
    assert!(store.audited(7, "comment-1").await.unwrap().is_some());
    wait_out().await;
    store.obey(&act("comment-2", ASKED), &Orders::default(), &refuse).await.unwrap();
    store.forget(SHORT).await.unwrap();
    assert!(store.audited(7, "comment-1").await.unwrap().is_none());
    assert!(store.audited(7, "comment-2").await.unwrap().is_some());
}
