//! The state folder: database, objects, caches and spools, and a place in it for each process.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tracing::warn;

use super::exit::UsageError;
use crate::ambient;
use crate::config::server::{Settings, key_of, key_text};
use crate::domain::ids::WorkerId;
use crate::exec::remove_tree;

/// The state folder, and this process's place in it: several processes may share the folder, each
/// under a number of its own.
#[derive(Debug)]
pub struct StateDir {
    pub path: PathBuf,
    /// Of the folder: marks our containers on an engine that others use too.
    pub instance: String,
    /// Of the place: the same over restarts, so that the leases of a dead predecessor are known.
    pub worker: WorkerId,
    place: u32,
    _lock: File,
}

/// So many processes may share one state folder.
const PLACES: u32 = 64;

impl StateDir {
    /// Makes the folder (mode 0700) and takes the first free place in it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
            format!(
                "can't make the state folder {}; set CHECKVALVE_STATE_DIR to a folder that can \
                     be written to",
                path.display()
            )
        })?;
        let instance = kept(&path.join("instance"), || ambient::ulid().to_string())?;
        for place in 0..PLACES {
            let Some(lock) = try_lock(&path.join(format!("process-{place}.lock")))? else {
                continue;
            };
            let id = path.join(format!("process-{place}.id"));
            let id = kept(&id, || WorkerId::new(ambient::ulid()).to_string())?;
            let worker = id.trim().parse().context("the state folder's process id")?;
            let instance = instance.trim().to_owned();
            return Ok(Self { path: path.to_owned(), instance, worker, place, _lock: lock });
        }
        bail!("{PLACES} processes use the state folder {} already", path.display())
    }

    /// This process's own folder for sources, logs and outputs of running jobs.
    pub(super) fn spool(&self) -> anyhow::Result<PathBuf> {
        self.folder(&format!("spool/{}", self.place))
    }

    /// The installation's key, made here if no setting gives one.
    pub(super) fn key(&self, settings: &Settings) -> anyhow::Result<[u8; 32]> {
        if let Some(key) = settings.key()? {
            return Ok(key);
        }
        let path = self.path.join("key");
        let made = kept(&path, || key_text(rand::random()))?;
        key_of(&made).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))
    }

    /// The installation's key, which must be there: a new one would be nobody else's.
    pub(super) fn key_that_is_there(&self, settings: &Settings) -> anyhow::Result<[u8; 32]> {
        if settings.key()?.is_none() && !self.path.join("key").exists() {
            bail!(UsageError(format!(
                "there is no key in {}: run this with the settings of `checkvalve serve`, or give its \
                 key in CHECKVALVE_KEY",
                self.path.display()
            )));
        }
        self.key(settings)
    }

    pub fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        Self::folder_in(&self.path, name)
    }

    /// A folder that all who use the state folder share: it needs no place.
    pub(super) fn folder_in(state: &Path, name: &str) -> anyhow::Result<PathBuf> {
        let folder = state.join(name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        Ok(folder)
    }
}

/// The lock of a place, or `None` if a living process has it.
fn try_lock(path: &Path) -> anyhow::Result<Option<File>> {
    let opened = File::options().create(true).truncate(false).write(true).open(path);
    let file = opened.with_context(|| {
        format!(
            "can't write to the state folder: {} (is the disk full or read-only?)",
            path.display()
        )
    })?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).context("can't lock the state folder"),
    }
}

/// A small file's content, made once: whole or not at all, also when the power fails or two
/// processes make it at the same time.
fn kept(path: &Path, make: impl FnOnce() -> String) -> anyhow::Result<String> {
    let written = || -> io::Result<String> {
        if let Ok(text) = fs::read_to_string(path) {
            return Ok(text);
        }
        let new = path.with_extension(format!("{}.new", ambient::ulid()));
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(make().as_bytes()).and_then(|()| file.sync_all())?;
        let linked = fs::hard_link(&new, path);
        fs::remove_file(&new)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => fs::read_to_string(path),
        }
    };
    written().with_context(|| format!("can't write {}", path.display()))
}

/// Removes what a dead predecessor spooled; the folder is ours alone by the lock of our place. What
/// can't be removed costs space and nothing else: a job's folder has a name of its own.
pub(super) fn clear(spool: &Path) -> anyhow::Result<()> {
    let entries = fs::read_dir(spool).with_context(|| format!("can't read {}", spool.display()))?;
    for entry in entries {
        let path = entry?.path();
        if let Err(error) = remove_tree(&path) {
            warn!(path = %path.display(), "what an earlier process left can't be removed: {error}");
        }
    }
    Ok(())
}
