//! Secrets that connectors renew: kept sealed at once, and written back whatever becomes of the job,
//! by its holder or, when nobody holds it any more, by whoever comes first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::domain::builtin::Builtin;
use crate::domain::ids::WorkerId;
use crate::domain::names::SecretName;
use crate::domain::plan::Plan;
use crate::domain::renewal::{NotWritten, Renewed, WrittenBack, digest, hidden, sentences};
use crate::domain::run::StepRecord;
use crate::domain::secret::{SecretSource, SecretValue};
use crate::domain::state::{Outcome, StepState};
use crate::secrets::Providers;
use crate::secrets::gsm::Back;
use crate::secrets::seal::{NotOpened, Seal};
use crate::store::{Lease, NewRotation, Rotation, RotationRow, Store, StoreError};

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(45);
/// How long nobody else tries meanwhile: until then a try has ended, one way or another.
const TERM: Duration = Duration::from_mins(1);
/// How long what passes by itself keeps other jobs from the secret: an outage is shorter.
const OUTAGE: Duration = Duration::from_hours(12);
/// How long what somebody has to mend does: jobs would fail with the old value, and say why.
const MENDED: Duration = Duration::from_hours(1);
/// How often is looked whether somebody else's try has ended.
const LOOK: Duration = Duration::from_millis(500);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// How many values that came before are known.
const BEFORE: usize = 64;

/// Keeps and writes back.
#[derive(Debug, Clone)]
pub struct Keeper {
    pub store: Store,
    pub providers: Arc<Providers>,
    pub seal: Arc<Seal>,
    pub worker: WorkerId,
}

/// What lies sealed in the database.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Digests of the values that this one came from: what may be replaced by it.
    before: Vec<String>,
    /// A configuration is JSON, and so a text.
    value: String,
}

impl Keeper {
    /// Writes back what no job that runs will; false when nothing is due.
    pub async fn pass(&self) -> anyhow::Result<bool> {
        // Where there are no credentials, others have them.
        if self.providers.gsm().is_none() {
            return Ok(false);
        }
        let Some(rotation) = self.store.claim_rotation(self.worker, TERM).await? else {
            return Ok(false);
        };
        self.write(&rotation).await?;
        Ok(true)
    }

    /// One try, and what came of it, written down.
    async fn write(&self, rotation: &Rotation) -> Result<WrittenBack, StoreError> {
        let (secret, job) = (&rotation.secret, rotation.job);
        let tried = tokio::time::timeout(PATIENCE, self.try_to_write(rotation)).await;
        let tried = tried.unwrap_or_else(|_| {
            let why = format!("it was not done within {} s", PATIENCE.as_secs());
            Err(NotWritten { why, passes: true })
        });
        match &tried {
            Ok(told) => {
                self.store.settle_rotation(rotation, told).await?;
                info!(secret, %job, "a renewed secret was {told}");
            }
            Err(NotWritten { why, passes }) => {
                let pause = pause(rotation.attempt);
                warn!(secret, %job, "a renewed secret is written back later: {why}");
                let patience = if *passes { OUTAGE } else { MENDED };
                self.store.retry_rotation(rotation, pause, why, patience).await?;
            }
        }
        Ok(WrittenBack { secret: rotation.name.clone(), told: tried })
    }

    async fn try_to_write(&self, rotation: &Rotation) -> Result<String, NotWritten> {
        let for_good = |why: String| NotWritten { why, passes: false };
        let kept = self.open(rotation).map_err(|error| for_good(error.to_string()))?;
        let value = SecretValue::new(kept.value.into_bytes());
        let gsm = self
            .providers
            .gsm()
            .ok_or_else(|| for_good("GCP_GSM_CREDENTIALS is not set where this runs".to_owned()))?;
        let (own, before) = (digest(&value), kept.before);
        let is_same = |there: &SecretValue| digest(there) == own;
        let is_before = |there: &SecretValue| before.contains(&digest(there));
        let place = (&rotation.connector, rotation.file.as_str());
        match gsm.write_back(place, &value, (is_same, is_before)).await {
            Ok(back) => Ok(told(&back)),
            Err(error) => {
                let why = hidden(&value, &rotation.connector, &error.to_string());
                Err(NotWritten { why, passes: error.passes })
            }
        }
    }

    fn open(&self, rotation: &Rotation) -> Result<Kept, NotOpened> {
        let opened = self.seal.open(&rotation.secret, &rotation.sealed)?;
        serde_json::from_slice(opened.expose_secret()).map_err(|_| NotOpened)
    }

    fn sealed(&self, secret: &str, kept: &Kept) -> Result<Vec<u8>, NotOpened> {
        let plain = serde_json::to_vec(kept).map_err(|_| NotOpened)?;
        self.seal.seal(secret, &plain)
    }
}

/// What was done, as it goes on behind a secret's name.
pub fn told(back: &Back) -> String {
    match back {
        Back::Written { version, disabled: 0 } => format!("written back as version {version}"),
        Back::Written { version, disabled: 1 } => {
            format!("written back as version {version}, the one before it disabled")
        }
        Back::Written { version, disabled } => {
            format!("written back as version {version}, {disabled} before it disabled")
        }
        Back::Superseded { version } => format!(
            "not written back, since somebody else put version {version} there meanwhile, which stays"
        ),
    }
}

fn pause(attempt: u32) -> Duration {
    let doubled = 2_u64.saturating_pow(attempt.saturating_sub(1).min(16));
    Duration::from_secs(doubled).min(LONGEST_PAUSE)
}

/// The secrets that one job renews, under its lease.
pub(super) struct JobRotations<'a> {
    keeper: &'a Keeper,
    lease: &'a Lease,
    plan: &'a Plan,
    /// Digests of the values that each secret had so far.
    before: Mutex<BTreeMap<SecretName, Vec<String>>>,
}

/// Why a value could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the secret `{0}` can't be sealed")]
    Seal(SecretName),
}

impl<'a> JobRotations<'a> {
    pub(super) fn new(keeper: &'a Keeper, lease: &'a Lease, plan: &'a Plan) -> Self {
        Self { keeper, lease, plan, before: Mutex::default() }
    }

    /// Keeps a value that the connector gave.
    pub(super) async fn renewed(&self, renewed: &Renewed) -> Result<(), NotKept> {
        let name = &renewed.secret;
        let spec = self.plan.secrets().iter().find(|spec| spec.name == *name);
        // Nothing else is ever said to be renewed on a server.
        let Some((SecretSource::Gsm { file }, Some(secret))) =
            spec.map(|spec| (&spec.source, spec.source.shared(self.plan.connector())))
        else {
            return Ok(());
        };
        let unsealed = || NotKept::Seal(name.clone());
        let value = String::from_utf8(renewed.value.expose().to_vec()).map_err(|_| unsealed())?;
        let kept = Kept { before: self.known(renewed), value };
        let sealed = self.keeper.sealed(&secret, &kept).map_err(|_| unsealed())?;
        let connector = self.plan.connector();
        let rotation = NewRotation { secret: &secret, name, connector, file, sealed };
        Ok(self.keeper.store.keep_rotation(self.lease, &rotation).await?)
    }

    fn known(&self, renewed: &Renewed) -> Vec<String> {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let known = before.entry(renewed.secret.clone()).or_default();
        known.push(digest(&renewed.before));
        if known.len() > BEFORE {
            // The first one is what lies there while nothing was written back yet.
            known.remove(1);
        }
        known.clone()
    }

    /// Writes back those of these secrets that the job renewed; answers what came of all of them, also
    /// of those that are back already.
    pub(super) async fn write_back(
        &self,
        names: &[SecretName],
    ) -> Result<Vec<WrittenBack>, StoreError> {
        let mut done = Vec::new();
        let rows = self.keeper.store.rotations_of(self.lease.job).await?;
        for row in rows.into_iter().filter(|row| names.contains(&row.name)) {
            done.push(if row.pending { self.write_one(row).await? } else { by_another(row) });
        }
        Ok(done)
    }

    /// What is left of it, at the end of a job or before one that goes on begins. Answers what came of
    /// that alone.
    pub(super) async fn write_rest(&self) -> Result<Vec<WrittenBack>, StoreError> {
        let mut done = Vec::new();
        let rows = self.keeper.store.rotations_of(self.lease.job).await?;
        for row in rows.into_iter().filter(|row| row.pending) {
            done.push(self.write_one(row).await?);
        }
        Ok(done)
    }

    /// Waits for whoever else is at it.
    async fn write_one(&self, mut row: RotationRow) -> Result<WrittenBack, StoreError> {
        let (store, begun) = (&self.keeper.store, Instant::now());
        loop {
            if let Some(rotation) = store.claim_rotation_of(self.lease, &row.secret, TERM).await? {
                return self.keeper.write(&rotation).await;
            }
            if begun.elapsed() > TERM * 2 {
                let why = "another process has been at it for too long".to_owned();
                return Ok(WrittenBack {
                    secret: row.name,
                    told: Err(NotWritten { why, passes: true }),
                });
            }
            let rows = store.rotations_of(self.lease.job).await?;
            match rows.into_iter().find(|other| other.secret == row.secret) {
                Some(now) if now.pending => row = now,
                Some(now) => return Ok(by_another(now)),
                None => return Ok(by_another(row)),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn by_another(row: RotationRow) -> WrittenBack {
    let told = row.told.unwrap_or_else(|| "written back".to_owned());
    WrittenBack { secret: row.name, told: Ok(told) }
}

/// Why each of these could not be written back.
pub(super) fn unwritten(done: &[WrittenBack]) -> BTreeMap<SecretName, String> {
    let failed = done.iter().filter_map(|done| {
        let NotWritten { why, .. } = done.told.as_ref().err()?;
        let why = format!("the connector updated it, and that is not written back yet: {why}");
        Some((done.secret.clone(), why))
    });
    failed.collect()
}

/// Tells at the steps that write back what was done after them, or instead of them.
pub fn tell(plan: &Plan, records: &mut [StepRecord], done: &[WrittenBack]) {
    for record in records {
        let Some(spec) = plan.step(&record.id).filter(|spec| spec.is(Builtin::UploadSecrets))
        else {
            continue;
        };
        let own: BTreeSet<&SecretName> = spec.secrets.iter().collect();
        let own = done.iter().filter(|done| own.contains(&done.secret)).cloned();
        let own: Vec<WrittenBack> = own.collect();
        if own.is_empty() {
            continue;
        }
        let failed = own.iter().any(|done| done.told.is_err());
        let mut reason = record.facts.reason.take();
        if let StepState::Finished { outcome, .. } = &mut record.state {
            if *outcome == Outcome::Errored && !failed {
                // It was not done then, and is now.
                *outcome = Outcome::Succeeded;
                reason = None;
            } else if *outcome == Outcome::Succeeded && failed {
                *outcome = Outcome::Errored;
            }
        }
        let reason = reason.map(|reason| format!("{reason}; ")).unwrap_or_default();
        record.facts.reason = Some(reason + &sentences(&own));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient;
    use crate::domain::pipeline::StepSpec;
    use crate::domain::plan::Inputs;
    use crate::domain::run::StepFacts;

    fn told_at(outcome: Outcome, reason: Option<&str>, told: Result<&str, &str>) -> StepRecord {
        let config: SecretName = "config".parse().unwrap();
        let spec = StepSpec {
            uses: Some(Builtin::UploadSecrets.into()),
            secrets: vec![config.clone()],
            ..StepSpec::new("upload".parse().unwrap())
        };
        let name = "source-x".parse().unwrap();
        let plan = Plan::new(name, String::new(), Inputs::default(), vec![spec]).unwrap();
        let now = ambient::now();
        let mut records = [StepRecord {
            id: "upload".parse().unwrap(),
            state: StepState::Finished { started_at: now, finished_at: now, outcome },
            attempt: 1,
            queued_at: now,
            facts: StepFacts { reason: reason.map(str::to_owned), ..StepFacts::default() },
        }];
        let failed = |why: &str| NotWritten { why: why.to_owned(), passes: true };
        let told = told.map(str::to_owned).map_err(failed);
        tell(&plan, &mut records, &[WrittenBack { secret: config, told }]);
        let [record] = records;
        record
    }

    #[test]
    fn what_came_of_it_after_the_step_is_told_at_the_step() {
        let cases = [
            (Outcome::Succeeded, Err("no"), Outcome::Errored, "before; secret `config`: no"),
            (Outcome::Errored, Ok("yes"), Outcome::Succeeded, "secret `config`: yes"),
            (Outcome::Errored, Err("no"), Outcome::Errored, "before; secret `config`: no"),
            (Outcome::Cancelled, Ok("yes"), Outcome::Cancelled, "before; secret `config`: yes"),
            (Outcome::Cancelled, Err("no"), Outcome::Cancelled, "before; secret `config`: no"),
        ];
        for (outcome, told, then, reason) in cases {
            let record = told_at(outcome, Some("before"), told);
            assert_eq!(record.state.outcome(), Some(then), "{reason}");
            assert_eq!(record.facts.reason.as_deref(), Some(reason));
        }
    }

    #[test]
    fn tries_come_at_longer_and_longer_intervals() {
        let pauses = [1, 2, 3, 4, 20, u32::MAX].map(|attempt| pause(attempt).as_secs());
        assert_eq!(pauses, [1, 2, 4, 8, 300, 300]);
    }
}
