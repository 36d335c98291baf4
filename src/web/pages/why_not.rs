//! "Why not …?": a field on the run's page that needs no script, and its answer. Everything that it
//! knows was kept with the run when it was planned.

use maud::{Markup, html};

use crate::domain::impact::{Explanation, Look};
use crate::domain::run::{Run, Selection};
use crate::domain::unselected::Unselected;
use crate::render::html::{prose, reasons};

/// A list of more names than this helps nobody to choose, and makes every page heavy.
const OFFERED: usize = 1_000;
const REASONS: usize = 20;

/// Nothing for runs that were not planned.
pub(super) fn section(run: &Run, asked: Option<&str>) -> Markup {
    let Some(selection) = &run.selection else { return html! {} };
    let asked = asked.map(str::trim).filter(|name| !name.is_empty());
    html! {
        section #why-not aria-labelledby="why-not-title" {
            h2 #why-not-title { "Why not …?" }
            (lead(run, selection))
            form.ask method="get" action="#why-not" {
                label for="explain" { "Connector" }
                input #explain name="explain" type="text" required maxlength="200" value=[asked]
                    autocomplete="off" autocapitalize="off" spellcheck="false" list="connectors";
                button type="submit" { "Explain" }
                (names(run, selection))
            }
            @if let Some(name) = asked { div role="status" { (answer(run, selection, name)) } }
        }
    }
}

fn lead(run: &Run, selection: &Selection) -> Markup {
    let count = selection.not_selected();
    html! {
        p.muted {
            @if selection.unselected.is_some() {
                (count) @if count == 1 { " connector is" } @else { " connectors are" }
                " not selected. "
            }
            "Which rules looked at one, and what did they find?"
            @if run.jobs.is_empty() && count == 0 { " None is known at this commit." }
        }
    }
}

fn names(run: &Run, selection: &Selection) -> Markup {
    let known = selection.unselected.iter().flat_map(Unselected::names);
    let mut names: Vec<&str> =
        known.chain(run.jobs.iter().map(|job| job.connector.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    html! {
        datalist #connectors {
            @if names.len() <= OFFERED { @for name in &names { option value=(name) {} } }
        }
    }
}

fn answer(run: &Run, selection: &Selection, name: &str) -> Markup {
    match run.explain(name) {
        Some(found) => explanation(&found),
        None if selection.unselected.is_none() => html! {
            div.notice { p {
                "This run was planned before answers were kept, and has no job for "
                code { (name) } "."
            } }
        },
        None => html! {
            div.notice { p {
                "No connector is called " code { (name) } " at this commit or its base."
                @if let Some(closest) = run.closest(name) {
                    " Did you mean " a href={ "?explain=" (crate::domain::objects::segment(closest)) "#why-not" } { (closest) } "?"
                }
            } }
        },
    }
}

fn explanation(found: &Explanation) -> Markup {
    html! {
        div.panel {
            h3 {
                (found.name)
                @if found.selected { " is selected" } @else { " is not selected" }
            }
            div.pad {
                @if !found.reasons.is_empty() { (reasons(&found.name, &found.reasons, REASONS)) }
                @if !found.looked.is_empty() { (looked(&found.looked)) }
                @if found.reasons.is_empty() && found.looked.is_empty() {
                    p { "It was asked for by name; which rules looked at it was not kept." }
                }
            }
        }
    }
}

fn looked(looked: &[Look]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Rules that looked at it" {
            table {
                caption.sr-only { "The rules that looked at it, in the order in which they apply" }
                thead { tr { th scope="col" { "Rule" } th scope="col" { "What it found" } } }
                tbody { @for look in looked {
                    tr { th scope="row" { code { (look.rule) } } td { (prose(&look.because)) } }
                } }
            }
        }
    }
}
