//! SARIF 2.1.0, as scanners and linters write it. Of a result is read what a person needs; what
//! takes part in it (rules' default levels, texts of messages) may stand before or behind it.
//!
//! Nothing of a file takes more memory than a share of its size: what comes by the million is
//! counted as it passes.

mod wire;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::percent_decode_str;

use self::wire::{Found, Gravity, Message, Outline, RUNS_MOST, Rule, Run, Version};
use super::annotation::{Annotation, Annotations, KEPT, Level, NAME_MAX, TEXT_MAX};
use super::redact::{Clip, Redactor};

/// What is read.
const VERSION: &str = "2.1.0";
/// Parts behind a rule's id that are taken off it to find the rule.
const PARTS_MOST: usize = 8;

/// Reads a log; what is kept of its texts is freed of secrets before it is cut.
///
/// # Errors
/// In words, if it is no SARIF, of another version, or ends early.
pub fn parse(bytes: &[u8], redactor: &Arc<Redactor>) -> Result<Annotations, String> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| format!("it is no UTF-8 from byte {} on", e.valid_up_to()))?;
    let text = text.trim_start_matches('\u{feff}');
    let outline: Outline = serde_json::from_str(text).map_err(|e| broken(&e))?;
    match outline.version {
        Some(Version::Text(version)) if version == VERSION => {}
        Some(Version::Text(other)) => return Err(wrong_version(&format!("{other:?}"))),
        Some(Version::Other(other)) => return Err(wrong_version(&other)),
        None => return Err("it is no SARIF: it has no `version`".to_owned()),
    }
    let mut all = Annotations::default();
    let runs = wire::runs(text, |run| {
        run.join(&mut all, redactor);
        all.kept.sort_by_key(|annotation| annotation.level);
        all.kept.truncate(KEPT);
    });
    match runs.map_err(|e| broken(&e))? {
        None => Err("it is no SARIF: it has no `runs`".to_owned()),
        Some(runs) if runs > RUNS_MOST => Err(format!("it has more than {RUNS_MOST} runs")),
        Some(_) => Ok(all),
    }
}

fn wrong_version(told: &str) -> String {
    format!("its version is {told}; let the tool write {VERSION}")
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
        let tools = run.tool.driver.iter().chain(&run.tool.extensions.0);
        let rules = tools.flat_map(|tool| &tool.rules.0);
        let by_id = rules.filter_map(|rule| Some((rule.key()?, rule))).collect();
        let in_order = run.tool.driver.as_ref().map_or(&[][..], |driver| &driver.rules.0);
        Self { by_id, in_order }
    }

    /// The rule of an id, which may have parts behind it, or else at its place among the driver's.
    fn find<'i>(&self, id: Option<&'i str>, index: Option<usize>) -> Option<&'r Rule> {
        let front = |id: &&'i str| id.rsplit_once('/').map(|(front, _)| front);
        let mut ids = std::iter::successors(id, front).take(1 + PARTS_MOST);
        ids.find_map(|id| self.by_id.get(id).copied()).or_else(|| self.in_order.get(index?))
    }
}

impl Run {
    fn join(&self, all: &mut Annotations, redactor: &Arc<Redactor>) {
        let rules = Rules::of(self);
        for (key, many) in &self.results.counts {
            let rule = rules.find(key.id.as_deref(), key.index);
            if let Some(level) = level(key.gravity, rule) {
                all.add(level, *many);
            }
        }
        for found in &self.results.kept {
            all.kept.extend(self.annotation(found, &rules, redactor));
        }
    }

    fn annotation(
        &self,
        found: &Found,
        rules: &Rules<'_>,
        redactor: &Arc<Redactor>,
    ) -> Option<Annotation> {
        let rule = rules.find(found.key(), found.index());
        let level = level(found.gravity(), rule)?;
        let id = found.id().or(rule.and_then(|rule| rule.id.as_deref()));
        let tool = self.tool.driver.as_ref().and_then(|driver| driver.name.as_deref());
        let mut named = Clip::new(redactor, NAME_MAX);
        let between = tool.and(id).map(|_| ": ");
        tool.into_iter().chain(between).chain(id).for_each(|text| named.push(text));
        let place = found.locations.0.first().and_then(|at| at.physical_location.as_ref());
        let region = place.and_then(|place| place.region.as_ref());
        let path = place.and_then(|place| place.artifact_location.as_ref()?.uri.as_deref());
        let path = path.map(path_of).filter(|path| !path.is_empty());
        Some(Annotation {
            level,
            rule: named.finish(),
            message: text_of(&found.message, rule, redactor),
            path: path.map(|path| Clip::of(redactor, &path, NAME_MAX)),
            line: region.and_then(|region| region.start_line),
            end_line: region.and_then(|region| region.end_line),
            column: region.and_then(|region| region.start_column),
        })
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
fn text_of(message: &Message, rule: Option<&Rule>, redactor: &Arc<Redactor>) -> String {
    let of_rule = || {
        let strings = &rule?.message_strings;
        strings.get(message.id.as_deref()?)?.text.as_deref()
    };
    let text = message.text.as_deref().or_else(of_rule).or(message.markdown.as_deref());
    let mut clip = Clip::new(redactor, TEXT_MAX);
    match (text, &message.id) {
        (Some(text), _) => fill(&mut clip, text, &message.arguments.0),
        (None, Some(id)) => ["message `", id, "`"].into_iter().for_each(|text| clip.push(text)),
        (None, None) => {}
    }
    clip.finish()
}

/// What stands in an argument is not filled in again: it would grow tenfold with each of them.
fn fill(clip: &mut Clip, text: &str, arguments: &[String]) {
    let mut rest = text;
    while let Some((before, argument, behind)) = place_in(rest, arguments)
        && !clip.is_full()
    {
        clip.push(before);
        clip.push(argument);
        rest = behind;
    }
    clip.push(rest);
}

/// The first `{0}` for which there is an argument, with what stands before and behind it.
fn place_in<'t>(text: &'t str, arguments: &'t [String]) -> Option<(&'t str, &'t str, &'t str)> {
    text.match_indices('{').find_map(|(at, _)| {
        let number = &text[at + 1..];
        let end = number.find(|c: char| !c.is_ascii_digit())?;
        let behind = number[end..].strip_prefix('}')?;
        let argument = arguments.get(number[..end].parse::<usize>().ok()?)?;
        Some((&text[..at], argument.as_str(), behind))
    })
}

/// An address of a file as a path: relative ones from the root that the tool was run in.
fn path_of(uri: &str) -> String {
    let path = uri.strip_prefix("file://").unwrap_or(uri);
    let decoded = percent_decode_str(path).decode_utf8().unwrap_or(Cow::Borrowed(path));
    decoded.trim_start_matches("./").to_owned()
}

#[cfg(test)]
mod tests;
