//! Takes over what a step left in `$CHECKVALVE_OUT`. The step is not trusted: nothing but plain
//! files and folders is taken, and nothing is written outside of the folder it goes to.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use tar::Archive;

/// How much is taken from one try.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    /// Files and folders, and what is neither.
    pub(super) entries: usize,
    /// Bytes, together.
    pub(super) bytes: u64,
}

/// Enough for browser traces and coverage pages; a loop that never stops writing ends here.
pub(super) const CAPS: Caps = Caps { entries: 10_000, bytes: 1 << 30 };

/// How many refusals are told one by one.
const TOLD: usize = 20;

/// Fills a folder within the caps and remembers, for people, what it left out.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    to: &'a Path,
    caps: Caps,
    entries: usize,
    bytes: u64,
    /// Is there no room for more? Then that was told.
    full: bool,
    refused: Vec<String>,
    refusals: usize,
}

impl<'a> Taken<'a> {
    pub(super) fn new(to: &'a Path, caps: Caps) -> Self {
        Self { to, caps, entries: 0, bytes: 0, full: false, refused: Vec::new(), refusals: 0 }
    }

    /// Takes an archive of the out folder, whose first path component is the folder itself.
    pub(super) fn archive(mut self, archive: impl Read) -> io::Result<Vec<String>> {
        fs::create_dir_all(self.to)?;
        for entry in Archive::new(archive).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.components().skip(1).collect::<PathBuf>();
            let kind = entry.header().entry_type();
            if path.as_os_str().is_empty() {
                continue;
            }
            if !self.may_take(&path, kind.is_dir(), kind.is_file()) {
                self.has_room(0);
            } else if kind.is_dir() {
                self.folder(&path)?;
            } else if self.has_room(entry.size())
                && let Some(to) = self.place(&path)?
            {
                io::copy(&mut entry, &mut File::create_new(to)?)?;
            }
            if self.full {
                break;
            }
        }
        Ok(self.notes())
    }

    /// Moves the plain files of `from`, a folder on the same file system.
    pub(super) fn folder_tree(mut self, from: &Path) -> io::Result<Vec<String>> {
        fs::create_dir_all(self.to)?;
        if !from.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            return Ok(vec!["$CHECKVALVE_OUT is no folder any more; nothing of it is kept".into()]);
        }
        let mut folders = vec![PathBuf::new()];
        while let Some(folder) = folders.pop() {
            let mut children: Vec<_> =
                fs::read_dir(from.join(&folder))?.collect::<io::Result<_>>()?;
            children.sort_by_key(fs::DirEntry::file_name);
            for child in children {
                let path = folder.join(child.file_name());
                let meta = child.metadata()?;
                if !self.may_take(&path, meta.is_dir(), meta.is_file()) {
                    self.has_room(0);
                } else if meta.is_dir() {
                    self.folder(&path)?;
                    folders.push(path);
                } else if self.has_room(meta.len())
                    && let Some(to) = self.place(&path)?
                {
                    fs::rename(child.path(), to)?;
                }
                if self.full {
                    return Ok(self.notes());
                }
            }
        }
        Ok(self.notes())
    }

    fn may_take(&mut self, path: &Path, is_dir: bool, is_file: bool) -> bool {
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        let name = path.to_str().filter(|name| !name.chars().any(char::is_control));
        if !plain || name.is_none() {
            self.refuse(path, "its name can't be kept");
            return false;
        }
        if !is_dir && !is_file {
            self.refuse(path, "it is a link or a device, not a plain file");
            return false;
        }
        true
    }

    /// Counts an entry; false when it is one too many.
    fn has_room(&mut self, size: u64) -> bool {
        let fits =
            self.entries < self.caps.entries && self.bytes.saturating_add(size) <= self.caps.bytes;
        if fits {
            self.entries += 1;
            self.bytes += size;
        } else if !self.full {
            self.full = true;
            let (entries, mib) = (self.caps.entries, self.caps.bytes >> 20);
            self.refused.push(format!(
                "$CHECKVALVE_OUT holds more than {entries} files and folders or {mib} MiB; the rest \
                 is not kept"
            ));
        }
        fits
    }

    /// Makes a folder, and those that it is in: each counts, since a path may name a thousand.
    fn folder(&mut self, path: &Path) -> io::Result<()> {
        let mut to = self.to.to_owned();
        for part in path.components() {
            to.push(part);
            if to.is_dir() {
                continue;
            }
            if !self.has_room(0) {
                break;
            }
            match fs::create_dir(&to) {
                Err(e) if refusable(&e) => {
                    self.refuse(path, &e.to_string());
                    break;
                }
                made => made?,
            }
        }
        Ok(())
    }

    /// Where a new file goes; none when that place can't be had.
    fn place(&mut self, path: &Path) -> io::Result<Option<PathBuf>> {
        if let Some(parent) = path.parent() {
            self.folder(parent)?;
        }
        let to = self.to.join(path);
        if to.symlink_metadata().is_ok() {
            self.refuse(path, "there are two of that name");
            return Ok(None);
        }
        Ok(to.parent().is_some_and(Path::is_dir).then_some(to))
    }

    fn refuse(&mut self, path: &Path, why: &str) {
        self.refusals += 1;
        if self.refusals <= TOLD {
            let name: String = path.to_string_lossy().escape_debug().take(200).collect();
            self.refused.push(format!("`{name}` in $CHECKVALVE_OUT is not kept: {why}"));
        }
    }

    fn notes(mut self) -> Vec<String> {
        if self.refusals > TOLD {
            let more = self.refusals - TOLD;
            self.refused.push(format!("{more} more files in $CHECKVALVE_OUT are not kept"));
        }
        self.refused
    }
}

/// The step's doing, unlike a full disk: a name that is too long, a file where a folder should be.
fn refusable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidFilename
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidInput
    )
}

#[cfg(test)]
mod tests {
    use tar::{Builder, EntryType, Header};

    use super::*;

    fn entry(tar: &mut Builder<Vec<u8>>, path: &str, kind: EntryType, body: &[u8]) {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        // Written directly: the builder refuses the names that a hostile archive has.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        tar.append(&header, body).unwrap();
    }

    #[test]
    fn only_plain_files_are_taken_and_nothing_leaves_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("deep/out");
        let mut tar = Builder::new(Vec::new());
        entry(&mut tar, "out/", EntryType::Directory, b"");
        entry(&mut tar, "out/a/junit.xml", EntryType::Regular, b"<x/>");
        entry(&mut tar, "out/../../evil", EntryType::Regular, b"evil");
        entry(&mut tar, "out/link", EntryType::Symlink, b"");
        entry(&mut tar, "out/link/evil", EntryType::Regular, b"fine");
        entry(&mut tar, "out/hard", EntryType::Link, b"");
        entry(&mut tar, "out/fifo", EntryType::Fifo, b"");
        entry(&mut tar, "out/null", EntryType::Char, b"");
        entry(&mut tar, "out/a/junit.xml", EntryType::Regular, b"twice");
        entry(&mut tar, "out/bad\nname", EntryType::Regular, b"x");
        let bytes = tar.into_inner().unwrap();
        let notes = Taken::new(&to, CAPS).archive(bytes.as_slice()).unwrap();
        assert_eq!(notes.len(), 7, "{notes:#?}");
        assert_eq!(fs::read(to.join("a/junit.xml")).unwrap(), b"<x/>");
        assert!(to.join("link").is_dir(), "a folder of ours, not the link");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&to).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_is_taken_by_the_same_rules() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("a")).unwrap();
        fs::write(from.join("a/kept"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", from.join("etc")).unwrap();
        let to = folder.path().join("to");
        let notes = Taken::new(&to, CAPS).folder_tree(&from).unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(to.join("a/kept").is_file() && !to.join("etc").exists());
    }

    #[test]
    fn the_caps_hold_and_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Builder::new(Vec::new());
        for n in 0..5 {
            entry(&mut tar, &format!("out/{n}"), EntryType::Regular, &[b'x'; 40]);
        }
        let bytes = tar.into_inner().unwrap();
        for caps in [Caps { entries: 2, bytes: 1000 }, Caps { entries: 9, bytes: 100 }] {
            let to = folder.path().join(caps.entries.to_string());
            let notes = Taken::new(&to, caps).archive(bytes.as_slice()).unwrap();
            assert_eq!(notes.len(), 1);
            assert_eq!(fs::read_dir(&to).unwrap().count(), 2);
        }
    }

    /// How many files and folders there are.
    fn count(folder: &Path) -> usize {
        let children = fs::read_dir(folder).unwrap().map(|child| child.unwrap().path());
        children.map(|child| if child.is_dir() { 1 + count(&child) } else { 1 }).sum()
    }

    #[test]
    fn folders_and_what_is_refused_count_too() {
        let folder = tempfile::tempdir().unwrap();
        let deep = format!("out/{}/x", ["d"; 40].join("/"));
        let kinds: [(&str, EntryType); 3] = [
            ("folders", EntryType::Directory),
            ("links", EntryType::Symlink),
            ("deep", EntryType::Regular),
        ];
        for (which, kind) in kinds {
            let mut tar = Builder::new(Vec::new());
            if which == "deep" {
                entry(&mut tar, &deep, kind, b"");
            }
            for n in 0..30 {
                entry(&mut tar, &format!("out/{n}"), kind, b"");
            }
            entry(&mut tar, "out/last", EntryType::Regular, b"");
            let to = folder.path().join(which);
            let bytes = tar.into_inner().unwrap();
            let caps = Caps { entries: 20, bytes: 1000 };
            let notes = Taken::new(&to, caps).archive(bytes.as_slice()).unwrap();
            assert!(
                notes.iter().any(|note| note.contains("more than 20 files and folders")),
                "{notes:?}"
            );
            assert!(count(&to) <= 20 && !to.join("last").exists(), "{which}: {}", count(&to));
        }
    }

    #[test]
    fn a_hundred_thousand_entries_leave_ten_thousand() {
        let folder = tempfile::tempdir().unwrap();
        let mut tar = Builder::new(Vec::new());
        for n in 0..50_000 {
            entry(&mut tar, &format!("out/f{n}"), EntryType::Directory, b"");
            entry(&mut tar, &format!("out/f{n}/x"), EntryType::Regular, b"");
        }
        let bytes = tar.into_inner().unwrap();
        let notes = Taken::new(folder.path(), CAPS).archive(bytes.as_slice()).unwrap();
        assert_eq!((notes.len(), count(folder.path())), (1, CAPS.entries), "{notes:?}");
    }

    #[test]
    fn folders_on_the_same_disk_count_too() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for n in 0..30 {
            fs::create_dir_all(from.join(format!("f{n}/g"))).unwrap();
        }
        let caps = Caps { entries: 20, bytes: 1000 };
        let notes = Taken::new(&to, caps).folder_tree(&from).unwrap();
        assert_eq!((notes.len(), count(&to)), (1, 20), "{notes:?}");
    }
}
