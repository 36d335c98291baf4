//! Plans of the head merged with its base (`merge: true`).

use super::definition::{self, Definition};
use super::jobs::{self, Declared, Wanted};
use super::lean::Needed;
use super::survey::{self, Survey, Terms};
use super::{PlannedJob, PlanningError};
use crate::domain::names::Sha;
use crate::domain::plan::{Conflict, Merge};
use crate::git::{BareRepo, Merged};

/// Where a merge comes from.
#[derive(Clone, Copy)]
pub(super) enum Merging<'a> {
    /// It is made of these commits.
    Made { repo: &'a BareRepo, base: &'a Sha, head: &'a Sha },
    /// It was, and what was read of it was written down.
    Written(&'a definition::OfMerge),
    /// It could not be made.
    Parted(&'a Conflict),
}

/// What is planned of the merge.
pub(super) struct OfMerge {
    pub(super) made: Made,
    pub(super) found: jobs::Found,
    pub(super) notes: Vec<String>,
}

/// What became of a merge.
pub(super) enum Made {
    /// With what was read of it, if that was written down; nothing planned yet.
    Merge(Merge, Option<Box<Definition>>),
    Conflict(Conflict),
}

/// Plans these connectors as they are in the merge; why they are selected is the head's survey's
/// to say. If there is no merge they are held, and nobody else is.
pub(super) async fn planned(
    merging: Merging<'_>,
    survey: &Survey,
    (wanted, declared): (&Wanted, Declared<'_>),
) -> Result<OfMerge, PlanningError> {
    match surveyed(merging, survey.terms).await? {
        Surveyed::Merge(merge, after) => of_merge((merge, *after), survey, (wanted, declared)),
        Surveyed::Conflict(conflict) => held(conflict, survey, (wanted, declared)),
    }
}

fn of_merge(
    (merge, mut after): (Merge, Survey),
    survey: &Survey,
    (wanted, declared): (&Wanted, Declared<'_>),
) -> Result<OfMerge, PlanningError> {
    let mut found = jobs::planned(&after, wanted, declared)?;
    for job in &mut found.jobs {
        let impact = survey.impacts.connectors.get(&job.connector);
        job.change = impact.map_or(job.change, |impact| impact.change);
        job.reasons = impact.map(|impact| impact.reasons.clone()).unwrap_or_default();
        job.plan = job.plan.clone().with_merge(Some(merge.clone()));
    }
    let gone = wanted.keys().filter(|name| after.known(name).is_none());
    let gone = gone.map(|name| {
        format!(
            "`{name}` is not there once the head is merged with {}: it is not run.",
            merge.base.short()
        )
    });
    let notes = gone.collect();
    let definition = after.definition.take().map(|made_of| {
        let jobs: Vec<&PlannedJob> = found.jobs.iter().collect();
        let needed = Needed::of(&after, &jobs, &made_of);
        Box::new(made_of.needing(needed))
    });
    Ok(OfMerge { made: Made::Merge(merge, definition), found, notes })
}

/// The plans that the head has for them, of which nothing runs.
fn held(
    conflict: Conflict,
    survey: &Survey,
    (wanted, declared): (&Wanted, Declared<'_>),
) -> Result<OfMerge, PlanningError> {
    let mut found = jobs::planned(survey, wanted, declared)?;
    for job in &mut found.jobs {
        job.plan = job.plan.clone().held(Some(conflict.clone()));
    }
    let names: Vec<String> = found.jobs.iter().map(|job| format!("`{}`", job.connector)).collect();
    let note = format!(
        "Held, as their pipelines say `merge: true` and {}: {}.",
        conflict.what(),
        names.join(", ")
    );
    let notes = if names.is_empty() { Vec::new() } else { vec![note] };
    Ok(OfMerge { made: Made::Conflict(conflict), found, notes })
}

enum Surveyed {
    Merge(Merge, Box<Survey>),
    Conflict(Conflict),
}

async fn surveyed(merging: Merging<'_>, terms: Terms) -> Result<Surveyed, PlanningError> {
    let (repo, base, head) = match merging {
        Merging::Made { repo, base, head } => (repo, base, head),
        Merging::Written(written) => {
            let survey = survey::of_definition(&written.definition).await?;
            return Ok(Surveyed::Merge(written.merge.clone(), Box::new(survey)));
        }
        Merging::Parted(conflict) => return Ok(Surveyed::Conflict(conflict.clone())),
    };
    Ok(match repo.objects().merge(base, head).await? {
        Merged::Commit(commit) => {
            let survey = survey::of_commits(repo.objects(), base, &commit, (terms, None)).await?;
            Surveyed::Merge(Merge { base: base.clone(), commit }, Box::new(survey))
        }
        Merged::Conflict(files) => Surveyed::Conflict(Conflict::new(base.clone(), files)),
    })
}
