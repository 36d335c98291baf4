//! Payloads, as GitHub writes them: only the fields that we use, so that GitHub may add or drop
//! any other. Nothing of these shapes leaves this file but as [`Event`].

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

mod branches;
mod occasion;

use super::wire;
use crate::domain::event::{Actor, Button, CheckFacts, Event, PullAction, PullFacts, is_acted_on};
use crate::domain::names::Sha;
use crate::domain::run::Repository;
use crate::domain::time::Timestamp;

/// A delivery's payload in our words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understood {
    /// The payload's `action`, where the event has one.
    pub action: Option<String>,
    pub event: Event,
    /// What in the payload itself tells this act from the next one of its kind: an event that comes
    /// under two GUIDs has one. Absent where the event's own numbers tell, or nothing does.
    pub occasion: Option<String>,
}

/// Why a payload can't be read. The delivery is kept: it can be handled again after a fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    #[error("the body is not a JSON object: {0}")]
    NotJson(String),
    #[error("the payload of `{event}` lacks what we need of it: {why}")]
    Shape { event: String, why: String },
}

/// Reads the payload of `event` (the `X-GitHub-Event` header). Events and actions that we do not
/// know, or do not act on, are [`Event::Ignored`]: GitHub adds new ones at any time.
pub fn parse(event: &str, body: &[u8]) -> Result<Understood, PayloadError> {
    // serde looks at the text of the fields alone that it keeps.
    if let Err(error) = std::str::from_utf8(body) {
        return Err(PayloadError::NotJson(error.to_string()));
    }
    // serde would read a JSON array as a struct's fields in order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(PayloadError::NotJson("it does not begin with `{`".to_owned()));
    }
    let head: Head =
        serde_json::from_slice(body).map_err(|error| PayloadError::NotJson(error.to_string()))?;
    let action = head.action.as_ref().and_then(|action| action.as_str().map(str::to_owned));
    let delivery = Delivery {
        event,
        action: action.as_deref().unwrap_or_default(),
        installed: head.installation.is_some(),
        body,
    };
    let occasion = occasion::of(&delivery);
    let event = delivery.understand()?;
    Ok(Understood { action, event, occasion })
}

/// The installation of the App whose event it is, if the payload names one.
pub fn installation(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Installed {
        installation: Option<wire::Id>,
    }
    Some(serde_json::from_slice::<Installed>(body).ok()?.installation?.id)
}

#[derive(Deserialize)]
struct Head {
    /// Any JSON: an unknown event may mean something else by it.
    #[serde(default)]
    action: Option<Value>,
    #[serde(default)]
    installation: Option<serde::de::IgnoredAny>,
}

struct Delivery<'a> {
    event: &'a str,
    action: &'a str,
    /// Does it name an installation of an App? Deliveries of a repository's own hook do not.
    installed: bool,
    body: &'a [u8],
}

impl Delivery<'_> {
    fn understand(&self) -> Result<Event, PayloadError> {
        match (self.event, self.action) {
            ("ping", _) => Ok(Event::Ping),
            ("installation", _) => self.installation(),
            ("installation_repositories", _) => self.installation_repositories(),
            // Without an installation there is no token to act with.
            (
                "pull_request" | "issue_comment" | "check_run" | "check_suite" | "merge_group"
                | "push" | "repository",
                _,
            ) if !self.installed => {
                Ok(ignored(format!("`{}` names no installation of the App", self.event)))
            }
            ("issue_comment", "edited") => {
                Ok(ignored("an edited comment never runs anything".to_owned()))
            }
            _ if !is_acted_on(self.event, self.told_action()) => Ok(self.ignored()),
            ("push", _) => self.push(),
            ("merge_group", "checks_requested" | "destroyed") => self.merge_group(),
            ("repository", _) => self.repository_changed(),
            ("pull_request", "labeled") => self.label(),
            ("pull_request", _) => self.pull_request(),
            ("issue_comment", "created") => self.comment(),
            ("check_run", "rerequested" | "requested_action") => self.check_run(),
            ("check_suite", "rerequested") => self.check_suite(),
            _ => Ok(self.ignored()),
        }
    }

    fn told_action(&self) -> Option<&str> {
        Some(self.action).filter(|action| !action.is_empty())
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        serde_json::from_slice(self.body).map_err(|error| self.shape(&error))
    }

    fn shape(&self, why: &dyn std::fmt::Display) -> PayloadError {
        PayloadError::Shape { event: self.event.to_owned(), why: why.to_string() }
    }

    fn ignored(&self) -> Event {
        match self.action {
            "" => ignored(format!("we do not act on `{}`", self.event)),
            action => ignored(format!("we do not act on `{}` with `{action}`", self.event)),
        }
    }

    fn repository(
        &self,
        repository: &wire::Repository,
        installation: &wire::Id,
    ) -> Result<Repository, PayloadError> {
        let name = repository.full_name.parse().map_err(|error| self.shape(&error))?;
        let (id, private) = (repository.id, repository.private);
        Ok(Repository { id, name, installation: installation.id, private })
    }

    fn installation(&self) -> Result<Event, PayloadError> {
        let payload: InstallationPayload = self.read()?;
        Ok(self.installed(&payload, &payload.repositories))
    }

    fn installation_repositories(&self) -> Result<Event, PayloadError> {
        let payload: InstallationPayload = self.read()?;
        Ok(match self.action {
            "added" => self.installed(&payload, &payload.repositories_added),
            "removed" => self.installed(&payload, &payload.repositories_removed),
            _ => self.ignored(),
        })
    }

    fn installed(&self, payload: &InstallationPayload, repositories: &[wire::FullName]) -> Event {
        let repositories =
            repositories.iter().filter_map(|named| named.full_name.parse().ok()).collect();
        let (action, installation) = (self.action.to_owned(), payload.installation.id);
        Event::Installation { action, installation, repositories }
    }

    fn pull_request(&self) -> Result<Event, PayloadError> {
        let action = match self.action {
            "opened" => PullAction::Opened,
            "synchronize" => PullAction::Synchronize,
            "reopened" => PullAction::Reopened,
            "ready_for_review" => PullAction::ReadyForReview,
            "converted_to_draft" => PullAction::ConvertedToDraft,
            "closed" => PullAction::Closed,
            // A pull request that is pointed at another base has another change set.
            "edited" if self.read::<EditedPayload>()?.changes.base.is_some() => {
                PullAction::Retargeted
            }
            _ => return Ok(self.ignored()),
        };
        let payload: PullRequestPayload = self.read()?;
        let sender = payload.sender.map_or_else(wire::ghost, Into::into);
        let repository = self.repository(&payload.repository, &payload.installation)?;
        let pull = PullFacts::try_from(payload.pull_request).map_err(|error| self.shape(&error))?;
        let before = payload.before.as_ref().and_then(Value::as_str);
        let before = before.and_then(|before| before.parse().ok());
        Ok(Event::PullRequest { action, repository, pull, before, sender })
    }

    fn comment(&self) -> Result<Event, PayloadError> {
        let payload: IssueCommentPayload = self.read()?;
        if payload.issue.pull_request.is_none() {
            return Ok(ignored("the comment stands on an issue, not a pull request".to_owned()));
        }
        let repository = self.repository(&payload.repository, &payload.installation)?;
        let author: Actor = payload.comment.user.map_or_else(wire::ghost, Into::into);
        Ok(Event::Comment {
            repository,
            pull: payload.issue.number,
            comment: payload.comment.id,
            author,
            body: payload.comment.body.unwrap_or_default(),
            written: payload
                .comment
                .created_at
                .as_ref()
                .and_then(Value::as_str)
                .and_then(Timestamp::parse),
        })
    }

    fn check_run(&self) -> Result<Event, PayloadError> {
        let payload: CheckRunPayload = self.read()?;
        let repository = self.repository(&payload.repository, &payload.installation)?;
        let button = match (self.action, payload.requested_action) {
            ("requested_action", Some(button)) => Button::Action(button.identifier),
            ("requested_action", None) => return Err(self.shape(&"no `requested_action`")),
            _ => Button::Rerun,
        };
        let run = payload.check_run;
        let check = CheckFacts {
            id: run.id,
            name: run.name,
            external_id: run.external_id.unwrap_or_default(),
            head_sha: self.sha(&run.head_sha)?,
            // No App has the id 0: it is nobody's, so not ours.
            app_id: run.app.map_or(0, |app| app.id),
        };
        let sender = payload.sender.map_or_else(wire::ghost, Into::into);
        Ok(Event::CheckRun { repository, check, button, sender })
    }

    fn check_suite(&self) -> Result<Event, PayloadError> {
        let payload: CheckSuitePayload = self.read()?;
        Ok(Event::CheckSuite {
            repository: self.repository(&payload.repository, &payload.installation)?,
            suite: payload.check_suite.id,
            head_sha: self.sha(&payload.check_suite.head_sha)?,
            sender: payload.sender.map_or_else(wire::ghost, Into::into),
        })
    }

    fn sha(&self, text: &str) -> Result<Sha, PayloadError> {
        text.parse().map_err(|error| self.shape(&error))
    }
}

fn ignored(because: String) -> Event {
    Event::Ignored { because }
}

#[derive(Deserialize)]
struct InstallationPayload {
    installation: wire::Id,
    #[serde(default)]
    repositories: Vec<wire::FullName>,
    #[serde(default)]
    repositories_added: Vec<wire::FullName>,
    #[serde(default)]
    repositories_removed: Vec<wire::FullName>,
}

#[derive(Deserialize)]
struct PullRequestPayload {
    pull_request: wire::Pull,
    /// Of `synchronize` alone.
    #[serde(default)]
    before: Option<Value>,
    repository: wire::Repository,
    installation: wire::Id,
    sender: Option<wire::User>,
}

#[derive(Deserialize)]
struct EditedPayload {
    #[serde(default)]
    changes: Changes,
}

#[derive(Default, Deserialize)]
struct Changes {
    base: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct IssueCommentPayload {
    issue: Issue,
    comment: Comment,
    repository: wire::Repository,
    installation: wire::Id,
}

#[derive(Deserialize)]
struct Issue {
    #[serde(deserialize_with = "wire::number")]
    number: u64,
    /// Present on pull requests only.
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Comment {
    #[serde(deserialize_with = "wire::number")]
    id: u64,
    body: Option<String>,
    user: Option<wire::User>,
    #[serde(default)]
    created_at: Option<Value>,
}

#[derive(Deserialize)]
struct CheckRunPayload {
    check_run: wire::CheckRun,
    requested_action: Option<RequestedAction>,
    repository: wire::Repository,
    installation: wire::Id,
    sender: Option<wire::User>,
}

#[derive(Deserialize)]
struct RequestedAction {
    identifier: String,
}

#[derive(Deserialize)]
struct CheckSuitePayload {
    check_suite: Suite,
    repository: wire::Repository,
    installation: wire::Id,
    sender: Option<wire::User>,
}

#[derive(Deserialize)]
struct Suite {
    #[serde(deserialize_with = "wire::number")]
    id: u64,
    head_sha: String,
}
