//! What GitHub accepts as a check run, in its two layers: first the schema of the description,
//! then the model's own rules. Every refusal has GitHub's own words where they are known.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::api::CheckAction;
use crate::choices::{Choices, RefusalLayer};
use crate::refusals::{Answer, complaint, invalid_request, refuse, validation_failed};

const CONCLUSIONS: &[&str] =
    &["success", "failure", "neutral", "cancelled", "timed_out", "action_required", "skipped"];
const STATUSES: &[&str] = &["queued", "in_progress", "completed"];
/// Only GitHub itself and GitHub Actions may say these.
const RESERVED: &[&str] = &["stale", "waiting", "requested", "pending"];
const LEVELS: &[&str] = &["notice", "warning", "failure"];
/// Characters in the schema, bytes in the model.
const LONGEST_TEXT: usize = 65_535;
const MOST_ANNOTATIONS: usize = 50;
const LONGEST_ANNOTATION: usize = 64 * 1024;
const LONGEST_ANNOTATION_TITLE: usize = 255;
const MOST_ACTIONS: usize = 3;

/// An accepted body of a create or update.
#[derive(Debug, Default)]
pub(super) struct CheckInput {
    pub(super) name: Option<String>,
    pub(super) head_sha: Option<String>,
    pub(super) status: Option<String>,
    pub(super) conclusion: Option<String>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) completed_at: Option<DateTime<Utc>>,
    pub(super) details_url: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) output: Option<Output>,
    pub(super) actions: Option<Vec<CheckAction>>,
}

#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) title: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) text: Option<String>,
    pub(super) annotations: Vec<Value>,
}

/// Complaints of the schema layer, collected: GitHub lists them one per line.
#[derive(Default)]
struct Schema {
    complaints: Vec<String>,
    /// One of them is in our words.
    ours: bool,
}

impl Schema {
    fn complain(&mut self, text: impl Into<String>) {
        self.complaints.push(text.into());
    }

    /// A text, if there is one.
    fn text(&mut self, object: &Map<String, Value>, field: &str) -> Option<String> {
        match object.get(field) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(other) => {
                self.complain(format!(
                    "For 'properties/{field}', {} is not a string.",
                    ruby(other)
                ));
                None
            }
        }
    }

    fn required(&mut self, object: &Map<String, Value>, field: &str) {
        if !object.contains_key(field) {
            self.complain(format!("\"{field}\" wasn't supplied."));
        }
    }

    fn member(&mut self, value: Option<&str>, allowed: &[&str]) {
        if let Some(value) = value.filter(|value| !allowed.contains(value)) {
            let allowed: Vec<String> = allowed.iter().map(|one| format!("\"{one}\"")).collect();
            self.complain(format!("{value} is not a member of [{}].", allowed.join(", ")));
        }
    }

    fn at_most(&mut self, value: Option<&str>, most: usize) {
        let count = value.map_or(0, |value| value.chars().count());
        if count > most {
            self.complain(format!("Only {most} characters are allowed; {count} were supplied."));
        }
    }

    fn time(&mut self, object: &Map<String, Value>, field: &str) -> Option<DateTime<Utc>> {
        let text = self.text(object, field)?;
        let Ok(time) = DateTime::parse_from_rfc3339(&text) else {
            self.complain(format!("For 'properties/{field}', {text} is not a valid date-time."));
            return None;
        };
        Some(time.to_utc())
    }
}

/// A value as GitHub's server (Ruby) prints it.
fn ruby(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
        Value::String(text) => text.clone(),
    }
}

/// Reads the body of a create (`new`) or update, or refuses it.
pub(super) fn read(
    body: &Map<String, Value>,
    new: bool,
    choices: &Choices,
) -> Result<CheckInput, Answer> {
    let mut schema = Schema::default();
    if new {
        schema.required(body, "name");
        schema.required(body, "head_sha");
    }
    let input = CheckInput {
        name: schema.text(body, "name"),
        head_sha: schema.text(body, "head_sha"),
        status: schema.text(body, "status"),
        conclusion: schema.text(body, "conclusion"),
        started_at: schema.time(body, "started_at"),
        completed_at: schema.time(body, "completed_at"),
        details_url: schema.text(body, "details_url"),
        external_id: schema.text(body, "external_id"),
        output: output(&mut schema, body.get("output"), new),
        actions: actions(&mut schema, body.get("actions")),
    };
    schema.member(input.status.as_deref(), STATUSES);
    schema.member(input.conclusion.as_deref(), CONCLUSIONS);
    let words = [input.status.as_deref(), input.conclusion.as_deref()];
    if choices.reserved_word != 422 && words.iter().flatten().any(|word| RESERVED.contains(word)) {
        return Err(refuse(choices.reserved_word, "This is GitHub's to say.").in_our_words());
    }
    if !schema.complaints.is_empty() {
        let refusal = invalid_request(&schema.complaints);
        return Err(if schema.ours { refusal.in_our_words() } else { refusal });
    }
    model(&input, choices)?;
    Ok(input)
}

fn output(schema: &mut Schema, value: Option<&Value>, new: bool) -> Option<Output> {
    let value = value?;
    let Some(object) = value.as_object() else {
        schema.complain(format!("For 'properties/output', {} is not an object.", ruby(value)));
        return None;
    };
    schema.required(object, "summary");
    if new {
        schema.required(object, "title");
    }
    let output = Output {
        title: schema.text(object, "title"),
        summary: schema.text(object, "summary"),
        text: schema.text(object, "text"),
        annotations: annotations(schema, object.get("annotations")),
    };
    schema.at_most(output.summary.as_deref(), LONGEST_TEXT);
    schema.at_most(output.text.as_deref(), LONGEST_TEXT);
    Some(output)
}

fn array<'a>(
    schema: &mut Schema,
    value: Option<&'a Value>,
    field: &str,
    most: usize,
) -> &'a [Value] {
    let Some(value) = value else { return &[] };
    let Some(items) = value.as_array() else {
        schema.complain(format!("For 'properties/{field}', {} is not an array.", ruby(value)));
        return &[];
    };
    if items.len() > most {
        let count = items.len();
        schema.complain(format!("No more than {most} items are allowed; {count} were supplied."));
    }
    items
}

fn annotations(schema: &mut Schema, value: Option<&Value>) -> Vec<Value> {
    let items = array(schema, value, "annotations", MOST_ANNOTATIONS);
    for item in items {
        let Some(object) = item.as_object() else {
            schema.complain(format!("For 'items', {} is not an object.", ruby(item)));
            continue;
        };
        for field in ["path", "start_line", "end_line", "annotation_level", "message"] {
            schema.required(object, field);
        }
        for field in ["path", "message", "title", "raw_details"] {
            schema.text(object, field);
        }
        for field in ["start_line", "end_line", "start_column", "end_column"] {
            if let Some(number) = object.get(field).filter(|number| !number.is_i64()) {
                let text = ruby(number);
                schema.complain(format!("For 'properties/{field}', {text} is not an integer."));
            }
        }
        let level = schema.text(object, "annotation_level");
        schema.member(level.as_deref(), LEVELS);
    }
    items.to_vec()
}

fn actions(schema: &mut Schema, value: Option<&Value>) -> Option<Vec<CheckAction>> {
    value?;
    let before = schema.complaints.len();
    let items = array(schema, value, "actions", MOST_ACTIONS);
    let mut actions = Vec::new();
    for item in items {
        let Some(object) = item.as_object() else {
            schema.complain(format!("For 'items', {} is not an object.", ruby(item)));
            continue;
        };
        let mut field = |name: &str, most: usize| {
            schema.required(object, name);
            let text = schema.text(object, name);
            schema.at_most(text.as_deref(), most);
            text.unwrap_or_default()
        };
        actions.push(CheckAction {
            label: field("label", 20),
            description: field("description", 40),
            identifier: field("identifier", 20),
        });
    }
    schema.ours |= schema.complaints.len() > before;
    Some(actions)
}

/// The model's rules, for a body that fits the schema.
fn model(input: &CheckInput, choices: &Choices) -> Result<(), Answer> {
    let mut errors = Vec::new();
    let mut custom = |field: &str, message: &str| {
        errors.push(complaint("CheckRun", "custom", field, Some(message)));
    };
    if let Some(problem) = input.details_url.as_deref().and_then(url_problem) {
        custom("details_url", problem);
    }
    if let Some(output) = &input.output {
        for (field, text) in [("summary", &output.summary), ("text", &output.text)] {
            if text.as_ref().is_some_and(|text| text.len() > LONGEST_TEXT) {
                custom(field, &format!("{field} exceeds a maximum bytesize of {LONGEST_TEXT}"));
            }
        }
        let fits = output.annotations.iter().all(annotation_fits);
        if !fits && choices.refusal_layer == RefusalLayer::Schema {
            let text = format!("Only {LONGEST_ANNOTATION} bytes are allowed.");
            return Err(invalid_request(&[text]).in_our_words());
        }
        if !fits || !output.annotations.iter().all(annotation_is_sound) {
            errors.push(complaint("CheckRun", "invalid", "annotations", None));
        }
    }
    let ends = input.status.as_deref() == Some("completed") || input.completed_at.is_some();
    if ends && input.conclusion.is_none() {
        errors.push(complaint("CheckRun", "missing_field", "conclusion", None));
    }
    if errors.is_empty() { Ok(()) } else { Err(validation_failed(&errors)) }
}

fn url_problem(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest {
        None => Some("details_url must use the http or https scheme"),
        Some(rest) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let broken = host.is_empty() || url.contains(char::is_whitespace);
            broken.then_some("details_url is not a valid URL")
        }
    }
}

/// Texts within their limits.
fn annotation_fits(annotation: &Value) -> bool {
    let longer =
        |field: &str, most: usize| annotation[field].as_str().is_some_and(|text| text.len() > most);
    let title = annotation["title"].as_str().map_or(0, |title| title.chars().count());
    !longer("message", LONGEST_ANNOTATION)
        && !longer("raw_details", LONGEST_ANNOTATION)
        && title <= LONGEST_ANNOTATION_TITLE
}

/// Lines and columns from 1, in order; columns only within one line.
fn annotation_is_sound(annotation: &Value) -> bool {
    let number = |field: &str| annotation[field].as_i64();
    let (start, end) = (number("start_line").unwrap_or(0), number("end_line").unwrap_or(0));
    let columns = [number("start_column"), number("end_column")];
    let has_columns = columns.iter().any(Option::is_some);
    let columns_sound =
        columns.iter().flatten().all(|&column| column >= 1) && (!has_columns || start == end);
    start >= 1 && end >= start && columns_sound
}
