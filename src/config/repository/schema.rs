//! The JSON Schema of the repository file, as editors use it; made from [`keys`](super::keys).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::keys::{CACHES, DERIVATIONS, FILE, Key, PYTHON_IMPORTS, STEP, Shape, Takes};

/// JSON Schema, draft 2020-12, of the repository file.
pub fn schema() -> Value {
    let mut shapes: Vec<&'static Shape> = Vec::new();
    gather(&FILE, &mut shapes, &mut BTreeSet::new());
    let mut definitions: Map<String, Value> =
        shapes.into_iter().skip(1).map(|shape| (shape.id.to_owned(), mapping(shape))).collect();
    definitions.insert("text".to_owned(), text());
    definitions.insert("pattern".to_owned(), pattern());
    definitions.insert("derivation".to_owned(), derivation());
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    if let Value::Object(file) = mapping(&FILE) {
        schema.extend(file);
    }
    schema.insert("title".to_owned(), json!("Checkvalve's repository file"));
    schema.insert("$defs".to_owned(), Value::Object(definitions));
    Value::Object(schema)
}

/// The shape and those that it leads to, each once.
fn gather(
    shape: &'static Shape,
    shapes: &mut Vec<&'static Shape>,
    seen: &mut BTreeSet<&'static str>,
) {
    if !seen.insert(shape.id) {
        return;
    }
    shapes.push(shape);
    for key in shape.keys {
        match key.takes {
            Takes::One(shape) | Takes::Many(shape) | Takes::Named(shape) => {
                gather(shape, shapes, seen);
            }
            Takes::ManyOr(many, one) => {
                gather(many, shapes, seen);
                gather(one, shapes, seen);
            }
            Takes::Reaches => gather(&super::keys::SELECTOR, shapes, seen),
            Takes::Version
            | Takes::Text
            | Takes::Name
            | Takes::Texts
            | Takes::Pattern
            | Takes::Patterns
            | Takes::Word(_)
            | Takes::Words(_)
            | Takes::Flag
            | Takes::Count(_)
            | Takes::Port
            | Takes::Positive(_)
            | Takes::Duration
            | Takes::Size
            | Takes::Environment
            | Takes::Matrix
            | Takes::Images
            | Takes::Conditions
            | Takes::Values
            | Takes::Attributes
            | Takes::Derivations
            | Takes::Cache => {}
        }
    }
}

fn mapping(shape: &Shape) -> Value {
    let properties: Map<String, Value> =
        shape.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> =
        shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "title": shape.what,
        "description": shape.about,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if shape.id == STEP.id {
        // What a step does is said in one of three ways: commands, a built-in step, or a scanner's
        // commands over what was built.
        let any = |keys: &[&str]| -> Value {
            keys.iter().map(|key| json!({ "required": [key] })).collect()
        };
        let commands = any(&["image", "from"]);
        let alone = any(&["image", "run", "reports", "from", "matrix", "services"]);
        let shared = any(&["from", "matrix", "services"]);
        let scan = json!({ "properties": { "uses": { "const": "scan" } } });
        schema["oneOf"] = json!([
            { "required": ["run"], "anyOf": commands, "not": { "required": ["uses"] } },
            { "required": ["uses"], "not": { "anyOf": alone }, "allOf": [{ "not": scan }] },
            { "required": ["uses", "image", "run"], "not": { "anyOf": shared }, "allOf": [scan] },
        ]);
    }
    schema
}

fn property(key: &Key) -> Value {
    let mut property = takes(key.takes);
    if let Value::Object(fields) = &mut property {
        fields.insert("title".to_owned(), json!(key.name));
        fields.insert("description".to_owned(), json!(key.about));
        let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
        if let Some(default) = key.default.and_then(parsed) {
            fields.insert("default".to_owned(), default);
        }
        let examples: Vec<Value> = key.examples.iter().filter_map(|text| parsed(text)).collect();
        if !examples.is_empty() {
            fields.insert("examples".to_owned(), Value::Array(examples));
        }
    }
    property
}

fn takes(takes: Takes) -> Value {
    match takes {
        Takes::Version => json!({ "const": 1 }),
        Takes::Text => reference("text"),
        Takes::Name => json!({
            "type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[^/]*[^/\\s][^/]*$",
        }),
        Takes::Texts => one_or_list(&reference("text")),
        Takes::Pattern => reference("pattern"),
        Takes::Patterns => one_or_list(&reference("pattern")),
        Takes::Word(words) => json!({ "enum": words }),
        Takes::Words(words) => one_or_list(&json!({ "enum": words })),
        Takes::Flag => json!({ "type": "boolean" }),
        Takes::Count(most) => json!({ "type": "integer", "minimum": 0, "maximum": most }),
        Takes::Port => json!({ "type": "integer", "minimum": 1, "maximum": 65_535 }),
        Takes::ManyOr(many, one) => json!({
            "anyOf": [{ "type": "array", "items": reference(many.id) }, reference(one.id)],
        }),
        Takes::Positive(most) => {
            json!({ "type": "number", "exclusiveMinimum": 0, "maximum": most })
        }
        Takes::Duration => json!({ "type": "string", "pattern": "^0*[1-9][0-9]*[smh]$" }),
        Takes::Size => json!({
            "type": ["string", "integer"],
            "pattern": "^0*[1-9][0-9]*(Ki|Mi|Gi|k|K|M|G)?B*$",
            "minimum": 1,
        }),
        Takes::Environment => environment(),
        Takes::Matrix => matrix(),
        Takes::Images => images(),
        Takes::Conditions => conditions(),
        Takes::Values => json!({
            "type": "object",
            "minProperties": 1,
            "additionalProperties": one_or_list(&reference("text")),
        }),
        Takes::Attributes => attributes(),
        Takes::Derivations => one_or_list(&reference("derivation")),
        Takes::One(shape) => reference(shape.id),
        Takes::Many(shape) => json!({ "type": "array", "items": reference(shape.id) }),
        Takes::Named(shape) => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z][A-Za-z0-9._-]*$", "maxLength": 100 },
            "additionalProperties": reference(shape.id),
        }),
        Takes::Reaches => json!({
            "anyOf": [
                { "const": "all" },
                reference("pattern"),
                { "type": "array", "items": reference("pattern") },
                reference("selector"),
            ],
        }),
        Takes::Cache => json!({ "anyOf": [{ "enum": CACHES }, { "type": "boolean" }] }),
    }
}

fn attributes() -> Value {
    json!({
        "type": "object",
        "properties": { "file": reference("text") },
        "additionalProperties": {
            "type": "string",
            "pattern": "^[^.\\[\\]]+(\\.[^.\\[\\]]+)*(\\[[^\\[\\]]+\\])?$",
        },
    })
}

fn environment() -> Value {
    json!({
        "type": "object",
        "propertyNames": {
            "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
            "not": { "pattern": "^CHECKVALVE_" },
        },
        "additionalProperties": { "type": ["string", "number", "boolean"] },
    })
}

fn matrix() -> Value {
    let value = json!({
        "type": ["string", "number", "boolean"],
        "pattern": "^[A-Za-z0-9._+:@=~-]+$",
        "maxLength": 60,
    });
    let values = json!({ "type": "array", "items": value, "minItems": 1, "uniqueItems": true });
    json!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "pattern": "^[a-z][a-z0-9_]*$" },
        "additionalProperties": values,
    })
}

fn images() -> Value {
    let name = "^[^\\s-]\\S*$";
    json!({
        "type": "object",
        "propertyNames": { "pattern": name },
        "additionalProperties": { "type": "string", "pattern": name },
    })
}

fn conditions() -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": "^[a-z][a-z0-9_]*$" },
        "additionalProperties": one_or_list(&reference("pattern")),
    })
}

fn reference(id: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{id}") })
}

fn one_or_list(item: &Value) -> Value {
    json!({ "anyOf": [item, { "type": "array", "items": item }] })
}

fn text() -> Value {
    json!({ "title": "a text", "type": "string", "pattern": "\\S" })
}

fn pattern() -> Value {
    json!({
        "title": "a pattern",
        "description": "Anchored at the repository's root: `*`, `?`, `[a-z]` within a component, \
                        `**` for any number of them, `{a,b}`, and variables such as `{name}`.",
        "type": "string",
        "minLength": 1,
        "maxLength": 1024,
        "pattern": "^[^/]",
    })
}

fn derivation() -> Value {
    let roots = json!({
        "type": "string", "title": "a folder", "pattern": "^[^/*?\\[\\]{}\\\\][^*?\\[\\]{}\\\\]*$",
    });
    json!({
        "title": "a way to derive dependencies",
        "anyOf": [
            { "enum": DERIVATIONS },
            {
                "type": "object",
                "properties": {
                    PYTHON_IMPORTS: {
                        "description": "The folders in which modules are looked for; `.` is the top.",
                        "anyOf": [roots, { "type": "array", "items": roots, "minItems": 1 }],
                    },
                },
                "required": [PYTHON_IMPORTS],
                "additionalProperties": false,
            },
        ],
    })
}
