//! How much a schema comes to with each reference in place of what it stands for.
//!
//! A validator follows references as often as they stand there: forty definitions of which each
//! refers twice to the next are a small document and a trillion schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Schemas that one may come to.
const MOST: u64 = 100_000;
/// Levels that it may have.
const DEEPEST: usize = 256;
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
const ANCHORS: [&str; 2] = ["$anchor", "$dynamicAnchor"];

/// Why a schema is too much to judge by, in words.
pub(super) fn flaw(schema: &Value) -> Result<(), String> {
    let mut count = Count::default();
    count.names.push((String::new(), schema));
    collect(schema, &mut count.names);
    let whole = count.of(schema, 0);
    if count.too_deep {
        return Err(format!("with its references it has more than {DEEPEST} levels"));
    }
    if whole > MOST {
        return Err(format!("with its references it comes to more than {MOST} schemas"));
    }
    Ok(())
}

/// What references may name: every schema with an `$id` or an anchor.
fn collect<'s>(schema: &'s Value, names: &mut Vec<(String, &'s Value)>) {
    match schema {
        Value::Object(fields) => {
            let text = |key: &str| fields.get(key).and_then(Value::as_str);
            names.extend(["$id", "id"].into_iter().filter_map(text).map(|id| (plain(id), schema)));
            let anchors = ANCHORS.into_iter().filter_map(text);
            names.extend(anchors.map(|anchor| (format!("#{}", plain(anchor)), schema)));
            fields.values().for_each(|inner| collect(inner, names));
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[derive(Default)]
struct Count<'s> {
    names: Vec<(String, &'s Value)>,
    /// By reference.
    known: BTreeMap<String, u64>,
    /// References that are being counted: one that is met again is a recursion, which ends with
    /// the record.
    path: BTreeSet<String>,
    too_deep: bool,
}

impl<'s> Count<'s> {
    fn of(&mut self, schema: &'s Value, level: usize) -> u64 {
        if level > DEEPEST {
            self.too_deep = true;
        }
        if self.too_deep {
            return MOST;
        }
        match schema {
            Value::Object(fields) => {
                let mut sum = 1_u64;
                for (key, inner) in fields {
                    let more = match inner.as_str().filter(|_| REFERENCES.contains(&key.as_str())) {
                        Some(reference) => self.behind(reference, level),
                        None => self.of(inner, level + 1),
                    };
                    sum = sum.saturating_add(more);
                }
                sum
            }
            Value::Array(items) => {
                let one = |sum: u64, item| sum.saturating_add(self.of(item, level + 1));
                items.iter().fold(0, one)
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        }
    }

    /// What a reference stands for. Where several schemas may be meant, it is the largest.
    fn behind(&mut self, reference: &str, level: usize) -> u64 {
        let reference = plain(reference);
        if let Some(known) = self.known.get(&reference) {
            return *known;
        }
        if !self.path.insert(reference.clone()) {
            return 1;
        }
        let targets = self.targets(&reference);
        let counts = targets.into_iter().map(|target| self.of(target, level + 1));
        let most = counts.max().unwrap_or(1);
        self.path.remove(&reference);
        self.known.insert(reference, most);
        most
    }

    fn targets(&self, reference: &str) -> Vec<&'s Value> {
        let (document, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let names = self.names.iter();
        if fragment.is_empty() && document.is_empty() || fragment.starts_with('/') {
            // Of whatever document it stands in.
            return names.filter_map(|(_, schema)| schema.pointer(fragment)).collect();
        }
        let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        let is_meant = |name: &str| {
            let (its, anchor) = name.split_once('#').unwrap_or((name, ""));
            if fragment.is_empty() { last(its) == last(document) } else { anchor == fragment }
        };
        names.filter(|(name, _)| is_meant(name)).map(|(_, schema)| *schema).collect()
    }
}

/// Without the escapes of an address.
pub(super) fn plain(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::schema::{breach, compiled};
    use super::*;

    /// Definitions of which each refers twice to the next.
    fn doubling(levels: usize, reference: impl Fn(usize) -> String) -> Value {
        let one = |at: usize| {
            let next = json!({ "$ref": reference(at + 1) });
            let inner = json!({ "$id": format!("#b{at}"), "anyOf": [next.clone(), next] });
            (format!("a{at}"), inner)
        };
        let mut all: serde_json::Map<String, Value> = (0..levels).map(one).collect();
        all.insert(format!("a{levels}"), json!({ "$id": format!("#b{levels}"), "type": "string" }));
        json!({ "definitions": all, "$ref": reference(0) })
    }

    #[test]
    fn a_schema_that_doubles_itself_is_refused() {
        for reference in ["#/definitions/a", "#/definitions/%61", "#b"] {
            let schema = doubling(40, |at| format!("{reference}{at}"));
            let told = compiled(&schema).unwrap_err();
            assert_eq!(told, "with its references it comes to more than 100000 schemas");
        }
        let schema = doubling(5, |at| format!("#/definitions/a{at}"));
        assert!(breach(&compiled(&schema).unwrap(), &json!(1)).is_some());
    }

    #[test]
    fn a_long_chain_is_refused() {
        let chain = |levels: usize| {
            let link = |at: usize| {
                (format!("a{at}"), json!({ "$ref": format!("#/definitions/a{}", at + 1) }))
            };
            let mut all: serde_json::Map<String, Value> = (0..levels).map(link).collect();
            all.insert(format!("a{levels}"), json!({ "type": "string" }));
            json!({ "definitions": all, "$ref": "#/definitions/a0" })
        };
        assert!(compiled(&chain(100_000)).unwrap_err().contains("levels"));
        assert!(compiled(&chain(200)).is_ok());
    }

    #[test]
    fn a_tree_is_no_explosion() {
        let node = json!({ "type": "object", "properties": {
            "name": { "type": "string" },
            "left": { "$ref": "#/definitions/node" },
            "right": { "$ref": "#/definitions/node" },
            "all": { "type": "array", "items": { "$ref": "#" } },
        } });
        let schema = json!({ "definitions": { "node": node }, "$ref": "#/definitions/node" });
        let validator = compiled(&schema).unwrap();
        let fits = json!({ "left": { "right": { "name": "x" } }, "all": [{ "name": "y" }] });
        assert_eq!(breach(&validator, &fits), None);
        let breaks = json!({ "left": { "right": { "name": 1 } } });
        assert!(breach(&validator, &breaks).unwrap().contains("/left/right/name"));
    }
}
