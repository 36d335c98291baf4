//! `report.html`: one connector's job on one page that needs nothing else.

use maud::{Markup, PreEscaped, html};

use crate::domain::annotation::Annotations;
use crate::domain::links::Links;
use crate::domain::names::StepId;
use crate::domain::run::{Artifact, Job, Run, StepRecord};
use crate::domain::time::human;

use crate::render::findings;
use crate::render::html::{
    big_state_badge, document, duration, prose, reasons, state_badge, state_sign, tests, time,
};
use crate::render::log::{Ansi, Piece, pieces};
use crate::render::look::{self, Look};
use crate::render::path::{critical_path, path_took};
use crate::render::{graph, timeline};

/// Bytes of each step's log on the page; the whole log is linked.
const LOG_MAX: usize = 64 * 1024;

/// Reasons that are listed.
const REASONS_MAX: usize = 30;

/// The report of one job. `logs` are the steps' logs as far as they are at hand (raw bytes); for
/// a step without one, the excerpt of its record is shown.
pub fn job_html(run: &Run, job: &Job, links: &Links, logs: &[(StepId, Vec<u8>)]) -> String {
    let title =
        format!("{} · {} · {}", job.connector, Look::of_job(job).word(), run.repository.name);
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        (header(run, job, links))
        main id="main" {
            h1 { (job.connector) }
            (lead(run, job, links))
            (overview(run, job))
            section aria-labelledby="why" {
                h2 id="why" { "Why it was tested" }
                (reasons(job.connector.as_str(), &job.reasons, REASONS_MAX))
            }
            section aria-labelledby="graph" {
                h2 id="graph" { "Graph" }
                div.panel { div class="scroll pad" tabindex="0" role="region" aria-label="Graph of the steps" {
                    (PreEscaped(graph::job_inline(job)))
                } }
            }
            section aria-labelledby="timeline" {
                h2 id="timeline" { "Timeline" }
                div.panel { div class="scroll pad" tabindex="0" role="region" aria-label="Timeline of the steps" {
                    (PreEscaped(timeline::job_inline(job)))
                } }
            }
            section aria-labelledby="steps" {
                h2 id="steps" { "Steps" }
                @for step in &job.steps { (step_part(run, job, step, links, logs)) }
            }
        }
        (footer(run, links))
    };
    document(&title, &body).into_string()
}

fn header(run: &Run, job: &Job, links: &Links) -> Markup {
    html! {
        header.top { div.wrap {
            span.brand { "Checkvalve" }
            nav aria-label="Place" { ol.crumbs {
                li { a href=(links.repository(&run.repository.name)) { (run.repository.name) } }
                @if let Some(number) = run.pull {
                    li { a href=(links.pull(&run.repository.name, number)) { "#" (number) } }
                }
                li { a href=(links.run(run.id)) { "run" } }
                li { a href=(links.job(run.id, &job.connector)) aria-current="page" { (job.connector) } }
            } }
        } }
    }
}

fn lead(run: &Run, job: &Job, links: &Links) -> Markup {
    html! {
        div.lead {
            (big_state_badge(Look::of_job(job)))
            @if let Some(took) = look::job_took(job) { span { (duration(took)) } }
            span { "commit " a.mono href=(links.github_commit(&run.repository.name, &run.head_sha)) { (run.head_sha.short()) } }
            @if let Some(number) = run.pull {
                span { a href=(links.github_pull(&run.repository.name, number)) { "#" (number) } " " (run.title) }
            }
        }
        @if let Some(cancel) = &job.cancel {
            div class="notice is-cancelled" { p { "Stopped: " (cancel) } }
        }
    }
}

fn overview(run: &Run, job: &Job) -> Markup {
    let path = critical_path(job);
    html! {
        div.panel {
            div.scroll { table {
                caption.sr-only { "Steps, how they ended and how long they took" }
                thead { tr {
                    th scope="col" { "Step" } th scope="col" { "Result" } th scope="col" { "What happened" }
                    th.right scope="col" { "Waited" } th.right scope="col" { "Took" }
                } }
                tbody { @for step in &job.steps { (overview_row(job, step)) } }
            } }
        }
        dl.facts {
            dt { "Started" } dd { (time(job.started_at.unwrap_or(job.created_at))) }
            @if let Some(end) = job.concluded_at { dt { "Concluded" } dd { (time(end)) } }
            dt { "Branch" } dd { code { (run.head_ref) } " into " code { (run.base_ref) } }
            @if let Some(version) = job.plan.version() { dt { "Version" } dd { (version) } }
            dt { "Trigger" } dd { (run.trigger.as_str().replace('_', " ")) " by " (run.actor) }
            @if path.len() > 1 {
                dt { "Critical path" }
                dd {
                    @for (index, step) in path.iter().enumerate() {
                        @if index > 0 { " → " } code { (step) }
                    }
                    ", " (duration(path_took(job, &path)))
                }
            }
            dt { "Files" }
            dd { a href="report.json" { "report.json" } " · " a href="junit.xml" { "junit.xml" } " · "
                a href="graph.svg" { "graph.svg" } " · " a href="timeline.svg" { "timeline.svg" } " · "
                a href="log.txt" { "log.txt" } }
        }
    }
}

fn overview_row(job: &Job, step: &StepRecord) -> Markup {
    let look = Look::of_step(job, step);
    html! {
        tr {
            th scope="row" { a href={ "#" (anchor(step)) } { (step.id) } }
            td { (state_badge(look)) }
            td { (prose(&happened(step))) }
            td.right.num { @if let Some(at) = look::started_at(step) { (duration(at.since(step.queued_at))) } }
            td.right.num { @if let Some(took) = look::took(step) { (duration(took)) } }
        }
    }
}

/// Encoded, since a step's id may hold anything.
fn anchor(step: &StepRecord) -> String {
    format!("step-{}", crate::domain::objects::segment(step.id.as_str()))
}

/// In a few words: tests, exit code, reason, attempt.
fn happened(step: &StepRecord) -> String {
    let mut parts = Vec::new();
    if let Some(tests) = &step.facts.tests {
        let ran = tests.passed.saturating_add(tests.failed);
        parts.push(if tests.failed > 0 {
            format!("{} of {ran} tests failed", tests.failed)
        } else {
            format!("{ran} tests passed")
        });
    }
    parts.extend(
        step.facts.exit_code.filter(|code| *code != 0).map(|code| format!("exit code {code}")),
    );
    parts.extend(step.facts.annotations.as_ref().map(Annotations::told));
    parts.extend(step.facts.coverage.map(findings::coverage));
    parts.extend(look::reason(step));
    if step.attempt > 1 {
        parts.push(format!("attempt {}", step.attempt));
    }
    parts.join(" · ")
}

fn step_part(
    run: &Run,
    job: &Job,
    step: &StepRecord,
    links: &Links,
    logs: &[(StepId, Vec<u8>)],
) -> Markup {
    let look = Look::of_step(job, step);
    let log = logs.iter().find(|(id, _)| *id == step.id).map(|(_, bytes)| bytes.as_slice());
    html! {
        details.step.(look.class()) id=(anchor(step)) open[look.is_bad()] {
            summary {
                (state_sign(look))
                span.title { (step.id) }
                span.grow { (prose(&happened(step))) }
                @if let Some(took) = look::took(step) { (duration(took)) }
            }
            div.pad {
                (step_facts(run, job, step, links))
                @if let Some(found) = &step.facts.tests { h3 { "Tests" } (tests(found)) }
                @if let Some(found) = &step.facts.annotations { h3 { "Findings" } (findings::section(found)) }
                (artifacts(job, step, links, run))
                @if let Some(log) = log.or(excerpt(step)) { h3 { "Log" } (log_part(log)) }
            }
        }
    }
}

fn excerpt(step: &StepRecord) -> Option<&[u8]> {
    (!step.facts.excerpt.is_empty()).then_some(step.facts.excerpt.as_bytes())
}

fn step_facts(run: &Run, job: &Job, step: &StepRecord, links: &Links) -> Markup {
    let spec = job.plan.step(&step.id);
    html! {
        dl.facts {
            @if let Some(spec) = spec {
                @if !spec.image.is_empty() {
                    dt { "Image" }
                    dd { code { (spec.image) } @if let Some(digest) = &step.facts.image_digest { " " span class="muted mono" { (digest) } } }
                }
                @if let Some(uses) = spec.uses {
                    dt { "Built in" } dd { code { (uses.builtin.as_str()) } }
                } @else { dt { "Command" } dd { @for line in &spec.run { div { code { (line) } } } } }
                dt { "Limit" } dd { (human(spec.timeout())) }
            }
            @if let Some(cache) = &step.facts.cache {
                dt { "Cache" } dd { (cache.state.as_str()) ": " (cache.because) }
            }
            @if !step.facts.segments.is_empty() {
                dt { "Parts" }
                dd { @for (index, segment) in step.facts.segments.iter().enumerate() {
                    @if index > 0 { " · " } (segment.name) " " (duration(segment.finished_at.since(segment.started_at)))
                } }
            }
            dt { "Page" }
            dd { a href=(links.step(run.id, &job.connector, &step.id)) { "live page of this step" }
                @if let Some(log) = &step.facts.log {
                    " · " a href=(links.log(run.id, &job.connector, &step.id)) { "whole log" }
                    span.muted { " (" (log.lines) " lines, " (log.bytes) " bytes" @if log.cut > 0 { ", " (log.cut) " bytes cut off" } ")" }
                }
            }
        }
    }
}

fn artifacts(job: &Job, step: &StepRecord, links: &Links, run: &Run) -> Markup {
    html! {
        @if !step.facts.artifacts.is_empty() {
            h3 { "Artifacts" }
            ul.plain { @for artifact in &step.facts.artifacts { li {
                a href=(artifact_url(job, step, artifact, links, run)) { (artifact.path) }
                span.muted { " " (artifact.bytes) " bytes" }
            } } }
        }
    }
}

fn artifact_url(
    job: &Job,
    step: &StepRecord,
    artifact: &Artifact,
    links: &Links,
    run: &Run,
) -> String {
    let path: Vec<String> = artifact.path.split('/').map(crate::domain::objects::segment).collect();
    format!("{}/artifacts/{}", links.step(run.id, &job.connector, &step.id), path.join("/"))
}

/// The telling part of a log as numbered lines in colour.
fn log_part(bytes: &[u8]) -> Markup {
    let log = String::from_utf8_lossy(bytes);
    let mut ansi = Ansi::default();
    html! {
        pre.log tabindex="0" aria-label="Log" {
            @for piece in pieces(&log, LOG_MAX) {
                @match piece {
                    Piece::Line { number, text } => {
                        span.line { span.no aria-hidden="true" { (number) } (PreEscaped(ansi.line(&text))) "\n" }
                    }
                    Piece::Gap { lines } => { span.gap { "… " (lines) " lines left out …\n" } }
                }
            }
        }
    }
}

fn footer(run: &Run, links: &Links) -> Markup {
    html! {
        footer { div.wrap { "Checkvalve · " a href=(links.run(run.id)) { (run.id) } " · times in UTC" } }
    }
}
