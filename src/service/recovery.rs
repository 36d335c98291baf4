//! What never came is found: GitHub's log of deliveries is compared with what we hold, open pull
//! requests with the runs that were made of them, and what people said in comments with what was
//! obeyed. At start and every few minutes, by one process.

mod comments;
mod log;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::intake::Intake;
use crate::domain::ids::WorkerId;
use crate::github::{PullsBefore, in_background};
use crate::store::StoreError;

/// The name of its lease.
const LEASE: &str = "recovery";
/// How much longer than a pause the lease holds: a pass takes its time, and renews it on the way.
const MORE: Duration = Duration::from_mins(1);

/// Finds what never came.
#[derive(Clone)]
pub struct Recovery {
    /// Does what an event would have done.
    pub intake: Intake,
    pub worker: WorkerId,
    /// How often it looks; what depends on how often is kept to by this, too.
    pub every: Duration,
    /// How long we hold what came (`CHECKVALVE_RETENTION`): what is older may be forgotten, not lost.
    pub kept: Duration,
    pub memory: Arc<Mutex<Memory>>,
}

/// What this process remembers between two passes. Without it more is asked, and nothing else.
#[derive(Debug, Default)]
pub struct Memory {
    /// When open pull requests and comments were looked at last.
    swept: Option<Instant>,
    /// What the last look at each repository left.
    looks: BTreeMap<u64, Look>,
    /// What the last look at each repository's comments left.
    heard: BTreeMap<u64, comments::Heard>,
    /// Comments, by repository, that were tried in vain.
    owed: BTreeMap<(u64, u64), comments::Owed>,
    /// The log can't be had here, and that was said.
    no_log: bool,
}

/// A look at a repository's open pull requests.
#[derive(Debug, Default, Clone)]
struct Look {
    before: Option<PullsBefore>,
    /// Looks since all of them were seen.
    since_whole: u32,
}

impl Recovery {
    /// Looks once. True if there is more to ask for at once.
    pub async fn pass(&self, stop: &CancellationToken) -> anyhow::Result<bool> {
        if !self.hold().await? {
            return Ok(false);
        }
        // The one must not keep the other from its work.
        let more = match self.compare(stop).await {
            Ok(more) => more,
            Err(error) => {
                warn!("GitHub's log of deliveries was not compared: {error}");
                false
            }
        };
        if self.is_to_sweep() {
            in_background(Box::pin(self.sweep(stop))).await?;
        }
        Ok(more && !stop.is_cancelled())
    }

    /// The lease, (again) for as long as two looks and a bit.
    async fn hold(&self) -> Result<bool, StoreError> {
        self.intake.store.hold(LEASE, self.worker, self.every * 2 + MORE).await
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes that ask for deliveries follow one another; sweeps have their pauses.
    fn is_to_sweep(&self) -> bool {
        let mut memory = self.memory();
        let due = memory.swept.is_none_or(|swept| swept.elapsed() * 2 > self.every);
        if due {
            memory.swept = Some(Instant::now());
        }
        due
    }

    /// Repositories that are served and that the App may act on.
    async fn repositories(&self) -> Result<Vec<crate::domain::run::Repository>, StoreError> {
        let withdrawn: BTreeSet<u64> = self.intake.store.withdrawn().await?.into_iter().collect();
        let known = self.intake.store.repositories().await?.into_iter();
        let (ours, others): (Vec<_>, Vec<_>) =
            known.map(|row| row.repository).partition(|repository| {
                !withdrawn.contains(&repository.id) && self.intake.served.serves(&repository.name)
            });
        for repository in others {
            self.intake.store.stop_reading_comments(repository.id).await?;
        }
        Ok(ours)
    }
}
