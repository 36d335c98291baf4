//! The repository that the command line stands in, and its commits.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::command::{Git, LOCAL, Settings, Surroundings};
use super::error::{GitError, telling};
use super::export;
use super::objects::{Objects, sha};
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
        let common = ["rev-parse", "--path-format=absolute", "--git-common-dir"];
        let (ended, common) =
            tokio::join!(git.run(&args, Settings::default(), None, LOCAL), git.read(&common));
        let ended = ended?;
        let mut lines = ended.stdout.split(|byte| *byte == b'\n');
        let (git, top) = match (lines.next(), ended.code) {
            // In a bare repository `--show-toplevel` fails, after the first answer.
            (Some(b"true"), _) => (git, None),
            (Some(_), Some(0)) => {
                // A folder's name may hold a newline; ours is all but the last.
                let rest: Vec<&[u8]> = lines.collect();
                let top = export::as_path(&rest[..rest.len().saturating_sub(1)].join(&b'\n'));
                (Git { dir: top.clone(), ..git }, Some(top))
            }
            (Some(_) | None, _) if ended.stderr.contains("dubious ownership") => {
                return Err(GitError::Failed {
                    command: "rev-parse".to_owned(),
                    text: telling(&ended.stderr),
                });
            }
            (Some(_) | None, _) => return Err(GitError::NoRepository(asked.to_owned())),
        };
        let common = common?;
        let common = export::as_path(common.strip_suffix(b"\n").unwrap_or(&common));
        Ok(Self { objects: Objects { git, common, answers: None }, top })
    }

    /// Keeps answers about this repository's blobs in a folder, under a name that all of its work
    /// trees share; but never in the work tree itself.
    #[must_use]
    pub fn with_answers_in(mut self, folder: Option<&Path>) -> Self {
        let outside = folder.filter(|folder| {
            let there = folder.ancestors().find_map(|above| above.canonicalize().ok());
            let top = self.top.as_ref().and_then(|top| top.canonicalize().ok());
            !there.zip(top).is_some_and(|(there, top)| there.starts_with(top))
        });
        let name = hex::encode(Sha256::digest(self.objects.common.as_os_str().as_bytes()));
        self.objects.answers =
            outside.map(|folder| folder.join(format!("{}.answers", &name[..32])));
        self
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

    /// As [`Objects::export`], of what is here now.
    pub async fn export_work_tree(&self, inputs: &Inputs, tar: &Path) -> Result<(), GitError> {
        let top = self.top.clone().ok_or(GitError::NoWorkTree)?;
        let mut entries = self.files(&self.unstaged().await?).await?;
        // A sparse checkout leaves out some.
        entries.retain(|entry| top.join(entry.as_path()).symlink_metadata().is_ok());
        let entries = export::chosen(entries, inputs)?;
        let tar = tar.to_owned();
        export::in_background(move || export::from_folder(&top, &entries, &tar)).await
    }
}
