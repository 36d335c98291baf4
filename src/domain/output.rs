//! What a step prints, read as it passes: which part of it tells how the step went, and of which
//! places in files its tools complain. Memory is bounded whatever is printed, and so is the time
//! that a line takes.

mod excerpt;
mod lines;
pub mod marks;
pub mod place;
mod problems;
mod said;

use std::borrow::Cow;

use memchr::memchr;

use self::excerpt::Excerpt;
pub use self::excerpt::{gap_of, gap_words};
use self::lines::{Lines, without_sequences, without_time};
use self::place::Place;
use self::problems::Matcher;
use super::annotation::Level;
use super::terminal::plain_line;

/// A complaint of a tool about a place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub level: Level,
    /// The tool's own name for what is wrong; may be empty.
    pub rule: String,
    pub message: String,
    /// Where it is, the likeliest first; never empty.
    pub places: Vec<Place>,
}

/// Reads what is printed, in chunks of any size.
#[derive(Debug, Default)]
pub struct Reader {
    lines: Lines,
    look: Look,
}

/// What looks at lines.
#[derive(Debug, Default)]
struct Look {
    excerpt: Excerpt,
    problems: Matcher,
    scratch: Vec<u8>,
}

impl Reader {
    pub fn push(&mut self, chunk: &[u8]) {
        let Self { lines, look } = self;
        lines.push(chunk, |number, line| look.line(number, line));
        look.excerpt.remember(chunk);
    }

    /// So many lines; the last one may have no end.
    pub fn lines(&self) -> u64 {
        self.lines.number() + u64::from(self.lines.is_open())
    }

    pub fn finish(mut self) -> Told {
        let count = self.lines();
        let Self { lines, look } = &mut self;
        lines.finish(|number, line| look.line(number, line));
        let Look { excerpt, problems, .. } = self.look;
        Told { excerpt, lines: count, problems: problems.finish() }
    }
}

impl Look {
    fn line(&mut self, number: u64, raw: &[u8]) {
        let bare = if memchr(0x1b, raw).is_some() {
            without_sequences(raw, &mut self.scratch);
            &self.scratch
        } else {
            raw
        };
        let bare = without_time(bare);
        let marked = self.excerpt.looks() && marks::may(bare);
        let named = self.problems.wants(bare);
        if marked || named || self.excerpt.is_open() {
            let text = clean(raw);
            if named {
                self.problems.line(&text);
            }
            self.excerpt.line(number, &text, marked);
        }
        self.excerpt.pass(raw);
    }
}

/// A line as text: without colours, controls, and the time in front of it.
fn clean(raw: &[u8]) -> Cow<'_, str> {
    let without = |text: &str| text.len() - without_time(text.as_bytes()).len();
    match String::from_utf8_lossy(raw) {
        Cow::Borrowed(text) => match plain_line(text) {
            Cow::Borrowed(plain) => Cow::Borrowed(&plain[without(plain)..]),
            Cow::Owned(plain) => Cow::Owned(plain[without(&plain)..].to_owned()),
        },
        Cow::Owned(text) => {
            let plain = plain_line(&text);
            Cow::Owned(plain[without(&plain)..].to_owned())
        }
    }
}

/// What was printed, in short.
#[derive(Debug, Default)]
pub struct Told {
    excerpt: Excerpt,
    lines: u64,
    /// In the order in which they were printed, none twice; only so many: `GATHERED`.
    pub problems: Vec<Problem>,
}

impl Told {
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// What tells of failures, with what stands around it, and the end: at most `limit` bytes, with
    /// what is left out said.
    pub fn telling(&self, limit: usize) -> String {
        self.excerpt.compose(self.lines, limit, true)
    }

    /// The end alone.
    pub fn last(&self, limit: usize) -> String {
        self.excerpt.compose(self.lines, limit, false)
    }
}

/// The complaints in a text that is at hand as a whole, as a test's message.
pub fn problems_of(text: &str) -> Vec<Problem> {
    let mut reader = Reader::default();
    reader.push(text.as_bytes());
    reader.finish().problems
}

#[cfg(test)]
mod tests;
