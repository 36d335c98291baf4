//! Names in addresses: one percent-encoded segment each. A segment that is no name of its kind is
//! answered as what does not exist.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::Web;
use super::error::WebError;

/// The parts of the path, parsed; else 404.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Web>> for Named<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, WebError> {
        match Path::<T>::from_request_parts(parts, web).await {
            Ok(Path(names)) => Ok(Self(names)),
            Err(rejection) => {
                tracing::debug!(%rejection, "no such name");
                Err(WebError::not_found("There is nothing of that name here."))
            }
        }
    }
}

/// The query, parsed; else 400 with what is wrong in it.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Web>> for Asked<T> {
    type Rejection = WebError;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Self, WebError> {
        match Query::<T>::from_request_parts(parts, web).await {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(WebError::bad_request(
                "bad_query",
                rejection.body_text(),
                "See docs/api.md for what may stand behind the `?`.",
            )),
        }
    }
}
