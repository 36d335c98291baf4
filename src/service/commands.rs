//! Comments and buttons, through one layer: the same permission check, the same effects, the same
//! record.

mod approvals;
mod buttons;
mod comments;
mod effects;
mod groups;
mod meant;
mod owed;

use std::time::Duration;

pub(super) use self::approvals::Asker;
pub(super) use self::buttons::handled;
use self::effects::Effects;
pub use self::owed::{Answers, PERIOD};
use super::trust::{self, Bench, Judgement};
use crate::ambient;
use crate::domain::audit::{AuditRecord, Decision, Ruling};
use crate::domain::cache::Reuse;
use crate::domain::command::{Asked, Command};
use crate::domain::event::{Actor, PullFacts};
use crate::domain::ids::RunId;
use crate::domain::run::{Repository, Run};
use crate::domain::trigger::{Scope, Trigger};
use crate::domain::trust::Trust;
use crate::github::{Github, GithubError};
use crate::render::replies;
use crate::store::{Act, NewRun, Orders, Store, StoreError};

/// Obeys commands.
pub(super) struct Commands<'a> {
    pub(super) store: &'a Store,
    pub(super) github: &'a Github,
    /// Where they were given.
    pub(super) repository: &'a Repository,
}

impl Commands<'_> {
    /// Our own account: what it says and presses is no command.
    async fn is_ourselves(&self, actor: &Actor) -> Result<bool, Failure> {
        Ok(actor.bot && actor.login.eq_ignore_ascii_case(&self.github.login().await?))
    }

    /// Why somebody is not obeyed; `None` if they are.
    async fn may_not(&self, actor: &Actor) -> Result<Option<String>, Failure> {
        let policy = trust::policy(self.github, self.repository, false).await?;
        if actor.bot {
            let listed = policy.lets_bot(&actor.login);
            return Ok((!listed).then(|| replies::bots_may_not(&actor.login)));
        }
        let permission = self.github.permission(self.repository, &actor.login).await?;
        let may = permission >= policy.approve;
        Ok((!may).then(|| replies::may_not_command(&actor.login, policy.approve)))
    }

    /// A command approves nothing: who pushed the head counts, not who writes the command.
    async fn judge(&self, pull: &PullFacts) -> Result<Judgement, Failure> {
        let Self { store, github, repository } = *self;
        let pusher = store.pusher(repository.id, pull.number, &pull.head_sha).await?;
        Bench { store, github, repository }.judge(pull, pusher.as_deref()).await
    }

    /// Two pull requests can share a head commit; each has commands of its own.
    async fn runs_of(&self, pull: &PullFacts) -> Result<Vec<Run>, Failure> {
        let mut runs = self.store.runs_of_head(self.repository.id, &pull.head_sha).await?;
        runs.retain(|run| run.pull == Some(pull.number));
        Ok(runs)
    }

    pub(super) async fn effects(
        &self,
        pull: &PullFacts,
        asked: &Asked,
        person: &Asker<'_>,
    ) -> Result<Effects, Failure> {
        let mut effects = Effects::new(asked);
        let weighs = |command: &Command| match command {
            Command::Test(_) | Command::Retest(_) | Command::OkToTest(_) => true,
            Command::Cancel(_) | Command::Help => false,
        };
        let runs = self.runs_of(pull).await?;
        let mut doubt = None;
        if asked.commands.iter().any(weighs) {
            let judged = self.judge(pull).await?;
            effects.trust = judged.trust();
            doubt = judged.doubt(pull);
            // First, since what else the comment asks for may follow from it.
            for command in &asked.commands {
                if let Command::OkToTest(what) = command {
                    let of = (pull, runs.as_slice());
                    self.approve(&mut effects, of, (&judged, what.as_deref()), person).await?;
                }
            }
        }
        let starts = |command: &Command| matches!(command, Command::Test(_) | Command::Retest(_));
        let changes = effects.approval.is_some();
        if let Some(doubt) = doubt.filter(|_| !changes && asked.commands.iter().any(starts)) {
            effects.not.push(replies::code_not_trusted(&doubt, &pull.head_sha));
        }
        let refused = effects.trust.is_guarded();
        for command in &asked.commands {
            match command {
                Command::Test(_) | Command::Retest(_) if changes => effects.with_approval(command),
                Command::Test(_) | Command::Retest(_) if refused => {}
                Command::Test(tested) => effects.test(tested),
                Command::Retest(named) => effects.retest(&runs, named),
                Command::Cancel(named) => {
                    let mut open = self.store.open_runs(self.repository.id, pull.number).await?;
                    let all = open.len();
                    let now = self.store.time().await?;
                    open.retain(|run| !approvals::is_later(run, person, now));
                    effects.cancel_earlier((&open, all), &runs, named);
                }
                Command::OkToTest(_) => {}
                Command::Help => effects.help = true,
            }
        }
        if let Some(step) = &asked.from {
            effects.begin_at(step);
        }
        Ok(effects)
    }

    /// Does what is asked for and writes it down, once for each act.
    pub(super) async fn carry_out(
        &self,
        act: &Act,
        pull: &PullFacts,
        effects: &Effects,
        (trigger, cause): (Trigger, String),
    ) -> Result<AuditRecord, Failure> {
        let mut cancels = effects.cancel_orders(&act.actor);
        let (approval, run) = match &effects.approval {
            Some(approval) => {
                cancels.extend(approval.ends(&act.actor));
                let run = self.run_of(approval, pull, act).await?;
                (Some(approval.order(pull)), Some(run))
            }
            None => (None, None),
        };
        let asked = effects.scope.clone().map(|scope| NewRun {
            trigger,
            cause,
            actor: act.actor.clone(),
            scope,
            reuse: if effects.afresh { Reuse::Never } else { Reuse::Success },
            trust: effects.trust,
            ..new_run(self.repository, pull)
        });
        let orders = Orders { approval, cancels, run: run.or(asked), about: None };
        Ok(self.store.obey(act, &orders, &|done| effects.ruling(done)).await?)
    }

    /// Nothing is done, and why is written down.
    async fn refused(&self, act: &Act, because: String) -> Result<AuditRecord, Failure> {
        let ruling = Ruling::refused(because);
        Ok(self.store.obey(act, &Orders::default(), &|_| ruling.clone()).await?)
    }

    /// A run that was asked for could not do all of it: the record says so, and the comment is
    /// answered.
    pub(super) async fn turned_out(
        &self,
        run: &Run,
        not: &str,
        decision: Decision,
    ) -> Result<(), Failure> {
        let repository = self.repository.id;
        let Some(made) = self.store.audit_of_run(repository, run.id).await?.pop() else {
            return Ok(());
        };
        let ruling = match decision {
            // Only that run was asked for.
            Decision::Refused if made.runs.len() < 2 => Ruling::refused(not),
            Decision::Refused | Decision::Partly | Decision::Accepted => {
                made.ruling.without(not, Decision::Partly)
            }
        };
        let comment = comments::asked_in(run);
        let is_new = self.store.amend_audit(repository, (&made.cause, comment), &ruling).await?;
        match comment.filter(|_| is_new) {
            // Should it fail now, it is owed, and said later.
            Some(comment) => self.say_again(comment).await,
            None => Ok(()),
        }
    }
}

/// A run for this pull request as it is now; trigger, cause, actor and scope are the caller's.
pub(super) fn new_run(repository: &Repository, pull: &PullFacts) -> NewRun {
    NewRun {
        id: RunId::new(ambient::ulid()),
        repository: repository.clone(),
        pull: Some(pull.number),
        title: pull.title.clone(),
        head_ref: pull.head_ref.clone(),
        base_ref: pull.base_ref.clone(),
        head_sha: pull.head_sha.clone(),
        base_sha: pull.base_sha.clone(),
        trigger: Trigger::Manual,
        cause: String::new(),
        actor: String::new(),
        scope: Scope::Affected,
        reuse: Reuse::Success,
        trust: Trust::Untrusted,
        problem: None,
    }
}

/// Why acting on a delivery failed: ours or GitHub's, never the delivery's.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Github(#[from] GithubError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was asked for is done; the answer has to wait so long.
    #[error("there is no room in GitHub's limits to answer for another {} s", .0.as_secs())]
    Budget(Duration),
    /// What was asked for is done; whether the answer is there is looked at again after so long.
    #[error("GitHub may show an answer that it took within another {} s", .0.as_secs())]
    Unsure(Duration),
}
