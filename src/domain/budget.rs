//! What may be written to GitHub, and when: one budget for an installation, whoever spends it.
//!
//! GitHub asks for a second between writes and sets secondary limits: 900 points a minute for an
//! endpoint (a write is 5), about 80 new contents a minute and 500 an hour, 100 requests at once
//! ("Rate limits for the REST API", "Best practices for using the REST API"). Here are 20 writes at
//! once, then one a second, and fewer new check runs than GitHub allows, so that comments and other
//! clocks have room. A minute's writes are 80 then, 400 points of any endpoint.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Writes at once, after a rest.
pub const BURST: u32 = 20;
/// A write every so many milliseconds afterwards.
const PACE: i64 = 1_000;
/// New check runs in a minute: GitHub's 80, less what calls may be late by.
pub const MADE_A_MINUTE: u32 = 75;
/// New check runs in an hour, of GitHub's 500.
pub const MADE_AN_HOUR: u32 = 450;
/// Of these, what only `checkvalve` itself may use: it is what a merge waits for.
pub const HEADS_OWN: u32 = 50;
/// Of the writes at once, what only `checkvalve` may use: its verdict waits for nobody's details.
const VERDICTS_OWN: i64 = 2;
/// What is left for others by a write that says nothing new yet: a queued step. What happens
/// meanwhile makes many of them needless.
const NEWS_OWN: i64 = 8;
/// Who was refused, and has not asked again for so long, does not wait any more.
const WAITS: i64 = 10_000;

const _: () = assert!(BURST as i64 + 60_000 / PACE <= 80 && HEADS_OWN < MADE_AN_HOUR);

/// What a write is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    pub repository: u64,
    pub urgency: Urgency,
    /// Does it make a check run, or change one?
    pub makes: bool,
}

/// What a write is allowed to use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// `checkvalve` appears, or gets its verdict.
    First,
    /// Something has happened.
    News,
    /// Nothing has happened yet.
    Queued,
}

/// How much of its budget an installation has used, by the database's clock.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// When all that was written is paid for, at a write every [`PACE`].
    paid_at: i64,
    /// The same for each repository's part, while several want to write.
    parts: BTreeMap<u64, i64>,
    /// Repositories that were refused, and until when they count.
    waiting: BTreeMap<u64, i64>,
    /// New check runs by five seconds of the last minute, and by minutes of the last hour.
    minute: BTreeMap<i64, u32>,
    hour: BTreeMap<i64, u32>,
}

/// A time over which new check runs are counted.
#[derive(Clone, Copy)]
struct Window {
    /// The width of a bin: what is in one leaves together, rather late than early.
    bin: i64,
    span: i64,
}

const MINUTE: Window = Window { bin: 5_000, span: 60_000 };
const HOUR: Window = Window { bin: 60_000, span: 3_600_000 };

impl Window {
    /// When a bin has left the window.
    fn leaves(self, bin: i64) -> i64 {
        (bin + 1) * self.bin + self.span
    }

    /// Drops what has left; and what a clock that was set back put into the future.
    fn tidy(self, bins: &mut BTreeMap<i64, u32>, now: i64) {
        bins.retain(|bin, _| self.leaves(*bin) > now && *bin <= now / self.bin);
    }

    fn counted(self, bins: &BTreeMap<i64, u32>, now: i64) -> u32 {
        let inside = bins.iter().filter(|(bin, _)| self.leaves(**bin) > now);
        inside.map(|(_, made)| *made).sum()
    }

    /// How long until fewer than `limit` are counted.
    fn wait(self, bins: &BTreeMap<i64, u32>, limit: u32, now: i64) -> i64 {
        let mut counted = self.counted(bins, now);
        let mut wait = 0;
        for (bin, made) in bins {
            if counted < limit {
                break;
            }
            if self.leaves(*bin) > now {
                counted -= made;
                wait = self.leaves(*bin) - now;
            }
        }
        wait
    }
}

impl Budget {
    /// Takes a write, or says how long it has to wait.
    pub fn take(&mut self, write: Write, now: Timestamp) -> Result<(), Duration> {
        let now = now.as_millis();
        self.tidy(now);
        let others = self.waiting.keys().filter(|other| **other != write.repository).count();
        let repositories = 1 + i64::try_from(others).unwrap_or(i64::MAX - 1);
        let (pace, burst) = (PACE.saturating_mul(repositories), i64::from(BURST) * PACE);
        let part = self.parts.get(&write.repository).copied().unwrap_or(now).max(now);
        let first = write.urgency == Urgency::First;
        let kept = PACE
            * match write.urgency {
                Urgency::First => 0,
                Urgency::News => VERDICTS_OWN,
                Urgency::Queued => NEWS_OWN,
            };
        let mut wait = self.paid_at.max(now) + PACE + kept - now - burst;
        if !first && repositories > 1 {
            wait = wait.max(part + pace - now - burst);
        }
        if write.makes {
            let hour = if first { MADE_AN_HOUR } else { MADE_AN_HOUR - HEADS_OWN };
            wait = wait.max(MINUTE.wait(&self.minute, MADE_A_MINUTE, now));
            wait = wait.max(HOUR.wait(&self.hour, hour, now));
        }
        if wait > 0 {
            self.waiting.insert(write.repository, now + WAITS);
            return Err(Duration::from_millis(wait.unsigned_abs()));
        }
        self.parts.insert(write.repository, part + pace);
        self.spend(write.makes, now);
        Ok(())
    }

    /// Counts what was written without asking: a comment, a reaction.
    pub fn count(&mut self, now: Timestamp) {
        self.tidy(now.as_millis());
        self.spend(true, now.as_millis());
    }

    fn spend(&mut self, makes: bool, now: i64) {
        self.paid_at = self.paid_at.max(now) + PACE;
        if makes {
            *self.minute.entry(now / MINUTE.bin).or_default() += 1;
            *self.hour.entry(now / HOUR.bin).or_default() += 1;
        }
    }

    /// Nothing of this repository waits any more.
    pub fn is_content(&mut self, repository: u64) {
        self.waiting.remove(&repository);
    }

    /// How many new check runs the hour still has for connectors and steps.
    pub fn left(&self, now: Timestamp) -> u32 {
        (MADE_AN_HOUR - HEADS_OWN).saturating_sub(HOUR.counted(&self.hour, now.as_millis()))
    }

    /// How many writes could be made at once.
    pub fn spare(&self, now: Timestamp) -> u32 {
        let unpaid = (self.paid_at - now.as_millis()).max(0);
        BURST.saturating_sub(u32::try_from((unpaid + PACE - 1) / PACE).unwrap_or(u32::MAX))
    }

    fn tidy(&mut self, now: i64) {
        MINUTE.tidy(&mut self.minute, now);
        HOUR.tidy(&mut self.hour, now);
        self.waiting.retain(|_, until| *until > now && *until <= now + WAITS);
        self.parts.retain(|_, paid_at| *paid_at > now);
        // A clock that was set back must not close the budget for as long.
        let most = now + i64::from(BURST) * PACE;
        self.paid_at = self.paid_at.min(most);
        for paid_at in self.parts.values_mut() {
            *paid_at = (*paid_at).min(most);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: i64 = 1_700_000_000_123;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(START + millis)
    }

    fn makes(repository: u64) -> Write {
        Write { repository, urgency: Urgency::News, makes: true }
    }

    fn changes(repository: u64) -> Write {
        Write { makes: false, ..makes(repository) }
    }

    fn makes_or_changes(makes: bool) -> Write {
        Write { makes, ..changes(1) }
    }

    fn verdict(repository: u64) -> Write {
        Write { urgency: Urgency::First, ..changes(repository) }
    }

    #[test]
    fn twenty_at_once_then_one_a_second_and_verdicts_do_not_wait() {
        let mut budget = Budget::default();
        assert_eq!(budget.spare(at(0)), 20);
        for _ in 0..18 {
            budget.take(changes(1), at(0)).unwrap();
        }
        assert_eq!(budget.take(changes(1), at(0)), Err(Duration::from_secs(1)));
        budget.take(verdict(1), at(0)).unwrap();
        budget.take(verdict(2), at(0)).unwrap();
        assert_eq!(budget.take(verdict(2), at(0)), Err(Duration::from_secs(1)));
        assert_eq!(budget.spare(at(0)), 0);
        assert_eq!(budget.take(changes(1), at(2_999)), Err(Duration::from_millis(1)));
        budget.take(changes(1), at(3_000)).unwrap();
    }

    #[test]
    fn what_has_not_happened_yet_leaves_room_for_what_does() {
        let mut budget = Budget::default();
        let queued = Write { urgency: Urgency::Queued, ..makes(1) };
        for _ in 0..12 {
            budget.take(queued, at(0)).unwrap();
        }
        assert_eq!(budget.take(queued, at(0)), Err(Duration::from_secs(1)));
        for _ in 0..6 {
            budget.take(makes(1), at(0)).unwrap();
        }
        assert_eq!(budget.take(queued, at(0)), Err(Duration::from_secs(7)));
    }

    #[test]
    fn the_last_check_runs_of_an_hour_are_for_checkvalve() {
        let mut budget = Budget::default();
        let (mut now, mut made) = (0, 0);
        while budget.left(at(now)) > 0 {
            match budget.take(makes(1), at(now)) {
                Ok(()) => made += 1,
                Err(wait) => now += i64::try_from(wait.as_millis()).unwrap(),
            }
        }
        assert_eq!((made, now < 400_000), (400, true), "{now} ms");
        let wait = budget.take(makes(1), at(now + 20_000)).unwrap_err();
        assert!(wait > Duration::from_mins(50), "{wait:?}");
        for _ in 0..20 {
            budget.take(Write { urgency: Urgency::First, ..makes(1) }, at(now + 60_000)).unwrap();
        }
        budget.take(changes(1), at(now + 100_000)).unwrap();
        assert!(budget.left(at(3_600_000 + 61_000)) >= 20);
    }

    #[test]
    fn a_repository_that_wants_much_leaves_half_to_another_one() {
        let mut budget = Budget::default();
        let mut made = BTreeMap::from([(1, 0), (2, 0)]);
        for second in 0..600 {
            // Ten heads of one repository ask for each of the other's.
            for repository in [1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1] {
                if budget.take(changes(repository), at(second * 1_000)).is_ok() {
                    *made.get_mut(&repository).unwrap() += 1;
                }
            }
        }
        assert!((made[&1] + made[&2]) >= 600, "{made:?}");
        assert!(made[&2] >= 280 && made[&1] >= 280, "{made:?}");
    }

    #[test]
    fn who_wants_nothing_costs_the_others_nothing() {
        let mut budget = Budget::default();
        let mut made = 0;
        for second in 0..100 {
            made += u32::from(budget.take(changes(1), at(second * 1_000)).is_ok());
            if second % 20 == 0 {
                let _ = budget.take(changes(2), at(second * 1_000));
                budget.is_content(2);
            }
        }
        assert!(made >= 95, "{made}");
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_close_it() {
        let mut budget = Budget::default();
        while budget.take(makes(1), at(7_200_000)).is_ok() {}
        assert!(budget.take(makes(1), at(0)).unwrap_err() <= Duration::from_secs(3));
        budget.take(makes(1), at(3_000)).unwrap();
    }

    #[test]
    fn it_is_stored_and_read_back() {
        let mut budget = Budget::default();
        while budget.take(makes(1), at(0)).is_ok() {}
        let text = serde_json::to_string(&budget).unwrap();
        assert_eq!(serde_json::from_str::<Budget>(&text).unwrap(), budget);
        assert_eq!(serde_json::from_str::<Budget>("{}").unwrap(), Budget::default());
    }

    proptest! {
        /// Whatever is asked for when: no minute has more than 80 writes and 75 new check runs, no
        /// hour more than 450.
        #[test]
        fn githubs_limits_are_kept(
            asked in proptest::collection::vec((0_i64..3_000, 1_u64..4, any::<bool>(), any::<bool>()), 1..1500),
        ) {
            let mut budget = Budget::default();
            let mut now = 0;
            let (mut writes, mut made) = (Vec::new(), Vec::new());
            for (later, repository, first, makes) in asked {
                now += later;
                let urgency = if first { Urgency::First } else { Urgency::Queued };
                if budget.take(Write { repository, urgency, makes }, at(now)).is_ok() {
                    writes.push(now);
                    if makes {
                        made.push(now);
                    }
                }
            }
            let most = |times: &[i64], span: i64| {
                let until = |from: &i64| times.partition_point(|at| at - from <= span);
                let within = times.iter().enumerate().map(|(nth, from)| until(from) - nth);
                within.max().unwrap_or(0)
            };
            prop_assert!(most(&writes, 59_999) <= 80);
            prop_assert!(most(&made, 60_000) <= 75);
            prop_assert!(most(&made, 3_600_000) <= 450);
        }

        /// Whoever waits as long as it is told gets its write, if nobody else comes.
        #[test]
        fn a_wait_is_true(before in 0_usize..600, makes in any::<bool>()) {
            let mut budget = Budget::default();
            let write = makes_or_changes(makes);
            for _ in 0..before {
                let _ = budget.take(write, at(0));
            }
            if let Err(wait) = budget.take(write, at(0)) {
                let later = i64::try_from(wait.as_millis()).unwrap();
                prop_assert!(budget.take(write, at(later - 1)).is_err());
                prop_assert!(budget.take(write, at(later)).is_ok());
            }
        }
    }
}
