//! Runs that nobody but the process that makes them works on, in a database of one's own: `test`
//! keeps its results here. They need no lease: a process that dies leaves whole results, and a run
//! that goes with the others when it is old.

use std::time::Duration;

use super::Store;
use super::cache::{NewResult, forget, keep};
use super::error::StoreError;
use super::pulls::list_repository;
use super::rows::{parse, to_json};
use super::runs::NewRun;
use crate::domain::cache::Ingredients;
use crate::domain::ids::RunId;
use crate::domain::state::Conclusion;

statements! {
    BEGIN = sql!(
        "insert into runs (id, repository_id, title, head_ref, base_ref, head_sha, base_sha,
            triggered_by, cause, actor, scope, reuse, priority, state, created_at, started_at,
            planned_at)
         select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 'running', now, now, now
         from clock"
    );
    END = sql!(
        "update runs set state = 'concluded', conclusion = $2, concluded_at = ", now!(), "
         where id = $1 and state = 'running'"
    );
    OLD = sql!("select id from runs where created_at < ", now!(), " - $1 order by id");
    DELETE = sql!("delete from runs where id = $1");
}

impl Store {
    /// Notes that a run is carried out here and now.
    pub async fn begin_own_run(&self, run: &NewRun) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        list_repository(&mut tx, &run.repository).await?;
        let values = args![
            run.id,
            run.repository.id,
            run.title.as_str(),
            run.head_ref.as_str(),
            run.base_ref.as_str(),
            &run.head_sha,
            &run.base_sha,
            run.trigger.as_str(),
            run.cause.as_str(),
            run.actor.as_str(),
            to_json(&run.scope)?,
            run.reuse.as_str(),
        ];
        tx.execute(BEGIN, values).await?;
        tx.commit().await
    }

    pub async fn end_own_run(&self, run: RunId, conclusion: Conclusion) -> Result<(), StoreError> {
        self.inner.main.execute(END, args![run, conclusion.as_str()]).await.map(drop)
    }

    /// Keeps a result of the run that is its origin, for later ones.
    pub async fn keep_own_result(&self, result: NewResult<'_>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        keep(&mut tx, &result.origin.to_string(), &result).await?;
        tx.commit().await
    }

    /// Takes back the result under a key: the same has failed since.
    pub async fn forget_own_result(&self, ingredients: &Ingredients) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        forget(&mut tx, ingredients).await?;
        tx.commit().await
    }

    /// Runs that began longer ago than this. Their objects are to go before they do.
    pub async fn old_own_runs(&self, older_than: Duration) -> Result<Vec<RunId>, StoreError> {
        let rows: Vec<(String,)> = self.inner.main.all(OLD, args![older_than]).await?;
        rows.iter().map(|(id,)| parse("runs.id", id)).collect()
    }

    /// Forgets a run, and its results with it.
    pub async fn forget_own_run(&self, run: RunId) -> Result<(), StoreError> {
        self.inner.main.execute(DELETE, args![run]).await.map(drop)
    }
}
