//! Logs as people read them: terminal codes resolved, bytes made text, the telling part found.
//! What a step prints can't escape from where it is shown.

mod ansi;
mod excerpt;

use crate::domain::terminal;

pub use ansi::{Ansi, ansi_to_html};
pub use excerpt::{Piece, excerpt, pieces};

/// One line without its colours and controls.
pub fn plain_line(line: &str) -> String {
    terminal::plain_line(line).into_owned()
}

/// A whole log as plain text: lossy UTF-8, ANSI codes away, carriage returns resolved.
pub fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    for line in text.lines() {
        plain.push_str(&terminal::plain_line(line));
        plain.push('\n');
    }
    plain
}
