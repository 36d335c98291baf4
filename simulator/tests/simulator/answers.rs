//! Behaviours 6, 8, 9, 11, 13 and 14: paths, versions, pages, redirects, and calls that fail.

use std::time::Duration;

use github_simulator::OversizedPage;
use serde_json::{Value, json};

use crate::common::{Client, REPO, Scene, contract, fast_import};

/// Behaviour 8: `{path}`, `{ref}` and `{basehead}` may hold slashes, raw or encoded.
#[tokio::test]
async fn branch_names_may_hold_slashes() {
    let scene = Scene::new().await;
    let commit = github_simulator::Commit::new(
        "x",
        "ada",
        vec![crate::common::write("deep/er/file.txt", "x")],
    );
    let sha = scene.github.commit(REPO, "feature/x", commit).await.unwrap();
    for (path, pointer) in [
        ("/commits/feature/x", "/sha"),
        ("/commits/feature%2Fx", "/sha"),
        ("/git/ref/heads/feature/x", "/object/sha"),
        ("/git/ref/heads%2Ffeature%2Fx", "/object/sha"),
        ("/compare/main...feature/x", "/commits/0/sha"),
        ("/compare/main...feature%2Fx", "/commits/0/sha"),
    ] {
        let found = scene.client.get(&scene.path(path)).await.expect(200).json();
        assert_eq!(found.pointer(pointer), Some(&json!(sha)), "{path}");
    }
    for path in ["/contents/deep/er/file.txt", "/contents/deep%2Fer%2Ffile.txt"] {
        let path = scene.path(&format!("{path}?ref=feature/x"));
        assert_eq!(scene.client.get(&path).await.expect(200).json()["name"], "file.txt");
    }
    for path in ["/commits/feature/x/check-runs", "/commits/feature%2Fx/check-runs"] {
        assert_eq!(scene.client.get(&scene.path(path)).await.expect(200).json()["total_count"], 0);
    }
    scene.no_violations();
}

const NEWEST: [(&str, &str); 1] = [("x-github-api-version", "2026-03-10")];

/// Behaviour 6: what the published description says of 2026-03-10, object by object.
#[tokio::test]
async fn the_newest_version_takes_away_what_its_description_says() {
    let Some(folder) = contract() else { return };
    let text = std::fs::read(folder.join("openapi-subset.json")).unwrap();
    let document: Value = serde_json::from_slice(&text).unwrap();
    let scene = Scene::new().await;
    scene.check(json!({ "name": "a", "head_sha": scene.head })).await.expect(201);
    let suite = scene.github.check_suites(REPO, &scene.head)[0].id;
    let pull = format!("/repos/{REPO}/pulls/{}", scene.number);
    let places = [
        ("full-repository", format!("/repos/{REPO}"), ""),
        ("repository", pull.clone(), "/head/repo"),
        ("nullable-repository", pull.clone(), "/base/repo"),
        ("minimal-repository", format!("/repos/{REPO}/check-suites/{suite}"), "/repository"),
        ("pull-request", pull, ""),
        ("pull-request-simple", format!("/repos/{REPO}/pulls"), "/0"),
        ("rate-limit-overview", "/rate_limit".to_owned(), ""),
    ];
    let mut checked = 0;
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let Some(changes) = schema["x-github-breaking-changes"].as_array() else { continue };
        let (_, path, pointer) = places
            .iter()
            .find(|(known, ..)| known == name)
            .unwrap_or_else(|| panic!("version 2026-03-10 changes {name}, too"));
        let usual = scene.client.get(path).await.expect(200).json();
        let newest = scene.client.send("GET", path, &NEWEST, None).await.expect(200).json();
        let (usual, newest) = (usual.pointer(pointer).unwrap(), newest.pointer(pointer).unwrap());
        for change in changes {
            for gone in change["patch"]["properties"].as_object().unwrap().keys() {
                assert!(newest.get(gone).is_none(), "{name} still has {gone}");
                // A client of the older version that reads this would break with the newer one.
                checked += usize::from(usual.get(gone).is_some());
            }
        }
    }
    assert!(checked >= 9, "{checked}");
}

/// Behaviour 6: directory listings say `file` for submodules, and `submodule` since 2026-03-10.
#[tokio::test]
async fn a_submodule_is_a_file_to_older_versions() {
    let scene = Scene::new().await;
    let stream = format!(
        "commit refs/heads/sub\ncommitter a <a@b> 1 +0000\ndata 1\nx\nfrom {0}\nM 160000 {0} lib\n",
        scene.base
    );
    fast_import(&scene.github, REPO, &stream).await;
    let path = scene.path("/contents/?ref=sub");
    let kind = |listing: &Value| {
        let entries = listing.as_array().unwrap();
        entries.iter().find(|entry| entry["name"] == "lib").unwrap()["type"].clone()
    };
    assert_eq!(kind(&scene.client.get(&path).await.expect(200).json()), "file");
    let newest = scene.client.send("GET", &path, &NEWEST, None).await.expect(200).json();
    assert_eq!(kind(&newest), "submodule");
}

/// Behaviour 9: 30 a page; more than 100 is 100, by switch 30 or a refusal. A client that asks
/// for 500 and reads one page loses the rest.
#[tokio::test]
async fn pages_have_at_most_a_hundred() {
    let scene = Scene::with(github_simulator::Config::default(), false).await;
    for n in 0..105 {
        scene
            .github
            .other_apps_check_run(REPO, &scene.head, &n.to_string(), "success")
            .await
            .unwrap();
    }
    let get = async |query: &str| {
        let path = scene.path(&format!("/commits/{}/check-runs{query}", scene.head));
        scene.client.get(&path).await
    };
    let count = |reply: &crate::common::Reply| reply.json()["check_runs"].as_array().unwrap().len();
    assert_eq!(count(&get("").await), 30);
    assert_eq!(count(&get("?per_page=500").await), 100);
    assert_eq!(count(&get("?per_page=500&page=2").await), 5);
    scene.github.choose(|choices| choices.oversized_page = OversizedPage::Usual);
    assert_eq!(count(&get("?per_page=500").await), 30);
    scene.github.choose(|choices| choices.oversized_page = OversizedPage::Refuse);
    get("?per_page=500").await.expect(422);
    assert_eq!(count(&get("?per_page=100").await), 100);
}

/// Behaviour 11: a write is redirected with 307, or by switch 308; one who follows a GET only
/// never gets there.
#[tokio::test]
async fn writes_follow_a_rename_too() {
    let scene = Scene::new().await;
    scene.github.rename_repository(REPO, "plugs").unwrap();
    let path = scene.path("/check-runs");
    let body = json!({ "name": "a", "head_sha": scene.head });
    scene.client.post(&path, body.clone()).await.expect(307);
    scene.github.choose(|choices| choices.moved_write = 308);
    scene.client.post(&path, body.clone()).await.expect(308);
    let run = json!({ "name": "b", "head_sha": scene.head });
    let following = reqwest::Client::new();
    let follow = following
        .post(format!("{}{path}", scene.github.api_url()))
        .header("user-agent", "t")
        .bearer_auth(scene.client.token.clone().unwrap())
        .body(run.to_string());
    assert_eq!(follow.send().await.unwrap().status(), 201);
    let runs = scene.github.check_runs("acme/plugs", &scene.head);
    assert_eq!(runs.len(), 1, "only the one that followed");
}

/// Behaviour 13: after ten seconds a call is ended, with a page or by switch with JSON.
#[tokio::test]
async fn a_call_over_ten_seconds_is_ended() {
    let scene = Scene::new().await;
    let path = scene.path("");
    let slow = async || {
        scene.github.faults().fail_next("GET", &path, 1, 0);
        let call = scene.client.get(&path);
        let time = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            scene.github.advance(Duration::from_secs(10));
        };
        tokio::join!(call, time).0
    };
    let reply = slow().await.expect(502);
    assert!(reply.text.contains("Server Error"));
    assert_eq!(reply.header("content-type"), "text/html");
    assert!(serde_json::from_str::<Value>(&reply.text).is_err(), "who parses first, breaks");
    scene.github.choose(|choices| (choices.slow_call, choices.slow_call_json) = (504, true));
    assert_eq!(slow().await.expect(504).message(), "Server Error");
}

/// Behaviour 14: by plan, comparisons, commits and pull requests fail now and then.
#[tokio::test]
async fn reads_fail_now_and_then_by_plan() {
    let scene = Scene::new().await;
    let pull = scene.path(&format!("/pulls/{}", scene.number));
    let paths = [
        scene.path("/compare/main...topic"),
        scene.path("/commits/topic"),
        format!("{pull}/files"),
        pull,
        scene.path("/pulls"),
    ];
    let mut seen = Vec::new();
    for _ in 0..2 {
        scene.github.faults().unreliable_reads(40, 7);
        let mut statuses = Vec::new();
        for path in paths.iter().cycle().take(30) {
            statuses.push(scene.client.get(path).await.status);
        }
        seen.push(statuses);
    }
    assert_eq!(seen[0], seen[1], "the same seed, the same trouble");
    for status in [200, 500, 502, 503] {
        assert!(seen[0].contains(&status), "{status}: {:?}", seen[0]);
    }
    assert!(seen[0].iter().all(|status| [200, 500, 502, 503].contains(status)));
    scene.github.faults().unreliable_reads(100, 7);
    scene.client.get(&scene.path("")).await.expect(200);
    scene.client.get(&paths[0]).await;
    // One who tries twice and gives up fails; the trouble ends when the plan does.
    scene.github.faults().unreliable_reads(0, 7);
    scene.client.get(&paths[0]).await.expect(200);
}

/// Behaviours 2 and 3: how a wrong token is put is not published, nor how many lock out.
#[tokio::test]
async fn wrong_credentials_are_told_by_status() {
    let scene = Scene::new().await;
    let garbage = Client::new(&scene.github, Some("nonsense".to_owned()));
    let by_text = async || garbage.get("/meta").await.expect(401).message() == "Bad credentials";
    assert!(by_text().await);
    scene.github.choose(|choices| choices.reworded = true);
    assert!(!by_text().await, "who goes by the text does not know it any more");
    scene.github.choose(|choices| choices.lockout_after = 3);
    garbage.get("/meta").await.expect(401);
    garbage.get("/meta").await.expect(403);
    scene.client.get(&scene.path("")).await.expect(403);
    scene.github.choose(|choices| choices.lockout_after = 0);
    scene.client.get(&scene.path("")).await.expect(200);
}
