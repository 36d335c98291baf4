//! What lies in a work tree now: index, changes that are not staged, and untracked files.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::compare::Comparison;
use super::diff::{Difference, differences};
use super::error::{GitError, telling};
use super::export;
use super::local::LocalRepo;
use super::objects::{EntryKind, TreeEntry, kind, lossy, sha};
use crate::domain::change::{ChangeSet, ChangedFile, FileStatus};
use crate::domain::names::Sha;

/// What of a work tree is not in its index, at one moment.
#[derive(Debug)]
pub struct Unstaged {
    /// Tracked files that differ from the index.
    differ: Vec<Difference>,
    /// Files that are neither tracked nor ignored.
    untracked: Vec<Box<[u8]>>,
}

impl Unstaged {
    /// Every file that is not as the index has it.
    fn files(&self) -> impl Iterator<Item = ChangedFile> {
        let untracked = self.untracked.iter().map(|path| ChangedFile {
            path: lossy(path).0,
            status: FileStatus::Added,
            old_path: None,
        });
        self.differ.iter().map(|one| one.file.clone()).chain(untracked)
    }
}

impl LocalRepo {
    pub async fn unstaged(&self) -> Result<Unstaged, GitError> {
        let git = &self.objects().git;
        let differ = diff(&["--no-renames"]);
        let untracked = ["ls-files", "-z", "--others", "--exclude-standard"];
        let (differ, untracked) = tokio::join!(git.read(&differ), git.read(&untracked));
        let untracked = untracked?;
        let untracked = untracked.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        // A repository within this one is listed as a folder.
        let untracked = untracked.map(|path| path.strip_suffix(b"/").unwrap_or(path).into());
        Ok(Unstaged { differ: differences(&differ?)?, untracked: untracked.collect() })
    }

    /// What HEAD, the index and the work tree change since they left `base`; over all merge bases
    /// if there are several. What is staged and then undone in the work tree is still in the index,
    /// and counts.
    pub async fn changes(&self, base: &Sha, tip: &Sha, unstaged: &Unstaged) -> Comparison {
        let bases = match self.objects().known_merge_bases(base, tip).await {
            Ok(Ok(bases)) => bases,
            Ok(Err(because)) => return Comparison::everything(None, because),
            Err(error) => return Comparison::everything(None, error.to_string()),
        };
        let first = bases.first().cloned();
        let mut files: BTreeSet<ChangedFile> = unstaged.files().collect();
        for from in &bases {
            match self.staged(from).await {
                Ok(staged) => files.extend(staged.into_iter().map(|one| one.file)),
                Err(error) => return Comparison::everything(first, error.to_string()),
            }
        }
        let change = ChangeSet::Complete { files: files.into_iter().collect() };
        Comparison::listed(first, change)
    }

    /// What differs between a commit and the index.
    async fn staged(&self, commit: &Sha) -> Result<Vec<Difference>, GitError> {
        let git = &self.objects().git;
        let since = ["--end-of-options", commit.as_str()];
        let args = |renames| diff(&[&["--cached", renames], &since[..]].concat());
        let raw = match git.read(&args("-M")).await {
            Ok(raw) => raw,
            // A partial clone may not have what git reads to find renames.
            Err(_) => git.read(&args("--no-renames")).await?,
        };
        differences(&raw)
    }

    /// The files that are here now: tracked ones, and untracked ones that are not ignored. Those
    /// that differ from the index have no object name but that of nothing; those that a sparse
    /// checkout leaves out are here as the index has them.
    pub async fn files(&self, unstaged: &Unstaged) -> Result<Vec<TreeEntry>, GitError> {
        let top = self.work_tree().ok_or(GitError::NoWorkTree)?;
        let listed = self.objects().git.read(&["ls-files", "-z", "--cached", "--stage"]).await?;
        let changed: BTreeSet<&[u8]> = unstaged.differ.iter().map(Difference::path_bytes).collect();
        let nothing = sha(&"0".repeat(40), "ls-files")?;
        let mut entries = Vec::new();
        // By path; may it be a folder?
        let untracked = unstaged.untracked.iter().map(|path| (path.as_ref(), true));
        let mut on_disk: BTreeMap<&[u8], bool> = untracked.collect();
        for record in listed.split(|byte| *byte == 0).filter(|record| !record.is_empty()) {
            let (entry, stage, path) = staged_entry(record)?;
            // Of a conflict there are several stages.
            if stage == "0" && !changed.contains(path) {
                entries.push(entry);
            } else {
                on_disk.insert(path, entry.kind == EntryKind::Submodule);
            }
        }
        for (path, may_be_folder) in on_disk {
            let path_below = export::as_path(path);
            // Git tracks nothing behind a link: what lies there may be of anywhere.
            if is_behind_link(top, &path_below) {
                continue;
            }
            let Some(kind) = kind_on_disk(&top.join(path_below)) else { continue };
            // A folder where a file was: what is in it stands for itself.
            if kind == EntryKind::Submodule && !may_be_folder {
                continue;
            }
            let (path, raw) = lossy(path);
            entries.push(TreeEntry { kind, oid: nothing.clone(), path, raw });
        }
        entries.sort_by(|a, b| a.path_bytes().cmp(b.path_bytes()));
        Ok(entries)
    }
}

/// Commits of submodules count, whatever `.gitmodules` asks for; what lies around in their folders
/// does not.
fn diff<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let common = ["diff", "--raw", "-z", "--no-abbrev", "--no-ext-diff", "--no-textconv"];
    [&common[..], &["--no-relative", "--ignore-submodules=dirty"], more].concat()
}

/// `<mode> <oid> <stage>\t<path>`: the entry, the stage, the path.
fn staged_entry(record: &[u8]) -> Result<(TreeEntry, &str, &[u8]), GitError> {
    let bad = || GitError::Output {
        command: "ls-files".to_owned(),
        text: telling(&String::from_utf8_lossy(record)),
    };
    let tab = record.iter().position(|byte| *byte == b'\t').ok_or_else(bad)?;
    let (facts, bytes) = (&record[..tab], &record[tab + 1..]);
    let facts = std::str::from_utf8(facts).map_err(|_| bad())?;
    let facts: Vec<&str> = facts.split(' ').collect();
    let [mode, oid, stage] = facts.as_slice() else { return Err(bad()) };
    let kind = kind(mode).ok_or_else(bad)?;
    let (path, raw) = lossy(bytes);
    let entry = TreeEntry { kind, oid: sha(oid, "ls-files")?, path, raw };
    Ok((entry, stage, bytes))
}

/// Does one of the folders before the file turn out to be a symbolic link?
fn is_behind_link(top: &Path, path: &Path) -> bool {
    let folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    let mut folders = folders.map(|folder| top.join(folder));
    folders.any(|folder| folder.is_symlink())
}

/// What lies at a path now; `None` for nothing, and for what git does not track.
fn kind_on_disk(path: &Path) -> Option<EntryKind> {
    let facts = std::fs::symlink_metadata(path).ok()?;
    if facts.is_dir() {
        Some(EntryKind::Submodule)
    } else if facts.is_symlink() {
        Some(EntryKind::Symlink)
    } else if !facts.is_file() {
        None
    } else if facts.permissions().mode() & 0o100 != 0 {
        Some(EntryKind::Executable)
    } else {
        Some(EntryKind::File)
    }
}
