//! What steps trust behind a proxy that looks into their traffic: the system's certificate
//! authorities and the company's own, in one file that the usual variables name.

use std::path::Path;
use std::sync::Arc;

use super::ExecError;
use crate::ambient::authorities;

/// By which programs take such a file: OpenSSL, Go and Rust; Python's requests and pip; curl; git;
/// Node; AWS's tools; cargo. What a step sets itself stays.
pub(super) const VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
];

/// Certificate authorities for steps, as PEM. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Trust(Arc<str>);

impl Trust {
    /// The system's authorities and those of a PEM file, which are checked first.
    pub fn with(file: &Path) -> Result<Self, ExecError> {
        let more = authorities::of_file(file)
            .map_err(|why| ExecError::Certificates { path: file.to_owned(), why })?;
        let all = authorities::of_the_system();
        Ok(Self(authorities::pem(all.iter().chain(&more)).into()))
    }

    pub(super) fn pem(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
