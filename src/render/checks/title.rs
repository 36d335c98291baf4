//! Titles: the verdict in words, one line.

use std::time::Duration;

use crate::domain::cache::CacheState;
use crate::domain::names::{ConnectorName, Sha};
use crate::domain::parties::{Parties, Party, Whose};
use crate::domain::pipeline::StepSpec;
use crate::domain::run::{Problem, ProblemKind, Run, StepRecord};
use crate::domain::state::{Conclusion, StepState};
use crate::domain::time::human;
use crate::domain::verdict::{HeadVerdict, Standing};

use super::board::label;
use super::step_look;
use crate::render::look::{self, Look};

/// How many connectors a title names before it counts.
const NAMED: usize = 3;

/// `checkvalve`'s title; and who waits without counting.
pub(super) fn of_parties(parties: &Parties<'_>) -> String {
    let title = of_judged(&parties.judged);
    match parties.aside.as_slice() {
        [] => title,
        [Party { whose: Whose::Pull(number), .. }] => {
            format!("{title} · #{number} waits for an approval")
        }
        several => format!("{title} · {} others wait for approvals", several.len()),
    }
}

/// Of several who share the commit, the worst first.
fn of_judged(parties: &[Party<'_>]) -> String {
    if let [one] = parties {
        return of_head(&one.verdict, one.newest);
    }
    let order = |party: &Party<'_>| match party.verdict.conclusion {
        Some(Conclusion::ActionRequired) => 0,
        Some(Conclusion::Failure) => 1,
        Some(Conclusion::Cancelled) => 2,
        None => 3,
        Some(Conclusion::Success) => 4,
    };
    let mut places: Vec<usize> = (0..parties.len()).collect();
    places.sort_by_key(|nth| parties.get(*nth).map(order));
    let titles = places.into_iter().filter_map(|nth| {
        let party = parties.get(nth)?;
        Some(format!("→ {}: {}", label(parties, nth), of_head(&party.verdict, party.newest)))
    });
    titles.collect::<Vec<_>>().join(" · ")
}

/// The title of one of them.
pub(super) fn of_head(verdict: &HeadVerdict<'_>, newest: &Run) -> String {
    match verdict.conclusion {
        None if newest.awaits.is_some() => "Waiting to read the change".to_owned(),
        None if newest.selection.is_none() && !verdict.standings.is_empty() => {
            "Finding what to run".to_owned()
        }
        None => progress(verdict),
        Some(Conclusion::Cancelled) => cancelled(verdict, newest),
        Some(conclusion) => match verdict.own {
            None => "Only single steps ran: comment `/test` to run all that is affected".to_owned(),
            Some(Run { problem: Some(problem), .. }) => of_problem(problem),
            Some(own) if own.jobs.is_empty() => of_nothing(own),
            Some(_) if conclusion == Conclusion::Success => success(verdict),
            Some(_) => failure(verdict),
        },
    }
}

/// Each connector of the head's own plan with how its steps look and which one is at fault.
fn connectors<'a>(verdict: &HeadVerdict<'a>) -> Vec<Connector<'a>> {
    let mut connectors: Vec<Connector<'a>> = Vec::new();
    for standing in verdict.standings.iter().filter(|standing| standing.required) {
        let look = step_look(standing);
        let step = (look, standing.step);
        match connectors.last_mut() {
            Some(last) if last.name == &standing.job.connector => last.steps.push(step),
            Some(_) | None => {
                connectors.push(Connector { name: &standing.job.connector, steps: vec![step] });
            }
        }
    }
    connectors
}

struct Connector<'a> {
    name: &'a ConnectorName,
    steps: Vec<(Look, &'a StepRecord)>,
}

impl Connector<'_> {
    fn is_over(&self) -> bool {
        !self.steps.iter().any(|(look, _)| matches!(look, Look::Waiting | Look::Running))
    }

    /// `source-faker failed at unit`: the first of the worst kind; `None` if nothing is wrong.
    fn fault(&self) -> Option<String> {
        let first = |wanted: Look| self.steps.iter().find(|(look, _)| *look == wanted);
        let kinds = [
            (Look::Failed, "failed at"),
            (Look::TimedOut, "timed out at"),
            (Look::Errored, "had an infrastructure error at"),
            (Look::Cancelled, "was cancelled at"),
        ];
        let found = kinds.iter().find_map(|(look, words)| Some((first(*look)?.1, words)));
        if let Some((step, words)) = found {
            return Some(format!("{} {words} {}", self.name, step.id));
        }
        if let Some(what) = self.steps.iter().find_map(|(_, step)| step.state.conflict()) {
            return Some(format!("{} is held: {what}", self.name));
        }
        // A skip that no failure explains: what it waited for is green by now, and it never ran.
        if self.steps.iter().all(|(_, step)| step.state.is_of_no_use()) {
            return Some(format!("{} has no step whose `when` holds", self.name));
        }
        let mut skipped = self.steps.iter().filter(|(look, _)| *look == Look::Skipped);
        let never_ran = skipped.find(|(_, step)| !step.state.is_of_no_use());
        never_ran.map(|(_, step)| format!("{} never ran {}", self.name, step.id))
    }
}

fn progress(verdict: &HeadVerdict<'_>) -> String {
    let connectors = connectors(verdict);
    if connectors.is_empty() {
        return "Finding the affected connectors".to_owned();
    }
    let over = connectors.iter().filter(|connector| connector.is_over()).count();
    let count = format!("{over} of {} finished", plural(connectors.len(), "connector"));
    with_faults(count, connectors.iter().filter_map(Connector::fault))
}

fn success(verdict: &HeadVerdict<'_>) -> String {
    let connectors = connectors(verdict);
    let tolerated = |(look, _): &&(Look, &StepRecord)| *look == Look::Tolerated;
    let ignored = connectors.iter().flat_map(|c| &c.steps).filter(tolerated).count();
    let passed = match connectors.as_slice() {
        [one] => format!("{} passed", one.name),
        all => format!("All {} connectors passed", all.len()),
    };
    match ignored {
        0 => passed,
        1 => format!("{passed} · 1 failure does not count"),
        many => format!("{passed} · {many} failures do not count"),
    }
}

fn failure(verdict: &HeadVerdict<'_>) -> String {
    let connectors = connectors(verdict);
    let faults: Vec<String> = connectors.iter().filter_map(Connector::fault).collect();
    let passed = connectors.len() - faults.len();
    let count = format!("{passed} of {} passed", plural(connectors.len(), "connector"));
    with_faults(count, faults.into_iter())
}

fn with_faults(count: String, faults: impl Iterator<Item = String>) -> String {
    let mut faults: Vec<String> = faults.collect();
    let more = faults.len().saturating_sub(NAMED);
    faults.truncate(NAMED);
    match (faults.as_slice(), more) {
        ([], _) => count,
        (named, 0) => format!("{count} · {}", named.join(", ")),
        (named, more) => format!("{count} · {} and {more} more", named.join(", ")),
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn of_problem(problem: &Problem) -> String {
    match problem.kind {
        ProblemKind::Configuration => prefixed("Configuration error", &problem.title),
        ProblemKind::Infrastructure => prefixed("Infrastructure error", &problem.title),
        // Its own words say what is awaited; nothing here is an error.
        ProblemKind::NotTrusted => prefixed("Approval needed", &problem.title),
    }
}

/// `kind: text`, not said twice.
fn prefixed(kind: &str, text: &str) -> String {
    let text = text.trim();
    match text.get(..kind.len()) {
        Some(start) if start.eq_ignore_ascii_case(kind) => text.to_owned(),
        _ if text.is_empty() => kind.to_owned(),
        _ => format!("{kind}: {text}"),
    }
}

fn of_nothing(own: &Run) -> String {
    match &own.selection {
        Some(selection) if !selection.without_pipeline.is_empty() => {
            "No affected connector has a pipeline".to_owned()
        }
        Some(_) | None => "No connector is affected".to_owned(),
    }
}

/// Superseded, stopped by someone; or, if only single connectors were, which.
fn cancelled(verdict: &HeadVerdict<'_>, newest: &Run) -> String {
    let run = cancelled_run(verdict).unwrap_or(newest);
    let whole = run.cancel.is_some() || run.superseded_by.is_some();
    if whole || connectors(verdict).is_empty() { stopped(run, None) } else { failure(verdict) }
}

/// Why a run or job was stopped: `Superseded by 1a2b3c4d5e6f`, `Cancelled: …`.
pub(super) fn stopped(run: &Run, job_cancel: Option<&str>) -> String {
    let why = job_cancel.or(run.cancel.as_deref()).map(str::trim).filter(|why| !why.is_empty());
    let why = why.map(with_short_commits);
    match (why.as_deref(), run.superseded_by) {
        (Some(why), _) if why.to_lowercase().starts_with("superseded") => capital(why),
        (Some(why), _) => capital(&prefixed("Cancelled", why)),
        (None, Some(newer)) => format!("Superseded by {newer}"),
        (None, None) => "Cancelled".to_owned(),
    }
}

/// Why the check was cancelled, in a sentence and with whole object names; `None` if nobody stopped
/// the run or job.
pub(super) fn stop_in_full(run: &Run, job_cancel: Option<&str>) -> Option<String> {
    let why = job_cancel.or(run.cancel.as_deref()).map(str::trim).filter(|why| !why.is_empty());
    match (why, run.superseded_by) {
        (Some(why), _) => Some(format!("{}.", capital(&prefixed("Cancelled", why)))),
        (None, Some(newer)) => Some(format!("Cancelled: superseded by {newer}.")),
        (None, None) => None,
    }
}

/// The run that a cancelled verdict is about.
pub(super) fn cancelled_run<'a>(verdict: &HeadVerdict<'a>) -> Option<&'a Run> {
    let cancelled =
        |standing: &&Standing<'_>| standing.required && step_look(standing) == Look::Cancelled;
    verdict.standings.iter().find(cancelled).map(|standing| standing.run).or(verdict.own)
}

/// Whole object names as their first twelve digits.
fn with_short_commits(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.parse::<Sha>() {
        Ok(sha) => sha.short().to_owned(),
        Err(_) => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    first + chars.as_str()
}

/// A step check's title.
pub(super) fn of_step(standing: &Standing<'_>) -> String {
    let Standing { run, job, step, .. } = *standing;
    let reason = step.facts.reason.as_deref().unwrap_or_default();
    let took = look::took(step).unwrap_or_default();
    match step_look(standing) {
        Look::Waiting => waiting(standing),
        Look::Running if step.attempt > 1 => format!("Running, attempt {}", step.attempt),
        Look::Running => "Running".to_owned(),
        Look::Passed => passed(step, took),
        Look::Failed => failed(step, took),
        Look::TimedOut => format!("Timed out after {}", limit(standing, took)),
        Look::Tolerated if matches!(step.facts.exit_code, None | Some(0)) && reason.is_empty() => {
            format!("Failed after {}, which does not count", human(took))
        }
        Look::Tolerated => format!("{} · does not count", failed(step, took)),
        Look::Errored => prefixed("Infrastructure error", reason),
        Look::Cancelled => stopped(run, job.cancel.as_deref()),
        Look::Skipped | Look::ActionRequired => match &step.state {
            StepState::Skipped { reason, .. } => capital(&reason.to_string()),
            StepState::Waiting | StepState::Running { .. } | StepState::Finished { .. } => {
                capital(reason)
            }
        },
    }
}

fn waiting(standing: &Standing<'_>) -> String {
    let job = standing.job;
    let needs = job.plan.step(&standing.step.id).map_or(&[][..], |spec| &spec.needs);
    let open = |id: &&_| job.step(id).is_some_and(|step| !step.state.is_settled());
    let open: Vec<String> = needs.iter().filter(open).map(|id| format!("`{id}`")).collect();
    match open.as_slice() {
        [] if job.awaits.is_some() => "Waiting to read the commit".to_owned(),
        [] if job.started_at.is_none() => "Waiting for a worker".to_owned(),
        [] => "Waiting for its turn".to_owned(),
        steps => format!("Waiting for {}", steps.join(", ")),
    }
}

fn passed(step: &StepRecord, took: Duration) -> String {
    let reused = step.facts.cache.as_ref().is_some_and(|cache| cache.state == CacheState::Hit);
    if reused {
        let tests = step.facts.tests.as_ref().map_or(0, |tests| tests.passed);
        let tests =
            (tests > 0).then(|| plural(usize::try_from(tests).unwrap_or(usize::MAX), "test"));
        let tests = tests.map(|tests| format!(" · {tests}")).unwrap_or_default();
        return format!("Passed · reused, nothing has changed{tests}");
    }
    let attempt = match step.attempt {
        0 | 1 => String::new(),
        attempt => format!(", at attempt {attempt}"),
    };
    match &step.facts.tests {
        Some(tests) if tests.passed > 0 => {
            let tests = plural(usize::try_from(tests.passed).unwrap_or(usize::MAX), "test");
            format!("Passed in {}{attempt} · {tests}", human(took))
        }
        Some(_) | None => format!("Passed in {}{attempt}", human(took)),
    }
}

fn failed(step: &StepRecord, took: Duration) -> String {
    match (&step.facts.tests, step.facts.exit_code) {
        (Some(tests), _) if tests.failed > 0 => {
            let ran = tests.passed.saturating_add(tests.failed);
            let noun = if ran == 1 { "test" } else { "tests" };
            format!("{} of {ran} {noun} failed · {}", tests.failed, human(took))
        }
        (_, Some(code)) if code != 0 => format!("Exited with code {code} after {}", human(took)),
        _ => match step.facts.reason.as_deref() {
            Some(reason) if !reason.is_empty() => {
                format!("{} after {}", capital(reason), human(took))
            }
            Some(_) | None => format!("Failed after {}", human(took)),
        },
    }
}

/// The limit that was exceeded, in round words: `30 min`.
fn limit(standing: &Standing<'_>, took: Duration) -> String {
    let limit = standing.job.plan.step(&standing.step.id).map_or(took, StepSpec::timeout);
    let words = human(limit);
    let round = words.strip_suffix(" 00 s").or(words.strip_suffix(" 00 min")).unwrap_or(&words);
    match round.strip_suffix(".0 s") {
        Some(seconds) => format!("{seconds} s"),
        None => round.to_owned(),
    }
}
