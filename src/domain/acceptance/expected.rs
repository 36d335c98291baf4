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
    /// The file that holds them, from the top of the repository.
    path: String,
    /// By stream and key.
    records: BTreeMap<(String, String), Wanted>,
}

/// One of them.
#[derive(Debug)]
struct Wanted {
    /// Where the file has it, counted from 1.
    line: u32,
    came: bool,
}

impl Expected {
    /// Reads a file of records, one a line.
    pub fn read(path: &str, text: &str, catalog: &Catalog) -> Result<Self, Vec<Finding>> {
        let mut expected = Self { path: path.to_owned(), records: BTreeMap::new() };
        let mut flaws = Vec::new();
        for (line, record) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            match key_of(record, catalog) {
                Ok(key) => drop(expected.records.insert(key, Wanted { line, came: false })),
                Err(why) => {
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
        if let Some(wanted) = self.records.get_mut(&key) {
            wanted.came = true;
        }
    }

    /// What did not come.
    pub(super) fn missing(&self) -> Vec<Finding> {
        let missing = self.records.iter().filter(|(_, wanted)| !wanted.came);
        let told = missing.map(|((stream, key), wanted)| {
            let text = format!("stream `{stream}`: the record {key} did not come");
            let place = Place { line: wanted.line, column: 1 };
            Finding::of(&self.path, Flaw::unusable(place, text, ""))
        });
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
