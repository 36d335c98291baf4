//! Where the App is installed: what recovery sweeps.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::client::Github;
use super::error::GithubError;
use super::wire;
use crate::domain::run::Repository;

#[derive(Deserialize)]
struct Installation {
    #[serde(deserialize_with = "wire::number")]
    id: u64,
    #[serde(default)]
    suspended_at: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Listing {
    repositories: Vec<wire::Repository>,
}

impl Github {
    /// The App's installations that are not suspended.
    pub async fn installations(&self) -> Result<Vec<u64>, GithubError> {
        let uri = "/app/installations?per_page=100".to_owned();
        let mut installations = Vec::new();
        let take = |page: Vec<Installation>| {
            let active = page.iter().filter(|one| one.suspended_at.is_none());
            installations.extend(active.map(|one| one.id));
            Ok(true)
        };
        self.pages(None, "list the App's installations", uri, take).await?;
        Ok(installations)
    }

    /// The repositories that an installation gives us.
    pub async fn repositories(&self, installation: u64) -> Result<Vec<Repository>, GithubError> {
        const NAME: &str = "list an installation's repositories";
        let uri = "/installation/repositories?per_page=100".to_owned();
        let mut repositories = Vec::new();
        let take = |page: Listing| {
            for repository in page.repositories.into_iter().filter(|one| !one.archived) {
                let name = repository.full_name.parse().map_err(|error| GithubError::Refused {
                    call: NAME,
                    status: 200,
                    message: format!("{error}"),
                })?;
                let (id, private) = (repository.id, repository.private);
                repositories.push(Repository { id, name, installation, private });
            }
            Ok(true)
        };
        self.pages(Some(installation), NAME, uri, take).await?;
        Ok(repositories)
    }
}
