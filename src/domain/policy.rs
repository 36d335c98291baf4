//! Who may do what. GitHub's collaborator permission decides, never `author_association`, which
//! shows private members as strangers.

use serde::{Deserialize, Serialize};

/// A collaborator's permission, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Permission {
    None,
    Read,
    Triage,
    Write,
    Maintain,
    Admin,
}

impl Permission {
    pub fn may_write(self) -> bool {
        self >= Self::Write
    }
}
