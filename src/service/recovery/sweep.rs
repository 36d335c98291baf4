//! Open pull requests, compared with the runs that were made of them: one whose event never came gets
//! its run all the same.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Look, Recovery};
use crate::domain::event::{PullAction, PullFacts};
use crate::domain::recovery::{Lack, OpenPull, lack};
use crate::domain::run::Repository;
use crate::github::{GithubError, OpenPulls, PullsBefore};
use crate::service::commands::Failure;
use crate::service::trust;
use crate::store::{Handled, StoreError};

/// Pull requests that are followed in one look, at all repositories together, and comments that are obeyed
/// in each: GitHub is asked twice about each, and an App that is new to a repository of a thousand must not
/// fill the queue.
const FOLLOWED: usize = 20;
/// After so many looks at what changed, all of them are looked at.
const WHOLE_EVERY: u32 = 12;

impl Recovery {
    /// Looks at all repositories.
    pub(super) async fn sweep(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        let mut left = FOLLOWED;
        let new = self.memory().looks.is_empty();
        if new && let Err(error) = self.meet().await {
            warn!("where the App is installed could not be listed: {error}");
        }
        for repository in self.repositories().await? {
            if stop.is_cancelled() || !self.hold().await? {
                return Ok(());
            }
            // One repository that can't be read must not keep the others from their runs.
            if let Err(error) = self.look(&repository, &mut left, stop).await {
                let name = &repository.name;
                warn!(repository = %name, "its open pull requests were not looked at: {error}");
            }
            // Whoever says much in one holds up no pull request, there or elsewhere.
            if let Err(error) = self.hear(&repository, FOLLOWED, stop).await {
                warn!(repository = %repository.name, "its comments were not looked at: {error}");
            }
        }
        Ok(())
    }

    /// Repositories that no event has told of yet.
    async fn meet(&self) -> Result<(), Failure> {
        let mut calls = 1;
        for installation in self.intake.github.installations().await? {
            calls += 1;
            for repository in self.intake.github.repositories(installation).await? {
                if self.intake.served.serves(&repository.name) {
                    self.intake.store.see(&repository).await?;
                }
            }
        }
        Ok(self.intake.store.count_recovery_calls(calls).await?)
    }

    async fn look(
        &self,
        repository: &Repository,
        left: &mut usize,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let last = self.memory().looks.get(&repository.id).cloned().unwrap_or_default();
        let whole = last.before.is_none() || last.since_whole >= WHOLE_EVERY;
        let before = last.before.as_ref().filter(|_| !whole);
        let open = self.intake.github.open_pulls_since(repository, before).await?;
        let calls = open.as_ref().map_or(1, |open| open.calls);
        self.intake.store.count_recovery_calls(calls).await?;
        let Some(open) = open else {
            let look = Look { since_whole: last.since_whole + 1, ..last };
            self.memory().looks.insert(repository.id, look);
            return Ok(());
        };
        let mut all = self.follow_open(repository, &open, left, stop).await?;
        if whole && open.whole {
            all &= self.follow_closed(repository, &open, left).await?;
        }
        // What was left for later must not be hidden by a tag that says that nothing has changed.
        let look = Look {
            before: open.tag.filter(|_| all).map(|tag| PullsBefore { tag, at: open.now }),
            since_whole: if whole { 0 } else { last.since_whole + 1 },
        };
        self.memory().looks.insert(repository.id, look);
        Ok(())
    }

    /// Follows those that lack a run; false if some are left for later.
    async fn follow_open(
        &self,
        repository: &Repository,
        open: &OpenPulls,
        left: &mut usize,
        stop: &CancellationToken,
    ) -> Result<bool, Failure> {
        let mut all = true;
        for pull in &open.pulls {
            match self.lack(repository, pull, open).await? {
                Lack::Nothing => {}
                Lack::Run if *left > 0 && !stop.is_cancelled() => {
                    *left -= 1;
                    all &= self.follow_listed(repository, &pull.facts).await?;
                }
                Lack::Perhaps | Lack::Run => all = false,
            }
        }
        Ok(all)
    }

    async fn lack(
        &self,
        repository: &Repository,
        pull: &OpenPull,
        open: &OpenPulls,
    ) -> Result<Lack, StoreError> {
        let known = self.intake.store.pull_known(repository.id, pull.facts.number).await?;
        let in_fork = !trust::in_same_repository(repository, &pull.facts);
        Ok(lack(pull, known.as_ref(), (open.now, self.every), in_fork))
    }

    /// What runs for pull requests that are not open any more; false if some are left for later.
    async fn follow_closed(
        &self,
        repository: &Repository,
        open: &OpenPulls,
        left: &mut usize,
    ) -> Result<bool, Failure> {
        let numbers: BTreeSet<u64> = open.pulls.iter().map(|pull| pull.facts.number).collect();
        for known in self.intake.store.pulls_running(repository.id).await? {
            if numbers.contains(&known.facts.number) {
                continue;
            }
            if *left == 0 {
                return Ok(false);
            }
            *left -= 1;
            let followed = self.intake.follow_unlisted(repository, &known.facts).await?;
            said(repository, &known.facts, &followed);
        }
        Ok(true)
    }

    /// As its event would be followed; who sent that is not known. False if it is to be looked at again.
    async fn follow_listed(
        &self,
        repository: &Repository,
        pull: &PullFacts,
    ) -> Result<bool, Failure> {
        let reopened = PullAction::Reopened;
        match self.intake.follow(repository, pull, reopened, &pull.author).await {
            // GitHub's hosts do not agree on it: the others need not wait for that.
            Err(Failure::Github(error @ GithubError::NotFound { .. })) => {
                warn!(repository = %repository.name, pull = pull.number, "not followed: {error}");
                Ok(false)
            }
            followed => {
                said(repository, pull, &followed?);
                Ok(true)
            }
        }
    }
}

fn said(repository: &Repository, pull: &PullFacts, followed: &Handled) {
    let number = pull.number;
    match followed {
        Handled::Done(done) => {
            info!(repository = %repository.name, pull = number, "no event told of it: {done}");
        }
        // It has moved on: the next look sees it as it is then.
        Handled::Ignored(why) | Handled::Refused(why) | Handled::Later(_, why) => {
            info!(repository = %repository.name, pull = number, "not followed: {why}");
        }
        Handled::GivesWay(_) | Handled::Held(_) => {}
    }
}
