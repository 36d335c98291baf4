//! Commands in comments: seen, decided, answered, each once.

use tracing::warn;

use super::{Asker, Commands, Failure};
use crate::domain::audit::{AuditRecord, Decision, Route, Ruling};
use crate::domain::command::{self, Asked, Command};
use crate::domain::event::Actor;
use crate::domain::run::Run;
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::github::{Reaction, Retry};
use crate::render::replies;
use crate::store::{Act, CommentAnswer, Handled};

/// The cause of what a comment asks for, and of its run.
const CAUSE: &str = "comment-";

impl Commands<'_> {
    /// Obeys a comment once, by its id, whichever delivery brings it.
    pub(in super::super) async fn comment(
        &self,
        pull: u64,
        comment: u64,
        (author, written): (&Actor, Option<Timestamp>),
        body: &str,
    ) -> Result<Handled, Failure> {
        let asked = command::parse(body);
        if asked.is_empty() {
            return Ok(Handled::Ignored("the comment holds no command".to_owned()));
        }
        if self.is_ourselves(author).await? {
            return Ok(Handled::Ignored("the comment is our own".to_owned()));
        }
        let answer = self.store.comment(self.repository.id, comment).await?;
        if answer.settled {
            return Ok(Handled::Done("obeyed already".to_owned()));
        }
        let act = Act {
            repository: self.repository.clone(),
            pull: Some(pull),
            head: None,
            actor: author.login.clone(),
            route: Route::Comment,
            cause: format!("{CAUSE}{comment}"),
            asked: asked.to_string(),
        };
        let help = asked.commands.contains(&Command::Help);
        // Decided by a process that died before it could say so: judged again, its own effects would
        // be in its way.
        if let Some(record) = self.store.audited(self.repository.id, &act.cause).await? {
            return self.answer(pull, answer, (&record, help), author).await;
        }
        if author.bot
            && let Some(why) = self.may_not(author).await?
        {
            // Two bots that answer each other would never end.
            self.refused(&act, why.clone()).await?;
            let settled = CommentAnswer { settled: true, ..answer };
            self.store.answer_comment(self.repository.id, &settled).await?;
            return Ok(Handled::Ignored(why));
        }
        self.react(comment, Reaction::Eyes).await?;
        let person = Asker { actor: author, route: Route::Comment, written };
        let record = self.decide(act, &person, (&asked, Trigger::Comment)).await?;
        self.answer(pull, answer, (&record, help), author).await
    }

    /// Judges the author, and does what may be done.
    pub(in super::super) async fn decide(
        &self,
        mut act: Act,
        person: &Asker<'_>,
        (asked, trigger): (&Asked, Trigger),
    ) -> Result<AuditRecord, Failure> {
        // Who approves is asked about anew, and by itself.
        let approves = |command: &Command| matches!(command, Command::OkToTest(_));
        let only_approves = !asked.commands.is_empty() && asked.commands.iter().all(approves);
        if !only_approves && let Some(why) = self.may_not(person.actor).await? {
            return self.refused(&act, why).await;
        }
        let number = act.pull.unwrap_or_default();
        let facts = self.github.pull(self.repository, number).await?;
        let Some(facts) = facts.filter(|facts| facts.open) else {
            return self.refused(&act, replies::closed()).await;
        };
        // What the pull request's own events say of it is not to be written over by a comment's
        // earlier look.
        if self.store.pull(self.repository.id, number).await?.is_none() {
            self.store.observe_pull(self.repository, &facts, false).await?;
        }
        act.head = Some(facts.head_sha.clone());
        let effects = self.effects(&facts, asked, person).await?;
        let by = (trigger, act.cause.clone());
        self.carry_out(&act, &facts, &effects, by).await
    }

    /// 🚀 for what is done; else 😕 and one reply.
    async fn answer(
        &self,
        pull: u64,
        answer: CommentAnswer,
        (record, help): (&AuditRecord, bool),
        author: &Actor,
    ) -> Result<Handled, Failure> {
        let ruling = &record.ruling;
        let done = ruling.because.replace('\n', " ");
        let text = match (ruling.decision, help) {
            (Decision::Accepted, false) => {
                self.react(answer.comment, Reaction::Rocket).await?;
                let settled = CommentAnswer { settled: true, ..answer };
                self.store.answer_comment(self.repository.id, &settled).await?;
                return Ok(Handled::Done(done));
            }
            (Decision::Accepted, true) => {
                self.react(answer.comment, Reaction::Rocket).await?;
                command::help().to_owned()
            }
            (Decision::Partly | Decision::Refused, help) => {
                self.react(answer.comment, Reaction::Confused).await?;
                refusal(ruling, help)
            }
        };
        if author.bot {
            // It may answer our answers, and never end.
            let settled = CommentAnswer { settled: true, ..answer };
            self.store.answer_comment(self.repository.id, &settled).await?;
            return Ok(Handled::Done(done));
        }
        self.reply(pull, answer, &text).await?;
        Ok(Handled::Done(done))
    }

    /// What a run's comment was answered is not all of it any more.
    pub(super) async fn say_again(
        &self,
        run: &Run,
        (asked, ruling): (&str, &Ruling),
    ) -> Result<(), Failure> {
        let comment = run.cause.strip_prefix(CAUSE).and_then(|id| id.parse().ok());
        let (Trigger::Comment, Some(comment), Some(pull)) = (run.trigger, comment, run.pull) else {
            return Ok(());
        };
        let answer = self.store.comment(self.repository.id, comment).await?;
        self.react(comment, Reaction::Confused).await?;
        let help = asked.split("; ").any(|command| command == "/help");
        self.reply(pull, answer, &refusal(ruling, help)).await
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

    /// One reply to a comment, edited rather than repeated.
    async fn reply(&self, pull: u64, mut answer: CommentAnswer, text: &str) -> Result<(), Failure> {
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
}

fn refusal(ruling: &Ruling, help: bool) -> String {
    let said = replies::said(&ruling.because);
    if help { format!("{said}\n\n{}", command::help()) } else { said }
}
