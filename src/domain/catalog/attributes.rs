//! Facts about a connector, from one file of its own.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};

use crate::domain::rules::AttributeRule;

/// Attribute files are read whole, for every connector of a tree: larger ones are a finding.
const MAX_BYTES: usize = 1024 * 1024;

/// A parsed attribute file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document(Value);

impl Document {
    /// By the file's ending: YAML (which JSON is, too) or TOML. The error is in words.
    pub fn parse(path: &str, text: &[u8]) -> Result<Self, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("is larger than {MAX_BYTES} bytes; its attributes are not read"));
        }
        let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8".to_owned())?;
        if path.rsplit('.').next() == Some("toml") {
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

    /// The attributes that the rule names and the document has.
    pub fn attributes(&self, rule: &AttributeRule) -> BTreeMap<String, String> {
        let found = rule.paths.iter().filter_map(|(name, path)| Some((name, self.at(path)?)));
        found.map(|(name, value)| (name.clone(), value)).collect()
    }

    /// `a.b` steps through mappings; `a.b[tag]` picks `value` of `tag:value` in a list of texts.
    fn at(&self, path: &str) -> Option<String> {
        let (keys, tag) = match path.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
            Some((keys, tag)) => (keys, Some(tag)),
            None => (path, None),
        };
        let mut value = &self.0;
        for key in keys.split('.') {
            value = value.get(key)?;
        }
        let Some(tag) = tag else { return scalar(value) };
        let tags = value.as_array()?.iter().filter_map(Value::as_str);
        tags.filter_map(|text| text.split_once(':'))
            .find(|(name, _)| name.trim() == tag)
            .map(|(_, value)| value.trim().to_owned())
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
