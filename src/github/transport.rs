//! One HTTP exchange with GitHub: octocrab's client, with our CAs, redirects and times. What an
//! answer means is `client`'s.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use octocrab::service::middleware::base_uri::BaseUriLayer;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use rustls::RootCertStore;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::error::GithubError;
use crate::ambient::authorities;
use crate::ambient::failpoint::{self, Deed};

/// GitHub ends requests that take it over 10 s; a little more is the way there and back.
const ONE_EXCHANGE: Duration = Duration::from_secs(12);
const CONNECT: Duration = Duration::from_secs(5);
/// GitHub's secondary limit is 100 requests at once, over all hosts of an installation.
const AT_ONCE: usize = 32;
/// No answer that we ask for comes near; a broken proxy's must not fill the memory.
const LARGEST_ANSWER: usize = 32 * 1024 * 1024;
/// A renamed repository is one redirect.
const REDIRECTS: usize = 3;
const USER_AGENT: &str = concat!("checkvalve/", env!("CARGO_PKG_VERSION"));

/// A request as often as it must be sent.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    /// From the API's root, beginning with `/`; or one of GitHub's own links.
    pub(super) uri: String,
    pub(super) body: Option<Value>,
    /// The tag of the answer that is known: if it is still that, 304 says so, which costs nothing of
    /// the primary limit.
    pub(super) known: Option<String>,
}

/// Whatever GitHub answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// GitHub's `Date`, in milliseconds since 1970.
    pub(super) fn date(&self) -> Option<i64> {
        let date = chrono::DateTime::parse_from_rfc2822(self.header("date")?).ok()?;
        Some(date.timestamp_millis())
    }
}

/// No answer came.
#[derive(Debug)]
pub(super) struct Silence {
    /// False if GitHub surely has not seen the request.
    pub(super) seen: bool,
    pub(super) why: String,
}

#[derive(Debug)]
pub(super) struct Transport {
    octocrab: Octocrab,
    api: Uri,
    at_once: Semaphore,
}

impl Transport {
    /// Needs a running Tokio: octocrab's service lives in a task of its own.
    pub(super) fn new(api_url: &str, ca_file: Option<&Path>) -> Result<Self, GithubError> {
        let api = api_uri(api_url)?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(CONNECT));
        http.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls(ca_file)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client: Client<HttpsConnector<HttpConnector>, OctoBody> =
            Client::builder(TokioExecutor::new())
                // A connection that GitHub is about to close must not carry a POST.
                .pool_idle_timeout(Duration::from_secs(30))
                .pool_timer(TokioTimer::new())
                .build(https);
        let octocrab = match OctocrabBuilder::new_empty()
            .with_service(client)
            .with_layer(&BaseUriLayer::new(api.clone()))
            .with_auth(AuthState::None)
            .build()
        {
            Ok(octocrab) => octocrab,
            Err(never) => match never {},
        };
        Ok(Self { octocrab, api, at_once: Semaphore::new(AT_ONCE) })
    }

    /// Sends `request` and waits for the whole answer. Redirects within the API are followed with
    /// the same method and body (a renamed repository answers 301); elsewhere no token is sent, so
    /// nothing is followed. Without a `bearer` we are nobody.
    pub(super) async fn send(
        &self,
        request: &Request,
        bearer: Option<&SecretString>,
    ) -> Result<Answer, Silence> {
        let Ok(_permit) = self.at_once.acquire().await else {
            return Err(Silence { seen: false, why: "we are stopping".to_owned() });
        };
        let mut uri = request.uri.clone();
        for _ in 0..REDIRECTS {
            let exchange = self.exchange(request, &uri, bearer);
            let exchange = tokio::time::timeout(ONE_EXCHANGE, exchange);
            let place = || format!("{} {uri}", request.method);
            let answer =
                failpoint::around(Deed::Call, place, exchange).await.unwrap_or_else(|_| {
                    let why = format!("no answer within {} s", ONE_EXCHANGE.as_secs());
                    Err(Silence { seen: true, why })
                })?;
            match self.redirect(&answer) {
                Some(next) => uri = next,
                None => return Ok(answer),
            }
        }
        Err(Silence { seen: false, why: format!("more than {REDIRECTS} redirects") })
    }

    async fn exchange(
        &self,
        request: &Request,
        uri: &str,
        bearer: Option<&SecretString>,
    ) -> Result<Answer, Silence> {
        let Request { method, body, known, .. } = request;
        let unsent = |why: String| Silence { seen: false, why };
        // `X-GitHub-Api-Version: 2022-11-28` is octocrab's own header.
        let mut builder = http::Request::builder()
            .method(method)
            .uri(uri)
            .header(http::header::USER_AGENT, USER_AGENT)
            .header(http::header::ACCEPT, "application/vnd.github+json");
        if let Some(bearer) = bearer {
            builder = builder.header(AUTHORIZATION, authorization(bearer).map_err(unsent)?);
        }
        if let Some(known) = known {
            builder = builder.header(IF_NONE_MATCH, known);
        }
        let body = body.as_ref();
        let request = self.octocrab.build_request(builder, body).map_err(|e| unsent(causes(&e)))?;
        let response = self
            .octocrab
            .send(request)
            .await
            .map_err(|error| Silence { seen: !never_connected(&error), why: causes(&error) })?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|error| Silence { seen: true, why: causes(&*error) })?;
        Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
    }

    fn redirect(&self, answer: &Answer) -> Option<String> {
        let redirects = [301, 302, 307, 308].contains(&answer.status.as_u16());
        let location = answer.header(LOCATION.as_str()).filter(|_| redirects)?;
        self.within(location)
    }

    /// Is it github.com?
    pub(super) fn is_public(&self) -> bool {
        self.api.host().is_some_and(|host| host.eq_ignore_ascii_case("api.github.com"))
    }

    /// A link of GitHub's, if it stays on the API's own host.
    pub(super) fn within(&self, link: &str) -> Option<String> {
        let uri: Uri = link.parse().ok()?;
        let same = uri.authority().is_none_or(|host| Some(host) == self.api.authority())
            && uri.scheme().is_none_or(|scheme| Some(scheme) == self.api.scheme());
        same.then(|| link.to_owned())
    }
}

fn authorization(bearer: &SecretString) -> Result<HeaderValue, String> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", bearer.expose_secret()))
        .map_err(|_| "the token is no header value".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn api_uri(url: &str) -> Result<Uri, GithubError> {
    let bad = |why| GithubError::ApiUrl { url: url.to_owned(), why };
    let uri: Uri = url.trim().trim_end_matches('/').parse().map_err(|_| bad("it is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(bad("it does not begin with `https://`"));
    }
    if uri.query().is_some() || uri.authority().is_none_or(|host| host.as_str().contains('@')) {
        return Err(bad("it must hold a host and no user, password or query"));
    }
    Ok(uri)
}

/// The system's certificates, and those of `ca_file`.
fn tls(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, GithubError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(authorities::of_the_system());
    if let Some(path) = ca_file {
        let bad = |why: String| GithubError::Certificates { path: path.to_owned(), why };
        for certificate in authorities::of_file(path).map_err(bad)? {
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| GithubError::Unavailable { call: "speak TLS", why: error.to_string() })?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Did the connection itself fail, so that nothing was sent?
fn never_connected(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}

/// The chain of causes in one line, without octocrab's backtraces.
fn causes(error: &dyn std::error::Error) -> String {
    let mut texts = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        texts.push(text.lines().next().unwrap_or_default().trim().to_owned());
        cause = error.source();
    }
    texts.dedup();
    super::error::quotable(&texts.join(": "))
}
