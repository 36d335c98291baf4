//! Organisations: who is a member, and of which team.

use std::collections::{BTreeMap, BTreeSet};

use super::World;

/// What is known of an organisation beside its account.
#[derive(Debug, Clone, Default)]
pub(crate) struct Organization {
    /// Logins in small letters.
    pub(crate) members: BTreeSet<String>,
    /// By slug.
    pub(crate) teams: BTreeMap<String, BTreeSet<String>>,
    /// Raises its primary rate limit.
    pub(crate) enterprise_cloud: bool,
}

impl World {
    pub(crate) fn organization(&self, login: &str) -> Option<&Organization> {
        self.organizations.get(&login.to_lowercase())
    }

    pub(crate) fn organization_mut(&mut self, login: &str) -> &mut Organization {
        self.organizations.entry(login.to_lowercase()).or_default()
    }
}
