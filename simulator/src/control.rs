//! JSON routes under `/_simulator/`, so that the program is usable without writing Rust: what
//! people do on GitHub's pages, as `POST` with a JSON body.

use std::path::PathBuf;
use std::sync::Arc;

use axum::http::request::Parts;
use base64::Engine as _;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::{Change, Commit, OpenPull, OwnerKind, Permission, RepositoryOptions};
use crate::error::Error;
use crate::faults::{Away, CompletedPatch, RerunButton, SecondaryLimit, TokenFormat};
use crate::refusals::Answer;
use crate::simulator::{Inner, Simulator};

/// Answers one control call: 200, or 400 with a message that says what to mend.
pub(crate) async fn serve(inner: &Arc<Inner>, parts: &Parts, rest: &str, body: &Bytes) -> Answer {
    let github = Simulator::guest(Arc::clone(inner));
    let query = crate::server::query(parts.uri.query().unwrap_or_default());
    let result = if parts.method == "GET" {
        look(&github, rest, |name| query.get(name).cloned().unwrap_or_default())
    } else {
        match crate::control_settings::act(&github, rest, body).await {
            Ok(None) => act(&github, rest, body).await,
            Ok(Some(done)) => Ok(done),
            Err(error) => Err(error),
        }
    };
    match result {
        Ok(body) => Answer::ok(body),
        Err(error) => Answer::json(400, json!({ "error": error.to_string() })),
    }
}

fn unknown(rest: &str) -> Error {
    Error::NotFound(format!("control route /_simulator{rest}; the README lists them"))
}

fn look(github: &Simulator, rest: &str, query: impl Fn(&str) -> String) -> Result<Value, Error> {
    let repository = query("repository");
    let number = || {
        let number = query("number");
        number.parse::<u64>().map_err(|_| Error::Refused(format!("`{number}` is no number")))
    };
    Ok(match rest {
        "" | "/" => json!({
            "url": github.url(),
            "api_url": github.api_url(),
            "app": github.app(),
        }),
        "/check-runs" => json!(github.check_runs(&repository, &query("sha"))),
        "/comments" => json!(github.comments(&repository, number()?)),
        "/pull-request" => json!(github.find_pull_request(&repository, number()?)),
        "/deliveries" => json!(github.deliveries()),
        "/calls" => json!(github.calls()),
        "/violations" => json!(github.violations()),
        "/choices" => json!(github.choices()),
        _ => return Err(unknown(rest)),
    })
}

pub(crate) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Error> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Error::Refused(format!("the body: {error}")))
}

/// `POST /_simulator/repositories`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewRepository {
    name: String,
    #[serde(default)]
    private: bool,
    #[serde(default = "main_branch")]
    default_branch: String,
    #[serde(default)]
    owner: OwnerKind,
    #[serde(default = "yes")]
    install: bool,
    #[serde(default)]
    fork_of: Option<String>,
    /// Fill it from this folder of the simulator's machine.
    #[serde(default)]
    folder: Option<PathBuf>,
}

fn main_branch() -> String {
    "main".to_owned()
}

fn yes() -> bool {
    true
}

/// `POST /_simulator/commits`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCommit {
    repository: String,
    branch: String,
    message: String,
    author: String,
    #[serde(default)]
    parent: Option<String>,
    #[serde(default)]
    force: bool,
    files: Vec<File>,
}

/// A file: `text`, or `base64`, or a link's `target`; none of them deletes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    path: String,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    executable: bool,
}

impl File {
    fn change(self) -> Result<(String, Change), Error> {
        let content = match (self.text, self.base64) {
            (Some(text), _) => Some(text.into_bytes()),
            (None, Some(encoded)) => {
                let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
                Some(decoded.map_err(|e| Error::Refused(format!("{}: {e}", self.path)))?)
            }
            (None, None) => None,
        };
        let change = match (content, self.target) {
            (_, Some(target)) => Change::Symlink(target),
            (Some(content), None) if self.executable => Change::WriteExecutable(content),
            (Some(content), None) => Change::Write(content),
            (None, None) => Change::Delete,
        };
        Ok((self.path, change))
    }
}

/// `POST /_simulator/pull-requests`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPull {
    repository: String,
    head: String,
    #[serde(default = "main_branch")]
    base: String,
    author: String,
    title: String,
    #[serde(default)]
    body: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    fork: Option<String>,
}

/// What most buttons need.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Press {
    repository: String,
    user: String,
    #[serde(default)]
    number: u64,
    /// Of a comment, check run or suite.
    #[serde(default)]
    id: u64,
    #[serde(default)]
    body: String,
    #[serde(default)]
    identifier: String,
}

/// `POST /_simulator/webhook`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    url: String,
    #[serde(default)]
    secret: Option<String>,
}

/// `POST /_simulator/permissions`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Role {
    repository: String,
    user: String,
    permission: Permission,
}

async fn act(github: &Simulator, rest: &str, body: &Bytes) -> Result<Value, Error> {
    match rest {
        "/repositories" => create_repository(github, read(body)?).await,
        "/commits" => commit(github, read(body)?).await,
        "/pull-requests" => open_pull_request(github, read(body)?).await,
        "/permissions" => {
            let role: Role = read(body)?;
            github.set_permission(&role.repository, &role.user, role.permission);
            Ok(json!({}))
        }
        "/webhook" => {
            let webhook: Webhook = read(body)?;
            if webhook.secret.is_some() {
                github.webhook_secret(webhook.secret.as_deref());
            }
            github.install_webhook(&webhook.url);
            Ok(json!({}))
        }
        "/redeliver" => {
            let body: Value = read(body)?;
            github.redeliver(body["guid"].as_str().unwrap_or_default()).await?;
            Ok(json!({}))
        }
        "/faults" => faults(github, body),
        _ => press(github, rest, read(body)?).await,
    }
}

async fn create_repository(github: &Simulator, new: NewRepository) -> Result<Value, Error> {
    let options = RepositoryOptions {
        private: new.private,
        default_branch: new.default_branch,
        owner: new.owner,
        install: new.install,
        fork_of: new.fork_of,
    };
    let info = github.create_repository(&new.name, options).await?;
    if let Some(folder) = new.folder {
        github.import_folder(&new.name, &folder, "octocat").await?;
    }
    Ok(json!(info))
}

async fn commit(github: &Simulator, new: NewCommit) -> Result<Value, Error> {
    let changes = new.files.into_iter().map(File::change).collect::<Result<_, _>>()?;
    let commit = Commit {
        message: new.message,
        author: new.author,
        changes,
        parent: new.parent,
        force: new.force,
    };
    let sha = github.commit(&new.repository, &new.branch, commit).await?;
    Ok(json!({ "sha": sha }))
}

async fn open_pull_request(github: &Simulator, new: NewPull) -> Result<Value, Error> {
    let open = OpenPull {
        head: new.head,
        base: new.base,
        author: new.author,
        title: new.title,
        body: new.body,
        draft: new.draft,
        fork: new.fork,
    };
    let number = github.open_pull_request(&new.repository, open).await?;
    Ok(json!({ "number": number }))
}

async fn press(github: &Simulator, rest: &str, press: Press) -> Result<Value, Error> {
    let (repository, user) = (press.repository.as_str(), press.user.as_str());
    match rest {
        "/comments" => {
            let id = github.comment(repository, press.number, user, &press.body).await?;
            return Ok(json!({ "id": id }));
        }
        "/edit-comment" => github.edit_comment(repository, press.id, user, &press.body).await?,
        "/close" => github.close_pull_request(repository, press.number, user).await?,
        "/merge" => {
            let sha = github.merge_pull_request(repository, press.number, user).await?;
            return Ok(json!({ "sha": sha }));
        }
        "/reopen" => github.reopen_pull_request(repository, press.number, user).await?,
        "/ready-for-review" => github.ready_for_review(repository, press.number, user).await?,
        "/rerequest-check-run" => github.rerequest_check_run(repository, press.id, user).await?,
        "/rerequest-check-suite" => {
            github.rerequest_check_suite(repository, press.id, user).await?;
        }
        "/click-action" => {
            github.click_action(repository, press.id, &press.identifier, user).await?;
        }
        _ => return Err(unknown(rest)),
    }
    Ok(json!({}))
}

/// `POST /_simulator/faults`: only what is named changes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultSettings {
    latency_ms: Option<u64>,
    fail_next: Option<FailNext>,
    away: Option<Away>,
    drop_deliveries: Option<u32>,
    lose_deliveries: Option<u32>,
    duplicate_deliveries: Option<u32>,
    deliver_everything_twice: Option<bool>,
    pause_deliveries: Option<bool>,
    unknown_fresh_tokens: Option<u32>,
    fresh_tokens_after_ms: Option<u64>,
    unreliable_reads: Option<u8>,
    old_payloads: Option<bool>,
    future_payloads: Option<bool>,
    wrong_manifest_state: Option<bool>,
    completed_patch: Option<CompletedPatch>,
    token_format: Option<TokenFormat>,
    rerun_button: Option<RerunButton>,
    secondary_limit: Option<SecondaryLimit>,
    enforce_secondary_limits: Option<bool>,
    primary_limit: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailNext {
    method: String,
    prefix: String,
    times: u32,
    status: u16,
}

fn faults(github: &Simulator, body: &Bytes) -> Result<Value, Error> {
    let settings: FaultSettings = read(body)?;
    let faults = github.faults();
    if let Some(ms) = settings.latency_ms {
        faults.latency(std::time::Duration::from_millis(ms));
    }
    if let Some(fail) = settings.fail_next {
        faults.fail_next(&fail.method, &fail.prefix, fail.times, fail.status);
    }
    settings.away.into_iter().for_each(|away| faults.away(away));
    settings.drop_deliveries.into_iter().for_each(|n| faults.drop_deliveries(n));
    settings.lose_deliveries.into_iter().for_each(|n| faults.lose_deliveries(n));
    settings.duplicate_deliveries.into_iter().for_each(|n| faults.duplicate_deliveries(n));
    settings
        .deliver_everything_twice
        .into_iter()
        .for_each(|on| faults.deliver_everything_twice(on));
    settings.unknown_fresh_tokens.into_iter().for_each(|n| faults.unknown_fresh_tokens(n));
    settings
        .fresh_tokens_after_ms
        .into_iter()
        .for_each(|ms| faults.fresh_tokens_after(std::time::Duration::from_millis(ms)));
    settings.unreliable_reads.into_iter().for_each(|percent| faults.unreliable_reads(percent, 1));
    settings.old_payloads.into_iter().for_each(|on| faults.old_payloads(on));
    settings.future_payloads.into_iter().for_each(|on| faults.future_payloads(on));
    settings.wrong_manifest_state.into_iter().for_each(|on| faults.wrong_manifest_state(on));
    settings.completed_patch.into_iter().for_each(|mode| faults.completed_patch(mode));
    settings.token_format.into_iter().for_each(|format| faults.token_format(format));
    settings.rerun_button.into_iter().for_each(|button| faults.rerun_button(button));
    settings.secondary_limit.into_iter().for_each(|limit| faults.secondary_limit(limit));
    settings
        .enforce_secondary_limits
        .into_iter()
        .for_each(|on| faults.enforce_secondary_limits(on));
    match settings.pause_deliveries {
        Some(true) => faults.pause_deliveries(),
        Some(false) => faults.resume_deliveries(),
        None => {}
    }
    if settings.primary_limit.is_some() {
        github.primary_limit(settings.primary_limit);
    }
    Ok(json!({}))
}
