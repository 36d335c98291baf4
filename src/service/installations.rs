//! Where the App may act: installed, suspended, uninstalled; repositories given, taken, renamed.

use tracing::info;

use super::commands::Failure;
use super::intake::Intake;
use crate::domain::event::PullFacts;
use crate::domain::names::RepoName;
use crate::domain::run::{Repository, Run};
use crate::domain::state::{Conclusion, RunState};
use crate::domain::trigger::Trigger;
use crate::store::{Created, Handled, NewRun, Store, StoreError, Withdrawn};

const SUSPENDED: &str = "the App's installation was suspended";
const UNINSTALLED: &str = "the App was uninstalled";
const TAKEN: &str = "the repository was taken from the App's installation";
const DELETED: &str = "the repository was deleted";
const ARCHIVED: &str = "the repository was archived, so that nothing can be written to it";

/// Of a repository that comes back, pull requests that we knew.
const KNOWN: u32 = 1000;

/// Notes that the App may not act on these any more, and ends what waits or runs for them. What GitHub
/// is still to be told is kept until it may.
pub(super) async fn lose(
    store: &Store,
    which: Withdrawn<'_>,
    why: &str,
) -> Result<(usize, usize), StoreError> {
    let lost = store.withdraw(which, why).await?;
    let mut ended = 0;
    for repository in &lost {
        ended += end_all(store, *repository, why).await?;
    }
    Ok((lost.len(), ended))
}

async fn end_all(store: &Store, repository: u64, why: &str) -> Result<usize, StoreError> {
    let runs = store.unconcluded(repository).await?;
    for run in &runs {
        store.cancel_run(*run, None, why).await?;
    }
    Ok(runs.len())
}

impl Intake {
    /// The App was installed, suspended, uninstalled, or given other repositories.
    pub(super) async fn installation(
        &self,
        action: &str,
        installation: u64,
        repositories: &[RepoName],
    ) -> Result<Handled, Failure> {
        let all = Withdrawn::Installation(installation);
        let (which, why) = match action {
            "suspend" => (all, SUSPENDED),
            "deleted" => (all, UNINSTALLED),
            "removed" => (Withdrawn::Named(installation, repositories), TAKEN),
            "created" | "added" | "unsuspend" => return self.gained(installation).await,
            "new_permissions_accepted" => {
                self.store.publish_again(installation).await?;
                let done = format!("installation {installation}: what was refused is tried again");
                return Ok(Handled::Done(done));
            }
            _ => return Ok(Handled::Done(format!("installation {installation}: {action}"))),
        };
        if self.still_has(which).await? {
            return Ok(Handled::Ignored("stale: the App has it again".to_owned()));
        }
        let (lost, ended) = lose(&self.store, which, why).await?;
        Ok(Handled::Done(format!(
            "{why}: {lost} repositories are left alone, {ended} run(s) asked to end"
        )))
    }

    /// Whether GitHub gives the App all of these now: an event of their loss that comes late, or again,
    /// says nothing of what is.
    async fn still_has(&self, which: Withdrawn<'_>) -> Result<bool, Failure> {
        match which {
            Withdrawn::Installation(installation) => {
                Ok(self.github.installations().await?.contains(&installation))
            }
            Withdrawn::Named(installation, names) => {
                if !self.github.installations().await?.contains(&installation) {
                    return Ok(false);
                }
                let given = self.github.repositories(installation).await?;
                let is_given = |name: &RepoName| {
                    given.iter().any(|one| one.name.as_str().eq_ignore_ascii_case(name.as_str()))
                };
                Ok(!names.is_empty() && names.iter().all(is_given))
            }
            Withdrawn::Repository(_) => Ok(false),
        }
    }

    /// Repositories came, or came back. What happened in the latter meanwhile was told to nobody.
    async fn gained(&self, installation: u64) -> Result<Handled, Failure> {
        let (mut served, mut resumed) = (0, 0);
        for repository in self.github.repositories(installation).await? {
            if !self.served.serves(&repository.name) {
                continue;
            }
            served += 1;
            // The hourly list may have been first: what was ended is resumed all the same, once.
            if self.store.restore(&repository).await? {
                self.store.look_again(repository.id).await?;
            }
            resumed += self.resume(&repository).await?;
        }
        Ok(Handled::Done(format!(
            "installation {installation}: {served} repositories are served, {resumed} run(s) made"
        )))
    }

    /// Makes a run for each open pull request that we knew, or that is newer than those, and whose head
    /// has none but what the loss of access ended.
    async fn resume(&self, repository: &Repository) -> Result<usize, Failure> {
        let known = self.store.pulls(repository.id, KNOWN).await?;
        let known: Vec<u64> = known.iter().map(|seen| seen.facts.number).collect();
        let newest = known.iter().max().copied().unwrap_or(u64::MAX);
        let mut made = 0;
        for pull in self.github.open_pulls(repository).await? {
            if (known.contains(&pull.number) || pull.number > newest)
                && self.resume_pull(repository, &pull).await?
            {
                made += 1;
            }
        }
        info!(repository = %repository.name, "access is back: {made} runs");
        Ok(made)
    }

    async fn resume_pull(
        &self,
        repository: &Repository,
        pull: &PullFacts,
    ) -> Result<bool, Failure> {
        let runs = self.store.runs_of_head(repository.id, &pull.head_sha).await?;
        let own = |run: &&Run| run.pull == Some(pull.number) && run.trigger == Trigger::PullRequest;
        let last = runs.iter().rfind(own);
        if last.is_some_and(|run| !was_ended_by_loss(run)) {
            return Ok(false);
        }
        let pusher = self.store.pusher(repository.id, pull.number, &pull.head_sha).await?;
        let generation = self.store.observe_pull(repository, pull, true).await?.generation;
        let run =
            self.own_run(repository, pull, (pusher.as_deref(), &pull.author), generation).await?;
        // The run that was ended has this cause already. Whoever tells us, and how often: it is resumed
        // once.
        let cause = match last {
            Some(ended) => format!("after-{}-{}", ended.id, run.cause),
            None => run.cause,
        };
        let made = self.store.create_run(NewRun { cause, ..run }).await?;
        Ok(matches!(made, Created::Fresh(_)))
    }

    /// The repository itself changed.
    pub(super) async fn repository(
        &self,
        action: &str,
        repository: &Repository,
    ) -> Result<Handled, Failure> {
        let name = &repository.name;
        let why = match action {
            "deleted" => Some(DELETED),
            "archived" => Some(ARCHIVED),
            _ => None,
        };
        if let Some(why) = why {
            // It may have been told long ago, and delivered again.
            let now = self.github.repositories(repository.installation).await;
            if now.is_ok_and(|there| there.iter().any(|one| one.id == repository.id)) {
                return Ok(Handled::Ignored(format!("{name}: {action} once, and it is there now")));
            }
            let (_, ended) = lose(&self.store, Withdrawn::Repository(repository.id), why).await?;
            return Ok(Handled::Done(format!("{why}: {ended} run(s) asked to end")));
        }
        let known = self.store.repositories().await?;
        if !known.iter().any(|row| row.repository.id == repository.id) {
            return Ok(Handled::Ignored(format!("{name}: {action}, and nothing is known of it")));
        }
        if action == "unarchived" {
            self.store.restore(repository).await?;
        } else {
            self.store.see(repository).await?;
        }
        self.store.look_again(repository.id).await?;
        if self.served.serves(name) {
            return Ok(Handled::Done(format!("the repository is {name} now")));
        }
        let why = format!("the repository is {name} now, which is not in CHECKVALVE_REPOSITORIES");
        let ended = end_all(&self.store, repository.id, &why).await?;
        Ok(Handled::Done(format!("{why}: {ended} run(s) asked to end")))
    }
}

fn was_ended_by_loss(run: &Run) -> bool {
    let reasons = [SUSPENDED, UNINSTALLED, TAKEN, DELETED, ARCHIVED, super::schedule::NOT_GIVEN];
    run.state == RunState::Concluded
        && run.conclusion == Some(Conclusion::Cancelled)
        && run.cancel.as_deref().is_some_and(|why| reasons.contains(&why))
}
