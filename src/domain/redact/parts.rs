//! The parts of a value that are secrets by themselves.

use std::borrow::Cow;
use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

use crate::domain::yaml;

/// Gathers the texts and numbers of a JSON or YAML document, also of documents within its texts;
/// false if it is none.
pub(super) fn leaves_of(text: &str, leaves: &mut BTreeSet<String>) -> bool {
    if text.starts_with(['{', '[', '"'])
        && let Ok(document) = serde_json::from_str::<serde_json::Value>(text)
    {
        json_leaves(&document, leaves);
        leaves.extend(json_numbers(text));
        return !document.is_string();
    }
    let Ok(document) = yaml::parse(text) else { return false };
    yaml_leaves(&document.value, leaves);
    matches!(document.value, yaml::Value::Map(_) | yaml::Value::List(_))
}

fn text_leaf(text: &str, leaves: &mut BTreeSet<String>) {
    let new = leaves.insert(text.to_owned());
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if new && text.starts_with(['{', '[']) {
        leaves_of(text, leaves);
    }
}

fn json_leaves(value: &serde_json::Value, leaves: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::String(text) => text_leaf(text, leaves),
        serde_json::Value::Array(items) => {
            for item in items {
                json_leaves(item, leaves);
            }
        }
        serde_json::Value::Object(fields) => {
            for field in fields.values() {
                json_leaves(field, leaves);
            }
        }
        // Numbers are taken as they are written.
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// The numbers of a valid document, each as it is written.
fn json_numbers(text: &str) -> impl Iterator<Item = String> {
    let (mut quoted, mut escaped) = (false, false);
    let outside = text.chars().map(move |c| {
        let was_quoted = quoted;
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = was_quoted && c == '\\' && !escaped;
        if was_quoted { '"' } else { c }
    });
    let outside: String = outside.collect();
    let words = outside.split(|c: char| c.is_whitespace() || "{}[],:\"".contains(c));
    let numbers = words.filter(|word| word.starts_with(|c: char| c == '-' || c.is_ascii_digit()));
    numbers.map(str::to_owned).collect::<BTreeSet<_>>().into_iter()
}

fn yaml_leaves(value: &yaml::Value, leaves: &mut BTreeSet<String>) {
    match value {
        yaml::Value::Text(text) => text_leaf(text, leaves),
        yaml::Value::Number(number) => {
            leaves.insert(number.clone());
        }
        yaml::Value::List(items) => {
            for item in items {
                yaml_leaves(&item.value, leaves);
            }
        }
        yaml::Value::Map(entries) => {
            for entry in entries {
                yaml_leaves(&entry.node.value, leaves);
            }
        }
        yaml::Value::Null | yaml::Value::Bool(_) => {}
    }
}

/// The right side of `key = value`, `key: value` and `export key=value`, without its quotes: with
/// what may be a comment, and without.
pub(super) fn assigned(line: &str) -> impl Iterator<Item = &str> {
    let right = right_side(line.trim());
    let bare = right.and_then(|right| right.split_once(" #")).map(|(bare, _)| bare);
    let values = right.into_iter().chain(bare).map(|value| unquoted(value.trim()));
    values.filter(|value| !value.is_empty())
}

fn right_side(line: &str) -> Option<&str> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let at = line.find(['=', ':'])?;
    let (key, right) = (unquoted(line[..at].trim()), &line[at + 1..]);
    let named =
        !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
    // `scheme://` and `host:port` assign nothing.
    let assigns = line[at..].starts_with('=') || right.starts_with(char::is_whitespace);
    (named && assigns).then_some(right)
}

fn unquoted(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

/// Those of `scheme://user:password@host`, as they are written and as they are meant.
pub(super) fn passwords(text: &str) -> BTreeSet<String> {
    let mut passwords = BTreeSet::new();
    for rest in text.split("://").skip(1) {
        let rest = rest.split(|c: char| c.is_whitespace() || c == '"').next().unwrap_or_default();
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // A password that should have been encoded may hold a `/`.
        let user = authority.rsplit_once('@').or_else(|| rest.rsplit_once('@'));
        let Some((_, password)) = user.and_then(|(user, _)| user.split_once(':')) else { continue };
        if let Ok(Cow::Owned(meant)) = percent_decode_str(password).decode_utf8() {
            passwords.insert(meant);
        }
        if !password.is_empty() {
            passwords.insert(password.to_owned());
        }
    }
    passwords
}
