//! Durations as people write them: `30s`, `10m`, `2h`, `45d`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no duration: write a whole number and a unit, as in `30s`, `10m`, `2h`, `45d`")]
pub struct InvalidDuration(String);

/// Reads `<whole number><s|m|h|d>`; also `ms`.
pub fn parse(text: &str) -> Result<Duration, InvalidDuration> {
    let invalid = || InvalidDuration(text.to_owned());
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(invalid)?;
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| invalid())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(invalid()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(parse("45d").unwrap(), Duration::from_hours(45 * 24));
        for bad in ["", "30", "s", "1.5h", "10 minutes", "99999999999999999d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
