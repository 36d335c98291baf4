//! Comments of a repository that are newer than those that were looked at: a command whose event
//! never came, and that no log knows any more, is obeyed all the same.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Recovery;
use crate::ambient;
use crate::domain::recovery::{ListedComment, Unheard, WINDOW, patience, unheard, wait_after};
use crate::domain::run::Repository;
use crate::domain::time::Timestamp;
use crate::github::{CommentsPage, GithubError, Retry};
use crate::service::commands::{Commands, Failure};
use crate::store::{Handled, StoreError};

/// Pages of a hundred that are read in one look at a repository; the rest is read in the next.
const PAGES: u32 = 10;
/// GitHub says "after", and means "at or after": whichever it is, nothing of that second is missed.
const SECOND: Duration = Duration::from_secs(1);
/// At so many comments GitHub may fail in one look before it is taken to be away.
const FAILURES: usize = 3;
/// So often is tried what GitHub fails at, before it is given up with what is too old.
const MOST_TRIES: u32 = 8;

/// The last answer about a repository's comments, in which nothing was left to be done.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    since: Timestamp,
    tag: String,
}

/// A comment that was tried in vain, or is owed its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owed {
    tries: u32,
    /// Not before, by GitHub's clock: it must not keep what comes after it from being tried.
    due: Timestamp,
}

/// What may be tried in one look at a repository.
struct Left {
    commands: usize,
    failures: usize,
}

/// What came of a page.
struct Gone {
    /// All that was written before has been seen, and nothing of it is left.
    read_to: Timestamp,
    /// Where the next page begins.
    next: Timestamp,
    /// Nothing of it is left for the next look.
    all: bool,
    /// What comes after it may be looked at now.
    on: bool,
}

impl Recovery {
    /// Looks at what was said in a repository since the last look. At the first one there is nothing to
    /// be obeyed: it was said to others. `commands`: how many may be tried in this look.
    pub(super) async fn hear(
        &self,
        repository: &Repository,
        commands: usize,
        stop: &CancellationToken,
    ) -> Result<(), Failure> {
        let store = &self.intake.store;
        let Some(read_to) = store.comments_read_to(repository.id).await? else {
            let page = self.comments(repository, ambient::now(), None).await?;
            let now = page.map_or_else(ambient::now, |page| page.now);
            return Ok(store.read_comments_to(repository.id, now).await?);
        };
        let mut left = Left { commands, failures: FAILURES };
        // What is older may have been obeyed, and forgotten.
        let mut from = read_to.max(ambient::now().before(self.kept / 2));
        // What is left behind keeps the mark where it is, and nothing else from being done.
        let mut all = true;
        for _ in 0..PAGES {
            if stop.is_cancelled() || !self.hold().await? {
                return Ok(());
            }
            let since = from.before(SECOND);
            let known = self.memory().heard.get(&repository.id).cloned();
            let known = known.filter(|heard| heard.since == since).map(|heard| heard.tag);
            let Some(page) = self.comments(repository, since, known.as_deref()).await? else {
                return Ok(());
            };
            let gone = self.hear_page(repository, (&page, from), &mut left).await?;
            if all {
                store.read_comments_to(repository.id, gone.read_to).await?;
            }
            all &= gone.all;
            let moves = gone.next > from;
            from = gone.next;
            if !(page.more && moves && gone.on) {
                let heard = page.tag.filter(|_| all && !page.more);
                self.remember(repository, heard.map(|tag| Heard { since, tag }));
                return Ok(());
            }
        }
        Ok(())
    }

    async fn comments(
        &self,
        repository: &Repository,
        since: Timestamp,
        tag: Option<&str>,
    ) -> Result<Option<CommentsPage>, Failure> {
        let page = self.intake.github.comments_since(repository, since, tag).await;
        self.intake.store.count_recovery_calls(1).await?;
        Ok(page?)
    }

    fn remember(&self, repository: &Repository, heard: Option<Heard>) {
        let mut memory = self.memory();
        match heard {
            Some(heard) => memory.heard.insert(repository.id, heard),
            None => memory.heard.remove(&repository.id),
        };
    }

    /// Obeys what is to be obeyed. What is left keeps the mark where it is: the next look begins there.
    async fn hear_page(
        &self,
        repository: &Repository,
        (page, from): (&CommentsPage, Timestamp),
        left: &mut Left,
    ) -> Result<Gone, Failure> {
        let seen = page.now.before(patience(self.every));
        let mut gone = Gone { read_to: from, next: from, all: true, on: true };
        for comment in &page.comments {
            match unheard(comment, (page.now, self.every)) {
                Unheard::Nothing => {}
                Unheard::Command if left.commands > 0 => {
                    gone.all &= self.obey(repository, comment, (page.now, &mut *left)).await?;
                }
                // What comes after it is as fresh, or would be too much for one look as well.
                Unheard::Perhaps | Unheard::Command => (gone.all, gone.on) = (false, false),
            }
            gone.next = gone.next.max(comment.updated_at.min(seen));
            if gone.all {
                gone.read_to = gone.next;
            }
        }
        // More of one second than a page holds, as of comments that were imported.
        let stands = gone.on && page.more && gone.next == from && from < seen;
        // A repository in which nobody says anything: before that is too long ago.
        if gone.all && !page.more && from < page.now.before(self.kept / 4) {
            gone.next = gone.next.max(seen);
        }
        if stands {
            gone.next = from.plus(SECOND);
        }
        if gone.all {
            gone.read_to = gone.next;
        }
        Ok(gone)
    }

    /// Obeys a comment unless it was; false if it is to be tried again. Whichever comes first, its event
    /// or we: it is done once, by its number.
    async fn obey(
        &self,
        repository: &Repository,
        comment: &ListedComment,
        (now, left): (Timestamp, &mut Left),
    ) -> Result<bool, Failure> {
        let Some(pull) = comment.pull else { return Ok(true) };
        let ListedComment { id, author, body, written_at, .. } = comment;
        let key = (repository.id, *id);
        if self.intake.store.is_settled(repository.id, *id).await? {
            self.memory().owed.remove(&key);
            return Ok(true);
        }
        if self.memory().owed.get(&key).is_some_and(|owed| now < owed.due) {
            return Ok(false);
        }
        left.commands -= 1;
        match self.is_closed(repository, pull).await {
            // To be told so is of no use by now.
            Ok(true) => {
                self.memory().owed.remove(&key);
                return Ok(true);
            }
            Ok(false) => {}
            Err(failure) => return self.in_vain(key, (now.since(*written_at), now, left), failure),
        }
        let commands =
            Commands { store: &self.intake.store, github: &self.intake.github, repository };
        let obeyed = commands.comment(pull, *id, (author, Some(*written_at)), body).await;
        let name = &repository.name;
        match obeyed {
            Ok(Handled::Done(done)) => {
                info!(repository = %name, pull, comment = id, "no event told of it: {done}");
            }
            Ok(Handled::Ignored(_) | Handled::Refused(_)) => {}
            // Somebody else has it in hand.
            Ok(Handled::Later(..) | Handled::GivesWay(_) | Handled::Held(_))
            | Err(Failure::Store(StoreError::LeaseLost)) => {
                return Ok(false);
            }
            Err(failure) => {
                match &failure {
                    Failure::Budget(_) | Failure::Unsure(_) => {
                        debug!(comment = id, "its answer is put off: {failure}");
                    }
                    Failure::Github(_) | Failure::Store(_) => {
                        warn!(repository = %name, pull, comment = id, "a command is not obeyed: {failure}");
                    }
                }
                return self.in_vain(key, (now.since(*written_at), now, left), failure);
            }
        }
        self.memory().owed.remove(&key);
        Ok(true)
    }

    /// That it was reopened we may not have heard either: GitHub says what it is.
    async fn is_closed(&self, repository: &Repository, pull: u64) -> Result<bool, Failure> {
        let known = self.intake.store.pull(repository.id, pull).await?;
        if known.is_none_or(|known| known.facts.open) {
            return Ok(false);
        }
        Ok(!self.intake.github.pull(repository, pull).await?.open)
    }

    /// False if a comment of this age is to be tried again, later: what stands in its way may be its own.
    fn in_vain(
        &self,
        comment: (u64, u64),
        (age, now, left): (Duration, Timestamp, &mut Left),
        failure: Failure,
    ) -> Result<bool, Failure> {
        let tries = self.memory().owed.get(&comment).map_or(1, |owed| owed.tries + 1);
        let mut pause = wait_after(tries, self.every);
        let is_over = match &failure {
            Failure::Github(error) if error.retry() == Retry::Never => !is_tried_again(error, age),
            // It is done, and the answer is owed.
            Failure::Budget(wait) | Failure::Unsure(wait) => {
                pause = *wait;
                false
            }
            Failure::Github(GithubError::Unavailable { .. } | GithubError::Unknown { .. })
                if left.failures > 0 =>
            {
                left.failures -= 1;
                age >= WINDOW && tries >= MOST_TRIES
            }
            // GitHub is away, or our database: the others would hear the same.
            Failure::Github(_) | Failure::Store(_) => return Err(failure),
        };
        let mut memory = self.memory();
        if is_over {
            memory.owed.remove(&comment);
        } else {
            // Of those that were deleted nobody hears any more.
            memory.owed.retain(|_, owed| now < owed.due.plus(WINDOW));
            memory.owed.insert(comment, Owed { tries, due: now.plus(pause) });
        }
        Ok(is_over)
    }
}

/// What can be mended is, or it has been for as long as GitHub would deliver an event again.
fn is_tried_again(error: &GithubError, age: Duration) -> bool {
    error.may_be_mended() && age < WINDOW
}
