//! A tree as YAML that reads back to the same values, each line with its origin.

use std::fmt::Write as _;

use super::tree::{Branch, Tree};

pub(super) fn yaml(origin: &str, whole: &Tree) -> String {
    let mut out = format!("# {}\n", comment(origin));
    let Branch::Map(entries) = &whole.value else { return out };
    for (key, value) in entries {
        entry(&mut out, 0, key, value);
    }
    out
}

/// A comment is one line.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn entry(out: &mut String, depth: usize, key: &str, value: &Tree) {
    let _ = write!(out, "{}:", flow_text(key));
    node(out, depth, value);
}

/// What stands behind `key:` or `-`, up to the end of its last line; `depth` is that of the lines
/// beneath.
fn node(out: &mut String, depth: usize, tree: &Tree) {
    let indent = "  ".repeat(depth + 1);
    match &tree.value {
        Branch::List(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                out.push_str(&indent);
                self::item(out, depth + 1, item);
            }
        }
        Branch::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            for (key, value) in entries {
                out.push_str(&indent);
                entry(out, depth + 1, key, value);
            }
        }
        Branch::Text(text) if is_block(text) => block(out, &indent, text, &tree.origin),
        Branch::Null
        | Branch::Bool(_)
        | Branch::Number(_)
        | Branch::Text(_)
        | Branch::List(_)
        | Branch::Map(_) => {
            let _ = writeln!(out, " {}  # {}", scalar(&tree.value), comment(&tree.origin));
        }
    }
}

/// One item of a list: a mapping begins on the line of its `-`.
fn item(out: &mut String, depth: usize, tree: &Tree) {
    out.push('-');
    match &tree.value {
        Branch::Map(entries) if !entries.is_empty() => {
            let indent = "  ".repeat(depth + 1);
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at == 0 { " " } else { &indent });
                entry(out, depth + 1, key, value);
            }
        }
        Branch::Null
        | Branch::Bool(_)
        | Branch::Number(_)
        | Branch::Text(_)
        | Branch::List(_)
        | Branch::Map(_) => node(out, depth, tree),
    }
}

fn scalar(value: &Branch) -> String {
    match value {
        Branch::Null => "null".to_owned(),
        Branch::Bool(truth) => truth.to_string(),
        Branch::Number(text) => text.clone(),
        Branch::Text(text) => flow_text(text),
        Branch::List(_) => "[]".to_owned(),
        Branch::Map(_) => "{}".to_owned(),
    }
}

/// Scripts, as people write them: several lines of plain text, of which none begins or ends with
/// what YAML would take for its own.
fn is_block(text: &str) -> bool {
    let plain = |c: char| c == '\n' || (is_printable(c) && c != '\t');
    let body = text.strip_suffix('\n').unwrap_or(text);
    let edges = |line: &str| line.is_empty() || !line.trim().is_empty();
    body.contains('\n')
        && text.chars().all(plain)
        && body.lines().next().is_some_and(|line| !line.is_empty() && !line.starts_with(' '))
        && body.split('\n').all(edges)
        && !body.ends_with('\n')
}

fn block(out: &mut String, indent: &str, text: &str, origin: &str) {
    let (mark, body) = match text.strip_suffix('\n') {
        Some(body) => ("|", body),
        None => ("|-", text),
    };
    let _ = writeln!(out, " {mark}  # {}", comment(origin));
    for line in body.split('\n') {
        let _ = if line.is_empty() { writeln!(out) } else { writeln!(out, "{indent}{line}") };
    }
}

/// Plain where nobody could read it as something else, else in double quotes.
fn flow_text(text: &str) -> String {
    let words = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if begins
        && text.chars().all(plain)
        && !words.iter().any(|word| word.eq_ignore_ascii_case(text))
    {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if is_printable(c) => quoted.push(c),
            c => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// What may stand in YAML as it is; line separators and marks of byte order may not.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
        && !matches!(u32::from(c) & 0xffff, 0xfffe | 0xffff)
}
