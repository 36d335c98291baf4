//! Answers, and GitHub's shapes of refusal.
//!
//! A 422 comes in two layers, which look different on the wire: the *schema* layer
//! ([`invalid_request`]) and the *model* layer ([`validation_failed`]).

use bytes::Bytes;
use serde_json::{Value, json};

/// What goes back over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Payload,
    pub(crate) headers: Vec<(&'static str, String)>,
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
        Self { status, body: Payload::Json(body), headers: Vec::new() }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, body: Payload::Empty, headers: Vec::new() }
    }

    pub(crate) fn raw(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, body: Payload::Raw(content_type, body.into()), headers: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// GitHub's common error object. `status` is absent on older servers; clients must not need it.
pub(crate) fn refuse(status: u16, message: &str) -> Answer {
    let body = json!({
        "message": message,
        "documentation_url": DOCUMENTATION,
        "status": status.to_string(),
    });
    Answer::json(status, body)
}

pub(crate) fn not_found() -> Answer {
    refuse(404, "Not Found")
}

pub(crate) fn bad_credentials() -> Answer {
    refuse(401, "Bad credentials")
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
