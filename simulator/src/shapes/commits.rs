//! Commits, in the three forms that GitHub has for them.

use serde_json::{Value, json};

use super::node_id;
use crate::world::{CommitFacts, Repository, World};

/// A person inside a commit object.
fn git_user(commit: &CommitFacts) -> Value {
    json!({ "name": commit.author_name, "email": commit.author_email, "date": commit.date })
}

fn verification() -> Value {
    json!({
        "verified": false, "reason": "unsigned", "signature": null, "payload": null,
        "verified_at": null,
    })
}

/// The `simple-commit` of suites and pushes.
pub(crate) fn simple_commit_json(commit: &CommitFacts) -> Value {
    let person = json!({ "name": commit.author_name, "email": commit.author_email });
    json!({
        "id": commit.sha,
        "tree_id": commit.tree,
        "message": commit.message,
        "timestamp": commit.date,
        "author": person,
        "committer": person,
    })
}

/// The `git-commit` of the git database.
pub(crate) fn git_commit_json(
    world: &World,
    repository: &Repository,
    commit: &CommitFacts,
) -> Value {
    let url = world.repository_url(repository);
    let html = format!("{}/{}", world.url, repository.full_name());
    let parents: Vec<Value> = commit
        .parents
        .iter()
        .map(|sha| {
            json!({
                "sha": sha,
                "url": format!("{url}/git/commits/{sha}"),
                "html_url": format!("{html}/commit/{sha}"),
            })
        })
        .collect();
    json!({
        "sha": commit.sha,
        "node_id": node_id("Commit", repository.id),
        "url": format!("{url}/git/commits/{}", commit.sha),
        "html_url": format!("{html}/commit/{}", commit.sha),
        "author": git_user(commit),
        "committer": git_user(commit),
        "tree": { "sha": commit.tree, "url": format!("{url}/git/trees/{}", commit.tree) },
        "message": commit.message,
        "parents": parents,
        "verification": verification(),
    })
}

/// The `commit` of lists and comparisons, without files.
pub(crate) fn commit_json(world: &World, repository: &Repository, commit: &CommitFacts) -> Value {
    let url = world.repository_url(repository);
    let git = git_commit_json(world, repository, commit);
    let login = commit.author_email.split('@').next().unwrap_or_default();
    let user = world.users.get(login).map(|user| world.user_json(&user.login));
    json!({
        "sha": commit.sha,
        "node_id": git["node_id"],
        "url": format!("{url}/commits/{}", commit.sha),
        "html_url": git["html_url"],
        "comments_url": format!("{url}/commits/{}/comments", commit.sha),
        "commit": {
            "author": git["author"],
            "committer": git["committer"],
            "message": commit.message,
            "tree": git["tree"],
            "url": git["url"],
            "comment_count": 0,
            "verification": verification(),
        },
        "author": user,
        "committer": user,
        "parents": git["parents"],
    })
}
