//! A `pull_request` delivery of 25,000 bytes in GitHub's shape, signed. Made here: the fields are
//! those that GitHub's webhook reference lists, the values are nobody's.

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// The secret of every signature here.
pub(crate) const SECRET: &str = "benchmark-webhook-secret";
/// What GitHub sends for a busy pull request.
const LENGTH: usize = 25_000;
const WEB: &str = "https://github.example";

/// A body and its signature header.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) body: Vec<u8>,
    pub(crate) signature: String,
}

pub(crate) fn sign(body: Vec<u8>) -> Signed {
    // HMAC takes keys of any length.
    let digest = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())
        .map(|mac| mac.chain_update(&body).finalize().into_bytes());
    let signature = format!("sha256={}", digest.map(hex::encode).unwrap_or_default());
    Signed { body, signature }
}

/// The delivery, its description padded to the full length.
pub(crate) fn pull_request() -> Signed {
    let bare = payload("").to_string().len();
    let sentence = "This change keeps the cursor of incremental streams when a page is empty. ";
    let description: String = sentence.chars().cycle().take(LENGTH.saturating_sub(bare)).collect();
    sign(payload(&description).to_string().into_bytes())
}

fn payload(description: &str) -> Value {
    let sha = |digit: &str| digit.repeat(40);
    json!({
        "action": "synchronize",
        "number": 4711,
        "before": sha("c"),
        "after": sha("a"),
        "pull_request": pull(description),
        "repository": repository(),
        "organization": {
            "login": "bench-org", "id": 900_001, "node_id": "O_kgDOABCDEF",
            "url": format!("{WEB}/api/orgs/bench-org"), "description": "Connectors of all kinds",
            "avatar_url": format!("{WEB}/avatars/u/900001?v=4"),
        },
        "sender": user("quill", 900_002),
        "installation": { "id": 900_003, "node_id": "MDIzOkludGVncmF0aW9uSW5zdGFsbGF0aW9u" },
    })
}

fn pull(description: &str) -> Value {
    let api = format!("{WEB}/api/repos/bench-org/connectors");
    let html = format!("{WEB}/bench-org/connectors/pull/4711");
    json!({
        "url": format!("{api}/pulls/4711"), "id": 900_010, "node_id": "PR_kwDOABCDEF5abcdef",
        "html_url": html, "diff_url": format!("{html}.diff"), "patch_url": format!("{html}.patch"),
        "issue_url": format!("{api}/issues/4711"), "number": 4711, "state": "open",
        "locked": false, "title": "source-orders: keep the cursor when a page is empty",
        "user": user("quill", 900_002), "body": description,
        "created_at": "2026-02-03T04:05:06Z", "updated_at": "2026-02-03T14:15:16Z",
        "closed_at": null, "merged_at": null, "merge_commit_sha": "d".repeat(40),
        "assignee": null, "assignees": [], "draft": false, "milestone": null,
        "requested_reviewers": [user("nib", 900_004), user("inkwell", 900_005)],
        "requested_teams": [],
        "labels": [label("area/connectors", 900_006), label("team/orders", 900_007)],
        "commits_url": format!("{api}/pulls/4711/commits"),
        "comments_url": format!("{api}/issues/4711/comments"),
        "statuses_url": format!("{api}/statuses/{}", "a".repeat(40)),
        "head": branch("quill/keep-cursor", "a"), "base": branch("main", "b"),
        "author_association": "MEMBER", "auto_merge": null, "merged": false, "mergeable": null,
        "rebaseable": null, "mergeable_state": "unknown", "merged_by": null, "comments": 3,
        "review_comments": 5, "maintainer_can_modify": false, "commits": 2, "additions": 41,
        "deletions": 17, "changed_files": 4,
    })
}

fn branch(name: &str, digit: &str) -> Value {
    json!({
        "label": format!("bench-org:{name}"), "ref": name, "sha": digit.repeat(40),
        "user": user("bench-org", 900_001), "repo": repository(),
    })
}

fn label(name: &str, id: u64) -> Value {
    json!({
        "id": id, "node_id": "LA_kwDOABCDEF8AAAAB", "name": name, "color": "c5def5",
        "default": false, "description": "Says who looks at it",
        "url": format!("{WEB}/api/repos/bench-org/connectors/labels/{name}"),
    })
}

fn user(login: &str, id: u64) -> Value {
    let api = format!("{WEB}/api/users/{login}");
    json!({
        "login": login, "id": id, "node_id": "U_kgDOABCDEF", "gravatar_id": "", "url": api,
        "avatar_url": format!("{WEB}/avatars/u/{id}?v=4"), "html_url": format!("{WEB}/{login}"),
        "followers_url": format!("{api}/followers"), "gists_url": format!("{api}/gists{{/gist_id}}"),
        "starred_url": format!("{api}/starred{{/owner}}{{/repo}}"),
        "subscriptions_url": format!("{api}/subscriptions"),
        "organizations_url": format!("{api}/orgs"), "repos_url": format!("{api}/repos"),
        "events_url": format!("{api}/events{{/privacy}}"),
        "received_events_url": format!("{api}/received_events"),
        "type": "User", "site_admin": false,
    })
}

fn repository() -> Value {
    let api = format!("{WEB}/api/repos/bench-org/connectors");
    let html = format!("{WEB}/bench-org/connectors");
    let mut repository = json!({
        "id": 900_020, "node_id": "R_kgDOABCDEF", "name": "connectors",
        "full_name": "bench-org/connectors", "private": false, "owner": user("bench-org", 900_001),
        "html_url": html, "description": "Where data comes from and goes to", "fork": false,
        "url": api, "created_at": "2024-01-02T03:04:05Z", "updated_at": "2026-02-03T04:05:06Z",
        "pushed_at": "2026-02-03T14:15:00Z", "homepage": null, "size": 120_345,
        "clone_url": format!("{html}.git"), "stargazers_count": 12, "watchers_count": 12,
        "language": "Python", "has_issues": true, "has_projects": true, "has_downloads": true,
        "has_wiki": false, "has_pages": false, "forks_count": 7, "archived": false,
        "disabled": false, "open_issues_count": 31, "license": null, "visibility": "public",
        "forks": 7, "open_issues": 31, "watchers": 12, "default_branch": "main",
        "allow_squash_merge": true, "allow_merge_commit": false, "allow_rebase_merge": false,
        "delete_branch_on_merge": true,
    });
    let parts = [
        "assignees{/user}",
        "blobs{/sha}",
        "branches{/branch}",
        "collaborators{/collaborator}",
        "comments{/number}",
        "commits{/sha}",
        "compare/{base}...{head}",
        "contents/{+path}",
        "contributors",
        "deployments",
        "downloads",
        "events",
        "forks",
        "git/commits{/sha}",
        "git/refs{/sha}",
        "git/tags{/sha}",
        "hooks",
        "issue_comment{/number}",
        "issue_events{/number}",
        "issues{/number}",
        "keys{/key_id}",
        "labels{/name}",
        "languages",
        "merges",
        "milestones{/number}",
        "notifications{?since,all,participating}",
        "pulls{/number}",
        "releases{/id}",
        "stargazers",
        "statuses/{sha}",
        "subscribers",
        "subscription",
        "tags",
        "teams",
        "trees{/sha}",
    ];
    if let Some(fields) = repository.as_object_mut() {
        for part in parts {
            let name = part.split(['{', '/']).next().unwrap_or(part);
            fields.insert(format!("{name}_url"), json!(format!("{api}/{part}")));
        }
    }
    repository
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delivery_is_valid_json_of_the_promised_length() {
        let signed = pull_request();
        assert_eq!(signed.body.len(), LENGTH);
        let payload: Value = serde_json::from_slice(&signed.body).unwrap();
        assert_eq!(payload["repository"]["full_name"], "bench-org/connectors");
        assert_eq!(signed.signature.len(), "sha256=".len() + 64);
    }
}
