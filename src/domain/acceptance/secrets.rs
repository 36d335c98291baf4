//! What a configuration holds must not be printed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Shorter values are found anywhere.
const SHORTEST: usize = 6;
/// Values that are no secrets, whatever holds them.
const COMMON: &[&str] = &["default", "public", "localhost", "client_credentials", "oauth2.0"];
/// What stands in a value's place.
const HIDDEN: &str = "***";

/// The secret values of one configuration, and whether any was printed.
#[derive(Debug, Default)]
pub struct Secrets {
    values: BTreeSet<String>,
    /// Does the connector say at all which values are secret?
    known: bool,
    printed: u64,
}

impl Secrets {
    /// The values of a configuration that the SPEC's schema marks with `airbyte_secret`.
    pub fn of(spec: Option<&Value>, config: &Value) -> Self {
        let mut names = BTreeSet::new();
        if let Some(spec) = spec {
            marked(spec, &mut names);
        }
        let mut values = BTreeSet::new();
        named(config, &names, &mut values);
        values.retain(|value| value.len() >= SHORTEST && !COMMON.contains(&value.as_str()));
        // As they stand in a JSON text.
        let escaped = values.iter().filter_map(|value| {
            let text = serde_json::to_string(value).ok()?;
            Some(text.trim_matches('"').to_owned())
        });
        let escaped: Vec<String> = escaped.collect();
        values.extend(escaped);
        Self { values, known: !names.is_empty(), printed: 0 }
    }

    /// Hears a line as it was printed.
    pub fn hear(&mut self, line: &[u8]) {
        if self.values.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(line);
        if self.values.iter().any(|value| text.contains(value)) {
            self.printed += 1;
        }
    }

    /// A text without them.
    pub fn redacted(&self, text: String) -> String {
        let mut text = text;
        for value in self.values.iter().rev() {
            if text.contains(value) {
                text = text.replace(value, HIDDEN);
            }
        }
        text
    }

    /// What there is to say of them: `None` if there is nothing to judge.
    pub(super) fn printed(&self) -> Option<u64> {
        (self.known && !self.values.is_empty()).then_some(self.printed)
    }
}

/// Names of properties that the schema marks.
fn marked(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            let properties = fields.get("properties").and_then(Value::as_object);
            for (name, property) in properties.into_iter().flatten() {
                if property.get("airbyte_secret") == Some(&Value::Bool(true)) {
                    names.insert(name.clone());
                }
            }
            fields.values().for_each(|inner| marked(inner, names));
        }
        Value::Array(items) => items.iter().for_each(|inner| marked(inner, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn named(config: &Value, names: &BTreeSet<String>, values: &mut BTreeSet<String>) {
    match config {
        Value::Object(fields) => of_fields(fields, names, values),
        Value::Array(items) => items.iter().for_each(|item| named(item, names, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn of_fields(fields: &Map<String, Value>, names: &BTreeSet<String>, values: &mut BTreeSet<String>) {
    for (name, value) in fields {
        if names.contains(name) {
            leaves(value, values);
        } else {
            named(value, names, values);
        }
    }
}

/// Every text in a value; a text may itself be JSON, as service accounts are.
fn leaves(value: &Value, values: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            values.insert(text.clone());
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                // Of those the long ones are keys; the rest are addresses and names.
                let mut within = BTreeSet::new();
                leaves(&inner, &mut within);
                values.extend(within.into_iter().filter(|text| text.contains("PRIVATE KEY")));
            }
        }
        Value::Object(fields) => fields.values().for_each(|inner| leaves(inner, values)),
        Value::Array(items) => items.iter().for_each(|inner| leaves(inner, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
