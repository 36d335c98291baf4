//! What a schema is made of: the schemas within it, by the keywords of draft 7.

use std::collections::{BTreeMap, BTreeSet};
use std::ptr;

use serde_json::{Map, Value};

use super::expansion::plain;

/// Keywords whose values are mappings from names to schemas.
const NAMED: [&str; 5] =
    ["properties", "patternProperties", "definitions", "$defs", "dependencies"];
/// Keywords whose values are schemas, or lists of them.
const PLAIN: [&str; 12] = [
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "propertyNames",
    "then",
];
/// Keywords whose schemas are about the same value as the one that holds them.
const SAME: [&str; 6] = ["allOf", "anyOf", "oneOf", "if", "then", "else"];

/// What stands behind a keyword: a schema, or a list of them.
fn behind<'s>(schema: &'s Map<String, Value>, keyword: &str) -> &'s [Value] {
    match schema.get(keyword) {
        Some(Value::Array(all)) => all,
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
}

/// A schema with all that lies in it.
pub(super) struct Document<'s> {
    root: &'s Value,
    /// Schemas that references may call by a name of their own, `#name`.
    names: BTreeMap<&'s str, &'s Value>,
}

impl<'s> Document<'s> {
    pub(super) fn of(root: &'s Value) -> Self {
        let (mut names, mut open) = (BTreeMap::new(), vec![root]);
        while let Some(value) = open.pop() {
            match value {
                Value::Object(fields) => {
                    let name = fields.get("$id").and_then(Value::as_str);
                    let name = name.filter(|name| name.starts_with('#'));
                    names.extend(name.map(|name| (name, value)));
                    open.extend(fields.values());
                }
                Value::Array(items) => open.extend(items),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        Self { root, names }
    }

    pub(super) fn root(&self) -> &'s Value {
        self.root
    }

    /// What a reference stands for, if that lies in the document.
    fn target(&self, schema: &Map<String, Value>) -> Option<&'s Value> {
        let reference = plain(schema.get("$ref")?.as_str()?);
        let fragment = reference.strip_prefix('#')?;
        if fragment.is_empty() || fragment.starts_with('/') {
            return self.root.pointer(fragment);
        }
        self.names.get(reference.as_str()).copied()
    }

    /// Schemas that are about the same value.
    pub(super) fn same(&self, schema: &'s Map<String, Value>) -> impl Iterator<Item = &'s Value> {
        SAME.into_iter().flat_map(|key| behind(schema, key)).chain(self.target(schema))
    }

    /// Every schema right within a schema, and the one that it refers to.
    fn within(&self, schema: &'s Map<String, Value>) -> impl Iterator<Item = &'s Value> {
        let named = NAMED.into_iter().filter_map(|key| schema.get(key)?.as_object());
        let plain = PLAIN.into_iter().flat_map(|key| behind(schema, key));
        named.flat_map(Map::values).chain(plain).chain(self.target(schema))
    }

    /// The first that is found, looking at every schema once.
    pub(super) fn find<F>(
        &self,
        mut look: impl FnMut(&'s Map<String, Value>) -> Option<F>,
    ) -> Option<F> {
        let (mut open, mut seen) = (vec![self.root], BTreeSet::new());
        while let Some(value) = open.pop() {
            let Some(schema) = value.as_object() else { continue };
            if seen.insert(ptr::from_ref(schema)) {
                if let Some(found) = look(schema) {
                    return Some(found);
                }
                open.extend(self.within(schema));
            }
        }
        None
    }

    /// Does a path of properties lead to something?
    pub(super) fn leads(&self, path: &[String]) -> bool {
        let (mut open, mut seen) = (vec![(self.root, path)], BTreeSet::new());
        while let Some((value, path)) = open.pop() {
            let Some((first, rest)) = path.split_first() else { return true };
            let Some(schema) = value.as_object() else { continue };
            if seen.insert((ptr::from_ref(schema), path.len())) {
                let own = schema.get("properties").and_then(|properties| properties.get(first));
                open.extend(own.map(|property| (property, rest)));
                open.extend(self.same(schema).map(|other| (other, path)));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_schema_of_a_document_is_looked_at() {
        let is_meant =
            |schema: &Map<String, Value>| schema.contains_key("meant").then_some("found");
        let meant = json!({ "meant": 1 });
        for (key, value) in [
            ("properties", json!({ "a": meant })),
            ("patternProperties", json!({ "^a": meant })),
            ("definitions", json!({ "a": meant })),
            ("dependencies", json!({ "a": meant, "b": ["a"] })),
            ("items", json!(meant)),
            ("items", json!([true, meant])),
            ("additionalItems", json!(meant)),
            ("additionalProperties", json!(meant)),
            ("contains", json!(meant)),
            ("propertyNames", json!(meant)),
            ("anyOf", json!([{}, meant])),
            ("allOf", json!([{}, meant])),
            ("oneOf", json!([{}, meant])),
            ("not", json!(meant)),
            ("if", json!(meant)),
            ("then", json!(meant)),
            ("else", json!(meant)),
        ] {
            let schema = json!({ "properties": { "x": { key: value } } });
            assert_eq!(Document::of(&schema).find(is_meant), Some("found"), "{key}");
        }
        for reference in ["#/x-shared/a%20b", "#name"] {
            let shared = json!({ "a b": { "$id": "#name", "meant": 1 } });
            let schema = json!({ "items": { "$ref": reference }, "x-shared": shared });
            assert_eq!(Document::of(&schema).find(is_meant), Some("found"), "{reference}");
        }
        // What is no schema may be called like anything.
        let schema = json!({ "properties": { "meant": {} }, "default": meant, "enum": [meant] });
        assert_eq!(Document::of(&schema).find(is_meant), None);
    }

    #[test]
    fn a_path_leads_through_references_and_variants() {
        let leads = |schema: &Value, path: &[&str]| {
            let path: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
            Document::of(schema).leads(&path)
        };
        let inner = json!({ "type": "object", "properties": { "id": {} } });
        for schema in [
            json!({ "properties": { "a": inner } }),
            json!({ "properties": { "a": { "$ref": "#/definitions/a" } }, "definitions": { "a": inner } }),
            json!({ "$ref": "#/definitions/all", "definitions": {
                "all": { "properties": { "a": { "anyOf": [{ "type": "null" }, { "$ref": "#a" }] } } },
                "other": { "$id": "#a", "properties": { "id": {} } } } }),
            json!({ "oneOf": [{}, { "allOf": [{ "properties": { "a": inner } }] }] }),
        ] {
            assert!(leads(&schema, &["a"]) && leads(&schema, &["a", "id"]), "{schema}");
            assert!(!leads(&schema, &["id"]) && !leads(&schema, &["a", "b"]), "{schema}");
        }
        let elsewhere = json!({ "properties": { "a": { "$ref": "other.json#/a" } } });
        assert!(leads(&elsewhere, &["a"]) && !leads(&elsewhere, &["a", "id"]));
        let circle = json!({ "$ref": "#/definitions/a", "definitions": {
            "a": { "$ref": "#/definitions/b" }, "b": { "$ref": "#/definitions/a" } } });
        assert!(!leads(&circle, &["a"]));
        assert_eq!(Document::of(&circle).find(|_| None::<()>), None);
    }

    #[test]
    fn a_long_chain_of_references_takes_no_stack() {
        let link =
            |at: usize| (format!("a{at}"), json!({ "$ref": format!("#/definitions/a{}", at + 1) }));
        let mut all: Map<String, Value> = (0..20_000).map(link).collect();
        all.insert("a20000".to_owned(), json!({ "properties": { "id": {} } }));
        let schema = json!({ "$ref": "#/definitions/a0", "definitions": all });
        assert!(Document::of(&schema).leads(&["id".to_owned()]));
    }
}
