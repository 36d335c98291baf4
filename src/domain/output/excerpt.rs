//! The part of a log that tells how it went, found while the log passes: blocks that begin where a
//! failure is told of, and the end.

use std::collections::{BTreeMap, VecDeque};

use super::clean;
use super::marks::{self, Mark};

/// Bytes of the end that are remembered.
const TAIL: usize = 12 * 1024;
/// Bytes of a line that are shown: one line of minified script must not crowd out the rest.
const LINE_MAX: usize = 1_000;
/// Blocks that begin with a heading, and what each may take.
const HEADED: usize = 3;
const HEADED_LINES: usize = 80;
const HEADED_BYTES: usize = 4 * 1024;
/// Single lines that tell of an error, and what is shown below them.
const SINGLE: usize = 6;
const SINGLE_LINES: usize = 6;
/// Lines shown above the one that begins a block.
const LEAD: usize = 3;
/// Of a long traceback the heading is shown, and so many of the last lines of its frames.
const FRAMES: usize = 6;
/// Lines that are judged by patterns; a log in which more look like errors tells nothing by them.
const LOOKS: u32 = 100_000;
/// The words of a gap.
const GAP: usize = 48;

/// Lines that belong together, with their numbers.
#[derive(Debug, Default)]
struct Block {
    lines: VecDeque<(u64, String)>,
    bytes: usize,
    /// Of a traceback: where its frames begin among the lines.
    frames: Option<usize>,
    headed: bool,
}

/// Gathers what an excerpt is made of.
#[derive(Debug)]
pub(super) struct Excerpt {
    headed: Vec<Block>,
    single: Vec<Block>,
    open: Option<Block>,
    /// The last lines before the one that is looked at.
    recent: VecDeque<Vec<u8>>,
    looks: u32,
    tail: Vec<u8>,
    bytes: u64,
}

impl Default for Excerpt {
    fn default() -> Self {
        Self {
            headed: Vec::new(),
            single: Vec::new(),
            open: None,
            recent: VecDeque::new(),
            looks: LOOKS,
            tail: Vec::new(),
            bytes: 0,
        }
    }
}

impl Excerpt {
    /// Is it worth while to look for marks?
    pub(super) fn looks(&self) -> bool {
        self.looks > 0 && (self.headed.len() < HEADED || self.single.len() < SINGLE)
    }

    /// Does the line to come belong to a block?
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Looks at a line; `marked` if it may be one that begins a block.
    pub(super) fn line(&mut self, number: u64, text: &str, marked: bool) {
        let mut mark = None;
        if marked && self.looks() {
            self.looks -= 1;
            mark = marks::of(text);
        }
        let begins = match mark {
            Some(Mark::Heading) => self.headed.len() < HEADED,
            Some(Mark::Error) => self.open.is_none() && self.single.len() < SINGLE,
            None => false,
        };
        if begins {
            self.close();
            self.begin(number, text, mark == Some(Mark::Heading));
        } else if let Some(open) = &mut self.open
            && !open.go_on(number, text)
        {
            self.close();
        }
    }

    /// A line has been looked at.
    pub(super) fn pass(&mut self, raw: &[u8]) {
        let mut slot = match self.recent.len() {
            LEAD.. => self.recent.pop_front().unwrap_or_default(),
            _ => Vec::new(),
        };
        slot.clear();
        slot.extend_from_slice(&raw[..raw.len().min(LINE_MAX)]);
        self.recent.push_back(slot);
    }

    /// Keeps the end of all that was printed.
    pub(super) fn remember(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        let fresh = &chunk[chunk.len().saturating_sub(TAIL)..];
        let keep = TAIL.saturating_sub(fresh.len()).min(self.tail.len());
        self.tail.drain(..self.tail.len() - keep);
        self.tail.extend_from_slice(fresh);
    }

    fn begin(&mut self, number: u64, text: &str, headed: bool) {
        let mut block = Block { headed, ..Block::default() };
        let first = number - self.recent.len() as u64;
        for (at, line) in (first..).zip(&self.recent) {
            block.push(at, &clean(line));
        }
        block.push(number, text);
        if text.starts_with("Traceback ") {
            block.frames = Some(block.lines.len());
        }
        self.open = Some(block);
    }

    fn close(&mut self) {
        if let Some(block) = self.open.take() {
            if block.headed { self.headed.push(block) } else { self.single.push(block) }
        }
    }

    /// At most `limit` bytes of the `count` lines, in their order: blocks if they are wanted, and
    /// the end.
    pub(super) fn compose(&self, count: u64, limit: usize, blocks: bool) -> String {
        let tail = self.last_lines(count);
        let whole = tail.first().is_none_or(|(number, _)| *number == 1);
        let size = |lines: &[(u64, String)]| lines.iter().map(cost).sum::<usize>();
        let ended = self.tail.last().is_none_or(|byte| *byte == b'\n');
        if whole && size(&tail) <= limit {
            return joined(&tail.into_iter().collect(), count, ended);
        }
        let open = self.open.iter();
        let headed = self.headed.iter().chain(open.clone().filter(|block| block.headed));
        let single = self.single.iter().chain(open.filter(|block| !block.headed));
        let blocks: Vec<&Block> = headed.chain(single).filter(|_| blocks).collect();
        // A block has a gap before it, and a traceback one within.
        let room = limit.saturating_sub(GAP * (2 * blocks.len() + 2));
        let mut shown = BTreeMap::new();
        let of_blocks = blocks.into_iter().flat_map(|block| &block.lines).cloned();
        let left = room - fill(&mut shown, of_blocks, room / 5 * 3);
        fill(&mut shown, tail.into_iter().rev(), left);
        let mut text = joined(&shown, count, ended);
        text.truncate(text.floor_char_boundary(limit));
        text
    }

    /// The remembered end as lines with their numbers; whole ones where possible.
    fn last_lines(&self, count: u64) -> Vec<(u64, String)> {
        let mut tail = self.tail.as_slice();
        if self.bytes > TAIL as u64
            && let Some(line) = memchr::memchr(b'\n', tail)
            && line + 1 < tail.len()
        {
            tail = &tail[line + 1..];
        }
        if tail.is_empty() {
            return Vec::new();
        }
        let lines: Vec<&[u8]> =
            tail.strip_suffix(b"\n").unwrap_or(tail).split(|byte| *byte == b'\n').collect();
        let first = (count + 1).saturating_sub(lines.len() as u64);
        let shown = |line: &&[u8]| shortened(&clean(line)).into_owned();
        (first..).zip(lines.iter().map(shown)).collect()
    }
}

impl Block {
    fn push(&mut self, number: u64, text: &str) {
        let text = shortened(text).into_owned();
        self.bytes += text.len() + 1;
        self.lines.push_back((number, text));
    }

    /// Takes a further line; false when it is the last.
    fn go_on(&mut self, number: u64, text: &str) -> bool {
        self.push(number, text);
        if let Some(frames) = self.frames {
            if text.starts_with(' ') {
                if self.lines.len() > frames + FRAMES
                    && let Some((_, old)) = self.lines.remove(frames)
                {
                    self.bytes -= old.len() + 1;
                }
                return true;
            }
            // The exception; what it says may go on for some lines.
            self.frames = None;
        }
        let most = if self.headed { HEADED_LINES } else { SINGLE_LINES };
        self.lines.len() < most && self.bytes < HEADED_BYTES
    }
}

/// Adds lines until one does not fit; how many bytes they take.
fn fill(
    shown: &mut BTreeMap<u64, String>,
    lines: impl Iterator<Item = (u64, String)>,
    room: usize,
) -> usize {
    let mut taken = 0;
    for line in lines {
        if shown.contains_key(&line.0) {
            continue;
        }
        if taken + cost(&line) > room {
            break;
        }
        taken += cost(&line);
        shown.insert(line.0, line.1);
    }
    taken
}

fn cost(line: &(u64, String)) -> usize {
    line.1.len() + 1
}

fn shortened(line: &str) -> std::borrow::Cow<'_, str> {
    if line.len() <= LINE_MAX {
        return line.into();
    }
    let kept = &line[..line.floor_char_boundary(LINE_MAX - 40)];
    format!("{kept}… ({} bytes more)", line.len() - kept.len()).into()
}

/// The lines in their order, and how many are left out between them.
fn joined(lines: &BTreeMap<u64, String>, count: u64, ended: bool) -> String {
    let mut text = String::new();
    let mut next = 1;
    for (number, line) in lines {
        if *number > next {
            text.push_str(&gap_words(number - next));
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        next = number + 1;
    }
    if next <= count {
        text.push_str(&gap_words(count + 1 - next));
        text.push('\n');
    }
    if !ended {
        text.pop();
    }
    text
}

/// `… 12 lines left out …`
pub fn gap_words(lines: u64) -> String {
    format!("… {lines} line{} left out …", if lines == 1 { "" } else { "s" })
}

/// How many lines stand behind such words.
pub fn gap_of(line: &str) -> Option<u64> {
    let number = line.strip_prefix("… ")?.split(' ').next()?.parse().ok()?;
    (line == gap_words(number)).then_some(number)
}
