//! Merges that are on no branch: made in the object store alone, the same wherever they are made.

use super::command::{LOCAL, Settings};
use super::error::GitError;
use super::objects::{Objects, sha};
use crate::domain::names::Sha;

/// Its author and time: whoever makes it again makes the same.
const BY: &str = "Checkvalve <checkvalve@localhost> 946684800 +0000";

/// What became of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// A commit with both as its parents.
    Commit(Sha),
    /// The files that both changed, so that only a person can say how, in order.
    Conflict(Vec<String>),
}

impl Objects {
    /// Merges `head` into `base` as git does, and touches no reference. Needs git 2.38.
    pub async fn merge(&self, base: &Sha, head: &Sha) -> Result<Merged, GitError> {
        const FORM: [&str; 5] =
            ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages"];
        let mut args = FORM.to_vec();
        args.extend([base.as_str(), head.as_str()]);
        let ended = self.git.run(&args, Settings::default(), None, LOCAL).await?;
        let conflicts = ended.code == Some(1);
        let stdout = if conflicts { ended.stdout } else { ended.success("merge-tree")? };
        let printed = String::from_utf8_lossy(&stdout).into_owned();
        let mut parts = printed.split('\0').filter(|part| !part.is_empty());
        let tree = sha(parts.next().unwrap_or_default(), "merge-tree")?;
        if conflicts {
            let mut files: Vec<String> = parts.map(str::to_owned).collect();
            files.sort();
            files.dedup();
            return Ok(Merged::Conflict(files));
        }
        let text = format!(
            "tree {tree}\nparent {base}\nparent {head}\nauthor {BY}\ncommitter {BY}\n\n\
             Merge {head} into {base}\n"
        );
        let args = ["hash-object", "-t", "commit", "-w", "--stdin"];
        let input = Some(text.into_bytes());
        let ended = self.git.run(&args, Settings::default(), input, LOCAL).await?;
        let stdout = ended.success("hash-object")?;
        Ok(Merged::Commit(sha(String::from_utf8_lossy(&stdout).trim(), "hash-object")?))
    }
}
