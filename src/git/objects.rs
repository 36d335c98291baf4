//! Questions to a repository's objects: merge bases, differences, trees, contents.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use super::command::{Git, LOCAL, Settings};
use super::error::{GitError, telling};
use super::export;
use crate::domain::change::{ChangeSet, ChangedFile, FileStatus};
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
}

/// The objects of one repository.
#[derive(Debug, Clone)]
pub struct Objects {
    pub(super) git: Git,
}

impl Objects {
    /// The best common ancestors: none for unrelated histories, several after criss-cross merges.
    pub async fn merge_bases(&self, base: &Sha, head: &Sha) -> Result<Vec<Sha>, GitError> {
        let args = ["merge-base", "--all", base.as_str(), head.as_str()];
        let ended = self.git.run(&args, Settings::default(), None, LOCAL).await?;
        // Status 1 without a word is the answer "none"; all else is a failure.
        if ended.code == Some(1) && ended.stdout.is_empty() && ended.stderr.trim().is_empty() {
            return Ok(Vec::new());
        }
        let stdout = ended.success("merge-base")?;
        String::from_utf8_lossy(&stdout).lines().map(|line| sha(line, "merge-base")).collect()
    }

    /// The merge base that GitHub, too, would compare with; see [`Objects::merge_bases`].
    pub async fn merge_base(&self, base: &Sha, head: &Sha) -> Result<Option<Sha>, GitError> {
        Ok(self.merge_bases(base, head).await?.into_iter().next())
    }

    /// The files that differ between two trees. Any failure is *everything*.
    pub async fn diff(&self, from: &Sha, to: &Sha) -> ChangeSet {
        let args = [
            "diff-tree",
            "-r",
            "-M",
            "-z",
            "--raw",
            "--no-commit-id",
            "--no-abbrev",
            "--no-ext-diff",
            "--no-textconv",
            "--end-of-options",
            from.as_str(),
            to.as_str(),
        ];
        match self.git.read(&args).await.and_then(|raw| changed_files(&raw)) {
            Ok(files) => ChangeSet::Complete { files },
            Err(error) => ChangeSet::Everything { because: error.to_string() },
        }
    }

    /// What a pull request changes: merge base of base and head against head, over all merge bases
    /// if there are several; and the first of them.
    pub async fn changes(&self, base: &Sha, head: &Sha) -> (Option<Sha>, ChangeSet) {
        let bases = match self.merge_bases(base, head).await {
            Ok(bases) => bases,
            Err(error) => return (None, ChangeSet::Everything { because: error.to_string() }),
        };
        let Some(first) = bases.first() else {
            let because = format!(
                "{} and {} have no common ancestor{}",
                base.short(),
                head.short(),
                if self.is_shallow().await {
                    ": the clone is shallow, `git fetch --unshallow`"
                } else {
                    ""
                },
            );
            return (None, ChangeSet::Everything { because });
        };
        let mut all = BTreeSet::new();
        for from in &bases {
            match self.diff(from, head).await {
                ChangeSet::Complete { files } => all.extend(files),
                everything @ ChangeSet::Everything { .. } => {
                    return (Some(first.clone()), everything);
                }
            }
        }
        (Some(first.clone()), ChangeSet::Complete { files: all.into_iter().collect() })
    }

    pub(super) async fn is_shallow(&self) -> bool {
        let answer = self.git.read(&["rev-parse", "--is-shallow-repository"]).await;
        answer.is_ok_and(|out| out.starts_with(b"true"))
    }

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

    /// Contents of blobs, by one `cat-file --batch`; of larger ones than `limit` only the first
    /// `limit + 1` bytes, which tells that they are larger. A missing blob is left out.
    pub async fn read(
        &self,
        oids: &BTreeSet<&Sha>,
        limit: usize,
    ) -> Result<HashMap<Sha, Vec<u8>>, GitError> {
        if oids.is_empty() {
            return Ok(HashMap::new());
        }
        let mut command = self.git.command(Settings::default());
        command.args(["cat-file", "--batch", "--buffer"]);
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut command = tokio::process::Command::from(command);
        let mut child = command.kill_on_drop(true).spawn().map_err(GitError::NotInstalled)?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(unexpected("no pipes"));
        };
        let asked = lines(oids.iter().map(|oid| oid.as_str()));
        let feed = async move {
            // If it ends early, the answers are short, and that is the error.
            let _ = stdin.write_all(asked.as_bytes()).await;
        };
        let collect = async {
            let mut found = HashMap::with_capacity(oids.len());
            let mut stdout = BufReader::with_capacity(1 << 16, stdout);
            for oid in oids {
                if let Some(content) = next_blob(&mut stdout, limit).await? {
                    found.insert((*oid).clone(), content);
                }
            }
            Ok(found)
        };
        let both = async { tokio::join!(feed, collect).1 };
        let timed_out = |_| GitError::TimedOut { command: "cat-file".to_owned(), after: LOCAL };
        let found = tokio::time::timeout(LOCAL, both).await.map_err(timed_out)?;
        // The status says nothing that the answers did not; but no process is left behind.
        let _ = child.wait().await;
        found
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
    let kind = match facts.next() {
        Some("100755") => EntryKind::Executable,
        Some("120000") => EntryKind::Symlink,
        Some("160000") => EntryKind::Submodule,
        // Old histories hold modes such as 100664.
        Some(mode) if mode.starts_with("100") => EntryKind::File,
        Some(_) | None => return Err(bad()),
    };
    let oid = sha(facts.nth(1).ok_or_else(bad)?, "ls-tree")?;
    let (path, raw) = lossy(path);
    Ok(TreeEntry { kind, oid, path, raw })
}

pub(super) fn lossy(path: &[u8]) -> (String, Option<Box<[u8]>>) {
    match std::str::from_utf8(path) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(path).into_owned(), Some(path.into())),
    }
}

/// `:<mode> <mode> <oid> <oid> <status>` NUL path NUL, and another path NUL for renames and copies.
pub(super) fn changed_files(raw: &[u8]) -> Result<Vec<ChangedFile>, GitError> {
    let bad = |what: &[u8]| GitError::Output {
        command: "diff".to_owned(),
        text: telling(&String::from_utf8_lossy(what)),
    };
    let mut fields = raw.split(|byte| *byte == 0);
    let mut files = Vec::new();
    while let Some(facts) = fields.next().filter(|facts| !facts.is_empty()) {
        let letter = facts.rsplit(|byte| *byte == b' ').next().and_then(|status| status.first());
        let letter = *letter.filter(|_| facts.first() == Some(&b':')).ok_or_else(|| bad(facts))?;
        let mut path = || fields.next().map(|path| lossy(path).0).ok_or_else(|| bad(facts));
        let first = path()?;
        let status = match letter {
            b'A' => FileStatus::Added,
            b'D' => FileStatus::Deleted,
            b'T' => FileStatus::TypeChanged,
            b'R' => FileStatus::Renamed,
            b'C' => FileStatus::Copied,
            // Unmerged and unknown: it differs, which is what counts.
            b'M' | b'U' | b'X' => FileStatus::Modified,
            _ => return Err(bad(facts)),
        };
        files.push(match status {
            FileStatus::Renamed | FileStatus::Copied => {
                ChangedFile { path: path()?, status, old_path: Some(first) }
            }
            FileStatus::Added
            | FileStatus::Modified
            | FileStatus::Deleted
            | FileStatus::TypeChanged => ChangedFile { path: first, status, old_path: None },
        });
    }
    Ok(files)
}
