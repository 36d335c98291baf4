//! Whose code is run, and whose word is obeyed. GitHub's collaborator permission decides.

use crate::domain::event::{Actor, PullFacts};
use crate::domain::run::{Problem, ProblemKind, Repository};
use crate::github::{Github, GithubError};

/// May the code of this pull request run? Its author must be able to write; a bot's branch in the
/// repository itself was pushed by someone who may write. `pusher` is who moved the head, when
/// the event says so: a fork's branch may be pushed by others than its author.
pub async fn code_is_trusted(
    github: &Github,
    repository: &Repository,
    pull: &PullFacts,
    pusher: Option<&Actor>,
) -> Result<bool, GithubError> {
    let same_repository = pull.head_repo.as_ref() == Some(&repository.name);
    if same_repository && pull.author.bot {
        return Ok(true);
    }
    if !github.permission(repository, &pull.author.login).await?.may_write() {
        return Ok(false);
    }
    match pusher {
        Some(pusher) if !same_repository && pusher.login != pull.author.login => {
            Ok(github.permission(repository, &pusher.login).await?.may_write())
        }
        Some(_) | None => Ok(true),
    }
}

/// What `checkvalve` says when the code is not run.
pub fn not_trusted(pull: &PullFacts) -> Problem {
    Problem {
        kind: ProblemKind::NotTrusted,
        title: format!("Not run: {} may not write to this repository", pull.author.login),
        text: format!(
            "The code of a pull request runs only when its author may write to the repository, \
             and `{author}` may not.\n\n**To run it:** a person who may write pushes these \
             commits to a branch of this repository (`git fetch` the pull request's head, look at \
             it, push it) and opens a pull request from there, or gives `{author}` write access \
             and reopens this one.",
            author = pull.author.login
        ),
        place: None,
    }
}
