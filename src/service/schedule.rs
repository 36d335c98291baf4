//! Runs that nobody asks for: the default branches' schedules, read from their repository files and
//! made runs of when they are due. One process at a time does it; should two, a due time is taken once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{debug, info, warn};

use super::branches::of_branch;
use super::commands::Failure;
use super::installations::{lose, owed};
use super::intake::Intake;
use super::planning::{self, PlanningError};
use super::source::{SourceError, Sources};
use crate::config::server::Served;
use crate::domain::ids::WorkerId;
use crate::domain::run::Repository;
use crate::domain::schedule::Schedule;
use crate::domain::time::Timestamp;
use crate::domain::trigger::{Scope, Trigger};
use crate::github::{Github, GithubError, Retry, in_background};
use crate::store::{Branch, DueTime, Store, StoreError, Withdrawn};

/// How often the loop looks at the clock.
pub const PERIOD: Duration = Duration::from_secs(15);
/// How long one process does it; looking at all branches takes less.
const TERM: Duration = Duration::from_mins(2);
/// A push is told by an event; this is for events that never came.
const LOOK_EVERY: Duration = Duration::from_mins(30);
/// After a look that failed, and again twice as long after each further one, up to [`LOOK_EVERY`].
const LOOK_SOON: Duration = Duration::from_mins(1);
/// How often GitHub is asked where the App is installed.
const LIST_EVERY: Duration = Duration::from_hours(1);
/// When they are listed again where that could not be done for all.
const LIST_AGAIN: Duration = Duration::from_mins(10);
/// The first time after a start, which is busy enough; and after a look that failed.
const LIST_FIRST: Duration = Duration::from_mins(1);

/// Why runs of a repository end that the App is not given any more.
pub(super) const NOT_GIVEN: &str = "the App has no access to the repository any more";

/// Makes runs of schedules.
#[derive(Clone)]
pub struct Scheduler {
    pub store: Store,
    pub github: Arc<Github>,
    pub sources: Sources,
    pub served: Arc<Served>,
    pub worker: WorkerId,
    pub pauses: Arc<Mutex<Pauses>>,
}

/// What this process leaves alone for a while.
#[derive(Debug, Default)]
pub struct Pauses {
    /// When the App's installations are listed next.
    list_at: Option<Timestamp>,
    /// Repositories that could not be looked at: until when, and how long that was.
    looks: BTreeMap<u64, (Timestamp, Duration)>,
}

impl Scheduler {
    /// Makes the runs that are due at `now`.
    pub async fn pass(&self, now: Timestamp) -> anyhow::Result<bool> {
        in_background(Box::pin(self.go_round(now))).await
    }

    async fn go_round(&self, now: Timestamp) -> anyhow::Result<bool> {
        if !self.store.hold("schedules", self.worker, TERM).await? {
            return Ok(false);
        }
        if self.is_to_list(now)
            && let Err(error) = self.list().await
        {
            // What was left undone is not left for an hour.
            self.pauses().list_at = Some(now.plus(LIST_AGAIN));
            warn!("where the App is installed could not be listed: {error}");
        }
        let withdrawn: BTreeSet<u64> = self.store.withdrawn().await?.into_iter().collect();
        let known = self.store.branches().await?.into_iter();
        let mut known: BTreeMap<u64, Branch> =
            known.map(|branch| (branch.repository, branch)).collect();
        for row in self.store.repositories().await? {
            let repository = row.repository;
            if withdrawn.contains(&repository.id) || !self.served.serves(&repository.name) {
                continue;
            }
            let branch = known.remove(&repository.id);
            if self.rests(repository.id, now) {
                continue;
            }
            // One repository that can't be read must not keep the others from their runs.
            match self.follow(&repository, branch, now).await {
                Ok(()) => drop(self.pauses().looks.remove(&repository.id)),
                Err(error) => {
                    let wait = self.rest(repository.id, now);
                    let name = &repository.name;
                    warn!(repository = %name, "not looked at for {wait:?}: {error}");
                }
            }
        }
        Ok(false)
    }

    fn is_to_list(&self, now: Timestamp) -> bool {
        let mut pauses = self.pauses();
        let next = &mut pauses.list_at;
        let due = next.is_some_and(|next| next <= now);
        if due || next.is_none() {
            *next = Some(now.plus(if due { LIST_EVERY } else { LIST_FIRST }));
        }
        due
    }

    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rests(&self, repository: u64, now: Timestamp) -> bool {
        self.pauses().looks.get(&repository).is_some_and(|(until, _)| now < *until)
    }

    fn rest(&self, repository: u64, now: Timestamp) -> Duration {
        let mut pauses = self.pauses();
        let last = pauses.looks.get(&repository).map(|(_, last)| *last);
        let wait = last.map_or(LOOK_SOON, |last| (last * 2).min(LOOK_EVERY));
        pauses.looks.insert(repository, (now.plus(wait), wait));
        wait
    }

    /// Asks GitHub which repositories the App has: new ones, new names, those that are back, and those
    /// that are gone, should the events that told so have been lost.
    pub async fn list(&self) -> Result<(), ScheduleError> {
        let (mut there, mut unread, mut failed) = (BTreeSet::new(), BTreeSet::new(), None);
        // What comes while they are listed is not missed in what was listed before.
        let known = self.store.repositories().await?;
        let owed = owed(&self.store).await?;
        for installation in self.github.installations().await? {
            let given = match self.github.repositories(installation).await {
                Ok(given) => given,
                // One that can't be read must not keep the others from being listed.
                Err(error) => {
                    warn!(installation, "its repositories could not be listed: {error}");
                    unread.insert(installation);
                    failed = Some(error.into());
                    continue;
                }
            };
            let withdrawn: BTreeSet<u64> = self.store.withdrawn().await?.into_iter().collect();
            for repository in given {
                if !self.served.serves(&repository.name) {
                    continue;
                }
                there.insert(repository.id);
                let (id, withdrawn) = (repository.id, withdrawn.contains(&repository.id));
                // What it is owed is looked at again, and must not keep the others from coming back.
                if let Err(error) = self.take(&repository, withdrawn, owed.contains(&id)).await? {
                    failed = Some(error);
                }
            }
        }
        let withdrawn: BTreeSet<u64> = self.store.withdrawn().await?.into_iter().collect();
        let is_missed = |repository: &Repository| {
            let is_listed = there.contains(&repository.id) || withdrawn.contains(&repository.id);
            let is_read = !unread.contains(&repository.installation);
            is_read && !is_listed && self.served.serves(&repository.name)
        };
        for repository in known.into_iter().map(|row| row.repository).filter(is_missed) {
            match self.is_lost(&repository).await {
                Ok(true) => {
                    lose(&self.store, Withdrawn::Repository(repository.id), NOT_GIVEN).await?;
                }
                Ok(false) => {}
                Err(error) => {
                    warn!(repository = %repository.name, "is it given to the App? {error}");
                    failed = Some(error);
                }
            }
        }
        Ok(failed.map_or(Ok(()), Err)?)
    }

    /// Of one that was not listed: it may have come back since, or moved to an installation that was
    /// listed before.
    async fn is_lost(&self, before: &Repository) -> Result<bool, Failure> {
        let now = self.store.known_repository(before.id).await?;
        if now.is_none_or(|now| now.installation != before.installation) {
            return Ok(false);
        }
        if !self.github.installations().await?.contains(&before.installation) {
            return Ok(true);
        }
        let asked = BTreeSet::from([before.installation]);
        Ok(self.intake().given(before.id, asked).await?.is_none())
    }

    /// Takes a repository as GitHub lists it, and resumes what it is owed; answers why that is to be tried
    /// again soon.
    async fn take(
        &self,
        repository: &Repository,
        is_withdrawn: bool,
        is_owed: bool,
    ) -> Result<Result<(), Failure>, StoreError> {
        if !is_withdrawn {
            // First: its name, and whether it is private, do not wait for what it is owed.
            self.store.restore(repository).await?;
        }
        if !is_withdrawn && !is_owed {
            return Ok(Ok(()));
        }
        let Err(error) = Box::pin(self.intake().regain(repository)).await else {
            return Ok(Ok(()));
        };
        warn!(repository = %repository.name, "what it is owed is not resumed: {error}");
        // What somebody has to mend waits for the next list: this one's work is done.
        let is_soon = is_withdrawn || !is_for_somebody(&error);
        Ok(if is_soon { Err(error) } else { Ok(()) })
    }

    /// What does what an event would have done.
    fn intake(&self) -> Intake {
        let Self { store, github, served, .. } = self;
        Intake { store: store.clone(), github: github.clone(), served: served.clone() }
    }

    async fn follow(
        &self,
        repository: &Repository,
        branch: Option<Branch>,
        now: Timestamp,
    ) -> Result<(), ScheduleError> {
        let stale = branch.as_ref().is_none_or(|branch| branch.look_at <= now);
        let due = match &branch {
            Some(branch) => self.due(branch, now).await?,
            None => Vec::new(),
        };
        if !stale && due.is_empty() {
            return Ok(());
        }
        let branch = self.look(repository, branch.as_ref(), now).await?;
        // What the file says now counts, and what it said when it was looked at last does not.
        for (schedule, due) in self.due(&branch, now).await? {
            self.make(repository, &branch, &schedule, due).await?;
        }
        Ok(())
    }

    async fn due(
        &self,
        branch: &Branch,
        now: Timestamp,
    ) -> Result<Vec<(Schedule, Timestamp)>, StoreError> {
        if branch.schedules.is_empty() {
            return Ok(Vec::new());
        }
        let last = self.store.last_due(branch.repository).await?;
        let due = |schedule: &Schedule| {
            let last = last.get(&schedule.key()).copied()?;
            Some((schedule.clone(), schedule.due(last, now)?))
        };
        Ok(branch.schedules.iter().filter_map(due).collect())
    }

    /// Looks where the default branch is, and reads its file if it has moved.
    async fn look(
        &self,
        repository: &Repository,
        known: Option<&Branch>,
        now: Timestamp,
    ) -> Result<Branch, ScheduleError> {
        let (name, head) = self.sources.default_branch(repository).await?;
        let (schedules, problem) = match known {
            Some(known) if known.head == head => (known.schedules.clone(), known.problem.clone()),
            known => {
                let commits = std::slice::from_ref(&head);
                let repo = self.sources.with_commits(repository, commits).await?;
                match Box::pin(planning::schedules(&repo, &head)).await? {
                    Ok(schedules) => (schedules, None),
                    // A slip does not end what ran every night: its runs fail, and say the line.
                    Err(problem) => {
                        warn!(repository = %repository.name, "schedules: {problem}");
                        (known.map(|k| k.schedules.clone()).unwrap_or_default(), Some(problem))
                    }
                }
            }
        };
        let count = schedules.len();
        debug!(repository = %repository.name, %head, "{count} schedules");
        let look_at = now.plus(LOOK_EVERY);
        let branch = Branch { repository: repository.id, name, head, schedules, problem, look_at };
        self.store.note_branch(&branch, now).await?;
        Ok(branch)
    }

    async fn make(
        &self,
        repository: &Repository,
        branch: &Branch,
        schedule: &Schedule,
        due: Timestamp,
    ) -> Result<(), StoreError> {
        let run = crate::store::NewRun {
            title: format!("Schedule {}", schedule.cron),
            trigger: Trigger::Schedule,
            cause: schedule.cause(due),
            actor: schedule.cron.to_string(),
            scope: Scope::Matching { select: schedule.select.clone() },
            ..of_branch(repository, &branch.name, (&branch.head, &branch.head))
        };
        let key = schedule.key();
        let at = DueTime { schedule: &key, at: due };
        if let Some(run) = self.store.create_due_run(run, at).await? {
            info!(%run, repository = %repository.name, "due at {due}: {}", schedule.cron);
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error(transparent)]
    Github(#[from] GithubError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Planning(#[from] PlanningError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no room in GitHub's limits for another {} s", .0.as_secs())]
    Budget(Duration),
}

impl From<Failure> for ScheduleError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Budget(after) | Failure::Unsure(after) => Self::Budget(after),
            Failure::Github(error) => Self::Github(error),
            Failure::Store(error) => Self::Store(error),
        }
    }
}

/// Does nothing help but that somebody mends a setting?
fn is_for_somebody(failure: &Failure) -> bool {
    matches!(failure, Failure::Github(error) if error.retry() == Retry::Never)
}

/// How late a schedule's run was made, where that wants a word.
pub(super) fn lateness(cause: &str, made: Timestamp) -> Option<String> {
    const SOON: Duration = Duration::from_mins(5);
    let due = crate::domain::schedule::due_of(cause)?;
    let late = made.since(due);
    (late > SOON).then(|| {
        format!(
            "It was due at {due} and is {} late: no server was there, or GitHub was not to be \
             reached. Due times before that one, if any were missed, are not made up for.",
            crate::domain::time::human(late)
        )
    })
}
