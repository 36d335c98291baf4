//! Behaviours 31–37: what is too much.

use std::time::Duration;

use github_simulator::{RepositoryOptions, SecondaryLimit};
use serde_json::json;

use crate::common::{Reply, Scene, config};

const FORM: SecondaryLimit = SecondaryLimit {
    status: 403,
    lasts: Duration::from_mins(1),
    retry_after: true,
    remaining_zero: false,
};

/// Behaviour 31: 403 or by switch 429; what tells it from a missing permission is the headers.
#[tokio::test]
async fn the_primary_limit_has_two_statuses() {
    let scene = Scene::new().await;
    scene.github.primary_limit(Some(1));
    scene.client.get(&scene.path("")).await.expect(200);
    let by_status = async || scene.client.get(&scene.path("")).await.status == 403;
    assert!(by_status().await);
    scene.github.choose(|choices| choices.primary_status = 429);
    assert!(!by_status().await);
    let reply = scene.client.get(&scene.path("")).await.expect(429);
    assert_eq!(reply.header("x-ratelimit-remaining"), "0");
    let reset: i64 = reply.header("x-ratelimit-reset").parse().unwrap();
    assert!((3500..=3600).contains(&(reset - crate::common::now())));
}

/// Behaviour 32: 50 an hour for every repository and user beyond 20, up to 12,500; 15,000 on
/// Enterprise Cloud.
#[tokio::test]
async fn the_budget_grows_with_the_account() {
    let scene = Scene::new().await;
    let limit = async || {
        let reply = scene.client.get(&scene.path("")).await.expect(200);
        reply.header("x-ratelimit-limit").parse::<u64>().unwrap()
    };
    assert_eq!(limit().await, 5_000);
    for n in 1..23 {
        let name = format!("acme/more-{n}");
        scene.github.create_repository(&name, RepositoryOptions::default()).await.unwrap();
    }
    assert_eq!(limit().await, 5_000 + 3 * 50);
    for n in 0..30 {
        scene.github.add_member("acme", &format!("member-{n}"));
    }
    assert_eq!(limit().await, 5_000 + 3 * 50 + 10 * 50);
    for n in 0..300 {
        scene.github.add_member("acme", &format!("member-{n}"));
    }
    assert_eq!(limit().await, 12_500);
    scene.github.enterprise_cloud("acme", true);
    assert_eq!(limit().await, 15_000);
}

fn is_secondary(reply: &Reply) -> bool {
    let body = reply.json();
    let about = body["documentation_url"].as_str().unwrap();
    about.ends_with("#about-secondary-rate-limits")
        && reply
            .message()
            .starts_with("You have exceeded a secondary rate limit. Please wait a few")
}

/// Behaviour 33: with `retry-after`, without it but nothing remaining, with neither. One who waits
/// for `retry-after` only does not wait at all in two of them.
#[tokio::test]
async fn a_secondary_limit_has_three_forms() {
    let scene = Scene::new().await;
    for (retry_after, remaining_zero) in [(true, false), (false, true), (false, false)] {
        let form = SecondaryLimit { status: 429, retry_after, remaining_zero, ..FORM };
        scene.github.faults().secondary_limit(form);
        let reply = scene.client.get(&scene.path("")).await.expect(429);
        assert!(is_secondary(&reply), "{}", reply.text);
        assert_eq!(!reply.header("retry-after").is_empty(), retry_after);
        assert_eq!(reply.header("x-ratelimit-remaining") == "0", remaining_zero);
        scene.github.advance(Duration::from_secs(61));
        scene.client.get(&scene.path("")).await.expect(200);
    }
    scene.no_violations();
}

/// Behaviour 33: a hundred calls at once are served, more are not; those that were under way
/// when it was announced are no fault of the client.
#[tokio::test]
async fn more_than_a_hundred_calls_at_once_are_too_many() {
    let scene = Scene::with(github_simulator::Config::default(), false).await;
    scene.github.faults().enforce_secondary_limits(true);
    scene.github.faults().latency(Duration::from_millis(900));
    let at_once = async |calls: usize| {
        let path = scene.path("");
        let calls = (0..calls).map(|_| scene.client.get(&path));
        futures_util::future::join_all(calls).await
    };
    assert!(at_once(90).await.iter().all(|reply| reply.status == 200));
    let replies = at_once(130).await;
    let refused: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 403).collect();
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|reply| is_secondary(reply)));
    scene.no_violations();
}

/// Behaviour 34: 900 points a minute on one endpoint; reading costs 1, writing 5.
#[tokio::test]
async fn one_endpoint_has_its_points() {
    let scene = Scene::with(github_simulator::Config::default(), false).await;
    scene.github.faults().enforce_secondary_limits(true);
    let write = async || scene.as_app.patch("/app/hook/config", json!({})).await.status;
    for _ in 0..180 {
        assert_eq!(write().await, 200);
    }
    // Another endpoint has points of its own.
    scene.as_app.get("/app/hook/config").await.expect(200);
    assert_eq!(write().await, 403);
    scene.github.advance(Duration::from_secs(61));
    assert_eq!(write().await, 200);
    scene.github.advance(Duration::from_secs(61));
    for _ in 0..900 {
        scene.client.get("/rate_limit").await.expect(200);
    }
    assert!(is_secondary(&scene.client.get("/rate_limit").await.expect(403)));
    scene.no_violations();
}

/// Behaviour 35: 500 new contents an hour, though never 80 in a minute; what counts is our choice.
#[tokio::test]
async fn creating_too_much_in_an_hour_is_too_much() {
    let mut config = github_simulator::Config::default();
    config.permissions.insert("statuses".to_owned(), "write".to_owned());
    let scene = Scene::with(config, false).await;
    scene.github.faults().enforce_secondary_limits(true);
    let path = scene.path(&format!("/statuses/{}", scene.head));
    let post = async |n: usize| {
        let body = json!({ "state": "success", "context": n.to_string() });
        scene.client.post(&path, body).await
    };
    for n in 0..500 {
        if n % 70 == 69 {
            scene.github.advance(Duration::from_secs(61));
        }
        post(n).await.expect(201);
    }
    assert!(is_secondary(&post(500).await.expect(403)));
    scene.github.advance(Duration::from_secs(61));
    scene.github.choose(|choices| choices.content_operations.clear());
    post(501).await.expect(201);
    scene.no_violations();
}

/// Behaviour 36: asking again while blocked makes it longer and is counted against the client; by
/// switch it only is counted.
#[tokio::test]
async fn impatience_makes_it_longer() {
    let scene = Scene::new().await;
    let get = async |after: u64| {
        scene.github.advance(Duration::from_secs(after));
        scene.client.get(&scene.path("")).await.status
    };
    for (grows, expected) in [(true, [403, 403, 403]), (false, [403, 403, 200])] {
        scene.github.choose(|choices| choices.blocks_grow = grows);
        scene.github.faults().secondary_limit(FORM);
        let before = scene.github.violations().len();
        assert_eq!([get(0).await, get(40).await, get(40).await], expected);
        assert_eq!(scene.github.violations().len() - before, if grows { 2 } else { 1 });
        assert_eq!(get(61).await, 200, "who waits is served");
    }
}

/// Behaviour 37: looking at the budget is free.
#[tokio::test]
async fn looking_at_the_budget_is_free() {
    let scene = Scene::with(config(), false).await;
    let used = async || {
        let body = scene.client.get("/rate_limit").await.expect(200).json();
        assert_eq!(body["rate"], body["resources"]["core"]);
        body["resources"]["core"]["used"].as_u64().unwrap()
    };
    let before = used().await;
    assert_eq!(used().await, before);
    scene.client.get(&scene.path("")).await.expect(200);
    assert_eq!(used().await, before + 1);
    let newest = [("x-github-api-version", "2026-03-10")];
    let body = scene.client.send("GET", "/rate_limit", &newest, None).await.expect(200).json();
    assert!(body.get("rate").is_none());
    scene.no_violations();
}
