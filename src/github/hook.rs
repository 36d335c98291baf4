//! The App's webhook, as GitHub has it: where deliveries go, and what they are signed with.

use http::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use super::answers::Call;
use super::client::Github;
use super::error::GithubError;
use super::wire;

const CONFIG: &str = "/app/hook/config";

/// The webhook's settings. GitHub does not tell the secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Hook {
    /// Where deliveries go; empty if they go nowhere.
    #[serde(default)]
    pub url: String,
    /// Asterisks in place of a secret; empty where nothing is signed.
    #[serde(default)]
    secret: String,
}

impl Hook {
    pub fn is_signed(&self) -> bool {
        !self.secret.is_empty()
    }
}

impl Github {
    pub async fn hook(&self) -> Result<Hook, GithubError> {
        let call = Call::get("read the App's webhook", CONFIG.to_owned());
        call.read(&self.as_app(&call).await?)
    }

    /// From now on GitHub signs with this secret, redeliveries of older events too; what is under way
    /// may still carry the one before.
    pub async fn set_hook_secret(&self, secret: &SecretString) -> Result<(), GithubError> {
        let body = json!({ "secret": secret.expose_secret() });
        // Sent twice it is the same secret.
        let call = Call::set("change the webhook's secret", Method::PATCH, CONFIG.to_owned(), body);
        self.as_app(&call).await.map(drop)
    }

    /// Asks for the newest delivery of GitHub's log once more; false if there is none. It has the GUID
    /// of the first time, by which we know it.
    pub async fn deliver_newest_again(&self) -> Result<bool, GithubError> {
        let newest =
            Call::get("read the log of deliveries", "/app/hook/deliveries?per_page=1".to_owned());
        let page: Vec<wire::Id> = newest.read(&self.as_app(&newest).await?)?;
        let Some(attempt) = page.first() else { return Ok(false) };
        match self.redeliver(attempt.id).await {
            Ok(()) => Ok(true),
            // It is older than what GitHub delivers again.
            Err(GithubError::NotFound { .. } | GithubError::Refused { status: 422, .. }) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}
