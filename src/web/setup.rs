//! `/setup`: registers the GitHub App from its manifest, while there is none. Who has the token that
//! `serve` printed may; for everybody else there is no such page. GitHub comes back to
//! `/setup/callback` with a code, which is exchanged for the App's credentials; they are kept sealed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use maud::Markup;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::error::{Answer, WebError};
use super::routes::nowhere;
use super::{Web, kept_secret, pages};
use crate::ambient;
use crate::domain::ids::WorkerId;
use crate::github::manifest::manifest;
use crate::github::{GithubError, Registered, Registrar};
use crate::secrets::seal::{NotOpened, Seal};
use crate::store::{Store, StoreError, StoredApp};

/// How long a token is good after it was printed.
pub const TOKEN_LIFE: Duration = Duration::from_hours(24);
/// How long a form is good: as long as the code that GitHub answers it with.
const STATE_LIFE: i64 = 60 * 60 * 1000;
/// By how much the clocks of two of our hosts may differ.
const SKEW: i64 = 5 * 60 * 1000;

/// Wrong tokens a minute that are looked at.
const WRONG_A_MINUTE: u32 = 20;
const MINUTE: Duration = Duration::from_mins(1);

/// What is marked, and for what is sealed.
const TOKEN: &str = "setup token";
const STATE: &str = "setup state";
const APP: &str = "github app";
const CLIENT: &str = "github app's client";

/// What is secret of an App that was registered here.
#[derive(Debug, Clone)]
pub struct AppSecrets {
    /// PEM.
    pub private_key: SecretString,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    private_key: String,
    /// For login, which nothing needs so far: sealed once more, so that no start holds it open.
    client_secret: String,
}

impl AppSecrets {
    /// What is secret of an App that is kept.
    pub fn open(seal: &Seal, app: &StoredApp) -> Result<Self, NotOpened> {
        let opened = seal.open(&format!("{APP} {}", app.app_id), &app.sealed)?;
        let kept: Kept = serde_json::from_slice(opened.expose_secret()).map_err(|_| NotOpened)?;
        Ok(Self { private_key: kept.private_key.into() })
    }
}

/// The App as it is kept.
fn kept_app(seal: &Seal, made: &Registered) -> Result<StoredApp, NotOpened> {
    let app_id = made.id.to_string();
    let client = made.client_secret.expose_secret();
    let client = seal.seal(&format!("{CLIENT} {app_id}"), client.as_bytes())?;
    let kept = Kept {
        private_key: made.private_key.expose_secret().to_owned(),
        client_secret: hex::encode(client),
    };
    let plain = serde_json::to_vec(&kept).map_err(|_| NotOpened)?;
    let sealed = seal.seal(&format!("{APP} {app_id}"), &plain)?;
    let (slug, url) = (made.slug.clone(), made.url.clone());
    Ok(StoredApp { app_id, slug, url, client_id: made.client_id.clone(), sealed })
}

/// Makes the App.
#[derive(Debug)]
pub struct Registration {
    seal: Arc<Seal>,
    github: Registrar,
    /// Accounts whose repositories are served.
    owners: Vec<String>,
    /// Since when, and how many.
    wrong: Mutex<Option<(Instant, u32)>>,
}

impl Registration {
    pub fn new(seal: Arc<Seal>, github: Registrar, owners: Vec<String>) -> Self {
        Self { seal, github, owners, wrong: Mutex::default() }
    }

    /// A new token, in place of the one that this process offered before.
    pub async fn offer(&self, store: &Store, worker: WorkerId) -> Result<SecretString, StoreError> {
        let token = hex::encode(rand::random::<[u8; 32]>());
        store.offer_setup(worker, &self.seal.mark(TOKEN, &token)).await?;
        Ok(token.into())
    }

    /// The offer that a token is of; a stranger is told nothing, not even that there is such a page.
    async fn admit(&self, store: &Store, token: Option<&str>) -> Result<String, WebError> {
        let Some(token) = token else { return Err(nowhere()) };
        let offers = store.setup_offers(TOKEN_LIFE).await?;
        self.one_of(offers, |offer| self.seal.is_mark(offer, TOKEN, token))
    }

    /// The same for what GitHub sent back.
    async fn admit_again(&self, store: &Store, state: Option<&str>) -> Result<String, WebError> {
        let now = ambient::now().as_millis();
        let parts = state.and_then(|state| state.rsplit_once('.'));
        let made_at = |text: &str| text.split('.').next()?.parse::<i64>().ok();
        let Some((text, mark, at)) = parts.and_then(|(t, mark)| Some((t, mark, made_at(t)?)))
        else {
            return Err(nowhere());
        };
        let offers = store.setup_offers(TOKEN_LIFE).await?;
        let in_time = now.saturating_sub(at) < STATE_LIFE && at.saturating_sub(now) < SKEW;
        self.one_of(offers, |offer| {
            self.seal.is_mark(mark, STATE, &format!("{offer} {text}")) && in_time
        })
    }

    /// All are compared, whichever fits.
    fn one_of(&self, offers: Vec<String>, fits: impl Fn(&str) -> bool) -> Result<String, WebError> {
        let mut found = None;
        for offer in offers {
            if fits(&offer) {
                found = Some(offer);
            }
        }
        found.ok_or_else(|| self.refuse())
    }

    /// Counts a wrong one. Of those beyond the limit nothing is said but that they are too many; a
    /// right one is let in all the same, so that a stranger can't keep the operator out, and with
    /// 256 bits there is nothing to guess.
    fn refuse(&self) -> WebError {
        let now = Instant::now();
        let wrong = {
            let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
            let (since, count) =
                wrong.filter(|(since, _)| now - *since < MINUTE).unwrap_or((now, 0));
            *wrong = Some((since, count.saturating_add(1)));
            count
        };
        if wrong < WRONG_A_MINUTE {
            return nowhere();
        }
        WebError::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many",
            "There were too many requests of this kind.",
            "Wait a minute.",
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("60"))
    }

    /// What GitHub is to send back, so that nobody else's registration is taken for ours.
    fn state(&self, offer: &str) -> String {
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        let text = format!("{}.{nonce}", ambient::now().as_millis());
        let mark = self.seal.mark(STATE, &format!("{offer} {text}"));
        format!("{text}.{mark}")
    }

    /// Where the App may be registered: for each account that owns what is served, an organisation
    /// that was asked for, and the visitor's own.
    async fn places(
        &self,
        web: &Web,
        offer: &str,
        organization: Option<&str>,
    ) -> Result<pages::Offer, WebError> {
        let asked = self.github.has_merge_queues().await;
        let merge_queues = *asked.as_ref().unwrap_or(&true);
        let github = &web.links.github;
        let mut owners: Vec<Option<&str>> = organization.map(Some).into_iter().collect();
        if organization.is_none() {
            owners.extend(self.owners.iter().map(|owner| Some(owner.as_str())));
            owners.push(None);
        }
        let mut places = Vec::new();
        for owner in owners {
            let manifest = manifest(&web.links.public, owner, merge_queues);
            let manifest = manifest.map_err(WebError::internal)?.to_string();
            let state = self.state(offer);
            let action = match owner {
                Some(owner) => {
                    format!("{github}/organizations/{owner}/settings/apps/new?state={state}")
                }
                None => format!("{github}/settings/apps/new?state={state}"),
            };
            places.push(pages::Place { owner: owner.map(str::to_owned), action, manifest });
        }
        Ok(pages::Offer { places, unreachable: asked.err().map(|error| error.to_string()) })
    }
}

/// A query's value of this name.
fn asked(uri: &Uri, name: &str) -> Option<String> {
    let query = uri.query().unwrap_or_default().as_bytes();
    let mut pairs = url::form_urlencoded::parse(query);
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// As GitHub has names of accounts, and codes.
fn is_plain(text: &str, most: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=most).contains(&text.len()) && text.bytes().all(plain)
}

/// A page that nobody keeps, whose address stays here, with a form that goes to GitHub.
fn private(web: &Web, page: &Markup) -> Response {
    let github = url::Url::parse(&web.links.github).ok();
    let github = github.map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
         frame-ancestors 'none'; form-action 'self' {github}"
    );
    let mut response = page.clone().into_response();
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// `GET /setup?token=…`: the form that registers the App.
pub(crate) async fn show(State(web): State<Arc<Web>>, uri: Uri) -> Answer {
    let Some(registration) = &web.registration else { return Err(nowhere()) };
    let token = asked(&uri, "token");
    let offer = registration.admit(&web.store, token.as_deref()).await?;
    let organization = asked(&uri, "organization").map(|name| name.trim().to_owned());
    let organization = organization.filter(|name| !name.is_empty());
    if organization.as_ref().is_some_and(|name| !is_plain(name, 39)) {
        return Err(WebError::bad_request(
            "bad_organization",
            "That is no name of an organisation.",
            "Write it as it stands in its address on GitHub: letters, digits and hyphens.",
        ));
    }
    let places = registration.places(&web, &offer, organization.as_deref()).await?;
    let page = pages::setup_form(&web, &places, &token.unwrap_or_default());
    Ok(private(&web, &page))
}

/// `GET /setup/callback?code=…&state=…`: GitHub has made the App.
pub(crate) async fn callback(State(web): State<Arc<Web>>, uri: Uri) -> Answer {
    let Some(registration) = &web.registration else { return Err(nowhere()) };
    let state = asked(&uri, "state");
    registration.admit_again(&web.store, state.as_deref()).await?;
    let Some(code) = asked(&uri, "code").filter(|code| is_plain(code, 200)) else {
        return Err(WebError::bad_request(
            "no_code",
            "GitHub has sent no code.",
            "Open the address that `checkvalve serve` printed again.",
        ));
    };
    // A code is good once: what can fail before it is spent should.
    web.store.check().await?;
    let made = registration.github.convert(&code).await.map_err(|error| not_made(&error))?;
    let app = keep(&web, registration, &made).await?;
    tracing::info!(app = app.slug, id = app.app_id, "the GitHub App is registered");
    Ok(private(&web, &pages::setup_registered(&web, &app)))
}

async fn keep(
    web: &Web,
    registration: &Registration,
    made: &Registered,
) -> Result<StoredApp, WebError> {
    let lost = |cause: String| {
        WebError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_kept",
            format!(
                "GitHub has made the App `{}`, and its credentials could not be kept.",
                made.slug
            ),
            "Delete it in GitHub's settings, then open the address that `checkvalve serve` printed \
             again; the server's log has the cause.",
        )
        .because(cause)
    };
    let app = kept_app(&registration.seal, made).map_err(|error| lost(error.to_string()))?;
    let secret = kept_secret(&registration.seal, &made.webhook_secret);
    let secret = secret.map_err(|error| lost(error.to_string()))?;
    // Whatever the settings hold: this App has just been made.
    let foreign = web.signers.given_marks();
    let kept = web.store.keep_app(&app, &secret, &foreign).await;
    let kept = kept.map_err(|error| lost(error.to_string()))?;
    if !kept {
        tracing::warn!(
            app = app.slug,
            "another App was registered meanwhile: this one is not used, delete it on GitHub"
        );
        return Err(nowhere());
    }
    if let Err(error) = web.signers.look().await {
        // A delivery that nobody knows asks again.
        tracing::warn!("the App's webhook secret was not read back: {error}");
    }
    Ok(app)
}

fn not_made(error: &GithubError) -> WebError {
    let again = "Open the address that `checkvalve serve` printed again; should GitHub's settings \
                 show the App, delete it there first.";
    let cause = error.to_string();
    if matches!(error, GithubError::NotFound { .. }) {
        let message = "GitHub does not know this registration (any more): a code is good once, and \
                       for an hour.";
        return WebError::bad_request("spent_code", message, again).because(cause);
    }
    let message = "GitHub did not give the App's credentials.";
    WebError::new(StatusCode::BAD_GATEWAY, "not_made", message, again).because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_secret_stays_closed_when_the_app_is_opened() {
        let [slug, url, client_id] = ["ours", "https://x", "Iv1"].map(str::to_owned);
        let [client_secret, private_key, webhook_secret] =
            ["of the client", "the key", "of the hook"].map(SecretString::from);
        let made =
            Registered { id: 77, slug, url, client_id, client_secret, private_key, webhook_secret };
        let seal = Seal::new(&[7; 32]).unwrap();
        let app = kept_app(&seal, &made).unwrap();
        let opened = seal.open("github app 77", &app.sealed).unwrap();
        let kept: Kept = serde_json::from_slice(opened.expose_secret()).unwrap();
        assert!(!kept.client_secret.contains("of the client"));
        let client = hex::decode(&kept.client_secret).unwrap();
        let client = seal.open("github app's client 77", &client).unwrap();
        assert_eq!(client.expose_secret(), b"of the client");
        assert_eq!(AppSecrets::open(&seal, &app).unwrap().private_key.expose_secret(), "the key");
    }
}
