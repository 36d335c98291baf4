//! The JSON API's reading routes. The shapes are `render::api`'s; here they are looked up.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Web;
use super::access::Visitor;
use super::error::{Answer, WebError};
use super::files::{self, job_of, visible_run};
use super::follow::{self, Place};
use super::logs::{self, Log};
use super::names::{Asked, Named};
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, RepoName, Sha, StepId};
use crate::domain::run::{Job, Run, StepRecord};
use crate::domain::state::StepState;
use crate::domain::trigger::Trigger;
use crate::render::look::Look;
use crate::store::{LogTail, RunQuery};
use crate::render::api as shape;

/// At most this many runs in one answer.
const PAGE: u32 = 100;

/// A run's objects as the API shows them.
pub(crate) struct Views<'a> {
    web: &'a Web,
    run: &'a Run,
    /// GitHub's ids by check run name.
    checks: BTreeMap<String, u64>,
}

impl<'a> Views<'a> {
    pub(crate) async fn of(web: &'a Web, run: &'a Run) -> Result<Self, WebError> {
        let checks = web.store.check_ids(run.repository.id, &run.head_sha).await?;
        Ok(Self { web, run, checks: checks.into_iter().collect() })
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
    };
    let runs = web.store.runs(&query).await?;
    let visible = runs.iter().filter(|run| visitor.may_see(&run.repository));
    let runs: Vec<_> = visible.map(|run| shape::run_summary(run, &web.links)).collect();
    Ok(Json(json!({"runs": runs})).into_response())
}

/// `GET /api/v1/queue`
pub(crate) async fn queue(State(web): State<Arc<Web>>) -> Answer {
    Ok(Json(web.store.queue().await?).into_response())
}
