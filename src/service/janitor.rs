//! What dead workers and time leave behind is cleared: containers, leases, old runs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tracing::{info, warn};

use super::archive::Archivist;
use crate::domain::ids::WorkerId;
use crate::exec::docker::Reaper;
use crate::store::Store;

/// GitHub ends check runs itself that are open for 14 days, as stale and without a word. A run for
/// which nobody found the time until now ends before, and says so.
const TOO_OLD: Duration = Duration::from_hours(24 * 13);

/// GitHub gives a merge group's checks six hours at most, and merges or drops it when they are over. Of
/// one that is there after this, nobody was told what came of it.
const UNHEARD: Duration = Duration::from_hours(24);

/// How long the janitor's lease holds; also its period, and a bit.
const TERM: Duration = Duration::from_secs(90);

/// Bytes of the snapshots that an engine keeps.
const SNAPSHOTS: u64 = 20 << 30;

/// Clears up.
#[derive(Debug, Clone)]
pub struct Janitor {
    pub store: Store,
    pub archivist: Archivist,
    /// Absent with the host executor.
    pub reaper: Option<Reaper>,
    pub worker: WorkerId,
    pub retention: Duration,
    /// Built images that could not be removed: not tried again until snapshots are looked at.
    pub kept: Arc<Mutex<BTreeSet<String>>>,
}

impl Janitor {
    /// Removes this host's containers with their networks, and what steps left to their heirs, whose
    /// job is held by no one under their epoch, and layers of builds that are over. Every host does
    /// this for its own engine.
    pub async fn reap(&self) -> anyhow::Result<bool> {
        let Some(reaper) = &self.reaper else { return Ok(false) };
        let done = self.reap_jobs(reaper).await;
        // It may take long, and nothing else waits for it.
        if let Err(error) = reaper.clear_builds().await {
            warn!("what builds left was not looked at: {error}");
        }
        done.map(|()| false)
    }

    async fn reap_jobs(&self, reaper: &Reaper) -> anyhow::Result<()> {
        let (owned, shares) = (reaper.owned().await?, reaper.shares().await?);
        let networks = reaper.networks().await?;
        if owned.is_empty() && shares.is_empty() && networks.is_empty() {
            return Ok(());
        }
        let all = owned.iter().chain(&shares).chain(&networks);
        let pairs: Vec<_> = all.map(|(_, job, epoch)| (*job, *epoch)).collect();
        let alive: BTreeSet<_> = self.store.alive(&pairs).await?.into_iter().collect();
        let dead = owned.iter().filter(|(_, job, epoch)| !alive.contains(&(*job, *epoch)));
        for (container, job, epoch) in dead {
            info!(%job, epoch, container, "removing what a dead worker left");
            if let Err(error) = reaper.remove(container).await {
                warn!(container, "not removed: {error}");
            }
        }
        for (network, job, epoch) in
            networks.iter().filter(|(_, job, epoch)| !alive.contains(&(*job, *epoch)))
        {
            info!(%job, epoch, network, "removing what a dead worker left");
            if let Err(error) = reaper.disconnect(network).await {
                warn!(network, "not removed: {error}");
            }
        }
        for (share, job, epoch) in
            shares.iter().filter(|(_, job, epoch)| !alive.contains(&(*job, *epoch)))
        {
            info!(%job, epoch, share, "removing what a dead worker left");
            reaper.forget(share).await;
        }
        Ok(())
    }

    /// Removes images that were built for jobs that are over. A worker that dies after a build, and before it
    /// has noted it, leaves one of which nobody knows: whoever goes on with its job builds another one
    /// under the same name.
    pub async fn reap_built(&self) -> anyhow::Result<bool> {
        let Some(reaper) = &self.reaper else { return Ok(false) };
        let mut built = reaper.built().await?;
        let mut kept = self.kept.lock().await;
        // What something still needs is tried again once somebody else's may be gone.
        built.retain(|(image, _)| !kept.contains(image));
        if built.is_empty() {
            return Ok(false);
        }
        let jobs: Vec<_> = built.iter().map(|(_, job)| *job).collect();
        // A job whose worker died goes on with what it built, here or elsewhere.
        let open = self.store.open_jobs(&jobs).await?;
        for (image, job) in built.iter().filter(|(_, job)| !open.contains(job)) {
            info!(%job, image, "removing what was built for a job that is over");
            if !reaper.forget_built(image).await {
                kept.insert(image.clone());
            }
        }
        Ok(false)
    }

    /// Removes snapshots that were not used for long, or are too many, from this host's engine.
    pub async fn trim(&self) -> anyhow::Result<bool> {
        let Some(reaper) = &self.reaper else { return Ok(false) };
        self.kept.lock().await.clear();
        let gone = reaper.trim_snapshots(self.retention, SNAPSHOTS).await?;
        if gone > 0 {
            info!(snapshots = gone, "file systems that nobody used were removed");
        }
        Ok(false)
    }

    /// Settles what was abandoned and enforces retention: one process at a time.
    pub async fn tidy(&self) -> anyhow::Result<bool> {
        if !self.store.hold("janitor", self.worker, TERM).await? {
            return Ok(false);
        }
        let settled = self.store.settle_abandoned().await?;
        if settled > 0 {
            warn!(jobs = settled, "abandoned jobs were settled");
        }
        let deserted = self.store.restart_deserted().await?;
        if deserted > 0 {
            warn!(jobs = deserted, "their workers are gone: what ran there waits again");
        }
        for run in self.store.runs_open_for(TOO_OLD).await? {
            warn!(run.id = %run, "ended: it was open for 13 days");
            let why =
                "it did not end within 13 days, and GitHub waits for 14; `/retest` begins anew";
            self.store.cancel_run(run, None, why).await?;
        }
        let unheard = self.store.end_groups_unheard(UNHEARD).await?;
        if unheard > 0 {
            info!(groups = unheard, "merge groups of which nothing was heard count as gone");
        }
        self.store.free_secrets().await?;
        self.store.forget(self.retention).await?;
        self.store.forget_rotations(self.retention).await?;
        self.forget().await
    }

    /// Objects first: after a crash in between the row leads to what is left of them. True if there
    /// may be more.
    async fn forget(&self) -> anyhow::Result<bool> {
        let mut forgotten = 0;
        for run in self.store.expired_runs(self.retention).await? {
            if let Err(error) = self.archivist.forget(&run).await {
                warn!(run.id = %run.id, "not forgotten, its objects are still there: {error}");
                continue;
            }
            self.store.forget_run(run.id).await?;
            info!(run.id = %run.id, "forgotten: older than CHECKVALVE_RETENTION");
            forgotten += 1;
        }
        Ok(forgotten > 0)
    }
}
