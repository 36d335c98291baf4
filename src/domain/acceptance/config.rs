//! `acceptance-test-config.yml`: which tests there are, and with what.

mod keys;
mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::keys::{
    ANY, CURSOR_KEYS, EXPECTED_KEYS, NAMED_KEYS, OTHER_SUITES, ROOT, SUITE_KEYS, beneath,
    of_other_suite,
};
pub use self::paths::{Mention, is_called, plain};
use crate::domain::catalog::Flaw;
use crate::domain::rules::closest;
use crate::domain::yaml::{Entry, Node, Value};

/// Beside the connector's other files.
pub const FILE: &str = "acceptance-test-config.yml";

/// The suites that are judged, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suite {
    Spec,
    Connection,
    Discovery,
    BasicRead,
    FullRefresh,
    Incremental,
}

impl Suite {
    pub const ALL: [Self; 6] = [
        Self::Spec,
        Self::Connection,
        Self::Discovery,
        Self::BasicRead,
        Self::FullRefresh,
        Self::Incremental,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Connection => "connection",
            Self::Discovery => "discovery",
            Self::BasicRead => "basic_read",
            Self::FullRefresh => "full_refresh",
            Self::Incremental => "incremental",
        }
    }

    /// The limit of a test that names none.
    pub fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Spec | Self::Connection => 60,
            Self::Discovery => 300,
            Self::BasicRead | Self::FullRefresh | Self::Incremental => 600,
        })
    }
}

/// What a check is to come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Status {
    #[default]
    Succeed,
    Failed,
    Exception,
}

/// One test of a suite. What its suite has no use for is as if it were not said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Test {
    pub config_path: Option<String>,
    pub spec_path: Option<String>,
    pub status: Status,
    pub timeout: Option<Duration>,
    /// `CLOUD` or `OSS`, for the image's `DEPLOYMENT_MODE`.
    pub deployment: Option<String>,
    pub catalog_path: Option<String>,
    /// Streams that need no records.
    pub empty_streams: BTreeSet<String>,
    pub expect_records: Option<String>,
    pub any_schema: bool,
    /// By stream: fields that may differ between two reads.
    pub ignored_fields: BTreeMap<String, BTreeSet<String>>,
    pub future_state: Option<String>,
    /// Days before its state that a stream may begin with.
    pub lookback: Option<u32>,
    /// States have their cursors elsewhere than by their names.
    pub cursors_elsewhere: bool,
}

/// What becomes of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Tests(Vec<Test>),
    /// Left out, and why.
    Bypassed(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Every suite must be there.
    pub strict: bool,
    /// Variables for the image.
    pub env: BTreeMap<String, String>,
    pub suites: BTreeMap<Suite, Asked>,
    /// What it asks for that is not judged here.
    pub notes: Vec<String>,
    /// The files that its tests name beside their configurations.
    pub mentions: Vec<Mention>,
}

/// Reads the document; every error at once.
pub fn read(document: &Node) -> Result<Config, Vec<Flaw>> {
    let mut reader = Reader::default();
    let config = reader.config(document);
    if reader.flaws.is_empty() { Ok(config) } else { Err(reader.flaws) }
}

#[derive(Default)]
struct Reader {
    flaws: Vec<Flaw>,
    notes: Vec<String>,
    mentions: Vec<Mention>,
}

impl Reader {
    fn wrong(&mut self, node: &Node, what: &str, wanted: &str) {
        let text = format!("`{what}` can't be {}", node.value.kind());
        self.flaws.push(Flaw::unusable(node.place, text, format!("write {wanted}")));
    }

    fn entries<'n>(&mut self, node: &'n Node, what: &str, keys: &[&str]) -> &'n [Entry] {
        let Value::Map(entries) = &node.value else {
            self.wrong(node, what, "a mapping");
            return &[];
        };
        for entry in entries.iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
            let mend = match closest(&entry.key, keys.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "remove it".to_owned(),
            };
            let text = format!("`{what}` has no key `{}`", entry.key);
            self.flaws.push(Flaw::unusable(entry.place, text, mend));
        }
        for (at, entry) in entries.iter().enumerate() {
            if entries[..at].iter().any(|earlier| earlier.key == entry.key) {
                let text = format!("`{}` stands twice in `{what}`", entry.key);
                self.flaws.push(Flaw::unusable(entry.place, text, "keep one of them"));
            }
        }
        entries
    }

    /// Asked for, and not judged here.
    fn note(&mut self, key: &str, of: &str) {
        let told = format!("`{key}` of `{of}` is not judged here");
        if !self.notes.contains(&told) {
            self.notes.push(told);
        }
    }

    /// What is not judged may be misspelt, too.
    fn look_beneath(&mut self, entry: &Entry) {
        let keys = beneath(&entry.key);
        let mappings = match &entry.node.value {
            _ if keys.is_empty() => return,
            Value::List(items) => items.as_slice(),
            Value::Null => return,
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                std::slice::from_ref(&entry.node)
            }
        };
        for mapping in mappings {
            for inner in self.entries(mapping, &entry.key, keys) {
                self.look_beneath(inner);
            }
        }
    }

    fn text(&mut self, entry: &Entry) -> Option<String> {
        let text = entry.node.text().map(str::to_owned);
        if text.is_none() && !entry.node.is_null() {
            self.wrong(&entry.node, &entry.key, "a text");
        }
        text
    }

    /// A file that is no configuration.
    fn path(&mut self, entry: &Entry) -> Option<String> {
        let path = self.text(entry)?;
        let (place, key) = (entry.node.place, entry.key.clone());
        self.mentions.push(Mention { place, key, path: path.clone() });
        Some(path)
    }

    fn config(&mut self, document: &Node) -> Config {
        let mut config = Config::default();
        let mut asked: Option<&str> = None;
        for entry in self.entries(document, "the file", ROOT) {
            match entry.key.as_str() {
                key @ ("acceptance_tests" | "tests") => {
                    if asked.replace(key).is_some_and(|other| other != key) {
                        let text = "it has both `acceptance_tests` and the older `tests`";
                        self.flaws.push(Flaw::unusable(entry.place, text, "keep one of them"));
                    }
                    config.suites.append(&mut self.suites(&entry.node, key == "tests"));
                }
                "base_path" => self.base_path(entry),
                "test_strictness_level" => match entry.node.text() {
                    Some("high") => config.strict = true,
                    Some("low") => {}
                    _ => self.wrong(&entry.node, "test_strictness_level", "`low` or `high`"),
                },
                "custom_environment_variables" => config.env = self.env(&entry.node),
                _ => drop(self.text(entry)),
            }
        }
        if asked.is_none() {
            let mend = "add `acceptance_tests:` with the suites";
            self.flaws.push(Flaw::unusable(document.place, "it has no `acceptance_tests`", mend));
        }
        config.notes = std::mem::take(&mut self.notes);
        config.mentions = std::mem::take(&mut self.mentions);
        config
    }

    fn env(&mut self, node: &Node) -> BTreeMap<String, String> {
        let Value::Map(entries) = &node.value else {
            self.wrong(node, "custom_environment_variables", "a mapping");
            return BTreeMap::new();
        };
        let mut env = BTreeMap::new();
        for entry in entries {
            let value = match &entry.node.value {
                Value::Text(text) | Value::Number(text) => text.clone(),
                Value::Bool(truth) => truth.to_string(),
                Value::Null | Value::List(_) | Value::Map(_) => {
                    self.wrong(&entry.node, &entry.key, "a text");
                    continue;
                }
            };
            env.insert(entry.key.clone(), value);
        }
        env
    }

    fn base_path(&mut self, entry: &Entry) {
        let path = self.text(entry).unwrap_or_default();
        if !matches!(path.as_str(), "" | "." | "./") {
            let text =
                format!("`base_path` can't be `{path}`: paths begin at the connector's folder");
            let mend = "remove it, and write the paths from there";
            self.flaws.push(Flaw::unusable(entry.node.place, text, mend));
        }
    }

    fn suites(&mut self, node: &Node, legacy: bool) -> BTreeMap<Suite, Asked> {
        let judged = Suite::ALL.map(Suite::as_str);
        let known: Vec<&str> = judged.iter().chain(OTHER_SUITES).copied().collect();
        let mut suites = BTreeMap::new();
        for entry in self.entries(node, "acceptance_tests", &known) {
            let suite = Suite::ALL.into_iter().find(|suite| suite.as_str() == entry.key);
            let Some(suite) = suite else {
                if OTHER_SUITES.contains(&entry.key.as_str()) {
                    self.notes.push(format!("the suite `{}` is not judged here", entry.key));
                    self.other_suite(entry, legacy);
                }
                continue;
            };
            let asked = if legacy {
                Some(Asked::Tests(self.tests(suite, &entry.node)))
            } else {
                self.asked(suite, &entry.node)
            };
            suites.extend(asked.map(|asked| (suite, asked)));
        }
        suites
    }

    fn other_suite(&mut self, suite: &Entry, legacy: bool) {
        let tests = if legacy {
            Some(&suite.node)
        } else {
            let entries = self.entries(&suite.node, &suite.key, SUITE_KEYS);
            entries.iter().find(|entry| entry.key == "tests").map(|entry| &entry.node)
        };
        let keys = [of_other_suite(&suite.key), ANY].concat();
        let Some(Value::List(tests)) = tests.map(|tests| &tests.value) else { return };
        for test in tests {
            for entry in self.entries(test, &format!("a test of {}", suite.key), &keys) {
                self.look_beneath(entry);
            }
        }
    }

    fn asked(&mut self, suite: Suite, node: &Node) -> Option<Asked> {
        let entries = self.entries(node, suite.as_str(), SUITE_KEYS);
        let get = |key: &str| {
            entries.iter().find(|entry| entry.key == key).filter(|entry| !entry.node.is_null())
        };
        match (get("tests"), get("bypass_reason")) {
            (Some(tests), None) => Some(Asked::Tests(self.tests(suite, &tests.node))),
            (None, Some(reason)) => self.text(reason).map(Asked::Bypassed),
            (Some(_), Some(reason)) => {
                let text = format!("`{}` has both `tests` and a `bypass_reason`", suite.as_str());
                self.flaws.push(Flaw::unusable(reason.place, text, "keep one of them"));
                None
            }
            (None, None) => {
                if matches!(node.value, Value::Map(_)) {
                    let text = format!("`{}` has no `tests`", suite.as_str());
                    let mend = "add `tests:` with a list, or a `bypass_reason`";
                    self.flaws.push(Flaw::unusable(node.place, text, mend));
                }
                None
            }
        }
    }

    fn tests(&mut self, suite: Suite, node: &Node) -> Vec<Test> {
        let Value::List(items) = &node.value else {
            self.wrong(node, suite.as_str(), "a list of tests");
            return Vec::new();
        };
        if items.is_empty() {
            let text = format!("`{}` has no test in its list", suite.as_str());
            let mend = "add a test (`- {}` is one), or a `bypass_reason` in place of the list";
            self.flaws.push(Flaw::unusable(node.place, text, mend));
        }
        items.iter().map(|item| self.test(suite, item)).collect()
    }

    fn test(&mut self, suite: Suite, node: &Node) -> Test {
        let (own, other) = (suite.keys(), suite.not_judged());
        let legacy: &[&str] =
            if suite == Suite::Incremental { &["future_state_path"] } else { &[] };
        let keys: Vec<&str> = [own, other, ANY, legacy].concat();
        let mut test = Test::default();
        for entry in self.entries(node, &format!("a test of {}", suite.as_str()), &keys) {
            if other.contains(&entry.key.as_str()) {
                self.note(&entry.key, suite.as_str());
                self.look_beneath(entry);
            } else {
                self.key(&mut test, entry);
            }
        }
        test
    }

    fn key(&mut self, test: &mut Test, entry: &Entry) {
        let node = &entry.node;
        match entry.key.as_str() {
            "config_path" => test.config_path = self.text(entry),
            "spec_path" => test.spec_path = self.path(entry),
            "configured_catalog_path" => test.catalog_path = self.path(entry),
            "future_state_path" => test.future_state = self.path(entry),
            "deployment_mode" => {
                test.deployment = self.text(entry).map(|mode| mode.to_uppercase());
            }
            "timeout_seconds" => test.timeout = self.seconds(node),
            "validate_schema" => {
                if let Value::Bool(validate) = node.value {
                    test.any_schema = !validate;
                } else {
                    self.wrong(node, "validate_schema", "`true` or `false`");
                }
            }
            "status" => match node.text() {
                Some("succeed") => test.status = Status::Succeed,
                Some("failed") => test.status = Status::Failed,
                Some("exception") => test.status = Status::Exception,
                _ => self.wrong(node, "status", "`succeed`, `failed` or `exception`"),
            },
            "empty_streams" => test.empty_streams = self.names(node, "empty_streams"),
            "expect_records" => {
                test.expect_records = self.path_in(entry, "path", EXPECTED_KEYS);
            }
            "future_state" => {
                test.future_state = self.path_in(entry, "future_state_path", CURSOR_KEYS);
            }
            "threshold_days" => test.lookback = self.days(node),
            "cursor_paths" => {
                test.cursors_elsewhere =
                    matches!(&node.value, Value::Map(streams) if !streams.is_empty());
            }
            "ignored_fields" => test.ignored_fields = self.fields(node),
            // An unknown key is an error already.
            _ => {}
        }
    }

    fn fields(&mut self, node: &Node) -> BTreeMap<String, BTreeSet<String>> {
        let Value::Map(streams) = &node.value else {
            if !node.is_null() {
                self.wrong(node, "ignored_fields", "a mapping from streams to fields");
            }
            return BTreeMap::new();
        };
        let fields =
            |stream: &Entry| (stream.key.clone(), self.names(&stream.node, "ignored_fields"));
        streams.iter().map(fields).collect()
    }

    fn path_in(&mut self, entry: &Entry, key: &str, keys: &[&str]) -> Option<String> {
        let entries = self.entries(&entry.node, &entry.key, keys);
        for inner in entries.iter().filter(|inner| ![key, "bypass_reason"].contains(&&*inner.key)) {
            // What is switched off is not asked for.
            if keys.contains(&inner.key.as_str()) && !matches!(inner.node.value, Value::Bool(false))
            {
                self.note(&inner.key, &entry.key);
            }
            self.look_beneath(inner);
        }
        entries.iter().find(|entry| entry.key == key).and_then(|entry| self.path(entry))
    }

    fn seconds(&mut self, node: &Node) -> Option<Duration> {
        if let Value::Number(number) = &node.value
            && let Ok(seconds) = number.parse::<f64>()
            && seconds > 0.0
            && seconds <= 86_400.0
        {
            return Some(Duration::from_secs_f64(seconds));
        }
        self.wrong(node, "timeout_seconds", "seconds above 0, at most a day");
        None
    }

    fn days(&mut self, node: &Node) -> Option<u32> {
        let days =
            if let Value::Number(number) = &node.value { number.parse::<u32>().ok() } else { None };
        if days.is_none() && !node.is_null() {
            self.wrong(node, "threshold_days", "a whole number of days");
        }
        days.filter(|days| *days > 0)
    }

    /// Names, or mappings with a `name` and the reason.
    fn names(&mut self, node: &Node, what: &str) -> BTreeSet<String> {
        let Value::List(items) = &node.value else {
            if !node.is_null() {
                self.wrong(node, what, "a list");
            }
            return BTreeSet::new();
        };
        let mut names = BTreeSet::new();
        for item in items {
            if matches!(item.value, Value::Map(_)) {
                self.entries(item, what, NAMED_KEYS);
            }
            let name = item.text().or_else(|| item.get("name").and_then(Node::text));
            match name {
                Some(name) => drop(names.insert(name.to_owned())),
                None => self.wrong(item, what, "`{ name: …, bypass_reason: … }`"),
            }
        }
        names
    }
}
