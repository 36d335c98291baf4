//! What stands in for Google: its token endpoint, Secret Manager and Cloud KMS, over HTTP. It
//! verifies what Google verifies with code of its own, and refuses in Google's words and shapes.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

pub(crate) const EMAIL: &str = "checkvalve@acme-ci.iam.gserviceaccount.com";
pub(crate) const PROJECT: &str = "acme-ci";
pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
pub(crate) const KMS_KEY: &str = "projects/acme-ci/locations/global/keyRings/ci/cryptoKeys/sops";
/// So small that every listing has pages.
const PAGE: usize = 2;

struct Version {
    enabled: bool,
    data: Value,
}

#[derive(Default)]
struct Kept {
    /// By name, in order: labels and versions.
    secrets: BTreeMap<String, (Value, Vec<Version>)>,
    tokens: Vec<String>,
    /// So many of the next questions are answered 429.
    busy: usize,
    /// The account has no role.
    denied: bool,
    /// Changes are answered late, and made at once.
    slow: bool,
    sealed: BTreeMap<String, Vec<u8>>,
    /// What was asked: method and path.
    asked: Vec<String>,
}

/// Runs until the test's runtime ends.
#[derive(Clone)]
pub(crate) struct Google {
    pub(crate) url: String,
    key: Arc<KeyPair>,
    kept: Arc<Mutex<Kept>>,
}

pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the fake's own clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

/// A JWT by the given key; `claims` replace or add to good ones.
pub(crate) fn assertion(key: &KeyPair, url: &str, claims: &Value) -> String {
    let mut good = json!({
        "iss": EMAIL, "scope": SCOPE, "aud": format!("{url}/token"),
        "iat": now(), "exp": now() + 3600,
    });
    for (name, value) in claims.as_object().unwrap() {
        good[name] = value.clone();
    }
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" });
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}", part(&header), part(&good));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(crate) fn rsa_key() -> KeyPair {
    KeyPair::generate(KeySize::Rsa2048).unwrap()
}

impl Google {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let google = Self { url, key: Arc::new(rsa_key()), kept: Arc::default() };
        let router = Router::new()
            .route("/token", post(token))
            .route("/v1/projects/{project}/secrets", get(secrets))
            .route("/v1/{*rest}", get(read).post(change))
            .with_state(google.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        google
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }

    pub(crate) fn key(&self) -> &KeyPair {
        &self.key
    }

    /// The account's JSON, signed for by `key`.
    pub(crate) fn account_of(&self, key: &KeyPair) -> String {
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = key.as_der().unwrap();
        let body = STANDARD.encode(pkcs8.as_ref());
        let lines: Vec<&str> =
            body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            lines.join("\n")
        );
        json!({
            "type": "service_account", "project_id": PROJECT, "private_key_id": "key-1",
            "private_key": pem, "client_email": EMAIL, "token_uri": format!("{}/token", self.url),
        })
        .to_string()
    }

    pub(crate) fn account(&self) -> String {
        self.account_of(&self.key)
    }

    /// A secret with versions, oldest first: enabled or not, and their bytes.
    pub(crate) fn put(&self, name: &str, labels: &Value, versions: &[(bool, &str)]) -> String {
        let name = format!("projects/{PROJECT}/secrets/{name}");
        let version = |(enabled, text): &(bool, &str)| Version {
            enabled: *enabled,
            data: STANDARD.encode(text).into(),
        };
        let versions = versions.iter().map(version).collect();
        self.kept().secrets.insert(name.clone(), (labels.clone(), versions));
        name
    }

    /// Replaces the payload of the newest version by what no client sent.
    pub(crate) fn spoil(&self, name: &str, data: Value) {
        let name = format!("projects/{PROJECT}/secrets/{name}");
        self.kept().secrets.get_mut(&name).unwrap().1.last_mut().unwrap().data = data;
    }

    /// The versions of a secret, oldest first: enabled or not, and their bytes.
    pub(crate) fn versions(&self, name: &str) -> Vec<(bool, String)> {
        let name = format!("projects/{PROJECT}/secrets/{name}");
        let text = |version: &Version| {
            let bytes = STANDARD.decode(version.data.as_str().unwrap()).unwrap();
            (version.enabled, String::from_utf8(bytes).unwrap())
        };
        self.kept().secrets[&name].1.iter().map(text).collect()
    }

    pub(crate) fn busy(&self, times: usize) {
        self.kept().busy = times;
    }

    pub(crate) fn slow(&self, slow: bool) {
        self.kept().slow = slow;
    }

    pub(crate) fn deny(&self) {
        self.kept().denied = true;
    }

    /// Every token that was given is of no use any more.
    pub(crate) fn forget_tokens(&self) {
        self.kept().tokens.clear();
    }

    /// A ciphertext of [`KMS_KEY`].
    pub(crate) fn seal(&self, plain: &[u8]) -> String {
        let mut kept = self.kept();
        let sealed = STANDARD.encode(format!("sealed-{}", kept.sealed.len()));
        kept.sealed.insert(sealed.clone(), plain.to_vec());
        sealed
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.kept().asked.clone()
    }

    /// Google's refusal, if the bearer may not go on.
    fn refusal(&self, headers: &HeaderMap, what: &str) -> Option<Response> {
        let mut kept = self.kept();
        kept.asked.push(what.to_owned());
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
        let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
        if !kept.tokens.iter().any(|token| Some(token.as_str()) == bearer) {
            return Some(refused(
                401,
                "UNAUTHENTICATED",
                "Request had invalid authentication credentials. Expected OAuth 2 access token.",
            ));
        }
        if kept.busy > 0 {
            kept.busy -= 1;
            let what = "Quota exceeded for quota metric 'Access requests'.";
            return Some(refused(429, "RESOURCE_EXHAUSTED", what));
        }
        if kept.denied {
            let what = "Permission 'secretmanager.secrets.list' denied for resource.";
            return Some(refused(403, "PERMISSION_DENIED", what));
        }
        None
    }
}

fn refused(code: u16, status: &str, message: &str) -> Response {
    let body = json!({ "error": { "code": code, "message": message, "status": status } });
    (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
}

fn not_found(name: &str) -> Response {
    refused(404, "NOT_FOUND", &format!("Secret [{name}] not found or has no versions."))
}

fn invalid(error: &str, description: &str) -> Response {
    let body = json!({ "error": error, "error_description": description });
    (StatusCode::BAD_REQUEST, Json(body)).into_response()
}

async fn token(
    State(google): State<Google>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let grant = form.get("grant_type").map(String::as_str);
    if grant != Some("urn:ietf:params:oauth:grant-type:jwt-bearer") {
        return invalid("unsupported_grant_type", "Invalid grant_type: ");
    }
    match verified(&google, form.get("assertion").map_or("", String::as_str)) {
        Ok(()) => {
            let mut kept = google.kept();
            let token = format!("ya29.token-{}-{}", kept.tokens.len(), kept.asked.len());
            kept.tokens.push(token.clone());
            let body = json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" });
            Json(body).into_response()
        }
        Err((error, description)) => invalid(error, description),
    }
}

fn verified(google: &Google, assertion: &str) -> Result<(), (&'static str, &'static str)> {
    let grant = |why| ("invalid_grant", why);
    let malformed = || grant("Invalid JWT: Token must have 3 parts");
    let (text, signature) = assertion.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = text.split_once('.').ok_or_else(malformed)?;
    let json = |part: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
    };
    let header = json(header).ok_or_else(malformed)?;
    let claims = json(claims).ok_or_else(malformed)?;
    if header["alg"] != "RS256" || header["kid"] != "key-1" {
        return Err(grant("Invalid JWT: unknown key"));
    }
    if claims["iss"] != EMAIL {
        return Err(grant("Invalid grant: account not found"));
    }
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, google.key.public_key().as_ref());
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
    key.verify(text.as_bytes(), &signature).map_err(|_| grant("Invalid JWT Signature."))?;
    if claims["aud"] != format!("{}/token", google.url) {
        return Err(grant("Invalid JWT: Failed audience check"));
    }
    let (iat, exp) = (claims["iat"].as_i64().unwrap_or(0), claims["exp"].as_i64().unwrap_or(0));
    if exp <= now() || iat > now() + 300 || exp - iat > 3600 {
        return Err(grant(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
             timeframe. Check your iat and exp values in the JWT claim.",
        ));
    }
    if claims["scope"] != SCOPE {
        return Err(("invalid_scope", "Invalid OAuth scope or ID token audience provided."));
    }
    Ok(())
}

async fn secrets(
    State(google): State<Google>,
    Path(project): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = google.refusal(&headers, "list secrets") {
        return refusal;
    }
    if project != PROJECT {
        return refused(403, "PERMISSION_DENIED", "Permission denied on resource project.");
    }
    let filter = query.get("filter").map_or("", String::as_str);
    let Some(label) = filter.strip_prefix("labels.connector=") else {
        return refused(400, "INVALID_ARGUMENT", "Invalid filter.");
    };
    let kept = google.kept();
    let found: Vec<Value> = kept
        .secrets
        .iter()
        // As Google's filters do: what holds the text matches, too.
        .filter(|(_, (labels, _))| labels["connector"].as_str().unwrap_or("").contains(label))
        .map(|(name, (labels, _))| json!({ "name": name, "labels": labels }))
        .collect();
    page(&found, "secrets", &query)
}

fn page(all: &[Value], items: &str, query: &BTreeMap<String, String>) -> Response {
    let from: usize = query.get("pageToken").map_or(0, |token| token.parse().unwrap());
    let until = (from + PAGE).min(all.len());
    let mut body = json!({ "totalSize": all.len() });
    if from < until {
        body[items] = all[from..until].to_vec().into();
    }
    if until < all.len() {
        body["nextPageToken"] = until.to_string().into();
    }
    Json(body).into_response()
}

async fn read(
    State(google): State<Google>,
    Path(rest): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = google.refusal(&headers, &format!("GET {rest}")) {
        return refusal;
    }
    let kept = google.kept();
    if let Some(name) = rest.strip_suffix("/versions") {
        let Some((_, versions)) = kept.secrets.get(name) else { return not_found(name) };
        let state = |version: &Version| if version.enabled { "ENABLED" } else { "DISABLED" };
        let wanted = query.get("filter").and_then(|filter| filter.strip_prefix("state:"));
        // Newest first, as Google lists them.
        let listed: Vec<Value> = (0..versions.len())
            .rev()
            .filter(|at| wanted.is_none_or(|wanted| wanted == state(&versions[*at])))
            .map(|at| {
                let name = format!("{name}/versions/{}", at + 1);
                json!({ "name": name, "state": state(&versions[at]) })
            })
            .collect();
        return page(&listed, "versions", &query);
    }
    let Some(name) = rest.strip_suffix(":access") else { return not_found(&rest) };
    let Some((secret, number)) = name.split_once("/versions/") else { return not_found(name) };
    let version = kept
        .secrets
        .get(secret)
        .and_then(|(_, versions)| versions.get(number.parse::<usize>().ok()?.checked_sub(1)?));
    match version {
        None => not_found(name),
        Some(version) if !version.enabled => {
            let what = format!("Secret Version [{name}] is in DISABLED state.");
            refused(400, "FAILED_PRECONDITION", &what)
        }
        Some(version) => {
            Json(json!({ "name": name, "payload": { "data": version.data } })).into_response()
        }
    }
}

async fn change(
    state: State<Google>,
    rest: Path<String>,
    headers: HeaderMap,
    body: Json<Value>,
) -> Response {
    let google = state.0.clone();
    let answer = changed(state, rest, &headers, body);
    let slow = google.kept().slow;
    if slow {
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    }
    answer
}

fn changed(
    State(google): State<Google>,
    Path(rest): Path<String>,
    headers: &HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    if let Some(refusal) = google.refusal(headers, &format!("POST {rest}")) {
        return refusal;
    }
    let mut kept = google.kept();
    if let Some(key) = rest.strip_suffix(":decrypt") {
        let sealed = body["ciphertext"].as_str().unwrap_or_default();
        return match kept.sealed.get(sealed) {
            _ if key != KMS_KEY => refused(404, "NOT_FOUND", "CryptoKey not found."),
            None => {
                refused(400, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.")
            }
            Some(plain) => Json(json!({ "plaintext": STANDARD.encode(plain) })).into_response(),
        };
    }
    if let Some(name) = rest.strip_suffix(":addVersion") {
        let Some((_, versions)) = kept.secrets.get_mut(name) else { return not_found(name) };
        versions.push(Version { enabled: true, data: body["payload"]["data"].clone() });
        let name = format!("{name}/versions/{}", versions.len());
        return Json(json!({ "name": name, "state": "ENABLED" })).into_response();
    }
    let Some(name) = rest.strip_suffix(":disable") else { return not_found(&rest) };
    let Some((secret, number)) = name.split_once("/versions/") else { return not_found(name) };
    let version = kept
        .secrets
        .get_mut(secret)
        .and_then(|(_, versions)| versions.get_mut(number.parse::<usize>().ok()?.checked_sub(1)?));
    match version {
        None => not_found(name),
        Some(version) => {
            version.enabled = false;
            Json(json!({ "name": name, "state": "DISABLED" })).into_response()
        }
    }
}
