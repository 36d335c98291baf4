//! The part of a log that tells what went wrong: the first failure with what follows it, then the
//! end.

use std::borrow::Cow;

use crate::domain::output::marks::{self, Mark};
use crate::domain::output::{gap_of, gap_words};
use crate::domain::terminal::plain_line;

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

/// The telling part within `limit` bytes of plain text, gaps said. The whole log if it fits.
pub fn excerpt(bytes: &[u8], limit: usize) -> String {
    let log = String::from_utf8_lossy(bytes);
    let mut text = String::new();
    for piece in pieces(&log, limit) {
        match piece {
            Piece::Line { text: line, .. } => text.push_str(&plain_line(&line)),
            Piece::Gap { lines } => text.push_str(&gap_words(lines as u64)),
        }
        text.push('\n');
    }
    // Gaps and cuts are few; their words are what could exceed the limit.
    super::super::markdown::cut(&text, limit).to_owned()
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
        let tail = fitting(lines.iter().rev().map(cost), limit);
        return around(&lines, 0..0, lines.len() - tail);
    };
    let start = at.saturating_sub(LEAD_LINES);
    let head = fitting(lines[start..tail_start].iter().map(cost), limit - tail_limit);
    around(&lines, start..start + head, tail_start)
}

/// Two parts of the lines, and the gaps before them. Lines at their edges that tell of a gap of
/// their own belong to those.
fn around<'a>(
    lines: &[Cow<'a, str>],
    head: std::ops::Range<usize>,
    mut tail: usize,
) -> Vec<Piece<'a>> {
    let is_gap = |at: usize| gap_of(&lines[at]).is_some();
    let std::ops::Range { mut start, mut end } = head;
    while start < end && is_gap(start) {
        start += 1;
    }
    while start < end && is_gap(end - 1) {
        end -= 1;
    }
    if start == end {
        (start, end) = (0, 0);
    }
    while tail < lines.len() && tail > end && is_gap(tail) {
        tail += 1;
    }
    gap(&lines[..start])
        .into_iter()
        .chain(numbered(lines, start..end))
        .chain(gap(&lines[end..tail]))
        .chain(numbered(lines, tail..lines.len()))
        .collect()
}

fn gap<'a>(lines: &[Cow<'_, str>]) -> Option<Piece<'a>> {
    let left_out = |line: &Cow<'_, str>| usize::try_from(gap_of(line).unwrap_or(1)).unwrap_or(1);
    let lines = lines.iter().map(left_out).fold(0, usize::saturating_add);
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
    let mut error = None;
    for (at, line) in lines.iter().enumerate().skip(start) {
        match marks::of(&plain_line(line)) {
            Some(Mark::Heading) => return Some(at),
            Some(Mark::Error) => error = error.or(Some(at)),
            None => {}
        }
    }
    error
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
    fn what_an_excerpt_left_out_is_counted_when_it_is_cut_again() {
        let many = "line of the log\n".repeat(40);
        let log = format!("… 100 lines left out …\nError: one\n… 7 lines left out …\n{many}");
        let text = excerpt(log.as_bytes(), 300);
        assert!(text.len() <= 300, "{text}");
        let count = |words: &str| {
            let numbers = words.lines().filter_map(gap_of);
            numbers.sum::<u64>()
                + words.lines().filter(|line| gap_of(line).is_none()).count() as u64
        };
        assert_eq!(count(&text), 100 + 1 + 7 + 40, "{text}");
        assert!(text.contains("Error: one"), "{text}");
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
