//! Which of a head's check runs are shown: as finely as the hour's budget lets them be made, and
//! whatever GitHub has already.

use std::collections::BTreeMap;

use crate::domain::detail::{Detail, Need};
use crate::domain::parties::{Parties, Whose};
use crate::domain::run::Run;
use crate::domain::verdict::Standing;

use super::board::{Board, Named};
use super::{connector, step_look};

/// A check run that GitHub has, or may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made<'a> {
    /// The run that it was made for.
    pub occasion: &'a str,
    pub completed: bool,
}

/// How much of a head commit is shown.
#[derive(Debug, Clone, Default)]
pub struct View<'a> {
    pub detail: Detail,
    /// The finest that the repository wants.
    pub wanted: Detail,
    /// By name.
    pub made: BTreeMap<&'a str, Made<'a>>,
    /// How many check runs may still be made of failed steps, where not every step has one.
    pub spare: u32,
    /// Who has left this commit, the last one last.
    pub gone: &'a [Whose],
}

/// The finest detail that the head's repository wants; of several who share it, the finest.
pub fn wanted(runs: &[Run], gone: &[Whose]) -> Detail {
    let parties = Parties::of(runs, gone);
    let own = parties.judged.iter().filter_map(|party| party.verdict.own);
    own.filter_map(|run| Some(run.selection.as_ref()?.detail)).min().unwrap_or_default()
}

/// A new occasion of a check run that was completed is a new check run.
fn is_missing(made: Option<&Made<'_>>, occasion: &str) -> bool {
    made.is_none_or(|made| made.completed && made.occasion != occasion)
}

impl View<'_> {
    /// How many check runs are still to be made in each detail.
    pub fn need(&self, runs: &[Run]) -> Need {
        let parties = Parties::of(runs, self.gone);
        let board = Board::of(&parties, &self.made);
        let missing_step = |step: &&Named<'_>| {
            is_missing(self.made.get(step.name.as_str()), &step.standing.run.id.to_string())
        };
        let missing_connector = |of: &&Vec<Standing<'_>>| {
            let made = self.made.get(connector::name(of).as_str());
            is_missing(made, &connector::occasion(of))
        };
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Need {
            step: count(board.steps.iter().filter(missing_step).count()),
            connector: count(board.connectors.iter().filter(missing_connector).count()),
        }
    }

    pub(super) fn shows_connector(&self, of_connector: &[Standing<'_>]) -> bool {
        self.detail == Detail::Connector
            || self.made.contains_key(connector::name(of_connector).as_str())
    }

    /// All steps; or those whose check runs are there, and those that failed, while there is room
    /// for more.
    pub(super) fn shown_steps<'s, 'a>(
        &self,
        steps: &'s [Named<'a>],
    ) -> impl Iterator<Item = &'s Named<'a>> {
        let mut spare = if self.of_failures() { self.spare } else { 0 };
        steps.iter().filter(move |step| {
            let made = self.made.contains_key(step.name.as_str());
            if self.detail == Detail::Step || made {
                return true;
            }
            let own = spare > 0 && step_look(&step.standing).is_bad();
            spare -= u32::from(own);
            own
        })
    }

    /// Do failed steps have check runs of their own beside their connector's?
    fn of_failures(&self) -> bool {
        self.detail == Detail::Connector && self.wanted == Detail::Step
    }
}

/// Why there are fewer check runs than the repository wants; the same text for as long as it holds.
pub(super) fn note(view: &View<'_>, board: &Board<'_>) -> String {
    let connectors = board.connectors.len();
    let wanted = match view.wanted {
        Detail::Step => format!("One for each of the {} steps here", board.steps.len()),
        Detail::Connector => format!("One for each of the {connectors} connectors here"),
        Detail::Summary => return String::new(),
    };
    let shown = match view.detail {
        detail if detail <= view.wanted => return String::new(),
        Detail::Step | Detail::Connector => {
            "**One check run a connector:** a step that fails has its own as well, while they last."
        }
        Detail::Summary => "**No more check runs than this:** those that are there are kept up.",
    };
    format!(
        "{shown} GitHub lets an App make about 500 check runs an hour in all repositories of an \
         owner. {wanted} would be too many of them for now; nothing is left out of \
         the verdict, and the run's page shows every step.\n\n"
    )
}
