//! GitHub's rate limits, per installation: what is left, and until when to keep silent. Asking
//! while limited makes it worse ("may result in your integration being banned"), so a call that
//! would is refused here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::transport::Answer;
use crate::ambient;
use crate::domain::time::Timestamp;

/// Without `retry-after` and reset: at least a minute, doubled each time (GitHub's
/// "Rate limits for the REST API").
const AT_LEAST: Duration = Duration::from_mins(1);
const DOUBLINGS: u32 = 4;

/// An installation's primary rate limit, as GitHub last told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub limit: u64,
    pub remaining: u64,
    /// When `remaining` is `limit` again.
    pub reset: Timestamp,
}

#[derive(Debug, Default)]
struct Standing {
    rate: Option<Rate>,
    closed_until: Option<Instant>,
    /// Refusals in a row.
    refusals: u32,
    /// Closed by an answer that other processes have not heard of.
    news: bool,
}

/// An installation that GitHub does not answer for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    pub installation: u64,
    pub wait: Duration,
    /// Refusals in a row: without a word from GitHub the next wait is longer.
    pub refusals: u32,
}

/// By installation; `None` is the App itself.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<BTreeMap<Option<u64>, Standing>>);

impl Rates {
    fn with<T>(&self, who: Option<u64>, f: impl FnOnce(&mut Standing) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(all.entry(who).or_default())
    }

    pub(super) fn rate(&self, who: Option<u64>) -> Option<Rate> {
        self.with(who, |standing| standing.rate)
    }

    /// Who has less than half left of a limit that is known.
    pub(super) fn short(&self, now: Timestamp) -> Vec<Option<u64>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short = |rate: Rate| rate.reset > now && rate.remaining * 2 < rate.limit;
        let short = all.iter().filter(|(_, standing)| standing.rate.is_some_and(is_short));
        short.map(|(who, _)| *who).collect()
    }

    /// How long GitHub must not be asked, if so.
    pub(super) fn closed(&self, who: Option<u64>) -> Option<Duration> {
        let until = self.with(who, |standing| standing.closed_until)?;
        until.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero())
    }

    /// Who is closed since an answer that was not passed on yet.
    pub(super) fn news(&self) -> Vec<Silence> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news =
            all.iter().filter(|(_, standing)| standing.news).filter_map(|(who, standing)| {
                let wait = standing.closed_until?.checked_duration_since(Instant::now())?;
                Some(Silence { installation: (*who)?, wait, refusals: standing.refusals })
            });
        news.collect()
    }

    /// Others know of it now.
    pub(super) fn passed_on(&self, installation: u64) {
        self.with(Some(installation), |standing| standing.news = false);
    }

    /// What another process was told counts here, too.
    pub(super) fn close(&self, silence: Silence) {
        self.with(Some(silence.installation), |standing| {
            let until = Instant::now() + silence.wait;
            standing.closed_until = standing.closed_until.max(Some(until));
            standing.refusals = standing.refusals.max(silence.refusals);
        });
    }

    /// Notes what an answer says about limits; the wait, if it was refused for them.
    pub(super) fn note(
        &self,
        who: Option<u64>,
        answer: &Answer,
        refused: bool,
    ) -> Option<Duration> {
        let rate = rate(answer);
        let until_reset = || {
            let now = answer.date().unwrap_or_else(|| ambient::now().as_millis());
            let left = rate.filter(|rate| rate.remaining == 0)?.reset.as_millis() - now;
            // A second more: GitHub's reset is cut to seconds.
            Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)) + Duration::from_secs(1))
        };
        self.with(who, |standing| {
            standing.rate = rate.or(standing.rate);
            let wait = if refused {
                let doubled = AT_LEAST * 2_u32.pow(standing.refusals.min(DOUBLINGS));
                standing.refusals += 1;
                Some(retry_after(answer).or_else(until_reset).unwrap_or(doubled))
            } else {
                standing.refusals = 0;
                until_reset()
            };
            if let Some(wait) = wait {
                let until = Instant::now() + wait;
                standing.closed_until = standing.closed_until.max(Some(until));
                standing.news = true;
            }
            wait
        })
    }
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    Some(Duration::from_secs(answer.header("retry-after")?.trim().parse().ok()?))
}

/// The primary limit; other resources (`integration_manifest`, `search`) have limits of their own.
fn rate(answer: &Answer) -> Option<Rate> {
    if answer.header("x-ratelimit-resource").is_some_and(|resource| resource != "core") {
        return None;
    }
    let number = |name| answer.header(name)?.trim().parse::<u64>().ok();
    let reset = i64::try_from(number("x-ratelimit-reset")?).ok()?.checked_mul(1000)?;
    Some(Rate {
        limit: number("x-ratelimit-limit")?,
        remaining: number("x-ratelimit-remaining")?,
        reset: Timestamp::from_millis(reset),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(remaining: u64, reset: i64) -> Answer {
        let mut headers = http::HeaderMap::new();
        for (name, value) in [
            ("x-ratelimit-limit", "100".to_owned()),
            ("x-ratelimit-remaining", remaining.to_string()),
            ("x-ratelimit-reset", reset.to_string()),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        Answer { status: http::StatusCode::OK, headers, body: bytes::Bytes::new() }
    }

    #[test]
    fn there_is_room_while_half_of_every_limit_is_left_or_its_hour_is_over() {
        let rates = Rates::default();
        let short = |at: i64| rates.short(Timestamp::from_millis(at * 1000));
        let has_room = |at: i64| short(at).is_empty();
        assert!(has_room(0), "what is not told is not known");
        rates.note(Some(1), &answer(50, 3600), false);
        assert!(has_room(0));
        rates.note(Some(2), &answer(49, 1800), false);
        assert!(!has_room(1799));
        assert_eq!(short(1799), [Some(2)], "the others have theirs");
        assert!(has_room(1800), "it is all there again");
        rates.note(Some(1), &answer(0, 3600), false);
        assert!(!has_room(1800) && has_room(3600));
    }
}
