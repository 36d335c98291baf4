//! Objects as files. A write goes to a hidden file first, is flushed to the disk, and then takes
//! its name; so neither a reader nor a crash ever meets half an object.

use std::io::{self, ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::fs;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::key::UNFINISHED;
use super::{BlobError, Object};

/// What a crash left unfinished goes after this long: nothing takes so long to write.
const STALE: Duration = Duration::from_hours(24);

#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: Arc<Path>,
}

impl Folder {
    pub(super) async fn open(root: &Path) -> Result<Self, BlobError> {
        let unfinished = root.join(UNFINISHED);
        let made = async {
            fs::create_dir_all(&unfinished).await?;
            sweep(&unfinished).await
        };
        named(made.await, &root.display().to_string())?;
        Ok(Self { root: Arc::from(root) })
    }

    pub(super) async fn put(&self, key: &str, bytes: Bytes, _: &str) -> Result<(), BlobError> {
        let fresh = self.fresh();
        let written = async {
            let mut file = fs::File::create_new(&fresh).await?;
            file.write_all(&bytes).await?;
            // The write happens behind our back, and only `flush` tells how it ended: on a full disk
            // `sync_all` alone answers that half an object is fine.
            file.flush().await?;
            file.sync_all().await
        };
        named(self.finish(&fresh, key, written.await).await, key)
    }

    pub(super) async fn put_file(
        &self,
        key: &str,
        source: &Path,
        _: &str,
    ) -> Result<(), BlobError> {
        let fresh = self.fresh();
        let written = async {
            fs::copy(source, &fresh).await?;
            fs::File::open(&fresh).await?.sync_all().await
        };
        named(self.finish(&fresh, key, written.await).await, key)
    }

    pub(super) async fn get(
        &self,
        key: &str,
        range: Option<(u64, u64)>,
    ) -> Result<Option<Object>, BlobError> {
        match read(&self.path(key), range).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => named(Err(error), key),
        }
    }

    /// Objects are never changed in place, so two names may share one file.
    pub(super) async fn copy(&self, from: &str, to: &str) -> Result<bool, BlobError> {
        let (source, fresh) = (self.path(from), self.fresh());
        match fs::metadata(&source).await {
            Ok(meta) if !meta.is_file() => return Ok(false),
            Err(error) if is_missing(&error) => return Ok(false),
            meta => named(meta.map(drop), from)?,
        }
        let linked = match fs::hard_link(&source, &fresh).await {
            Err(error) if is_missing(&error) => return Ok(false),
            // Some file systems have no links.
            Err(_) => fs::copy(&source, &fresh).await.map(drop),
            Ok(()) => Ok(()),
        };
        let finished = self.finish(&fresh, to, linked).await;
        // Of two names of one file, renaming leaves both.
        let _ = fs::remove_file(&fresh).await;
        named(finished, to).map(|()| true)
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<String>, BlobError> {
        let (root, start) = (self.root.clone(), prefix.to_owned());
        let walked = tokio::task::spawn_blocking(move || walk(&root, start)).await;
        let walked = walked.unwrap_or_else(|ended| Err(io::Error::other(ended)));
        named(walked, prefix)
    }

    /// Folders that it leaves empty go too.
    pub(super) async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let path = self.path(key);
        match fs::remove_file(&path).await {
            Err(error) if is_missing(&error) => return Ok(()),
            done => named(done, key)?,
        }
        for folder in path.ancestors().skip(1).take_while(|folder| **folder != *self.root) {
            if fs::remove_dir(folder).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    fn fresh(&self) -> PathBuf {
        self.root.join(UNFINISHED).join(crate::ambient::ulid().to_string())
    }

    /// Gives a written file its name, or removes it if writing failed.
    async fn finish(&self, fresh: &Path, key: &str, written: io::Result<()>) -> io::Result<()> {
        let named = match written {
            Ok(()) => self.name(fresh, &self.path(key)).await,
            Err(error) => Err(error),
        };
        if named.is_err() {
            let _ = fs::remove_file(fresh).await;
        }
        named
    }

    async fn name(&self, fresh: &Path, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        let mut tries = 0;
        loop {
            fs::create_dir_all(folder).await?;
            match fs::rename(fresh, path).await {
                // A deletion took the folder in between.
                Err(error) if error.kind() == ErrorKind::NotFound && tries < 5 => tries += 1,
                Err(error) => return Err(error),
                Ok(()) => break,
            }
        }
        // The name is durable when the folder is.
        fs::File::open(folder).await?.sync_all().await
    }
}

async fn read(path: &Path, range: Option<(u64, u64)>) -> io::Result<Object> {
    let mut file = fs::File::open(path).await?;
    let meta = file.metadata().await?;
    if !meta.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let total = meta.len();
    let (first, length) = range.unwrap_or((0, total));
    let length = length.min(total.saturating_sub(first));
    if first > 0 && length > 0 {
        file.seek(SeekFrom::Start(first)).await?;
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(length).read_to_end(&mut bytes).await?;
    Ok(Object { bytes: bytes.into(), total })
}

/// A part of the key that is a file where a folder should be is a missing object, too.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn named<T>(result: io::Result<T>, key: &str) -> Result<T, BlobError> {
    result.map_err(|source| BlobError::Io { key: key.to_owned(), source })
}

/// All files below a prefix. Names that are no UTF-8 are not ours.
fn walk(root: &Path, prefix: String) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![prefix];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(root.join(&folder)) {
            Err(error) if is_missing(&error) => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if key == UNFINISHED {
                continue;
            }
            match entry.file_type()? {
                kind if kind.is_dir() => folders.push(key),
                kind if kind.is_file() => found.push(key),
                _ => {}
            }
        }
    }
    Ok(found)
}

/// Removes what crashed writers left long ago.
async fn sweep(unfinished: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(unfinished).await?;
    while let Some(entry) = entries.next_entry().await? {
        let age = entry.metadata().await.ok().and_then(|meta| meta.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age > STALE) {
            fs::remove_file(entry.path()).await?;
        }
    }
    Ok(())
}
