//! `junit.xml`: every step as a test case, and the tests that failed in it, for tools that gather
//! such files.

use std::fmt::Write as _;

use crate::domain::run::{Job, StepRecord};
use crate::domain::state::{Outcome, StepState};

use crate::render::log::plain;
use crate::render::look;
use crate::render::markdown::cut;

/// Longer texts are in the log.
const TEXT_MAX: usize = 16 * 1024;

/// A suite for the connector with a case per step, and one for each step with failing tests.
pub fn junit_xml(job: &Job) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    let failed = count(job, |step| {
        matches!(step.state.outcome(), Some(Outcome::Failed | Outcome::TimedOut))
    });
    let errors = count(job, |step| step.state.outcome() == Some(Outcome::Errored));
    let skipped = count(job, is_skipped);
    let time: f64 =
        job.steps.iter().filter_map(look::took).map(|took| took.as_secs_f64()).sum::<f64>();
    let _ = writeln!(
        xml,
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{time:.3}\">",
        escape(job.connector.as_str()),
        job.steps.len(),
    );
    for step in &job.steps {
        xml.push_str(&step_case(job, step));
    }
    xml.push_str("  </testsuite>\n");
    for step in &job.steps {
        xml.push_str(&failing_tests(job, step));
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn count(job: &Job, wanted: impl Fn(&StepRecord) -> bool) -> usize {
    job.steps.iter().filter(|step| wanted(step)).count()
}

/// Cancelled and never run are no failures of the connector, and no passes.
fn is_skipped(step: &StepRecord) -> bool {
    match step.state {
        StepState::Skipped { .. } | StepState::Waiting | StepState::Running { .. } => true,
        StepState::Finished { outcome, .. } => outcome == Outcome::Cancelled,
    }
}

fn step_case(job: &Job, step: &StepRecord) -> String {
    let time = look::took(step).unwrap_or_default().as_secs_f64();
    let head = format!(
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{time:.3}\"",
        escape(job.connector.as_str()),
        escape(step.id.as_str()),
    );
    let reason = look::reason(step).or_else(|| {
        step.facts.exit_code.filter(|code| *code != 0).map(|code| format!("exit code {code}"))
    });
    let message = escape(&reason.unwrap_or_else(|| step.state.as_str().to_owned()));
    let text = escape(cut(&plain(step.facts.excerpt.as_bytes()), TEXT_MAX));
    match step.state.outcome() {
        Some(Outcome::Succeeded) => format!("{head}/>\n"),
        Some(outcome @ (Outcome::Failed | Outcome::TimedOut)) => format!(
            "{head}>\n      <failure type=\"{}\" message=\"{message}\">{text}</failure>\n    </testcase>\n",
            outcome.as_str(),
        ),
        Some(Outcome::Errored) => format!(
            "{head}>\n      <error type=\"errored\" message=\"{message}\">{text}</error>\n    </testcase>\n"
        ),
        Some(Outcome::Cancelled) | None => {
            format!("{head}>\n      <skipped message=\"{message}\"/>\n    </testcase>\n")
        }
    }
}

fn failing_tests(job: &Job, step: &StepRecord) -> String {
    let Some(tests) = step.facts.tests.as_ref().filter(|tests| !tests.failures.is_empty()) else {
        return String::new();
    };
    let total = u64::from(tests.passed) + u64::from(tests.failed) + u64::from(tests.skipped);
    let name = escape(&format!("{} / {}", job.connector, step.id));
    let mut xml = format!(
        "  <testsuite name=\"{name}\" tests=\"{total}\" failures=\"{}\" errors=\"0\" skipped=\"{}\">\n",
        tests.failed, tests.skipped,
    );
    for failure in &tests.failures {
        let file = failure.file.as_ref().map(|file| format!(" file=\"{}\"", escape(file)));
        let line = failure.line.map(|line| format!(" line=\"{line}\""));
        let _ = writeln!(
            xml,
            "    <testcase classname=\"{name}\" name=\"{}\"{}{}>\n      <failure>{}</failure>\n    </testcase>",
            escape(&failure.name),
            file.unwrap_or_default(),
            line.unwrap_or_default(),
            escape(cut(&plain(failure.message.as_bytes()), TEXT_MAX)),
        );
    }
    xml + "  </testsuite>\n"
}

/// XML 1.0 has no way at all to write most control characters.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => escaped.push(c),
        }
    }
    escaped
}
