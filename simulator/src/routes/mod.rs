//! The REST operations, by topic.

mod apps;
mod check_input;
mod checks;
mod comments;
mod commits;
mod files;
mod misc;
mod objects;
mod organizations;
mod paging;
mod pulls;
mod statuses;
mod suites;

use std::sync::Arc;

use crate::refusals::{Answer, Outcome, not_found};
use crate::server::Asked;
use crate::simulator::Inner;
use crate::world::{Repository, World};

/// Answers an admitted call.
pub(crate) async fn serve(inner: &Arc<Inner>, asked: Asked<'_>) -> Outcome {
    let topic = asked.operation.id.split('/').next().unwrap_or_default();
    match topic {
        "apps" => apps::serve(inner, &asked),
        "checks" => match asked.operation.id {
            "checks/create"
            | "checks/get"
            | "checks/update"
            | "checks/list-annotations"
            | "checks/rerequest-run"
            | "checks/list-for-ref"
            | "checks/list-for-suite" => checks::serve(inner, &asked).await,
            _ => suites::serve(inner, &asked).await,
        },
        "pulls" => pulls::serve(inner, &asked).await,
        "issues" | "reactions" => comments::serve(inner, &asked),
        "git" => commits::serve(inner, &asked).await,
        "orgs" | "teams" => organizations::serve(inner, &asked),
        "repos" => match asked.operation.id {
            "repos/list-pull-requests-associated-with-commit" => pulls::serve(inner, &asked).await,
            "repos/get-commit" | "repos/compare-commits-with-basehead" | "repos/get-content" => {
                commits::serve(inner, &asked).await
            }
            "repos/create-commit-status"
            | "repos/list-commit-statuses-for-ref"
            | "repos/get-combined-status-for-ref" => statuses::serve(inner, &asked).await,
            "repos/download-tarball-archive" => crate::archives::redirect(inner, &asked).await,
            _ => misc::serve(inner, &asked),
        },
        _ => misc::serve(inner, &asked),
    }
}

/// The commit that the `ref` of a path means.
pub(crate) async fn commit_of(inner: &Inner, asked: &Asked<'_>) -> Result<String, Answer> {
    checks::resolve(inner, asked).await
}

impl Asked<'_> {
    /// A path parameter as a number; what is none does not exist.
    pub(crate) fn number(&self, name: &str) -> Result<u64, Answer> {
        self.params.get(name).and_then(|value| value.parse().ok()).ok_or_else(not_found)
    }

    /// A path parameter.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// The number of the repository in the path.
    pub(crate) fn repository(&self) -> Result<u64, Answer> {
        self.repository.ok_or_else(not_found)
    }
}

/// The repository of a call.
fn home(world: &World, id: u64) -> Result<&Repository, Answer> {
    world.repositories.get(&id).ok_or_else(not_found)
}

/// The same, to change it.
fn home_mut(world: &mut World, id: u64) -> Result<&mut Repository, Answer> {
    world.repositories.get_mut(&id).ok_or_else(not_found)
}
