//! `/deliveries`, for administrators: what GitHub sent, how it was handled, and once more.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::layout::Page;
use super::parts::ago;
use crate::ambient;
use crate::domain::recovery::HANDLING;
use crate::domain::time::Timestamp;
use crate::render::html::prose;
use crate::store::{Delivery, DeliveryQuery, DeliveryRow, MissingRow};
use crate::web::Web;
use crate::web::access::Administrator;
use crate::web::error::{Answer, WebError};
use crate::web::names::{Asked, Named};

/// Rows of a page.
const ROWS: u32 = 100;
const MISSING: u32 = 100;
/// The way by which it is asked for, in the record.
const ROUTE: &str = "page";
/// The outcomes that can be chosen.
const OUTCOMES: [&str; 4] = ["waiting", "done", "ignored", "refused"];

/// What a list is limited to.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    /// `pull_request`, or `pull_request.opened`.
    #[serde(default)]
    event: String,
    #[serde(default)]
    outcome: String,
    /// `<milliseconds>-<GUID>`: what comes after this one.
    #[serde(default)]
    after: String,
}

impl Wanted {
    fn query(&self) -> Result<DeliveryQuery, WebError> {
        let text = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let (event, action) = match self.event.split_once('.') {
            Some((event, action)) => (text(event), text(action)),
            None => (text(&self.event), None),
        };
        let outcome = text(&self.outcome);
        if let Some(outcome) = &outcome
            && !OUTCOMES.contains(&outcome.as_str())
        {
            let message = format!("There is no outcome `{outcome}`.");
            let mend = "Choose one of `waiting`, `done`, `ignored`, `refused`.";
            return Err(WebError::bad_request("bad_query", message, mend));
        }
        let after = text(&self.after).map(|after| {
            let (at, guid) = after.split_once('-')?;
            Some((Timestamp::from_millis(at.parse().ok()?), guid.to_owned()))
        });
        let after = match after {
            Some(None) => {
                let mend = "Follow the link \"Older\" of a page.";
                return Err(WebError::bad_request("bad_cursor", "`after` is no place.", mend));
            }
            Some(after) => after,
            None => None,
        };
        Ok(DeliveryQuery { event, action, outcome, after, ..DeliveryQuery::default() })
    }

    /// The address of what comes after a row.
    fn older(&self, last: &DeliveryRow) -> String {
        let after = format!("{}-{}", last.received_at.as_millis(), last.guid);
        let [event, outcome, after] =
            [&self.event, &self.outcome, &after].map(|text| escaped(text));
        format!("/deliveries?event={event}&outcome={outcome}&after={after}")
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn address(guid: &str) -> String {
    format!("/deliveries/{}", escaped(guid))
}

pub(crate) async fn list(
    _: Administrator,
    State(web): State<Arc<Web>>,
    Asked(wanted): Asked<Wanted>,
) -> Answer {
    let rows = web.store.deliveries(&wanted.query()?, ROWS).await?;
    let missing = web.store.missing(MISSING).await?;
    let now = ambient::now();
    let full = rows.len() == usize::try_from(ROWS).unwrap_or(usize::MAX);
    let body = html! {
        h1 { "Deliveries" }
        p.lead { span { "What GitHub sent, and how it was handled." } }
        (missing_table(&missing, now))
        (filter(&wanted))
        @if rows.is_empty() { p.muted { "No delivery of that class is kept." } }
        @else {
            (table("Deliveries", ("Received", "Outcome"), rows.iter().map(Row::came), now))
        }
        @if let Some(last) = rows.last().filter(|_| full) {
            nav.pager aria-label="Pages" { a href=(wanted.older(last)) rel="next" { "Older" } }
        }
    };
    let crumbs = vec![("Deliveries".to_owned(), None)];
    Ok(Page { title: "Deliveries", crumbs, ..Page::default() }.render(&web, &body).into_response())
}

fn filter(wanted: &Wanted) -> Markup {
    html! {
        form.ask method="get" action="/deliveries" {
            label for="event" { "Event" }
            input #event type="text" name="event" value=(wanted.event)
                placeholder="pull_request.opened";
            label for="outcome" { "Outcome" }
            select #outcome name="outcome" {
                option value="" selected[wanted.outcome.is_empty()] { "any" }
                @for outcome in OUTCOMES {
                    option value=(outcome) selected[wanted.outcome == outcome] { (outcome) }
                }
            }
            button type="submit" { "Show" }
        }
    }
}

/// A row of either table, cell by cell.
struct Row<'r> {
    at: Timestamp,
    event: (&'r str, Option<&'r str>),
    said: Markup,
    guid: Markup,
}

impl<'r> Row<'r> {
    fn came(row: &'r DeliveryRow) -> Self {
        let said = html! {
            (row.state)
            @if let Some(note) = &row.note { div.small { (prose(note)) } }
        };
        let guid = html! { a href=(address(&row.guid)) { (row.guid) } };
        Self { at: row.received_at, event: (&row.event, row.action.as_deref()), said, guid }
    }

    fn missing(row: &'r MissingRow) -> Self {
        let said = html! {
            (prose(&row.failure))
            div.small {
                @if row.state == "given_up" { "Given up: " }
                @else { "Asked for " (row.asked) " times. " }
                @if let Some(note) = &row.note { (prose(note)) }
                @if row.state == "given_up" {
                    " " code { "checkvalve deliveries handle " (row.guid) } " asks for it again."
                }
            }
        };
        let guid = html! { (row.guid) };
        Self { at: row.delivered_at, event: (&row.event, row.action.as_deref()), said, guid }
    }
}

/// With headings over the times and over what is said.
fn table<'r>(
    name: &str,
    (times, said): (&str, &str),
    rows: impl Iterator<Item = Row<'r>>,
    now: Timestamp,
) -> Markup {
    html! {
        div.panel { div.scroll tabindex="0" role="region" aria-label=(name) {
            table {
                thead { tr {
                    @for heading in [times, "Event", said, "Delivery"] {
                        th scope="col" { (heading) }
                    }
                } }
                tbody { @for row in rows { tr {
                    td.muted { (ago(now, row.at)) }
                    td { (event(row.event.0, row.event.1)) }
                    td { (row.said) }
                    th.mono scope="row" { (row.guid) }
                } } }
            }
        } }
    }
}

fn event(event: &str, action: Option<&str>) -> Markup {
    html! { code { (event) @if let Some(action) = action { "." (action) } } }
}

fn missing_table(rows: &[MissingRow], now: Timestamp) -> Markup {
    if rows.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Never came" }
        (table("Never came", ("Sent", "Why not"), rows.iter().map(Row::missing), now))
        h2 { "Came" }
    }
}

pub(crate) async fn show(
    administrator: Administrator,
    State(web): State<Arc<Web>>,
    Named(guid): Named<String>,
) -> Answer {
    let Some(delivery) = web.store.delivery(&guid).await? else { return Err(unknown(&guid)) };
    let row = &delivery.row;
    let now = ambient::now();
    let body = html! {
        h1 { "Delivery " span.mono { (row.guid) } }
        p.lead {
            (event(&row.event, row.action.as_deref()))
            span { (row.state) }
            span.muted { "received " (ago(now, row.received_at)) }
        }
        @if let Some(note) = &row.note { p { (prose(note)) } }
        (facts(&delivery, now))
        form.ask method="post" action={ (address(&guid)) "/handle" } {
            input type="hidden" name="csrf" value=(administrator.csrf(&web, &guid));
            button type="submit" { "Handle again" }
            span.muted.small { "What was done already is not done again." }
        }
        (content(&delivery))
    };
    let crumbs =
        vec![("Deliveries".to_owned(), Some("/deliveries".to_owned())), (guid.clone(), None)];
    let title = format!("Delivery {guid}");
    Ok(Page { title: &title, crumbs, ..Page::default() }.render(&web, &body).into_response())
}

fn facts(delivery: &Delivery, now: Timestamp) -> Markup {
    let row = &delivery.row;
    html! {
        ul.inline {
            li { (row.attempt) @if row.attempt == 1 { " try" } @else { " tries" } }
            @if let Some(at) = row.handled_at {
                li {
                    "handled " (ago(now, at)) " by version " (row.handled_by.unwrap_or(1))
                    " of handling; this server's is " (HANDLING)
                }
            }
            @for again in &delivery.again {
                li { "handled again for " strong { (again.actor) } " (" (again.route) ") "
                    (ago(now, again.at)) }
            }
        }
    }
}

fn content(delivery: &Delivery) -> Markup {
    let headers = delivery.headers.as_deref().map(serde_json::from_str::<Value>);
    let headers = headers.and_then(Result::ok).unwrap_or_default();
    let body = serde_json::from_slice::<Value>(&delivery.body)
        .and_then(|body| serde_json::to_string_pretty(&body))
        .unwrap_or_else(|_| String::from_utf8_lossy(&delivery.body).into_owned());
    html! {
        @if let Some(headers) = headers.as_object() {
            h2 { "Headers" }
            ul { @for (name, value) in headers {
                li { code { (name) ": " (value.as_str().unwrap_or_default()) } }
            } }
        }
        h2 { "Body" }
        @if delivery.body.is_empty() { p.muted { "It was not kept." } }
        @else { div.panel { pre.pad tabindex="0" { (body) } } }
    }
}

fn unknown(guid: &str) -> WebError {
    WebError::not_found(format!("There is no delivery `{guid}`."))
}

/// `POST /deliveries/{guid}/handle`, from the form of its page.
pub(crate) async fn handle(
    administrator: Administrator,
    State(web): State<Arc<Web>>,
    Named(guid): Named<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let form: Vec<_> = url::form_urlencoded::parse(&body).collect();
    let token = form.iter().find(|(name, _)| name == "csrf").map(|(_, token)| token.as_ref());
    administrator.meant_it(&web, &guid, (token, &headers))?;
    let asked = (administrator.actor.as_str(), ROUTE);
    if web.store.handle_again(std::slice::from_ref(&guid), asked).await?.is_empty() {
        return Err(unknown(&guid));
    }
    tracing::info!(github.delivery = guid, actor = administrator.actor, "to be handled again");
    let page = HeaderValue::try_from(address(&guid))
        .map_err(|error| WebError::internal(error.to_string()))?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, page)]).into_response())
}
