//! Where GitHub does not say how it behaves: clients that rely on one way of it break when the
//! simulator chooses the other.

use std::time::Duration;

use github_simulator::{Permission, RefusalLayer, RepositoryOptions};
use serde_json::{Value, json};

use crate::common::{Client, REPO, Receiver, Scene, fast_import, jwt_at, now, sign_jwt, write};

/// Behaviours 19 and 20: an unknown issuer, and the wrong kind of credentials.
#[tokio::test]
async fn the_wrong_credentials_may_answer_otherwise() {
    let scene = Scene::new().await;
    let claims = json!({ "iat": now() - 60, "exp": now() + 540, "iss": "somebody" });
    let stranger = Client::new(&scene.github, Some(sign_jwt(&scene.app, &claims)));
    stranger.get("/app").await.expect(404);
    scene.github.choose(|choices| choices.unknown_issuer = 401);
    stranger.get("/app").await.expect(401);
    scene.as_app.get(&scene.path("")).await.expect(403);
    scene.client.get("/app").await.expect(401);
    scene.github.choose(|choices| choices.foreign_credentials = Some(401));
    scene.as_app.get(&scene.path("")).await.expect(401);
    scene.github.choose(|choices| choices.foreign_credentials = Some(403));
    scene.client.get("/app").await.expect(403);
}

/// Behaviours 25, 42 and 51: which layer refuses what is published as a mere limit. A client that
/// reads `errors` to say what was wrong has nothing to say in the other one.
#[tokio::test]
async fn a_limit_is_refused_by_either_layer() {
    let scene = Scene::new().await;
    let token = format!("/app/installations/{}/access_tokens", scene.installation);
    let annotation = json!({
        "path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice",
        "message": "m", "title": "t".repeat(256),
    });
    let output = json!({ "title": "t", "summary": "s", "annotations": [annotation] });
    let run = json!({ "name": "a", "head_sha": scene.head, "output": output });
    let has_errors = async || {
        let unknown = json!({ "repositories": ["nowhere"] });
        let mint = scene.as_app.post(&token, unknown).await.expect(422).json();
        let check = scene.check(run.clone()).await.expect(422).json();
        [mint.get("errors").is_some(), check.get("errors").is_some()]
    };
    assert_eq!(has_errors().await, [true, true]);
    scene.github.choose(|choices| choices.refusal_layer = RefusalLayer::Schema);
    assert_eq!(has_errors().await, [false, false]);
    let reserved = json!({ "name": "a", "head_sha": scene.head, "status": "waiting" });
    scene.check(reserved.clone()).await.expect(422);
    scene.github.choose(|choices| choices.reserved_word = 403);
    scene.check(reserved).await.expect(403);
    assert!(scene.github.check_runs(REPO, &scene.head).is_empty());
}

/// Behaviour 30: a write outside the selection is 403, or by switch as if it were not there.
#[tokio::test]
async fn a_write_outside_the_selection_may_be_hidden() {
    let scene = Scene::new().await;
    let options = RepositoryOptions { install: false, ..Default::default() };
    scene.github.create_repository("acme/open", options).await.unwrap();
    let path = "/repos/acme/open/check-runs";
    scene.client.post(path, json!({ "name": "a" })).await.expect(403);
    scene.github.choose(|choices| choices.unselected_write = 404);
    scene.client.post(path, json!({ "name": "a" })).await.expect(404);
    scene.client.get("/repos/acme/open").await.expect(200);
}

/// Behaviours 38 and 71: a check on an unknown commit.
#[tokio::test]
async fn an_unknown_commit_may_be_404() {
    let scene = Scene::new().await;
    let sha = "0".repeat(40);
    let both = async || {
        let run = scene.check(json!({ "name": "a", "head_sha": sha })).await.status;
        let path = scene.path("/check-suites");
        (run, scene.client.post(&path, json!({ "head_sha": sha })).await.status)
    };
    assert_eq!(both().await, (422, 422));
    scene.github.choose(|choices| choices.unknown_commit = 404);
    assert_eq!(both().await, (404, 404));
}

/// Behaviour 44: who does not say when a run ended may find that GitHub does not know either.
#[tokio::test]
async fn the_end_of_a_run_may_stay_unknown() {
    let scene = Scene::new().await;
    let body = json!({ "name": "a", "head_sha": scene.head, "conclusion": "success" });
    let run = scene.check(body.clone()).await.expect(201).json();
    assert_eq!(run["status"], "completed");
    assert!(run["completed_at"].is_string());
    scene.github.choose(|choices| choices.fill_completed_at = false);
    let run = scene.check(body).await.expect(201).json();
    assert_eq!((&run["status"], &run["completed_at"]), (&json!("completed"), &json!(null)));
}

/// Behaviour 52: the limits of buttons are published, the words of the refusal are not.
#[tokio::test]
async fn the_words_of_a_refusal_may_change() {
    let scene = Scene::new().await;
    let action = |label: usize, description: usize, identifier: usize| {
        let text = |length: usize| "x".repeat(length);
        json!({ "label": text(label), "description": text(description),
                "identifier": text(identifier) })
    };
    let send = async |action: Value| {
        let body = json!({ "name": "a", "head_sha": scene.head, "actions": [action] });
        scene.check(body).await
    };
    send(action(20, 40, 20)).await.expect(201);
    for (wrong, limit) in [(action(21, 1, 1), 20), (action(1, 41, 1), 40), (action(1, 1, 21), 20)] {
        let by_text = async || {
            let message = send(wrong.clone()).await.expect(422).message();
            message.contains(&format!("Only {limit} characters are allowed"))
        };
        scene.github.choose(|choices| choices.reworded = false);
        assert!(by_text().await);
        scene.github.choose(|choices| choices.reworded = true);
        assert!(!by_text().await);
    }
    // What is published keeps its words.
    let body = json!({ "name": "a" });
    let message = scene.check(body).await.expect(422).message();
    assert_eq!(message, "Invalid request.\n\n\"head_sha\" wasn't supplied.");
}

/// Behaviour 61: a stale run has the conclusion for sure; whether its status says so is open.
#[tokio::test]
async fn a_stale_run_may_keep_its_status() {
    let scene = Scene::new().await;
    let body = json!({ "name": "a", "head_sha": scene.head, "status": "in_progress" });
    scene.check(body).await.expect(201);
    scene.github.choose(|choices| choices.stale_completes = false);
    scene.github.advance(Duration::from_hours(15 * 24));
    let nobody = Client::new(&scene.github, None);
    let path = scene.path(&format!("/commits/{}/check-runs", scene.head));
    let run = nobody.get(&path).await.expect(200).json()["check_runs"][0].clone();
    assert_eq!((&run["status"], &run["conclusion"]), (&json!("in_progress"), &json!("stale")));
}

/// Behaviour 62: after 400 days a run is archived, which by choice means: not listed; ten days
/// later it is gone.
#[tokio::test]
async fn old_runs_are_archived_and_then_deleted() {
    let scene = Scene::new().await;
    let body = json!({ "name": "a", "head_sha": scene.head, "conclusion": "success" });
    let run = scene.check(body).await.expect(201).json();
    let nobody = Client::new(&scene.github, None);
    let list = scene.path(&format!("/commits/{}/check-runs", scene.head));
    let count = async || nobody.get(&list).await.expect(200).json()["total_count"].clone();
    scene.github.advance(Duration::from_hours(399 * 24));
    assert_eq!(count().await, 1);
    scene.github.advance(Duration::from_hours(2 * 24));
    assert_eq!(count().await, 0);
    scene.github.choose(|choices| choices.archived_listed = true);
    assert_eq!(count().await, 1);
    let path = scene.path(&format!("/check-runs/{}", run["id"]));
    nobody.get(&path).await.expect(200);
    scene.github.advance(Duration::from_hours(10 * 24));
    nobody.get(&path).await.expect(404);
    assert_eq!(count().await, 0);
}

/// Behaviour 64: only `timed_out` before `neutral` and `success` is published.
#[tokio::test]
async fn a_suite_takes_the_worst_and_what_is_worst_is_a_choice() {
    let scene = Scene::new().await;
    let order =
        ["action_required", "timed_out", "cancelled", "failure", "neutral", "skipped", "success"];
    let conclusion = async |pair: [&str; 2], n: usize| {
        let change = vec![write("n", &n.to_string())];
        let commit = github_simulator::Commit::new("n", "ada", change);
        let sha = scene.github.commit(REPO, "suites", commit).await.unwrap();
        for (name, conclusion) in ["a", "b"].into_iter().zip(pair) {
            let body = json!({ "name": name, "head_sha": sha, "conclusion": conclusion });
            scene.check(body).await.expect(201);
        }
        scene.github.check_suites(REPO, &sha)[0].conclusion.clone().unwrap()
    };
    for (n, pair) in order.windows(2).enumerate() {
        assert_eq!(conclusion([pair[1], pair[0]], n).await, pair[0]);
    }
    scene.github.choose(|choices| choices.suite_order.swap(2, 3));
    assert_eq!(conclusion(["failure", "cancelled"], 99).await, "failure");
}

/// Behaviour 67: a re-request that cannot be is 403 or 422, and the event never comes.
#[tokio::test]
async fn a_rerequest_is_refused_in_either_way() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    let open = scene.check(json!({ "name": "a", "head_sha": scene.head })).await.expect(201).json();
    let other = scene.github.other_apps_check_run(REPO, &scene.head, "b", "success").await.unwrap();
    scene.github.install_webhook(&receiver.url);
    let both = async || {
        let path = |id: &str| scene.path(&format!("/check-runs/{id}/rerequest"));
        let open = scene.client.post(&path(&open["id"].to_string()), json!({})).await.status;
        (open, scene.client.post(&path(&other.id.to_string()), json!({})).await.status)
    };
    assert_eq!(both().await, (422, 403));
    for status in [403, 422] {
        scene.github.choose(|choices| choices.rerequest_refusal = Some(status));
        assert_eq!(both().await, (status, status));
    }
    scene.github.quiet().await;
    assert_eq!(receiver.kinds(), ["ping"]);
}

/// Behaviour 76: what the log has forgotten is 404 or by switch 422.
#[tokio::test]
async fn a_late_redelivery_may_be_422() {
    let scene = Scene::new().await;
    let receiver = Receiver::start().await;
    scene.github.install_webhook(&receiver.url);
    scene.github.quiet().await;
    let id = scene.github.deliveries().last().unwrap().id;
    let path = format!("/app/hook/deliveries/{id}/attempts");
    scene.github.advance(Duration::from_hours(3 * 24 + 1));
    let app = Client::new(&scene.github, Some(jwt_at(&scene.app, now() + 3 * 24 * 3600 + 3600)));
    app.post(&path, json!({})).await.expect(404);
    scene.github.choose(|choices| choices.late_redelivery = 422);
    app.post(&path, json!({})).await.expect(422);
}

/// Behaviour 89: two histories without a common ancestor.
#[tokio::test]
async fn unrelated_histories_do_not_compare() {
    let scene = Scene::new().await;
    let stream = "commit refs/heads/orphan\ncommitter a <a@b> 1 +0000\ndata 1\nx\n";
    fast_import(&scene.github, REPO, stream).await;
    let path = scene.path("/compare/main...orphan");
    scene.client.get(&path).await.expect(404);
    scene.github.choose(|choices| choices.no_common_ancestor = 422);
    scene.client.get(&path).await.expect(422);
}

/// Behaviour 96: an empty repository is told by 409, not by its words.
#[tokio::test]
async fn an_empty_repository_is_told_by_status() {
    let scene = Scene::new().await;
    let options = RepositoryOptions::default();
    scene.github.create_repository("acme/empty", options).await.unwrap();
    let zeros = "0".repeat(40);
    for path in ["git/ref/heads/main", &format!("git/trees/{zeros}"), &format!("git/blobs/{zeros}")]
    {
        scene.github.choose(|choices| choices.reworded = false);
        let path = format!("/repos/acme/empty/{path}");
        let reply = scene.client.get(&path).await.expect(409);
        assert_eq!(reply.message(), "Git Repository is empty.");
        scene.github.choose(|choices| choices.reworded = true);
        assert_ne!(scene.client.get(&path).await.expect(409).message(), reply.message());
    }
}

/// Behaviour 72: the preferences of suites are for administrators.
#[tokio::test]
async fn preferences_are_for_administrators() {
    let scene = Scene::new().await;
    let path = scene.path("/check-suites/preferences");
    let body = json!({ "auto_trigger_checks": [{ "app_id": scene.app.id, "setting": false }] });
    let ada = Client::new(&scene.github, Some(scene.github.personal_token("ada")));
    ada.patch(&path, body.clone()).await.expect(403);
    scene.github.set_permission(REPO, "ada", Permission::Admin);
    let reply = ada.patch(&path, body).await.expect(200).json();
    let expected = json!([{ "app_id": scene.app.id, "setting": false }]);
    assert_eq!(reply["preferences"]["auto_trigger_checks"], expected);
}

/// The common error object: clients must not need its `status`.
#[tokio::test]
async fn errors_may_have_no_status() {
    let scene = Scene::new().await;
    let by_body = async || {
        let body = scene.client.get("/nowhere").await.expect(404).json();
        assert!(body["message"].is_string() && body["documentation_url"].is_string());
        body["status"] == "404"
    };
    assert!(by_body().await);
    scene.github.choose(|choices| choices.status_in_errors = false);
    assert!(!by_body().await);
}
