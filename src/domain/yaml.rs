//! YAML as a tree of nodes that know their place, so that all errors of a file are found at once,
//! each with its line.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Spanned};

/// Configuration is written by hand; more than this is not.
pub const MAX_BYTES: usize = 1024 * 1024;
/// A file with a thousand errors has one cause; nobody reads them all.
pub const MAX_ERRORS: usize = 50;
const MAX_DEPTH: usize = 32;
const MAX_NODES: usize = 100_000;

/// A place in a file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
pub struct Place {
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub const START: Self = Self { line: 1, column: 1 };
}

/// A node of the document.
#[derive(Debug, Clone)]
pub struct Node {
    pub value: Value,
    pub place: Place,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Bool(bool),
    /// The text as written: `3.10` stays `3.10`.
    Number(String),
    Text(String),
    List(Vec<Node>),
    /// In the file's order, duplicates and all.
    Map(Vec<Entry>),
}

/// A key of a mapping, with what stands there.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

impl Value {
    /// As an error message calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// Why a text is no document: where, what, and the mend.
#[derive(Debug)]
pub struct Broken {
    pub place: Place,
    pub what: String,
    pub mend: &'static str,
}

impl Node {
    /// The entry of a mapping; of several with one key the last, as YAML's readers have it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().rfind(|entry| entry.key == key)
    }

    /// What stands at a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// A text, a number or a truth, as it is written.
    pub fn written(&self) -> Option<String> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Some(text.clone()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                None
            }
        }
    }

    /// The same as JSON. A number that JSON can't hold stays the text that was written.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(truth) => (*truth).into(),
            Value::Number(number) => {
                serde_json::from_str(number).unwrap_or_else(|_| number.as_str().into())
            }
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json()));
                serde_json::Value::Object(entries.collect())
            }
        }
    }

    /// What another format holds, of which places are not known.
    pub fn without_places(value: serde_json::Value) -> Self {
        let value = match value {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(truth) => Value::Bool(truth),
            serde_json::Value::Number(number) => Value::Number(number.to_string()),
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Array(items) => {
                Value::List(items.into_iter().map(Self::without_places).collect())
            }
            serde_json::Value::Object(entries) => {
                let entry = |(key, value)| Entry {
                    key,
                    place: Place::START,
                    node: Self::without_places(value),
                };
                Value::Map(entries.into_iter().map(entry).collect())
            }
        };
        Self { value, place: Place::START }
    }
}

/// Parses a document.
pub fn parse(text: &str) -> Result<Node, Broken> {
    if text.len() > MAX_BYTES {
        let what = format!("the file is larger than {MAX_BYTES} bytes");
        return Err(Broken { place: Place::START, what, mend: "write patterns in place of lists" });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES },
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Raw>(text, options) {
        Ok(raw) => Ok(raw.into_node(text)),
        Err(error) => Err(broken(text, &error)),
    }
}

fn broken(text: &str, error: &serde_saphyr::Error) -> Broken {
    use serde_saphyr::Error;
    let place = error.location().map_or(Place::START, place);
    let mut kind = error.without_snippet();
    // What is wrong where an alias stands for it is told with both places.
    while let Error::AliasError { error, .. } = kind {
        kind = error.without_snippet();
    }
    let (what, mend) = if matches!(kind, Error::MultipleDocuments { .. }) {
        (
            "the file holds more than one document (`---`)".to_owned(),
            "keep one; what stands behind `---` belongs into the same mapping",
        )
    } else if matches!(kind, Error::Budget { .. }) {
        (
            format!("more than {MAX_DEPTH} levels, or more than {MAX_NODES} values"),
            "no file needs that: take it apart, or write patterns in place of lists",
        )
    } else if matches!(kind, Error::UnknownAnchor { .. }) {
        (
            "this alias (`*name`) has no anchor (`&name`) before it".to_owned(),
            "write the anchor first, or quote the text if it begins with a `*`",
        )
    } else if is_indented_by_tab(text, place) {
        ("a tab indents this line".to_owned(), "indent with blanks: YAML takes no tabs there")
    } else {
        (words(kind), "mend the YAML; an editor with YAML support shows where it breaks")
    };
    Broken { place, what, mend }
}

/// The parser's words, without the place that stands before them anyway.
fn words(error: &serde_saphyr::Error) -> String {
    let printed = error.to_string();
    let first = printed.lines().next().unwrap_or_default();
    first.rsplit_once(" at line ").map_or(first, |(words, _)| words).to_owned()
}

fn is_indented_by_tab(text: &str, place: Place) -> bool {
    let line = text.lines().nth(place.line as usize - 1).unwrap_or_default();
    let indent = line.split(|c: char| !c.is_whitespace()).next().unwrap_or_default();
    indent.contains('\t')
}

fn place(location: Location) -> Place {
    Place {
        line: u32::try_from(location.line()).unwrap_or(u32::MAX).max(1),
        column: u32::try_from(location.column()).unwrap_or(u32::MAX).max(1),
    }
}

/// As deserialised: numbers have lost their spelling, which the span gives back.
struct Raw(Spanned<RawValue>);

enum RawValue {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Raw>),
    Map(Vec<(Spanned<Key>, Raw)>),
}

/// A key: texts, and scalars that read as something else (`1:`, `true:`) as they print.
struct Key(String);

impl Raw {
    fn into_node(self, text: &str) -> Node {
        let span = self.0.referenced.span();
        let here = place(self.0.referenced);
        let value = match self.0.value {
            RawValue::Null => Value::Null,
            RawValue::Bool(truth) => Value::Bool(truth),
            RawValue::Number(number) => {
                let defined = self.0.defined.span();
                let bytes = defined
                    .byte_offset()
                    .zip(defined.byte_len())
                    .or(span.byte_offset().zip(span.byte_len()));
                let written = bytes.and_then(|(start, len)| {
                    let start = usize::try_from(start).ok()?;
                    text.get(start..start.checked_add(usize::try_from(len).ok()?)?)
                });
                // A tag (`!!int 5`) is part of some spans.
                let written = written.map(str::trim).filter(|w| !w.is_empty() && !w.contains(' '));
                Value::Number(written.map_or(number, str::to_owned))
            }
            RawValue::Text(value) => Value::Text(value),
            RawValue::List(items) => {
                Value::List(items.into_iter().map(|item| item.into_node(text)).collect())
            }
            RawValue::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, node)| Entry {
                        place: place(key.referenced),
                        key: key.value.0,
                        node: node.into_node(text),
                    })
                    .collect(),
            ),
        };
        Node { value, place: here }
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyKey(PhantomData))
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = RawValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_none<E>(self) -> Result<RawValue, E> {
        Ok(RawValue::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawValue, D::Error> {
        RawValue::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<RawValue, E> {
        Ok(RawValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<RawValue, E> {
        Ok(RawValue::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<RawValue, E> {
        Ok(RawValue::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<RawValue, E> {
        Ok(RawValue::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawValue, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(RawValue::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<RawValue, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(RawValue::Map(map))
    }
}

struct AnyKey(PhantomData<()>);

impl Visitor<'_> for AnyKey {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key that is a plain text")
    }

    fn visit_str<E>(self, value: &str) -> Result<Key, E> {
        Ok(Key(value.to_owned()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Key, E> {
        Ok(Key("null".to_owned()))
    }

    fn visit_none<E: de::Error>(self) -> Result<Key, E> {
        self.visit_unit()
    }

    fn visit_bool<E>(self, value: bool) -> Result<Key, E> {
        Ok(Key(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Key, E> {
        Ok(Key(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Key, E> {
        Ok(Key(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Key, E> {
        Ok(Key(value.to_string()))
    }
}
