//! What a terminal would show of one line: carriage returns, backspaces and erasures carried out,
//! colours known, every other control taken away. What would make a line read as it is not is
//! shown as a sign.

use std::borrow::Cow;

/// The flags of a style, by bit.
const BOLD: u8 = 1;
const DIM: u8 = 2;
const ITALIC: u8 = 4;
const UNDERLINE: u8 = 8;
const STRIKE: u8 = 16;

/// How a character is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// Of eight colours; a bright one reads as the plain one.
    pub foreground: Option<u8>,
    pub background: Option<u8>,
    pub flags: u8,
}

impl Style {
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

/// Resolves one line (without its line feed) to characters; `style` goes on to the next line.
pub fn resolve(line: &str, style: &mut Style) -> Vec<(char, Style)> {
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
            c if c.is_control() => {}
            c => screen.put(visible(c), *style),
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

/// A character that reverses the reading order, which makes a text say what it does not, as a sign
/// that is seen; any other as it is.
pub fn visible(c: char) -> char {
    match c {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c => c,
    }
}

/// One line without its colours and controls.
pub fn plain_line(line: &str) -> Cow<'_, str> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~' | b'\t');
    if line.bytes().all(plain) {
        return Cow::Borrowed(line.trim_end_matches(' '));
    }
    Cow::Owned(resolve(line, &mut Style::default()).into_iter().map(|(c, _)| c).collect())
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
}
