//! Runs: one per cause, superseded by another head, listed for pages.

use std::collections::BTreeSet;

use checkvalve::domain::run::{Problem, ProblemKind, Repository};
use checkvalve::domain::state::{Conclusion, Outcome, RunState, StepState};
use checkvalve::domain::trigger::Trigger;
use checkvalve::store::{Created, JobLine, NewRun, RunQuery};

use crate::fixture::{
    Place, claim, create, create_planned, finished, new_run, pull, read, repository, running,
    settle, sha, step, with,
};

pub(crate) async fn one_run_per_cause(place: &Place) {
    let store = place.open().await;
    let run = create(&store, new_run('a', "1")).await;
    let again = store.create_run(new_run('a', "1")).await.unwrap();
    assert_eq!(again, Created::Exists(run));
    create(&store, new_run('a', "2")).await;
    create(&store, NewRun { trigger: Trigger::Comment, ..new_run('a', "1") }).await;
    create(&store, NewRun { pull: None, ..new_run('a', "1") }).await;
    let again = store.create_run(NewRun { pull: None, ..new_run('a', "1") }).await.unwrap();
    assert!(matches!(again, Created::Exists(_)));
    assert_eq!(store.runs(&RunQuery::default()).await.unwrap().len(), 4);
}

pub(crate) async fn racing_creators_make_one_run(place: &Place) {
    let store = place.open().await;
    let mut racers = Vec::new();
    for _ in 0..12 {
        let store = store.clone();
        racers
            .push(tokio::spawn(async move { store.create_run(new_run('a', "1")).await.unwrap() }));
    }
    let mut fresh = 0;
    let mut ids = BTreeSet::new();
    for racer in racers {
        match racer.await.unwrap() {
            Created::Fresh(run) => {
                fresh += 1;
                ids.insert(run);
            }
            Created::Outdated => panic!("another head was never seen"),
            Created::Exists(run) => {
                ids.insert(run);
            }
        }
    }
    assert_eq!((fresh, ids.len()), (1, 1));
}

pub(crate) async fn another_head_supersedes_and_the_same_does_not(place: &Place) {
    let store = place.open().await;
    let old = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    let (lease, job) = claim(&store).await;
    store.record(&lease, &[with(&job, "install", running())]).await.unwrap();
    let same_head = create(&store, new_run('a', "2")).await;
    assert_eq!(read(&store, old).await.cancel, None);

    let merge_group = NewRun { trigger: Trigger::MergeGroup, ..new_run('c', "m") };
    let merge_group = create(&store, NewRun { pull: None, ..merge_group }).await;
    let new = create(&store, new_run('b', "3")).await;

    let run = read(&store, old).await;
    let why = format!("superseded by {}", sha('b'));
    assert_eq!((run.superseded_by, run.cancel.as_deref()), (Some(new), Some(why.as_str())));
    assert_eq!(run.state, RunState::Running, "its holder has not stopped yet");
    assert_eq!(run.jobs[0].cancel.as_deref(), Some(why.as_str()));
    assert_eq!(run.jobs[1].state, RunState::Concluded, "nobody held it");
    for record in &run.jobs[1].steps {
        assert_eq!(record.state.outcome(), Some(Outcome::Cancelled));
        assert_eq!(record.facts.reason.as_deref(), Some(why.as_str()));
    }
    let unplanned = read(&store, same_head).await;
    assert_eq!(unplanned.conclusion, Some(Conclusion::Cancelled));
    assert_eq!(unplanned.superseded_by, Some(new));
    assert_eq!(read(&store, merge_group).await.cancel, None);

    assert_eq!(store.heartbeat(&lease).await.unwrap().cancel.as_deref(), Some(why.as_str()));
    settle(&store, lease, &job, Outcome::Cancelled).await;
    assert_eq!(read(&store, old).await.conclusion, Some(Conclusion::Cancelled));
    assert_eq!(read(&store, new).await.cancel, None);
}

pub(crate) async fn a_run_made_with_a_problem_is_concluded(place: &Place) {
    let store = place.open().await;
    let problem = Problem {
        kind: ProblemKind::NotTrusted,
        title: "Not run".to_owned(),
        text: "ask for approval".to_owned(),
        place: Some((".github/checkvalve.yml".to_owned(), 3)),
    };
    let refused = Some((Conclusion::ActionRequired, problem.clone()));
    let run = create(&store, NewRun { problem: refused, ..new_run('a', "1") }).await;
    let run = read(&store, run).await;
    assert_eq!(run.state, RunState::Concluded);
    assert_eq!(run.conclusion, Some(Conclusion::ActionRequired));
    assert_eq!(run.problem, Some(problem));
    assert!(run.concluded_at.is_some());
    let planning = store.claim_planning(crate::fixture::worker(), crate::fixture::LONG).await;
    assert!(planning.unwrap().is_none());
    assert_eq!(store.queue().await.unwrap().checks_pending, 1);
}

pub(crate) async fn the_generation_rises_when_head_base_or_openness_change(place: &Place) {
    let store = place.open().await;
    let mut facts = pull('a');
    let mut generations = Vec::new();
    for step in 0..8 {
        match step {
            2 => facts.head_sha = sha('b'),
            3 => facts.base_ref = String::from("next"),
            4 => facts.title = String::from("Another title"),
            5 => facts.open = false,
            6 => facts.open = true,
            _ => {}
        }
        // Step 7: the reopening is handled again after a crash.
        let seen = store.observe_pull(&repository(), &facts, step >= 6).await.unwrap();
        generations.push(seen.generation);
    }
    assert_eq!(generations, [1, 1, 2, 3, 3, 3, 4, 4]);
    let seen = store.pull(7, 12).await.unwrap().unwrap();
    assert_eq!((seen.facts, seen.generation), (facts, 4));
    assert_eq!(store.pulls(7, 10).await.unwrap().len(), 1);
    assert!(store.pull(7, 13).await.unwrap().is_none());
}

pub(crate) async fn runs_are_listed_newest_first_and_filtered(place: &Place) {
    let store = place.open().await;
    let mut made = Vec::new();
    for i in 0..25 {
        made.push(create(&store, new_run('a', &format!("{i}"))).await);
    }
    let other = NewRun { pull: Some(13), ..new_run('b', "x") };
    made.push(create(&store, other).await);
    made.sort();
    made.reverse();
    let ids = async |query: RunQuery| -> Vec<_> {
        store.runs(&query).await.unwrap().iter().map(|run| run.id).collect()
    };
    assert_eq!(ids(RunQuery::default()).await, made);
    let repository = Some("ACME/connectors".parse().unwrap());
    let of = |pull| RunQuery { repository: repository.clone(), pull, ..RunQuery::default() };
    assert_eq!(ids(of(None)).await, made);
    assert_eq!(ids(of(Some(13))).await.len(), 1);
    let page = RunQuery { before: Some(made[4]), limit: 3, ..of(Some(12)) };
    let next = store.runs(&page).await.unwrap();
    assert_eq!(next.len(), 3);
    assert!(next.iter().all(|run| run.id < made[4] && run.pull == Some(12)));
    let by_head = RunQuery { head_sha: Some(sha('b')), ..RunQuery::default() };
    assert_eq!(ids(by_head).await.len(), 1);
    let elsewhere = RunQuery { pull: Some(12), head_sha: Some(sha('b')), ..of(None) };
    assert!(ids(elsewhere).await.is_empty());
    let unknown = RunQuery { repository: Some("no/such".parse().unwrap()), ..RunQuery::default() };
    assert!(ids(unknown).await.is_empty());
    let of_head = store.runs_of_head(7, &sha('a')).await.unwrap();
    // Oldest first by the database's clock: ids made in one millisecond have no order.
    assert!(of_head.is_sorted_by_key(|run| (run.created_at, run.id)));
    assert_eq!(of_head.len(), 25);
}

pub(crate) async fn lists_are_read_without_steps_and_without_what_is_private(place: &Place) {
    let store = place.open().await;
    let run = create_planned(&store, 'a', &["source-a", "source-b", "source-c"]).await;
    let (lease, job) = claim(&store).await;
    store.record(&lease, &[with(&job, "install", finished(Outcome::Errored))]).await.unwrap();
    let waiting = create(&store, NewRun { pull: Some(13), ..new_run('b', "2") }).await;
    let all = store.run_headers(&RunQuery::default()).await.unwrap();
    let of = |public| RunQuery { public, ..RunQuery::default() };
    assert_eq!(all.iter().map(|run| run.id).collect::<Vec<_>>(), [waiting, run]);
    assert!(all.iter().all(|run| run.jobs.is_empty()));
    assert_eq!(store.runs(&of(false)).await.unwrap().len(), 2);

    let lines = store.job_lines(&[waiting, run]).await.unwrap();
    assert_eq!(lines.keys().collect::<Vec<_>>(), [&run]);
    let told = |line: &JobLine| (line.connector.to_string(), line.state, line.errored);
    let told: Vec<_> = lines[&run].iter().map(told).collect();
    let state = |name: &str| {
        if job.connector.as_str() == name { RunState::Running } else { RunState::Queued }
    };
    let expected = ["source-a", "source-b", "source-c"]
        .map(|name| (name.to_owned(), state(name), job.connector.as_str() == name));
    assert_eq!(told, expected);
    assert!(store.job_lines(&[]).await.unwrap().is_empty());

    // Runs of a private repository take no place of others' in a list.
    let public =
        Repository { id: 8, name: "acme/public".parse().unwrap(), private: false, ..repository() };
    let other = NewRun { repository: public, ..new_run('a', "3") };
    let other = create(&store, other).await;
    for i in 0..3 {
        create(&store, new_run('c', &format!("c{i}"))).await;
    }
    let ids = async |query: RunQuery| -> Vec<_> {
        store.run_headers(&query).await.unwrap().iter().map(|run| run.id).collect()
    };
    assert_eq!(ids(RunQuery { limit: 1, ..of(true) }).await, [other]);
    let by_head = |public| RunQuery { head_sha: Some(sha('a')), ..of(public) };
    assert_eq!((ids(by_head(true)).await, ids(by_head(false)).await.len()), (vec![other], 2));
    let named = |public| RunQuery { repository: Some(repository().name), ..of(public) };
    assert_eq!((ids(named(true)).await.len(), ids(named(false)).await.len()), (0, 5));
}

pub(crate) async fn repositories_are_found_by_any_case(place: &Place) {
    let store = place.open().await;
    create(&store, new_run('a', "1")).await;
    let found = store.repository(&"Acme/Connectors".parse().unwrap()).await.unwrap();
    assert_eq!(found, Some(repository()));
    // Renamed, it is found by its new name alone, once GitHub lists it so: an event may tell an old one.
    let mut renamed = repository();
    renamed.name = "acme/integrations".parse().unwrap();
    store.observe_pull(&renamed, &pull('a'), false).await.unwrap();
    assert_eq!(store.repositories().await.unwrap()[0].repository, repository());
    store.see(&renamed).await.unwrap();
    assert!(store.repository(&"acme/connectors".parse().unwrap()).await.unwrap().is_none());
    let all = store.repositories().await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].repository, renamed);
    assert!(all[0].last_run.is_some());
}

pub(crate) async fn a_revision_tells_what_changed(place: &Place) {
    let store = place.open().await;
    let id = create_planned(&store, 'a', &["source-a", "source-b"]).await;
    let start = read(&store, id).await;
    let (run, jobs, steps) = store.run_since(id, start.revision).await.unwrap().unwrap();
    assert_eq!((run.revision, jobs.len(), steps.len()), (start.revision, 0, 0));

    let (lease, job) = claim(&store).await;
    store.record(&lease, &[with(&job, "install", running())]).await.unwrap();
    let (run, jobs, steps) = store.run_since(id, start.revision).await.unwrap().unwrap();
    assert!(run.revision > start.revision);
    assert_eq!(jobs, [job.id]);
    assert_eq!(steps, [(job.id, step("install"))]);

    let seen = run.revision;
    store.record(&lease, &[with(&job, "unit", finished(Outcome::Failed))]).await.unwrap();
    let (run, jobs, steps) = store.run_since(id, seen).await.unwrap().unwrap();
    assert!(jobs.is_empty());
    assert_eq!(steps, [(job.id, step("unit"))]);
    let record = run.jobs[0].step(&step("install")).unwrap();
    assert!(matches!(record.state, StepState::Running { .. }));
}
