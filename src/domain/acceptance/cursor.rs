//! Which of two cursors comes first, as far as that can be told.

use chrono::{Days, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use serde_json::Value;

/// Does a record's cursor lie before a state's? None if they can't be compared: they have two
/// forms, or one whose order nobody knows.
pub(super) fn is_older(record: &Value, state: &Value) -> Option<bool> {
    match (record, state) {
        (Value::Number(record), Value::Number(state)) => match (record.as_i64(), state.as_i64()) {
            (Some(record), Some(state)) => Some(record < state),
            _ => Some(record.as_f64()? < state.as_f64()?),
        },
        (Value::String(record), Value::String(state)) => is_older_text(record, state),
        _ => None,
    }
}

fn is_older_text(record: &str, state: &str) -> Option<bool> {
    if let (Some(record), Some(state)) = (Moment::parse(record), Moment::parse(state)) {
        return Some(record.is_before(&state));
    }
    if let (Ok(record), Ok(state)) = (record.parse::<i64>(), state.parse::<i64>()) {
        return Some(record < state);
    }
    // Such as ULIDs, whose order is that of the alphabet.
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let alike = record.len() == state.len() && plain(record) && plain(state);
    alike.then_some(record < state)
}

/// Is a record's date no more than so many days before a state's? None if they are no dates.
pub(super) fn is_within(record: &Value, state: &Value, days: u32) -> Option<bool> {
    let moment = |value: &Value| Moment::parse(value.as_str()?);
    let (record, state) = (moment(record)?, moment(state)?);
    let state = state.day.min(state.instant.date());
    let first = state.checked_sub_days(Days::new(days.into())).unwrap_or(NaiveDate::MIN);
    Some(record.day.max(record.instant.date()) >= first)
}

/// How exactly a moment is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Day,
    Minute,
    Second,
    Fraction,
}

/// `2024-01-02`, and perhaps the time of day, and perhaps the offset, without which it is UTC.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// As it is written.
    day: NaiveDate,
    /// In UTC.
    instant: NaiveDateTime,
    unit: Unit,
}

impl Moment {
    fn parse(text: &str) -> Option<Self> {
        let (day, rest) = text.split_at_checked(10)?;
        let is_shaped = day.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        let day = is_shaped.then(|| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok())??;
        if rest.is_empty() {
            return Some(Self { day, instant: day.and_hms_opt(0, 0, 0)?, unit: Unit::Day });
        }
        let rest = rest.strip_prefix(['T', 't', ' '])?;
        let end = rest.find(|c: char| !c.is_ascii_digit() && !":.,".contains(c));
        let (time, offset) = rest.split_at(end.unwrap_or(rest.len()));
        let mut parts = time.splitn(3, ':');
        let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
        let (second, fraction) = match parts.next() {
            Some(second) => second.split_once(['.', ',']).unwrap_or((second, "")),
            None => ("00", ""),
        };
        let unit = match (time.matches(':').count(), fraction.is_empty()) {
            (1, _) => Unit::Minute,
            (_, true) => Unit::Second,
            (_, false) => Unit::Fraction,
        };
        let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
        let local = day.and_hms_nano_opt(hour, minute, number(second)?, nanos)?;
        let instant = local.checked_sub_signed(offset_of(offset.trim())?)?;
        Some(Self { day, instant, unit })
    }

    /// Of two, the one that is told less exactly counts: a day is not before its own noon, wherever
    /// that noon is.
    fn is_before(&self, other: &Self) -> bool {
        let unit = self.unit.min(other.unit);
        if unit == Unit::Day {
            return self.day < other.day && self.instant.date() < other.instant.date();
        }
        let cut = |instant: NaiveDateTime| {
            let second = if unit == Unit::Minute { 0 } else { instant.second() };
            let nanos = if unit == Unit::Fraction { instant.nanosecond() } else { 0 };
            instant.with_second(second).and_then(|instant| instant.with_nanosecond(nanos))
        };
        cut(self.instant) < cut(other.instant)
    }
}

/// Two digits.
fn number(text: &str) -> Option<u32> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

/// `Z`, `+01:00`, `+0100`, `+01`, or nothing.
fn offset_of(text: &str) -> Option<TimeDelta> {
    if matches!(text, "" | "Z" | "z" | "UTC" | "GMT") {
        return Some(TimeDelta::zero());
    }
    let (digits, east) = match (text.strip_prefix('+'), text.strip_prefix(['-', '\u{2212}'])) {
        (Some(digits), _) => (digits, 1),
        (None, Some(digits)) => (digits, -1),
        (None, None) => return None,
    };
    let (hours, minutes) = match digits.len() {
        2 => (digits, "00"),
        4 => digits.split_at_checked(2)?,
        _ => digits.split_once(':')?,
    };
    let minutes = i64::from(number(hours)? * 60 + number(minutes)?);
    (minutes < 24 * 60).then(|| TimeDelta::minutes(east * minutes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn older_is_what_can_be_known_to_be() {
        for (record, state) in [
            (json!(1), json!(2)),
            (json!(1.5), json!(2)),
            (json!("9"), json!("10")),
            (json!("2024-01-01"), json!("2024-01-02T00:00:00Z")),
            (json!("2024-01-01 10:00:00"), json!("2024-01-01T11:00:00.000Z")),
            (json!("2024-01-02T00:30:00+05:00"), json!("2024-01-01T20:00:00Z")),
            (json!("2024-01-01T23:30:00-0500"), json!("2024-01-02T04:30:01+00")),
            (json!("2024-01-01T10:00"), json!("2024-01-01T10:01:59 UTC")),
            (json!("2024-01-01T10:00:00,100"), json!("2024-01-01T10:00:00.2Z")),
            (json!("01HV0000AA"), json!("01HV0000AB")),
        ] {
            assert_eq!(is_older(&record, &state), Some(true), "{record} {state}");
            assert_eq!(is_older(&state, &record), Some(false), "{state} {record}");
        }
    }

    #[test]
    fn the_same_moment_is_not_older_however_it_is_written() {
        for (record, state) in [
            ("2024-01-01T23:30:00-05:00", "2024-01-02T04:30:00Z"),
            ("2024-01-02T12:00:00+00:00", "2024-01-02T12:00:00Z"),
            ("2024-01-02 12:00:00.500", "2024-01-02T12:00:00Z"),
            ("2024-01-02T12:00", "2024-01-02T12:00:59Z"),
            ("2024-01-02", "2024-01-02T12:00:00Z"),
            // Its day is the second of January somewhere.
            ("2024-01-02", "2024-01-02T23:30:00-05:00"),
            ("2024-01-02", "2024-01-03T00:30:00+05:00"),
        ] {
            assert_eq!(is_older(&json!(record), &json!(state)), Some(false), "{record} {state}");
            assert_eq!(is_older(&json!(state), &json!(record)), Some(false), "{state} {record}");
        }
    }

    #[test]
    fn two_forms_can_not_be_compared() {
        for (record, state) in [
            (json!(1), json!("2")),
            (json!(1_704_067_100), json!("1704067200")),
            (json!("2024-01-01T00:00:00Z"), json!(1_704_067_200)),
            (json!("1704067100"), json!("2024-01-01T00:00:00Z")),
            (json!("1/5/2024"), json!("2024-01-02T00:00:00Z")),
            (json!("1/5/2024"), json!("12/5/2023")),
            (json!("2024-13-01"), json!("2024-12-01")),
            (json!("2024-01-01T25:00:00Z"), json!("2024-01-02T00:00:00Z")),
            (json!("v9"), json!("v10")),
            (json!(null), json!(2)),
            (json!("é"), json!("ü")),
        ] {
            assert_eq!(is_older(&record, &state), None, "{record} {state}");
        }
    }

    #[test]
    fn days_are_counted_where_they_are_days() {
        let within = |record: &str, days| {
            is_within(&json!(record), &json!("2024-01-10T02:00:00+05:00"), days)
        };
        assert_eq!(within("2024-01-07", 2), Some(true));
        assert_eq!(within("2024-01-06T23:59:59Z", 2), Some(false));
        assert_eq!(within("yesterday", 2), None);
    }
}
