//! The log that GitHub keeps of what it delivered to the App's hook, for three days (an Enterprise
//! Server: seven). A delivery that failed is not repeated unless it is asked for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::answers::Call;
use super::client::Github;
use super::error::GithubError;
use super::wire;
use crate::ambient;
use crate::domain::recovery::{Attempt, AttemptEnd, ENTERPRISE_WINDOW, WINDOW};
use crate::domain::time::Timestamp;

/// The log is paged by a cursor; this is its beginning.
const LOG: &str = "/app/hook/deliveries?per_page=100";

#[derive(Deserialize)]
struct Item {
    #[serde(deserialize_with = "wire::number")]
    id: u64,
    guid: String,
    delivered_at: String,
    /// `OK`, or why not.
    #[serde(default)]
    status: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    action: Option<String>,
}

/// A page of the log, newest attempts first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    pub attempts: Vec<Attempt>,
    /// The page after this; absent at the log's end.
    pub next: Option<String>,
    /// By GitHub's clock.
    pub now: Timestamp,
}

impl Github {
    /// So far back the log goes, and so long it delivers again, on this GitHub as far as its answers
    /// have told which it is.
    pub fn delivery_window(&self) -> Duration {
        if self.enterprise.load(Ordering::Relaxed) { ENTERPRISE_WINDOW } else { WINDOW }
    }

    /// A page of the log: the newest, or the one that an earlier page names as its next.
    pub async fn delivery_log(&self, page: Option<&str>) -> Result<LogPage, GithubError> {
        let later = page.and_then(|page| self.within(page));
        // Its beginning is asked for every few minutes.
        let is_polled = later.is_none();
        let call = Call::get("read the log of deliveries", later.unwrap_or_else(|| LOG.to_owned()));
        let answer =
            if is_polled { self.poll(None, &call).await? } else { self.as_app(&call).await? };
        let items: Vec<Item> = call.read(&answer)?;
        let attempts = items.into_iter().map(|item| attempt(&call, item));
        Ok(LogPage {
            attempts: attempts.collect::<Result<_, _>>()?,
            next: self.next_page(&call, &answer)?,
            now: answer.date().map_or_else(ambient::now, Timestamp::from_millis),
        })
    }

    /// Asks for an event once more, by the number of one of its attempts: same GUID, same bytes.
    /// GitHub says yes before it delivers.
    pub async fn redeliver(&self, attempt: u64) -> Result<(), GithubError> {
        let path = format!("/app/hook/deliveries/{attempt}/attempts");
        // It may be sent twice: we know an event that comes twice by its GUID.
        let call = Call::set("ask for a delivery again", Method::POST, path, json!({}));
        self.as_app(&call).await.map(drop)
    }
}

fn attempt(call: &Call, item: Item) -> Result<Attempt, GithubError> {
    let Item { id, guid, delivered_at, status, event, action } = item;
    let delivered_at = Timestamp::parse(&delivered_at).ok_or_else(|| GithubError::Refused {
        call: call.name,
        status: 200,
        message: format!("the time of delivery {id} is no time"),
    })?;
    let end = AttemptEnd::of_status(&status);
    Ok(Attempt { id, guid, event, action, delivered_at, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempts_number_may_be_written_as_a_text() {
        let item = |id: &str| {
            let text = format!(
                r#"{{"id": {id}, "guid": "g", "delivered_at": "2026-11-22T09:00:00Z", "status": "OK"}}"#
            );
            serde_json::from_str::<Item>(&text).unwrap().id
        };
        assert_eq!(item("12345678"), 12_345_678);
        assert_eq!(item(r#""12345678""#), 12_345_678);
    }
}
