//! `/r/{owner}/{repo}`: its pull requests with their verdicts, how its connectors do, its newest runs.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};

use super::layout::Page;
use super::parts::{Place, ago, commit, run_lines, runs_table};
use crate::ambient;
use crate::domain::health::{Health, health};
use crate::domain::names::RepoName;
use crate::domain::run::{Repository, Run};
use crate::domain::state::RunState;
use crate::domain::time::Timestamp;
use crate::domain::verdict::head_verdict;
use crate::render::html::state_badge;
use crate::render::look::Look;
use crate::store::{PullSeen, RunQuery};
use crate::web::Web;
use crate::web::access::Visitor;
use crate::web::error::{Answer, WebError};
use crate::web::names::Named;

const RUNS: u32 = 30;
const PULLS: u32 = 30;
/// What health is judged by: so many of the default branch's runs, and of their jobs.
const PAST: (u32, u32) = (200, 5_000);
/// Connectors that are shown; more of them if they fail.
const CONNECTORS: usize = 30;
const FAILING: usize = 200;

/// The repository, if the visitor may see it.
pub(crate) async fn visible(
    web: &Web,
    visitor: Visitor,
    (owner, repo): (String, String),
) -> Result<Repository, WebError> {
    let missing = || WebError::not_found(format!("There is no repository `{owner}/{repo}`."));
    let name: RepoName = format!("{owner}/{repo}").parse().map_err(|_| missing())?;
    let found = web.store.repository(&name).await?;
    found.filter(|repository| visitor.may_see(repository)).ok_or_else(missing)
}

pub(crate) async fn show(
    visitor: Visitor,
    State(web): State<Arc<Web>>,
    Named(name): Named<(String, String)>,
) -> Answer {
    let repository = visible(&web, visitor, name).await?;
    let query =
        RunQuery { repository: Some(repository.name.clone()), limit: RUNS, ..RunQuery::default() };
    let runs = web.store.run_headers(&query).await?;
    let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
    let jobs = web.store.job_lines(&ids).await?;
    let mut pulls = Vec::new();
    for pull in web.store.pulls(repository.id, PULLS).await? {
        let look = head_look(&of_head(&web, &repository, &pull).await?);
        pulls.push((pull, look));
    }
    let branch = web.store.default_branch(repository.id).await?;
    let health = health(web.store.past_of_branch(repository.id, PAST).await?);
    let now = ambient::now();
    let body = html! {
        h1 { (repository.name) }
        p.lead {
            a href={ (web.links.github) "/" (repository.name) } { "on GitHub" }
            @if repository.private { span.tag { "private" } }
        }
        h2 { "Pull requests" }
        (pulls_table(&web, &repository, &pulls))
        h2 { "Connectors" }
        (health_table(&web, branch.as_deref(), &health, now))
        h2 { "Recent runs" }
        @if runs.is_empty() { p.muted { "No run yet." } }
        @else { (runs_table(&web, &run_lines(&runs, &jobs), now, Place::Repository)) }
    };
    let page = Page {
        title: repository.name.as_str(),
        crumbs: vec![(repository.name.to_string(), None)],
        ..Page::default()
    };
    Ok(page.render(&web, &body).into_response())
}

/// The runs of a pull request's head, oldest first.
async fn of_head(
    web: &Web,
    repository: &Repository,
    pull: &PullSeen,
) -> Result<Vec<Run>, WebError> {
    let mut runs = web.store.runs_of_head(repository.id, &pull.facts.head_sha).await?;
    runs.retain(|run| run.pull == Some(pull.facts.number));
    Ok(runs)
}

/// How a head commit stands over all of its runs; `None` if it has none.
pub(super) fn head_look(runs: &[Run]) -> Option<Look> {
    if runs.is_empty() {
        return None;
    }
    let running = runs.iter().any(|run| run.state == RunState::Running);
    let state = if running { RunState::Running } else { RunState::Queued };
    Some(match head_verdict(runs).conclusion {
        Some(conclusion) => Look::of_conclusion(RunState::Concluded, Some(conclusion)),
        None => Look::of_conclusion(state, None),
    })
}

fn pulls_table(web: &Web, repository: &Repository, pulls: &[(PullSeen, Option<Look>)]) -> Markup {
    html! {
        @if pulls.is_empty() { p.muted { "No pull request has been seen yet." } }
        @else {
            div.panel { div.scroll tabindex="0" role="region" aria-label="Pull requests" {
                table {
                    thead { tr {
                        th scope="col" { "Verdict" }
                        th scope="col" { "Pull request" }
                        th scope="col" { "Author" }
                        th scope="col" { "Head" }
                    } }
                    tbody { @for (PullSeen { facts, .. }, look) in pulls {
                        tr {
                            td {
                                @if let Some(look) = look { (state_badge(*look)) }
                                @else { span.muted { "no run" } }
                            }
                            th scope="row" {
                                a href=(web.links.pull(&repository.name, facts.number)) {
                                    "#" (facts.number) " " (facts.title)
                                }
                                @if !facts.open { " " span.tag { "closed" } }
                                @else if facts.draft { " " span.tag { "draft" } }
                            }
                            td { (facts.author.login) }
                            td { (commit(web, repository, &facts.head_sha)) }
                        }
                    } }
                }
            } }
        }
    }
}

/// The last verdict of each connector on the default branch: those that fail first.
fn health_table(web: &Web, branch: Option<&str>, all: &[Health], now: Timestamp) -> Markup {
    let branch =
        html! { @if let Some(name) = branch { code { (name) } } @else { "the default branch" } };
    let failing = all.iter().filter(|health| !health.passes).count();
    let shown = &all[..failing.clamp(CONNECTORS, FAILING).min(all.len())];
    html! {
        @if all.is_empty() {
            p.muted {
                "No push to " (branch) " and no schedule has run a connector yet."
            }
        } @else {
            p.muted {
                (all.len() - failing) " of " (all.len()) " pass on " (branch)
                ", by the last push or schedule that ran each."
            }
            div.panel { div.scroll tabindex="0" role="region" aria-label="Connectors" {
                table {
                    thead { tr {
                        th scope="col" { "Last verdict" }
                        th scope="col" { "Connector" }
                        th.right scope="col" { "In a row" }
                        th.right scope="col" { "Since" }
                    } }
                    tbody { @for health in shown {
                        tr {
                            td { (state_badge(if health.passes { Look::Passed } else { Look::Failed })) }
                            th scope="row" {
                                a href=(web.links.job(health.run, &health.connector)) {
                                    (health.connector)
                                }
                            }
                            td.right.num { (health.streak) @if !health.turned { " or more" } }
                            td.right.muted {
                                @if !health.turned { "before " } (ago(now, health.since))
                            }
                        }
                    } }
                }
            } }
            @if shown.len() < all.len() {
                p.muted { "And " (all.len() - shown.len()) " more." }
            }
        }
    }
}
