//! Comments that asked for something: each is obeyed once, by its id, and answered once, by one at a time.

use std::time::Duration;

use super::Store;
use super::deliveries::held;
use super::error::StoreError;
use super::rows::number;

/// How long a comment is held unless that is extended. Shorter than a delivery's claim: when what a dead
/// process had in hand comes back, nobody holds the comment any more.
const TERM: Duration = Duration::from_secs(6);

/// The right to answer a comment. Made by [`Store::hold_comment`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommentLease {
    repository: u64,
    comment: u64,
    epoch: i64,
}

/// A comment that asked for something, and our answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentAnswer {
    pub comment: u64,
    /// GitHub's id of our reply.
    pub reply: Option<u64>,
    /// Our last reaction, as GitHub calls it: that one was given, or left out.
    pub shown: Option<String>,
    pub settled: bool,
}

/// What comes of wanting to answer a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    Ours(CommentLease, CommentAnswer),
    /// Somebody else holds it, for so long unless that is extended.
    Theirs(Duration),
}

statements! {
    SEE = sql!(
        "insert into comments (repository_id, comment, settled, seen_at)
         values ($1, $2, 0, ", now!(), ") on conflict (repository_id, comment) do nothing"
    );
    SETTLED = sql!("select settled from comments where repository_id = $1 and comment = $2");
    // A clock that was set back must not hold it for as long.
    HOLD = sql!(
        "update comments set epoch = epoch + 1, held_until = ", now!(), " + $3
         where repository_id = $1 and comment = $2
            and (held_until <= ", now!(), " or held_until > ", now!(), " + $3)
         returning epoch, reply, shown, settled"
    );
    HELD_FOR = sql!(
        "select held_until - ", now!(), " from comments where repository_id = $1 and comment = $2"
    );
    EXTEND = sql!(
        "update comments set held_until = ", now!(), " + $4
         where repository_id = $1 and comment = $2 and epoch = $3 and held_until > 0"
    );
    RELEASE = sql!(
        "update comments set held_until = 0 where repository_id = $1 and comment = $2 and epoch = $3"
    );
    SHOW = sql!(
        "update comments set shown = $4
         where repository_id = $1 and comment = $2 and epoch = $3 and held_until > 0"
    );
    // A reply that is there is never forgotten.
    ANSWER = sql!(
        "update comments set reply = coalesce(cast($4 as bigint), reply),
            shown = coalesce(cast($5 as text), shown), settled = $6, held_until = 0
         where repository_id = $1 and comment = $2 and epoch = $3 and held_until > 0"
    );
}

impl Store {
    /// Is all done about this comment?
    pub async fn is_settled(&self, repository: u64, comment: u64) -> Result<bool, StoreError> {
        let known: Option<(i64,)> =
            self.inner.main.one(SETTLED, args![repository, comment]).await?;
        Ok(known.is_some_and(|(settled,)| settled != 0))
    }

    /// Takes a comment in hand, settled or not, unless somebody else has it; its first sight inserts it.
    pub async fn hold_comment(&self, repository: u64, comment: u64) -> Result<Hold, StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(SEE, args![repository, comment]).await?;
        let held: Option<(i64, Option<i64>, Option<String>, i64)> =
            tx.one(HOLD, args![repository, comment, TERM]).await?;
        let Some((epoch, reply, shown, settled)) = held else {
            let left: Option<(i64,)> = tx.one(HELD_FOR, args![repository, comment]).await?;
            let left = left.map_or(0, |(left,)| left.max(0));
            return Ok(Hold::Theirs(Duration::from_millis(number(left))));
        };
        tx.commit().await?;
        let lease = CommentLease { repository, comment, epoch };
        let (reply, settled) = (reply.map(number), settled != 0);
        Ok(Hold::Ours(lease, CommentAnswer { comment, reply, shown, settled }))
    }

    /// Holds it for longer. Whoever is about to write to GitHub asks for that first.
    pub async fn extend_comment(&self, lease: CommentLease) -> Result<(), StoreError> {
        let CommentLease { repository, comment, epoch } = lease;
        held(self.inner.main.execute(EXTEND, args![repository, comment, epoch, TERM]).await?)
    }

    /// Whoever comes next need not wait.
    pub async fn release_comment(&self, lease: CommentLease) -> Result<(), StoreError> {
        let CommentLease { repository, comment, epoch } = lease;
        self.inner.main.execute(RELEASE, args![repository, comment, epoch]).await.map(drop)
    }

    /// Notes a reaction, so that it is not given, and paid for, once more.
    pub async fn note_reaction(&self, lease: CommentLease, shown: &str) -> Result<(), StoreError> {
        let CommentLease { repository, comment, epoch } = lease;
        held(self.inner.main.execute(SHOW, args![repository, comment, epoch, shown]).await?)
    }

    /// Notes our answer, and gives the comment back.
    pub async fn answer_comment(
        &self,
        lease: CommentLease,
        answer: &CommentAnswer,
    ) -> Result<(), StoreError> {
        let CommentLease { repository, comment, epoch } = lease;
        let CommentAnswer { reply, shown, settled, .. } = answer;
        let shown = shown.as_deref();
        let args = args![repository, comment, epoch, *reply, shown, *settled];
        held(self.inner.main.execute(ANSWER, args).await?)
    }
}
