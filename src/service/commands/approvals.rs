//! Approvals: a stranger's commit, looked at by somebody who may, runs as a writer's would.

use std::time::Duration;

use super::comments::{asked_in, comment_of};
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
    /// The comment in which it was written.
    pub(in crate::service) comment: Option<u64>,
}

/// A comment that is heard so long after it was written is heard late: its event was lost, or nobody was
/// there. Before that our clock, GitHub's and the order of events tell nothing.
const LATE: Duration = Duration::from_mins(2);

/// What is to become of the head's approval.
#[derive(Debug, Clone)]
pub(super) enum Approval {
    /// What of it ran before ends: the run that it makes has all of it. `known`: in which generation
    /// the pull request was known when GitHub said last that this is its head.
    Give { instead_of: Vec<RunId>, known: Option<i64> },
    /// What ran by it ends, and it waits again, for this reason.
    Withdraw { ends: Vec<RunId>, trust: Trust, problem: Option<Problem> },
}

impl Approval {
    pub(super) fn order(&self, pull: &PullFacts) -> ApprovalOrder {
        let head = pull.head_sha.clone();
        match self {
            Self::Give { known, .. } => {
                ApprovalOrder::Give { head, base_ref: pull.base_ref.clone(), known: *known }
            }
            Self::Withdraw { .. } => ApprovalOrder::Withdraw { head },
        }
    }

    pub(super) fn ends(&self, actor: &str) -> Vec<CancelOrder> {
        let (runs, why) = match self {
            Self::Give { instead_of, .. } => (instead_of, format!("{actor} approved the commit")),
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
            self.withdraw(effects, (pull, runs), judged, person).await?;
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
            return Ok(());
        }
        // What we know may be older than what GitHub says: its event may be late, or lost. What is seen
        // from here on is newer.
        let known = self.store.pull(self.repository.id, pull.number).await?;
        let known = known.map(|known| known.generation);
        let now = self.github.pull(self.repository, pull.number).await?;
        let same = |now: PullFacts| {
            now.open && now.head_sha == pull.head_sha && now.base_ref == pull.base_ref
        };
        if same(now) {
            let instead_of = open(runs, Trust::Untrusted);
            effects.approval = Some(Approval::Give { instead_of, known });
        } else {
            effects.not.push(replies::approved_before());
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
        person: &Asker<'_>,
    ) -> Result<(), Failure> {
        if !matches!(judged, Judgement::Approved(_)) {
            effects.not.push(replies::nothing_to_take_back());
            return Ok(());
        }
        let Self { store, github, repository } = *self;
        if let Some(approval) = store.approval(repository.id, pull).await? {
            let given = (approval.at, comment_of(&approval.cause));
            if came_later(given, person, store.time().await?) {
                effects.not.push(replies::approved_later(&approval.actor));
                return Ok(());
            }
        }
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

/// Was the run made after this was written? Then it was not meant, where that is heard late. An end by mistake
/// is seen, and one word mends it; a word that came in time and is not obeyed is worse. Of two comments, GitHub's
/// numbers tell which came first; else GitHub tells whole seconds: what was made within the second may have been
/// there.
pub(super) fn is_later(run: &Run, person: &Asker<'_>, now: Timestamp) -> bool {
    came_later((run.created_at, asked_in(run)), person, now)
}

/// The same of whatever was made `at` this time, by this comment.
fn came_later((at, of): (Timestamp, Option<u64>), person: &Asker<'_>, now: Timestamp) -> bool {
    let Some(written) = person.written.filter(|written| now.since(*written) >= LATE) else {
        return false;
    };
    match (of, person.comment) {
        (Some(of), Some(comment)) => of > comment,
        _ => at >= written.plus(Duration::from_secs(1)),
    }
}

fn open(runs: &[Run], trust: Trust) -> Vec<RunId> {
    let is_open = |run: &&Run| run.trust == trust && run.state != RunState::Concluded;
    runs.iter().filter(is_open).map(|run| run.id).collect()
}
