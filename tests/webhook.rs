//! Deliveries: whose they are and what they say. Recorded payloads and published signature vectors
//! are read from `CHECKVALVE_GITHUB_CONTRACT`; what stands here is our own.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/given.rs"]
mod given;
#[path = "webhook/signatures.rs"]
mod signatures;

use std::collections::BTreeMap;

use checkvalve::domain::event::{Button, Event, GroupAction, PullAction, is_acted_on};
use checkvalve::github::webhook::{PayloadError, parse};
use given::given;
use serde_json::{Value, json};

const HEAD: &str = "1111111111111111111111111111111111111111";
const BASE: &str = "2222222222222222222222222222222222222222";

fn body(extra: &Value) -> Vec<u8> {
    let mut payload = json!({
        "installation": { "id": 7 },
        "repository": { "id": 5, "full_name": "acme/connectors", "private": true },
        "sender": { "login": "ada", "type": "User" },
    });
    let fields = payload.as_object_mut().unwrap();
    for (key, value) in extra.as_object().unwrap() {
        fields.insert(key.clone(), value.clone());
    }
    payload.to_string().into_bytes()
}

fn understood(event: &str, extra: &Value) -> Event {
    parse(event, &body(extra)).unwrap().event
}

fn pull() -> Value {
    json!({
        "number": 3, "title": "Mend it", "state": "open", "draft": true,
        "user": { "login": "renovate[bot]" },
        "head": { "sha": HEAD, "ref": "topic", "repo": { "full_name": "fork/connectors" } },
        "base": { "sha": BASE, "ref": "main", "repo": { "full_name": "acme/connectors" } },
    })
}

fn because(event: &Event) -> &str {
    let Event::Ignored { because } = event else { panic!("not ignored: {event:?}") };
    because
}

#[test]
fn the_five_actions_of_pull_requests_are_understood() {
    for (name, wanted) in [
        ("opened", PullAction::Opened),
        ("synchronize", PullAction::Synchronize),
        ("reopened", PullAction::Reopened),
        ("ready_for_review", PullAction::ReadyForReview),
        ("closed", PullAction::Closed),
    ] {
        let event = understood("pull_request", &json!({ "action": name, "pull_request": pull() }));
        let Event::PullRequest { action, repository, pull, before, sender } = event else {
            panic!("{name}: {event:?}")
        };
        assert_eq!((action, before), (wanted, None));
        assert_eq!((repository.id, repository.installation, repository.private), (5, 7, true));
        assert_eq!(repository.name.as_str(), "acme/connectors");
        assert_eq!((pull.number, pull.open, pull.draft), (3, true, true));
        assert!(pull.author.bot, "an App's login tells, also without a type");
        assert_eq!((pull.head_sha.as_str(), pull.base_sha.as_str()), (HEAD, BASE));
        assert_eq!((pull.head_ref.as_str(), pull.base_ref.as_str()), ("topic", "main"));
        assert_eq!(pull.head_repo.unwrap().as_str(), "fork/connectors");
        assert_eq!((sender.login.as_str(), sender.bot), ("ada", false));
    }
}

#[test]
fn a_push_names_the_head_that_it_replaced() {
    let pushed = |before: Value| {
        let payload = json!({ "action": "synchronize", "before": before, "pull_request": pull() });
        let Event::PullRequest { before, .. } = understood("pull_request", &payload) else {
            panic!("{payload}")
        };
        before
    };
    assert_eq!(pushed(json!(BASE)), Some(BASE.parse().unwrap()));
    assert_eq!(pushed(json!("not a commit")), None, "the event counts all the same");
    assert_eq!(pushed(Value::Null), None);
}

#[test]
fn a_new_base_is_a_new_change_and_a_new_title_is_not() {
    let edited = |changes: Value| {
        let payload = json!({ "action": "edited", "changes": changes, "pull_request": pull() });
        understood("pull_request", &payload)
    };
    let rebased = edited(json!({ "base": { "ref": { "from": "old" } } }));
    // Its sender pushed nothing.
    let retargeted = PullAction::Retargeted;
    assert!(matches!(rebased, Event::PullRequest { action, .. } if action == retargeted));
    assert!(because(&edited(json!({ "title": { "from": "old" } }))).contains("edited"));
}

#[test]
fn a_deleted_fork_and_a_deleted_account_are_understood() {
    let mut gone = pull();
    gone["head"]["repo"] = Value::Null;
    gone["user"] = Value::Null;
    let event = understood("pull_request", &json!({ "action": "opened", "pull_request": gone }));
    let Event::PullRequest { pull, .. } = event else { panic!("{event:?}") };
    assert_eq!(pull.head_repo, None);
    assert_eq!(pull.author.login, "ghost");
}

#[test]
fn new_comments_on_pull_requests_count_and_others_do_not() {
    let comment = |action: &str, on_pull: bool| {
        let mut issue = json!({ "number": 3 });
        if on_pull {
            issue["pull_request"] = json!({ "url": "…" });
        }
        let author = json!({ "login": "grace", "type": "User" });
        let comment = json!({ "id": 99, "body": "/retest", "user": author });
        understood(
            "issue_comment",
            &json!({ "action": action, "issue": issue, "comment": comment }),
        )
    };
    let event = comment("created", true);
    let Event::Comment { pull, comment: id, author, body, .. } = event else { panic!("{event:?}") };
    assert_eq!((pull, id, author.login.as_str(), body.as_str()), (3, 99, "grace", "/retest"));
    assert!(because(&comment("created", false)).contains("issue"));
    assert!(because(&comment("edited", true)).contains("edited"));
    assert!(because(&comment("deleted", true)).contains("deleted"));
}

#[test]
fn buttons_tell_whose_check_run_they_are_on() {
    let run = json!({
        "id": 11, "name": "checkvalve", "external_id": "chk_1", "head_sha": HEAD, "app": { "id": 42 }
    });
    let event = understood("check_run", &json!({ "action": "rerequested", "check_run": run }));
    let Event::CheckRun { check, button, sender, .. } = event else { panic!("{event:?}") };
    assert_eq!((check.id, check.app_id, check.external_id.as_str()), (11, 42, "chk_1"));
    assert_eq!((button, sender.login.as_str()), (Button::Rerun, "ada"));

    let pressed = json!({
        "action": "requested_action", "check_run": run,
        "requested_action": { "identifier": "retest-failed" },
    });
    let event = understood("check_run", &pressed);
    let wanted = Button::Action("retest-failed".to_owned());
    assert!(matches!(event, Event::CheckRun { button, .. } if button == wanted));

    for action in ["created", "completed"] {
        let event = understood("check_run", &json!({ "action": action, "check_run": run }));
        assert!(because(&event).contains(action));
    }
    let mut others = run;
    others["app"] = Value::Null;
    others["external_id"] = Value::Null;
    let event = understood("check_run", &json!({ "action": "rerequested", "check_run": others }));
    assert!(matches!(event, Event::CheckRun { check, .. } if check.app_id == 0));
}

#[test]
fn re_run_all_is_understood() {
    let suite = json!({ "id": 8, "head_sha": HEAD, "head_branch": null });
    let event =
        understood("check_suite", &json!({ "action": "rerequested", "check_suite": suite }));
    assert!(matches!(event, Event::CheckSuite { suite: 8, .. }));
    let event = understood("check_suite", &json!({ "action": "requested", "check_suite": suite }));
    assert!(because(&event).contains("requested"));
}

#[test]
fn installations_are_understood_with_their_repositories() {
    let named = json!([{ "full_name": "acme/one" }, { "full_name": "acme/two" }]);
    for (event, extra, wanted) in [
        ("installation", json!({ "action": "created", "repositories": named }), "created"),
        ("installation", json!({ "action": "suspend", "repositories": named }), "suspend"),
        (
            "installation_repositories",
            json!({ "action": "added", "repositories_added": named, "repositories_removed": [] }),
            "added",
        ),
        (
            "installation_repositories",
            json!({ "action": "removed", "repositories_removed": named }),
            "removed",
        ),
    ] {
        let event = understood(event, &extra);
        let Event::Installation { action, installation, repositories } = event else {
            panic!("{event:?}")
        };
        assert_eq!((action.as_str(), installation, repositories.len()), (wanted, 7, 2));
    }
}

#[test]
fn pushes_are_understood_with_what_they_moved() {
    let zeros = "0".repeat(40);
    let push = |reference: &str, before: &str, after: &str| {
        let head = json!({ "message": "One line\n\nand more" });
        let payload =
            json!({ "ref": reference, "before": before, "after": after, "head_commit": head });
        let Event::Push { push, .. } = understood("push", &payload) else { panic!("{payload}") };
        push
    };
    let moved = push("refs/heads/release/1", BASE, HEAD);
    assert_eq!(moved.branch.as_deref(), Some("release/1"));
    assert_eq!((moved.before.unwrap().as_str(), moved.after.unwrap().as_str()), (BASE, HEAD));
    assert_eq!(moved.title, "One line");
    assert_eq!(push("refs/heads/main", &zeros, HEAD).before, None);
    assert_eq!(push("refs/heads/main", BASE, &zeros).after, None);
    assert_eq!(push("refs/tags/v1", &zeros, HEAD).branch, None);
}

#[test]
fn merge_groups_are_understood() {
    let group = json!({
        "head_sha": HEAD, "head_ref": "refs/heads/gh-readonly-queue/main/pr-1-abc",
        "base_sha": BASE, "base_ref": "refs/heads/main",
    });
    let event =
        understood("merge_group", &json!({ "action": "checks_requested", "merge_group": group }));
    let Event::MergeGroup { group: found, action, .. } = event else { panic!("{event:?}") };
    assert_eq!(action, GroupAction::ChecksRequested);
    assert_eq!(found.head_ref, "gh-readonly-queue/main/pr-1-abc");
    assert_eq!((found.base_ref.as_str(), found.base_sha.as_str()), ("main", BASE));
    let gone = json!({ "action": "destroyed", "reason": "merged", "merge_group": group });
    let Event::MergeGroup { action, .. } = understood("merge_group", &gone) else { panic!() };
    assert_eq!(action, GroupAction::Destroyed { reason: "merged".to_owned() });
}

#[test]
fn labels_are_understood_where_they_are_commands() {
    let labeled = |name: &str| {
        let label = json!({ "name": name });
        understood(
            "pull_request",
            &json!({ "action": "labeled", "label": label, "pull_request": pull() }),
        )
    };
    assert!(matches!(labeled("/test all"), Event::Label { label, .. } if label == "/test all"));
    assert!(because(&labeled("bug")).contains("no command"));
}

#[test]
fn a_label_says_the_same_whether_its_servers_numbers_are_texts() {
    let labeled = |number: Value| {
        let mut pull = pull();
        (pull["number"], pull["updated_at"]) = (number, json!("2026-11-22T09:00:00Z"));
        let payload = json!({
            "action": "labeled", "label": { "name": "/test" }, "pull_request": pull,
            "repository": { "id": 9, "full_name": "acme/connectors" },
            "installation": { "id": 7 }, "sender": { "login": "ada" },
        });
        parse("pull_request", payload.to_string().as_bytes()).unwrap()
    };
    let (number, text) = (labeled(json!(12)), labeled(json!("12")));
    assert!(matches!(number.event, Event::Label { pull: 12, .. }), "{number:?}");
    assert_eq!(number, text);
    assert_eq!(number.occasion.as_deref(), Some("12-/test-ada-2026-11-22T09:00:00Z"));
}

#[test]
fn what_becomes_of_a_repository_is_understood() {
    let event = understood("repository", &json!({ "action": "renamed", "changes": {} }));
    let Event::Repository { action, repository } = event else { panic!("{event:?}") };
    assert_eq!((action.as_str(), repository.installation), ("renamed", 7));
}

#[test]
fn what_we_do_not_know_is_ignored_and_not_an_error() {
    assert_eq!(parse("ping", br#"{"zen":"Keep it simple."}"#).unwrap().event, Event::Ping);
    for (event, payload) in [
        ("star", r#"{"action":"created"}"#),
        ("brand_new_event", r#"{"action":{"not":"a string"},"installation":"odd"}"#),
        ("pull_request", r#"{"action":"brand_new","installation":{"id":1}}"#),
        ("push", r#"{"ref":"refs/heads/main"}"#),
        ("", "{}"),
    ] {
        let event = parse(event, payload.as_bytes()).unwrap().event;
        assert!(!because(&event).is_empty());
    }
    assert_eq!(parse("x", br#"{"action":"y"}"#).unwrap().action.as_deref(), Some("y"));
}

/// Whether an event need be asked for again is told by its name alone, as the log has it.
#[test]
fn what_is_not_acted_on_is_ignored_and_nothing_else_is() {
    let known: [(&str, &[&str]); 10] = [
        ("check_run", &["created", "completed", "rerequested", "requested_action", "new"]),
        ("check_suite", &["completed", "requested", "rerequested"]),
        ("installation", &["created", "deleted", "suspend", "new"]),
        ("installation_repositories", &["added", "removed", "new"]),
        ("issue_comment", &["created", "edited", "deleted"]),
        ("merge_group", &["checks_requested", "destroyed", "new"]),
        ("pull_request", &["opened", "edited", "closed", "labeled", "unlabeled", "assigned"]),
        ("push", &[""]),
        ("repository", &["renamed", "new"]),
        ("star", &["created"]),
    ];
    for (event, actions) in known {
        for action in actions {
            let payload = json!({
                "action": action, "installation": { "id": 7 }, "changes": { "base": {} },
            });
            let read = parse(event, payload.to_string().as_bytes());
            // What is acted on needs more than that.
            let is_ignored = read.is_ok_and(|read| matches!(read.event, Event::Ignored { .. }));
            let action = Some(*action).filter(|action| !action.is_empty());
            assert_eq!(!is_ignored, is_acted_on(event, action), "{event} {action:?}");
        }
    }
    assert!(is_acted_on("check_run", None), "it may be one that is");
}

#[test]
fn an_event_of_a_repositorys_own_hook_is_ignored_with_the_reason() {
    let payload = json!({ "action": "opened", "pull_request": pull() }).to_string();
    let event = parse("pull_request", payload.as_bytes()).unwrap().event;
    assert!(because(&event).contains("installation"));
}

#[test]
fn bodies_that_are_not_json_objects_are_refused() {
    for bad in ["", " ", "null", "[]", "\"x\"", "[1]", "{", "{}x", "payload=%7B%7D", "\u{feff}{}"] {
        let error = parse("ping", bad.as_bytes()).unwrap_err();
        assert!(matches!(error, PayloadError::NotJson(_)), "{bad:?}");
    }
    assert!(parse("ping", b"{\"a\":\"\xff\"}").is_err());
}

#[test]
fn a_known_event_that_lacks_what_we_need_names_the_field() {
    let mut headless = pull();
    headless["head"].as_object_mut().unwrap().remove("sha");
    let error =
        parse("pull_request", &body(&json!({ "action": "opened", "pull_request": headless })))
            .unwrap_err();
    assert!(error.to_string().contains("pull_request") && error.to_string().contains("sha"));

    let mut odd = pull();
    odd["head"]["sha"] = json!("--upload-pack=evil");
    let error = parse("pull_request", &body(&json!({ "action": "opened", "pull_request": odd })))
        .unwrap_err();
    assert!(error.to_string().contains("not a commit"), "{error}");
    let named = json!({ "id": 5, "full_name": "acme/../x", "private": false });
    let payload = json!({ "action": "opened", "pull_request": pull(), "repository": named });
    assert!(parse("pull_request", &body(&payload)).is_err());
}

#[test]
fn every_recorded_payload_is_understood() {
    let given = given("CHECKVALVE_GITHUB_CONTRACT", "webhooks/INDEX.json");
    let Some(folder) = given.map(|folder| folder.join("webhooks")) else { return };
    let index: Value =
        serde_json::from_slice(&std::fs::read(folder.join("INDEX.json")).unwrap()).unwrap();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for example in index["examples"].as_array().unwrap() {
        let (file, event) = (example["file"].as_str().unwrap(), example["event"].as_str().unwrap());
        let body = std::fs::read(folder.join(file)).unwrap();
        let understood = parse(event, &body).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(understood.action.as_deref(), example["action"].as_str(), "{file}");
        let kind = match understood.event {
            Event::Ping => "ping",
            Event::Installation { .. } => "installation",
            Event::PullRequest { .. } => "pull_request",
            Event::Comment { .. } => "comment",
            Event::CheckRun { .. } => "check_run",
            Event::CheckSuite { .. } => "check_suite",
            Event::Push { .. } => "push",
            Event::MergeGroup { .. } => "merge_group",
            Event::Repository { .. } => "repository",
            Event::Label { .. } => "label",
            Event::Ignored { .. } => "ignored",
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let total: usize = kinds.values().sum();
    println!("{total} recorded payloads: {kinds:?}");
    assert!(total >= 71, "only {total}");
    assert_eq!(kinds["ping"], 3);
    assert_eq!(kinds["installation"], 8);
    assert_eq!(kinds["comment"], 2);
    assert_eq!(kinds["check_suite"], 2);
    assert_eq!(kinds["merge_group"], 1);
    // Those of an App's own hook: the others name no installation.
    assert_eq!(kinds["push"], 2);
    assert!(kinds["pull_request"] >= 9 && kinds["check_run"] >= 5, "{kinds:?}");
}
