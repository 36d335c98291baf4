//! What steps trust behind a proxy that looks into their traffic: the system's certificate
//! authorities and the company's own, in one file that the usual variables name.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::ExecError;
use crate::ambient::authorities;

/// Adds to what Node trusts, where the others replace it.
const ADDING: [&str; 1] = ["NODE_EXTRA_CA_CERTS"];
/// By which programs take such a file: OpenSSL, Go and Rust; Python's requests and pip; curl; git;
/// AWS's tools; cargo. What a step sets itself stays.
const REPLACING: [&str; 7] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
];

/// Certificate authorities for steps, as PEM. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Trust {
    pem: Arc<str>,
    /// Are the public ones among them? If not, the file must not take the place of an image's own.
    whole: bool,
}

impl Trust {
    /// The system's authorities and those of a PEM file, which are checked first.
    pub fn with(file: &Path) -> Result<Self, ExecError> {
        let more = authorities::of_file(file)
            .map_err(|why| ExecError::Certificates { path: file.to_owned(), why })?;
        let all = authorities::of_the_system();
        let pem = authorities::pem(all.iter().chain(&more)).into();
        Ok(Self { pem, whole: !all.is_empty() })
    }

    pub fn pem(&self) -> &[u8] {
        self.pem.as_bytes()
    }

    /// A digest of them, for what depends on them.
    pub(super) fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.pem()))
    }

    /// The variables that are to name the file.
    pub fn variables(&self) -> impl Iterator<Item = &'static str> {
        ADDING.into_iter().chain(REPLACING.into_iter().filter(|_| self.whole))
    }
}
