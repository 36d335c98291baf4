//! Group commit: deliveries that arrive while one commit is under way share the next one, so that
//! durable does not mean slow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::deliveries::{self, NewDelivery, Taken};
use super::error::StoreError;
use super::nudge::{Nudges, Topic};
use super::pool::{Arg, Pool};

/// The most deliveries of one commit.
const BATCH: usize = 64;
/// Commits at once. SQLite has one writer; PostgreSQL compresses and logs on several cores.
const SQLITE_COMMITTERS: usize = 1;
const POSTGRES_COMMITTERS: usize = 4;

type Answer = Result<Taken, StoreError>;

struct Waiting {
    delivery: NewDelivery,
    answer: oneshot::Sender<Answer>,
}

/// The way in; the committing tasks end when it is dropped.
#[derive(Debug)]
pub(super) struct Intake {
    queue: mpsc::Sender<Waiting>,
}

impl Intake {
    pub(super) fn start(pool: Pool, nudges: Nudges) -> Self {
        let (queue, waiting) = mpsc::channel(4 * BATCH);
        let waiting = Arc::new(Mutex::new(waiting));
        let committers = match &pool {
            Pool::Sqlite { .. } => SQLITE_COMMITTERS,
            Pool::Postgres(_) => POSTGRES_COMMITTERS,
        };
        for _ in 0..committers {
            tokio::spawn(commit_batches(waiting.clone(), pool.clone(), nudges.clone()));
        }
        Self { queue }
    }

    pub(super) async fn take_in(&self, delivery: NewDelivery) -> Answer {
        let stopped = || StoreError::Intake("the program is stopping".to_owned());
        let (answer, answered) = oneshot::channel();
        self.queue.send(Waiting { delivery, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

async fn commit_batches(waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>, pool: Pool, nudges: Nudges) {
    loop {
        let mut batch = Vec::new();
        // The lock is held while nothing arrives, which is when the others have nothing to do.
        if waiting.lock().await.recv_many(&mut batch, BATCH).await == 0 {
            return;
        }
        settle(&pool, &nudges, batch).await;
    }
}

async fn settle(pool: &Pool, nudges: &Nudges, batch: Vec<Waiting>) {
    let error = match commit(pool, nudges, batch.iter().map(|one| &one.delivery)).await {
        Ok(fresh) => return answer(batch, fresh),
        Err(error) => error,
    };
    if batch.len() == 1 {
        for one in batch {
            // Whoever asked may have gone away; the delivery's fate does not depend on it.
            let _ = one.answer.send(Err(StoreError::Intake(error.to_string())));
        }
        return;
    }
    // One of them may be at fault: the others must not fail with it.
    for one in batch {
        let alone = commit(pool, nudges, std::iter::once(&one.delivery)).await;
        let taken = alone.map(|fresh| taken(!fresh.is_empty()));
        let _ = one.answer.send(taken.map_err(|error| StoreError::Intake(error.to_string())));
    }
}

fn taken(fresh: bool) -> Taken {
    if fresh { Taken::Fresh } else { Taken::Duplicate }
}

/// Of equal GUIDs in one batch the first is the fresh one.
fn answer(batch: Vec<Waiting>, mut fresh: BTreeSet<String>) {
    for one in batch {
        let _ = one.answer.send(Ok(taken(fresh.remove(&one.delivery.guid))));
    }
}

/// Stores what is new of these in one transaction; answers the GUIDs that were.
async fn commit(
    pool: &Pool,
    nudges: &Nudges,
    batch: impl Iterator<Item = &NewDelivery>,
) -> Result<BTreeSet<String>, StoreError> {
    // In the order of their GUIDs, in which two commits can't wait for each other.
    let mut unique: BTreeMap<&str, &NewDelivery> = BTreeMap::new();
    for delivery in batch {
        unique.entry(&delivery.guid).or_insert(delivery);
    }
    let mut tx = pool.begin(nudges).await?;
    let now = tx.now().await?;
    let rows = unique.into_values().map(|delivery| row(delivery, now)).collect();
    let fresh: Vec<(String,)> = tx.insert(&deliveries::DELIVERIES, rows).await?;
    if !fresh.is_empty() {
        tx.nudge(Topic::Deliveries);
    }
    tx.commit().await?;
    Ok(fresh.into_iter().map(|(guid,)| guid).collect())
}

fn row(delivery: &NewDelivery, now: i64) -> Vec<Arg> {
    let NewDelivery { guid, event, action, body } = delivery;
    args![guid.as_str(), event.as_str(), action.as_deref(), now, now, body.clone()]
}
