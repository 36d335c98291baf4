//! What a visitor is told when a request can't be answered, in the shape that the route speaks:
//! JSON under `/api/`, a page elsewhere. What went wrong inside is logged here, once, and never sent.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

use super::{Web, pages};
use crate::blobs::BlobError;
use crate::render::api::ErrorJson;
use crate::store::StoreError;

/// An answer that is none.
#[derive(Debug, Clone)]
pub(crate) struct WebError {
    pub(crate) status: StatusCode,
    /// For programs: `not_found`, `bad_range`, …
    pub(crate) code: &'static str,
    // Boxed, since it travels in every `Result` here.
    words: Box<Words>,
}

#[derive(Debug, Clone, Default)]
struct Words {
    message: String,
    mend: String,
    cause: Option<String>,
    header: Option<(HeaderName, HeaderValue)>,
}

pub(crate) type Answer = Result<Response, WebError>;

impl WebError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        let (message, mend) = (message.into(), mend.into());
        Self { status, code, words: Box::new(Words { message, mend, ..Words::default() }) }
    }

    /// The same words for "is not there" and "is not for you", so that nothing can be told apart.
    pub(crate) fn not_found(what: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            what,
            "Check the address. Old runs are deleted after the server's retention time, and private \
             repositories are shown only to requests with the API token.",
        )
    }

    pub(crate) fn bad_request(
        code: &'static str,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message, mend)
    }

    pub(crate) fn unavailable(what: &str, cause: impl Into<String>) -> Self {
        let message = format!("The {what} does not answer.");
        let mend = "Try again in a moment; the server's operator finds the cause in its log.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message, mend).because(cause)
    }

    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        let message = "The server made a mistake.";
        let mend = "The server's operator finds the cause in its log.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message, mend).because(cause)
    }

    /// Adds what only our log should say.
    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.words.cause = Some(cause.into());
        self
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.words.header = Some((name, value));
        self
    }

    /// One sentence for people: what is the matter, and where.
    pub(crate) fn message(&self) -> &str {
        &self.words.message
    }

    /// One sentence: what to do about it.
    pub(crate) fn mend(&self) -> &str {
        &self.words.mend
    }

    pub(crate) fn json(&self) -> ErrorJson {
        ErrorJson::new(self.code, self.message(), self.mend())
    }
}

/// Nothing that a visitor asks for can be at fault here, so it is all ours; what is not a broken
/// record passes.
impl From<StoreError> for WebError {
    fn from(error: StoreError) -> Self {
        let cause = error.to_string();
        if matches!(error, StoreError::Inconsistent(_)) {
            return Self::internal(cause);
        }
        Self::unavailable("database", cause)
    }
}

impl From<BlobError> for WebError {
    fn from(error: BlobError) -> Self {
        Self::unavailable("object store", error.to_string())
    }
}

/// Carries the error to [`render`], which knows what the route speaks.
impl IntoResponse for WebError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

fn speaks_json(path: &str) -> bool {
    path.starts_with("/api/")
        || path.starts_with("/webhooks/")
        || path.ends_with("/badge.json")
        || path == "/readyz"
}

/// Gives errors their shape, and logs the ones that are ours.
pub(crate) async fn render(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    let Some(error) = response.extensions_mut().remove::<WebError>() else { return response };
    if error.status.is_server_error() {
        let cause = error.words.cause.as_deref().unwrap_or("none given");
        tracing::error!(%path, status = error.status.as_u16(), cause, "request failed");
    }
    let mut rendered = if speaks_json(&path) {
        (error.status, Json(error.json())).into_response()
    } else {
        (error.status, pages::error_page(&web, &error)).into_response()
    };
    if let Some((name, value)) = error.words.header {
        rendered.headers_mut().insert(name, value);
    }
    // What is missing now may be there in a moment.
    rendered.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    rendered
}
