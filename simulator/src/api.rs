//! What tests and demonstrations hand to the simulator, and what it shows them of its state.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// How to start a [`crate::Simulator`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Folder with `openapi-subset.json` (GitHub's published description). Without it, or
    /// without the cargo feature `contract`, nothing is checked against it.
    pub contract: Option<PathBuf>,
    /// The App's permissions; every installation gets all of them.
    pub permissions: BTreeMap<String, String>,
    /// Events that the App ticked at registration. `check_run`, `check_suite` (with `checks`),
    /// `installation*` and `ping` come without ticking, as at GitHub.
    pub events: Vec<String>,
    /// Where the bare repositories live; by default a temporary folder, removed at the end.
    pub folder: Option<PathBuf>,
    /// Signs deliveries; `None` sends no signature headers, as GitHub does for hooks without one.
    pub webhook_secret: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        let permissions = [
            ("checks", "write"),
            ("contents", "read"),
            ("issues", "write"),
            ("metadata", "read"),
            ("pull_requests", "write"),
        ];
        let events = ["check_run", "check_suite", "issue_comment", "pull_request"];
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            contract: None,
            permissions: permissions.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
            events: events.map(str::to_owned).to_vec(),
            folder: None,
            webhook_secret: Some("simulator-webhook-secret".to_owned()),
        }
    }
}

/// The registered GitHub App: what its owner would copy from GitHub's settings page.
#[derive(Debug, Clone, Serialize)]
pub struct App {
    /// `iss` of its JWTs, and the `X-GitHub-Hook-Installation-Target-ID`.
    pub id: u64,
    /// Name in URLs; its user is `<slug>[bot]`.
    pub slug: String,
    /// The other `iss` that GitHub accepts.
    pub client_id: String,
    /// PKCS#1 PEM. One fixed key, published with this crate: for tests only.
    pub private_key_pem: String,
    /// Empty when deliveries are unsigned.
    pub webhook_secret: String,
}

/// Who owns a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum OwnerKind {
    /// An organisation: payloads carry `organization`.
    #[default]
    Organization,
    /// A person.
    User,
}

/// How [`crate::Simulator::create_repository`] makes a repository.
#[derive(Debug, Clone)]
pub struct RepositoryOptions {
    /// Private repositories answer 404 and demand a token for git.
    pub private: bool,
    /// Usually `main`.
    pub default_branch: String,
    /// Used when the owner is new.
    pub owner: OwnerKind,
    /// Whether the App gets installed on it (a fork of somebody else's usually has no App).
    pub install: bool,
    /// The repository this one is a fork of; its branches are copied.
    pub fork_of: Option<String>,
}

impl Default for RepositoryOptions {
    fn default() -> Self {
        Self {
            private: false,
            default_branch: "main".to_owned(),
            owner: OwnerKind::Organization,
            install: true,
            fork_of: None,
        }
    }
}

/// A created repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RepositoryInfo {
    /// GitHub's number for it.
    pub id: u64,
    /// The installation it belongs to; 0 when the App is not installed on it.
    pub installation_id: u64,
}

/// What a commit does to one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A regular file with this content.
    Write(Vec<u8>),
    /// An executable file with this content.
    WriteExecutable(Vec<u8>),
    /// No such path any more; a folder goes with all it holds.
    Delete,
    /// A symbolic link to this target.
    Symlink(String),
}

/// A commit and its push. See [`crate::Simulator::commit`].
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Subject and body.
    pub message: String,
    /// Login of the author, who is the pusher as well.
    pub author: String,
    /// Path and change, in order.
    pub changes: Vec<(String, Change)>,
    /// `None`: the branch's tip, or for a new branch the default branch's tip.
    pub parent: Option<String>,
    /// Allow a push that drops commits.
    pub force: bool,
}

impl Commit {
    /// On top of the branch, without force.
    pub fn new(message: &str, author: &str, changes: Vec<(String, Change)>) -> Self {
        Self { message: message.to_owned(), author: author.to_owned(), changes, ..Self::default() }
    }
}

/// A pull request to open. See [`crate::Simulator::open_pull_request`].
#[derive(Debug, Clone, Default)]
pub struct OpenPull {
    /// Head branch, in the fork when there is one.
    pub head: String,
    /// Base branch.
    pub base: String,
    /// Login.
    pub author: String,
    /// One line.
    pub title: String,
    /// Markdown; empty shows as GitHub's `null`.
    pub body: String,
    /// Opened as a draft.
    pub draft: bool,
    /// The head repository when it is not the base one, for example `mallory/connectors`.
    pub fork: Option<String>,
}

impl OpenPull {
    /// A ready pull request inside one repository.
    pub fn new(head: &str, base: &str, author: &str, title: &str) -> Self {
        Self {
            head: head.to_owned(),
            base: base.to_owned(),
            author: author.to_owned(),
            title: title.to_owned(),
            ..Self::default()
        }
    }
}

/// A person's role in a repository, as the settings page shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// No access; on public repositories everybody can still read.
    None,
    /// Read.
    Read,
    /// Shown as `read` by the permission endpoint.
    Triage,
    /// Push.
    Write,
    /// Shown as `write` by the permission endpoint.
    Maintain,
    /// Everything.
    Admin,
}

/// A check run as GitHub holds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of GitHub's REST description")]
pub struct CheckRun {
    pub id: u64,
    pub name: String,
    pub head_sha: String,
    pub status: String,
    pub conclusion: Option<String>,
    #[serde(serialize_with = "optional_stamp")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "optional_stamp")]
    pub completed_at: Option<DateTime<Utc>>,
    pub details_url: String,
    pub external_id: String,
    pub output: CheckOutput,
    pub actions: Vec<CheckAction>,
    pub suite_id: u64,
    pub app_id: u64,
}

/// The text of a check run.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[expect(missing_docs, reason = "the fields are those of GitHub's REST description")]
pub struct CheckOutput {
    pub title: Option<String>,
    pub summary: Option<String>,
    pub text: Option<String>,
    pub annotations_count: usize,
    /// As they were sent, in order, with what every PATCH appended.
    pub annotations: Vec<serde_json::Value>,
}

/// A button on a completed check run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of GitHub's REST description")]
pub struct CheckAction {
    pub label: String,
    pub description: String,
    pub identifier: String,
}

/// A check suite: all check runs of one App on one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of GitHub's REST description")]
pub struct CheckSuite {
    pub id: u64,
    pub app_id: u64,
    pub head_sha: String,
    pub head_branch: Option<String>,
    pub status: String,
    pub conclusion: Option<String>,
}

/// A comment on a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comment {
    /// GitHub's number for it.
    pub id: u64,
    /// Login; the App's own is `<slug>[bot]`.
    pub user: String,
    /// Markdown.
    pub body: String,
    /// Login and content (`+1`, `eyes`, …), in order.
    pub reactions: Vec<(String, String)>,
}

/// A pull request as GitHub holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of GitHub's REST description")]
pub struct PullRequest {
    pub id: u64,
    pub number: u64,
    pub title: String,
    pub body: String,
    pub author: String,
    pub draft: bool,
    /// `open` or `closed`.
    pub state: String,
    pub merged: bool,
    pub head_sha: String,
    pub head_branch: String,
    /// `None` once a fork was deleted.
    pub head_repository: Option<String>,
    pub base_sha: String,
    pub base_branch: String,
}

/// A check that a branch demands before a merge. See [`crate::Simulator::require_checks`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequiredCheck {
    /// Of a check run, or the context of a commit status.
    pub name: String,
    /// Only runs of this App count; `None` takes them from anybody, and then from everybody.
    #[serde(default)]
    pub app: Option<u64>,
}

/// What a merge queue tries out: a commit with several pull requests merged, on a branch of its
/// own. See [`crate::Simulator::enqueue`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of GitHub's webhook description")]
pub struct MergeGroup {
    pub head_sha: String,
    pub head_ref: String,
    pub base_sha: String,
    pub base_ref: String,
    /// In the order in which they are merged. GitHub's payload does not tell them.
    pub pull_requests: Vec<u64>,
}

/// One attempt to deliver one event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Delivery {
    /// Of this attempt.
    pub id: u64,
    /// Of the event: a redelivery has the same.
    pub guid: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// `action` of the payload.
    pub action: Option<String>,
    /// What the receiver answered; `None` while under way, on timeouts and failed connections.
    pub status_code: Option<u16>,
    /// `OK`, `pending`, `timed out`, `failed to connect to host`, or the answer's reason.
    pub status: String,
    /// From the first byte sent to the answer's headers.
    pub duration: Duration,
    /// Sent again on request.
    pub redelivery: bool,
    /// The signed bytes.
    #[serde(skip)]
    pub body: bytes::Bytes,
}

/// Who made a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Caller {
    /// No usable credentials.
    Nobody,
    /// The App with a JWT.
    App,
    /// An installation token of this installation.
    Installation(u64),
    /// A person's token.
    User(String),
}

/// One REST or git request that the simulator answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// `GET`, …
    pub method: String,
    /// Without the `/api/v3` prefix and without the query.
    pub path: String,
    /// After the question mark.
    pub query: String,
    /// `operationId` of GitHub's description, or `git/upload-pack`.
    pub operation: Option<String>,
    /// What was answered.
    pub status: u16,
    /// Who asked.
    pub caller: Caller,
    /// When the answer was ready.
    #[serde(serialize_with = "time_stamp")]
    pub at: DateTime<Utc>,
}

fn time_stamp<S: serde::Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::clock::stamp(*at))
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn optional_stamp<S: serde::Serializer>(
    at: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    at.map(crate::clock::stamp).serialize(serializer)
}
