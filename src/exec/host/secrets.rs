//! A step's secrets as files that never touch a disk: a private folder of a file system in memory.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::statfs;
use tempfile::TempDir;

use crate::domain::secret::{Delivery, Secret, variable_of};

/// Where Linux has memory as a file system.
const MEMORY: &str = "/dev/shm";
/// `statfs` says so of tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
/// Ours; the number of the process follows.
const PREFIX: &str = "checkvalve-secrets-";

/// Removed with all files when the step ends, however it does.
pub(super) struct Secrets {
    folder: TempDir,
    variables: Vec<(String, OsString)>,
}

impl Secrets {
    /// # Errors
    /// In words: no file system in memory, or a value that can't be a variable.
    pub(super) fn deliver(secrets: &[Secret]) -> Result<Self, String> {
        let memory = Path::new(MEMORY);
        if !is_in_memory(memory) {
            return Err(format!(
                "secrets are given to steps in memory only, and this machine has no tmpfs at \
                 {MEMORY}; mount one, or use `--executor docker`"
            ));
        }
        sweep(memory);
        let failed = |error: io::Error| format!("the secrets could not be laid out: {error}");
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let folder = tempfile::Builder::new()
            .prefix(&prefix)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(memory)
            .map_err(failed)?;
        let mut variables = Vec::new();
        for secret in secrets {
            match &secret.delivery {
                Delivery::File => {
                    write(&folder.path().join(secret.name.as_str()), secret.value.expose())
                        .map_err(failed)?;
                }
                Delivery::Env => {
                    let value = OsString::from_vec(secret.as_variable()?.to_vec());
                    variables.push((variable_of(&secret.name), value));
                }
            }
        }
        Ok(Self { folder, variables })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = (&String, &OsString)> {
        self.variables.iter().map(|(name, value)| (name, value))
    }
}

fn is_in_memory(folder: &Path) -> bool {
    statfs(folder)
        .is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| IN_MEMORY.contains(&kind)))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(bytes)
}

/// Removes what a process left that was killed.
fn sweep(memory: &Path) {
    for entry in fs::read_dir(memory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        let Some(process) = process else { continue };
        if !PathBuf::from("/proc").join(process).exists() {
            // Another user's can't be removed, and is theirs.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
