//! Which check runs a head commit has beside `checkvalve`: one for each step, or connector, of all who
//! share it. Where a step came out differently for them, each has its own, named after its base.

use std::collections::BTreeMap;

use crate::domain::names::ConnectorName;
use crate::domain::parties::{Parties, Party, Whose};
use crate::domain::state::Conclusion;
use crate::domain::time::Timestamp;
use crate::domain::verdict::{Standing, connector_verdict};
use crate::render::look::Look;
use crate::render::markdown::one_line;

use super::{Made, asked_for, step_check_name, step_look, step_status};

/// What stands before a base in the name of a check run that is one party's alone.
const FOR: &str = " (→ ";
/// Characters of a base in a name.
const BASE_MAX: usize = 100;

/// A check run of a step: its name, and the record that it shows.
#[derive(Debug, Clone)]
pub(super) struct Named<'a> {
    pub(super) name: String,
    pub(super) standing: Standing<'a>,
}

/// By connector, then in the plan's order.
#[derive(Debug)]
pub(super) struct Board<'a> {
    pub(super) steps: Vec<Named<'a>>,
    /// The steps of each connector, as they stand for whom it stands worst.
    pub(super) connectors: Vec<Vec<Standing<'a>>>,
}

/// A step as it stands for some of the parties, by their places.
type Row<'a> = Vec<(usize, Standing<'a>)>;

impl<'a> Board<'a> {
    /// Of those that count: a stranger's steps neither hide nor join another's, nor do they use up what
    /// may be written.
    pub(super) fn of(parties: &Parties<'a>, made: &BTreeMap<&str, Made<'_>>) -> Self {
        let parties = parties.judged.as_slice();
        let mut rows: BTreeMap<&ConnectorName, Vec<Row<'a>>> = BTreeMap::new();
        let mut connectors: BTreeMap<&ConnectorName, Vec<Standing<'a>>> = BTreeMap::new();
        for (nth, party) in parties.iter().enumerate() {
            let steps = asked_for(&party.verdict);
            for of in steps.chunk_by(|one, next| one.job.connector == next.job.connector) {
                let Some(first) = of.first() else { continue };
                let worst = connectors.entry(&first.job.connector).or_default();
                if worst.is_empty() || how_bad(of) >= how_bad(worst) {
                    *worst = of.to_vec();
                }
                let rows = rows.entry(&first.job.connector).or_default();
                for standing in of {
                    add(rows, nth, *standing);
                }
            }
        }
        let rows = rows.into_values().flatten();
        let steps = rows.flat_map(|row| of_row(&row, parties, made)).collect();
        Self { steps, connectors: connectors.into_values().collect() }
    }
}

fn add<'a>(rows: &mut Vec<Row<'a>>, nth: usize, standing: Standing<'a>) {
    let same = |row: &&mut Row<'a>| row.iter().any(|(_, one)| one.step.id == standing.step.id);
    match rows.iter_mut().find(same) {
        Some(row) => row.push((nth, standing)),
        None => rows.push(vec![(nth, standing)]),
    }
}

/// The plain name while they agree, or something is open; and where GitHub has it: it then says the
/// worst. Names of their own where they differ, or where GitHub has those.
fn of_row<'a>(
    row: &Row<'a>,
    parties: &[Party<'a>],
    made: &BTreeMap<&str, Made<'_>>,
) -> Vec<Named<'a>> {
    let Some((_, worst)) = row.iter().max_by_key(|(_, standing)| gravity(standing)) else {
        return Vec::new();
    };
    let word = |standing: &Standing<'_>| step_status(standing).word();
    let open = |standing: &Standing<'_>| matches!(word(standing), "queued" | "in_progress");
    let closed = row.iter().all(|(_, standing)| !open(standing));
    let differ = closed && row.iter().any(|(_, one)| word(one) != word(worst));
    let plain = step_check_name(worst.job, worst.step);
    let apart = |(nth, standing): &(usize, Standing<'a>)| Named {
        name: alone(&plain, &label(parties, *nth)),
        standing: *standing,
    };
    let apart = row.iter().map(apart);
    let apart = apart.filter(|one| differ || made.contains_key(one.name.as_str()));
    let shared = (!differ || made.contains_key(plain.as_str()))
        .then(|| Named { name: plain.clone(), standing: *worst });
    shared.into_iter().chain(apart).collect()
}

/// The base; and who it is, where another one has the same.
pub(super) fn label(parties: &[Party<'_>], nth: usize) -> String {
    let Some(party) = parties.get(nth) else { return String::new() };
    let base = one_line(party.base(), BASE_MAX);
    if parties.iter().filter(|other| other.base() == party.base()).count() < 2 {
        return base;
    }
    match &party.whose {
        Whose::Pull(number) => format!("{base}, #{number}"),
        Whose::Group(branch) => format!("{base}, {}", one_line(branch, BASE_MAX)),
    }
}

/// Connector and step of a step's check run, and for whom it is, if it says so.
pub fn step_of_check(name: &str) -> Option<(&str, &str, Option<&str>)> {
    let (connector, step) = name.split_once(" / ")?;
    Some(match step.rsplit_once(FOR) {
        Some((step, whose)) => (connector, step, Some(whose.strip_suffix(')').unwrap_or(whose))),
        None => (connector, step, None),
    })
}

/// What a step's check run that was one party's alone is called by now: otherwise than before, when a
/// pull request was pointed at another base, or another one with the same base came or went. `None`:
/// it is everybody's, or that party is not here any more.
pub fn name_by_now(name: &str, whose: &Whose, parties: &[Party<'_>]) -> Option<String> {
    let (connector, step, Some(_)) = step_of_check(name)? else { return None };
    let nth = parties.iter().position(|party| party.whose == *whose)?;
    Some(alone(&format!("{connector} / {step}"), &label(parties, nth)))
}

/// The name of a step's check run that is one party's alone.
fn alone(plain: &str, label: &str) -> String {
    format!("{plain}{FOR}{label})")
}

/// Is a check run that says to be for `whose` this pull request's?
pub fn is_for(whose: &str, base: &str, pull: u64) -> bool {
    let base = one_line(base, BASE_MAX);
    whose == base || whose == format!("{base}, #{pull}")
}

/// Is a check run that says to be for `whose` this merge group's?
pub fn is_for_group(whose: &str, base: &str, branch: &str) -> bool {
    let base = one_line(base, BASE_MAX);
    whose == base || whose == format!("{base}, {}", one_line(branch, BASE_MAX))
}

/// What is open comes first, then the worst, then the newest.
fn gravity(standing: &Standing<'_>) -> (u8, Timestamp) {
    let grave = match step_look(standing) {
        Look::Running => 9,
        Look::Waiting => 8,
        Look::Failed => 7,
        Look::TimedOut => 6,
        Look::Errored => 5,
        Look::ActionRequired => 4,
        Look::Cancelled => 3,
        Look::Skipped => 2,
        Look::Tolerated => 1,
        Look::Passed => 0,
    };
    (grave, standing.run.created_at)
}

fn how_bad(of_connector: &[Standing<'_>]) -> (u8, Option<Timestamp>) {
    let grave = match connector_verdict(of_connector) {
        None => 4,
        Some(Conclusion::ActionRequired) => 3,
        Some(Conclusion::Failure) => 2,
        Some(Conclusion::Cancelled) => 1,
        Some(Conclusion::Success) => 0,
    };
    (grave, of_connector.iter().map(|standing| standing.run.created_at).max())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_connector_step_and_for_whom() {
        assert_eq!(step_of_check("a / unit"), Some(("a", "unit", None)));
        assert_eq!(step_of_check("a / unit (3.11)"), Some(("a", "unit (3.11)", None)));
        let of = step_of_check("a / unit (3.11) (→ main, #12)");
        assert_eq!(of, Some(("a", "unit (3.11)", Some("main, #12"))));
        assert_eq!(step_of_check("a"), None);
        assert!(is_for("main", "main", 12) && is_for("main, #12", "main", 12));
        assert!(!is_for("main, #13", "main", 12) && !is_for("dev", "main", 12));
        let queued = "gh-readonly-queue/main/pr-7-0123";
        assert!(is_for_group("main", "main", queued) && !is_for_group("dev", "main", queued));
        assert!(is_for_group(&format!("main, {queued}"), "main", queued));
        assert!(!is_for_group("main, #12", "main", queued));
        assert_eq!(name_by_now("a / unit", &Whose::Pull(12), &[]), None, "everybody's");
        assert_eq!(name_by_now("a / unit (→ main)", &Whose::Pull(12), &[]), None, "not here");
    }
}
