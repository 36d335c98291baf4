//! `index.html`: one run on one page, connectors × steps, with links to each report beside it.

use maud::{Markup, html};

use crate::domain::links::Links;
use crate::domain::objects::segment;
use crate::domain::run::{Job, Run};

use crate::render::html::{
    big_state_badge, document, duration, problem, reasons, selection, state_badge, steps_grid, time,
};
use crate::render::look::{self, Look};
use crate::render::report::plan_hash;

/// Reasons that are listed per connector.
const REASONS_MAX: usize = 5;

/// The index of a run's stored reports; links to them are relative, so that the folder can be
/// copied anywhere.
pub fn index_html(run: &Run, links: &Links) -> String {
    let subject = run.pull.map_or_else(|| run.head_ref.clone(), |number| format!("#{number}"));
    let title =
        format!("{subject} {} · {} · {}", run.title, Look::of_run(run).word(), run.repository.name);
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.top { div.wrap {
            span.brand { "Checkvalve" }
            nav aria-label="Place" { ol.crumbs {
                li { a href=(links.repository(&run.repository.name)) { (run.repository.name) } }
                @if let Some(number) = run.pull {
                    li { a href=(links.pull(&run.repository.name, number)) { "#" (number) } }
                }
                li { a href=(links.run(run.id)) aria-current="page" { "run" } }
            } }
        } }
        main id="main" {
            h1 { (run.title) }
            (lead(run, links))
            @if let Some(found) = &run.problem { (problem(found)) }
            @if !run.jobs.is_empty() { (steps_grid(run, links)) (reports(run)) }
            @else if run.problem.is_none() && run.selection.is_some() {
                p { "No connector is affected: nothing had to run." }
            }
            @if let Some(found) = &run.selection { h2 { "The change" } (selection(found)) }
        }
        footer { div.wrap { "Checkvalve · " a href=(links.run(run.id)) { (run.id) } } }
    };
    document(&title, &body).into_string()
}

fn lead(run: &Run, links: &Links) -> Markup {
    html! {
        div.lead {
            (big_state_badge(Look::of_run(run)))
            @if let Some(took) = look::run_took(run) { span { (duration(took)) } }
            span { "commit " a.mono href=(links.github_commit(&run.repository.name, &run.head_sha)) { (run.head_sha.short()) } }
            span { (run.trigger.as_str().replace('_', " ")) " by " (run.actor) }
            span { (time(run.created_at)) }
        }
        @if !run.jobs.is_empty() {
            p.muted { "Plan " span.mono { (plan_hash(run.jobs.iter().map(|job| &job.plan))) } " · "
                a href="replay.json" { "replay.json" } ": " code { "checkvalve replay" } " plans again from it" }
        }
        @if let Some(cancel) = &run.cancel {
            div class="notice is-cancelled" { p { "Stopped: " (cancel) } }
        }
    }
}

fn reports(run: &Run) -> Markup {
    html! {
        h2 { "Reports" }
        div.panel { div.scroll { table {
            thead { tr { th scope="col" { "Connector" } th scope="col" { "Result" } th scope="col" { "Why" } th scope="col" { "Files" } } }
            tbody { @for job in &run.jobs { (report_row(job)) } }
        } } }
    }
}

fn report_row(job: &Job) -> Markup {
    let folder = segment(job.connector.as_str());
    html! {
        tr {
            th scope="row" { a href={ (folder) "/report.html" } { (job.connector) } }
            td { (state_badge(Look::of_job(job))) }
            td { (reasons(job.connector.as_str(), &job.reasons, REASONS_MAX)) }
            td.nowrap {
                @for (index, file) in ["report.json", "junit.xml", "log.txt"].iter().enumerate() {
                    @if index > 0 { " · " }
                    a href={ (folder) "/" (file) } { (file) }
                }
            }
        }
    }
}
