//! Faults that may pass by themselves are waited out: each for about as long as it is known to last.

use std::time::Duration;

/// About a day. An outage of GitHub's, or a key that somebody has to mend, takes hours.
const MOST_TRIES: u32 = 340;
/// Eight minutes and a half. A new token, repository or permission is known to all of GitHub's hosts
/// within seconds, now and then minutes.
const MOST_REFUSALS: u32 = 9;
/// Whose every try takes half an hour is not tried for long.
const REFUSALS_OF_TIMEOUT: u32 = 3;
/// Pauses double up to this power of two, in seconds.
const LONGEST: u32 = 8;
/// What passes within seconds is not told: each telling is a write.
const TOLD_FROM: u32 = 3;

/// Does a fault pass, with nothing changed by anyone here?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    Never,
    /// It is refused, which GitHub's hosts may disagree on for some minutes.
    Refused,
    /// It took all the time that it is given, and may again, while others wait for it.
    TimedOut,
    /// GitHub, a disk or a database is away; or a setting has to be mended. To be left alone for at
    /// least this long.
    Away(Duration),
}

/// How often something came to nothing so far, for what may pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waited {
    pub tries: u32,
    /// In a row, and lately.
    pub refused: u32,
    /// As many tries as took the pauses that others asked for. None of them was made.
    pub rested: u32,
}

/// A pause before the next try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    pub after: Duration,
    /// What is waited for; the same words for as long as it is the same.
    pub awaits: String,
    /// What will have been waited out by then.
    pub waited: Waited,
}

impl Pause {
    /// Is it worth telling? It may be over before anyone reads it.
    pub fn is_told(&self) -> bool {
        self.waited.spent() >= TOLD_FROM
    }
}

impl Waited {
    /// How much of a day's patience is used up.
    fn spent(self) -> u32 {
        self.tries.saturating_add(self.rested)
    }

    /// The pause after one more try that came to nothing; `None`: it is not waited for any longer.
    pub fn pause(self, passing: Passing, awaits: &str) -> Option<Pause> {
        let tries = self.tries.saturating_add(1);
        let (refused, nth, least) = match passing {
            Passing::Never => return None,
            Passing::Refused => {
                let refused = self.refused.saturating_add(1);
                (refused, refused, Duration::ZERO)
            }
            Passing::TimedOut => {
                let refused = self.refused.saturating_add(REFUSALS_OF_TIMEOUT);
                (refused, refused, Duration::ZERO)
            }
            Passing::Away(least) => (0, tries.saturating_add(self.rested), least),
        };
        // Who is asked to stay away for an hour has waited for as long as many tries take.
        let more = u32::try_from(least.as_secs() >> LONGEST).unwrap_or(MOST_TRIES);
        let waited = Self { tries, refused, rested: self.rested.saturating_add(more) };
        if waited.spent() >= MOST_TRIES || refused >= MOST_REFUSALS {
            return None;
        }
        let after = Duration::from_secs(1 << nth.min(LONGEST)).max(least);
        Some(Pause { after, awaits: awaits.to_owned(), waited })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long is waited in all, and how often.
    fn waited_out(passing: Passing) -> (Duration, u32) {
        let (mut waited, mut total) = (Waited::default(), Duration::ZERO);
        while let Some(pause) = waited.pause(passing, "it") {
            total += pause.after;
            waited = pause.waited;
        }
        (total, waited.tries)
    }

    #[test]
    fn an_outage_is_waited_out_for_a_day_and_a_refusal_for_minutes() {
        let (away, _) = waited_out(Passing::Away(Duration::ZERO));
        assert!((22..=25).contains(&(away.as_secs() / 3600)), "{away:?}");
        let (refused, tries) = waited_out(Passing::Refused);
        assert!((300..=900).contains(&refused.as_secs()), "{refused:?}");
        assert_eq!(tries, 8);
        assert_eq!(waited_out(Passing::Never), (Duration::ZERO, 0));
        assert_eq!(waited_out(Passing::TimedOut).1, 2, "each takes half an hour");
        let (limited, _) = waited_out(Passing::Away(Duration::from_hours(1)));
        assert!((18..=25).contains(&(limited.as_secs() / 3600)), "{limited:?}");
    }

    #[test]
    fn a_refusal_after_an_outage_has_its_own_minutes() {
        let mut waited = Waited::default();
        for _ in 0..50 {
            waited = waited.pause(Passing::Away(Duration::ZERO), "it").unwrap().waited;
        }
        let refused = waited.pause(Passing::Refused, "it").unwrap();
        assert_eq!(refused.after, Duration::from_secs(2), "soon: it may know us in a moment");
        assert_eq!(refused.waited, Waited { tries: 51, refused: 1, rested: 0 });
    }

    #[test]
    fn who_asks_to_be_left_alone_is() {
        let hour = Duration::from_hours(1);
        let pause = Waited::default().pause(Passing::Away(hour), "it").unwrap();
        assert_eq!(pause.after, hour);
        assert!(pause.is_told(), "an hour is worth a word");
        assert_eq!(pause.waited.tries, 1, "and one try, however long it is waited for");
        let brief = Waited::default().pause(Passing::Away(Duration::ZERO), "it").unwrap();
        assert!(!brief.is_told(), "the first pauses are over before anyone reads of them");
    }
}
