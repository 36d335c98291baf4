//! One HTTP exchange with Google, repeated where that helps.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::Unavailable;
use crate::ambient::authorities;

const ONE_EXCHANGE: Duration = Duration::from_secs(15);
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
const OURS: &str = concat!("checkvalve/", env!("CARGO_PKG_VERSION"));

/// A client that speaks to Google, or to what stands in for it.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) bearer: Option<&'a SecretString>,
    /// Its content type and bytes.
    pub(super) body: Option<(&'static str, String)>,
}

/// An answer that is no success, or none at all.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: Option<StatusCode>,
    /// Google's own words.
    pub(super) why: String,
}

impl Refused {
    fn silent(why: &impl ToString) -> Self {
        Self { status: None, why: why.to_string() }
    }

    /// May the same question be answered soon?
    pub(super) fn passes(&self) -> bool {
        self.status.is_none_or(|status| {
            status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
        })
    }
}

impl Http {
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, Unavailable> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities::of_the_system());
        if let Some(path) = ca_file {
            let bad = |why: String| {
                Unavailable::new(format!("the certificates of `{}`: {why}", path.display()))
            };
            for certificate in authorities::of_file(path).map_err(bad)? {
                roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Unavailable::new(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(https.build()) })
    }

    /// Asks, again after a while if Google is busy or away.
    pub(super) async fn ask(&self, ask: &Ask<'_>) -> Result<Value, Refused> {
        let patience = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(3))
            .with_max_times(4);
        (|| self.once(ask)).retry(patience).when(Refused::passes).await
    }

    async fn once(&self, ask: &Ask<'_>) -> Result<Value, Refused> {
        let exchange = self.exchange(ask);
        let answer = tokio::time::timeout(ONE_EXCHANGE, exchange).await;
        let (status, body) = answer.map_err(|_| Refused::silent(&"no answer in time"))??;
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() && json.is_object() {
            return Ok(json);
        }
        Err(Refused { status: Some(status), why: told(status, &json) })
    }

    async fn exchange(&self, ask: &Ask<'_>) -> Result<(StatusCode, Bytes), Refused> {
        let mut request = Request::builder()
            .method(ask.method.clone())
            .uri(&ask.url)
            .header(USER_AGENT, HeaderValue::from_static(OURS));
        if let Some(bearer) = ask.bearer {
            let value = format!("Bearer {}", bearer.expose_secret());
            let mut value = HeaderValue::try_from(value).map_err(|e| Refused::silent(&e))?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if let Some((kind, _)) = &ask.body {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        let body = ask.body.as_ref().map(|(_, body)| Bytes::from(body.clone()));
        let request = request.body(Full::new(body.unwrap_or_default()));
        let request = request.map_err(|e| Refused::silent(&e))?;
        let answer = self.client.request(request).await.map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            Refused::silent(&source.unwrap_or_else(|| error.to_string()))
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        Ok((status, body.map_err(|e| Refused::silent(&e))?.to_bytes()))
    }
}

/// Google's words: `error.message` of its services, `error_description` of its token endpoint.
fn told(status: StatusCode, json: &Value) -> String {
    let words = [&json["error"]["message"], &json["error_description"], &json["error"]];
    let words = words.into_iter().find_map(Value::as_str).unwrap_or("an answer that is not JSON");
    let words: String = words.chars().filter(|c| !c.is_control()).take(300).collect();
    format!("{status}: {words}")
}
