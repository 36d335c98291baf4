//! The HTTP side: one door for the REST API, git, pages and the control routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::net::TcpListener;

use crate::api::{Call, Caller};
use crate::choices::Choices;
use crate::enterprise::Enterprise;
use crate::limits::{Limits, Size};
use crate::operations::{Operation, Params};
use crate::refusals::{Answer, Outcome, Payload, not_found, refuse};
use crate::simulator::Inner;
use crate::world::World;
use crate::{archives, auth, control, finish, git_http, operations, pages, registration, routes};

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
    if let Some(rest) = path.strip_prefix(archives::PLACE) {
        return respond(archives::download(&inner, rest, &parts).await);
    }
    if parts.method == "POST" && registration::is_registration(&path) {
        return respond(registration::register(&inner, &parts, &body));
    }
    if git_http::split(&path).is_some() {
        return git_http::serve(inner, parts.method, parts.uri, parts.headers, body).await;
    }
    respond(pages::serve(&inner, &path))
}

/// What is known of a call once it has been looked at.
#[derive(Debug)]
struct Trace {
    operation: Option<&'static Operation>,
    caller: Option<Caller>,
    counts: bool,
    /// When the call began.
    began: DateTime<Utc>,
    choices: Arc<Choices>,
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
    pub(crate) choices: Arc<Choices>,
}

async fn api(inner: &Arc<Inner>, parts: &Parts, path: &str, body: Bytes) -> Answer {
    let _in_flight = inner.limits.enter();
    let choices = inner.choices();
    let mut trace = Trace {
        operation: None,
        caller: None,
        counts: true,
        began: inner.clock.now(),
        choices: Arc::clone(&choices),
    };
    let latency = inner.faults.latency_of_calls();
    tokio::time::sleep(latency.min(LONGEST_CALL)).await;
    let mut answer = match inner.faults.take_failure(parts.method.as_str(), path) {
        Some(0) => {
            inner.clock.sleep(LONGEST_CALL).await;
            ended(&choices)
        }
        Some(status) => refuse(status, "Server Error"),
        None if latency > LONGEST_CALL => ended(&choices),
        None => {
            decide(inner, parts, path, &body, &mut trace).await.unwrap_or_else(|refusal| refusal)
        }
    };
    let caller = trace.caller.clone().unwrap_or(Caller::Nobody);
    if answer.status == 401 {
        inner.limits.bad_credentials(inner.clock.now());
    }
    inner.contract.check(inner, (parts, &body), trace.operation, &answer);
    finish::finish(inner, parts, (trace.operation, &caller, trace.counts), &mut answer);
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

/// What ends a call that takes too long.
fn ended(choices: &Choices) -> Answer {
    if choices.slow_call_json {
        return refuse(choices.slow_call, "Server Error");
    }
    let page = "<html><body>Server Error</body></html>";
    Answer::raw(choices.slow_call, "text/html", page)
}

async fn decide(
    inner: &Arc<Inner>,
    parts: &Parts,
    path: &str,
    body: &Bytes,
    trace: &mut Trace,
) -> Outcome {
    let choices = Arc::clone(&trace.choices);
    transport(inner, parts, path)?;
    let now = inner.clock.now();
    if inner.limits.locked_out(choices.lockout_after, now) {
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
        let credentials = auth::identify(&mut world, &parts.headers, &choices, now)?;
        trace.caller = Some(credentials.caller());
        auth::admit(operation, &credentials, &choices)?;
        limits(inner, &mut world, &credentials, trace)?;
        let repository =
            place(&mut world, (operation, &params), &credentials, (parts, &path), trace)?;
        if let Some(home) = repository.and_then(|id| world.repositories.get_mut(&id)) {
            home.age_checks(now, &choices);
        }
        (credentials, repository)
    };
    if let Some(status) = inner.faults.unreliable(operation) {
        return Err(refuse(status, "Server Error"));
    }
    let body = if parts.method == "GET" { serde_json::Map::new() } else { object(body)? };
    let query = query(parts.uri.query().unwrap_or_default());
    let headers = &parts.headers;
    let call = Asked { operation, params, query, credentials, body, headers, repository, choices };
    routes::serve(inner, call).await
}

/// The repository that a path names, if these credentials may do there what they want to do.
fn place(
    world: &mut World,
    (operation, params): (&Operation, &Params),
    credentials: &auth::Credentials,
    (parts, path): (&Parts, &str),
    trace: &Trace,
) -> Result<Option<u64>, Answer> {
    let (Some(owner), Some(repo)) = (params.get("owner"), params.get("repo")) else {
        return Ok(None);
    };
    let name = format!("{owner}/{repo}");
    let Some(found) = world.repository(&name) else {
        return Err(moved(world, &name, path, parts, trace.choices.moved_write));
    };
    auth::admit_to_repository(world, operation, credentials, found, &trace.choices)?;
    Ok(Some(found.id))
}

/// What GitHub refuses before looking at anything.
fn transport(inner: &Inner, parts: &Parts, path: &str) -> Result<(), Answer> {
    let newest = inner.world().enterprise.is_none_or(Enterprise::knows_newest_api);
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
            "2022-11-28" => {}
            "2026-03-10" if newest => {}
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
fn moved(world: &World, name: &str, path: &str, parts: &Parts, write: u16) -> Answer {
    let Some(id) = world.renamed(name) else { return not_found() };
    let rest = path.splitn(5, '/').nth(4).map(|rest| format!("/{rest}")).unwrap_or_default();
    let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}/repositories/{id}{rest}{query}", world.api_url);
    // 307 and 308 keep the method of what is no GET.
    let status = if parts.method == "GET" { 301 } else { write };
    let mut answer = refuse(status, "Moved Permanently").with("location", location.clone());
    if let Payload::Json(body) = &mut answer.body {
        body["url"] = location.into();
    }
    answer
}

fn limits(
    inner: &Inner,
    world: &mut World,
    credentials: &auth::Credentials,
    trace: &mut Trace,
) -> Result<(), Answer> {
    let (Some(operation), now) = (trace.operation, inner.clock.now()) else { return Ok(()) };
    if world.enterprise.is_some() {
        trace.counts = false;
        return Ok(());
    }
    let caller = credentials.caller();
    let choices = &trace.choices;
    let counted = inner.faults.enforces_secondary_limits()
        && inner.limits.beyond_secondary(&caller, operation, choices, now);
    let asked_for = inner.faults.take_secondary_limit();
    if asked_for.is_some() {
        inner.limits.unblock();
    }
    let begin = asked_for.or(counted.then_some(choices.counted_limit));
    let result = inner.limits.secondary(begin, (trace.began, now), choices.blocks_grow);
    if let Err((answer, repeated)) = result {
        if repeated {
            world.violation(format!("{} was called during a secondary rate limit", operation.id));
        }
        return Err(answer);
    }
    if operation.id == "rate-limit/get" {
        trace.counts = false;
        return Ok(());
    }
    let resource = resource_of(Some(operation));
    let budget = inner.limits.budget(&caller, resource, size_of(world, &caller), now);
    Limits::primary(&caller, &budget, choices.primary_status)
}

/// The budget that an operation is counted against.
pub(crate) fn resource_of(operation: Option<&Operation>) -> &'static str {
    match operation.map(|operation| operation.id) {
        Some("apps/create-from-manifest") => "integration_manifest",
        _ => "core",
    }
}

/// How large the account behind an installation is.
pub(crate) fn size_of(world: &World, caller: &Caller) -> Size {
    let Caller::Installation(id) = caller else { return Size::default() };
    let Some(installation) = world.installations.get(id) else { return Size::default() };
    let organization = world.organization(&installation.account);
    Size {
        repositories: installation.repositories.len(),
        users: organization.map_or(0, |organization| organization.members.len()),
        enterprise_cloud: organization.is_some_and(|organization| organization.enterprise_cloud),
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

pub(crate) fn bytes_of(payload: &Payload) -> Bytes {
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
