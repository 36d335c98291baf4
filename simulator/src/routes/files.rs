//! Changed files, as `git diff` knows them and GitHub tells them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::Error;
use crate::git;
use crate::refusals::{Answer, Outcome, complaint, refuse, server_error};
use crate::shapes::url_path;
use crate::world::{Pull, Repository, World};

/// A file's patch is left out beyond either.
const LONGEST_PATCH: usize = 500 * 1024;
const MOST_PATCH_LINES: usize = 20_000;
/// The diff media type refuses beyond so many files.
const MOST_DIFF_FILES: usize = 300;

/// One changed file.
#[derive(Debug)]
pub(super) struct ChangedFile {
    path: String,
    previous: Option<String>,
    status: &'static str,
    sha: String,
    additions: u64,
    deletions: u64,
    patch: Option<String>,
}

impl ChangedFile {
    /// A `diff-entry`.
    pub(super) fn json(&self, world: &World, home: &Repository, head: &str) -> Value {
        let html = format!("{}/{}", world.url, home.full_name());
        let path = url_path(&self.path);
        let mut shape = json!({
            "sha": self.sha,
            "filename": self.path,
            "status": self.status,
            "additions": self.additions,
            "deletions": self.deletions,
            "changes": self.additions + self.deletions,
            "blob_url": format!("{html}/blob/{head}/{path}"),
            "raw_url": format!("{html}/raw/{head}/{path}"),
            "contents_url":
                format!("{}/contents/{path}?ref={head}", world.repository_url(home)),
        });
        // `patch` is missing, not empty, for binary and large files.
        if let Some(patch) = &self.patch {
            shape["patch"] = patch.as_str().into();
        }
        if let Some(previous) = &self.previous {
            shape["previous_filename"] = previous.as_str().into();
        }
        shape
    }
}

/// What changed between the common ancestor of two commits and the second.
pub(super) async fn changed(
    folder: &Path,
    base: &str,
    head: &str,
) -> Result<Vec<ChangedFile>, Error> {
    let range = format!("{base}...{head}");
    listed(folder, &range).await
}

/// What one commit changed.
pub(super) async fn changed_by(
    folder: &Path,
    parent: Option<&str>,
    sha: &str,
) -> Result<Vec<ChangedFile>, Error> {
    // The empty tree, which every repository knows.
    let nothing = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
    listed(folder, &format!("{}..{sha}", parent.unwrap_or(nothing))).await
}

async fn listed(folder: &Path, range: &str) -> Result<Vec<ChangedFile>, Error> {
    let common = ["-M", "--no-color", "--no-ext-diff"];
    let run = |extra: &'static [&'static str]| {
        let mut arguments = vec!["-c", "core.quotePath=false", "diff"];
        arguments.extend(common);
        arguments.extend(extra);
        arguments.push(range);
        async move { git::bytes(folder, &arguments).await }
    };
    let raw = run(&["--raw", "--no-abbrev", "-z"]).await?;
    let numbers = counts(&run(&["--numstat", "-z"]).await?);
    let patches = patches(&String::from_utf8_lossy(&run(&["--patch"]).await?));
    let mut files = Vec::new();
    let raw = String::from_utf8_lossy(&raw).into_owned();
    let mut fields = raw.split('\0');
    // The diff's patches come in the same order as its raw lines.
    let mut patches = patches.into_iter();
    while let Some(header) = fields.next().filter(|header| header.starts_with(':')) {
        let parts: Vec<&str> = header.split(' ').collect();
        let letter = parts.get(4).and_then(|status| status.chars().next()).unwrap_or('M');
        let first = fields.next().unwrap_or_default().to_owned();
        let (path, previous) = if matches!(letter, 'R' | 'C') {
            (fields.next().unwrap_or_default().to_owned(), Some(first))
        } else {
            (first, None)
        };
        let (additions, deletions) = numbers.get(&path).copied().unwrap_or((0, 0));
        files.push(ChangedFile {
            previous,
            status: match letter {
                'A' => "added",
                'D' => "removed",
                'R' => "renamed",
                'C' => "copied",
                'T' => "changed",
                _ => "modified",
            },
            sha: parts
                .get(if letter == 'D' { 2 } else { 3 })
                .copied()
                .unwrap_or_default()
                .to_owned(),
            additions,
            deletions,
            patch: patches.next().flatten(),
            path,
        });
    }
    Ok(files)
}

/// Additions and deletions by (new) path.
fn counts(numstat: &[u8]) -> BTreeMap<String, (u64, u64)> {
    let text = String::from_utf8_lossy(numstat).into_owned();
    let mut fields = text.split('\0');
    let mut counts = BTreeMap::new();
    while let Some(line) = fields.next().filter(|line| !line.is_empty()) {
        let mut columns = line.splitn(3, '\t');
        // Binary files have dashes.
        let mut number = || columns.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let pair = (number(), number());
        let path = match columns.next() {
            Some(path) if !path.is_empty() => path.to_owned(),
            // A rename: old and new name follow.
            _ => {
                fields.next();
                fields.next().unwrap_or_default().to_owned()
            }
        };
        counts.insert(path, pair);
    }
    counts
}

/// The hunks of each file in turn; `None` where there are none to show.
fn patches(diff: &str) -> Vec<Option<String>> {
    let mut patches: Vec<Option<String>> = Vec::new();
    for line in diff.split_inclusive('\n') {
        if line.starts_with("diff --git ") {
            patches.push(None);
        } else if let Some(current) = patches.last_mut() {
            match current {
                Some(hunks) => hunks.push_str(line),
                None if line.starts_with("@@") => *current = Some(line.to_owned()),
                None => {}
            }
        }
    }
    for patch in &mut patches {
        let too_large = patch.as_ref().is_some_and(|patch| {
            patch.len() > LONGEST_PATCH || patch.lines().count() > MOST_PATCH_LINES
        });
        if too_large {
            *patch = None;
        } else if let Some(patch) = patch {
            patch.truncate(patch.trim_end_matches('\n').len());
        }
    }
    patches
}

/// The diff media type.
pub(super) async fn diff(folder: &Path, pull: &Pull) -> Outcome {
    if usize::try_from(pull.size.changed_files).unwrap_or(usize::MAX) > MOST_DIFF_FILES {
        let text = "Sorry, the diff exceeded the maximum number of files (300). Consider using \
                    'List pull requests files' API or locally cloning the repository instead.";
        let mut refusal = refuse(406, text);
        if let crate::refusals::Payload::Json(body) = &mut refusal.body {
            body["errors"] = json!([complaint("PullRequest", "too_large", "diff", None)]);
        }
        return Err(refusal);
    }
    let range = format!("{}...{}", pull.base_sha, pull.head_sha);
    let diff = git::bytes(folder, &["diff", "-M", "--no-color", &range]).await;
    let diff = diff.map_err(|error| server_error(&error))?;
    Ok(Answer::raw(200, "application/vnd.github.diff; charset=utf-8", diff))
}
