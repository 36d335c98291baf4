//! Who belongs to an organisation.

use std::sync::Arc;

use serde_json::json;

use crate::auth::Credentials;
use crate::refusals::{Answer, Outcome, not_found, refuse};
use crate::server::Asked;
use crate::simulator::Inner;
use crate::world::World;

pub(super) fn serve(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let world = inner.world();
    let (name, login) = (asked.param("org"), asked.param("username").to_lowercase());
    if !world.is_organization(name) {
        return Err(not_found());
    }
    let organization = world.organization(name);
    let is_member = organization.is_some_and(|found| found.members.contains(&login));
    let inside = is_inside(&world, asked, name);
    match asked.operation.id {
        // Who does not belong to it is told of its public members only.
        "orgs/check-membership-for-user" if !inside => {
            let location = format!("{}/orgs/{name}/public_members/{login}", world.api_url);
            Ok(Answer::empty(302).with("location", location))
        }
        "orgs/check-membership-for-user" if is_member => Ok(Answer::empty(204)),
        "orgs/get-membership-for-user" if !inside => {
            Err(refuse(403, "You must be a member of this organization to see its members."))
        }
        "orgs/get-membership-for-user" if is_member => Ok(Answer::ok(json!({
            "url": format!("{}/orgs/{name}/memberships/{login}", world.api_url),
            "state": "active",
            "role": "member",
            "organization_url": format!("{}/orgs/{name}", world.api_url),
            "organization": world.organization_json(name),
            "user": world.user_json(&login),
        }))),
        "teams/get-membership-for-user-in-org" => {
            let slug = asked.param("team_slug");
            let team = organization.and_then(|found| found.teams.get(slug));
            if !inside || !team.is_some_and(|team| team.contains(&login)) {
                return Err(not_found());
            }
            let url = format!("{}/orgs/{name}/teams/{slug}/memberships/{login}", world.api_url);
            Ok(Answer::ok(json!({ "url": url, "role": "member", "state": "active" })))
        }
        _ => Err(not_found()),
    }
}

/// Is the caller's installation one of this organisation?
fn is_inside(world: &World, asked: &Asked<'_>, organization: &str) -> bool {
    match &asked.credentials {
        Credentials::Installation(token) => {
            let installation = world.installations.get(&token.installation_id);
            installation.is_some_and(|found| found.account.eq_ignore_ascii_case(organization))
        }
        Credentials::Nobody | Credentials::App | Credentials::User(_) => false,
    }
}
