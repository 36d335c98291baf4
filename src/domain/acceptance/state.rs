//! How far a read came, in the connector's own words, and what they say of a record.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::discover::Stream;

/// Bytes of memory that one read's states may take, about.
const MOST: usize = 64 << 20;

/// The latest states.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct States {
    /// By namespace and name: the message, whole.
    streams: BTreeMap<(Option<String>, String), Map<String, Value>>,
    global: Option<Map<String, Value>>,
    legacy: Option<Value>,
    /// What all of them take.
    bytes: usize,
}

impl States {
    /// Takes a STATE message; a later one counts. What it says of streams that are not wanted is
    /// forgotten. False if it was one too much to keep: then the earlier one stays.
    pub fn hear(
        &mut self,
        mut state: Map<String, Value>,
        wanted: impl Fn(&(Option<String>, String)) -> bool,
    ) -> bool {
        let kind = state.get("type").or(state.get("state_type")).and_then(Value::as_str);
        match kind {
            Some("STREAM") => {
                let key = state.get("stream").and_then(descriptor);
                let Some(key) = key.filter(wanted) else { return true };
                let fits = self.make_room(fields(&state), self.streams.get(&key).map(fields));
                if fits {
                    self.streams.insert(key, state);
                }
                fits
            }
            Some("GLOBAL") => {
                let states = state.get_mut("global").and_then(|all| all.get_mut("stream_states"));
                if let Some(states) = states.and_then(Value::as_array_mut) {
                    states.retain(|state| descriptor(state).is_some_and(|key| wanted(&key)));
                }
                let fits = self.make_room(fields(&state), self.global.as_ref().map(fields));
                if fits {
                    self.global = Some(state);
                }
                fits
            }
            Some(_) | None => {
                let data = state.remove("data");
                let new = data.as_ref().map(weight).unwrap_or_default();
                let fits = self.make_room(new, self.legacy.as_ref().map(weight));
                if fits {
                    self.legacy = data;
                }
                fits
            }
        }
    }

    fn make_room(&mut self, new: usize, old: Option<usize>) -> bool {
        let bytes = self.bytes.saturating_sub(old.unwrap_or_default()).saturating_add(new);
        if bytes <= MOST {
            self.bytes = bytes;
        }
        bytes <= MOST
    }

    /// Takes what a read is given to begin with.
    pub fn hear_all(&mut self, state: &Value) {
        let Some(messages) = state.as_array() else {
            self.bytes += weight(state);
            self.legacy = Some(state.clone());
            return;
        };
        for message in messages.iter().filter_map(Value::as_object) {
            self.hear(message.clone(), |_| true);
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

/// Bytes of memory that a value takes, about.
fn weight(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(all) => fields(all),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    inner + size_of::<Value>()
}

fn fields(all: &Map<String, Value>) -> usize {
    all.iter().map(|(key, value)| key.len() + size_of::<String>() + weight(value)).sum()
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
