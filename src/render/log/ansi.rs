//! What a terminal would show of one line, as HTML: colours kept as classes.

use crate::domain::terminal::{Style, resolve};

/// The eight colours; a bright one reads as the plain one.
const COLOURS: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

/// The classes of a style's flags, by bit.
const FLAGS: [&str; 5] = ["a-bold", "a-dim", "a-italic", "a-underline", "a-strike"];

fn classes(style: Style) -> String {
    let colour = |prefix: &str, colour: Option<u8>| {
        let name = colour.and_then(|colour| COLOURS.get(usize::from(colour % 8)));
        name.map(|name| format!("{prefix}-{name}"))
    };
    let flags = FLAGS.iter().enumerate().filter(|(bit, _)| style.flags >> bit & 1 == 1);
    let mut classes = Vec::from_iter(colour("a", style.foreground));
    classes.extend(colour("b", style.background));
    classes.extend(flags.map(|(_, class)| (*class).to_owned()));
    classes.join(" ")
}

/// One line as escaped HTML: `<span class="a-red a-bold">…</span>`; no style attributes, since a
/// content policy forbids them, and always closed.
pub fn ansi_to_html(line: &str) -> String {
    Ansi::default().line(line)
}

/// As [`ansi_to_html`], for lines that follow each other: a colour set on one goes on.
#[derive(Debug, Clone, Default)]
pub struct Ansi {
    style: Style,
}

impl Ansi {
    pub fn line(&mut self, line: &str) -> String {
        let mut html = String::with_capacity(line.len() + 16);
        let mut open = Style::default();
        for (c, style) in resolve(line, &mut self.style) {
            if style != open {
                if open != Style::default() {
                    html.push_str("</span>");
                }
                if style != Style::default() {
                    html.push_str("<span class=\"");
                    html.push_str(&classes(style));
                    html.push_str("\">");
                }
                open = style;
            }
            match c {
                '<' => html.push_str("&lt;"),
                '>' => html.push_str("&gt;"),
                '&' => html.push_str("&amp;"),
                '"' => html.push_str("&quot;"),
                '\'' => html.push_str("&#39;"),
                c => html.push(c),
            }
        }
        if open != Style::default() {
            html.push_str("</span>");
        }
        html
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_classes_and_content_stays_content() {
        assert_eq!(
            ansi_to_html("\u{1b}[1;31mE <b>\u{1b}[0m & \"x\""),
            "<span class=\"a-red a-bold\">E &lt;b&gt;</span> &amp; &quot;x&quot;"
        );
        assert_eq!(
            ansi_to_html("\u{1b}[38;5;196mx\u{1b}[48;2;0;255;0my"),
            "<span class=\"a-red\">x</span><span class=\"a-red b-green\">y</span>"
        );
    }

    #[test]
    fn a_colour_goes_on_to_the_next_line() {
        let mut ansi = Ansi::default();
        ansi.line("\u{1b}[32mgreen");
        assert_eq!(ansi.line("still"), "<span class=\"a-green\">still</span>");
    }
}
