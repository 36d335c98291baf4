//! The source of a job: a tar archive, unpacked for processes, sent to containers.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Builder, Entry, EntryType, Header};

use super::Trust;
use crate::domain::names::StepId;

/// The source of a job as a tar archive in the worker's spool.
#[derive(Debug)]
pub struct SourceArchive {
    pub tar: PathBuf,
}

impl SourceArchive {
    /// The folder in which the steps of the connector at `root` run: `root` itself, or the folder
    /// that holds it when the connector is a single file. Blocks while it reads the archive.
    pub fn folder_of(&self, root: &str) -> io::Result<String> {
        let root = relative(root);
        let mut archive = self.open()?;
        for entry in archive.entries()? {
            let entry = entry?;
            if !entry.header().entry_type().is_dir() && relative(&entry.path()?) == root {
                return Ok(relative(root.parent().unwrap_or(Path::new(""))).display().to_string());
            }
        }
        Ok(root.display().to_string())
    }

    /// Unpacks into `folder`. Nothing is written outside of it.
    pub(super) fn unpack(&self, folder: &Path) -> io::Result<()> {
        let mut archive = self.open()?;
        archive.set_preserve_mtime(true);
        archive.set_preserve_ownerships(false);
        archive.unpack(folder)
    }

    /// Writes an archive for a container's root folder: the source below `workspace/`, the empty
    /// `checkvalve/out/<step>/`, and `checkvalve/ca.pem` if there is anything more to trust. With
    /// `open` anybody may change what is in it, since the image's user is not root and can't be
    /// named here.
    pub(super) fn for_container(
        &self,
        to: impl Write,
        (workdir, step): (&str, &StepId),
        open: bool,
        trust: Option<&Trust>,
    ) -> io::Result<()> {
        let mut tar = Builder::new(BufWriter::with_capacity(256 * 1024, to));
        let mode = if open { 0o777 } else { 0o755 };
        add_folder(&mut tar, Path::new("checkvalve"), 0o755)?;
        add_folder(&mut tar, Path::new("checkvalve/out"), mode)?;
        add_folder(&mut tar, &Path::new("checkvalve/out").join(step.as_str()), mode)?;
        if let Some(trust) = trust {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(trust.pem().len() as u64);
            tar.append_data(&mut header, "checkvalve/ca.pem", trust.pem())?;
        }
        let mut folder = PathBuf::from("workspace");
        add_folder(&mut tar, &folder, mode)?;
        for part in relative(workdir).components() {
            folder.push(part);
            add_folder(&mut tar, &folder, mode)?;
        }
        for entry in self.open()?.entries()? {
            add_entry(&mut tar, entry?, open)?;
        }
        tar.into_inner()?.flush()
    }

    pub(super) fn open(&self) -> io::Result<Archive<BufReader<File>>> {
        let place = |e| io::Error::other(format!("{}: {e}", self.tar.display()));
        Ok(Archive::new(BufReader::with_capacity(
            256 * 1024,
            File::open(&self.tar).map_err(place)?,
        )))
    }
}

/// A path without `.`, `..` and a leading `/`.
pub(super) fn relative(path: impl AsRef<Path>) -> PathBuf {
    path.as_ref().components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

fn add_folder(tar: &mut Builder<impl Write>, path: &Path, mode: u32) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    header.set_mode(mode);
    header.set_size(0);
    tar.append_data(&mut header, path, io::empty())
}

fn add_entry(
    tar: &mut Builder<impl Write>,
    entry: Entry<'_, impl Read>,
    open: bool,
) -> io::Result<()> {
    let kind = entry.header().entry_type();
    let inside = relative(entry.path()?);
    if inside.as_os_str().is_empty() {
        return Ok(());
    }
    let path = Path::new("workspace").join(inside);
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mtime(entry.header().mtime().unwrap_or(0));
    let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
    header.set_mode(if open { opened(mode) } else { mode });
    if kind.is_dir() {
        add_folder(tar, &path, if open { 0o777 } else { mode | 0o700 })
    } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
        header.set_entry_type(EntryType::Regular);
        header.set_size(entry.size());
        tar.append_data(&mut header, path, entry)
    } else if kind.is_symlink() {
        header.set_size(0);
        let target = entry.link_name()?.unwrap_or_default().into_owned();
        tar.append_link(&mut header, path, target)
    } else if kind.is_hard_link() {
        header.set_size(0);
        let target = relative(entry.link_name()?.unwrap_or_default());
        tar.append_link(&mut header, path, Path::new("workspace").join(target))
    } else {
        // Nothing that a source tree needs: devices, and the global header of `git archive`.
        Ok(())
    }
}

/// Whoever may do something: the owner's rights for all, and writing.
fn opened(mode: u32) -> u32 {
    let execute = if mode & 0o100 == 0 { 0 } else { 0o111 };
    0o666 | execute
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(folder: &Path) -> SourceArchive {
        let tar = folder.join("source.tar");
        let mut builder = Builder::new(File::create(&tar).unwrap());
        let long = format!("source-x/{}/deep.txt", "d".repeat(150));
        for (path, mode) in
            [("source-x/run.sh", 0o755), (long.as_str(), 0o644), ("dags/one.py", 0o600)]
        {
            let mut header = Header::new_gnu();
            header.set_size(2);
            header.set_mode(mode);
            builder.append_data(&mut header, path, &b"x\n"[..]).unwrap();
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, "source-x/link", "../dags/one.py").unwrap();
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Link);
        header.set_size(0);
        builder.append_link(&mut header, "source-x/hard", "dags/one.py").unwrap();
        builder.finish().unwrap();
        SourceArchive { tar }
    }

    #[test]
    fn a_connector_that_is_a_file_runs_in_the_folder_around_it() {
        let folder = tempfile::tempdir().unwrap();
        let source = archive(folder.path());
        assert_eq!(source.folder_of("dags/one.py").unwrap(), "dags");
        assert_eq!(source.folder_of("source-x").unwrap(), "source-x");
        assert_eq!(source.folder_of("source-x/").unwrap(), "source-x");
        assert_eq!(source.folder_of("").unwrap(), "");
        assert!(SourceArchive { tar: folder.path().join("none") }.folder_of("x").is_err());
    }

    #[test]
    fn a_containers_archive_has_the_source_under_the_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        let step = "unit".parse().unwrap();
        let whose = ("source-x", &step);
        archive(folder.path()).for_container(&mut bytes, whose, true, None).unwrap();
        let mut seen = Vec::new();
        for entry in Archive::new(bytes.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            let mode = entry.header().mode().unwrap();
            seen.push((
                entry.path().unwrap().display().to_string(),
                mode,
                entry.link_name().unwrap().map(|target| target.display().to_string()),
            ));
        }
        assert!(seen.contains(&("workspace/source-x".into(), 0o777, None)));
        assert!(seen.contains(&("checkvalve/out/unit".into(), 0o777, None)));
        assert!(seen.contains(&("workspace/source-x/run.sh".into(), 0o777, None)));
        assert!(seen.contains(&("workspace/dags/one.py".into(), 0o666, None)));
        let target = |path: &str| seen.iter().find(|seen| seen.0 == path).unwrap().2.clone();
        assert_eq!(target("workspace/source-x/link").as_deref(), Some("../dags/one.py"));
        assert_eq!(target("workspace/source-x/hard").as_deref(), Some("workspace/dags/one.py"));
        assert!(seen.iter().any(|(path, ..)| path.ends_with("deep.txt")));
    }

    #[test]
    fn unpacking_writes_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("tree");
        archive(folder.path()).unpack(&to).unwrap();
        assert!(to.join("source-x/run.sh").is_file());
        assert_eq!(std::fs::read(to.join("source-x/hard")).unwrap(), b"x\n");
    }
}
