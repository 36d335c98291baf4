//! `requirements*.txt`, as pip reads them.

use super::requirement::{bare, file_address, local_path, looks_local};
use super::{Mentions, Written, numbered};

pub(super) fn read(text: &str, found: &mut Mentions) {
    let mut logical = String::new();
    let mut start = 1;
    for (line, text) in numbered(text) {
        if logical.is_empty() {
            start = line;
        }
        let text = without_comment(text);
        if let Some(continued) = text.strip_suffix('\\') {
            logical.push_str(continued);
            logical.push(' ');
            continue;
        }
        logical.push_str(text);
        requirement(start, logical.trim(), found);
        logical.clear();
    }
    requirement(start, logical.trim(), found);
}

/// A `#` begins a comment at the line's start and after a blank.
fn without_comment(line: &str) -> &str {
    let comment =
        |(at, _): &(usize, &str)| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    let end = line.match_indices('#').find(comment).map_or(line.len(), |(at, _)| at);
    line[..end].trim_end()
}

/// The options that take another file or a place, in all spellings.
const INCLUDE: &[&str] = &["--requirement", "--constraint", "-r", "-c"];
const PLACE: &[&str] = &["--editable", "-e"];

fn requirement(line: u32, text: &str, found: &mut Mentions) {
    if let Some(path) = option(text, INCLUDE) {
        if !path.contains("://") {
            found.add(line, Written::Included(bare(path)));
        }
        return;
    }
    let text = option(text, PLACE).unwrap_or(text);
    if text.starts_with('-') {
        return;
    }
    if let Some(path) = local_path(text) {
        found.path(line, &path);
        return;
    }
    // A plain path, before markers and per-requirement options.
    let path = text.split(" ;").next().unwrap_or(text);
    let path = path.split(" --").next().unwrap_or(path).trim().trim_matches(['"', '\'']);
    if looks_local(path) && file_address(path).is_none() {
        found.path(line, &bare(path));
    }
}

/// What follows one of the options: `-r x`, `-rx`, `--requirement x`, `--requirement=x`.
fn option<'t>(text: &'t str, names: &[&str]) -> Option<&'t str> {
    let rest = names.iter().find_map(|name| {
        let rest = text.strip_prefix(name)?;
        let apart = rest.starts_with([' ', '\t', '=']);
        (apart || !name.starts_with("--")).then_some(rest)
    })?;
    let value = rest.trim_start().trim_start_matches('=').trim();
    (!value.is_empty()).then_some(value)
}
