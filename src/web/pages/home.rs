//! `/`: the repositories, the newest runs, the queue.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::layout::Page;
use super::parts::{Place, RunLine, ago, run_lines, runs_table};
use crate::ambient;
use crate::domain::time::{Timestamp, human};
use crate::store::{Queue, RepositoryRow, RunQuery};
use crate::web::Web;
use crate::web::access::Visitor;
use crate::web::error::Answer;

const RUNS: u32 = 30;

pub(crate) async fn show(visitor: Visitor, State(web): State<Arc<Web>>) -> Answer {
    let now = ambient::now();
    let queue = web.store.queue().await?;
    let mut repositories = web.store.repositories().await?;
    repositories.retain(|row| visitor.may_see(&row.repository));
    let query = RunQuery { limit: RUNS, public: !visitor.trusted, ..RunQuery::default() };
    let runs = web.store.run_headers(&query).await?;
    let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
    let jobs = web.store.job_lines(&ids).await?;
    let body = html! {
        h1 { "Repositories" }
        (queue_line(&queue))
        (repositories_table(&web, &repositories, now))
        h2 { "Recent runs" }
        (recent(&web, &run_lines(&runs, &jobs), now))
    };
    let page = Page { title: "Repositories", ..Page::default() };
    Ok(page.render(&web, &body).into_response())
}

fn queue_line(queue: &Queue) -> Markup {
    let oldest = std::time::Duration::from_secs(queue.oldest_seconds);
    html! {
        p.lead {
            @if queue.idle { span { "Nothing waits or runs." } }
            @else {
                span { strong { (queue.running) } " running" }
                span { strong { (queue.queued) } " waiting" }
                @if queue.queued > 0 { span { "the oldest for " (human(oldest)) } }
                @if queue.deliveries_pending > 0 {
                    span { strong { (queue.deliveries_pending) } " deliveries to handle" }
                }
                @if queue.checks_pending > 0 {
                    span { strong { (queue.checks_pending) } " commits to publish" }
                }
            }
        }
    }
}

fn repositories_table(web: &Web, rows: &[RepositoryRow], now: Timestamp) -> Markup {
    html! {
        @if rows.is_empty() {
            div.panel { div.pad {
                p { strong { "No repository has been seen yet." } }
                p.muted {
                    "Install the App on one that CHECKVALVE_REPOSITORIES names, then open a pull \
                     request: it appears here."
                }
            } }
        } @else {
            div.panel { div.scroll {
                table {
                    thead { tr {
                        th scope="col" { "Repository" }
                        th.right scope="col" { "Last run" }
                    } }
                    tbody { @for row in rows {
                        tr {
                            th scope="row" {
                                a href=(web.links.repository(&row.repository.name)) {
                                    (row.repository.name)
                                }
                                @if row.repository.private { " " span.tag { "private" } }
                            }
                            td.right.muted {
                                @if let Some(at) = row.last_run { (ago(now, at)) } @else { "never" }
                            }
                        }
                    } }
                }
            } }
        }
    }
}

fn recent(web: &Web, runs: &[RunLine<'_>], now: Timestamp) -> Markup {
    html! {
        @if runs.is_empty() { p.muted { "No run yet." } }
        @else { (runs_table(web, runs, now, Place::Home)) }
    }
}
