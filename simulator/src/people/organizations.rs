//! Organisations and their members.

use crate::api::OwnerKind;
use crate::simulator::Simulator;

impl Simulator {
    /// Makes a person a member of an organisation, privately, as most are.
    pub fn add_member(&self, organization: &str, user: &str) {
        let mut world = self.inner.world();
        world.owner(organization, OwnerKind::Organization);
        world.meet(user);
        world.organization_mut(organization).members.insert(user.to_lowercase());
    }

    /// Puts a member into a team, by its slug.
    pub fn add_to_team(&self, organization: &str, team: &str, user: &str) {
        self.add_member(organization, user);
        let mut world = self.inner.world();
        let teams = &mut world.organization_mut(organization).teams;
        teams.entry(team.to_owned()).or_default().insert(user.to_lowercase());
    }

    /// Moves an organisation to Enterprise Cloud, which has a primary rate limit of 15,000.
    pub fn enterprise_cloud(&self, organization: &str, on: bool) {
        let mut world = self.inner.world();
        world.owner(organization, OwnerKind::Organization);
        world.organization_mut(organization).enterprise_cloud = on;
    }
}
