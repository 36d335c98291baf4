//! Facts about a connector, from one file of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

use crate::domain::rules::AttributeRule;

/// Attribute files are read whole, for every connector of a tree: larger ones are a finding.
const MAX_BYTES: usize = 1024 * 1024;

/// A parsed attribute file, or what was kept of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document(Value);

impl Document {
    /// Raised whenever [`Document::parse`] or [`Document::cut_to`] answers differently for any
    /// content: kept answers are then void.
    pub const VERSION: u32 = 1;

    /// By the file's ending: is it read as TOML?
    pub fn is_toml(path: &str) -> bool {
        path.rsplit('.').next() == Some("toml")
    }

    /// By the file's ending: YAML (which JSON is, too) or TOML. The error is in words.
    pub fn parse(path: &str, text: &[u8]) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("is larger than {MAX_BYTES} bytes; its attributes are not read"));
        }
        let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8".to_owned())?;
        if Self::is_toml(path) {
            return toml::from_str(text).map(Self).map_err(|e| one_line(&e.to_string()));
        }
        // Other people's metadata: what they get away with elsewhere is no error here.
        let options = serde_saphyr::options! {
            duplicate_keys: DuplicateKeyPolicy::LastWins,
            strict_booleans: true,
            non_finite_float_policy: NonFiniteFloatPolicy::AsString,
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options(text, options)
            .map(Self)
            .map_err(|e| one_line(&e.to_string()))
    }

    /// No more than what these paths of attributes need, as texts: small and the same again after
    /// it was written down and read.
    #[must_use]
    pub fn cut_to<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Self {
        let mut kept = Map::new();
        for path in paths {
            let (keys, tag) = split(path);
            let Some(value) = self.value(keys) else { continue };
            let texts =
                |list: &Vec<Value>| list.iter().filter(|v| v.is_string()).cloned().collect();
            let needed = match tag {
                Some(_) => value.as_array().map(|list| Value::Array(texts(list))),
                None => scalar(value).map(Value::String),
            };
            if let Some(needed) = needed {
                put(&mut kept, keys, needed);
            }
        }
        Self(Value::Object(kept))
    }

    /// The attributes that the rule names and the document has.
    pub fn attributes(&self, rule: &AttributeRule) -> BTreeMap<String, String> {
        let found = rule.paths.iter().filter_map(|(name, path)| Some((name, self.at(path)?)));
        found.map(|(name, value)| (name.clone(), value)).collect()
    }

    /// `a.b` steps through mappings; `a.b[tag]` picks `value` of `tag:value` in a list of texts.
    fn at(&self, path: &str) -> Option<String> {
        let (keys, tag) = split(path);
        let value = self.value(keys)?;
        let Some(tag) = tag else { return scalar(value) };
        let tags = value.as_array()?.iter().filter_map(Value::as_str);
        tags.filter_map(|text| text.split_once(':'))
            .find(|(name, _)| name.trim() == tag)
            .map(|(_, value)| value.trim().to_owned())
    }

    fn value(&self, keys: &str) -> Option<&Value> {
        keys.split('.').try_fold(&self.0, |value, key| value.get(key))
    }
}

/// `a.b[tag]` → `a.b` and `tag`.
fn split(path: &str) -> (&str, Option<&str>) {
    match path.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        Some((keys, tag)) => (keys, Some(tag)),
        None => (path, None),
    }
}

/// Puts a value where keys with dots lead to.
fn put(place: &mut Map<String, Value>, keys: &str, value: Value) {
    let Some((first, rest)) = keys.split_once('.') else {
        place.insert(keys.to_owned(), value);
        return;
    };
    let inner = place.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        put(inner, rest, value);
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_document_has_the_same_attributes() {
        let text = "data:\n  tags: [language:python, 7, 'x:y:z', {a: b}]\n  level: 1.10\n  ok: true\n  \
                    none:\n  list: [1]\n  deep: {deeper: {deepest: 0x10}}\n  text: '1.10'\nother: {x: 1}\n";
        let whole = Document::parse("m.yaml", text.as_bytes()).unwrap();
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
        let kept = whole.cut_to(paths);
        let json = serde_json::to_string(&kept).unwrap();
        let again: Document = serde_json::from_str(&json).unwrap();
        assert_eq!(again, kept);
        assert_eq!(again.attributes(&rule), whole.attributes(&rule));
        assert_eq!(whole.attributes(&rule).len(), 6);
        assert!(!json.contains("other"), "{json}");
    }
}
