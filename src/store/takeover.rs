//! What a process that died without a word still holds, given up for it by its successor, or shown as what
//! it is by whoever is alive.

use super::Store;
use super::error::StoreError;
use super::jobs::restart_steps;
use super::settle::job_changed;
use crate::domain::ids::WorkerId;

statements! {
    EXPIRE_JOBS = sql!("update jobs set lease_until = 0 where state = 'running' and worker = $1");
    EXPIRE_PLANNING = sql!("update runs set lease_until = 0 where worker = $1 and state <> 'concluded'");
    EXPIRE_HEADS = sql!("update heads set lease_until = 0 where worker = $1");
    EXPIRE_ROTATIONS = sql!("update rotations set lease_until = 0 where worker = $1");
    EXPIRE_NAMED = sql!("update leases set lease_until = 0 where worker = $1");
    // Locks the row as a claim does, and leaves it to be claimed. Whoever held it may be alive after all: its
    // clock, or the database's, made a step. It is shut out as by a claim.
    DESERTED = skip_locked!(
        concat!(
            "update jobs set epoch = epoch + 1 where id = (select j.id from jobs j
                where j.state = 'running' and j.lease_until <= ", now!(), "
                    and exists (select 1 from steps s
                        where s.job_id = j.id and s.state = 'running')
                order by j.lease_until limit 1"
        ),
        ") returning id, run_id"
    );
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

    /// Of jobs whose lease is over, the steps that were running wait again: nobody runs them, and it may be
    /// long until somebody has a place for them. Answers how many jobs those are.
    pub async fn restart_deserted(&self) -> Result<u64, StoreError> {
        let mut restarted = 0;
        while retried!(self.restart_one())? {
            restarted += 1;
        }
        Ok(restarted)
    }

    async fn restart_one(&self) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let found: Option<(String, String)> = tx.one(DESERTED, args![]).await?;
        let Some((job, run)) = found else { return Ok(false) };
        restart_steps(&mut tx, &job).await?;
        job_changed(&mut tx, &run, &job).await?;
        tx.commit().await?;
        Ok(true)
    }
}
