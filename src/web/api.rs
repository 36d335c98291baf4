//! The JSON API's reading routes. The shapes are `render::api`'s; here they are looked up.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Web;
use super::access::Visitor;
use super::error::{Answer, WebError};
use super::files::{self, job_of, visible_run};
use super::follow::{self, Place};
use super::logs::{self, Log};
use super::names::{Asked, Named};
use super::pages::visible_repository;
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, RepoName, Sha, StepId};
use crate::domain::run::{Job, Run, StepRecord};
use crate::domain::state::StepState;
use crate::render::api::{
    self as shape, AuditJson, CheckRunIds, ConnectorJson, RunJson, StepJson, TrustJson,
};
use crate::render::look::Look;
use crate::store::{LogTail, RunQuery};

/// At most this many runs in one answer.
const PAGE: u32 = 100;

/// A run's objects as the API shows them.
pub(crate) struct Views<'a> {
    web: &'a Web,
    run: &'a Run,
    checks: CheckRunIds,
}

/// A `step` event: a step does not name its connector, so the event does.
#[derive(Debug, Serialize)]
pub(crate) struct StepEvent {
    connector: ConnectorName,
    #[serde(flatten)]
    step: StepJson,
}

impl<'a> Views<'a> {
    pub(crate) async fn of(web: &'a Web, run: &'a Run) -> Result<Self, WebError> {
        let shown = web.store.shown_checks(run.repository.id, &run.head_sha).await?;
        Ok(Self { web, run, checks: shape::check_run_ids(run, &shown) })
    }

    /// Without its connectors, as in the list.
    pub(crate) fn listed(&self) -> RunJson {
        shape::listed(self.run, &self.web.links)
    }

    fn whole(&self) -> RunJson {
        shape::run(self.run, &self.web.links, &self.checks)
    }

    pub(crate) fn connector(&self, job: &Job) -> ConnectorJson {
        shape::connector(self.run, job, &self.web.links, &self.checks)
    }

    pub(crate) fn step_event(&self, job: &Job, step: &StepRecord) -> StepEvent {
        let step = shape::step(self.run, job, step, &self.web.links, &self.checks);
        StepEvent { connector: job.connector.clone(), step }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct RunsQuery {
    repo: Option<RepoName>,
    pull: Option<u64>,
    sha: Option<Sha>,
    before: Option<RunId>,
    limit: Option<u32>,
}

/// `GET /api/v1/runs`
pub(crate) async fn runs(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Asked(asked): Asked<RunsQuery>,
) -> Answer {
    let query = RunQuery {
        repository: asked.repo,
        pull: asked.pull,
        head_sha: asked.sha,
        before: asked.before,
        limit: asked.limit.unwrap_or(50).clamp(1, PAGE),
        public: !visitor.trusted,
    };
    let runs = web.store.run_headers(&query).await?;
    let runs: Vec<_> = runs.iter().map(|run| shape::listed(run, &web.links)).collect();
    Ok(Json(runs).into_response())
}

/// `GET /api/v1/runs/{run}`
pub(crate) async fn run(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named(id): Named<RunId>,
) -> Answer {
    let run = visible_run(&web, visitor, id).await?;
    let views = Views::of(&web, &run).await?;
    let records = web.store.audit_of_run(run.repository.id, run.id).await?;
    let audit = Some(records.iter().map(AuditJson::from).collect());
    let approved = web.store.approval_of_run(&run).await?;
    let trust = TrustJson::of(&run, approved.as_ref());
    Ok(Json(RunJson { trust, audit, ..views.whole() }).into_response())
}

/// `GET /api/v1/runs/{run}/connectors/{connector}/why`: as `affected --explain` says it.
pub(crate) async fn why(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named((id, connector)): Named<(RunId, String)>,
) -> Answer {
    let run = visible_run(&web, visitor, id).await?;
    if let Some(explanation) = run.explain(&connector) {
        return Ok(Json(explanation).into_response());
    }
    let mend = match run.closest(&connector) {
        _ if run.selection.is_none() => "The run is not planned: ask again when it is.".to_owned(),
        Some(closest) => format!("Did you mean `{closest}`?"),
        None => "Ask by the name that the run or `checkvalve list` shows.".to_owned(),
    };
    let message = format!("The run `{id}` knows no connector `{connector}`.");
    Err(WebError::new(StatusCode::NOT_FOUND, "unknown_connector", message, mend))
}

/// `GET /api/v1/queue`
pub(crate) async fn queue(State(web): State<Arc<Web>>) -> Answer {
    Ok(Json(web.store.queue().await?).into_response())
}

#[derive(Debug, Deserialize)]
pub(crate) struct LogQuery {
    attempt: Option<u32>,
    /// `1` or `true`: stream until the step ends.
    follow: Option<String>,
    /// With `follow`: the offset to begin at.
    from: Option<u64>,
}

impl LogQuery {
    fn follows(&self) -> bool {
        self.follow.as_deref().is_some_and(|value| !matches!(value, "0" | "false" | "no"))
    }
}

/// `GET /api/v1/runs/{run}/connectors/{c}/steps/{s}/log`
pub(crate) async fn log(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named((id, connector, step)): Named<(RunId, ConnectorName, StepId)>,
    Asked(asked): Asked<LogQuery>,
    headers: HeaderMap,
) -> Answer {
    let run = visible_run(&web, visitor, id).await?;
    let job = job_of(&run, &connector)?;
    let missing = |what: String| WebError::not_found(format!("`{connector}` has no {what}."));
    let record = job.step(&step).ok_or_else(|| missing(format!("step `{step}`")))?;
    let attempt = asked.attempt.unwrap_or(record.attempt);
    if attempt == 0 || attempt > record.attempt {
        return Err(missing(format!("attempt {attempt} of `{step}`")));
    }
    let ended = logs::has_ended(job, record, attempt);
    if asked.follows() && !ended {
        let place = Place { run: id, connector, step, attempt };
        let open = web.metrics.stream()?;
        return Ok(streamed(follow::body(web, place, asked.from.unwrap_or(0), open)));
    }
    match logs::find(&web, &run, job, record, attempt).await? {
        Log::Stored(stored) if asked.follows() => {
            let (from, total) = (asked.from.unwrap_or(0).min(stored.total), stored.total);
            Ok(streamed(stored.body(web.blobs.clone(), from, total)))
        }
        Log::Stored(stored) => files::serve(&web, &headers, stored, files::LOG),
        Log::Live(tail) => Ok(live(&tail)),
        Log::None => Err(no_log(record)),
    }
}

fn no_log(step: &StepRecord) -> WebError {
    let message = match &step.state {
        StepState::Waiting => "The step has not started.".to_owned(),
        StepState::Skipped { reason, .. } => format!("The step has no log: {reason}."),
        StepState::Running { .. } => "The step has printed nothing yet.".to_owned(),
        StepState::Finished { .. } => "The step left no log.".to_owned(),
    };
    let mend = "Ask with `?follow=1` to wait for what it prints.";
    WebError::new(StatusCode::NOT_FOUND, "no_log", message, mend)
}

const LOG_START: HeaderName = HeaderName::from_static("checkvalve-log-start");

/// The window that the database holds of a log under way; a header says where in the log it begins.
fn live(tail: &LogTail) -> Response {
    let mut response = streamed(tail.bytes.clone().into());
    response.headers_mut().insert(LOG_START, HeaderValue::from(tail.start));
    response
}

fn streamed(body: axum::body::Body) -> Response {
    let headers = [
        (header::CONTENT_TYPE, files::LOG.content_type),
        (header::CONTENT_SECURITY_POLICY, files::LOG.policy),
        (header::CACHE_CONTROL, "no-store"),
        // Some proxies would hold lines back.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

/// `GET /r/{owner}/{repo}/connectors/{name}/badge.json`: how the connector stands on the default
/// branch, as shields.io's endpoint badges want it (<https://shields.io/badges/endpoint-badge>).
pub(crate) async fn badge(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named((owner, repo, connector)): Named<(String, String, ConnectorName)>,
) -> Answer {
    let repository = visible_repository(&web, visitor, (owner, repo)).await?;
    let job = web.store.last_of_branch(repository.id, &connector).await?;
    let Some(job) = job else {
        return Err(WebError::new(
            StatusCode::NOT_FOUND,
            "no_run",
            format!("There is no run of `{connector}` on the default branch yet."),
            "Declare `on: [push]` for its pipeline, and push to the default branch.",
        ));
    };
    let look = Look::of_job(&job);
    let colour = match look {
        Look::Passed => "brightgreen",
        Look::Failed | Look::TimedOut => "red",
        Look::Errored | Look::ActionRequired => "orange",
        Look::Waiting | Look::Running | Look::Tolerated | Look::Cancelled | Look::Skipped => {
            "lightgrey"
        }
    };
    let (label, message) = (connector.as_str(), look.word());
    let body = json!({"schemaVersion": 1, "label": label, "message": message, "color": colour});
    Ok(Json(body).into_response())
}
