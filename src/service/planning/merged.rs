//! Plans of the head merged with its base (`merge: true`).

use super::jobs::{self, Declared, Wanted};
use super::survey::{self, Survey};
use super::{PlannedJob, PlanningError, fenced};
use crate::domain::names::Sha;
use crate::domain::plan::Merge;
use crate::domain::run::{Problem, ProblemKind};
use crate::git::{BareRepo, Merged};

/// Files of a conflict that are named.
const NAMED: usize = 50;

/// What is planned of the merge.
pub(super) struct OfMerge {
    pub(super) jobs: Vec<PlannedJob>,
    pub(super) without_pipeline: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// Plans these connectors as they are in the merge; why they are selected is the head's survey's
/// to say.
pub(super) async fn planned(
    repo: &BareRepo,
    (base, head): (&Sha, &Sha),
    survey: &Survey,
    (wanted, declared): (&Wanted, Declared<'_>),
) -> Result<OfMerge, PlanningError> {
    let objects = repo.objects();
    let commit = match objects.merge(base, head).await? {
        Merged::Commit(commit) => commit,
        Merged::Conflict(files) => {
            return Err(PlanningError::Configuration(Box::new(conflict((base, head), &files))));
        }
    };
    let after = survey::of_commits(objects, base, &commit, survey.event).await?;
    let (found, without_pipeline) = jobs::planned(&after, wanted, declared)?;
    let merge = Merge { base: base.clone(), commit };
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
            base.short()
        )
    });
    Ok(OfMerge { jobs, without_pipeline, notes: gone.collect() })
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
