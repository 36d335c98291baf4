//! What we answer to comments and buttons.

use std::collections::BTreeSet;

use crate::domain::event::PullFacts;
use crate::domain::names::{ConnectorName, Sha};
use crate::domain::policy::Permission;
use crate::domain::rules::closest;
use crate::domain::run::{Job, Run};
use crate::domain::trigger::{Scope, Target};
use crate::render::markdown::closed_or;

/// GitHub refuses longer comments (422): it says characters, and means bytes elsewhere.
pub const COMMENT_MAX_BYTES: usize = 65_536;

/// A reply as it stands on GitHub: closed, whatever it quotes, calling nobody, within GitHub's limit, and
/// with the mark, by which it is found again, whole.
pub fn reply(said: &str, mark: &str) -> String {
    const CUT: &str = "\n*(cut: it was longer than a comment can be)*\n\n";
    closed_or(said, COMMENT_MAX_BYTES - mark.len(), CUT) + mark
}

/// A connector or step as people write it, in code marks that its content can't close.
pub fn target(target: &Target) -> String {
    let name = match &target.step {
        Some(step) => format!("{}/{step}", target.connector),
        None => target.connector.clone(),
    };
    let shown: String = name.chars().filter(|c| *c != '`' && !c.is_control()).take(120).collect();
    format!("`{shown}`")
}

pub fn targets(targets: &[Target]) -> String {
    const SHOWN: usize = 12;
    let mut names: Vec<String> = targets.iter().take(SHOWN).map(target).collect();
    if targets.len() > SHOWN {
        names.push(format!("{} more", targets.len() - SHOWN));
    }
    names.join(", ")
}

/// `--from <step>`
pub fn begins_at(step: &str) -> String {
    let shown: String = step.chars().filter(|c| *c != '`' && !c.is_control()).take(60).collect();
    format!(
        "It begins at `{shown}`; of what comes before, only what that inherits is made again, if it must be."
    )
}

pub fn may_not_command(login: &str, least: Permission) -> String {
    format!(
        "Commands are obeyed from people who {} this repository, and `{login}` may not.",
        least.words()
    )
}

pub fn may_not_approve(login: &str, least: Permission) -> String {
    format!("Only people who {} this repository approve, and `{login}` may not.", least.words())
}

pub fn closed() -> String {
    "This pull request is closed; reopen it to run its checks.".to_owned()
}

pub fn code_not_trusted(doubt: &str, head: &Sha) -> String {
    format!(
        "The code of this pull request is not run, because {doubt}. This command does not approve it: \
         look at the change, then comment {}.",
        approval(head)
    )
}

/// The command that approves a commit, to be copied.
fn approval(head: &Sha) -> String {
    format!("`/ok-to-test {}`", head.short())
}

pub fn nothing_to_approve() -> String {
    "Nothing needs an approval: whoever wrote and pushed this commit may write to the repository."
        .to_owned()
}

pub fn approved_already(by: &str) -> String {
    format!("Nothing is done: `{by}` approved this commit already.")
}

pub fn approved_before() -> String {
    "Nothing is done: a moment ago somebody approved this commit, or the pull request moved to another \
     commit or base branch. If the commit still waits, look at it and approve it again."
        .to_owned()
}

pub fn approved() -> String {
    "This commit is approved, and all that the change affects runs. The next push needs an approval \
     of its own."
        .to_owned()
}

pub fn taken_back() -> String {
    "The approval is taken back: what ran by it ends.".to_owned()
}

pub fn nothing_to_take_back() -> String {
    "Nothing is taken back: this commit is not approved.".to_owned()
}

/// `/ok-to-test cancel`, heard late.
pub fn approved_later(by: &str) -> String {
    format!(
        "Nothing is taken back: `{by}` approved this commit after that was written. Comment it again \
         if that approval is meant, too."
    )
}

/// `/ok-to-test` with a commit that is not the head.
pub fn not_the_head(given: &str, head: &Sha) -> String {
    let given: String = given.chars().take(12).collect();
    format!(
        "`{given}` is not approved: the head is another. Look at what changed since, then comment {}.",
        approval(head)
    )
}

/// `/ok-to-test` alone, where the head may be newer than the comment.
pub fn which_commit(head: &Sha) -> String {
    format!(
        "Nothing is approved: this head may not be what you looked at, since it came after you wrote, \
         or was not the pull request's only one. If you have looked at it, comment {}.",
        approval(head)
    )
}

pub fn approved_by_comment_or_button() -> String {
    "A commit is approved by a comment or by the button on `checkvalve`, and by nothing else."
        .to_owned()
}

pub fn after_the_approval() -> String {
    "What the change affects runs by the approval; ask for more once that is done.".to_owned()
}

pub fn not_without_approval() -> String {
    "Nothing is run: the same comment takes the approval back.".to_owned()
}

pub fn bots_approve_nothing(login: &str) -> String {
    format!("`{login}` is a bot, and bots approve nothing.")
}

pub fn bots_may_not(login: &str) -> String {
    format!("`{login}` is a bot that `policy.bots` does not list, and is not obeyed.")
}

/// What a button is called, by its identifier.
pub fn button(identifier: &str) -> &str {
    match identifier {
        "retest" => "Re-run failed",
        "test" => "Run all again",
        "no-cache" => "Run without cache",
        "cancel" => "Cancel",
        "approve" => "Approve this commit",
        other => other,
    }
}

/// A button on a commit that nobody wants to merge.
pub fn no_such_head() -> String {
    "No open pull request has this commit as its head now.".to_owned()
}

/// A button on the commit of a merge group that nobody waits for any more.
pub fn group_is_gone() -> String {
    "The merge group of this commit is gone: it was merged, or taken out of the queue.".to_owned()
}

/// A button on a commit that is the head of several pull requests.
pub fn ambiguous(pulls: &[u64]) -> String {
    let pulls: Vec<String> = pulls.iter().map(|number| format!("#{number}")).collect();
    format!(
        "This commit is the head of {}: comment `/retest` on the one that is meant.",
        pulls.join(" and ")
    )
}

/// The button that approves, on a commit that is the head of several pull requests.
pub fn ambiguous_approval(pulls: &[u64], head: &Sha) -> String {
    let pulls: Vec<String> = pulls.iter().map(|number| format!("#{number}")).collect();
    format!(
        "Nothing is approved: this commit is the head of {}. Look at the one that is meant, and comment \
         {} there.",
        pulls.join(" and "),
        approval(head)
    )
}

/// The button that approves, for a pull request that was pointed at another base since.
pub fn another_base(pull: &PullFacts, head: &Sha) -> String {
    let base: String = pull.base_ref.chars().filter(|c| *c != '`' && !c.is_control()).collect();
    format!(
        "Nothing is approved: #{} is against `{base}` by now, which is not what the button was for. \
         Look at what it changes there, then comment {}.",
        pull.number,
        approval(head)
    )
}

/// What a run that was just made does.
pub fn will_run(scope: &Scope) -> Vec<String> {
    let mut will = vec![runs(scope.connectors())];
    will.extend(scope.first().map(begins_at));
    will
}

fn runs(scope: &Scope) -> String {
    const AFFECTED: &str = "Everything that the change affects runs again";
    const ALL: &str = "Every connector runs";
    match scope {
        Scope::Affected | Scope::From { .. } => format!("{AFFECTED}."),
        Scope::All => format!("{ALL}."),
        Scope::Matching { select } => format!("Runs: {select}."),
        Scope::Only { targets: named } => format!("Runs: {}.", targets(named)),
        Scope::Again { targets: named } => format!("Runs again, as planned: {}.", targets(named)),
        Scope::And { of, targets: named } => {
            let whole = if of.asks_for_affected() { AFFECTED } else { ALL };
            format!("{whole}, and with it: {}.", targets(named))
        }
    }
}

pub fn another_head() -> String {
    "Nothing is run: the head is another by now.".to_owned()
}

/// `/retest` where all is well; `planning`: where that is not known yet.
pub fn nothing_to_run_again(planning: bool) -> String {
    if planning {
        "Nothing is run again: what this commit needs is being planned, and runs then.".to_owned()
    } else {
        "Nothing is run again: what counts is green, or runs now.".to_owned()
    }
}

pub fn nothing_to_cancel() -> String {
    "Nothing is cancelled: nothing runs or waits.".to_owned()
}

/// `/cancel` came late.
pub fn made_later() -> String {
    "Nothing is cancelled: this was heard late, and what runs or waits now was made after it was \
     written. Comment `/cancel` again to end that."
        .to_owned()
}

pub fn ended_already() -> String {
    "Nothing is cancelled: what ran has ended, or was to end already.".to_owned()
}

fn names(connectors: &BTreeSet<&ConnectorName>) -> String {
    let target = |name: &&ConnectorName| Target { connector: name.to_string(), step: None };
    targets(&connectors.iter().map(target).collect::<Vec<_>>())
}

/// What `/cancel` has just asked to end.
pub fn ended(connectors: &BTreeSet<&ConnectorName>) -> String {
    format!("Ends: {}.", names(connectors))
}

/// What `/cancel` names of a run that is not planned.
pub fn noted(connectors: &BTreeSet<&ConnectorName>) -> String {
    let names = names(connectors);
    format!("A run is still being planned; of {names}, what it has is not run.")
}

pub fn ended_before(connector: &ConnectorName) -> String {
    let shown = target(&Target { connector: connector.to_string(), step: None });
    format!("{shown} is not cancelled: it has ended, or was to end already.")
}

/// `/cancel source-a/unit`
pub fn no_step_alone(named: &Target) -> String {
    let whole = target(&Target { connector: format!("/cancel {}", named.connector), step: None });
    format!(
        "{} is not cancelled: a step can't be ended by itself; {whole} ends all of the connector's \
         steps.",
        target(named)
    )
}

/// Why nothing of a name that `/cancel` has is ended.
pub fn not_to_cancel<'r>(named: &Target, runs: impl Iterator<Item = &'r Run>) -> String {
    let known: Vec<&str> =
        runs.flat_map(|run| &run.jobs).map(|job| job.connector.as_str()).collect();
    let shown = target(named);
    if known.iter().any(|name| name.eq_ignore_ascii_case(&named.connector)) {
        return format!("{shown} is not cancelled: nothing of it runs or waits.");
    }
    match closest(&named.connector, known) {
        Some(name) => format!(
            "{shown} is not cancelled: nothing that runs or waits is called so; did you mean `{name}`?"
        ),
        None => format!("{shown} is not cancelled: nothing that runs or waits is called so."),
    }
}

/// Why a named target is not run again.
pub fn nothing_to_retest(named: &Target, runs: &[Run]) -> String {
    let jobs = || runs.iter().flat_map(|run| run.jobs.iter());
    let is_named = |job: &&Job| job.connector.as_str().eq_ignore_ascii_case(&named.connector);
    let shown = target(named);
    let Some(job) = jobs().rfind(is_named) else {
        return match closest(&named.connector, jobs().map(|job| job.connector.as_str())) {
            Some(name) => format!("{shown} was not checked on this commit; did you mean `{name}`?"),
            None => format!("{shown} was not checked on this commit; `/test` it to do so."),
        };
    };
    let Some(step) = &named.step else {
        return format!("{shown} is not run again: it is green, or runs now.");
    };
    let steps = job.plan.steps();
    if steps.iter().any(|spec| spec.is_called(step)) {
        return format!("{shown} is not run again: it is green, or runs now.");
    }
    match closest(step, steps.iter().map(|spec| spec.id.as_str())) {
        Some(known) => {
            let meant = Target { step: Some(known.to_owned()), ..named.clone() };
            format!("{shown} is no step; did you mean {}?", target(&meant))
        }
        None => format!("{shown} is no step of the connector."),
    }
}

/// The sentences of a decision, as a reply: one stands alone, several are a list.
pub fn said(because: &str) -> String {
    if because.lines().count() < 2 {
        return because.to_owned();
    }
    because.lines().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n")
}
