//! What is asked for again and again: GitHub's answers are kept with their tags, so that asking for
//! what has not changed costs nothing of the primary limit.

use std::sync::Arc;

use http::StatusCode;
use http::header::DATE;
use moka::future::Cache;

use super::answers::Call;
use super::client::Github;
use super::error::GithubError;
use super::transport::Answer;

/// Bytes of all kept answers.
const KEPT: u64 = 16 * 1024 * 1024;

/// Lists that are read every hour, or every few minutes.
const LISTS: [&str; 2] = ["/app/installations?", "/installation/repositories?"];

/// Answers by who asked and for what.
#[derive(Debug)]
pub(super) struct Polled(Cache<(Option<u64>, String), Arc<Answer>>);

impl Default for Polled {
    fn default() -> Self {
        let kept = Cache::builder().max_capacity(KEPT);
        Self(kept.weigher(|_, answer: &Arc<Answer>| weight(answer)).build())
    }
}

/// Its body, and about as much as its headers take.
fn weight(answer: &Answer) -> u32 {
    u32::try_from(answer.body.len() + 1024).unwrap_or(u32::MAX)
}

/// Is this list polled?
pub(super) fn is_polled(uri: &str) -> bool {
    LISTS.iter().any(|list| uri.contains(list))
}

impl Github {
    /// Asks as an installation, or as the App; where nothing has changed, answers what GitHub answered
    /// before, as of now.
    pub(super) async fn poll(&self, who: Option<u64>, call: &Call) -> Result<Answer, GithubError> {
        let key = (who, call.request.uri.clone());
        let known = self.polled.0.get(&key).await;
        let tag = known.as_ref().and_then(|known| known.header("etag")).map(str::to_owned);
        let call = call.clone().unless(tag);
        let answer = match who {
            Some(installation) => self.as_installation(installation, &call).await?,
            None => self.as_app(&call).await?,
        };
        if answer.status == StatusCode::NOT_MODIFIED
            && let Some(known) = known
        {
            let mut headers = known.headers.clone();
            if let Some(date) = answer.headers.get(DATE) {
                headers.insert(DATE, date.clone());
            }
            return Ok(Answer { status: known.status, headers, body: known.body.clone() });
        }
        if answer.header("etag").is_some() {
            let (status, headers) = (answer.status, answer.headers.clone());
            let kept = Answer { status, headers, body: answer.body.clone() };
            self.polled.0.insert(key, Arc::new(kept)).await;
        }
        Ok(answer)
    }
}
