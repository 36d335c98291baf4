//! Commits of strangers that somebody looked at and approved: by repository, pull request and commit,
//! for as long as the pull request's head and base branch are those that were looked at.

use std::time::Duration;

use super::Store;
use super::audit::Act;
use super::error::StoreError;
use super::pool::Tx;
use super::pulls::has_moved;
use super::rows::{from_word, to_word};
use crate::domain::event::PullFacts;
use crate::domain::names::Sha;
use crate::domain::run::Run;
use crate::domain::time::Timestamp;
use crate::domain::trust::{Approved, Trust};

/// What is to become of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalOrder {
    /// This commit, looked at against this branch, which GitHub named when the pull request was known
    /// in this generation, or not at all.
    Give { head: Sha, base_ref: String, known: Option<i64> },
    /// Taken back.
    Withdraw { head: Sha },
}

/// An approval that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    pub actor: String,
    /// The audit record's.
    pub cause: String,
    /// By the database's clock.
    pub at: Timestamp,
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
        "select actor, cause, at from approvals
         where repository_id = $1 and pull = $2 and head_sha = $3 and base_ref = $4
            and void_at is null"
    );
    // Whether or not it still holds.
    OF_RUN = sql!(
        "select actor, at, route, void_at, void_because from approvals
         where repository_id = $1 and pull = $2 and head_sha = $3 and base_ref = $4"
    );
    FORGET_APPROVALS = sql!("delete from approvals where at < ", now!(), " - $1");
}

/// By whom, when, by which way; since when it is void, and why.
type Given = (String, i64, String, Option<i64>, Option<String>);

impl Store {
    /// The approval of the pull request's head as it is now, if there is one.
    pub async fn approval(
        &self,
        repository: u64,
        pull: &PullFacts,
    ) -> Result<Option<Approval>, StoreError> {
        let of = args![repository, pull.number, &pull.head_sha, pull.base_ref.as_str()];
        let row: Option<(String, String, i64)> = self.inner.main.one(FIND, of).await?;
        Ok(row.map(|(actor, cause, at)| Approval { actor, cause, at: Timestamp::from_millis(at) }))
    }

    /// By which approval the code of a run runs, if by any and as far as that is still known: the last
    /// one of its commit against its base.
    pub async fn approval_of_run(&self, run: &Run) -> Result<Option<Approved>, StoreError> {
        let Some(pull) = run.pull.filter(|_| run.trust == Trust::Approved) else { return Ok(None) };
        let of = args![run.repository.id, pull, &run.head_sha, run.base_ref.as_str()];
        let row: Option<Given> = self.inner.main.one(OF_RUN, of).await?;
        let Some((actor, at, route, void_at, because)) = row else { return Ok(None) };
        let void = void_at.map(|at| (Timestamp::from_millis(at), because.unwrap_or_default()));
        Ok(Some(Approved {
            actor,
            at: Timestamp::from_millis(at),
            route: from_word("approvals.route", &route)?,
            head_sha: run.head_sha.clone(),
            base_ref: run.base_ref.clone(),
            void,
        }))
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
        ApprovalOrder::Give { head, base_ref, known } => {
            // Judged by an older look: of what was seen since, nobody has approved anything. What was
            // seen before may be older than what GitHub named.
            if has_moved(tx, (repository, act.pull), *known, (head, base_ref)).await? {
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
