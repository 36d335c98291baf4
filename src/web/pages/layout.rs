//! What all pages have around them.

use maud::{DOCTYPE, Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::render::look::Look;
use crate::web::{Web, assets};

/// What a page is, besides its body.
#[derive(Debug, Default)]
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    /// Colours the icon in the browser's tab.
    pub(super) look: Option<Look>,
    /// Label and address, from the repository down; the last has no address.
    pub(super) crumbs: Vec<(String, Option<String>)>,
    pub(super) live: Option<Live>,
}

/// Where the script listens for changes.
#[derive(Debug)]
pub(super) struct Live {
    /// The address of the run's events.
    pub(super) events: String,
    /// `connector/step`, if the page shows that step's log.
    pub(super) log: Option<String>,
}

impl Page<'_> {
    pub(super) fn render(&self, web: &Web, body: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Checkvalve" }
                    link rel="icon" href=(icon(self.look));
                    link rel="stylesheet" href=(assets::STYLE.path);
                    @if self.live.is_some() { script src=(assets::SCRIPT.path) defer {} }
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    (self.header())
                    main #main data-live="main" data-events=[self.live.as_ref().map(|l| &l.events)]
                        data-log=[self.live.as_ref().and_then(|l| l.log.as_ref())] { (body) }
                    footer { div.wrap {
                        "Checkvalve " (env!("CARGO_PKG_VERSION")) " · times are UTC · "
                        a href={ (web.links.public) "/api/v1/queue" } { "queue as JSON" }
                    } }
                }
            }
        }
    }

    fn header(&self) -> Markup {
        html! {
            header.top { div.wrap {
                a.brand href="/" { "Checkvalve" }
                @if !self.crumbs.is_empty() {
                    nav aria-label="Breadcrumb" { ol.crumbs {
                        @for (label, href) in &self.crumbs {
                            li {
                                @if let Some(href) = href { a href=(href) { (label) } }
                                @else { span aria-current="page" { (label) } }
                            }
                        }
                    } }
                }
            } }
        }
    }
}

/// A round valve in the state's colour, as a `data:` address.
fn icon(look: Option<Look>) -> String {
    let colour = match look {
        None | Some(Look::Waiting | Look::Skipped | Look::Cancelled | Look::Tolerated) => "#6e7781",
        Some(Look::Running) => "#0969da",
        Some(Look::Passed) => "#1a7f5a",
        Some(Look::Failed) => "#d1401f",
        Some(Look::Errored) => "#8250df",
        Some(Look::TimedOut | Look::ActionRequired) => "#bf7d00",
    };
    let svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><circle cx='8' cy='8' r='7' \
         fill='{colour}'/><path d='M4.5 8.2l2.4 2.4 4.6-5' fill='none' stroke='#fff' \
         stroke-width='2' stroke-linecap='round'/></svg>"
    );
    format!("data:image/svg+xml,{}", utf8_percent_encode(&svg, NON_ALPHANUMERIC))
}
