//! Check runs. GitHub answers 422 to `null` in an optional field, so what is absent is left out.

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answers::Call;
use super::client::Github;
use super::error::GithubError;
use super::wire;
use crate::domain::check::{
    CheckAction, CheckAnnotation, CheckStatus, DesiredCheck, SUMMARY_MAX_BYTES,
};
use crate::domain::ids::CheckId;
use crate::domain::names::Sha;
use crate::domain::run::Repository;
use crate::domain::time::Timestamp;

/// A check run of ours, as GitHub has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCheck {
    pub id: u64,
    pub name: String,
    /// A [`CheckId`], if we made it as we do now.
    pub external_id: String,
    pub completed: bool,
    /// Its conclusion; its status while it has none.
    pub shown: String,
}

/// The check runs of ours on a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnChecks {
    pub checks: Vec<OwnCheck>,
    /// GitHub's mark of this very list, if it is one page.
    pub etag: Option<String>,
}

#[derive(Deserialize)]
struct Listing {
    check_runs: Vec<wire::CheckRun>,
}

impl Github {
    /// Creates a check run; its id. After [`GithubError::Unknown`] it may exist: look with
    /// [`Github::checks`] before creating again.
    pub async fn create_check(
        &self,
        repository: &Repository,
        check: &DesiredCheck,
        external_id: CheckId,
    ) -> Result<u64, GithubError> {
        let body = body(&Body {
            head_sha: Some(check.head_sha.as_str()),
            external_id: Some(external_id),
            // Absent and empty mean the same for a new one.
            actions: Some(check.actions.as_slice()).filter(|actions| !actions.is_empty()),
            ..Body::of(check)
        })?;
        let uri = format!("/repos/{}/check-runs", repository.name);
        let call = Call::make("create a check run", uri, body);
        Ok(self.call::<wire::Id>(repository.installation, &call).await?.id)
    }

    /// Makes the check run look as desired. A completed one does not reliably start again: that is
    /// a new check run.
    pub async fn update_check(
        &self,
        repository: &Repository,
        id: u64,
        check: &DesiredCheck,
    ) -> Result<(), GithubError> {
        let mut desired = Body::of(check);
        // What is left out stays as it was: an old text and old buttons are taken away in words.
        desired.output.text.get_or_insert("");
        let uri = format!("/repos/{}/check-runs/{id}", repository.name);
        let call = Call::set("update the check run", Method::PATCH, uri, body(&desired)?);
        self.as_installation(repository.installation, &call).await.map(drop)
    }

    /// Gives the check run another name; the rest of it stays.
    pub async fn rename_check(
        &self,
        repository: &Repository,
        id: u64,
        name: &str,
    ) -> Result<(), GithubError> {
        let uri = format!("/repos/{}/check-runs/{id}", repository.name);
        let call = Call::set("rename the check run", Method::PATCH, uri, json!({ "name": name }));
        self.as_installation(repository.installation, &call).await.map(drop)
    }

    /// Adds annotations to a check run that looks as desired. After [`GithubError::Unknown`] they
    /// may be there: count them with [`Github::count_annotations`] before adding them again.
    pub async fn annotate_check(
        &self,
        repository: &Repository,
        id: u64,
        check: &DesiredCheck,
        annotations: &[CheckAnnotation],
    ) -> Result<(), GithubError> {
        let output = Output { annotations, ..Body::of(check).output };
        let uri = format!("/repos/{}/check-runs/{id}", repository.name);
        let call = Call::add("annotate the check run", uri, json!({ "output": output }));
        self.as_installation(repository.installation, &call).await.map(drop)
    }

    /// How many annotations a check run has.
    pub async fn count_annotations(
        &self,
        repository: &Repository,
        id: u64,
    ) -> Result<u64, GithubError> {
        #[derive(Deserialize)]
        struct Shown {
            output: Counted,
        }
        #[derive(Deserialize)]
        struct Counted {
            annotations_count: u64,
        }
        let uri = format!("/repos/{}/check-runs/{id}", repository.name);
        let call = Call::get("read the check run", uri);
        let shown: Shown = self.call(repository.installation, &call).await?;
        Ok(shown.output.annotations_count)
    }

    /// All check runs of ours on `head`, also those that newer ones of the same name hide.
    pub async fn checks(
        &self,
        repository: &Repository,
        head: &Sha,
    ) -> Result<Vec<OwnCheck>, GithubError> {
        let app = self.app_id().await?;
        let mut checks = Vec::new();
        let take = |page: Listing| {
            checks.extend(page.of(app));
            Ok(true)
        };
        let uri = listing(repository, head, app);
        self.pages(Some(repository.installation), LIST, uri, take).await?;
        Ok(checks)
    }

    /// The same with its mark; `None`: `etag` is still its mark, and nothing has changed.
    pub async fn checks_unless(
        &self,
        repository: &Repository,
        head: &Sha,
        etag: Option<&str>,
    ) -> Result<Option<OwnChecks>, GithubError> {
        let app = self.app_id().await?;
        let call = Call::get(LIST, listing(repository, head, app));
        let call = call.unless(etag.map(str::to_owned));
        let answer = self.as_installation(repository.installation, &call).await?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        // A page's mark says nothing of the pages behind it.
        if answer.header("link").is_some_and(|links| links.contains("next")) {
            let checks = self.checks(repository, head).await?;
            return Ok(Some(OwnChecks { checks, etag: None }));
        }
        let page: Listing = call.read(&answer)?;
        let etag = answer.header("etag").map(str::to_owned);
        Ok(Some(OwnChecks { checks: page.of(app).collect(), etag }))
    }
}

const LIST: &str = "list the check runs";

fn listing(repository: &Repository, head: &Sha, app: u64) -> String {
    let name = &repository.name;
    format!("/repos/{name}/commits/{head}/check-runs?filter=all&app_id={app}&per_page=100")
}

impl Listing {
    /// Servers that ignore `app_id` list other Apps' as well.
    fn of(self, app: u64) -> impl Iterator<Item = OwnCheck> {
        let ours = move |run: &wire::CheckRun| run.app.as_ref().is_some_and(|of| of.id == app);
        self.check_runs.into_iter().filter(ours).map(|run| OwnCheck {
            id: run.id,
            name: run.name,
            external_id: run.external_id.unwrap_or_default(),
            completed: run.status.as_deref() == Some("completed"),
            shown: run.conclusion.or(run.status).unwrap_or_default(),
        })
    }
}

/// The body of create and update, field by field as GitHub has it.
#[derive(Serialize)]
struct Body<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_sha: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<CheckId>,
    /// An empty one is 422; without it GitHub links the App's homepage.
    #[serde(skip_serializing_if = "str::is_empty")]
    details_url: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conclusion: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    output: Output<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actions: Option<&'a [CheckAction]>,
}

#[derive(Serialize)]
struct Output<'a> {
    title: &'a str,
    summary: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "<[CheckAnnotation]>::is_empty")]
    annotations: &'a [CheckAnnotation],
}

impl<'a> Body<'a> {
    fn of(check: &'a DesiredCheck) -> Self {
        let (status, started_at, conclusion, completed_at) = match check.status {
            CheckStatus::Queued => ("queued", None, None, None),
            CheckStatus::InProgress { started_at } => ("in_progress", Some(started_at), None, None),
            CheckStatus::Completed { conclusion, started_at, completed_at } => {
                ("completed", started_at, Some(conclusion.as_str()), Some(completed_at))
            }
        };
        Self {
            name: &check.name,
            head_sha: None,
            external_id: None,
            details_url: &check.details_url,
            status,
            started_at: started_at.map(seconds),
            conclusion,
            completed_at: completed_at.map(seconds),
            output: Output {
                title: &check.title,
                summary: within(&check.summary),
                text: check.text.as_deref().map(within),
                annotations: &[],
            },
            actions: Some(&check.actions),
        }
    }
}

/// `render` keeps to the limit; should it ever not, a cut text must not cost the conclusion.
fn within(markdown: &str) -> &str {
    &markdown[..markdown.floor_char_boundary(SUMMARY_MAX_BYTES)]
}

/// GitHub's `YYYY-MM-DDTHH:MM:SSZ`.
fn seconds(time: Timestamp) -> String {
    let text = time.to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

fn body(body: &Body<'_>) -> Result<Value, GithubError> {
    serde_json::to_value(body).map_err(|error| GithubError::Refused {
        call: "write a check run",
        status: 0,
        message: error.to_string(),
    })
}
