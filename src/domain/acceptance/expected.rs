//! Records that must come, of which the key is known.

use std::collections::BTreeMap;

use serde_json::Value;

use super::discover::{Catalog, Stream};
use super::state::cursor_of;
use crate::domain::catalog::{Finding, Flaw};
use crate::domain::yaml::Place;

/// What is expected, and what of it has come: at most what the file holds.
#[derive(Debug, Default)]
pub struct Expected {
    /// By stream and key.
    records: BTreeMap<(String, String), bool>,
}

impl Expected {
    /// Reads a file of records, one a line.
    pub fn read(path: &str, text: &str, catalog: &Catalog) -> Result<Self, Vec<Finding>> {
        let mut expected = Self::default();
        let mut flaws = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            match key_of(line, catalog) {
                Ok(key) => drop(expected.records.insert(key, false)),
                Err(why) => {
                    let line = u32::try_from(at + 1).unwrap_or(u32::MAX);
                    let mend = "write `{\"stream\": …, \"data\": {…}, \"emitted_at\": …}`";
                    let flaw = Flaw::unusable(Place { line, column: 1 }, why, mend);
                    flaws.push(Finding::of(path, flaw));
                }
            }
        }
        if flaws.is_empty() { Ok(expected) } else { Err(flaws) }
    }

    /// A record came.
    pub(super) fn meet(&mut self, stream: &Stream, data: &Value) {
        if self.records.is_empty() {
            return;
        }
        let key = (stream.name.clone(), key(stream, data));
        if let Some(came) = self.records.get_mut(&key) {
            *came = true;
        }
    }

    /// What did not come.
    pub(super) fn missing(&self) -> Vec<String> {
        let missing = self.records.iter().filter(|(_, came)| !**came);
        let told = missing
            .map(|((stream, key), _)| format!("stream `{stream}`: the record {key} did not come"));
        told.collect()
    }
}

fn key_of(line: &str, catalog: &Catalog) -> Result<(String, String), String> {
    let record: Value =
        serde_json::from_str(line).map_err(|error| format!("the line is no JSON: {error}"))?;
    let stream = record.get("stream").and_then(Value::as_str);
    let (Some(name), Some(data)) = (stream, record.get("data").filter(|data| data.is_object()))
    else {
        return Err("the record has no `stream` and `data`".to_owned());
    };
    let stream = catalog.streams.iter().find(|stream| stream.name == name);
    let stream = stream.ok_or_else(|| format!("no stream that is read is called `{name}`"))?;
    Ok((name.to_owned(), key(stream, data)))
}

/// What tells a record of a stream: its primary key, or all of it.
fn key(stream: &Stream, data: &Value) -> String {
    if stream.primary_key.is_empty() {
        return data.to_string();
    }
    let values = stream.primary_key.iter().map(|path| {
        let value = cursor_of(data, path).unwrap_or(&Value::Null);
        format!("{}={value}", path.join("."))
    });
    values.collect::<Vec<_>>().join(" ")
}
