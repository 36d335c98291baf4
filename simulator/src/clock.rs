//! The simulator's own time: the machine's clock plus what a test moved it on by.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// Server time. Moving it on makes tokens expire, deliveries age and check runs go stale.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    moved_on_ms: AtomicI64,
    /// Wakes those who wait for a time.
    moved: watch::Sender<()>,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "the simulator's one door to the clock")]
    pub(crate) fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.moved_on_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn advance(&self, by: std::time::Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 2);
        self.moved_on_ms.fetch_add(by, Ordering::Relaxed);
        self.moved.send_replace(());
    }

    /// Waits for so much of the simulator's time, which a test need not sit through.
    pub(crate) async fn sleep(&self, by: std::time::Duration) {
        self.sleep_until(self.now() + TimeDelta::from_std(by).unwrap_or(TimeDelta::days(36_500)))
            .await;
    }

    /// Waits until the simulator's time is this.
    pub(crate) async fn sleep_until(&self, due: DateTime<Utc>) {
        let mut moved = self.moved.subscribe();
        while let Ok(left) = (due - self.now()).to_std() {
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                // The sender lives as long as we do: an error cannot happen.
                _ = moved.changed() => {}
            }
        }
    }
}

/// GitHub's timestamps: whole seconds, `Z`.
pub(crate) fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Unpredictable enough for test tokens and GUIDs: the standard library's per-process hash keys
/// and a counter, through SHA-256. Not for real secrets.
#[derive(Debug)]
pub(crate) struct Entropy {
    keys: RandomState,
    counter: AtomicU64,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { keys: RandomState::new(), counter: AtomicU64::new(0) }
    }
}

impl Entropy {
    /// 64 hexadecimal digits.
    pub(crate) fn hex(&self) -> String {
        let mut sha = Sha256::new();
        for _ in 0..4 {
            let mut hasher = self.keys.build_hasher();
            hasher.write_u64(self.counter.fetch_add(1, Ordering::Relaxed));
            sha.update(hasher.finish().to_le_bytes());
        }
        hex::encode(sha.finalize())
    }

    /// A version-4-shaped GUID, as `X-GitHub-Delivery` carries.
    pub(crate) fn guid(&self) -> String {
        let h = self.hex();
        format!("{}-{}-4{}-a{}-{}", &h[..8], &h[8..12], &h[13..16], &h[17..20], &h[20..32])
    }
}
