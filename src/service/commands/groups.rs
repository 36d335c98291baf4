//! Buttons on the check runs of a merge group: its commit is no pull request's, but of one that somebody
//! opened with it.

use super::buttons::{handled, unconcluded_cause};
use super::effects::Effects;
use super::{Commands, Failure};
use crate::ambient;
use crate::domain::audit::Ruling;
use crate::domain::cache::Reuse;
use crate::domain::event::Actor;
use crate::domain::ids::RunId;
use crate::domain::names::Sha;
use crate::domain::run::Run;
use crate::domain::state::RunState;
use crate::domain::trigger::{Scope, Trigger};
use crate::domain::trust::Trust;
use crate::render::checks::{is_for_group, step_of_check};
use crate::render::replies;
use crate::store::{Act, Created, Done, Handled, NewRun, Orders};

/// A merge group that a button on its commit means.
pub(super) struct Group {
    /// Its runs of the commit, oldest first.
    pub(super) runs: Vec<Run>,
    newest: Run,
    /// It was merged, or taken out of the queue.
    gone: bool,
}

impl Commands<'_> {
    /// The merge group that has this commit: one that is in the queue, whoever has the commit beside it;
    /// or one that is gone, where no pull request has had it.
    pub(super) async fn group_of_head(&self, head: &Sha) -> Result<Option<Group>, Failure> {
        let mut runs = self.store.runs_of_head(self.repository.id, head).await?;
        let has_pull = runs.iter().any(|run| run.pull.is_some());
        runs.retain(|run| run.pull.is_none() && !run.trigger.is_of_branch());
        let gone = self.store.gone_groups(self.repository.id, head).await?;
        let is_gone = |run: &Run| gone.contains(&run.head_ref);
        let queued = runs.iter().rfind(|run| !is_gone(run));
        let Some(newest) = queued.or(runs.last().filter(|_| !has_pull)).cloned() else {
            return Ok(None);
        };
        let gone = is_gone(&newest);
        runs.retain(|run| run.head_ref == newest.head_ref);
        Ok(Some(Group { runs, newest, gone }))
    }

    /// Does what is asked of it, for whoever may command. Its code is trusted: who may write enqueued it.
    pub(super) async fn on_group(
        &self,
        act: Act,
        sender: &Actor,
        group: &Group,
        (effects, cause): (&Effects, String),
    ) -> Result<Handled, Failure> {
        // There is no pull request's page to tell it on.
        let about = Some(group.newest.id);
        let may_not = self.may_not(sender).await?;
        if let Some(why) = may_not.or_else(|| group.gone.then(replies::group_is_gone)) {
            let orders = Orders { about, ..Orders::default() };
            let ruling = Ruling::refused(why);
            return Ok(handled(&self.store.obey(&act, &orders, &|_| ruling.clone()).await?));
        }
        let asked = |scope: Scope| NewRun {
            trigger: Trigger::Button,
            cause: unconcluded_cause(&group.runs, cause),
            actor: act.actor.clone(),
            scope,
            reuse: if effects.afresh { Reuse::Never } else { Reuse::Success },
            ..group.new_run()
        };
        let cancels = effects.cancel_orders(&act.actor);
        let run = effects.scope.clone().map(asked);
        let orders = Orders { approval: None, cancels, run, about };
        let judge = |done: &Done| match done.made {
            // It has ended since we looked.
            Some(Created::Outdated) => Ruling::refused(replies::group_is_gone()),
            Some(Created::Fresh(_) | Created::Exists(_)) | None => effects.ruling(done),
        };
        Ok(handled(&self.store.obey(&act, &orders, &judge).await?))
    }
}

impl Group {
    /// Is a check run of this name not another's alone?
    pub(super) fn is_meant(&self, check: &str) -> bool {
        let Run { base_ref, head_ref, .. } = &self.newest;
        let whose = step_of_check(check).and_then(|(.., whose)| whose);
        whose.is_none_or(|whose| is_for_group(whose, base_ref, head_ref))
    }

    /// What has not ended.
    pub(super) fn open(&self) -> Vec<Run> {
        self.runs.iter().filter(|run| run.state != RunState::Concluded).cloned().collect()
    }

    /// A run of it; trigger, cause, actor and scope are the caller's.
    fn new_run(&self) -> NewRun {
        let of = self.newest.clone();
        NewRun {
            id: RunId::new(ambient::ulid()),
            repository: of.repository,
            pull: None,
            title: of.title,
            head_ref: of.head_ref,
            base_ref: of.base_ref,
            head_sha: of.head_sha,
            base_sha: of.base_sha,
            trigger: Trigger::Manual,
            cause: String::new(),
            actor: String::new(),
            scope: Scope::Affected,
            reuse: Reuse::Success,
            trust: Trust::Trusted,
            problem: None,
        }
    }
}
