//! What is wrong with a repository file: each with its place, the line, and the mend.

use std::fmt;

use crate::domain::yaml::MAX_ERRORS;
pub use crate::domain::yaml::Place;

/// One error of a repository file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    pub place: Place,
    /// The line itself; empty if the file has none there.
    pub snippet: String,
    pub what: String,
    pub mend: String,
}

impl Wrong {
    /// `line` is the text of the line at that place.
    pub fn new(place: Place, line: &str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        // What a file holds must not steer the terminal that shows it; places stay as they are.
        let plain =
            |c: char| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c };
        let snippet = line.trim_end().chars().take(SNIPPET).map(plain).collect();
        let visible = |mut text: String| {
            if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
                text.truncate(end);
                text.push('…');
            }
            if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text }
        };
        Self { place, snippet, what: visible(what.into()), mend: visible(mend.into()) }
    }
}

/// Every error that was found in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    pub file: String,
    /// In the file's order, at least one.
    pub errors: Vec<Wrong>,
}

impl Invalid {
    /// An error of the file as a whole.
    pub fn whole(file: &str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        let wrong = Wrong {
            place: Place::START,
            snippet: String::new(),
            what: what.into(),
            mend: mend.into(),
        };
        Self { file: file.to_owned(), errors: vec![wrong] }
    }

    pub fn first_line(&self) -> u32 {
        self.errors.first().map_or(1, |wrong| wrong.place.line)
    }

    /// One line, as a check's title.
    pub fn title(&self) -> String {
        let line = self.first_line();
        match self.errors.as_slice() {
            [] => format!("{} is not valid", self.file),
            [only] => format!("{}:{line}: {}", self.file, only.what),
            [first, rest @ ..] => {
                format!("{}:{line}: {} (and {} more)", self.file, first.what, rest.len())
            }
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, wrong) in self.errors.iter().enumerate() {
            if at > 0 {
                f.write_str("\n\n")?;
            }
            let Place { line, column } = wrong.place;
            write!(f, "{}:{line}:{column}: {}", self.file, wrong.what)?;
            if !wrong.snippet.is_empty() {
                let margin = line.to_string();
                let before: String =
                    wrong.snippet.chars().take(column as usize - 1).map(blank).collect();
                write!(f, "\n {margin} | {}", wrong.snippet)?;
                write!(f, "\n {} | {before}^", " ".repeat(margin.len()))?;
            }
            if !wrong.mend.is_empty() {
                write!(f, "\n {}", wrong.mend)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Tabs stay tabs, so that the mark stands under its column.
fn blank(c: char) -> char {
    if c == '\t' { '\t' } else { ' ' }
}

/// Longer lines are cut in messages, and so is what they quote of a file.
const SNIPPET: usize = 160;
const TEXT_MAX: usize = 1000;

/// Gathers errors and remarks while a file is read.
#[derive(Debug)]
pub(super) struct Problems<'t> {
    lines: Vec<&'t str>,
    errors: Vec<Wrong>,
    notes: Vec<String>,
    file: String,
}

impl<'t> Problems<'t> {
    pub(super) fn new(file: &str, text: &'t str) -> Self {
        let lines = text.lines().collect();
        Self { lines, errors: Vec::new(), notes: Vec::new(), file: file.to_owned() }
    }

    pub(super) fn add(&mut self, place: Place, what: impl Into<String>, mend: impl Into<String>) {
        if self.errors.len() > MAX_ERRORS {
            return;
        }
        let place = self.within(place);
        let line = self.lines.get(place.line as usize - 1).copied().unwrap_or_default();
        self.errors.push(if self.errors.len() == MAX_ERRORS {
            let what = format!("there are more than {MAX_ERRORS} errors; no more are named");
            Wrong::new(place, line, what, "mend those first")
        } else {
            Wrong::new(place, line, what, mend)
        });
    }

    /// A place behind the end is the end: what the file lacks is missed there. Lines are counted as
    /// editors count them; to YAML, a carriage return alone begins a line, too.
    fn within(&self, place: Place) -> Place {
        let count = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let last = count(self.lines.len()).max(1);
        let line = place.line.min(last);
        let text = self.lines.get(line as usize - 1).copied().unwrap_or_default();
        let end = count(text.chars().count()).saturating_add(1);
        let column = if place.line > last { end } else { place.column.min(end) };
        Place { line, column }
    }

    pub(super) fn error_count(&self) -> usize {
        self.errors.len()
    }

    /// A key that this version does not obey yet, although it may stand there.
    pub(super) fn note(&mut self, place: Place, text: impl fmt::Display) {
        self.notes.push(format!("`{}` line {}: {text}", self.file, place.line));
    }

    /// What was found, of which there is something.
    pub(super) fn invalid(mut self) -> Invalid {
        self.errors.sort_by_key(|wrong| wrong.place);
        Invalid { file: self.file, errors: self.errors }
    }

    pub(super) fn finish(self) -> Result<Vec<String>, Invalid> {
        if self.errors.is_empty() {
            return Ok(self.notes);
        }
        Err(self.invalid())
    }
}
