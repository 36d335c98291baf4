//! Comments and buttons, through one layer: the same permission check, the same effects.

mod rerun;

use std::collections::BTreeSet;

use tracing::warn;

use super::trust::{self, Trust};
use crate::ambient;
use crate::domain::cache::Reuse;
use crate::domain::command::{self, Asked, Command, Tested};
use crate::domain::event::{Actor, Button, CheckFacts, PullFacts};
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, Sha, StepId};
use crate::domain::run::{Repository, Run};
use crate::domain::state::RunState;
use crate::domain::trigger::{Scope, Target, Trigger};
use crate::domain::verdict;
use crate::github::{Github, GithubError, Reaction, Retry};
use crate::render::replies;
use crate::store::{CommentAnswer, Created, Handled, NewRun, RunQuery, Store, StoreError};

/// Obeys commands.
pub(super) struct Commands<'a> {
    pub(super) store: &'a Store,
    pub(super) github: &'a Github,
    /// Where they were given.
    pub(super) repository: &'a Repository,
}

/// What is to be done, once a comment or button is understood.
#[derive(Debug, Default)]
pub(super) struct Effects {
    scope: Option<Scope>,
    /// No earlier result is to be used.
    afresh: bool,
    /// Runs to end, each with the connectors of it (none named: all).
    cancels: Vec<(RunId, Option<Vec<ConnectorName>>)>,
    /// A sentence each: what will happen.
    will: Vec<String>,
    /// A sentence each: what is not done, and why.
    not: Vec<String>,
}

impl Commands<'_> {
    /// Obeys a comment once, by its id.
    pub(super) async fn comment(
        &self,
        pull: u64,
        comment: u64,
        author: &Actor,
        body: &str,
    ) -> Result<Handled, Failure> {
        let asked = command::parse(body);
        if asked.is_empty() {
            return Ok(Handled::Ignored("the comment holds no command".to_owned()));
        }
        if author.bot {
            return Ok(Handled::Ignored("bots are not obeyed".to_owned()));
        }
        let answer = self.store.comment(self.repository.id, comment).await?;
        if answer.settled {
            return Ok(Handled::Done("obeyed already".to_owned()));
        }
        self.react(comment, Reaction::Eyes).await?;
        if !self.github.permission(self.repository, &author.login).await?.may_write() {
            let text = replies::may_not_write(&author.login);
            return self.refuse(pull, answer, &text).await;
        }
        let Some(facts) = self.github.pull(self.repository, pull).await?.filter(|facts| facts.open)
        else {
            return self.refuse(pull, answer, &replies::closed()).await;
        };
        // What the pull request's own events say of it is not to be written over by a comment's
        // earlier look.
        if self.store.pull(self.repository.id, pull).await?.is_none() {
            self.store.observe_pull(self.repository, &facts, false).await?;
        }
        if asked.commands.contains(&Command::Help) {
            return self.help(pull, answer).await;
        }
        let cause = format!("comment-{comment}");
        if self.made_a_run(pull, &cause).await? {
            // Obeyed before we could say so: judged again, its own run would be in its way.
            return self.accept(answer, "its run was made already".to_owned()).await;
        }
        let effects = self.effects(&facts, &asked).await?;
        let done = self.carry_out(&facts, author, &effects, (Trigger::Comment, cause)).await?;
        if effects.not.is_empty() && !effects.will.is_empty() {
            return self.accept(answer, done).await;
        }
        let text = replies::partly(&effects.will, &effects.not);
        self.refuse(pull, answer, &text).await?;
        Ok(Handled::Done(done))
    }

    /// Reactions are for the eye: where GitHub refuses them, in a locked conversation for instance, the
    /// command is obeyed all the same.
    async fn react(&self, comment: u64, reaction: Reaction) -> Result<(), Failure> {
        match self.github.react(self.repository, comment, reaction).await {
            Err(error) if error.retry() == Retry::Never => {
                warn!(comment, "no reaction: {error}");
                Ok(())
            }
            done => {
                done?;
                Ok(self.store.count_content(self.repository.installation).await?)
            }
        }
    }

    /// 🚀
    async fn accept(&self, answer: CommentAnswer, done: String) -> Result<Handled, Failure> {
        self.react(answer.comment, Reaction::Rocket).await?;
        let settled = CommentAnswer { settled: true, ..answer };
        self.store.answer_comment(self.repository.id, &settled).await?;
        Ok(Handled::Done(done))
    }

    async fn made_a_run(&self, pull: u64, cause: &str) -> Result<bool, Failure> {
        let query = RunQuery {
            repository: Some(self.repository.name.clone()),
            pull: Some(pull),
            limit: 50,
            ..RunQuery::default()
        };
        let runs = self.store.runs(&query).await?;
        Ok(runs.iter().any(|run| run.trigger == Trigger::Comment && run.cause == cause))
    }

    /// 😕 and one reply, edited rather than repeated.
    pub(super) async fn refuse(
        &self,
        pull: u64,
        answer: CommentAnswer,
        text: &str,
    ) -> Result<Handled, Failure> {
        self.react(answer.comment, Reaction::Confused).await?;
        self.reply(pull, answer, text).await?;
        Ok(Handled::Done(text.lines().next().unwrap_or_default().to_owned()))
    }

    async fn help(&self, pull: u64, answer: CommentAnswer) -> Result<Handled, Failure> {
        self.reply(pull, answer, command::help()).await?;
        Ok(Handled::Done("helped".to_owned()))
    }

    pub(super) async fn reply(
        &self,
        pull: u64,
        mut answer: CommentAnswer,
        text: &str,
    ) -> Result<(), Failure> {
        // Its mark finds a reply that was made by a process that died before it could note so.
        let mark = format!("<!-- checkvalve answers {} -->", answer.comment);
        if answer.reply.is_none() {
            answer.reply = self.github.find_comment(self.repository, pull, &mark).await?;
        }
        let text = format!("{text}\n\n{mark}");
        if let Some(reply) = answer.reply {
            self.github.edit_comment(self.repository, reply, &text).await?;
        } else {
            answer.reply = Some(self.github.comment(self.repository, pull, &text).await?);
            self.store.count_content(self.repository.installation).await?;
        }
        answer.settled = true;
        Ok(self.store.answer_comment(self.repository.id, &answer).await?)
    }

    /// A command approves nothing: who pushed the head counts, not who writes the command.
    async fn trust(&self, pull: &PullFacts, runs: &[Run]) -> Result<Trust, Failure> {
        let pusher = trust::pusher_of(runs, pull.number);
        Ok(trust::judge(self.github, self.repository, pull, pusher).await?)
    }

    pub(super) async fn effects(
        &self,
        pull: &PullFacts,
        asked: &Asked,
    ) -> Result<Effects, Failure> {
        let (not, afresh) = (asked.problems.clone(), asked.no_cache);
        let mut effects = Effects { afresh, not, ..Effects::default() };
        let wants_code =
            asked.commands.iter().any(|c| matches!(c, Command::Test(_) | Command::Retest(_)));
        let runs = self.store.runs_of_head(self.repository.id, &pull.head_sha).await?;
        if wants_code && let Some(doubt) = self.trust(pull, &runs).await?.doubt(pull) {
            effects.not.push(replies::code_not_trusted(&doubt));
            return Ok(effects);
        }
        for command in &asked.commands {
            match command {
                Command::Test(tested) => test(&mut effects, tested),
                Command::Retest(named) => retest(&mut effects, &runs, named),
                Command::Cancel(named) => cancel(&mut effects, &runs, named),
                Command::OkToTest(_) => effects.not.push(replies::no_approvals_yet()),
                Command::Help => {}
            }
        }
        if let Some(step) = &asked.from
            && let Some(of) = effects.scope.take()
        {
            effects.will.push(replies::begins_at(step));
            effects.scope = Some(Scope::From { step: step.clone(), of: Box::new(of) });
        }
        Ok(effects)
    }

    async fn carry_out(
        &self,
        pull: &PullFacts,
        actor: &Actor,
        effects: &Effects,
        (trigger, cause): (Trigger, String),
    ) -> Result<String, Failure> {
        let mut done = Vec::new();
        for (run, connectors) in &effects.cancels {
            let why = format!("cancelled by {}", actor.login);
            let asked = self.store.cancel_run(*run, connectors.as_deref(), &why).await?;
            done.push(format!("{asked} job(s) of {run} asked to end"));
        }
        if let Some(scope) = &effects.scope {
            let run = NewRun {
                trigger,
                cause,
                actor: actor.login.clone(),
                scope: scope.clone(),
                reuse: if effects.afresh { Reuse::Never } else { Reuse::Success },
                ..new_run(self.repository, pull)
            };
            done.push(match self.store.create_run(run).await? {
                Created::Fresh(id) => format!("made {id}"),
                Created::Exists(id) => format!("{id} is for this already"),
                Created::Outdated => "the head is another by now".to_owned(),
            });
        }
        Ok(done.join("; "))
    }

    /// "Re-run" on one of our check runs, or one of our buttons.
    pub(super) async fn button(
        &self,
        check: &CheckFacts,
        button: &Button,
        sender: &Actor,
    ) -> Result<Handled, Failure> {
        if check.app_id != self.github.app_id().await? {
            return Ok(Handled::Ignored("another App's check run".to_owned()));
        }
        let (pull, runs) = match self.pull_of_head(&check.head_sha, sender).await? {
            Ok(found) => found,
            Err(ignored) => return Ok(ignored),
        };
        let mut effects = Effects::default();
        match (button, &check.name) {
            (Button::Rerun, name) => rerun::check(&mut effects, &runs, name),
            (Button::Action(action), _) if action == "retest" => {
                retest(&mut effects, &runs, &[]);
            }
            (Button::Action(action), _) if action == "test" => {
                test(&mut effects, &Tested::Affected);
            }
            (Button::Action(action), _) if action == "cancel" => {
                cancel(&mut effects, &runs, &[]);
            }
            (Button::Action(action), _) => {
                return Ok(Handled::Ignored(format!("no button is called `{action}`")));
            }
        }
        let what = match button {
            Button::Rerun => "rerun",
            Button::Action(action) => action,
        };
        let cause = format!("check-run-{}-{what}", check.id);
        self.press(&pull, sender, &effects, cause).await
    }

    /// "Re-run all checks": everything that is affected, unless something still runs.
    pub(super) async fn suite(
        &self,
        suite: u64,
        head: &Sha,
        sender: &Actor,
        guid: &str,
    ) -> Result<Handled, Failure> {
        let (pull, runs) = match self.pull_of_head(head, sender).await? {
            Ok(found) => found,
            Err(ignored) => return Ok(ignored),
        };
        let mut effects = Effects::default();
        if runs.iter().any(|run| run.state != RunState::Concluded) {
            effects.not.push("what runs now is left alone".to_owned());
        } else {
            test(&mut effects, &Tested::Affected);
        }
        let cause = format!("check-suite-{suite}-{guid}");
        self.press(&pull, sender, &effects, cause).await
    }

    pub(super) async fn press(
        &self,
        pull: &PullFacts,
        sender: &Actor,
        effects: &Effects,
        cause: String,
    ) -> Result<Handled, Failure> {
        if effects.scope.is_none() && effects.cancels.is_empty() {
            return Ok(Handled::Ignored(effects.not.join("; ")));
        }
        let by = (Trigger::Button, cause);
        Ok(Handled::Done(self.carry_out(pull, sender, effects, by).await?))
    }

    /// The open pull request that has this commit as its head now, if `sender` may command it and
    /// its code is trusted; else why nothing is done.
    async fn pull_of_head(
        &self,
        head: &Sha,
        sender: &Actor,
    ) -> Result<Result<(PullFacts, Vec<Run>), Handled>, Failure> {
        let ignored = |why: &str| Ok(Err(Handled::Ignored(why.to_owned())));
        if !self.github.permission(self.repository, &sender.login).await?.may_write() {
            return ignored("the sender may not write");
        }
        let runs = self.store.runs_of_head(self.repository.id, head).await?;
        let numbers: BTreeSet<u64> = runs.iter().filter_map(|run| run.pull).collect();
        for number in numbers {
            let Some(pull) = self.github.pull(self.repository, number).await? else { continue };
            if !pull.open || pull.head_sha != *head {
                continue;
            }
            if self.trust(&pull, &runs).await? != Trust::Trusted {
                return ignored("the code of this pull request is not trusted");
            }
            return Ok(Ok((pull, runs)));
        }
        ignored("no open pull request has this commit as its head")
    }
}

/// `/test`: more than one of them in a comment work together.
fn test(effects: &mut Effects, tested: &Tested) {
    let scope = match tested {
        Tested::Affected => Scope::Affected,
        Tested::All => Scope::All,
        Tested::Named(targets) => Scope::Only { targets: targets.clone() },
    };
    effects.will.push(match &scope {
        Scope::Affected => "Everything that the change affects runs again.".to_owned(),
        Scope::All => "Every connector runs.".to_owned(),
        Scope::Matching { select } => format!("Runs: {select}."),
        Scope::Only { targets } | Scope::Again { targets } => {
            format!("Runs: {}.", replies::targets(targets))
        }
        Scope::From { step, .. } => replies::begins_at(step),
    });
    effects.scope = Some(Scope::join(effects.scope.take(), scope));
}

/// `/retest`: what did not succeed and what never ran; what runs now is left alone.
fn retest(effects: &mut Effects, runs: &[Run], named: &[Target]) {
    if runs.is_empty() {
        test(effects, &Tested::Affected);
        return;
    }
    let unplanned = runs.iter().all(|run| run.selection.is_none());
    if unplanned && runs.iter().all(|run| run.state == RunState::Concluded) {
        test(effects, &Tested::Affected);
        return;
    }
    let jobs = || runs.iter().flat_map(|run| &run.jobs);
    let wanted = |connector: &ConnectorName, step: &StepId| {
        let is_called = |name: &str| {
            let of_connector = jobs().filter(|job| job.connector == *connector);
            of_connector.filter_map(|job| job.plan.step(step)).any(|spec| spec.is_called(name))
        };
        let hits = |target: &Target| {
            target.connector.eq_ignore_ascii_case(connector.as_str())
                && target.step.as_deref().is_none_or(is_called)
        };
        named.is_empty() || named.iter().any(hits)
    };
    let mut targets = Vec::new();
    for (connector, steps) in verdict::to_retest(runs) {
        for step in steps.iter().filter(|step| wanted(&connector, step)) {
            let (connector, step) = (connector.to_string(), Some(step.to_string()));
            targets.push(Target { connector, step });
        }
    }
    for target in named {
        if !targets.iter().any(|t| t.connector.eq_ignore_ascii_case(&target.connector)) {
            effects.not.push(replies::nothing_to_retest(target, runs));
        }
    }
    if targets.is_empty() {
        if named.is_empty() {
            effects.not.push("Nothing is run again: what counts is green, or runs now.".to_owned());
        }
        return;
    }
    effects.will.push(format!("Runs again, as planned: {}.", replies::targets(&targets)));
    effects.scope = Some(Scope::join(effects.scope.take(), Scope::Again { targets }));
}

fn cancel(effects: &mut Effects, runs: &[Run], named: &[Target]) {
    let connectors: Vec<ConnectorName> =
        named.iter().filter_map(|target| target.connector.parse().ok()).collect();
    let before = effects.cancels.len();
    for run in runs.iter().filter(|run| run.state != RunState::Concluded) {
        effects.cancels.push((run.id, (!named.is_empty()).then(|| connectors.clone())));
    }
    if effects.cancels.len() == before {
        effects.not.push("Nothing is cancelled: nothing runs or waits.".to_owned());
    } else {
        effects.will.push("What runs or waits is cancelled.".to_owned());
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
}
