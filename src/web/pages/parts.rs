//! Parts that several pages share.

use std::collections::BTreeMap;

use maud::{Markup, PreEscaped, html};

use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, Sha};
use crate::domain::run::{Job, Repository, Run};
use crate::domain::time::{Timestamp, human};
use crate::domain::trigger::{Scope, Target, Trigger};
use crate::render::html::{duration, prose, state_badge, time};
use crate::render::look::{self, Look};
use crate::render::{graph, timeline, why};
use crate::store::JobLine;
use crate::web::Web;

pub(super) type Crumbs = Vec<(String, Option<String>)>;

/// Repository, and pull request if there is one; the caller adds what lies below.
pub(super) fn crumbs(web: &Web, run: &Run) -> Crumbs {
    let name = &run.repository.name;
    let mut crumbs = vec![(name.to_string(), Some(web.links.repository(name)))];
    crumbs.extend(run.pull.map(|n| (format!("#{n}"), Some(web.links.pull(name, n)))));
    crumbs
}

/// The tail of a run's id, by which people tell runs of one commit apart.
pub(super) fn short_id(run: &Run) -> String {
    let id = run.id.to_string();
    id.get(id.len().saturating_sub(6)..).unwrap_or(&id).to_owned()
}

/// A commit, leading to GitHub.
pub(super) fn commit(web: &Web, repository: &Repository, sha: &Sha) -> Markup {
    html! {
        a.mono href=(web.links.github_commit(&repository.name, sha)) title=(sha) { (sha.short()) }
    }
}

/// Who or what caused a run, in words.
pub(super) fn cause(run: &Run) -> Markup {
    let words = match run.trigger {
        Trigger::PullRequest => "pull request changed by",
        Trigger::Comment => "comment of",
        Trigger::Button => "button pressed by",
        Trigger::MergeGroup => "merge group of",
        Trigger::Push => "push by",
        Trigger::Schedule => "schedule of",
        Trigger::Manual => "asked for by",
    };
    html! { (words) " " strong { (run.actor) } }
}

/// What the run was asked to do.
pub(super) fn scope(run: &Run) -> Markup {
    html! {
        (connectors_of(run.scope.connectors()))
        @if let Some(step) = run.scope.first() { ", from " code { (step) } " on" }
    }
}

fn connectors_of(scope: &Scope) -> Markup {
    html! {
        @match scope {
            Scope::Affected | Scope::From { .. } => "every connector that the change can affect",
            Scope::All => "every connector of the repository",
            Scope::Matching { select } => { "what the schedule selects: " (select) },
            Scope::Only { targets: listed } => (targets(listed)),
            Scope::Again { targets: listed } => { (targets(listed)) "as planned before" },
            Scope::And { of, targets: listed } => { (connectors_of(of)) ", and " (targets(listed)) },
        }
    }
}

fn targets(targets: &[Target]) -> Markup {
    const SHOWN: usize = 12;
    html! {
        @for target in targets.iter().take(SHOWN) {
            code { (target.connector) @if let Some(step) = &target.step { " / " (step) } } " "
        }
        @if targets.len() > SHOWN { span.muted { "and " (targets.len() - SHOWN) " more " } }
    }
}

/// `3 min ago`, with the exact time beside it for machines.
pub(super) fn ago(now: Timestamp, at: Timestamp) -> Markup {
    let passed = now.since(at);
    let words = match passed.as_secs() {
        0..60 => "just now".to_owned(),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    };
    html! { time.nowrap datetime=(at) title=(at) { (words) } }
}

/// Time taken, or `since …` for what still runs.
pub(super) fn run_time(run: &Run, now: Timestamp) -> Markup {
    html! {
        @if let Some(took) = look::run_took(run) { (duration(took)) }
        @else { span.muted.num { (human(now.since(run.created_at))) " so far" } }
    }
}

/// Where runs are listed: what all of them have in common there is not said of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Home,
    Repository,
    Pull,
}

/// A run as a table shows it: with how each connector does, and none of its steps.
pub(super) struct RunLine<'r> {
    run: &'r Run,
    connectors: Vec<(&'r ConnectorName, Look)>,
}

impl<'r> RunLine<'r> {
    pub(super) fn of(run: &'r Run) -> Self {
        let connectors = run.jobs.iter().map(|job| (&job.connector, Look::of_job(job)));
        Self { run, connectors: connectors.collect() }
    }
}

/// The lines of runs that were read without their jobs.
pub(super) fn run_lines<'r>(
    runs: &'r [Run],
    jobs: &'r BTreeMap<RunId, Vec<JobLine>>,
) -> Vec<RunLine<'r>> {
    let look = |job: &JobLine| Look::of_ended(job.state, job.conclusion, job.errored);
    let line = |run: &'r Run| {
        let jobs = jobs.get(&run.id).map(Vec::as_slice).unwrap_or_default();
        RunLine { run, connectors: jobs.iter().map(|job| (&job.connector, look(job))).collect() }
    };
    runs.iter().map(line).collect()
}

/// Runs, newest first.
pub(super) fn runs_table(web: &Web, runs: &[RunLine<'_>], now: Timestamp, place: Place) -> Markup {
    html! {
        div.panel { div.scroll tabindex="0" role="region" aria-label="Runs" {
            table {
                thead { tr {
                    th scope="col" { "State" }
                    th scope="col" { @if place == Place::Pull { "Run" } @else { "Subject" } }
                    th scope="col" { "Connectors" }
                    th scope="col" { "Commit" }
                    th scope="col" { "Caused by" }
                    th.right scope="col" { "Time" }
                    th.right scope="col" { "Made" }
                } }
                tbody { @for run in runs { (runs_row(web, run, now, place)) } }
            }
        } }
    }
}

fn runs_row(web: &Web, line: &RunLine<'_>, now: Timestamp, place: Place) -> Markup {
    let run = line.run;
    html! {
        tr {
            td { (state_badge(Look::of_run(run))) }
            th scope="row" {
                @match place {
                    Place::Home => {
                        a href=(web.links.run(run.id)) { (subject(run)) }
                        div.muted.small { (run.repository.name) }
                    }
                    Place::Repository => a href=(web.links.run(run.id)) { (subject(run)) },
                    Place::Pull => a.mono href=(web.links.run(run.id)) { (short_id(run)) },
                }
            }
            td { (connectors_in_words(line)) }
            td { (commit(web, &run.repository, &run.head_sha)) }
            td.muted { (cause(run)) }
            td.right { (run_time(run, now)) }
            td.right.muted { (ago(now, run.created_at)) }
        }
    }
}

/// `#12 Title`, or the branch.
pub(super) fn subject(run: &Run) -> String {
    match run.pull {
        Some(number) => format!("#{number} {}", run.title),
        None => run.title.clone(),
    }
}

/// `2 of 3 passed · source-a failed`, short.
fn connectors_in_words(line: &RunLine<'_>) -> Markup {
    const NAMED: usize = 2;
    let RunLine { run, connectors } = line;
    let passed = connectors.iter().filter(|(_, look)| *look == Look::Passed).count();
    let bad: Vec<_> = connectors.iter().filter(|(_, look)| look.is_bad()).collect();
    html! {
        @if let Some(problem) = &run.problem { (prose(&problem.title)) }
        @else if run.selection.is_none() { span.muted { "being planned" } }
        @else if connectors.is_empty() { span.muted { "none affected" } }
        @else {
            (passed) " of " (connectors.len()) " passed"
            @if !bad.is_empty() {
                span.muted {
                    " · "
                    @for (index, (connector, _)) in bad.iter().take(NAMED).enumerate() {
                        @if index > 0 { ", " } (connector)
                    }
                    @if bad.len() > NAMED { " and " (bad.len() - NAMED) " more" }
                    " failed"
                }
            }
        }
    }
}

/// What to write on the pull request to have something done, as long as there is no login.
pub(super) fn what_to_write(web: &Web, run: &Run) -> Markup {
    let Some(number) = run.pull else { return html! {} };
    let done = run.concluded_at.is_some();
    let href = web.links.github_pull(&run.repository.name, number);
    html! {
        p.muted {
            @if done {
                "To run again what did not succeed, by the same plan, comment " code { "/retest" }
            } @else { "To stop it, comment " code { "/cancel" } }
            " on " a href=(href) { "pull request #" (number) } "."
            @if done {
                " " code { "/test" } " plans anew, with the configuration as it is now, and runs everything."
            }
        }
    }
}

/// A time of day with its label, for `dl.facts`.
pub(super) fn fact_time(label: &str, at: Option<Timestamp>) -> Markup {
    html! { @if let Some(at) = at { dt { (label) } dd { (time(at)) } } }
}

/// The first reason for a job, for one line.
pub(super) fn first_reason(job: &Job) -> Markup {
    html! {
        @if let Some(reason) = job.reasons.first() {
            (why::plain_text(&why::words(reason, job.connector.as_str())))
            @if job.reasons.len() > 1 { " (and " (job.reasons.len() - 1) " more)" }
        }
    }
}

/// The job's steps as a graph.
pub(super) fn job_graph(job: &Job) -> Markup {
    html! { div.scroll { (PreEscaped(graph::job_inline(job))) } }
}

/// The job's steps over time.
pub(super) fn job_timeline(job: &Job) -> Markup {
    html! { div.scroll { (PreEscaped(timeline::job_inline(job))) } }
}
