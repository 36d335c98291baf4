//! Facts about a connector, from one file of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Flaw;
use crate::domain::metadata;
use crate::domain::rules::AttributeRule;
use crate::domain::yaml::{self, Node, Place, Value};

/// A parsed attribute file.
#[derive(Debug, Clone)]
pub struct Document {
    root: Node,
}

impl Document {
    /// By the file's ending: is it read as TOML?
    pub fn is_toml(path: &str) -> bool {
        path.rsplit('.').next() == Some("toml")
    }

    /// By the file's ending: YAML (which JSON is, too) or TOML.
    pub fn parse(path: &str, text: &[u8]) -> Result<Self, Flaw> {
        if text.len() > yaml::MAX_BYTES {
            let text = format!("is larger than {} bytes; it is not read", yaml::MAX_BYTES);
            return Err(Flaw::unusable(None, text, "keep facts here, and data elsewhere"));
        }
        let text = std::str::from_utf8(text).map_err(|error| {
            let before = text[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            let line = u32::try_from(before).unwrap_or(u32::MAX);
            Flaw::unusable(Place { line, column: 1 }, "is not UTF-8", "save it as UTF-8")
        })?;
        if Self::is_toml(path) {
            return toml::from_str(text)
                .map(|value| Self { root: Node::without_places(value) })
                .map_err(|error| of_toml(text, &error));
        }
        yaml::parse(text).map(|root| Self { root }).map_err(|broken| {
            let text = format!("is not YAML: {}", broken.what);
            Flaw::unusable(broken.place, text, broken.mend)
        })
    }

    pub fn root(&self) -> &Node {
        &self.root
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

/// What one attribute file says: of its content and the paths that are asked for, nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Dotted path → what stands there, and where. Paths that lead nowhere have none.
    values: BTreeMap<String, (String, Place)>,
    /// Dotted path → what stands there and is no text.
    others: BTreeMap<String, (String, Place)>,
    /// The file can't be read at all.
    unreadable: Option<Flaw>,
    /// It says itself that it is Airbyte's metadata.
    airbyte: bool,
    /// What is wrong with it if it is.
    metadata: Vec<Flaw>,
    definition: Option<(String, Place)>,
}

impl Facts {
    /// Raised whenever [`Facts::read`] answers differently for any content: kept answers are then
    /// void.
    pub const VERSION: u32 = 1;

    /// Reads a file's content; `paths` are dotted ones, as [`AttributeRule::paths`] has them.
    pub fn read<'p>(path: &str, text: &[u8], paths: impl IntoIterator<Item = &'p str>) -> Self {
        match Document::parse(path, text) {
            Ok(document) => Self::of(&document, paths),
            Err(flaw) => Self { unreadable: Some(flaw), ..Self::default() },
        }
    }

    fn of<'p>(document: &Document, paths: impl IntoIterator<Item = &'p str>) -> Self {
        let root = &document.root;
        let mut facts = Self {
            airbyte: metadata::is_airbyte(root),
            metadata: metadata::flaws(root),
            definition: metadata::definition_id(root),
            ..Self::default()
        };
        for path in paths {
            match document.at(path) {
                Found::Nothing => {}
                Found::Text(value, place) => {
                    facts.values.insert(path.to_owned(), (value, place));
                }
                Found::Other(node) => {
                    let kind = node.value.kind().to_owned();
                    facts.others.insert(path.to_owned(), (kind, node.place));
                }
            }
        }
        facts
    }

    /// The attributes that a rule names and the file has.
    pub fn attributes(&self, rule: &AttributeRule) -> BTreeMap<String, String> {
        let found = rule.paths.iter().filter_map(|(name, path)| {
            let (value, _) = self.values.get(path)?;
            Some((name.clone(), value.clone()))
        });
        found.collect()
    }

    /// Where an attribute stands.
    pub(super) fn place(&self, rule: &AttributeRule, attribute: &str) -> Option<Place> {
        self.values.get(rule.paths.get(attribute)?).map(|(_, place)| *place)
    }

    /// Airbyte's id of the connector, which no other may have.
    pub(super) fn definition(&self, airbyte: bool) -> Option<(String, Place)> {
        self.definition.clone().filter(|_| airbyte || self.airbyte)
    }

    /// What is wrong with the file, read as a rule reads it. `airbyte`: by the layout it must be
    /// Airbyte's metadata.
    pub(super) fn flaws(&self, rule: &AttributeRule, airbyte: bool) -> Vec<Flaw> {
        if let Some(flaw) = &self.unreadable {
            return vec![flaw.clone()];
        }
        if airbyte || self.airbyte {
            return self.metadata.clone();
        }
        let wrong = rule.paths.iter().filter_map(|(name, path)| {
            let (kind, place) = self.others.get(path)?;
            let text = format!("`{path}` is {kind}, and `{name}` is read from it");
            Some(Flaw::remark(*place, text, "write a text there, or point `attributes` elsewhere"))
        });
        wrong.collect()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_document_has_the_same_attributes() {
        let text = "data:\n  tags: [language:python, 7, 'x:y:z', {a: b}]\n  level: 1.10\n  ok: true\n  \
                    none:\n  list: [1]\n  deep: {deeper: {deepest: 0x10}}\n  text: '1.10'\nunasked: {x: 1}\n";
        let paths = [
            "data.tags[language]",
            "data.tags[x]",
            "data.tags",
            "data.level",
            "data.ok",
            "data.none",
            "data.list",
            "data.list[a]",
            "data.deep",
            "data.deep.deeper.deepest",
            "data.text",
            "data.text.more",
            "absent",
        ];
        let rule = AttributeRule {
            file: "m.yaml".to_owned(),
            paths: paths.iter().map(|path| ((*path).to_owned(), (*path).to_owned())).collect(),
        };
        let whole = Facts::read("m.yaml", text.as_bytes(), paths);
        let json = serde_json::to_string(&whole).unwrap();
        let again: Facts = serde_json::from_str(&json).unwrap();
        assert_eq!(again, whole);
        assert_eq!(again.attributes(&rule), whole.attributes(&rule));
        assert_eq!(whole.attributes(&rule).len(), 6);
        assert!(!json.contains("unasked"), "{json}");
    }
}
