//! Pull requests, their issues, comments and reactions.

use serde_json::{Map, Value, json};

use super::node_id;
use super::repositories::object;
use crate::clock::stamp;
use crate::world::{CommentRow, Conversation, Issue, Merge, Pull, Reaction, Repository, World};

impl World {
    fn side(&self, repository: Option<&Repository>, owner: &str, branch: &str, sha: &str) -> Value {
        json!({
            "label": format!("{owner}:{branch}"),
            "ref": branch,
            "sha": sha,
            "user": self.user_json(owner),
            "repo": repository.map(|repository| {
                let mut shape = object(self.repository_json(repository));
                shape.extend(object(json!({
                    "allow_squash_merge": true, "allow_merge_commit": true,
                    "allow_rebase_merge": true, "allow_auto_merge": false,
                    "delete_branch_on_merge": false, "allow_update_branch": false,
                    "use_squash_pr_title_as_default": false,
                    "squash_merge_commit_message": "COMMIT_MESSAGES",
                    "squash_merge_commit_title": "COMMIT_OR_PR_TITLE",
                    "merge_commit_message": "PR_TITLE", "merge_commit_title": "MERGE_MESSAGE",
                })));
                Value::from(shape)
            }),
        })
    }

    /// A `pull-request-simple`, as lists carry it.
    pub(crate) fn pull_simple_json(
        &self,
        repository: &Repository,
        pull: &Pull,
    ) -> Map<String, Value> {
        let api = self.repository_url(repository);
        let url = format!("{api}/pulls/{}", pull.number);
        let issue = format!("{api}/issues/{}", pull.number);
        let html = format!("{}/{}/pull/{}", self.url, repository.full_name(), pull.number);
        let head = pull.head_repository.and_then(|id| self.repositories.get(&id));
        let statuses = format!("{api}/statuses/{}", pull.head_sha);
        let link = |href: &str| json!({ "href": href });
        let merge_commit = match &pull.merge {
            Merge::Clean(sha) => Some(sha.as_str()),
            Merge::Unknown | Merge::Conflict => None,
        };
        let mut shape = object(json!({
            "url": url,
            "id": pull.id,
            "node_id": node_id("PullRequest", pull.id),
            "html_url": html,
            "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"),
            "issue_url": issue,
            "number": pull.number,
            "state": pull.state(),
            "locked": pull.locked,
            "title": pull.title,
            "user": self.user_json(&pull.author),
            "body": pull.body,
            "created_at": stamp(pull.created_at),
            "updated_at": stamp(pull.updated_at),
            "closed_at": pull.closed_at.map(stamp),
            "merged_at": pull.closed_at.filter(|_| pull.merged).map(stamp),
            "merge_commit_sha": merge_commit,
            "assignee": null,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "labels": [],
            "milestone": null,
            "draft": pull.draft,
            "commits_url": format!("{url}/commits"),
            "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{api}/pulls/comments{{/number}}"),
            "comments_url": format!("{issue}/comments"),
            "statuses_url": statuses,
        }));
        shape.extend(object(json!({
            "head": self.side(head, &pull.head_owner, &pull.head_branch, &pull.head_sha),
            "base": self.side(Some(repository), &repository.owner, &pull.base_branch, &pull.base_sha),
            "_links": {
                "self": link(&url), "html": link(&html), "issue": link(&issue),
                "comments": link(&format!("{issue}/comments")),
                "review_comments": link(&format!("{url}/comments")),
                "review_comment": link(&format!("{api}/pulls/comments{{/number}}")),
                "commits": link(&format!("{url}/commits")), "statuses": link(&statuses),
            },
            "author_association": repository.association(&pull.author),
            "auto_merge": null,
            "active_lock_reason": null,
        })));
        shape
    }

    /// A whole `pull-request`.
    pub(crate) fn pull_json(&self, repository: &Repository, pull: &Pull) -> Value {
        let mut shape = self.pull_simple_json(repository, pull);
        let comments = repository.comments.values().filter(|c| c.number == pull.number).count();
        let (mergeable, state) = match (&pull.merge, pull.open) {
            (Merge::Unknown, _) | (_, false) => (None, "unknown"),
            (Merge::Clean(_), true) if pull.draft => (Some(true), "draft"),
            (Merge::Clean(_), true) => {
                let blockers = repository.blockers(&pull.base_branch, &pull.head_sha);
                (Some(true), if blockers.is_empty() { "clean" } else { "blocked" })
            }
            (Merge::Conflict, true) => (Some(false), "dirty"),
        };
        shape.extend(object(json!({
            "merged": pull.merged,
            "mergeable": mergeable,
            "rebaseable": mergeable,
            "mergeable_state": state,
            "merged_by": pull.merged.then(|| self.user_json(&pull.author)),
            "comments": comments,
            "review_comments": 0,
            "maintainer_can_modify": false,
            "commits": pull.size.commits,
            "additions": pull.size.additions,
            "deletions": pull.size.deletions,
            "changed_files": pull.size.changed_files,
        })));
        shape.into()
    }

    /// The `issue` of a conversation, as `issue_comment` carries it. That of a pull request has no
    /// head SHA; only that of a pull request has `pull_request`.
    pub(crate) fn conversation_json(
        &self,
        repository: &Repository,
        conversation: Conversation<'_>,
    ) -> Value {
        match conversation {
            Conversation::Issue(issue) => {
                let mut shape = self.issue_core(repository, &Facts::of_issue(issue));
                shape.insert("state".to_owned(), "open".into());
                shape.into()
            }
            Conversation::Pull(pull) => {
                let mut shape = self.issue_core(repository, &Facts::of_pull(pull));
                let api = self.repository_url(repository);
                let html = format!("{}/{}/pull/{}", self.url, repository.full_name(), pull.number);
                shape.extend(object(json!({
                    "html_url": html,
                    "state": pull.state(),
                    "updated_at": stamp(pull.updated_at),
                    "closed_at": pull.closed_at.map(stamp),
                    "draft": pull.draft,
                    "pull_request": {
                        "url": format!("{api}/pulls/{}", pull.number),
                        "html_url": html,
                        "diff_url": format!("{html}.diff"),
                        "patch_url": format!("{html}.patch"),
                        "merged_at": pull.closed_at.filter(|_| pull.merged).map(stamp),
                    },
                })));
                shape.into()
            }
        }
    }

    fn issue_core(&self, repository: &Repository, facts: &Facts<'_>) -> Map<String, Value> {
        let number = facts.number;
        let api = self.repository_url(repository);
        let url = format!("{api}/issues/{number}");
        let comments = repository.comments.values().filter(|c| c.number == number).count();
        object(json!({
            "url": url,
            "repository_url": api,
            "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"),
            "events_url": format!("{url}/events"),
            "timeline_url": format!("{url}/timeline"),
            "html_url": format!("{}/{}/issues/{number}", self.url, repository.full_name()),
            "id": facts.id + 1_000_000_000,
            "node_id": node_id(facts.kind, facts.id),
            "number": number,
            "title": facts.title,
            "user": self.user_json(facts.author),
            "labels": [],
            "locked": facts.locked,
            "assignee": null,
            "assignees": [],
            "milestone": null,
            "comments": comments,
            "created_at": stamp(facts.created_at),
            "updated_at": stamp(facts.created_at),
            "closed_at": null,
            "author_association": repository.association(facts.author),
            "active_lock_reason": null,
            "body": facts.body,
            "performed_via_github_app": null,
            "state_reason": null,
            "reactions": reactions_json(&format!("{url}/reactions"), &[]),
        }))
    }

    /// An `issue-comment`.
    pub(crate) fn comment_json(&self, repository: &Repository, comment: &CommentRow) -> Value {
        let api = self.repository_url(repository);
        let url = format!("{api}/issues/comments/{}", comment.id);
        let place = if repository.pulls.contains_key(&comment.number) { "pull" } else { "issues" };
        json!({
            "url": url,
            "html_url": format!(
                "{}/{}/{}/{}#issuecomment-{}",
                self.url, repository.full_name(), place, comment.number, comment.id
            ),
            "issue_url": format!("{api}/issues/{}", comment.number),
            "id": comment.id,
            "node_id": node_id("IssueComment", comment.id),
            "user": self.user_json(&comment.user),
            "created_at": stamp(comment.created_at),
            "updated_at": stamp(comment.updated_at),
            "author_association": repository.association(&comment.user),
            "body": comment.body,
            "reactions": reactions_json(&format!("{url}/reactions"), &comment.reactions),
            "performed_via_github_app": comment.by_app.then(|| self.app_json(self.app.id)),
        })
    }

    /// A `reaction`.
    pub(crate) fn reaction_json(&self, reaction: &Reaction) -> Value {
        json!({
            "id": reaction.id,
            "node_id": node_id("Reaction", reaction.id),
            "user": self.user_json(&reaction.user),
            "content": reaction.content,
            "created_at": stamp(reaction.created_at),
        })
    }
}

/// What issues and pull requests have in common.
struct Facts<'a> {
    kind: &'static str,
    id: u64,
    number: u64,
    title: &'a str,
    body: Option<&'a str>,
    author: &'a str,
    locked: bool,
    created_at: chrono::DateTime<chrono::Utc>,
}

impl<'a> Facts<'a> {
    fn of_issue(issue: &'a Issue) -> Self {
        Self {
            kind: "Issue",
            id: issue.id,
            number: issue.number,
            title: &issue.title,
            body: issue.body.as_deref(),
            author: &issue.author,
            locked: issue.locked,
            created_at: issue.created_at,
        }
    }

    fn of_pull(pull: &'a Pull) -> Self {
        Self {
            kind: "PullRequest",
            id: pull.id,
            number: pull.number,
            title: &pull.title,
            body: pull.body.as_deref(),
            author: &pull.author,
            locked: pull.locked,
            created_at: pull.created_at,
        }
    }
}

/// The contents GitHub knows.
pub(crate) const REACTIONS: &[&str] =
    &["+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"];

fn reactions_json(url: &str, reactions: &[Reaction]) -> Value {
    let mut shape = object(json!({ "url": url, "total_count": reactions.len() }));
    for &content in REACTIONS {
        let count = reactions.iter().filter(|r| r.content == content).count();
        shape.insert(content.to_owned(), count.into());
    }
    shape.into()
}
