//! Repositories and pull requests as they were last seen.

use super::compare::raise_known;
use super::error::StoreError;
use super::pool::Tx;
use super::rows::{from_json, number, to_json};
use super::{Store, approvals};
use crate::domain::event::PullFacts;
use crate::domain::names::{RepoName, Sha};
use crate::domain::run::Repository;
use crate::domain::time::Timestamp;

/// A pull request as we last saw it. The generation rises when head or base changes, or it reopens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSeen {
    pub facts: PullFacts,
    pub generation: i64,
}

/// A repository with what the pages show of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryRow {
    pub repository: Repository,
    pub last_run: Option<Timestamp>,
}

statements! {
    // An event may be days old when it comes: by it nothing private is shown, nothing is called as it was
    // then, and nothing comes back. What GitHub lists now is another matter.
    SEE_REPOSITORY = sql!(
        "insert into repositories (id, name, installation, private, seen_at)
         values ($1, $2, $3, $4, ", now!(), ")
         on conflict (id) do update set
            private = case when excluded.private = 1 then 1 else repositories.private end,
            seen_at = excluded.seen_at"
    );
    LIST_REPOSITORY = sql!(
        "insert into repositories (id, name, installation, private, seen_at)
         values ($1, $2, $3, $4, ", now!(), ")
         on conflict (id) do update set name = excluded.name,
            withdrawn = case when repositories.installation = excluded.installation
                then repositories.withdrawn end,
            installation = excluded.installation,
            private = case when excluded.private = 1 then 1 else repositories.private end,
            seen_at = excluded.seen_at"
    );
    SEE_PULL = sql!(
        "insert into pulls (repository_id, number, facts, generation, seen_at)
         values ($1, $2, $3, $4, ", now!(), ")
         on conflict (repository_id, number) do update set facts = excluded.facts,
            generation = excluded.generation, seen_at = excluded.seen_at"
    );
    PULL = sql!("select facts, generation from pulls where repository_id = $1 and number = $2");
    PULLS = sql!(
        "select facts, generation from pulls where repository_id = $1
         order by seen_at desc, number desc limit $2"
    );
    REPOSITORIES = sql!(
        "select id, name, installation, private, last_run_at from repositories
         order by lower(name), id"
    );
    KNOWN_REPOSITORY = sql!(
        "select id, name, installation, private, last_run_at from repositories where id = $1"
    );
    // A name can pass to another repository; who was seen under it last has it.
    REPOSITORY = sql!(
        "select id, name, installation, private, last_run_at from repositories
         where lower(name) = lower($1) order by seen_at desc, id desc limit 1"
    );
}

type RepositoryColumns = (i64, String, i64, i64, Option<i64>);

impl Store {
    /// Notes what was seen; raises the generation if head or base changed, or if it was closed and is
    /// `reopened`. Told the same again, as after a crash, it is the same generation.
    pub async fn observe_pull(
        &self,
        repository: &Repository,
        facts: &PullFacts,
        reopened: bool,
    ) -> Result<PullSeen, StoreError> {
        retried!(self.observe_pull_once(repository, facts, reopened))
    }

    async fn observe_pull_once(
        &self,
        repository: &Repository,
        facts: &PullFacts,
        reopened: bool,
    ) -> Result<PullSeen, StoreError> {
        let mut tx = self.begin().await?;
        // Also locks the repository's row: who observes the same pull request waits here.
        see_repository(&mut tx, repository).await?;
        let known =
            tx.one(PULL, args![repository.id, facts.number]).await?.map(seen).transpose()?;
        let generation = match &known {
            None => 1,
            Some(known) => {
                let reopened = reopened && !known.facts.open;
                known.generation + i64::from(reopened || moved(&known.facts, facts))
            }
        };
        let json = to_json(facts)?;
        tx.execute(SEE_PULL, args![repository.id, facts.number, json, generation]).await?;
        // Others may have the head that it left, or came back to: they are judged anew.
        let other = |known: &PullSeen| {
            known.facts.open != facts.open || known.facts.head_sha != facts.head_sha
        };
        if let Some(known) = known.filter(other) {
            raise_known(&mut tx, repository.id, &known.facts.head_sha).await?;
        }
        approvals::void(&mut tx, repository.id, facts).await?;
        tx.commit().await?;
        Ok(PullSeen { facts: facts.clone(), generation })
    }

    pub async fn pull(&self, repository: u64, number: u64) -> Result<Option<PullSeen>, StoreError> {
        self.inner.main.one(PULL, args![repository, number]).await?.map(seen).transpose()
    }

    /// Those seen last come first.
    pub async fn pulls(&self, repository: u64, limit: u32) -> Result<Vec<PullSeen>, StoreError> {
        let rows = self.inner.main.all(PULLS, args![repository, limit]).await?;
        rows.into_iter().map(seen).collect()
    }

    /// All that were ever seen, by name.
    pub async fn repositories(&self) -> Result<Vec<RepositoryRow>, StoreError> {
        let rows = self.inner.main.all(REPOSITORIES, args![]).await?;
        rows.into_iter().map(repository_row).collect()
    }

    /// The one of this id.
    pub async fn known_repository(&self, id: u64) -> Result<Option<Repository>, StoreError> {
        let row = self.inner.main.one(KNOWN_REPOSITORY, args![id]).await?;
        Ok(row.map(repository_row).transpose()?.map(|row| row.repository))
    }

    pub async fn repository(&self, name: &RepoName) -> Result<Option<Repository>, StoreError> {
        let row = self.inner.main.one(REPOSITORY, args![name]).await?;
        Ok(row.map(repository_row).transpose()?.map(|row| row.repository))
    }
}

fn moved(before: &PullFacts, after: &PullFacts) -> bool {
    before.head_sha != after.head_sha
        || before.base_sha != after.base_sha
        || before.base_ref != after.base_ref
}

/// As an event tells of it, or whoever acts on one: what is known of it already stays.
pub(super) async fn see_repository(
    tx: &mut Tx<'_>,
    repository: &Repository,
) -> Result<(), StoreError> {
    let Repository { id, name, installation, private } = repository;
    tx.execute(SEE_REPOSITORY, args![*id, name, *installation, *private]).await.map(drop)
}

/// As it is now.
pub(super) async fn list_repository(
    tx: &mut Tx<'_>,
    repository: &Repository,
) -> Result<(), StoreError> {
    let Repository { id, name, installation, private } = repository;
    tx.execute(LIST_REPOSITORY, args![*id, name, *installation, *private]).await.map(drop)
}

/// The head with which a run's pull request was seen last.
pub(super) async fn head_seen(
    tx: &mut Tx<'_>,
    run: &super::NewRun,
) -> Result<Option<Sha>, StoreError> {
    let known = tx.one(PULL, args![run.repository.id, run.pull]).await?;
    Ok(known.map(seen).transpose()?.map(|seen| seen.facts.head_sha))
}

/// Was the pull request seen with another head or base branch than these, after it was known in this
/// generation?
pub(super) async fn has_moved(
    tx: &mut Tx<'_>,
    (repository, pull): (u64, Option<u64>),
    known: Option<i64>,
    (head, base_ref): (&Sha, &str),
) -> Result<bool, StoreError> {
    let seen = tx.one(PULL, args![repository, pull]).await?.map(seen).transpose()?;
    Ok(seen.is_some_and(|now| {
        let is_newer = known.is_none_or(|known| now.generation > known);
        is_newer && (now.facts.head_sha != *head || now.facts.base_ref != base_ref)
    }))
}

fn seen((facts, generation): (String, i64)) -> Result<PullSeen, StoreError> {
    Ok(PullSeen { facts: from_json("pulls.facts", &facts)?, generation })
}

fn repository_row(row: RepositoryColumns) -> Result<RepositoryRow, StoreError> {
    let (id, name, installation, private, last_run) = row;
    let name = super::rows::parse("repositories.name", &name)?;
    let (id, installation) = (number(id), number(installation));
    Ok(RepositoryRow {
        repository: Repository { id, name, installation, private: private != 0 },
        last_run: last_run.map(Timestamp::from_millis),
    })
}
