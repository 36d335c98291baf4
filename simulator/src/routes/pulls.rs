//! Pull requests.

use std::sync::Arc;

use serde_json::Value;

use super::{files, home, paging};
use crate::git;
use crate::refusals::{Answer, Outcome, not_found, server_error};
use crate::server::Asked;
use crate::simulator::Inner;
use crate::world::{Merge, Pull};

/// No flag tells that there were more: `changed_files` of the pull request does.
const MOST_FILES: usize = 3_000;

pub(super) async fn serve(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    match asked.operation.id {
        "pulls/list" => list(inner, asked),
        "pulls/get" => get(inner, asked).await,
        "pulls/list-files" => list_files(inner, asked).await,
        "repos/list-pull-requests-associated-with-commit" => of_commit(inner, asked),
        _ => Err(not_found()),
    }
}

fn list(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    let state = asked.query("state").unwrap_or("open");
    let head = asked.query("head");
    let base = asked.query("base");
    let mut pulls: Vec<&Pull> = home
        .pulls
        .values()
        .filter(|pull| state == "all" || pull.state() == state)
        .filter(|pull| {
            head.is_none_or(|head| format!("{}:{}", pull.head_owner, pull.head_branch) == head)
        })
        .filter(|pull| base.is_none_or(|base| pull.base_branch == base))
        .collect();
    if asked.query("sort") == Some("updated") {
        pulls.sort_by_key(|pull| pull.updated_at);
    }
    if asked.query("direction") != Some("asc") {
        pulls.reverse();
    }
    let items: Vec<Value> =
        pulls.into_iter().map(|pull| world.pull_simple_json(home, pull).into()).collect();
    paging::array(&world, asked, items)
}

fn find(inner: &Inner, asked: &Asked<'_>) -> Result<(std::path::PathBuf, Pull), Answer> {
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    let pull = home.pulls.get(&asked.number("pull_number")?).ok_or_else(not_found)?;
    Ok((home.folder.clone(), pull.clone()))
}

/// The first reader sees `mergeable: null`; asking is what starts the test merge.
async fn get(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let repository = asked.repository()?;
    let (folder, pull) = find(inner, asked)?;
    let accept = asked.headers.get("accept").and_then(|v| v.to_str().ok()).unwrap_or_default();
    if accept.contains("diff") && !accept.contains("json") {
        return files::diff(&folder, &pull).await;
    }
    let answer = {
        let world = inner.world();
        let mut told = pull.clone();
        if !asked.choices.whole_file_count {
            told.size.changed_files = told.size.changed_files.min(MOST_FILES as u64);
        }
        Answer::ok(world.pull_json(home(&world, repository)?, &told))
    };
    if pull.open && pull.merge == Merge::Unknown {
        let merged = git::test_merge(&folder, &pull.base_sha, &pull.head_sha).await;
        let merge = match merged {
            Some(commit) => {
                let reference = format!("refs/pull/{}/merge", pull.number);
                git::text(&folder, &["update-ref", &reference, &commit])
                    .await
                    .map_err(|error| server_error(&error))?;
                Merge::Clean(commit)
            }
            None => Merge::Conflict,
        };
        let mut world = inner.world();
        let row = world
            .repositories
            .get_mut(&repository)
            .and_then(|home| home.pulls.get_mut(&pull.number))
            .filter(|row| row.head_sha == pull.head_sha);
        if let Some(row) = row {
            row.merge = merge;
        }
    }
    Ok(answer)
}

async fn list_files(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let (folder, pull) = find(inner, asked)?;
    let changed = files::changed(&folder, &pull.base_sha, &pull.head_sha)
        .await
        .map_err(|error| server_error(&error))?;
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    let items = changed
        .iter()
        .take(MOST_FILES)
        .map(|file| file.json(&world, home, &pull.head_sha))
        .collect();
    paging::array(&world, asked, items)
}

/// Pull requests with this head. Commits that exist only in a fork answer `[]`.
fn of_commit(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let sha = asked.param("commit_sha");
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    let items: Vec<Value> = home
        .pulls
        .values()
        .filter(|pull| pull.head_sha == sha && pull.head_repository == Some(home.id))
        .map(|pull| world.pull_simple_json(home, pull).into())
        .collect();
    paging::array(&world, asked, items)
}
