//! A service account: signs for a token, and asks Google's services with it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Mutex;

use super::Unavailable;
use super::http::{Ask, Http, Refused};
use crate::ambient;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Google allows no more.
const LIFETIME: i64 = 3600;
/// A token is renewed so long before it ends.
const MARGIN: Duration = Duration::from_mins(2);

/// The part of a service account's JSON that is used.
#[derive(Deserialize)]
struct Written {
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    project_id: String,
    token_uri: String,
}

/// A service account that can sign.
pub struct Account {
    email: String,
    key_id: Option<String>,
    project: String,
    token_uri: String,
    key: EncodingKey,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("email", &self.email).finish_non_exhaustive()
    }
}

impl Account {
    /// Reads `GCP_GSM_CREDENTIALS`.
    pub fn read(json: &SecretString) -> Result<Self, Unavailable> {
        let bad = |why: &str| {
            Unavailable::new(format!(
                "GCP_GSM_CREDENTIALS {why}; it must be a service account's key as JSON, with \
                 `client_email`, `private_key`, `project_id` and `token_uri`"
            ))
        };
        // The parser's own words could quote a part of it.
        let written: Written =
            serde_json::from_str(json.expose_secret()).map_err(|_| bad("can't be read"))?;
        let pem = SecretString::from(written.private_key);
        let key = EncodingKey::from_rsa_pem(pem.expose_secret().as_bytes())
            .map_err(|_| bad("has no RSA key in PEM"))?;
        Ok(Self {
            email: written.client_email,
            key_id: written.private_key_id,
            project: written.project_id,
            token_uri: written.token_uri,
            key,
        })
    }

    fn assertion(&self) -> Result<SecretString, Unavailable> {
        #[derive(Serialize)]
        struct Claims<'a> {
            iss: &'a str,
            scope: &'a str,
            aud: &'a str,
            iat: i64,
            exp: i64,
        }
        let iat = ambient::now().as_millis() / 1000;
        let aud = &self.token_uri;
        let claims = Claims { iss: &self.email, scope: SCOPE, aud, iat, exp: iat + LIFETIME };
        let mut header = Header::new(Algorithm::RS256);
        header.kid.clone_from(&self.key_id);
        let signed = jsonwebtoken::encode(&header, &claims, &self.key);
        signed.map(SecretString::from).map_err(|_| {
            Unavailable::new("the private key of GCP_GSM_CREDENTIALS can't sign RS256")
        })
    }
}

struct Token {
    bearer: SecretString,
    until: Instant,
}

/// Google's services, as one service account. Clones share the token.
#[derive(Clone)]
pub struct Google {
    http: Http,
    account: Arc<Account>,
    token: Arc<Mutex<Option<Token>>>,
}

impl fmt::Debug for Google {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Google").field("account", &self.account).finish_non_exhaustive()
    }
}

impl Google {
    pub(super) fn new(http: Http, account: Account) -> Self {
        Self { http, account: Arc::new(account), token: Arc::default() }
    }

    pub(super) fn project(&self) -> &str {
        &self.account.project
    }

    /// Asks a service; `doing` says in an error what was tried.
    pub(super) async fn call(
        &self,
        (method, url): (Method, &str),
        body: Option<&Value>,
        doing: &str,
    ) -> Result<Value, Unavailable> {
        for fresh in [false, true] {
            let bearer = self.bearer(fresh).await?;
            let body = body.map(|body| ("application/json", body.to_string()));
            let ask =
                Ask { method: method.clone(), url: url.to_owned(), bearer: Some(&bearer), body };
            match self.http.ask(&ask).await {
                Ok(answer) => return Ok(answer),
                // The token may have been withdrawn.
                Err(refused) if refused.status == Some(StatusCode::UNAUTHORIZED) && !fresh => {}
                Err(refused) => return Err(self.refusal(doing, &refused)),
            }
        }
        Err(Unavailable::new(format!("Google refused to {doing}")))
    }

    fn refusal(&self, doing: &str, refused: &Refused) -> Unavailable {
        let email = &self.account.email;
        let mend = match refused.status {
            Some(StatusCode::FORBIDDEN) => format!("; give {email} the role that it needs for it"),
            Some(StatusCode::UNAUTHORIZED) => format!("; renew the key of {email}"),
            Some(StatusCode::TOO_MANY_REQUESTS) => "; the project's quota is used up".to_owned(),
            None | Some(_) => String::new(),
        };
        let why = format!("Google could not {doing}: {}{mend}", refused.why);
        Unavailable { passes: refused.passes(), ..Unavailable::new(why) }
    }

    /// A token that is good for a while.
    async fn bearer(&self, fresh: bool) -> Result<SecretString, Unavailable> {
        let mut token = self.token.lock().await;
        if let Some(token) = token.as_ref().filter(|token| !fresh && token.until > Instant::now()) {
            return Ok(token.bearer.clone());
        }
        let form = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let assertion = self.account.assertion()?;
        let body =
            format!("grant_type={}&assertion={}", form(GRANT), form(assertion.expose_secret()));
        let ask = Ask {
            method: Method::POST,
            url: self.account.token_uri.clone(),
            bearer: None,
            body: Some(("application/x-www-form-urlencoded", body)),
        };
        let answer = self.http.ask(&ask).await.map_err(|refused| {
            let why = format!(
                "Google gave no token to {}: {}; is the key of GCP_GSM_CREDENTIALS still valid, and \
                 this machine's clock right?",
                self.account.email, refused.why
            );
            Unavailable { passes: refused.passes(), ..Unavailable::new(why) }
        })?;
        let bearer = answer["access_token"].as_str().map(SecretString::from);
        let bearer = bearer.ok_or_else(|| Unavailable::new("Google's token has no text"))?;
        let lives = Duration::from_secs(answer["expires_in"].as_u64().unwrap_or(0));
        let until = Instant::now() + lives.saturating_sub(MARGIN);
        *token = Some(Token { bearer: bearer.clone(), until });
        Ok(bearer)
    }
}
