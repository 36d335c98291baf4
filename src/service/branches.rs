//! Runs of commits that are no pull request's: pushes to the default branch, and merge groups.

use tracing::debug;

use super::commands::Failure;
use crate::ambient;
use crate::domain::cache::Reuse;
use crate::domain::event::{Actor, GroupAction, GroupFacts, PushFacts};
use crate::domain::ids::RunId;
use crate::domain::names::Sha;
use crate::domain::run::Repository;
use crate::domain::state::RunState;
use crate::domain::trigger::{Scope, Trigger};
use crate::domain::trust::Trust;
use crate::store::{Created, Handled, NewRun, Store};

/// Follows a push to the default branch: its schedules are read anew, and what it changed is run
/// where a pipeline says `on: push`, which planning knows. Each push has its own run, and none ends
/// another's: the history of every connector is whole.
pub(super) async fn pushed(
    store: &Store,
    repository: &Repository,
    push: &PushFacts,
    (sender, occasion): (&Actor, &str),
) -> Result<Handled, Failure> {
    let ignored = |why: &str| Ok(Handled::Ignored(why.to_owned()));
    let Some(branch) = &push.branch else { return ignored("a tag, and no branch") };
    if *branch != push.default_branch {
        return ignored("not the default branch");
    }
    store.look_again(repository.id).await?;
    let Some(head) = &push.after else { return ignored("the branch was deleted") };
    let cause = format!("push-{occasion}");
    let base = match &push.before {
        Some(before) => before.clone(),
        // Told again, it is compared with what it was compared with: what ran last is another by now.
        None => match store.pushed_onto(repository.id, (head, &cause)).await? {
            Some(base) => base,
            // Nothing to compare with but what ran last; where there is not even that, itself.
            None => store.last_pushed(repository.id, branch).await?.unwrap_or_else(|| head.clone()),
        },
    };
    let title = if push.title.is_empty() { branch.clone() } else { push.title.clone() };
    let run = NewRun {
        title,
        trigger: Trigger::Push,
        cause,
        actor: sender.login.clone(),
        reuse: Reuse::All,
        ..of_branch(repository, branch, (&base, head))
    };
    let made = made(store.create_run(run).await?);
    Ok(Handled::Done(format!("{made}, if a pipeline runs `on: push`")))
}

/// Follows a merge group: trusted, since writers enqueue it, and ended only with the group itself.
pub(super) async fn grouped(
    store: &Store,
    repository: &Repository,
    group: &GroupFacts,
    (action, sender): (&GroupAction, &Actor),
) -> Result<Handled, Failure> {
    let run = NewRun {
        title: format!("Merge group {}", in_short(&group.head_ref)),
        head_ref: group.head_ref.clone(),
        trigger: Trigger::MergeGroup,
        cause: "merge-group".to_owned(),
        actor: sender.login.clone(),
        reuse: Reuse::All,
        ..of_branch(repository, &group.base_ref, (&group.base_sha, &group.head_sha))
    };
    match action {
        GroupAction::ChecksRequested => Ok(match store.create_run(run).await? {
            Created::Outdated => Handled::Ignored("stale: the merge group is gone".to_owned()),
            created @ (Created::Fresh(_) | Created::Exists(_)) => Handled::Done(made(created)),
        }),
        GroupAction::Destroyed { reason } => destroyed(store, &run, reason).await,
    }
}

async fn destroyed(store: &Store, group: &NewRun, reason: &str) -> Result<Handled, Failure> {
    let why = match reason {
        "merged" => "the merge group was merged",
        "invalidated" => {
            "the merge group was invalidated: its base branch or a group before it changed"
        }
        "dequeued" => "the merge group was taken out of the queue",
        _ => "the merge group is gone",
    };
    // First, so that no run of it is made behind our back; a pull request with the same commit is
    // judged without it from now on.
    store.end_group(&group.repository, (&group.head_sha, &group.head_ref)).await?;
    let runs = store.runs_of_head(group.repository.id, &group.head_sha).await?;
    let of_group = |run: &&_| is_of_group(run) && run.head_ref == group.head_ref;
    let mut ended = 0;
    for run in runs.iter().filter(of_group).filter(|run| run.state != RunState::Concluded) {
        debug!(run = %run.id, "{why}");
        store.cancel_run(run.id, None, why).await?;
        ended += 1;
    }
    Ok(Handled::Done(format!("{why}: {ended} run(s) asked to end")))
}

/// Its own run, or one that somebody asked for again.
fn is_of_group(run: &crate::domain::run::Run) -> bool {
    run.pull.is_none() && !run.trigger.is_of_branch()
}

fn made(created: Created) -> String {
    match created {
        Created::Fresh(id) => format!("made {id}"),
        Created::Exists(id) => format!("{id} is for this already"),
        Created::Outdated => "the head is another by now".to_owned(),
    }
}

/// `gh-readonly-queue/main/pr-104-929f82…` without what is the same for all of a queue.
fn in_short(head_ref: &str) -> &str {
    let name = head_ref.rsplit('/').next().unwrap_or(head_ref);
    name.rsplit_once('-').map_or(name, |(pull, _)| pull)
}

/// A run of a branch's commit; title, trigger, cause and actor are the caller's.
pub(super) fn of_branch(
    repository: &Repository,
    branch: &str,
    (base, head): (&Sha, &Sha),
) -> NewRun {
    NewRun {
        id: RunId::new(ambient::ulid()),
        repository: repository.clone(),
        pull: None,
        title: String::new(),
        head_ref: branch.to_owned(),
        base_ref: branch.to_owned(),
        head_sha: head.clone(),
        base_sha: base.clone(),
        trigger: Trigger::Manual,
        cause: String::new(),
        actor: String::new(),
        scope: Scope::Affected,
        reuse: Reuse::Never,
        trust: Trust::Trusted,
        problem: None,
    }
}
