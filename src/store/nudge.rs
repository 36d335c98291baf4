//! Wake-ups for loops that poll anyway: within this process by a counter a topic, between
//! processes by `PostgreSQL`'s `NOTIFY`. A lost one costs latency, never correctness.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::watch;

/// What a loop may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    Deliveries,
    Planning,
    Jobs,
    Cancels,
    Heads,
    /// Any change of any run: live pages.
    Runs,
    /// A default branch moved, or a repository came.
    Schedules,
}

const TOPICS: [Topic; 7] = [
    Topic::Deliveries,
    Topic::Planning,
    Topic::Jobs,
    Topic::Cancels,
    Topic::Heads,
    Topic::Runs,
    Topic::Schedules,
];

/// A set of topics, one bit each; as a number it is a notification's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Topics(u8);

impl Topics {
    const ALL: Self = Self(0b111_1111);

    pub(super) fn of(topic: Topic) -> Self {
        let mut topics = Self::default();
        topics.add(topic);
        topics
    }

    pub(super) fn add(&mut self, topic: Topic) {
        self.0 |= 1 << topic as u8;
    }

    fn has(self, topic: Topic) -> bool {
        self.0 & (1 << topic as u8) != 0
    }
}

/// A registered interest; `changed` resolves at the next change after registration, or at once if
/// one came since.
#[derive(Debug)]
pub struct Nudge {
    seen: watch::Receiver<u64>,
}

impl Nudge {
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // The store is gone, so nothing will change any more; whoever waits has a timer too.
            std::future::pending::<()>().await;
        }
    }
}

/// The channel of `PostgreSQL`'s notifications.
pub(super) const CHANNEL: &str = "checkvalve";

/// The counters that nudges watch.
#[derive(Debug, Clone)]
pub(super) struct Nudges {
    counters: [watch::Sender<u64>; TOPICS.len()],
    /// Ours, so that we pass over our own notifications.
    sender: String,
}

impl Nudges {
    pub(super) fn new() -> Self {
        Self {
            counters: TOPICS.map(|_| watch::Sender::new(0)),
            sender: crate::ambient::ulid().to_string(),
        }
    }

    pub(super) fn register(&self, topic: Topic) -> Nudge {
        Nudge { seen: self.counters[topic as usize].subscribe() }
    }

    pub(super) fn wake(&self, topics: Topics) {
        for topic in TOPICS.into_iter().filter(|topic| topics.has(*topic)) {
            self.counters[topic as usize].send_modify(|count| *count += 1);
        }
    }

    /// Wakes who waits in this process after a while: something is due then.
    pub(super) fn wake_after(&self, topic: Topic, wait: Duration) {
        let nudges = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            nudges.wake(Topics::of(topic));
        });
    }

    /// A notification's text, if anybody has to be told.
    pub(super) fn payload(&self, topics: Topics) -> Option<String> {
        (topics != Topics::default()).then(|| format!("{} {}", self.sender, topics.0))
    }

    fn heard(&self, payload: &str) {
        let Some((sender, topics)) = payload.split_once(' ') else { return };
        if sender != self.sender {
            self.wake(topics.parse().map_or(Topics::ALL, Topics));
        }
    }

    /// Passes on what other processes notify, for ever. Whenever the connection was away, everyone
    /// is woken, since nobody knows what was missed.
    pub(super) async fn listen(self, pool: PgPool) {
        loop {
            if let Err(error) = self.listen_once(&pool).await {
                tracing::warn!(%error, "no notifications from PostgreSQL; loops poll until they are back");
            }
            self.wake(Topics::ALL);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    async fn listen_once(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        self.wake(Topics::ALL);
        // `None`: the connection was lost, and comes back with the next call.
        loop {
            match listener.try_recv().await? {
                Some(notification) => self.heard(notification.payload()),
                None => self.wake(Topics::ALL),
            }
        }
    }
}
