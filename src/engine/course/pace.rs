//! Whether a job has anything to do.

use std::task::Poll;

use futures_util::future::BoxFuture;
use futures_util::poll;

use super::Course;
use crate::engine::slots::Slot;
use crate::engine::{Journal, Pace};
use crate::exec::Executor;

impl<E: Executor, J: Journal> Course<'_, E, J> {
    /// Is nothing under way but pauses?
    pub(super) fn is_idle(&self) -> bool {
        // Each step that rests has its pause among what is under way, and nothing else there.
        self.under_way.len() == self.resting.len()
    }

    /// How the job goes on while it waits for a slot: once it has begun it has its share of this
    /// host, whether a step of it runs at the moment or not.
    pub(super) fn pace_of_queue(&self) -> Pace {
        if self.is_idle() && !self.begun { Pace::Queues } else { Pace::Busy }
    }
}

/// Waits for a slot, and says so if there is none at once.
pub(super) async fn waited<J: Journal>(
    slot: &mut BoxFuture<'static, Option<Slot>>,
    (journal, pace): (&J, Pace),
) -> Option<Slot> {
    match poll!(&mut *slot) {
        Poll::Ready(slot) => slot,
        Poll::Pending => {
            journal.paces(pace);
            slot.await
        }
    }
}
