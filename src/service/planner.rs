//! Runs become plans: the commits are fetched, the change is diffed, the affected connectors are
//! named, and each gets its plan.

use std::time::Duration;

use tokio::time::{Instant, interval_at};
use tracing::{info, warn};

use super::archive;
use super::commands::Commands;
use super::planning::{self, Asked, Base, Planned, PlanningError};
use super::schedule;
use super::source::{self, SourceError, Sources};
use crate::ambient;
use crate::blobs::{BlobError, Blobs};
use crate::config::grants::Grants;
use crate::domain::audit::Decision;
use crate::domain::ids::{JobId, WorkerId};
use crate::domain::names::{Sha, StepId};
use crate::domain::patience::Passing;
use crate::domain::rules::PipelineTrigger;
use crate::domain::run::{Problem, ProblemKind, Run};
use crate::domain::state::Conclusion;
use crate::domain::trigger::Scope;
use crate::domain::trust;
use crate::git::{BareRepo, GitError};
use crate::store::{NewJob, PlannedRun, PlanningLease, Store, StoreError};

const TERM: Duration = Duration::from_mins(1);

/// So often planning is begun without coming to any end before the run is given up.
const MOST_DEATHS: u32 = 8;

/// Plans runs.
#[derive(Clone)]
pub struct Planner {
    pub store: Store,
    pub sources: Sources,
    /// Where it is written down what plans were made of.
    pub blobs: Blobs,
    pub grants: Grants,
    pub worker: WorkerId,
}

impl Planner {
    /// Plans the oldest unplanned run; false when there is none.
    pub async fn pass(&self) -> anyhow::Result<bool> {
        let Some(lease) = self.store.claim_planning(self.worker, TERM).await? else {
            return Ok(false);
        };
        if lease.attempt.saturating_sub(lease.waited.tries) > MOST_DEATHS {
            // It may be what kills us.
            return self.give_up(lease).await.map(|()| true);
        }
        let planned = tokio::select! {
            planned = self.plan(&lease.run) => planned,
            lost = self.keep(&lease) => return lost.map(|()| true),
        };
        let run = lease.run.id;
        let settled = match planned {
            Ok(planned) => self.store.settle_planning(lease, planned).await,
            Err(error) => self.failed(lease, &error).await,
        };
        match settled {
            Err(StoreError::LeaseLost) => warn!(%run, "another planner has the run"),
            other => other?,
        }
        Ok(true)
    }

    async fn give_up(&self, lease: PlanningLease) -> anyhow::Result<()> {
        let times = lease.attempt.saturating_sub(lease.waited.tries + 1);
        warn!(run = %lease.run.id, "planning was begun {times} times and never ended: given up");
        let problem = Problem {
            kind: ProblemKind::Infrastructure,
            title: "Infrastructure error: planning never came to an end".to_owned(),
            text: format!(
                "It was begun {times} times, and each time the server ended first; its log says \
                 why.\n\nThis is not the connector's fault. Comment `/retest` to try again."
            ),
            place: None,
        };
        let (conclusion, problem) = outcome(&lease.run, problem);
        match self.store.fail_planning(lease, conclusion, problem).await {
            Err(StoreError::LeaseLost) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Extends the lease until it is lost.
    async fn keep(&self, lease: &PlanningLease) -> anyhow::Result<()> {
        // The claim just made is good for the whole term: nothing to write at once.
        let mut beat = interval_at(Instant::now() + TERM / 6, TERM / 6);
        loop {
            beat.tick().await;
            match self.store.extend_planning(lease, TERM).await {
                Ok(()) => {}
                Err(StoreError::LeaseLost) => return Ok(()),
                Err(error) => warn!(run = %lease.run.id, "can't extend the lease: {error}"),
            }
        }
    }

    async fn plan(&self, run: &Run) -> Result<PlannedRun, PlanFailure> {
        if let Some(planned) = self.planned_before(run).await? {
            info!(run.id = %run.id, connectors = planned.jobs.len(), "planned as before");
            return Ok(to_store(planned));
        }
        let event = run.trigger.pipelines(run.pull.is_some());
        let (repo, base) = self.commits(run, event).await?;
        let granted = (&run.repository.name, &self.grants);
        let standing = self.standing(run, event).await?;
        let (head, scope, trust) = (&run.head_sha, &run.scope, run.trust);
        let asked = Asked { event, base, head, scope, trust, standing: standing.as_ref() };
        let mut planned = Box::pin(planning::plan_for(&repo, asked, granted)).await?;
        planned.selection.notes.extend(schedule::lateness(&run.cause, run.created_at));
        if let Some(not) = planning::not_run(&planned.unknown) {
            self.tell_asker(run, &not, Decision::Partly).await;
        }
        // Before the plan is: what a plan was made of is there as soon as it is.
        if let Some(definition) = &planned.definition {
            archive::keep_definition(&self.blobs, run, definition).await?;
        }
        info!(run.id = %run.id, connectors = planned.jobs.len(), "planned");
        Ok(to_store(planned))
    }

    /// The default branch's head, where it is not the base branch of a pull request: what is kept in
    /// confidence is that branch's to say, and not whoever's who may make a branch.
    async fn standing(
        &self,
        run: &Run,
        event: PipelineTrigger,
    ) -> Result<Option<Sha>, PlanFailure> {
        let repository = &run.repository;
        let known = match event {
            PipelineTrigger::PullRequest => self.store.default_branch(repository.id).await?,
            PipelineTrigger::MergeGroup | PipelineTrigger::Push | PipelineTrigger::Schedule => {
                return Ok(None);
            }
        };
        if known.as_ref() == Some(&run.base_ref) {
            return Ok(None);
        }
        let (name, head) = self.sources.default_branch(repository).await?;
        if name == run.base_ref {
            return Ok(None);
        }
        self.sources.with_commits(repository, std::slice::from_ref(&head)).await?;
        Ok(Some(head))
    }

    /// The repository with what is to be compared in it.
    async fn commits<'r>(
        &self,
        run: &'r Run,
        event: PipelineTrigger,
    ) -> Result<(BareRepo, Base<'r>), PlanFailure> {
        let (repository, base, head) = (&run.repository, &run.base_sha, &run.head_sha);
        let alone = std::slice::from_ref(head);
        let both = [base.clone(), head.clone()];
        match event {
            PipelineTrigger::PullRequest | PipelineTrigger::MergeGroup => {
                Ok((self.sources.with_commits(repository, &both).await?, Base::Of(base)))
            }
            PipelineTrigger::Schedule => {
                Ok((self.sources.with_commits(repository, alone).await?, Base::None))
            }
            PipelineTrigger::Push if base == head => {
                let because = "the branch is new here: there is nothing to compare it with";
                let base = Base::Unknown { because: because.to_owned() };
                Ok((self.sources.with_commits(repository, alone).await?, base))
            }
            PipelineTrigger::Push => match self.sources.with_commits(repository, &both).await {
                // A forced push can leave nothing behind.
                Err(SourceError::Git(GitError::Vanished { sha })) if sha == *base => {
                    let because =
                        format!("{}, which was there before the push, is gone", base.short());
                    let repo = self.sources.with_commits(repository, alone).await?;
                    Ok((repo, Base::Unknown { because }))
                }
                repo => Ok((repo?, Base::After(base))),
            },
        }
    }

    /// The plans of earlier runs, if the run asks for those and they are there.
    async fn planned_before(&self, run: &Run) -> Result<Option<Planned>, PlanFailure> {
        if !matches!(run.scope.connectors(), Scope::Again { .. }) {
            return Ok(None);
        }
        let mut runs = self.store.runs_of_head(run.repository.id, &run.head_sha).await?;
        // Pointed at another base, it is another change.
        // And so it is before an approval.
        let guarded = run.trust.is_guarded();
        let same = |other: &Run| {
            other.pull == run.pull
                && other.base_ref == run.base_ref
                && other.trust.is_guarded() == guarded
        };
        runs.retain(|other| same(other) && other.id != run.id);
        let planned = planning::planned_before(&run.scope, &runs).transpose();
        Ok(planned.map_err(PlanningError::Unknown)?)
    }

    async fn failed(&self, lease: PlanningLease, failure: &PlanFailure) -> Result<(), StoreError> {
        if let PlanFailure::Planning(PlanningError::NoPipeline(_)) = failure {
            info!(run = %lease.run.id, "not kept: {failure}");
            return self.store.withdraw_run(lease).await;
        }
        warn!(run = %lease.run.id, attempt = lease.attempt, "planning failed: {failure}");
        if let PlanFailure::Planning(PlanningError::Unknown(_)) = failure {
            self.tell_asker(&lease.run, &format!("Not run: {failure}."), Decision::Refused).await;
        }
        if let Some(pause) = lease.waited.pause(failure.passing(), &failure.awaits()) {
            return self.store.retry_planning(lease, &pause).await;
        }
        let (conclusion, problem) = outcome(&lease.run, failure.problem());
        self.store.fail_planning(lease, conclusion, problem).await
    }

    /// A name that nothing has is answered where it was written.
    async fn tell_asker(&self, run: &Run, not: &str, decision: Decision) {
        let (store, github) = (&self.store, self.sources.github.as_ref());
        let commands = Commands { store, github, repository: &run.repository };
        if let Err(error) = commands.turned_out(run, not, decision).await {
            warn!(run = %run.id, "who asked for it was not told: {error}");
        }
    }
}

/// What a run comes to whose planning has failed for good. A stranger's commit waits for its approval
/// all the same: that is what somebody can do about it.
fn outcome(run: &Run, problem: Problem) -> (Conclusion, Problem) {
    let waits = run.problem.clone().filter(|waits| waits.kind == ProblemKind::NotTrusted);
    match waits {
        Some(waits) => (Conclusion::ActionRequired, waits.beside(problem.kind)),
        None => (Conclusion::Failure, problem),
    }
}

/// Turns what planning found into jobs, leaving out the steps that were not asked for.
fn to_store(planned: Planned) -> PlannedRun {
    let jobs = planned.jobs.into_iter().map(|job| {
        let ids = job.plan.steps().iter().map(|step| step.id.clone());
        // Whoever asks for whatever: of a stranger's code no other step begins.
        let before = job.plan.is_guarded().then(|| trust::before_approval(job.plan.steps()));
        let runs = |id: &StepId| {
            let asked = job.only.is_empty() || job.only.contains(id);
            asked && before.as_ref().is_none_or(|before| before.contains(id))
        };
        let left_out = ids.filter(|id| !runs(id)).collect();
        NewJob {
            id: JobId::new(ambient::ulid()),
            change: job.change,
            reasons: job.reasons,
            plan: job.plan,
            left_out,
        }
    });
    PlannedRun {
        merge_base: planned.merge_base,
        selection: planned.selection,
        jobs: jobs.collect(),
    }
}

#[derive(Debug, thiserror::Error)]
enum PlanFailure {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Planning(#[from] PlanningError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl PlanFailure {
    /// Would another try end otherwise?
    fn passing(&self) -> Passing {
        match self {
            Self::Source(error) => error.passing(),
            Self::Planning(PlanningError::Git(error)) => source::of_git(error),
            Self::Planning(_) => Passing::Never,
            Self::Store(_) | Self::Blobs(_) => Passing::Away(Duration::ZERO),
        }
    }

    fn awaits(&self) -> String {
        match self {
            Self::Source(error) => error.awaits(),
            Self::Planning(PlanningError::Git(error)) => source::git_awaits(error),
            // Whoever reads the check is told no addresses and paths of ours.
            Self::Store(_) => "the server's database does not answer".to_owned(),
            Self::Blobs(_) => "the server's object store does not answer".to_owned(),
            other @ Self::Planning(_) => other.to_string(),
        }
    }

    fn problem(&self) -> Problem {
        if let Self::Planning(PlanningError::Configuration(problem)) = self {
            return (**problem).clone();
        }
        if let Self::Planning(PlanningError::Unknown(_)) = self {
            let (title, text) = (format!("Not run: {self}"), format!("{self}."));
            return Problem { kind: ProblemKind::Configuration, title, text, place: None };
        }
        Problem {
            kind: ProblemKind::Infrastructure,
            title: "Infrastructure error: the change could not be read".to_owned(),
            text: format!(
                "{self}\n\nThis is not the connector's fault. Comment `/retest` to try again, or \
                 push a new commit if the old one is gone."
            ),
            place: None,
        }
    }
}
