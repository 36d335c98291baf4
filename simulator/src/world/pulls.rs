//! Pull requests and their conversation.

use chrono::{DateTime, Utc};

/// A pull request.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "GitHub's own flags, independent of each other")]
pub(crate) struct Pull {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) author: String,
    pub(crate) draft: bool,
    pub(crate) open: bool,
    pub(crate) merged: bool,
    pub(crate) locked: bool,
    /// `None` once the fork was deleted.
    pub(crate) head_repository: Option<u64>,
    pub(crate) head_owner: String,
    pub(crate) head_branch: String,
    pub(crate) head_sha: String,
    pub(crate) base_branch: String,
    pub(crate) base_sha: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) closed_at: Option<DateTime<Utc>>,
    pub(crate) size: PullSize,
    pub(crate) merge: Merge,
}

/// What the "Files changed" tab counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PullSize {
    pub(crate) commits: u64,
    pub(crate) additions: u64,
    pub(crate) deletions: u64,
    pub(crate) changed_files: u64,
}

/// The test merge, which GitHub computes after somebody asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Nobody asked since the last push: `mergeable: null`.
    #[default]
    Unknown,
    /// The merge commit.
    Clean(String),
    Conflict,
}

/// A comment on a pull request.
#[derive(Debug, Clone)]
pub(crate) struct CommentRow {
    pub(crate) id: u64,
    pub(crate) number: u64,
    pub(crate) user: String,
    pub(crate) body: String,
    pub(crate) by_app: bool,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) reactions: Vec<Reaction>,
}

/// A reaction to a comment.
#[derive(Debug, Clone)]
pub(crate) struct Reaction {
    pub(crate) id: u64,
    pub(crate) user: String,
    pub(crate) content: String,
    pub(crate) created_at: DateTime<Utc>,
}

impl Pull {
    pub(crate) fn state(&self) -> &'static str {
        if self.open { "open" } else { "closed" }
    }
}
