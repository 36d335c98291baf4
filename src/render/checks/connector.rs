//! The check run of a whole connector, where not every step has its own.

use std::fmt::Write as _;

use crate::domain::check::{CheckConclusion, CheckStatus, DesiredCheck, SUMMARY_MAX_BYTES};
use crate::domain::links::Links;
use crate::domain::state::Conclusion;
use crate::domain::time::{Timestamp, human};
use crate::domain::verdict::{Standing, connector_verdict};

use super::step::{failing_tests, log_part};
use super::{HEAD_CHECK, TITLE_MAX_CHARS, conflict, step_look, title};
use crate::render::look::{self, Look};
use crate::render::markdown::{link, one_line, text};

/// Bytes of the table of steps.
const TABLE_MAX: usize = 20_000;
/// Bytes of one failed step's log.
const LOG_MAX: usize = 8_000;

/// What keeps a connector called `checkvalve` from passing for the check that merges wait for.
const NOT_THE_HEAD: &str = " (connector)";

/// The connector that a check run of this name is of.
pub fn connector_of_check(name: &str) -> &str {
    name.strip_suffix(NOT_THE_HEAD).unwrap_or(name)
}

/// The connector's own name; none may pass for `checkvalve`.
pub(super) fn name(of_connector: &[Standing<'_>]) -> String {
    let name = of_connector.first().map_or("", |standing| standing.job.connector.as_str());
    if name == HEAD_CHECK { format!("{name}{NOT_THE_HEAD}") } else { name.to_owned() }
}

/// The newest run that any of its steps is of.
pub(super) fn occasion(of_connector: &[Standing<'_>]) -> String {
    newest(of_connector).map(|standing| standing.run.id.to_string()).unwrap_or_default()
}

fn newest<'s, 'a>(of_connector: &'s [Standing<'a>]) -> Option<&'s Standing<'a>> {
    of_connector.iter().max_by_key(|standing| standing.run.id)
}

/// `of_connector` are one connector's, in the plan's order, and not empty.
pub(super) fn check(of_connector: &[Standing<'_>], links: &Links) -> DesiredCheck {
    let newest = newest(of_connector).unwrap_or(&of_connector[0]);
    DesiredCheck {
        name: name(of_connector),
        head_sha: newest.run.head_sha.clone(),
        occasion: occasion(of_connector),
        status: status(of_connector),
        details_url: links.job(newest.run.id, &newest.job.connector),
        title: one_line(&said(of_connector), TITLE_MAX_CHARS),
        summary: summary(of_connector, links),
        text: None,
        actions: Vec::new(),
        // A failed step's are on its own check run, and none is shown twice.
        annotations: Vec::new(),
    }
}

fn status(of_connector: &[Standing<'_>]) -> CheckStatus {
    let started = of_connector.iter().filter_map(|standing| look::started_at(standing.step)).min();
    let Some(verdict) = connector_verdict(of_connector) else {
        let begun = of_connector.iter().any(|standing| step_look(standing) != Look::Waiting);
        let queued = of_connector.iter().map(|standing| standing.step.queued_at).min();
        return match started.or(queued) {
            Some(started_at) if begun => CheckStatus::InProgress { started_at },
            Some(_) | None => CheckStatus::Queued,
        };
    };
    let has = |wanted: Look| of_connector.iter().any(|standing| step_look(standing) == wanted);
    let conclusion = match verdict {
        Conclusion::Success => CheckConclusion::Success,
        Conclusion::Cancelled => CheckConclusion::Cancelled,
        Conclusion::ActionRequired => CheckConclusion::ActionRequired,
        Conclusion::Failure if has(Look::TimedOut) && !has(Look::Failed) && !has(Look::Errored) => {
            CheckConclusion::TimedOut
        }
        Conclusion::Failure if held(of_connector).is_some() => CheckConclusion::ActionRequired,
        Conclusion::Failure => CheckConclusion::Failure,
    };
    let completed_at = ended_at(of_connector).max(started.unwrap_or(Timestamp::from_millis(0)));
    CheckStatus::Completed { conclusion, started_at: started, completed_at }
}

/// The first step that a conflict holds, where nothing went worse.
fn held<'s, 'a>(of_connector: &'s [Standing<'a>]) -> Option<&'s Standing<'a>> {
    let worse = [Look::Failed, Look::TimedOut, Look::Errored];
    let bad = of_connector.iter().any(|standing| worse.contains(&step_look(standing)));
    let held = of_connector.iter().find(|standing| standing.step.state.conflict().is_some());
    held.filter(|_| !bad)
}

fn ended_at(of_connector: &[Standing<'_>]) -> Timestamp {
    let ends = of_connector.iter().map(|Standing { run, job, step, .. }| {
        job.concluded_at.or(run.concluded_at).or(look::settled_at(step)).unwrap_or(step.queued_at)
    });
    ends.max().unwrap_or(Timestamp::from_millis(0))
}

/// The title: the first of the worst steps in its own words, or how far it is.
fn said(of_connector: &[Standing<'_>]) -> String {
    if let Some(held) = held(of_connector) {
        return title::of_step(held);
    }
    let worst = [Look::Failed, Look::TimedOut, Look::Errored, Look::Cancelled];
    let looks: Vec<Look> = of_connector.iter().map(step_look).collect();
    let found = worst.into_iter().find_map(|wanted| looks.iter().position(|look| *look == wanted));
    if let Some(standing) = found.and_then(|index| of_connector.get(index)) {
        let words = title::of_step(standing);
        return match words.strip_prefix("Infrastructure error") {
            Some(rest) => format!("Infrastructure error at {}{rest}", standing.step.id),
            None => format!("{}: {words}", standing.step.id),
        };
    }
    let open = |look: &&Look| matches!(look, Look::Waiting | Look::Running);
    let (open, steps) = (looks.iter().filter(open).count(), looks.len());
    let noun = if steps == 1 { "step" } else { "steps" };
    match connector_verdict(of_connector) {
        None if looks.iter().all(|look| *look == Look::Waiting) => title::of_step(&of_connector[0]),
        None => format!("{} of {steps} {noun} finished", steps - open),
        Some(Conclusion::Success) => {
            let began = of_connector.iter().filter_map(|one| look::started_at(one.step)).min();
            let ended = of_connector.iter().filter_map(|one| look::settled_at(one.step)).max();
            match (began, ended) {
                (Some(began), Some(ended)) => {
                    format!("Passed in {} · {steps} {noun}", human(ended.since(began)))
                }
                _ => format!("Passed · {steps} {noun}"),
            }
        }
        Some(_) => {
            let never = looks.iter().position(|look| *look == Look::Skipped);
            let never = never.and_then(|index| of_connector.get(index));
            never.map_or_else(|| "Not run".to_owned(), |one| format!("{} never ran", one.step.id))
        }
    }
}

/// The steps, then what the failed ones say, within GitHub's limit.
fn summary(of_connector: &[Standing<'_>], links: &Links) -> String {
    let mut summary = String::from("| Step | | |\n| :-- | :-- | :-- |\n");
    for (index, standing) in of_connector.iter().enumerate() {
        let look = step_look(standing);
        let url = links.step(standing.run.id, &standing.job.connector, &standing.step.id);
        let name = link(standing.step.id.as_str(), &url);
        let words = text(&one_line(&title::of_step(standing), TITLE_MAX_CHARS));
        let line = format!("| {name} | {} {} | {words} |\n", look.emoji(), look.word());
        if summary.len() + line.len() > TABLE_MAX - 100 {
            let _ = writeln!(summary, "\n… and {} more steps.", of_connector.len() - index);
            break;
        }
        summary.push_str(&line);
    }
    summary.push('\n');
    let held = of_connector.iter().find(|standing| standing.step.state.conflict().is_some());
    summary.push_str(&held.map(|held| conflict::text(held, LOG_MAX)).unwrap_or_default());
    let ran = |standing: &&Standing<'_>| standing.step.state.conflict().is_none();
    for standing in of_connector.iter().filter(ran).filter(|it| step_look(it).is_bad()) {
        let facts = &standing.step.facts;
        let mut part = format!("## {}\n\n", text(standing.step.id.as_str()));
        part.push_str(&facts.tests.as_ref().map(failing_tests).unwrap_or_default());
        let room = SUMMARY_MAX_BYTES.saturating_sub(summary.len() + part.len());
        part.push_str(&log_part(&facts.excerpt, room.min(LOG_MAX)));
        if summary.len() + part.len() > SUMMARY_MAX_BYTES {
            break;
        }
        summary.push_str(&part);
        summary.push('\n');
    }
    summary.truncate(summary.floor_char_boundary(SUMMARY_MAX_BYTES));
    summary
}
