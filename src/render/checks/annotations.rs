//! What GitHub shows at the lines of files: failing tests and findings, in files of the head alone,
//! those that the change touches first.

use std::collections::BTreeSet;

use crate::domain::annotation::{Annotation, Annotations, Level, Standing};
use crate::domain::check::{
    ANNOTATION_TEXT_MAX_BYTES, ANNOTATION_TITLE_MAX, AnnotationLevel, CheckAnnotation,
};
use crate::domain::parties::Party;
use crate::domain::run::{Problem, ProblemKind, StepFacts, TestFailure};
use crate::render::log;
use crate::render::markdown::{cut, one_line};

/// Annotations of one check run: further ones are on the step's page.
const MOST: usize = 100;

/// Of a step that has come to its end.
pub(super) fn of_step(facts: &StepFacts) -> Vec<CheckAnnotation> {
    let mut all = placed(facts);
    all.truncate(MOST);
    all
}

/// Of a commit whose repository file is wrong: at the line that is at fault. Before an approval that
/// is the base's file, which this commit need not have.
pub(super) fn of_head(parties: &[Party<'_>]) -> Vec<CheckAnnotation> {
    let own = parties.iter().filter_map(|party| party.verdict.own);
    let own = own.filter(|run| !run.trust.is_guarded());
    let mut all: Vec<CheckAnnotation> =
        own.filter_map(|run| of_problem(run.problem.as_ref()?)).collect();
    all.dedup();
    all
}

fn of_problem(problem: &Problem) -> Option<CheckAnnotation> {
    let (path, line) = problem.place.as_ref()?;
    if problem.kind != ProblemKind::Configuration {
        return None;
    }
    // GitHub shows this text as it is: a fence would be seen.
    let lines = problem.text.lines().filter(|line| !line.starts_with("```"));
    let message = log::plain(lines.collect::<Vec<_>>().join("\n").as_bytes());
    let level = AnnotationLevel::Failure;
    annotation((path, Some(*line)), (level, &problem.title), message.trim())
}

/// How many failing tests and findings are not shown at lines, though they have some.
pub(super) fn left_out(facts: &StepFacts) -> usize {
    let more = facts.annotations.as_ref().map_or(0, Annotations::more);
    let more = if facts.places.is_empty() { 0 } else { usize::try_from(more).unwrap_or(0) };
    placed(facts).len().saturating_sub(MOST) + more
}

fn placed(facts: &StepFacts) -> Vec<CheckAnnotation> {
    let tests = facts.tests.iter().flat_map(|tests| &tests.failures).filter_map(of_test);
    let found = facts.annotations.iter().flat_map(|found| &found.kept).filter_map(of_finding);
    let known = tests.chain(found).filter_map(|annotation| {
        let standing = facts.places.get(&annotation.path)?;
        Some((*standing != Standing::Changed, annotation))
    });
    let mut known: Vec<(bool, CheckAnnotation)> = known.collect();
    // Otherwise as they are: tests first, then the gravest.
    known.sort_by_key(|(elsewhere, _)| *elsewhere);
    let mut seen = BTreeSet::new();
    known.retain(|(_, it)| seen.insert((it.path.clone(), it.start_line, it.message.clone())));
    known.into_iter().map(|(_, annotation)| annotation).collect()
}

fn of_test(failure: &TestFailure) -> Option<CheckAnnotation> {
    let message = log::plain(failure.message.as_bytes());
    let message = if message.trim().is_empty() { "the test failed" } else { message.trim_end() };
    let level = AnnotationLevel::Failure;
    annotation((failure.file.as_deref()?, failure.line), (level, &failure.name), message)
}

fn of_finding(found: &Annotation) -> Option<CheckAnnotation> {
    let level = match found.level {
        Level::Error => AnnotationLevel::Failure,
        Level::Warning => AnnotationLevel::Warning,
        Level::Note => AnnotationLevel::Notice,
    };
    let mut message = log::plain(found.message.as_bytes());
    if message.trim().is_empty() {
        message = log::plain(found.rule.as_bytes());
    }
    let path = found.path.as_deref()?;
    let mut shown = annotation((path, found.line), (level, &found.rule), message.trim_end())?;
    let last = found.end_line.filter(|end| is_number(*end) && *end >= shown.start_line);
    shown.end_line = last.unwrap_or(shown.start_line);
    let column = found.column.filter(|column| is_number(*column) && found.line.is_some());
    if shown.start_line == shown.end_line {
        shown.start_column = column;
        shown.end_column = column;
    }
    Some(shown)
}

/// Without a line it is about the whole file, which is shown at its top.
fn annotation(
    (path, line): (&str, Option<u32>),
    (annotation_level, title): (AnnotationLevel, &str),
    message: &str,
) -> Option<CheckAnnotation> {
    let line = line.unwrap_or(1).max(1);
    let message = cut(message, ANNOTATION_TEXT_MAX_BYTES).to_owned();
    let title = one_line(&log::plain(title.as_bytes()), ANNOTATION_TITLE_MAX);
    (is_number(line) && !message.is_empty()).then(|| CheckAnnotation {
        path: path.to_owned(),
        start_line: line,
        end_line: line,
        start_column: None,
        end_column: None,
        annotation_level,
        title,
        message,
    })
}

/// GitHub's numbers have a sign.
fn is_number(number: u32) -> bool {
    number > 0 && i32::try_from(number).is_ok()
}
