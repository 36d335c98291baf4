//! Whose code is run, and whose word is obeyed. GitHub's collaborator permission decides, and the
//! policy of the default branch.

use tracing::warn;

use super::commands::Failure;
use crate::config::repository::{self, FILE};
use crate::domain::event::{Actor, PullAction, PullFacts};
use crate::domain::names::RepoName;
use crate::domain::policy::Policy;
use crate::domain::run::{Problem, ProblemKind, Repository};
use crate::domain::trust::Trust;
use crate::github::{Content, Github, GithubError};
use crate::store::Store;

/// Ends the cause of a run that was made without knowing who pushed its head.
const UNKNOWN_PUSHER: &str = "-pusher-unknown";
/// In the cause of a run that was made because an approval was taken back.
const WITHDRAWN: &str = "-withdrawn-";
/// In the cause of a run that was made because somebody approved its commit.
const APPROVED: &str = "-approved-";

/// May the code of a pull request run?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Trusted,
    /// A stranger's; this commit was approved by that account.
    Approved(String),
    /// Its author may not write.
    Author,
    /// Who moved the head of the fork's branch may not write, or is not known.
    Pusher(Option<String>),
}

/// Where a judgement comes from.
#[derive(Clone, Copy)]
pub(super) struct Bench<'a> {
    pub(super) store: &'a Store,
    pub(super) github: &'a Github,
    pub(super) repository: &'a Repository,
}

/// What the default branch's repository file says of who may do what; `fresh`: as it is now. A file
/// that can't be read opens nothing to anybody but administrators.
pub(super) async fn policy(
    github: &Github,
    repository: &Repository,
    fresh: bool,
) -> Result<Policy, GithubError> {
    let content = match github.content(repository, FILE, fresh).await? {
        Content::Nothing => return Ok(Policy::default()),
        Content::Other => Err("it is no file, or a very large one".to_owned()),
        Content::File(bytes) => repository::policy(bytes).map_err(|invalid| invalid.title()),
    };
    Ok(content.unwrap_or_else(|why| {
        warn!(repository = %repository.name, "{FILE} of the default branch: {why}");
        Policy::closed()
    }))
}

impl Bench<'_> {
    /// Judges a head by where its branch is, by its approval, and by who wrote and who pushed it. A
    /// branch in the repository itself was pushed by someone who may write; a fork's may be pushed by
    /// others than the author, so `pusher` must be known there: the sender of the event that brought
    /// the head, and of no other event.
    pub(super) async fn judge(
        &self,
        pull: &PullFacts,
        pusher: Option<&str>,
    ) -> Result<Judgement, Failure> {
        if in_same_repository(self.repository, pull) {
            return Ok(Judgement::Trusted);
        }
        if let Some(approval) = self.store.approval(self.repository.id, pull).await? {
            return Ok(Judgement::Approved(approval.actor));
        }
        Ok(self.judge_people(pull, pusher).await?)
    }

    /// The same, whatever was approved.
    pub(super) async fn judge_people(
        &self,
        pull: &PullFacts,
        pusher: Option<&str>,
    ) -> Result<Judgement, GithubError> {
        if in_same_repository(self.repository, pull) {
            return Ok(Judgement::Trusted);
        }
        if !self.may_write(&pull.author.login, pull.author.bot).await? {
            return Ok(Judgement::Author);
        }
        match pusher {
            Some(pusher) if pusher == pull.author.login => Ok(Judgement::Trusted),
            Some(pusher) if self.may_write(pusher, is_bot(pusher)).await? => Ok(Judgement::Trusted),
            pusher => Ok(Judgement::Pusher(pusher.map(str::to_owned))),
        }
    }

    /// A bot has no permission that one could ask for: the policy lists those that count.
    async fn may_write(&self, login: &str, bot: bool) -> Result<bool, GithubError> {
        if bot {
            return Ok(policy(self.github, self.repository, false).await?.lets_bot(login));
        }
        Ok(self.github.permission(self.repository, login).await?.may_write())
    }
}

/// No person's login has brackets.
fn is_bot(login: &str) -> bool {
    login.ends_with("[bot]")
}

/// Is the head's branch in the repository itself, where only writers push?
pub fn in_same_repository(repository: &Repository, pull: &PullFacts) -> bool {
    match pull.head_repo_id {
        Some(id) => id == repository.id,
        None => pull.head_repo.as_ref() == Some(&repository.name),
    }
}

/// Does an event of this kind bring a head to a fork's pull request?
pub(super) fn brings(repository: &Repository, pull: &PullFacts, action: PullAction) -> bool {
    let brings = matches!(action, PullAction::Opened | PullAction::Synchronize);
    brings && !in_same_repository(repository, pull)
}

/// Who pushed the head that an event brings: the sender of `synchronize`, and of `opened` where the
/// fork is the sender's own. Whoever opens a pull request from anybody else's fork may have pushed
/// nothing.
pub(super) fn pushed_by<'a>(
    pull: &PullFacts,
    action: PullAction,
    sender: &'a Actor,
) -> Option<&'a str> {
    let is_owner = |fork: &RepoName| fork.owner().eq_ignore_ascii_case(&sender.login);
    let pushed = match action {
        PullAction::Synchronize => true,
        PullAction::Opened => pull.head_repo.as_ref().is_some_and(is_owner),
        PullAction::Retargeted
        | PullAction::Reopened
        | PullAction::ReadyForReview
        | PullAction::ConvertedToDraft
        | PullAction::Closed => false,
    };
    pushed.then_some(sender.login.as_str())
}

/// The cause of a pull request's own run. Without a known pusher it is another cause, so that the
/// event that names the pusher still makes its run.
pub fn cause(generation: i64, pusher_known: bool) -> String {
    let suffix = if pusher_known { "" } else { UNKNOWN_PUSHER };
    format!("generation-{generation}{suffix}")
}

/// The cause of a pull request's own run that somebody's act made possible, or undid.
pub(super) fn cause_by(generation: i64, approved: bool, act: &str) -> String {
    let how = if approved { APPROVED } else { WITHDRAWN };
    format!("generation-{generation}{how}{act}")
}

impl Judgement {
    pub fn trust(&self) -> Trust {
        match self {
            Self::Trusted => Trust::Trusted,
            Self::Approved(_) => Trust::Approved,
            Self::Author | Self::Pusher(_) => Trust::Untrusted,
        }
    }

    /// Why not, in words that follow "because"; `None` if it may run.
    pub fn doubt(&self, pull: &PullFacts) -> Option<String> {
        match self {
            Self::Trusted | Self::Approved(_) => None,
            Self::Author => Some(format!(
                "its author, `{}`, may not write to this repository",
                pull.author.login
            )),
            Self::Pusher(Some(pusher)) => Some(format!(
                "`{pusher}`, who pushed its head to the fork, may not write to this repository"
            )),
            Self::Pusher(None) => {
                Some("it is not known who pushed its head to the fork".to_owned())
            }
        }
    }

    /// What `checkvalve` says while an approval is awaited; `None` if none is.
    pub fn problem(&self, pull: &PullFacts) -> Option<Problem> {
        let doubt = self.doubt(pull)?;
        let title = match self {
            Self::Trusted | Self::Approved(_) | Self::Author => {
                format!("Approval needed: {} may not write to this repository", pull.author.login)
            }
            Self::Pusher(Some(pusher)) => {
                format!("Approval needed: {pusher} may not write to this repository")
            }
            Self::Pusher(None) => {
                "Approval needed: it is not known who pushed this commit".to_owned()
            }
        };
        let commit = pull.head_sha.short();
        Some(Problem {
            kind: ProblemKind::NotTrusted,
            title,
            text: format!(
                "The code of this pull request is not run yet, because {doubt}.\n\n**To run it:** \
                 look at the change, then press **Approve this commit** above, or comment\n\n\
                 ```text\n/ok-to-test {commit}\n```\n\nThat holds for this commit alone: the next \
                 push needs an approval of its own. Until then only steps that the base branch marks \
                 `untrusted: true` run, without secrets and without a network.\n\n"
            ),
            place: None,
        })
    }
}
