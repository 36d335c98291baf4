//! GitHub's log of deliveries, compared with ours: what failed or is missing is asked for again.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Recovery;
use crate::ambient;
use crate::domain::recovery::{Attempt, AttemptEnd, missing, wait_after};
use crate::domain::time::Timestamp;
use crate::github::{GithubError, LogPage};
use crate::service::commands::Failure;
use crate::store::{LogMark, MissingRow};

/// Pages of a hundred that are read in one pass; the rest is read in the next.
const PAGES: u64 = 100;
/// What was under way at the last look is looked at again: GitHub waits ten seconds (an Enterprise
/// Server: thirty) for an answer, and may be late with what it writes down. As long as a pause,
/// within these bounds.
const OVERLAP: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(10));
const LONGEST_LOOK: Duration = Duration::from_hours(1);
/// Events that are asked for in one pass.
const ASKS: u32 = 200;
/// So many at once; then one after the other, within GitHub's 900 points a minute, of which one
/// takes five.
const BURST: usize = 20;
const PACE: Duration = Duration::from_millis(400);
/// Before how the last attempt failed.
const IN_VAIN: &str = "asked for in vain for three days: ";
/// So often in a row GitHub may fail at what it is asked for before it is taken to be away.
const FAILURES: u32 = 3;
/// The lease is renewed after so many pages or asks.
const RENEW: u64 = 20;

impl Recovery {
    /// Reads what is new in the log, and asks for what is missing. True if there is more to ask for.
    pub(super) async fn compare(&self, stop: &CancellationToken) -> Result<bool, Failure> {
        let unread = match self.read(stop).await {
            Err(Failure::Github(GithubError::NotFound { .. })) => {
                self.without_log();
                false
            }
            read => read?,
        };
        let came = self.intake.store.note_came().await?;
        if came > 0 {
            info!(deliveries = came, "deliveries that were missing have come");
        }
        Ok(self.ask(stop).await? || unread)
    }

    /// Said once, for nobody can do anything about it.
    fn without_log(&self) {
        let mut memory = self.memory();
        if !memory.no_log {
            memory.no_log = true;
            warn!(
                "this GitHub keeps no log of deliveries that an App can read (an older Enterprise \
                 Server): events that are lost are found by looking at open pull requests alone"
            );
        }
    }

    /// Reads the log from its newest entry back to where the last look began. A look that is not
    /// ended goes on with the next pass, also in another process: true then.
    async fn read(&self, stop: &CancellationToken) -> Result<bool, Failure> {
        let store = &self.intake.store;
        let mut seen = BTreeSet::new();
        let mut mark = store.log_mark().await?.map(begun_lately);
        for nth in 1..=PAGES {
            if stop.is_cancelled() || (nth % RENEW == 0 && !self.hold().await?) {
                return Ok(false);
            }
            let page = self.page(mark.as_ref()).await?;
            let window = page.now.before(self.intake.github.delivery_window());
            let mut known = match mark {
                Some(known) => known,
                None => store.begin_log(window, page.now).await?,
            };
            store.count_recovery_calls(1).await?;
            let began = known.reading.as_ref().map_or(page.now, |(began, _)| *began);
            let oldest = page.attempts.iter().map(|attempt| attempt.delivered_at).min();
            let pending = known.pending.into_iter();
            known.pending = pending.chain(under_way(&page.attempts, page.now)).min();
            let since = known.since.max(page.now.before(self.kept / 2));
            self.judge(page.attempts, since, &mut seen).await?;
            // Beyond that it was looked at, or is not delivered again.
            let end = known.read_to.max(window);
            let next = page.next.filter(|_| oldest.is_none_or(|oldest| oldest >= end));
            known.reading = next.map(|page| (began, page));
            if known.reading.is_none() {
                let read_to = began.before(self.every.clamp(OVERLAP.0, OVERLAP.1));
                // How it ends is yet to be seen.
                known.read_to = known.pending.take().map_or(read_to, |sent| read_to.min(sent));
            }
            store.set_log_mark(&known).await?;
            if known.reading.is_none() {
                return Ok(false);
            }
            mark = Some(known);
        }
        Ok(true)
    }

    /// The page that is next. One that GitHub does not know any more is not asked for again.
    async fn page(&self, mark: Option<&LogMark>) -> Result<LogPage, Failure> {
        let next = mark.and_then(|mark| mark.reading.as_ref()).map(|(_, page)| page.as_str());
        let page = self.intake.github.delivery_log(next).await;
        let gone = |error: &GithubError| {
            matches!(error, GithubError::Refused { .. } | GithubError::NotFound { .. })
        };
        match (page, mark) {
            (Err(error), Some(mark)) if next.is_some() && gone(&error) => {
                let anew = LogMark { reading: None, pending: None, ..mark.clone() };
                self.intake.store.set_log_mark(&anew).await?;
                debug!("the log is read anew: {error}");
                Ok(self.intake.github.delivery_log(None).await?)
            }
            (page, _) => Ok(page?),
        }
    }

    /// Notes what of a page never came.
    async fn judge(
        &self,
        attempts: Vec<Attempt>,
        since: Timestamp,
        seen: &mut BTreeSet<String>,
    ) -> Result<(), Failure> {
        let store = &self.intake.store;
        let guids: BTreeSet<&str> = attempts.iter().map(|attempt| attempt.guid.as_str()).collect();
        let held = store.held(&guids).await?;
        let missing = missing(attempts, &held, since, seen);
        if missing.is_empty() {
            return Ok(());
        }
        let noted = store.note_missing(&missing).await?;
        if noted > 0 {
            warn!(deliveries = noted, "GitHub could not deliver these; they are asked for again");
        }
        Ok(())
    }

    /// Asks for what is due; true if there is more of it.
    async fn ask(&self, stop: &CancellationToken) -> Result<bool, Failure> {
        let store = &self.intake.store;
        for missing in store.give_up_old(self.intake.github.delivery_window(), IN_VAIN).await? {
            said(&missing, missing.note.as_deref().unwrap_or(&missing.failure));
        }
        let due = store.due_missing(ASKS).await?;
        let more = due.len() == usize::try_from(ASKS).unwrap_or(usize::MAX);
        let mut failures = 0;
        for (nth, missing) in due.iter().enumerate() {
            if nth >= BURST && stop.run_until_cancelled(tokio::time::sleep(PACE)).await.is_none() {
                return Ok(false);
            }
            if nth > 0 && nth % BURST == 0 && !self.hold().await? {
                return Ok(false);
            }
            match self.ask_for(missing).await {
                // It may be this one alone: it must not keep the others from being asked for.
                Err(Failure::Github(error @ GithubError::Unavailable { .. })) => {
                    failures += 1;
                    warn!(github.delivery = missing.guid, "not asked for: {error}");
                    let wait = wait_after(missing.asked + 1, self.every);
                    store.note_asked(&missing.guid, wait).await?;
                    if failures >= FAILURES {
                        return Err(error.into());
                    }
                }
                asked => {
                    asked?;
                    failures = 0;
                }
            }
        }
        Ok(more)
    }

    async fn ask_for(&self, missing: &MissingRow) -> Result<(), Failure> {
        let store = &self.intake.store;
        let guid = &missing.guid;
        let asked = self.intake.github.redeliver(missing.attempt).await;
        store.count_recovery_calls(1).await?;
        match asked {
            Ok(()) => debug!(github.delivery = guid, "asked for again"),
            Err(GithubError::NotFound { .. }) => {
                return self.give_up(missing, "GitHub's log has it no more").await;
            }
            Err(error) if matches!(error, GithubError::Refused { .. }) => {
                return self.give_up(missing, &error.to_string()).await;
            }
            // GitHub wants to be left alone, say: the others would hear the same.
            Err(error) => return Err(error.into()),
        }
        Ok(store.note_asked(guid, wait_after(missing.asked + 1, self.every)).await?)
    }

    async fn give_up(&self, missing: &MissingRow, why: &str) -> Result<(), Failure> {
        said(missing, why);
        Ok(self.intake.store.give_up(&missing.guid, why).await?)
    }
}

fn said(given_up: &MissingRow, why: &str) {
    let MissingRow { guid, event, action, .. } = given_up;
    let action = action.as_deref().unwrap_or_default();
    warn!(
        github.delivery = guid,
        event,
        action,
        "a delivery is given up: {why}; `checkvalve deliveries handle {guid}` asks for it again"
    );
}

/// A look that was begun long ago is begun anew: what came since is worth more.
fn begun_lately(mark: LogMark) -> LogMark {
    let is_late = |(began, _): &(Timestamp, String)| ambient::now().since(*began) >= LONGEST_LOOK;
    if mark.reading.as_ref().is_none_or(is_late) {
        return LogMark { reading: None, pending: None, ..mark };
    }
    mark
}

/// When the oldest of these was sent that is still under way. One that stays so for an hour is not
/// looked for any more.
fn under_way(attempts: &[Attempt], now: Timestamp) -> Option<Timestamp> {
    let pending = attempts.iter().filter(|attempt| attempt.end == AttemptEnd::UnderWay);
    let lately = now.before(LONGEST_LOOK);
    pending.map(|attempt| attempt.delivered_at).filter(|sent| *sent >= lately).min()
}
