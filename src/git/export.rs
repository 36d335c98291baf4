//! Source archives: the same inputs give the same bytes.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::command::{Git, Settings};
use super::error::GitError;
use super::objects::{EntryKind, TreeEntry, blob_size, lines};
use crate::domain::plan::Inputs;
use crate::domain::rules::Pattern;

/// 2000-01-01: the source's own times would make equal sources differ, and 1970 is too early for
/// zip files, which Python's wheels are.
const MTIME: u64 = 946_684_800;

/// The entries that are inputs, in the archive's order.
pub(super) fn chosen(entries: Vec<TreeEntry>, inputs: &Inputs) -> Result<Vec<TreeEntry>, GitError> {
    let globs: Vec<Pattern> =
        inputs.globs.iter().filter_map(|glob| Pattern::parse(glob).ok()).collect();
    let wanted = |path: &str| {
        inputs.paths.iter().any(|input| {
            input.is_empty()
                || path
                    .strip_prefix(input.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }) || globs.iter().any(|glob| glob.matches(path))
    };
    let chosen: Vec<TreeEntry> = entries.into_iter().filter(|entry| wanted(&entry.path)).collect();
    // git itself refuses to check such trees out; whoever unpacks this must not be led astray.
    for entry in &chosen {
        let astray = |part: &[u8]| {
            part.is_empty() || part == b"." || part == b".." || part.eq_ignore_ascii_case(b".git")
        };
        if entry.path_bytes().split(|byte| *byte == b'/').any(astray) {
            let text = format!("the tree holds the path `{}`", entry.path);
            return Err(GitError::Output { command: "ls-tree".to_owned(), text });
        }
    }
    Ok(chosen)
}

pub(super) async fn in_background(
    work: impl FnOnce() -> Result<(), GitError> + Send + 'static,
) -> Result<(), GitError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(GitError::io("the source archive", std::io::Error::other(e))))
}

/// Writes the archive from a commit's objects, blobs streamed through one `cat-file --batch`.
pub(super) fn from_objects(git: &Git, entries: &[TreeEntry], tar: &Path) -> Result<(), GitError> {
    let io = |e| GitError::io("git cat-file", e);
    let mut command = git.command(Settings::default());
    command.args(["cat-file", "--batch", "--buffer"]).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(GitError::start)?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(GitError::io("git cat-file", std::io::Error::other("no pipes")));
    };
    let blobs = entries.iter().filter(|entry| entry.kind != EntryKind::Submodule);
    let asked = lines(blobs.map(|entry| entry.oid.as_str()));
    // If it ends early, its answers are short, and that is the error.
    let feed = std::thread::spawn(move || drop(stdin.write_all(asked.as_bytes())));
    let mut blobs = BufReader::with_capacity(1 << 16, stdout);
    let written = Archive::create(tar).and_then(|mut archive| {
        for entry in entries {
            if entry.kind == EntryKind::Submodule {
                archive.folder(entry.path_bytes())?;
                continue;
            }
            let mut header = String::new();
            blobs.read_line(&mut header).map_err(io)?;
            let Some(size) = blob_size(&header)? else {
                let text = format!("`{}` is missing", entry.path);
                return Err(GitError::Output { command: "cat-file".to_owned(), text });
            };
            archive.entry(entry, size, &mut (&mut blobs).take(size))?;
            let mut newline = [0];
            blobs.read_exact(&mut newline).map_err(io)?;
        }
        archive.finish()
    });
    drop(blobs);
    // Both end once their pipes are closed; what they say is in the answers already.
    let _ = (feed.join(), child.wait());
    written.inspect_err(|_| drop(std::fs::remove_file(tar)))
}

/// Writes the archive from a folder's files.
pub(super) fn from_folder(top: &Path, entries: &[TreeEntry], tar: &Path) -> Result<(), GitError> {
    let written = Archive::create(tar).and_then(|mut archive| {
        for entry in entries {
            let path = top.join(as_path(entry.path_bytes()));
            let io = |e| GitError::io(format!("`{}`", path.display()), e);
            match entry.kind {
                EntryKind::Submodule => archive.folder(entry.path_bytes())?,
                EntryKind::Symlink => {
                    let target = std::fs::read_link(&path).map_err(io)?;
                    let target = std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str());
                    archive.entry(entry, target.len() as u64, &mut &target[..])?;
                }
                EntryKind::File | EntryKind::Executable => {
                    let mut file = File::open(&path).map_err(io)?;
                    let size = file.metadata().map_err(io)?.len();
                    archive.entry(entry, size, &mut (&mut file).take(size))?;
                }
            }
        }
        archive.finish()
    });
    written.inspect_err(|_| drop(std::fs::remove_file(tar)))
}

pub(super) fn as_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes))
}

/// A tar being written, folders named before what is in them.
struct Archive {
    tar: tar::Builder<BufWriter<File>>,
    /// The folders of the entry before, outermost first.
    open: Vec<Vec<u8>>,
}

impl Archive {
    fn create(path: &Path) -> Result<Self, GitError> {
        let io = |e| GitError::io(format!("the source archive `{}`", path.display()), e);
        let file = File::create(path).map_err(io)?;
        let tar = tar::Builder::new(BufWriter::with_capacity(1 << 16, file));
        Ok(Self { tar, open: Vec::new() })
    }

    fn finish(self) -> Result<(), GitError> {
        let io = |e| GitError::io("the source archive", e);
        let mut file = self.tar.into_inner().map_err(io)?;
        file.flush().map_err(io)
    }

    fn folder(&mut self, path: &[u8]) -> Result<(), GitError> {
        self.parents(path)?;
        self.folder_entry(path)
    }

    /// Entries come in the order of their paths, so folders are closed for good once left.
    fn parents(&mut self, path: &[u8]) -> Result<(), GitError> {
        let mut parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        parts.pop();
        let same = self.open.iter().zip(&parts).take_while(|(open, part)| open == *part).count();
        self.open.truncate(same);
        for part in &parts[same..] {
            self.open.push(part.to_vec());
            let folder = self.open.join(&b'/');
            self.folder_entry(&folder)?;
        }
        Ok(())
    }

    fn folder_entry(&mut self, path: &[u8]) -> Result<(), GitError> {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        let mut name = path.to_vec();
        name.push(b'/');
        let written = self.tar.append_data(&mut header, as_path(&name), std::io::empty());
        written.map_err(|e| GitError::io("the source archive", e))
    }

    fn entry(
        &mut self,
        entry: &TreeEntry,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), GitError> {
        self.parents(entry.path_bytes())?;
        let io = |e| GitError::io(format!("`{}` in the source archive", entry.path), e);
        let path = as_path(entry.path_bytes());
        if entry.kind == EntryKind::Symlink {
            let mut target = Vec::new();
            content.read_to_end(&mut target).map_err(io)?;
            let mut header = header(tar::EntryType::Symlink, 0o777, 0);
            return self.tar.append_link(&mut header, path, as_path(&target)).map_err(io);
        }
        let mode = if entry.kind == EntryKind::Executable { 0o755 } else { 0o644 };
        let mut header = header(tar::EntryType::Regular, mode, size);
        // A file that shrinks while it is read must not shift what follows.
        let padded = content.chain(std::io::repeat(0)).take(size);
        self.tar.append_data(&mut header, path, padded).map_err(io)
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}
