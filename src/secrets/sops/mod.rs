//! Files of the tree that sops encrypted, read with the server's keys.

mod age;
mod document;

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::json;

use self::document::{Document, Master};
use super::Unavailable;
use super::google::Google;

const GOOGLE: &str = "https://cloudkms.googleapis.com";

/// What the operator has to open files with.
#[derive(Debug, Default)]
pub struct Keys {
    /// `SOPS_AGE_KEY_FILE`
    pub age_key_file: Option<PathBuf>,
    /// Cloud KMS, and an address in place of Google's.
    pub kms: Option<(Google, Option<String>)>,
}

impl Keys {
    /// The plain document, as JSON, without the suffix that the file says its keys have.
    pub async fn decrypt(&self, path: &str, bytes: &[u8]) -> Result<Vec<u8>, Unavailable> {
        let placed = |why: String| Unavailable::new(format!("`{path}`: {why}"));
        let document = Document::read(bytes).map_err(placed)?;
        let key = self.data_key(&document).await.map_err(|error| {
            let why = format!("`{path}`: {error}");
            error.because(why)
        })?;
        document.decrypt(key.expose_secret()).map_err(placed)
    }

    /// The key of the file, by the first of its master keys that we have.
    async fn data_key(&self, document: &Document) -> Result<SecretSlice<u8>, Unavailable> {
        let (mut tried, mut passes) = (Vec::new(), false);
        for master in document.masters() {
            let opened = match &master {
                Master::Age { enc, .. } => self.by_age(enc).await.map_err(Unavailable::new),
                Master::Kms { resource, enc } => self.by_kms(resource, enc).await,
                Master::Other(kind) => {
                    Err(Unavailable::new(format!("keys of {kind} are not read")))
                }
            };
            match opened {
                Ok(key) if key.expose_secret().len() == 32 => return Ok(key),
                Ok(_) => tried.push(format!("{master}: the key has the wrong length")),
                Err(error) => {
                    passes |= error.passes;
                    tried.push(format!("{master}: {error}"));
                }
            }
        }
        if tried.is_empty() {
            return Err(Unavailable::new("it names no key that could open it"));
        }
        let why = format!("none of its keys can be used here: {}", tried.join("; "));
        Err(Unavailable { passes, ..Unavailable::new(why) })
    }

    async fn by_age(&self, enc: &str) -> Result<SecretSlice<u8>, String> {
        let Some(file) = &self.age_key_file else {
            return Err("SOPS_AGE_KEY_FILE is not set where this runs".to_owned());
        };
        let text = tokio::fs::read_to_string(file)
            .await
            .map_err(|error| format!("the file of SOPS_AGE_KEY_FILE can't be read: {error}"))?;
        age::decrypt(enc, &age::identities(&text)?)
    }

    async fn by_kms(&self, resource: &str, enc: &str) -> Result<SecretSlice<u8>, Unavailable> {
        let Some((google, url)) = &self.kms else {
            return Err(Unavailable::new("GCP_GSM_CREDENTIALS is not set where this runs"));
        };
        let url = url.as_deref().unwrap_or(GOOGLE);
        let url = format!("{url}/v1/{resource}:decrypt");
        let body = json!({ "ciphertext": enc });
        let doing = "decrypt with Cloud KMS";
        let answer = google.call((Method::POST, &url), Some(&body), doing).await?;
        let plain = BASE64.decode(answer["plaintext"].as_str().unwrap_or_default());
        plain.map(SecretSlice::from).map_err(|_| Unavailable::new("Cloud KMS answered no base64"))
    }
}
