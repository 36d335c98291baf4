//! What every REST answer gets in the end: the API version's form, `ETag`, and the headers that tell
//! the budget.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::http::request::Parts;
use serde_json::{Map, Value};

use crate::api::Caller;
use crate::operations::Operation;
use crate::refusals::{Answer, Payload};
use crate::server::{bytes_of, resource_of, size_of};
use crate::simulator::Inner;

/// What version 2026-03-10 takes away from repositories, wherever they are embedded.
const OF_REPOSITORIES: &[&str] =
    &["has_downloads", "master_branch", "use_squash_pr_title_as_default"];
/// And from pull requests.
const OF_PULLS: &[&str] = &["assignee", "merge_commit_sha"];

/// Completes an answer to the caller of an operation; the flag says whether it counts.
pub(crate) fn finish(
    inner: &Inner,
    parts: &Parts,
    (operation, caller, counts): (Option<&Operation>, &Caller, bool),
    answer: &mut Answer,
) {
    let enterprise = inner.world().enterprise;
    answer.settle(&inner.choices(), enterprise.is_none());
    let newest = parts.headers.get("x-github-api-version").is_some_and(|v| v == "2026-03-10");
    if let Payload::Json(body) = &mut answer.body {
        apply_version(body, operation, newest);
    }
    conditional(parts, answer);
    if let Some(enterprise) = enterprise {
        let version = format!("enterprise-server@{}", enterprise.version());
        answer.headers.push(("x-github-enterprise-version", version));
    } else {
        budget_headers(inner, (operation, caller, counts), answer);
    }
    let id = inner.entropy.hex().to_uppercase();
    let id = format!("{}:{}:{}:{}", &id[..4], &id[4..10], &id[10..16], &id[16..24]);
    answer.headers.push(("x-github-request-id", id));
    answer.headers.push(("x-github-media-type", "github.v3; format=json".to_owned()));
    let date = inner.clock.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    answer.headers.push(("date", date));
}

/// Shapes are made for the newest version with all that it took away still in them.
fn apply_version(body: &mut Value, operation: Option<&Operation>, newest: bool) {
    if newest {
        strip(body);
        if let Some(object) = body.as_object_mut().filter(|o| o.contains_key("resources")) {
            object.remove("rate");
        }
    } else if operation.is_some_and(|operation| operation.id == "repos/get-content") {
        // Older versions list submodules as files.
        for entry in body.as_array_mut().into_iter().flatten() {
            if entry["type"] == "submodule" {
                entry["type"] = "file".into();
            }
        }
    }
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let gone: &[&str] = match object {
                _ if is_pull(object) => OF_PULLS,
                _ if object.contains_key("full_name") => OF_REPOSITORIES,
                _ => &[],
            };
            for name in gone {
                object.remove(*name);
            }
            object.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_pull(object: &Map<String, Value>) -> bool {
    ["number", "head", "base", "merge_commit_sha"].iter().all(|name| object.contains_key(*name))
}

/// `ETag` on every 200 of a GET, 304 when the client has it already.
fn conditional(parts: &Parts, answer: &mut Answer) {
    if parts.method != "GET" || answer.status != 200 {
        return;
    }
    let bytes = bytes_of(&answer.body);
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let tag = format!("W/\"{:016x}{:08x}\"", hasher.finish(), bytes.len());
    if matches!(answer.body, Payload::Json(_)) {
        // Written once: large answers take their time.
        answer.body = Payload::Raw("application/json; charset=utf-8", bytes);
    }
    let known = parts.headers.get("if-none-match").and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    if is_known {
        answer.status = 304;
        answer.body = Payload::Empty;
    }
    answer.headers.push(("etag", tag));
}

fn budget_headers(
    inner: &Inner,
    (operation, caller, counts): (Option<&Operation>, &Caller, bool),
    answer: &mut Answer,
) {
    let now = inner.clock.now();
    let (size, resource) = (size_of(&inner.world(), caller), resource_of(operation));
    // Makes the budget when this is the caller's first call.
    inner.limits.budget(caller, resource, size, now);
    if counts && answer.status != 304 {
        inner.limits.spend(caller, resource);
    }
    let budget = inner.limits.budget(caller, resource, size, now);
    for (name, value) in budget.headers() {
        if !answer.headers.iter().any(|(set, _)| *set == name) {
            answer.headers.push((name, value));
        }
    }
}
