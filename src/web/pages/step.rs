//! `/runs/{run}/{connector}/{step}?attempt=N`: one step: how it went, its tests, files and log.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;

use super::job::{happened, took};
use super::layout::Page;
use super::log;
use super::parts::{self, fact_time};
use super::run::{live, notices};
use crate::ambient;
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::objects::segment;
use crate::domain::pipeline::{Network, StepSpec};
use crate::domain::run::{Artifact, Job, Run, Segment, StepRecord};
use crate::domain::time::human;
use crate::render::findings;
use crate::render::html::{about, big_state_badge, duration, tests};
use crate::render::look::{self, Look};
use crate::web::Web;
use crate::web::access::Visitor;
use crate::web::error::{Answer, WebError};
use crate::web::files::{job_of, visible_run};
use crate::web::names::{Asked, Named};

#[derive(Debug, Deserialize)]
pub(crate) struct StepQuery {
    attempt: Option<u32>,
    /// A part of the log, from 1.
    log: Option<u64>,
}

pub(crate) async fn show(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named((id, connector, step)): Named<(RunId, ConnectorName, StepId)>,
    Asked(query): Asked<StepQuery>,
) -> Answer {
    let run = visible_run(&web, visitor, id).await?;
    let job = job_of(&run, &connector)?;
    let missing = |what| WebError::not_found(format!("`{connector}` has no {what}."));
    let step = job.step(&step).ok_or_else(|| missing(format!("step `{step}`")))?;
    let attempt = query.attempt.unwrap_or(step.attempt);
    if attempt == 0 || attempt > step.attempt {
        return Err(missing(format!("attempt {attempt} of `{}`", step.id)));
    }
    let asked = log::Asked { run: &run, job, step, attempt, page: query.log };
    let log = log::section(&web, asked).await?;
    let now = ambient::now();
    let look = Look::of_step(job, step);
    let current = attempt == step.attempt;
    let body = html! {
        h1 { (job.connector) span.muted { " / " } (step.id) }
        p.lead {
            @if current { (big_state_badge(look)) span { (took(step, now)) } span { (happened(step)) } }
            @else { span.tag { "attempt " (attempt) " of " (step.attempt) } }
            (about(&job.plan))
        }
        (notices(&web, &run))
        (attempts(&web, &run, job, step, attempt))
        @if current { (details(&web, &run, job, step)) }
        h2 { "Log" }
        (log)
    };
    let mut crumbs = parts::crumbs(&web, &run);
    crumbs.push((format!("run {}", parts::short_id(&run)), Some(web.links.run(run.id))));
    crumbs.push((job.connector.to_string(), Some(web.links.job(run.id, &job.connector))));
    crumbs.push((step.id.to_string(), None));
    let title = format!("{} · {} / {}", look.word(), job.connector, step.id);
    let shown = current.then(|| format!("{}/{}", job.connector, step.id));
    let page = Page { title: &title, look: Some(look), crumbs, live: live(&run, shown) };
    Ok(page.render(&web, &body).into_response())
}

fn attempts(web: &Web, run: &Run, job: &Job, step: &StepRecord, shown: u32) -> Markup {
    let href = web.links.step(run.id, &job.connector, &step.id);
    html! {
        @if step.attempt > 1 {
            nav.pager aria-label="Attempts" {
                @for attempt in 1..=step.attempt {
                    @if attempt == shown { span aria-current="page" { "Attempt " (attempt) } }
                    @else { a href={ (href) "?attempt=" (attempt) } { "Attempt " (attempt) } }
                }
            }
        }
    }
}

fn details(web: &Web, run: &Run, job: &Job, step: &StepRecord) -> Markup {
    let spec = job.plan.step(&step.id);
    html! {
        @if let Some(found) = &step.facts.tests { h2 { "Tests" } (tests(found)) }
        @if let Some(found) = &step.facts.annotations { h2 { "Findings" } (findings::section(found)) }
        @if !step.facts.artifacts.is_empty() { (artifacts(web, run, job, step)) }
        div.panel { div.pad { dl.facts {
            @if let Some(code) = step.facts.exit_code { dt { "Exit code" } dd { (code) } }
            @if let Some(found) = step.facts.coverage {
                dt { "Coverage" } dd { (found.told()) ", " (found.covered) " of " (found.lines) " lines" }
            }
            (fact_time("Ready", Some(step.queued_at)))
            (fact_time("Started", look::started_at(step)))
            (fact_time("Ended", look::settled_at(step)))
            @if !step.facts.segments.is_empty() {
                dt { "Time went to" } dd { (segments(&step.facts.segments)) }
            }
            @if let Some(cache) = &step.facts.cache {
                dt { "Cache" }
                dd { (cache.state.as_str()) ": " (cache.because) }
                @if let Some(key) = &cache.key { dt { "Key" } dd.mono.muted { (key) } }
            }
            @if let Some(spec) = spec { (declared(web, run, job, step, spec)) }
        } } }
    }
}

fn declared(web: &Web, run: &Run, job: &Job, step: &StepRecord, spec: &StepSpec) -> Markup {
    html! {
        @if let Some(uses) = spec.uses {
            dt { "Built in" }
            dd { code { (uses.builtin.as_str()) } ", version " (uses.version) }
        }
        @if spec.uses.is_none() || step.facts.image_digest.is_some() {
            dt { "Image" }
            dd {
                code { (spec.image) }
                @if let Some(digest) = &step.facts.image_digest { " " span.mono.muted { (digest) } }
            }
        }
        @if !step.facts.bases.is_empty() {
            dt { "Built on" }
            dd { @for (name, image) in &step.facts.bases {
                div { code { (name) } " " span.mono.muted { (image) } }
            } }
        }
        @if !spec.needs.is_empty() {
            dt { "Needs" }
            dd { @for need in &spec.needs {
                a href=(web.links.step(run.id, &job.connector, need)) { (need) } " "
            } }
        }
        dt { "Limits" }
        dd {
            (human(spec.timeout()))
            @match spec.network { Network::None => ", no network", Network::Bridge => ", with network" }
            @if spec.retries > 0 { ", up to " (spec.retries) " more tries" }
            @if spec.allow_failure { ", a failure does not count" }
        }
        @if !spec.run.is_empty() { dt { "Commands" }
        dd { details #commands { summary { (spec.run.len()) @if spec.run.len() == 1 { " line" } @else { " lines" } }
            pre.wrapped { @for line in &spec.run { (line) "\n" } }
        } } }
    }
}

fn segments(segments: &[Segment]) -> Markup {
    let took = |segment: &Segment| segment.finished_at.since(segment.started_at);
    html! {
        @for (index, segment) in segments.iter().enumerate() {
            @if index > 0 { ", " } (segment.name) " " (duration(took(segment)))
        }
    }
}

fn artifacts(web: &Web, run: &Run, job: &Job, step: &StepRecord) -> Markup {
    let base = web.links.step(run.id, &job.connector, &step.id);
    let href = |artifact: &Artifact| {
        let path: Vec<String> = artifact.path.split('/').map(segment).collect();
        format!("{base}/artifacts/{}?attempt={}", path.join("/"), step.attempt)
    };
    html! {
        h2 { "Artifacts" }
        div.panel { table { tbody {
            @for artifact in &step.facts.artifacts {
                tr {
                    td { a href=(href(artifact)) download { (artifact.path) } }
                    td.right.muted.num { (log::size(artifact.bytes)) }
                }
            }
        } } }
    }
}
