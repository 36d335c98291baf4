//! Disks that are full or read-only, made by mounting.

#![allow(dead_code, reason = "each test makes one kind")]

use std::path::Path;
use std::process::Command;

use checkvalve::ambient;

/// A mount that ends with the test.
pub(crate) struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    /// The folder as it is, but read-only.
    pub(crate) fn read_only(path: &'a Path) -> Option<Self> {
        let own = path.display().to_string();
        let mount = Self::made(path, &["--bind", &own])?;
        assert!(mounted(path, &["--options", "remount,bind,ro"]));
        Some(mount)
    }

    /// An empty disk of so many mebibytes.
    pub(crate) fn small(path: &'a Path, mebibytes: u32) -> Option<Self> {
        let size = format!("size={mebibytes}m,mode=700");
        Self::made(path, &["--types", "tmpfs", "--options", &size, "tmpfs"])
    }

    /// `None` where we may not mount, which is said; with `CHECKVALVE_REQUIRE=all` that is an error.
    fn made(path: &'a Path, args: &[&str]) -> Option<Self> {
        if mounted(path, args) {
            return Some(Self(path));
        }
        let required = ambient::env("CHECKVALVE_REQUIRE").as_deref() == Some("all");
        assert!(!required, "this needs the right to mount");
        eprintln!("SKIPPED: this needs the right to mount");
        None
    }
}

fn mounted(path: &Path, args: &[&str]) -> bool {
    Command::new("mount").args(args).arg(path).status().is_ok_and(|done| done.success())
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Lazily: whoever still holds a file there, because the test failed, does not keep it.
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}
