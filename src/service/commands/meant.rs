//! Which pull request a press on a check run means. GitHub names none where the branch is a fork's, and
//! several can share the commit: what is not clear is refused with words, never guessed.

use std::collections::BTreeSet;

use super::{Commands, Failure};
use crate::domain::event::{Button, CheckFacts, PullFacts};
use crate::domain::ids::RunId;
use crate::domain::names::Sha;
use crate::domain::parties::{Approving, Parties, Whose};
use crate::domain::run::Run;
use crate::render::checks::{is_for, step_of_check};
use crate::render::replies;

/// The button that approves a commit which nobody shares.
const APPROVE: &str = "approve";

/// Whom a press means, as far as the check run and its button say it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meant {
    /// The one that counts on this commit.
    Counting,
    /// The one that this name of a base says, by which a step's check run is called.
    For(String),
    /// A button names the pull request whose commit is to be approved, and the base.
    Named(Approving),
    /// The commit is to be approved for the only one that has it; what was shown, if that is known.
    Only(Option<Approving>),
}

/// A pull request with its runs; or the one on whose page it is told, and why it is not done.
pub(super) type Found = Result<(PullFacts, Vec<Run>), (Option<u64>, String)>;

/// What somebody pressed, in words.
pub(super) fn label(button: &Button) -> String {
    match button {
        Button::Rerun => "Re-run".to_owned(),
        Button::Action(action) => match Approving::read(action) {
            Some(of) => format!("{} for #{}", replies::button(APPROVE), of.pull),
            None => replies::button(action).to_owned(),
        },
    }
}

/// Does this button approve a commit?
pub(super) fn approves(button: &Button) -> bool {
    match button {
        Button::Action(action) => action == APPROVE || Approving::read(action).is_some(),
        Button::Rerun => false,
    }
}

impl Commands<'_> {
    /// A button that approves says for whom, or is on a check run that was made for one run: what was
    /// shown there, against the base that it was shown against, is what is approved.
    pub(super) async fn meant(
        &self,
        check: &CheckFacts,
        button: &Button,
    ) -> Result<Meant, Failure> {
        if !approves(button) {
            let whose = step_of_check(&check.name).and_then(|(_, _, whose)| whose);
            return Ok(whose.map_or(Meant::Counting, |whose| Meant::For(whose.to_owned())));
        }
        if let Button::Action(action) = button
            && let Some(approving) = Approving::read(action)
        {
            return Ok(Meant::Named(approving));
        }
        let occasion = self.occasion(check).await?;
        let runs = self.store.runs_of_head(self.repository.id, &check.head_sha).await?;
        let run = occasion.and_then(|id| runs.iter().find(|run| run.id == id));
        Ok(Meant::Only(run.and_then(|run| Some(Approving::of(run.pull?, &run.base_ref)))))
    }

    /// Was this check run made for a pull request that has the commit now? It is that one's then, whoever
    /// else shares the name.
    pub(super) async fn is_of_pull(&self, check: &CheckFacts) -> Result<bool, Failure> {
        let Some(run) = self.occasion(check).await? else { return Ok(false) };
        let number = self.store.run(run).await?.and_then(|run| run.pull);
        let Some(number) = number else { return Ok(false) };
        let seen = self.store.pull(self.repository.id, number).await?;
        Ok(seen.is_some_and(|seen| seen.facts.open && seen.facts.head_sha == check.head_sha))
    }

    /// The run that a check run was made for.
    pub(super) async fn occasion(&self, check: &CheckFacts) -> Result<Option<RunId>, Failure> {
        let known = self.store.check_by_github_id(self.repository.id, check.id).await?;
        Ok(known.and_then(|(record, _)| record.occasion.parse().ok()))
    }

    /// The open pull request that has this commit as its head now and is meant, with its runs of that,
    /// if nobody said why it `may_not` be commanded; else why nothing is done.
    pub(super) async fn pull_of_head(
        &self,
        head: &Sha,
        may_not: Option<String>,
        meant: &Meant,
    ) -> Result<Found, Failure> {
        let runs = self.store.runs_of_head(self.repository.id, head).await?;
        let numbers: BTreeSet<u64> = runs.iter().filter_map(|run| run.pull).collect();
        let near = match meant {
            Meant::Named(of) if numbers.contains(&of.pull) => Some(of.pull),
            Meant::Named(_) | Meant::Only(_) | Meant::For(_) | Meant::Counting => {
                numbers.last().copied()
            }
        };
        if let Some(why) = may_not {
            return Ok(Err((near, why)));
        }
        let mut found = Vec::new();
        for number in numbers {
            let pull = self.github.pull(self.repository, number).await?;
            found.extend(Some(pull).filter(|pull| pull.open && pull.head_sha == *head));
        }
        Ok(chosen(head, found, runs, meant).map_err(|why| (near, why)))
    }
}

/// The one of the open pull requests with this head that is meant, with its runs; else why there is
/// none.
fn chosen(
    head: &Sha,
    mut found: Vec<PullFacts>,
    mut runs: Vec<Run>,
    meant: &Meant,
) -> Result<(PullFacts, Vec<Run>), String> {
    let all: Vec<u64> = found.iter().map(|pull| pull.number).collect();
    let shown = match meant {
        Meant::Counting => {
            leave_aside(&mut found, &runs);
            None
        }
        Meant::For(whose) => {
            let is_meant = |pull: &PullFacts| is_for(whose, &pull.base_ref, pull.number);
            if found.iter().any(is_meant) {
                found.retain(is_meant);
            }
            leave_aside(&mut found, &runs);
            None
        }
        Meant::Named(approving) => {
            found.retain(|pull| pull.number == approving.pull);
            Some(approving)
        }
        Meant::Only(shown) => shown.as_ref(),
    };
    let (Some(pull), true) = (found.pop(), found.is_empty()) else {
        return Err(match meant {
            _ if all.is_empty() => replies::no_such_head(),
            Meant::Named(_) | Meant::Only(_) => replies::ambiguous_approval(&all, head),
            Meant::For(_) | Meant::Counting => replies::ambiguous(&all),
        });
    };
    if shown.is_some_and(|shown| shown.pull != pull.number) {
        return Err(replies::ambiguous_approval(&all, head));
    }
    if shown.is_some_and(|shown| !shown.is_against(&pull.base_ref)) {
        return Err(replies::another_base(&pull, head));
    }
    runs.retain(|run| run.pull == Some(pull.number));
    Ok((pull, runs))
}

/// A stranger's pull request with somebody else's commit makes no riddle of that one's buttons: what
/// waits for an approval without counting is not what is meant, and nothing of it would be run.
fn leave_aside(found: &mut Vec<PullFacts>, runs: &[Run]) {
    if found.len() < 2 {
        return;
    }
    let numbers: BTreeSet<u64> = found.iter().map(|pull| pull.number).collect();
    let of_found = |run: &&Run| run.pull.is_some_and(|number| numbers.contains(&number));
    let parties = Parties::of(runs.iter().filter(of_found), &[]);
    let aside = |pull: &PullFacts| {
        parties.aside.iter().any(|party| party.whose == Whose::Pull(pull.number))
    };
    found.retain(|pull| !aside(pull));
}
