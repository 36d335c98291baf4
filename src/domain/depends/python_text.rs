//! Python source in pieces: words, texts and signs, with comments, line joining and brackets seen
//! to. It never fails: of a text that is no Python it makes what it can.

use super::cursor::Cursor;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Word(&'t str),
    /// A text without its quotes, escapes as they are written; `None` if it is computed.
    Text(Option<&'t str>),
    Sign(char),
    /// The end of a statement's line: not within brackets.
    End,
}

#[derive(Debug)]
pub(super) struct Pieces<'t> {
    at: Cursor<'t>,
    depth: u32,
}

impl<'t> Pieces<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { at: Cursor::new(text), depth: 0 }
    }

    /// A text's content, from its first quote on.
    fn string(&mut self, prefix: &str) -> Piece<'t> {
        let rest = self.at.rest();
        let quote = if rest.starts_with('\'') { '\'' } else { '"' };
        let triple = if quote == '"' { "\"\"\"" } else { "'''" };
        let (open, long) = if rest.starts_with(triple) { (3, true) } else { (1, false) };
        let content = rest.get(open..).unwrap_or_default();
        let mut escaped = false;
        let mut end = content.len();
        let mut close = 0;
        for (at, c) in content.char_indices() {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if long && content[at..].starts_with(triple) || !long && c == quote {
                (end, close) = (at, open);
                break;
            } else if !long && c == '\n' {
                // It was never closed.
                end = at;
                break;
            }
        }
        let content = &content[..end];
        self.at.take(open + end + close);
        let computed = prefix.chars().any(|c| matches!(c, 'f' | 'F' | 't' | 'T' | 'b' | 'B'));
        Piece::Text((!computed).then_some(content))
    }

    fn newline(&mut self) -> Option<Piece<'t>> {
        self.at.take(1);
        if self.depth > 0 {
            // Brackets that stay open by mistake must not hide the imports behind them.
            let next = self.at.rest();
            if !next.starts_with("import ") && !next.starts_with("from ") {
                return None;
            }
            self.depth = 0;
        }
        Some(Piece::End)
    }

    fn word(&mut self) -> Piece<'t> {
        let rest = self.at.rest();
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let prefix = &rest[..end];
        let quoted = rest[end..].starts_with(['"', '\'']);
        let is_prefix = end <= 3 && prefix.chars().all(|c| "rRbBuUfFtT".contains(c));
        let word = self.at.take(end);
        if quoted && is_prefix { self.string(word) } else { Piece::Word(word) }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl<'t> Iterator for Pieces<'t> {
    /// With the line on which it begins.
    type Item = (u32, Piece<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let c = self.at.rest().chars().next()?;
            let line = self.at.line;
            let piece = match c {
                '\n' => self.newline(),
                '#' => {
                    let end = self.at.rest().find('\n').unwrap_or(self.at.rest().len());
                    self.at.take(end);
                    None
                }
                '\\' => {
                    // Joins lines; elsewhere it means nothing.
                    let joined =
                        ["\\\r\n", "\\\n"].into_iter().find(|j| self.at.rest().starts_with(j));
                    self.at.take(joined.map_or(1, str::len));
                    None
                }
                '"' | '\'' => Some(self.string("")),
                c if is_word(c) => Some(self.word()),
                c if c.is_whitespace() => {
                    self.at.take(c.len_utf8());
                    None
                }
                c => {
                    self.at.take(c.len_utf8());
                    match c {
                        '(' | '[' | '{' => self.depth = self.depth.saturating_add(1),
                        ')' | ']' | '}' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                    Some(Piece::Sign(c))
                }
            };
            if let Some(piece) = piece {
                return Some((line, piece));
            }
        }
    }
}
