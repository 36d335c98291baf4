//! Runs of the default branch that nobody asks for: due at times that the repository file names.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::cron::Cron;
use super::rules::Selector;
use super::time::Timestamp;

/// An entry of `schedules:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    pub cron: Cron,
    /// Which connectors run, changed or not.
    pub select: Selector,
}

impl Schedule {
    /// Its name among those of a repository: the same as long as it says the same.
    pub fn key(&self) -> String {
        let digest = Sha256::digest(serde_json::to_vec(self).unwrap_or_default());
        hex::encode(digest)[..16].to_owned()
    }

    /// The time that it is due for: its last one, if that is after `last` (the one that was made a
    /// run of, or when the schedule was first seen). Times before it that were missed are gone.
    pub fn due(&self, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
        self.cron.last_due(now).filter(|due| *due > last)
    }

    /// The cause of the run for a due time.
    pub fn cause(&self, due: Timestamp) -> String {
        format!("schedule-{}-{due}", self.key())
    }
}

/// The due time of a schedule's run, by its cause.
pub fn due_of(cause: &str) -> Option<Timestamp> {
    let (_key, due) = cause.strip_prefix("schedule-")?.split_once('-')?;
    Timestamp::parse(due)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn nightly() -> Schedule {
        Schedule { cron: "0 2 * * *".parse().unwrap(), select: Selector::default() }
    }

    #[test]
    fn only_the_last_of_missed_times_is_made_up_for() {
        let time = |text: &str| Timestamp::parse(text).unwrap();
        let (made, now) = (time("2026-11-10T02:00:00Z"), time("2026-11-22T07:00:00Z"));
        let due = nightly().due(made, now).unwrap();
        assert_eq!(due, time("2026-11-22T02:00:00Z"));
        assert_eq!(nightly().due(due, now), None, "it is made once");
        // One that is new is not due for the past.
        assert_eq!(nightly().due(now, now.plus(Duration::from_hours(1))), None);
        assert_eq!(due_of(&nightly().cause(due)), Some(due));
        assert_eq!(due_of("comment-5"), None);
    }

    #[test]
    fn a_schedule_that_says_something_else_is_another_one() {
        let weekly = Schedule { cron: "0 2 * * 1".parse().unwrap(), ..nightly() };
        let select = Selector { kind: vec!["go".to_owned()], ..Selector::default() };
        let of_go = Schedule { select, ..nightly() };
        assert_eq!(nightly().key(), nightly().key());
        assert!(weekly.key() != nightly().key() && of_go.key() != nightly().key());
        let written = serde_json::to_string(&of_go).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&written).unwrap(), of_go);
    }
}
