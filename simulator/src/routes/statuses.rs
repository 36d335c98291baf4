//! Commit statuses.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{checks, home, home_mut, paging};
use crate::clock::stamp;
use crate::events::Deed;
use crate::refusals::{
    Answer, Outcome, complaint, invalid_request, not_found, refuse, validation_failed,
};
use crate::server::Asked;
use crate::shapes::{commit_json, node_id};
use crate::simulator::Inner;
use crate::world::{CombinedState, Repository, StatusRow, World};

const STATES: &[&str] = &["error", "failure", "pending", "success"];
const LONGEST_DESCRIPTION: usize = 140;
/// Of one context on one commit.
const MOST: usize = 1000;

pub(super) async fn serve(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    match asked.operation.id {
        "repos/create-commit-status" => create(inner, asked).await,
        "repos/list-commit-statuses-for-ref" => {
            let sha = checks::resolve(inner, asked).await?;
            let world = inner.world();
            let home = home(&world, asked.repository()?)?;
            let of_commit = home.statuses.iter().rev().filter(|status| status.sha == sha);
            let items = of_commit.map(|status| status_json(&world, home, status)).collect();
            paging::array(&world, asked, items)
        }
        "repos/get-combined-status-for-ref" => {
            let sha = checks::resolve(inner, asked).await?;
            combined(inner, asked, &sha)
        }
        _ => Err(not_found()),
    }
}

fn status_json(world: &World, home: &Repository, status: &StatusRow) -> Value {
    json!({
        "url": format!("{}/statuses/{}", world.repository_url(home), status.sha),
        "avatar_url": format!("{}/avatars/in/{}", world.url, world.app.id),
        "id": status.id,
        "node_id": node_id("StatusContext", status.id),
        "state": status.state,
        "description": status.description,
        "target_url": status.target_url,
        "context": status.context,
        "created_at": stamp(status.created_at),
        "updated_at": stamp(status.created_at),
        "creator": world.user_json(&status.creator),
    })
}

fn combined(inner: &Inner, asked: &Asked<'_>, sha: &str) -> Outcome {
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    let latest = home.latest_statuses(sha);
    let state = CombinedState::of(latest.iter().copied()).name();
    let items = latest.into_iter().map(|status| {
        let mut shape = status_json(&world, home, status);
        // The combined view has the short form.
        if let Some(object) = shape.as_object_mut() {
            object.remove("creator");
        }
        shape
    });
    let mut answer = paging::counted(&world, asked, "statuses", items.collect())?;
    let api = world.repository_url(home);
    if let crate::refusals::Payload::Json(body) = &mut answer.body {
        body["state"] = state.into();
        body["sha"] = sha.into();
        body["repository"] = world.minimal_repository(home).into();
        body["commit_url"] = format!("{api}/commits/{sha}").into();
        body["url"] = format!("{api}/commits/{sha}/status").into();
    }
    Ok(answer)
}

/// A text that may be null or missing.
fn optional(body: &Map<String, Value>, field: &str) -> Option<String> {
    body.get(field).and_then(Value::as_str).map(str::to_owned)
}

fn read(asked: &Asked<'_>) -> Result<(String, Option<String>, Option<String>), Answer> {
    let body = &asked.body;
    let Some(state) = optional(body, "state") else {
        return Err(invalid_request(&["\"state\" wasn't supplied.".to_owned()]));
    };
    if !STATES.contains(&state.as_str()) {
        let allowed: Vec<String> = STATES.iter().map(|one| format!("\"{one}\"")).collect();
        let text = format!("{state} is not a member of [{}].", allowed.join(", "));
        return Err(invalid_request(&[text]));
    }
    let (description, target_url) = (optional(body, "description"), optional(body, "target_url"));
    let mut errors = Vec::new();
    if description.as_ref().is_some_and(|text| text.chars().count() > LONGEST_DESCRIPTION) {
        let text = format!("description is too long (maximum is {LONGEST_DESCRIPTION} characters)");
        errors.push(complaint("Status", "custom", "description", Some(&text)));
    }
    let is_web = |url: &String| url.starts_with("http://") || url.starts_with("https://");
    if target_url.as_ref().is_some_and(|url| !is_web(url)) {
        let text = "target_url must use http(s) scheme";
        errors.push(complaint("Status", "custom", "target_url", Some(text)));
    }
    if errors.is_empty() {
        Ok((state, description, target_url))
    } else {
        Err(validation_failed(&errors))
    }
}

async fn create(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let (state, description, target_url) = read(asked)?;
    let repository = asked.repository()?;
    let unknown = || refuse(422, &format!("No commit found for SHA: {}", asked.param("sha")));
    let facts = inner.know_commit(repository, asked.param("sha")).await.ok_or_else(unknown)?;
    let context = optional(&asked.body, "context").unwrap_or_else(|| "default".to_owned());
    let now = inner.clock.now();
    let mut world = inner.world();
    let creator = asked.credentials.login(&world);
    let id = world.id();
    let rows = &mut home_mut(&mut world, repository)?.statuses;
    let is_same =
        |row: &&StatusRow| row.sha == facts.sha && row.context.eq_ignore_ascii_case(&context);
    if rows.iter().filter(is_same).count() >= MOST {
        let text = "This SHA and context has reached the maximum number of statuses.";
        return Err(validation_failed(&[complaint("Status", "custom", "context", Some(text))]));
    }
    let status = StatusRow {
        id,
        sha: facts.sha.clone(),
        state,
        context,
        description,
        target_url,
        creator: creator.clone(),
        created_at: now,
    };
    rows.push(status.clone());
    let home = home(&world, repository)?;
    let shape = status_json(&world, home, &status);
    let payload = payload(&world, home, (&status, &shape), &commit_json(&world, home, &facts));
    inner.emit(&mut world, "status", Deed::without_action(repository, &creator), payload);
    Ok(Answer::json(201, shape))
}

/// The `status` event: flat, with the commit and the branches that have it at their tip.
fn payload(
    world: &World,
    home: &Repository,
    (status, shape): (&StatusRow, &Value),
    commit: &Value,
) -> Value {
    let api = world.repository_url(home);
    let branches: Vec<Value> = home
        .branches
        .iter()
        .filter(|(_, tip)| **tip == status.sha)
        .map(|(name, tip)| {
            let commit = json!({ "sha": tip, "url": format!("{api}/commits/{tip}") });
            json!({ "name": name, "commit": commit, "protected": false })
        })
        .collect();
    json!({
        "id": status.id,
        "sha": status.sha,
        "name": home.full_name(),
        "avatar_url": shape["avatar_url"],
        "target_url": status.target_url,
        "context": status.context,
        "description": status.description,
        "state": status.state,
        "commit": commit,
        "branches": branches,
        "created_at": shape["created_at"],
        "updated_at": shape["updated_at"],
    })
}
