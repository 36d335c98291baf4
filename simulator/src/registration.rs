//! Registering an App from a manifest: a form, a redirect with a code, and the code's exchange.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::request::Parts;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::api::App;
use crate::enterprise::Enterprise;
use crate::refusals::{Answer, Outcome, not_found, refuse};
use crate::server::{Asked, query};
use crate::simulator::Inner;
use crate::world::{UserKind, World};

/// How long a code is good.
const LIFE: TimeDelta = TimeDelta::hours(1);

/// A manifest that waits for its code to be exchanged.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    manifest: Value,
    made_at: DateTime<Utc>,
    used: bool,
}

/// `/settings/apps/new` of a person, `/organizations/ORG/settings/apps/new` of an organisation.
pub(crate) fn is_registration(path: &str) -> bool {
    path == "/settings/apps/new"
        || path
            .strip_prefix("/organizations/")
            .and_then(|rest| rest.strip_suffix("/settings/apps/new"))
            .is_some_and(|organization| !organization.is_empty() && !organization.contains('/'))
}

/// The form's answer. A person would look at a page and press a button here; the simulator's
/// person always agrees.
pub(crate) fn register(inner: &Arc<Inner>, parts: &Parts, body: &Bytes) -> Answer {
    let form = query(&String::from_utf8_lossy(body));
    let wrong = |text: &str| Answer::raw(422, "text/plain; charset=utf-8", text.to_owned());
    let manifest = form.get("manifest").map(|text| serde_json::from_str::<Value>(text));
    let Some(Ok(manifest)) = manifest else { return wrong("The manifest is no JSON.") };
    for required in ["/name", "/url", "/redirect_url", "/hook_attributes/url"] {
        if !manifest.pointer(required).is_some_and(Value::is_string) {
            return wrong(&format!("The manifest has no {required}."));
        }
    }
    if !inner.world().enterprise.is_none_or(Enterprise::has_merge_queues)
        && asks_for_queues(&manifest)
    {
        return wrong("The manifest asks for what this server does not have: merge queues.");
    }
    let state = query(parts.uri.query().unwrap_or_default()).remove("state");
    let state = match state {
        Some(_) if inner.faults.forges_manifest_state() => Some(inner.entropy.hex()),
        state => state,
    };
    let code = inner.entropy.hex()[..40].to_owned();
    let back = manifest["redirect_url"].as_str().unwrap_or_default();
    let sign = if back.contains('?') { '&' } else { '?' };
    let mut location = format!("{back}{sign}code={code}");
    if let Some(state) = state {
        let state =
            percent_encoding::utf8_percent_encode(&state, percent_encoding::NON_ALPHANUMERIC);
        location = format!("{location}&state={state}");
    }
    let registration = Registration { manifest, made_at: inner.clock.now(), used: false };
    inner.world().registrations.insert(code, registration);
    Answer::empty(302).with("location", location)
}

fn asks_for_queues(manifest: &Value) -> bool {
    let events = manifest["default_events"].as_array().into_iter().flatten();
    manifest.pointer("/default_permissions/merge_queues").is_some()
        || events.into_iter().any(|event| event == "merge_group")
}

/// Exchanges a code, once and within the hour: the simulator's App is the registered one from
/// then on. It keeps the published test key.
pub(crate) fn convert(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let now = inner.clock.now();
    let mut world = inner.world();
    let found = world.registrations.get_mut(asked.param("code"));
    let usable = found.filter(|found| !found.used && now - found.made_at <= LIFE);
    let Some(registration) = usable else {
        let status = asked.choices.spent_code;
        return Err(if status == 404 { not_found() } else { refuse(status, "Unprocessable") });
    };
    registration.used = true;
    let manifest = registration.manifest.clone();
    become_registered(inner, &mut world, &manifest);
    let app = world.app.clone();
    let mut shape = world.app_json(app.id);
    shape["client_id"] = app.client_id.into();
    shape["client_secret"] = inner.entropy.hex()[..40].into();
    shape["webhook_secret"] = app.webhook_secret.into();
    shape["pem"] = app.private_key_pem.into();
    Ok(Answer::json(201, shape))
}

fn become_registered(inner: &Inner, world: &mut World, manifest: &Value) {
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    let secret = inner.entropy.hex()[..40].to_owned();
    let id = world.id();
    world.app = App {
        id,
        slug: slug(text("/name").unwrap_or_default()),
        client_id: format!("Iv23li{}", &inner.entropy.hex()[..14]),
        private_key_pem: world.app.private_key_pem.clone(),
        webhook_secret: secret.clone(),
    };
    let permissions = manifest["default_permissions"].as_object().into_iter().flatten();
    let permissions: BTreeMap<String, String> = permissions
        .filter_map(|(name, level)| Some((name.clone(), level.as_str()?.to_owned())))
        .collect();
    world.app_permissions = permissions;
    let events = manifest["default_events"].as_array().into_iter().flatten();
    world.app_events = events.filter_map(|event| event.as_str().map(str::to_owned)).collect();
    world.hook.secret = Some(secret);
    let bot = world.bot_login();
    world.add_user(&bot, UserKind::Bot);
    let active =
        json!(true) == *manifest.pointer("/hook_attributes/active").unwrap_or(&json!(true));
    if let Some(url) = text("/hook_attributes/url").filter(|_| active) {
        world.hook.url = Some(url.to_owned());
        inner.emit_ping(world);
    }
}

/// GitHub's name in addresses for a name.
fn slug(name: &str) -> String {
    let dashed: String = name
        .chars()
        .map(
            |letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' },
        )
        .collect();
    dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}
