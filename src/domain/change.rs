//! What a pull request changes: complete, or *everything* because we could not know.

use serde::{Deserialize, Serialize};

/// How git says that a file differs between merge base and head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    Added,
    Modified,
    Deleted,
    Renamed,
    Copied,
    TypeChanged,
}

/// One file of a change. Paths are lossy UTF-8 of git's bytes, `/`-separated, never quoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ChangedFile {
    pub path: String,
    pub status: FileStatus,
    /// The other side of a rename; it counts as changed too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_path: Option<String>,
}

impl ChangedFile {
    /// Every path that this entry touches: both sides of a rename (not the source of a copy, which
    /// did not change).
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let old = match self.status {
            FileStatus::Renamed => self.old_path.as_deref(),
            FileStatus::Added
            | FileStatus::Modified
            | FileStatus::Deleted
            | FileStatus::Copied
            | FileStatus::TypeChanged => None,
        };
        std::iter::once(self.path.as_str()).chain(old)
    }
}

/// The files that differ between merge base and head. There is no `Default`: what could not be
/// known is never "nothing changed".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChangeSet {
    Complete { files: Vec<ChangedFile> },
    Everything { because: String },
}

impl ChangeSet {
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Complete { .. })
    }

    pub fn files(&self) -> &[ChangedFile] {
        match self {
            Self::Complete { files } => files,
            Self::Everything { .. } => &[],
        }
    }
}
