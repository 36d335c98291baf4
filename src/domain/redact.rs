//! Takes secrets out of whatever is written down, in every form that common tools give them.
//!
//! What can't be found is said in `docs/security.md`: a step that encodes in a way of its own, and
//! what is no text. Values that are too short or too common are left, and their names are told.

mod clip;
mod forms;
mod parts;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use bytes::Bytes;

use super::names::SecretName;
pub use clip::Clip;
use forms::Forms;

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// The most that all values of a job may hold together: a finder takes a multiple of it.
pub const LARGEST_TOTAL: usize = 256 * 1024;

/// Finds the values of some secrets. Says in `left` whose are not looked for.
#[derive(Default)]
pub struct Redactor {
    finder: Option<Finder>,
    left: BTreeMap<SecretName, Left>,
}

/// What of a secret is too short or too common to be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Whole,
    /// Some texts or numbers within it.
    Parts,
}

struct Finder {
    automaton: AhoCorasick,
    /// Sorted, so that what begins with some bytes is found by halving.
    patterns: Vec<Vec<u8>>,
    longest: usize,
    /// By two bytes: does a pattern begin so?
    heads: Vec<bool>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.finder.as_ref().map_or(0, |finder| finder.patterns.len());
        f.debug_struct("Redactor").field("patterns", &patterns).field("left", &self.left).finish()
    }
}

/// Bytes from `start` to `end`, not including it.
type Span = (usize, usize);

impl Redactor {
    /// For these values; `common` is a text whose parts are no secrets, whatever a value says.
    /// Why not, in words, if they are too large.
    pub fn new<'v>(
        values: impl IntoIterator<Item = (&'v SecretName, &'v [u8])>,
        common: &str,
    ) -> Result<Self, String> {
        Self::named(values.into_iter().map(|(name, value)| (Some(name), value)), common)
    }

    /// The same for values that have no names: which of them are left, it does not say.
    pub fn of<'v>(
        values: impl IntoIterator<Item = &'v [u8]>,
        common: &str,
    ) -> Result<Self, String> {
        Self::named(values.into_iter().map(|value| (None, value)), common)
    }

    fn named<'v>(
        values: impl Iterator<Item = (Option<&'v SecretName>, &'v [u8])>,
        common: &str,
    ) -> Result<Self, String> {
        let mut patterns = BTreeSet::new();
        let mut left = BTreeMap::new();
        let mut total = 0;
        for (name, value) in values {
            total += value.len();
            if total > LARGEST_TOTAL {
                return Err(format!(
                    "the secrets of one job are larger than {} KiB together; declare fewer, or \
                     smaller ones",
                    LARGEST_TOTAL >> 10
                ));
            }
            let forms = Forms::of(value, common);
            let what = match (forms.whole, forms.parts_left) {
                (false, _) => Some(Left::Whole),
                (true, true) => Some(Left::Parts),
                (true, false) => None,
            };
            left.extend(name.cloned().zip(what));
            patterns.extend(forms.patterns);
        }
        Ok(Self { finder: Finder::new(patterns.into_iter().collect())?, left })
    }

    /// The secrets that are not looked for, or not in all their parts.
    pub fn left(&self) -> &BTreeMap<SecretName, Left> {
        &self.left
    }

    /// Is nothing looked for?
    pub fn is_empty(&self) -> bool {
        self.finder.is_none()
    }

    /// The text without any of the values.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The bytes without any of the values.
    pub fn bytes<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let spans = self.finder.as_ref().map(|finder| finder.spans(bytes)).unwrap_or_default();
        if spans.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for (start, end) in spans {
            out.extend_from_slice(&bytes[at..start]);
            out.extend_from_slice(MASK.as_bytes());
            at = end;
        }
        out.extend_from_slice(&bytes[at..]);
        Cow::Owned(out)
    }
}

impl Finder {
    fn new(patterns: Vec<Vec<u8>>) -> Result<Option<Self>, String> {
        let Some(longest) = patterns.iter().map(Vec::len).max() else { return Ok(None) };
        let mut heads = vec![false; 1 << 16];
        for pattern in &patterns {
            heads[head(pattern)] = true;
        }
        // All overlapping matches: where two values overlap, both are to go. This kind stays small
        // where a table of states would not.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(&patterns)
            .map_err(|error| format!("the secrets of the job can't be looked for: {error}"))?;
        Ok(Some(Self { automaton, patterns, longest, heads }))
    }

    /// What is to go, in order; no two of them touch.
    fn spans(&self, bytes: &[u8]) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        for found in self.automaton.find_overlapping_iter(bytes) {
            let mut start = found.start();
            while let Some((before, _)) = spans.pop_if(|(_, end)| *end >= start) {
                start = start.min(before);
            }
            spans.push((start, found.end()));
        }
        spans
    }

    /// Where the first value begins that may go on behind the end.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let first = bytes.len().saturating_sub(self.longest - 1);
        let may_begin = |at: &usize| match bytes.get(*at..*at + 2) {
            Some(two) => self.heads[head(two)],
            None => true,
        };
        (first..bytes.len())
            .filter(may_begin)
            .find(|at| self.goes_on(&bytes[*at..]))
            .unwrap_or(bytes.len())
    }

    fn goes_on(&self, begin: &[u8]) -> bool {
        // An equal one is a whole match and does not go on; the next one might.
        let next = self.patterns.partition_point(|pattern| pattern.as_slice() <= begin);
        self.patterns.get(next).is_some_and(|pattern| pattern.starts_with(begin))
    }
}

fn head(pattern: &[u8]) -> usize {
    match pattern {
        [first, second, ..] => usize::from(*first) << 8 | usize::from(*second),
        [first] => usize::from(*first) << 8,
        [] => 0,
    }
}

/// Redacts what comes in pieces, however it is cut. Holds back only what could be the begin of a
/// value.
#[derive(Debug)]
pub struct RedactedStream {
    redactor: Arc<Redactor>,
    held: Vec<u8>,
    /// How much of what is held belongs to a value that was found already.
    covered: usize,
    /// Was the last byte handed out, or the mask for it, part of a value?
    masked: bool,
}

impl RedactedStream {
    pub fn new(redactor: Arc<Redactor>) -> Self {
        Self { redactor, held: Vec::new(), covered: 0, masked: false }
    }

    /// What of it, and of what was held, is certain by now.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        let Some(finder) = &self.redactor.finder else { return chunk };
        if self.held.is_empty() {
            let (spans, until) = (finder.spans(&chunk), finder.open_end(&chunk));
            if spans.is_empty() {
                self.held.extend_from_slice(&chunk[until..]);
                self.masked &= until == 0;
                return chunk.slice(..until);
            }
            return self.hand_out(&chunk, spans, until);
        }
        let mut whole = std::mem::take(&mut self.held);
        whole.extend_from_slice(&chunk);
        let (spans, until) = (finder.spans(&whole), finder.open_end(&whole));
        self.hand_out(&whole, spans, until)
    }

    /// The rest: nothing follows.
    pub fn finish(&mut self) -> Bytes {
        let rest = std::mem::take(&mut self.held);
        let spans = self.redactor.finder.as_ref().map(|finder| finder.spans(&rest));
        self.hand_out(&rest, spans.unwrap_or_default(), rest.len())
    }

    fn hand_out(&mut self, bytes: &[u8], mut spans: Vec<Span>, until: usize) -> Bytes {
        if self.covered > 0 {
            let mut end = self.covered;
            while spans.first().is_some_and(|(start, _)| *start <= end) {
                end = end.max(spans.remove(0).1);
            }
            spans.insert(0, (0, end));
        }
        let mut out = Vec::with_capacity(until);
        let mut at = 0;
        self.covered = 0;
        for (start, end) in spans {
            if start > until {
                // It lies in what is held, where it is found again.
                break;
            }
            out.extend_from_slice(&bytes[at..start]);
            if !(self.masked && start == 0) {
                out.extend_from_slice(MASK.as_bytes());
            }
            at = end.min(until);
            self.covered = end.saturating_sub(until);
            self.masked = true;
        }
        if at < until {
            out.extend_from_slice(&bytes[at..until]);
            self.masked = false;
        }
        self.held = bytes[until..].to_vec();
        out.into()
    }
}

#[cfg(test)]
mod tests;
