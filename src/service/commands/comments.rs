//! Commands in comments: seen, decided, answered, each once.

use std::time::Duration;

use tracing::{debug, info, warn};

use super::{Asker, Commands, Failure};
use crate::domain::audit::{AuditRecord, Decision, Route, Ruling};
use crate::domain::budget::{Answer, Lack};
use crate::domain::command::{self, Asked, Command};
use crate::domain::event::Actor;
use crate::domain::run::Run;
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::github::{Reaction, Retry};
use crate::render::replies;
use crate::store::{Act, CommentAnswer, CommentLease, Handled, Hold, StoreError};

/// What a comment says.
#[derive(Clone, Copy)]
struct Said<'a> {
    pull: u64,
    author: &'a Actor,
    /// When, by GitHub's clock, if that is told.
    written: Option<Timestamp>,
    asked: &'a Asked,
}

/// A comment in hand: nobody else answers it meanwhile.
struct Held {
    lease: CommentLease,
    answer: CommentAnswer,
    /// Whom an answer is for, and what it is spent from.
    to: Answer,
}

/// Whence the room in GitHub's limits comes for what is said again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Room {
    /// It is said at once, room or none: who asked waits for it.
    Counted,
    /// It is said when there is some.
    Asked,
}

/// The cause of what a comment asks for, and of its run.
const CAUSE: &str = "comment-";

/// A lack of room that is over so soon is waited for, though not by who has other work.
const MOMENT: Duration = Duration::from_secs(5);
/// A reply whose making was not acknowledged is looked for during this time before it is made again:
/// GitHub's lists may lag behind its writes.
const LOOKED_FOR: Duration = Duration::from_mins(1);
/// How GitHub marks the accounts of Apps.
const BOT: &str = "[bot]";
/// A third of a comment's lease.
const EXTEND: Duration = Duration::from_secs(2);
/// So soon is looked again at what somebody else has in hand.
const SOON: Duration = Duration::from_secs(1);

/// The comment that asked for a run.
pub(super) fn asked_in(run: &Run) -> Option<u64> {
    comment_of(&run.cause).filter(|_| run.trigger == Trigger::Comment)
}

/// The comment that is a cause.
pub(super) fn comment_of(cause: &str) -> Option<u64> {
    cause.strip_prefix(CAUSE)?.parse().ok()
}

/// So long a word about a run waits for who has its comment in hand: longer than a lease that nobody extends.
const WORDS_WAIT: Duration = Duration::from_secs(15);

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
        let obeyed = || Ok(Handled::Done("obeyed already".to_owned()));
        if self.store.is_settled(self.repository.id, comment).await? {
            return obeyed();
        }
        let theirs = || "somebody else has the comment in hand".to_owned();
        let (lease, answer) = match self.store.hold_comment(self.repository.id, comment).await? {
            Hold::Ours(lease, answer) => (lease, answer),
            Hold::Theirs(left) => return Ok(Handled::Later(left.min(SOON), theirs())),
        };
        if answer.settled {
            self.release(lease).await;
            return obeyed();
        }
        let said = Said { pull, author, written, asked: &asked };
        let handled = tokio::select! {
            handled = Box::pin(self.obey(said, lease, answer)) => handled,
            () = self.keep(lease) => Ok(Handled::Later(SOON, theirs())),
        };
        if matches!(handled, Err(_) | Ok(Handled::Later(..))) {
            self.release(lease).await;
        }
        handled
    }

    /// Obeys a comment that we have in hand.
    async fn obey(
        &self,
        said: Said<'_>,
        lease: CommentLease,
        answer: CommentAnswer,
    ) -> Result<Handled, Failure> {
        let Said { pull, author, written, asked } = said;
        let act = Act {
            repository: self.repository.clone(),
            pull: Some(pull),
            head: None,
            actor: author.login.clone(),
            route: Route::Comment,
            cause: format!("{CAUSE}{}", answer.comment),
            asked: asked.to_string(),
        };
        let help = asked.commands.contains(&Command::Help);
        let may_not = self.may_not(author).await?;
        let to = if may_not.is_some() { Answer::Stranger } else { Answer::Writer };
        let mut hand = Held { lease, answer, to };
        // Decided by a process that died before it could say so, or had no room to: judged again, its own
        // effects would be in its way.
        if let Some(record) = self.store.audited(self.repository.id, &act.cause).await? {
            return self.answer(pull, hand, (&record, help), author).await;
        }
        if author.bot
            && let Some(why) = may_not
        {
            // Two bots that answer each other would never end.
            self.refused(&act, why.clone()).await?;
            self.settle(hand).await?;
            return Ok(Handled::Ignored(why));
        }
        // What is asked for does not wait for them.
        let _put_off = self.see(&mut hand).await?;
        let comment = Some(hand.answer.comment);
        let person = Asker { actor: author, route: Route::Comment, written, comment };
        let record = self.decide(act, &person, (asked, Trigger::Comment)).await?;
        self.answer(pull, hand, (&record, help), author).await
    }

    /// Extends the lease until it is lost.
    async fn keep(&self, lease: CommentLease) {
        loop {
            tokio::time::sleep(EXTEND).await;
            match self.store.extend_comment(lease).await {
                Ok(()) => {}
                Err(StoreError::LeaseLost) => return,
                Err(error) => warn!("can't hold the comment for longer: {error}"),
            }
        }
    }

    /// Who comes next need not wait until the lease is over.
    async fn release(&self, lease: CommentLease) {
        if let Err(error) = self.store.release_comment(lease).await {
            debug!("the comment is not given back, and comes back by itself: {error}");
        }
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
        if !facts.open {
            return self.refused(&act, replies::closed()).await;
        }
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

    /// 🚀 for what is done; else 😕 and one reply. What there is no room for is put off, and what was given is
    /// not given again.
    async fn answer(
        &self,
        pull: u64,
        mut hand: Held,
        (record, help): (&AuditRecord, bool),
        author: &Actor,
    ) -> Result<Handled, Failure> {
        let ruling = &record.ruling;
        let done = ruling.because.replace('\n', " ");
        let (reaction, text) = match (ruling.decision, help) {
            (Decision::Accepted, false) => (Reaction::Rocket, None),
            (Decision::Accepted, true) => (Reaction::Rocket, Some(command::help().to_owned())),
            (Decision::Partly | Decision::Refused, help) => {
                (Reaction::Confused, Some(refusal(ruling, help)))
            }
        };
        // A bot may answer our answers, and never end.
        let Some(text) = text.filter(|_| !author.bot) else {
            self.react_for(&mut hand, reaction).await?;
            let known = self.store.audited(self.repository.id, &record.cause).await?;
            if known.is_some_and(|known| known.ruling != *ruling) {
                // The run that was asked for turned out otherwise meanwhile.
                return Err(Failure::Budget(Duration::ZERO));
            }
            self.settle(hand).await?;
            return Ok(Handled::Done(done));
        };
        if hand.to == Answer::Writer {
            // Of what was done, it is the first that a writer sees.
            self.react_for(&mut hand, reaction).await?;
            self.note(&hand).await?;
        }
        match (self.lack_of_reply(&hand).await?, hand.to) {
            (Some(lack), Answer::Stranger) if lack.told_enough => {
                let comment = hand.answer.comment;
                info!(comment, "no reply: strangers were told enough this hour");
                self.settle(hand).await?;
                return Ok(Handled::Done(format!("{done} (not answered: too many ask)")));
            }
            (Some(lack), _) => return Err(Failure::Budget(lack.wait)),
            (None, Answer::Stranger) => {
                self.react_for(&mut hand, reaction).await?;
                self.note(&hand).await?;
            }
            (None, Answer::Writer) => {}
        }
        self.reply(pull, hand, &text).await?;
        Ok(Handled::Done(done))
    }

    async fn settle(&self, hand: Held) -> Result<(), Failure> {
        let settled = CommentAnswer { settled: true, ..hand.answer };
        Ok(self.store.answer_comment(hand.lease, &settled).await?)
    }

    /// What a new reply has to wait for; one that is there is edited.
    async fn lack_of_reply(&self, hand: &Held) -> Result<Option<Lack>, Failure> {
        if hand.answer.reply.is_some() {
            return Ok(None);
        }
        self.leave(hand).await
    }

    /// Takes room in GitHub's limits for an answer; what it lacks, if there is none.
    async fn leave(&self, hand: &Held) -> Result<Option<Lack>, Failure> {
        Ok(self.store.leave_to_answer(self.repository, hand.to).await?)
    }

    /// What a comment was answered is not all of it any more: says what is on record now, if nobody else
    /// has meanwhile.
    pub(super) async fn say_again(&self, comment: u64) -> Result<(), Failure> {
        let (lease, answer) = self.hold_in_turn(comment).await?;
        let told = self.say_in_hand(lease, &answer, Room::Counted).await;
        if told.is_err() {
            self.release(lease).await;
        }
        told
    }

    /// The same of a comment that we have in hand; it stays there if that fails.
    pub(super) async fn say_in_hand(
        &self,
        lease: CommentLease,
        answer: &CommentAnswer,
        room: Room,
    ) -> Result<(), Failure> {
        if answer.amended == 0 {
            self.release(lease).await;
            return Ok(());
        }
        let hand = Held { lease, answer: answer.clone(), to: Answer::Writer };
        tokio::select! {
            told = Box::pin(self.tell(hand, room)) => told,
            () = self.keep(lease) => Err(StoreError::LeaseLost.into()),
        }
    }

    /// Nothing is left to be said about a comment that we have in hand.
    pub(super) async fn let_be(
        &self,
        lease: CommentLease,
        answer: CommentAnswer,
    ) -> Result<(), Failure> {
        self.settle(Held { lease, answer, to: Answer::Writer }).await
    }

    /// Whoever has the comment in hand may be answering what was known before: this comes after it.
    async fn hold_in_turn(&self, comment: u64) -> Result<(CommentLease, CommentAnswer), Failure> {
        let mut waited = Duration::ZERO;
        loop {
            match self.store.hold_comment(self.repository.id, comment).await? {
                Hold::Ours(lease, answer) => return Ok((lease, answer)),
                Hold::Theirs(_) if waited >= WORDS_WAIT => return Err(StoreError::LeaseLost.into()),
                Hold::Theirs(_) => tokio::time::sleep(SOON / 4).await,
            }
            waited += SOON / 4;
        }
    }

    /// Says what is on record.
    async fn tell(&self, mut hand: Held, room: Room) -> Result<(), Failure> {
        let cause = format!("{CAUSE}{}", hand.answer.comment);
        let record = self.store.audited(self.repository.id, &cause).await?;
        let Some((record, pull)) = record.and_then(|record| record.pull.map(|pull| (record, pull)))
        else {
            // It was long ago.
            return self.settle(hand).await;
        };
        if hand.answer.shown.as_deref() != Some(Reaction::Confused.content()) {
            self.take(&hand, room).await?;
            self.react(&mut hand, Reaction::Confused).await?;
            self.note(&hand).await?;
        }
        if record.actor.ends_with(BOT) {
            return self.settle(hand).await;
        }
        if hand.answer.reply.is_none() {
            self.take(&hand, room).await?;
        }
        let help = record.asked.split("; ").any(|command| command == "/help");
        self.reply(pull, hand, &refusal(&record.ruling, help)).await
    }

    /// Takes room for an answer that is said again.
    async fn take(&self, hand: &Held, room: Room) -> Result<(), Failure> {
        match room {
            Room::Counted => Ok(self.store.count_content(self.repository.installation).await?),
            Room::Asked => match self.leave(hand).await? {
                Some(lack) => Err(Failure::Budget(lack.wait)),
                None => Ok(()),
            },
        }
    }

    /// 👀, once for a comment. Where there is no room, or GitHub fails, the command is obeyed all the same:
    /// a writer whom a moment's lack is in the way of gets them with the answer.
    async fn see(&self, hand: &mut Held) -> Result<Option<Lack>, Failure> {
        if hand.answer.shown.is_some() {
            return Ok(None);
        }
        match self.leave(hand).await? {
            Some(lack) if hand.to == Answer::Writer && lack.wait <= MOMENT => {
                return Ok(Some(lack));
            }
            Some(_) => self.left_out(hand, Reaction::Eyes),
            None => {
                let comment = hand.answer.comment;
                if let Err(failure) = self.react(hand, Reaction::Eyes).await {
                    warn!(comment, "no reaction: {failure}");
                }
            }
        }
        hand.answer.shown = Some(Reaction::Eyes.content().to_owned());
        self.note(hand).await?;
        Ok(None)
    }

    /// Gives a reaction once. A writer's is put off while there is no room for it, others are left out.
    async fn react_for(&self, hand: &mut Held, reaction: Reaction) -> Result<(), Failure> {
        if hand.to == Answer::Writer
            && let Some(lack) = self.see(hand).await?
        {
            return Err(Failure::Budget(lack.wait));
        }
        if hand.answer.shown.as_deref() == Some(reaction.content()) {
            return Ok(());
        }
        match (self.leave(hand).await?, hand.to) {
            (Some(lack), Answer::Writer) => Err(Failure::Budget(lack.wait)),
            (Some(_), Answer::Stranger) => {
                self.left_out(hand, reaction);
                Ok(())
            }
            (None, _) => self.react(hand, reaction).await,
        }
    }

    fn left_out(&self, hand: &Held, reaction: Reaction) {
        let (comment, repository) = (hand.answer.comment, &self.repository.name);
        let reaction = reaction.content();
        info!(%repository, comment, "no {reaction}: there is no room in GitHub's limits");
    }

    /// Reactions are for the eye: where GitHub refuses them, in a locked conversation for instance, the
    /// command is obeyed all the same.
    async fn react(&self, hand: &mut Held, reaction: Reaction) -> Result<(), Failure> {
        let comment = hand.answer.comment;
        match self.github.react(self.repository, comment, reaction).await {
            Err(error) if error.retry() == Retry::Never => warn!(comment, "no reaction: {error}"),
            done => done?,
        }
        hand.answer.shown = Some(reaction.content().to_owned());
        Ok(())
    }

    /// What was shown is not shown, and paid for, once more.
    async fn note(&self, hand: &Held) -> Result<(), Failure> {
        let Some(shown) = &hand.answer.shown else { return Ok(()) };
        Ok(self.store.note_reaction(hand.lease, shown).await?)
    }

    /// One reply to a comment, edited rather than repeated, with leave.
    async fn reply(&self, pull: u64, hand: Held, text: &str) -> Result<(), Failure> {
        let Held { lease, mut answer, .. } = hand;
        // Its mark finds a reply that was made by a process that died before it could note so.
        let mark = format!("<!-- checkvalve answers {} -->", answer.comment);
        if let (None, Some(begun)) = (answer.reply, answer.begun) {
            answer.reply = self.github.find_comment(self.repository, pull, &mark).await?;
            if answer.reply.is_none() && begun < LOOKED_FOR {
                return Err(Failure::Unsure(LOOKED_FOR.saturating_sub(begun)));
            }
        }
        let text = replies::reply(text, &mark);
        if let Some(reply) = answer.reply {
            // Not if another one has looked for it meanwhile.
            self.store.extend_comment(lease).await?;
            match self.github.edit_comment(self.repository, reply, &text).await {
                // Somebody deleted it.
                Err(error) if error.is_missing() => answer.reply = None,
                edited => edited?,
            }
        }
        if answer.reply.is_none() {
            self.store.begin_reply(lease).await?;
            answer.reply = Some(self.make_reply(pull, lease, &text).await?);
        }
        answer.settled = true;
        Ok(self.store.answer_comment(lease, &answer).await?)
    }

    /// A new reply; its id.
    async fn make_reply(&self, pull: u64, lease: CommentLease, text: &str) -> Result<u64, Failure> {
        let made = self.github.comment(self.repository, pull, text).await;
        if made.as_ref().is_err_and(|error| error.retry() != Retry::Unknown) {
            self.store.refused_reply(lease).await?;
        }
        Ok(made?)
    }
}

fn refusal(ruling: &Ruling, help: bool) -> String {
    let said = replies::said(&ruling.because);
    if help { format!("{said}\n\n{}", command::help()) } else { said }
}
