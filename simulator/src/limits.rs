//! Rate limits: the primary budget of every caller, and blocks that a test asks for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::Caller;
use crate::faults::SecondaryLimit;
use crate::operations::Operation;
use crate::refusals::{Answer, refuse};

/// So many wrong credentials within [`BAD_WINDOW`] block everybody from there for as long.
const BAD_CREDENTIALS: usize = 10;
const BAD_WINDOW: TimeDelta = TimeDelta::seconds(60);
const HOUR: TimeDelta = TimeDelta::hours(1);
const MINUTE: TimeDelta = TimeDelta::minutes(1);
/// Of one endpoint in a minute.
const POINTS: u32 = 900;
const CONTENTS_A_MINUTE: usize = 80;
const CONTENTS_AN_HOUR: usize = 500;
const UNAUTHENTICATED: u64 = 60;
const FULL: u64 = 5_000;

/// The limits of one simulator.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    state: Mutex<State>,
}

/// When, and how many.
type Points = VecDeque<(DateTime<Utc>, u32)>;

#[derive(Debug, Default)]
struct State {
    budgets: BTreeMap<String, Budget>,
    /// What tests set instead of GitHub's numbers.
    limit: Option<u64>,
    block: Option<(SecondaryLimit, DateTime<Utc>)>,
    bad: VecDeque<DateTime<Utc>>,
    /// Points of the last minute, by caller and endpoint.
    points: BTreeMap<(String, &'static str), Points>,
    /// New contents of the last hour, by caller.
    contents: BTreeMap<String, VecDeque<DateTime<Utc>>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    pub(crate) reset: DateTime<Utc>,
}

impl Budget {
    pub(crate) fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// The five headers of every answer.
    pub(crate) fn headers(&self) -> [(&'static str, String); 5] {
        [
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remaining", self.remaining().to_string()),
            ("x-ratelimit-used", self.used.min(self.limit).to_string()),
            ("x-ratelimit-reset", self.reset.timestamp().to_string()),
            ("x-ratelimit-resource", "core".to_owned()),
        ]
    }
}

fn key(caller: &Caller) -> String {
    match caller {
        Caller::Nobody => "nobody".to_owned(),
        Caller::App => "app".to_owned(),
        Caller::Installation(id) => format!("installation {id}"),
        Caller::User(login) => format!("user {login}"),
    }
}

impl Limits {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the primary budget of everybody, for the hour that begins now.
    pub(crate) fn set_primary(&self, limit: Option<u64>) {
        let mut state = self.state();
        state.limit = limit;
        state.budgets.clear();
    }

    /// The budget of a caller. `repositories` raises it as GitHub publishes: 50 an hour for
    /// every repository beyond 20, up to 12,500.
    pub(crate) fn budget(
        &self,
        caller: &Caller,
        repositories: usize,
        now: DateTime<Utc>,
    ) -> Budget {
        let mut state = self.state();
        let base = match caller {
            Caller::Nobody => UNAUTHENTICATED,
            Caller::Installation(_) => {
                let more = 50 * u64::try_from(repositories.saturating_sub(20)).unwrap_or(0);
                (FULL + more).min(12_500)
            }
            Caller::App | Caller::User(_) => FULL,
        };
        let limit = state.limit.unwrap_or(base);
        let fresh = Budget { limit, used: 0, reset: now + HOUR };
        let budget = state.budgets.entry(key(caller)).or_insert(fresh);
        if budget.reset <= now {
            *budget = fresh;
        }
        budget.limit = limit;
        *budget
    }

    /// Counts one call.
    pub(crate) fn spend(&self, caller: &Caller) {
        if let Some(budget) = self.state().budgets.get_mut(&key(caller)) {
            budget.used += 1;
        }
    }

    /// 403 when the primary budget is gone.
    pub(crate) fn primary(caller: &Caller, budget: &Budget) -> Result<(), Answer> {
        if budget.remaining() > 0 {
            return Ok(());
        }
        let who = match caller {
            Caller::Installation(id) => format!("installation ID {id}"),
            Caller::Nobody => "127.0.0.1".to_owned(),
            Caller::App => "the App".to_owned(),
            Caller::User(login) => format!("user {login}"),
        };
        Err(refuse(403, &format!("API rate limit exceeded for {who}.")))
    }

    /// Begins a secondary limit, or keeps it up. The error's flag says that the call came while
    /// an announced block was on: a violation.
    pub(crate) fn secondary(
        &self,
        begin: Option<SecondaryLimit>,
        now: DateTime<Utc>,
    ) -> Result<(), (Answer, bool)> {
        let mut state = self.state();
        let mut repeated = true;
        if let Some(limit) = begin {
            state.block = Some((limit, now + to_delta(limit.lasts)));
            repeated = false;
        }
        let Some((limit, until)) = state.block else { return Ok(()) };
        if until <= now {
            state.block = None;
            return Ok(());
        }
        // Asking again while blocked starts the wait anew.
        let until = now + to_delta(limit.lasts);
        state.block = Some((limit, until));
        let text = "You have exceeded a secondary rate limit. Please wait a few minutes before \
                    you try again. If you reach out to GitHub Support for help, please include \
                    the request ID 0000:0000:0000:0000:00000000.";
        let mut answer = refuse(limit.status, text);
        if limit.retry_after {
            let seconds = (until - now).num_seconds().max(1);
            answer = answer.with("retry-after", seconds.to_string());
        } else if limit.remaining_zero {
            answer = answer
                .with("x-ratelimit-remaining", "0")
                .with("x-ratelimit-reset", until.timestamp().to_string());
        }
        Err((answer, repeated))
    }

    /// Counts a call for the secondary limits; true when it is one too many.
    pub(crate) fn beyond_secondary(
        &self,
        caller: &Caller,
        operation: &Operation,
        now: DateTime<Utc>,
    ) -> bool {
        let mut state = self.state();
        let points = state.points.entry((key(caller), operation.id)).or_default();
        points.push_back((now, if operation.writes() { 5 } else { 1 }));
        while points.front().is_some_and(|(at, _)| now - *at > MINUTE) {
            points.pop_front();
        }
        let too_many_points = points.iter().map(|(_, points)| points).sum::<u32>() > POINTS;
        if operation.method != "POST" || !operation.template.starts_with("/repos/") {
            return too_many_points;
        }
        let contents = state.contents.entry(key(caller)).or_default();
        contents.push_back(now);
        while contents.front().is_some_and(|at| now - *at > HOUR) {
            contents.pop_front();
        }
        let of_this_minute = contents.iter().filter(|at| now - **at <= MINUTE).count();
        too_many_points || of_this_minute > CONTENTS_A_MINUTE || contents.len() > CONTENTS_AN_HOUR
    }

    /// Counts wrong credentials.
    pub(crate) fn bad_credentials(&self, now: DateTime<Utc>) {
        let mut state = self.state();
        state.bad.push_back(now);
        while state.bad.len() > BAD_CREDENTIALS {
            state.bad.pop_front();
        }
    }

    /// Too many of them lately: everything is refused, also what is right.
    pub(crate) fn locked_out(&self, now: DateTime<Utc>) -> bool {
        let mut state = self.state();
        while state.bad.front().is_some_and(|&at| now - at > BAD_WINDOW) {
            state.bad.pop_front();
        }
        state.bad.len() >= BAD_CREDENTIALS
    }
}

fn to_delta(duration: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
