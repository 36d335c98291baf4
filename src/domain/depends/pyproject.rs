//! Path dependencies of `pyproject.toml`: Poetry's, uv's, PDM's and Hatch's tables, and
//! requirements with `@ file:…` wherever they stand.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::requirement::{bare, local_path};
use super::{Lines, Mentions, Written};

/// Tools whose tables name dependencies by `path` or `file`.
const TOOLS: &[&str] = &["poetry", "uv", "pdm", "hatch", "pixi", "rye"];

pub(super) fn read(text: &str, found: &mut Mentions) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut places = Vec::new();
    for (key, value) in document.get_ref() {
        if key.get_ref() == "tool" {
            tools(value, &mut places);
        } else {
            requirements(value, &mut places);
        }
    }
    // The document is in the order of its keys.
    places.sort();
    let mut lines = Lines::new(text);
    for (offset, path) in places {
        found.path(lines.line(offset), &path);
    }
    // What an error leaves of the document is better than nothing; what it hides may be anything.
    if !errors.is_empty() {
        found.add(1, Written::Anything);
    }
}

/// Where a path is mentioned, and the path.
type Places = Vec<(usize, String)>;

fn tools(tools: &Spanned<DeValue<'_>>, places: &mut Places) {
    let DeValue::Table(table) = tools.get_ref() else { return };
    for (name, value) in table {
        if TOOLS.contains(&name.get_ref().as_ref()) {
            paths(value, places);
        }
        requirements(value, places);
    }
}

/// `path = "…"` (and Poetry's `file`, and `from` of its packages) in any table beneath.
fn paths(value: &Spanned<DeValue<'_>>, places: &mut Places) {
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                let names = matches!(key.get_ref().as_ref(), "path" | "file" | "from");
                if let DeValue::String(path) = value.get_ref() {
                    if names && !path.contains("://") {
                        places.push((value.span().start, bare(path)));
                    }
                } else {
                    paths(value, places);
                }
            }
        }
        DeValue::Array(array) => array.iter().for_each(|value| paths(value, places)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

/// Texts that are requirements with a local path.
fn requirements(value: &Spanned<DeValue<'_>>, places: &mut Places) {
    match value.get_ref() {
        DeValue::String(text) => {
            let text = text.trim();
            let text = text.strip_prefix("-e ").unwrap_or(text);
            if let Some(path) = local_path(text) {
                places.push((value.span().start, path));
            }
        }
        DeValue::Table(table) => table.values().for_each(|value| requirements(value, places)),
        DeValue::Array(array) => array.iter().for_each(|value| requirements(value, places)),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}
