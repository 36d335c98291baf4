//! Output as lines, of which none can take more than its share of memory.

/// Bytes of one line that are kept: more is no message that any destination would take.
pub const LINE_MAX: usize = 16 << 20;

/// One line of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Without its end.
    Whole(&'a [u8]),
    /// It was longer than [`LINE_MAX`]: how long, and how it began.
    TooLong { bytes: u64, start: &'a [u8] },
}

/// Puts lines together from what comes.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
    /// Bytes of the line that were not kept.
    lost: u64,
}

impl Lines {
    /// Takes more output and shows each line that is whole with it.
    pub fn take(&mut self, chunk: &[u8], mut show: impl FnMut(Line<'_>)) {
        let mut pieces = chunk.split(|byte| *byte == b'\n');
        // The piece behind the last end of line begins the next one.
        let rest = pieces.next_back().unwrap_or_default();
        for piece in pieces {
            if self.held.is_empty() && self.lost == 0 && piece.len() <= LINE_MAX {
                show(Line::Whole(without_return(piece)));
                continue;
            }
            self.hold(piece);
            self.end(&mut show);
        }
        self.hold(rest);
    }

    /// Shows the last line, if it has no end.
    pub fn finish(mut self, mut show: impl FnMut(Line<'_>)) {
        if !self.held.is_empty() {
            self.end(&mut show);
        }
    }

    fn hold(&mut self, piece: &[u8]) {
        let room = LINE_MAX - self.held.len();
        let kept = piece.len().min(room);
        self.held.extend_from_slice(&piece[..kept]);
        self.lost += (piece.len() - kept) as u64;
    }

    fn end(&mut self, show: &mut impl FnMut(Line<'_>)) {
        if self.lost > 0 {
            let bytes = self.held.len() as u64 + self.lost;
            show(Line::TooLong { bytes, start: &self.held[..self.held.len().min(200)] });
            self.held = Vec::new();
        } else {
            show(Line::Whole(without_return(&self.held)));
            self.held.clear();
            // One long line is no reason to keep that much for ever.
            self.held.shrink_to(64 * 1024);
        }
        self.lost = 0;
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let mut all = Vec::new();
        let mut show = |line: Line<'_>| {
            all.push(match line {
                Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
                Line::TooLong { bytes, start } => format!("{bytes} bytes: {}", start.len()),
            });
        };
        let mut lines = Lines::default();
        for chunk in chunks {
            lines.take(chunk, &mut show);
        }
        lines.finish(&mut show);
        all
    }

    #[test]
    fn lines_are_put_together() {
        assert_eq!(lines(&[b"a\nb", b"c\r\n\nd"]), ["a", "bc", "", "d"]);
        assert_eq!(lines(&[b"", b"x", b"", b"\n"]), ["x"]);
        assert_eq!(lines(&[]), Vec::<String>::new());
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory() {
        let chunk = vec![b'x'; 1 << 20];
        let mut held = Lines::default();
        for _ in 0..100 {
            held.take(&chunk, |_| panic!("there is no line yet"));
            assert!(held.held.len() <= LINE_MAX);
        }
        let mut seen = 0;
        held.take(b"\nshort\n", |line| {
            seen += 1;
            let long = Line::TooLong { bytes: 100 << 20, start: &[b'x'; 200] };
            assert_eq!(line, if seen == 1 { long } else { Line::Whole(b"short") });
        });
        assert_eq!(seen, 2);
    }
}
