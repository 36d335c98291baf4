//! `format` of a schema, as strict as Airbyte's own acceptance tests are: connectors that pass there
//! print times without a zone and addresses as people write them.

use chrono::NaiveDate;
use jsonschema::ValidationOptions;

/// What those tests look at nobody's text for.
const ANY: [&str; 9] = [
    "hostname",
    "idn-hostname",
    "iri",
    "iri-reference",
    "json-pointer",
    "relative-json-pointer",
    "uri",
    "uri-reference",
    "uri-template",
];

/// The formats that the draft itself takes more strictly.
pub(super) fn lenient(options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    let options = options
        .with_format("date-time", is_date_time)
        .with_format("time", is_time)
        .with_format("email", |text: &str| text.contains('@'))
        .with_format("idn-email", |text: &str| text.contains('@'));
    ANY.iter().fold(options, |options, name| options.with_format(*name, |_: &str| true))
}

/// `2024-01-31T10:00:00.5+01:00`, of which the fraction and the zone may lack, a blank stand for the
/// `T`, and months, days and times have one digit.
fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't', ' ']) else { return false };
    is_date(date) && is_time(time)
}

fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let year = parts.next().filter(|year| year.len() == 4).and_then(|year| number(year, 4));
    let month = parts.next().and_then(|month| number(month, 2));
    let day = parts.next().and_then(|day| number(day, 2));
    let (Some(year), Some(month), Some(day)) = (year, month, day) else { return false };
    i32::try_from(year).is_ok_and(|year| NaiveDate::from_ymd_opt(year, month, day).is_some())
}

fn is_time(text: &str) -> bool {
    let zone = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, ':' | '.'));
    let (time, zone) = text.split_at(zone.unwrap_or(text.len()));
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = time.splitn(3, ':');
    // A minute may have a second more, now and then.
    let within = [24, 60, 61].map(|most| {
        let part = parts.next().and_then(|part| number(part, 2));
        part.is_some_and(|part| part < most)
    });
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    within == [true; 3] && is_fraction && is_zone(zone.trim())
}

/// Nothing, `Z`, a name, or hours and perhaps minutes from Greenwich.
fn is_zone(text: &str) -> bool {
    let Some(offset) = text.strip_prefix(['+', '-']) else {
        return text.bytes().all(|b| b.is_ascii_alphabetic());
    };
    let (hours, minutes) = match offset.split_once(':') {
        Some(parts) => parts,
        None if offset.len() == 4 && offset.is_ascii() => offset.split_at(2),
        None => (offset, "0"),
    };
    number(hours, 2).is_some_and(|hours| hours < 24)
        && number(minutes, 2).is_some_and(|minutes| minutes < 60)
}

/// So many digits at most.
fn number(text: &str, most: usize) -> Option<u32> {
    let is_plain = text.len() <= most && text.bytes().all(|b| b.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_as_airbytes_tests_take_them() {
        for text in [
            "2014-10-12T08:08:11.908655",
            "2014-10-12T08:08:11",
            "2014-10-12 08:08:11Z",
            "2014-1-2 8:8:1+00:00",
            "2014-10-12T08:08:11.5-0530",
            "2014-10-12T08:08:11+02",
            "2014-10-12T23:59:60 UTC",
        ] {
            assert!(is_date_time(text), "{text}");
        }
        for text in [
            "",
            "2014-10-12",
            "2014-10-12T08:08",
            "2014-13-12T08:08:11",
            "2014-02-30T08:08:11",
            "2014-10-12T24:08:11",
            "2014-10-12T08:08:11.",
            "2014-10-12T08:08:11+25:00",
            "2014-10-12T08:08:11+ä1",
            "14-10-12T08:08:11",
            "1413101291",
            "2014-10-12T08:08:11Z and more",
        ] {
            assert!(!is_date_time(text), "{text}");
        }
    }
}
