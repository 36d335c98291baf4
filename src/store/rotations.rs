//! Secrets that connectors renew. What a job renewed lies here, sealed, until it is back where it
//! comes from; the job's lock on the secret lasts until then, whatever becomes of the job.

use std::time::Duration;

use bytes::Bytes;

use super::Store;
use super::deliveries::held;
use super::error::StoreError;
use super::jobs::{Lease, still_held};
use super::nudge::Topic;
use super::pool::Tx;
use super::rows::{count, parse};
use crate::domain::ids::{JobId, WorkerId};
use crate::domain::names::{ConnectorName, SecretName};
use crate::domain::plan::Plan;

/// A secret that a job renewed.
#[derive(Debug, Clone)]
pub struct NewRotation<'a> {
    /// The name under which jobs share it.
    pub secret: &'a str,
    pub name: &'a SecretName,
    pub connector: &'a ConnectorName,
    pub file: &'a str,
    /// Never in clear.
    pub sealed: Vec<u8>,
}

/// The right to write one back for a while. Made by a claim alone.
#[derive(Debug)]
pub struct Rotation {
    pub secret: String,
    pub job: JobId,
    pub name: SecretName,
    pub connector: ConnectorName,
    pub file: String,
    pub sealed: Vec<u8>,
    /// How often it was tried, this time included.
    pub attempt: u32,
    version: i64,
    epoch: i64,
}

/// What is known of a secret that a job renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationRow {
    pub secret: String,
    pub name: SecretName,
    /// Is it yet to be written back?
    pub pending: bool,
    /// What was done with it.
    pub told: Option<String>,
}

macro_rules! rotation_columns {
    () => {
        "secret, job_id, name, connector, file, sealed, attempt, version, epoch"
    };
}

macro_rules! take {
    () => {
        concat!(
            "update rotations set worker = $1, epoch = epoch + 1, attempt = attempt + 1,
                lease_until = ",
            now!(),
            " + $2"
        )
    };
}

/// Locks of nobody: their job does not run, and nothing of theirs is left to be written back.
macro_rules! free {
    ($which:literal) => {
        concat!(
            "delete from secret_locks where ",
            $which,
            " not exists (select 1 from rotations r
                where r.secret = secret_locks.secret and r.sealed is not null and r.lets_go = 0)
            and not exists (select 1 from jobs j
                where j.id = secret_locks.job_id and j.state = 'running')"
        )
    };
}

statements! {
    WANTED = sql!("select secret from job_secrets where job_id = $1 order by secret");
    LOCK = sql!(
        "insert into secret_locks (secret, job_id) values ($2, $1)
         on conflict (secret) do update set job_id = excluded.job_id
         where secret_locks.job_id = excluded.job_id"
    );
    NEED = sql!("insert into job_secrets (job_id, secret) values ($1, $2)");
    FREE_JOB = sql!(free!("job_id = $1 and"));
    FREE_SECRET = sql!(free!("secret = $1 and"));
    FREE_ALL = sql!(free!(""));
    RENEW = sql!(
        "insert into rotations (secret, job_id, name, connector, file, sealed, since)
         values ($1, $2, $3, $4, $5, $6, ", now!(), ")
         on conflict (secret, job_id) do update set sealed = excluded.sealed,
            version = rotations.version + 1, since = excluded.since, told = null, error = null,
            due_at = 0, attempt = 0, lets_go = 0"
    );
    OF_JOB = sql!(
        "select secret, name, told, cast(case when sealed is null then 0 else 1 end as bigint)
         from rotations where job_id = $1 order by secret"
    );
    CLAIM_ONE = sql!(
        take!(), " where job_id = $3 and secret = $4 and sealed is not null
            and lease_until <= ", now!(), " returning ", rotation_columns!()
    );
    // Asked before the claim, so that loops leave SQLite's writer alone.
    DUE = sql!(
        "select attempt from rotations where sealed is not null and due_at <= ", now!(), "
            and lease_until <= ", now!(), " limit 1"
    );
    // What a job holds that runs is its holder's to write back.
    CLAIM = skip_locked!(
        concat!(
            take!(), " where (secret, job_id) = (select secret, job_id from rotations q
                where q.sealed is not null and q.due_at <= ", now!(), "
                    and q.lease_until <= ", now!(), "
                    and not exists (select 1 from jobs j where j.id = q.job_id
                        and j.state = 'running' and j.lease_until > ", now!(), ")
                order by q.due_at, q.secret limit 1"
        ),
        concat!(") returning ", rotation_columns!())
    );
    SETTLE = sql!(
        "update rotations set sealed = null, told = $5, error = null, worker = null,
            lease_until = 0
         where secret = $1 and job_id = $2 and version = $3 and epoch = $4"
    );
    // Another value came meanwhile: that one is due at once.
    GIVE_BACK = sql!(
        "update rotations set worker = null, lease_until = 0
         where secret = $1 and job_id = $2 and epoch = $3"
    );
    RETRY = sql!(
        "update rotations set worker = null, lease_until = 0, due_at = ", now!(), " + $4,
            error = $5, lets_go = case when ", now!(), " - since > $6 then 1 else lets_go end
         where secret = $1 and job_id = $2 and epoch = $3"
    );
    FORGET = sql!("delete from rotations where since < ", now!(), " - $1");
}

type ClaimedRow = (String, String, String, String, String, Vec<u8>, i64, i64, i64);

impl Store {
    /// Keeps a value that a job's connector gave, in place of the one before.
    pub async fn keep_rotation(
        &self,
        lease: &Lease,
        new: &NewRotation<'_>,
    ) -> Result<(), StoreError> {
        retried!(self.keep_rotation_once(lease, new))
    }

    async fn keep_rotation_once(
        &self,
        lease: &Lease,
        new: &NewRotation<'_>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        still_held(&mut tx, lease).await?;
        let sealed = Bytes::copy_from_slice(&new.sealed);
        let name = new.name.as_str();
        let values = args![new.secret, lease.job, name, new.connector, new.file, sealed];
        tx.execute(RENEW, values).await?;
        tx.commit().await
    }

    /// What a job renewed so far, whoever held it then.
    pub async fn rotations_of(&self, job: JobId) -> Result<Vec<RotationRow>, StoreError> {
        let rows: Vec<(String, String, Option<String>, i64)> =
            self.inner.main.all(OF_JOB, args![job]).await?;
        let row = |(secret, name, told, pending): (String, String, Option<String>, i64)| {
            let name = parse("rotations.name", &name)?;
            Ok(RotationRow { secret, name, pending: pending != 0, told })
        };
        rows.into_iter().map(row).collect()
    }

    /// The right to write back what a job renewed, for its holder; `None` where somebody is at it, or
    /// nothing is left of it.
    pub async fn claim_rotation_of(
        &self,
        lease: &Lease,
        secret: &str,
        term: Duration,
    ) -> Result<Option<Rotation>, StoreError> {
        let mut tx = self.begin().await?;
        still_held(&mut tx, lease).await?;
        let claim = args![lease.worker, term, lease.job, secret];
        let claimed: Option<ClaimedRow> = tx.one(CLAIM_ONE, claim).await?;
        tx.commit().await?;
        claimed.map(rotation).transpose()
    }

    /// The right to write back what no job that runs will: the one that has been due the longest.
    pub async fn claim_rotation(
        &self,
        worker: WorkerId,
        term: Duration,
    ) -> Result<Option<Rotation>, StoreError> {
        let due: Option<(i64,)> = self.inner.main.one(DUE, args![]).await?;
        if due.is_none() {
            return Ok(None);
        }
        let mut tx = self.begin().await?;
        let claimed: Option<ClaimedRow> = tx.one(CLAIM, args![worker, term]).await?;
        tx.commit().await?;
        claimed.map(rotation).transpose()
    }

    /// It is back, unless another value came meanwhile; frees the lock of a job that has ended.
    pub async fn settle_rotation(&self, rotation: &Rotation, told: &str) -> Result<(), StoreError> {
        retried!(self.settle_rotation_once(rotation, told))
    }

    async fn settle_rotation_once(
        &self,
        rotation: &Rotation,
        told: &str,
    ) -> Result<(), StoreError> {
        let Rotation { secret, job, version, epoch, .. } = rotation;
        let mut tx = self.begin().await?;
        let values = args![secret.as_str(), job, *version, *epoch, told];
        if tx.execute(SETTLE, values).await? == 0 {
            held(tx.execute(GIVE_BACK, args![secret.as_str(), job, *epoch]).await?)?;
        }
        tx.execute(FREE_SECRET, args![secret.as_str()]).await?;
        tx.nudge(Topic::Jobs);
        tx.commit().await
    }

    /// Not yet: whoever may tries again after this long. Once it has been due for `patience`, what
    /// it keeps from other jobs is free again, as soon as its own has ended.
    pub async fn retry_rotation(
        &self,
        rotation: &Rotation,
        after: Duration,
        why: &str,
        patience: Duration,
    ) -> Result<(), StoreError> {
        let Rotation { secret, job, epoch, .. } = rotation;
        let mut tx = self.begin().await?;
        let values = args![secret.as_str(), job, *epoch, after, why, patience];
        held(tx.execute(RETRY, values).await?)?;
        if tx.execute(FREE_SECRET, args![secret.as_str()]).await? > 0 {
            tx.nudge(Topic::Jobs);
        }
        tx.commit().await
    }

    /// Frees what nobody holds any more, should two that ended at once have left it to each other.
    pub async fn free_secrets(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if tx.execute(FREE_ALL, args![]).await? > 0 {
            tx.nudge(Topic::Jobs);
        }
        tx.commit().await
    }

    /// Forgets what was written back this long ago, and what could not be for as long: by then
    /// nothing that was renewed is of use.
    pub async fn forget_rotations(&self, older_than: Duration) -> Result<(), StoreError> {
        self.inner.main.execute(FORGET, args![older_than]).await.map(drop)
    }
}

/// Takes the locks that a job needs; false if another job has one of them.
pub(super) async fn lock(tx: &mut Tx<'_>, job: &str) -> Result<bool, StoreError> {
    let wanted: Vec<(String,)> = tx.all(WANTED, args![job]).await?;
    for (secret,) in wanted {
        if tx.execute(LOCK, args![job, secret]).await? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Frees the locks of a job that runs no more, but for secrets that are yet to be written back.
pub(super) async fn free(tx: &mut Tx<'_>, job: &str) -> Result<(), StoreError> {
    if tx.execute(FREE_JOB, args![job]).await? > 0 {
        tx.nudge(Topic::Jobs);
    }
    Ok(())
}

/// Notes which secrets a job must have for itself.
pub(super) async fn need(tx: &mut Tx<'_>, job: JobId, plan: &Plan) -> Result<(), StoreError> {
    for secret in plan.exclusive_secrets() {
        tx.execute(NEED, args![job, secret]).await?;
    }
    Ok(())
}

fn rotation(row: ClaimedRow) -> Result<Rotation, StoreError> {
    let (secret, job, name, connector, file, sealed, attempt, version, epoch) = row;
    Ok(Rotation {
        secret,
        job: parse("rotations.job_id", &job)?,
        name: parse("rotations.name", &name)?,
        connector: parse("rotations.connector", &connector)?,
        file,
        sealed,
        attempt: count(attempt),
        version,
        epoch,
    })
}
