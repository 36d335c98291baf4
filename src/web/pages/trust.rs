//! On whose word a run's code runs; and while it waits for an approval, what is to be looked at.

use maud::{Markup, html};

use crate::domain::run::Run;
use crate::domain::terminal::visible;
use crate::domain::trust::{Approved, Decisive, Trust};
use crate::render::html::prose;
use crate::render::trust::because;
use crate::web::Web;

/// Among the facts of a run.
pub(super) fn fact(run: &Run, approved: Option<&Approved>) -> Markup {
    let word = match run.trust {
        Trust::Trusted => "trusted",
        Trust::Approved => "approved",
        Trust::Untrusted => "not trusted",
    };
    html! {
        dt { "Trust" }
        dd { strong { (word) } div.small { (prose(&because(run, approved))) } }
    }
}

/// The changed files that decide what is run.
pub(super) fn showing(web: &Web, run: &Run) -> Markup {
    let showing = run.selection.as_ref().and_then(|selection| selection.showing.as_ref());
    let Some(showing) = showing.filter(|_| run.trust.is_guarded()) else { return html! {} };
    let hidden: Vec<String> =
        showing.more_of.iter().map(|(role, count)| format!("{count} {}", role.words())).collect();
    html! {
        h2 { "Look at these before you approve" }
        div.panel { div.pad {
            @if let Some(because) = &showing.unknown {
                p { "At every file: which of them decide what is run could not be known (" (because) ")." }
            } @else if showing.files.is_empty() {
                p { "The change touches no configuration, no Dockerfile and no script that is known as one; its code is a stranger's all the same." }
            } @else {
                p { "They decide what is run. A change can be hostile without touching one of them." }
                ul { @for file in &showing.files {
                    li { (file.role.words()) ": " (path(web, run, file)) }
                } }
                @if showing.more > 0 {
                    p { strong { "and " (showing.more) " more" } @if !hidden.is_empty() { ": " (hidden.join(", ")) } }
                }
            }
        } }
    }
}

fn path(web: &Web, run: &Run, file: &Decisive) -> Markup {
    // What is read is what is there: a name can turn the reading order.
    let name: String = file.path.chars().map(visible).collect();
    if file.shortened {
        return html! { code { (name) } };
    }
    let url = web.links.github_file(&run.repository.name, &run.head_sha, &file.path);
    html! { a href=(url) { code { (name) } } }
}
