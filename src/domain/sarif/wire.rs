//! What of the format is read. Unknown properties are passed over; lists have an end, so that many
//! small things take no more memory than a few large ones.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::domain::annotation::{KEPT, Level};

/// Runs that a document may have.
pub(super) const RUNS_MOST: usize = 10_000;
/// Rules of a tool that are read, and different ones whose results are counted apart.
const RULES_MOST: usize = 10_000;
/// What is read of smaller lists.
const EXTENSIONS_MOST: usize = 100;
const SUPPRESSIONS_MOST: usize = 100;
const ARGUMENTS_MOST: usize = 100;
/// Bytes of a rule's id; longer ones name none.
const ID_MAX: usize = 1024;
/// Bytes of a version.
const VERSION_MAX: usize = 40;

/// Enough of a document to know whether it is one.
#[derive(serde::Deserialize)]
pub(super) struct Outline {
    pub(super) version: Option<Version>,
}

/// A text that is no longer than one can be, or what stands in its place.
pub(super) enum Version {
    Text(String),
    Other(String),
}

/// Hands out a document's runs one by one: none of them is kept while others are read. Answers how
/// many it has, if it has a list of them.
pub(super) fn runs(text: &str, each: impl FnMut(Run)) -> serde_json::Result<Option<usize>> {
    let mut document = serde_json::Deserializer::from_str(text);
    let count = document.deserialize_map(Log(each))?;
    document.end()?;
    Ok(count)
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
    pub(super) extensions: Few<Component, EXTENSIONS_MOST>,
}

#[derive(serde::Deserialize)]
pub(super) struct Component {
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) rules: Few<Rule, RULES_MOST>,
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
    /// By which results name it.
    pub(super) fn key(&self) -> Option<&str> {
        self.id.as_deref().filter(|id| id.len() <= ID_MAX)
    }

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
    #[serde(default, deserialize_with = "trimmed")]
    pub(super) text: Option<String>,
}

/// Once, however many results are told with it.
fn trimmed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.map(|text| match text.trim() {
        trimmed if trimmed.len() == text.len() => text,
        trimmed => trimmed.to_owned(),
    }))
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
    suppressions: Few<Suppression, SUPPRESSIONS_MOST>,
    #[serde(default)]
    pub(super) message: Message,
    #[serde(default)]
    pub(super) locations: Few<Location, 1>,
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
    #[serde(default, deserialize_with = "trimmed")]
    pub(super) text: Option<String>,
    #[serde(default, deserialize_with = "trimmed")]
    pub(super) markdown: Option<String>,
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) arguments: Few<String, ARGUMENTS_MOST>,
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

    /// By which its rule is looked for.
    pub(super) fn key(&self) -> Option<&str> {
        self.id().filter(|id| id.len() <= ID_MAX)
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
        if passed || gone || self.suppressions.0.iter().any(accepted) {
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
            key = Key { gravity, id: result.key().map(str::to_owned), index: result.index() };
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

/// The first items of a list.
pub(super) struct Few<T, const MOST: usize>(pub(super) Vec<T>);

impl<T, const MOST: usize> Default for Few<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Few<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(First(PhantomData))
    }
}

struct First<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for First<T, MOST> {
    type Value = Few<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Few<T, MOST>, E> {
        Ok(Few::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Few<T, MOST>, A::Error> {
        let mut items = Vec::new();
        while items.len() < MOST {
            match all.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Few(items)),
            }
        }
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Few(items))
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVersion)
    }
}

struct AnyVersion;

impl<'de> Visitor<'de> for AnyVersion {
    type Value = Version;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a version")
    }

    fn visit_str<E>(self, text: &str) -> Result<Version, E> {
        if text.len() > VERSION_MAX {
            return Ok(Version::Other("a long text".to_owned()));
        }
        Ok(Version::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Version, E> {
        Ok(Version::Other(truth.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Version, E> {
        Ok(Version::Other(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Version, E> {
        Ok(Version::Other(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Version, E> {
        Ok(Version::Other(number.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Version, A::Error> {
        while all.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Version::Other("a list".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Version, A::Error> {
        while all.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Version::Other("an object".to_owned()))
    }
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Part {
    Runs,
    #[serde(other)]
    Other,
}

struct Log<F>(F);

impl<'de, F: FnMut(Run)> Visitor<'de> for Log<F> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `runs`")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut all: A) -> Result<Option<usize>, A::Error> {
        let mut count = None;
        while let Some(key) = all.next_key()? {
            match key {
                Part::Runs if count.is_some() => return Err(A::Error::duplicate_field("runs")),
                Part::Runs => count = all.next_value_seed(Runs(&mut self.0))?,
                Part::Other => drop(all.next_value::<IgnoredAny>()?),
            }
        }
        Ok(count)
    }
}

struct Runs<'f, F>(&'f mut F);

impl<'de, F: FnMut(Run)> DeserializeSeed<'de> for Runs<'_, F> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Run)> Visitor<'de> for Runs<'_, F> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of runs")
    }

    fn visit_unit<E>(self) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Option<usize>, A::Error> {
        let mut count = 0;
        while count < RUNS_MOST {
            let Some(run) = all.next_element()? else { return Ok(Some(count)) };
            (self.0)(run);
            count += 1;
        }
        while all.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Some(count))
    }
}
