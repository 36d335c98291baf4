//! `/runs/{run}/{connector}`: one connector's job.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::layout::Page;
use super::parts::{self, fact_time};
use super::run::{live, notices};
use crate::ambient;
use crate::domain::ids::RunId;
use crate::domain::impact::ChangeKind;
use crate::domain::names::ConnectorName;
use crate::domain::run::{Job, Run, StepRecord};
use crate::domain::state::{RunState, StepState};
use crate::domain::time::{Timestamp, human};
use crate::render::html::{about, big_state_badge, duration, prose, reasons, state_badge};
use crate::render::look::{self, Look};
use crate::web::Web;
use crate::web::access::Visitor;
use crate::web::error::Answer;
use crate::web::files::{job_of, visible_run};
use crate::web::names::Named;

const REASONS: usize = 50;

pub(crate) async fn show(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named((id, connector)): Named<(RunId, ConnectorName)>,
) -> Answer {
    let run = visible_run(&web, visitor, id).await?;
    let job = job_of(&run, &connector)?;
    let now = ambient::now();
    let look = Look::of_job(job);
    let body = html! {
        h1 { (job.connector) }
        p.lead {
            (big_state_badge(look))
            @if let Some(took) = look::job_took(job) { (duration(took)) }
            span { (change(job.change)) }
            (about(&job.plan))
            span { "of " a href=(web.links.run(run.id)) { (parts::subject(&run)) } }
        }
        (notices(&web, &run))
        @if let Some(why) = job.cancel.as_ref().filter(|_| run.cancel.is_none()) {
            div.notice { p { "Its end was asked for: " (prose(why)) } }
        }
        (steps(&web, &run, job, now))
        h2 { "Graph" }
        div.panel { div.pad { (parts::job_graph(job)) } }
        h2 { "Timeline" }
        div.panel { div.pad { (parts::job_timeline(job)) } }
        h2 { "Why it was selected" }
        (reasons(job.connector.as_str(), &job.reasons, REASONS))
        (files(&web, &run, job))
    };
    let mut crumbs = parts::crumbs(&web, &run);
    crumbs.push((format!("run {}", parts::short_id(&run)), Some(web.links.run(run.id))));
    crumbs.push((job.connector.to_string(), None));
    let title = format!("{} · {}", look.word(), job.connector);
    let page = Page { title: &title, look: Some(look), crumbs, live: live(&run, None) };
    Ok(page.render(&web, &body).into_response())
}

fn change(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Modified => "modified by this change",
        ChangeKind::Added => "added by this change",
        ChangeKind::Removed => "removed by this change",
    }
}

fn steps(web: &Web, run: &Run, job: &Job, now: Timestamp) -> Markup {
    html! {
        h2 { "Steps" }
        div.panel { div.scroll tabindex="0" role="region" aria-label="Steps" {
            table {
                thead { tr {
                    th scope="col" { "Step" }
                    th scope="col" { "State" }
                    th scope="col" { "What happened" }
                    th.right scope="col" { "Waited" }
                    th.right scope="col" { "Took" }
                } }
                tbody { @for step in &job.steps { (step_row(web, run, job, step, now)) } }
            }
        } }
    }
}

fn step_row(web: &Web, run: &Run, job: &Job, step: &StepRecord, now: Timestamp) -> Markup {
    html! {
        tr {
            th scope="row" {
                a href=(web.links.step(run.id, &job.connector, &step.id)) { (step.id) }
                @if step.attempt > 1 { " " span.tag { "attempt " (step.attempt) } }
            }
            td { (state_badge(Look::of_step(job, step))) }
            td { (happened(step)) }
            td.right.num.muted { (waited(step)) }
            td.right { (took(step, now)) }
        }
    }
}

/// The tests' count, the reason, the exit code: what there is.
pub(super) fn happened(step: &StepRecord) -> Markup {
    let facts = &step.facts;
    let why = match (&step.state, &facts.reason, facts.exit_code) {
        (StepState::Skipped { reason, .. }, ..) => Some(reason.to_string()),
        (_, Some(reason), _) => Some(reason.clone()),
        (_, None, Some(code)) if code != 0 => Some(format!("exit code {code}")),
        (_, None, _) => None,
    };
    html! {
        @if let Some(tests) = &facts.tests {
            @if tests.failed > 0 { strong { (tests.failed) " failed" } ", " }
            (tests.passed) " passed"
            @if tests.skipped > 0 { ", " (tests.skipped) " skipped" }
            @if why.is_some() { " · " }
        }
        @if let Some(why) = why { span.muted { (prose(&why)) } }
    }
}

fn waited(step: &StepRecord) -> Markup {
    let started = look::started_at(step);
    html! { @if let Some(at) = started { (human(at.since(step.queued_at))) } }
}

pub(super) fn took(step: &StepRecord, now: Timestamp) -> Markup {
    html! {
        @if let Some(took) = look::took(step) { (duration(took)) }
        @else if let StepState::Running { started_at } = step.state {
            span.muted.num { (human(now.since(started_at))) " so far" }
        }
    }
}

fn files(web: &Web, run: &Run, job: &Job) -> Markup {
    const FILES: [(&str, &str); 6] = [
        ("report.html", "report"),
        ("report.json", "report as JSON"),
        ("junit.xml", "tests as JUnit XML"),
        ("log.txt", "all logs"),
        ("graph.svg", "graph"),
        ("timeline.svg", "timeline"),
    ];
    let base = web.links.job(run.id, &job.connector);
    html! {
        h2 { "Stored" }
        @if job.state == RunState::Concluded {
            ul.plain.inline {
                @for (file, label) in FILES { li { a href={ (base) "/" (file) } { (label) } } }
            }
        } @else { p.muted { "The report is written when the connector has ended." } }
        div.panel { div.pad { dl.facts {
            dt { "Folder" } dd { code { (job.plan.root()) } }
            @if let Some(version) = job.plan.version() { dt { "Version" } dd { (version) } }
            @if let Some(lock) = job.plan.lock() { dt { "Lock" } dd { code { (lock) } } }
            @if let Some(merge) = job.plan.merge() {
                dt { "Tested" }
                dd { "the merge of " code { (run.head_sha.short()) } " with " code { (merge.base.short()) } }
            }
            @if let Some(conflict) = job.plan.conflict() {
                dt { "Held" }
                dd {
                    "the merge of " code { (run.head_sha.short()) } " with "
                    code { (conflict.base.short()) } " conflicts in"
                    pre { (conflict.listed()) }
                }
            }
            dt { "Plan" } dd { code { (job.plan.digest().get(..16).unwrap_or_default()) } }
            (fact_time("Made", Some(job.created_at)))
            (fact_time("Started", job.started_at))
            (fact_time("Concluded", job.concluded_at))
            @if job.attempt > 1 { dt { "Workers" } dd { "claimed " (job.attempt) " times" } }
        } } }
    }
}
