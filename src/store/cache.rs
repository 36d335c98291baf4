//! Results of steps that later runs may use. Written under the lease of the job that worked them
//! out, so that a worker that lost it leaves nothing behind.

use super::Store;
use super::error::StoreError;
use super::jobs::{Lease, still_held};
use super::pool::Tx;
use super::rows::{from_json, from_word, parse, to_json};
use super::turns;
use crate::domain::cache::{Cached, Ingredients, Known};
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::run::StepFacts;
use crate::domain::state::Outcome;

/// A result to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewResult<'a> {
    pub repository: u64,
    pub connector: &'a ConnectorName,
    pub step: &'a StepId,
    pub origin: RunId,
    pub outcome: Outcome,
    pub facts: &'a StepFacts,
    pub ingredients: &'a Ingredients,
}

statements! {
    FIND = sql!(
        "select outcome, facts, origin, run_id from cache where key = $1 and repository_id = $2"
    );
    LAST = sql!(
        "select ingredients, facts from cache where repository_id = $1 and connector = $2 and step = $3
            and scope = 0
         order by made_at desc limit 1"
    );
    FORGET = sql!("delete from cache where key = $1");
    // A stranger's code leaves nothing, whatever its worker takes it for; one that was approved leaves
    // something for its pull request alone.
    KEEP = sql!(
        "insert into cache (key, repository_id, connector, step, origin, run_id, outcome, facts,
            ingredients, made_at, scope)
         select $1, $2, $3, $4, $5, r.id, $7, $8, $9, ", now!(), ",
            case when r.trust = 'approved' then coalesce(r.pull, 0) else 0 end
         from runs r where r.id = $6 and r.trust <> 'untrusted'
         on conflict (key) do update set connector = excluded.connector, step = excluded.step,
            origin = excluded.origin, run_id = excluded.run_id, outcome = excluded.outcome,
            facts = excluded.facts, made_at = excluded.made_at
         where cache.scope = excluded.scope"
    );
}

impl Store {
    /// What is known of a step with these ingredients.
    pub async fn recall(
        &self,
        repository: u64,
        connector: &ConnectorName,
        step: &StepId,
        ingredients: &Ingredients,
    ) -> Result<Known, StoreError> {
        let key = ingredients.key();
        let row: Option<(String, String, String, String)> =
            self.inner.main.one(FIND, args![key.as_str(), repository]).await?;
        let result = row.map(|(outcome, facts, origin, run)| {
            Ok::<_, StoreError>(Cached {
                outcome: from_word("cache.outcome", &outcome)?,
                facts: from_json("cache.facts", &facts)?,
                origin: parse("cache.origin", &origin)?,
                kept_by: parse("cache.run_id", &run)?,
            })
        });
        if let Some(result) = result {
            return Ok(Known { result: Some(result?), ..Known::default() });
        }
        let last: Option<(String, String)> =
            self.inner.main.one(LAST, args![repository, connector, step]).await?;
        let Some((last, facts)) = last else { return Ok(Known::default()) };
        let facts: StepFacts = from_json("cache.facts", &facts)?;
        let last = Some(from_json("cache.ingredients", &last)?);
        let usual = u64::try_from(facts.took().as_millis()).ok();
        Ok(Known { result: None, last, usual })
    }

    /// Keeps a result for later runs; the one under its key before is replaced.
    pub async fn keep_result(
        &self,
        lease: &Lease,
        result: NewResult<'_>,
    ) -> Result<(), StoreError> {
        retried!(self.keep_result_once(lease, result))
    }

    async fn keep_result_once(
        &self,
        lease: &Lease,
        result: NewResult<'_>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_lightly().await?;
        let run = still_held(&mut tx, lease).await?;
        keep(&mut tx, &run, &result).await?;
        // Whoever waited for it finds it the moment that its turn is over.
        turns::end(&mut tx, lease, &result.ingredients.key()).await?;
        tx.commit().await
    }

    /// Takes back the result under a key: the same has failed since.
    pub async fn forget_result(
        &self,
        lease: &Lease,
        ingredients: &Ingredients,
    ) -> Result<(), StoreError> {
        retried!(self.forget_result_once(lease, ingredients))
    }

    async fn forget_result_once(
        &self,
        lease: &Lease,
        ingredients: &Ingredients,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_lightly().await?;
        still_held(&mut tx, lease).await?;
        forget(&mut tx, ingredients).await?;
        tx.commit().await
    }
}

/// Keeps a result whose log and artifacts are among the objects of a run.
pub(super) async fn keep(
    tx: &mut Tx<'_>,
    run: &str,
    result: &NewResult<'_>,
) -> Result<(), StoreError> {
    let values = args![
        result.ingredients.key(),
        result.repository,
        result.connector,
        result.step,
        result.origin,
        run,
        result.outcome.as_str(),
        to_json(result.facts)?,
        to_json(result.ingredients)?,
    ];
    tx.execute(KEEP, values).await.map(drop)
}

pub(super) async fn forget(tx: &mut Tx<'_>, ingredients: &Ingredients) -> Result<(), StoreError> {
    tx.execute(FORGET, args![ingredients.key()]).await.map(drop)
}
