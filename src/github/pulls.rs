//! Pull requests, as they stand now.

use super::answers::Call;
use super::client::Github;
use super::error::GithubError;
use super::wire;
use crate::domain::event::PullFacts;
use crate::domain::run::Repository;

impl Github {
    /// The pull request now; `None` if there is none of that number, or we may not see it.
    pub async fn pull(
        &self,
        repository: &Repository,
        number: u64,
    ) -> Result<Option<PullFacts>, GithubError> {
        let uri = format!("/repos/{}/pulls/{number}", repository.name);
        let call = Call::get("read the pull request", uri);
        match self.call::<wire::Pull>(repository.installation, &call).await {
            Ok(pull) => facts(call.name, pull).map(Some),
            Err(GithubError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
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
