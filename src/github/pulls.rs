//! Pull requests, as they stand now.

use super::answers::Call;
use super::client::Github;
use super::error::GithubError;
use super::wire;
use crate::ambient;
use crate::domain::event::PullFacts;
use crate::domain::recovery::OpenPull;
use crate::domain::run::Repository;
use crate::domain::time::Timestamp;

/// A look back so far covers what changed while the last look was under way.
const OVERLAP: i64 = 5 * 60 * 1000;
/// Against a server whose pages never end; a hundred pull requests each.
const PAGES: u32 = 100;
const READ_PULL: &str = "read the pull request";

/// What an earlier look at a repository's open pull requests left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullsBefore {
    /// Of its first page: whatever changes stands there.
    pub tag: String,
    /// When it was, by GitHub's clock.
    pub at: Timestamp,
}

/// Open pull requests, those that changed last first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPulls {
    pub pulls: Vec<OpenPull>,
    /// By GitHub's clock.
    pub now: Timestamp,
    /// For the next look; absent where GitHub gives no tags.
    pub tag: Option<String>,
    /// Are they all that there are, and not only those that changed?
    pub whole: bool,
    /// Pages that were asked for.
    pub calls: u64,
}

impl Github {
    /// The open pull requests that changed since an earlier look, or all; `None` if none did, which
    /// costs nothing of the primary limit.
    pub async fn open_pulls_since(
        &self,
        repository: &Repository,
        before: Option<&PullsBefore>,
    ) -> Result<Option<OpenPulls>, GithubError> {
        const NAME: &str = "list the open pull requests";
        // What changes meanwhile moves to the front: it is seen twice, or next time, and pushes nothing
        // off a page.
        let uri = format!(
            "/repos/{}/pulls?state=open&sort=updated&direction=desc&per_page=100",
            repository.name
        );
        let tag = before.map(|before| before.tag.clone());
        let mut call = Call::get(NAME, uri).unless(tag);
        let mut open: Option<OpenPulls> = None;
        for calls in 1..=u64::from(PAGES) {
            let answer = self.as_installation(repository.installation, &call).await?;
            if answer.status == http::StatusCode::NOT_MODIFIED {
                return Ok(None);
            }
            let open = open.get_or_insert_with(|| OpenPulls {
                pulls: Vec::new(),
                now: answer.date().map_or_else(ambient::now, Timestamp::from_millis),
                tag: answer.header("etag").map(str::to_owned),
                whole: false,
                calls,
            });
            open.calls = calls;
            for pull in call.read::<Vec<wire::Pull>>(&answer)? {
                let updated_at = pull.updated_at.as_deref().and_then(Timestamp::parse);
                open.pulls.push(OpenPull { facts: facts(NAME, pull)?, updated_at });
            }
            let oldest = open.pulls.last().and_then(|pull| pull.updated_at);
            let known = before.zip(oldest).is_some_and(|(before, oldest)| {
                oldest.as_millis() < before.at.as_millis() - OVERLAP
            });
            if known {
                return Ok(Some(open.clone()));
            }
            let Some(next) = self.next_page(&call, &answer)? else {
                open.whole = true;
                return Ok(Some(open.clone()));
            };
            call = Call::get(NAME, next);
        }
        Err(GithubError::Refused {
            call: NAME,
            status: 200,
            message: format!("the list has more than {PAGES} pages"),
        })
    }

    /// The pull request now. One that is gone can't be told from one that a host of GitHub's does not know
    /// yet: who is told [`GithubError::NotFound`] asks again before believing it.
    pub async fn pull(
        &self,
        repository: &Repository,
        number: u64,
    ) -> Result<PullFacts, GithubError> {
        let uri = format!("/repos/{}/pulls/{number}", repository.name);
        let call = Call::get(READ_PULL, uri);
        facts(call.name, self.call::<wire::Pull>(repository.installation, &call).await?)
    }

    /// Every open pull request, oldest first.
    pub async fn open_pulls(&self, repository: &Repository) -> Result<Vec<PullFacts>, GithubError> {
        const NAME: &str = "list the open pull requests";
        // By age, so that one opened meanwhile moves no other to another page.
        let uri = format!(
            "/repos/{}/pulls?state=open&sort=created&direction=asc&per_page=100",
            repository.name
        );
        let mut pulls = Vec::new();
        let take = |page: Vec<wire::Pull>| {
            for pull in page {
                pulls.push(facts(NAME, pull)?);
            }
            Ok(true)
        };
        self.pages(Some(repository.installation), NAME, uri, take).await?;
        Ok(pulls)
    }
}

fn facts(call: &'static str, pull: wire::Pull) -> Result<PullFacts, GithubError> {
    PullFacts::try_from(pull).map_err(|error| GithubError::Refused {
        call,
        status: 200,
        message: error.to_string(),
    })
}
