//! `discover`: the streams that there are.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::message::{Heard, Message};
use super::parts::Document;
use super::{End, Named, problem, problems, schema};
use crate::domain::builtin::{Case, Verdict};

const MODES: &[&str] = &["full_refresh", "incremental"];

/// What breaks a rule in a stream, in words.
type Breach = fn(&Stream) -> Option<String>;

/// A stream of a catalog.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    pub name: String,
    pub namespace: Option<String>,
    pub schema: Value,
    pub modes: Vec<String>,
    pub cursor: Vec<String>,
    pub primary_key: Vec<Vec<String>>,
    /// As the connector printed it.
    whole: Value,
}

impl Stream {
    fn of(whole: &Value) -> Self {
        let texts = |value: Option<&Value>| -> Vec<String> {
            let items = value.and_then(Value::as_array).into_iter().flatten();
            items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
        };
        let text = |key: &str| whole.get(key).and_then(Value::as_str).map(str::to_owned);
        let keys = whole.get("source_defined_primary_key").and_then(Value::as_array);
        Self {
            name: text("name").unwrap_or_default(),
            namespace: text("namespace"),
            schema: whole.get("json_schema").cloned().unwrap_or(Value::Null),
            modes: texts(whole.get("supported_sync_modes")),
            cursor: texts(whole.get("default_cursor_field")),
            primary_key: keys.into_iter().flatten().map(|key| texts(Some(key))).collect(),
            whole: whole.clone(),
        }
    }

    pub fn is_incremental(&self) -> bool {
        self.modes.iter().any(|mode| mode == "incremental")
    }
}

/// What `discover` answered, or a file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalog {
    pub streams: Vec<Stream>,
}

impl Catalog {
    /// Of a CATALOG message.
    fn of(body: &Map<String, Value>) -> Self {
        let streams = body.get("streams").and_then(Value::as_array);
        Self { streams: streams.into_iter().flatten().map(Stream::of).collect() }
    }

    /// Of a configured catalog.
    pub fn configured(file: &Value) -> Option<Self> {
        let streams = file.get("streams")?.as_array()?;
        let streams = streams.iter().map(|stream| stream.get("stream").map(Stream::of));
        streams.collect::<Option<Vec<Stream>>>().map(|streams| Self { streams })
    }

    /// Those of its streams that are wanted.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Stream) -> bool) -> Self {
        Self { streams: self.streams.iter().filter(|stream| wanted(stream)).cloned().collect() }
    }

    /// What `read` is asked for.
    pub fn to_read(&self, incremental: bool) -> Value {
        let one = |stream: &Stream| {
            let (mode, to) =
                if incremental { ("incremental", "append") } else { ("full_refresh", "overwrite") };
            json!({
                "stream": stream.whole,
                "sync_mode": mode,
                "destination_sync_mode": to,
                "cursor_field": stream.cursor,
                "primary_key": stream.primary_key,
            })
        };
        json!({ "streams": self.streams.iter().map(one).collect::<Vec<_>>() })
    }
}

/// Hears an answer to `discover`.
#[derive(Debug, Default)]
pub struct Discover {
    catalog: Option<Catalog>,
    count: u64,
    malformed: Option<String>,
}

impl Discover {
    pub fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Message(Message::Catalog(body)) => {
                self.count += 1;
                self.catalog.get_or_insert_with(|| Catalog::of(&body));
            }
            Heard::Malformed { kind, why } if kind == "CATALOG" => self.malformed = Some(why),
            Heard::Message(_) | Heard::Noise(_) | Heard::Malformed { .. } => {}
        }
    }

    /// The streams, if there is anything to be read.
    pub fn catalog(&self) -> Option<&Catalog> {
        self.catalog.as_ref().filter(|catalog| !catalog.streams.is_empty())
    }

    pub fn cases(&self, named: Named<'_>, end: &End) -> Vec<Case> {
        let mut cases = self.answer(named, end);
        let Some(Catalog { streams }) = &self.catalog else { return cases };
        let rules: [(&str, Breach); 6] = [
            ("schemas are schemas", |stream| schema::flaw(&stream.schema)),
            ("schemas use no allOf and no not", keywords),
            ("schemas take additional properties", closed),
            ("sync modes are known", modes),
            ("cursors are in the schema", cursor),
            ("primary keys are in the schema", primary_key),
        ];
        cases.push(named.case("streams have names of their own", unique(streams)));
        for (rule, breach) in rules {
            let of = |stream: &Stream| {
                breach(stream).map(|why| format!("stream `{}`: {why}", stream.name))
            };
            cases.push(named.case(rule, problems(streams.iter().filter_map(of))));
        }
        cases
    }

    /// What is wrong, where no test asks for the streams but others need them. If the tests leave
    /// `discovery` out for a reason, its answer must only be one.
    pub fn failures(&self, named: Named<'_>, end: &End, bypassed: bool) -> Vec<Case> {
        let cases = if bypassed { self.answer(named, end) } else { self.cases(named, end) };
        let failed = |case: &Case| matches!(case.verdict, Verdict::Failed(_));
        cases.into_iter().filter(failed).collect()
    }

    /// Was it answered at all?
    fn answer(&self, named: Named<'_>, end: &End) -> Vec<Case> {
        let mut cases =
            vec![named.case("ends well", end.verdict()), named.case("is one CATALOG", self.one())];
        if let Some(catalog) = &self.catalog {
            let none = || problem("the catalog has no streams".to_owned(), "");
            let some = if catalog.streams.is_empty() { none() } else { Verdict::Passed };
            cases.push(named.case("has a stream", some));
        }
        cases
    }

    fn one(&self) -> Verdict {
        match (self.count, &self.malformed) {
            (1, None) => Verdict::Passed,
            (_, Some(why)) => problem(format!("a CATALOG is malformed: {why}"), ""),
            (count, None) => {
                problem(format!("`discover` printed {count} CATALOG messages, not one"), "")
            }
        }
    }
}

fn unique(streams: &[Stream]) -> Verdict {
    let mut seen = BTreeSet::new();
    problems(streams.iter().filter_map(|stream| {
        if stream.name.trim().is_empty() {
            return Some("a stream has no name".to_owned());
        }
        let first = seen.insert((&stream.namespace, &stream.name));
        (!first).then(|| format!("two streams are called `{}`", stream.name))
    }))
}

fn modes(stream: &Stream) -> Option<String> {
    if !is_texts(stream.whole.get("supported_sync_modes")) {
        return Some("its `supported_sync_modes` are no list of texts".to_owned());
    }
    if stream.modes.is_empty() {
        return Some("it has no `supported_sync_modes`".to_owned());
    }
    let unknown = stream.modes.iter().find(|mode| !MODES.contains(&mode.as_str()));
    unknown.map(|mode| format!("there is no sync mode `{mode}`"))
}

fn cursor(stream: &Stream) -> Option<String> {
    if !is_texts(stream.whole.get("default_cursor_field")) {
        return Some("its `default_cursor_field` is no list of texts".to_owned());
    }
    let missing = !stream.cursor.is_empty() && !Document::of(&stream.schema).leads(&stream.cursor);
    missing.then(|| format!("the cursor `{}` is not in its schema", stream.cursor.join(".")))
}

fn primary_key(stream: &Stream) -> Option<String> {
    let keys = stream.whole.get("source_defined_primary_key").filter(|keys| !keys.is_null());
    let is_list = |keys: &Value| keys.as_array().is_some_and(|keys| keys.iter().all(is_path));
    if keys.is_some_and(|keys| !is_list(keys)) {
        return Some("its `source_defined_primary_key` is no list of lists of texts".to_owned());
    }
    let (mut keys, schema) = (stream.primary_key.iter(), Document::of(&stream.schema));
    let missing = keys.find(|key| key.is_empty() || !schema.leads(key))?;
    Some(format!("the primary key `{}` is not in its schema", missing.join(".")))
}

/// Texts, or nothing at all.
fn is_texts(value: Option<&Value>) -> bool {
    value.is_none_or(|value| value.is_null() || is_path(value))
}

fn is_path(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}

fn keywords(stream: &Stream) -> Option<String> {
    let found = Document::of(&stream.schema)
        .find(|schema| ["allOf", "not"].into_iter().find(|keyword| schema.contains_key(*keyword)));
    found.map(|keyword| format!("its schema uses `{keyword}`, which destinations can't take"))
}

fn closed(stream: &Stream) -> Option<String> {
    let found = Document::of(&stream.schema).find(|schema| {
        (schema.get("additionalProperties") == Some(&Value::Bool(false))).then_some(())
    });
    found.map(|()| "its schema says `additionalProperties: false`".to_owned())
}
