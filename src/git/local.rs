//! The repository that the command line stands in: its commits, index and work tree.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::command::{Git, LOCAL, Settings, Surroundings};
use super::error::GitError;
use super::export;
use super::objects::{EntryKind, Objects, TreeEntry, changed_files, lossy, sha};
use crate::domain::change::{ChangeSet, ChangedFile, FileStatus};
use crate::domain::names::Sha;
use crate::domain::plan::Inputs;

/// What `--modified` compares with when nobody says.
const BASES: &[&str] =
    &["refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/remotes/origin/master"];

/// Someone's own repository, perhaps a bare one.
#[derive(Debug, Clone)]
pub struct LocalRepo {
    objects: Objects,
    top: Option<PathBuf>,
}

impl LocalRepo {
    /// The repository of a folder, or of the current one.
    pub async fn discover(dir: Option<&Path>) -> Result<Self, GitError> {
        let asked = dir.unwrap_or(Path::new("."));
        if !asked.is_dir() {
            return Err(GitError::NoRepository(asked.to_owned()));
        }
        let surroundings = Surroundings::Own { redirected: dir.is_some() };
        let git = Git { dir: asked.to_owned(), surroundings, ca_file: None };
        let args = ["rev-parse", "--is-bare-repository", "--show-toplevel"];
        let ended = git.run(&args, Settings::default(), None, LOCAL).await?;
        let mut lines = ended.stdout.split(|byte| *byte == b'\n');
        match (lines.next(), ended.code) {
            // In a bare repository `--show-toplevel` fails, after the first answer.
            (Some(b"true"), _) => Ok(Self { objects: Objects { git }, top: None }),
            (Some(_), Some(0)) => {
                // A folder's name may hold a newline; ours is all but the last.
                let rest: Vec<&[u8]> = lines.collect();
                let top = export::as_path(&rest[..rest.len().saturating_sub(1)].join(&b'\n'));
                let git = Git { dir: top.clone(), ..git };
                Ok(Self { objects: Objects { git }, top: Some(top) })
            }
            (Some(_) | None, _) if ended.stderr.contains("dubious ownership") => {
                ended.success("rev-parse").map(|_| Self { objects: Objects { git }, top: None })
            }
            (Some(_) | None, _) => Err(GitError::NoRepository(asked.to_owned())),
        }
    }

    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// The work tree's folder; a bare repository has none.
    pub fn work_tree(&self) -> Option<&Path> {
        self.top.as_deref()
    }

    /// The commit that a revision names.
    pub async fn resolve(&self, revision: &str) -> Result<Sha, GitError> {
        let wanted = format!("{revision}^{{commit}}");
        let args = ["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted];
        let ended = self.objects.git.run(&args, Settings::default(), None, LOCAL).await?;
        let found = String::from_utf8_lossy(&ended.stdout);
        let line = found.lines().next_back().unwrap_or_default();
        if ended.code != Some(0) {
            return Err(GitError::UnknownRevision(revision.to_owned()));
        }
        sha(line, "rev-parse")
    }

    /// `base` if it is given, else the origin's default branch.
    pub async fn base(&self, base: Option<&str>) -> Result<Sha, GitError> {
        if let Some(base) = base {
            return self.resolve(base).await;
        }
        for name in BASES {
            if let Ok(found) = self.resolve(name).await {
                return Ok(found);
            }
        }
        Err(GitError::NoBase)
    }

    /// The files that differ between a commit and what is here now: work tree, index, and what is
    /// neither tracked nor ignored.
    pub async fn changes_since(&self, commit: &Sha) -> ChangeSet {
        match self.changed_since(commit).await {
            Ok(files) => ChangeSet::Complete { files: files.into_iter().collect() },
            Err(error) => ChangeSet::Everything { because: error.to_string() },
        }
    }

    async fn changed_since(&self, commit: &Sha) -> Result<BTreeSet<ChangedFile>, GitError> {
        let git = &self.objects.git;
        let common = ["--raw", "-M", "-z", "--no-abbrev", "--no-ext-diff", "--no-textconv"];
        // Commits of submodules count; what lies around in their folders does not.
        let submodules = "--ignore-submodules=dirty";
        let mut work_tree = vec!["diff"];
        work_tree.extend(common);
        work_tree.extend([submodules, "--end-of-options", commit.as_str()]);
        // What is staged and then undone in the work tree is still in the index.
        let mut index = vec!["diff", "--cached"];
        index.extend(common);
        index.extend([submodules, "--end-of-options", commit.as_str()]);
        let untracked = ["ls-files", "-z", "--others", "--exclude-standard"];
        let (work_tree, index, untracked) =
            tokio::join!(git.read(&work_tree), git.read(&index), git.read(&untracked));
        let mut files: BTreeSet<ChangedFile> = changed_files(&work_tree?)?.into_iter().collect();
        files.extend(changed_files(&index?)?);
        for path in untracked?.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
            let path = lossy(path).0.trim_end_matches('/').to_owned();
            files.insert(ChangedFile { path, status: FileStatus::Added, old_path: None });
        }
        Ok(files)
    }

    /// The files that are here now: tracked ones, and untracked ones that are not ignored. Their
    /// object names are those of nothing.
    pub async fn files(&self) -> Result<Vec<TreeEntry>, GitError> {
        let top = self.top.as_deref().ok_or(GitError::NoWorkTree)?;
        let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = self.objects.git.read(&args).await?;
        let paths: BTreeSet<&[u8]> =
            listed.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
        let nothing = sha(&"0".repeat(40), "ls-files")?;
        let mut entries = Vec::with_capacity(paths.len());
        for bytes in paths {
            // A repository within this one, untracked, is listed as a folder.
            let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
            // Deleted, but still in the index: not here now.
            let Ok(facts) = std::fs::symlink_metadata(top.join(export::as_path(bytes))) else {
                continue;
            };
            let kind = if facts.is_dir() {
                EntryKind::Submodule
            } else if facts.is_symlink() {
                EntryKind::Symlink
            } else if !facts.is_file() {
                continue;
            } else if facts.permissions().mode() & 0o100 != 0 {
                EntryKind::Executable
            } else {
                EntryKind::File
            };
            let (path, raw) = lossy(bytes);
            entries.push(TreeEntry { kind, oid: nothing.clone(), path, raw });
        }
        Ok(entries)
    }

    /// As [`Objects::export`], of what is here now.
    pub async fn export_work_tree(&self, inputs: &Inputs, tar: &Path) -> Result<(), GitError> {
        let top = self.top.clone().ok_or(GitError::NoWorkTree)?;
        let entries = export::chosen(self.files().await?, inputs)?;
        let tar = tar.to_owned();
        export::in_background(move || export::from_folder(&top, &entries, &tar)).await
    }
}
