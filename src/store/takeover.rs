//! What a process that died without a word still holds, given up for it by its successor.

use super::Store;
use super::error::StoreError;
use crate::domain::ids::WorkerId;

statements! {
    EXPIRE_JOBS = sql!("update jobs set lease_until = 0 where state = 'running' and worker = $1");
    EXPIRE_PLANNING = sql!("update runs set lease_until = 0 where worker = $1 and state <> 'concluded'");
    EXPIRE_HEADS = sql!("update heads set lease_until = 0 where worker = $1");
    EXPIRE_ROTATIONS = sql!("update rotations set lease_until = 0 where worker = $1");
    EXPIRE_NAMED = sql!("update leases set lease_until = 0 where worker = $1");
}

impl Store {
    /// Expires every lease of a worker that is known to be dead: its successor holds the lock of
    /// its place. What it held can be claimed at once; a late write of it is refused as ever,
    /// since every claim raises the epoch.
    pub async fn expire_leases_of(&self, worker: WorkerId) -> Result<(), StoreError> {
        let held = [EXPIRE_JOBS, EXPIRE_PLANNING, EXPIRE_HEADS, EXPIRE_ROTATIONS, EXPIRE_NAMED];
        for statement in held {
            self.inner.main.execute(statement, args![worker]).await?;
        }
        Ok(())
    }
}
