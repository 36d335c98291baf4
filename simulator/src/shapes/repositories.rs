//! Repositories.

use serde_json::{Map, Value, json};

use super::node_id;
use crate::clock::stamp;
use crate::world::{Repository, World};

/// `<name>_url` and what follows the repository's address in it.
const TEMPLATES: &[(&str, &str)] = &[
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
];

impl World {
    /// The REST address of a repository.
    pub(crate) fn repository_url(&self, repository: &Repository) -> String {
        format!("{}/repos/{}", self.api_url, repository.full_name())
    }

    /// A `repository`, as webhooks and lists carry it.
    pub(crate) fn repository_json(&self, repository: &Repository) -> Value {
        let mut shape = self.minimal_repository(repository);
        let open = repository.pulls.values().filter(|pull| pull.open).count();
        let html = format!("{}/{}", self.url, repository.full_name());
        shape.extend(object(json!({
            "created_at": stamp(repository.created_at),
            "updated_at": stamp(repository.pushed_at),
            "pushed_at": stamp(repository.pushed_at),
            "git_url": format!("{}.git", html.replacen("http", "git", 1)),
            "ssh_url": format!("git@simulator:{}.git", repository.full_name()),
            "clone_url": format!("{html}.git"),
            "svn_url": html,
            "homepage": null,
            "size": 0,
            "stargazers_count": 0,
            "watchers_count": 0,
            "language": null,
            "has_issues": true,
            "has_projects": true,
            "has_downloads": true,
            "has_wiki": false,
            "has_pages": false,
            "has_discussions": false,
            "forks_count": 0,
            "mirror_url": null,
            "archived": repository.archived,
            "disabled": false,
            "open_issues_count": open,
            "license": null,
            "allow_forking": true,
            "is_template": false,
            "web_commit_signoff_required": false,
            "topics": [],
            "visibility": if repository.private { "private" } else { "public" },
            "forks": 0,
            "open_issues": open,
            "watchers": 0,
            "default_branch": repository.default_branch,
        })));
        shape.into()
    }

    /// The repository as check suites embed it.
    pub(crate) fn minimal_repository(&self, repository: &Repository) -> Map<String, Value> {
        let url = self.repository_url(repository);
        let mut shape = object(json!({
            "id": repository.id,
            "node_id": node_id("Repository", repository.id),
            "name": repository.name,
            "full_name": repository.full_name(),
            "private": repository.private,
            "owner": self.user_json(&repository.owner),
            "html_url": format!("{}/{}", self.url, repository.full_name()),
            "description": null,
            "fork": repository.fork_of.is_some(),
            "url": url,
        }));
        for (name, rest) in TEMPLATES {
            shape.insert((*name).to_owned(), format!("{url}{rest}").into());
        }
        shape
    }

    /// What `GET /repos/{owner}/{repo}` adds.
    pub(crate) fn full_repository_json(&self, repository: &Repository) -> Value {
        let mut shape = object(self.repository_json(repository));
        shape.extend(object(json!({ "network_count": 0, "subscribers_count": 0 })));
        if self.is_organization(&repository.owner) {
            shape.insert("organization".to_owned(), self.user_json(&repository.owner));
        }
        if let Some(parent) = repository.fork_of.and_then(|id| self.repositories.get(&id)) {
            shape.insert("parent".to_owned(), self.repository_json(parent));
            shape.insert("source".to_owned(), self.repository_json(parent));
        }
        shape.into()
    }

    /// The five fields of `installation.repositories`.
    pub(crate) fn tiny_repository_json(&self, id: u64) -> Value {
        self.repositories.get(&id).map_or(Value::Null, |repository| {
            json!({
                "id": id,
                "node_id": node_id("Repository", id),
                "name": repository.name,
                "full_name": repository.full_name(),
                "private": repository.private,
            })
        })
    }
}

/// The object inside a value made by `json!({…})`.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}
