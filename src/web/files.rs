//! Stored objects by their addresses: reports, pictures, logs, artifacts. They hold what a step
//! printed, so none of them may act in our origin: each comes with a policy of its own.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::Web;
use super::access::Visitor;
use super::error::{Answer, WebError};
use super::logs::{self, Stored};
use super::names::{Asked, Named};
use super::range::{self, Wanted};
use crate::ambient;
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::run::{Job, Run};
use crate::domain::state::RunState;

/// For documents of ours: their style is inside them; script never.
const DOCUMENT: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                        base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

/// For files of a step: nothing at all.
const FOREIGN: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// For how long after its verdict a job's reports are waited for, in milliseconds.
const JUST: i64 = 10_000;

/// How a stored file is served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) content_type: &'static str,
    pub(crate) policy: &'static str,
}

pub(crate) const LOG: Kind = Kind { content_type: "text/plain; charset=utf-8", policy: FOREIGN };

/// The files of a job's report, by name.
const REPORT_FILES: [(&str, Kind); 6] = [
    ("report.html", Kind { content_type: "text/html; charset=utf-8", policy: DOCUMENT }),
    ("report.json", Kind { content_type: "application/json", policy: FOREIGN }),
    ("junit.xml", Kind { content_type: "application/xml", policy: FOREIGN }),
    ("graph.svg", Kind { content_type: "image/svg+xml", policy: DOCUMENT }),
    ("timeline.svg", Kind { content_type: "image/svg+xml", policy: DOCUMENT }),
    ("log.txt", LOG),
];

/// The names that have a route each, before the step's.
pub(crate) fn report_files() -> impl Iterator<Item = &'static str> {
    REPORT_FILES.iter().map(|(name, _)| *name)
}

/// A run that the visitor may see, or 404.
pub(crate) async fn visible_run(web: &Web, visitor: Visitor, id: RunId) -> Result<Run, WebError> {
    let run = web.store.run(id).await?.filter(|run| visitor.may_see(&run.repository));
    run.ok_or_else(|| WebError::not_found(format!("There is no run `{id}`.")))
}

pub(crate) fn job_of<'a>(run: &'a Run, connector: &ConnectorName) -> Result<&'a Job, WebError> {
    let job = run.jobs.iter().find(|job| job.connector == *connector);
    job.ok_or_else(|| {
        WebError::not_found(format!("The run `{}` has no connector `{connector}`.", run.id))
    })
}

/// `GET /runs/{run}/{connector}/<file>`
pub(crate) async fn report(
    file: &'static str,
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named((id, connector)): Named<(RunId, ConnectorName)>,
    headers: HeaderMap,
) -> Answer {
    let run = visible_run(&web, visitor, id).await?;
    let job = job_of(&run, &connector)?;
    let kind = REPORT_FILES.iter().find(|(name, _)| *name == file).map(|(_, kind)| *kind);
    let mut stored = logs::find_report(&web.blobs, &run, job, file).await?;
    // Reports come after the verdict.
    while stored.is_none() && has_just_ended(job) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stored = logs::find_report(&web.blobs, &run, job, file).await?;
    }
    let (Some(kind), Some(stored)) = (kind, stored) else {
        let message = if job.state == RunState::Concluded {
            format!("`{connector}` left no `{file}`.")
        } else {
            format!("`{file}` is written when `{connector}` has ended.")
        };
        return Err(WebError::not_found(message));
    };
    serve(&web, &headers, stored, kind)
}

/// So lately that its reports may be about to come.
fn has_just_ended(job: &Job) -> bool {
    let begun = job.started_at.and(job.concluded_at);
    begun.is_some_and(|at| ambient::now().as_millis() - at.as_millis() < JUST)
}

#[derive(Debug, Deserialize)]
pub(crate) struct AttemptQuery {
    pub(crate) attempt: Option<u32>,
}

/// `GET /runs/{run}/{connector}/{step}/artifacts/{*path}`: always a download.
pub(crate) async fn artifact(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named((id, connector, step, path)): Named<(RunId, ConnectorName, StepId, String)>,
    Asked(query): Asked<AttemptQuery>,
    headers: HeaderMap,
) -> Answer {
    let run = visible_run(&web, visitor, id).await?;
    let job = job_of(&run, &connector)?;
    let missing = || WebError::not_found(format!("`{connector}` / `{step}` left no `{path}`."));
    let record = job.step(&step).ok_or_else(missing)?;
    let attempt = query.attempt.unwrap_or(record.attempt);
    let stored = logs::find_artifact(&web.blobs, &run, job, (&step, attempt), &path).await?;
    let kind = Kind { content_type: "application/octet-stream", policy: FOREIGN };
    let mut response = serve(&web, &headers, stored.ok_or_else(missing)?, kind)?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let disposition =
        format!("attachment; filename*=UTF-8''{}", utf8_percent_encode(name, NON_ALPHANUMERIC));
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition);
    }
    Ok(response)
}

/// The object, or the part of it that `Range` asks for.
pub(crate) fn serve(web: &Web, asked: &HeaderMap, stored: Stored, kind: Kind) -> Answer {
    let total = stored.total;
    let range = asked.get(header::RANGE).and_then(|value| value.to_str().ok());
    let mut response = match range::wanted(range, total) {
        Wanted::Whole => part(web, stored, 0, total, StatusCode::OK),
        Wanted::Part { first, length } => {
            let mut response =
                part(web, stored, first, first + length, StatusCode::PARTIAL_CONTENT);
            let value = format!("bytes {first}-{}/{total}", first + length - 1);
            insert(&mut response, header::CONTENT_RANGE, &value);
            response
        }
        Wanted::Unsatisfiable => {
            let value = HeaderValue::from_str(&format!("bytes */{total}"));
            let error = WebError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "bad_range",
                format!("There are only {total} bytes."),
                "Ask for a range that begins before the end.",
            );
            return Err(match value {
                Ok(value) => error.with_header(header::CONTENT_RANGE, value),
                Err(_) => error,
            });
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind.content_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(kind.policy));
    Ok(response)
}

fn part(web: &Web, stored: Stored, first: u64, end: u64, status: StatusCode) -> Response {
    let mut response = if first == end {
        Body::empty().into_response()
    } else {
        stored.body(web.blobs.clone(), first, end).into_response()
    };
    *response.status_mut() = status;
    insert(&mut response, header::CONTENT_LENGTH, &(end - first).to_string());
    response
}

fn insert(response: &mut Response, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
