//! Behaviours 1–14 and 31–36: what every call has to do with.

use std::time::{Duration, Instant};

use github_simulator::{Away, SecondaryLimit};
use serde_json::json;

use crate::common::{Client, REPO, Scene};

/// Behaviour 1: a client without a name is nobody.
#[tokio::test]
async fn a_call_without_user_agent_is_forbidden() {
    let scene = Scene::new().await;
    let http = reqwest::Client::new();
    let response = http.get(format!("{}/meta", scene.github.api_url())).send().await.unwrap();
    assert_eq!(response.status(), 403);
    assert!(response.text().await.unwrap().contains("User-Agent"));
}

/// Behaviour 2: what may not be seen is not there.
#[tokio::test]
async fn private_repositories_are_not_there_without_a_token() {
    let scene = Scene::with(crate::common::config(), true).await;
    let nobody = Client::new(&scene.github, None);
    assert_eq!(nobody.get(&scene.path("")).await.expect(404).message(), "Not Found");
    let garbage = Client::new(&scene.github, Some("ghs_garbage".to_owned()));
    let reply = garbage.get(&scene.path("")).await.expect(401);
    assert_eq!(reply.message(), "Bad credentials");
    assert_eq!(reply.json()["status"], "401");
    scene.client.get(&scene.path("")).await.expect(200);
}

/// Behaviour 3: who tries again and again with a wrong token locks out the right one.
#[tokio::test]
async fn many_wrong_credentials_lock_everybody_out_for_a_while() {
    let scene = Scene::new().await;
    let garbage = Client::new(&scene.github, Some("nonsense".to_owned()));
    for _ in 0..10 {
        garbage.get("/meta").await.expect(401);
    }
    scene.client.get(&scene.path("")).await.expect(403);
    scene.github.advance(Duration::from_secs(61));
    scene.client.get(&scene.path("")).await.expect(200);
}

/// Behaviours 4 and 5: broken JSON, and JSON that is no object.
#[tokio::test]
async fn bodies_must_be_json_objects() {
    let scene = Scene::new().await;
    let path = scene.path("/check-runs");
    let reply = scene.client.send("POST", &path, &[], Some("{".to_owned())).await.expect(400);
    assert_eq!(reply.message(), "Problems parsing JSON");
    let reply = scene.client.send("POST", &path, &[], Some("[1]".to_owned())).await.expect(400);
    assert_eq!(reply.message(), "Body should be a JSON object");
}

/// Behaviours 6, 37 and 93: known, retired, unknown.
#[tokio::test]
async fn api_versions_are_known_retired_or_refused() {
    let scene = Scene::new().await;
    let path = scene.path(&format!("/pulls/{}", scene.number));
    for (version, status) in
        [("2022-11-28", 200), ("2026-03-10", 200), ("2031-01-01", 400), ("2019-01-01", 410)]
    {
        let headers = [("x-github-api-version", version)];
        let reply = scene.client.send("GET", &path, &headers, None).await.expect(status);
        if status == 200 {
            let has = reply.json().get("merge_commit_sha").is_some();
            assert_eq!(has, version == "2022-11-28", "{version}");
        }
    }
    let headers = [("x-github-api-version", "2026-03-10")];
    let limits = scene.client.send("GET", "/rate_limit", &headers, None).await.expect(200).json();
    assert!(limits.get("rate").is_none());
}

/// Behaviour 7: an address with a slash too many is another one.
#[tokio::test]
async fn a_trailing_slash_is_not_found() {
    let scene = Scene::new().await;
    scene.client.get(&scene.path("/pulls/")).await.expect(404);
    scene.client.get(&scene.path("/pulls")).await.expect(200);
}

/// Behaviour 9: who builds the next address itself cannot follow.
#[tokio::test]
async fn lists_have_pages_and_links_by_number() {
    let scene = Scene::new().await;
    for n in 0..7 {
        scene.check(json!({ "name": format!("n{n}"), "head_sha": scene.head })).await.expect(201);
    }
    let path = scene.path(&format!("/commits/{}/check-runs", scene.head));
    let reply = scene.client.get(&path).await.expect(200);
    assert_eq!(reply.header("link"), "");
    assert_eq!(reply.json()["total_count"], 7);
    let reply = scene.client.get(&format!("{path}?per_page=3")).await.expect(200);
    assert_eq!(reply.json()["check_runs"].as_array().unwrap().len(), 3);
    let link = reply.header("link").to_owned();
    assert!(link.contains("/repositories/"), "{link}");
    let next = link.split(", ").find(|part| part.contains("rel=\"next\"")).unwrap();
    let next = next.split(['<', '>']).nth(1).unwrap();
    let reply = scene.client.get(next).await.expect(200);
    assert_eq!(reply.json()["check_runs"].as_array().unwrap().len(), 3);
    for relation in ["first", "prev", "next", "last"] {
        assert!(reply.header("link").contains(&format!("rel=\"{relation}\"")), "{relation}");
    }
    let reply = scene.client.get(&format!("{path}?per_page=500&page=2")).await.expect(200);
    assert_eq!(reply.json()["check_runs"], json!([]));
    scene.no_violations();
}

/// Behaviour 10: 304 is free.
#[tokio::test]
async fn an_etag_saves_the_answer_and_the_budget() {
    let scene = Scene::new().await;
    let reply = scene.client.get(&scene.path("")).await.expect(200);
    let (tag, left) =
        (reply.header("etag").to_owned(), reply.header("x-ratelimit-remaining").to_owned());
    let headers = [("if-none-match", tag.as_str())];
    let again = scene.client.send("GET", &scene.path(""), &headers, None).await.expect(304);
    assert_eq!(again.text, "");
    assert_eq!(again.header("x-ratelimit-remaining"), left);
}

/// Behaviour 11: the old name leads to the number.
#[tokio::test]
async fn a_renamed_repository_redirects() {
    let scene = Scene::new().await;
    scene.github.rename_repository(REPO, "plugs").unwrap();
    let reply = scene.client.get(&scene.path("/pulls?state=all")).await.expect(301);
    let location = reply.header("location").to_owned();
    assert!(
        location.contains("/repositories/") && location.ends_with("/pulls?state=all"),
        "{location}"
    );
    scene.client.get(&location).await.expect(200);
    let body = json!({ "name": "a", "head_sha": scene.head });
    let reply = scene.client.post(&scene.path("/check-runs"), body.clone()).await.expect(307);
    scene.client.post(reply.header("location"), body).await.expect(201);
}

/// Behaviour 12: also where there is nothing.
#[tokio::test]
async fn every_answer_tells_the_budget_and_an_id() {
    let scene = Scene::new().await;
    for path in [scene.path(""), "/nowhere".to_owned()] {
        let reply = scene.client.get(&path).await;
        for name in ["limit", "remaining", "used", "reset", "resource"] {
            assert_ne!(reply.header(&format!("x-ratelimit-{name}")), "", "{path} {name}");
        }
        assert_ne!(reply.header("x-github-request-id"), "");
        assert_ne!(reply.header("date"), "");
    }
}

/// Behaviours 31 and 37: for the hour.
#[tokio::test]
async fn the_primary_budget_ends() {
    let scene = Scene::new().await;
    scene.github.primary_limit(Some(2));
    scene.client.get(&scene.path("")).await.expect(200);
    scene.client.get(&scene.path("")).await.expect(200);
    let reply = scene.client.get(&scene.path("")).await.expect(403);
    assert_eq!(reply.header("x-ratelimit-remaining"), "0");
    let text = format!("API rate limit exceeded for installation ID {}.", scene.installation);
    assert!(reply.message().starts_with(&text), "{}", reply.message());
    scene.client.get("/rate_limit").await.expect(200);
    scene.github.advance(Duration::from_secs(3601));
    // The token has expired with the hour as well.
    scene.client.get(&scene.path("")).await.expect(401);
}

/// Behaviours 33 and 36: who does not wait is found out.
#[tokio::test]
async fn calling_during_a_secondary_limit_is_a_violation() {
    let scene = Scene::new().await;
    scene.github.faults().secondary_limit(SecondaryLimit {
        status: 429,
        lasts: Duration::from_mins(1),
        retry_after: true,
        remaining_zero: false,
    });
    let reply = scene.client.get(&scene.path("")).await.expect(429);
    assert!(reply.message().starts_with("You have exceeded a secondary rate limit."));
    let wait: u64 = reply.header("retry-after").parse().unwrap();
    assert!((55..=60).contains(&wait));
    assert_eq!(scene.github.violations().len(), 0);
    scene.client.get(&scene.path("")).await.expect(429);
    assert_eq!(scene.github.violations().len(), 1);
    scene.github.advance(Duration::from_secs(61));
    scene.client.get(&scene.path("")).await.expect(200);
}

/// Behaviour 35: 80 a minute.
#[tokio::test]
async fn creating_too_much_in_a_minute_is_too_much() {
    let scene = Scene::new().await;
    scene.github.faults().enforce_secondary_limits(true);
    let post = async |n: u32| {
        scene.check(json!({ "name": format!("n{n}"), "head_sha": scene.head })).await.status
    };
    for n in 0..80 {
        assert_eq!(post(n).await, 201);
    }
    assert_eq!(post(80).await, 403);
    assert_eq!(scene.github.violations().len(), 0);
    scene.github.advance(Duration::from_mins(2));
    assert_eq!(post(81).await, 201);
}

/// Behaviour 14: the next calls of one address.
#[tokio::test]
async fn faults_make_calls_slow_or_fail() {
    let scene = Scene::new().await;
    let path = scene.path(&format!("/pulls/{}", scene.number));
    scene.github.faults().fail_next("GET", &scene.path("/pulls"), 2, 502);
    scene.client.get(&path).await.expect(502);
    scene.client.get(&path).await.expect(502);
    scene.client.get(&path).await.expect(200);
    scene.github.faults().latency(Duration::from_millis(80));
    let before = Instant::now();
    scene.client.get(&path).await.expect(200);
    assert!(before.elapsed() >= Duration::from_millis(80));
}

/// Behaviour 14: all of it, or git alone, for as long as it lasts.
#[tokio::test]
async fn what_is_away_answers_503_until_it_is_back() {
    let scene = Scene::new().await;
    let (path, git) = (scene.path(""), format!("/{REPO}.git/info/refs?service=git-upload-pack"));
    let http = reqwest::Client::new();
    let ask_git = async || {
        let answer = http.get(format!("{}{git}", scene.github.url())).send().await.unwrap();
        answer.status().as_u16()
    };
    scene.github.faults().away(Away::Git);
    scene.client.get(&path).await.expect(200);
    assert_eq!(ask_git().await, 503);
    scene.github.faults().away(Away::Everything);
    for _ in 0..3 {
        scene.client.get(&path).await.expect(503);
        assert_eq!(ask_git().await, 503);
    }
    scene.github.faults().away(Away::Nothing);
    scene.client.get(&path).await.expect(200);
    assert_eq!(ask_git().await, 200);
}

#[tokio::test]
async fn calls_are_remembered_with_operation_and_caller() {
    let scene = Scene::new().await;
    scene.client.get(&scene.path("")).await.expect(200);
    let calls = scene.github.calls();
    let last = calls.last().unwrap();
    assert_eq!(last.operation.as_deref(), Some("repos/get"));
    assert_eq!(last.caller, github_simulator::Caller::Installation(scene.installation));
    assert_eq!(calls[0].caller, github_simulator::Caller::App);
}
