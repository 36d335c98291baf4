//! What a configuration holds must not be printed. Here is judged whether it was; the
//! [`Redactor`](crate::domain::redact::Redactor) keeps it out of what is told.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// Shorter values are found anywhere.
const SHORTEST: usize = 6;
/// The same, where it is not known whether they are secret.
const SHORTEST_GUESS: usize = 8;
/// Values that are no secrets, whatever holds them.
const COMMON: &[&str] = &["default", "public", "localhost", "client_credentials", "oauth2.0"];

/// The secret values of one configuration, and whether any was printed.
#[derive(Debug, Default)]
pub struct Secrets {
    values: BTreeSet<String>,
    /// Does the connector say at all which values are secret? Without a SPEC it is guessed.
    known: bool,
    guessed: bool,
    printed: u64,
}

impl Secrets {
    /// The values of a configuration that the SPEC's schema marks with `airbyte_secret`; without a
    /// SPEC, those that look as if they could be.
    pub fn of(spec: Option<&Value>, config: &Value) -> Self {
        let mut names = BTreeSet::new();
        if let Some(spec) = spec {
            marked(spec, &mut names);
        }
        let mut values = BTreeSet::new();
        if spec.is_some() {
            named(config, &names, &mut values);
        } else {
            leaves(config, &mut values);
            values.retain(|value| may_be_secret(value));
        }
        // A log has each line by itself.
        let lines: Vec<String> = values.iter().flat_map(|value| lines_of(value)).collect();
        values.extend(lines);
        values.retain(|value| value.len() >= SHORTEST && !COMMON.contains(&value.as_str()));
        // As they stand in a JSON text.
        let escaped = values.iter().filter_map(|value| {
            let text = serde_json::to_string(value).ok()?;
            text.get(1..text.len().saturating_sub(1)).map(str::to_owned)
        });
        let escaped: Vec<String> = escaped.collect();
        values.extend(escaped);
        let guessed = spec.is_none();
        Self { values, known: guessed || !names.is_empty(), guessed, printed: 0 }
    }

    /// Watches what another configuration holds, too.
    pub fn extend(&mut self, spec: Option<&Value>, config: &Value) {
        let more = Self::of(spec, config);
        self.values.extend(more.values);
        self.known |= more.known;
        self.guessed |= more.guessed;
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

    /// Is it only guessed which they are?
    pub(super) fn is_guessed(&self) -> bool {
        self.guessed
    }

    /// What there is to say of them: `None` if there is nothing to judge.
    pub(super) fn printed(&self) -> Option<u64> {
        (self.known && !self.values.is_empty()).then_some(self.printed)
    }
}

/// The lines of a value of several, without the marks around a key.
fn lines_of(value: &str) -> Vec<String> {
    let lines = value.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    if value.trim().contains('\n') { lines.map(str::to_owned).collect() } else { Vec::new() }
}

/// Could it be a key, for all that is known? Neither words, names and hosts, which are of letters
/// and what joins them, nor dates and numbers, nor addresses.
fn may_be_secret(value: &str) -> bool {
    let is_words = value.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | '-' | '_' | '.'));
    let is_date = value.get(..4).is_some_and(|year| year.bytes().all(|b| b.is_ascii_digit()))
        && value.chars().all(|c| c.is_ascii_digit() || "-:+. TZ/".contains(c));
    let is_address = value.contains("://") != value.contains('@') && !value.contains('\n');
    value.len() >= SHORTEST_GUESS && !is_words && !is_date && !is_address
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
