//! Payloads as they were years ago, and as they may be one day: a receiver should need neither.

use serde_json::{Value, json};

/// Fields that older servers do not send, wherever they are.
const LATER: &[&str] = &["app_slug", "has_discussions", "reactions"];

/// The payload in its old form, its future one, or both.
pub(crate) fn form(mut payload: Value, (old, future): (bool, bool)) -> Value {
    if old {
        if let Some(installation) = payload.get_mut("installation") {
            numbers_for_times(installation);
        }
        without_later(&mut payload);
    }
    if future {
        with_unknown(&mut payload);
    }
    payload
}

/// `installation.created_at` was a number of seconds.
fn numbers_for_times(installation: &mut Value) {
    for name in ["created_at", "updated_at"] {
        let seconds = installation[name]
            .as_str()
            .and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok())
            .map(|time| time.timestamp());
        if let (Some(seconds), Some(object)) = (seconds, installation.as_object_mut()) {
            object.insert(name.to_owned(), seconds.into());
        }
    }
}

fn without_later(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|name, _| !LATER.contains(&name.as_str()));
            object.values_mut().for_each(without_later);
        }
        Value::Array(items) => items.iter_mut().for_each(without_later),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A field of every type in the payload and in what it holds directly.
fn with_unknown(payload: &mut Value) {
    let unknown = json!({ "text": "?", "number": 1.5, "list": [null, true], "nothing": null });
    let Some(object) = payload.as_object_mut() else { return };
    for held in object.values_mut().filter_map(Value::as_object_mut) {
        held.insert("of_the_future".to_owned(), unknown.clone());
    }
    object.insert("of_the_future".to_owned(), unknown);
}
