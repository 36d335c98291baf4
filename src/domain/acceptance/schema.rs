//! JSON Schema, draft 7, of which nothing is fetched from anywhere.

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use super::{expansion, formats};

/// Steps back that a pattern may take on one text: what needs more is no match.
const STEPS_BACK: usize = 10_000;

/// Why a value is no schema, in words.
pub(super) fn flaw(schema: &Value) -> Option<String> {
    if !schema.is_object() {
        return Some("it is no object".to_owned());
    }
    compiled(schema).err()
}

/// A schema to judge by, or what is wrong with it.
pub(super) fn compiled(schema: &Value) -> Result<Validator, String> {
    if let Err(error) = jsonschema::draft7::meta::validate(schema) {
        let place = error.instance_path().to_string();
        let at = if place.is_empty() { String::new() } else { format!("at `{place}`: ") };
        return Err(format!("{at}{error}"));
    }
    // A validator walks through all of it for each record, and nothing can end it meanwhile.
    expansion::flaw(schema)?;
    // What the document calls its draft is of no matter: connectors' schemas are of the seventh.
    let patterns = PatternOptions::fancy_regex().backtrack_limit(STEPS_BACK);
    let options = jsonschema::draft7::options();
    let options = options.with_retriever(Nowhere).with_pattern_options(patterns);
    formats::lenient(options).build(schema).map_err(|error| error.to_string())
}

/// Where an instance breaks the schema: the first thing, in words.
pub(super) fn breach(validator: &Validator, instance: &Value) -> Option<String> {
    let error = validator.validate(instance).err()?;
    let place = error.instance_path().to_string();
    let at = if place.is_empty() { String::new() } else { format!("at `{place}`: ") };
    Some(format!("{at}{error}"))
}

/// Nothing outside of the document is looked up.
struct Nowhere;

impl jsonschema::Retrieve for Nowhere {
    fn retrieve(
        &self,
        uri: &jsonschema::Uri<String>,
    ) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err(format!("`{uri}` lies outside of the schema").into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn formats_are_those_that_connectors_keep_to() {
        let schema = json!({ "properties": {
            "at": { "type": "string", "format": "date-time" },
            "day": { "type": "string", "format": "date" },
            "link": { "type": "string", "format": "uri" },
            "mail": { "type": "string", "format": "email" },
        } });
        let validator = compiled(&schema).unwrap();
        let good = json!({
            "at": "2014-10-12T08:08:11.908655", "day": "2014-10-12", "link": "/a b",
            "mail": "root@localhost",
        });
        assert_eq!(breach(&validator, &good), None);
        for (name, value) in [("at", "yesterday"), ("day", "2014-10"), ("mail", "nobody")] {
            assert!(breach(&validator, &json!({ name: value })).is_some(), "{name}");
        }
    }

    #[test]
    fn a_pattern_takes_no_more_than_so_many_steps() {
        // With a look-behind, else it were matched in one pass.
        let schema = json!({ "pattern": "^(?=(a+)+$)(a|a)*\\1b$" });
        let validator = compiled(&schema).unwrap();
        assert!(breach(&validator, &json!("a".repeat(40))).is_some());
    }
}
