//! What GitHub shows of a head commit, as a function of its runs: `checkvalve`, the check to
//! require, and one check run per step, or per connector. Never longer than GitHub accepts.

mod annotations;
mod board;
mod conflict;
mod connector;
mod failures;
mod head;
mod showing;
mod step;
mod title;
mod view;

use self::board::{Board, Named};
pub use self::board::{is_for, is_for_group, name_by_now, step_of_check};
pub use self::connector::connector_of_check;
pub use self::view::{Made, View, wanted};
use crate::domain::check::{
    ACTION_DESCRIPTION_MAX, ACTION_IDENTIFIER_MAX, ACTION_LABEL_MAX, ACTIONS_MAX, CheckAction,
    CheckConclusion, CheckStatus, DesiredCheck,
};
use crate::domain::links::Links;
use crate::domain::names::Sha;
use crate::domain::parties::{Approving, Parties, worst};
use crate::domain::run::{Job, ProblemKind, Run, StepRecord};
use crate::domain::state::{Conclusion, RunState, SkipReason, StepState};
use crate::domain::time::Timestamp;
use crate::domain::verdict::{HeadVerdict, Standing};

use super::look::{self, Look};
use super::markdown::one_line;
use super::replies;

/// The check that repositories require: its name never changes.
pub const HEAD_CHECK: &str = "checkvalve";

/// Longer titles are cut: GitHub publishes no limit, and shows one line.
const TITLE_MAX_CHARS: usize = 200;

/// The check runs of one head commit in full detail, from all of its runs, oldest first: `checkvalve`, then
/// `<connector> / <step>` as each stands. Runs of pushes and schedules show nothing here, so that
/// they never conclude a check that a pull request requires.
pub fn desired(runs: &[Run], links: &Links) -> Vec<DesiredCheck> {
    desired_in(runs, links, &View::default())
}

/// The same as finely as the view says; a check run that GitHub has stays, and is concluded.
pub fn desired_in(runs: &[Run], links: &Links, view: &View<'_>) -> Vec<DesiredCheck> {
    let parties = Parties::of(runs, view.gone);
    let Some(mut head) = head_check(runs, &parties, links) else { return Vec::new() };
    let board = Board::of(&parties, &view.made);
    head.summary.insert_str(0, &view::note(view, &board));
    let mut checks = vec![head];
    for of_connector in &board.connectors {
        if view.shows_connector(of_connector) {
            checks.push(connector::check(of_connector, links));
        }
    }
    let shown = view.shown_steps(&board.steps);
    checks.extend(shown.map(|step| step_check(step, links)));
    checks
}

/// A check run that GitHub shows as open and that says nothing of any run that counts: it is ended,
/// in words.
pub fn forgotten(name: &str, (head, occasion): (&Sha, &str), at: Timestamp) -> DesiredCheck {
    DesiredCheck {
        name: name.to_owned(),
        head_sha: head.clone(),
        occasion: occasion.to_owned(),
        status: CheckStatus::Completed {
            conclusion: CheckConclusion::Cancelled,
            started_at: None,
            completed_at: at,
        },
        details_url: String::new(),
        title: "Cancelled: nothing stands behind it any more".to_owned(),
        summary: "No run of this commit shows itself here: what it was made for is over, was \
                  closed, or waits for an approval. `checkvalve` says how the commit stands.\n"
            .to_owned(),
        text: None,
        actions: Vec::new(),
        annotations: Vec::new(),
    }
}

/// The steps that have something to show, by connector.
fn asked_for<'a>(verdict: &HeadVerdict<'a>) -> Vec<Standing<'a>> {
    verdict.standings.iter().filter(|standing| !never_asked(standing)).copied().collect()
}

/// A step that no run was asked for, on a connector that need not be tested, or that waits for an
/// approval: no check, since one that was skipped would be as good as a green one to GitHub.
fn never_asked(standing: &Standing<'_>) -> bool {
    match &standing.step.state {
        StepState::Skipped { reason: SkipReason::Unapproved, .. } => true,
        StepState::Skipped { reason: SkipReason::NotAsked, .. } => !standing.required,
        StepState::Skipped { .. }
        | StepState::Waiting
        | StepState::Running { .. }
        | StepState::Finished { .. } => false,
    }
}

/// The worst over all who share the commit and count.
fn head_check(runs: &[Run], parties: &Parties<'_>, links: &Links) -> Option<DesiredCheck> {
    let judged = &parties.judged;
    let newest = judged.iter().map(|party| party.newest);
    let newest = newest.max_by_key(|run| (run.created_at, run.id))?;
    let statuses: Vec<CheckStatus> =
        judged.iter().map(|party| head_status(party.newest, &party.verdict)).collect();
    let status = joined(&statuses, worst(judged.iter().map(|party| party.verdict.conclusion)));
    let annotations = match status {
        CheckStatus::Completed { .. } => annotations::of_head(judged),
        CheckStatus::Queued | CheckStatus::InProgress { .. } => Vec::new(),
    };
    Some(DesiredCheck {
        name: HEAD_CHECK.to_owned(),
        head_sha: newest.head_sha.clone(),
        occasion: newest.id.to_string(),
        status,
        details_url: links.run(newest.id),
        title: one_line(&title::of_parties(parties), TITLE_MAX_CHARS),
        summary: head::summary(runs, newest, parties, links),
        text: failures::text(judged, newest, links),
        actions: actions(parties, status),
        annotations,
    })
}

/// The buttons of `checkvalve`: what could be pressed of the one that counts, then who could be approved,
/// those that are set aside last; each says which one where there are several.
fn actions(parties: &Parties<'_>, status: CheckStatus) -> Vec<CheckAction> {
    let of_one = match (parties.judged.as_slice(), status) {
        ([one], CheckStatus::Completed { conclusion, .. }) => {
            head_actions(conclusion, &one.verdict)
        }
        // Where GitHub shows buttons before a check run has ended.
        ([_], CheckStatus::Queued | CheckStatus::InProgress { .. }) => vec![button("cancel")],
        // Which of them would be meant is not known.
        _ => Vec::new(),
    };
    if parties.all().count() < 2 {
        return of_one;
    }
    let mut actions = of_one;
    actions.extend(approvals(parties));
    actions.truncate(ACTIONS_MAX);
    actions
}

/// A button for each of several that waits, the first of them first.
fn approvals(parties: &Parties<'_>) -> Vec<CheckAction> {
    let waiting: Vec<_> =
        parties.all().filter_map(|party| Some((party.approval()?, party.base()))).collect();
    let label = |pull: u64| format!("Approve for #{pull}");
    let action = |(of, base): &(Approving, &str)| CheckAction {
        label: label(of.pull),
        description: one_line(&format!("Run it for #{} → {base}", of.pull), ACTION_DESCRIPTION_MAX),
        identifier: of.identifier(),
    };
    // A number that is too long for a button has the command.
    let fits = |action: &CheckAction| {
        action.identifier.len() <= ACTION_IDENTIFIER_MAX && action.label.len() <= ACTION_LABEL_MAX
    };
    waiting.iter().map(action).filter(fits).collect()
}

/// One status over several, which came to `worst`.
fn joined(statuses: &[CheckStatus], worst: Option<Conclusion>) -> CheckStatus {
    let began = statuses.iter().filter_map(|status| match *status {
        CheckStatus::Queued => None,
        CheckStatus::InProgress { started_at } => Some(started_at),
        CheckStatus::Completed { started_at, .. } => started_at,
    });
    let ended = statuses.iter().filter_map(|status| match *status {
        CheckStatus::Completed { completed_at, .. } => Some(completed_at),
        CheckStatus::Queued | CheckStatus::InProgress { .. } => None,
    });
    match (worst, began.min(), ended.max()) {
        (Some(worst), started_at, Some(completed_at)) => {
            let conclusion = check_conclusion(worst);
            CheckStatus::Completed { conclusion, started_at, completed_at }
        }
        (_, Some(started_at), _) => CheckStatus::InProgress { started_at },
        (_, None, _) => CheckStatus::Queued,
    }
}

fn check_conclusion(conclusion: Conclusion) -> CheckConclusion {
    match conclusion {
        Conclusion::Success => CheckConclusion::Success,
        Conclusion::Failure => CheckConclusion::Failure,
        Conclusion::ActionRequired => CheckConclusion::ActionRequired,
        Conclusion::Cancelled => CheckConclusion::Cancelled,
    }
}

/// The buttons of a concluded `checkvalve`: only those that would be obeyed.
fn head_actions(conclusion: CheckConclusion, verdict: &HeadVerdict<'_>) -> Vec<CheckAction> {
    let superseded = verdict.own.is_some_and(|own| own.superseded_by.is_some());
    let problem = verdict.own.and_then(|own| own.problem.as_ref());
    let identifiers: &[&str] = match problem.map(|problem| problem.kind) {
        _ if superseded => &[],
        // Nothing was tested, so nothing can be tested afresh.
        _ if conclusion == CheckConclusion::Success && verdict.standings.is_empty() => &[],
        _ if conclusion == CheckConclusion::Success => &["no-cache"],
        // Nothing else would be obeyed before.
        Some(ProblemKind::NotTrusted) => &["approve"],
        // Without a plan there is nothing of which a part could run again.
        Some(ProblemKind::Configuration | ProblemKind::Infrastructure) => &["test"],
        None => &["retest", "test", "no-cache"],
    };
    identifiers.iter().map(|identifier| button(identifier)).collect()
}

fn button(identifier: &str) -> CheckAction {
    let description = match identifier {
        "retest" => "Run again what did not succeed",
        "test" => "Run every affected connector again",
        "no-cache" => "Run it all, reuse no earlier result",
        "approve" => "You looked at it: run this commit",
        _ => "End what runs or waits",
    };
    CheckAction {
        label: replies::button(identifier).to_owned(),
        description: description.to_owned(),
        identifier: identifier.to_owned(),
    }
}

fn head_status(newest: &Run, verdict: &HeadVerdict<'_>) -> CheckStatus {
    let started_at = verdict.own.unwrap_or(newest);
    let started_at = started_at.started_at.unwrap_or(started_at.created_at);
    match verdict.conclusion {
        None if newest.state == RunState::Queued && verdict.standings.is_empty() => {
            CheckStatus::Queued
        }
        None => CheckStatus::InProgress { started_at },
        Some(conclusion) => CheckStatus::Completed {
            conclusion: check_conclusion(conclusion),
            started_at: Some(started_at),
            completed_at: head_completed_at(newest, verdict).max(started_at),
        },
    }
}

/// When the last of what counts came to its end.
fn head_completed_at(newest: &Run, verdict: &HeadVerdict<'_>) -> Timestamp {
    let own = verdict.own.unwrap_or(newest);
    let required = verdict.standings.iter().filter(|standing| standing.required);
    let ends = required.filter_map(|standing| {
        standing.job.concluded_at.or(standing.run.concluded_at).or(look::settled_at(standing.step))
    });
    let own_end = own.concluded_at.unwrap_or(own.created_at);
    // A newer run that came to nothing (a fault, nothing to do) is a completed check run, too.
    ends.max().unwrap_or(own_end).max(newest.created_at)
}

/// The name of a step's check run.
pub fn step_check_name(job: &Job, step: &StepRecord) -> String {
    format!("{} / {}", job.connector, step.id)
}

fn step_check(named: &Named<'_>, links: &Links) -> DesiredCheck {
    let Named { name, standing } = named;
    let Standing { run, job, step, .. } = *standing;
    let annotations = match step_look(standing) {
        Look::Passed | Look::Failed | Look::TimedOut | Look::Tolerated => {
            annotations::of_step(&step.facts)
        }
        // What is ours to mend is not shown as the author's.
        Look::Errored
        | Look::Cancelled
        | Look::Skipped
        | Look::ActionRequired
        | Look::Waiting
        | Look::Running => Vec::new(),
    };
    DesiredCheck {
        name: name.clone(),
        head_sha: run.head_sha.clone(),
        occasion: run.id.to_string(),
        status: step_status(standing),
        details_url: links.step(run.id, &job.connector, &step.id),
        title: one_line(&title::of_step(standing), TITLE_MAX_CHARS),
        summary: step::summary(standing, links),
        text: None,
        actions: Vec::new(),
        annotations,
    }
}

/// A concluded job's steps are settled whatever its records say: no check run stays open.
fn step_status(standing: &Standing<'_>) -> CheckStatus {
    let Standing { run, job, step, .. } = *standing;
    let conclusion = match step_look(standing) {
        Look::Waiting => return CheckStatus::Queued,
        Look::Running => {
            let started_at = look::started_at(step).unwrap_or(step.queued_at);
            return CheckStatus::InProgress { started_at };
        }
        Look::Passed => CheckConclusion::Success,
        Look::Failed | Look::Errored => CheckConclusion::Failure,
        Look::TimedOut => CheckConclusion::TimedOut,
        Look::Tolerated => CheckConclusion::Neutral,
        Look::Cancelled => CheckConclusion::Cancelled,
        Look::Skipped => CheckConclusion::Skipped,
        Look::ActionRequired => CheckConclusion::ActionRequired,
    };
    let started_at = look::started_at(step);
    let completed_at =
        look::settled_at(step).or(job.concluded_at).or(run.concluded_at).unwrap_or(step.queued_at);
    let completed_at = completed_at.max(started_at.unwrap_or(completed_at));
    CheckStatus::Completed { conclusion, started_at, completed_at }
}

/// As the job sees it; and a step that was skipped because its run was stopped is cancelled.
fn step_look(standing: &Standing<'_>) -> Look {
    let Standing { run, job, step, .. } = *standing;
    let stopped = run.cancel.is_some() || job.cancel.is_some() || run.superseded_by.is_some();
    match Look::of_step(job, step) {
        Look::Waiting | Look::Running if run.state == RunState::Concluded => Look::Cancelled,
        Look::Skipped if stopped && !skipped_by_itself(standing) => Look::Cancelled,
        look @ (Look::Waiting
        | Look::Running
        | Look::Passed
        | Look::Failed
        | Look::TimedOut
        | Look::Errored
        | Look::Tolerated
        | Look::Cancelled
        | Look::Skipped
        | Look::ActionRequired) => look,
    }
}

/// Was it skipped for a failure, or for itself (and not for the stop)?
fn skipped_by_itself(standing: &Standing<'_>) -> bool {
    match &standing.step.state {
        StepState::Skipped { reason: SkipReason::Needs { step }, .. } => standing
            .job
            .step(step)
            .is_some_and(|needed| Look::of_step(standing.job, needed).is_bad()),
        StepState::Skipped {
            reason:
                SkipReason::FailFast { .. } | SkipReason::Condition { .. } | SkipReason::Conflict { .. },
            ..
        } => true,
        StepState::Skipped { reason: SkipReason::NotAsked | SkipReason::Unapproved, .. }
        | StepState::Waiting
        | StepState::Running { .. }
        | StepState::Finished { .. } => false,
    }
}
