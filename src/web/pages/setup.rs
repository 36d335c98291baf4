//! The form that registers the App, and what comes after it.

use maud::{Markup, html};

use super::layout::Page;
use crate::store::StoredApp;
use crate::web::Web;

/// Where an App may be registered.
#[derive(Debug)]
pub(in crate::web) struct Offer {
    pub(in crate::web) places: Vec<Place>,
    /// Why GitHub does not answer this server, if it does not.
    pub(in crate::web) unreachable: Option<String>,
}

/// An account for which it may be registered.
#[derive(Debug)]
pub(in crate::web) struct Place {
    /// An organisation; `None` is the visitor's own account.
    pub(in crate::web) owner: Option<String>,
    /// GitHub's page, with the state.
    pub(in crate::web) action: String,
    /// JSON.
    pub(in crate::web) manifest: String,
}

pub(in crate::web) fn form(web: &Web, offer: &Offer, token: &str) -> Markup {
    let body = html! {
        h1 { "Register the GitHub App" }
        @if let Some(why) = &offer.unreachable {
            div class="notice is-action" role="alert" {
                p { strong { "GitHub does not answer this server." } " " (why) }
                p {
                    "The registration can't be finished until it does: see \
                     CHECKVALVE_GITHUB_API_URL and CHECKVALVE_CA_FILE."
                }
            }
        }
        @if is_local(&web.links.public) {
            div class="notice is-action" role="alert" {
                p { strong { "GitHub can't reach " (web.links.public) "." } }
                p {
                    "Set CHECKVALVE_PUBLIC_URL to this server's address as the outside sees it, and \
                     start again: it becomes the App's webhook address."
                }
            }
        }
        p {
            "GitHub will show the App with its permissions, and ask you to make it. It is private: \
             only the account that it belongs to can install it, so register it for the one that \
             owns the repositories."
        }
        @for place in &offer.places { (button(place)) }
        form.ask method="get" action="/setup" {
            input type="hidden" name="token" value=(token);
            label for="organization" { "Another organisation" }
            input #organization name="organization" autocomplete="off" spellcheck="false" required;
            button type="submit" { "Choose" }
        }
    };
    Page { title: "Register the GitHub App", ..Page::default() }.render(web, &body)
}

fn button(place: &Place) -> Markup {
    html! {
        form.ask method="post" action=(place.action) {
            input type="hidden" name="manifest" value=(place.manifest);
            button type="submit" {
                @match &place.owner {
                    Some(owner) => { "Register it for the organisation " (owner) }
                    None => "Register it for your own account",
                }
            }
        }
    }
}

/// An address that only this machine knows.
fn is_local(public: &str) -> bool {
    let Ok(url) = url::Url::parse(public) else { return false };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(url::Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        None => false,
    }
}

pub(in crate::web) fn registered(web: &Web, app: &StoredApp) -> Markup {
    let page = app.url.trim_end_matches('/');
    let is_link = page.starts_with("https://") || page.starts_with("http://");
    let body = html! {
        h1 { "The App is registered" }
        p {
            strong { (app.slug) } " (App ID " (app.app_id) ") is made, its credentials are kept \
             encrypted in this server's database, and the server works as this App from now on."
        }
        @if is_link {
            p { a href={ (page) "/installations/new" } { strong { "Install it" } }
                " on the repositories that CHECKVALVE_REPOSITORIES names; then open a pull request." }
            p { a href=(page) { "The App on GitHub" } " · " a href="/" { "This server" } }
        }
    };
    Page { title: "The App is registered", ..Page::default() }.render(web, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_github_cannot_reach_is_known() {
        for local in
            ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "http://0.0.0.0"]
        {
            assert!(is_local(local), "{local}");
        }
        for outside in ["https://ci.acme.example", "http://10.0.0.3:8080", "rubbish"] {
            assert!(!is_local(outside), "{outside}");
        }
    }
}
