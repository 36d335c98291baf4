//! GitHub's shapes that payloads and answers share; they turn into ours at once.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::domain::event::{Actor, PullFacts};
use crate::domain::names::InvalidName;

/// A number, which some servers write as a text.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Number;
    impl Visitor<'_> for Number {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            text.parse().map_err(|_| E::invalid_type(serde::de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(Number)
}

#[derive(Deserialize)]
pub(super) struct Id {
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
}

/// The App itself.
#[derive(Debug, Deserialize)]
pub(super) struct App {
    #[serde(deserialize_with = "number")]
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
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
    pub(super) full_name: String,
    #[serde(default)]
    pub(super) private: bool,
    /// Read-only: nothing can be published on it.
    #[serde(default)]
    pub(super) archived: bool,
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
    #[serde(deserialize_with = "number")]
    number: u64,
    #[serde(default)]
    title: Option<String>,
    user: Option<User>,
    state: String,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    pub(super) updated_at: Option<String>,
    head: Branch,
    base: Branch,
}

#[derive(Deserialize)]
struct Branch {
    sha: String,
    #[serde(rename = "ref")]
    name: String,
    /// Null when the fork was deleted.
    repo: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "a_number")]
    id: Option<u64>,
    full_name: String,
}

fn a_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    number(deserializer).map(Some)
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
            head_repo_id: pull.head.repo.as_ref().and_then(|repo| repo.id),
            head_repo: pull.head.repo.map(|repo| repo.full_name.parse()).transpose()?,
            base_sha: pull.base.sha.parse()?,
            base_ref: pull.base.name,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct CheckRun {
    #[serde(deserialize_with = "number")]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_be_written_as_a_text() {
        let id = |text: &str| serde_json::from_str::<Id>(text).map(|id| id.id);
        assert_eq!(id(r#"{"id": 18446744073709551615}"#).unwrap(), u64::MAX);
        assert_eq!(id(r#"{"id": "29310"}"#).unwrap(), 29310);
        for wrong in [r#"{"id": "x"}"#, r#"{"id": -1}"#, r#"{"id": null}"#, r#"{"id": 1.5}"#, "{}"]
        {
            assert!(id(wrong).is_err(), "{wrong}");
        }
        assert!(id(r#"{"id": "x"}"#).unwrap_err().to_string().contains("expected a number"));
    }
}
