//! Comments that asked for something: each is obeyed once, by its id, and answered once, by one at a time.

use std::time::Duration;

use super::Store;
use super::deliveries::held;
use super::error::StoreError;
use super::pool::Tx;
use super::rows::{count, number, parse};
use crate::domain::run::Repository;

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
    /// So long ago a reply was begun of which it is not known whether GitHub has it.
    pub begun: Option<Duration>,
    /// How often it turned out otherwise than was said last.
    pub amended: u32,
}

/// A comment whose answer is not true any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    pub repository: Repository,
    pub comment: u64,
    /// How often it was tried in vain.
    pub tries: u32,
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
         returning epoch, reply, shown, settled, ", now!(), " - replying_at, amended"
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
    // A reply that is there is never forgotten. What turned out otherwise meanwhile was not said.
    ANSWER = sql!(
        "update comments set reply = coalesce(cast($4 as bigint), reply),
            shown = coalesce(cast($5 as text), shown), settled = $6, replying_at = null,
            amended = case when amended = $7 then 0 else amended end, amend_tries = 0, amend_due = 0,
            held_until = 0
         where repository_id = $1 and comment = $2 and epoch = $3 and held_until > 0"
    );
    BEGIN_REPLY = sql!(
        "update comments set replying_at = ", now!(), ", held_until = ", now!(), " + $4
         where repository_id = $1 and comment = $2 and epoch = $3 and held_until > 0"
    );
    REFUSED_REPLY = sql!(
        "update comments set replying_at = null
         where repository_id = $1 and comment = $2 and epoch = $3"
    );
    AMENDED = sql!(
        "update comments set amended = amended + 1, amend_tries = 0, amend_due = 0
         where repository_id = $1 and comment = $2"
    );
    PUT_OFF = sql!(
        "update comments set amend_tries = amend_tries + 1, amend_due = ", now!(), " + $4,
            held_until = 0
         where repository_id = $1 and comment = $2 and epoch = $3"
    );
    OWED = sql!(
        "select c.comment, p.id, p.name, p.installation, p.private, c.amend_tries from comments c
         join repositories p on p.id = c.repository_id
         where c.amended > 0 and c.amend_due <= ", now!(), " and c.seen_at > ", now!(), " - $1
            and c.held_until <= ", now!(), "
         order by c.amend_due, c.repository_id, c.comment limit $2"
    );
}

/// Epoch, reply, shown, settled, how long ago a reply was begun, amended.
type HeldColumns = (i64, Option<i64>, Option<String>, i64, Option<i64>, i64);

/// Comment; repository, its name, installation, private; tries.
type OwedColumns = (i64, i64, String, i64, i64, i64);

/// So many are said again in one pass.
const TOGETHER: u32 = 20;

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
        let held: Option<HeldColumns> = tx.one(HOLD, args![repository, comment, TERM]).await?;
        let Some((epoch, reply, shown, settled, begun, amended)) = held else {
            let left: Option<(i64,)> = tx.one(HELD_FOR, args![repository, comment]).await?;
            let left = left.map_or(0, |(left,)| left.max(0));
            return Ok(Hold::Theirs(Duration::from_millis(number(left))));
        };
        tx.commit().await?;
        let lease = CommentLease { repository, comment, epoch };
        let answer = CommentAnswer {
            comment,
            reply: reply.map(number),
            shown,
            settled: settled != 0,
            begun: begun.map(|begun| Duration::from_millis(number(begun.max(0)))),
            amended: count(amended),
        };
        Ok(Hold::Ours(lease, answer))
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
        let CommentAnswer { reply, shown, settled, amended, .. } = answer;
        let shown = shown.as_deref();
        let args = args![repository, comment, epoch, *reply, shown, *settled, *amended];
        held(self.inner.main.execute(ANSWER, args).await?)
    }

    /// A reply is about to be made: whoever comes next, should we die, looks for it. Holds the comment
    /// for longer, too.
    pub async fn begin_reply(&self, lease: CommentLease) -> Result<(), StoreError> {
        let CommentLease { repository, comment, epoch } = lease;
        held(self.inner.main.execute(BEGIN_REPLY, args![repository, comment, epoch, TERM]).await?)
    }

    /// GitHub has no reply: it said so.
    pub async fn refused_reply(&self, lease: CommentLease) -> Result<(), StoreError> {
        let CommentLease { repository, comment, epoch } = lease;
        self.inner.main.execute(REFUSED_REPLY, args![repository, comment, epoch]).await.map(drop)
    }

    /// Comments whose answer is to be said again, and that nobody has in hand; not those that are older
    /// than this.
    pub async fn owed_answers(&self, within: Duration) -> Result<Vec<Owed>, StoreError> {
        let rows: Vec<OwedColumns> = self.inner.main.all(OWED, args![within, TOGETHER]).await?;
        let owed = |(comment, id, name, installation, private, tries): OwedColumns| {
            let repository = Repository {
                id: number(id),
                name: parse("repositories.name", &name)?,
                installation: number(installation),
                private: private != 0,
            };
            Ok(Owed { repository, comment: number(comment), tries: count(tries) })
        };
        rows.into_iter().map(owed).collect()
    }

    /// It could not be said again now; gives the comment back until then.
    pub async fn put_off_answer(
        &self,
        lease: CommentLease,
        pause: Duration,
    ) -> Result<(), StoreError> {
        let CommentLease { repository, comment, epoch } = lease;
        let args = args![repository, comment, epoch, pause];
        self.inner.main.execute(PUT_OFF, args).await.map(drop)
    }
}

/// What the comment was answered is not true any more.
pub(super) async fn amended(
    tx: &mut Tx<'_>,
    repository: u64,
    comment: u64,
) -> Result<(), StoreError> {
    tx.execute(AMENDED, args![repository, comment]).await.map(drop)
}
