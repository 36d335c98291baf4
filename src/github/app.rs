//! Who we are to GitHub: the App's key and the JWTs signed with it, and installation tokens.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use moka::Expiry;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tokio::time::Instant;

use super::error::GithubError;
use crate::ambient;

/// `iat` stands in the past and `exp` within GitHub's strict ten minutes, for clocks differ
/// (probot issue 942: `exp = now + 600` fails now and then).
const ISSUED_BEFORE: i64 = 60;
const EXPIRES_AFTER: i64 = 480;
/// Tokens live an hour. One that a call has begun with must not end under it.
const RENEWED_BEFORE: Duration = Duration::from_mins(5);

/// The App's identity: its id and its private key.
pub(super) struct App {
    id: String,
    key: EncodingKey,
    /// GitHub's clock minus ours, in seconds; 0 until GitHub complains.
    skew: AtomicI64,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("id", &self.id).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iat: i64,
    exp: i64,
    iss: &'a str,
}

impl App {
    /// Reads the key and signs once with it: a bad key is found now, not at the first delivery.
    pub(super) fn new(id: String, key: &SecretString) -> Result<Self, GithubError> {
        let bad = |why: String| GithubError::PrivateKey { why };
        let pem = key.expose_secret().trim();
        if pem.is_empty() {
            return Err(bad("it is empty".to_owned()));
        }
        // Settings files and CI variables often hold the line ends as two characters.
        let pem = if pem.contains('\n') { pem.to_owned() } else { pem.replace("\\n", "\n") };
        if !pem.contains("PRIVATE KEY-----") {
            return Err(bad("no `-----BEGIN … PRIVATE KEY-----` in it".to_owned()));
        }
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| {
            bad("its PEM can't be decoded, or it is another kind of key".to_owned())
        })?;
        let app = Self { id, key, skew: AtomicI64::new(0) };
        app.jwt()?;
        Ok(app)
    }

    /// A fresh JWT of the App.
    pub(super) fn jwt(&self) -> Result<SecretString, GithubError> {
        let now = ambient::now().as_millis() / 1000 + self.skew.load(Ordering::Relaxed);
        let claims = Claims { iat: now - ISSUED_BEFORE, exp: now + EXPIRES_AFTER, iss: &self.id };
        jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims, &self.key)
            .map(SecretString::from)
            .map_err(|_| GithubError::PrivateKey { why: "it can't sign RS256".to_owned() })
    }

    /// Takes GitHub's clock (milliseconds since 1970) for the JWTs to come.
    pub(super) fn set_clock(&self, github: i64) {
        let skew = (github - ambient::now().as_millis()) / 1000;
        tracing::warn!(skew, "our clock differs from GitHub's; its clock is used for App tokens");
        self.skew.store(skew, Ordering::Relaxed);
    }
}

/// The texts with which GitHub refuses a JWT for its times (octokit's `auth-app`, `hook.js`).
pub(super) fn clock_is_to_blame(message: &str) -> bool {
    message.contains("claim ('exp')") || message.contains("claim ('iat')")
}

/// An installation's token.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) secret: SecretString,
    minted: Instant,
    lifetime: Duration,
}

impl Token {
    pub(super) fn new(secret: SecretString, lifetime: Duration) -> Self {
        Self { secret, minted: Instant::now(), lifetime }
    }

    /// A new token may be unknown to some of GitHub's hosts for about 5 s (octokit's `hook.js`).
    pub(super) fn may_be_too_fresh(&self) -> bool {
        self.minted.elapsed() < Duration::from_secs(5)
    }
}

/// When a cached token is to be replaced.
pub(super) struct Renewal;

impl Expiry<u64, std::sync::Arc<Token>> for Renewal {
    fn expire_after_create(
        &self,
        _installation: &u64,
        token: &std::sync::Arc<Token>,
        _created_at: std::time::Instant,
    ) -> Option<Duration> {
        Some(token.lifetime.saturating_sub(RENEWED_BEFORE).max(Duration::from_secs(1)))
    }
}
