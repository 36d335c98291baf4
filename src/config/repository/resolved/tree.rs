//! The one file that says all, each value with its origin.

use serde_json::{Map, Value as Json, json};

use super::super::keys::{FILE, Takes};
use super::super::problems::Place;
use super::super::yaml::{Entry, Node, Value};
use crate::domain::rules::Preset;

/// The document that a value stands in.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// A file of this name.
    File(String),
    Preset(Preset),
}

impl Origin {
    fn of(&self, place: Place) -> String {
        match self {
            Self::File(name) => format!("{name}:{}", place.line),
            Self::Preset(preset) => format!("preset {preset}"),
        }
    }
}

/// A value of the file, and in words where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    pub(super) value: Branch,
    pub(super) origin: String,
}

#[derive(Debug, Clone)]
pub(super) enum Branch {
    Null,
    Bool(bool),
    /// As written.
    Number(String),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    fn new(node: &Node, origin: &Origin) -> Self {
        let value = match &node.value {
            Value::Null => Branch::Null,
            Value::Bool(truth) => Branch::Bool(*truth),
            Value::Number(text) => Branch::Number(text.clone()),
            Value::Text(text) => Branch::Text(text.clone()),
            Value::List(items) => {
                Branch::List(items.iter().map(|item| Self::new(item, origin)).collect())
            }
            Value::Map(entries) => {
                let entry = |entry: &Entry| {
                    let mut value = Self::new(&entry.node, origin);
                    // A block of text begins below its key, which is what people look for.
                    value.origin = origin.of(entry.place);
                    (entry.key.clone(), value)
                };
                Branch::Map(entries.iter().map(entry).collect())
            }
        };
        Self { value, origin: origin.of(node.place) }
    }

    fn text(text: &str, origin: impl Into<String>) -> Self {
        Self { value: Branch::Text(text.to_owned()), origin: origin.into() }
    }

    pub(super) fn to_json(&self) -> Json {
        match &self.value {
            Branch::Null => Json::Null,
            Branch::Bool(truth) => json!(truth),
            // What JSON would write otherwise (`3.10`) stays as it is written.
            Branch::Number(text) => match serde_json::from_str::<serde_json::Number>(text) {
                Ok(number) if number.to_string() == *text => Json::Number(number),
                Ok(_) | Err(_) => json!(text),
            },
            Branch::Text(text) => json!(text),
            Branch::List(items) => items.iter().map(Self::to_json).collect(),
            Branch::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.clone(), value.to_json()));
                Json::Object(entries.collect())
            }
        }
    }

    /// JSON pointer → origin, of every value that is neither list nor mapping.
    pub(super) fn origins(&self) -> Json {
        let mut found = Map::new();
        self.gather("", &mut found);
        Json::Object(found)
    }

    fn gather(&self, pointer: &str, found: &mut Map<String, Json>) {
        match &self.value {
            Branch::List(items) if !items.is_empty() => {
                for (at, item) in items.iter().enumerate() {
                    item.gather(&format!("{pointer}/{at}"), found);
                }
            }
            Branch::Map(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    value.gather(&format!("{pointer}/{key}"), found);
                }
            }
            Branch::Null
            | Branch::Bool(_)
            | Branch::Number(_)
            | Branch::Text(_)
            | Branch::List(_)
            | Branch::Map(_) => drop(found.insert(pointer.to_owned(), json!(self.origin))),
        }
    }
}

type Source<'n> = Option<(Origin, &'n Node)>;

/// Puts a file and its preset into one file: its lists first, its single values instead.
pub(super) fn whole(own: Source<'_>, preset: Source<'_>) -> Tree {
    let named = match &preset {
        Some((Origin::Preset(preset), _)) => Some(*preset),
        Some((Origin::File(_), _)) | None => None,
    };
    let documents: Vec<(Origin, &Node)> = own.into_iter().chain(preset).collect();
    let mut entries = Vec::new();
    for key in FILE.keys {
        let found = documents.iter().filter_map(|(origin, node)| {
            let node = entry(node, key.name)?;
            Some((origin, node))
        });
        let value = match (key.name, key.takes, named) {
            ("preset", _, Some(preset)) => {
                Some(Tree::text("none", format!("preset {preset}, which is written out here")))
            }
            (_, Takes::Many(_) | Takes::Patterns, _) => list(key.name, found),
            _ => found.map(|(origin, node)| Tree::new(node, origin)).next(),
        };
        let default = || {
            let value = match serde_json::from_str(key.default?).ok()? {
                Json::String(text) => Branch::Text(text),
                Json::Number(number) => Branch::Number(number.to_string()),
                Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => return None,
            };
            Some(Tree { value, origin: "default".to_owned() })
        };
        entries.extend(value.or_else(default).map(|value| (key.name.to_owned(), value)));
    }
    Tree { value: Branch::Map(entries), origin: String::new() }
}

fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
}

/// The lists one behind the other; a component of the file stands for the preset's of its name.
fn list<'n>(key: &str, lists: impl Iterator<Item = (&'n Origin, &'n Node)>) -> Option<Tree> {
    let mut all: Vec<Tree> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (origin, node) in lists {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                std::slice::from_ref(node)
            }
        };
        let component = |item: &Node| match entry(item, "name").map(|name| &name.value) {
            Some(Value::Text(name)) if key == "components" => Some(name.to_lowercase()),
            Some(_) | None => None,
        };
        let new: Vec<&Node> = items
            .iter()
            .filter(|item| component(item).is_none_or(|name| !names.contains(&name)))
            .collect();
        all.extend(new.iter().map(|item| Tree::new(item, origin)));
        names.extend(new.into_iter().filter_map(component));
    }
    (!all.is_empty()).then(|| Tree { value: Branch::List(all), origin: String::new() })
}
