//! The pages: views of stored runs, whole without script.

mod asked;
mod deliveries;
mod home;
mod job;
mod layout;
mod log;
mod parts;
mod pull;
mod repository;
mod run;
mod setup;
mod step;
mod trust;
mod why_not;

use maud::{Markup, html};

use super::Web;
use super::error::WebError;
use crate::render::html::prose;

pub(super) use deliveries::{handle as handle_delivery, list as deliveries, show as delivery};
pub(super) use home::show as home;
pub(super) use job::show as job;
pub(super) use pull::show as pull;
pub(super) use repository::{show as repository, visible as visible_repository};
pub(super) use run::show as run;
pub(super) use setup::{Offer, Place, form as setup_form, registered as setup_registered};
pub(super) use step::show as step;

/// What stands in the place of a page that can't be shown.
pub(super) fn error_page(web: &Web, error: &WebError) -> Markup {
    let title = match error.status.canonical_reason() {
        Some(reason) => format!("{} · {reason}", error.status.as_u16()),
        None => error.status.as_u16().to_string(),
    };
    let body = html! {
        h1 { (title) }
        div class="notice is-action" role="alert" {
            p { strong { (prose(error.message())) } }
            p { (prose(error.mend())) }
        }
        p { a href="/" { "All repositories and recent runs" } }
    };
    layout::Page { title: &title, ..layout::Page::default() }.render(web, &body)
}
