//! The source's files one by one, for those who judge them here.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use tar::{Builder, Header};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::SourceArchive;
use super::source::relative;

/// The bytes of zeros that an archive ends with.
const END: u64 = 1024;

/// What the context of an image's build has beside the source.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// The folder of the context in which the source is; its top if empty.
    pub source: &'a str,
    /// Files at its top, in place of the source's own.
    pub files: &'a [(&'a str, &'a [u8])],
}

impl SourceArchive {
    /// Shows every plain file in the archive's order: its path, and at most `most` bytes of it.
    /// Blocks while it reads the archive.
    pub fn each_file(&self, most: u64, mut show: impl FnMut(&str, &[u8])) -> io::Result<()> {
        let mut archive = self.open()?;
        let mut content = Vec::new();
        for entry in archive.entries()? {
            let entry = entry?;
            let kind = entry.header().entry_type();
            if !(kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse()) {
                continue;
            }
            let path = relative(entry.path()?).to_string_lossy().into_owned();
            content.clear();
            entry.take(most).read_to_end(&mut content)?;
            show(&path, &content);
        }
        Ok(())
    }

    /// Writes the folder at `root` as the context of an image's build, without what is `excluded`
    /// (paths below it), and with what was made for it.
    pub fn build_context(
        &self,
        to: &Path,
        root: &str,
        excluded: impl Fn(&str) -> bool,
        beside: Beside<'_>,
    ) -> io::Result<()> {
        let mut tar = Builder::new(BufWriter::new(File::create(to)?));
        for entry in self.open()?.entries()? {
            let mut entry = entry?;
            let path = relative(entry.path()?);
            let Ok(below) = path.strip_prefix(relative(root)) else { continue };
            let replaced = beside.files.iter().any(|(path, _)| below == Path::new(path));
            if below.as_os_str().is_empty() || replaced || excluded(&below.to_string_lossy()) {
                continue;
            }
            let to = Path::new(beside.source).join(below);
            let mut header = entry.header().clone();
            let kind = entry.header().entry_type();
            if kind.is_symlink() {
                let target = entry.link_name()?.unwrap_or_default().into_owned();
                tar.append_link(&mut header, to, target)?;
            } else if kind.is_hard_link() {
                let target = relative(entry.link_name()?.unwrap_or_default());
                let Ok(target) = target.strip_prefix(relative(root)) else { continue };
                tar.append_link(&mut header, to, Path::new(beside.source).join(target))?;
            } else if kind.is_dir() || kind.is_file() || kind.is_contiguous() {
                header.set_size(entry.size());
                tar.append_data(&mut header, to, &mut entry)?;
            }
        }
        for (path, content) in beside.files {
            add_file(&mut tar, path, content)?;
        }
        tar.into_inner()?.flush()
    }
}

/// The bytes of a build's context, as [`SourceArchive::build_context`] wrote it, with more files, each
/// in place of what the archive has under its name.
pub(super) async fn context_with(
    path: &Path,
    files: &[(&str, &[u8])],
) -> io::Result<impl AsyncRead + Send + use<>> {
    let mut more = Builder::new(Vec::new());
    for (path, content) in files {
        add_file(&mut more, path, content)?;
    }
    let more = more.into_inner()?;
    let archive = tokio::fs::File::open(path).await?;
    let length = archive.metadata().await?.len();
    let cut_off = || io::Error::new(io::ErrorKind::UnexpectedEof, "the archive has no end");
    let without_end = length.checked_sub(END).ok_or_else(cut_off)?;
    // Either way it has one end.
    Ok(archive.take(without_end).chain(io::Cursor::new(more)))
}

fn add_file(tar: &mut Builder<impl Write>, path: &str, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_files_are_shown_and_long_ones_cut() {
        let folder = tempfile::tempdir().unwrap();
        let tar = folder.path().join("source.tar");
        let mut builder = Builder::new(File::create(&tar).unwrap());
        let mut add = |path: &str, kind, body: &[u8]| {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(body.len() as u64);
            builder.append_data(&mut header, path, body).unwrap();
        };
        add("a", tar::EntryType::Directory, b"");
        add("a/b.txt", tar::EntryType::Regular, b"0123456789");
        add("./c", tar::EntryType::Regular, b"x");
        builder.finish().unwrap();
        let mut seen = Vec::new();
        let show = |path: &str, content: &[u8]| seen.push((path.to_owned(), content.to_vec()));
        SourceArchive { tar }.each_file(4, show).unwrap();
        assert_eq!(
            seen,
            [("a/b.txt".to_owned(), b"0123".to_vec()), ("c".to_owned(), b"x".to_vec())]
        );
    }
}
