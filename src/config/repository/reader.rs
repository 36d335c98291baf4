//! Typed reading of nodes: every refusal names the place and the mend, and reading goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::keys::Shape;
use super::problems::{Place, Problems};
use crate::config::size;
use crate::domain::rules::{Pattern, closest};
use crate::domain::yaml::{Entry, Node, Value};

/// The entries of one mapping, all of them known.
pub(super) struct Fields<'n> {
    entries: BTreeMap<&'n str, &'n Entry>,
    pub(super) place: Place,
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.get(key).map(|entry| &entry.node)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.get(key).copied()
    }
}

impl Problems<'_> {
    /// The fields of a mapping; unknown, doubled and not yet possible keys are errors.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, shape: &Shape) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, shape.what, "a mapping (`key: value` lines)");
            return None;
        };
        let mut fields = BTreeMap::new();
        for entry in entries {
            let key = entry.key.as_str();
            if let Some((_, mend)) = shape.not_yet.iter().find(|(name, _)| *name == key) {
                let what = format!("`{key}` of {} is not possible yet", shape.what);
                self.add(entry.place, what, *mend);
            } else if !shape.knows(key) {
                self.unknown_key(entry, shape);
            } else if let Some(first) = fields.get(key).map(|first: &&Entry| first.place) {
                let mend = format!("keep one of them; the first is on line {}", first.line);
                self.add(entry.place, format!("`{key}` stands twice in {}", shape.what), mend);
            } else {
                fields.insert(key, entry);
            }
        }
        Some(Fields { entries: fields, place: node.place })
    }

    fn unknown_key(&mut self, entry: &Entry, shape: &Shape) {
        let key = &entry.key;
        let all = shape.names().chain(shape.not_yet.iter().map(|(name, _)| *name));
        let mend = match closest(key, all) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("known keys: {}", shape.names().collect::<Vec<_>>().join(", ")),
        };
        self.add(entry.place, format!("{} has no key `{key}`", shape.what), mend);
    }

    pub(super) fn wrong_type(&mut self, node: &Node, what: &str, wanted: &str) {
        let found = node.value.kind();
        let mend = match node.value {
            Value::Null => "give it a value, or remove the key",
            Value::Number(_) | Value::Bool(_) if wanted.starts_with("a text") => {
                "put it in quotes to make it a text"
            }
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                ""
            }
        };
        self.add(node.place, format!("{what} wants {wanted} and has {found}"), mend);
    }

    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) if text.trim().is_empty() => {
                self.add(node.place, format!("{what} is empty"), "give it a value");
                None
            }
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(node, what, "a text");
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        if let Value::Bool(truth) = node.value {
            return Some(truth);
        }
        self.wrong_type(node, what, "`true` or `false`");
        None
    }

    /// A whole number within bounds.
    pub(super) fn count(&mut self, node: &Node, what: &str, most: u32) -> Option<u32> {
        let number = match &node.value {
            Value::Number(text) => text.parse::<u32>().ok(),
            Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(node, what, "a whole number");
                return None;
            }
        };
        let fits = number.filter(|number| *number <= most);
        if fits.is_none() {
            self.add(node.place, format!("{what} is not between 0 and {most}"), "");
        }
        fits
    }

    /// A positive number, perhaps with a fraction.
    pub(super) fn positive(&mut self, node: &Node, what: &str, most: f64) -> Option<f64> {
        let Value::Number(text) = &node.value else {
            self.wrong_type(node, what, "a number");
            return None;
        };
        let fits = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= most);
        if fits.is_none() {
            self.add(node.place, format!("{what} is not above 0 and at most {most}"), "");
        }
        fits
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        if let Value::List(items) = &node.value {
            return items;
        }
        self.wrong_type(node, what, "a list");
        &[]
    }

    /// A list of texts, or one text for a list of one.
    pub(super) fn texts(&mut self, node: &Node, what: &str) -> Vec<(Place, String)> {
        match &node.value {
            Value::Text(_) => {
                self.text(node, what).map(|text| (node.place, text)).into_iter().collect()
            }
            Value::List(items) => {
                let items = items.iter();
                items.filter_map(|item| Some((item.place, self.text(item, what)?))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Map(_) => {
                self.wrong_type(node, what, "a list of texts");
                Vec::new()
            }
        }
    }

    pub(super) fn patterns(&mut self, node: &Node, what: &str) -> Vec<(Place, Pattern)> {
        let texts = self.texts(node, what);
        texts
            .into_iter()
            .filter_map(|(at, text)| Some((at, self.pattern(at, &text, what)?)))
            .collect()
    }

    pub(super) fn pattern(&mut self, place: Place, text: &str, what: &str) -> Option<Pattern> {
        match Pattern::parse(text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.add(place, format!("{what} `{text}` is not a pattern"), error.to_string());
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        node: &Node,
        what: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.text(node, what)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let names = words.iter().map(|(word, _)| *word);
        let mend = match closest(&text, names.clone()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("it is one of: {}", names.collect::<Vec<_>>().join(", ")),
        };
        self.add(node.place, format!("{what} can't be `{text}`"), mend);
        None
    }

    /// `30s`, `10m`, `2h`.
    pub(super) fn duration(&mut self, node: &Node, what: &str) -> Option<Duration> {
        let written = match &node.value {
            Value::Text(text) | Value::Number(text) => text.as_str(),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(node, what, "a duration such as `30s`, `10m` or `2h`");
                return None;
            }
        };
        let duration = parse_duration(written);
        if duration.is_none() {
            let mend = if written.bytes().all(|b| b.is_ascii_digit()) {
                format!("say of what: `{written}s`, `{written}m` or `{written}h`")
            } else {
                "write a whole number above 0 and `s`, `m` or `h`: `30s`, `10m`, `2h`; at most 7 \
                 days"
                    .to_owned()
            };
            self.add(node.place, format!("{what} can't be `{written}`"), mend);
        }
        duration
    }

    /// Bytes: `512Mi`, `2Gi`, `500M`, or a plain number.
    pub(super) fn size(&mut self, node: &Node, what: &str) -> Option<u64> {
        let written = match &node.value {
            Value::Text(text) | Value::Number(text) => text.as_str(),
            Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => {
                self.wrong_type(node, what, "a size such as `512Mi` or `2Gi`");
                return None;
            }
        };
        let size = size::parse(written);
        if size.is_none() {
            let mend =
                "write a whole number above 0 and `Ki`, `Mi`, `Gi`, `k`, `M` or `G`: `512Mi`";
            self.add(node.place, format!("{what} can't be `{written}`"), mend);
        }
        size
    }
}

const LONGEST: u64 = 7 * 24 * 3600;

fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    let seconds = digits(number)?.checked_mul(scale)?;
    (1..=LONGEST).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// `parse` alone would take `+5`, too.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}
