//! What we answer to comments.

use crate::domain::run::Run;
use crate::domain::trigger::Target;

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

pub fn may_not_write(login: &str) -> String {
    format!(
        "Commands are obeyed from people who may write to this repository, and `{login}` may not."
    )
}

pub fn closed() -> String {
    "This pull request is closed; reopen it to run its checks.".to_owned()
}

pub fn code_not_trusted(doubt: &str) -> String {
    format!(
        "The code of this pull request is not run, because {doubt}. A command by someone else does not approve it. Push its commits to a branch \
         of this repository, after looking at them, to have them checked."
    )
}

pub fn no_approvals_yet() -> String {
    "`/ok-to-test` is not there yet: push the commits to a branch of this repository instead."
        .to_owned()
}

/// Why a named target is not run again.
pub fn nothing_to_retest(named: &Target, runs: &[Run]) -> String {
    let known = || runs.iter().flat_map(|run| run.jobs.iter()).map(|job| job.connector.as_str());
    let shown = target(named);
    if known().any(|name| name.eq_ignore_ascii_case(&named.connector)) {
        return format!("{shown} is not run again: it is green, or runs now.");
    }
    let closest = known()
        .map(|name| (strsim::damerau_levenshtein(name, &named.connector), name))
        .filter(|(distance, _)| *distance <= 4)
        .min();
    match closest {
        Some((_, name)) => {
            format!("{shown} was not checked on this commit; did you mean `{name}`?")
        }
        None => format!("{shown} was not checked on this commit; `/test` it to do so."),
    }
}

/// What a command did, when it could not do all that it said.
pub fn partly(will: &[String], not: &[String]) -> String {
    will.iter().chain(not).map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n")
}
