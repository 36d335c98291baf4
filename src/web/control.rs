//! `POST /api/v1/runs/{run}/cancel|retest`: what comments ask for, asked for with the API token, and
//! written down as they are.

use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::Web;
use super::access::Operator;
use super::error::{Answer, WebError};
use super::names::Named;
use crate::ambient;
use crate::domain::audit::{Decision, Route, Ruling};
use crate::domain::cache::Reuse;
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::run::{ProblemKind, Run};
use crate::domain::state::RunState;
use crate::domain::trigger::{Scope, Target, Trigger};
use crate::domain::trust::Trust;
use crate::domain::verdict::{head_verdict, to_retest};
use crate::render::replies;
use crate::store::{
    Act, CancelOrder, Created, Done, NewRun, Orders, PullSeen, Stopped, StoreError,
};

/// The actor of what the token asks for.
const ACTOR: &str = "api";
/// Names that are written down; of more, how many there are.
const NAMES_SHOWN: usize = 8;

/// The optional body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Limits it to these.
    #[serde(default)]
    connectors: Option<Vec<ConnectorName>>,
    /// Of `retest`: by which plan.
    #[serde(default)]
    plan: ByPlan,
}

/// Two things that both are called running again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ByPlan {
    /// As it was planned for this head, whatever the configuration is now.
    #[default]
    Same,
    /// Planned anew, with the configuration as it is now.
    Current,
}

fn wish(body: &Bytes) -> Result<Wish, WebError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Wish::default());
    }
    // An object: the derived reader would take a list for the fields in order, too.
    let object = serde_json::from_slice::<serde_json::Map<_, _>>(body);
    let wish = object.and_then(|object| serde_json::from_value(object.into()));
    wish.map_err(|error| {
        WebError::bad_request(
            "bad_body",
            format!("The body can't be read: {error}."),
            "Send nothing, or `{\"connectors\": [\"name\", …], \"plan\": \"same\"}`; `plan`, of a \
             retest, is `same` or `current`.",
        )
    })
}

/// Every named connector must be one of the run's.
fn check_names(wish: &Wish, run: &Run) -> Result<(), WebError> {
    let known = |name: &ConnectorName| run.jobs.iter().any(|job| job.connector == *name);
    let Some(unknown) = wish.connectors.iter().flatten().find(|name| !known(name)) else {
        return Ok(());
    };
    let closest = run
        .jobs
        .iter()
        .map(|job| job.connector.as_str())
        .min_by_key(|name| strsim::damerau_levenshtein(name, unknown.as_str()));
    let mend = closest.map_or_else(
        || "The run has no connectors; leave `connectors` out.".to_owned(),
        |name| format!("Did you mean `{name}`?"),
    );
    let message = format!("The run has no connector `{unknown}`.");
    Err(WebError::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown_connector", message, mend))
}

/// Something asked for through the API; each call is a cause of its own.
fn act(run: &Run, what: &str, wish: &Wish) -> Act {
    let named = wish.connectors.as_deref().unwrap_or_default();
    let more = format!("and {} more", named.len().saturating_sub(NAMES_SHOWN));
    let mut words = vec![what];
    words.extend(named.iter().take(NAMES_SHOWN).map(ConnectorName::as_str));
    if named.len() > NAMES_SHOWN {
        words.push(&more);
    }
    let asked = words.join(" ");
    Act {
        repository: run.repository.clone(),
        pull: run.pull,
        head: Some(run.head_sha.clone()),
        actor: ACTOR.to_owned(),
        route: Route::Api,
        cause: format!("api-{}", ambient::ulid()),
        asked,
    }
}

/// Why it is not done is written down before it is said.
async fn refused(web: &Web, act: &Act, run: &Run, error: WebError) -> Result<WebError, WebError> {
    note(web, act, run, error.message()).await?;
    Ok(error)
}

async fn note(web: &Web, act: &Act, run: &Run, because: &str) -> Result<(), WebError> {
    let ruling = Ruling::refused(because);
    let about = run.pull.is_none().then_some(run.id);
    let orders = Orders { about, ..Orders::default() };
    web.store.obey(act, &orders, &|_| ruling.clone()).await?;
    Ok(())
}

async fn found(web: &Web, id: RunId) -> Result<Run, WebError> {
    let run = web.store.run(id).await?;
    run.ok_or_else(|| WebError::not_found(format!("There is no run `{id}`.")))
}

/// `POST /api/v1/runs/{run}/cancel`
pub(crate) async fn cancel(
    _: Operator,
    State(web): State<Arc<Web>>,
    Named(id): Named<RunId>,
    body: Bytes,
) -> Answer {
    let wish = wish(&body)?;
    let run = found(&web, id).await?;
    let act = act(&run, "cancel", &wish);
    // What a run will have is not known before it is planned.
    if run.selection.is_some()
        && let Err(error) = check_names(&wish, &run)
    {
        return Err(refused(&web, &act, &run, error).await?);
    }
    let why = "cancelled through the API".to_owned();
    let order = CancelOrder { run: id, connectors: wish.connectors, why };
    let orders = Orders { cancels: vec![order], ..Orders::default() };
    let stopped = Mutex::new(Stopped::default());
    let judge = |done: &Done| {
        let first = done.stopped.first().map(|(_, stopped)| stopped.clone()).unwrap_or_default();
        let ruling = cancelled(&first);
        if let Ok(mut stopped) = stopped.lock() {
            *stopped = first;
        }
        ruling
    };
    web.store.obey(&act, &orders, &judge).await?;
    let Stopped { jobs, noted, unplanned } = stopped.into_inner().unwrap_or_default();
    let asked = jobs.len() + usize::from(unplanned);
    tracing::info!(run = %id, asked, "cancelled through the API");
    let url = web.links.run(id);
    let body = json!({"run": id, "asked": asked, "connectors": jobs, "noted": noted, "url": url});
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// What is written down of a cancel, by what it did.
fn cancelled(stopped: &Stopped) -> Ruling {
    let mut will = Vec::new();
    if !stopped.jobs.is_empty() {
        will.push(replies::ended(&stopped.jobs.iter().collect()));
    }
    if stopped.unplanned {
        will.push("What was being planned is not run.".to_owned());
    }
    if !stopped.noted.is_empty() {
        will.push(replies::noted(&stopped.noted.iter().collect()));
    }
    let not: Vec<String> = stopped.is_nothing().then(replies::ended_already).into_iter().collect();
    Ruling::of(&will, &not)
}

/// `POST /api/v1/runs/{run}/retest`: what did not succeed on the run's head commit, and what never
/// ran, is run again; what runs now is left alone.
pub(crate) async fn retest(
    _: Operator,
    State(web): State<Arc<Web>>,
    Named(id): Named<RunId>,
    body: Bytes,
) -> Answer {
    let wish = wish(&body)?;
    let run = found(&web, id).await?;
    let act = act(&run, "retest", &wish);
    if run.trigger.is_of_branch() {
        return match check_names(&wish, &run) {
            Ok(()) => repeat(&web, &run, (&act, wish)).await,
            Err(error) => Err(refused(&web, &act, &run, error).await?),
        };
    }
    let (scope, trust) = match to_run(&web, &run, &wish).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            let because = "everything on this commit runs, waits or has succeeded";
            note(&web, &act, &run, because).await?;
            return Ok(nothing(&web, id, because));
        }
        Err(NotRun::Planning(unplanned)) => {
            let because = "a run of this commit is still being planned";
            note(&web, &act, &run, because).await?;
            return Ok(nothing(&web, unplanned, because));
        }
        Err(NotRun::Refused(error)) => return Err(refused(&web, &act, &run, error).await?),
        Err(NotRun::Broken(error)) => return Err(error),
    };
    let targets = scope.targets().to_vec();
    let new = NewRun { trust, ..new_run(&run, scope.clone()) };
    let made = new.id;
    let about = run.pull.is_none().then_some(run.id);
    let orders = Orders { run: Some(new), about, ..Orders::default() };
    let judge = |done: &Done| match done.made {
        Some(Created::Outdated) => Ruling::refused(replies::group_is_gone()),
        Some(Created::Fresh(_) | Created::Exists(_)) | None => {
            Ruling::of(&replies::will_run(&scope), &[])
        }
    };
    let record = web.store.obey(&act, &orders, &judge).await?;
    if record.ruling.decision == Decision::Refused {
        return Err(gone(record.ruling.because));
    }
    tracing::info!(run = %made, of = %id, "retest through the API");
    let body = json!({"run": made, "url": web.links.run(made), "targets": targets});
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// A run of the default branch is repeated as it was asked for: no pull request waits for its verdict, so
/// there is none over several runs.
async fn repeat(web: &Web, run: &Run, (act, wish): (&Act, Wish)) -> Answer {
    if run.state != RunState::Concluded {
        let because = "it still waits or runs";
        note(web, act, run, because).await?;
        return Ok(nothing(web, run.id, because));
    }
    let target = |connector: ConnectorName| Target { connector: connector.to_string(), step: None };
    let targets: Vec<Target> = wish.connectors.into_iter().flatten().map(target).collect();
    let scope = match targets.as_slice() {
        [] => run.scope.clone(),
        _ => Scope::Only { targets: targets.clone() },
    };
    let reuse = if run.reuse == Reuse::Never { Reuse::Never } else { Reuse::Success };
    let new = NewRun { reuse, ..new_run(run, scope.clone()) };
    let made = new.id;
    let orders = Orders { run: Some(new), ..Orders::default() };
    web.store.obey(act, &orders, &|_| Ruling::of(&replies::will_run(&scope), &[])).await?;
    tracing::info!(run = %made, of = %run.id, "repeated through the API");
    let body = json!({"run": made, "url": web.links.run(made), "targets": targets});
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

/// Why a retest makes no run.
enum NotRun {
    Planning(RunId),
    Refused(WebError),
    /// Ours: nothing was decided.
    Broken(WebError),
}

/// What a retest is to run; `None`: nothing is left to do.
async fn to_run(web: &Web, run: &Run, wish: &Wish) -> Result<Option<(Scope, Trust)>, NotRun> {
    check_names(wish, run).map_err(NotRun::Refused)?;
    let seen = match run.pull {
        Some(number) => web.store.pull(run.repository.id, number).await.map_err(broken)?,
        None => None,
    };
    check_current(run, seen).map_err(NotRun::Refused)?;
    let runs = web.store.runs_of_head(run.repository.id, &run.head_sha).await.map_err(broken)?;
    // Two pull requests can share a head commit; each is retested for itself.
    let runs: Vec<Run> = runs.into_iter().filter(|other| other.pull == run.pull).collect();
    if let Some(unplanned) = runs.iter().find(|run| is_unplanned(run)) {
        return Err(NotRun::Planning(unplanned.id));
    }
    // As it stands for the head now, whichever of its runs was named.
    let trust = head_verdict(&runs).own.map_or(run.trust, |own| own.trust);
    if trust.is_guarded() {
        return Err(NotRun::Refused(not_approved()));
    }
    if own_problem(&runs).map_err(NotRun::Refused)?.is_some() {
        return Ok(Some((Scope::Affected, trust)));
    }
    let targets = targets(&limited(to_retest(&runs), wish));
    if targets.is_empty() {
        return Ok(None);
    }
    let scope = match wish.plan {
        ByPlan::Same => Scope::Again { targets },
        ByPlan::Current => Scope::Only { targets },
    };
    Ok(Some((scope, trust)))
}

fn broken(error: StoreError) -> NotRun {
    NotRun::Broken(error.into())
}

/// The problem for which the commit has no plan: then everything that is affected is asked for
/// anew. A token does not approve what its author may not run.
fn own_problem(runs: &[Run]) -> Result<Option<ProblemKind>, WebError> {
    let problem = head_verdict(runs).own.and_then(|own| own.problem.as_ref());
    match problem.map(|problem| problem.kind) {
        Some(ProblemKind::NotTrusted) => Err(not_approved()),
        kind => Ok(kind),
    }
}

fn not_approved() -> WebError {
    WebError::new(
        StatusCode::CONFLICT,
        "not_approved",
        "This commit waits for an approval: whoever wrote or pushed it may not write to the repository.",
        "Have someone who may write approve it, by the button on `checkvalve` or with `/ok-to-test`; the API token approves nothing.",
    )
}

fn is_unplanned(run: &Run) -> bool {
    run.state != RunState::Concluded && run.selection.is_none()
}

fn nothing(web: &Web, run: RunId, because: &str) -> axum::response::Response {
    let url = web.links.run(run);
    let body = json!({"run": null, "because": because, "url": url, "targets": []});
    (StatusCode::OK, Json(body)).into_response()
}

/// Only the current head is tested: a run of an old one would be stale before it began.
fn check_current(run: &Run, seen: Option<PullSeen>) -> Result<(), WebError> {
    let (Some(number), Some(PullSeen { facts, .. })) = (run.pull, seen) else { return Ok(()) };
    if facts.open && facts.head_sha == run.head_sha {
        return Ok(());
    }
    let message = if facts.open {
        format!("Pull request {number} has moved on to {}.", facts.head_sha.short())
    } else {
        format!("Pull request {number} is closed.")
    };
    let mend = "Retest a run of the pull request's current head.";
    Err(WebError::new(StatusCode::CONFLICT, "stale", message, mend))
}

/// Nobody waits for the checks of a merge group that has left the queue.
fn gone(why: String) -> WebError {
    let mend = "Retest a run of a pull request's current head, or of a group that is in the queue.";
    WebError::new(StatusCode::CONFLICT, "stale", why, mend)
}

fn limited(
    again: Vec<(ConnectorName, Vec<StepId>)>,
    wish: &Wish,
) -> Vec<(ConnectorName, Vec<StepId>)> {
    let wanted = |name: &ConnectorName| match &wish.connectors {
        Some(names) => names.contains(name),
        None => true,
    };
    again.into_iter().filter(|(name, _)| wanted(name)).collect()
}

/// A connector with no steps named is retested whole.
fn targets(again: &[(ConnectorName, Vec<StepId>)]) -> Vec<Target> {
    again
        .iter()
        .flat_map(|(connector, steps)| {
            let target = |step: Option<&StepId>| Target {
                connector: connector.to_string(),
                step: step.map(ToString::to_string),
            };
            if steps.is_empty() {
                vec![target(None)]
            } else {
                steps.iter().map(|step| target(Some(step))).collect()
            }
        })
        .collect()
}

fn new_run(of: &Run, scope: Scope) -> NewRun {
    let id = RunId::new(ambient::ulid());
    NewRun {
        id,
        repository: of.repository.clone(),
        pull: of.pull,
        title: of.title.clone(),
        head_ref: of.head_ref.clone(),
        base_ref: of.base_ref.clone(),
        head_sha: of.head_sha.clone(),
        base_sha: of.base_sha.clone(),
        // A run of the branch stays one: it shows nothing that pull requests require.
        trigger: if of.trigger.is_of_branch() { of.trigger } else { Trigger::Manual },
        // Each request is a cause of its own.
        cause: id.to_string(),
        actor: ACTOR.to_owned(),
        scope,
        reuse: Reuse::Success,
        trust: of.trust,
        problem: None,
    }
}
