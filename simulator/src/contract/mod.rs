//! Requests and answers against GitHub's published `OpenAPI` description.
//!
//! The description is not part of this crate: it is read at run time from the folder that the
//! configuration names, on the first call. Refusals that it does not document are allowed, for
//! GitHub answers them without saying so.

#[cfg(feature = "contract")]
mod description;

use std::path::Path;
use std::sync::Arc;

use axum::http::request::Parts;
use bytes::Bytes;

use crate::error::Error;
use crate::operations::Operation;
use crate::refusals::Answer;
use crate::simulator::Inner;

/// The file's name in the contract folder.
const FILE: &str = "openapi-subset.json";

/// GitHub's description, when there is one to check against.
#[derive(Debug)]
pub(crate) struct Contract {
    #[cfg(feature = "contract")]
    description: Option<description::Description>,
}

impl Contract {
    /// Remembers where the description is. A folder without it is an error: somebody wanted to
    /// be checked.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self, Error> {
        let path = folder.map(|folder| folder.join(FILE));
        if let Some(path) = &path
            && !path.is_file()
        {
            let message = "no such file; name the folder that holds it".to_owned();
            return Err(Error::Contract { path: path.clone(), message });
        }
        if path.is_none() || cfg!(not(feature = "contract")) {
            tracing::info!("contract: not checked");
        }
        Ok(Self {
            #[cfg(feature = "contract")]
            description: path.map(description::Description::at),
        })
    }

    /// Notes what does not fit as violations.
    #[cfg(feature = "contract")]
    pub(crate) fn check(
        &self,
        inner: &Arc<Inner>,
        (parts, body): (&Parts, &Bytes),
        operation: Option<&Operation>,
        answer: &Answer,
    ) {
        let Some(description) = &self.description else { return };
        let mut found = Vec::new();
        match operation {
            Some(operation) => {
                let query = crate::server::query(parts.uri.query().unwrap_or_default());
                description.check_request(operation, &query, body, &mut found);
                description.check_answer(operation, answer, &mut found);
            }
            None if answer.status == 404 => {
                found.push(format!(
                    "{} {} is no operation that the simulator knows",
                    parts.method,
                    parts.uri.path()
                ));
            }
            None => {}
        }
        if !found.is_empty() {
            let mut world = inner.world();
            for text in found {
                world.violation(text);
            }
        }
    }

    /// Without the feature there is nothing to check with.
    #[cfg(not(feature = "contract"))]
    #[expect(clippy::unused_self, reason = "the feature's twin uses it")]
    pub(crate) fn check(
        &self,
        _inner: &Arc<Inner>,
        (_parts, _body): (&Parts, &Bytes),
        _operation: Option<&Operation>,
        _answer: &Answer,
    ) {
    }
}
