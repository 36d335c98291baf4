//! GitHub's shapes that payloads and answers share; they turn into ours at once.

use serde::Deserialize;

use crate::domain::event::{Actor, PullFacts};
use crate::domain::names::InvalidName;

#[derive(Deserialize)]
pub(super) struct Id {
    pub(super) id: u64,
}

/// The App itself.
#[derive(Debug, Deserialize)]
pub(super) struct App {
    pub(super) id: u64,
    /// Its name in addresses, of which its account's is made.
    #[serde(default)]
    pub(super) slug: String,
}

#[derive(Deserialize)]
pub(super) struct FullName {
    pub(super) full_name: String,
}

#[derive(Deserialize)]
pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) full_name: String,
    #[serde(default)]
    pub(super) private: bool,
}

#[derive(Deserialize)]
pub(super) struct User {
    login: String,
    /// `User`, `Bot`, `Organization`, `Mannequin`.
    #[serde(rename = "type", default)]
    kind: Option<String>,
}

impl From<User> for Actor {
    fn from(user: User) -> Self {
        // App accounts end in `[bot]`, which no person's login can.
        let bot = user.kind.as_deref() == Some("Bot") || user.login.ends_with("[bot]");
        Self { login: user.login, bot }
    }
}

/// Whom GitHub shows for a deleted account.
pub(super) fn ghost() -> Actor {
    Actor { login: "ghost".to_owned(), bot: false }
}

#[derive(Deserialize)]
pub(super) struct Pull {
    number: u64,
    #[serde(default)]
    title: Option<String>,
    user: Option<User>,
    state: String,
    #[serde(default)]
    draft: Option<bool>,
    head: Branch,
    base: Branch,
}

#[derive(Deserialize)]
struct Branch {
    sha: String,
    #[serde(rename = "ref")]
    name: String,
    /// Null when the fork was deleted.
    repo: Option<FullName>,
}

impl TryFrom<Pull> for PullFacts {
    type Error = InvalidName;

    fn try_from(pull: Pull) -> Result<Self, InvalidName> {
        Ok(Self {
            number: pull.number,
            title: pull.title.unwrap_or_default(),
            author: pull.user.map_or_else(ghost, Into::into),
            open: pull.state == "open",
            draft: pull.draft.unwrap_or(false),
            head_sha: pull.head.sha.parse()?,
            head_ref: pull.head.name,
            head_repo: pull.head.repo.map(|repo| repo.full_name.parse()).transpose()?,
            base_sha: pull.base.sha.parse()?,
            base_ref: pull.base.name,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct CheckRun {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) external_id: Option<String>,
    #[serde(default)]
    pub(super) head_sha: String,
    #[serde(default)]
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) conclusion: Option<String>,
    pub(super) app: Option<Id>,
}
