//! Comments that asked for something: each is obeyed once, by its id, and answered once.

use super::Store;
use super::error::StoreError;
use super::rows::number;

/// A comment that asked for something, and our answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentAnswer {
    pub comment: u64,
    /// GitHub's id of our reply.
    pub reply: Option<u64>,
    pub settled: bool,
}

statements! {
    SEE = sql!(
        "insert into comments (repository_id, comment, settled, seen_at)
         values ($1, $2, 0, ", now!(), ") on conflict (repository_id, comment) do nothing"
    );
    KNOWN = sql!("select reply, settled from comments where repository_id = $1 and comment = $2");
    ANSWER = sql!(
        "insert into comments (repository_id, comment, reply, settled, seen_at)
         values ($1, $2, $3, $4, ", now!(), ")
         on conflict (repository_id, comment) do update
            set reply = excluded.reply, settled = excluded.settled"
    );
}

impl Store {
    /// First sight of a comment inserts it; answers what is known.
    pub async fn comment(
        &self,
        repository: u64,
        comment: u64,
    ) -> Result<CommentAnswer, StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(SEE, args![repository, comment]).await?;
        let known: Option<(Option<i64>, i64)> = tx.one(KNOWN, args![repository, comment]).await?;
        tx.commit().await?;
        let (reply, settled) = known.unwrap_or((None, 0));
        Ok(CommentAnswer { comment, reply: reply.map(number), settled: settled != 0 })
    }

    pub async fn answer_comment(
        &self,
        repository: u64,
        answer: &CommentAnswer,
    ) -> Result<(), StoreError> {
        let CommentAnswer { comment, reply, settled } = answer;
        let args = args![repository, *comment, *reply, *settled];
        self.inner.main.execute(ANSWER, args).await.map(drop)
    }
}
