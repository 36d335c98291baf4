//! What is not ours to publish, and lies beside the checkout of who has it: a variable names its
//! folder. Without one a test says so and checks nothing. A folder that is named must have what a test
//! looks for: with `CHECKVALVE_REQUIRE=all`, nothing passes unchecked that was meant to be checked.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::path::{Path, PathBuf};

use checkvalve::ambient;

/// The folder that `variable` names, with `file` in it.
pub fn given(variable: &str, file: &str) -> Option<PathBuf> {
    let required = ambient::env("CHECKVALVE_REQUIRE").as_deref() == Some("all");
    let found = judged(variable, ambient::env(variable).as_deref(), (file, required));
    if let Err(why) = &found {
        eprintln!("not checked: {why}");
    }
    found.ok()
}

/// Why there is none; a failure where it is named and required.
pub fn judged(
    variable: &str,
    folder: Option<&str>,
    (file, required): (&str, bool),
) -> Result<PathBuf, String> {
    let folder = folder.ok_or_else(|| format!("{variable} names no folder"))?;
    if Path::new(folder).join(file).exists() {
        return Ok(folder.into());
    }
    let why = format!("{variable} names {folder}, and there is no {file} in it");
    assert!(!required, "{why}: mend the variable, or leave it out");
    Err(why)
}
