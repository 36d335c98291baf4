//! How far a read came, in the connector's own words, and what they say of a record.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::discover::Stream;

/// The latest states.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct States {
    /// By namespace and name: the message, whole.
    streams: BTreeMap<(Option<String>, String), Map<String, Value>>,
    global: Option<Map<String, Value>>,
    legacy: Option<Value>,
}

impl States {
    /// Takes a STATE message; a later one counts.
    pub fn hear(&mut self, state: &Map<String, Value>) {
        let kind = state.get("type").or(state.get("state_type")).and_then(Value::as_str);
        match kind {
            Some("STREAM") => {
                if let Some(key) = state.get("stream").and_then(descriptor) {
                    self.streams.insert(key, state.clone());
                }
            }
            Some("GLOBAL") => self.global = Some(state.clone()),
            Some(_) | None => self.legacy = state.get("data").cloned(),
        }
    }

    /// Takes what a read is given to begin with.
    pub fn hear_all(&mut self, state: &Value) {
        let Some(messages) = state.as_array() else {
            self.legacy = Some(state.clone());
            return;
        };
        for message in messages.iter().filter_map(Value::as_object) {
            self.hear(message);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.global.is_none() && self.legacy.is_none()
    }

    /// What a read is given to begin with.
    pub fn to_json(&self) -> Value {
        if let Some(legacy) = self.legacy.as_ref().filter(|_| self.streams.is_empty()) {
            return legacy.clone();
        }
        json!(self.global.iter().chain(self.streams.values()).collect::<Vec<_>>())
    }

    /// Is anything said of the stream?
    pub fn has(&self, stream: &Stream) -> bool {
        self.legacy.is_some() || self.of(stream).is_some()
    }

    fn of(&self, stream: &Stream) -> Option<&Value> {
        let key = (stream.namespace.clone(), stream.name.clone());
        if let Some(state) = self.streams.get(&key) {
            return state.get("stream")?.get("stream_state");
        }
        if let Some(global) = &self.global {
            let states = global.get("global")?.get("stream_states")?.as_array()?;
            let own = states.iter().find(|state| descriptor(state).as_ref() == Some(&key))?;
            return own.get("stream_state");
        }
        self.legacy.as_ref()?.get(&stream.name)
    }

    /// Where the stream's cursor stands, if the state says it by the cursor's name.
    pub fn cursor(&self, stream: &Stream) -> Option<Value> {
        let state = self.of(stream)?;
        let whole = cursor_of(state, &stream.cursor);
        let last = || stream.cursor.last().and_then(|last| state.get(last));
        whole.or_else(last).filter(|value| value.is_string() || value.is_number()).cloned()
    }
}

fn descriptor(state: &Value) -> Option<(Option<String>, String)> {
    let descriptor = state.get("stream_descriptor")?;
    let namespace = descriptor.get("namespace").and_then(Value::as_str).map(str::to_owned);
    Some((namespace, descriptor.get("name")?.as_str()?.to_owned()))
}

/// The value that a path of fields leads to.
pub(super) fn cursor_of<'d>(data: &'d Value, path: &[String]) -> Option<&'d Value> {
    if path.is_empty() {
        return None;
    }
    path.iter().try_fold(data, |value, field| value.get(field))
}

/// Does a record's cursor lie before a state's? Of two dates the shorter one counts: a day is not
/// before its own noon. What can't be compared is not older.
pub(super) fn is_older(record: &Value, state: &Value) -> bool {
    match (record, state) {
        (Value::Number(record), Value::Number(state)) => match (record.as_i64(), state.as_i64()) {
            (Some(record), Some(state)) => record < state,
            _ => record.as_f64() < state.as_f64(),
        },
        (Value::String(record), Value::String(state)) => {
            let (mut record, mut state) = (record.as_str(), state.as_str());
            if let (Ok(record), Ok(state)) = (record.parse::<i64>(), state.parse::<i64>()) {
                return record < state;
            }
            if is_date(record) && is_date(state) {
                let length = record.len().min(state.len()).min("2020-01-01T00:00:00".len());
                record = record.get(..length).unwrap_or(record);
                state = state.get(..length).unwrap_or(state);
            }
            // A blank stands where a `T` may.
            let plain = |text: &str| text.replace(' ', "T");
            plain(record).cmp(&plain(state)) == Ordering::Less
        }
        _ => false,
    }
}

fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    parts.next().is_some_and(|year| year.len() == 4 && year.bytes().all(|b| b.is_ascii_digit()))
        && parts.next().is_some_and(|month| month.len() == 2)
}
