//! The last bytes that running steps printed. With `SQLite` they live in a file of their own, so that
//! intake is never behind logs; whole logs are objects.

use bytes::Bytes;

use super::Store;
use super::deliveries::held;
use super::error::StoreError;
use super::jobs::Lease;
use super::rows::{count, number};
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, StepId};

/// The last bytes that a running step printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTail {
    /// The offset of `bytes` in the whole log.
    pub start: u64,
    pub bytes: Bytes,
    pub attempt: u32,
    /// Nothing more will come.
    pub ended: bool,
}

/// Made at every start and not migrated: what is in it is of no worth after a day.
pub(super) const TABLE: &str = "create table if not exists log_tails (
    job_id TEXT not null,
    step TEXT not null,
    epoch BIGINT not null,
    attempt BIGINT not null,
    start_at BIGINT not null,
    ended BIGINT not null,
    written_at BIGINT not null,
    bytes BYTEA not null,
    primary key (job_id, step)
)";

statements! {
    WRITE = sql!(
        "insert into log_tails (job_id, step, epoch, attempt, start_at, ended, written_at, bytes)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (job_id, step) do update set epoch = excluded.epoch,
            attempt = excluded.attempt, start_at = excluded.start_at, ended = excluded.ended,
            written_at = excluded.written_at, bytes = excluded.bytes
         where log_tails.epoch <= excluded.epoch"
    );
    READ = sql!("select start_at, bytes, attempt, ended from log_tails where job_id = $1 and step = $2");
    FORGET = sql!("delete from log_tails where written_at < $1");
}

impl Store {
    /// Replaces the tail of a running step's log.
    pub async fn write_tail(
        &self,
        lease: &Lease,
        step: &StepId,
        tail: LogTail,
    ) -> Result<(), StoreError> {
        // Two databases, so two looks; in between only a holder with a higher epoch can have come,
        // and its tail is not written over.
        let now = self.held_at(lease).await?;
        let LogTail { start, bytes, attempt, ended } = tail;
        let row = args![lease.job, step, lease.epoch, attempt, start, ended, now, bytes];
        held(self.inner.logs.execute(WRITE, row).await?)
    }

    pub async fn tail(
        &self,
        run: RunId,
        connector: &ConnectorName,
        step: &StepId,
    ) -> Result<Option<LogTail>, StoreError> {
        let Some(job) = self.job_of(run, connector).await? else { return Ok(None) };
        let tail: Option<(i64, Vec<u8>, i64, i64)> =
            self.inner.logs.one(READ, args![job, step]).await?;
        Ok(tail.map(|(start, bytes, attempt, ended)| LogTail {
            start: number(start),
            bytes: bytes.into(),
            attempt: count(attempt),
            ended: ended != 0,
        }))
    }

    /// Tails that nobody has written to since (milliseconds since 1970).
    pub(super) async fn forget_tails(&self, since: i64) -> Result<(), StoreError> {
        self.inner.logs.execute(FORGET, args![since]).await.map(drop)
    }
}
