//! The summary of a step's check: facts, failing tests first, then the telling part of its log.

use std::fmt::Write as _;

use crate::domain::cache::CacheState;
use crate::domain::check::SUMMARY_MAX_BYTES;
use crate::domain::links::Links;
use crate::domain::pipeline::StepSpec;
use crate::domain::run::{TestFailure, Tests};
use crate::domain::state::StepState;
use crate::domain::time::human;
use crate::domain::verdict::Standing;

use super::{annotations, conflict, head, step_look, title};
use crate::render::findings;
use crate::render::log;
use crate::render::look::{self, Look};
use crate::render::markdown::{closed, code, cut, fenced, link, one_line, text};

/// Bytes that the failing tests may take; the log gets what is left.
const TESTS_MAX: usize = 28_000;

/// Bytes of one test's message.
const MESSAGE_MAX: usize = 4_000;

/// Bytes of why a step ended as it did.
const REASON_MAX: usize = 4_000;

/// A passed step's log is rarely read here.
const PASSED_LOG_MAX: usize = 4_000;

pub(super) fn summary(standing: &Standing<'_>, links: &Links) -> String {
    let look = step_look(standing);
    let mut summary = facts(standing, look);
    summary.push_str(&addresses(standing, links));
    summary.push_str(&remarks(standing, look));
    if let Some(tests) = &standing.step.facts.tests {
        summary.push_str(&failing_tests(tests));
    }
    if let Some(found) = &standing.step.facts.annotations {
        summary.push_str(&findings::summary(found));
    }
    summary.push_str(&beyond_lines(standing, links));
    let room = SUMMARY_MAX_BYTES.saturating_sub(summary.len());
    let room = if look == Look::Passed { room.min(PASSED_LOG_MAX) } else { room };
    summary.push_str(&log_part(&standing.step.facts.excerpt, room));
    summary
}

/// `**failed** · 12 s · exit code 2 · attempt 2 · image python:3.11`, then the command.
fn facts(standing: &Standing<'_>, look: Look) -> String {
    let (job, step) = (standing.job, standing.step);
    let mut parts = vec![format!("{} **{}**", look.emoji(), look.word())];
    parts.extend(job.plan.merge().map(|merge| {
        let (head, base) = (standing.run.head_sha.short(), merge.base.short());
        format!("merge of {} with {}", code(head), code(base))
    }));
    parts.extend(look::took(step).map(human));
    let waited = look::started_at(step).map(|at| at.since(step.queued_at));
    let waited = waited.filter(|waited| waited.as_secs() > 0);
    parts.extend(waited.map(|waited| format!("waited {}", human(waited))));
    parts.extend(step.facts.exit_code.map(|code| format!("exit code {code}")));
    parts.extend(step.facts.coverage.map(findings::coverage));
    if step.attempt > 1 {
        parts.push(format!("attempt {}", step.attempt));
    }
    let spec = job.plan.step(&step.id);
    let image = spec.map(|spec| spec.image.as_str()).filter(|image| !image.is_empty());
    parts.extend(image.map(|image| format!("image {}", code(cut(image, 500)))));
    format!("{}\n\n{}", parts.join(" · "), spec.map(command).unwrap_or_default())
}

fn command(spec: &StepSpec) -> String {
    if let Some(uses) = spec.uses {
        return format!("Built-in step {}\n\n", code(uses.builtin.as_str()));
    }
    match spec.run.as_slice() {
        [] => String::new(),
        [one] if one.len() < 200 && !one.trim().contains('\n') => {
            format!("{}\n\n", code(one.trim()))
        }
        many => fenced(&many.join("\n"), 2_000),
    }
}

fn addresses(standing: &Standing<'_>, links: &Links) -> String {
    let (run, job, step) = (standing.run, standing.job, standing.step);
    let mut parts = vec![link(
        "Step: live log, tests, artifacts",
        &links.step(run.id, &job.connector, &step.id),
    )];
    if let Some(stored) = &step.facts.log {
        let size =
            if stored.lines == 1 { "1 line".to_owned() } else { format!("{} lines", stored.lines) };
        parts.push(link(
            &format!("whole log ({size})"),
            &links.log(run.id, &job.connector, &step.id),
        ));
    }
    if job.concluded_at.is_some() {
        parts.push(link("connector's report", &links.report(run.id, &job.connector)));
    }
    match step.facts.artifacts.len() {
        0 => {}
        1 => parts.push("1 artifact".to_owned()),
        many => parts.push(format!("{many} artifacts")),
    }
    format!("{}\n\n", parts.join(" · "))
}

/// What the reader should know of how it ended.
fn remarks(standing: &Standing<'_>, look: Look) -> String {
    let step = standing.step;
    let mut remarks = String::new();
    let spec = standing.job.plan.step(&step.id);
    match look {
        Look::Errored => remarks.push_str(
            "This is an infrastructure error: ours, not the connector's. \"Re-run\" tries again.\n\n",
        ),
        Look::TimedOut => {
            let limit = spec.map_or_else(String::new, |spec| human(spec.timeout()));
            let _ = writeln!(remarks, "Its limit is {limit} (`timeout`); its processes were ended.\n");
        }
        Look::Tolerated => {
            remarks.push_str("This failure is shown and does not count (`allow_failure`).\n\n");
        }
        Look::Cancelled => {
            let why = title::stop_in_full(standing.run, standing.job.cancel.as_deref());
            let why = why.map(|why| format!("{}\n\n", text(&one_line(&why, 1_000))));
            remarks.push_str(&why.unwrap_or_default());
        }
        Look::Waiting => {
            let awaits = standing.job.awaits.as_deref();
            remarks.push_str(&awaits.map(head::awaited_words).unwrap_or_default());
        }
        Look::Running | Look::Passed | Look::Failed | Look::Skipped | Look::ActionRequired => {}
    }
    remarks.push_str(&conflict::text(standing, REASON_MAX));
    remarks.push_str(&reason(standing, look));
    if let Some(cache) = &step.facts.cache {
        let because = cut(&text(&one_line(&cache.because, 1_000)), REASON_MAX).to_owned();
        let _ = match cache.state {
            CacheState::Hit => writeln!(remarks, "Cache: {because}\n"),
            CacheState::Miss => writeln!(remarks, "Not reused: {because}\n"),
            CacheState::Off => Ok(()),
        };
    }
    if step.facts.log.as_ref().is_some_and(|stored| stored.cut > 0) {
        let cut = step.facts.log.as_ref().map_or(0, |stored| stored.cut);
        let _ = writeln!(remarks, "The log was cut at its cap: {cut} bytes are not kept.\n");
    }
    remarks
}

/// Why it was not run, or ended as it did.
fn reason(standing: &Standing<'_>, look: Look) -> String {
    let step = standing.step;
    let skipped = match &step.state {
        // Told at length.
        state if state.conflict().is_some() => return String::new(),
        StepState::Skipped { reason, .. } => Some(reason.to_string()),
        StepState::Waiting | StepState::Running { .. } | StepState::Finished { .. } => None,
    };
    // What it waits for may be over by the time that somebody reads this.
    let reason = step.facts.reason.as_deref().filter(|_| step.state != StepState::Waiting);
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    match (skipped, reason) {
        // What is told as cancelled was not skipped for another's sake.
        (Some(_), _) if look == Look::Cancelled => String::new(),
        (Some(reason), _) => closed(&reason, REASON_MAX),
        (None, Some(reason)) => {
            let reason = text(&one_line(reason, 1_000));
            format!("Reason: {}\n\n", cut(&reason, REASON_MAX))
        }
        (None, None) => String::new(),
    }
}

pub(super) fn failing_tests(tests: &Tests) -> String {
    let Tests { passed, failed, skipped, failures } = tests;
    let mut shown = format!("### Tests: {failed} failed, {passed} passed, {skipped} skipped\n\n");
    for (index, failure) in failures.iter().enumerate() {
        let message = log::plain(failure.message.as_bytes());
        let part = failing_test(failure, &fenced(&message, MESSAGE_MAX));
        if shown.len() + part.len() + 100 > TESTS_MAX {
            let _ = writeln!(
                shown,
                "… and {} more: the step's page shows them.\n",
                failures.len() - index
            );
            return shown;
        }
        shown.push_str(&part);
    }
    let listed = u32::try_from(failures.len()).unwrap_or(u32::MAX);
    if *failed > listed && listed > 0 {
        let _ = writeln!(shown, "… and {} more that failed.\n", failed - listed);
    }
    shown
}

/// A failing test's name and place, and its message in a block.
pub(super) fn failing_test(failure: &TestFailure, message: &str) -> String {
    let mut shown = format!("**{}**", code(cut(&failure.name, 500)));
    if let Some(file) = &failure.file {
        let line = failure.line.map(|line| format!(":{line}")).unwrap_or_default();
        let _ = write!(shown, " — {}", code(&format!("{}{line}", cut(file, 500))));
    }
    shown.push_str("\n\n");
    shown.push_str(message);
    shown
}

pub(super) fn log_part(excerpt: &str, room: usize) -> String {
    const TITLE: &str = "### Log\n\n";
    /// Fences and the words of a cut.
    const FRAME: usize = 200;
    let room = room.saturating_sub(TITLE.len() + FRAME);
    if excerpt.trim().is_empty() || room < 200 {
        return String::new();
    }
    // Content full of backticks makes its fences long, too; `fenced` keeps within the limit.
    let block = fenced(&log::excerpt(excerpt.as_bytes(), room), room + FRAME);
    if block.is_empty() { block } else { format!("{TITLE}{block}") }
}

/// The telling part of a log in at most so many bytes.
pub(super) fn log_block(excerpt: &str, room: usize) -> String {
    /// Fences and the words of a cut.
    const FRAME: usize = 120;
    if excerpt.trim().is_empty() || room < 2 * FRAME {
        return String::new();
    }
    fenced(&log::excerpt(excerpt.as_bytes(), room - FRAME), room)
}

/// How many are not shown at the lines of files, and where they are.
fn beyond_lines(standing: &Standing<'_>, links: &Links) -> String {
    let Standing { run, job, step, .. } = *standing;
    let more = annotations::left_out(&step.facts);
    if more == 0 {
        return String::new();
    }
    let page = link("the step's page", &links.step(run.id, &job.connector, &step.id));
    format!("{more} more are not shown at the lines of files: see {page}.\n\n")
}
