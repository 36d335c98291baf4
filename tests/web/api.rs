//! The JSON API's shapes and refusals.

use checkvalve::domain::run::{Problem, ProblemKind};
use checkvalve::domain::state::{Conclusion, Outcome};
use checkvalve::domain::trigger::{Scope, Target, Trigger};
use checkvalve::domain::trust::Trust;
use reqwest::Method;
use serde_json::{Value, json};

use super::house::{House, Plot, TERM, TOKEN, Tale, finished};

#[tokio::test]
async fn a_run_is_shown_as_the_interface_promises() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    let run = house.json(&format!("/api/v1/runs/{id}")).await;
    for (field, expected) in [
        ("id", json!(id.to_string())),
        ("repository", json!("acme/connectors")),
        ("pull_request", json!(12)),
        ("head_sha", json!("a".repeat(40))),
        ("base_sha", json!("b".repeat(40))),
        ("trigger", json!("pull_request")),
        ("state", json!("queued")),
        ("conclusion", Value::Null),
        ("started_at", Value::Null),
        ("concluded_at", Value::Null),
        ("superseded_by", Value::Null),
        ("url", json!(format!("{}/runs/{id}", house.base))),
    ] {
        assert_eq!(run.get(field), Some(&expected), "{field} in {run}");
    }
    let connector = &run["connectors"][0];
    assert_eq!(connector["name"], "source-faker");
    assert_eq!(connector["state"], "queued");
    assert_eq!(connector["reasons"][0]["rule"], "root");
    assert_eq!(connector["reasons"][1]["via"], json!(["lib-shared", "lib-http"]));
    let step = &connector["steps"][0];
    assert_eq!((&step["id"], &step["state"]), (&json!("install"), &json!("waiting")));
    let log = format!("/api/v1/runs/{id}/connectors/source-faker/steps/install/log");
    assert_eq!(step["log_url"], json!(format!("{}{log}", house.base)));
    for field in ["outcome", "reason", "exit_code", "attempt", "queued_at", "started_at"] {
        assert!(step.get(field).is_some(), "{field} in {step}");
    }
}

#[tokio::test]
async fn the_list_is_newest_first_and_paged() {
    let house = House::open().await;
    let mut ids = Vec::new();
    for (pull, sha) in [(1, "1"), (2, "2"), (3, "3")] {
        let tale = Tale { pull, sha, ..Tale::default() };
        ids.push(house.planned(&tale).await.to_string());
    }
    let list = async |query: String| -> Vec<String> {
        let runs = house.json(&format!("/api/v1/runs?{query}")).await;
        let runs = runs.as_array().expect("an array").clone();
        assert!(runs.iter().all(|run| run.get("connectors").is_none()));
        runs.iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(list(String::new()).await, [&ids[2][..], &ids[1], &ids[0]]);
    assert_eq!(list("limit=1".to_owned()).await, [&ids[2][..]]);
    assert_eq!(list(format!("before={}", ids[2])).await, [&ids[1][..], &ids[0]]);
    assert_eq!(list("repo=acme/connectors&pull=2".to_owned()).await, [&ids[1][..]]);
    assert_eq!(list("repo=acme%2Fconnectors&pull=9".to_owned()).await, [""; 0]);
    assert_eq!(list("repo=acme/other".to_owned()).await, [""; 0]);
    let sha = "3".repeat(40);
    assert_eq!(list(format!("repo=acme/connectors&sha={sha}")).await, [&ids[2][..]]);
    for bad in ["repo=acme", "pull=x", "sha=12", "before=12", "limit=-1"] {
        let answer = house.get(&format!("/api/v1/runs?{bad}")).await;
        assert_eq!(answer.status(), 400, "{bad}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "bad_query");
        assert!(body["error"]["message"].is_string() && body["error"]["mend"].is_string());
    }
}

#[tokio::test]
async fn refusals_are_json_under_the_api() {
    let house = House::open().await;
    for (path, status) in [("/api/v1/nothing", 404), ("/api/v1/runs/run_x", 404)] {
        let answer = house.get(path).await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "not_found");
    }
    let answer = house.request(Method::DELETE, "/api/v1/queue").send().await.unwrap();
    assert_eq!(answer.status(), 405);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "wrong_method");
}

#[tokio::test]
async fn the_queue_and_the_metrics_count_what_waits() {
    let house = House::open().await;
    assert_eq!(house.json("/api/v1/queue").await["idle"], true);
    house.planned(&Tale::default()).await;
    let queue = house.json("/api/v1/queue").await;
    assert_eq!((&queue["idle"], &queue["queued"]), (&json!(false), &json!(1)));
    for field in ["running", "oldest_seconds", "deliveries_pending", "checks_pending"] {
        assert!(queue[field].is_u64(), "{field}");
    }
    let metrics = house.page("/metrics").await;
    assert!(metrics.contains("# TYPE checkvalve_queue_queued gauge\ncheckvalve_queue_queued 1\n"));
    let is_sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().is_ok() && name.starts_with("checkvalve_")
    };
    assert!(metrics.lines().all(|line| line.starts_with("# ") || is_sample(line)), "{metrics}");
}

async fn post(house: &House, path: &str, token: Option<&str>, body: &str) -> (u16, Value) {
    let mut request = house.request(Method::POST, path).body(body.to_owned());
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test]
async fn nothing_is_changed_without_the_token() {
    let house = House::open().await;
    let id = house.planned(&Tale::default()).await;
    for verb in ["cancel", "retest"] {
        let path = format!("/api/v1/runs/{id}/{verb}");
        for token in [None, Some("wrong"), Some("")] {
            let (code, body) = post(&house, &path, token, "").await;
            assert_eq!((code, &body["error"]["code"]), (401, &json!("unauthorized")), "{token:?}");
        }
        assert_eq!(house.get(&path).await.status(), 405);
    }
    assert_eq!(house.run(id).await.cancel, None);
    let house = House::on(Plot { api_token: false, ..Plot::default() }).await;
    let (code, body) = post(&house, &format!("/api/v1/runs/{id}/cancel"), Some(TOKEN), "").await;
    assert_eq!((code, &body["error"]["code"]), (403, &json!("no_api_token")));
}

#[tokio::test]
async fn a_run_or_some_of_its_connectors_are_cancelled() {
    let house = House::open().await;
    let tale = Tale { connectors: vec!["source-a", "source-b"], ..Tale::default() };
    let id = house.planned(&tale).await;
    let path = format!("/api/v1/runs/{id}/cancel");
    let (code, body) = post(&house, &path, Some(TOKEN), r#"{"connectors":["source-c"]}"#).await;
    assert_eq!((code, &body["error"]["code"]), (422, &json!("unknown_connector")));
    for bad in ["{", "[]", r#"{"connector":["source-a"]}"#, r#"{"connectors":[7]}"#] {
        let (code, body) = post(&house, &path, Some(TOKEN), bad).await;
        assert_eq!((code, &body["error"]["code"]), (400, &json!("bad_body")), "{bad}");
    }
    let (code, body) = post(&house, &path, Some(TOKEN), r#"{"connectors":["source-a"]}"#).await;
    assert_eq!((code, &body["asked"]), (202, &json!(1)));
    let run = house.run(id).await;
    let concluded: Vec<_> = run.jobs.iter().map(|job| job.conclusion).collect();
    assert_eq!(concluded, [Some(Conclusion::Cancelled), None]);
    let (code, _) = post(&house, &path, Some(TOKEN), "").await;
    assert_eq!(code, 202);
    assert_eq!(house.run(id).await.conclusion, Some(Conclusion::Cancelled));
    let gone = "/api/v1/runs/run_01ARZ3NDEKTSV4RRFFQ69G5FAV/cancel";
    assert_eq!(post(&house, gone, Some(TOKEN), "").await.0, 404);
}

#[tokio::test]
async fn a_retest_runs_what_did_not_succeed() {
    let house = House::open().await;
    let tale = Tale { connectors: vec!["source-a", "source-b"], ..Tale::default() };
    let id = house.planned(&tale).await;
    let path = format!("/api/v1/runs/{id}/retest");
    let (code, body) = post(&house, &path, Some(TOKEN), "").await;
    assert_eq!((code, &body["run"]), (200, &Value::Null), "everything still waits: {body}");

    for outcome in [Outcome::Failed, Outcome::Succeeded] {
        let (lease, _, job) = house.claim().await;
        let mut steps: Vec<_> =
            job.steps.iter().map(|s| finished(s.id.as_str(), Outcome::Succeeded)).collect();
        steps[2] = finished("unit", outcome);
        let conclusion =
            if outcome == Outcome::Failed { Conclusion::Failure } else { Conclusion::Success };
        house.store.settle_job(lease, &steps, conclusion).await.unwrap();
    }
    let failed = house.run(id).await.jobs.into_iter();
    let failed = failed.filter(|job| job.conclusion == Some(Conclusion::Failure));
    let failed: Vec<String> = failed.map(|job| job.connector.to_string()).collect();
    let other = if failed[0] == "source-a" { "source-b" } else { "source-a" };
    let (code, body) =
        post(&house, &path, Some(TOKEN), &format!(r#"{{"connectors":["{other}"]}}"#)).await;
    assert_eq!((code, &body["targets"]), (200, &json!([])), "that one is green");

    let (code, body) = post(&house, &path, Some(TOKEN), "").await;
    assert_eq!(code, 202, "{body}");
    let made = house.run(body["run"].as_str().unwrap().parse().unwrap()).await;
    assert_eq!((made.trigger, made.head_sha), (Trigger::Manual, house.run(id).await.head_sha));
    let target = |step: &str| Target { connector: failed[0].clone(), step: Some(step.to_owned()) };
    let Scope::Again { targets } = made.scope else { panic!("{:?}", made.scope) };
    assert_eq!(targets, [target("unit")]);
    // Again, at once: it is on its way.
    let (code, body) = post(&house, &path, Some(TOKEN), "").await;
    assert_eq!((code, &body["run"]), (200, &Value::Null));
}

#[tokio::test]
async fn what_is_asked_through_the_api_is_written_down() {
    let house = House::open().await;
    let tale = Tale { connectors: vec!["source-a", "source-b"], ..Tale::default() };
    let id = house.make(&tale).await;
    let path = format!("/api/v1/runs/{id}/cancel");
    // Not planned: what it names holds once it is.
    let (code, body) = post(&house, &path, Some(TOKEN), r#"{"connectors":["source-a"]}"#).await;
    assert_eq!((code, &body["asked"], &body["noted"]), (202, &json!(0), &json!(["source-a"])));
    let lease = house.store.claim_planning(house.worker, TERM).await;
    house.store.settle_planning(lease.unwrap().unwrap(), tale.planned()).await.unwrap();
    let states: Vec<_> = house.run(id).await.jobs.iter().map(|job| job.conclusion).collect();
    assert_eq!(states, [Some(Conclusion::Cancelled), None]);

    post(&house, &path, Some(TOKEN), r#"{"connectors":["source-x"]}"#).await;
    let (_, body) = post(&house, &path, Some(TOKEN), "").await;
    assert_eq!(body["connectors"], json!(["source-b"]));
    let retest = format!("/api/v1/runs/{id}/retest");
    let (_, body) = post(&house, &retest, Some(TOKEN), "").await;
    let again = body["run"].as_str().unwrap().to_owned();
    let run = house.json(&format!("/api/v1/runs/{id}")).await;
    let told = |of: &Value| -> Vec<String> {
        let records = of["audit"].as_array().unwrap().iter();
        let line = |one: &Value| format!("{} {} {}", one["route"], one["asked"], one["decision"]);
        records.map(|one| line(one).replace('"', "")).collect()
    };
    assert_eq!(told(&run), ["api cancel accepted", "api cancel source-a accepted"]);
    assert_eq!(run["audit"][0]["because"], "Ends: `source-b`.");
    let made = house.json(&format!("/api/v1/runs/{again}")).await;
    assert_eq!(told(&made), ["api retest accepted"]);
    // What was refused made no run, and stands with the pull request.
    let page = house.page("/r/acme/connectors/pull/12").await;
    assert!(page.contains("cancel source-x") && page.contains("has no connector"), "{page}");
    let page = house.page(&format!("/runs/{id}")).await;
    assert!(page.contains("Who asked for it") && page.contains("Ends: "), "{page}");
}

#[tokio::test]
async fn what_is_refused_of_a_branchs_run_is_written_down_with_it() {
    let house = House::open().await;
    let tale = Tale { trigger: Trigger::Push, ..Tale::default() };
    let id = house.planned(&tale).await;
    let path = format!("/api/v1/runs/{id}/retest");
    let (code, body) = post(&house, &path, Some(TOKEN), r#"{"connectors":["sorce-faker"]}"#).await;
    assert_eq!((code, &body["error"]["code"]), (422, &json!("unknown_connector")));
    let (code, body) = post(&house, &path, Some(TOKEN), "").await;
    assert_eq!((code, &body["because"]), (200, &json!("it still waits or runs")));
    let run = house.json(&format!("/api/v1/runs/{id}")).await;
    let told = run["audit"].as_array().unwrap().iter().map(|one| {
        assert_eq!((&one["route"], &one["decision"]), (&json!("api"), &json!("refused")));
        one["asked"].as_str().unwrap()
    });
    assert_eq!(told.collect::<Vec<_>>(), ["retest", "retest sorce-faker"]);
}

#[tokio::test]
async fn an_old_head_is_not_retested() {
    let house = House::open().await;
    let old = house.planned(&Tale::default()).await;
    house.planned(&Tale { sha: "d", ..Tale::default() }).await;
    let (code, body) = post(&house, &format!("/api/v1/runs/{old}/retest"), Some(TOKEN), "").await;
    assert_eq!((code, &body["error"]["code"]), (409, &json!("stale")));
    assert!(body["error"]["message"].as_str().unwrap().contains("dddddddddddd"));
}

#[tokio::test]
async fn a_badge_waits_for_the_default_branch() {
    let house = House::open().await;
    house.planned(&Tale::default()).await;
    let answer = house.get("/r/acme/connectors/connectors/source-faker/badge.json").await;
    assert_eq!(answer.status(), 404);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "no_run");
    assert!(body["error"]["message"].as_str().unwrap().contains("default branch yet"));
}

#[tokio::test]
async fn a_badge_shows_the_branchs_last_run_however_long_ago() {
    let house = House::open().await;
    house.planned(&Tale { trigger: Trigger::Push, ..Tale::default() }).await;
    let (lease, _, job) = house.claim().await;
    let steps: Vec<_> =
        job.steps.iter().map(|s| finished(s.id.as_str(), Outcome::Succeeded)).collect();
    house.store.settle_job(lease, &steps, Conclusion::Success).await.unwrap();
    // More than a page of pull requests since.
    for pull in 1..=120 {
        house.make(&Tale { pull, ..Tale::default() }).await;
    }
    let badge = "/r/acme/connectors/connectors/source-faker/badge.json";
    assert_eq!(house.json(badge).await["message"], "passed");
}

#[tokio::test]
async fn readiness_names_what_fails() {
    let engine = Err("no socket at /secret/path".to_owned());
    let house = House::on(Plot { engine, ..Plot::default() }).await;
    let answer = house.get("/readyz").await;
    assert_eq!(answer.status(), 503);
    let text = answer.text().await.unwrap();
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&body["ready"], &body["engine"]["ok"]), (&json!(false), &json!(false)));
    assert_eq!((&body["database"]["ok"], &body["store"]["ok"]), (&json!(true), &json!(true)));
    assert!(!text.contains("/secret/path"));
}

#[tokio::test]
async fn a_commit_without_a_plan_is_retested_whole_and_an_untrusted_one_is_not() {
    for (kind, status) in [(ProblemKind::Configuration, 202), (ProblemKind::NotTrusted, 409)] {
        let house = House::open().await;
        let (title, text) = ("no plan".to_owned(), "mend it".to_owned());
        let problem = Problem { kind, title, text, place: None };
        let tale = Tale { problem: Some((Conclusion::Failure, problem)), ..Tale::default() };
        let id = house.make(&tale).await;
        let (code, body) =
            post(&house, &format!("/api/v1/runs/{id}/retest"), Some(TOKEN), "").await;
        assert_eq!(code, status, "{body}");
        let head = house.run(id).await.head_sha;
        let runs = house.store.runs_of_head(tale.repository().id, &head).await.unwrap();
        if kind == ProblemKind::NotTrusted {
            assert_eq!((runs.len(), &body["error"]["code"]), (1, &json!("not_approved")));
        } else {
            assert_eq!(runs.last().unwrap().scope, Scope::Affected);
        }
    }
}

#[tokio::test]
async fn a_strangers_commit_is_not_retested_when_its_planning_failed_either() {
    let house = House::open().await;
    let of_kind = |kind| Problem { kind, title: "t".into(), text: "x".into(), place: None };
    let waits = (Conclusion::ActionRequired, of_kind(ProblemKind::NotTrusted));
    let tale = Tale { problem: Some(waits), trust: Trust::Untrusted, ..Tale::default() };
    let id = house.make(&tale).await;
    let lease = house.store.claim_planning(house.worker, TERM).await.unwrap().unwrap();
    let problem = of_kind(ProblemKind::Infrastructure);
    house.store.fail_planning(lease, Conclusion::Failure, problem).await.unwrap();
    let (code, body) = post(&house, &format!("/api/v1/runs/{id}/retest"), Some(TOKEN), "").await;
    assert_eq!((code, &body["error"]["code"]), (409, &json!("not_approved")));
}
