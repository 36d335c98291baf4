//! Patterns over a tree's paths, with variables.
//!
//! A pattern is anchored at the repository's root and matches whole path components: `*` and `?`
//! stay within one, `**` stands for any number of them, `[a-z]` is a class, `{a,b}` alternatives,
//! and `{name}` a variable for (a part of) one component. A pattern that does not end in a
//! wildcard also covers everything beneath what it names, so `docs` and `docs/**` are one thing.

mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use self::parse::{expand, segments};

/// What the variables of a pattern stand for at one path.
pub type Variables = BTreeMap<String, String>;

/// How many ways to bind variables at one path are looked at; a pattern with one `**` has at most
/// as many as the path has components.
const MAX_BINDINGS: usize = 256;
/// `{a,b}{c,d}…` multiplies; beyond this the pattern is refused.
const MAX_ALTERNATIVES: usize = 64;
const MAX_LENGTH: usize = 1024;

/// Why a text is not a pattern, and the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("the pattern is empty; write `**` for every path")]
    Empty,
    #[error("the pattern is longer than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("patterns begin at the repository's root: write it without the leading `{0}`")]
    Leading(&'static str),
    #[error("`{0}` is no path component; write the path without it")]
    Component(String),
    #[error("`**` stands alone between slashes: write `**/` before or `/**` after the rest")]
    Deep,
    #[error(
        "`{{{0}}}` is neither a variable (lower-case letters, digits, `_`) nor alternatives \
         (`{{a,b}}`)"
    )]
    Braces(String),
    #[error("a `{{` has no `}}`, or braces are nested; write a literal brace as `\\{{`")]
    Unclosed,
    #[error("a `[` has no `]`; write a literal bracket as `\\[`")]
    Class,
    #[error(
        "`{0}`: a component holds at most one variable, and no wildcard beside it, so that \
         there is one way to read it"
    )]
    Mixed(String),
    #[error("the alternatives multiply to more than {MAX_ALTERNATIVES} patterns; write fewer")]
    TooMany,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Many,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `**`
    Deep,
    Literal(String),
    Variable {
        before: String,
        name: String,
        after: String,
    },
    Wild(Vec<Token>),
}

impl Segment {
    fn accepts(&self, component: &str) -> bool {
        match self {
            Self::Deep => true,
            Self::Literal(text) => text == component,
            Self::Variable { .. } => self.bound(component).is_some(),
            Self::Wild(tokens) => wild(tokens, component),
        }
    }

    /// What the variable stands for, if this is one and the component fits.
    fn bound<'c>(&self, component: &'c str) -> Option<(&str, &'c str)> {
        let Self::Variable { before, name, after } = self else { return None };
        let value = component.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
        (!value.is_empty()).then_some((name, value))
    }
}

/// A parsed pattern; equal if the texts are.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    alternatives: Vec<Vec<Segment>>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > MAX_LENGTH {
            return Err(PatternError::TooLong);
        }
        let alternatives =
            expand(text)?.iter().map(|one| segments(one)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { text: text.to_owned(), alternatives })
    }

    /// Exactly this path (and what is beneath it), whatever characters it holds.
    pub fn literal(path: &str) -> Self {
        let segments = path.split('/').map(|part| Segment::Literal(part.to_owned())).collect();
        Self { text: escape(path), alternatives: vec![segments] }
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of its variables.
    pub fn variables(&self) -> BTreeSet<&str> {
        let all = self.alternatives.iter().flatten();
        all.filter_map(|segment| match segment {
            Segment::Variable { name, .. } => Some(name.as_str()),
            Segment::Deep | Segment::Literal(_) | Segment::Wild(_) => None,
        })
        .collect()
    }

    /// Does it cover the path (a variable stands for anything)?
    pub fn matches(&self, path: &str) -> bool {
        self.alternatives.iter().any(|segments| {
            starts_well(segments, path) && {
                let parts: Vec<&str> = path.split('/').collect();
                Reach::of(segments, &parts, true).whole()
            }
        })
    }

    /// Every way in which its variables can stand for parts of the path; empty if it does not
    /// cover the path.
    pub fn bindings(&self, path: &str) -> Vec<Variables> {
        self.all_bindings(path, true)
    }

    /// As [`Pattern::bindings`], for a path that is named itself and not just lies beneath.
    pub fn exact_bindings(&self, path: &str) -> Vec<Variables> {
        self.all_bindings(path, false)
    }

    fn all_bindings(&self, path: &str, beneath: bool) -> Vec<Variables> {
        let mut found = BTreeSet::new();
        let parts: Vec<&str> = path.split('/').collect();
        for segments in self.alternatives.iter().filter(|one| starts_well(one, path)) {
            let reach = Reach::of(segments, &parts, beneath);
            if reach.whole() {
                reach.collect(0, 0, &mut Variables::new(), &mut found);
            }
        }
        found.into_iter().collect()
    }

    /// The last component if it is the same for every path that the pattern names itself.
    pub fn file_name(&self) -> Option<&str> {
        let mut names = self.alternatives.iter().map(|segments| match segments.last() {
            Some(Segment::Literal(name)) => Some(name.as_str()),
            Some(Segment::Deep | Segment::Variable { .. } | Segment::Wild(_)) | None => None,
        });
        let first = names.next().flatten()?;
        names.all(|name| name == Some(first)).then_some(first)
    }

    /// The pattern with its variables replaced. `None` if a value is missing.
    #[must_use]
    pub fn fill(&self, variables: &Variables) -> Option<Self> {
        let fill = |segment: &Segment| match segment {
            Segment::Variable { before, name, after } => {
                variables.get(name).map(|value| Segment::Literal(format!("{before}{value}{after}")))
            }
            Segment::Deep | Segment::Literal(_) | Segment::Wild(_) => Some(segment.clone()),
        };
        let alternatives: Option<Vec<Vec<Segment>>> =
            self.alternatives.iter().map(|one| one.iter().map(fill).collect()).collect();
        let mut text = self.text.clone();
        for (name, value) in variables {
            text = text.replace(&format!("{{{name}}}"), &escape(value));
        }
        Some(Self { text, alternatives: alternatives? })
    }

    /// The paths that it names, if it has neither wildcards nor variables.
    pub fn literal_paths(&self) -> Option<Vec<String>> {
        self.alternatives.iter().map(|one| literal(one)).collect()
    }

    /// The folder above its first wildcard or variable: all that it covers lies in there.
    pub fn folder(&self) -> String {
        let leading = |one: &Vec<Segment>| -> Vec<String> {
            let parts = one.iter().map_while(|segment| match segment {
                Segment::Literal(text) => Some(text.clone()),
                Segment::Deep | Segment::Variable { .. } | Segment::Wild(_) => None,
            });
            parts.take(one.len().saturating_sub(1)).collect()
        };
        let mut common: Option<Vec<String>> = None;
        for one in &self.alternatives {
            let leading = leading(one);
            common = Some(match common {
                None => leading,
                Some(so_far) => {
                    let same = so_far.iter().zip(&leading).take_while(|(a, b)| a == b).count();
                    so_far[..same].to_vec()
                }
            });
        }
        common.unwrap_or_default().join("/")
    }
}

/// A pattern text that means these characters and nothing else.
pub fn escape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn literal(segments: &[Segment]) -> Option<String> {
    let parts: Option<Vec<&str>> = segments
        .iter()
        .map(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Deep | Segment::Variable { .. } | Segment::Wild(_) => None,
        })
        .collect();
    parts.map(|parts| parts.join("/"))
}

/// A cheap refusal before the table is made: most paths differ in their first component.
fn starts_well(segments: &[Segment], path: &str) -> bool {
    match segments.first() {
        Some(Segment::Literal(first)) => {
            path.strip_prefix(first.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('/'))
        }
        Some(Segment::Deep | Segment::Variable { .. } | Segment::Wild(_)) | None => true,
    }
}

/// Which suffixes of a pattern match which suffixes of a path.
struct Reach<'p> {
    segments: &'p [Segment],
    parts: &'p [&'p str],
    table: Vec<bool>,
}

impl<'p> Reach<'p> {
    fn of(segments: &'p [Segment], parts: &'p [&'p str], beneath: bool) -> Self {
        let (rows, columns) = (segments.len(), parts.len());
        let mut reach = Self { segments, parts, table: vec![false; (rows + 1) * (columns + 1)] };
        let covers_beneath = beneath
            && matches!(segments.last(), Some(Segment::Literal(_) | Segment::Variable { .. }));
        for part in 0..=columns {
            reach.set(rows, part, part == columns || covers_beneath);
        }
        for row in (0..rows).rev() {
            for part in (0..=columns).rev() {
                let here = reach.answer(row, part);
                reach.set(row, part, here);
            }
        }
        reach
    }

    /// From the answers for longer beginnings, which are there already.
    fn answer(&self, row: usize, part: usize) -> bool {
        let more = part < self.parts.len();
        if self.segments[row] == Segment::Deep {
            // At the end, `folder/**` covers what is in the folder, not the folder.
            let last = row + 1 == self.segments.len();
            let rest = if last { more } else { self.get(row + 1, part) };
            return rest || (more && self.get(row, part + 1));
        }
        more && self.segments[row].accepts(self.parts[part]) && self.get(row + 1, part + 1)
    }

    fn get(&self, row: usize, part: usize) -> bool {
        self.table[row * (self.parts.len() + 1) + part]
    }

    fn set(&mut self, row: usize, part: usize, value: bool) {
        self.table[row * (self.parts.len() + 1) + part] = value;
    }

    fn whole(&self) -> bool {
        self.get(0, 0)
    }

    fn collect(
        &self,
        row: usize,
        part: usize,
        bound: &mut Variables,
        found: &mut BTreeSet<Variables>,
    ) {
        if found.len() >= MAX_BINDINGS || !self.get(row, part) {
            return;
        }
        let Some(segment) = self.segments.get(row) else {
            found.insert(bound.clone());
            return;
        };
        match segment {
            Segment::Deep if row + 1 == self.segments.len() => {
                found.insert(bound.clone());
            }
            Segment::Deep => {
                for next in part..=self.parts.len() {
                    self.collect(row + 1, next, bound, found);
                }
            }
            Segment::Literal(_) | Segment::Wild(_) => {
                self.collect(row + 1, part + 1, bound, found);
            }
            Segment::Variable { .. } => self.bind(segment, (row, part), bound, found),
        }
    }

    /// A variable that occurs twice stands for the same text both times.
    fn bind(
        &self,
        segment: &Segment,
        (row, part): (usize, usize),
        bound: &mut Variables,
        found: &mut BTreeSet<Variables>,
    ) {
        let Some((name, value)) = segment.bound(self.parts[part]) else { return };
        match bound.get(name) {
            Some(earlier) if earlier != value => {}
            Some(_) => self.collect(row + 1, part + 1, bound, found),
            None => {
                bound.insert(name.to_owned(), value.to_owned());
                self.collect(row + 1, part + 1, bound, found);
                bound.remove(name);
            }
        }
    }
}

fn wild(tokens: &[Token], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut token, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at < text.len() {
        match tokens.get(token) {
            Some(Token::Many) => {
                star = Some((token, at));
                token += 1;
                continue;
            }
            Some(one) if takes(one, text[at]) => {
                (token, at) = (token + 1, at + 1);
                continue;
            }
            Some(_) | None => {}
        }
        // The last `*` takes one character more; earlier ones need no second thought.
        let Some((star_token, star_at)) = star else { return false };
        star = Some((star_token, star_at + 1));
        (token, at) = (star_token + 1, star_at + 1);
    }
    tokens[token..].iter().all(|token| *token == Token::Many)
}

fn takes(token: &Token, c: char) -> bool {
    match token {
        Token::Char(wanted) => *wanted == c,
        Token::One => true,
        Token::Many => false,
        Token::Class { negated, ranges } => {
            ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated
        }
    }
}

#[cfg(test)]
mod tests;
