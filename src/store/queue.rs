//! How much there is to do, in numbers.

use super::Store;
use super::error::StoreError;
use super::rows::number;

/// `/api/v1/queue`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Queue {
    pub idle: bool,
    pub queued: u64,
    pub running: u64,
    pub oldest_seconds: u64,
    pub deliveries_pending: u64,
    pub checks_pending: u64,
}

statements! {
    // Deliveries and heads that wait for a later try count: they are not done. Nor is a run whose
    // objects have not got their final names: its stored report is not published yet. Nor is a
    // renewed secret that is not back where it comes from.
    QUEUE = sql!(
        "select
            (select count(*) from jobs where state = 'queued')
                + (select count(*) from runs where planned_at is null and state = 'queued'),
            (select count(*) from jobs where state = 'running'),
            (select count(*) from deliveries where state = 'waiting'),
            (select count(*) from heads
                where (version > published_version or again_at is not null) and repository_id
                not in (select id from repositories where withdrawn is not null)),
            (select count(*) from runs where archived_at is null and state = 'concluded'),
            (select count(*) from rotations where sealed is not null),
            (select min(created_at) from (
                select created_at from jobs where state = 'queued'
                union all
                select created_at from runs where planned_at is null and state = 'queued'
            ) as waiting),
            now from clock"
    );
    DELIVERIES = sql!("select event, state, count(*) from deliveries group by event, state order by event, state");
    MISSING = sql!("select state, count(*) from missing group by state order by state");
    CALLS = sql!("select name, calls from recovery");
    RUNS = sql!("select triggered_by, coalesce(conclusion, state), count(*) from runs group by 1, 2 order by 1, 2");
    MENDS = sql!("select what, times from mends order by what");
    UNARCHIVED = sql!("select count(*) from jobs where state = 'concluded' and archived_at is null");
    STEPS = sql!("select state, coalesce(outcome, state), count(*) from steps group by 1, 2 order by 1, 2");
}

/// Queued, running, deliveries, heads, unarchived runs, renewed secrets; the oldest that waits, and
/// the clock.
type QueueRow = (i64, i64, i64, i64, i64, i64, Option<i64>, i64);

/// A metric's name, its labels and its value.
pub type Sample = (String, Vec<(String, String)>, i64);

impl Store {
    pub async fn queue(&self) -> Result<Queue, StoreError> {
        let row: Option<QueueRow> = self.inner.main.one(QUEUE, args![]).await?;
        let (queued, running, deliveries, heads, unarchived, renewed, oldest, now) =
            row.ok_or_else(|| StoreError::Inconsistent("its clock has no time".to_owned()))?;
        Ok(Queue {
            idle: queued + running + deliveries + heads + unarchived + renewed == 0,
            queued: number(queued),
            running: number(running),
            oldest_seconds: oldest.map_or(0, |oldest| number(now - oldest) / 1000),
            deliveries_pending: number(deliveries),
            checks_pending: number(heads),
        })
    }

    /// Numbers for `/metrics`: deliveries by event and how they were handled, those that never came, runs
    /// and steps by outcome.
    /// They are what the database holds now: retention lowers them.
    pub async fn counts(&self) -> Result<Vec<Sample>, StoreError> {
        let mut tx = self.snapshot().await?;
        let mut samples = Vec::new();
        for (statement, name, labels) in [
            (DELIVERIES, "checkvalve_deliveries", ["event", "state"]),
            (RUNS, "checkvalve_runs", ["trigger", "conclusion"]),
            (STEPS, "checkvalve_steps", ["state", "outcome"]),
        ] {
            let rows: Vec<(String, String, i64)> = tx.all(statement, args![]).await?;
            samples.extend(rows.into_iter().map(|(first, second, count)| {
                let labels = labels.map(str::to_owned).into_iter().zip([first, second]);
                (name.to_owned(), labels.collect(), count)
            }));
        }
        for (statement, name, label) in [
            (MISSING, "checkvalve_deliveries_missing", "state"),
            (CALLS, "checkvalve_recovery_calls", "of"),
            (MENDS, "checkvalve_heads_compared_total", "found"),
        ] {
            let rows: Vec<(String, i64)> = tx.all(statement, args![]).await?;
            samples.extend(
                rows.into_iter().map(|(value, count)| {
                    (name.to_owned(), vec![(label.to_owned(), value)], count)
                }),
            );
        }
        let (unarchived,): (i64,) = tx.one(UNARCHIVED, args![]).await?.unwrap_or_default();
        samples.push(("checkvalve_jobs_unarchived".to_owned(), Vec::new(), unarchived));
        Ok(samples)
    }
}
