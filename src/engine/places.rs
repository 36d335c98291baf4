//! The files that a try's findings name, as the head has them.

use super::{JobRun, Source};
use crate::domain::output::Problem;
use crate::domain::output::place::Ground;
use crate::domain::places;
use crate::domain::run::StepFacts;
use crate::domain::state::Outcome;

/// Joins what the log complains of with what reports say, each in its file.
pub(super) async fn settle(
    facts: &mut StepFacts,
    problems: Vec<Problem>,
    (source, ground): (&dyn Source, Ground<'_>),
    outcome: Outcome,
) {
    let asked = places::asked(facts, &problems, ground);
    if asked.is_empty() {
        return;
    }
    let known = source.standings(asked).await;
    places::settle(facts, problems, ground, &known, outcome == Outcome::Succeeded);
}

/// As [`settle`], of an earlier result: another change touches other files.
pub(super) async fn renew(facts: &mut StepFacts, job: &JobRun<'_>) {
    let root = job.plan.root();
    let of = (&*job.source, Ground { folder: root, root });
    settle(facts, Vec::new(), of, Outcome::Succeeded).await;
}
