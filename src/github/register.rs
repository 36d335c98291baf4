//! Registering the App from its manifest. Until that is done we are nobody to GitHub: these calls
//! carry no credentials.

use std::path::Path;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;

use super::answers::{Call, Setback, judge, silent};
use super::error::GithubError;
use super::rates::Rates;
use super::transport::{Answer, Transport};
use super::wire;

/// Told by an Enterprise Server in each of its answers, as `enterprise-server@3.19.0`.
pub(super) const VERSION_HEADER: &str = "x-github-enterprise-version";
/// The webhooks that GitHub describes for Enterprise Servers up to this one have no `merge_group`.
const WITHOUT_MERGE_QUEUES: (u32, u32) = (3, 19);

/// GitHub, before it knows us.
#[derive(Debug)]
pub struct Registrar {
    transport: Transport,
}

/// The App that GitHub made of the manifest.
#[derive(Debug)]
pub struct Registered {
    pub id: u64,
    /// Its name in addresses.
    pub slug: String,
    /// Its page.
    pub url: String,
    pub client_id: String,
    pub client_secret: SecretString,
    /// PEM.
    pub private_key: SecretString,
    pub webhook_secret: SecretString,
}

#[derive(Deserialize)]
struct Conversion {
    #[serde(deserialize_with = "wire::number")]
    id: u64,
    slug: String,
    html_url: String,
    client_id: String,
    client_secret: String,
    pem: String,
    #[serde(default)]
    webhook_secret: Option<String>,
}

impl Registrar {
    /// Checks the settings; GitHub is not asked yet. Must be called within a Tokio runtime.
    pub fn new(api_url: &str, ca_file: Option<&Path>) -> Result<Self, GithubError> {
        Ok(Self { transport: Transport::new(api_url, ca_file)? })
    }

    /// Exchanges the code of a registration for the App's credentials. A code is good once, and for an
    /// hour ([`GithubError::NotFound`] afterwards), so this is never repeated.
    pub async fn convert(&self, code: &str) -> Result<Registered, GithubError> {
        let path = format!("/app-manifests/{code}/conversions");
        let call = Call::make("take over the App that it made", path, json!({}));
        let answer = self.send(&call).await?;
        let made: Conversion = call.read(&answer)?;
        let Some(webhook_secret) = made.webhook_secret else {
            return Err(GithubError::Refused {
                call: call.name,
                status: answer.status.as_u16(),
                message: "the App has no webhook secret".to_owned(),
            });
        };
        Ok(Registered {
            id: made.id,
            slug: made.slug,
            url: made.html_url,
            client_id: made.client_id,
            client_secret: made.client_secret.into(),
            private_key: made.pem.into(),
            webhook_secret: webhook_secret.into(),
        })
    }

    /// Are there merge queues where this GitHub is? Only old Enterprise Servers have none, and they
    /// refuse a manifest that speaks of them.
    pub async fn has_merge_queues(&self) -> Result<bool, GithubError> {
        let call = Call::get("say what it is", "/meta".to_owned());
        let sent = self.transport.send(&call.request, None).await;
        // An Enterprise Server in private mode refuses who is nobody, and tells its version.
        let answer = sent.map_err(|silence| failure(&call, silent(&call, silence)))?;
        let Some(version) = answer.header(VERSION_HEADER) else { return Ok(true) };
        Ok(version_of(version).is_some_and(|version| version > WITHOUT_MERGE_QUEUES))
    }

    async fn send(&self, call: &Call) -> Result<Answer, GithubError> {
        let sent = self.transport.send(&call.request, None).await;
        let judged = match sent {
            Ok(answer) => judge(call, None, answer, &Rates::default()),
            Err(silence) => Err(silent(call, silence)),
        };
        judged.map_err(|setback| failure(call, setback))
    }
}

fn failure(call: &Call, setback: Setback) -> GithubError {
    match setback {
        Setback::Passing(error) | Setback::Final(error) => error,
        Setback::Unauthorized { message, .. } => {
            GithubError::Refused { call: call.name, status: 401, message }
        }
    }
}

/// `enterprise-server@3.19.0`, or the number alone.
fn version_of(text: &str) -> Option<(u32, u32)> {
    let (_, number) = text.rsplit_once('@').unwrap_or(("", text));
    let mut parts = number.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version_of("enterprise-server@3.9.4"), Some((3, 9)));
        assert_eq!(version_of("3.20.0"), Some((3, 20)));
        assert_eq!(version_of("enterprise"), None);
        assert!(version_of("3.9.0") < version_of("3.20.0"));
    }
}
