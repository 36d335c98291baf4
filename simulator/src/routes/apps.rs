//! The App itself: installations, tokens, its webhook and the delivery log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::paging;
use crate::auth::{Credentials, grants};
use crate::choices::RefusalLayer;
use crate::clock::stamp;
use crate::deliveries::DeliveryRow;
use crate::enterprise::log_window;
use crate::faults::TokenFormat;
use crate::refusals::{Answer, Outcome, Refusal, not_found, refuse, unpublished};
use crate::server::Asked;
use crate::simulator::Inner;
use crate::world::{Installation, Token, World};

const TOKEN_LIFE: TimeDelta = TimeDelta::hours(1);
const MOST_REPOSITORIES: usize = 500;

pub(super) fn serve(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    match asked.operation.id {
        "apps/get-authenticated" => {
            let world = inner.world();
            let mut app = world.app_json(world.app.id);
            app["installations_count"] = world.installations.len().into();
            Ok(Answer::ok(app))
        }
        "apps/get-webhook-config-for-app" => Ok(Answer::ok(hook_config(&inner.world()))),
        "apps/update-webhook-config-for-app" => Ok(update_hook(inner, asked)),
        "apps/list-webhook-deliveries" => list_deliveries(inner, asked),
        "apps/get-webhook-delivery" => delivery(inner, asked),
        "apps/redeliver-webhook-delivery" => {
            let id = asked.number("delivery_id")?;
            let gone = || refuse(asked.choices.late_redelivery, "Not Found").in_our_words();
            inner.redeliver(|row| row.id == id).ok_or_else(gone)?;
            Ok(Answer::json(202, json!({})))
        }
        "apps/list-installations" => {
            let world = inner.world();
            let items = world.installations.values().map(|i| world.installation_json(i)).collect();
            paging::array(&world, asked, items)
        }
        "apps/get-installation" => {
            let world = inner.world();
            let installation = world.installations.get(&asked.number("installation_id")?);
            Ok(Answer::ok(world.installation_json(installation.ok_or_else(not_found)?)))
        }
        "apps/get-repo-installation" => {
            let world = inner.world();
            let installation = world.installation_of(asked.repository()?).ok_or_else(not_found)?;
            Ok(Answer::ok(world.installation_json(installation)))
        }
        "apps/create-from-manifest" => crate::registration::convert(inner, asked),
        "apps/create-installation-access-token" => mint(inner, asked),
        "apps/list-repos-accessible-to-installation" => repositories(inner, asked),
        "apps/revoke-installation-access-token" => {
            revoke(inner, asked);
            Ok(Answer::empty(204))
        }
        _ => Err(not_found()),
    }
}

fn hook_config(world: &World) -> Value {
    json!({
        "content_type": if world.hook.form { "form" } else { "json" },
        "insecure_ssl": "0",
        "secret": world.hook.secret.as_ref().map_or("", |_| "********"),
        "url": world.hook.url.clone().unwrap_or_default(),
    })
}

fn update_hook(inner: &Inner, asked: &Asked<'_>) -> Answer {
    let mut world = inner.world();
    let text = |name: &str| asked.body.get(name).and_then(Value::as_str).map(str::to_owned);
    if let Some(url) = text("url") {
        world.hook.url = Some(url);
    }
    if let Some(secret) = text("secret") {
        world.app.webhook_secret.clone_from(&secret);
        world.hook.secret = Some(secret);
    }
    if let Some(content_type) = text("content_type") {
        world.hook.form = content_type == "form";
    }
    Answer::ok(hook_config(&world))
}

fn delivery_item(row: &DeliveryRow) -> Value {
    json!({
        "id": row.id,
        "guid": row.guid,
        "delivered_at": stamp(row.delivered_at),
        "redelivery": row.redelivery,
        "duration": (row.duration.as_secs_f64() * 100.0).round() / 100.0,
        "status": row.status,
        // GitHub's log says 0 where no answer came.
        "status_code": row.status_code.unwrap_or(0),
        "event": row.event,
        "action": row.action,
        "installation_id": row.installation_id,
        "repository_id": row.repository_id,
        "throttled_at": null,
    })
}

/// What happened before there was a webhook address was never a delivery.
fn is_listed(row: &DeliveryRow) -> bool {
    !row.url.is_empty()
}

/// Newest first; `cursor` is the number of the last delivery of the page before.
fn list_deliveries(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let now = inner.clock.now();
    let world = inner.world();
    let before = match asked.query("cursor") {
        None => u64::MAX,
        Some(cursor) => {
            let digits = cursor.rsplit('_').next().unwrap_or_default();
            digits.parse().map_err(|_| refuse(400, "Invalid cursor"))?
        }
    };
    let size =
        asked.query("per_page").and_then(|size| size.parse().ok()).unwrap_or(30).clamp(1, 100);
    let code_fits = |row: &DeliveryRow| match (asked.query("status"), row.status_code) {
        (None, _) => true,
        (Some("success"), Some(code)) => (200..400).contains(&code),
        (Some("failure"), Some(code)) => (400..600).contains(&code),
        (Some(_), _) => false,
    };
    let mut rows: Vec<&DeliveryRow> = world
        .deliveries
        .iter()
        .rev()
        .filter(|row| {
            is_listed(row)
                && row.id < before
                && now - row.delivered_at <= log_window(world.enterprise)
                && code_fits(row)
        })
        .collect();
    // A redelivery's number is higher than that of what came after the original.
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    let more = rows.len() > size;
    rows.truncate(size);
    let last = rows.last().map_or(0, |row| row.id);
    let answer = Answer::ok(rows.into_iter().map(delivery_item).collect());
    if !more {
        return Ok(answer);
    }
    let status =
        asked.query("status").map(|status| format!("&status={status}")).unwrap_or_default();
    let link = format!(
        "<{}/app/hook/deliveries?per_page={size}&cursor=v1_{last}{status}>; rel=\"next\"",
        world.api_url
    );
    Ok(answer.with("link", link))
}

fn delivery(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let id = asked.number("delivery_id")?;
    let now = inner.clock.now();
    let world = inner.world();
    let row = world
        .deliveries
        .iter()
        .find(|row| {
            is_listed(row) && row.id == id && now - row.delivered_at <= log_window(world.enterprise)
        })
        .ok_or_else(not_found)?;
    let mut shape = delivery_item(row);
    shape["url"] = row.url.as_str().into();
    let payload: Value = serde_json::from_slice(&row.payload).unwrap_or_default();
    shape["request"] = json!({ "headers": row.request_headers, "payload": payload });
    shape["response"] = json!({ "headers": row.response_headers, "payload": row.response_body });
    Ok(Answer::ok(shape))
}

fn mint(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let now = inner.clock.now();
    let id = asked.number("installation_id")?;
    let mut world = inner.world();
    let installation = world.installations.get(&id).ok_or_else(not_found)?;
    if installation.suspended_at.is_some() {
        return Err(refuse(403, "This installation has been suspended"));
    }
    let permissions = wanted_permissions(installation, asked)?;
    let repositories = wanted_repositories(&world, installation, asked)?;
    let shown: Option<Vec<Value>> = repositories.as_ref().map(|ids| {
        let found = ids.iter().filter_map(|id| world.repositories.get(id));
        found.map(|repository| world.repository_json(repository)).collect()
    });
    let token = new_token(inner, &world, asked);
    let expires_at = now + TOKEN_LIFE;
    let mut body = json!({
        "token": token,
        "expires_at": stamp(expires_at),
        "permissions": permissions,
        "repository_selection": "selected",
    });
    if let Some(shown) = shown {
        body["repositories"] = shown.into();
    }
    world.tokens.insert(
        token,
        Token {
            installation_id: id,
            expires_at,
            permissions,
            repositories,
            not_yet_known: inner.faults.lag_of_fresh_tokens(),
            known_from: now + inner.faults.age_of_fresh_tokens(),
        },
    );
    Ok(Answer::json(201, body))
}

fn wanted_permissions(
    installation: &Installation,
    asked: &Asked<'_>,
) -> Result<BTreeMap<String, String>, Answer> {
    let Some(wanted) = asked.body.get("permissions").and_then(Value::as_object) else {
        return Ok(installation.permissions.clone());
    };
    let mut permissions = BTreeMap::new();
    for (name, level) in wanted {
        let level = level.as_str().unwrap_or_default();
        if !grants(&installation.permissions, &format!("{name}={level}")) {
            let text = "The permissions requested are not granted to this installation.";
            return Err(refuse(422, text));
        }
        permissions.insert(name.clone(), level.to_owned());
    }
    permissions.entry("metadata".to_owned()).or_insert_with(|| "read".to_owned());
    Ok(permissions)
}

fn wanted_repositories(
    world: &World,
    installation: &Installation,
    asked: &Asked<'_>,
) -> Result<Option<BTreeSet<u64>>, Answer> {
    let list = |name: &str| asked.body.get(name).and_then(Value::as_array);
    let (names, ids) = (list("repositories"), list("repository_ids"));
    if names.is_none() && ids.is_none() {
        return Ok(None);
    }
    let count = names.map_or(0, Vec::len) + ids.map_or(0, Vec::len);
    let refused = |message: &str| {
        let refusal = Refusal {
            resource: "IntegrationInstallation",
            code: "invalid",
            field: "repositories",
            message,
        };
        Err(unpublished(asked.choices.refusal_layer, RefusalLayer::Model, &refusal))
    };
    if count > MOST_REPOSITORIES {
        return refused("No more than 500 repositories can be named.");
    }
    let mut wanted = BTreeSet::new();
    for id in ids.into_iter().flatten() {
        wanted.extend(id.as_u64().filter(|id| installation.repositories.contains(id)));
    }
    for name in names.into_iter().flatten().filter_map(Value::as_str) {
        let found = installation.repositories.iter().find(|id| {
            world.repositories.get(id).is_some_and(|found| found.name.eq_ignore_ascii_case(name))
        });
        wanted.extend(found);
    }
    if wanted.len() < count {
        return refused(
            "There is at least one repository that does not exist or is not accessible to the \
             parent installation.",
        );
    }
    Ok(Some(wanted))
}

/// Both of GitHub's forms: the old one of 40 characters, the new one of about 520 with dots.
fn new_token(inner: &Inner, world: &World, asked: &Asked<'_>) -> String {
    let forced = asked.headers.get("x-github-stateless-s2s-token").and_then(|v| v.to_str().ok());
    let stateless = match (forced, inner.faults.format_of_tokens()) {
        (Some("enabled"), _) | (None, TokenFormat::Stateless) => true,
        (Some("disabled"), _) | (None, TokenFormat::Classic) => false,
        (_, TokenFormat::Mixed | TokenFormat::Stateless | TokenFormat::Classic) => {
            world.tokens.len() % 2 == 1
        }
    };
    if !stateless {
        return format!("ghs_{}", &inner.entropy.hex()[..36]);
    }
    let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let header = encode(r#"{"alg":"RS256","typ":"JWT","kid":"simulated"}"#);
    let claims = encode(&format!(r#"{{"iss":"github","jti":"{}"}}"#, inner.entropy.hex()));
    // 256 bytes of signature, as RS256 makes them.
    let signature: String = (0..4).map(|_| inner.entropy.hex()).collect();
    let signature = encode(&signature);
    format!("ghs_{}_{header}.{claims}.{signature}", world.app.id)
}

fn repositories(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let world = inner.world();
    let items = world
        .repositories
        .values()
        .filter(|repository| match &asked.credentials {
            Credentials::Installation(token) => crate::auth::selects(&world, token, repository.id),
            Credentials::Nobody | Credentials::App | Credentials::User(_) => false,
        })
        .map(|repository| world.repository_json(repository))
        .collect();
    let mut answer = paging::counted(&world, asked, "repositories", items)?;
    if let crate::refusals::Payload::Json(body) = &mut answer.body {
        body["repository_selection"] = "selected".into();
    }
    Ok(answer)
}

fn revoke(inner: &Inner, asked: &Asked<'_>) {
    let token = asked.headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.split_once(' ')).map(|(_, token)| token.trim());
    if let Some(token) = token {
        inner.world().tokens.remove(token);
    }
}
