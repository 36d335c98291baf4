//! Behaviours 75, 77–79, 82, 83 and 85: what arrives, in which form, when, and whether at all.

use std::collections::BTreeMap;
use std::time::Duration;

use github_simulator::{Config, DeliveryPlan, OpenPull, RepositoryOptions};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};

use crate::common::{REPO, Receiver, Scene, config};

async fn listening(config: Config) -> (Scene, Receiver) {
    let scene = Scene::with(config, false).await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    scene.github.quiet().await;
    receiver.clear();
    (scene, receiver)
}

async fn comment(scene: &Scene, text: &str) {
    scene.github.comment(REPO, scene.number, "ada", text).await.unwrap();
}

fn bodies(receiver: &Receiver) -> Vec<String> {
    let all = receiver.all();
    let comments = all.iter().filter(|r| r.kind() == "issue_comment.created");
    comments.map(|r| r.json()["comment"]["body"].as_str().unwrap().to_owned()).collect()
}

/// Behaviour 75: a receiver has ten seconds; what it does later does not count, and nobody asks
/// again.
#[tokio::test]
async fn a_receiver_has_ten_seconds() {
    let (scene, receiver) = listening(config()).await;
    receiver.answer(200, Duration::from_millis(700));
    for (seconds, status) in [(9, "OK"), (10, "timed out")] {
        comment(&scene, "slow").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        scene.github.advance(Duration::from_secs(seconds));
        scene.github.quiet().await;
        assert_eq!(scene.github.deliveries().last().unwrap().status, status);
    }
    scene.github.advance(Duration::from_hours(1));
    scene.github.quiet().await;
    assert_eq!(bodies(&receiver).len(), 2);
}

/// Behaviour 77: a delivery may be minutes late; those behind it do not wait.
#[tokio::test]
async fn a_delivery_may_be_minutes_late() {
    let (scene, receiver) = listening(config()).await;
    scene.github.faults().delay_deliveries(1, Duration::from_mins(5));
    comment(&scene, "late").await;
    comment(&scene, "early").await;
    let wait = async |count: usize| {
        for _ in 0..100 {
            if bodies(&receiver).len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    wait(1).await;
    scene.github.advance(Duration::from_mins(4));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(bodies(&receiver), ["early"]);
    scene.github.advance(Duration::from_mins(1));
    scene.github.quiet().await;
    assert_eq!(bodies(&receiver), ["early", "late"]);
}

/// Behaviour 77: by plan, deliveries are lost, fail, come twice and come late; the same seed does
/// the same. One who only listens misses some, one who counts them counts some twice.
#[tokio::test]
async fn a_plan_makes_deliveries_unreliable() {
    let plan = DeliveryPlan {
        seed: 11,
        lost: 15,
        dropped: 15,
        duplicated: 20,
        delayed: 20,
        delay: Duration::from_mins(3),
    };
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (scene, receiver) = listening(config()).await;
        let faults = scene.github.faults();
        faults.delivery_plan(Some(plan));
        // Nobody is out of time because it passes.
        faults.delivery_timeout(Duration::from_hours(1));
        for n in 0..40 {
            comment(&scene, &n.to_string()).await;
        }
        // The late ones are late: a good part of the others comes before them.
        while bodies(&receiver).len() < 15 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        scene.github.advance(plan.delay);
        scene.github.quiet().await;
        let arrived = bodies(&receiver);
        assert!(!arrived.is_sorted_by_key(|n| n.parse::<u32>().unwrap()), "in order: {arrived:?}");
        let mut once = arrived.clone();
        once.sort();
        once.dedup();
        assert!(once.len() < arrived.len(), "none twice");
        assert!(once.len() < 40, "none missing");
        // What failed is in the log and can be had again; what was lost is not.
        let failed = scene.github.deliveries();
        let failed = failed.iter().filter(|d| d.status == "failed to connect to host").count();
        assert!(failed > 0 && once.len() + failed < 40);
        let listed = scene.as_app.get("/app/hook/deliveries?per_page=100").await.expect(200).json();
        let not_ok = listed.as_array().unwrap().iter().filter(|item| item["status"] != "OK");
        assert_eq!(not_ok.count(), failed);
        // In order of arrival they may differ by the machine's mood.
        seen.push((once, failed));
    }
    assert_eq!(seen[0], seen[1]);
}

/// Behaviour 78: what is over 25 MB is not delivered, and no log knows of it.
#[tokio::test]
async fn a_payload_over_25_mb_never_was() {
    let (scene, receiver) = listening(config()).await;
    let known = scene.github.deliveries().len();
    let large = json!({ "text": "x".repeat(25 * 1024 * 1024) });
    assert_eq!(scene.github.send_event("push", &large), None);
    assert_eq!(scene.github.deliveries().len(), known);
    let fits = json!({ "text": "x".repeat(5 * 1024 * 1024) });
    assert!(scene.github.send_event("galaxy", &fits).is_some());
    scene.github.quiet().await;
    assert_eq!(receiver.kinds(), ["galaxy"]);
}

/// Behaviour 79: merge groups need `merge_queues: read`, statuses `statuses: read`, and both want
/// to be ticked.
#[tokio::test]
async fn events_are_gated_by_their_permission() {
    for (permitted, ticked) in [(false, true), (true, false), (true, true)] {
        let mut config = config();
        config.permissions.insert("statuses".to_owned(), "write".to_owned());
        if permitted {
            config.permissions.insert("merge_queues".to_owned(), "read".to_owned());
        }
        if ticked {
            config.events.extend(["merge_group".to_owned(), "status".to_owned()]);
        }
        let (scene, receiver) = listening(config).await;
        scene.github.enqueue(REPO, &[scene.number], "ada").await.unwrap();
        let path = scene.path(&format!("/statuses/{}", scene.head));
        scene.client.post(&path, json!({ "state": "success" })).await.expect(201);
        scene.github.quiet().await;
        let kinds = receiver.kinds();
        let group = kinds.contains(&"merge_group.checks_requested".to_owned());
        assert_eq!((group, kinds.contains(&"status".to_owned())), (permitted && ticked, ticked));
    }
}

/// Behaviour 82: events, actions and fields that nobody knows arrive. A receiver that refuses
/// unknown fields refuses everything.
#[tokio::test]
async fn the_unknown_arrives() {
    let (scene, receiver) = listening(config()).await;
    scene.github.send_event("galaxy", &json!({ "action": "born" })).unwrap();
    scene.github.send_event("pull_request", &json!({ "action": "teleported" })).unwrap();
    comment(&scene, "known").await;
    scene.github.faults().future_payloads(true);
    comment(&scene, "of the future").await;
    scene.github.quiet().await;
    assert_eq!(receiver.kinds()[..2], ["galaxy.born", "pull_request.teleported"]);
    let strict = |payload: &Value| {
        let known = ["action", "comment", "installation", "issue", "organization", "repository"];
        let names = payload.as_object().unwrap().keys();
        names.into_iter().all(|name| known.contains(&name.as_str()) || name == "sender")
    };
    let all = receiver.all();
    assert!(strict(&all[2].json()));
    assert!(!strict(&all[3].json()));
    assert!(all[3].json()["comment"]["of_the_future"]["list"].is_array());
    assert_eq!(all[3].json()["comment"]["body"], "of the future");
    assert_eq!(all[3].header("x-hub-signature-256"), scene.github.sign(&all[3].body));
}

/// Behaviour 83: times were numbers, and fields were missing. A receiver that demands what the
/// newest schema has refuses what older servers send.
#[tokio::test]
async fn old_payloads_have_numbers_and_less() {
    let (scene, receiver) = listening(config()).await;
    let mut forms = Vec::new();
    for old in [false, true] {
        scene.github.faults().old_payloads(old);
        scene.github.suspend(REPO).unwrap();
        scene.github.unsuspend(REPO).unwrap();
        comment(&scene, "x").await;
        scene.github.quiet().await;
        let installation = receiver.last("installation.suspend").json()["installation"].clone();
        let comment = receiver.last("issue_comment.created").json();
        assert_eq!(installation["id"], scene.installation);
        forms.push([
            installation["created_at"].is_string(),
            installation["created_at"].is_i64(),
            installation.get("app_slug").is_some(),
            comment["comment"].get("reactions").is_some(),
            comment["repository"].get("has_discussions").is_some(),
        ]);
    }
    assert_eq!(forms, [[true, false, true, true, true], [false, true, false, false, false]]);
}

/// Behaviour 85: what waited while the secret was changed has the old signature, or by switch the
/// new one. A receiver that forgets the old secret at once refuses it.
#[tokio::test]
async fn a_rotated_secret_meets_old_signatures() {
    let (scene, receiver) = listening(config()).await;
    let signed = |secret: &str, body: &[u8]| {
        let mac = Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        format!("sha256={}", hex::encode(mac.chain_update(body).finalize().into_bytes()))
    };
    let mut current = scene.app.webhook_secret.clone();
    for (keeps, next) in [(true, "second"), (false, "third")] {
        scene.github.choose(|choices| choices.old_secret_in_flight = keeps);
        scene.github.faults().pause_deliveries();
        comment(&scene, "in flight").await;
        scene.as_app.patch("/app/hook/config", json!({ "secret": next })).await.expect(200);
        scene.github.faults().resume_deliveries();
        scene.github.quiet().await;
        let got = receiver.all().pop().unwrap();
        let expected = if keeps { signed(&current, &got.body) } else { signed(next, &got.body) };
        assert_eq!(got.header("x-hub-signature-256"), expected);
        // A redelivery is signed anew, whatever the first was.
        scene.github.redeliver(&got.header("x-github-delivery")).await.unwrap();
        scene.github.quiet().await;
        let again = receiver.all().pop().unwrap();
        assert_eq!(again.header("x-hub-signature-256"), signed(next, &again.body));
        next.clone_into(&mut current);
    }
}

/// Everything that Apps are told by a payload with a recording, once.
async fn everything(scene: &Scene) {
    let github = &scene.github;
    let action = json!({ "label": "Mend", "description": "Mends", "identifier": "mend" });
    let run = json!({ "name": "a", "head_sha": scene.head, "conclusion": "failure",
        "actions": [action], "output": { "title": "t", "summary": "s" } });
    let run = scene.check(run).await.expect(201).json()["id"].as_u64().unwrap();
    github.rerequest_check_run(REPO, run, "ada").await.unwrap();
    github.click_action(REPO, run, "mend", "ada").await.unwrap();
    let suite = github.check_suites(REPO, &scene.head)[0].id;
    github.rerequest_check_suite(REPO, suite, "ada").await.unwrap();
    let change = vec![crate::common::write("f", "f")];
    github.commit(REPO, "topic", github_simulator::Commit::new("c", "ada", change)).await.unwrap();
    let id = github.comment(REPO, scene.number, "ada", "/retest").await.unwrap();
    github.edit_comment(REPO, id, "ada", "/test").await.unwrap();
    github.delete_comment(REPO, id, "ada").await.unwrap();
    github.convert_to_draft(REPO, scene.number, "ada").await.unwrap();
    github.ready_for_review(REPO, scene.number, "ada").await.unwrap();
    github.close_pull_request(REPO, scene.number, "ada").await.unwrap();
    github.reopen_pull_request(REPO, scene.number, "ada").await.unwrap();
    let again = OpenPull::new("topic", "main", "ada", "Again");
    let number = github.open_pull_request(REPO, again).await.unwrap();
    github.enqueue(REPO, &[number], "ada").await.unwrap();
    let path = scene.path(&format!("/statuses/{}", scene.head));
    scene.client.post(&path, json!({ "state": "success" })).await.expect(201);
    github.create_repository("acme/second", RepositoryOptions::default()).await.unwrap();
    github.create_repository("other/third", RepositoryOptions::default()).await.unwrap();
    github.delete_repository("acme/second").unwrap();
    github.suspend(REPO).unwrap();
    github.unsuspend(REPO).unwrap();
    github.uninstall(REPO).unwrap();
    github.quiet().await;
}

/// Every place in a payload with the kind of what is there; lists by their first item.
fn places(value: &Value, path: &str, found: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Null => return,
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(items) => {
            items.first().into_iter().for_each(|item| places(item, &format!("{path}/*"), found));
            "list"
        }
        Value::Object(object) => {
            for (name, value) in object {
                places(value, &format!("{path}/{name}"), found);
            }
            "object"
        }
    };
    found.insert(path.to_owned(), kind);
}

/// What recordings have and the simulator does not: what their repository and people happened to
/// have (a licence, labels, reviewers, an e-mail address, branches at the tip, permissions that no
/// installation here has), deployments, and what only the oldest recordings have.
fn is_left_out(place: &str) -> bool {
    let left_out = [
        "/added/",
        "/assignees/",
        "/branches/",
        "/custom_properties",
        "/deployment",
        "/labels/",
        "/license/",
        "/master_branch",
        "/owner/email",
        "/owner/name",
        "/permissions/",
        "/requested_reviewers/",
        "/requester/",
        "/single_file_paths/",
        "/stargazers",
        "/username",
    ];
    left_out.iter().any(|part| place.contains(part))
}

/// Behaviours 65, 66, 70 and 83: payloads against recordings of real ones: where both have
/// something, it is of one kind, and what recordings have is there.
#[tokio::test]
async fn payloads_look_like_recorded_ones() {
    let Some(folder) = crate::common::contract() else { return };
    let mut config = config();
    for (name, level) in [("statuses", "write"), ("merge_queues", "read")] {
        config.permissions.insert(name.to_owned(), level.to_owned());
    }
    config.events.extend(["status", "merge_group", "push"].map(str::to_owned));
    let (scene, receiver) = listening(config).await;
    everything(&scene).await;
    let all = receiver.all();
    let (mut compared, mut problems) = (0, Vec::new());
    for entry in std::fs::read_dir(folder.join("webhooks")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let kind = name.trim_end_matches(".json");
        let Some(ours) = all.iter().find(|r| {
            kind.strip_prefix(&r.kind())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        }) else {
            continue;
        };
        if kind.contains("on-issue") || kind.starts_with("ping") {
            continue;
        }
        compared += 1;
        let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let (mut there, mut here) = (BTreeMap::default(), BTreeMap::default());
        places(&recorded, "", &mut there);
        let body = ours.json();
        places(&body, "", &mut here);
        for (place, kind) in &there {
            match here.get(place) {
                Some(ours) if ours == kind => {}
                Some(ours) if place.ends_with("_at") => {
                    assert_eq!((*kind, *ours), ("number", "string"), "{name}: {place}");
                }
                Some(ours) => problems.push(format!("{name}: {place} is {kind}, here {ours}")),
                None if body.pointer(place).is_some() || is_left_out(place) => {}
                None => problems.push(format!("{name}: {place} is missing")),
            }
        }
    }
    problems.sort();
    assert!(problems.is_empty(), "{problems:#?}");
    assert!(compared >= 30, "{compared}");
}

/// What an owner does to a repository is told to who ticked `repository`, and listed from then on.
#[tokio::test]
async fn a_repository_is_hidden_and_archived_with_events() {
    let events = ["repository"].map(str::to_owned).to_vec();
    let (scene, receiver) = listening(Config { events, ..config() }).await;
    let listed = async || {
        let listed = scene.client.get("/installation/repositories").await.expect(200).json();
        let listed = &listed["repositories"][0];
        ["private", "archived"].map(|flag| listed[flag].as_bool().unwrap())
    };
    assert_eq!(listed().await, [false, false]);
    scene.github.set_private(REPO, true).unwrap();
    scene.github.set_archived(REPO, true).unwrap();
    assert_eq!(listed().await, [true, true]);
    let refused = scene.check(json!({ "name": "x", "head_sha": scene.head })).await.expect(403);
    assert_eq!(refused.message(), "Repository was archived so is read-only.");
    scene.github.set_archived(REPO, false).unwrap();
    scene.github.set_private(REPO, false).unwrap();
    assert_eq!(listed().await, [false, false]);
    scene.check(json!({ "name": "x", "head_sha": scene.head })).await.expect(201);
    scene.github.quiet().await;
    let told = ["privatized", "archived", "unarchived", "publicized"];
    let told = told.map(|action| format!("repository.{action}"));
    let kinds = receiver.kinds();
    let of_it: Vec<&String> = kinds.iter().filter(|kind| kind.starts_with("repository")).collect();
    assert_eq!(of_it, told.iter().collect::<Vec<_>>());
    let archived = receiver.last("repository.archived").json();
    assert_eq!(archived["repository"]["archived"], true);
    assert_eq!(archived["repository"]["private"], true);
    scene.no_violations();
}
