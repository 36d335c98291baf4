//! The head merged with its base (`merge: true`), or why there is no such merge.

use serde::{Deserialize, Serialize};

use crate::domain::names::Sha;

/// A merge that is tested in place of the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The commit that the head is merged with.
    pub base: Sha,
    /// The merge, which whoever has both makes the same: it is on no branch.
    pub commit: Sha,
}

/// Why nothing is tested: the head and its base don't merge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The commit that the head does not merge with.
    pub base: Sha,
    /// The first of the files that both changed, in order; never empty.
    files: Vec<String>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    more: usize,
}

/// Files of a conflict that are kept.
const NAMED: usize = 50;

impl Conflict {
    pub fn new(base: Sha, mut files: Vec<String>) -> Self {
        let more = files.len().saturating_sub(NAMED);
        files.truncate(NAMED);
        Self { base, files, more }
    }

    /// In a sentence: `` `a.py` conflicts with the base branch ``.
    pub fn what(&self) -> String {
        match self.files.as_slice() {
            [only] => format!("`{only}` conflicts with the base branch"),
            many => format!("{} files conflict with the base branch", many.len() + self.more),
        }
    }

    /// The files, a line each; and how many are not named.
    pub fn listed(&self) -> String {
        let mut lines = self.files.clone();
        if self.more > 0 {
            lines.push(format!("… and {} more", self.more));
        }
        lines.join("\n")
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_its_files_and_counts_those_it_can_not() {
        let base: Sha = "b".repeat(40).parse().unwrap();
        let one = Conflict::new(base.clone(), vec!["a b".to_owned()]);
        assert_eq!(one.what(), "`a b` conflicts with the base branch");
        assert_eq!(one.listed(), "a b");
        let many = Conflict::new(base, (0..60).map(|n| n.to_string()).collect());
        assert_eq!(many.what(), "60 files conflict with the base branch");
        assert!(many.listed().ends_with("\n49\n… and 10 more"), "{}", many.listed());
        let stored = serde_json::to_string(&many).unwrap();
        assert_eq!(serde_json::from_str::<Conflict>(&stored).unwrap(), many);
    }
}
