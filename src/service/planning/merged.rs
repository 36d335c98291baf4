//! Plans of the head merged with its base (`merge: true`).

use super::definition::{self, Definition};
use super::jobs::{self, Declared, Wanted};
use super::survey::{self, Survey, Terms};
use super::{PlannedJob, PlanningError, fenced};
use crate::domain::names::Sha;
use crate::domain::plan::Merge;
use crate::domain::run::{Problem, ProblemKind};
use crate::git::{BareRepo, Merged};

/// Files of a conflict that are named.
const NAMED: usize = 50;

/// Where a merge comes from.
#[derive(Clone, Copy)]
pub(super) enum Merging<'a> {
    /// It is made of these commits.
    Made { repo: &'a BareRepo, base: &'a Sha, head: &'a Sha },
    /// It was, and what was read of it was written down.
    Written(&'a definition::OfMerge),
}

/// What is planned of the merge.
pub(super) struct OfMerge {
    pub(super) merge: Merge,
    /// Of what, if that was written down; nothing planned yet.
    pub(super) definition: Option<Definition>,
    pub(super) jobs: Vec<PlannedJob>,
    pub(super) without_pipeline: Vec<String>,
    /// How many of them have no step that runs before an approval.
    pub(super) waiting: usize,
    pub(super) notes: Vec<String>,
}

/// Plans these connectors as they are in the merge; why they are selected is the head's survey's
/// to say.
pub(super) async fn planned(
    merging: Merging<'_>,
    survey: &Survey,
    (wanted, declared): (&Wanted, Declared<'_>),
) -> Result<OfMerge, PlanningError> {
    let (merge, mut after) = surveyed(merging, survey.terms).await?;
    let jobs::Found { jobs: found, without_pipeline, waiting } =
        jobs::planned(&after, wanted, declared)?;
    let job = |job: PlannedJob| {
        let impact = survey.impacts.connectors.get(&job.connector);
        PlannedJob {
            change: impact.map_or(job.change, |impact| impact.change),
            reasons: impact.map(|impact| impact.reasons.clone()).unwrap_or_default(),
            plan: job.plan.with_merge(Some(merge.clone())),
            ..job
        }
    };
    let jobs = found.into_iter().map(job).collect();
    let gone = wanted.keys().filter(|name| after.known(name).is_none());
    let gone = gone.map(|name| {
        format!(
            "`{name}` is not there once the head is merged with {}: it is not run.",
            merge.base.short()
        )
    });
    let notes = gone.collect();
    let definition = after.definition.take();
    Ok(OfMerge { merge, definition, jobs, without_pipeline, waiting, notes })
}

async fn surveyed(merging: Merging<'_>, terms: Terms) -> Result<(Merge, Survey), PlanningError> {
    let (repo, base, head) = match merging {
        Merging::Made { repo, base, head } => (repo, base, head),
        Merging::Written(written) => {
            let survey = survey::of_definition(&written.definition).await?;
            return Ok((written.merge.clone(), survey));
        }
    };
    match repo.objects().merge(base, head).await? {
        Merged::Commit(commit) => {
            let survey = survey::of_commits(repo.objects(), base, &commit, (terms, None)).await?;
            Ok((Merge { base: base.clone(), commit }, survey))
        }
        Merged::Conflict(files) => {
            Err(PlanningError::Configuration(Box::new(conflict((base, head), &files))))
        }
    }
}

fn conflict((base, head): (&Sha, &Sha), files: &[String]) -> Problem {
    let title = match files {
        [only] => format!("`{only}` conflicts with the base branch"),
        many => format!("{} files conflict with the base branch", many.len()),
    };
    let mut listed: Vec<String> = files.iter().take(NAMED).cloned().collect();
    if files.len() > NAMED {
        listed.push(format!("… and {} more", files.len() - NAMED));
    }
    let text = format!(
        "A pipeline says `merge: true`: what is tested is the head `{head}` merged with the base \
         `{base}`, and the two don't merge:\n\n{}\nMerge the base branch into this one, or rebase, \
         and push.",
        fenced(&listed.join("\n")),
    );
    Problem { kind: ProblemKind::Configuration, title, text, place: None }
}
