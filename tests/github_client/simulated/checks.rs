//! Check runs, as GitHub takes them.

use std::time::Duration;

use checkvalve::domain::check::{
    AnnotationLevel, CheckAction, CheckAnnotation, CheckConclusion, CheckStatus,
};
use checkvalve::domain::names::Sha;
use checkvalve::domain::time::Timestamp;
use checkvalve::github::{GithubError, Retry};
use github_simulator::Config;

use super::super::{REPOSITORY, check, completed, external_id};
use super::World;

#[tokio::test]
async fn a_check_run_goes_its_way_to_a_conclusion() {
    let world = World::new().await;
    let id = external_id();
    let queued = check(&world.head, CheckStatus::Queued);
    let run = world.github.create_check(&world.repository, &queued, id).await.unwrap();

    let started_at = Timestamp::from_millis(1_700_000_000_123);
    let running = check(&world.head, CheckStatus::InProgress { started_at });
    world.github.update_check(&world.repository, run, &running).await.unwrap();

    let mut done = check(&world.head, completed());
    done.text = None;
    done.actions = vec![CheckAction {
        label: "Re-run failed".to_owned(),
        description: "Runs again what did not succeed".to_owned(),
        identifier: "retest-failed".to_owned(),
    }];
    world.github.update_check(&world.repository, run, &done).await.unwrap();

    let seen = world.simulator.check_runs(REPOSITORY, world.head.as_str()).remove(0);
    assert_eq!((seen.id, seen.external_id.as_str()), (run, id.to_string().as_str()));
    assert_eq!((seen.status.as_str(), seen.conclusion.as_deref()), ("completed", Some("failure")));
    assert_eq!(seen.started_at.unwrap().timestamp(), 1_700_000_000);
    assert_eq!(seen.completed_at.unwrap().timestamp(), 1_700_000_012);
    assert_eq!(seen.details_url, "https://ci.example.org/runs/1");
    assert_eq!(seen.output.summary.as_deref(), Some("**no**"));
    assert_eq!(seen.output.text.as_deref().unwrap_or_default(), "", "an old text goes");
    assert_eq!(seen.actions.len(), 1);

    done.actions.clear();
    world.github.update_check(&world.repository, run, &done).await.unwrap();
    let seen = world.simulator.check_runs(REPOSITORY, world.head.as_str()).remove(0);
    assert_eq!(seen.actions, [], "and old buttons go");
    world.is_clean();
}

#[tokio::test]
async fn every_conclusion_is_accepted_and_texts_never_cost_one() {
    let world = World::new().await;
    for conclusion in [
        CheckConclusion::Success,
        CheckConclusion::Failure,
        CheckConclusion::Neutral,
        CheckConclusion::Cancelled,
        CheckConclusion::TimedOut,
        CheckConclusion::ActionRequired,
        CheckConclusion::Skipped,
    ] {
        let completed_at = Timestamp::from_millis(1_700_000_000_000);
        let status = CheckStatus::Completed { conclusion, started_at: None, completed_at };
        let mut check = check(&world.head, status);
        check.name = conclusion.as_str().to_owned();
        // 65,535 characters are too many bytes, and GitHub counts bytes.
        check.summary = "🦀".repeat(65_535);
        check.details_url = String::new();
        world.github.create_check(&world.repository, &check, external_id()).await.unwrap();
    }
    for run in world.simulator.check_runs(REPOSITORY, world.head.as_str()) {
        assert_eq!(run.conclusion, Some(run.name));
        assert_eq!(run.output.summary.unwrap().len(), 65_532);
    }
    world.is_clean();
}

#[tokio::test]
async fn annotations_are_added_and_counted_and_never_sent_twice_by_themselves() {
    let world = World::new().await;
    let ended = check(&world.head, completed());
    let id = world.github.create_check(&world.repository, &ended, external_id()).await.unwrap();
    let annotation = CheckAnnotation {
        path: "source-a/code.py".to_owned(),
        start_line: 3,
        end_line: 3,
        start_column: Some(7),
        end_column: Some(7),
        annotation_level: AnnotationLevel::Failure,
        title: "F401".to_owned(),
        message: "unused".to_owned(),
    };
    let all = [
        annotation.clone(),
        CheckAnnotation { start_line: 1, start_column: None, end_column: None, ..annotation },
    ];
    let annotate = async || world.github.annotate_check(&world.repository, id, &ended, &all).await;
    annotate().await.unwrap();
    let count = async || world.github.count_annotations(&world.repository, id).await.unwrap();
    assert_eq!(count().await, 2);
    // What the check run says is as it was, and an update takes none of them away.
    world.github.update_check(&world.repository, id, &ended).await.unwrap();
    assert_eq!(count().await, 2);

    world.simulator.faults().fail_next("PATCH", "/repos", 1, 502);
    let before = world.calls("PATCH", "/check-runs");
    let error = annotate().await.unwrap_err();
    assert_eq!(error.retry(), Retry::Unknown, "{error}");
    assert_eq!(world.calls("PATCH", "/check-runs"), before + 1);
    world.is_clean();
}

#[tokio::test]
async fn our_check_run_is_found_among_others_and_older_ones() {
    let world = World::new().await;
    let (one, other) = (external_id(), external_id());
    let queued = check(&world.head, CheckStatus::Queued);
    assert_eq!(world.github.checks(&world.repository, &world.head).await.unwrap(), []);
    let first = world.github.create_check(&world.repository, &queued, one).await.unwrap();
    // A hundred newer ones of the same name: the listing has two pages, and hides the first.
    for _ in 0..100 {
        world.github.create_check(&world.repository, &queued, external_id()).await.unwrap();
        world.simulator.advance(Duration::from_secs(2));
    }
    world.github.create_check(&world.repository, &queued, other).await.unwrap();
    let listed = world.github.checks(&world.repository, &world.head).await.unwrap();
    let found: Vec<u64> = listed
        .iter()
        .filter(|check| check.external_id == one.to_string())
        .map(|check| check.id)
        .collect();
    assert_eq!((found, listed.len()), (vec![first], 102));
    world.is_clean();
}

#[tokio::test]
async fn a_commit_that_github_does_not_know_is_refused_for_good() {
    let world = World::new().await;
    let unknown: Sha = "9".repeat(40).parse().unwrap();
    let queued = check(&unknown, CheckStatus::Queued);
    let error =
        world.github.create_check(&world.repository, &queued, external_id()).await.unwrap_err();
    assert!(matches!(error, GithubError::Refused { status: 422, .. }), "{error}");
    assert!(error.to_string().contains("create a check run"), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(world.calls("POST", "/check-runs"), 1, "and not asked again");
}

#[tokio::test]
async fn a_missing_permission_is_named_with_the_mend() {
    let permissions = [("metadata", "read"), ("checks", "read")];
    let permissions = permissions.map(|(name, level)| (name.to_owned(), level.to_owned()));
    let config = Config { permissions: permissions.into(), ..Config::default() };
    let world = World::with(config).await;
    let queued = check(&world.head, CheckStatus::Queued);
    let error =
        world.github.create_check(&world.repository, &queued, external_id()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, GithubError::Permission { .. }), "{text}");
    assert!(text.contains("checks=write") && text.contains("Permissions & events"), "{text}");
    assert_eq!(error.retry(), Retry::Never);
}

#[tokio::test]
async fn a_renamed_repository_is_followed_also_by_writes() {
    let world = World::new().await;
    world.simulator.rename_repository(REPOSITORY, "renamed").unwrap();
    let queued = check(&world.head, CheckStatus::Queued);
    let run = world.github.create_check(&world.repository, &queued, external_id()).await.unwrap();
    let done = check(&world.head, completed());
    world.github.update_check(&world.repository, run, &done).await.unwrap();
    let seen = world.simulator.check_runs("acme/renamed", world.head.as_str());
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].conclusion.as_deref(), Some("failure"));
}
