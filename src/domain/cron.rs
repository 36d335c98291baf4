//! When a schedule is due: the five fields of cron, in UTC.
//!
//! Read here rather than by a library: those that are kept up read seconds, years, nicknames and
//! letters besides, in which a slip becomes another schedule, and don't say which field is wrong.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, NaiveDate, Timelike};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::rules::closest;
use super::time::Timestamp;

/// Leap days are at most eight years apart, and every other day comes sooner.
const FARTHEST_DAYS: u64 = 8 * 366 + 2;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// `minute hour day-of-month month day-of-week`: each `*`, values, ranges, lists and steps. As in every
/// cron, a day that either of the two day fields names will do, if neither of them begins with `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

/// What is wrong with an expression, and the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} ({mend})")]
pub struct CronError {
    pub what: String,
    pub mend: String,
}

impl CronError {
    fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}

/// One of the five.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    /// Words for the values from `least` on.
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, words: &[] },
    Field { name: "hour", least: 0, most: 23, words: &[] },
    Field { name: "day of the month", least: 1, most: 31, words: &[] },
    Field { name: "month", least: 1, most: 12, words: &MONTHS },
    // 7 is Sunday, too.
    Field { name: "day of the week", least: 0, most: 7, words: &WEEKDAYS },
];

impl Field {
    /// The values as bits.
    fn read(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |bits, part| Ok(bits | self.part(part)?))
    }

    fn part(&self, part: &str) -> Result<u64, CronError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, self.step(part, step)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None if part.contains('/') => {
                let name = self.name;
                let mend = format!("write `{range}-{}/{step}`, or `*/{step}`", self.most);
                let what = format!("the {name} `{part}` has a step and no range");
                return Err(CronError::new(what, mend));
            }
            None => self.value(range).map(|value| (value, value))?,
        };
        if first > last {
            let what = format!("the {} `{range}` runs backwards", self.name);
            let mend = format!("write `{first}-{},{}-{last}`", self.most, self.least);
            return Err(CronError::new(what, mend));
        }
        Ok((first..=last).step_by(step).fold(0, |bits, value| bits | (1 << value)))
    }

    fn step(&self, part: &str, step: &str) -> Result<usize, CronError> {
        let number = number(step).filter(|step| (1..=self.most).contains(step));
        number.and_then(|step| usize::try_from(step).ok()).ok_or_else(|| {
            let what = format!("the step of the {} `{part}` is not a number", self.name);
            CronError::new(what, format!("a step is between 1 and {}", self.most))
        })
    }

    fn value(&self, text: &str) -> Result<u32, CronError> {
        let word = self.words.iter().position(|word| word.eq_ignore_ascii_case(text));
        let word = word.and_then(|at| u32::try_from(at).ok()).map(|at| at + self.least);
        let value = word.or_else(|| number(text));
        value.filter(|value| (self.least..=self.most).contains(value)).ok_or_else(|| {
            let (name, least, most) = (self.name, self.least, self.most);
            let mend = match closest(text, self.words.iter().copied()) {
                Some(word) if number(text).is_none() => format!("did you mean `{word}`?"),
                _ => format!("it is `*`, or between {least} and {most}"),
            };
            CronError::new(format!("the {name} can't be `{text}`"), mend)
        })
    }
}

/// `parse` alone would take `+5`, too.
fn number(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

impl FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let parts: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            let what = format!("`{text}` has {} fields", parts.len());
            let mend = "five are wanted: minute, hour, day of the month, month, day of the week, \
                        as in `0 2 * * *`";
            return Err(CronError::new(what, mend));
        };
        let [minutes, hours, days, months, weekdays] = FIELDS;
        let weekdays = weekdays.read(weekday)?;
        let cron = Self {
            text: parts.join(" "),
            minutes: minutes.read(minute)?,
            hours: hours.read(hour)?,
            days: days.read(day)?,
            months: months.read(month)?,
            weekdays: weekdays | ((weekdays >> 7) & 1),
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        // The end of a leap year that no century spoils.
        let end = Timestamp::parse("2028-12-31T23:59:00Z");
        if end.and_then(|end| cron.last_due(end)).is_none() {
            let mend = "that month has no such day";
            return Err(CronError::new(format!("`{text}` never comes"), mend));
        }
        Ok(cron)
    }
}

impl Cron {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The last time that it was due, at `now` or before.
    pub fn last_due(&self, now: Timestamp) -> Option<Timestamp> {
        let now = DateTime::from_timestamp_millis(now.as_millis())?;
        let today = now.date_naive();
        (0..FARTHEST_DAYS).find_map(|back| {
            let day = today.checked_sub_days(Days::new(back))?;
            let latest = if back == 0 { (now.hour(), now.minute()) } else { (23, 59) };
            let (hour, minute) = self.time_of(day, latest)?;
            let due = day.and_hms_opt(hour, minute, 0)?.and_utc();
            Some(Timestamp::from_millis(due.timestamp_millis()))
        })
    }

    /// The last hour and minute of a day that are not after `latest`.
    fn time_of(&self, day: NaiveDate, latest: (u32, u32)) -> Option<(u32, u32)> {
        if !self.is_on(day) {
            return None;
        }
        (0..=latest.0).rev().filter(|hour| has(self.hours, *hour)).find_map(|hour| {
            let last = if hour == latest.0 { latest.1 } else { 59 };
            let minute = (0..=last).rev().find(|minute| has(self.minutes, *minute))?;
            Some((hour, minute))
        })
    }

    fn is_on(&self, day: NaiveDate) -> bool {
        let of_month = has(self.days, day.day());
        let of_week = has(self.weekdays, day.weekday().num_days_from_sunday());
        let named = if self.either_day { of_month || of_week } else { of_month && of_week };
        named && has(self.months, day.month())
    }
}

fn has(bits: u64, value: u32) -> bool {
    bits & (1 << value) != 0
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Cron {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cron {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn last(cron: &str, now: &str) -> String {
        let due = cron.parse::<Cron>().unwrap().last_due(at(now)).unwrap();
        due.to_string().replace(":00.000Z", "")
    }

    #[test]
    fn the_last_due_time_is_found() {
        // 22 November 2026 is a Sunday.
        let now = "2026-11-22T01:59:59.999Z";
        for (cron, expected) in [
            ("* * * * *", "2026-11-22T01:59"),
            ("0 2 * * *", "2026-11-21T02:00"),
            ("59 1 * * *", "2026-11-22T01:59"),
            ("*/15 * * * *", "2026-11-22T01:45"),
            ("10-40/20 * * * *", "2026-11-22T01:30"),
            ("0 9,17 * * mon-fri", "2026-11-20T17:00"),
            ("0 0 * * 7", "2026-11-22T00:00"),
            ("0 0 * * SUN", "2026-11-22T00:00"),
            ("0 0 * * sat", "2026-11-21T00:00"),
            ("0 0 1 jan *", "2026-01-01T00:00"),
            ("0 0 29 2 *", "2024-02-29T00:00"),
            // Either of the two days, if both are named; else both.
            ("0 0 13 * fri", "2026-11-20T00:00"),
            ("0 0 */2 * mon", "2026-11-09T00:00"),
        ] {
            assert_eq!(last(cron, now), expected, "{cron}");
        }
        assert_eq!(last("0 2 * * *", "2026-11-22T02:00:00Z"), "2026-11-22T02:00");
        assert_eq!(last("0 0 29 2 *", "2104-02-28T00:00:00Z"), "2096-02-29T00:00");
    }

    #[test]
    fn errors_name_the_field_and_the_mend() {
        for (cron, what, mend) in [
            ("0 2 * *", "has 4 fields", "five are wanted"),
            ("0 0 2 * * *", "has 6 fields", "five are wanted"),
            ("@daily", "has 1 fields", "five are wanted"),
            ("60 * * * *", "the minute can't be `60`", "between 0 and 59"),
            ("0 24 * * *", "the hour can't be `24`", "between 0 and 23"),
            ("0 0 0 * *", "the day of the month can't be `0`", "between 1 and 31"),
            ("0 0 * * mno", "the day of the week can't be `mno`", "did you mean `mon`?"),
            ("0 0 * foo *", "the month can't be `foo`", "between 1 and 12"),
            ("*/0 * * * *", "the step of the minute `*/0`", "between 1 and 59"),
            ("5/10 * * * *", "`5/10` has a step and no range", "write `5-59/10`"),
            ("0 22-4 * * *", "the hour `22-4` runs backwards", "write `22-23,0-4`"),
            ("0 0 31 feb *", "never comes", "no such day"),
            ("+5 * * * *", "the minute can't be `+5`", "between"),
            ("1,,2 * * * *", "the minute can't be ``", "between"),
        ] {
            let error = cron.parse::<Cron>().unwrap_err();
            assert!(error.what.contains(what) && error.mend.contains(mend), "{cron}: {error}");
        }
    }

    proptest! {
        /// Against a walk from minute to minute.
        #[test]
        fn it_agrees_with_a_walk(
            minute in 0_u32..60, step in 1_u32..30, hour in 0_u32..24, weekday in 0_u32..8,
            now in 1_700_000_000_000_i64..1_900_000_000_000,
        ) {
            let cron: Cron = format!("{minute},*/{step} {hour} * * {weekday}").parse().unwrap();
            let due = cron.last_due(Timestamp::from_millis(now)).unwrap().as_millis();
            let mut walk = now - now % 60_000;
            loop {
                let time = DateTime::from_timestamp_millis(walk).unwrap();
                let minutes = time.minute() == minute || time.minute() % step == 0;
                let on = time.weekday().num_days_from_sunday() == weekday % 7;
                if minutes && on && time.hour() == hour {
                    break;
                }
                walk -= 60_000;
            }
            prop_assert_eq!(due, walk);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9*,/ a-z-]{0,40}") {
            let _ = text.parse::<Cron>();
        }
    }
}
