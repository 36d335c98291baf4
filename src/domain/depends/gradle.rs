//! Gradle builds and settings, Groovy and Kotlin alike: `project(…)`, scripts that are applied,
//! included builds, and where settings put their projects.

use std::iter::Peekable;

use super::cursor::Cursor;
use super::tree::extension;
use super::{Mentions, Written};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'t> {
    Word(&'t str),
    Text(&'t str),
    Sign(char),
}

type Rest<'t> = Peekable<Pieces<'t>>;

/// How far from `project(…).projectDir` its folder may stand, in pieces.
const STATEMENT: usize = 16;
/// How far from `project` the path may stand: `project(configuration: 'x', path: ':a')`.
const ARGUMENTS: usize = 12;

pub(super) fn build(text: &str, found: &mut Mentions) {
    let mut rest = Pieces::new(text).peekable();
    while let Some((line, piece)) = rest.next() {
        match piece {
            Piece::Word("project" | "evaluationDependsOn" | "dependsOn") => {
                if let Some(project) = project_path(&mut rest) {
                    found.add(line, Written::Project(project.to_owned()));
                }
            }
            Piece::Word("from") => {
                rest.next_if(|(_, piece)| matches!(piece, Piece::Sign(':' | '=')));
                let script = rest.next_if(|(_, piece)| matches!(piece, Piece::Text(_)));
                if let Some((line, Piece::Text(script))) = script {
                    applied(line, script, found);
                }
            }
            Piece::Text(text) => elsewhere(line, text, found),
            Piece::Word(_) | Piece::Sign(_) => {}
        }
    }
}

pub(super) fn settings(text: &str, found: &mut Mentions) {
    let mut rest = Pieces::new(text).peekable();
    while let Some((line, piece)) = rest.next() {
        match piece {
            Piece::Word("includeBuild") => {
                rest.next_if(|(_, piece)| *piece == Piece::Sign('('));
                let folder = rest.next_if(|(_, piece)| matches!(piece, Piece::Text(_)));
                if let Some((line, Piece::Text(folder))) = folder
                    && let Some(folder) = own(folder)
                {
                    found.path(line, &folder);
                }
            }
            Piece::Word("project") => {
                let Some(project) = project_path(&mut rest) else { continue };
                if let Some(folder) = project_folder(&mut rest) {
                    let project = project.to_owned();
                    found.add(line, Written::ProjectFolder { project, folder });
                }
            }
            Piece::Word(_) | Piece::Text(_) | Piece::Sign(_) => {}
        }
    }
}

/// The first `:a:b` among what stands in the brackets that follow, or right behind.
fn project_path<'t>(rest: &mut Rest<'t>) -> Option<&'t str> {
    let mut depth = 0_usize;
    for _ in 0..ARGUMENTS {
        let (_, piece) = rest.peek().copied()?;
        match piece {
            Piece::Text(text) => {
                rest.next();
                if text.starts_with(':') && text.len() > 1 && !text.contains('$') {
                    return Some(text);
                }
            }
            Piece::Sign('(') => depth += 1,
            Piece::Sign(')') if depth <= 1 => return None,
            Piece::Sign(')') => depth -= 1,
            Piece::Word(_) if depth > 0 => {}
            // `project path: ':a'`
            Piece::Sign(':' | '=' | ',' | '[' | ']') | Piece::Word("path") => {}
            Piece::Word(_) | Piece::Sign(_) => return None,
        }
        if !matches!(piece, Piece::Text(_)) {
            rest.next();
        }
    }
    None
}

/// The folder in `).projectDir = file("…")`.
fn project_folder(rest: &mut Rest<'_>) -> Option<String> {
    let mut assigned = false;
    for _ in 0..STATEMENT {
        let (_, piece) = rest.peek().copied()?;
        match piece {
            Piece::Word("projectDir") => assigned = true,
            Piece::Text(folder) if assigned => {
                rest.next();
                return own(folder);
            }
            Piece::Word("project" | "include" | "includeBuild") | Piece::Text(_) => return None,
            Piece::Word(_) | Piece::Sign(_) => {}
        }
        rest.next();
    }
    None
}

/// Ways to write the build's own top folder, which is the repository's more often than not.
const TOPS: &[&str] = &[
    "$rootDir",
    "${rootDir}",
    "$settingsDir",
    "${settingsDir}",
    "$rootProject.projectDir",
    "${rootProject.projectDir}",
    "${rootProject.rootDir}",
];
const OWN: &[&str] = &["$projectDir", "${projectDir}", "${project.projectDir}"];

/// A path in settings, whose own folder is the build's top.
fn own(text: &str) -> Option<String> {
    let path = match TOPS.iter().find_map(|top| text.strip_prefix(top)) {
        Some(rest) => format!(".{rest}"),
        None => text.to_owned(),
    };
    (!path.contains('$') && !path.is_empty()).then_some(path)
}

/// A path in a build: from its own folder, or with `/` in front from the top.
fn placed(text: &str) -> Option<String> {
    let path = if let Some(rest) = TOPS.iter().find_map(|top| text.strip_prefix(top)) {
        format!("/{}", rest.trim_start_matches('/'))
    } else if let Some(rest) = OWN.iter().find_map(|own| text.strip_prefix(own)) {
        format!(".{rest}")
    } else {
        text.to_owned()
    };
    (!path.contains('$') && !path.contains("://")).then_some(path)
}

fn applied(line: u32, script: &str, found: &mut Mentions) {
    if let Some(path) = placed(script).filter(|path| path.len() > 1) {
        let is_script = matches!(extension(&path), "gradle" | "kts");
        found.add(line, if is_script { Written::Included(path) } else { Written::Path(path) });
    }
}

/// A text that can only be a path to somewhere else.
fn elsewhere(line: u32, text: &str, found: &mut Mentions) {
    let starts = |starts: &[&str]| starts.iter().any(|start| text.starts_with(start));
    if (text.starts_with("../") || starts(TOPS) || starts(OWN))
        && let Some(path) = placed(text).filter(|path| path.len() > 1)
    {
        found.path(line, &path);
    }
}

/// The text without comments, in pieces.
#[derive(Debug)]
struct Pieces<'t> {
    at: Cursor<'t>,
}

impl<'t> Pieces<'t> {
    fn new(text: &'t str) -> Self {
        Self { at: Cursor::new(text) }
    }

    fn string(&mut self) -> Piece<'t> {
        let rest = self.at.rest();
        let quote = if rest.starts_with('\'') { "'" } else { "\"" };
        let triple = if quote == "'" { "'''" } else { "\"\"\"" };
        let close = if rest.starts_with(triple) { triple } else { quote };
        let content = rest.get(close.len()..).unwrap_or_default();
        let mut escaped = false;
        let mut end = content.len();
        for (at, c) in content.char_indices() {
            // A plain text that is not closed ends with its line.
            if !escaped && (content[at..].starts_with(close) || close.len() == 1 && c == '\n') {
                end = at;
                break;
            }
            escaped = !escaped && c == '\\';
        }
        self.at.take(close.len() + end);
        if self.at.rest().starts_with(close) {
            self.at.take(close.len());
        }
        Piece::Text(&content[..end])
    }
}

impl<'t> Iterator for Pieces<'t> {
    /// With the line on which it begins.
    type Item = (u32, Piece<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let rest = self.at.rest();
            let c = rest.chars().next()?;
            let line = self.at.line;
            if rest.starts_with("//") {
                self.at.take(rest.find('\n').unwrap_or(rest.len()));
            } else if rest.starts_with("/*") {
                self.at.take(rest.find("*/").map_or(rest.len(), |end| end + 2));
            } else if c == '"' || c == '\'' {
                return Some((line, self.string()));
            } else if c.is_alphanumeric() || c == '_' {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                return Some((line, Piece::Word(self.at.take(end.unwrap_or(rest.len())))));
            } else {
                self.at.take(c.len_utf8());
                if !c.is_whitespace() {
                    return Some((line, Piece::Sign(c)));
                }
            }
        }
    }
}
