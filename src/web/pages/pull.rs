//! `/r/{owner}/{repo}/pull/{n}`: for each commit, connectors × steps as they stand.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::asked;
use super::layout::{Live, Page};
use super::parts::{Place, RunLine, commit, runs_table, what_to_write};
use super::repository::{head_look, visible};
use crate::ambient;
use crate::domain::names::{RepoName, Sha};
use crate::domain::run::{Repository, Run};
use crate::domain::state::RunState;
use crate::domain::time::Timestamp;
use crate::domain::verdict::head_verdict;
use crate::render::html::{big_state_badge, problem, standings_grid, state_badge};
use crate::render::look::Look;
use crate::store::RunQuery;
use crate::web::Web;
use crate::web::access::Visitor;
use crate::web::error::{Answer, WebError};
use crate::web::names::Named;

const RUNS: u32 = 60;

/// One commit of the pull request.
#[derive(Debug)]
struct Head {
    sha: Sha,
    /// Oldest first.
    runs: Vec<Run>,
}

pub(crate) async fn show(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named((owner, repo, number)): Named<(String, String, u64)>,
) -> Answer {
    let repository = visible(&web, visitor, (owner, repo)).await?;
    let seen = web.store.pull(repository.id, number).await?;
    let heads = heads(&web, &repository.name, number).await?;
    let newest = heads.first().and_then(|head| head.runs.last());
    let title = match (&seen, newest) {
        (Some(seen), _) => seen.facts.title.clone(),
        (None, Some(run)) => run.title.clone(),
        (None, None) => {
            let message = format!("No pull request {number} of `{}` was seen.", repository.name);
            return Err(WebError::not_found(message));
        }
    };
    let look = heads.first().and_then(|head| head_look(&head.runs));
    let records = web.store.audit_of_pull(repository.id, number).await?;
    let now = ambient::now();
    let body = html! {
        h1 { (title) " " span.muted { "#" (number) } }
        p.lead {
            @if let Some(look) = look { (big_state_badge(look)) }
            a href=(web.links.github_pull(&repository.name, number)) { "on GitHub" }
            @if let Some(seen) = &seen {
                span { "by " strong { (seen.facts.author.login) } }
                span { code { (seen.facts.head_ref) } " → " code { (seen.facts.base_ref) } }
                @if !seen.facts.open { span.tag { "closed" } }
                @else if seen.facts.draft { span.tag { "draft" } }
            }
        }
        @if heads.is_empty() { p.muted { "No run yet." } }
        @for (index, head) in heads.iter().enumerate() {
            (commit_section(&web, &repository, head, index == 0, now))
        }
        (asked::section(&web, "Commands", &records, (None, now)))
    };
    let unsettled = |run: &&Run| run.state != RunState::Concluded;
    let live = heads.iter().flat_map(|head| &head.runs).rfind(unsettled).map(|run| Live {
        events: format!("/api/v1/runs/{}/events?after={}", run.id, run.revision),
        log: None,
    });
    let page = Page {
        title: &format!("#{number} {title}"),
        look,
        crumbs: vec![
            (repository.name.to_string(), Some(web.links.repository(&repository.name))),
            (format!("#{number}"), None),
        ],
        live,
    };
    Ok(page.render(&web, &body).into_response())
}

/// The commits with runs, newest first.
async fn heads(web: &Web, name: &RepoName, number: u64) -> Result<Vec<Head>, WebError> {
    let query = RunQuery {
        repository: Some(name.clone()),
        pull: Some(number),
        limit: RUNS,
        ..RunQuery::default()
    };
    let mut heads: Vec<Head> = Vec::new();
    for run in web.store.runs(&query).await? {
        match heads.iter_mut().find(|head| head.sha == run.head_sha) {
            Some(head) => head.runs.insert(0, run),
            None => heads.push(Head { sha: run.head_sha.clone(), runs: vec![run] }),
        }
    }
    Ok(heads)
}

fn commit_section(
    web: &Web,
    repository: &Repository,
    head: &Head,
    newest: bool,
    now: Timestamp,
) -> Markup {
    let look = head_look(&head.runs).unwrap_or(Look::Waiting);
    let body = commit_body(web, head, newest, now);
    html! {
        @if newest {
            h2 { "Newest commit " (commit(web, repository, &head.sha)) }
            (body)
        } @else {
            details class={ "step " (look.class()) } #(head.sha) {
                summary {
                    (state_badge(look))
                    span.title.mono { (head.sha.short()) }
                    span.grow { (head.runs.len()) @if head.runs.len() == 1 { " run" } @else { " runs" } }
                }
                div.pad { (body) }
            }
        }
    }
}

fn commit_body(web: &Web, head: &Head, newest: bool, now: Timestamp) -> Markup {
    let verdict = head_verdict(&head.runs);
    let latest = head.runs.last();
    let newest_first: Vec<_> = head.runs.iter().rev().map(RunLine::of).collect();
    html! {
        @if let Some(trouble) = latest.and_then(|run| run.problem.as_ref()) { (problem(trouble)) }
        @if !verdict.standings.is_empty() { (standings_grid(&verdict.standings, &web.links)) }
        @else if latest.is_some_and(|run| run.selection.is_some()) {
            div.panel { div.pad { "This change affects no connector." } }
        }
        (runs_table(web, &newest_first, now, Place::Pull))
        @if newest { @if let Some(run) = latest { (what_to_write(web, run)) } }
    }
}
