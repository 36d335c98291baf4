//! From two commits, or a commit and a work tree, to what would run: change set, catalogs, impact,
//! plans. Everything decided here is decided by pure functions of `domain`; this only brings them
//! what they ask for.

mod again;
mod answers;
mod composed;
mod definition;
mod documents;
mod jobs;
mod lean;
mod mentions;
mod merged;
mod registry;
mod snapshot;
mod sources;
mod survey;

use std::collections::BTreeSet;

use crate::config::grants::Grants;
use crate::config::repository::Invalid;
use crate::domain::impact::{ChangeKind, Reason};
use crate::domain::names::{ConnectorName, RepoName, Sha, StepId};
use crate::domain::plan::Plan;
use crate::domain::rules::{PipelineTrigger, closest};
use crate::domain::run::{Problem, ProblemKind, Selection};
use crate::domain::trigger::Scope;
use crate::domain::trust::Trust;
use crate::git::{BareRepo, GitError};

pub use self::again::planned_before;
pub use self::definition::Definition;
use self::definition::{OfMerge, Wanted};
use self::jobs::Declared;
pub use self::jobs::plans;
use self::lean::Needed;
pub use self::lean::lean;
use self::merged::{Made, Merging};
pub use self::registry::registries_here;
pub use self::sources::sources_here;
use self::survey::Terms;
pub use self::survey::{RepositoryFile, Survey, schedules, survey_here, survey_to_replay};

/// What is to run for one head.
#[derive(Debug, Clone)]
pub struct Planned {
    pub merge_base: Option<Sha>,
    pub selection: Selection,
    /// By connector name.
    pub jobs: Vec<PlannedJob>,
    /// Names that were asked for beside others, and that nothing has.
    pub unknown: Vec<UnknownName>,
    /// What all of it was made of; absent where it was not made anew.
    pub definition: Option<Box<Definition>>,
}

#[derive(Debug, Clone)]
pub struct PlannedJob {
    pub connector: ConnectorName,
    pub change: ChangeKind,
    /// Empty for a connector that the change does not affect and that was asked for by name.
    pub reasons: Vec<Reason>,
    /// All steps of the pipeline, also where only some were asked for.
    pub plan: Plan,
    /// The steps asked for, in the plan's order; empty for all.
    pub only: Vec<StepId>,
}

/// What a commit is compared with.
#[derive(Debug, Clone)]
pub enum Base<'a> {
    /// What it changes since it left this one: a pull request, a merge group.
    Of(&'a Sha),
    /// What differs from this one: a push.
    After(&'a Sha),
    /// What it changes can't be known, so it is everything.
    Unknown { because: String },
    /// Nothing: a schedule names what it wants.
    None,
}

/// What is to be planned, and why.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Whose pipelines.
    pub event: PipelineTrigger,
    pub base: Base<'a>,
    pub head: &'a Sha,
    pub scope: &'a Scope,
    /// Of a stranger's code the pipelines are the base's.
    pub trust: Trust,
    /// The default branch's head, which says what is kept in confidence, where the base is another
    /// branch's.
    pub standing: Option<&'a Sha>,
}

/// A name in a command that nothing has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName {
    /// As it was written: `connector` or `connector/step`.
    pub name: String,
    pub closest: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum PlanningError {
    /// The repository's own doing: a failed check with the place and the mend.
    #[error("{}", .0.title)]
    Configuration(Box<Problem>),
    /// A commit is gone: pushed over, or its branch deleted.
    #[error("the commit {} is no longer there", .sha.short())]
    Vanished { sha: Sha },
    #[error("{}", unknown_names(.0))]
    Unknown(Vec<UnknownName>),
    /// No pipeline runs for the event: nobody asked for anything.
    #[error("no pipeline runs `on: {}`", .0.as_str())]
    NoPipeline(PipelineTrigger),
    #[error(transparent)]
    Git(GitError),
}

impl From<GitError> for PlanningError {
    fn from(error: GitError) -> Self {
        match error {
            GitError::Vanished { sha } => Self::Vanished { sha },
            other @ (GitError::NotInstalled(_)
            | GitError::NoRepository(_)
            | GitError::NoAccess { .. }
            | GitError::Network { .. }
            | GitError::DiskFull(_)
            | GitError::TimedOut { .. }
            | GitError::UnknownRevision(_)
            | GitError::NoBase
            | GitError::Unread { .. }
            | GitError::NoWorkTree
            | GitError::Failed { .. }
            | GitError::Output { .. }
            | GitError::Io { .. }) => Self::Git(other),
        }
    }
}

impl From<Invalid> for PlanningError {
    fn from(invalid: Invalid) -> Self {
        Self::Configuration(Box::new(problem(&invalid)))
    }
}

/// What of a command's names is not run; `None` if all are known.
pub fn not_run(names: &[UnknownName]) -> Option<String> {
    (!names.is_empty()).then(|| format!("Not run: {}.", unknown_names(names)))
}

fn unknown_names(names: &[UnknownName]) -> String {
    let one = |unknown: &UnknownName| match &unknown.closest {
        Some(closest) => format!("nothing is called `{}`; did you mean `{closest}`?", unknown.name),
        None => format!("nothing is called `{}`", unknown.name),
    };
    names.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Plans a head against its base, both of which were fetched. Configuration, too, is read from
/// both: what is selected is what either of them selects, so that a pull request can't ignore its
/// way to green. Secrets are those that the base declares and the server grants: what a pull
/// request says of them counts once it is merged.
pub async fn plan(
    repo: &BareRepo,
    base: &Sha,
    head: &Sha,
    scope: &Scope,
    granted: (&RepoName, &Grants),
) -> Result<Planned, PlanningError> {
    let event = PipelineTrigger::PullRequest;
    let (base, trust) = (Base::Of(base), Trust::Trusted);
    plan_for(repo, Asked { event, base, head, scope, trust, standing: None }, granted).await
}

/// As [`plan`], for any event. A commit of the default branch is configured by itself alone.
pub async fn plan_for(
    repo: &BareRepo,
    asked: Asked<'_>,
    granted: (&RepoName, &Grants),
) -> Result<Planned, PlanningError> {
    let Asked { event, base, head, scope, trust, standing } = asked;
    let terms = Terms { event: Some(event), trust };
    let objects = repo.objects();
    let (survey, merging) = match (event, base) {
        (PipelineTrigger::PullRequest | PipelineTrigger::MergeGroup, Base::Of(base)) => {
            let survey = survey::of_commits(objects, base, head, (terms, standing)).await?;
            (survey, Some(Merging::Made { repo, base, head }))
        }
        (_, base) => {
            let survey = Box::pin(survey::of_branch(objects, (base, head), event)).await?;
            (survey.ok_or(PlanningError::NoPipeline(event))?, None)
        }
    };
    let mut planned = Box::pin(plan_survey(survey, scope, Some(granted), merging)).await?;
    if let Some(definition) = planned.definition.take() {
        let plans = planned.jobs.iter().map(|job| &job.plan);
        planned.definition = Some(lean(definition, plans).await);
    }
    Ok(planned)
}

/// Plans again what was planned, from what was written down then, and from nothing else. What the
/// server gave then is not judged again.
pub async fn plan_again(definition: &Definition) -> Result<Planned, PlanningError> {
    let survey = survey::of_definition(definition).await?;
    match &definition.wanted {
        Some(Wanted::Scope { scope }) => {
            let written = definition.merged.as_deref().map(Merging::Written);
            let merging = written.or(definition.conflict.as_ref().map(Merging::Parted));
            Box::pin(plan_survey(survey, scope, None, merging)).await
        }
        Some(Wanted::Names { names }) => plans(&survey, names),
        None => plans(&survey, &BTreeSet::new()),
    }
}

/// Without `merging` there are no merges.
async fn plan_survey(
    mut survey: Survey,
    scope: &Scope,
    granted: Option<(&RepoName, &Grants)>,
    merging: Option<Merging<'_>>,
) -> Result<Planned, PlanningError> {
    if scope.asks_for_affected() && !survey.impacts.refused.is_empty() {
        return Err(PlanningError::Configuration(Box::new(refused(&survey))));
    }
    let (wanted, unknown) = jobs::wanted(&survey, scope.connectors());
    if !unknown.is_empty() && wanted.is_empty() && !scope.connectors().is_whole() {
        return Err(PlanningError::Unknown(unknown));
    }
    let made_of = survey.definition.take();
    // Where nothing is compared with, it is the default branch itself that declares them.
    let standing = survey.standing.as_ref().map(|said| said.secrets.as_slice());
    let secrets = standing.unwrap_or(&survey.rules().secrets);
    let declared = Declared { secrets, granted };
    let (of_merge, of_head) = jobs::split(&survey, wanted);
    let found = jobs::planned(&survey, &of_head, declared)?;
    let of_merge = match merging.filter(|_| !of_merge.is_empty()) {
        Some(merging) => Some(merged::planned(merging, &survey, (&of_merge, declared)).await?),
        None => None,
    };
    let wanted = Wanted::Scope { scope: scope.clone() };
    let (made, of_merge, mut notes) = match of_merge {
        Some(merged::OfMerge { made, found, notes }) => (Some(made), found, notes),
        None => (None, jobs::Found::default(), Vec::new()),
    };
    let made_of = made_of.map(|made_of| {
        let jobs: Vec<&PlannedJob> = found.jobs.iter().chain(&of_merge.jobs).collect();
        let needed = Needed::of(&survey, &jobs, &made_of);
        made_of.needing(needed)
    });
    let definition = made_of.and_then(|it| written_down(it, wanted, (&found, &of_merge), made));
    let found = found.and(of_merge);
    let jobs::Found { jobs, without_pipeline, waiting } = found;
    notes.extend(wait_for_approval(jobs.len(), waiting));
    let mut selection = survey.selection(without_pipeline);
    selection.notes.extend(notes);
    selection.notes.extend(not_run(&unknown));
    let with_job = jobs.iter().map(|job| &job.connector).collect();
    selection.unselected = Some(survey.unselected(&with_job));
    let merge_base = survey.merge_base;
    let planned = Planned { merge_base, selection, jobs, unknown, definition };
    match scope.first() {
        Some(step) => again::begin_at(step, planned).map_err(PlanningError::Unknown),
        None => Ok(planned),
    }
}

/// All that was planned, and of what.
fn written_down(
    made_of: Definition,
    wanted: Wanted,
    (of_head, of_merge): (&jobs::Found, &jobs::Found),
    made: Option<Made>,
) -> Option<Box<Definition>> {
    let made_of = made_of.planned(wanted.clone(), of_head.sources());
    let definition = match made {
        None => made_of,
        Some(Made::Conflict(conflict)) => {
            made_of.planned(wanted, of_merge.sources()).with_conflict(conflict)
        }
        Some(Made::Merge(merge, definition)) => {
            let definition = definition?.planned(wanted, of_merge.sources());
            made_of.with_merged(OfMerge { merge, definition })
        }
    };
    Some(Box::new(definition))
}

/// What of a stranger's change is not run yet.
fn wait_for_approval(running: usize, waiting: usize) -> Option<String> {
    let all = running + waiting;
    (waiting > 0).then(|| {
        format!(
            "Waiting for the approval: of {all} connectors with a pipeline, {waiting} have no step \
             that is marked `untrusted: true`."
        )
    })
}

/// `unclaimed: error` met paths that nothing claims.
fn refused(survey: &Survey) -> Problem {
    let paths: Vec<&String> = survey.impacts.refused.iter().collect();
    let title = match paths.as_slice() {
        [only] => format!("`{only}` belongs to no connector"),
        many => format!("{} changed paths belong to no connector", many.len()),
    };
    let listed: Vec<String> = paths.iter().take(50).map(|path| (*path).clone()).collect();
    let text = format!(
        "The repository file says `unclaimed: error`, and nothing claims:\n\n{}\nLet a connector \
         `own` them, name them under `impact:`, or `ignore:` them.",
        fenced(&listed.join("\n")),
    );
    Problem { kind: ProblemKind::Configuration, title, text, place: None }
}

fn problem(invalid: &Invalid) -> Problem {
    Problem {
        kind: ProblemKind::Configuration,
        title: invalid.title(),
        text: format!("The repository file is not valid:\n\n{}", fenced(&invalid.to_string())),
        place: Some((invalid.file.clone(), invalid.first_line())),
    }
}

/// A code block that its content can't close.
fn fenced(text: &str) -> String {
    let (mut longest, mut here) = (0, 0);
    for c in text.chars() {
        here = if c == '`' { here + 1 } else { 0 };
        longest = longest.max(here);
    }
    let fence = "`".repeat((longest + 1).max(3));
    format!("{fence}text\n{text}\n{fence}\n")
}

/// The closest of some names, as a command's answer offers it.
fn unknown<'n>(name: &str, known: impl IntoIterator<Item = &'n str>) -> UnknownName {
    UnknownName { name: name.to_owned(), closest: closest(name, known).map(str::to_owned) }
}
