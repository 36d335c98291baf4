//! The HTTP side: one door for the REST API, git, pages and the control routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;

use crate::api::{Call, Caller};
use crate::faults::SecondaryLimit;
use crate::operations::{Operation, Params};
use crate::refusals::{Answer, Outcome, Payload, not_found, refuse};
use crate::simulator::Inner;
use crate::{auth, control, git_http, operations, pages, routes};

const API: &str = "/api/v3";
/// Larger request bodies are cut off.
const LARGEST_BODY: usize = 32 * 1024 * 1024;
/// GitHub ends calls that take longer.
const LONGEST_CALL: Duration = Duration::from_secs(10);

/// Serves until the simulator stops.
pub(crate) async fn run(inner: Arc<Inner>, listener: TcpListener) {
    let (stop, stopped) = (inner.stop.clone(), inner.stopped.clone().drop_guard());
    let router = Router::new().fallback(handle).with_state(inner);
    let serving = axum::serve(listener, router).with_graceful_shutdown({
        let stop = stop.clone();
        async move { stop.cancelled().await }
    });
    tokio::select! {
        result = serving => if let Err(error) = result { tracing::error!(%error, "serving ended") },
        // Connections that stay open must not keep a stopped simulator alive.
        () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(1)).await } => {}
    }
    drop(stopped);
}

async fn handle(State(inner): State<Arc<Inner>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, LARGEST_BODY).await else {
        return respond(refuse(413, "Payload too large"));
    };
    let path = parts.uri.path().to_owned();
    if let Some(path) =
        path.strip_prefix(API).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    {
        return respond(api(&inner, &parts, path, body).await);
    }
    if let Some(rest) = path.strip_prefix("/_simulator") {
        return respond(control::serve(&inner, &parts, rest, &body).await);
    }
    if git_http::split(&path).is_some() {
        return git_http::serve(inner, parts.method, parts.uri, parts.headers, body).await;
    }
    respond(pages::serve(&inner, &path))
}

/// What is known of a call once it has been looked at.
#[derive(Debug, Default)]
struct Trace {
    operation: Option<&'static Operation>,
    caller: Option<Caller>,
    counts: bool,
}

/// One REST request as routes see it.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) operation: &'static Operation,
    pub(crate) params: Params,
    pub(crate) query: std::collections::BTreeMap<String, String>,
    pub(crate) credentials: auth::Credentials,
    pub(crate) body: serde_json::Map<String, serde_json::Value>,
    pub(crate) headers: &'a axum::http::HeaderMap,
    /// The repository that the path names.
    pub(crate) repository: Option<u64>,
}

async fn api(inner: &Arc<Inner>, parts: &Parts, path: &str, body: Bytes) -> Answer {
    tokio::time::sleep(inner.faults.latency_of_calls()).await;
    let mut trace = Trace { counts: true, ..Trace::default() };
    let mut answer = match inner.faults.take_failure(parts.method.as_str(), path) {
        Some(0) => {
            tokio::time::sleep(LONGEST_CALL).await;
            Answer::raw(502, "text/html", "<html><body>Server Error</body></html>")
        }
        Some(status) => refuse(status, "Server Error"),
        None => {
            decide(inner, parts, path, &body, &mut trace).await.unwrap_or_else(|refusal| refusal)
        }
    };
    let caller = trace.caller.clone().unwrap_or(Caller::Nobody);
    if answer.status == 401 {
        inner.limits.bad_credentials(inner.clock.now());
    }
    inner.contract.check(inner, (parts, &body), trace.operation, &answer);
    breaking_changes(parts, &mut answer);
    conditional(parts, &mut answer);
    finish(inner, &mut answer, &caller, trace.counts);
    inner.world().calls.push(Call {
        method: parts.method.to_string(),
        path: path.to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        operation: trace.operation.map(|operation| operation.id.to_owned()),
        status: answer.status,
        caller,
        at: inner.clock.now(),
    });
    answer
}

async fn decide(
    inner: &Arc<Inner>,
    parts: &Parts,
    path: &str,
    body: &Bytes,
    trace: &mut Trace,
) -> Outcome {
    transport(parts, path)?;
    let now = inner.clock.now();
    if inner.limits.locked_out(now) {
        return Err(refuse(
            403,
            "Maximum number of login attempts exceeded. Please try again later.",
        ));
    }
    let path = by_name(inner, path);
    let (operation, params) =
        operations::find(parts.method.as_str(), &path).ok_or_else(not_found)?;
    trace.operation = Some(operation);
    let (credentials, repository) = {
        let mut world = inner.world();
        let credentials = auth::identify(&mut world, &parts.headers, now)?;
        trace.caller = Some(credentials.caller());
        auth::admit(operation, &credentials)?;
        limits(inner, &mut world, &credentials, operation, trace)?;
        let repository = match (params.get("owner"), params.get("repo")) {
            (Some(owner), Some(repo)) => {
                let name = format!("{owner}/{repo}");
                let Some(found) = world.repository(&name) else {
                    return Err(moved(&world, &name, &path, parts));
                };
                auth::admit_to_repository(&world, operation, &credentials, found)?;
                Some(found.id)
            }
            _ => None,
        };
        (credentials, repository)
    };
    let body = if parts.method == "GET" { serde_json::Map::new() } else { object(body)? };
    let query = query(parts.uri.query().unwrap_or_default());
    let headers = &parts.headers;
    let call = Asked { operation, params, query, credentials, body, headers, repository };
    routes::serve(inner, call).await
}

/// What GitHub refuses before looking at anything.
fn transport(parts: &Parts, path: &str) -> Result<(), Answer> {
    if !parts.headers.contains_key("user-agent") {
        let text = "Request forbidden by administrative rules. Please make sure your request has \
                    a User-Agent header (https://docs.github.com/en/rest/overview/resources-in-\
                    the-rest-api#user-agent-required). Check https://developer.github.com for \
                    other possible causes.\n";
        return Err(Answer::raw(403, "text/html; charset=utf-8", text));
    }
    if let Some(version) = parts.headers.get("x-github-api-version") {
        let version = version.to_str().unwrap_or_default();
        let is_date = version.len() == 10 && version.bytes().filter(|&b| b == b'-').count() == 2;
        match version {
            "2022-11-28" | "2026-03-10" => {}
            _ if is_date && version < "2022-11-28" => {
                return Err(refuse(410, "The API version you requested is no longer supported."));
            }
            _ => {
                let text = format!("Invalid API version: `{version}` is not a supported version.");
                return Err(refuse(400, &text));
            }
        }
    }
    if path.ends_with('/') && !path.ends_with("/contents/") {
        return Err(not_found());
    }
    Ok(())
}

/// Link headers and redirects address repositories by number.
fn by_name(inner: &Inner, path: &str) -> String {
    let by_number = path.strip_prefix("/repositories/").and_then(|rest| {
        let (id, rest) = rest.split_once('/').map_or((rest, ""), |(id, rest)| (id, rest));
        let name = inner.world().repositories.get(&id.parse().ok()?)?.full_name();
        let slash = if rest.is_empty() { "" } else { "/" };
        Some(format!("/repos/{name}{slash}{rest}"))
    });
    by_number.unwrap_or_else(|| path.to_owned())
}

/// 301 for a renamed repository, else 404.
fn moved(world: &crate::world::World, name: &str, path: &str, parts: &Parts) -> Answer {
    let Some(id) = world.renamed(name) else { return not_found() };
    let rest = path.splitn(5, '/').nth(4).map(|rest| format!("/{rest}")).unwrap_or_default();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}/repositories/{id}{rest}{query}", world.api_url);
    // 307 keeps the method of what is no GET.
    let status = if parts.method == "GET" { 301 } else { 307 };
    let mut answer = refuse(status, "Moved Permanently").with("location", location.clone());
    if let Payload::Json(body) = &mut answer.body {
        body["url"] = location.into();
    }
    answer
}

fn limits(
    inner: &Inner,
    world: &mut crate::world::World,
    credentials: &auth::Credentials,
    operation: &Operation,
    trace: &mut Trace,
) -> Result<(), Answer> {
    let now = inner.clock.now();
    let caller = credentials.caller();
    let counted = inner.faults.enforces_secondary_limits()
        && inner.limits.beyond_secondary(&caller, operation, now);
    let begin = inner.faults.take_secondary_limit().or(counted.then(SecondaryLimit::githubs));
    if let Err((answer, repeated)) = inner.limits.secondary(begin, now) {
        if repeated {
            world.violation(format!("{} was called during a secondary rate limit", operation.id));
        }
        return Err(answer);
    }
    if operation.id == "rate-limit/get" {
        trace.counts = false;
        return Ok(());
    }
    let budget = inner.limits.budget(&caller, repositories_of(world, &caller), now);
    crate::limits::Limits::primary(&caller, &budget)
}

pub(crate) fn repositories_of(world: &crate::world::World, caller: &Caller) -> usize {
    match caller {
        Caller::Installation(id) => world.installations.get(id).map_or(0, |i| i.repositories.len()),
        Caller::Nobody | Caller::App | Caller::User(_) => 0,
    }
}

fn object(body: &Bytes) -> Result<serde_json::Map<String, serde_json::Value>, Answer> {
    if body.is_empty() {
        return Ok(serde_json::Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(serde_json::Value::Object(object)) => Ok(object),
        Ok(_) => Err(refuse(400, "Body should be a JSON object")),
        Err(_) => Err(refuse(400, "Problems parsing JSON")),
    }
}

/// Query parameters; the last of two of one name counts.
pub(crate) fn query(text: &str) -> std::collections::BTreeMap<String, String> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            (operations::decode(name), operations::decode(&value))
        })
        .collect()
}

/// What API version 2026-03-10 takes away.
fn breaking_changes(parts: &Parts, answer: &mut Answer) {
    fn strip(value: &mut serde_json::Value) {
        if let Some(pull) = value.as_object_mut()
            && pull.contains_key("merge_commit_sha")
        {
            pull.remove("merge_commit_sha");
            pull.remove("assignee");
        }
    }
    let newest = parts.headers.get("x-github-api-version").is_some_and(|v| v == "2026-03-10");
    let Payload::Json(body) = &mut answer.body else { return };
    if !newest {
        return;
    }
    if let Some(list) = body.as_array_mut() {
        list.iter_mut().for_each(strip);
    } else {
        strip(body);
        if body.get("resources").is_some()
            && let Some(object) = body.as_object_mut()
        {
            object.remove("rate");
        }
    }
}

/// `ETag` on every 200 of a GET, 304 when the client has it already.
fn conditional(parts: &Parts, answer: &mut Answer) {
    if parts.method != "GET" || answer.status != 200 {
        return;
    }
    let tag = format!("W/\"{}\"", hex::encode(Sha256::digest(bytes_of(&answer.body))));
    let known = parts.headers.get("if-none-match").and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag));
    if is_known {
        answer.status = 304;
        answer.body = Payload::Empty;
    }
    answer.headers.push(("etag", tag));
}

fn finish(inner: &Inner, answer: &mut Answer, caller: &Caller, counts: bool) {
    let now = inner.clock.now();
    let repositories = repositories_of(&inner.world(), caller);
    // Makes the budget when this is the caller's first call.
    inner.limits.budget(caller, repositories, now);
    if counts && answer.status != 304 {
        inner.limits.spend(caller);
    }
    let budget = inner.limits.budget(caller, repositories, now);
    for (name, value) in budget.headers() {
        if !answer.headers.iter().any(|(set, _)| *set == name) {
            answer.headers.push((name, value));
        }
    }
    let id = inner.entropy.hex().to_uppercase();
    let id = format!("{}:{}:{}:{}", &id[..4], &id[4..10], &id[10..16], &id[16..24]);
    answer.headers.push(("x-github-request-id", id));
    answer.headers.push(("x-github-media-type", "github.v3; format=json".to_owned()));
    answer.headers.push(("date", now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()));
}

fn bytes_of(payload: &Payload) -> Bytes {
    match payload {
        Payload::Empty => Bytes::new(),
        Payload::Json(value) => value.to_string().into(),
        Payload::Raw(_, bytes) => bytes.clone(),
    }
}

fn respond(answer: Answer) -> Response<Body> {
    let content_type = match &answer.body {
        Payload::Empty => None,
        Payload::Json(_) => Some("application/json; charset=utf-8"),
        Payload::Raw(content_type, _) => Some(*content_type),
    };
    let mut response = Response::new(Body::from(bytes_of(&answer.body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(content_type) = content_type {
        response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    }
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}
