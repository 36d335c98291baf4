//! What in a payload tells one act from the next. GitHub's GUID is that of an event, but one that two
//! hooks are told of, or that is told twice, can have two.

use serde::Deserialize;
use serde_json::Value;

use super::Delivery;

/// Text or number: GitHub writes times in either way, and some servers numbers.
#[derive(Default, Deserialize)]
struct Dated {
    #[serde(default)]
    updated_at: Option<Value>,
    #[serde(default)]
    pushed_at: Option<Value>,
    #[serde(default)]
    number: Option<Value>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    login: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    check_suite: Option<Dated>,
    #[serde(default)]
    label: Option<Dated>,
    #[serde(default)]
    pull_request: Option<Dated>,
    #[serde(default)]
    repository: Option<Dated>,
    #[serde(default)]
    sender: Option<Dated>,
}

/// The occasion of events whose own numbers do not tell it. What has no time in it has no occasion:
/// then its GUID tells.
pub(super) fn of(delivery: &Delivery<'_>) -> Option<String> {
    let told = ["check_suite", "push"];
    let labels = (delivery.event, delivery.action) == ("pull_request", "labeled");
    if !told.contains(&delivery.event) && !labels {
        return None;
    }
    let payload: Payload = serde_json::from_slice(delivery.body).ok()?;
    match delivery.event {
        "check_suite" => word(payload.check_suite?.updated_at?),
        "push" => word(payload.repository?.pushed_at?),
        _ => {
            let pull = payload.pull_request?;
            let (label, sender) = (payload.label?.name?, payload.sender?.login?);
            Some(format!("{}-{label}-{sender}-{}", word(pull.number?)?, word(pull.updated_at?)?))
        }
    }
}

fn word(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) | Value::String(_) => {
            None
        }
    }
}
