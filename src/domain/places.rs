//! The places that failing tests, findings and lines of the log name, as files of the repository:
//! which are meant, and which of them say the same.

use std::collections::{BTreeMap, BTreeSet};

use super::annotation::{Annotation, Annotations, KEPT, Level, NAME_MAX, Standing, TEXT_MAX};
use super::output::place::{Ground, Place};
use super::output::{Problem, problems_of};
use super::run::{StepFacts, TestFailure};

/// The paths of the repository that may be meant: to be asked for.
pub fn asked(facts: &StepFacts, problems: &[Problem], ground: Ground<'_>) -> BTreeSet<String> {
    let failures = facts.tests.iter().flat_map(|tests| &tests.failures);
    let of_tests = failures.flat_map(|failure| {
        let told = told_by(failure).into_iter().map(|place| place.path);
        failure.file.iter().cloned().chain(told).collect::<Vec<_>>()
    });
    let found = facts.annotations.iter().flat_map(|found| &found.kept);
    let of_found = found.filter_map(|annotation| annotation.path.clone());
    let of_log = problems.iter().flat_map(|problem| &problem.places).map(|at| at.path.clone());
    let paths: BTreeSet<String> = of_tests.chain(of_found).chain(of_log).collect();
    // A line feed ends a question.
    let candidates = paths.iter().flat_map(|path| ground.candidates(path));
    candidates.filter(|path| !path.contains(['\n', '\0'])).collect()
}

/// With texts that are not longer than what is kept of them. What secrets a log has are hidden
/// before anything is read in it.
fn cut(mut found: Annotation) -> Annotation {
    let shorten = |text: &mut String, most: usize| {
        if text.len() > most {
            text.truncate(text.floor_char_boundary(most - '…'.len_utf8()));
            text.push('…');
        }
    };
    shorten(&mut found.message, TEXT_MAX);
    shorten(&mut found.rule, NAME_MAX);
    if let Some(path) = &mut found.path {
        shorten(path, NAME_MAX);
    }
    found
}

/// Writes down which files are meant, and what the log's problems add to what reports say already.
/// What a step that passed calls an error was none.
pub fn settle(
    facts: &mut StepFacts,
    problems: Vec<Problem>,
    ground: Ground<'_>,
    known: &BTreeMap<String, Standing>,
    passed: bool,
) {
    let file = |path: &str| ground.candidates(path).into_iter().find(|p| known.contains_key(p));
    for failure in facts.tests.iter_mut().flat_map(|tests| &mut tests.failures) {
        settle_test(failure, file);
    }
    for annotation in facts.annotations.iter_mut().flat_map(|found| &mut found.kept) {
        annotation.path = annotation.path.take().map(|path| file(&path).unwrap_or(path));
    }
    let mut seen = Seen::of(facts);
    let mut fresh = Annotations::default();
    for problem in problems {
        let place = problem.places.iter().find_map(|at| Some((file(&at.path)?, at)));
        let Some((path, Place { line, column, .. })) = place else { continue };
        let Problem { level, rule, message, .. } = problem;
        let level = if passed { level.max(Level::Warning) } else { level };
        let found = Annotation {
            level,
            rule,
            message,
            path: Some(path),
            line: Some(*line),
            end_line: None,
            column: *column,
        };
        if seen.is_new(&found) {
            fresh.add(level, 1);
            fresh.kept.push(cut(found));
        }
    }
    if !fresh.kept.is_empty() {
        let all = facts.annotations.get_or_insert_default();
        for level in Level::ALL {
            all.add(level, fresh.count(level));
        }
        all.kept.append(&mut fresh.kept);
    }
    if let Some(all) = &mut facts.annotations {
        let changed = |found: &Annotation| {
            found.path.as_ref().and_then(|path| known.get(path)) == Some(&Standing::Changed)
        };
        all.kept.sort_by_key(|found| (!changed(found), found.level));
        all.kept.truncate(KEPT);
    }
    let of_tests = facts.tests.iter().flat_map(|tests| &tests.failures);
    let of_tests = of_tests.filter_map(|failure| failure.file.as_ref());
    let of_found = facts.annotations.iter().flat_map(|found| &found.kept);
    let named = of_tests.chain(of_found.filter_map(|found| found.path.as_ref()));
    let places = named.filter_map(|path| Some((path.clone(), *known.get(path)?)));
    facts.places = places.collect();
}

/// The place where a test's message ends: where it failed.
fn told_by(failure: &TestFailure) -> Option<Place> {
    problems_of(&failure.message).pop()?.places.into_iter().next()
}

/// A test's file; and its line where the message tells it, since a report's own is that of the
/// test's beginning, counted from 0 or 1.
fn settle_test(failure: &mut TestFailure, file: impl Fn(&str) -> Option<String>) {
    let told = told_by(failure).and_then(|at| Some((file(&at.path)?, at.line)));
    match (&failure.file, told) {
        (Some(own), told) => {
            let Some(own) = file(own) else { return };
            if let Some((_, line)) = told.filter(|(path, _)| *path == own) {
                failure.line = Some(line);
            }
            failure.file = Some(own);
        }
        (None, Some((path, line))) => {
            failure.file = Some(path);
            failure.line = Some(line);
        }
        (None, None) => {}
    }
}

/// What is said already: in one place nothing is said twice.
#[derive(Default)]
struct Seen {
    tests: BTreeSet<(String, u32)>,
    /// By place: rules and messages.
    found: BTreeMap<(String, u32), Vec<(String, String)>>,
}

impl Seen {
    fn of(facts: &StepFacts) -> Self {
        let mut seen = Self::default();
        let failures = facts.tests.iter().flat_map(|tests| &tests.failures);
        seen.tests.extend(failures.filter_map(|f| Some((f.file.clone()?, f.line?))));
        for found in facts.annotations.iter().flat_map(|found| &found.kept) {
            seen.is_new(found);
        }
        seen
    }

    /// Remembers it, too.
    fn is_new(&mut self, found: &Annotation) -> bool {
        let (Some(path), Some(line)) = (&found.path, found.line) else { return true };
        let place = (path.clone(), line);
        if self.tests.contains(&place) {
            return false;
        }
        let said = self.found.entry(place).or_default();
        let same = |(rule, message): &(String, String)| {
            message.contains(&found.message)
                || found.message.contains(message.as_str())
                || !found.rule.is_empty() && rule.ends_with(&found.rule)
        };
        let fresh = !said.iter().any(same);
        if fresh {
            said.push((found.rule.clone(), found.message.clone()));
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::Tests;

    const GROUND: Ground<'static> = Ground { folder: "connectors/a", root: "connectors/a" };

    fn known(paths: &[(&str, Standing)]) -> BTreeMap<String, Standing> {
        paths.iter().map(|(path, standing)| ((*path).to_owned(), *standing)).collect()
    }

    fn failure(file: Option<&str>, line: Option<u32>, message: &str) -> TestFailure {
        let (name, message) = ("test_x".to_owned(), message.to_owned());
        TestFailure { name, message, file: file.map(str::to_owned), line }
    }

    fn settled(mut facts: StepFacts, log: &str, passed: bool) -> StepFacts {
        let problems = problems_of(log);
        let all = known(&[
            ("connectors/a/x.py", Standing::Unchanged),
            ("connectors/a/new.py", Standing::Changed),
        ]);
        let asked = asked(&facts, &problems, GROUND);
        let known = all.into_iter().filter(|(path, _)| asked.contains(path)).collect();
        settle(&mut facts, problems, GROUND, &known, passed);
        facts
    }

    fn shown(facts: &StepFacts) -> Vec<String> {
        let kept = facts.annotations.iter().flat_map(|found| &found.kept);
        let line = |found: &Annotation| {
            let place = found.place().unwrap_or_default();
            format!("{} {place} {} {}", found.level.as_str(), found.rule, found.message)
        };
        kept.map(line).collect()
    }

    #[test]
    fn files_of_the_head_are_named_the_changed_first() {
        let log = "x.py:3:1: W291 trailing whitespace\nnew.py:7:2: F401 unused\ngone.py:1:1: F401 x\n\
                   ./new.py:7:2: F401 unused\n/usr/lib/python3/x.py:1: error: no\n";
        let facts = settled(StepFacts::default(), log, false);
        let expected = [
            "error connectors/a/new.py:7 F401 unused",
            "warning connectors/a/x.py:3 W291 trailing whitespace",
        ];
        assert_eq!(shown(&facts), expected);
        assert_eq!(facts.annotations.as_ref().unwrap().total(), 2);
        assert_eq!(facts.places.len(), 2);
        let passed = settled(StepFacts::default(), log, true);
        assert!(shown(&passed).iter().all(|line| line.starts_with("warning ")), "{passed:?}");
    }

    #[test]
    fn a_test_says_where_it_failed_and_nothing_says_it_again() {
        let trace = ">   assert 1 == 2\nE   assert 1 == 2\n\nx.py:7: AssertionError";
        let failures = vec![
            failure(None, None, trace),
            failure(Some("x.py"), Some(4), ""),
            failure(Some("gone"), Some(1), ""),
        ];
        let tests = Tests { failed: 3, failures, ..Tests::default() };
        let facts = StepFacts { tests: Some(tests), ..StepFacts::default() };
        let facts = settled(facts, trace, false);
        let failures = facts.tests.as_ref().unwrap().failures.iter();
        let places: Vec<_> = failures.map(|f| (f.file.as_deref(), f.line)).collect();
        let x = Some("connectors/a/x.py");
        assert_eq!(places, [(x, Some(7)), (x, Some(4)), (Some("gone"), Some(1))]);
        assert!(shown(&facts).is_empty(), "{:?}", shown(&facts));
    }

    #[test]
    fn what_a_report_says_is_not_said_again_by_the_log() {
        let found = Annotation {
            level: Level::Error,
            rule: "ruff: F401".to_owned(),
            message: "`os` imported but unused".to_owned(),
            path: Some("x.py".to_owned()),
            line: Some(1),
            end_line: None,
            column: None,
        };
        let annotations = Annotations { errors: 1, kept: vec![found], ..Annotations::default() };
        let facts = StepFacts { annotations: Some(annotations), ..StepFacts::default() };
        let log = "x.py:1:8: F401 [*] `os` imported but unused\nx.py:1:8: E999 other\n";
        let facts = settled(facts, log, false);
        assert_eq!(shown(&facts).len(), 2);
        assert_eq!(facts.annotations.as_ref().unwrap().errors, 2);
    }
}
