//! Check runs and suites.

use serde_json::{Map, Value, json};

use super::repositories::object;
use super::{node_id, simple_commit_json};
use crate::api;
use crate::clock::stamp;
use crate::world::{Repository, Run, Suite, World};

impl World {
    /// Open pull requests that GitHub thinks belong to a commit: those of the same repository
    /// whose head is the commit or the suite's branch. For commits of forks it is empty.
    fn suite_pulls(&self, repository: &Repository, suite: &Suite) -> Value {
        let url = self.repository_url(repository);
        let home = json!({ "id": repository.id, "url": url, "name": repository.name });
        repository
            .pulls
            .values()
            .filter(|pull| pull.open && pull.head_repository == Some(repository.id))
            .filter(|pull| {
                pull.head_sha == suite.head_sha
                    || suite.head_branch.as_deref() == Some(pull.head_branch.as_str())
            })
            .map(|pull| {
                json!({
                    "url": format!("{url}/pulls/{}", pull.number),
                    "id": pull.id,
                    "number": pull.number,
                    "head": { "ref": pull.head_branch, "sha": pull.head_sha, "repo": home },
                    "base": { "ref": pull.base_branch, "sha": pull.base_sha, "repo": home },
                })
            })
            .collect()
    }

    /// A check run as REST answers it: its suite is a mere number.
    pub(crate) fn run_json(&self, repository: &Repository, run: &Run) -> Value {
        self.run_shape(repository, run, &json!({ "id": run.suite_id }))
    }

    /// A check run as webhooks carry it: with the suite, and the buttons.
    pub(crate) fn run_event_json(&self, repository: &Repository, run: &Run) -> Value {
        let suite = repository.suites.get(&run.suite_id);
        let suite = suite.map_or(Value::Null, |suite| {
            let mut shape = self.suite_core(repository, suite);
            shape.insert("updated_at".to_owned(), stamp(suite.updated_at).into());
            shape.into()
        });
        self.run_shape(repository, run, &suite)
    }

    fn run_shape(&self, repository: &Repository, run: &Run, suite: &Value) -> Value {
        let url = format!("{}/check-runs/{}", self.repository_url(repository), run.id);
        let pulls = repository
            .suites
            .get(&run.suite_id)
            .map_or_else(|| json!([]), |suite| self.suite_pulls(repository, suite));
        json!({
            "id": run.id,
            "name": run.name,
            "node_id": node_id("CheckRun", run.id),
            "head_sha": run.head_sha,
            "external_id": run.external_id,
            "url": url,
            "html_url": format!("{}/{}/runs/{}", self.url, repository.full_name(), run.id),
            "details_url": run.details_url,
            "status": run.status,
            "conclusion": run.conclusion,
            "started_at": run.started_at.map(stamp),
            "completed_at": run.completed_at.map(stamp),
            "output": {
                "title": run.title,
                "summary": run.summary,
                "text": run.text,
                "annotations_count": run.annotations.len(),
                "annotations_url": format!("{url}/annotations"),
            },
            "check_suite": suite,
            "app": self.app_json(run.app_id),
            "pull_requests": pulls,
        })
    }

    fn suite_core(&self, repository: &Repository, suite: &Suite) -> Map<String, Value> {
        let api = self.repository_url(repository);
        object(json!({
            "id": suite.id,
            "node_id": node_id("CheckSuite", suite.id),
            "head_branch": suite.head_branch,
            "head_sha": suite.head_sha,
            "status": suite.status,
            "conclusion": suite.conclusion,
            "url": format!("{api}/check-suites/{}", suite.id),
            "before": suite.before,
            "after": suite.head_sha,
            "pull_requests": self.suite_pulls(repository, suite),
            "app": self.app_json(suite.app_id),
            "created_at": stamp(suite.created_at),
            "updated_at": stamp(suite.updated_at),
        }))
    }

    /// A `check-suite` as webhooks carry it.
    pub(crate) fn suite_event_json(&self, repository: &Repository, suite: &Suite) -> Value {
        let mut shape = self.suite_core(repository, suite);
        let head = repository.commits.get(&suite.head_sha).map(simple_commit_json);
        let url = format!("{}/check-suites/{}", self.repository_url(repository), suite.id);
        shape.extend(object(json!({
            "rerequestable": true,
            "runs_rerequestable": true,
            "latest_check_runs_count": repository.latest_of_suite(suite.id).len(),
            "check_runs_url": format!("{url}/check-runs"),
            "head_commit": head,
        })));
        shape.into()
    }

    /// A `check-suite` as REST answers it.
    pub(crate) fn suite_json(&self, repository: &Repository, suite: &Suite) -> Value {
        let mut shape = object(self.suite_event_json(repository, suite));
        shape.insert("repository".to_owned(), self.minimal_repository(repository).into());
        shape.into()
    }
}

/// A `check-annotation`: what was sent, with GitHub's `null`s.
pub(crate) fn annotation_json(
    world: &World,
    repository: &Repository,
    sha: &str,
    sent: &Value,
) -> Value {
    let path = sent["path"].as_str().unwrap_or_default();
    json!({
        "path": path,
        "blob_href": format!("{}/{}/blob/{sha}/{}", world.url, repository.full_name(), super::url_path(path)),
        "start_line": sent["start_line"],
        "start_column": sent["start_column"],
        "end_line": sent["end_line"],
        "end_column": sent["end_column"],
        "annotation_level": sent["annotation_level"],
        "title": sent["title"],
        "message": sent["message"],
        "raw_details": sent["raw_details"],
    })
}

/// The public view of a check run.
pub(crate) fn run_view(run: &Run) -> api::CheckRun {
    api::CheckRun {
        id: run.id,
        name: run.name.clone(),
        head_sha: run.head_sha.clone(),
        status: run.status.clone(),
        conclusion: run.conclusion.clone(),
        started_at: run.started_at,
        completed_at: run.completed_at,
        details_url: run.details_url.clone(),
        external_id: run.external_id.clone(),
        output: api::CheckOutput {
            title: run.title.clone(),
            summary: run.summary.clone(),
            text: run.text.clone(),
            annotations_count: run.annotations.len(),
            annotations: run.annotations.clone(),
        },
        actions: run.actions.clone(),
        suite_id: run.suite_id,
        app_id: run.app_id,
    }
}
