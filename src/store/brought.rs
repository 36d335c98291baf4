//! Heads of forks' pull requests, and who pushed them: as the events that brought them said.

use std::time::Duration;

use super::Store;
use super::error::StoreError;
use crate::domain::event::PullFacts;
use crate::domain::names::Sha;

macro_rules! forget_brought {
    () => {
        concat!(
            "delete from brought where at < ",
            now!(),
            " - $1 and not exists (select 1 from runs r
                where r.repository_id = brought.repository_id and r.pull = brought.pull
                    and r.head_sha = brought.head_sha)
            and not exists (select 1 from pulls p
                where p.repository_id = brought.repository_id and p.number = brought.pull and "
        )
    };
}

statements! {
    // Who is known to have pushed a head first is not replaced by who pushed it again.
    BRING = sql!(
        "insert into brought (repository_id, pull, head_sha, at, pusher)
         values ($1, $2, $3, ", now!(), ", $4)
         on conflict (repository_id, pull, head_sha) do update set
            pusher = coalesce(brought.pusher, excluded.pusher)"
    );
    PUSHER = sql!(
        "select pusher from brought where repository_id = $1 and pull = $2 and head_sha = $3"
    );
    OTHERS = sql!(
        "select head_sha from brought where repository_id = $1 and pull = $2 and head_sha <> $3
         union all
         select head_sha from runs where repository_id = $1 and pull = $2
            and (head_sha <> $3 or base_ref <> $4)
         limit 1"
    );
    // Of the head of a pull request, which may be closed and come back, and of one that has runs, it is
    // asked as long as there are those.
    FORGET_BROUGHT = super::pool::Sql::pair(
        concat!(forget_brought!(), "json_extract(p.facts, '$.head_sha') = brought.head_sha)"),
        concat!(forget_brought!(), "cast(p.facts as json) ->> 'head_sha' = brought.head_sha)"),
    );
}

impl Store {
    /// An event named this head, and says who pushed it, or does not.
    pub async fn bring(
        &self,
        repository: u64,
        told: &PullFacts,
        pusher: Option<&str>,
    ) -> Result<(), StoreError> {
        let row = args![repository, told.number, &told.head_sha, pusher];
        self.inner.main.execute(BRING, row).await.map(drop)
    }

    /// Who pushed this head, if its event said so.
    pub async fn pusher(
        &self,
        repository: u64,
        pull: u64,
        head: &Sha,
    ) -> Result<Option<String>, StoreError> {
        let row: Option<(Option<String>,)> =
            self.inner.main.one(PUSHER, args![repository, pull, head]).await?;
        Ok(row.and_then(|(pusher,)| pusher))
    }

    /// Has the pull request had this head and this base branch alone, for all that we know? Not if it
    /// was ever closed and reopened, or its base was seen to move on.
    pub async fn is_as_first_seen(
        &self,
        repository: u64,
        pull: &PullFacts,
    ) -> Result<bool, StoreError> {
        let Some(seen) = self.pull(repository, pull.number).await? else { return Ok(false) };
        let of = args![repository, pull.number, &pull.head_sha, pull.base_ref.as_str()];
        let other: Option<(String,)> = self.inner.main.one(OTHERS, of).await?;
        Ok(other.is_none()
            && seen.generation == 1
            && seen.facts.head_sha == pull.head_sha
            && seen.facts.base_ref == pull.base_ref)
    }

    pub(super) async fn forget_brought(&self, older_than: Duration) -> Result<(), StoreError> {
        self.inner.main.execute(FORGET_BROUGHT, args![older_than]).await.map(drop)
    }
}
