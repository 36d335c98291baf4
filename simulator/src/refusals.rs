//! Answers, and GitHub's shapes of refusal.
//!
//! A 422 comes in two layers, which look different on the wire: the *schema* layer
//! ([`invalid_request`]) and the *model* layer ([`validation_failed`]).

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::choices::{Choices, RefusalLayer};

/// What goes back over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Payload,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// GitHub does not publish this message: the words are ours.
    ours: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Payload {
    Empty,
    Json(Value),
    /// Content type and bytes.
    Raw(&'static str, Bytes),
}

/// A route's result: the error is a refusal.
pub(crate) type Outcome = Result<Answer, Answer>;

const DOCUMENTATION: &str = "https://docs.github.com/rest";

impl Answer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, body: Payload::Json(body), headers: Vec::new(), ours: false }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: Payload::Empty, headers: Vec::new(), ours: false }
    }

    pub(crate) fn raw(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            body: Payload::Raw(content_type, body.into()),
            headers: Vec::new(),
            ours: false,
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Marks a message whose wording GitHub does not publish.
    pub(crate) fn in_our_words(mut self) -> Self {
        self.ours = true;
        self
    }

    /// The error object as these choices have it: other words where the words are ours, and
    /// `status` only where it is not left out.
    pub(crate) fn settle(&mut self, choices: &Choices, has_status: bool) {
        let is_error = self.status >= 300;
        let Payload::Json(Value::Object(body)) = &mut self.body else { return };
        if !is_error || !body.contains_key("documentation_url") {
            return;
        }
        if !has_status || !choices.status_in_errors {
            body.remove("status");
        }
        if self.ours && choices.reworded {
            reword(body);
        }
    }
}

/// Says something else: where there are single complaints, in those.
fn reword(body: &mut Map<String, Value>) {
    const OTHER: &str = "This is not how it was said yesterday.";
    match body.get_mut("errors").and_then(Value::as_array_mut) {
        Some(errors) => {
            for message in errors.iter_mut().filter_map(|error| error.get_mut("message")) {
                *message = OTHER.into();
            }
        }
        None => {
            body.insert("message".to_owned(), OTHER.into());
        }
    }
}

/// A 422 for a limit that is published without the shape of its refusal.
pub(crate) fn unpublished(layer: RefusalLayer, usual: RefusalLayer, refusal: &Refusal) -> Answer {
    let Refusal { resource, code, field, message } = *refusal;
    let layer = if layer == RefusalLayer::Either { usual } else { layer };
    match layer {
        RefusalLayer::Schema => invalid_request(&[message.to_owned()]).in_our_words(),
        RefusalLayer::Either | RefusalLayer::Model => {
            validation_failed(&[complaint(resource, code, field, Some(message))]).in_our_words()
        }
    }
}

/// What is wrong, for either layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal<'a> {
    pub(crate) resource: &'a str,
    pub(crate) code: &'a str,
    pub(crate) field: &'a str,
    pub(crate) message: &'a str,
}

/// GitHub's common error object. `status` is absent on older servers; clients must not need it.
pub(crate) fn refuse(status: u16, message: &str) -> Answer {
    refuse_about(status, message, DOCUMENTATION)
}

/// The same, with the page that explains it.
pub(crate) fn refuse_about(status: u16, message: &str, page: &str) -> Answer {
    let body = json!({
        "message": message,
        "documentation_url": page,
        "status": status.to_string(),
    });
    Answer::json(status, body)
}

pub(crate) fn not_found() -> Answer {
    refuse(404, "Not Found").in_our_words()
}

pub(crate) fn bad_credentials() -> Answer {
    refuse(401, "Bad credentials").in_our_words()
}

/// 422, first layer: the body does not fit the description.
pub(crate) fn invalid_request(details: &[String]) -> Answer {
    refuse(422, &format!("Invalid request.\n\n{}", details.join("\n")))
}

/// One complaint of the second layer.
pub(crate) fn complaint(resource: &str, code: &str, field: &str, message: Option<&str>) -> Value {
    let mut complaint = json!({ "resource": resource, "code": code, "field": field });
    if let (Some(message), Some(object)) = (message, complaint.as_object_mut()) {
        object.insert("message".to_owned(), message.into());
    }
    complaint
}

/// 422, second layer: the description is met, the model refuses.
pub(crate) fn validation_failed(errors: &[Value]) -> Answer {
    let body = json!({
        "message": "Validation Failed",
        "errors": errors,
        "documentation_url": DOCUMENTATION,
        "status": "422",
    });
    Answer::json(422, body)
}

/// The simulator's own git failed: a fault of ours, not a refusal.
pub(crate) fn server_error(error: &crate::Error) -> Answer {
    tracing::error!(%error, "simulator");
    refuse(500, "Server Error")
}
