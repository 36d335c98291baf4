//! Names of images, and the variables that Dockerfiles put into names.

use std::collections::BTreeMap;

/// What stands for a variable whose value is not known.
pub(super) const UNKNOWN: char = '\0';
/// Longer values are not known either: variables may multiply themselves.
const LONGEST: usize = 4096;

/// Variable → value.
pub(super) type Values = BTreeMap<String, String>;

/// The name without tag and digest; `None` if it is not known.
pub(super) fn repository(image: &str) -> Option<&str> {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let name = name[last..].find(':').map_or(name, |colon| &name[..last + colon]);
    (!name.is_empty() && !name.contains(UNKNOWN)).then_some(name)
}

/// The text with `$name`, `${name}`, `${name:-else}` and `${name:+then}` replaced.
pub(super) fn substituted(text: &str, values: &Values) -> String {
    if !text.contains('$') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\\']) {
        out.push_str(&rest[..at]);
        let escaped = rest[at..].starts_with('\\');
        rest = &rest[at + 1..];
        if escaped {
            // `\$` is a dollar; other escaped characters stand for themselves.
            let end = rest.chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else {
            rest = variable(rest, values, &mut out);
        }
        if out.len() > LONGEST {
            return UNKNOWN.to_string();
        }
    }
    out.push_str(rest);
    out
}

/// Puts in what follows a `$`; the text behind it.
fn variable<'t>(rest: &'t str, values: &Values, out: &mut String) -> &'t str {
    let Some(inner) = rest.strip_prefix('{') else {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        match values.get(name) {
            Some(value) => out.push_str(value),
            None => out.push(UNKNOWN),
        }
        return rest;
    };
    let Some((inner, rest)) = inner.split_once('}') else {
        out.push(UNKNOWN);
        return "";
    };
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
    let (name, operation) = inner.split_at(end);
    let operation = operation.strip_prefix(':').unwrap_or(operation);
    let value = values.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let word = operation.get(1..).unwrap_or_default();
    match (operation.chars().next(), value) {
        (None | Some('-' | '?'), Some(value)) => out.push_str(value),
        (Some('-'), None) | (Some('+'), Some(_)) if !word.contains('$') => out.push_str(word),
        (Some('+'), None) => {}
        _ => out.push(UNKNOWN),
    }
    rest
}
