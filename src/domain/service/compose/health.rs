//! `healthcheck` of a compose file, as the step waits for it.

use std::time::Duration;

use super::{Reader, Ready};
use crate::domain::service::shell;
use crate::domain::yaml::{Node, Value};

/// What holds where the file says nothing, as compose has it.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRIES: u32 = 3;
/// Longer waits are nobody's.
const LONGEST: Duration = Duration::from_hours(1);

impl Reader {
    pub(super) fn health(&mut self, node: &Node) -> Option<Ready> {
        let (mut interval, mut timeout, mut start) = (INTERVAL, TIMEOUT, Duration::ZERO);
        let mut retries = RETRIES;
        let mut run = None;
        for entry in self.entries(node, "`healthcheck`") {
            let what = format!("`{}`", entry.key);
            match entry.key.as_str() {
                "test" => run = self.probe(&entry.node),
                "interval" => interval = self.time(&entry.node, &what).unwrap_or(interval),
                "timeout" => timeout = self.time(&entry.node, &what).unwrap_or(timeout),
                "start_period" => start = self.time(&entry.node, &what).unwrap_or(start),
                "start_interval" => drop(self.time(&entry.node, &what)),
                "retries" => {
                    let written = self.text(&entry.node, &what)?;
                    retries = written.parse().unwrap_or_else(|_| {
                        self.add(entry.place, "`retries` is no count", "write a whole number");
                        RETRIES
                    });
                }
                "disable" if matches!(entry.node.value, Value::Bool(true)) => return None,
                "disable" => {}
                key => {
                    let what = format!("`healthcheck` has no key `{key}`");
                    self.add(entry.place, what, "remove it");
                }
            }
        }
        let limit = start.saturating_add((interval + timeout).saturating_mul(retries.max(1)));
        Some(Ready::new(run?, None, interval.min(Ready::INTERVAL), limit.min(LONGEST)))
    }

    fn probe(&mut self, node: &Node) -> Option<Vec<String>> {
        match &node.value {
            Value::Text(_) => self.text(node, "`test`").map(|line| shell(&line)),
            Value::List(items) => {
                let words = items.iter().filter_map(|item| self.text(item, "`test`"));
                let words: Vec<String> = words.collect();
                match words.as_slice() {
                    [word] if word == "NONE" => None,
                    [cmd_shell, line] if cmd_shell == "CMD-SHELL" => Some(shell(line)),
                    [cmd, program @ ..] if cmd == "CMD" && !program.is_empty() => {
                        Some(program.to_vec())
                    }
                    _ => {
                        let mend = "write `[CMD, program, …]`, `[CMD-SHELL, line]` or a line";
                        self.add(node.place, "`test` is no command", mend);
                        None
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Map(_) => {
                let mend = "write `[CMD, program, …]`, `[CMD-SHELL, line]` or a line";
                self.add(node.place, "`test` is no command", mend);
                None
            }
        }
    }

    fn time(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let written = self.text(node, what)?;
        let time = duration(&written);
        if time.is_none() {
            let what = format!("{what} can't be `{written}`");
            self.add(node.place, what, "write `500ms`, `10s` or `1m30s`");
        }
        time
    }
}

/// `1m30s`, `500ms`, `2h`.
fn duration(written: &str) -> Option<Duration> {
    let mut rest = written;
    let mut all = Duration::ZERO;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let units = [("ms", 1), ("us", 0), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
        let (unit, millis) = units.into_iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        all = all.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
    }
    (!written.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_compose_writes_them() {
        for (written, millis) in [("500ms", 500), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0)] {
            assert_eq!(duration(written), Some(Duration::from_millis(millis)), "{written}");
        }
        for wrong in ["", "5", "s", "1 s", "-1s", "1d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
