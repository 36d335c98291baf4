//! From a run that was asked for to its jobs.

use std::time::Duration;

use checkvalve::domain::patience::{Passing, Pause, Waited};
use checkvalve::domain::plan::Conflict;
use checkvalve::domain::run::{Problem, ProblemKind};
use checkvalve::domain::state::{Conclusion, Outcome, RunState, SkipReason, StepState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::store::{NewRun, StoreError};

use crate::fixture::{
    LONG, Place, SHORT, claim, connector, create, create_planned, create_with, locked, new_run,
    planned, read, settle, sha, step, wait_out, worker,
};

pub(crate) async fn a_run_is_planned_once(place: &Place) {
    let store = place.open().await;
    let run = create(&store, new_run('a', "1")).await;
    let urgent = NewRun { trigger: Trigger::Button, pull: Some(99), ..new_run('b', "9") };
    let urgent = create(&store, urgent).await;
    let first = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    assert_eq!((first.run.id, first.attempt), (urgent, 1), "a person waits for it");
    let second = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(second.run.id, run);
    assert!(store.claim_planning(worker(), LONG).await.unwrap().is_none());
    store.settle_planning(second, planned(&["source-a"])).await.unwrap();
    drop(first);
    assert_eq!(store.queue().await.unwrap().queued, 2, "one unplanned run and one job");
}

pub(crate) async fn a_plan_round_trips(place: &Place) {
    let store = place.open().await;
    let id = create(&store, new_run('a', "1")).await;
    let mut plan = planned(&["source-b", "source-a"]);
    plan.jobs[0].left_out = vec![step("unit")];
    let lease = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    store.settle_planning(lease, plan.clone()).await.unwrap();

    let run = read(&store, id).await;
    assert_eq!((run.state, run.merge_base.clone()), (RunState::Queued, Some(sha('f'))));
    assert_eq!(run.selection, Some(plan.selection));
    let names: Vec<&str> = run.jobs.iter().map(|job| job.connector.as_str()).collect();
    assert_eq!(names, ["source-a", "source-b"], "by name");
    let (stored, asked) = (&run.jobs[1], &plan.jobs[0]);
    assert_eq!((stored.id, &stored.plan, &stored.reasons), (asked.id, &asked.plan, &asked.reasons));
    assert_eq!((stored.attempt, stored.epoch, stored.cancel.as_deref()), (0, 0, None));
    let ids: Vec<&str> = stored.steps.iter().map(|record| record.id.as_str()).collect();
    assert_eq!(ids, ["install", "unit"], "in the plan's order");
    assert_eq!(stored.steps[0].state, StepState::Waiting);
    assert_eq!(stored.steps[0].attempt, 1);
    assert!(matches!(
        &stored.steps[1].state,
        StepState::Skipped { reason: SkipReason::NotAsked, .. }
    ));
    assert_eq!(stored.steps[1].facts.reason.as_deref(), Some("not run: not asked for"));
}

pub(crate) async fn what_a_conflict_holds_is_concluded_and_claimed_by_nobody(place: &Place) {
    let store = place.open().await;
    let conflict = || Some(Conflict::new(sha('0'), vec!["a.py".to_owned()]));
    let mut plan = locked(&[("source-a", "live"), ("source-b", "live")]);
    plan.jobs[0].plan = plan.jobs[0].plan.clone().held(conflict());
    plan.jobs[0].left_out = vec![step("unit")];
    let run = create_with(&store, new_run('a', "1"), plan).await;
    let (lease, job) = claim(&store).await;
    assert_eq!(job.connector, connector("source-b"), "a held one keeps no lock");
    let stored = read(&store, run).await;
    let held = &stored.jobs[0];
    assert_eq!((stored.state, held.state), (RunState::Running, RunState::Concluded));
    assert_eq!(held.conclusion, Some(Conclusion::ActionRequired));
    assert!(held.started_at == held.concluded_at && held.concluded_at.is_some());
    let said: Vec<&str> =
        held.steps.iter().filter_map(|step| step.facts.reason.as_deref()).collect();
    assert_eq!(said, ["not run: `a.py` conflicts with the base branch", "not run: not asked for"]);
    settle(&store, lease, &job, Outcome::Succeeded).await;
    assert_eq!(read(&store, run).await.conclusion, Some(Conclusion::Failure));

    // And a run of which nothing else is left.
    let mut plan = planned(&["source-a"]);
    plan.jobs[0].plan = plan.jobs[0].plan.clone().held(conflict());
    let alone = create_with(&store, new_run('b', "2"), plan).await;
    let alone = read(&store, alone).await;
    assert_eq!((alone.state, alone.conclusion), (RunState::Concluded, Some(Conclusion::Failure)));
    let queue = store.queue().await.unwrap();
    assert_eq!((queue.queued, queue.running), (0, 0), "nothing waits for a worker");
}

pub(crate) async fn a_run_without_jobs_is_a_success(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &[]).await;
    let run = read(&store, run).await;
    assert_eq!((run.state, run.conclusion), (RunState::Concluded, Some(Conclusion::Success)));
}

pub(crate) async fn a_planner_that_lost_its_lease_is_refused(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let late = store.claim_planning(worker(), SHORT).await.unwrap().unwrap();
    store.extend_planning(&late, SHORT).await.unwrap();
    wait_out().await;
    let current = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(current.attempt, 2);
    let refused = store.extend_planning(&late, SHORT).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    let refused = store.settle_planning(late, planned(&["source-x"])).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    // Cancelled while it is planned, it ends at once, and the planner hears of it.
    let run = current.run.id;
    assert_eq!(store.cancel_run(run, None, "closed").await.unwrap(), 1);
    let refused = store.settle_planning(current, planned(&["source-x"])).await;
    assert!(matches!(refused, Err(StoreError::LeaseLost)), "{refused:?}");
    let run = read(&store, run).await;
    assert_eq!(run.conclusion, Some(Conclusion::Cancelled));
    assert!(run.jobs.is_empty());
}

pub(crate) async fn planning_that_fails_for_good_concludes(place: &Place) {
    let store = place.open().await;
    let run = create(&store, new_run('a', "1")).await;
    let lease = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    let problem = Problem {
        kind: ProblemKind::Configuration,
        title: "line 3".to_owned(),
        text: "mend it".to_owned(),
        place: None,
    };
    store.fail_planning(lease, Conclusion::Failure, problem.clone()).await.unwrap();
    let run = read(&store, run).await;
    assert_eq!((run.conclusion, run.problem), (Some(Conclusion::Failure), Some(problem)));
    assert!(store.claim_planning(worker(), LONG).await.unwrap().is_none());
}

pub(crate) async fn planning_that_fails_for_now_comes_back(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let lease = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    let run = lease.run.id;
    assert_eq!(lease.waited, Waited::default());
    let waited = Waited { tries: 3, refused: 2, rested: 28 };
    let pause = Pause { after: Duration::from_millis(500), awaits: "git".to_owned(), waited };
    store.retry_planning(lease, &pause).await.unwrap();
    assert!(store.claim_planning(worker(), LONG).await.unwrap().is_none());
    assert_eq!(read(&store, run).await.awaits.as_deref(), Some("git"), "and it is said");
    let head = store.claim_head(worker(), LONG).await.unwrap().unwrap();
    assert_eq!(head.runs[0].awaits.as_deref(), Some("git"), "on GitHub, too");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let again = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
    assert_eq!((again.attempt, again.waited), (2, waited));
    store.settle_planning(again, planned(&["source-a"])).await.unwrap();
    assert_eq!(read(&store, run).await.awaits, None);
}

/// Whoever begins often and never ends is found by that: pauses don't hide it, however long.
pub(crate) async fn a_pause_of_an_hour_is_one_try_of_planning(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    for nth in 1..=3 {
        let lease = store.claim_planning(worker(), LONG).await.unwrap().unwrap();
        assert_eq!((lease.attempt, lease.waited.tries), (nth, nth - 1));
        let hour = Passing::Away(Duration::from_hours(1));
        let pause = lease.waited.pause(hour, "git").unwrap();
        assert_eq!(pause.after, Duration::from_hours(1));
        let pause = Pause { after: Duration::ZERO, ..pause };
        store.retry_planning(lease, &pause).await.unwrap();
    }
}

pub(crate) async fn a_large_plan_is_stored_whole(place: &Place) {
    let store = place.open().await;
    let names: Vec<String> = (0..157).map(|i| format!("source-{i:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let run = create_planned(&store, 'a', &names).await;
    let run = read(&store, run).await;
    assert_eq!(run.jobs.len(), 157);
    assert!(run.jobs.iter().all(|job| job.steps.len() == 2));
    assert_eq!(store.cancel_run(run.id, None, "closed").await.unwrap(), 157);
    assert_eq!(read(&store, run.id).await.conclusion, Some(Conclusion::Cancelled));
}
