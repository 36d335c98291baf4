//! Approvals: a stranger's commit, looked at by somebody who may, runs as a writer's would.

use super::effects::Effects;
use super::{Commands, Failure, new_run};
use crate::domain::audit::Route;
use crate::domain::cache::Reuse;
use crate::domain::command;
use crate::domain::event::{Actor, PullFacts};
use crate::domain::ids::RunId;
use crate::domain::run::{Problem, Run};
use crate::domain::state::{Conclusion, RunState};
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::domain::trust::Trust;
use crate::render::replies;
use crate::service::trust::{self, Bench, Judgement};
use crate::store::{Act, ApprovalOrder, CancelOrder, NewRun};

/// Who asks, and how.
#[derive(Clone, Copy)]
pub(in crate::service) struct Asker<'a> {
    pub(in crate::service) actor: &'a Actor,
    pub(in crate::service) route: Route,
    /// When, by GitHub's clock, if that is told.
    pub(in crate::service) written: Option<Timestamp>,
}

/// What is to become of the head's approval.
#[derive(Debug, Clone)]
pub(super) enum Approval {
    /// What of it ran before ends: the run that it makes has all of it.
    Give { instead_of: Vec<RunId> },
    /// What ran by it ends, and it waits again, for this reason.
    Withdraw { ends: Vec<RunId>, trust: Trust, problem: Option<Problem> },
}

impl Approval {
    pub(super) fn order(&self, pull: &PullFacts) -> ApprovalOrder {
        let head = pull.head_sha.clone();
        match self {
            Self::Give { .. } => ApprovalOrder::Give { head, base_ref: pull.base_ref.clone() },
            Self::Withdraw { .. } => ApprovalOrder::Withdraw { head },
        }
    }

    pub(super) fn ends(&self, actor: &str) -> Vec<CancelOrder> {
        let (runs, why) = match self {
            Self::Give { instead_of } => (instead_of, format!("{actor} approved the commit")),
            Self::Withdraw { ends, .. } => (ends, format!("{actor} took the approval back")),
        };
        let order = |run: &RunId| CancelOrder { run: *run, connectors: None, why: why.clone() };
        runs.iter().map(order).collect()
    }
}

impl Commands<'_> {
    /// `/ok-to-test`, and the button. Everything is asked for anew: what may not be taken back must not
    /// rest on what was true a minute ago.
    pub(super) async fn approve(
        &self,
        effects: &mut Effects,
        (pull, runs): (&PullFacts, &[Run]),
        (judged, what): (&Judgement, Option<&str>),
        person: &Asker<'_>,
    ) -> Result<(), Failure> {
        if let Some(why) = self.may_not_approve(person).await? {
            effects.not.push(why);
            return Ok(());
        }
        if what == Some(command::TAKE_BACK) {
            self.withdraw(effects, (pull, runs), judged).await?;
            return Ok(());
        }
        let not = match (judged, what) {
            (Judgement::Trusted, _) => Some(replies::nothing_to_approve()),
            (_, Some(given)) if !pull.head_sha.as_str().starts_with(given) => {
                Some(replies::not_the_head(given, &pull.head_sha))
            }
            (_, None) if !(was_known(runs, person.written) && self.is_unmoved(pull).await?) => {
                Some(replies::which_commit(&pull.head_sha))
            }
            (Judgement::Approved(by), _) => Some(replies::approved_already(by)),
            (Judgement::Author | Judgement::Pusher(_), _) => None,
        };
        if let Some(not) = not {
            effects.not.push(not);
        } else {
            let instead_of = open(runs, Trust::Untrusted);
            effects.approval = Some(Approval::Give { instead_of });
        }
        Ok(())
    }

    /// Can only this commit be meant, whenever somebody looked? One that was pushed away and back may
    /// have been known for long, and not be what was looked at.
    async fn is_unmoved(&self, pull: &PullFacts) -> Result<bool, Failure> {
        Ok(self.store.is_as_first_seen(self.repository.id, pull).await?)
    }

    async fn withdraw(
        &self,
        effects: &mut Effects,
        (pull, runs): (&PullFacts, &[Run]),
        judged: &Judgement,
    ) -> Result<(), Failure> {
        if !matches!(judged, Judgement::Approved(_)) {
            effects.not.push(replies::nothing_to_take_back());
            return Ok(());
        }
        let Self { store, github, repository } = *self;
        let pusher = store.pusher(repository.id, pull.number, &pull.head_sha).await?;
        let bench = Bench { store, github, repository };
        let without = bench.judge_people(pull, pusher.as_deref()).await?;
        effects.approval = Some(Approval::Withdraw {
            ends: open(runs, Trust::Approved),
            trust: without.trust(),
            problem: without.problem(pull),
        });
        Ok(())
    }

    /// Why somebody may not approve, by what is true now; `None` if they may.
    async fn may_not_approve(&self, person: &Asker<'_>) -> Result<Option<String>, Failure> {
        let Asker { actor, route, .. } = *person;
        if actor.bot {
            return Ok(Some(replies::bots_approve_nothing(&actor.login)));
        }
        match route {
            Route::Comment | Route::Button => {}
            Route::Rerun | Route::RerunAll | Route::Label | Route::Api => {
                return Ok(Some(replies::approved_by_comment_or_button()));
            }
        }
        let policy = trust::policy(self.github, self.repository, true).await?;
        let permission = self.github.permission_now(self.repository, &actor.login).await?;
        let may = permission >= policy.approve;
        Ok((!may).then(|| replies::may_not_approve(&actor.login, policy.approve)))
    }

    /// The pull request's own run, as it is with the approval, or without it.
    pub(super) async fn run_of(
        &self,
        approval: &Approval,
        pull: &PullFacts,
        act: &Act,
    ) -> Result<NewRun, Failure> {
        let seen = self.store.pull(self.repository.id, pull.number).await?;
        let generation = seen.map_or(1, |seen| seen.generation);
        let (approved, trust, problem) = match approval {
            Approval::Give { .. } => (true, Trust::Approved, None),
            Approval::Withdraw { trust, problem, .. } => (false, *trust, problem.clone()),
        };
        Ok(NewRun {
            trigger: Trigger::PullRequest,
            cause: trust::cause_by(generation, approved, &act.cause),
            actor: act.actor.clone(),
            reuse: Reuse::All,
            trust,
            problem: problem.map(|problem| (Conclusion::ActionRequired, problem)),
            ..new_run(self.repository, pull)
        })
    }
}

/// Was the head known when this was written? By our own database's clock, in whole seconds against
/// those who ask: within the second nobody can have looked at it.
fn was_known(runs: &[Run], written: Option<Timestamp>) -> bool {
    let first = runs.iter().map(|run| run.created_at).min();
    first.zip(written).is_some_and(|(known, written)| known <= written)
}

fn open(runs: &[Run], trust: Trust) -> Vec<RunId> {
    let is_open = |run: &&Run| run.trust == trust && run.state != RunState::Concluded;
    runs.iter().filter(is_open).map(|run| run.id).collect()
}
