//! What was found against what a case expects: nothing missed, and every one more of a class that
//! `docs/cases.md` justifies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use checkvalve::domain::impact::{ChangeKind, Impact, Impacts, Reason, Rule};
use serde::Deserialize;

use super::rows::Row;

/// A connector of an answer, from the library or from the program's JSON.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Answer {
    pub(crate) name: String,
    pub(crate) root: String,
    pub(crate) change: ChangeKind,
    pub(crate) reasons: Vec<Reason>,
}

impl From<Impact> for Answer {
    fn from(impact: Impact) -> Self {
        let name = impact.name.to_string();
        Self { name, root: impact.root, change: impact.change, reasons: impact.reasons }
    }
}

/// The connectors of one answer, by name.
pub(crate) type Found = BTreeMap<String, Answer>;

pub(crate) fn by_name(answers: impl IntoIterator<Item = Answer>) -> Found {
    answers.into_iter().map(|answer| (answer.name.clone(), answer)).collect()
}

pub(crate) fn of_impacts(impacts: Impacts) -> Found {
    by_name(impacts.connectors.into_values().map(Answer::from))
}

/// The names of those that are removed, or of the others.
pub(crate) fn names(found: &Found, removed: bool) -> BTreeSet<String> {
    let those = found.values().filter(|one| (one.change == ChangeKind::Removed) == removed);
    those.map(|one| one.name.clone()).collect()
}

/// Why more than expected may be selected.
#[derive(Debug)]
pub(crate) struct Class {
    /// As the table in `docs/cases.md` has it.
    pub(crate) name: &'static str,
    /// May this connector be selected, by these reasons, although the row does not expect it?
    pub(crate) holds: fn(&Row, &str, &[Reason]) -> bool,
}

/// Deviations from what the rows of the other three layouts expect.
pub(crate) const CLASSES: &[Class] = &[
    Class {
        name: "no workflow yet",
        holds: |row, name, _| {
            row.why.contains(&format!("{name}: no pull_request workflow at this commit"))
        },
    },
    Class {
        name: "version-only edit",
        holds: |row, _, reasons| {
            reasons.iter().all(|reason| row.version_bump_only.contains(&reason.path))
        },
    },
    Class {
        name: "a variant's tests",
        holds: |row, _, reasons| row.why.contains("via VARIANTS") && unclaimed(reasons),
    },
    Class {
        name: "unclaimed path",
        holds: |row, _, reasons| {
            let known = !row.state.is_empty();
            known && unclaimed(reasons) && !reasons.iter().any(|reason| row.needed(&reason.path))
        },
    },
];

/// Each class used, and each in the table: a deviation that nobody explains is none that we allow.
pub(crate) fn is_stated(classes: &BTreeSet<&str>, used: &BTreeSet<&str>) {
    assert_eq!(used, classes, "a class justifies nothing");
    let page = include_str!("../../docs/cases.md");
    for class in classes {
        assert!(page.contains(&format!("| {class} |")), "docs/cases.md does not justify `{class}`");
    }
}

fn unclaimed(reasons: &[Reason]) -> bool {
    reasons.iter().all(|reason| reason.rule == Rule::Unclaimed)
}

/// The answers to many rows.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    cases: usize,
    exact: usize,
    expected: usize,
    /// Class → rows and connectors.
    over: BTreeMap<&'static str, (BTreeSet<String>, usize)>,
    wrong: Vec<String>,
}

impl Judgement {
    pub(crate) fn judge(&mut self, row: &Row, found: &Found) {
        let before = self.wrong.len();
        self.cases += 1;
        let expected = row.expected();
        self.expected += expected.len();
        let (run, removed) = (names(found, false), names(found, true));
        self.none("missed", row, expected.difference(&run));
        self.none("removed, and not named", row, row.removed_connectors.difference(&removed));
        self.none("not removed", row, removed.difference(&row.removed_connectors));
        let added =
            |name: &&String| found.get(*name).is_none_or(|one| one.change != ChangeKind::Added);
        self.none("not said to be added", row, row.added_connectors.iter().filter(added));
        let direct = |name: &&String| {
            let reasons = found.get(*name).map(|one| one.reasons.as_slice()).unwrap_or_default();
            !reasons.iter().any(|reason| matches!(reason.rule, Rule::Root | Rule::Owns))
        };
        self.none("not by its folder", row, row.expected_direct.iter().filter(direct));
        let more: Vec<&String> = run.difference(&expected).collect();
        if more.is_empty() && self.wrong.len() == before {
            self.exact += 1;
        }
        self.justify(row, &more, found);
    }

    fn none<'n>(&mut self, what: &str, row: &Row, names: impl Iterator<Item = &'n String>) {
        let names: Vec<&str> = names.map(String::as_str).collect();
        if !names.is_empty() {
            self.wrong.push(format!("{}: {what}: {}", row.id, names.join(", ")));
        }
    }

    fn justify(&mut self, row: &Row, more: &[&String], found: &Found) {
        let mut unjustified = Vec::new();
        for name in more {
            let reasons = &found[*name].reasons;
            if let Some(class) = CLASSES.iter().find(|class| (class.holds)(row, name, reasons)) {
                let (rows, connectors) = self.over.entry(class.name).or_default();
                rows.insert(row.id.clone());
                *connectors += 1;
            } else {
                unjustified.push((name, reasons.first()));
            }
        }
        if let Some(first) = unjustified.first() {
            let count = unjustified.len();
            self.wrong.push(format!("{}: {count} not expected, such as {first:?}", row.id));
        }
    }

    /// The classes that justified something.
    pub(crate) fn used(&self) -> BTreeSet<&'static str> {
        self.over.keys().copied().collect()
    }

    pub(crate) fn summary(&self, of: &str) -> String {
        let mut text = format!(
            "{of}: {} cases, {} exact, {} connectors expected\n",
            self.cases, self.exact, self.expected
        );
        for (class, (rows, connectors)) in &self.over {
            writeln!(text, "  {class}: {connectors} more in {} cases", rows.len()).unwrap();
        }
        text
    }

    pub(crate) fn wrong(&self) -> &[String] {
        &self.wrong
    }
}
