//! What a terminal would show of one line: colours kept as classes, carriage returns, backspaces
//! and erasures carried out, every other control taken away.

/// The eight colours; a bright one reads as the plain one.
const COLOURS: [&str; 8] = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

/// The classes of a style's flags, by bit.
const FLAGS: [&str; 5] = ["a-bold", "a-dim", "a-italic", "a-underline", "a-strike"];
const BOLD: u8 = 1;
const DIM: u8 = 2;
const ITALIC: u8 = 4;
const UNDERLINE: u8 = 8;
const STRIKE: u8 = 16;

/// How a character is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    foreground: Option<u8>,
    background: Option<u8>,
    flags: u8,
}

impl Style {
    fn classes(self) -> String {
        let colour = |prefix: &str, colour: Option<u8>| {
            let name = colour.and_then(|colour| COLOURS.get(usize::from(colour % 8)));
            name.map(|name| format!("{prefix}-{name}"))
        };
        let flags = FLAGS.iter().enumerate().filter(|(bit, _)| self.flags >> bit & 1 == 1);
        let mut classes = Vec::from_iter(colour("a", self.foreground));
        classes.extend(colour("b", self.background));
        classes.extend(flags.map(|(_, class)| (*class).to_owned()));
        classes.join(" ")
    }

    /// One `ESC [ … m`.
    fn apply(&mut self, parameters: &str) {
        let mut codes = parameters.split([';', ':']).map(|code| code.parse::<u8>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => *self = Self::default(),
                1 => self.flags |= BOLD,
                2 => self.flags |= DIM,
                3 => self.flags |= ITALIC,
                4 => self.flags |= UNDERLINE,
                9 => self.flags |= STRIKE,
                22 => self.flags &= !(BOLD | DIM),
                23 => self.flags &= !ITALIC,
                24 => self.flags &= !UNDERLINE,
                29 => self.flags &= !STRIKE,
                30..=37 => self.foreground = Some(code - 30),
                38 => self.foreground = extended(&mut codes),
                39 => self.foreground = None,
                40..=47 => self.background = Some(code - 40),
                48 => self.background = extended(&mut codes),
                49 => self.background = None,
                90..=97 => self.foreground = Some(code - 90),
                100..=107 => self.background = Some(code - 100),
                _ => {}
            }
        }
    }
}

/// `38;5;N` and `38;2;R;G;B`, as the nearest of the eight.
fn extended(codes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    match codes.next()? {
        5 => match codes.next()? {
            plain @ 0..=15 => Some(plain % 8),
            cube @ 16..=231 => {
                let cube = cube - 16;
                Some(nearest(cube / 36 > 2, cube / 6 % 6 > 2, cube % 6 > 2))
            }
            grey => Some(if grey > 243 { 7 } else { 0 }),
        },
        2 => {
            let (red, green, blue) = (codes.next()?, codes.next()?, codes.next()?);
            Some(nearest(red > 127, green > 127, blue > 127))
        }
        _ => None,
    }
}

fn nearest(red: bool, green: bool, blue: bool) -> u8 {
    u8::from(red) + 2 * u8::from(green) + 4 * u8::from(blue)
}

/// A line as a terminal holds it: characters with a cursor among them.
#[derive(Default)]
struct Screen {
    cells: Vec<(char, Style)>,
    cursor: usize,
}

impl Screen {
    fn put(&mut self, c: char, style: Style) {
        match self.cells.get_mut(self.cursor) {
            Some(cell) => *cell = (c, style),
            None => self.cells.push((c, style)),
        }
        self.cursor += 1;
    }

    /// `ESC [ … K`: to the end of the line, to its start, or all of it.
    fn erase(&mut self, parameters: &str) {
        match parameters {
            "" | "0" => self.cells.truncate(self.cursor),
            "1" => {
                let end = self.cursor.min(self.cells.len());
                self.cells[..end].fill((' ', Style::default()));
            }
            _ => self.cells.fill((' ', Style::default())),
        }
    }

    fn trimmed(mut self) -> Vec<(char, Style)> {
        while self.cells.last().is_some_and(|(c, _)| *c == ' ') {
            self.cells.pop();
        }
        self.cells
    }
}

/// Resolves one line (without its line feed); `style` goes on to the next line.
fn resolve(line: &str, style: &mut Style) -> Vec<(char, Style)> {
    let mut screen = Screen::default();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' => screen.cursor = 0,
            '\u{8}' => screen.cursor = screen.cursor.saturating_sub(1),
            '\t' => screen.put('\t', *style),
            '\u{1b}' => escape(&mut chars, &mut screen, style),
            '\u{9b}' => control_sequence(&mut chars, &mut screen, style),
            '\u{2028}' | '\u{2029}' => screen.put(' ', *style),
            // Marks that reverse the reading order make a log say what it does not.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => screen.put('\u{fffd}', *style),
            c if c.is_control() => {}
            c => screen.put(c, *style),
        }
    }
    screen.trimmed()
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn escape(chars: &mut Chars<'_>, screen: &mut Screen, style: &mut Style) {
    match chars.next_if(|c| matches!(c, ' '..='~')) {
        Some('[') => control_sequence(chars, screen, style),
        // A string for the terminal itself (title, hyperlink): up to BEL or ESC \.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    return;
                }
            }
        }
        Some(' '..='/') => {
            chars.next_if(|c| matches!(c, '0'..='~'));
        }
        _ => {}
    }
}

fn control_sequence(chars: &mut Chars<'_>, screen: &mut Screen, style: &mut Style) {
    let mut parameters = String::new();
    while let Some(c) = chars.next_if(|c| matches!(c, ' '..='?')) {
        parameters.push(c);
    }
    match chars.next_if(|c| matches!(c, '@'..='~')) {
        Some('m') => style.apply(&parameters),
        Some('K') => screen.erase(&parameters),
        Some('G') if matches!(parameters.as_str(), "" | "0" | "1") => screen.cursor = 0,
        _ => {}
    }
}

/// One line without its colours and controls.
pub fn plain_line(line: &str) -> String {
    resolve(line, &mut Style::default()).into_iter().map(|(c, _)| c).collect()
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
                    html.push_str(&style.classes());
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
    fn progress_bars_leave_their_last_state() {
        assert_eq!(plain_line(" 10%\r 50%\r100%"), "100%");
        assert_eq!(plain_line("downloading 10%\r\u{1b}[Kdone"), "done");
        assert_eq!(plain_line("abc\u{8}\u{8}x"), "axc");
        assert_eq!(plain_line("text\r"), "text");
        assert_eq!(plain_line("long line\rshort"), "shortline");
    }

    #[test]
    fn codes_are_taken_away_even_when_cut_off() {
        for (line, plain) in [
            ("\u{1b}[31;1mred\u{1b}[0m", "red"),
            ("\u{1b}]8;;https://x.test\u{1b}\\link\u{1b}]8;;\u{7}", "link"),
            ("\u{1b}]0;title", ""),
            ("\u{1b}(Bplain\u{1b}[?25h", "plain"),
            ("cut\u{1b}", "cut"),
            ("cut\u{1b}[3", "cut"),
            ("a\u{0}b\u{7f}\u{90}", "ab"),
            ("\u{202e}evil", "\u{fffd}evil"),
        ] {
            assert_eq!(plain_line(line), plain, "{line:?}");
        }
    }

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
