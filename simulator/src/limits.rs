//! Rate limits: the primary budget of every caller, and blocks that a test asks for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::Caller;
use crate::choices::Choices;
use crate::faults::SecondaryLimit;
use crate::operations::Operation;
use crate::refusals::{Answer, refuse_about};

/// Many wrong credentials within this window block everybody from there for as long.
const BAD_WINDOW: TimeDelta = TimeDelta::seconds(60);
const HOUR: TimeDelta = TimeDelta::hours(1);
const MINUTE: TimeDelta = TimeDelta::minutes(1);
/// Of one endpoint in a minute.
const POINTS: u32 = 900;
const CONTENTS_A_MINUTE: usize = 80;
const CONTENTS_AN_HOUR: usize = 500;
/// At once, of everybody together.
const CONCURRENT: usize = 100;
const UNAUTHENTICATED: u64 = 60;
const FULL: u64 = 5_000;
const HIGHEST: u64 = 12_500;
const ENTERPRISE_CLOUD: u64 = 15_000;
/// Where GitHub explains each kind of limit.
const ABOUT: &str = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api";

/// The limits of one simulator.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    state: Mutex<State>,
    in_flight: AtomicUsize,
}

/// A call that is being answered.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What raises an installation's primary budget.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) repositories: usize,
    pub(crate) users: usize,
    pub(crate) enterprise_cloud: bool,
}

impl Size {
    /// 50 an hour more for every repository and every user beyond 20.
    fn budget(self) -> u64 {
        if self.enterprise_cloud {
            return ENTERPRISE_CLOUD;
        }
        let beyond = |count: usize| u64::try_from(count.saturating_sub(20)).unwrap_or(0);
        (FULL + 50 * (beyond(self.repositories) + beyond(self.users))).min(HIGHEST)
    }
}

/// A secondary limit that is on.
#[derive(Debug, Clone, Copy)]
struct Block {
    limit: SecondaryLimit,
    until: DateTime<Utc>,
    /// Calls that began earlier could not know of it.
    announced: DateTime<Utc>,
}

/// When, and how many.
type Points = VecDeque<(DateTime<Utc>, u32)>;

#[derive(Debug, Default)]
struct State {
    budgets: BTreeMap<String, Budget>,
    /// What tests set instead of GitHub's numbers.
    limit: Option<u64>,
    block: Option<Block>,
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
    resource: &'static str,
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
            ("x-ratelimit-resource", self.resource.to_owned()),
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

    /// The budget of a caller for a resource (`core`, or one that has its own).
    pub(crate) fn budget(
        &self,
        caller: &Caller,
        resource: &'static str,
        size: Size,
        now: DateTime<Utc>,
    ) -> Budget {
        let mut state = self.state();
        let base = match caller {
            Caller::Nobody if resource == "core" => UNAUTHENTICATED,
            Caller::Installation(_) => size.budget(),
            Caller::Nobody | Caller::App | Caller::User(_) => FULL,
        };
        let limit = state.limit.unwrap_or(base);
        let fresh = Budget { limit, used: 0, reset: now + HOUR, resource };
        let budget = state.budgets.entry(key(caller) + resource).or_insert(fresh);
        if budget.reset <= now {
            *budget = fresh;
        }
        budget.limit = limit;
        *budget
    }

    /// Begins a call; it is in flight until what this returns is dropped.
    pub(crate) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    /// Counts one call.
    pub(crate) fn spend(&self, caller: &Caller, resource: &str) {
        if let Some(budget) = self.state().budgets.get_mut(&(key(caller) + resource)) {
            budget.used += 1;
        }
    }

    /// 403 (or 429) when the primary budget is gone.
    pub(crate) fn primary(caller: &Caller, budget: &Budget, status: u16) -> Result<(), Answer> {
        if budget.remaining() > 0 {
            return Ok(());
        }
        let who = match caller {
            Caller::Installation(id) => format!("installation ID {id}"),
            Caller::Nobody => "127.0.0.1".to_owned(),
            Caller::App => "the App".to_owned(),
            Caller::User(login) => format!("user {login}"),
        };
        let text = format!("API rate limit exceeded for {who}. {SUPPORT}");
        Err(refuse_about(status, &text, &format!("{ABOUT}#about-primary-rate-limits")))
    }

    /// Ends a secondary limit, so that another may begin.
    pub(crate) fn unblock(&self) {
        self.state().block = None;
    }

    /// Begins a secondary limit, or keeps it up. The error's flag says that the call began while
    /// an announced block was on: a violation.
    pub(crate) fn secondary(
        &self,
        new: Option<SecondaryLimit>,
        (started, now): (DateTime<Utc>, DateTime<Utc>),
        grows: bool,
    ) -> Result<(), (Answer, bool)> {
        let mut state = self.state();
        if state.block.is_some_and(|block| block.until <= now) {
            state.block = None;
        }
        if let (Some(limit), None) = (new, state.block) {
            let until = now + to_delta(limit.lasts);
            state.block = Some(Block { limit, until, announced: now });
            return Err((blocked(limit, until, now), false));
        }
        let Some(mut block) = state.block else { return Ok(()) };
        let was_told = started > block.announced;
        if was_told && grows {
            // Asking again while blocked starts the wait anew.
            block.until = now + to_delta(block.limit.lasts);
            state.block = Some(block);
        }
        Err((blocked(block.limit, block.until, now), was_told))
    }

    /// Counts a call for the secondary limits; true when it is one too many: more than 100 at
    /// once, more than 900 points a minute on one endpoint, or too much new content.
    pub(crate) fn beyond_secondary(
        &self,
        caller: &Caller,
        operation: &Operation,
        choices: &Choices,
        now: DateTime<Utc>,
    ) -> bool {
        let at_once = self.in_flight.load(Ordering::Relaxed) > CONCURRENT;
        let mut state = self.state();
        let points = state.points.entry((key(caller), operation.id)).or_default();
        points.push_back((now, if operation.writes() { 5 } else { 1 }));
        while points.front().is_some_and(|(at, _)| now - *at > MINUTE) {
            points.pop_front();
        }
        let too_many = at_once || points.iter().map(|(_, points)| points).sum::<u32>() > POINTS;
        if !choices.content_operations.iter().any(|id| id == operation.id) {
            return too_many;
        }
        let contents = state.contents.entry(key(caller)).or_default();
        contents.push_back(now);
        while contents.front().is_some_and(|at| now - *at > HOUR) {
            contents.pop_front();
        }
        let of_this_minute = contents.iter().filter(|at| now - **at <= MINUTE).count();
        too_many || of_this_minute > CONTENTS_A_MINUTE || contents.len() > CONTENTS_AN_HOUR
    }

    /// Counts wrong credentials.
    pub(crate) fn bad_credentials(&self, now: DateTime<Utc>) {
        let mut state = self.state();
        state.bad.push_back(now);
        while state.bad.front().is_some_and(|&at| now - at > BAD_WINDOW) {
            state.bad.pop_front();
        }
    }

    /// Too many of them lately: everything is refused, also what is right.
    pub(crate) fn locked_out(&self, after: usize, now: DateTime<Utc>) -> bool {
        let mut state = self.state();
        while state.bad.front().is_some_and(|&at| now - at > BAD_WINDOW) {
            state.bad.pop_front();
        }
        after > 0 && state.bad.len() >= after
    }
}

const SUPPORT: &str = "If you reach out to GitHub Support for help, please include the request ID \
                       0000:0000:0000:0000:00000000.";

/// The answer of a secondary limit, in one of GitHub's three forms.
fn blocked(limit: SecondaryLimit, until: DateTime<Utc>, now: DateTime<Utc>) -> Answer {
    let text = format!(
        "You have exceeded a secondary rate limit. Please wait a few minutes before you try \
         again. {SUPPORT}"
    );
    let about = format!("{ABOUT}#about-secondary-rate-limits");
    let answer = refuse_about(limit.status, &text, &about);
    if limit.retry_after {
        let seconds = (until - now).num_seconds().max(1);
        answer.with("retry-after", seconds.to_string())
    } else if limit.remaining_zero {
        answer
            .with("x-ratelimit-remaining", "0")
            .with("x-ratelimit-reset", until.timestamp().to_string())
    } else {
        answer
    }
}

fn to_delta(duration: std::time::Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::days(36_500))
}
