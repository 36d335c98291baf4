//! A place in a text that only moves on, and its line.

#[derive(Debug)]
pub(super) struct Cursor<'t> {
    text: &'t str,
    at: usize,
    /// From 1.
    pub(super) line: u32,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// What lies behind it.
    pub(super) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Moves on by so many bytes, and answers them; to the end if they would split a character.
    pub(super) fn take(&mut self, length: usize) -> &'t str {
        let (piece, _) = self.rest().split_at_checked(length).unwrap_or((self.rest(), ""));
        self.at += piece.len();
        let breaks = piece.bytes().filter(|byte| *byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX));
        piece
    }
}
