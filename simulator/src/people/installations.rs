//! Installing, suspending and uninstalling the App.

use std::collections::{BTreeMap, BTreeSet};

use super::no_repository;
use crate::error::Error;
use crate::simulator::Simulator;
use crate::world::{Installation, World};

impl Simulator {
    /// Installs the App on a repository that is there.
    pub fn install(&self, repository: &str) -> Result<(), Error> {
        let found = self.inner.world().repository(repository).map(|found| found.id);
        self.install_on(found.ok_or_else(|| no_repository(repository))?);
        Ok(())
    }

    /// Installs the App on a repository; the installation's number.
    pub(crate) fn install_on(&self, repository: u64) -> u64 {
        let now = self.inner.clock.now();
        let mut world = self.inner.world();
        let Some(owner) = world.repositories.get(&repository).map(|r| r.owner.clone()) else {
            return 0;
        };
        let existing = world
            .installations
            .values_mut()
            .find(|installation| installation.account.eq_ignore_ascii_case(&owner));
        if let Some(installation) = existing {
            installation.repositories.insert(repository);
            let id = installation.id;
            self.inner.emit_selection(&mut world, "added", id, repository);
            return id;
        }
        let id = world.id();
        let permissions = world.app_permissions.clone();
        let repositories = BTreeSet::from([repository]);
        let installation = Installation {
            id,
            account: owner,
            repositories,
            permissions,
            created_at: now,
            suspended_at: None,
        };
        world.installations.insert(id, installation);
        self.inner.emit_installation(&mut world, "created", id);
        id
    }

    /// Suspends the installation of a repository's owner: no tokens, no events.
    pub fn suspend(&self, repository: &str) -> Result<(), Error> {
        let now = self.inner.clock.now();
        self.with_installation(repository, |inner, world, id| {
            if let Some(installation) = world.installations.get_mut(&id) {
                installation.suspended_at = Some(now);
            }
            inner.emit_installation(world, "suspend", id);
        })
    }

    /// Ends a suspension.
    pub fn unsuspend(&self, repository: &str) -> Result<(), Error> {
        self.with_installation(repository, |inner, world, id| {
            if let Some(installation) = world.installations.get_mut(&id) {
                installation.suspended_at = None;
            }
            inner.emit_installation(world, "unsuspend", id);
        })
    }

    /// Uninstalls the App from a repository's owner.
    pub fn uninstall(&self, repository: &str) -> Result<(), Error> {
        self.with_installation(repository, |inner, world, id| {
            inner.emit_installation(world, "deleted", id);
            world.installations.remove(&id);
            world.tokens.retain(|_, token| token.installation_id != id);
        })
    }

    /// Changes what an installation may do, as an owner's approval of new permissions does.
    pub fn accept_permissions(
        &self,
        repository: &str,
        permissions: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.with_installation(repository, |inner, world, id| {
            if let Some(installation) = world.installations.get_mut(&id) {
                installation.permissions = permissions;
            }
            inner.emit_installation(world, "new_permissions_accepted", id);
        })
    }

    fn with_installation(
        &self,
        repository: &str,
        change: impl FnOnce(&crate::simulator::Inner, &mut World, u64),
    ) -> Result<(), Error> {
        let mut world = self.inner.world();
        let id = world.repository(repository).ok_or_else(|| no_repository(repository))?.id;
        let installation = world
            .installation_of(id)
            .ok_or_else(|| Error::NotFound(format!("installation on {repository}")))?
            .id;
        change(&self.inner, &mut world, installation);
        Ok(())
    }
}
