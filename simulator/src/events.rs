//! Webhook payloads: what happened, wrapped as GitHub wraps it, for Apps that may see it.

use serde_json::{Value, json};

use crate::auth::grants;
use crate::enterprise::Enterprise;
use crate::shapes::node_id;
use crate::shapes::repositories::object;
use crate::simulator::Inner;
use crate::world::{Installation, World};

/// The permission that an event needs, and whether it must be ticked at registration.
fn requirement(event: &str, action: Option<&str>) -> Option<(&'static str, bool)> {
    Some(match (event, action) {
        ("check_run", Some("rerequested" | "requested_action"))
        | ("check_suite", Some("requested" | "rerequested")) => ("checks=write", false),
        ("check_run" | "check_suite", _) => ("checks=read", false),
        ("issue_comment", _) => ("issues=read", true),
        ("pull_request" | "pull_request_review", _) => ("pull_requests=read", true),
        ("push", _) => ("contents=read", true),
        ("status", _) => ("statuses=read", true),
        ("merge_group", _) => ("merge_queues=read", true),
        _ => return None,
    })
}

/// Something that somebody did in a repository.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deed<'a> {
    action: Option<&'a str>,
    repository: u64,
    sender: &'a str,
}

impl<'a> Deed<'a> {
    pub(crate) fn new(action: &'a str, repository: u64, sender: &'a str) -> Self {
        Self { action: Some(action), repository, sender }
    }

    /// For events that have no `action`, as `push`.
    pub(crate) fn without_action(repository: u64, sender: &'a str) -> Self {
        Self { action: None, repository, sender }
    }
}

fn subscribed(
    world: &World,
    installation: &Installation,
    event: &str,
    action: Option<&str>,
) -> bool {
    if event == "merge_group" && !world.enterprise.is_none_or(Enterprise::has_merge_queues) {
        return false;
    }
    // Events without a known requirement are sent only where ticked.
    let Some((permission, ticked)) = requirement(event, action) else {
        return world.app_events.iter().any(|name| name == event);
    };
    grants(&installation.permissions, permission)
        && (!ticked || world.app_events.iter().any(|name| name == event))
}

impl Inner {
    /// Tells the App about something in a repository, if it is installed there and listens.
    /// Returns the delivery's GUID.
    pub(crate) fn emit(
        &self,
        world: &mut World,
        event: &str,
        deed: Deed<'_>,
        what: Value,
    ) -> Option<String> {
        let Deed { action, repository, sender } = deed;
        let installation = world.installation_of(repository)?;
        if installation.suspended_at.is_some() || !subscribed(world, installation, event, action) {
            return None;
        }
        let installation = installation.id;
        let subject = world.repositories.get(&repository)?;
        let mut payload = object(what);
        if let Some(action) = action {
            payload.insert("action".to_owned(), action.into());
        }
        payload.insert("repository".to_owned(), world.repository_json(subject));
        if world.is_organization(&subject.owner) {
            payload.insert("organization".to_owned(), world.organization_json(&subject.owner));
        }
        payload.insert("sender".to_owned(), world.user_json(sender));
        payload.insert(
            "installation".to_owned(),
            json!({
                "id": installation,
                "node_id": node_id("IntegrationInstallation", installation),
            }),
        );
        self.post(world, event, (Some(installation), Some(repository)), &payload.into())
    }

    /// `check_run.<action>`. The re-requests and button presses go to the owner App only.
    pub(crate) fn emit_run(
        &self,
        world: &mut World,
        deed: Deed<'_>,
        run: u64,
        identifier: Option<&str>,
    ) {
        let Some(home) = world.repositories.get(&deed.repository) else { return };
        let Some(row) = home.runs.get(&run) else { return };
        if world.installation_of(deed.repository).is_none() {
            return;
        }
        let private = matches!(deed.action, Some("rerequested" | "requested_action"));
        if private && row.app_id != world.app.id {
            return;
        }
        let mut what = json!({ "check_run": world.run_event_json(home, row) });
        if let Some(identifier) = identifier {
            what["requested_action"] = json!({ "identifier": identifier });
        }
        self.emit(world, "check_run", deed, what);
    }

    /// `check_suite.<action>`.
    pub(crate) fn emit_suite(&self, world: &mut World, deed: Deed<'_>, suite: u64) {
        let Some(home) = world.repositories.get(&deed.repository) else { return };
        let Some(row) = home.suites.get(&suite) else { return };
        if deed.action != Some("completed") && row.app_id != world.app.id {
            return;
        }
        let what = json!({ "check_suite": world.suite_event_json(home, row) });
        self.emit(world, "check_suite", deed, what);
    }

    /// `pull_request.<action>` with more fields.
    pub(crate) fn emit_pull(
        &self,
        world: &mut World,
        deed: Deed<'_>,
        number: u64,
        mut what: Value,
    ) {
        let Some(home) = world.repositories.get(&deed.repository) else { return };
        let Some(pull) = home.pulls.get(&number) else { return };
        what["number"] = number.into();
        what["pull_request"] = world.pull_json(home, pull);
        self.emit(world, "pull_request", deed, what);
    }

    /// `issue_comment.<action>` with more fields.
    pub(crate) fn emit_comment(
        &self,
        world: &mut World,
        deed: Deed<'_>,
        comment: u64,
        mut what: Value,
    ) {
        let Some(home) = world.repositories.get(&deed.repository) else { return };
        let Some(row) = home.comments.get(&comment) else { return };
        let Some(conversation) = home.conversation(row.number) else { return };
        what["issue"] = world.conversation_json(home, conversation);
        what["comment"] = world.comment_json(home, row);
        self.emit(world, "issue_comment", deed, what);
    }

    /// `installation.<action>`, with the repositories; always delivered.
    pub(crate) fn emit_installation(&self, world: &mut World, action: &str, id: u64) {
        let Some(installation) = world.installations.get(&id) else { return };
        let repositories: Vec<Value> =
            installation.repositories.iter().map(|&id| world.tiny_repository_json(id)).collect();
        let mut payload = json!({
            "action": action,
            "installation": world.installation_json(installation),
            "sender": world.user_json(&installation.account),
        });
        if action != "suspend" && action != "unsuspend" {
            payload["repositories"] = repositories.into();
            payload["requester"] = Value::Null;
        }
        self.post(world, "installation", (Some(id), None), &payload);
    }

    /// `installation_repositories.added` or `.removed`.
    pub(crate) fn emit_selection(&self, world: &mut World, action: &str, id: u64, repository: u64) {
        let Some(installation) = world.installations.get(&id) else { return };
        let changed = json!([world.tiny_repository_json(repository)]);
        let (added, removed) =
            if action == "added" { (changed, json!([])) } else { (json!([]), changed) };
        let payload = json!({
            "action": action,
            "installation": world.installation_json(installation),
            "repository_selection": "selected",
            "repositories_added": added,
            "repositories_removed": removed,
            "requester": null,
            "sender": world.user_json(&installation.account),
        });
        self.post(world, "installation_repositories", (Some(id), None), &payload);
    }

    /// `ping`, as a new hook gets it: no installation, no repository, no action.
    pub(crate) fn emit_ping(&self, world: &mut World) {
        let id = crate::deliveries::HOOK_ID;
        let payload = json!({
            "zen": "Anything added dilutes everything else.",
            "hook_id": id,
            "hook": {
                "type": "App",
                "id": id,
                "name": "web",
                "active": true,
                "events": world.app_events,
                "config": {
                    "content_type": if world.hook.form { "form" } else { "json" },
                    "insecure_ssl": "0",
                    "secret": "********",
                    "url": world.hook.url,
                },
                "updated_at": crate::clock::stamp(world.started_at),
                "created_at": crate::clock::stamp(world.started_at),
                "app_id": world.app.id,
                "deliveries_url": format!("{}/app/hook/deliveries", world.api_url),
            },
        });
        self.post(world, "ping", (None, None), &payload);
    }
}
