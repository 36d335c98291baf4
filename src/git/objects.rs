//! Questions to a repository's objects: trees and contents. Comparisons are in `compare`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::command::{Git, LOCAL, Settings};
use super::error::{GitError, telling};
use super::export;
use crate::domain::names::Sha;
use crate::domain::plan::Inputs;

/// What a tree's entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    File,
    Executable,
    Symlink,
    Submodule,
}

/// A file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    pub kind: EntryKind,
    pub oid: Sha,
    /// Lossy UTF-8, `/`-separated.
    pub path: String,
    /// The path's bytes, where they are not UTF-8.
    pub raw: Option<Box<[u8]>>,
}

impl TreeEntry {
    pub fn path_bytes(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or(self.path.as_bytes())
    }

    /// Does it differ from the index, so that only the disk has it?
    pub fn is_unstaged(&self) -> bool {
        self.oid.as_str().bytes().all(|digit| digit == b'0')
    }

    /// Where it lies below the top of a work tree.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.path_bytes()))
    }
}

/// The objects of one repository.
#[derive(Debug, Clone)]
pub struct Objects {
    pub(super) git: Git,
    /// Where the repository itself lies, the same for all of its work trees.
    pub(super) common: PathBuf,
    /// Where answers about blobs may be kept.
    pub(super) answers: Option<PathBuf>,
}

impl Objects {
    /// Every file of a commit's tree, in the order of its path's bytes.
    pub async fn tree(&self, commit: &Sha) -> Result<Vec<TreeEntry>, GitError> {
        let args = ["ls-tree", "-r", "-z", "--full-tree", commit.as_str()];
        let raw = self.git.read(&args).await?;
        let mut entries = raw
            .split(|byte| *byte == 0)
            .filter(|record| !record.is_empty())
            .map(tree_entry)
            .collect::<Result<Vec<_>, _>>()?;
        entries.sort_by(|a, b| a.path_bytes().cmp(b.path_bytes()));
        Ok(entries)
    }

    /// Where the repository lies: one folder for all of its work trees.
    pub fn place(&self) -> &Path {
        &self.common
    }

    /// The file where answers about this repository's blobs may be kept, never in a work tree.
    pub fn answers(&self) -> Option<&Path> {
        self.answers.as_deref()
    }

    /// One blob's content; of a larger one than `limit` only the first `limit + 1` bytes, which
    /// tells that it is larger. `None` if it is missing.
    pub async fn read(&self, oid: &Sha, limit: usize) -> Result<Option<Vec<u8>>, GitError> {
        let mut found = None;
        self.read_each(&BTreeSet::from([oid]), limit, |_, content| found = Some(content)).await?;
        Ok(found)
    }

    /// Shows the contents of blobs one after the other, by one `cat-file --batch`, cut as
    /// [`Objects::read`] cuts them. A missing blob is left out.
    pub async fn read_each(
        &self,
        oids: &BTreeSet<&Sha>,
        limit: usize,
        mut show: impl FnMut(&Sha, Vec<u8>),
    ) -> Result<(), GitError> {
        if oids.is_empty() {
            return Ok(());
        }
        let mut command = self.git.command(Settings::default());
        command.args(["cat-file", "--batch", "--buffer"]);
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let mut child = command.kill_on_drop(true).spawn().map_err(GitError::start)?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(unexpected("no pipes"));
        };
        let asked = lines(oids.iter().map(|oid| oid.as_str()));
        let feed = async move {
            // If it ends early, the answers are short, and that is the error.
            let _ = stdin.write_all(asked.as_bytes()).await;
        };
        let collect = async {
            let mut stdout = BufReader::with_capacity(1 << 16, stdout);
            for oid in oids {
                if let Some(content) = next_blob(&mut stdout, limit).await? {
                    show(oid, content);
                }
            }
            Ok(())
        };
        let both = async { tokio::join!(feed, collect).1 };
        let timed_out = |_| GitError::TimedOut { command: "cat-file".to_owned(), after: LOCAL };
        let done = tokio::time::timeout(LOCAL, both).await.map_err(timed_out)?;
        // The status says nothing that the answers did not; but no process is left behind.
        let _ = child.wait().await;
        done
    }

    /// Writes a deterministic tar of those files of the commit that are inputs. Modes and symbolic
    /// links are kept, submodules are empty folders; `export-ignore` and the like do not count.
    pub async fn export(&self, commit: &Sha, inputs: &Inputs, tar: &Path) -> Result<(), GitError> {
        let entries = export::chosen(self.tree(commit).await?, inputs)?;
        let (git, tar) = (self.git.clone(), tar.to_owned());
        export::in_background(move || export::from_objects(&git, &entries, &tar)).await
    }
}

async fn next_blob(
    from: &mut BufReader<tokio::process::ChildStdout>,
    limit: usize,
) -> Result<Option<Vec<u8>>, GitError> {
    let io = |source| GitError::io("git cat-file", source);
    let mut header = String::new();
    from.read_line(&mut header).await.map_err(io)?;
    let Some(size) = blob_size(&header)? else { return Ok(None) };
    let kept = size.min(limit as u64 + 1);
    let mut content = Vec::with_capacity(usize::try_from(kept).unwrap_or(0));
    (&mut *from).take(kept).read_to_end(&mut content).await.map_err(io)?;
    let mut rest = (&mut *from).take(size - kept + 1);
    let skipped = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.map_err(io)?;
    if content.len() as u64 != kept || skipped != size - kept + 1 {
        return Err(unexpected("it ended within a blob"));
    }
    Ok(Some(content))
}

/// What a command reads from its standard input, a name a line.
pub(super) fn lines<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    names.into_iter().fold(String::new(), |all, name| all + name + "\n")
}

/// The size that a header of `cat-file --batch` promises; `None` for a missing object.
pub(super) fn blob_size(header: &str) -> Result<Option<u64>, GitError> {
    let header = header.trim_end();
    if header.ends_with(" missing") {
        return Ok(None);
    }
    let size = header.rsplit_once(' ').and_then(|(_, size)| size.parse().ok());
    size.map(Some).ok_or_else(|| unexpected(header))
}

fn unexpected(text: &str) -> GitError {
    GitError::Output { command: "cat-file".to_owned(), text: telling(text) }
}

pub(super) fn sha(text: &str, command: &str) -> Result<Sha, GitError> {
    let bad = |_| GitError::Output { command: command.to_owned(), text: telling(text) };
    text.trim().parse().map_err(bad)
}

/// `<mode> <type> <oid>\t<path>`
fn tree_entry(record: &[u8]) -> Result<TreeEntry, GitError> {
    let bad = || GitError::Output {
        command: "ls-tree".to_owned(),
        text: telling(&String::from_utf8_lossy(record)),
    };
    let tab = record.iter().position(|byte| *byte == b'\t').ok_or_else(bad)?;
    let (facts, path) = (&record[..tab], &record[tab + 1..]);
    let facts = std::str::from_utf8(facts).map_err(|_| bad())?;
    let mut facts = facts.split(' ');
    let kind = facts.next().and_then(kind).ok_or_else(bad)?;
    let oid = sha(facts.nth(1).ok_or_else(bad)?, "ls-tree")?;
    let (path, raw) = lossy(path);
    Ok(TreeEntry { kind, oid, path, raw })
}

/// What a mode stands for; `None` for that of nothing.
pub(super) fn kind(mode: &str) -> Option<EntryKind> {
    Some(match mode {
        "100755" => EntryKind::Executable,
        "120000" => EntryKind::Symlink,
        "160000" => EntryKind::Submodule,
        // Old histories hold modes such as 100664.
        mode if mode.starts_with("100") => EntryKind::File,
        _ => return None,
    })
}

pub(super) fn lossy(path: &[u8]) -> (String, Option<Box<[u8]>>) {
    match std::str::from_utf8(path) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(path).into_owned(), Some(path.into())),
    }
}
