//! On whose word a run's code runs, in words.

use crate::domain::run::{ProblemKind, Run};
use crate::domain::trigger::Trigger;
use crate::domain::trust::{Approved, Trust};

/// Why it is trusted, or not: a sentence.
pub fn because(run: &Run, approved: Option<&Approved>) -> String {
    match run.trust {
        Trust::Trusted => trusted(run).to_owned(),
        Trust::Approved => by_approval(run, approved),
        Trust::Untrusted => {
            let awaited =
                run.problem.as_ref().filter(|problem| problem.kind == ProblemKind::NotTrusted);
            let why = awaited.map_or("It waits for an approval", |problem| &problem.title);
            format!("{why}. Until then, only steps that the base branch marks `untrusted` run.")
        }
    }
}

fn trusted(run: &Run) -> &'static str {
    match run.trigger {
        Trigger::Manual if run.pull.is_none() => "Somebody asked for it by hand.",
        Trigger::MergeGroup => "Who may write to the repository enqueued it.",
        Trigger::Push | Trigger::Schedule => "It is what the default branch holds.",
        Trigger::PullRequest | Trigger::Comment | Trigger::Button | Trigger::Manual => {
            "Who wrote and who pushed this commit may write to the repository."
        }
    }
}

fn by_approval(run: &Run, approved: Option<&Approved>) -> String {
    let (commit, base) = (run.head_sha.short(), &run.base_ref);
    let Some(Approved { actor, route, void, .. }) = approved else {
        return format!("Somebody who may write approved `{commit}` for `{base}`.");
    };
    let because = format!("`{actor}` approved `{commit}` for `{base}` by {}.", route.words());
    match void {
        Some((_, why)) => format!("{because} The approval holds no more: {why}."),
        None => because,
    }
}
