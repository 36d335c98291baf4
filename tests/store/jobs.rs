//! Jobs under leases: nobody works twice, nobody late is heard, everything settles.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use checkvalve::domain::patience::{Pause, Waited};
use checkvalve::domain::run::{LogRef, StepFacts, Tries};
use checkvalve::domain::state::{Conclusion, Outcome, RunState, StepState};
use checkvalve::store::{LogTail, MOST_CLAIMS, NewRun, StoreError};

use crate::fixture::{
    LONG, Place, SHORT, claim, connector, create_planned, create_with, finished, new_run, planned,
    read, running, settle, step, wait_out, with, worker,
};

pub(crate) async fn no_job_is_claimed_twice(place: &Place) {
    let store = place.open().await;
    let names: Vec<String> = (0..40).map(|i| format!("source-{i:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let run = create_planned(&store, 'a', &names).await;
    let mut workers = Vec::new();
    for _ in 0..8 {
        let store = store.clone();
        workers.push(tokio::spawn(async move {
            let me = worker();
            let mut mine = Vec::new();
            while let Some((lease, _, job)) = store.claim_job(me, LONG).await.unwrap() {
                mine.push(job.id);
                settle(&store, lease, &job, Outcome::Succeeded).await;
            }
            mine
        }));
    }
    let mut claims: BTreeMap<_, usize> = BTreeMap::new();
    for worker in workers {
        for job in worker.await.unwrap() {
            *claims.entry(job).or_default() += 1;
        }
    }
    assert_eq!(claims.len(), 40);
    assert!(claims.values().all(|count| *count == 1), "{claims:?}");
    assert_eq!(read(&store, run).await.conclusion, Some(Conclusion::Success));
}

/// A change of everything takes no worker from a small one for longer than until one is free.
pub(crate) async fn claims_are_fair_between_runs(place: &Place) {
    let store = place.open().await;
    let names: Vec<String> = (0..10).map(|i| format!("source-{i:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = create_planned(&store, 'a', &names).await;
    let run_of = async || {
        let (lease, run, job) = store.claim_job(worker(), LONG).await.unwrap().unwrap();
        (run.id, lease, job)
    };
    let (of, first, job) = run_of().await;
    assert_eq!(of, all);
    assert_eq!(run_of().await.0, all, "nobody else wants a worker");
    let two = NewRun { pull: Some(13), ..new_run('b', "1") };
    let two = create_with(&store, two, planned(&["source-x", "source-y", "source-z"])).await;
    settle(&store, first, &job, Outcome::Succeeded).await;
    let mut turns = Vec::new();
    for _ in 0..5 {
        turns.push(run_of().await.0);
    }
    assert_eq!(turns, [two, all, two, all, two], "whoever holds fewer, then who came first");
    assert_eq!(run_of().await.0, all, "nobody else is left");
}

pub(crate) async fn the_last_job_concludes_the_run(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    let (first, job) = claim(&store).await;
    let run = read(&store, id).await;
    assert_eq!(run.state, RunState::Running);
    assert!(run.started_at.is_some());
    let log = LogRef { key: "k".to_owned(), bytes: 5, lines: 1, cut: 0 };
    let mut failed = with(&job, "unit", finished(Outcome::Failed));
    failed.facts = StepFacts {
        reason: Some("exit status 1".to_owned()),
        exit_code: Some(1),
        log: Some(log),
        excerpt: "boom".into(),
        ..StepFacts::default()
    };
    let steps = [with(&job, "install", finished(Outcome::Succeeded)), failed.clone()];
    store.settle_job(first, &steps, Conclusion::Failure).await.unwrap();
    let run = read(&store, id).await;
    assert_eq!((run.state, run.conclusion), (RunState::Running, None));
    assert_eq!(run.jobs[0].steps, steps, "as recorded");

    let (second, job) = claim(&store).await;
    settle(&store, second, &job, Outcome::Succeeded).await;
    let run = read(&store, id).await;
    assert_eq!((run.state, run.conclusion), (RunState::Concluded, Some(Conclusion::Failure)));
    assert!(run.concluded_at >= run.jobs[0].concluded_at);
    assert!(store.claim_job(worker(), LONG).await.unwrap().is_none());
}

pub(crate) async fn a_late_writer_is_refused_after_takeover(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &["source-a"]).await;
    let (late, _, job) = store.claim_job(worker(), SHORT).await.unwrap().unwrap();
    assert!(store.claim_job(worker(), LONG).await.unwrap().is_none(), "its lease still runs");
    wait_out().await;
    let (current, _, _) = store.claim_job(worker(), LONG).await.unwrap().unwrap();
    assert!(current.epoch > late.epoch);

    let steps = [with(&job, "install", finished(Outcome::Succeeded))];
    let tail = LogTail { start: 0, bytes: Bytes::new(), attempt: 1, ended: false };
    let refused = [
        store.heartbeat(&late).await.map(drop),
        store.record(&late, &steps).await,
        store.write_tail(&late, &step("install"), tail).await,
        store.settle_job(late, &steps, Conclusion::Success).await.map(drop),
    ];
    for answer in refused {
        assert!(matches!(answer, Err(StoreError::LeaseLost)), "{answer:?}");
    }
    let seen = read(&store, run).await;
    assert_eq!((seen.jobs[0].attempt, seen.jobs[0].state), (2, RunState::Running));
    assert!(seen.jobs[0].steps.iter().all(|record| record.state == StepState::Waiting));
    settle(&store, current, &job, Outcome::Succeeded).await;
}

pub(crate) async fn a_heartbeat_keeps_the_lease(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &["source-a"]).await;
    let term = Duration::from_secs(2);
    let (lease, _, _) = store.claim_job(worker(), term).await.unwrap().unwrap();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(store.heartbeat(&lease).await.unwrap().cancel, None);
    }
    assert!(store.claim_job(worker(), term).await.unwrap().is_none());
}

pub(crate) async fn a_takeover_starts_running_steps_again(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &["source-a"]).await;
    let (lease, _, job) = store.claim_job(worker(), SHORT).await.unwrap().unwrap();
    let tries = Tries { failed: 1, errored: 2 };
    let mut unit = with(&job, "unit", running());
    unit.facts = StepFacts { tries, ..StepFacts::default() };
    let steps = [with(&job, "install", finished(Outcome::Succeeded)), unit];
    store.record(&lease, &steps).await.unwrap();
    wait_out().await;
    let (_, job) = claim(&store).await;
    assert_eq!(job.steps[0], steps[0], "what is settled stays");
    assert_eq!((&job.steps[1].state, job.steps[1].attempt), (&StepState::Waiting, 2));
    assert_eq!(job.steps[1].facts.tries, tries, "what was used up stays used up");
}

pub(crate) async fn a_job_is_open_until_it_concludes(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &["source-a"]).await;
    let (_late, _, job) = store.claim_job(worker(), SHORT).await.unwrap().unwrap();
    let open = async || store.open_jobs(&[job.id]).await.unwrap().contains(&job.id);
    assert!(open().await);
    wait_out().await;
    assert!(open().await, "its worker died, and nobody has taken it over yet");
    let (lease, again) = claim(&store).await;
    assert!(open().await);
    settle(&store, lease, &again, Outcome::Succeeded).await;
    assert!(!open().await);
}

pub(crate) async fn a_cancelled_run_ends_what_nobody_holds(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    assert_eq!(store.cancel_run(id, None, "closed by ada").await.unwrap(), 2);
    let run = read(&store, id).await;
    assert_eq!((run.state, run.conclusion), (RunState::Concluded, Some(Conclusion::Cancelled)));
    assert_eq!(run.cancel.as_deref(), Some("closed by ada"));
    for record in run.jobs.iter().flat_map(|job| &job.steps) {
        assert_eq!(record.state.outcome(), Some(Outcome::Cancelled));
    }
    assert_eq!(store.cancel_run(id, None, "again").await.unwrap(), 0);
    assert!(store.claim_job(worker(), LONG).await.unwrap().is_none());
}

pub(crate) async fn a_holder_hears_that_it_should_stop(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    let (lease, job) = claim(&store).await;
    let mut nudge = store.nudge(checkvalve::store::Topic::Cancels);
    assert_eq!(store.cancel_run(id, None, "stop").await.unwrap(), 2);
    tokio::time::timeout(Duration::from_secs(5), nudge.changed()).await.unwrap();
    assert_eq!(store.heartbeat(&lease).await.unwrap().cancel.as_deref(), Some("stop"));
    let run = read(&store, id).await;
    assert_eq!((run.state, run.conclusion), (RunState::Running, None));
    store.settle_job(lease, &[], Conclusion::Cancelled).await.unwrap();
    let run = read(&store, id).await;
    assert_eq!(run.conclusion, Some(Conclusion::Cancelled));
    let settled = run.jobs.iter().find(|settled| settled.id == job.id).unwrap();
    assert_eq!(settled.steps[0].facts.reason.as_deref(), Some("stop"));
}

pub(crate) async fn named_connectors_are_cancelled_alone(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    let named = [connector("source-b"), connector("source-z")];
    assert_eq!(store.cancel_run(id, Some(&named), "not this").await.unwrap(), 1);
    let run = read(&store, id).await;
    assert_eq!((run.cancel, run.jobs[0].state), (None, RunState::Queued));
    assert_eq!(run.jobs[1].conclusion, Some(Conclusion::Cancelled));
    let (lease, job) = claim(&store).await;
    assert_eq!(job.connector, connector("source-a"));
    settle(&store, lease, &job, Outcome::Succeeded).await;
    assert_eq!(read(&store, id).await.conclusion, Some(Conclusion::Cancelled));
}

pub(crate) async fn a_released_job_is_queued_at_once(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &["source-a"]).await;
    // A worker that is restarted often does not use up the job's attempts.
    for _ in 0..2 * MOST_CLAIMS {
        let (lease, job) = claim(&store).await;
        store.record(&lease, &[with(&job, "install", running())]).await.unwrap();
        store.release_job(lease).await.unwrap();
    }
    let (lease, job) = claim(&store).await;
    assert_eq!((job.attempt, job.epoch), (1, i64::from(2 * MOST_CLAIMS) + 1));
    assert_eq!(job.steps[0].state, StepState::Waiting);
    settle(&store, lease, &job, Outcome::Succeeded).await;
}

pub(crate) async fn a_postponed_job_says_why_and_comes_back_when_it_is_due(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a"]).await;
    let mut waited = Waited::default();
    // What is waited for does not use up the job's attempts either.
    for _ in 0..2 * MOST_CLAIMS {
        let (lease, job) = claim(&store).await;
        assert_eq!((job.attempt, lease.waited), (1, waited));
        waited = Waited { tries: waited.tries + 1, refused: 1, rested: waited.rested + 14 };
        let pause = Pause { after: Duration::from_millis(400), awaits: "git".to_owned(), waited };
        store.put_off_job(lease, &pause).await.unwrap();
        assert!(store.claim_job(worker(), LONG).await.unwrap().is_none(), "not before");
        let job = read(&store, id).await.jobs.remove(0);
        assert_eq!((job.state, job.awaits.as_deref()), (RunState::Queued, Some("git")));
        tokio::time::sleep(Duration::from_millis(420)).await;
    }
    let (lease, job) = claim(&store).await;
    assert_eq!(job.awaits.as_deref(), Some("git"), "until it is known to go on");
    store.record(&lease, &[with(&job, "install", running())]).await.unwrap();
    assert_eq!(read(&store, id).await.jobs[0].awaits, None);
    settle(&store, lease, &job, Outcome::Succeeded).await;
    assert_eq!(read(&store, id).await.conclusion, Some(Conclusion::Success));
}

pub(crate) async fn a_postponed_job_that_was_cancelled_ends(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a"]).await;
    let (lease, _) = claim(&store).await;
    store.cancel_run(id, None, "closed").await.unwrap();
    let after = Duration::from_hours(1);
    let pause = Pause { after, awaits: "git".to_owned(), waited: Waited::default() };
    store.put_off_job(lease, &pause).await.unwrap();
    assert_eq!(read(&store, id).await.conclusion, Some(Conclusion::Cancelled));
}

pub(crate) async fn a_released_job_that_was_cancelled_ends(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a"]).await;
    let (lease, _) = claim(&store).await;
    store.cancel_run(id, None, "closed").await.unwrap();
    store.release_job(lease).await.unwrap();
    assert_eq!(read(&store, id).await.conclusion, Some(Conclusion::Cancelled));
}

pub(crate) async fn a_job_that_kills_its_holders_is_given_up(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a"]).await;
    for _ in 0..MOST_CLAIMS {
        let (lease, _, job) = store.claim_job(worker(), SHORT).await.unwrap().expect("claimable");
        store.record(&lease, &[with(&job, "install", running())]).await.unwrap();
        assert_eq!(store.settle_abandoned().await.unwrap(), 0);
        wait_out().await;
    }
    assert!(store.claim_job(worker(), LONG).await.unwrap().is_none());
    assert_eq!(store.settle_abandoned().await.unwrap(), 1);
    let run = read(&store, id).await;
    assert_eq!(run.conclusion, Some(Conclusion::Failure));
    for record in &run.jobs[0].steps {
        assert_eq!(record.state.outcome(), Some(Outcome::Errored));
        let reason = record.facts.reason.as_deref();
        assert_eq!(reason, Some("infrastructure: given up after 5 attempts"));
    }
}

/// Nobody may have a place for it for long: what is shown of it is true meanwhile.
pub(crate) async fn what_ran_under_a_lease_that_is_over_waits_again(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    let (held, other) = claim(&store).await;
    store.record(&held, &[with(&other, "install", running())]).await.unwrap();
    // Long enough to be told of before it is over.
    let lasts = Duration::from_secs(2);
    let (late, _, job) = store.claim_job(worker(), lasts).await.unwrap().unwrap();
    store.record(&late, &[with(&job, "install", running())]).await.unwrap();
    assert_eq!(store.restart_deserted().await.unwrap(), 0, "both are held");
    tokio::time::sleep(lasts).await;
    let before = read(&store, id).await.revision;
    assert_eq!(store.restart_deserted().await.unwrap(), 1);
    assert_eq!(store.restart_deserted().await.unwrap(), 0, "once");
    let run = read(&store, id).await;
    assert!(run.revision > before, "GitHub is told");
    let state = |connector: &str| {
        let job = run.jobs.iter().find(|job| job.connector.as_str() == connector).unwrap();
        (job.state, job.steps[0].state.clone())
    };
    assert_eq!(state(job.connector.as_str()), (RunState::Running, StepState::Waiting));
    assert!(matches!(state(other.connector.as_str()).1, StepState::Running { .. }));
    // Who held it may be alive, and its clock late: it neither revives the lease nor writes what it knew.
    assert!(matches!(store.heartbeat(&late).await, Err(StoreError::LeaseLost)));
    let written = store.record(&late, &[with(&job, "install", running())]).await;
    assert!(matches!(written, Err(StoreError::LeaseLost)));
    let now = read(&store, id).await;
    assert_eq!(now.jobs, run.jobs);
    // It is taken over as before, and who held it is not heard any more.
    let (taken, _, again) = store.claim_job(worker(), LONG).await.unwrap().expect("taken over");
    assert_eq!(again.id, job.id);
    assert!(matches!(store.heartbeat(&late).await, Err(StoreError::LeaseLost)));
    store.heartbeat(&taken).await.unwrap();
}

pub(crate) async fn an_abandoned_cancelled_job_ends(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a"]).await;
    let (lease, _, job) = store.claim_job(worker(), SHORT).await.unwrap().unwrap();
    store.record(&lease, &[with(&job, "install", running())]).await.unwrap();
    store.cancel_run(id, None, "closed").await.unwrap();
    wait_out().await;
    assert!(store.claim_job(worker(), LONG).await.unwrap().is_none(), "nobody starts it again");
    assert_eq!(store.settle_abandoned().await.unwrap(), 1);
    let run = read(&store, id).await;
    assert_eq!(run.conclusion, Some(Conclusion::Cancelled));
    let late = store.settle_job(lease, &[], Conclusion::Success).await;
    assert!(matches!(late, Err(StoreError::LeaseLost)), "{late:?}");
}

pub(crate) async fn only_current_holders_are_alive(place: &Place) {
    let store = place.open().await;
    create_planned(&store, 'a', &["source-a", "source-b"]).await;
    let (held, _) = claim(&store).await;
    let (expiring, _, _) = store.claim_job(worker(), SHORT).await.unwrap().unwrap();
    wait_out().await;
    let pairs =
        [(held.job, held.epoch), (held.job, held.epoch - 1), (expiring.job, expiring.epoch)];
    assert_eq!(store.alive(&pairs).await.unwrap(), [(held.job, held.epoch)]);
}

pub(crate) async fn a_settled_job_has_no_unsettled_step(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a"]).await;
    let (lease, job) = claim(&store).await;
    let unknown =
        [checkvalve::domain::run::StepRecord { id: step("no-such"), ..job.steps[0].clone() }];
    let refused = store.record(&lease, &unknown).await;
    assert!(matches!(refused, Err(StoreError::Inconsistent(_))), "{refused:?}");
    let steps = [with(&job, "install", finished(Outcome::Errored))];
    store.settle_job(lease, &steps, Conclusion::Failure).await.unwrap();
    let run = read(&store, id).await;
    assert!(run.jobs[0].steps.iter().all(|record| record.state.is_settled()));
}

pub(crate) async fn tails_are_fenced(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &["source-a"]).await;
    let name = connector("source-a");
    let (lease, _) = claim(&store).await;
    assert_eq!(store.tail(run, &name, &step("unit")).await.unwrap(), None);
    for i in 0_u8..3 {
        let tail = LogTail {
            start: u64::from(i) * 100,
            bytes: Bytes::from(vec![i, 0, 255, b'\n']),
            attempt: 1,
            ended: i == 2,
        };
        store.write_tail(&lease, &step("unit"), tail.clone()).await.unwrap();
        assert_eq!(store.tail(run, &name, &step("unit")).await.unwrap(), Some(tail));
    }
    assert_eq!(store.tail(run, &connector("no"), &step("unit")).await.unwrap(), None);
}

/// Each of the two may be the last one, and one of them must see that it is.
pub(crate) async fn concurrent_settlers_conclude_the_run_once(place: &Place) {
    let store = place.open().await;
    for round in "abcdef".chars() {
        let id = create_planned(&store, round, &["w", "x", "y", "z"]).await;
        let mut settlers = Vec::new();
        for _ in 0..4 {
            let (lease, job) = claim(&store).await;
            let store = store.clone();
            settlers.push(tokio::spawn(async move {
                settle(&store, lease, &job, Outcome::Succeeded).await;
            }));
        }
        for settler in settlers {
            settler.await.unwrap();
        }
        assert_eq!(read(&store, id).await.conclusion, Some(Conclusion::Success));
    }
}
