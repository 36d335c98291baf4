//! How many jobs a process has in hand.
//!
//! A job has a place while it has something to do. One that only waits gives its place back and keeps
//! its lease; when it goes on it is busy again whether a place is free or not, since it was there
//! before whoever took it, and until one is free nothing more is claimed. So a job never waits for a
//! place, and what waits keeps no worker from what could run.

use std::future::pending;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::engine::Pace;

/// How many jobs of a process may rest without a place, for each place that it has: enough that what
/// could run is not behind what waits. Each keeps a lease and what its steps left, and is not handed
/// back when it could go on: more of them would be kept from a host with places to spare.
const RESTING: usize = 4;

/// How many jobs of a process may wait for the object store once their verdict is told, whatever else there
/// is to do. Each keeps its records in memory and its logs on disk meanwhile; of what comes beyond them nothing
/// is kept, and whoever archives it later reads the logs back.
pub const KEPT: usize = 32;

/// How many may queue for a slot without a place: enough for a small job to pass by a large one. What
/// is claimed is not handed back, so that more of them would be kept from a host with slots to spare.
const QUEUE: usize = 2;

/// The places of a process. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    counts: Mutex<Counts>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    busy: usize,
    queues: usize,
    rests: usize,
    kept: usize,
}

/// What a job is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// It goes on, or may.
    At(Pace),
    /// Its verdict is told: only its objects wait to be where they belong.
    Kept,
}

/// The place of a job. Given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    stand: watch::Sender<Stand>,
}

impl Places {
    /// So many places.
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most: most.max(1), counts: Mutex::default(), freed: Notify::new() }))
    }

    /// Waits for a place.
    pub async fn take(&self) -> Place {
        loop {
            // Registered before the look, or a place that is freed in between is missed.
            let mut freed = pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if self.take_now() {
                let (stand, _) = watch::channel(Stand::At(Pace::Busy));
                return Place { places: self.clone(), stand };
            }
            freed.await;
        }
    }

    fn take_now(&self) -> bool {
        let mut counts = self.counts();
        let free = counts.taken(self.0.most) < self.0.most;
        counts.busy += usize::from(free);
        free
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn taken(&self, most: usize) -> usize {
        let resting = RESTING.saturating_mul(most);
        self.busy + self.queues.saturating_sub(QUEUE) + self.rests.saturating_sub(resting)
    }

    fn of(&mut self, stand: Stand) -> &mut usize {
        match stand {
            Stand::At(Pace::Busy) => &mut self.busy,
            Stand::At(Pace::Queues) => &mut self.queues,
            Stand::At(Pace::Rests) => &mut self.rests,
            Stand::Kept => &mut self.kept,
        }
    }
}

impl Place {
    /// The job goes on at this pace.
    pub fn paces(&self, pace: Pace) {
        let mut counts = self.places.counts();
        self.stands(&mut counts, Stand::At(pace));
        drop(counts);
        self.places.0.freed.notify_waiters();
    }

    /// The job's verdict is told, and it only waits for the object store: that keeps no place from another.
    /// False when too many wait already: then it is to end at once, and leave the rest to the archive.
    #[must_use]
    pub fn keeps(&self) -> bool {
        let mut counts = self.places.counts();
        let is_kept = counts.kept < KEPT;
        if is_kept {
            self.stands(&mut counts, Stand::Kept);
        }
        drop(counts);
        self.places.0.freed.notify_waiters();
        is_kept
    }

    fn stands(&self, counts: &mut Counts, stand: Stand) {
        let before = self.stand.send_replace(stand);
        *counts.of(before) -= 1;
        *counts.of(stand) += 1;
    }

    /// Resolves when the job waits; never, once it has ended.
    pub fn waits(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stand = self.stand.subscribe();
        async move {
            let waits = stand.wait_for(|stand| *stand != Stand::At(Pace::Busy)).await.is_ok();
            if !waits {
                pending::<()>().await;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let stand = *self.stand.borrow();
        *self.places.counts().of(stand) -= 1;
        self.places.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now(places: &Places) -> Option<Place> {
        let mut taking = pin!(places.take());
        match taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[test]
    fn more_may_rest_than_there_are_places_and_go_on_without_asking() {
        let places = Places::new(2);
        let resting: Vec<Place> = (0..5)
            .map(|_| {
                let place = now(&places).unwrap();
                place.paces(Pace::Rests);
                place
            })
            .collect();
        let (one, two) = (now(&places).unwrap(), now(&places).unwrap());
        assert!(now(&places).is_none());
        // One goes on: there are three at work, so two must end before another begins.
        resting[0].paces(Pace::Busy);
        drop(one);
        assert!(now(&places).is_none());
        drop(two);
        assert!(now(&places).is_some());
        // Told twice is told once.
        resting[1].paces(Pace::Rests);
        resting[1].paces(Pace::Rests);
        drop(resting);
        let all: Vec<Place> = std::iter::from_fn(|| now(&places)).collect();
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn few_queue_for_slots_without_a_place() {
        let places = Places::new(2);
        let queueing: Vec<Place> = std::iter::from_fn(|| {
            let place = now(&places)?;
            place.paces(Pace::Queues);
            Some(place)
        })
        .collect();
        assert_eq!(queueing.len(), 2 + QUEUE, "the others stay where another host may claim them");
    }

    /// Of fifty jobs that wait for what another run's work out, a second host has its share, should
    /// they all have to work it out themselves.
    #[test]
    fn what_rests_is_bounded_too() {
        for most in [1, 2, 4] {
            let places = Places::new(most);
            let resting: Vec<Place> = std::iter::from_fn(|| {
                let place = now(&places)?;
                place.paces(Pace::Rests);
                Some(place)
            })
            .collect();
            assert_eq!(resting.len(), RESTING * most + most);
            assert!(resting.len() <= 25, "a host of {most} has {}", resting.len());
        }
    }

    /// However slow the object store is: what it has to take is not what there is to do.
    #[test]
    fn what_waits_for_the_object_store_keeps_no_place_and_is_bounded() {
        let places = Places::new(2);
        let mut kept = Vec::new();
        loop {
            let place = now(&places).unwrap();
            if !place.keeps() {
                break;
            }
            kept.push(place);
        }
        assert_eq!(kept.len(), KEPT);
        // Beside them as many rest, queue and are at work as ever.
        let resting: Vec<Place> = std::iter::from_fn(|| {
            let place = now(&places)?;
            place.paces(Pace::Rests);
            Some(place)
        })
        .collect();
        assert_eq!(resting.len(), RESTING * 2 + 2);
        drop(resting);
        kept.pop();
        assert!(now(&places).unwrap().keeps(), "there is room again");
    }

    #[tokio::test]
    async fn who_waits_for_a_place_is_woken_by_one_that_rests_or_ends() {
        let places = Places::new(1);
        for ends in [false, true] {
            let place = places.take().await;
            let (waits, others) = (place.waits(), places.clone());
            let waiting = tokio::spawn(async move { drop(others.take().await) });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            if ends {
                drop(place);
            } else {
                place.paces(Pace::Rests);
                waits.await;
            }
            waiting.await.unwrap();
        }
    }
}
