//! What GitHub tells us, in our words. `github::webhook` makes these from payloads.

use serde::{Deserialize, Serialize};

use super::names::{RepoName, Sha};
use super::run::Repository;
use super::time::Timestamp;

/// A delivery, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// GitHub greets a new hook.
    Ping,
    /// The App was installed, removed, suspended, or its repositories changed.
    Installation { action: String, installation: u64, repositories: Vec<RepoName> },
    PullRequest {
        action: PullAction,
        repository: Repository,
        pull: PullFacts,
        /// The head that a push replaced.
        before: Option<Sha>,
        sender: Actor,
    },
    /// A new comment on a pull request (edits and comments on issues become [`Event::Ignored`]).
    Comment {
        repository: Repository,
        pull: u64,
        comment: u64,
        author: Actor,
        body: String,
        /// When, by GitHub's clock, to the second; absent if that is not told.
        written: Option<Timestamp>,
    },
    /// "Re-run" on one check run of ours, or one of our buttons on it.
    CheckRun { repository: Repository, check: CheckFacts, button: Button, sender: Actor },
    /// "Re-run all checks".
    CheckSuite { repository: Repository, suite: u64, head_sha: Sha, sender: Actor },
    /// A branch moved, or went away.
    Push { repository: Repository, push: PushFacts, sender: Actor },
    /// The merge queue made a group of pull requests, or took one apart.
    MergeGroup { repository: Repository, group: GroupFacts, action: GroupAction, sender: Actor },
    /// The repository itself changed: its name, its owner, who may see it, or that it is there at all.
    Repository { action: String, repository: Repository },
    /// A label that may be a command was put on a pull request.
    Label {
        repository: Repository,
        pull: u64,
        label: String,
        sender: Actor,
        /// When, by GitHub's clock, to the second; absent if that is not told.
        written: Option<Timestamp>,
    },
    /// Not for us; kept and acknowledged.
    Ignored { because: String },
}

/// Do we ever act on events of this kind, by the names that GitHub gives them? What is not acted on
/// need not come, and need not be kept; a greeting (`ping`) is only returned. Where the action is not told, it may be one that is.
pub fn is_acted_on(event: &str, action: Option<&str>) -> bool {
    let acted_on: &[&str] = match event {
        "installation" | "push" | "repository" => return true,
        "installation_repositories" => &["added", "removed"],
        "pull_request" => &[
            "opened",
            "synchronize",
            "reopened",
            "ready_for_review",
            "converted_to_draft",
            "closed",
            "edited",
            "labeled",
        ],
        "issue_comment" => &["created"],
        "check_run" => &["rerequested", "requested_action"],
        "check_suite" => &["rerequested"],
        "merge_group" => &["checks_requested", "destroyed"],
        _ => &[],
    };
    action.map_or(!acted_on.is_empty(), |action| acted_on.contains(&action))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Button {
    Rerun,
    /// `requested_action.identifier`.
    Action(String),
}

/// The check run that an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckFacts {
    pub id: u64,
    pub name: String,
    pub external_id: String,
    pub head_sha: Sha,
    /// Whose it is; other Apps' are not ours to run again.
    pub app_id: u64,
}

/// A GitHub account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub login: String,
    pub bot: bool,
}

/// A push, as its event tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushFacts {
    /// Absent for a tag.
    pub branch: Option<String>,
    pub default_branch: String,
    /// Where the branch was; absent for a new one.
    pub before: Option<Sha>,
    /// Where it is now; absent for one that was deleted.
    pub after: Option<Sha>,
    /// The first line of its last commit's message.
    pub title: String,
}

/// A merge group, as its event tells it. It names no pull requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    pub head_sha: Sha,
    pub head_ref: String,
    pub base_sha: Sha,
    pub base_ref: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupAction {
    /// It waits for its required checks.
    ChecksRequested,
    /// `merged`, `invalidated` or `dequeued`.
    Destroyed { reason: String },
}

/// The actions of `pull_request` that we act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullAction {
    Opened,
    /// The head moved; the sender pushed it.
    Synchronize,
    /// It was pointed at another base.
    Retargeted,
    Reopened,
    ReadyForReview,
    /// It is a draft again, which is noted: drafts are tested as others are.
    ConvertedToDraft,
    Closed,
}

/// A pull request as an event or the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullFacts {
    pub number: u64,
    pub title: String,
    pub author: Actor,
    pub open: bool,
    pub draft: bool,
    pub head_sha: Sha,
    pub head_ref: String,
    /// `None` when the fork was deleted.
    pub head_repo: Option<RepoName>,
    /// What it is called may change. Absent in what was stored before ids were.
    #[serde(default)]
    pub head_repo_id: Option<u64>,
    pub base_sha: Sha,
    pub base_ref: String,
}
