//! What a configuration holds must not be printed. Here is judged whether it was; the
//! [`Redactor`] keeps it out of what is told.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ptr;
use std::sync::Arc;

use regex::Regex;
use serde_json::{Map, Value};

use super::parts::Document;
use crate::domain::redact::Redactor;

/// Shorter values are found anywhere.
const SHORTEST: usize = 6;
/// The same, where it is not known whether they are secret.
const SHORTEST_GUESS: usize = 8;
/// Values that are no secrets, whatever holds them.
const COMMON: &[&str] = &["default", "public", "localhost", "client_credentials", "oauth2.0"];
/// Pairs of a schema and a value that are looked at: no configuration comes to as many.
const PAIRS: usize = 100_000;

/// The secret values of one configuration, and whether any was printed.
#[derive(Debug, Default)]
pub struct Secrets {
    values: BTreeSet<String>,
    /// What was given in confidence: all of it is secret, whatever a SPEC says.
    confided: Arc<Redactor>,
    /// Does the connector say at all which values are secret? Without a SPEC it is guessed.
    known: bool,
    guessed: bool,
    printed: u64,
}

impl Secrets {
    /// The values of a configuration that the SPEC's schema marks with `airbyte_secret`; without a
    /// SPEC, those that look as if they could be.
    pub fn of(spec: Option<&Value>, config: &Value) -> Self {
        let mut values = BTreeSet::new();
        let known = match spec.map(Document::of) {
            Some(spec) if marked(&spec, config, &mut values) => Some(is_known(&spec)),
            Some(_) | None => None,
        };
        if known.is_none() {
            values.clear();
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
        let (known, guessed) = (known.unwrap_or(true), known.is_none());
        Self { values, known, guessed, ..Self::default() }
    }

    /// With what the step was given in confidence, by the rule of what is taken out of logs.
    #[must_use]
    pub fn with(self, confided: Arc<Redactor>) -> Self {
        Self { confided, ..self }
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
        if matches!(self.confided.bytes(line), Cow::Owned(_)) || self.holds(line) {
            self.printed += 1;
        }
    }

    fn holds(&self, line: &[u8]) -> bool {
        if self.values.is_empty() {
            return false;
        }
        let text = String::from_utf8_lossy(line);
        self.values.iter().any(|value| text.contains(value))
    }

    /// Which values are looked for, in words.
    pub(super) fn which(&self) -> &'static str {
        match (self.confided.is_empty(), self.guessed) {
            (true, true) => "of the configuration that may be secret, for there is no SPEC to say",
            (true, false) => "that the SPEC marks as secret",
            (false, true) => {
                "that the step was given in confidence, or of the configuration that may be secret"
            }
            (false, false) => "that the step was given in confidence, or that the SPEC marks",
        }
    }

    /// What there is to say of them: `None` if there is nothing to judge.
    pub(super) fn printed(&self) -> Option<u64> {
        let some = self.known && !self.values.is_empty() || !self.confided.is_empty();
        some.then_some(self.printed)
    }
}

/// Does the schema mark anything?
fn is_known(spec: &Document<'_>) -> bool {
    spec.find(|schema| is_marked(schema).then_some(())).is_some()
}

fn is_marked(schema: &Map<String, Value>) -> bool {
    schema.get("airbyte_secret") == Some(&Value::Bool(true))
}

/// Gathers the values that the schema marks: where they stand, whichever variant is meant, and
/// wherever else a property is called like a marked one. False if that takes too long.
fn marked(spec: &Document<'_>, config: &Value, values: &mut BTreeSet<String>) -> bool {
    let (mut open, mut seen) = (vec![(spec.root(), config)], BTreeSet::new());
    while let Some((schema, value)) = open.pop() {
        let Some(schema) = schema.as_object() else { continue };
        if !seen.insert((ptr::from_ref(schema), ptr::from_ref(value))) {
            continue;
        }
        if seen.len() > PAIRS {
            return false;
        }
        if is_marked(schema) {
            marked_leaves(value, values);
        }
        open.extend(spec.same(schema).map(|other| (other, value)));
        match value {
            Value::Object(fields) => of_fields(schema, fields, &mut open),
            Value::Array(items) => of_items(schema, items, &mut open),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut names = BTreeSet::new();
    spec.find(|schema| {
        let properties = schema.get("properties").and_then(Value::as_object);
        let marked = properties.into_iter().flatten();
        let marked = marked.filter(|(_, property)| property.as_object().is_some_and(is_marked));
        names.extend(marked.map(|(name, _)| name.as_str()));
        None::<()>
    });
    named(config, &names, values);
    true
}

/// A value's parts with the schemas that are about them.
type Open<'v> = Vec<(&'v Value, &'v Value)>;

fn of_fields<'v>(
    schema: &'v Map<String, Value>,
    fields: &'v Map<String, Value>,
    open: &mut Open<'v>,
) {
    let properties = schema.get("properties").and_then(Value::as_object);
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let patterns: Vec<(Option<Regex>, &Value)> = patterns
        .into_iter()
        .flatten()
        .map(|(pattern, inner)| (Regex::new(pattern).ok(), inner))
        .collect();
    for (name, value) in fields {
        let own = properties.and_then(|properties| properties.get(name));
        // A pattern that can't be read here may be meant.
        let by_pattern = patterns
            .iter()
            .filter(|(pattern, _)| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name)));
        let before = open.len();
        open.extend(own.into_iter().chain(by_pattern.map(|(_, inner)| *inner)).map(|s| (s, value)));
        if open.len() == before {
            open.extend(schema.get("additionalProperties").map(|inner| (inner, value)));
        }
    }
}

fn of_items<'v>(schema: &'v Map<String, Value>, items: &'v [Value], open: &mut Open<'v>) {
    let contains = schema.get("contains");
    for (at, item) in items.iter().enumerate() {
        let own = match schema.get("items") {
            Some(Value::Array(one_each)) => {
                one_each.get(at).or_else(|| schema.get("additionalItems"))
            }
            all => all,
        };
        open.extend(own.into_iter().chain(contains).map(|inner| (inner, item)));
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

/// Values of properties with these names, wherever they stand.
fn named(config: &Value, names: &BTreeSet<&str>, values: &mut BTreeSet<String>) {
    match config {
        Value::Object(fields) => {
            for (name, value) in fields {
                if names.contains(name.as_str()) {
                    marked_leaves(value, values);
                } else {
                    named(value, names, values);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| named(item, names, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is marked may be a number, or hold some.
fn marked_leaves(value: &Value, values: &mut BTreeSet<String>) {
    leaves(value, values);
    numbers(value, values);
}

fn numbers(value: &Value, values: &mut BTreeSet<String>) {
    match value {
        Value::Number(number) => drop(values.insert(number.to_string())),
        Value::Object(fields) => fields.values().for_each(|inner| numbers(inner, values)),
        Value::Array(items) => items.iter().for_each(|inner| numbers(inner, values)),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
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
