//! Git's own objects: trees, blobs and commits.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};

use super::{commits, home};
use crate::git;
use crate::refusals::{Answer, Outcome, complaint, not_found, refuse, server_error};
use crate::server::Asked;
use crate::shapes::{git_commit_json, node_id};
use crate::simulator::Inner;

/// Of a recursive listing.
const MOST_ENTRIES: usize = 100_000;
const LARGEST_LISTING: usize = 7 * 1024 * 1024;
/// Of blobs and contents.
pub(super) const LARGEST_FILE: u64 = 100 * 1024 * 1024;

pub(super) async fn serve(inner: &Arc<Inner>, asked: &Asked<'_>, folder: &Path) -> Outcome {
    match asked.operation.id {
        "git/get-tree" => tree(inner, asked, folder).await,
        "git/get-blob" => blob(inner, asked, folder).await,
        "git/get-commit" => {
            let repository = asked.repository()?;
            let facts = inner.know_commit(repository, asked.param("commit_sha")).await;
            let facts = facts.ok_or_else(not_found)?;
            let world = inner.world();
            Ok(Answer::ok(git_commit_json(&world, home(&world, repository)?, &facts)))
        }
        _ => Err(not_found()),
    }
}

/// 403 for what is larger than GitHub hands out.
pub(super) fn too_large() -> Answer {
    let text = "This API returns blobs up to 100 MB in size. The requested blob is too large to \
                fetch via the API, but you can always clone the repository via Git.";
    let mut refusal = refuse(403, text).in_our_words();
    if let crate::refusals::Payload::Json(body) = &mut refusal.body {
        body["errors"] = json!([complaint("Blob", "too_large", "data", None)]);
    }
    refusal
}

/// A revision as an argument of git: never an option.
fn revision(text: &str, kind: &str) -> Result<String, Answer> {
    if text.is_empty() || text.starts_with('-') {
        return Err(not_found());
    }
    Ok(format!("{text}^{{{kind}}}"))
}

async fn sha_of(folder: &Path, name: &str, kind: &str) -> Result<String, Answer> {
    let wanted = revision(name, kind)?;
    git::text(folder, &["rev-parse", "--verify", "--quiet", &wanted]).await.map_err(|_| not_found())
}

async fn tree(inner: &Arc<Inner>, asked: &Asked<'_>, folder: &Path) -> Outcome {
    let sha = sha_of(folder, asked.param("tree_sha"), "tree").await?;
    // Any value at all means yes, also `0` and `false`.
    let recursive = asked.query("recursive").is_some();
    let listing = if recursive {
        git::text(folder, &["ls-tree", "--long", "-z", "-r", "-t", &sha]).await
    } else {
        git::text(folder, &["ls-tree", "--long", "-z", &sha]).await
    };
    let listing = listing.map_err(|error| server_error(&error))?;
    let world = inner.world();
    let api = world.repository_url(home(&world, asked.repository()?)?);
    let (mut items, mut size, mut truncated) = (Vec::new(), 0, false);
    for line in listing.split('\0').filter(|line| !line.is_empty()) {
        size += line.len();
        truncated = recursive && (items.len() == MOST_ENTRIES || size > LARGEST_LISTING);
        if truncated {
            break;
        }
        items.extend(entry(&api, line));
    }
    Ok(Answer::ok(json!({
        "sha": sha,
        "url": format!("{api}/git/trees/{sha}"),
        "tree": items,
        "truncated": truncated,
    })))
}

/// One line of `ls-tree --long`.
fn entry(api: &str, line: &str) -> Option<Value> {
    let (left, path) = line.split_once('\t')?;
    let mut columns = left.split_whitespace();
    let (mode, kind, sha) = (columns.next()?, columns.next()?, columns.next()?);
    let mut entry = json!({ "path": path, "mode": mode, "type": kind, "sha": sha });
    if let Some(size) = columns.next().and_then(|size| size.parse::<u64>().ok()) {
        entry["size"] = size.into();
    }
    // A submodule's commit lives elsewhere.
    if kind != "commit" {
        entry["url"] = format!("{api}/git/{kind}s/{sha}").into();
    }
    Some(entry)
}

async fn blob(inner: &Arc<Inner>, asked: &Asked<'_>, folder: &Path) -> Outcome {
    let sha = sha_of(folder, asked.param("file_sha"), "blob").await?;
    let size = git::text(folder, &["cat-file", "-s", &sha]).await.unwrap_or_default();
    if size.parse::<u64>().is_ok_and(|size| size > LARGEST_FILE) {
        return Err(too_large());
    }
    let bytes = git::bytes(folder, &["cat-file", "blob", &sha])
        .await
        .map_err(|error| server_error(&error))?;
    if commits::accepts(asked, "raw") {
        return Ok(Answer::raw(200, "application/vnd.github.raw+json; charset=utf-8", bytes));
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    Ok(Answer::ok(json!({
        "sha": sha,
        "node_id": node_id("Blob", home.id),
        "size": bytes.len(),
        "url": format!("{}/git/blobs/{sha}", world.repository_url(home)),
        "content": commits::lines_of_60(&encoded),
        "encoding": "base64",
    })))
}
