//! Comments on pull requests: GitHub keeps them under `issues`.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::answers::Call;
use super::client::Github;
use super::error::GithubError;
use super::wire;
use crate::domain::run::Repository;

/// GitHub refuses longer comments with 422 (characters, not bytes).
const COMMENT_MAX_CHARS: usize = 65_536;

/// The reactions that we give to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Seen.
    Eyes,
    /// Accepted.
    Rocket,
    /// Not understood or refused; a reply says why.
    Confused,
}

impl Reaction {
    fn content(self) -> &'static str {
        match self {
            Self::Eyes => "eyes",
            Self::Rocket => "rocket",
            Self::Confused => "confused",
        }
    }
}

#[derive(Deserialize)]
struct Comment {
    #[serde(deserialize_with = "wire::number")]
    id: u64,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    performed_via_github_app: Option<wire::Id>,
}

impl Github {
    /// Comments on the pull request; the comment's id. After [`GithubError::Unknown`], look with
    /// [`Github::find_comment`] before commenting again.
    pub async fn comment(
        &self,
        repository: &Repository,
        pull: u64,
        body: &str,
    ) -> Result<u64, GithubError> {
        let uri = format!("/repos/{}/issues/{pull}/comments", repository.name);
        let call = Call::make("comment on the pull request", uri, json!({ "body": cut(body) }));
        Ok(self.call::<wire::Id>(repository.installation, &call).await?.id)
    }

    /// Replaces the text of a comment of ours.
    pub async fn edit_comment(
        &self,
        repository: &Repository,
        comment: u64,
        body: &str,
    ) -> Result<(), GithubError> {
        let uri = format!("/repos/{}/issues/comments/{comment}", repository.name);
        let body = json!({ "body": cut(body) });
        let call = Call::set("edit our comment", Method::PATCH, uri, body);
        self.as_installation(repository.installation, &call).await.map(drop)
    }

    /// Our own comment on the pull request that holds `marker`, if there is one.
    pub async fn find_comment(
        &self,
        repository: &Repository,
        pull: u64,
        marker: &str,
    ) -> Result<Option<u64>, GithubError> {
        let app = self.app_id().await?;
        let uri = format!("/repos/{}/issues/{pull}/comments?per_page=100", repository.name);
        let mut found = None;
        let take = |page: Vec<Comment>| {
            let ours = |comment: &&Comment| {
                comment.performed_via_github_app.as_ref().is_some_and(|of| of.id == app)
                    && comment.body.as_deref().is_some_and(|body| body.contains(marker))
            };
            found = page.iter().find(ours).map(|comment| comment.id);
            Ok(found.is_none())
        };
        self.pages(Some(repository.installation), "list the comments", uri, take).await?;
        Ok(found)
    }

    /// Reacts to a comment. Reacting twice is reacting once (GitHub answers 200 in place of 201).
    pub async fn react(
        &self,
        repository: &Repository,
        comment: u64,
        reaction: Reaction,
    ) -> Result<(), GithubError> {
        let uri = format!("/repos/{}/issues/comments/{comment}/reactions", repository.name);
        let body = json!({ "content": reaction.content() });
        let call = Call::set("react to the comment", Method::POST, uri, body);
        self.as_installation(repository.installation, &call).await.map(drop)
    }
}

/// A reply that is too long says less, but says it.
fn cut(body: &str) -> &str {
    body.char_indices().nth(COMMENT_MAX_CHARS).map_or(body, |(end, _)| &body[..end])
}
