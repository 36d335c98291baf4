//! Payloads about branches, merge groups, labels and the repository itself.

use serde::Deserialize;
use serde_json::Value;

use super::{Delivery, PayloadError, ignored, wire};
use crate::domain::event::{Actor, Event, GroupAction, GroupFacts, PushFacts};
use crate::domain::names::Sha;
use crate::domain::time::Timestamp;

/// Titles are one line of a page.
const TITLE: usize = 200;

impl Delivery<'_> {
    pub(super) fn push(&self) -> Result<Event, PayloadError> {
        let payload: PushPayload = self.read()?;
        let repository = self.repository(&payload.repository.plain, &payload.installation)?;
        let message = payload.head_commit.and_then(|commit| commit.message).unwrap_or_default();
        let push = PushFacts {
            branch: payload.reference.strip_prefix("refs/heads/").map(str::to_owned),
            default_branch: payload.repository.default_branch.unwrap_or_default(),
            before: self.commit(payload.before.as_deref())?,
            after: self.commit(payload.after.as_deref())?,
            title: message.lines().next().unwrap_or_default().chars().take(TITLE).collect(),
        };
        Ok(Event::Push { repository, push, sender: actor(payload.sender) })
    }

    /// Where there is none, GitHub writes zeros.
    fn commit(&self, sha: Option<&str>) -> Result<Option<Sha>, PayloadError> {
        let there = sha.filter(|sha| sha.bytes().any(|digit| digit != b'0'));
        there.map(|sha| self.sha(sha)).transpose()
    }

    pub(super) fn merge_group(&self) -> Result<Event, PayloadError> {
        let payload: MergeGroupPayload = self.read()?;
        let branch =
            |name: String| name.strip_prefix("refs/heads/").map_or(name.clone(), str::to_owned);
        let group = GroupFacts {
            head_sha: self.sha(&payload.merge_group.head_sha)?,
            head_ref: branch(payload.merge_group.head_ref),
            base_sha: self.sha(&payload.merge_group.base_sha)?,
            base_ref: branch(payload.merge_group.base_ref),
        };
        let action = match self.action {
            "destroyed" => GroupAction::Destroyed { reason: payload.reason.unwrap_or_default() },
            _ => GroupAction::ChecksRequested,
        };
        let repository = self.repository(&payload.repository, &payload.installation)?;
        Ok(Event::MergeGroup { repository, group, action, sender: actor(payload.sender) })
    }

    pub(super) fn repository_changed(&self) -> Result<Event, PayloadError> {
        let payload: RepositoryPayload = self.read()?;
        let repository = self.repository(&payload.repository, &payload.installation)?;
        Ok(Event::Repository { action: self.action.to_owned(), repository })
    }

    /// A label is of no use here unless it is a command.
    pub(super) fn label(&self) -> Result<Event, PayloadError> {
        let payload: LabelPayload = self.read()?;
        let label = payload.label.map(|label| label.name).unwrap_or_default();
        if !label.starts_with('/') {
            return Ok(ignored("the label is no command".to_owned()));
        }
        let repository = self.repository(&payload.repository, &payload.installation)?;
        let (pull, sender) = (payload.pull_request.number, actor(payload.sender));
        let written = payload.pull_request.updated_at.as_ref().and_then(Value::as_str);
        let written = written.and_then(Timestamp::parse);
        Ok(Event::Label { repository, pull, label, sender, written })
    }
}

fn actor(sender: Option<wire::User>) -> Actor {
    sender.map_or_else(wire::ghost, Into::into)
}

#[derive(Deserialize)]
struct PushPayload {
    #[serde(rename = "ref")]
    reference: String,
    before: Option<String>,
    after: Option<String>,
    head_commit: Option<Commit>,
    repository: Home,
    installation: wire::Id,
    sender: Option<wire::User>,
}

#[derive(Deserialize)]
struct Commit {
    message: Option<String>,
}

#[derive(Deserialize)]
struct Home {
    #[serde(flatten)]
    plain: wire::Repository,
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct MergeGroupPayload {
    merge_group: Group,
    reason: Option<String>,
    repository: wire::Repository,
    installation: wire::Id,
    sender: Option<wire::User>,
}

#[derive(Deserialize)]
struct Group {
    head_sha: String,
    head_ref: String,
    base_sha: String,
    base_ref: String,
}

#[derive(Deserialize)]
struct RepositoryPayload {
    repository: wire::Repository,
    installation: wire::Id,
}

#[derive(Deserialize)]
struct LabelPayload {
    label: Option<Label>,
    pull_request: Labelled,
    repository: wire::Repository,
    installation: wire::Id,
    sender: Option<wire::User>,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

#[derive(Deserialize)]
struct Labelled {
    #[serde(deserialize_with = "wire::number")]
    number: u64,
    /// When it was labelled: nothing has changed since.
    #[serde(default)]
    updated_at: Option<Value>,
}
