//! A step's log on its page: the end by default, any part by its number, lines that can be linked.

use maud::{Markup, PreEscaped, html};

use crate::domain::run::{Job, Run, StepRecord};
use crate::render::log::Ansi;
use crate::store::LogTail;
use crate::web::Web;
use crate::web::error::WebError;
use crate::web::logs::{self, Log, Stored};

/// Lines on one page.
const LINES: u64 = 2_000;
/// A stored log up to this size is read whole, so that its lines can be counted.
const WHOLE: u64 = 4 * 1024 * 1024;
/// Of a larger one only the end is read.
const END: u64 = 1024 * 1024;
/// How far into a log pages can be asked for; beyond, one fetches the file.
const SCAN: u64 = 64 * 1024 * 1024;
const PIECE: u64 = 1024 * 1024;
/// Bytes shown of one line.
const LINE: usize = 4_096;

/// Consecutive lines of a log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Excerpt {
    /// The number of the first line, from 1; unknown in the middle of a log.
    first: Option<u64>,
    lines: Vec<Vec<u8>>,
    /// Are there lines after these?
    more: bool,
}

/// Takes lines `from..from + LINES` out of pieces of a log, holding no more than those.
#[derive(Debug)]
struct Scanner {
    /// Lines to pass over still.
    skip: u64,
    lines: Vec<Vec<u8>>,
    /// The line under way.
    current: Vec<u8>,
    started: bool,
    more: bool,
}

impl Scanner {
    fn new(skip: u64) -> Self {
        Self { skip, lines: Vec::new(), current: Vec::new(), started: false, more: false }
    }

    /// False once nothing more is needed.
    fn feed(&mut self, piece: &[u8]) -> bool {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.is_full() {
                self.more = true;
                return false;
            }
            self.started = true;
            if self.skip == 0 {
                let room = LINE.saturating_sub(self.current.len());
                let text = part.strip_suffix(b"\n").unwrap_or(part);
                self.current.extend_from_slice(text.get(..room).unwrap_or(text));
            }
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
        true
    }

    fn end_line(&mut self) {
        self.started = false;
        if self.skip > 0 {
            self.skip -= 1;
        } else {
            self.lines.push(std::mem::take(&mut self.current));
        }
    }

    fn is_full(&self) -> bool {
        u64::try_from(self.lines.len()).unwrap_or(u64::MAX) >= LINES
    }

    fn finish(mut self, first: u64) -> Excerpt {
        if self.started && !self.is_full() {
            self.end_line();
        }
        Excerpt { first: Some(first), lines: self.lines, more: self.more }
    }
}

/// The last lines of `bytes`, which begin at the start of the log or (`whole` false) anywhere.
fn last_lines(bytes: &[u8], whole: bool, total: Option<u64>) -> Excerpt {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    if !whole && lines.len() > 1 {
        // The first one was most likely cut.
        lines.remove(0);
    }
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let total = if whole { Some(count(lines.len())) } else { total };
    let shown =
        lines.split_off(lines.len().saturating_sub(usize::try_from(LINES).unwrap_or(2_000)));
    let first = total.and_then(|total| total.checked_sub(count(shown.len()))).map(|n| n + 1);
    let cut = |line: &[u8]| line.get(..LINE).unwrap_or(line).to_vec();
    Excerpt { first, lines: shown.into_iter().map(cut).collect(), more: false }
}

/// Which log, and which part of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) run: &'a Run,
    pub(super) job: &'a Job,
    pub(super) step: &'a StepRecord,
    pub(super) attempt: u32,
    /// From 1; absent: the end.
    pub(super) page: Option<u64>,
}

/// The log's section of the page.
pub(super) async fn section(web: &Web, asked: Asked<'_>) -> Result<Markup, WebError> {
    let Asked { run, job, step, attempt, .. } = asked;
    let raw = format!("{}?attempt={attempt}", web.links.log(run.id, &job.connector, &step.id));
    Ok(match logs::find(web, run, job, step, attempt).await? {
        Log::None => html! { p.muted { "There is no log." } },
        Log::Live(tail) => live(&tail, &asked, &raw),
        Log::Stored(stored) => stored_section(web, &stored, &asked, &raw).await?,
    })
}

fn live(tail: &LogTail, asked: &Asked<'_>, raw: &str) -> Markup {
    let excerpt = last_lines(&tail.bytes, tail.start == 0, None);
    html! {
        p.muted {
            "Live: the newest lines. "
            a href={ (raw) "&follow=1" } { "Follow as plain text" } "."
        }
        (lines(&excerpt, asked, (tail.start > 0).then_some(tail.start)))
    }
}

async fn stored_section(
    web: &Web,
    stored: &Stored,
    asked: &Asked<'_>,
    raw: &str,
) -> Result<Markup, WebError> {
    if stored.total == 0 {
        return Ok(html! { p.muted { "The step printed nothing." } });
    }
    let (excerpt, reached) = match asked.page {
        Some(page) => page_of(web, stored, page).await?,
        None => (end_of(web, stored, asked).await?, true),
    };
    let cut = asked.step.facts.log.as_ref().map_or(0, |log| log.cut);
    Ok(html! {
        p.muted {
            a href=(raw) { "Whole log" } " (" (size(stored.total)) ")"
            @if excerpt.lines.len() > 40 { " · " a href="#log-end" { "Jump to the end" } }
            @if cut > 0 { "; " (size(cut)) " more were printed and cut off" }
        }
        @if !reached {
            p.muted { "This part lies beyond the first " (size(SCAN)) ": fetch the whole log." }
        } @else if excerpt.lines.is_empty() {
            p.muted { "The log has no such part." }
        }
        (pager(&excerpt, asked))
        (lines(&excerpt, asked, None))
        div #log-end { @if excerpt.lines.len() > 40 { (pager(&excerpt, asked)) } }
    })
}

async fn end_of(web: &Web, stored: &Stored, asked: &Asked<'_>) -> Result<Excerpt, WebError> {
    if stored.total <= WHOLE {
        let bytes = stored.part(&web.blobs, 0, stored.total).await?;
        return Ok(last_lines(&bytes, true, None));
    }
    let bytes = stored.part(&web.blobs, stored.total - END, END).await?;
    let recorded = asked.step.facts.log.as_ref().filter(|_| asked.attempt == asked.step.attempt);
    Ok(last_lines(&bytes, false, recorded.map(|log| log.lines)))
}

/// One page; false if it lies too far into the log to look for.
async fn page_of(web: &Web, stored: &Stored, page: u64) -> Result<(Excerpt, bool), WebError> {
    let skip = page.saturating_sub(1).saturating_mul(LINES);
    let mut scanner = Scanner::new(skip);
    let mut at = 0;
    while at < stored.total {
        if at >= SCAN && !scanner.is_full() {
            return Ok((Excerpt::default(), false));
        }
        let piece = stored.part(&web.blobs, at, PIECE).await?;
        at += PIECE;
        if piece.is_empty() || !scanner.feed(&piece) {
            break;
        }
    }
    Ok((scanner.finish(skip.saturating_add(1)), true))
}

fn page_number(line: u64) -> u64 {
    (line.saturating_sub(1)) / LINES + 1
}

fn href(asked: &Asked<'_>, page: Option<u64>, line: Option<u64>) -> String {
    let page = page.map(|page| format!("&log={page}")).unwrap_or_default();
    let place = line.map_or_else(|| "log".to_owned(), |line| format!("L{line}"));
    format!("?attempt={}{page}#{place}", asked.attempt)
}

fn pager(excerpt: &Excerpt, asked: &Asked<'_>) -> Markup {
    let Some(first) = excerpt.first else { return html! {} };
    let earlier = (first > 1).then(|| page_number(first - 1));
    let later = excerpt.more.then(|| asked.page.unwrap_or(1).saturating_add(1));
    html! {
        @if earlier.is_some() || later.is_some() || asked.page.is_some() {
            nav.pager aria-label="Parts of the log" {
                @if first > 1 { a href=(href(asked, Some(1), None)) { "First lines" } }
                @if let Some(page) = earlier { a href=(href(asked, Some(page), None)) { "Earlier" } }
                @if let Some(page) = later { a href=(href(asked, Some(page), None)) { "Later" } }
                @if asked.page.is_some() { a href=(href(asked, None, None)) { "Last lines" } }
            }
        }
    }
}

fn lines(excerpt: &Excerpt, asked: &Asked<'_>, before: Option<u64>) -> Markup {
    let mut ansi = Ansi::default();
    html! {
        pre.log #log tabindex="0" aria-label="Log" {
            @if let Some(before) = before {
                span.gap { (size(before)) " came before; the whole log is kept once the step ends" }
            }
            @for (number, line) in (0..).zip(&excerpt.lines) {
                @let html = PreEscaped(ansi.line(&String::from_utf8_lossy(line)));
                @if let Some(number) = excerpt.first.map(|first| first + number) {
                    span.line #{ "L" (number) } {
                        a.no href=(href(asked, Some(page_number(number)), Some(number))) { (number) }
                        (html)
                    }
                } @else { span.line { (html) } }
            }
        }
    }
}

/// `12 B`, `3.4 kB`, `1.0 GB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Tenths of a unit, in integers: a float would print 999,960 B as 1000.0 kB.
    let mut tenths = bytes / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: u64) -> Vec<u8> {
        (1..=count).flat_map(|n| format!("line {n}\n").into_bytes()).collect()
    }

    #[test]
    fn the_end_of_a_whole_log_is_numbered() {
        let excerpt = last_lines(&numbered(4_500), true, None);
        assert_eq!(excerpt.first, Some(2_501));
        assert_eq!(excerpt.lines.len(), 2_000);
        assert_eq!(excerpt.lines.last().unwrap(), b"line 4500");
        assert_eq!(last_lines(b"a\nb", true, None).lines, [b"a", b"b"]);
        assert_eq!(last_lines(b"", true, None).lines, Vec::<Vec<u8>>::new());
    }

    #[test]
    fn the_end_of_a_cut_log_drops_the_torn_line() {
        let excerpt = last_lines(b"rn line\nwhole\nlast\n", false, Some(70));
        assert_eq!((excerpt.first, excerpt.lines.len()), (Some(69), 2));
        assert_eq!(last_lines(b"rn\nwhole\n", false, None).first, None);
        assert_eq!(last_lines(b"one very long line", false, None).lines.len(), 1);
    }

    #[test]
    fn pages_are_found_however_the_log_is_cut_into_pieces() {
        let log = numbered(4_500);
        for size in [1, 7, 1_000, 1_000_000] {
            for (page, first, last, more) in
                [(1, 1, 2_000, true), (2, 2_001, 4_000, true), (3, 4_001, 4_500, false)]
            {
                let mut scanner = Scanner::new((page - 1) * LINES);
                let _wanted_more = log.chunks(size).all(|piece| scanner.feed(piece));
                let excerpt = scanner.finish((page - 1) * LINES + 1);
                assert_eq!(excerpt.first, Some(first));
                let expected = format!("line {last}").into_bytes();
                assert_eq!(excerpt.lines.last(), Some(&expected), "{size} {page}");
                assert_eq!(excerpt.more, more, "{size} {page}");
            }
        }
        assert_eq!(Scanner::new(2_000).finish(2_001).lines.len(), 0);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut scanner = Scanner::new(0);
        for _ in 0..100 {
            assert!(scanner.feed(&[b'x'; 10_000]));
        }
        let excerpt = scanner.finish(1);
        assert_eq!(excerpt.lines.len(), 1);
        assert!(excerpt.lines[0].len() <= LINE);
    }

    #[test]
    fn sizes_read_well() {
        for (bytes, expected) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (3_456, "3.4 kB"),
            (999_960, "999.9 kB"),
            (1_000_000, "1.0 MB"),
            (1_073_741_824, "1.0 GB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }
}
