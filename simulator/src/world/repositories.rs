//! Repositories, and the facts about their commits that payloads carry.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::{CommentRow, Issue, Pull, QueuedGroup, Run, StatusRow, Suite};
use crate::api::{Permission, RequiredCheck};

/// A repository and all that hangs on it.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) id: u64,
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) private: bool,
    /// Read-only.
    pub(crate) archived: bool,
    pub(crate) default_branch: String,
    pub(crate) fork_of: Option<u64>,
    pub(crate) former_names: Vec<String>,
    /// The bare repository on disk.
    pub(crate) folder: PathBuf,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) pushed_at: DateTime<Utc>,
    pub(crate) auto_trigger_checks: bool,
    pub(crate) roles: BTreeMap<String, Permission>,
    /// What `author_association` says where a test wants it to.
    pub(crate) associations: BTreeMap<String, String>,
    /// Branch tips.
    pub(crate) branches: BTreeMap<String, String>,
    /// The branch a commit was pushed to, as suites remember it.
    pub(crate) pushed: BTreeMap<String, String>,
    pub(crate) commits: BTreeMap<String, CommitFacts>,
    pub(crate) pulls: BTreeMap<u64, Pull>,
    pub(crate) issues: BTreeMap<u64, Issue>,
    pub(crate) next_number: u64,
    pub(crate) comments: BTreeMap<u64, CommentRow>,
    pub(crate) suites: BTreeMap<u64, Suite>,
    pub(crate) runs: BTreeMap<u64, Run>,
    /// Commit statuses, oldest first.
    pub(crate) statuses: Vec<StatusRow>,
    /// What a branch demands before a merge.
    pub(crate) required: BTreeMap<String, Vec<RequiredCheck>>,
    /// The merge queue, first in line first.
    pub(crate) queue: Vec<QueuedGroup>,
}

/// What a payload says about a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitFacts {
    pub(crate) sha: String,
    pub(crate) tree: String,
    pub(crate) parents: Vec<String>,
    pub(crate) author_name: String,
    pub(crate) author_email: String,
    pub(crate) date: String,
    pub(crate) message: String,
}

impl Repository {
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The role of a login: the owner of a personal repository has everything.
    pub(crate) fn role(&self, login: &str) -> Permission {
        let login = login.to_lowercase();
        if login == self.owner.to_lowercase() {
            return Permission::Admin;
        }
        let floor = if self.private { Permission::None } else { Permission::Read };
        self.roles.get(&login).copied().unwrap_or(Permission::None).max(floor)
    }

    /// `author_association` is computed without a viewer and says nothing about permission:
    /// writers whose membership is private show as contributors, readers may show as members.
    /// The defaults here disagree with [`Self::role`] on purpose.
    pub(crate) fn association(&self, login: &str) -> String {
        let login = login.to_lowercase();
        if let Some(said) = self.associations.get(&login) {
            return said.clone();
        }
        if login == self.owner.to_lowercase() {
            return "OWNER".to_owned();
        }
        let association = match self.roles.get(&login) {
            Some(Permission::Admin | Permission::Read | Permission::Triage) => "MEMBER",
            Some(Permission::Write | Permission::Maintain) => "CONTRIBUTOR",
            Some(Permission::None) | None => "NONE",
        };
        association.to_owned()
    }

    /// A full SHA that this repository knows for a branch, a tag-less ref name or a SHA.
    pub(crate) fn resolve(&self, reference: &str) -> Option<String> {
        let name = reference.strip_prefix("refs/").unwrap_or(reference);
        let name = name.strip_prefix("heads/").unwrap_or(name);
        self.branches
            .get(name)
            .cloned()
            .or_else(|| self.commits.contains_key(reference).then(|| reference.to_owned()))
    }
}
