//! The one shape of every background loop: tick, nudge, stop.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::store::Nudge;

/// How long a loop rests after a pass that failed.
const REST_AFTER_ERROR: Duration = Duration::from_secs(2);

/// A loop's name and rhythm.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    pub name: &'static str,
    /// The longest time between two looks, when nothing nudges.
    pub period: Duration,
}

/// Runs passes until `stop`: at once again while a pass found work, else at the next nudge or
/// after the period. The nudge is registered before the first pass, so no wake-up is lost.
/// A pass that fails is logged, and tried again after a rest; one that panics, too: a loop that
/// died of one odd delivery would leave a server that listens and does nothing.
pub async fn drive<F, W>(
    rhythm: Rhythm,
    mut nudge: Option<Nudge>,
    stop: CancellationToken,
    mut pass: F,
) where
    F: FnMut() -> W,
    W: Future<Output = anyhow::Result<bool>>,
{
    while !stop.is_cancelled() {
        // Loops mostly wait: what a pass has in hand is there while it lasts.
        let passed = AssertUnwindSafe(Box::pin(pass())).catch_unwind().await;
        match passed.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))) {
            Ok(true) => {}
            Ok(false) => tokio::select! {
                () = changed(nudge.as_mut()) => {}
                () = sleep(rhythm.period) => {}
                () = stop.cancelled() => {}
            },
            Err(failure) => {
                error!(name = rhythm.name, "a pass failed and is tried again: {failure:#}");
                tokio::select! {
                    () = sleep(REST_AFTER_ERROR) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}

/// The next nudge; never, for a loop that has none.
async fn changed(nudge: Option<&mut Nudge>) {
    match nudge {
        Some(nudge) => nudge.changed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_pass_that_panics_does_not_end_the_loop() {
        let (passes, stop) = (AtomicU32::new(0), CancellationToken::new());
        let rhythm = Rhythm { name: "test", period: Duration::from_secs(1) };
        drive(rhythm, None, stop.clone(), || {
            let nth = passes.fetch_add(1, Ordering::Relaxed);
            let stop = stop.clone();
            async move {
                assert!(nth > 0, "the first one");
                stop.cancel();
                Ok(true)
            }
        })
        .await;
        assert_eq!(passes.load(Ordering::Relaxed), 2);
    }
}
