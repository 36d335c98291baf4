//! Whose turn it is to work out a result that several jobs want. Nothing is released by force: a
//! turn counts for as long as its job is held under the epoch that took it, so that it dies with the
//! lease.

use super::Store;
use super::error::StoreError;
use super::jobs::{Lease, still_held};
use super::pool::Tx;
use super::rows::parse;
use crate::domain::cache::Ingredients;
use crate::domain::ids::{JobId, RunId};
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::turn::{Maker, Turn};

statements! {
    // Read before anything is written: whoever waits asks every second.
    MAKER = sql!(
        "select m.job_id, m.epoch, m.step, m.failed, j.run_id, j.connector,
            cast(case when j.state = 'running' and j.epoch = m.epoch and j.lease_until > ", now!(), "
                then 1 else 0 end as bigint)
         from making m join jobs j on j.id = m.job_id where m.key = $1"
    );
    BEGIN = sql!(
        "insert into making (key, job_id, epoch, step, since)
         values ($1, $2, $3, $4, ", now!(), ") on conflict (key) do nothing"
    );
    // Only from the one who was seen: two that take over at once are told apart.
    TAKE_OVER = sql!(
        "update making set job_id = $2, epoch = $3, step = $4, failed = 0, since = ", now!(), "
         where key = $1 and job_id = $5 and epoch = $6 and failed = $7"
    );
    GIVE_BACK = sql!("delete from making where key = $1 and job_id = $2 and epoch = $3");
    FAIL = sql!("update making set failed = 1 where key = $1 and job_id = $2 and epoch = $3");
}

type Row = (String, i64, String, i64, String, String, i64);

/// A row of the table, with whether its job is still held.
struct Known {
    maker: Maker,
    failed: bool,
    alive: bool,
}

impl Store {
    /// Who lives and is at what has these ingredients, if it is for this job to wait for them after
    /// having waited for `waited`.
    pub async fn maker(
        &self,
        lease: &Lease,
        ingredients: &Ingredients,
        waited: Option<&Maker>,
    ) -> Result<Option<Maker>, StoreError> {
        let row: Option<Row> = self.inner.main.one(MAKER, args![ingredients.key()]).await?;
        let turn = row.map(known).transpose()?.and_then(|known| theirs(&known, lease, waited));
        Ok(match turn {
            Some(Turn::Theirs(maker)) => Some(maker),
            Some(Turn::Free | Turn::Beside | Turn::Ours) | None => None,
        })
    }

    /// Asks for the turn to work out what has these ingredients, after having waited for `waited`:
    /// ours if nobody who lives is at it.
    pub async fn take_turn(
        &self,
        lease: &Lease,
        step: &StepId,
        ingredients: &Ingredients,
        waited: Option<&Maker>,
    ) -> Result<Turn, StoreError> {
        let key = ingredients.key();
        let row: Option<Row> = self.inner.main.one(MAKER, args![key.as_str()]).await?;
        if let Some(known) = row.map(known).transpose()?
            && let Some(turn) = theirs(&known, lease, waited)
        {
            return Ok(turn);
        }
        retried!(self.take_turn_once(lease, step, &key, waited))
    }

    async fn take_turn_once(
        &self,
        lease: &Lease,
        step: &StepId,
        key: &str,
        waited: Option<&Maker>,
    ) -> Result<Turn, StoreError> {
        loop {
            let mut tx = self.begin_lightly().await?;
            still_held(&mut tx, lease).await?;
            let row: Option<Row> = tx.one(MAKER, args![key]).await?;
            let taken = match row.map(known).transpose()? {
                None => tx.execute(BEGIN, args![key, lease.job, lease.epoch, step]).await?,
                Some(known) => {
                    if let Some(turn) = theirs(&known, lease, waited) {
                        return Ok(turn);
                    }
                    let (maker, failed) = (known.maker, known.failed);
                    let ours = args![key, lease.job, lease.epoch, step];
                    let seen = args![maker.job, maker.epoch, failed];
                    tx.execute(TAKE_OVER, [ours, seen].concat()).await?
                }
            };
            if taken > 0 {
                tx.commit().await?;
                return Ok(Turn::Ours);
            }
            // Another one was faster: see who.
        }
    }

    /// Ends a turn that left no result: `failed`, if whoever waits may well go on side by side.
    pub async fn end_turn(
        &self,
        lease: &Lease,
        ingredients: &Ingredients,
        failed: bool,
    ) -> Result<(), StoreError> {
        let statement = if failed { FAIL } else { GIVE_BACK };
        let ours = args![ingredients.key(), lease.job, lease.epoch];
        self.inner.main.execute(statement, ours).await.map(drop)
    }
}

/// Ends the turn with the result that it was taken for.
pub(super) async fn end(tx: &mut Tx<'_>, lease: &Lease, key: &str) -> Result<(), StoreError> {
    tx.execute(GIVE_BACK, args![key, lease.job, lease.epoch]).await.map(drop)
}

/// The answer where somebody else's turn stands in the way, or has just failed.
fn theirs(known: &Known, lease: &Lease, waited: Option<&Maker>) -> Option<Turn> {
    let maker = &known.maker;
    if maker.job == lease.job && maker.epoch == lease.epoch {
        return None;
    }
    if known.failed {
        let same = |waited: &Maker| waited.job == maker.job && waited.epoch == maker.epoch;
        return waited.is_some_and(same).then_some(Turn::Beside);
    }
    known.alive.then(|| Turn::Theirs(maker.clone()))
}

fn known((job, epoch, step, failed, run, connector, alive): Row) -> Result<Known, StoreError> {
    let maker = Maker {
        run: parse::<RunId>("jobs.run_id", &run)?,
        job: parse::<JobId>("making.job_id", &job)?,
        epoch,
        connector: parse::<ConnectorName>("jobs.connector", &connector)?,
        step: parse::<StepId>("making.step", &step)?,
    };
    Ok(Known { maker, failed: failed != 0, alive: alive != 0 })
}
