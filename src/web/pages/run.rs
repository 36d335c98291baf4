//! `/runs/{run}`: what was asked, what was affected and why, how it went.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;

use super::asked;
use super::layout::{Live, Page};
use super::parts::{self, commit, fact_time, run_time, what_to_write};
use super::{trust, why_not};
use crate::ambient;
use crate::domain::ids::RunId;
use crate::domain::run::{Job, Run};
use crate::domain::state::RunState;
use crate::domain::time::Timestamp;
use crate::domain::trust::Approved;
use crate::render::html::{
    about, big_state_badge, problem, prose, reasons, selection, state_badge, steps_grid,
};
use crate::render::look::Look;
use crate::render::report::plan_hash;
use crate::web::Web;
use crate::web::access::Visitor;
use crate::web::error::Answer;
use crate::web::files::visible_run;
use crate::web::names::{Asked, Named};

/// With more connectors than this, pictures are on the connectors' own pages only.
const PICTURES: usize = 12;
/// With more than this, only what did not pass stands open.
const ALL_OPEN: usize = 2;
const REASONS: usize = 8;

#[derive(Debug, Deserialize)]
pub(crate) struct Query {
    /// A connector: why it is selected, or why not.
    explain: Option<String>,
}

pub(crate) async fn show(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named(id): Named<RunId>,
    Asked(query): Asked<Query>,
) -> Answer {
    let run = visible_run(&web, visitor, id).await?;
    let now = ambient::now();
    let look = Look::of_run(&run);
    let records = web.store.audit_of_run(run.repository.id, run.id).await?;
    let approved = web.store.approval_of_run(&run).await?;
    let body = html! {
        h1 { (run.title) @if let Some(number) = run.pull { " " span.muted { "#" (number) } } }
        (lead(&web, &run, look, now))
        (notices(&web, &run))
        (trust::showing(&web, &run))
        (connectors(&web, &run))
        h2 { "What was tested" }
        (facts(&web, &run, approved.as_ref()))
        (asked::section(&web, "Who asked for it, or for its end", &records, (Some(run.id), now)))
        (why_not::section(&run, query.explain.as_deref()))
        (what_to_write(&web, &run))
    };
    let mut crumbs = parts::crumbs(&web, &run);
    crumbs.push((format!("run {}", parts::short_id(&run)), None));
    let title = format!("{} · {}", look.word(), parts::subject(&run));
    let page = Page { title: &title, look: Some(look), crumbs, live: live(&run, None) };
    Ok(page.render(&web, &body).into_response())
}

/// Pages of a concluded run have nothing to listen for.
pub(super) fn live(run: &Run, log: Option<String>) -> Option<Live> {
    let events = format!("/api/v1/runs/{}/events?after={}", run.id, run.revision);
    (run.state != RunState::Concluded).then_some(Live { events, log })
}

fn lead(web: &Web, run: &Run, look: Look, now: Timestamp) -> Markup {
    html! {
        p.lead {
            (big_state_badge(look))
            span { (run_time(run, now)) }
            span { (commit(web, &run.repository, &run.head_sha)) " into " code { (run.base_ref) } }
            span { (parts::cause(run)) }
            span { (parts::ago(now, run.created_at)) }
        }
    }
}

/// What a reader must know before anything else.
pub(super) fn notices(web: &Web, run: &Run) -> Markup {
    html! {
        @if let Some(by) = run.superseded_by {
            div.notice { p {
                "A newer head took over: " a href=(web.links.run(by)) { "its run" } "."
            } }
        } @else if let Some(why) = &run.cancel {
            div.notice { p { "Its end was asked for: " (prose(why)) } }
        }
        @if let Some(trouble) = &run.problem { (problem(trouble)) }
    }
}

fn connectors(web: &Web, run: &Run) -> Markup {
    let planned = run.selection.is_some();
    html! {
        @if !run.jobs.is_empty() {
            h2 { "Connectors" }
            (steps_grid(run, &web.links))
            h2 { "Why, and how it hangs together" }
            @for job in &run.jobs { (connector(web, run, job)) }
        } @else if planned && run.problem.is_none() {
            div.panel { div.pad {
                strong { "This change affects no connector, so there is nothing to test." }
            } }
        } @else if run.state != RunState::Concluded {
            div.panel { div.pad.muted {
                "Being planned: the change is fetched and the affected connectors are looked for."
            } }
        }
    }
}

fn connector(web: &Web, run: &Run, job: &Job) -> Markup {
    let look = Look::of_job(job);
    let few = run.jobs.len() <= PICTURES;
    let open = few && (run.jobs.len() <= ALL_OPEN || look.is_bad() || look == Look::Running);
    html! {
        details class={ "step " (look.class()) } open[open] #{ "connector-" (job.connector) } {
            summary {
                (state_badge(look))
                span.title { (job.connector) }
                span.grow { (parts::first_reason(job)) }
            }
            div.pad {
                @if few { (parts::job_graph(job)) (parts::job_timeline(job)) }
                (reasons(job.connector.as_str(), &job.reasons, REASONS))
                @let known = about(&job.plan);
                @if !known.0.is_empty() { p { (known) } }
                p { a href=(web.links.job(run.id, &job.connector)) { "Steps, times and report of " (job.connector) } }
            }
        }
    }
}

fn facts(web: &Web, run: &Run, approved: Option<&Approved>) -> Markup {
    html! {
        div.pair {
            div.panel { div.pad { dl.facts { (what(web, run, approved)) } } }
            @if let Some(found) = &run.selection {
                div.panel { div.pad { (selection(found)) } }
            }
        }
    }
}

fn what(web: &Web, run: &Run, approved: Option<&Approved>) -> Markup {
    let commit = |sha| commit(web, &run.repository, sha);
    html! {
        dt { "Asked for" } dd { (parts::scope(run)) }
        dt { "Head" } dd { (commit(&run.head_sha)) " " code { (run.head_ref) } }
        dt { "Base" } dd { (commit(&run.base_sha)) " " code { (run.base_ref) } }
        (trust::fact(run, approved))
        @if let Some(sha) = &run.merge_base { dt { "Merge base" } dd { (commit(sha)) } }
        @if !run.jobs.is_empty() {
            dt { "Plan" }
            dd { span.mono title="The digest of all plans of the run: equal plans have equal ones." { (plan_hash(run.jobs.iter().map(|job| &job.plan))) } }
        }
        (fact_time("Made", Some(run.created_at)))
        (fact_time("Started", run.started_at))
        (fact_time("Concluded", run.concluded_at))
        dt { "As JSON" }
        dd { a.mono href={ (web.links.public) "/api/v1/runs/" (run.id) } { (run.id) } }
    }
}
