//! Commits of strangers that somebody looked at and approved: by repository, pull request and commit,
//! for as long as the pull request's head and base branch are those that were looked at.

use std::time::Duration;

use super::Store;
use super::audit::Act;
use super::error::StoreError;
use super::pool::Tx;
use super::pulls::has_moved;
use super::rows::to_word;
use crate::domain::event::PullFacts;
use crate::domain::names::Sha;

/// What is to become of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalOrder {
    /// This commit, looked at against this branch.
    Give { head: Sha, base_ref: String },
    /// Taken back.
    Withdraw { head: Sha },
}

/// An approval that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub actor: String,
    /// The audit record's.
    pub cause: String,
}

statements! {
    GIVE = sql!(
        "insert into approvals (repository_id, pull, head_sha, base_ref, at, actor, route, cause)
         values ($1, $2, $3, $4, ", now!(), ", $5, $6, $7)
         on conflict (repository_id, pull, head_sha) do update set base_ref = excluded.base_ref,
            at = excluded.at, actor = excluded.actor, route = excluded.route,
            cause = excluded.cause, void_at = null, void_because = null
         where approvals.void_at is not null or approvals.base_ref <> excluded.base_ref"
    );
    WITHDRAW = sql!(
        "update approvals set void_at = ", now!(), ", void_because = $4
         where repository_id = $1 and pull = $2 and head_sha = $3 and void_at is null"
    );
    VOID = sql!(
        "update approvals set void_at = ", now!(), ", void_because = $5
         where repository_id = $1 and pull = $2 and void_at is null
            and (head_sha <> $3 or base_ref <> $4)"
    );
    FIND = sql!(
        "select actor, cause from approvals
         where repository_id = $1 and pull = $2 and head_sha = $3 and base_ref = $4
            and void_at is null"
    );
    FORGET_APPROVALS = sql!("delete from approvals where at < ", now!(), " - $1");
}

impl Store {
    /// The approval of the pull request's head as it is now, if there is one.
    pub async fn approval(
        &self,
        repository: u64,
        pull: &PullFacts,
    ) -> Result<Option<Approval>, StoreError> {
        let of = args![repository, pull.number, &pull.head_sha, pull.base_ref.as_str()];
        let row: Option<(String, String)> = self.inner.main.one(FIND, of).await?;
        Ok(row.map(|(actor, cause)| Approval { actor, cause }))
    }

    pub(super) async fn forget_approvals(&self, older_than: Duration) -> Result<(), StoreError> {
        self.inner.main.execute(FORGET_APPROVALS, args![older_than]).await.map(drop)
    }
}

/// Carries it out; false if all was so already, or if the pull request was seen to move on.
pub(super) async fn carry_out(
    tx: &mut Tx<'_>,
    act: &Act,
    order: &ApprovalOrder,
) -> Result<bool, StoreError> {
    let repository = act.repository.id;
    let changed = match order {
        ApprovalOrder::Give { head, base_ref } => {
            // Judged by an older look: of what was seen since, nobody has approved anything.
            if has_moved(tx, (repository, act.pull), (head, base_ref)).await? {
                return Ok(false);
            }
            let row = args![
                repository,
                act.pull.unwrap_or_default(),
                head,
                base_ref.as_str(),
                act.actor.as_str(),
                to_word(&act.route)?,
                act.cause.as_str(),
            ];
            tx.execute(GIVE, row).await?
        }
        ApprovalOrder::Withdraw { head } => {
            let because = format!("taken back by {}", act.actor);
            let row = args![repository, act.pull.unwrap_or_default(), head, because];
            tx.execute(WITHDRAW, row).await?
        }
    };
    Ok(changed > 0)
}

/// The pull request was seen with this head and base: what was approved of another holds no more,
/// also should it come back.
pub(super) async fn void(
    tx: &mut Tx<'_>,
    repository: u64,
    seen: &PullFacts,
) -> Result<(), StoreError> {
    let because = format!("the head was {}, to be merged into {}", seen.head_sha, seen.base_ref);
    let row = args![repository, seen.number, &seen.head_sha, seen.base_ref.as_str(), because];
    tx.execute(VOID, row).await.map(drop)
}
