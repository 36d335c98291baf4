//! Headers that every answer carries unless its handler has set its own.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Web;
use super::error::WebError;

/// No script, style or image but our own; nobody may frame us.
const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
                   connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// How long a handler may take to begin its answer. Streams begin at once and are not cut.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sets what is not set yet.
pub(crate) async fn secure(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut default = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    default(header::CONTENT_SECURITY_POLICY, CSP);
    default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    default(header::X_FRAME_OPTIONS, "DENY");
    default(header::REFERRER_POLICY, "same-origin");
    default(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    default(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    default(
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=()",
    );
    default(header::CACHE_CONTROL, "no-cache");
    // The same address shows more to who has the token.
    default(header::VARY, "Authorization");
    if web.links.public.starts_with("https://") {
        default(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    response
}

/// Gives up on a handler that does not begin to answer.
pub(crate) async fn patience(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => WebError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "too_slow",
            format!("No answer within {} seconds.", PATIENCE.as_secs()),
            "Try again in a moment; the server may be busy.",
        )
        .because(format!("{path} took too long"))
        .into_response(),
    }
}
