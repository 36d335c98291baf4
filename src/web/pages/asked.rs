//! Who asked for what: commands, buttons and calls, with what was decided.

use maud::{Markup, html};

use super::parts::ago;
use crate::domain::audit::{AuditRecord, Decision};
use crate::domain::ids::RunId;
use crate::domain::time::Timestamp;
use crate::render::html::prose;
use crate::web::Web;

/// A table of them; nothing at all where nobody asked. `here` is the run on whose page it stands.
pub(super) fn section(
    web: &Web,
    title: &str,
    records: &[AuditRecord],
    (here, now): (Option<RunId>, Timestamp),
) -> Markup {
    if records.is_empty() {
        return html! {};
    }
    html! {
        h2 { (title) }
        div.panel { div.scroll tabindex="0" role="region" aria-label=(title) {
            table {
                thead { tr {
                    th scope="col" { "When" }
                    th scope="col" { "Who" }
                    th scope="col" { "Asked for" }
                    th scope="col" { "Decided" }
                } }
                tbody { @for record in records { (row(web, record, here, now)) } }
            }
        } }
    }
}

fn row(web: &Web, record: &AuditRecord, here: Option<RunId>, now: Timestamp) -> Markup {
    let others = record.runs.iter().filter(|run| Some(**run) != here);
    html! {
        tr {
            td.muted { (ago(now, record.at)) }
            td { strong { (record.actor) } div.muted.small { (record.route.words()) } }
            td {
                code { (record.asked) }
                @if let Some(head) = &record.head { div.muted.small.mono { (head.short()) } }
            }
            td {
                (decided(record.ruling.decision))
                @for line in record.ruling.because.lines() { div.small { (prose(line)) } }
                @for run in others {
                    div.small { a.mono href=(web.links.run(*run)) { (run) } }
                }
            }
        }
    }
}

fn decided(decision: Decision) -> &'static str {
    match decision {
        Decision::Accepted => "done",
        Decision::Partly => "done in part",
        Decision::Refused => "not done",
    }
}
