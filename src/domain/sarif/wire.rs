//! What of the format is read. Unknown properties are passed over; lists have an end.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};

use crate::domain::annotation::{KEPT, Level};

/// Items of a list that are read; results are counted beyond.
const MOST: usize = 10_000;
/// Different rules whose results are counted apart.
const RULES_MOST: usize = 10_000;

/// Enough of a document to know whether it is one.
#[derive(serde::Deserialize)]
pub(super) struct Outline {
    pub(super) version: Option<serde_json::Value>,
}

#[derive(serde::Deserialize)]
pub(super) struct Log {
    pub(super) runs: Option<Few<Run>>,
}

#[derive(serde::Deserialize)]
pub(super) struct Run {
    #[serde(default)]
    pub(super) tool: Tool,
    /// Null if the tool could not do its work; then there are none.
    #[serde(default)]
    pub(super) results: Results,
}

#[derive(Default, serde::Deserialize)]
pub(super) struct Tool {
    pub(super) driver: Option<Component>,
    #[serde(default)]
    pub(super) extensions: Few<Component>,
}

#[derive(serde::Deserialize)]
pub(super) struct Component {
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) rules: Few<Rule>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub(super) id: Option<String>,
    default_configuration: Option<Configuration>,
    #[serde(default)]
    pub(super) message_strings: BTreeMap<String, Text>,
}

impl Rule {
    /// How grave its results are.
    pub(super) fn gravity(&self) -> Gravity {
        let word = self.default_configuration.as_ref().and_then(|it| it.level.as_deref());
        word.map_or(Gravity::Unsaid, gravity_of)
    }
}

#[derive(serde::Deserialize)]
struct Configuration {
    level: Option<String>,
}

#[derive(serde::Deserialize)]
pub(super) struct Text {
    pub(super) text: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    rule_id: Option<String>,
    rule_index: Option<i64>,
    rule: Option<RuleReference>,
    level: Option<String>,
    kind: Option<String>,
    baseline_state: Option<String>,
    #[serde(default)]
    suppressions: Few<Suppression>,
    #[serde(default)]
    pub(super) message: Message,
    #[serde(default)]
    pub(super) locations: Few<Location>,
}

#[derive(serde::Deserialize)]
struct RuleReference {
    id: Option<String>,
    index: Option<i64>,
}

#[derive(serde::Deserialize)]
struct Suppression {
    status: Option<String>,
}

#[derive(Default, serde::Deserialize)]
pub(super) struct Message {
    pub(super) text: Option<String>,
    pub(super) markdown: Option<String>,
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) arguments: Few<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Location {
    pub(super) physical_location: Option<Place>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place {
    pub(super) artifact_location: Option<Address>,
    pub(super) region: Option<Region>,
}

#[derive(serde::Deserialize)]
pub(super) struct Address {
    pub(super) uri: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Region {
    pub(super) start_line: Option<u32>,
    pub(super) end_line: Option<u32>,
    pub(super) start_column: Option<u32>,
}

/// What is said of how grave a result is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gravity {
    #[default]
    Unsaid,
    /// It is no finding at all.
    Nothing,
    Of(Level),
}

fn gravity_of(word: &str) -> Gravity {
    match word {
        "error" => Gravity::Of(Level::Error),
        "note" => Gravity::Of(Level::Note),
        "none" => Gravity::Nothing,
        _ => Gravity::Of(Level::Warning),
    }
}

impl Found {
    pub(super) fn id(&self) -> Option<&str> {
        self.rule_id.as_deref().or(self.rule.as_ref().and_then(|rule| rule.id.as_deref()))
    }

    pub(super) fn index(&self) -> Option<usize> {
        let index = self.rule_index.or(self.rule.as_ref().and_then(|rule| rule.index))?;
        usize::try_from(index).ok()
    }

    /// What it says itself of how grave it is.
    pub(super) fn gravity(&self) -> Gravity {
        let passed = self.kind.as_deref().is_some_and(|kind| kind != "fail" && kind != "review");
        let gone = self.baseline_state.as_deref() == Some("absent");
        let accepted = |one: &Suppression| one.status.as_deref().is_none_or(|s| s == "accepted");
        if passed || gone || self.suppressions.items.iter().any(accepted) {
            return Gravity::Nothing;
        }
        self.level.as_deref().map_or(Gravity::Unsaid, gravity_of)
    }
}

/// What is counted together.
#[derive(Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) gravity: Gravity,
    pub(super) id: Option<String>,
    pub(super) index: Option<usize>,
}

/// Results of a run: the first ones of each gravity, and how many there are.
#[derive(Default)]
pub(super) struct Results {
    pub(super) kept: Vec<Found>,
    pub(super) counts: BTreeMap<Key, u32>,
}

impl Results {
    fn take(&mut self, result: Found, room: &mut BTreeMap<Gravity, usize>) {
        let gravity = result.gravity();
        let mut key = Key { gravity, ..Key::default() };
        if gravity == Gravity::Unsaid && self.counts.len() < RULES_MOST {
            key = Key { gravity, id: result.id().map(str::to_owned), index: result.index() };
        }
        let count = self.counts.entry(key).or_default();
        *count = count.saturating_add(1);
        // Those of each level apart: grave ones may come last.
        let room = room.entry(gravity).or_insert(KEPT);
        if gravity != Gravity::Nothing && *room > 0 {
            *room -= 1;
            self.kept.push(result);
        }
    }
}

impl<'de> Deserialize<'de> for Results {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Counting)
    }
}

struct Counting;

impl<'de> Visitor<'de> for Counting {
    type Value = Results;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of results")
    }

    fn visit_unit<E>(self) -> Result<Results, E> {
        Ok(Results::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Results, A::Error> {
        let (mut results, mut room) = (Results::default(), BTreeMap::new());
        while let Some(result) = all.next_element()? {
            results.take(result, &mut room);
        }
        Ok(results)
    }
}

/// The first items of a list, and how many there are more.
pub(super) struct Few<T> {
    pub(super) items: Vec<T>,
    pub(super) more: usize,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { items: Vec::new(), more: 0 }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(First(PhantomData))
    }
}

struct First<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for First<T> {
    type Value = Few<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Few<T>, E> {
        Ok(Few::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Few<T>, A::Error> {
        let mut few = Few::default();
        while few.items.len() < MOST {
            match all.next_element()? {
                Some(item) => few.items.push(item),
                None => return Ok(few),
            }
        }
        while all.next_element::<IgnoredAny>()?.is_some() {
            few.more += 1;
        }
        Ok(few)
    }
}
