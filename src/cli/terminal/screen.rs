//! The part of a terminal that moves. The cursor rests at its beginning, so that whatever else is
//! written there stands above the next picture, and so that a terminal that was made narrower can be
//! cleared whatever it did to the lines.

use std::fmt::Write as _;
use std::io::{self, Write};

use console::Term;

use super::board::Size;

/// Clears from the cursor to the end of the screen.
const CLEAR: &str = "\r\u{1b}[J";

/// What a terminal is if it does not say.
const USUAL: Size = Size { rows: 24, columns: 80 };

/// How large the terminal is now.
pub(super) fn size() -> Size {
    match Term::stdout().size_checked() {
        Some((rows, columns)) if rows > 0 && columns > 0 => {
            Size { rows: usize::from(rows), columns: usize::from(columns) }
        }
        Some(_) | None => USUAL,
    }
}

/// Shows a picture in place of the one before.
pub(super) fn draw(out: &mut (impl Write + ?Sized), lines: &[String]) -> io::Result<()> {
    // One write: half a picture flickers.
    let mut text = format!("{CLEAR}{}\r", lines.join("\r\n"));
    if lines.len() > 1 {
        let _ = write!(text, "\u{1b}[{}A", lines.len() - 1);
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Takes the picture away, and writes what stays.
pub(super) fn say(out: &mut (impl Write + ?Sized), text: &str) -> io::Result<()> {
    let text = if text.is_empty() {
        CLEAR.to_owned()
    } else {
        format!("{CLEAR}{}\r\n", text.replace('\n', "\r\n"))
    };
    out.write_all(text.as_bytes())?;
    out.flush()
}
