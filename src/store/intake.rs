//! Group commit: deliveries that arrive while one commit is under way share the next one, so that
//! durable does not mean slow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};

use super::deliveries::{self, NewDelivery, Taken};
use super::error::StoreError;
use super::nudge::{Nudges, Topic, Topics};
use super::pool::{Lasting, Pool};
use crate::ambient;

/// The most deliveries of one commit.
const BATCH: usize = 32;
/// Commits at once. `SQLite` has one writer; `PostgreSQL` compresses and logs on several cores.
const SQLITE_COMMITTERS: usize = 1;
const POSTGRES_COMMITTERS: usize = 6;
/// Other processes hear of new deliveries at most so often: each time costs a commit.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// So many more deliveries than commits at once waiting to be acknowledged are a flood: what was
/// acknowledged can wait a little, GitHub does not.
const FLOOD: usize = 3;
const PAUSE: Duration = Duration::from_millis(5);
const PAUSES: u32 = 10;

type Answer = Result<Taken, StoreError>;

struct Waiting {
    delivery: NewDelivery,
    /// In the order of all that is handled.
    place: i64,
    answer: oneshot::Sender<Answer>,
}

/// The way in; the committing tasks end when it is dropped.
#[derive(Debug)]
pub(super) struct Intake {
    queue: mpsc::Sender<Waiting>,
    order: Arc<Order>,
    unanswered: AtomicUsize,
    committers: usize,
}

/// The places that deliveries get. When a row is written tells nothing: that of a later delivery may be
/// written before. So a place is the time at which one came, in microseconds by the database's clock,
/// which all processes share; and after those of all that came to this process before.
#[derive(Debug)]
struct Order {
    /// The last place.
    last: AtomicI64,
    /// By how much the database's clock is ahead of ours, in milliseconds.
    ahead: AtomicI64,
}

impl Order {
    /// Goes on after what waits already.
    async fn begin(pool: &Pool) -> Result<Self, StoreError> {
        let before = ambient::now().as_millis();
        let found: Option<(i64, i64)> = pool.one(deliveries::LAST_PLACE, args![]).await?;
        let (last, now) = found.unwrap_or((0, before));
        Ok(Self { last: AtomicI64::new(last), ahead: AtomicI64::new(now - before) })
    }

    fn next(&self) -> i64 {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let now = (ambient::now().as_millis() + ahead) * 1000;
        let after = |last: i64| now.max(last + 1);
        let next = |last| Some(after(last));
        match self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(last) | Err(last) => after(last),
        }
    }

    /// What was sent to the database at `before`, by our clock, it received at `received`, by its own.
    fn compare(&self, before: i64, received: i64) {
        self.ahead.store(received - before, Ordering::Relaxed);
    }
}

/// Counts one that waits for its answer, until it has one or goes away.
struct Unanswered<'i>(&'i AtomicUsize);

impl<'i> Unanswered<'i> {
    fn new(count: &'i AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Intake {
    pub(super) async fn start(pool: &Pool, nudges: &Nudges) -> Result<Self, StoreError> {
        let order = Arc::new(Order::begin(pool).await?);
        let (queue, waiting) = mpsc::channel(4 * BATCH);
        let waiting = Arc::new(Mutex::new(waiting));
        // Room for one: of many reasons to tell the others, the last one is not lost.
        let (tell, told) = mpsc::channel(1);
        let committers = match pool {
            Pool::Sqlite { .. } => SQLITE_COMMITTERS,
            Pool::Postgres(_) => POSTGRES_COMMITTERS,
        };
        for _ in 0..committers {
            let committer = Committer {
                pool: pool.clone(),
                nudges: nudges.clone(),
                tell: tell.clone(),
                order: order.clone(),
            };
            tokio::spawn(committer.run(waiting.clone()));
        }
        if matches!(pool, Pool::Postgres(_)) {
            tokio::spawn(tell_others(pool.clone(), nudges.clone(), told));
        }
        Ok(Self { queue, order, unanswered: AtomicUsize::new(0), committers })
    }

    pub(super) async fn take_in(&self, delivery: NewDelivery) -> Answer {
        let _unanswered = Unanswered::new(&self.unanswered);
        let stopped = || StoreError::Intake("the program is stopping".to_owned());
        let (answer, answered) = oneshot::channel();
        let place = self.order.next();
        self.queue.send(Waiting { delivery, place, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Intake {
    /// Waits while deliveries flood in, but never for long.
    pub(super) async fn calm(&self) {
        let flood = || self.unanswered.load(Ordering::Relaxed) > self.committers + FLOOD;
        for _ in 0..PAUSES {
            if !flood() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Tells other processes, which poll anyway, that there are new deliveries.
async fn tell_others(pool: Pool, nudges: Nudges, mut told: mpsc::Receiver<()>) {
    while told.recv().await.is_some() {
        let told = async {
            let mut tx = pool.begin(&nudges, Lasting::WithTheNext).await?;
            tx.nudge(Topic::Deliveries);
            tx.commit().await
        };
        if let Err(error) = told.await {
            tracing::debug!(%error, "other processes were not told of new deliveries");
        }
        tokio::time::sleep(TELL_EVERY).await;
    }
}

struct Committer {
    pool: Pool,
    nudges: Nudges,
    tell: mpsc::Sender<()>,
    order: Arc<Order>,
}

impl Committer {
    async fn run(self, waiting: Arc<Mutex<mpsc::Receiver<Waiting>>>) {
        loop {
            let mut batch = Vec::new();
            // The lock is held while nothing arrives, which is when the others have nothing to do.
            if waiting.lock().await.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
            self.settle(batch).await;
        }
    }

    async fn settle(&self, batch: Vec<Waiting>) {
        let error = match self.commit(batch.iter()).await {
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
            let alone = self.commit(std::iter::once(&one)).await;
            let taken = alone.map(|fresh| taken(!fresh.is_empty()));
            let _ = one.answer.send(taken.map_err(|error| StoreError::Intake(error.to_string())));
        }
    }

    /// Stores what is new of these in one transaction; answers the GUIDs that were.
    async fn commit(
        &self,
        batch: impl Iterator<Item = &Waiting>,
    ) -> Result<BTreeSet<String>, StoreError> {
        // In the order of their GUIDs, in which two commits can't wait for each other.
        let mut unique: BTreeMap<&str, &Waiting> = BTreeMap::new();
        for one in batch {
            unique.entry(&one.delivery.guid).or_insert(one);
        }
        let rows = unique.into_values().map(|one| {
            let NewDelivery { guid, event, action, headers, body } = &one.delivery;
            let (action, headers) = (action.as_deref(), headers.as_deref());
            args![guid.as_str(), event.as_str(), action, headers, body.clone(), one.place]
        });
        let rows: Vec<_> = rows.collect();
        // Done again it does no harm: at worst what is fresh is called a duplicate, and stored.
        let before = ambient::now().as_millis();
        let fresh: Vec<(String, i64)> =
            reconnecting!(self.pool.insert(&deliveries::DELIVERIES, rows.clone()))?;
        if let Some((_, received)) = fresh.first() {
            self.order.compare(before, *received);
            self.nudges.wake(Topics::of(Topic::Deliveries));
            let _ = self.tell.try_send(());
        }
        Ok(fresh.into_iter().map(|(guid, _)| guid).collect())
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
