//! Who may see and do what, as long as there is no login: public repositories are read by all;
//! private ones, and everything that changes something, need the API token.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use hmac::{Hmac, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

use super::Web;
use super::error::WebError;
use crate::domain::run::Repository;

/// Whoever asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visitor {
    /// Has shown the API token.
    pub(crate) trusted: bool,
}

impl Visitor {
    pub(crate) fn may_see(self, repository: &Repository) -> bool {
        self.trusted || !repository.private
    }
}

impl FromRequestParts<Arc<Web>> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        web: &Arc<Web>,
    ) -> Result<Self, Self::Rejection> {
        let trusted = bearer(&parts.headers).is_some_and(|token| web.knows(token));
        Ok(Self { trusted })
    }
}

/// The right to change something; only a request with the API token has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operator(());

impl FromRequestParts<Arc<Web>> for Operator {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, WebError> {
        if web.api_token.is_none() {
            return Err(WebError::new(
                StatusCode::FORBIDDEN,
                "no_api_token",
                "This server has no API token, so nothing can be changed through the API.",
                "Set CHECKVALVE_API_TOKEN on the server, or write a comment on the pull request: \
                 `/retest` or `/cancel`.",
            ));
        }
        match bearer(&parts.headers) {
            Some(token) if web.knows(token) => Ok(Self(())),
            Some(_) => Err(unauthorized("The API token is not the right one.")),
            None => Err(unauthorized("This route changes something and needs the API token.")),
        }
    }
}

/// The right to what is the operator's alone: what GitHub sent, of whichever repository. As long as
/// there is no login, the API token gives it.
#[derive(Debug, Clone)]
pub(crate) struct Administrator {
    /// Who it is, as records have it.
    pub(crate) actor: String,
}

impl FromRequestParts<Arc<Web>> for Administrator {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, WebError> {
        match bearer(&parts.headers) {
            Some(token) if web.knows(token) => Ok(Self { actor: "api".to_owned() }),
            _ if web.api_token.is_none() => Err(WebError::new(
                StatusCode::FORBIDDEN,
                "no_api_token",
                "This page is the operator's, and this server has no API token.",
                "Set CHECKVALVE_API_TOKEN on the server, or use `checkvalve deliveries` there.",
            )),
            Some(_) => Err(unauthorized("The API token is not the right one.")),
            None => Err(unauthorized("This page is the operator's and needs the API token.")),
        }
    }
}

impl Administrator {
    /// What a form carries, so that no other site's page can send it: a proxy that adds the token, or
    /// a browser that does, would do so for that page, too.
    pub(crate) fn csrf(&self, web: &Web, what: &str) -> String {
        let mac = web.digest(&format!("csrf\0{}\0{what}", self.actor));
        mac.map_or_else(String::new, |mac| hex::encode(mac.finalize().into_bytes()))
    }

    /// Was it sent by the form that we made for this?
    pub(crate) fn meant_it(
        &self,
        web: &Web,
        what: &str,
        (token, headers): (Option<&str>, &HeaderMap),
    ) -> Result<(), WebError> {
        let from = headers.get("sec-fetch-site").and_then(|from| from.to_str().ok());
        let ours = from.is_none_or(|from| matches!(from, "same-origin" | "none"));
        let expected = self.csrf(web, what);
        // Digests of both, so that the comparison takes as long whatever was sent.
        let same = match (web.digest(token.unwrap_or_default()), web.digest(&expected)) {
            (Some(given), Some(expected)) => given.finalize() == expected.finalize(),
            (None, _) | (_, None) => false,
        };
        if ours && same && !expected.is_empty() {
            return Ok(());
        }
        Err(WebError::new(
            StatusCode::FORBIDDEN,
            "not_meant",
            "This was not sent by the form of its own page.",
            "Open the page anew and press its button; a program sends the form's `csrf` along.",
        ))
    }
}

fn unauthorized(message: &str) -> WebError {
    let mend = "Send `Authorization: Bearer` with the server's CHECKVALVE_API_TOKEN.";
    WebError::new(StatusCode::UNAUTHORIZED, "unauthorized", message, mend)
        .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// The token of `Authorization: Bearer …`; the scheme's case does not matter (RFC 9110).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Web {
    /// Compares keyed digests, in constant time: neither length nor beginning can be learned.
    fn knows(&self, token: &str) -> bool {
        let Some(expected) = &self.api_token else { return false };
        match (self.digest(token), self.digest(expected.expose_secret())) {
            (Some(given), Some(expected)) => given.finalize() == expected.finalize(),
            (None, _) | (_, None) => false,
        }
    }

    fn digest(&self, text: &str) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.as_slice()).ok()?;
        mac.update(text.as_bytes());
        Some(mac)
    }
}
