//! SARIF 2.1.0, as scanners and linters write it. Of a result is read what a person needs; what
//! takes part in it (rules' default levels, texts of messages) may stand before or behind it.
//!
//! Nothing of a file takes more memory than a share of its size: what comes by the million is
//! counted as it passes.

mod wire;

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use self::wire::{Found, Gravity, Log, Message, Outline, Rule, Run};
use super::annotation::{Annotation, Annotations, KEPT, Level};

/// What is read.
const VERSION: &str = "2.1.0";

/// Reads a log.
///
/// # Errors
/// In words, if it is no SARIF, of another version, or ends early.
pub fn parse(bytes: &[u8]) -> Result<Annotations, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| format!("it is no UTF-8 from byte {} on", e.valid_up_to()))?;
    let text = text.trim_start_matches('\u{feff}');
    let outline: Outline = serde_json::from_str(text).map_err(|e| broken(&e))?;
    let Some(version) = outline.version else {
        return Err("it is no SARIF: it has no `version`".to_owned());
    };
    if version != VERSION {
        let version: String = version.to_string().chars().take(40).collect();
        return Err(format!("its version is {version}; let the tool write {VERSION}"));
    }
    let log: Log = serde_json::from_str(text).map_err(|e| broken(&e))?;
    let Some(runs) = log.runs else {
        return Err("it is no SARIF: it has no `runs`".to_owned());
    };
    if runs.more > 0 {
        return Err(format!("it has more than {} runs", runs.items.len()));
    }
    let mut all = Annotations::default();
    for run in runs.items {
        run.join(&mut all);
    }
    all.kept.sort_by_key(|annotation| annotation.level);
    all.kept.truncate(KEPT);
    Ok(all)
}

fn broken(error: &serde_json::Error) -> String {
    if error.is_eof() {
        return format!("it is cut off in line {}", error.line());
    }
    format!("it is no SARIF: {error}")
}

/// What a run's rules say of its results.
struct Rules<'r> {
    by_id: BTreeMap<&'r str, &'r Rule>,
    in_order: &'r [Rule],
}

impl<'r> Rules<'r> {
    fn of(run: &'r Run) -> Self {
        let tools = run.tool.driver.iter().chain(&run.tool.extensions.items);
        let rules = tools.flat_map(|tool| &tool.rules.items);
        let by_id = rules.filter_map(|rule| Some((rule.id.as_deref()?, rule))).collect();
        let in_order = run.tool.driver.as_ref().map_or(&[][..], |driver| &driver.rules.items);
        Self { by_id, in_order }
    }

    /// The rule of an id, which may have parts behind it, or else at its place among the driver's.
    fn find(&self, id: Option<&str>, index: Option<usize>) -> Option<&'r Rule> {
        let mut id = id;
        while let Some(whole) = id {
            if let Some(rule) = self.by_id.get(whole) {
                return Some(rule);
            }
            id = whole.rsplit_once('/').map(|(front, _)| front);
        }
        self.in_order.get(index?)
    }
}

impl Run {
    fn join(&self, all: &mut Annotations) {
        let rules = Rules::of(self);
        for (key, many) in &self.results.counts {
            let rule = rules.find(key.id.as_deref(), key.index);
            if let Some(level) = level(key.gravity, rule) {
                all.add(level, *many);
            }
        }
        for found in &self.results.kept {
            all.kept.extend(self.annotation(found, &rules));
        }
    }

    fn annotation(&self, found: &Found, rules: &Rules<'_>) -> Option<Annotation> {
        let rule = rules.find(found.id(), found.index());
        let level = level(found.gravity(), rule)?;
        let id = found.id().or(rule.and_then(|rule| rule.id.as_deref()));
        let tool = self.tool.driver.as_ref().and_then(|driver| driver.name.as_deref());
        let named: Vec<&str> = tool.into_iter().chain(id).collect();
        let place = found.locations.items.first().and_then(|at| at.physical_location.as_ref());
        let region = place.and_then(|place| place.region.as_ref());
        let path = place.and_then(|place| place.artifact_location.as_ref()?.uri.as_deref());
        let annotation = Annotation {
            level,
            rule: named.join(": "),
            message: text_of(&found.message, rule),
            path: path.map(path_of).filter(|path| !path.is_empty()),
            line: region.and_then(|region| region.start_line),
            end_line: region.and_then(|region| region.end_line),
            column: region.and_then(|region| region.start_column),
        };
        Some(annotation.cut())
    }
}

/// What a result says itself, else its rule; what says nothing is a warning, by the format's own
/// definition. None if it is no finding.
fn level(own: Gravity, rule: Option<&Rule>) -> Option<Level> {
    let by_rule = rule.map(Rule::gravity).unwrap_or_default();
    let said = if own == Gravity::Unsaid { by_rule } else { own };
    match said {
        Gravity::Of(level) => Some(level),
        Gravity::Unsaid => Some(Level::Warning),
        Gravity::Nothing => None,
    }
}

/// A message's own text, or the one of its rule, with the arguments in their places.
fn text_of(message: &Message, rule: Option<&Rule>) -> String {
    let of_rule = || {
        let strings = &rule?.message_strings;
        strings.get(message.id.as_deref()?)?.text.as_deref()
    };
    let text = message.text.as_deref().or_else(of_rule).or(message.markdown.as_deref());
    let mut text = match (text, &message.id) {
        (Some(text), _) => text.trim().to_owned(),
        (None, Some(id)) => format!("message `{id}`"),
        (None, None) => String::new(),
    };
    for (at, argument) in message.arguments.items.iter().enumerate() {
        text = text.replace(&format!("{{{at}}}"), argument);
    }
    text
}

/// An address of a file as a path: relative ones from the root that the tool was run in.
fn path_of(uri: &str) -> String {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    let decoded = percent_decode_str(path).decode_utf8().unwrap_or(Cow::Borrowed(path));
    decoded.trim_start_matches("./").to_owned()
}

#[cfg(test)]
mod tests;
