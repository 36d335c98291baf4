//! The beginning of a text, without secrets.

use std::sync::Arc;

use bytes::Bytes;

use super::{RedactedStream, Redactor};

/// How much is looked through at once: pieces may be as small as a letter.
const CHUNK: usize = 8 * 1024;
/// How much is looked through at all: of what is full of secrets, little is left.
const READ_MAX: usize = 1024 * 1024;

/// The first bytes of a text that comes in pieces. It is freed of secrets before it is cut: of one
/// that lies across the cut a part would be left that nobody knows for one any more.
#[derive(Debug)]
pub struct Clip {
    stream: RedactedStream,
    gathered: Vec<u8>,
    text: Vec<u8>,
    read: usize,
    most: usize,
}

impl Clip {
    /// At most so many bytes.
    pub fn new(redactor: &Arc<Redactor>, most: usize) -> Self {
        let stream = RedactedStream::new(redactor.clone());
        Self { stream, gathered: Vec::new(), text: Vec::new(), read: 0, most }
    }

    /// A text that is there as a whole.
    pub fn of(redactor: &Arc<Redactor>, text: &str, most: usize) -> String {
        let mut clip = Self::new(redactor, most);
        clip.push(text);
        clip.finish()
    }

    pub fn push(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while !rest.is_empty() && !self.is_full() {
            let (piece, behind) = rest.split_at(rest.len().min(CHUNK - self.gathered.len()));
            self.gathered.extend_from_slice(piece);
            rest = behind;
            if self.gathered.len() == CHUNK {
                self.look_through();
            }
        }
    }

    /// What follows is not looked at.
    pub fn is_full(&self) -> bool {
        self.text.len() > self.most || self.read >= READ_MAX
    }

    /// With `…` where it was cut.
    pub fn finish(mut self) -> String {
        self.look_through();
        let is_whole = !self.is_full();
        if is_whole {
            let rest = self.stream.finish();
            self.text.extend_from_slice(&rest);
        }
        let mut text = String::from_utf8_lossy(&self.text).into_owned();
        if text.len() > self.most || !is_whole {
            text.truncate(text.floor_char_boundary(self.most.saturating_sub('…'.len_utf8())));
            text.push('…');
        }
        text
    }

    fn look_through(&mut self) {
        self.read += self.gathered.len();
        let certain = self.stream.push(Bytes::from(std::mem::take(&mut self.gathered)));
        self.text.extend_from_slice(&certain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Arc<Redactor> {
        Arc::new(Redactor::of([b"sesame-open-42".as_slice()], "source-x").unwrap())
    }

    #[test]
    fn a_secret_across_the_cut_is_hidden_wherever_it_lies() {
        for before in 0..60 {
            let text = format!("{}sesame-open-42{}", "x".repeat(before), "y".repeat(60));
            let clipped = Clip::of(&secret(), &text, 40);
            assert!(clipped.len() <= 40 && clipped.ends_with('…'), "{clipped}");
            assert!(!clipped.contains("se"), "{clipped}");
        }
        // What stands before it is shorter once it is hidden, and the cut lies further behind.
        let text = format!("{}{}", "sesame-open-42 ".repeat(9), "x".repeat(9));
        let clipped = Clip::of(&secret(), &text, 40);
        assert_eq!(clipped, format!("{} x…", ["***"; 9].join(" ")));
    }

    #[test]
    fn pieces_make_one_text() {
        for (most, expected) in [(100, "ä: *** and more"), (15, "ä: *** and …")] {
            let mut clip = Clip::new(&secret(), most);
            for piece in ["ä", ": ses", "", "ame-open", "-42 and ", "more"] {
                clip.push(piece);
            }
            assert_eq!(clip.finish(), expected);
        }
        let long = "ä".repeat(3 * CHUNK);
        let mut clip = Clip::new(&Arc::default(), 10);
        clip.push("x");
        clip.push(&long);
        assert!(clip.is_full());
        assert_eq!(clip.finish(), "xäää…");
        assert_eq!(Clip::of(&Arc::default(), &long, usize::MAX), long);
        let clipped = Clip::of(&secret(), &"sesame-open-42".repeat(100_000), 40);
        assert_eq!(clipped, "***…");
        assert_eq!(Clip::of(&secret(), "", 0), "");
    }
}
