//! Plain issues: what comments may belong to beside pull requests.

use super::no_repository;
use crate::error::Error;
use crate::simulator::Simulator;
use crate::world::{Issue, Repository};

impl Simulator {
    /// Opens an issue; its number. Apps hear of its comments only.
    pub fn open_issue(&self, repository: &str, user: &str, title: &str) -> Result<u64, Error> {
        let now = self.inner.clock.now();
        let mut world = self.inner.world();
        world.meet(user);
        let id = world.id();
        let found = world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        let number = found.next_number;
        found.next_number += 1;
        let issue = Issue {
            id,
            number,
            title: title.to_owned(),
            body: None,
            author: user.to_owned(),
            locked: false,
            deleted: false,
            created_at: now,
        };
        found.issues.insert(number, issue);
        Ok(number)
    }

    /// Locks an issue's conversation: only writers may comment.
    pub fn lock_issue(&self, repository: &str, number: u64, locked: bool) -> Result<(), Error> {
        self.change_issue(repository, number, |issue| issue.locked = locked)
    }

    /// Deletes an issue: its number answers 410 from then on.
    pub fn delete_issue(&self, repository: &str, number: u64) -> Result<(), Error> {
        self.change_issue(repository, number, |issue| issue.deleted = true)
    }

    fn change_issue(
        &self,
        repository: &str,
        number: u64,
        change: impl FnOnce(&mut Issue),
    ) -> Result<(), Error> {
        let mut world = self.inner.world();
        let found: &mut Repository =
            world.repository_mut(repository).ok_or_else(|| no_repository(repository))?;
        let issue = found.issues.get_mut(&number);
        change(issue.ok_or_else(|| Error::NotFound(format!("issue {repository}#{number}")))?);
        Ok(())
    }
}
