//! What `diff --raw -z` prints: the files that differ, and the way back from one tree to the other.

use std::collections::HashSet;

use super::error::{GitError, telling};
use super::objects::{EntryKind, TreeEntry, kind, lossy, sha};
use crate::domain::change::{ChangedFile, FileStatus};

/// A file that differs between two sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) file: ChangedFile,
    /// What the first side has there and the second does not.
    before: Option<TreeEntry>,
    /// The path's bytes on the second side, if it has something there.
    after: Option<Box<[u8]>>,
}

impl Difference {
    /// The bytes of the path that the second side has, if it has one; else of the first's.
    pub(super) fn path_bytes(&self) -> &[u8] {
        let before = || self.before.as_ref().map(TreeEntry::path_bytes);
        self.after.as_deref().or_else(before).unwrap_or_default()
    }
}

/// `:<mode> <mode> <oid> <oid> <status>` NUL path NUL, and another path NUL for renames and copies.
pub(super) fn differences(raw: &[u8]) -> Result<Vec<Difference>, GitError> {
    let mut fields = raw.split(|byte| *byte == 0);
    let mut found = Vec::new();
    while let Some(facts) = fields.next().filter(|facts| !facts.is_empty()) {
        let bad = || GitError::Output {
            command: "diff".to_owned(),
            text: telling(&String::from_utf8_lossy(facts)),
        };
        let text = std::str::from_utf8(facts).ok().and_then(|text| text.strip_prefix(':'));
        let words: Vec<&str> = text.ok_or_else(bad)?.split(' ').collect();
        let [mode, new_mode, oid, _, status] = words.as_slice() else { return Err(bad()) };
        let status = of_letter(status).ok_or_else(bad)?;
        let first = fields.next().ok_or_else(bad)?;
        let second = match status {
            FileStatus::Renamed | FileStatus::Copied => Some(fields.next().ok_or_else(bad)?),
            FileStatus::Added
            | FileStatus::Modified
            | FileStatus::Deleted
            | FileStatus::TypeChanged => None,
        };
        // The source of a copy is still there.
        let before = match kind(mode) {
            Some(kind) if status != FileStatus::Copied => Some(entry(kind, oid, first)?),
            Some(_) | None => None,
        };
        let path = second.unwrap_or(first);
        let after = kind(new_mode).map(|_| path.into());
        let old_path = second.map(|_| lossy(first).0);
        let file = ChangedFile { path: lossy(path).0, status, old_path };
        found.push(Difference { file, before, after });
    }
    Ok(found)
}

fn entry(kind: EntryKind, oid: &str, path: &[u8]) -> Result<TreeEntry, GitError> {
    let (path, raw) = lossy(path);
    Ok(TreeEntry { kind, oid: sha(oid, "diff")?, path, raw })
}

fn of_letter(status: &str) -> Option<FileStatus> {
    Some(match status.as_bytes().first()? {
        b'A' => FileStatus::Added,
        b'D' => FileStatus::Deleted,
        b'T' => FileStatus::TypeChanged,
        b'R' => FileStatus::Renamed,
        b'C' => FileStatus::Copied,
        // Unmerged and unknown: it differs, which is what counts.
        b'M' | b'U' | b'X' => FileStatus::Modified,
        _ => return None,
    })
}

/// The tree on the first side of complete differences, given the one on the second: most of a large
/// tree is the same on both, and need not be listed twice.
pub(super) fn before(after: &[TreeEntry], differences: &[Difference]) -> Vec<TreeEntry> {
    let gone: HashSet<&[u8]> = differences.iter().filter_map(|one| one.after.as_deref()).collect();
    let stayed = after.iter().filter(|entry| !gone.contains(entry.path_bytes())).cloned();
    let mut entries: Vec<TreeEntry> = stayed.collect();
    entries.extend(differences.iter().filter_map(|one| one.before.clone()));
    entries.sort_by(|a, b| a.path_bytes().cmp(b.path_bytes()));
    entries
}
