//! Facts about a connector, from one file of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Flaw;
use crate::domain::metadata;
use crate::domain::rules::ConnectorRule;
use crate::domain::yaml::{self, Node, Place, Value};

/// A parsed attribute file.
#[derive(Debug, Clone)]
pub struct Document {
    root: Node,
}

impl Document {
    /// By the file's ending: YAML (which JSON is, too) or TOML.
    pub fn parse(path: &str, text: &[u8]) -> Result<Self, Flaw> {
        if text.len() > yaml::MAX_BYTES {
            let text = format!("is larger than {} bytes; it is not read", yaml::MAX_BYTES);
            return Err(Flaw::unusable(None, text, "keep facts here, and data elsewhere"));
        }
        let text = std::str::from_utf8(text).map_err(|error| {
            let line = text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            let line = u32::try_from(line).map_or(u32::MAX, |line| line + 1);
            Flaw::unusable(Place { line, column: 1 }, "is not UTF-8", "save it as UTF-8")
        })?;
        if path.rsplit('.').next() == Some("toml") {
            return toml::from_str(text)
                .map(|value| Self { root: Node::without_places(value) })
                .map_err(|error| of_toml(text, &error));
        }
        yaml::parse(text).map(|root| Self { root }).map_err(|(place, what)| {
            Flaw::unusable(place, format!("is not YAML: {what}"), "mend it there or just above")
        })
    }

    pub fn root(&self) -> &Node {
        &self.root
    }

    /// What the document says of a connector, by the rule that found it: nothing but these two
    /// decides it.
    pub fn facts(&self, rule: &ConnectorRule) -> Facts {
        let airbyte = rule.airbyte.enabled || metadata::is_airbyte(&self.root);
        let mut facts = Facts {
            definition: metadata::definition_id(&self.root).filter(|_| airbyte),
            flaws: if airbyte { metadata::flaws(&self.root) } else { Vec::new() },
            ..Facts::default()
        };
        let paths = rule.attributes.iter().flat_map(|attributes| &attributes.paths);
        for (name, path) in paths {
            match self.at(path) {
                Found::Nothing => {}
                Found::Text(value, place) => {
                    facts.attributes.insert(name.clone(), value);
                    facts.places.insert(name.clone(), place);
                }
                // What is wrong with Airbyte's fields has been said in its own words.
                Found::Other(_) if airbyte => {}
                Found::Other(node) => facts.flaws.push(Flaw::remark(
                    node.place,
                    format!("`{path}` is {}, and `{name}` is read from it", node.value.kind()),
                    "write a text there, or point `attributes` elsewhere",
                )),
            }
        }
        facts
    }

    /// `a.b` steps through mappings; `a.b[tag]` picks `value` of `tag:value` in a list of texts.
    fn at(&self, path: &str) -> Found<'_> {
        let (keys, tag) = match path.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
            Some((keys, tag)) => (keys, Some(tag)),
            None => (path, None),
        };
        let mut node = &self.root;
        for key in keys.split('.') {
            let Some(next) = node.get(key) else { return Found::Nothing };
            node = next;
        }
        match (tag, &node.value) {
            (_, Value::Null) => Found::Nothing,
            (Some(tag), Value::List(items)) => match tagged(items, tag) {
                Some((value, place)) => Found::Text(value.to_owned(), place),
                None => Found::Nothing,
            },
            (None, Value::Text(text) | Value::Number(text)) => {
                Found::Text(text.clone(), node.place)
            }
            (None, Value::Bool(truth)) => Found::Text(truth.to_string(), node.place),
            (Some(_) | None, _) => Found::Other(node),
        }
    }
}

/// What stands at a dotted path.
enum Found<'d> {
    Nothing,
    Text(String, Place),
    /// Something that is no text.
    Other(&'d Node),
}

/// The value of `tag:value` in a list of texts.
pub(in crate::domain) fn tagged<'n>(items: &'n [Node], tag: &str) -> Option<(&'n str, Place)> {
    items.iter().find_map(|item| {
        let (name, value) = item.text()?.split_once(':')?;
        (name.trim() == tag).then_some((value.trim(), item.place))
    })
}

/// What one attribute file says of its connector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The attributes that the rule names and the document has.
    pub attributes: BTreeMap<String, String>,
    /// Where each of them stands.
    pub places: BTreeMap<String, Place>,
    /// Airbyte's id of the connector, which no other may have.
    pub definition: Option<(String, Place)>,
    pub flaws: Vec<Flaw>,
}

fn of_toml(text: &str, error: &toml::de::Error) -> Flaw {
    let place = error.span().and_then(|span| {
        let before = text.get(..span.start)?;
        let line = u32::try_from(before.matches('\n').count()).ok()?;
        let column = u32::try_from(before.rsplit('\n').next()?.chars().count()).ok()?;
        Some(Place { line: line + 1, column: column + 1 })
    });
    let words: Vec<&str> = error.message().lines().map(str::trim).collect();
    Flaw::unusable(place, format!("is not TOML: {}", words.join(" ")), "mend it there")
}
