//! Commits, comparisons, refs and file contents.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use serde_json::{Value, json};

use super::{checks, files, home, objects, paging};
use crate::git;
use crate::refusals::{Answer, Outcome, not_found, refuse, server_error};
use crate::server::Asked;
use crate::shapes::{commit_json, node_id, url_path};
use crate::simulator::Inner;

const MOST_COMPARED_FILES: usize = 300;
const MOST_COMPARED_COMMITS: usize = 250;
/// JSON carries contents up to here.
const LARGEST_JSON_FILE: usize = 1024 * 1024;
const MOST_ENTRIES: usize = 1000;

pub(super) async fn serve(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let folder = folder(inner, asked)?;
    match asked.operation.id {
        "repos/get-commit" => commit(inner, asked, &folder).await,
        "repos/compare-commits-with-basehead" => compare(inner, asked, &folder).await,
        "repos/get-content" => content(inner, asked, &folder).await,
        "git/get-ref" => reference(inner, asked, &folder).await,
        "git/get-tree" | "git/get-blob" | "git/get-commit" => {
            objects::serve(inner, asked, &folder).await
        }
        _ => Err(not_found()),
    }
}

/// The repository's folder; an empty one has no git to ask.
fn folder(inner: &Inner, asked: &Asked<'_>) -> Result<PathBuf, Answer> {
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    if home.branches.is_empty() {
        return Err(refuse(409, "Git Repository is empty.").in_our_words());
    }
    Ok(home.folder.clone())
}

pub(super) fn accepts(asked: &Asked<'_>, kind: &str) -> bool {
    let accept = asked.headers.get("accept").and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains(kind))
}

async fn commit(inner: &Arc<Inner>, asked: &Asked<'_>, folder: &Path) -> Outcome {
    let sha = checks::resolve(inner, asked).await?;
    if accepts(asked, "vnd.github.sha") {
        return Ok(Answer::raw(200, "application/vnd.github.sha; charset=utf-8", sha));
    }
    let facts = inner.know_commit(asked.repository()?, &sha).await.ok_or_else(not_found)?;
    let changed = files::changed_by(folder, facts.parents.first().map(String::as_str), &sha)
        .await
        .map_err(|error| server_error(&error))?;
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    let items: Vec<Value> = changed.iter().take(300).map(|f| f.json(&world, home, &sha)).collect();
    let mut shape = commit_json(&world, home, &facts);
    let sum = |field: &str| items.iter().filter_map(|file| file[field].as_u64()).sum::<u64>();
    let (additions, deletions) = (sum("additions"), sum("deletions"));
    shape["stats"] = json!({
        "additions": additions, "deletions": deletions, "total": additions + deletions,
    });
    shape["files"] = items.into();
    Ok(Answer::ok(shape))
}

/// Two ends of a comparison and what lies between them.
struct Compared {
    base: String,
    head: String,
    merge_base: String,
    ahead: Vec<String>,
    behind: usize,
}

/// `base...head`, where either may be a branch, a SHA, or `owner:branch` of the same network.
async fn ends(inner: &Inner, asked: &Asked<'_>, folder: &Path) -> Result<Compared, Answer> {
    let (base, head) = asked.param("basehead").split_once("...").ok_or_else(not_found)?;
    let base = endpoint(inner, asked, base).await?;
    let head = endpoint(inner, asked, head).await?;
    let unrelated = |_| {
        let text = format!("No common ancestor between {base} and {head}.");
        refuse(asked.choices.no_common_ancestor, &text).in_our_words()
    };
    let merge_base = git::text(folder, &["merge-base", &base, &head]).await.map_err(unrelated)?;
    let list = |range: String| async move {
        let listed = git::text(folder, &["rev-list", "--reverse", &range]).await;
        listed.map_err(|error| server_error(&error))
    };
    let ahead = list(format!("{base}..{head}")).await?.lines().map(str::to_owned).collect();
    let behind = list(format!("{head}..{base}")).await?.lines().count();
    Ok(Compared { base, head, merge_base, ahead, behind })
}

/// Without paging the newest 250 commits; with paging they come in order. Files come on the
/// first page only, at most 300 of them.
async fn compare(inner: &Arc<Inner>, asked: &Asked<'_>, folder: &Path) -> Outcome {
    let repository = asked.repository()?;
    let Compared { base, head, merge_base, ahead, behind } = ends(inner, asked, folder).await?;
    let changed =
        files::changed(folder, &base, &head).await.map_err(|error| server_error(&error))?;
    let total = ahead.len();
    let paged = asked.query("page").is_some() || asked.query("per_page").is_some();
    let (shown, link) = if paged {
        paging::cut(&inner.world(), asked, ahead)?
    } else {
        (ahead.into_iter().skip(total.saturating_sub(MOST_COMPARED_COMMITS)).collect(), None)
    };
    let mut facts = Vec::new();
    for sha in &shown {
        facts.extend(inner.know_commit(repository, sha).await);
    }
    let base_facts = inner.know_commit(repository, &base).await.ok_or_else(not_found)?;
    let merge_facts = inner.know_commit(repository, &merge_base).await.ok_or_else(not_found)?;
    let world = inner.world();
    let home = home(&world, repository)?;
    let url = format!("{}/compare/{base}...{head}", world.repository_url(home));
    let html = format!("{}/{}/compare/{base}...{head}", world.url, home.full_name());
    let first_page = asked.query("page").is_none_or(|page| page == "1");
    let files: Vec<Value> = changed
        .iter()
        .take(if first_page { MOST_COMPARED_FILES } else { 0 })
        .map(|file| file.json(&world, home, &head))
        .collect();
    let commits: Vec<Value> = facts.iter().map(|facts| commit_json(&world, home, facts)).collect();
    let answer = Answer::ok(json!({
        "url": url,
        "html_url": html,
        "permalink_url": html,
        "diff_url": format!("{html}.diff"),
        "patch_url": format!("{html}.patch"),
        "base_commit": commit_json(&world, home, &base_facts),
        "merge_base_commit": commit_json(&world, home, &merge_facts),
        "status": match (total, behind) {
            (0, 0) => "identical",
            (_, 0) => "ahead",
            (0, _) => "behind",
            (_, _) => "diverged",
        },
        "ahead_by": total,
        "behind_by": behind,
        "total_commits": total,
        "commits": commits,
        "files": files,
    }));
    Ok(paging::linked(answer, link))
}

async fn endpoint(inner: &Inner, asked: &Asked<'_>, name: &str) -> Result<String, Answer> {
    let repository = asked.repository()?;
    let local = name.rsplit_once(':').map_or(name, |(_, branch)| branch);
    let known = home(&inner.world(), repository)?.resolve(local);
    match known {
        Some(sha) => Ok(sha),
        None => inner.know_commit(repository, local).await.map(|f| f.sha).ok_or_else(not_found),
    }
}

async fn reference(inner: &Arc<Inner>, asked: &Asked<'_>, folder: &Path) -> Outcome {
    let name = format!("refs/{}", asked.param("ref"));
    let shown = git::text(folder, &["for-each-ref", "--format=%(objectname) %(objecttype)", &name])
        .await
        .map_err(|error| server_error(&error))?;
    // A pattern that is a folder of refs lists them all: only the ref itself counts.
    let exact = git::text(folder, &["rev-parse", "--verify", "--quiet", &name]).await;
    let sha = exact.map_err(|_| not_found())?;
    let kind = shown.split(' ').nth(1).and_then(|kind| kind.lines().next()).unwrap_or("commit");
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    let api = world.repository_url(home);
    Ok(Answer::ok(json!({
        "ref": name,
        "node_id": node_id("Ref", home.id),
        "url": format!("{api}/git/{name}"),
        "object": { "type": kind, "sha": sha, "url": format!("{api}/git/{kind}s/{sha}") },
    })))
}

/// One line of `ls-tree --long`.
struct Entry {
    mode: String,
    kind: String,
    sha: String,
    size: u64,
    path: String,
}

async fn entries(folder: &Path, treeish: &str, path: &str, inside: bool) -> Vec<Entry> {
    let path = if inside && !path.is_empty() { format!("{path}/") } else { path.to_owned() };
    let mut arguments = vec!["ls-tree", "--long", "-z", treeish];
    if !path.is_empty() {
        arguments.extend(["--", path.as_str()]);
    }
    let listing = git::text(folder, &arguments).await.unwrap_or_default();
    let parse = |line: &str| {
        let (left, path) = line.split_once('\t')?;
        let mut columns = left.split_whitespace().map(str::to_owned);
        Some(Entry {
            mode: columns.next()?,
            kind: columns.next()?,
            sha: columns.next()?,
            size: columns.next()?.parse().unwrap_or(0),
            path: path.to_owned(),
        })
    };
    listing.split('\0').filter_map(parse).collect()
}

async fn content(inner: &Arc<Inner>, asked: &Asked<'_>, folder: &Path) -> Outcome {
    let path = asked.param("path").trim_matches('/').to_owned();
    let reference = match asked.query("ref") {
        Some(reference) => reference.to_owned(),
        None => home(&inner.world(), asked.repository()?)?.default_branch.clone(),
    };
    let treeish = endpoint(inner, asked, &reference)
        .await
        .map_err(|_| refuse(404, &format!("No commit found for the ref {reference}")))?;
    let found = entries(folder, &treeish, &path, false).await;
    let entry = found.into_iter().find(|entry| entry.path == path);
    let is_folder = path.is_empty() || entry.as_ref().is_some_and(|entry| entry.kind == "tree");
    if is_folder {
        let listing = entries(folder, &treeish, &path, true).await;
        let world = inner.world();
        let home = home(&world, asked.repository()?)?;
        let links = Links {
            api: world.repository_url(home),
            html: format!("{}/{}", world.url, home.full_name()),
            reference,
        };
        return Ok(Answer::ok(listing.iter().take(MOST_ENTRIES).map(|e| links.entry(e)).collect()));
    }
    let entry = entry.ok_or_else(not_found)?;
    if entry.size > objects::LARGEST_FILE {
        return Err(objects::too_large());
    }
    let bytes = git::bytes(folder, &["cat-file", "blob", &entry.sha])
        .await
        .map_err(|error| server_error(&error))?;
    if accepts(asked, "raw") {
        return Ok(Answer::raw(200, "application/vnd.github.raw+json; charset=utf-8", bytes));
    }
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    let links = Links {
        api: world.repository_url(home),
        html: format!("{}/{}", world.url, home.full_name()),
        reference,
    };
    let mut shape = links.entry(&entry);
    if entry.mode == "120000" {
        shape["target"] = String::from_utf8_lossy(&bytes).into();
    } else if bytes.len() > LARGEST_JSON_FILE {
        shape["content"] = "".into();
        shape["encoding"] = "none".into();
    } else {
        shape["content"] =
            lines_of_60(&base64::engine::general_purpose::STANDARD.encode(&bytes)).into();
        shape["encoding"] = "base64".into();
    }
    Ok(Answer::ok(shape))
}

/// GitHub breaks base64 after 60 characters.
pub(super) fn lines_of_60(text: &str) -> String {
    let lines: Vec<_> = text.as_bytes().chunks(60).map(String::from_utf8_lossy).collect();
    lines.join("\n") + "\n"
}

struct Links {
    api: String,
    html: String,
    reference: String,
}

impl Links {
    fn entry(&self, entry: &Entry) -> Value {
        let Self { api, html, reference } = self;
        let kind = match (entry.mode.as_str(), entry.kind.as_str()) {
            ("120000", _) => "symlink",
            (_, "tree") => "dir",
            (_, "commit") => "submodule",
            _ => "file",
        };
        let word = if kind == "dir" { "tree" } else { "blob" };
        let (path, reference) = (url_path(&entry.path), url_path(reference));
        let url = format!("{api}/contents/{path}?ref={reference}");
        let git_url = format!("{api}/git/{word}s/{}", entry.sha);
        let html_url = format!("{html}/{word}/{reference}/{path}");
        let download = (kind == "file").then(|| format!("{html}/raw/{reference}/{path}"));
        json!({
            "type": kind,
            "name": entry.path.rsplit('/').next().unwrap_or_default(),
            "path": entry.path,
            "sha": entry.sha,
            "size": entry.size,
            "url": url,
            "git_url": git_url,
            "html_url": html_url,
            "download_url": download,
            "_links": { "self": url, "git": git_url, "html": html_url },
        })
    }
}
