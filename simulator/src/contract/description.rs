//! The `OpenAPI` description, turned into JSON Schema piece by piece as operations are called.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use jsonschema::Validator;
use serde_json::{Map, Value, json};

use crate::operations::Operation;
use crate::refusals::{Answer, Payload};

/// Refusals that GitHub gives without documenting them, and what faults inject.
const UNDOCUMENTED: &[u16] =
    &[301, 304, 307, 400, 401, 403, 404, 406, 409, 410, 422, 429, 500, 502, 503, 504];
const SCHEMAS: &str = "#/components/schemas/";

/// The description, read when first needed.
#[derive(Debug)]
pub(super) struct Description {
    path: PathBuf,
    document: OnceLock<Result<Value, String>>,
    validators: Mutex<BTreeMap<String, Option<Arc<Validator>>>>,
}

impl Description {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, document: OnceLock::new(), validators: Mutex::default() }
    }

    fn document(&self) -> Result<&Value, &String> {
        let read = || {
            let text = std::fs::read(&self.path).map_err(|error| error.to_string())?;
            serde_json::from_slice(&text).map_err(|error| error.to_string())
        };
        self.document.get_or_init(read).as_ref()
    }

    /// The operation's part of the description.
    fn described(&self, operation: &Operation, found: &mut Vec<String>) -> Option<&Value> {
        match self.document() {
            Err(error) => {
                found.push(format!("{} cannot be read: {error}", self.path.display()));
                None
            }
            Ok(document) => {
                let method = operation.method.to_lowercase();
                let described = document["paths"].get(operation.template);
                let described = described.and_then(|path| path.get(&method));
                let described = described.or_else(|| beyond(operation.id));
                if described.is_none() {
                    found.push(format!("{} is not in the description", operation.id));
                }
                described
            }
        }
    }

    /// Query parameters and body.
    pub(super) fn check_request(
        &self,
        operation: &Operation,
        query: &BTreeMap<String, String>,
        body: &Bytes,
        found: &mut Vec<String>,
    ) {
        let Some(described) = self.described(operation, found) else { return };
        let parameters: Vec<&Value> = described["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|parameter| self.follow(parameter))
            .filter(|parameter| parameter["in"] == "query")
            .collect();
        for (name, value) in query {
            match parameters.iter().find(|parameter| parameter["name"] == name.as_str()) {
                None => found.push(format!("{}: no query parameter `{name}`", operation.id)),
                Some(parameter) => {
                    if let Some(problem) = query_problem(parameter, value) {
                        found.push(format!("{}: query `{name}={value}` {problem}", operation.id));
                    }
                }
            }
        }
        let schema = &described["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            // Many clients send an empty object where nothing is wanted; GitHub does not mind.
            let is_empty = matches!(body.as_ref(), b"" | b"{}" | b"null");
            if !is_empty && operation.writes() {
                found.push(format!("{}: takes no body", operation.id));
            }
            return;
        }
        if body.is_empty() {
            if described["requestBody"]["required"] == true {
                found.push(format!("{}: wants a body", operation.id));
            }
            return;
        }
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => {
                self.validate(&format!("request of {}", operation.id), schema, &value, found);
            }
            Err(error) => found.push(format!("{}: the body is no JSON: {error}", operation.id)),
        }
    }

    /// Status and body of what we answered.
    pub(super) fn check_answer(
        &self,
        operation: &Operation,
        answer: &Answer,
        found: &mut Vec<String>,
    ) {
        let Some(described) = self.described(operation, &mut Vec::new()) else { return };
        let response = described["responses"].get(answer.status.to_string());
        let Some(response) = response else {
            if !UNDOCUMENTED.contains(&answer.status) {
                found.push(format!(
                    "answer of {}: {} is not described",
                    operation.id, answer.status
                ));
            }
            return;
        };
        let response = self.follow(response);
        let schema = &response["content"]["application/json"]["schema"];
        if answer.status >= 300 || schema.is_null() {
            return;
        }
        if let Payload::Json(body) = &answer.body {
            let what = format!("answer {} of {}", answer.status, operation.id);
            self.validate(&what, schema, body, found);
        }
    }

    /// One `$ref` further, if it is one.
    fn follow<'a>(&'a self, value: &'a Value) -> &'a Value {
        let target = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        match (target, self.document()) {
            (Some(pointer), Ok(document)) => document.pointer(pointer).unwrap_or(value),
            _ => value,
        }
    }

    fn validate(&self, what: &str, schema: &Value, value: &Value, found: &mut Vec<String>) {
        let validator = {
            let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = validators.get(what) {
                known.clone()
            } else {
                let made = match self.validator(schema) {
                    Ok(validator) => Some(Arc::new(validator)),
                    Err(error) => {
                        found.push(format!("{what}: the description is no schema: {error}"));
                        None
                    }
                };
                validators.insert(what.to_owned(), made.clone());
                made
            }
        };
        let Some(validator) = validator else { return };
        for error in validator.iter_errors(value).filter(|e| !is_known_gap(e)).take(5) {
            let mut text = error.to_string();
            if text.len() > 300 {
                text = format!("{}…", text.chars().take(300).collect::<String>());
            }
            found.push(format!("{what}: {}: {text}", error.instance_path()));
        }
    }

    fn validator(&self, schema: &Value) -> Result<Validator, String> {
        let document = self.document().map_err(Clone::clone)?;
        let mut names = BTreeSet::new();
        collect(schema, document, &mut names);
        let mut whole = convert(schema);
        let definitions: Map<String, Value> = names
            .iter()
            .map(|name| (name.clone(), convert(&document["components"]["schemas"][name])))
            .collect();
        whole["$defs"] = definitions.into();
        jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .build(&whole)
            .map_err(|error| error.to_string())
    }
}

/// What GitHub describes and the part of its description that is checked against may lack.
fn beyond(operation: &str) -> Option<&'static Value> {
    static COMMENTS: LazyLock<Value> = LazyLock::new(|| {
        let parameter = |name: &str| json!({ "$ref": format!("#/components/parameters/{name}") });
        let word = |name: &str, words: [&str; 2]| json!({ "name": name, "in": "query", "schema": { "type": "string", "enum": words } });
        let comments = json!({
            "type": "array", "items": { "$ref": "#/components/schemas/issue-comment" },
        });
        json!({
            "parameters": [
                word("sort", ["created", "updated"]), word("direction", ["asc", "desc"]),
                parameter("since"), parameter("per-page"), parameter("page"),
            ],
            "responses": { "200": { "content": { "application/json": { "schema": comments } } } },
        })
    });
    (operation == "issues/list-comments-for-repo").then(|| &*COMMENTS)
}

/// Where GitHub itself does not keep to its description: the head repository of a pull request
/// is null once its fork was deleted.
fn is_known_gap(error: &jsonschema::ValidationError<'_>) -> bool {
    error.instance().is_null() && error.instance_path().as_str().ends_with("/head/repo")
}

/// Whose installation it is: the description asks for a user and an enterprise at once, and GitHub
/// answers with either.
fn is_an_account(all: &Value) -> bool {
    let titles = all.as_array().into_iter().flatten().map(|one| &one["title"]);
    titles.eq(["Simple User", "Enterprise"].iter())
}

fn query_problem(parameter: &Value, value: &str) -> Option<String> {
    let schema = &parameter["schema"];
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.iter().any(|one| one == value)
    {
        return Some(format!("is not one of {}", schema["enum"]));
    }
    let wants_number = schema["type"] == "integer";
    (wants_number && value.parse::<i64>().is_err()).then(|| "is not an integer".to_owned())
}

/// The names of all component schemas that a schema needs.
fn collect(schema: &Value, document: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            let name =
                object.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(SCHEMAS));
            if let Some(name) = name
                && names.insert(name.to_owned())
            {
                collect(&document["components"]["schemas"][name], document, names);
            }
            object.values().for_each(|value| collect(value, document, names));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, document, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `OpenAPI` 3.0's dialect to JSON Schema: `nullable` also admits null beside an `enum`.
fn convert(schema: &Value) -> Value {
    let Some(object) = schema.as_object() else { return schema.clone() };
    if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
        return json!({ "$ref": reference.replace(SCHEMAS, "#/$defs/") });
    }
    let mut converted = Map::new();
    for (key, value) in object {
        let value = match key.as_str() {
            "nullable" | "example" | "examples" | "discriminator" | "xml" | "externalDocs"
            | "deprecated" | "readOnly" | "writeOnly" | "title" | "description" => continue,
            "properties" | "patternProperties" => {
                let properties = value.as_object().into_iter().flatten();
                properties.map(|(name, value)| (name.clone(), convert(value))).collect()
            }
            "allOf" | "anyOf" | "oneOf" => {
                value.as_array().into_iter().flatten().map(convert).collect()
            }
            "items" | "additionalProperties" | "not" => convert(value),
            _ => value.clone(),
        };
        let one_of_them = key == "allOf" && is_an_account(&object[key]);
        converted.insert(if one_of_them { "anyOf".to_owned() } else { key.clone() }, value);
    }
    if object.get("nullable") == Some(&Value::Bool(true)) {
        return json!({ "anyOf": [converted, { "type": "null" }] });
    }
    converted.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nullable_admits_null_beside_an_enum() {
        let schema = convert(&json!({ "type": "string", "enum": ["a"], "nullable": true }));
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(validator.is_valid(&json!(null)));
        assert!(validator.is_valid(&json!("a")));
        assert!(!validator.is_valid(&json!("b")));
    }

    #[test]
    fn an_account_is_a_user_or_an_enterprise() {
        let one = |title: &str, key: &str| json!({ "title": title, "required": [key] });
        let schema = json!({ "allOf": [one("Simple User", "login"), one("Enterprise", "slug")] });
        let validator = jsonschema::validator_for(&convert(&schema)).unwrap();
        assert!(validator.is_valid(&json!({ "login": "quill" })));
        assert!(validator.is_valid(&json!({ "slug": "acme" })));
        assert!(!validator.is_valid(&json!({ "name": "acme" })));
        let schema = json!({ "allOf": [one("Simple User", "login"), one("Other", "slug")] });
        let validator = jsonschema::validator_for(&convert(&schema)).unwrap();
        assert!(!validator.is_valid(&json!({ "login": "quill" })));
    }

    #[test]
    fn a_property_called_example_stays() {
        let schema = convert(&json!({
            "type": "object",
            "required": ["example"],
            "properties": { "example": { "type": "integer", "example": 1 } },
        }));
        assert_eq!(schema["properties"]["example"], json!({ "type": "integer" }));
    }
}
