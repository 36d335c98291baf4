//! Values of a compose file, in the ways in which they may be written.

use std::collections::BTreeMap;

use super::Reader;
use crate::domain::service::arguments;
use crate::domain::yaml::{Node, Place, Value};

impl Reader {
    /// A text, a number or a truth as it is written, its variables replaced by their defaults.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        let Some(written) = node.written() else {
            let what = format!("{what} wants a text and has {}", node.value.kind());
            self.add(node.place, what, "give it a value");
            return None;
        };
        self.interpolated(node.place, &written)
    }

    fn interpolated(&mut self, place: Place, written: &str) -> Option<String> {
        match interpolate(written) {
            Ok(text) => Some(text),
            Err(Some(name)) => {
                let mend = format!("write the value itself, or `${{{name}:-value}}`");
                self.add(place, format!("the variable `{name}` has no value here"), mend);
                None
            }
            Err(None) => {
                let what = format!("a variable of `{written}` is open");
                self.add(place, what, "close it with `}`, or write `$$` for `$`");
                None
            }
        }
    }

    pub(super) fn environment(&mut self, node: &Node) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        match &node.value {
            Value::Map(entries) => {
                for entry in entries {
                    let what = format!("the variable `{}`", entry.key);
                    env.extend(self.text(&entry.node, &what).map(|v| (entry.key.clone(), v)));
                }
            }
            Value::List(items) => {
                for item in items {
                    let Some(text) = self.text(item, "a variable") else { continue };
                    if let Some((name, value)) = text.split_once('=') {
                        env.insert(name.to_owned(), value.to_owned());
                    } else {
                        let what = format!("the variable `{text}` has no value here");
                        self.add(item.place, what, format!("write `{text}=value`"));
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
                let what = format!("`environment` wants a mapping and has {}", node.value.kind());
                self.add(node.place, what, "write `NAME: value` lines");
            }
        }
        for name in env.keys().filter(|name| name.is_empty() || name.contains('\0')) {
            let what = format!("`{}` can't be a variable", name.escape_debug());
            self.add(node.place, what, "remove it");
        }
        env
    }

    /// A list, or a line that is split into words.
    pub(super) fn arguments(&mut self, node: &Node, what: &str) -> Vec<String> {
        if let Value::List(items) = &node.value {
            return items.iter().filter_map(|item| self.text(item, what)).collect();
        }
        let Some(line) = self.text(node, what) else { return Vec::new() };
        arguments(&line, what).unwrap_or_else(|(what, mend)| {
            self.add(node.place, what, mend);
            Vec::new()
        })
    }
}

/// `$$` is `$`, `${NAME:-default}` and `${NAME-default}` are the default: nothing else is known
/// here. The error is the name of a variable without one, or none for a brace that is open.
fn interpolate(written: &str) -> Result<String, Option<String>> {
    let mut text = String::new();
    let mut rest = written;
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        if let Some(more) = behind.strip_prefix('$') {
            text.push('$');
            rest = more;
        } else if let Some(braced) = behind.strip_prefix('{') {
            let end = braced.find('}').ok_or(None)?;
            text.push_str(default_of(&braced[..end])?);
            rest = &braced[end + 1..];
        } else {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = behind.find(|c| !is_name(c)).unwrap_or(behind.len());
            if end > 0 {
                return Err(Some(behind[..end].to_owned()));
            }
            text.push('$');
            rest = behind;
        }
    }
    text.push_str(rest);
    Ok(text)
}

fn default_of(expression: &str) -> Result<&str, Option<String>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = expression.find(|c| !is_name(c)).unwrap_or(expression.len());
    let (name, rest) = expression.split_at(end);
    let default = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-'));
    default.ok_or_else(|| Some(name.to_owned()))
}
