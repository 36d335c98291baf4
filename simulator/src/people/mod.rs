//! What people do on GitHub's pages and with `git push`: the driving side of a test.

pub(crate) mod checks;
mod comments;
mod installations;
mod issues;
mod merge_queue;
mod organizations;
mod pulls;
mod pushes;
mod repositories;

use crate::error::Error;
use crate::simulator::Simulator;
use crate::world::{CommitFacts, Repository, World};

fn no_repository(name: &str) -> Error {
    Error::NotFound(format!("repository {name}"))
}

/// The repository's number.
fn repository_id(world: &World, name: &str) -> Result<u64, Error> {
    world.repository(name).map(|found| found.id).ok_or_else(|| no_repository(name))
}

/// A repository by number, after its name has been looked up.
fn home(world: &mut World, id: u64) -> Result<&mut Repository, Error> {
    world.repositories.get_mut(&id).ok_or_else(|| no_repository(&id.to_string()))
}

impl Simulator {
    /// The facts about a commit of a repository, remembered once read.
    pub(crate) async fn know_commit(&self, id: u64, sha: &str) -> Option<CommitFacts> {
        self.inner.know_commit(id, sha).await
    }
}

impl crate::simulator::Inner {
    /// The facts about a commit (by SHA, branch or any revision), remembered once read.
    pub(crate) async fn know_commit(&self, id: u64, sha: &str) -> Option<CommitFacts> {
        let folder = {
            let world = self.world();
            let repository = world.repositories.get(&id)?;
            if let Some(known) = repository.commits.get(sha) {
                return Some(known.clone());
            }
            repository.folder.clone()
        };
        let facts = crate::git::facts(&folder, sha).await?;
        let mut world = self.world();
        let repository = world.repositories.get_mut(&id)?;
        repository.commits.insert(facts.sha.clone(), facts.clone());
        Some(facts)
    }
}
