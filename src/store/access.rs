//! Repositories that the App loses, and gets back.

use super::Store;
use super::error::StoreError;
use super::nudge::Topic;
use super::pool::Tx;
use super::pulls::list_repository;
use super::rows::{from_json, number, parse};
use crate::domain::event::PullFacts;
use crate::domain::ids::RunId;
use crate::domain::names::RepoName;
use crate::domain::run::Repository;

/// Which of an installation's repositories.
#[derive(Debug, Clone, Copy)]
pub enum Withdrawn<'a> {
    /// All of them.
    Installation(u64),
    /// These, as far as they are known and still the installation's.
    Named(u64, &'a [RepoName]),
    /// This one, by its id.
    Repository(u64),
}

statements! {
    OF_INSTALLATION = sql!("select id, name from repositories where installation = $1 order by id");
    WITHDRAW = sql!(
        "update repositories set withdrawn = $2 where id = $1 and withdrawn is null"
    );
    RESTORE = sql!("update repositories set withdrawn = null where id = $1 and withdrawn is not null");
    LISTED = sql!("update repositories set private = $2 where id = $1 and private <> $2");
    WITHDRAWN = sql!("select id from repositories where withdrawn is not null order by id");
    // What could not be published meanwhile is due at once, also what was given up; and how long it
    // was refused before says nothing of what is now.
    HEADS_DUE = sql!(
        "update heads set not_before = 0, refused_since = null, error = null,
            version = version
                + case when error is not null and version = published_version then 1 else 0 end,
            again_at = case when again_at is null then null else 0 end
         where repository_id in (select id from repositories where installation = $1)
            and (version > published_version or again_at is not null or error is not null)"
    );
    // Of these there may be nothing else to be told.
    MISNAMED_DUE = sql!(
        "update heads set version = version + 1, not_before = 0
         where repository_id in (select id from repositories where installation = $1)
            and exists (select 1 from checks c where c.repository_id = heads.repository_id
                and c.head_sha = heads.head_sha and c.refused_name is not null)"
    );
    NAMES_AGAIN = sql!(
        "update checks set refused_name = null, refused_name_until = null
         where refused_name is not null
            and repository_id in (select id from repositories where installation = $1)"
    );
    // The newest of its own runs of the head that was seen last. Without a repository: of all of them.
    ENDED = sql!(
        "select p.repository_id, p.facts, r.head_sha, r.cancel from pulls p
         join runs r on r.repository_id = p.repository_id and r.pull = p.number
            and r.head_sha = p.own_head and r.triggered_by = 'pull_request'
         where (cast($1 as bigint) is null or p.repository_id = $1)
            and r.cancel is not null and coalesce(r.conclusion, '') <> 'success'
            and not exists (select 1 from runs n where n.repository_id = r.repository_id
                and n.pull = r.pull and n.head_sha = r.head_sha
                and n.triggered_by = 'pull_request' and n.id > r.id)
         order by p.repository_id, p.number"
    );
    UNCONCLUDED = sql!(
        "select id from runs where repository_id = $1 and state <> 'concluded' order by id"
    );
}

impl Store {
    /// The App may not act on these any more: nothing is published there until it may. Answers which
    /// of them it could until now.
    pub async fn withdraw(&self, which: Withdrawn<'_>, why: &str) -> Result<Vec<u64>, StoreError> {
        let ids = match which {
            Withdrawn::Repository(id) => vec![id],
            Withdrawn::Installation(installation) => {
                self.of_installation(installation, |_| true).await?
            }
            Withdrawn::Named(installation, names) => {
                let is_one = |name: &RepoName| {
                    names.iter().any(|one| one.as_str().eq_ignore_ascii_case(name.as_str()))
                };
                self.of_installation(installation, is_one).await?
            }
        };
        let mut lost = Vec::new();
        for id in ids {
            if self.inner.main.execute(WITHDRAW, args![id, why]).await? > 0 {
                lost.push(id);
            }
        }
        Ok(lost)
    }

    async fn of_installation(
        &self,
        installation: u64,
        wanted: impl Fn(&RepoName) -> bool,
    ) -> Result<Vec<u64>, StoreError> {
        let rows: Vec<(i64, String)> =
            self.inner.main.all(OF_INSTALLATION, args![installation]).await?;
        let mut ids = Vec::new();
        for (id, name) in rows {
            if wanted(&parse("repositories.name", &name)?) {
                ids.push(number(id));
            }
        }
        Ok(ids)
    }

    /// GitHub lists it now: the App may act on it (again), under this name. True if it could not before.
    pub async fn restore(&self, repository: &Repository) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        // First: seen under another installation, it counts as given back.
        let restored = tx.execute(RESTORE, args![repository.id]).await? > 0;
        list_repository(&mut tx, repository).await?;
        tx.execute(LISTED, args![repository.id, repository.private]).await?;
        if restored {
            try_again(&mut tx, repository.installation).await?;
        }
        for topic in [Topic::Heads, Topic::Schedules] {
            tx.nudge(topic);
        }
        tx.commit().await?;
        Ok(restored)
    }

    /// Has tried again at once what GitHub refused to publish for an installation.
    pub async fn publish_again(&self, installation: u64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        try_again(&mut tx, installation).await?;
        tx.nudge(Topic::Heads);
        tx.commit().await
    }

    /// Notes the name and the installation that GitHub says a repository has now; and that it is private,
    /// if it is.
    pub async fn see(&self, repository: &Repository) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        list_repository(&mut tx, repository).await?;
        tx.commit().await
    }

    /// Ids of the repositories that the App may not act on.
    pub async fn withdrawn(&self) -> Result<Vec<u64>, StoreError> {
        let rows: Vec<(i64,)> = self.inner.main.all(WITHDRAWN, args![]).await?;
        Ok(rows.into_iter().map(|(id,)| number(id)).collect())
    }

    /// Pull requests, of all repositories or of this one, that are open as far as is known, and whose
    /// own run was asked to end: with their repositories' ids, and why.
    pub async fn pulls_ended(
        &self,
        repository: Option<u64>,
    ) -> Result<Vec<(u64, PullFacts, String)>, StoreError> {
        let rows: Vec<(i64, String, String, String)> =
            self.inner.main.all(ENDED, args![repository]).await?;
        let mut ended = Vec::new();
        for (repository, facts, head, why) in rows {
            let facts: PullFacts = from_json("pulls.facts", &facts)?;
            if facts.open && facts.head_sha.as_str() == head {
                ended.push((number(repository), facts, why));
            }
        }
        Ok(ended)
    }

    /// A repository's runs that have not come to their end.
    pub async fn unconcluded(&self, repository: u64) -> Result<Vec<RunId>, StoreError> {
        let rows: Vec<(String,)> = self.inner.main.all(UNCONCLUDED, args![repository]).await?;
        rows.iter().map(|(id,)| parse("runs.id", id)).collect()
    }
}

/// What GitHub refused to take, or to call so.
async fn try_again(tx: &mut Tx<'_>, installation: u64) -> Result<(), StoreError> {
    for statement in [HEADS_DUE, MISNAMED_DUE, NAMES_AGAIN] {
        tx.execute(statement, args![installation]).await?;
    }
    Ok(())
}
