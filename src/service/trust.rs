//! Whose code is run, and whose word is obeyed. GitHub's collaborator permission decides.

use crate::domain::event::PullFacts;
use crate::domain::run::{Problem, ProblemKind, Repository, Run};
use crate::domain::trigger::Trigger;
use crate::github::{Github, GithubError};

/// Ends the cause of a run that was made without knowing who pushed its head.
const UNKNOWN_PUSHER: &str = "-pusher-unknown";

/// May the code of a pull request run?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    Trusted,
    /// Its author may not write.
    Author,
    /// Who moved the head of the fork's branch may not write, or is not known.
    Pusher(Option<String>),
}

/// Judges author and pusher. A bot's branch in the repository itself was pushed by someone who may
/// write; a fork's branch may be pushed by others than its author, so `pusher` must be known there:
/// the sender of the event that brought the head, and of no other event.
pub async fn judge(
    github: &Github,
    repository: &Repository,
    pull: &PullFacts,
    pusher: Option<&str>,
) -> Result<Trust, GithubError> {
    let same_repository = in_same_repository(repository, pull);
    if same_repository && pull.author.bot {
        return Ok(Trust::Trusted);
    }
    if !github.permission(repository, &pull.author.login).await?.may_write() {
        return Ok(Trust::Author);
    }
    if same_repository {
        return Ok(Trust::Trusted);
    }
    match pusher {
        Some(pusher)
            if pusher == pull.author.login
                || github.permission(repository, pusher).await?.may_write() =>
        {
            Ok(Trust::Trusted)
        }
        pusher => Ok(Trust::Pusher(pusher.map(str::to_owned))),
    }
}

/// Is the head's branch in the repository itself, where only writers push?
pub fn in_same_repository(repository: &Repository, pull: &PullFacts) -> bool {
    pull.head_repo.as_ref() == Some(&repository.name)
}

/// Who pushed this head, by the runs of it: the sender of the event that made the first one.
pub fn pusher_of(runs: &[Run], pull: u64) -> Option<&str> {
    let brought = |run: &&Run| {
        run.pull == Some(pull)
            && run.trigger == Trigger::PullRequest
            && !run.cause.ends_with(UNKNOWN_PUSHER)
    };
    runs.iter().find(brought).map(|run| run.actor.as_str())
}

/// The cause of a pull request's own run. Without a known pusher it is another cause, so that the
/// event that names the pusher still makes its run.
pub fn cause(generation: i64, pusher_known: bool) -> String {
    let suffix = if pusher_known { "" } else { UNKNOWN_PUSHER };
    format!("generation-{generation}{suffix}")
}

impl Trust {
    /// Why not, in words that follow "because"; `None` if it may run.
    pub fn doubt(&self, pull: &PullFacts) -> Option<String> {
        match self {
            Self::Trusted => None,
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

    /// What `checkvalve` says when the code is not run; `None` if it may.
    pub fn problem(&self, pull: &PullFacts) -> Option<Problem> {
        let doubt = self.doubt(pull)?;
        let author = &pull.author.login;
        let (title, mend) = match self {
            Self::Trusted | Self::Author => (
                format!("Not run: {author} may not write to this repository"),
                format!(", or gives `{author}` write access and reopens this one"),
            ),
            Self::Pusher(Some(pusher)) => {
                (format!("Not run: {pusher} may not write to this repository"), String::new())
            }
            Self::Pusher(None) => (
                "Not run: it is not known who pushed this commit".to_owned(),
                ", or a writer pushes once more to the fork".to_owned(),
            ),
        };
        Some(Problem {
            kind: ProblemKind::NotTrusted,
            title,
            text: format!(
                "The code of a pull request runs only when its author and whoever pushed its head \
                 may write to the repository; but {doubt}.\n\n**To run it:** a person who may \
                 write pushes these commits to a branch of this repository (`git fetch` the pull \
                 request's head, look at it, push it) and opens a pull request from there{mend}."
            ),
            place: None,
        })
    }
}
