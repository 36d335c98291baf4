//! The part of a log that tells what went wrong: the first failure with what follows it, then the
//! end.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::RegexSet;

use super::plain_line;

/// A longer line is cut: one line of minified script must not crowd out the rest.
const LINE_MAX_BYTES: usize = 1_000;

/// The failure is looked for in so many lines at the end: a log may have millions.
const SEARCHED_LINES: usize = 200_000;

/// How many lines stand before the line that tells of the failure.
const LEAD_LINES: usize = 3;

/// A part of an excerpt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A line of the log as it was printed, with its number (1-based).
    Line { number: usize, text: Cow<'a, str> },
    /// So many lines are left out here.
    Gap { lines: usize },
}

/// Where test runners and compilers begin to tell what failed: headings first, since they gather
/// what the lines above only mention.
static HEADINGS: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    RegexSet::new([
        r"^=+ (FAILURES|ERRORS) =+$",     // pytest
        r"^failures:$",                   // cargo test
        r"^--- FAIL: ",                   // go test
        r"^\s*\d+ failing$",              // mocha
        r"^\s*● ",                        // jest
        r"^FAILURE: Build failed",        // Gradle
        r"^\[ERROR\] Failures:",          // Maven
        r"^(FAIL|ERROR): \w+ \(",         // unittest
        r"^Traceback \(most recent call", // Python
        r"panicked at ",                  // Rust
        r"^panic: ",                      // Go
        r#"^Exception in thread ""#,      // Java
    ])
    .ok()
});

/// Single lines that tell of an error.
static MARKS: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    RegexSet::new([
        r"^(E|ERR|Error|ERROR|FATAL|fatal|error)(\[[\w-]+\])?[: !]",
        r"^\S+:\d+(:\d+)?:? (fatal )?error",
        r"^npm (ERR!|error)",
        r"^(make|ninja): \*\*\*",
        r"^(sh|bash|/bin/sh|\S+\.sh): .*(not found|No such file|denied)",
        r"\b(FAILED|command not found|Segmentation fault|Killed|OutOfMemoryError)\b",
        r"\b(\w+Error|\w+Exception): ",
    ])
    .ok()
});

/// The telling part within `limit` bytes of plain text, gaps said. The whole log if it fits.
pub fn excerpt(bytes: &[u8], limit: usize) -> String {
    let log = String::from_utf8_lossy(bytes);
    let mut text = String::new();
    for piece in pieces(&log, limit) {
        match piece {
            Piece::Line { text: line, .. } => text.push_str(&plain_line(&line)),
            Piece::Gap { lines } => text.push_str(&gap_words(lines)),
        }
        text.push('\n');
    }
    // Gaps and cuts are few; their words are what could exceed the limit.
    super::super::markdown::cut(&text, limit).to_owned()
}

/// `… 12 lines left out …`
pub(crate) fn gap_words(lines: usize) -> String {
    format!("… {lines} line{} left out …", if lines == 1 { "" } else { "s" })
}

/// The lines to show of a log so that they take at most about `limit` bytes: what failed with its
/// context, then the end, in order.
pub fn pieces(log: &str, limit: usize) -> Vec<Piece<'_>> {
    let lines: Vec<Cow<'_, str>> = log.lines().map(shortened).collect();
    let cost = |line: &Cow<'_, str>| line.len() + 1;
    if lines.iter().map(cost).sum::<usize>() <= limit {
        return numbered(&lines, 0..lines.len()).collect();
    }
    let limit = limit.saturating_sub(80); // for the words of two gaps
    let telling = telling_line(&lines);
    let tail_limit = if telling.is_some() { limit / 5 * 2 } else { limit };
    let tail = fitting(lines.iter().rev().map(cost), tail_limit);
    let tail_start = lines.len() - tail;
    let Some(at) = telling.filter(|at| *at < tail_start) else {
        let tail_start = lines.len() - fitting(lines.iter().rev().map(cost), limit);
        return gap(tail_start)
            .into_iter()
            .chain(numbered(&lines, tail_start..lines.len()))
            .collect();
    };
    let start = at.saturating_sub(LEAD_LINES);
    let head = fitting(lines[start..tail_start].iter().map(cost), limit - tail_limit);
    gap(start)
        .into_iter()
        .chain(numbered(&lines, start..start + head))
        .chain(gap(tail_start - (start + head)))
        .chain(numbered(&lines, tail_start..lines.len()))
        .collect()
}

fn gap<'a>(lines: usize) -> Option<Piece<'a>> {
    (lines > 0).then_some(Piece::Gap { lines })
}

fn numbered<'a>(
    lines: &[Cow<'a, str>],
    range: std::ops::Range<usize>,
) -> impl Iterator<Item = Piece<'a>> {
    range.map(|index| Piece::Line { number: index + 1, text: lines[index].clone() })
}

/// How many of these fit into the limit.
fn fitting(costs: impl Iterator<Item = usize>, limit: usize) -> usize {
    let mut used = 0;
    costs
        .take_while(|cost| {
            used += cost;
            used <= limit
        })
        .count()
}

fn telling_line(lines: &[Cow<'_, str>]) -> Option<usize> {
    let start = lines.len().saturating_sub(SEARCHED_LINES);
    let first = |set: &LazyLock<Option<RegexSet>>| {
        let set = set.as_ref()?;
        let found = lines[start..].iter().position(|line| set.is_match(&plain_line(line)));
        found.map(|index| start + index)
    };
    first(&HEADINGS).or_else(|| first(&MARKS))
}

/// A very long line keeps its last state (what follows the last carriage return), then its start.
fn shortened(line: &str) -> Cow<'_, str> {
    let shown = line.trim_end_matches('\r');
    if shown.len() <= LINE_MAX_BYTES {
        return Cow::Borrowed(shown);
    }
    let last = shown.rsplit('\r').next().unwrap_or(shown);
    if last.len() <= LINE_MAX_BYTES {
        return Cow::Borrowed(last);
    }
    let kept = super::super::markdown::cut(last, LINE_MAX_BYTES - 40);
    Cow::Owned(format!("{kept}… ({} bytes more)", last.len() - kept.len()))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn a_short_log_is_shown_whole() {
        assert_eq!(excerpt(b"one\n\x1b[31mtwo\x1b[0m\n", 100), "one\ntwo\n");
        assert_eq!(excerpt(b"", 100), "");
        assert_eq!(excerpt(b"caf\xff\n", 100), "caf\u{fffd}\n");
    }

    #[test]
    fn the_failure_is_found_and_the_end_kept() {
        let mut log = String::new();
        for line in 0..500 {
            let _ = writeln!(log, "test_{line} PASSED");
        }
        log.push_str("=== FAILURES ===\n    assert 1 == 2\nE   assert 1 == 2\n");
        for line in 0..500 {
            let _ = writeln!(log, "captured {line}");
        }
        log.push_str("=== 1 failed in 3 s ===\n");
        let text = excerpt(log.as_bytes(), 1_000);
        assert!(text.len() <= 1_000);
        assert!(text.starts_with("… 497 lines left out …\ntest_497 PASSED\n"), "{text}");
        assert!(text.contains("E   assert 1 == 2"));
        assert!(text.ends_with("=== 1 failed in 3 s ===\n"));
        assert_eq!(text.matches("left out").count(), 2);
    }

    #[test]
    fn without_a_mark_the_end_is_shown() {
        let log = "line\n".repeat(1_000);
        let text = excerpt(log.as_bytes(), 300);
        assert!(text.len() <= 300 && text.starts_with("… 9"), "{text}");
    }

    #[test]
    fn one_endless_line_is_cut_and_its_last_state_kept() {
        let mut bar = String::new();
        for percent in 0..5_000 {
            let _ = write!(bar, "\r{percent} of 5000");
        }
        assert_eq!(excerpt(bar.as_bytes(), 10_000), "4999 of 5000\n");
        let text = excerpt("x".repeat(10_000).as_bytes(), 5_000);
        assert!(text.ends_with("… (9040 bytes more)\n"), "{text}");
    }
}
