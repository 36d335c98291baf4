//! Where the App may act: installed, suspended, uninstalled; repositories given, taken, renamed.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::commands::Failure;
use super::intake::{Intake, same};
use crate::domain::event::{PullAction, PullFacts};
use crate::domain::names::RepoName;
use crate::domain::run::{Repository, Run};
use crate::domain::state::Conclusion;
use crate::domain::trigger::Trigger;
use crate::github::{GithubError, Retry};
use crate::store::{Created, Handled, NewRun, Store, StoreError, Withdrawn};

const SUSPENDED: &str = "the App's installation was suspended";
const UNINSTALLED: &str = "the App was uninstalled";
const TAKEN: &str = "the repository was taken from the App's installation";
const DELETED: &str = "the repository was deleted";
const ARCHIVED: &str = "the repository was archived, so that nothing can be written to it";

/// For these reasons runs end that are owed once access is back.
const LOSSES: [&str; 6] =
    [SUSPENDED, UNINSTALLED, TAKEN, DELETED, ARCHIVED, super::schedule::NOT_GIVEN];

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
        // What they are owed is no run: GitHub drops them, and tells it to nobody.
        store.end_groups(*repository).await?;
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
        let (mut served, mut resumed, mut unread, mut failed) = (0, 0, 0, None);
        for repository in self.github.repositories(installation).await? {
            if !self.served.serves(&repository.name) {
                continue;
            }
            served += 1;
            match self.regain(&repository).await {
                Ok(made) => resumed += made,
                // One repository that can't be read must not keep the others from theirs. What somebody
                // has to mend is the hourly list's: all of them would be asked about again and again.
                Err(Failure::Github(error)) => {
                    warn!(repository = %repository.name, "it is not resumed yet: {error}");
                    unread += 1;
                    failed = Some(error).filter(|error| error.retry() != Retry::Never).or(failed);
                }
                Err(error) => return Err(error),
            }
        }
        // It is tried again; what is done for the others is not done twice.
        if let Some(error) = failed {
            return Err(error.into());
        }
        let later = match unread {
            0 => String::new(),
            _ => format!("; {unread} could not be read, and are listed again within the hour"),
        };
        Ok(Handled::Done(format!(
            "installation {installation}: {served} repositories are served, {resumed} run(s) made{later}"
        )))
    }

    /// Takes a repository (back) that GitHub gives the App now, as GitHub shows it, and makes the runs
    /// that its loss has cost: once, whoever tells of it, and how often. Answers how many those are.
    pub(super) async fn regain(&self, repository: &Repository) -> Result<usize, Failure> {
        let lost = self.store.withdrawn().await?.contains(&repository.id);
        let resumed = match self.resume(repository, lost).await {
            // What comes from now on is not to wait for it. Another try would hear the same, unless GitHub's
            // hosts do not agree yet: whoever lists what is owed makes it.
            Err(Failure::Github(error)) if error.retry() == Retry::Never => {
                warn!(repository = %repository.name, "what its loss ended is not resumed: {error}");
                Err(error)
            }
            resumed => Ok(resumed?),
        };
        // Last: if this process dies before, whoever is told next begins anew.
        self.store.restore(repository).await?;
        if lost {
            self.store.publish_again(repository.installation).await?;
            self.store.look_again(repository.id).await?;
        }
        match resumed {
            Err(error) if error.may_be_mended() => Err(error.into()),
            resumed => Ok(resumed.unwrap_or(0)),
        }
    }

    /// Makes a run for each open pull request whose own run the loss of access ended; and if the
    /// repository was `lost` until now, for those that were opened or pushed to meanwhile.
    async fn resume(&self, repository: &Repository, lost: bool) -> Result<usize, Failure> {
        let known = self.store.pulls(repository.id, KNOWN).await?;
        let known: Vec<u64> = known.iter().map(|seen| seen.facts.number).collect();
        let Some(newest) = known.iter().max().copied() else { return Ok(0) };
        let mut owed = pulls_owed(&self.store, Some(repository.id)).await?;
        let (mut made, mut missing) = (0, None);
        for pull in self.github.open_pulls(repository).await? {
            let is_owed = owed.iter().any(|(_, owed)| owed.number == pull.number);
            owed.retain(|(_, owed)| owed.number != pull.number);
            let concerns_us = is_owed || known.contains(&pull.number);
            let may_be_new = lost && pull.number > newest;
            if !concerns_us && !may_be_new {
                continue;
            }
            match self.resume_pull(repository, &pull, lost || is_owed).await {
                Ok(resumed) => made += usize::from(resumed),
                // GitHub's hosts do not agree on it: the others need not wait for that.
                Err(Failure::Github(error)) if error.is_missing() => missing = Some(error),
                Err(error) => return Err(error),
            }
        }
        // Closed when nobody was told: nothing is owed to it.
        for (_, pull) in owed {
            self.follow_unlisted(repository, &pull).await?;
        }
        if lost || made > 0 {
            info!(repository = %repository.name, "access is back: {made} runs");
        }
        missing.map_or(Ok(made), |error| Err(error.into()))
    }

    /// `listed`: as a list of GitHub's had it, which may be minutes old; `untold`: what happened to it was
    /// perhaps told to nobody. True if a run was made.
    async fn resume_pull(
        &self,
        repository: &Repository,
        listed: &PullFacts,
        untold: bool,
    ) -> Result<bool, Failure> {
        let Some(ended) = self.own(repository, listed).await? else {
            if !untold || self.had_its_run(repository, listed).await? {
                return Ok(false);
            }
            return self.catch_up(repository, listed).await;
        };
        if !was_ended_by_loss(&ended) {
            return Ok(false);
        }
        let known = self.store.pull(repository.id, listed.number).await?;
        let Some(known) = known.filter(|known| same(&known.facts, listed)) else {
            // Pointed at another base, say, which no event told.
            return self.catch_up(repository, listed).await;
        };
        let pull = self.github.pull(repository, listed.number).await?;
        if !same(listed, &pull) {
            return Ok(false);
        }
        // Nothing is noted of it, so that nothing newer can be overwritten: seen with another head
        // meanwhile, it gets no run.
        let pusher = self.store.pusher(repository.id, pull.number, &pull.head_sha).await?;
        let of = (pusher.as_deref(), &pull.author);
        let run = self.own_run(repository, &pull, of, known.generation).await?;
        // The run that was ended has this cause already. Whoever tells us, and how often: it is resumed
        // once.
        let cause = format!("after-{}-{}", ended.id, run.cause);
        let made = self.store.create_run(NewRun { cause, ..run }).await?;
        Ok(matches!(made, Created::Fresh(_)))
    }

    /// Follows a pull request as by the events that nobody was told.
    async fn catch_up(&self, repository: &Repository, pull: &PullFacts) -> Result<bool, Failure> {
        let before = self.own(repository, pull).await?.map(|run| run.id);
        let followed = self.follow(repository, pull, PullAction::Reopened, &pull.author).await?;
        if let Handled::Later(_, why) = followed {
            warn!(repository = %repository.name, pull = pull.number, "not resumed: {why}");
        }
        let now = self.own(repository, pull).await?.map(|run| run.id);
        Ok(now != before)
    }

    /// The newest run that this head of a pull request got by itself.
    async fn own(&self, of: &Repository, pull: &PullFacts) -> Result<Option<Run>, StoreError> {
        let mut runs = self.store.runs_of_head(of.id, &pull.head_sha).await?;
        runs.retain(|run| run.pull == Some(pull.number) && run.trigger == Trigger::PullRequest);
        Ok(runs.pop())
    }

    /// Retention forgets runs, also of pull requests that stay open for long; that the head had one is
    /// kept.
    async fn had_its_run(
        &self,
        repository: &Repository,
        pull: &PullFacts,
    ) -> Result<bool, Failure> {
        let known = self.store.pull_known(repository.id, pull.number).await?;
        Ok(known.is_some_and(|known| known.own_head.as_ref() == Some(&pull.head_sha)))
    }

    /// The repository of an event, as it is known: what it was called then, and whose it was, may be
    /// over. Where the two differ, GitHub is asked which of them holds.
    pub(super) async fn as_known(&self, told: &Repository) -> Result<Repository, Failure> {
        let Some(known) = self.store.known_repository(told.id).await? else {
            return Ok(told.clone());
        };
        let known = Repository { private: known.private || told.private, ..known };
        if known.name == told.name && known.installation == told.installation {
            return Ok(known);
        }
        if told.private {
            // Before anything is asked that may fail.
            self.store.see(&known).await?;
        }
        let asked = BTreeSet::from([known.installation, told.installation]);
        let Some(now) = self.given(told.id, asked).await? else { return Ok(known) };
        if self.store.withdrawn().await?.contains(&now.id) && self.served.serves(&now.name) {
            self.regain(&now).await?;
        } else {
            self.store.restore(&now).await?;
        }
        Ok(now)
    }

    /// The repository itself changed.
    pub(super) async fn repository(
        &self,
        action: &str,
        told: &Repository,
    ) -> Result<Handled, Failure> {
        let name = &told.name;
        let mut known = self.store.repositories().await?.into_iter().map(|row| row.repository);
        let Some(known) = known.find(|known| known.id == told.id) else {
            return Ok(Handled::Ignored(format!("{name}: {action}, and nothing is known of it")));
        };
        if told.private {
            // Before anything is asked that may fail: nothing of it is shown to everybody.
            self.store.see(&Repository { private: true, ..known.clone() }).await?;
        }
        let asked = BTreeSet::from([known.installation, told.installation]);
        match action {
            "deleted" => return self.gone(told, (action, DELETED), asked).await,
            "archived" => return self.gone(told, (action, ARCHIVED), asked).await,
            _ => {}
        }
        // What it was called then, and whose it was, may be over; and by an event nothing is shown, or
        // written to, that is private or archived again.
        match self.given(told.id, asked).await? {
            Some(now) if action == "unarchived" && self.served.serves(&now.name) => {
                let resumed = self.regain(&now).await?;
                self.changed(&now, &format!("; {resumed} run(s) made")).await
            }
            Some(now) => {
                self.store.see(&now).await?;
                self.changed(&now, "").await
            }
            None => Ok(Handled::Ignored(format!("stale: the App is not given {name} now"))),
        }
    }

    /// It may have been told long ago, and delivered again.
    async fn gone(
        &self,
        told: &Repository,
        (action, why): (&str, &str),
        asked: BTreeSet<u64>,
    ) -> Result<Handled, Failure> {
        if self.given(told.id, asked).await?.is_some() {
            let name = &told.name;
            return Ok(Handled::Ignored(format!("{name}: {action} once, and it is there now")));
        }
        let (_, ended) = lose(&self.store, Withdrawn::Repository(told.id), why).await?;
        Ok(Handled::Done(format!("{why}: {ended} run(s) asked to end")))
    }

    /// The repository as one of these installations gives it to the App now, if one does. What GitHub
    /// does not say for now is no answer.
    pub(super) async fn given(
        &self,
        repository: u64,
        installations: BTreeSet<u64>,
    ) -> Result<Option<Repository>, GithubError> {
        for installation in installations {
            let given = match self.github.repositories(installation).await {
                // There is no such installation any more.
                Err(error) if error.is_missing() => continue,
                given => given?,
            };
            if let Some(now) = given.into_iter().find(|given| given.id == repository) {
                return Ok(Some(now));
            }
        }
        Ok(None)
    }

    /// It is called so now: is it still one that is served?
    async fn changed(&self, now: &Repository, more: &str) -> Result<Handled, Failure> {
        let name = &now.name;
        self.store.look_again(now.id).await?;
        if self.served.serves(name) {
            return Ok(Handled::Done(format!("the repository is {name} now{more}")));
        }
        let why = format!("the repository is {name} now, which is not in CHECKVALVE_REPOSITORIES");
        let ended = end_all(&self.store, now.id, &why).await?;
        Ok(Handled::Done(format!("{why}: {ended} run(s) asked to end")))
    }
}

/// The repositories of open pull requests whose own runs a loss of access ended, and that nobody has
/// resumed.
pub(super) async fn owed(store: &Store) -> Result<BTreeSet<u64>, StoreError> {
    let owed = pulls_owed(store, None).await?;
    Ok(owed.into_iter().map(|(repository, _)| repository).collect())
}

/// Those pull requests themselves, with their repositories' ids: of this repository, or of all.
async fn pulls_owed(
    store: &Store,
    repository: Option<u64>,
) -> Result<Vec<(u64, PullFacts)>, StoreError> {
    let ended = store.pulls_ended(repository).await?.into_iter();
    let by_loss = ended.filter(|(.., why)| LOSSES.contains(&why.as_str()));
    Ok(by_loss.map(|(repository, pull, _)| (repository, pull)).collect())
}

/// Also one that has only been asked to end, as its steps have not stopped yet. One that succeeded all
/// the same had nothing left to end.
fn was_ended_by_loss(run: &Run) -> bool {
    run.conclusion != Some(Conclusion::Success)
        && run.cancel.as_deref().is_some_and(|why| LOSSES.contains(&why))
}
