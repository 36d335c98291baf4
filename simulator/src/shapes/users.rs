//! Accounts, the App and its installations.

use serde_json::{Map, Value, json};

use super::node_id;
use crate::clock::stamp;
use crate::world::{Installation, OTHER_APP_ID, UserKind, World};

impl World {
    /// A `simple-user`; somebody unknown shows as GitHub's `ghost`.
    pub(crate) fn user_json(&self, login: &str) -> Value {
        let known = self.users.get(&login.to_lowercase());
        let (id, login, kind) =
            known.map_or((10_137, "ghost", UserKind::User), |u| (u.id, u.login.as_str(), u.kind));
        // As GitHub writes the brackets of `name[bot]` in addresses.
        let in_urls = login.replace('[', "%5B").replace(']', "%5D");
        let api = format!("{}/users/{in_urls}", self.api_url);
        let html = match kind {
            UserKind::Bot => format!("{}/apps/{}", self.url, login.trim_end_matches("[bot]")),
            UserKind::User | UserKind::Organization => format!("{}/{login}", self.url),
        };
        json!({
            "login": login,
            "id": id,
            "node_id": node_id(kind.name(), id),
            "avatar_url": format!("{}/avatars/u/{id}", self.url),
            "gravatar_id": "",
            "url": api,
            "html_url": html,
            "followers_url": format!("{api}/followers"),
            "following_url": format!("{api}/following{{/other_user}}"),
            "gists_url": format!("{api}/gists{{/gist_id}}"),
            "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
            "subscriptions_url": format!("{api}/subscriptions"),
            "organizations_url": format!("{api}/orgs"),
            "repos_url": format!("{api}/repos"),
            "events_url": format!("{api}/events{{/privacy}}"),
            "received_events_url": format!("{api}/received_events"),
            "type": kind.name(),
            "user_view_type": "public",
            "site_admin": false,
        })
    }

    /// An `organization-simple`.
    pub(crate) fn organization_json(&self, login: &str) -> Value {
        let id = self.users.get(&login.to_lowercase()).map_or(0, |user| user.id);
        let api = format!("{}/orgs/{login}", self.api_url);
        json!({
            "login": login,
            "id": id,
            "node_id": node_id("Organization", id),
            "url": api,
            "repos_url": format!("{api}/repos"),
            "events_url": format!("{api}/events"),
            "hooks_url": format!("{api}/hooks"),
            "issues_url": format!("{api}/issues"),
            "members_url": format!("{api}/members{{/member}}"),
            "public_members_url": format!("{api}/public_members{{/member}}"),
            "avatar_url": format!("{}/avatars/u/{id}", self.url),
            "description": null,
        })
    }

    /// An `integration`: ours, or the one that stands for all others.
    pub(crate) fn app_json(&self, app_id: u64) -> Value {
        let ours = app_id != OTHER_APP_ID;
        let (slug, name) = if ours {
            (self.app.slug.as_str(), self.app.slug.as_str())
        } else {
            ("github-actions", "GitHub Actions")
        };
        let permissions: Map<String, Value> =
            self.app_permissions.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
        json!({
            "id": app_id,
            "slug": slug,
            "client_id": if ours { self.app.client_id.as_str() } else { "Iv1.0000000000000000" },
            "node_id": node_id("App", app_id),
            "owner": self.user_json("simulator-owner"),
            "name": name,
            "description": "",
            "external_url": format!("{}/apps/{slug}", self.url),
            "html_url": format!("{}/apps/{slug}", self.url),
            "created_at": stamp(self.started_at),
            "updated_at": stamp(self.started_at),
            "permissions": permissions,
            "events": self.app_events,
        })
    }

    /// The App's home page, where `details_url` points by default.
    pub(crate) fn app_home(&self) -> String {
        format!("{}/apps/{}", self.url, self.app.slug)
    }

    /// An `installation`. Webhooks of old had epoch numbers for its times; REST has text.
    pub(crate) fn installation_json(&self, installation: &Installation) -> Value {
        let account = self.user_json(&installation.account);
        let id = installation.id;
        json!({
            "id": id,
            "client_id": self.app.client_id,
            "account": account,
            "repository_selection": "selected",
            "access_tokens_url": format!("{}/app/installations/{id}/access_tokens", self.api_url),
            "repositories_url": format!("{}/installation/repositories", self.api_url),
            "html_url": format!("{}/settings/installations/{id}", self.url),
            "app_id": self.app.id,
            "app_slug": self.app.slug,
            "target_id": account["id"],
            "target_type": account["type"],
            "permissions": installation.permissions,
            "events": self.app_events,
            "created_at": stamp(installation.created_at),
            "updated_at": stamp(installation.created_at),
            "single_file_name": null,
            "has_multiple_single_files": false,
            "single_file_paths": [],
            "suspended_by": installation.suspended_at.map(|_| self.user_json(&installation.account)),
            "suspended_at": installation.suspended_at.map(stamp),
        })
    }
}
