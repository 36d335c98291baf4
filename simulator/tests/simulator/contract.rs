//! Our own tables and payloads against GitHub's published ones. They are no part of the
//! repository: `CHECKVALVE_GITHUB_CONTRACT` names the folder that holds them.

use std::collections::BTreeSet;

use github_simulator::{Auth, OPERATIONS};
use serde_json::Value;

use crate::common::contract;

fn published(name: &str) -> Option<Value> {
    let path = contract()?.join(name);
    Some(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// Of the documentation, and not in the table as it was kept: as the comments of one issue.
const BEYOND: &str = "issues/list-comments-for-repo";

/// Behaviour 29: our table of permissions is the published one.
#[test]
fn the_permission_table_is_githubs() {
    let Some(table) = published("app-permissions.json") else { return };
    let of = |id: &str| OPERATIONS.iter().find(|one| one.id == id).unwrap();
    let (one, all) = (of("issues/list-comments"), of(BEYOND));
    assert_eq!((one.auth, one.permissions), (all.auth, all.permissions));
    for operation in OPERATIONS.iter().filter(|operation| operation.id != BEYOND) {
        let row = table["operations"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["operationId"] == operation.id)
            .unwrap_or_else(|| panic!("{} is not GitHub's", operation.id));
        assert_eq!(row["method"], operation.method, "{}", operation.id);
        assert_eq!(row["path"], operation.template, "{}", operation.id);
        let auth = match row["auth"].as_str().unwrap() {
            "app JWT" => Auth::Jwt,
            "optional" | "none (the code is the credential)" => Auth::Optional,
            _ if operation.template.starts_with("/repos/") => Auth::Repository,
            _ => Auth::Installation,
        };
        assert_eq!(operation.auth, auth, "{}", operation.id);
        let sets: BTreeSet<String> = row["permission_sets"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|set| set.as_object().unwrap())
            .map(|(name, level)| format!("{name}={}", level.as_str().unwrap()))
            .collect();
        let ours: BTreeSet<String> = operation.permissions.iter().map(|&p| p.to_owned()).collect();
        assert_eq!(ours, sets, "{}", operation.id);
    }
}

#[cfg(feature = "contract")]
mod checked {
    use github_simulator::{Commit, Config, OpenPull};
    use serde_json::{Value, json};

    use super::published;
    use crate::common::{REPO, Receiver, Scene, config, contract, write};

    #[tokio::test]
    async fn what_is_off_the_description_is_a_violation() {
        if contract().is_none() {
            return;
        }
        let scene = Scene::new().await;
        scene.no_violations();
        let body = json!({ "name": "a", "head_sha": scene.head, "conclusion": null });
        scene.check(body).await.expect(422);
        scene.client.get(&scene.path("/pulls?colour=red")).await.expect(200);
        scene.client.get("/nowhere").await.expect(404);
        let found = scene.github.violations();
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(
            found[0].contains("checks/create") && found[0].contains("/conclusion"),
            "{found:?}"
        );
        assert!(found[2].contains("colour"), "{found:?}");
        assert!(found[3].contains("/nowhere"), "{found:?}");
    }

    /// Everything that can happen, once.
    async fn everything(scene: &Scene) {
        let github = &scene.github;
        let n = scene.number;
        let action = json!({ "label": "Mend", "description": "Mends", "identifier": "mend" });
        let body = json!({
            "name": "a", "head_sha": scene.head, "status": "in_progress", "actions": [action],
            "output": { "title": "t", "summary": "s", "text": "x" },
        });
        let run = scene.check(body).await.expect(201).json()["id"].as_u64().unwrap();
        let path = scene.path(&format!("/check-runs/{run}"));
        scene.client.patch(&path, json!({ "conclusion": "failure" })).await.expect(200);
        github.rerequest_check_run(REPO, run, "ada").await.unwrap();
        github.click_action(REPO, run, "mend", "ada").await.unwrap();
        let suite = github.check_suites(REPO, &scene.head)[0].id;
        github.rerequest_check_suite(REPO, suite, "ada").await.unwrap();
        let commit = Commit::new("More", "ada", vec![write("f", "f")]);
        github.commit(REPO, "topic", commit).await.unwrap();
        let comment = github.comment(REPO, n, "ada", "/retest").await.unwrap();
        github.edit_comment(REPO, comment, "ada", "/test").await.unwrap();
        github.delete_comment(REPO, comment, "ada").await.unwrap();
        let all = scene.path("/issues/comments?since=2020-01-01T00:00:00Z&sort=updated");
        scene.client.get(&format!("{all}&direction=asc")).await.expect(200);
        github.convert_to_draft(REPO, n, "ada").await.unwrap();
        github.ready_for_review(REPO, n, "ada").await.unwrap();
        github.retarget_pull_request((REPO, n), "main", "ada").await.unwrap();
        github.close_pull_request(REPO, n, "ada").await.unwrap();
        github.reopen_pull_request(REPO, n, "ada").await.unwrap();
        let again = OpenPull::new("topic", "main", "ada", "Again");
        let again = github.open_pull_request(REPO, again).await.unwrap();
        github.enqueue(REPO, &[again], "ada").await.unwrap();
        github.dequeue(REPO, again, "ada").await.unwrap();
        let statuses = scene.path(&format!("/statuses/{}", scene.head));
        scene.client.post(&statuses, json!({ "state": "success" })).await.expect(201);
        let issue = github.open_issue(REPO, "ada", "It leaks").unwrap();
        github.comment(REPO, issue, "ada", "again").await.unwrap();
        let options = github_simulator::RepositoryOptions::default;
        github.create_repository("acme/second", options()).await.unwrap();
        github.create_repository("other/third", options()).await.unwrap();
        github.delete_repository("acme/second").unwrap();
        github.suspend(REPO).unwrap();
        github.unsuspend(REPO).unwrap();
        github.uninstall(REPO).unwrap();
        github.quiet().await;
    }

    /// Behaviours 65, 79 and 81: the payloads against the published schemas.
    #[tokio::test]
    async fn every_payload_fits_githubs_schema() {
        let Some(document) = published("webhook-schemas/github-webhooks-openapi-subset.json")
        else {
            return;
        };
        let Config { mut events, mut permissions, .. } = Config::default();
        events.extend(["push", "status", "merge_group"].map(str::to_owned));
        for (name, level) in [("statuses", "write"), ("merge_queues", "read")] {
            permissions.insert(name.to_owned(), level.to_owned());
        }
        let scene = Scene::with(Config { events, permissions, ..config() }, false).await;
        let receiver = Receiver::start().await;
        scene.github.install_webhook(&receiver.url);
        everything(&scene).await;
        scene.no_violations();
        let mut seen = std::collections::BTreeSet::new();
        for received in receiver.all() {
            let kind = received.kind();
            if !seen.insert(kind.clone()) {
                continue;
            }
            let name = kind.replace(['_', '.'], "-");
            let problems = problems(&document, &name, &received.json());
            assert!(problems.is_empty(), "{kind}: {problems:#?}");
        }
        assert_eq!(seen.len(), 30, "{seen:#?}");
    }

    fn problems(document: &Value, name: &str, payload: &Value) -> Vec<String> {
        let pointer = format!("/webhooks/{name}/post/requestBody/content/application~1json/schema");
        assert!(document.pointer(&pointer).is_some(), "{name}");
        let schema = json!({
            "$ref": format!("#{pointer}"),
            "webhooks": document["webhooks"],
            "components": document["components"],
        });
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .build(&schema)
            .unwrap();
        // GitHub's own list of an App's events has no merge groups.
        let is_known_gap = |error: &jsonschema::ValidationError<'_>| {
            error.instance().as_str() == Some("merge_group")
                && error.instance_path().as_str().contains("/app/events/")
        };
        validator
            .iter_errors(payload)
            .filter(|error| !is_known_gap(error))
            .map(|error| {
                let text: String = error.to_string().chars().take(200).collect();
                format!("{}: {text}", error.instance_path())
            })
            .collect()
    }
}
