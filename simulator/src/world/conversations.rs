//! Plain issues, and what they have in common with pull requests: a number and comments.

use chrono::{DateTime, Utc};

use super::{Pull, Repository};

/// An issue that is no pull request.
#[derive(Debug, Clone)]
pub(crate) struct Issue {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) author: String,
    pub(crate) locked: bool,
    /// Its number answers 410.
    pub(crate) deleted: bool,
    pub(crate) created_at: DateTime<Utc>,
}

/// What a number stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Conversation<'a> {
    Pull(&'a Pull),
    Issue(&'a Issue),
}

impl Conversation<'_> {
    pub(crate) fn is_locked(self) -> bool {
        match self {
            Self::Pull(pull) => pull.locked,
            Self::Issue(issue) => issue.locked,
        }
    }

    pub(crate) fn is_deleted(self) -> bool {
        matches!(self, Self::Issue(Issue { deleted: true, .. }))
    }
}

impl Repository {
    /// The pull request or issue of a number.
    pub(crate) fn conversation(&self, number: u64) -> Option<Conversation<'_>> {
        let pull = self.pulls.get(&number).map(Conversation::Pull);
        pull.or_else(|| self.issues.get(&number).map(Conversation::Issue))
    }
}
