//! Small parts of HTML that pages and reports share. Everything is escaped by the template;
//! nothing here carries script.

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::domain::impact::Reason;
use crate::domain::links::Links;
use crate::domain::plan::Plan;
use crate::domain::run::{Problem, ProblemKind, Run, Selection, TestFailure, Tests};
use crate::domain::time::{Timestamp, human};
use crate::domain::verdict::Standing;

use super::grid::{Cell, Grid, Row};
use super::look::Look;
use super::style::CSS;
use super::why::{self, Word};

/// A whole document that needs nothing else: style inside, no script, and a policy that forbids
/// any, so that it may be served from anywhere.
pub fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy"
                    content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(CSS)) }
            }
            body { (body) }
        }
    }
}

/// Symbol and word in the state's colour.
pub fn state_badge(look: Look) -> Markup {
    html! {
        span class={ "badge " (look.class()) } {
            span.sign aria-hidden="true" { (look.symbol()) }
            (look.word())
        }
    }
}

/// The same, larger: the head of a page.
pub fn big_state_badge(look: Look) -> Markup {
    html! {
        span class={ "badge big " (look.class()) } {
            span.sign aria-hidden="true" { (look.symbol()) }
            (look.word())
        }
    }
}

/// The symbol alone, with the word for screen readers.
pub fn state_sign(look: Look) -> Markup {
    html! {
        span class={ "sign " (look.class()) } aria-hidden="true" { (look.symbol()) }
        span.sr-only { (look.word()) }
    }
}

/// `2 min 28 s`, with the exact seconds as the element's time.
pub fn duration(duration: Duration) -> Markup {
    html! {
        time.num datetime={ "PT" (format!("{:.3}", duration.as_secs_f64())) "S" } {
            (human(duration))
        }
    }
}

/// A point in time in UTC to the second; the exact one in the element.
pub fn time(at: Timestamp) -> Markup {
    let exact = at.to_string();
    let (day, clock) = exact.split_once('T').unwrap_or((&exact, ""));
    html! {
        time.num datetime=(exact) title=(exact) { (day) " " (clock.get(..8).unwrap_or(clock)) " UTC" }
    }
}

/// A sentence of ours: what stands between backticks is code.
pub fn prose(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

/// Why a connector was selected, shortest chain first. At most `limit` lines.
pub fn reasons(connector: &str, reasons: &[Reason], limit: usize) -> Markup {
    html! {
        ul.reasons {
            @for reason in reasons.iter().take(limit) { li { (said(&why::words(reason, connector))) } }
            @if reasons.len() > limit { li.muted { "and " (reasons.len() - limit) " more" } }
        }
    }
}

/// A sentence of [`why`].
pub fn said(words: &[Word<'_>]) -> Markup {
    html! {
        @for word in words {
            @match word { Word::Code(code) => code { (code) }, Word::Text(text) => (text) }
        }
    }
}

/// Version, language, stage and support level, as far as they are known, and where its
/// documentation is.
pub fn about(plan: &Plan) -> Markup {
    let about = plan.about();
    let facts = [plan.version(), about.language(), about.release_stage(), about.support_level()];
    let facts: Vec<&str> = facts.into_iter().flatten().collect();
    let page = about.documentation();
    html! {
        @if !facts.is_empty() || page.is_some() {
            span.about {
                (facts.join(" · "))
                @if let Some(page) = page {
                    @if !facts.is_empty() { " · " }
                    a href=(page) rel="noopener noreferrer nofollow" {
                        "docs" span.sr-only { " of " (plan.connector()) }
                    }
                }
            }
        }
    }
}

/// Connectors × steps of one run.
pub fn steps_grid(run: &Run, links: &Links) -> Markup {
    grid_table(&Grid::of_run(run), links)
}

/// Connectors × steps as they stand on a head commit, over all of its runs.
pub fn standings_grid(standings: &[Standing<'_>], links: &Links) -> Markup {
    grid_table(&Grid::of_standings(standings), links)
}

fn grid_table(grid: &Grid<'_>, links: &Links) -> Markup {
    html! {
        div.panel { div.scroll tabindex="0" role="region" aria-label="Connectors and their steps" {
            table.grid-table {
                thead { tr {
                    th scope="col" { "Connector" }
                    @for column in &grid.columns { th scope="col" { (column) } }
                    th.right scope="col" { "Time" }
                } }
                tbody { @for row in &grid.rows { (grid_row(row, grid, links)) } }
            }
        } }
    }
}

fn grid_row(row: &Row<'_>, grid: &Grid<'_>, links: &Links) -> Markup {
    html! {
        tr {
            th scope="row" {
                (state_sign(row.look())) " "
                a href=(links.job(row.run.id, &row.job.connector)) { (row.job.connector) }
                " " (about(&row.job.plan))
            }
            @for column in &grid.columns {
                td.cell {
                    @if let Some(cell) = row.cell(column) { (grid_cell(cell, links)) }
                    @else { span.none title="This connector has no such step" { "·" } }
                }
            }
            td.right.num { @if let Some(took) = row.took() { (duration(took)) } }
        }
    }
}

fn grid_cell(cell: &Cell<'_>, links: &Links) -> Markup {
    let href = links.step(cell.run.id, &cell.job.connector, &cell.step.id);
    html! {
        a class=(cell.look.class()) href=(href) title={ (cell.step.id) ": " (cell.look.word()) } {
            (state_sign(cell.look))
            @if let Some(took) = cell.took { (duration(took)) } @else { span.muted { (cell.look.word()) } }
        }
    }
}

/// Why a run ended without steps.
pub fn problem(problem: &Problem) -> Markup {
    let (kind, class) = match problem.kind {
        ProblemKind::Configuration => ("Configuration error", "is-failed"),
        ProblemKind::Infrastructure => ("Infrastructure error", "is-errored"),
        ProblemKind::NotTrusted => ("Not run", "is-action"),
    };
    // A title may begin with its kind, for places that show the title alone.
    let title = problem
        .title
        .strip_prefix(kind)
        .map_or(problem.title.as_str(), |rest| rest.trim_start_matches(':').trim_start());
    html! {
        div class={ "notice " (class) } role="alert" {
            p { strong { (kind) ": " } (prose(title)) }
            @if let Some((file, line)) = &problem.place { p { code { (file) ":" (line) } } }
            pre.wrapped { (problem.text) }
        }
    }
}

/// What planning found: change set, what was left aside and why, where the configuration is from.
pub fn selection(selection: &Selection) -> Markup {
    html! {
        @if !selection.complete {
            div class="notice is-action" {
                p { strong { "Every connector is selected: " }
                    (selection.because.as_deref().unwrap_or("the change set could not be known")) }
            }
        }
        dl.facts {
            dt { "Changed files" } dd { (selection.files) @if selection.ignored > 0 { ", " (selection.ignored) " ignored" } }
            dt { "Configuration" }
            dd {
                (prose(&selection.origin))
                @if selection.without_file() { ", without a repository file" }
            }
            (names("Removed, not run", &selection.removed))
            (names("Archived, not run", &selection.archived))
            (names("Without a pipeline", &selection.without_pipeline))
            (names(unclaimed(selection), &selection.unclaimed))
            @for note in &selection.notes { dt { "Note" } dd { (prose(note)) } }
        }
    }
}

fn unclaimed(selection: &Selection) -> &'static str {
    match selection.unclaimed_selects {
        Some(true) => "Of no connector, tests all",
        Some(false) => "Of no connector, tests none",
        None => "Of no connector",
    }
}

/// Some names, the rest of them behind a fold.
fn names(title: &str, names: &[String]) -> Markup {
    const SHOWN: usize = 20;
    let (shown, folded) = names.split_at(names.len().min(SHOWN));
    html! {
        @if !names.is_empty() {
            dt { (title) " (" (names.len()) ")" }
            dd {
                @for name in shown { code { (name) } " " }
                @if !folded.is_empty() {
                    details {
                        summary { "and " (folded.len()) " more" }
                        @for name in folded { code { (name) } " " }
                    }
                }
            }
        }
    }
}

/// Counts, then the tests that failed.
pub fn tests(tests: &Tests) -> Markup {
    html! {
        p {
            strong { (tests.failed) " failed" } ", " (tests.passed) " passed, " (tests.skipped) " skipped"
        }
        @for failure in &tests.failures { (test_failure(failure)) }
        @let listed = u32::try_from(tests.failures.len()).unwrap_or(u32::MAX);
        @if tests.failed > listed { p.muted { "and " (tests.failed - listed) " more that failed" } }
    }
}

fn test_failure(failure: &TestFailure) -> Markup {
    html! {
        div.failure {
            div.name { (failure.name) }
            @if let Some(file) = &failure.file {
                div.muted { code { (file) @if let Some(line) = failure.line { ":" (line) } } }
            }
            @if !failure.message.is_empty() { pre.wrapped { (failure.message) } }
        }
    }
}
