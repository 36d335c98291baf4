//! What may be written to GitHub, and when: one budget for an installation, whoever spends it.
//!
//! GitHub asks for a second between writes and sets secondary limits: 900 points a minute for an
//! endpoint (a write is 5), about 80 new contents a minute and 500 an hour, 100 requests at once
//! ("Rate limits for the REST API", "Best practices for using the REST API"). Here are 20 writes at
//! once, then one a second, and fewer new check runs than GitHub allows, so that comments and other
//! clocks have room. A minute's writes are 80 then, 400 points of any endpoint.
//!
//! An hour's new contents are 450. Details may have 400 of them, answers to who may command what is left of
//! 425, and `checkvalve` all: neither waits for a large change that is being told.

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
/// Of these, what details leave.
pub const HEADS_OWN: u32 = 50;
/// Of that, what answers leave to `checkvalve` itself: it is what a merge waits for.
pub const HEADS_ALONE: u32 = 25;
/// Of the writes at once, what only `checkvalve` may use: its verdict waits for nobody's details.
const VERDICTS_OWN: i64 = 2;
/// Of these, what an answer to somebody who may command leaves: people come before details, too.
const VERDICTS_ALONE: i64 = 1;
/// What is left for others by a write that says nothing new yet: a queued step. What happens
/// meanwhile makes many of them needless.
const NEWS_OWN: i64 = 8;
/// Of an hour's new contents, what answers to people may use up: reactions, replies.
pub const ANSWERS_AN_HOUR: u32 = 150;
/// The same for people who may not command. Anybody may comment.
pub const STRANGERS_AN_HOUR: u32 = 30;
/// Who was refused, and has not asked again for so long, does not wait any more.
const WAITS: i64 = 10_000;

const _: () = assert!(BURST as i64 + 60_000 / PACE <= 80);
const _: () = assert!(HEADS_ALONE < HEADS_OWN && HEADS_OWN < MADE_AN_HOUR);

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
    /// Somebody who may command waits for an answer.
    Answer,
    /// Something has happened.
    News,
    /// Nothing has happened yet.
    Queued,
}

/// To whom something is said that no verdict waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// May command.
    Writer,
    /// May not, and is told so.
    Stranger,
}

/// Why somebody is not answered now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lack {
    /// How long until there may be leave.
    pub wait: Duration,
    /// It is for the answers that were given in this hour, to people or to such as this one; otherwise for
    /// what check runs use up as well, or since GitHub wants to be left alone.
    pub told_enough: bool,
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
    /// New contents by five seconds of the last minute, and by minutes of the last hour.
    minute: BTreeMap<i64, u32>,
    hour: BTreeMap<i64, u32>,
    /// Of the last hour's, answers to people, and to such that may not command.
    answers: BTreeMap<i64, u32>,
    strangers: BTreeMap<i64, u32>,
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
                Urgency::Answer => VERDICTS_ALONE,
                Urgency::News => VERDICTS_OWN,
                Urgency::Queued => NEWS_OWN,
            };
        let mut wait = self.paid_at.max(now) + PACE + kept - now - burst;
        if !first && repositories > 1 {
            wait = wait.max(part + pace - now - burst);
        }
        if write.makes {
            let hour = MADE_AN_HOUR
                - match write.urgency {
                    Urgency::First => 0,
                    Urgency::Answer => HEADS_ALONE,
                    Urgency::News | Urgency::Queued => HEADS_OWN,
                };
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

    /// Takes a reaction or a reply, or says how long it has to wait, and for what. It leaves to check runs
    /// what they need, and who asks does not wait in their turn.
    pub fn answer(&mut self, repository: u64, to: Answer, now: Timestamp) -> Result<(), Lack> {
        let millis = now.as_millis();
        self.tidy(millis);
        let mut wait = HOUR.wait(&self.answers, ANSWERS_AN_HOUR, millis);
        if to == Answer::Stranger {
            wait = wait.max(HOUR.wait(&self.strangers, STRANGERS_AN_HOUR, millis));
        }
        if wait > 0 {
            return Err(Lack {
                wait: Duration::from_millis(wait.unsigned_abs()),
                told_enough: true,
            });
        }
        let waits = self.waiting.get(&repository).copied();
        let urgency = match to {
            Answer::Writer => Urgency::Answer,
            Answer::Stranger => Urgency::News,
        };
        let taken = self.take(Write { repository, urgency, makes: true }, now);
        if waits.is_none() {
            self.waiting.remove(&repository);
        }
        taken.map_err(|wait| Lack { wait, told_enough: false })?;
        *self.answers.entry(millis / HOUR.bin).or_default() += 1;
        if to == Answer::Stranger {
            *self.strangers.entry(millis / HOUR.bin).or_default() += 1;
        }
        Ok(())
    }

    /// Counts what is written without asking: somebody waits for it.
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
        HOUR.tidy(&mut self.answers, now);
        HOUR.tidy(&mut self.strangers, now);
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
mod tests;
