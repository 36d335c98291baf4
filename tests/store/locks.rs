//! Locks between jobs: one at a time, in the order of their making, and never lost.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use checkvalve::domain::run::Repository;
use checkvalve::domain::state::{Conclusion, Outcome, RunState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::store::{MOST_CLAIMS, NewJob, NewRun, PlannedRun, Store};

use crate::fixture::{
    LONG, Place, SHORT, claim, create_with, locked, new_job, new_run, planned, read, repository,
    settle, sha, wait_out, worker,
};

async fn none_due(store: &Store) -> bool {
    store.claim_job(worker(), LONG).await.unwrap().is_none()
}

pub(crate) async fn jobs_with_one_lock_never_run_at_once(place: &Place) {
    let held = [AtomicBool::new(false), AtomicBool::new(false)];
    let store = place.open().await;
    let names: Vec<String> = (0..6).map(|i| format!("source-{i}")).collect();
    let with = ["x", "y", "x", "", "x", "y"];
    for head in "abcde".chars() {
        let jobs: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(with).collect();
        let run = NewRun { pull: Some(u64::from(u32::from(head))), ..new_run(head, "1") };
        create_with(&store, run, locked(&jobs)).await;
    }
    let done: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let work = async || {
        let me = worker();
        // Nothing due may mean that all is held: the others go on then.
        for _ in 0..400 {
            let Some((lease, _, job)) = store.claim_job(me, LONG).await.unwrap() else {
                if done.lock().unwrap().values().sum::<usize>() == 30 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let mine = match job.plan.lock() {
                Some("x") => Some(&held[0]),
                Some(_) => Some(&held[1]),
                None => None,
            };
            let was = mine.map(|held| held.swap(true, Ordering::SeqCst));
            assert_ne!(was, Some(true), "{:?} is held twice", job.plan.lock());
            tokio::time::sleep(Duration::from_millis(3)).await;
            mine.map(|held| held.swap(false, Ordering::SeqCst));
            settle(&store, lease, &job, Outcome::Succeeded).await;
            let lock = job.plan.lock().unwrap_or_default().to_owned();
            *done.lock().unwrap().entry(lock).or_default() += 1;
        }
    };
    tokio::join!(work(), work(), work(), work(), work(), work());
    let done = done.into_inner().unwrap();
    assert_eq!((done["x"], done["y"], done[""]), (15, 10, 5));
}

pub(crate) async fn a_lock_goes_to_who_waits_longest(place: &Place) {
    let store = place.open().await;
    create_with(&store, new_run('a', "1"), locked(&[("source-b", "x"), ("source-a", "x")])).await;
    let other = NewRun { pull: Some(13), ..new_run('b', "1") };
    create_with(&store, other, locked(&[("source-c", "x"), ("source-d", "")])).await;
    let mut order = Vec::new();
    let (mut lease, mut job) = claim(&store).await;
    let (free, without) = claim(&store).await;
    assert_eq!(without.connector.as_str(), "source-d", "it needs no lock");
    settle(&store, free, &without, Outcome::Succeeded).await;
    loop {
        assert!(none_due(&store).await);
        order.push(job.connector.to_string());
        settle(&store, lease, &job, Outcome::Failed).await;
        match store.claim_job(worker(), LONG).await.unwrap() {
            Some((next, _, of)) => (lease, job) = (next, of),
            None => break,
        }
    }
    assert_eq!(order, ["source-b", "source-a", "source-c"]);
}

pub(crate) async fn who_waits_is_as_urgent_as_whoever_waits_behind(place: &Place) {
    let store = place.open().await;
    let of = |pull, head, trigger| NewRun { pull: Some(pull), trigger, ..new_run(head, "1") };
    let schedule = of(1, 'a', Trigger::Schedule);
    create_with(&store, schedule, locked(&[("nightly", "x")])).await;
    create_with(&store, of(2, 'b', Trigger::PullRequest), locked(&[("plain", "")])).await;
    create_with(&store, of(3, 'c', Trigger::Comment), locked(&[("asked", "x")])).await;
    let mut order = Vec::new();
    while let Some((lease, _, job)) = store.claim_job(worker(), LONG).await.unwrap() {
        order.push(job.connector.to_string());
        settle(&store, lease, &job, Outcome::Succeeded).await;
    }
    // Whoever came first has the lock first, and does not wait for what is less urgent than the
    // one behind it.
    assert_eq!(order, ["nightly", "asked", "plain"]);
}

pub(crate) async fn who_waits_learns_who_has_the_lock(place: &Place) {
    let store = place.open().await;
    let first = create_with(&store, new_run('a', "1"), locked(&[("source-a", "live-x")])).await;
    let other = NewRun { pull: Some(13), ..new_run('b', "1") };
    let second = create_with(&store, other, locked(&[("source-b", "live-x")])).await;
    let reasons = async |run| -> Vec<Option<String>> {
        let run = read(&store, run).await;
        run.jobs[0].steps.iter().map(|step| step.facts.reason.clone()).collect()
    };
    assert_eq!(reasons(second).await, [None, None], "nobody has it yet");
    let (lease, job) = claim(&store).await;
    let why = format!("waits for the lock `live-x`, which `source-a` of #12 ({first}) has");
    assert_eq!(reasons(second).await, [Some(why.clone()), Some(why)]);
    assert_eq!(reasons(first).await, [None, None]);
    settle(&store, lease, &job, Outcome::Succeeded).await;
    assert_eq!(reasons(second).await, [None, None]);
    let (_, job) = claim(&store).await;
    assert!(job.steps.iter().all(|step| step.facts.reason.is_none()));
}

pub(crate) async fn a_lock_is_free_when_its_holder_ends_or_gives_back(place: &Place) {
    let store = place.open().await;
    let run = create_with(
        &store,
        new_run('a', "1"),
        locked(&[("source-a", "x"), ("source-b", "x"), ("source-c", "x")]),
    )
    .await;
    let (lease, job) = claim(&store).await;
    assert!(none_due(&store).await);
    store.release_job(lease).await.unwrap();
    let (lease, again) = claim(&store).await;
    assert_eq!(again.id, job.id, "it still waits longest");
    let mut nudge = store.nudge(checkvalve::store::Topic::Jobs);
    settle(&store, lease, &again, Outcome::Succeeded).await;
    tokio::time::timeout(Duration::from_secs(5), nudge.changed()).await.unwrap();
    // Who is cancelled while it waits stands in nobody's way.
    let name = [again.connector.clone(), "source-b".parse().unwrap()];
    store.cancel_run(run, Some(&name), "not this").await.unwrap();
    let (lease, last) = claim(&store).await;
    assert_eq!(last.connector.as_str(), "source-c");
    settle(&store, lease, &last, Outcome::Succeeded).await;
    assert_eq!(read(&store, run).await.state, RunState::Concluded);
}

pub(crate) async fn a_dead_holders_lock_goes_with_its_job(place: &Place) {
    let store = place.open().await;
    let jobs = [("source-a", "x"), ("source-b", "x")];
    create_with(&store, new_run('a', "1"), locked(&jobs)).await;
    let mut held = Vec::new();
    for _ in 0..MOST_CLAIMS {
        let (_, _, job) = store.claim_job(worker(), SHORT).await.unwrap().expect("claimable");
        held.push(job.connector.to_string());
        wait_out().await;
    }
    assert_eq!(held, ["source-a"; MOST_CLAIMS as usize], "taken over, with its lock");
    assert_eq!(store.settle_abandoned().await.unwrap(), 1);
    let (lease, job) = claim(&store).await;
    assert_eq!(job.connector.as_str(), "source-b");
    settle(&store, lease, &job, Outcome::Succeeded).await;
}

pub(crate) async fn locks_are_a_repositorys_own(place: &Place) {
    let store = place.open().await;
    create_with(&store, new_run('a', "1"), locked(&[("source-a", "x")])).await;
    let name = "acme/others".parse().unwrap();
    let other =
        NewRun { repository: Repository { id: 8, name, ..repository() }, ..new_run('b', "1") };
    create_with(&store, other, locked(&[("source-a", "x")])).await;
    let (_one, _) = claim(&store).await;
    let (_other, _) = claim(&store).await;
}

pub(crate) async fn a_new_head_leaves_alone_what_outlives_it(place: &Place) {
    let store = place.open().await;
    let staying = |name: &str| {
        let job = new_job(name);
        NewJob { plan: job.plan.with_outlives_head(true), ..job }
    };
    let jobs = vec![staying("source-a"), new_job("source-b"), staying("source-c")];
    let plan = PlannedRun { jobs, ..planned(&[]) };
    let old = create_with(&store, new_run('a', "1"), plan).await;
    let (lease, job) = claim(&store).await;
    assert_eq!(job.connector.as_str(), "source-a");
    create_with(&store, new_run('b', "2"), planned(&[])).await;

    let run = read(&store, old).await;
    assert_eq!((run.cancel, run.superseded_by, run.state), (None, None, RunState::Running));
    assert_eq!(run.jobs[1].conclusion, Some(Conclusion::Cancelled));
    let why = format!("superseded by {}", sha('b'));
    assert_eq!(run.jobs[1].cancel.as_deref(), Some(why.as_str()));
    assert_eq!(store.heartbeat(&lease).await.unwrap().cancel, None);
    settle(&store, lease, &job, Outcome::Succeeded).await;
    let (lease, job) = claim(&store).await;
    assert_eq!(job.connector.as_str(), "source-c", "it waited, and runs all the same");
    settle(&store, lease, &job, Outcome::Succeeded).await;
    let run = read(&store, old).await;
    assert_eq!((run.state, run.conclusion), (RunState::Concluded, Some(Conclusion::Cancelled)));

    // Whoever closes the pull request, or says `/cancel`, ends it.
    let plan = PlannedRun { jobs: vec![staying("source-a")], ..planned(&[]) };
    let last = create_with(&store, new_run('c', "3"), plan).await;
    assert_eq!(store.cancel_run(last, None, "closed").await.unwrap(), 1);
    assert_eq!(read(&store, last).await.conclusion, Some(Conclusion::Cancelled));
}
