//! Webhook deliveries: is it GitHub's, and what does it say. Storing and answering is `web`'s.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

pub use super::payload::{PayloadError, Understood, installation, parse};

/// The event's name.
pub const EVENT_HEADER: &str = "x-github-event";
/// The GUID of the event: the same on redelivery.
pub const DELIVERY_HEADER: &str = "x-github-delivery";
/// HMAC-SHA-256 of the raw body; absent when the hook has no secret.
pub const SIGNATURE_HEADER: &str = "x-hub-signature-256";
/// The events that we act on and that an App subscribes to. `installation*` and `ping` come to
/// every App, `check_run` and `check_suite` to every App with `checks: write`.
pub const EVENTS: [&str; 7] = [
    "check_run",
    "check_suite",
    "issue_comment",
    "merge_group",
    "pull_request",
    "push",
    "repository",
];
/// The largest payload that GitHub delivers; larger events are not delivered at all.
pub const PAYLOAD_MAX_BYTES: usize = 25 * 1024 * 1024;

/// Which secret a delivery was signed with, so that an operator sees when the old one is unused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Which {
    Current,
    Next,
    /// Replaced a short while ago: deliveries in flight may still carry it.
    Previous,
}

/// Why a delivery is not taken as GitHub's. None of these says anything about the secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("no `X-Hub-Signature-256`: set the webhook secret in the App's settings on GitHub")]
    Missing,
    #[error("`X-Hub-Signature-256` is not `sha256=` and 64 lower-case hex digits")]
    Malformed,
    #[error(
        "the signature fits none of our webhook secrets: set the App's webhook secret on GitHub \
         and CHECKVALVE_WEBHOOK_SECRET to the same value"
    )]
    Wrong,
}

/// The secrets that GitHub may sign with. While a secret is being changed there are several, since
/// deliveries in flight still carry the old signature.
#[derive(Debug, Clone, Default)]
pub struct WebhookSecrets {
    accepted: Vec<(Which, SecretString)>,
}

impl WebhookSecrets {
    pub fn new(current: SecretString, next: Option<SecretString>) -> Self {
        let next = next.map(|next| (Which::Next, next));
        Self::of([(Which::Current, current)].into_iter().chain(next))
    }

    /// Of two that sign alike, the first is told.
    pub fn of(accepted: impl IntoIterator<Item = (Which, SecretString)>) -> Self {
        Self { accepted: accepted.into_iter().collect() }
    }

    /// Nobody's deliveries are accepted: no App is known yet.
    pub fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// Is the raw `body` signed with one of our secrets? Every secret is tried and each comparison
    /// takes constant time, so that the time taken tells nothing.
    pub fn verify(
        &self,
        signature_header: Option<&str>,
        body: &[u8],
    ) -> Result<Which, SignatureError> {
        let header = signature_header.ok_or(SignatureError::Missing)?;
        let signature = signature(header).ok_or(SignatureError::Malformed)?;
        let mut found = None;
        for (which, secret) in &self.accepted {
            let signs = signs(secret, body, &signature);
            found = found.or(signs.then_some(*which));
        }
        found.ok_or(SignatureError::Wrong)
    }
}

/// GitHub writes `sha256=` and lower-case hex; nothing else is its header.
fn signature(header: &str) -> Option<[u8; 32]> {
    let digits = header.strip_prefix("sha256=")?;
    if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return None;
    }
    let mut signature = [0; 32];
    hex::decode_to_slice(digits, &mut signature).ok()?;
    Some(signature)
}

fn signs(secret: &SecretString, body: &[u8], signature: &[u8; 32]) -> bool {
    let secret = secret.expose_secret();
    // An empty secret is one that everybody knows.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(body);
    mac.verify_slice(signature).is_ok() && !secret.is_empty()
}

/// The JSON within a form-encoded delivery (`payload=…`). The signature covers the encoded bytes,
/// so verify those before. `None` if there is no `payload` field.
pub fn form_payload(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (_, payload) = url::form_urlencoded::parse(body).find(|(name, _)| name == "payload")?;
    Some(match payload {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}
