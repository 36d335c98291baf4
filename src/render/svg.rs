//! What the pictures share: escaping, text widths, the frame of a document.

use std::fmt::Write as _;

use super::style::{PICTURES, TOKENS};

/// Whether a picture carries its own style sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// A file of its own.
    Inside,
    /// Part of a page that includes [`super::style::CSS`].
    OfPage,
}

/// A picture in the making.
pub(super) struct Picture {
    pub(super) width: i32,
    pub(super) height: i32,
    /// What a screen reader says first.
    pub(super) title: String,
    /// The whole content in words, for those who don't see it.
    pub(super) description: String,
    pub(super) body: String,
}

impl Picture {
    pub(super) fn finish(self, style: Style) -> String {
        let Self { width, height, title, description, body } = self;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"picture\" role=\"img\" \
             viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             aria-label=\"{}\">\n<title>{}</title>\n<desc>{}</desc>\n",
            escape(&title),
            escape(&title),
            escape(&description),
        );
        if style == Style::Inside {
            let _ = writeln!(svg, "<style>\n{TOKENS}{PICTURES}</style>");
            let _ = writeln!(svg, "<rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>");
        }
        svg.push_str(&body);
        svg.push_str("</svg>\n");
        svg
    }
}

/// For text and attribute values; controls that XML forbids are left out.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// About how wide a text is at this font size: there is no font here to ask. On the wide side, so
/// that text stays in its box.
pub(super) fn text_width(text: &str, font_size: i32) -> i32 {
    let thousandths: i32 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '.' | ',' | ':' | '\'' | '|' | '!' | ' ' | 'I' => 320,
            'f' | 't' | 'r' | '-' | '(' | ')' | '/' => 420,
            'm' | 'w' | 'M' | 'W' | '@' | '%' => 900,
            'A'..='Z' | '&' => 720,
            c if c.is_ascii() => 600,
            '·' | '…' => 500,
            c if u32::from(c) < 0x2e80 => 650,
            _ => 1050,
        })
        .fold(0, i32::saturating_add);
    thousandths.min(4_000_000) * font_size / 1000
}

/// The text, cut with an ellipsis to fit a width.
pub(super) fn fitted(text: &str, font_size: i32, max_width: i32) -> String {
    if text_width(text, font_size) <= max_width {
        return text.to_owned();
    }
    let mut shown = String::new();
    for c in text.chars() {
        shown.push(c);
        if text_width(&shown, font_size) > max_width - font_size {
            shown.pop();
            break;
        }
    }
    shown + "…"
}
