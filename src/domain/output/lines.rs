//! Lines out of chunks, of bounded length.

use memchr::{memchr, memrchr};

/// Bytes of a line that are looked at: its last state, if it was printed over, and its beginning.
pub(super) const LINE_MAX: usize = 4 * 1024;

/// Cuts chunks into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The beginning of a line whose end has not come.
    held: Vec<u8>,
    open: bool,
    number: u64,
}

impl Lines {
    /// Shows the lines that end in this chunk, with their numbers, from 1.
    pub(super) fn push(&mut self, chunk: &[u8], mut take: impl FnMut(u64, &[u8])) {
        let mut rest = chunk;
        while let Some(end) = memchr(b'\n', rest) {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            self.number += 1;
            if self.open {
                self.hold(line);
                take(self.number, bounded(&self.held));
                self.held.clear();
                self.open = false;
            } else {
                take(self.number, bounded(line));
            }
        }
        if !rest.is_empty() {
            self.hold(rest);
        }
    }

    /// Shows the last line, if it has no end.
    pub(super) fn finish(&mut self, mut take: impl FnMut(u64, &[u8])) {
        if self.open {
            self.number += 1;
            take(self.number, bounded(&self.held));
            self.held.clear();
            self.open = false;
        }
    }

    /// How many have ended.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    fn hold(&mut self, part: &[u8]) {
        self.open = true;
        let room = LINE_MAX.saturating_sub(self.held.len());
        if part.len() <= room {
            self.held.extend_from_slice(part);
            return;
        }
        // What is printed over is not kept; a return at the end prints over nothing yet.
        let shown = part.strip_suffix(b"\r").unwrap_or(part);
        if let Some(over) = memrchr(b'\r', shown) {
            self.held.clear();
            self.held.extend_from_slice(start(&shown[over + 1..]));
        } else if let Some(over) =
            memrchr(b'\r', self.held.strip_suffix(b"\r").unwrap_or(&self.held))
        {
            self.held.drain(..=over);
            let room = LINE_MAX.saturating_sub(self.held.len());
            self.held.extend_from_slice(&part[..part.len().min(room)]);
        } else {
            self.held.extend_from_slice(&part[..room]);
        }
    }
}

fn start(line: &[u8]) -> &[u8] {
    &line[..line.len().min(LINE_MAX)]
}

/// A line of at most [`LINE_MAX`] bytes: of a longer one what stands after the last carriage
/// return, and of that the beginning.
fn bounded(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() <= LINE_MAX {
        return line;
    }
    let last = memrchr(b'\r', line).map_or(line, |over| &line[over + 1..]);
    start(last)
}

/// A line without `ESC [ … letter`, for a first look; what is shown resolves the rest, too.
pub(super) fn without_sequences(line: &[u8], into: &mut Vec<u8>) {
    into.clear();
    let mut rest = line;
    while let Some(at) = memchr(0x1b, rest) {
        into.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(sequence) = rest.strip_prefix(b"[") {
            let end = sequence.iter().position(|byte| (b'@'..=b'~').contains(byte));
            rest = end.map_or(&[][..], |end| &sequence[end + 1..]);
        }
    }
    into.extend_from_slice(rest);
}

/// A line without the time in front of it, as engines and loggers write it: `2026-11-22T01:36:00Z`,
/// `2026-11-22 01:36:00,123`, `[01:36:00]`.
pub(super) fn without_time(line: &[u8]) -> &[u8] {
    let mut rest = line;
    // An engine's own, and the program's.
    for _ in 0..2 {
        if !rest.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'[') {
            break;
        }
        match time(rest) {
            Some(after) => rest = after,
            None => break,
        }
    }
    rest
}

/// What follows the time that a line begins with.
fn time(line: &[u8]) -> Option<&[u8]> {
    let (bracket, mut rest) = match line.strip_prefix(b"[") {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    if let Some(after) = shape(rest, b"0000-00-00") {
        rest = after.strip_prefix(b"T").or_else(|| after.strip_prefix(b" "))?;
    }
    rest = shape(rest, b"00:00:00")?;
    if let Some(fraction) = rest.strip_prefix(b".").or_else(|| rest.strip_prefix(b",")) {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest = &fraction[digits..];
    }
    let zone = |rest: &'_ [u8]| -> Option<usize> {
        let signed = [b"+00:00".as_slice(), b"-00:00", b"+0000", b"-0000"];
        let shaped = signed.iter().find(|zone| shape(rest, zone).is_some());
        shaped.map(|zone| zone.len()).or(rest.starts_with(b"Z").then_some(1))
    };
    rest = &rest[zone(rest).unwrap_or(0)..];
    if bracket {
        rest = rest.strip_prefix(b"]")?;
    }
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b" ") }
}

/// What follows a text in which `0` stands for any digit.
fn shape<'l>(line: &'l [u8], shape: &[u8]) -> Option<&'l [u8]> {
    let start = line.get(..shape.len())?;
    let fits = start.iter().zip(shape).all(|(byte, wanted)| match wanted {
        b'0' => byte.is_ascii_digit(),
        sign => byte == sign,
    });
    fits.then(|| &line[shape.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(u64, String)> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        let mut take = |number: u64, line: &[u8]| {
            all.push((number, String::from_utf8_lossy(line).into_owned()));
        };
        for chunk in chunks {
            lines.push(chunk, &mut take);
        }
        lines.finish(&mut take);
        all
    }

    #[test]
    fn lines_are_the_same_however_they_are_cut() {
        let whole = b"one\r\ntwo\n\nlast".as_slice();
        let expected = lines(&[whole]);
        assert_eq!(expected.last(), Some(&(4, "last".to_owned())));
        assert_eq!(expected[0].1, "one");
        for at in 0..whole.len() {
            assert_eq!(lines(&[&whole[..at], &whole[at..]]), expected, "{at}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_memory_and_keeps_its_last_state() {
        let mut reader = Lines::default();
        let mut seen = Vec::new();
        for percent in 0..100_000 {
            reader.push(format!("\r{percent} of many, and counting").as_bytes(), |_, _| {});
            assert!(reader.held.len() <= LINE_MAX);
        }
        reader.push(b"\n", |_, line| seen = line.to_vec());
        assert!(seen.ends_with(b"99999 of many, and counting"));
        for _ in 0..1_000 {
            reader.push(&[b'x'; 1_000], |_, _| {});
        }
        reader.push(b"\n", |_, line| seen = line.to_vec());
        assert_eq!(seen, [b'x'; LINE_MAX]);
    }

    #[test]
    fn times_in_front_are_taken_away() {
        for (line, rest) in [
            ("2026-11-22T01:36:00.123456789Z hello", "hello"),
            ("2026-11-22T01:36:00+01:00 hello", "hello"),
            ("2026-11-22 01:36:00,123 INFO x", "INFO x"),
            ("[01:36:00] x", "x"),
            ("[2026-11-22T01:36:00Z] x", "x"),
            ("2026-11-22T01:36:00Z 01:36:00 x", "x"),
            ("01:36:00", ""),
            ("01:36:00x", "01:36:00x"),
            ("[1] x", "[1] x"),
            ("2026-11-22 x", "2026-11-22 x"),
            ("12 passed", "12 passed"),
        ] {
            assert_eq!(without_time(line.as_bytes()), rest.as_bytes(), "{line}");
        }
    }
}
