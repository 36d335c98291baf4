//! Who begins a step next, when more could than may.
//!
//! Every job asks for one slot at a time. A slot goes to the run that holds the fewest, so that a change
//! of a hundred connectors delays one of a single connector by one step at most; within a run to the
//! step that most of its job waits for; among equals to who has been there longest.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::domain::ids::RunId;
use crate::domain::pipeline::Resources;

/// A step that could begin.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ask {
    pub(super) run: RunId,
    /// How long its job takes from here on, in milliseconds.
    pub(super) remaining: u64,
    /// What it declares that it uses.
    pub(super) resources: Option<Resources>,
}

/// What steps may use at once, altogether.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) slots: usize,
    pub(super) resources: Option<Resources>,
}

/// The slots of an engine. Clones are the same ones.
#[derive(Debug, Clone)]
pub(super) struct Slots(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    room: Room,
    held: BTreeMap<RunId, usize>,
    cpus: f64,
    memory: u64,
    waiting: BTreeMap<u64, Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    ask: Ask,
    tell: oneshot::Sender<Slot>,
}

/// The right to run a step. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Slots,
    ask: Ask,
}

impl Slots {
    pub(super) fn new(room: Room) -> Self {
        let room = Room { slots: room.slots.max(1), ..room };
        Self(Arc::new(Mutex::new(State {
            room,
            held: BTreeMap::new(),
            cpus: 0.0,
            memory: 0,
            waiting: BTreeMap::new(),
            next: 0,
        })))
    }

    /// Waits for a slot. Whoever drops this leaves the queue.
    pub(super) async fn ask(self, ask: Ask) -> Option<Slot> {
        let (tell, told) = oneshot::channel();
        {
            let mut state = self.state();
            let ticket = state.next;
            state.next += 1;
            state.waiting.insert(ticket, Waiting { ask, tell });
        }
        self.hand_out();
        told.await.ok()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives away what is free. Without the lock while telling: a slot that nobody takes comes back.
    fn hand_out(&self) {
        loop {
            let next = self.state().take();
            let Some(Waiting { ask, tell }) = next else { return };
            drop(tell.send(Slot { slots: self.clone(), ask }));
        }
    }
}

impl State {
    /// Whose turn it is, if there is room for that step.
    fn take(&mut self) -> Option<Waiting> {
        self.waiting.retain(|_, waiting| !waiting.tell.is_closed());
        let all: usize = self.held.values().sum();
        let first = self.waiting.iter().min_by_key(|(ticket, waiting)| {
            let held = self.held.get(&waiting.ask.run).copied().unwrap_or(0);
            (held, Reverse(waiting.ask.remaining), **ticket)
        });
        let (ticket, first) = first.map(|(ticket, waiting)| (*ticket, &waiting.ask))?;
        // One that asks for more than there is runs alone. Nobody smaller goes before one that must
        // wait for room, or it would wait for ever.
        if all >= self.room.slots || (all > 0 && !self.has_room_for(first)) {
            return None;
        }
        let waiting = self.waiting.remove(&ticket)?;
        *self.held.entry(waiting.ask.run).or_default() += 1;
        self.cpus += waiting.ask.resources.map_or(0.0, |asked| asked.cpus);
        self.memory += waiting.ask.resources.map_or(0, |asked| asked.memory);
        Some(waiting)
    }

    fn has_room_for(&self, ask: &Ask) -> bool {
        let (Some(room), Some(asked)) = (self.room.resources, ask.resources) else { return true };
        self.cpus + asked.cpus <= room.cpus && self.memory + asked.memory <= room.memory
    }

    fn give_back(&mut self, ask: &Ask) {
        let held = self.held.entry(ask.run).or_default();
        *held = held.saturating_sub(1);
        if *held == 0 {
            self.held.remove(&ask.run);
        }
        self.memory -= ask.resources.map_or(0, |asked| asked.memory);
        self.cpus -= ask.resources.map_or(0.0, |asked| asked.cpus);
        if self.held.is_empty() {
            // Sums of fractions need not end at nothing.
            self.cpus = 0.0;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.state().give_back(&self.ask);
        self.slots.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Asking = Pin<Box<dyn Future<Output = Option<Slot>>>>;

    fn room(slots: usize) -> Slots {
        Slots::new(Room { slots, resources: Some(Resources { cpus: 4.0, memory: 8 << 30 }) })
    }

    fn run(n: u8) -> RunId {
        format!("run_0{}", char::from(b'0' + n).to_string().repeat(25)).parse().unwrap()
    }

    fn ask(slots: &Slots, of: u8, remaining: u64, cpus: Option<f64>) -> Asking {
        let resources = cpus.map(|cpus| Resources { cpus, memory: 1 << 30 });
        let mut asking: Asking =
            Box::pin(slots.clone().ask(Ask { run: run(of), remaining, resources }));
        // Into the queue.
        assert!(answer(&mut asking).is_none());
        asking
    }

    fn answer(asking: &mut Asking) -> Option<Slot> {
        match asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(slot) => slot,
            Poll::Pending => None,
        }
    }

    fn taken(slots: &Slots, of: u8) -> Slot {
        let mut asking: Asking =
            Box::pin(slots.clone().ask(Ask { run: run(of), remaining: 0, resources: None }));
        answer(&mut asking).expect("a free slot")
    }

    #[test]
    fn a_large_run_delays_a_small_one_by_one_step() {
        let slots = room(2);
        let (first, second) = (taken(&slots, 1), taken(&slots, 1));
        let mut large: Vec<Asking> = (0..50).map(|_| ask(&slots, 1, 90_000, None)).collect();
        let mut small = ask(&slots, 2, 1_000, None);
        drop(first);
        assert!(answer(&mut small).is_some(), "the other run holds a slot already");
        drop(second);
        assert!(large.iter_mut().any(|asking| answer(asking).is_some()));
    }

    #[test]
    fn the_longest_way_goes_first_and_then_who_waited_longest() {
        let slots = room(1);
        let held = taken(&slots, 1);
        let mut short = ask(&slots, 1, 1_000, None);
        let mut long = ask(&slots, 1, 9_000, None);
        let mut late = ask(&slots, 1, 9_000, None);
        drop(held);
        let held = answer(&mut long).unwrap();
        assert!(answer(&mut late).is_none() && answer(&mut short).is_none());
        drop(held);
        let held = answer(&mut late).unwrap();
        drop(held);
        assert!(answer(&mut short).is_some());
    }

    #[test]
    fn who_left_the_queue_is_passed_over_and_a_slot_nobody_took_is_given_on() {
        let slots = room(1);
        let held = taken(&slots, 1);
        let (gone, mut stays) = (ask(&slots, 1, 9_000, None), ask(&slots, 1, 1_000, None));
        drop(gone);
        drop(held);
        // Told, and dropped before it was taken.
        let held = answer(&mut stays).unwrap();
        let unread = ask(&slots, 1, 9_000, None);
        let mut last = ask(&slots, 1, 1_000, None);
        drop(held);
        drop(unread);
        assert!(answer(&mut last).is_some());
    }

    #[test]
    fn declared_cores_are_not_given_twice_and_what_never_fits_runs_alone() {
        let slots = room(8);
        let mut large = Box::pin(slots.clone().ask(Ask {
            run: run(1),
            remaining: 9,
            resources: Some(Resources { cpus: 3.0, memory: 1 << 30 }),
        })) as Asking;
        let held = answer(&mut large).unwrap();
        let mut second = ask(&slots, 1, 8, Some(2.0));
        let mut huge = ask(&slots, 2, 9, Some(64.0));
        drop(held);
        let alone = answer(&mut huge).expect("no room for it will ever be found");
        assert!(answer(&mut second).is_none());
        drop(alone);
        assert!(answer(&mut second).is_some());
    }
}
