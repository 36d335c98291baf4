//! `app-manifest.yml` asks for what is used, and for nothing else: its permissions against the
//! calls of a story that has everything in it, its events against those that are handled.

#![expect(clippy::unwrap_used, reason = "what a test's helpers expect is part of the test")]

#[path = "support/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use checkvalve::domain::event::Event;
use checkvalve::github::webhook::{EVENTS, parse};
use github_simulator::{Auth, OPERATIONS, Operation};
use serde_json::json;
use world::{REPO, Steps, World, manifest};

/// The permission without which GitHub does not let an App subscribe to an event, as GitHub's
/// page "Webhook events and payloads" has it.
const EVENT_PERMISSIONS: [(&str, &str); 7] = [
    ("check_run", "checks"),
    ("check_suite", "checks"),
    ("issue_comment", "issues"),
    ("merge_group", "merge_queues"),
    ("pull_request", "pull_requests"),
    ("push", "contents"),
    ("repository", "metadata"),
];

const CONFIG: &str = r#"
version: 1
preset: none
connectors:
  - { kind: sh, match: "{name}/connector.txt" }
pipelines:
  - for: { kind: sh }
    steps:
      - { id: unit, image: "checkvalve-test/busybox:1", run: "sh ./unit.sh" }
"#;

const FILES: &[(&str, &str)] = &[
    (".github/checkvalve.yml", CONFIG),
    ("source-a/connector.txt", "a"),
    ("source-a/unit.sh", "exit 1\n"),
];

fn level(name: &str) -> u8 {
    match name {
        "read" => 1,
        "write" => 2,
        other => panic!("the manifest asks for `{other}`"),
    }
}

/// Is one of the alternatives (`permission=level`) granted?
fn is_covered(operation: &Operation, granted: &BTreeMap<String, String>) -> bool {
    operation.permissions.is_empty()
        || operation.permissions.iter().any(|alternative| {
            let (name, wanted) = alternative.split_once('=').unwrap();
            granted.get(name).is_some_and(|given| level(given) >= level(wanted))
        })
}

/// A pull request that fails, a command that is obeyed, one that is answered, a button, a push
/// that supersedes, an end.
async fn story(world: &World) {
    let head = world.push("change", &[("source-a/code.txt", "new")]).await;
    let number = world.open("change").await;
    world.settle().await;
    world.sim.comment(REPO, number, "ada", "/retest").await.unwrap();
    world.settle().await;
    world.sim.comment(REPO, number, "ada", "/test nothing-of-that-name").await.unwrap();
    world.settle().await;
    let unit = world.check(&head, "source-a / unit");
    assert_eq!(unit.conclusion.as_deref(), Some("failure"));
    world.sim.rerequest_check_run(REPO, unit.id, "ada").await.unwrap();
    world.settle().await;
    world.push("change", &[("source-a/unit.sh", "exit 0\n")]).await;
    world.settle().await;
    world.sim.close_pull_request(REPO, number, "ada").await.unwrap();
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_permission_is_used_and_no_call_is_refused() {
    let world = World::new(Steps::Host, FILES).await;
    story(&world).await;
    let (granted, _) = manifest::granted();

    let calls = world.sim.calls();
    let refused = calls.iter().filter(|call| matches!(call.status, 401 | 403));
    let refused: Vec<&str> = refused.map(|call| call.path.as_str()).collect();
    // git asks without credentials first, and is told that it needs them.
    let refused: Vec<&str> = refused.into_iter().filter(|path| !path.contains(".git/")).collect();
    assert_eq!(refused, Vec::<&str>::new());

    let made: BTreeSet<&str> = calls.iter().filter_map(|call| call.operation.as_deref()).collect();
    let operations: Vec<&Operation> =
        OPERATIONS.iter().filter(|operation| made.contains(operation.id)).collect();
    for expected in ["checks/create", "issues/create-comment", "pulls/get"] {
        assert!(made.contains(expected), "the story has no {expected}: {made:?}");
    }
    let uncovered = operations.iter().filter(|operation| !is_covered(operation, &granted));
    let uncovered: Vec<&str> = uncovered.map(|operation| operation.id).collect();
    assert_eq!(uncovered, Vec::<&str>::new(), "the manifest does not allow these calls");

    for (name, given) in &granted {
        let mut less = granted.clone();
        match given.as_str() {
            "write" => less.insert(name.clone(), "read".to_owned()),
            _ => less.remove(name),
        };
        let calls_need_it = operations
            .iter()
            .any(|operation| operation.auth != Auth::Jwt && !is_covered(operation, &less));
        let events_need_it =
            given == "read" && EVENT_PERMISSIONS.iter().any(|(_, permission)| permission == name);
        // The sources are fetched by git, which is no operation of the REST API.
        let git_needs_it =
            name == "contents" && given == "read" && made.contains("git/upload-pack");
        assert!(calls_need_it || events_need_it || git_needs_it, "nothing needs `{name}: {given}`");
    }
    world.finish().await;
}

#[test]
fn the_events_are_those_that_are_handled() {
    let (granted, events) = manifest::granted();
    assert_eq!(events, EVENTS, "sorted, as in `github::webhook`");
    let listed: Vec<&str> = EVENT_PERMISSIONS.iter().map(|(event, _)| *event).collect();
    assert_eq!(listed, EVENTS);
    for (event, permission) in EVENT_PERMISSIONS {
        assert!(granted.contains_key(permission), "`{event}` needs `{permission}: read`");
    }
    // An event that is not asked for is not understood, either.
    for event in ["create", "issues", "pull_request_review", "status", "label"] {
        let body = json!({"action": "created", "installation": {"id": 1}}).to_string();
        let understood = parse(event, body.as_bytes()).unwrap().event;
        assert!(matches!(understood, Event::Ignored { .. }), "{event}: {understood:?}");
    }
}
