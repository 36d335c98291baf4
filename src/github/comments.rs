//! Comments on pull requests: GitHub keeps them under `issues`.

use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::answers::Call;
use super::client::Github;
use super::error::GithubError;
use super::wire;
use crate::ambient;
use crate::domain::recovery::ListedComment;
use crate::domain::run::Repository;
use crate::domain::time::Timestamp;

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
    /// As GitHub calls it.
    pub fn content(self) -> &'static str {
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

/// A comment of a list of the whole repository's.
#[derive(Deserialize)]
struct Listed {
    #[serde(deserialize_with = "wire::number")]
    id: u64,
    #[serde(default)]
    body: Option<String>,
    user: Option<wire::User>,
    created_at: String,
    updated_at: String,
    /// `…/issues/<number>`, also of a pull request.
    issue_url: String,
    /// `…/pull/<number>#issuecomment-<id>`, or `…/issues/…`.
    html_url: String,
}

/// Comments of a repository from some time on, those that were written or edited first come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentsPage {
    pub comments: Vec<ListedComment>,
    /// By GitHub's clock.
    pub now: Timestamp,
    /// Of this very answer; absent where GitHub gives no tags.
    pub tag: Option<String>,
    /// Are there more?
    pub more: bool,
}

impl Github {
    /// Up to a hundred of the repository's comments that were written or edited at `since` or later;
    /// `None` if they are those that were answered with this `tag`, which costs nothing of the primary
    /// limit.
    pub async fn comments_since(
        &self,
        repository: &Repository,
        since: Timestamp,
        tag: Option<&str>,
    ) -> Result<Option<CommentsPage>, GithubError> {
        // What is edited meanwhile moves to the end, and who goes on from the last one misses nothing.
        let uri = format!(
            "/repos/{}/issues/comments?since={}&sort=updated&direction=asc&per_page=100",
            repository.name,
            since.to_the_second()
        );
        let call = Call::get("list the repository's comments", uri).unless(tag.map(str::to_owned));
        let answer = self.as_installation(repository.installation, &call).await?;
        if answer.status == http::StatusCode::NOT_MODIFIED {
            return Ok(None);
        }
        let comments = call.read::<Vec<Listed>>(&answer)?.into_iter();
        Ok(Some(CommentsPage {
            comments: comments.map(|comment| listed(&call, comment)).collect::<Result<_, _>>()?,
            now: answer.date().map_or_else(ambient::now, Timestamp::from_millis),
            tag: answer.header("etag").map(str::to_owned),
            more: self.next_page(&call, &answer)?.is_some(),
        }))
    }

    /// Comments on the pull request; the comment's id. What is longer than GitHub's limit is refused.
    /// After [`GithubError::Unknown`], look with [`Github::find_comment`] before commenting again.
    pub async fn comment(
        &self,
        repository: &Repository,
        pull: u64,
        body: &str,
    ) -> Result<u64, GithubError> {
        let uri = format!("/repos/{}/issues/{pull}/comments", repository.name);
        let call = Call::make("comment on the pull request", uri, json!({ "body": body }));
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
        let body = json!({ "body": body });
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

fn listed(call: &Call, comment: Listed) -> Result<ListedComment, GithubError> {
    let Listed { id, body, user, created_at, updated_at, issue_url, html_url } = comment;
    let unreadable = |what: &str| GithubError::Refused {
        call: call.name,
        status: 200,
        message: format!("of comment {id}, {what}"),
    };
    let time = |text: &str| Timestamp::parse(text).ok_or_else(|| unreadable("a time is no time"));
    let number = issue_url.rsplit('/').next().and_then(|number| number.parse::<u64>().ok());
    let number = number.ok_or_else(|| unreadable("it is not known where it stands"))?;
    Ok(ListedComment {
        id,
        pull: html_url.contains(&format!("/pull/{number}#")).then_some(number),
        author: user.map_or_else(wire::ghost, Into::into),
        body: body.unwrap_or_default(),
        written_at: time(&created_at)?,
        updated_at: time(&updated_at)?,
    })
}
