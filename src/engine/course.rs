//! The loop of one job: decide → start → record.

mod ground;
mod pace;
mod queue;
mod rebuild;
mod replay;
mod tries;
mod turns;
mod warm;

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, Tried};
use super::builtin;
use super::lineage::Heirs;
use super::reuse::{self, Prospect};
use super::slots::Slot;
use super::{Engine, EngineError, JobRun, Journal, Pace, Stop};
use crate::ambient;
use crate::domain::decide::{self, Decision, States};
use crate::domain::inherit;
use crate::domain::names::StepId;
use crate::domain::pipeline::StepSpec;
use crate::domain::run::{StepFacts, StepRecord};
use crate::domain::state::{Outcome, StepState};
use crate::domain::turn::Maker;
use crate::domain::urgency;
use crate::exec::Executor;
use ground::Ground;
use replay::Replayed;

/// What a job waits for.
enum Event<Left, Error> {
    Tried(StepId, Box<Result<Tried<Left>, Error>>),
    /// The pause before another try is over.
    Rested(StepId),
    /// Earlier results were copied, or could not be.
    Replayed(Vec<Replayed<Error>>),
    /// What a step is to begin with was made ready, or could not be.
    Warm(StepId, Option<Box<Left>>),
    /// The source has come; an error in words.
    Ground(Result<Ground, String>),
    Slot(Option<Slot>),
    Stop,
}

/// Why a job can't be carried on.
enum Failure<Error> {
    Refused(Error),
    Source(String),
}

impl<Error> From<Error> for Failure<Error> {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// A job on its way.
pub(super) struct Course<'a, E: Executor, J: Journal> {
    engine: &'a Engine<E>,
    job: &'a JobRun<'a>,
    journal: &'a J,
    stop: &'a Stop,
    halt: CancellationToken,
    records: BTreeMap<StepId, StepRecord>,
    /// Waiting for another try: neither to be started nor skipped now.
    resting: BTreeSet<StepId>,
    /// Their earlier results are being copied: neither to be started nor skipped now.
    replaying: BTreeSet<StepId>,
    /// Could be started; since when stands in the record.
    ready: BTreeSet<StepId>,
    /// For the step that it was asked for: it accounts for what that one declares.
    slot: Option<(StepId, Slot)>,
    /// A place in the queue for a slot, and for which step.
    asking: Option<(StepId, BoxFuture<'static, Option<Slot>>)>,
    /// How long the job takes from each step on, in milliseconds.
    remaining: BTreeMap<StepId, u64>,
    under_way: FuturesUnordered<BoxFuture<'a, Event<E::Left, J::Error>>>,
    /// Once a step needs it.
    ground: Option<Ground>,
    /// Is it on its way?
    fetching: bool,
    /// What is known of each step before it runs.
    prospects: BTreeMap<StepId, Prospect>,
    /// What waiting steps begin with: what their parents left for them, or was made ready.
    shares: BTreeMap<StepId, E::Left>,
    /// Steps whose beginning is made ready, or was, and that have not begun.
    warm: BTreeSet<StepId>,
    /// Steps that work out what others wait for.
    turns: BTreeSet<StepId>,
    /// For whom steps wait, or waited last.
    waited: BTreeMap<StepId, Maker>,
    /// Steps that nobody was at when that was last asked.
    free: BTreeSet<StepId>,
    /// Has a step of it begun here?
    begun: bool,
}

impl<'a, E: Executor, J: Journal> Course<'a, E, J> {
    pub(super) fn new(
        engine: &'a Engine<E>,
        job: &'a JobRun<'a>,
        journal: &'a J,
        stop: &'a Stop,
    ) -> Self {
        let now = ambient::now();
        let mut given: BTreeMap<StepId, StepRecord> = decide::resume(job.records.clone())
            .into_iter()
            .map(|record| (record.id.clone(), record))
            .collect();
        let fresh = |id: &StepId| StepRecord {
            id: id.clone(),
            state: StepState::Waiting,
            attempt: 1,
            queued_at: now,
            facts: StepFacts::default(),
        };
        let steps = job.plan.steps().iter().map(|spec| &spec.id);
        let records =
            steps.map(|id| (id.clone(), given.remove(id).unwrap_or_else(|| fresh(id)))).collect();
        Self {
            engine,
            job,
            journal,
            stop,
            halt: stop.token.child_token(),
            records,
            resting: BTreeSet::new(),
            replaying: BTreeSet::new(),
            ready: BTreeSet::new(),
            slot: None,
            asking: None,
            remaining: BTreeMap::new(),
            under_way: FuturesUnordered::new(),
            ground: None,
            fetching: false,
            prospects: BTreeMap::new(),
            shares: BTreeMap::new(),
            warm: BTreeSet::new(),
            turns: BTreeSet::new(),
            waited: BTreeMap::new(),
            free: BTreeSet::new(),
            begun: false,
        }
    }

    /// Until all steps are settled.
    pub(super) async fn run(mut self) -> Result<Vec<StepRecord>, EngineError<J::Error>> {
        let ended = self.go_on().await;
        // Somebody else may be at it by now: nothing of ours may go on beside them. And what is half
        // done for nobody takes itself back.
        self.halt.cancel();
        while let Some(event) = self.under_way.next().await {
            drop(event);
        }
        match ended {
            Ok(()) => Ok(self.into_records()),
            Err(Failure::Refused(error)) => Err(EngineError::Journal(error)),
            Err(Failure::Source(why)) => {
                Err(EngineError::Source { why, records: self.into_records() })
            }
        }
    }

    fn into_records(mut self) -> Vec<StepRecord> {
        let steps = self.job.plan.steps().iter();
        steps.filter_map(|spec| self.records.remove(&spec.id)).collect()
    }

    async fn go_on(&mut self) -> Result<(), Failure<J::Error>> {
        let executor = &*self.engine.executor;
        self.prospects = reuse::prospects(executor, self.job, self.journal).await?;
        let usual = self.prospects.iter();
        let usual = usual.filter_map(|(id, prospect)| Some((id.clone(), prospect.usual?)));
        self.remaining = urgency::remaining(self.job.plan, &usual.collect());
        self.build_again().await?;
        self.replay();
        self.ready = self.startable();
        loop {
            self.stand_aside().await?;
            self.fetch_ground();
            self.act().await?;
            self.warm_up();
            if self.records.values().all(|record| record.state.is_settled()) {
                return Ok(());
            }
            match self.next_event().await {
                Some(Event::Tried(step, tried)) => self.tried(&step, (*tried)?).await?,
                Some(Event::Rested(step)) => {
                    self.resting.remove(&step);
                    self.free.remove(&step);
                    if self.waited.contains_key(&step) && !self.turns.contains(&step) {
                        self.look_again(&step).await?;
                    }
                }
                Some(Event::Replayed(done)) => self.replayed(done).await?,
                Some(Event::Warm(step, left)) => self.warmed(step, left),
                Some(Event::Ground(ground)) => {
                    self.ground = Some(ground.map_err(Failure::Source)?);
                }
                Some(Event::Slot(slot)) => {
                    let asked = self.asking.take();
                    self.slot = asked.and_then(|(step, _)| Some((step, slot?)));
                }
                // What still waits is cancelled next.
                Some(Event::Stop) | None => {}
            }
            self.replay();
            self.queue();
        }
    }

    /// Everything that should happen now.
    async fn act(&mut self) -> Result<(), J::Error> {
        if self.stop.is_stopped() {
            return self.cancel_waiting().await;
        }
        if self.job.fail_fast {
            let skips = decide::fail_fast(self.job.plan, &self.states());
            self.apply(skips).await?;
        }
        let mut decisions = self.decisions();
        if let Some(step) = to_start(&decisions)
            && !self.has_turn(&step).await?
        {
            self.slot = None;
            self.replay();
            decisions = self.decisions();
        }
        self.apply(decisions).await?;
        // What is not used now must not be kept from others.
        self.slot = None;
        if self.startable().is_empty() {
            self.asking = None;
        }
        Ok(())
    }

    /// What to skip, and the step to begin if there is a slot for one.
    fn decisions(&self) -> Vec<Decision> {
        let first = self.slot.as_ref().map(|(step, _)| step);
        let first = first.filter(|step| self.startable().contains(*step));
        let mut decisions = decide::decide(self.job.plan, &self.states(), usize::MAX);
        decisions.retain(|decision| match decision {
            Decision::Start(step) => Some(step) == first,
            Decision::Skip(..) => true,
        });
        decisions
    }

    async fn apply(&mut self, decisions: Vec<Decision>) -> Result<(), J::Error> {
        if decisions.is_empty() {
            return Ok(());
        }
        let now = ambient::now();
        let mut changed = Vec::with_capacity(decisions.len());
        let mut starts = Vec::new();
        for decision in decisions {
            let (step, state, reason) = match decision {
                Decision::Start(step) => {
                    if self.prospects.get(&step).is_some_and(|prospect| prospect.hit.is_some()) {
                        self.give_up(&step, "a step that it needs ended in another way");
                    }
                    starts.push(step.clone());
                    (step, StepState::Running { started_at: now }, None)
                }
                Decision::Skip(step, reason) => {
                    self.shares.remove(&step);
                    self.warm.remove(&step);
                    let text = reason.to_string();
                    (step, StepState::Skipped { at: now, reason }, Some(text))
                }
            };
            let Some(record) = self.records.get_mut(&step) else { continue };
            record.state = state;
            let cache = self.prospects.get(&step).and_then(|prospect| prospect.facts.clone());
            let tries = record.facts.tries;
            record.facts = StepFacts { reason, cache, tries, ..StepFacts::default() };
            changed.push(record.clone());
        }
        self.journal.record(&changed).await?;
        for step in starts {
            self.start(&step);
        }
        Ok(())
    }

    fn start(&mut self, step: &StepId) {
        let Some((_, slot)) = self.slot.take() else { return };
        let Some(attempt) = self.job.plan.step(step).and_then(|spec| self.attempt(spec)) else {
            return;
        };
        self.begun = true;
        self.ready.remove(step);
        self.warm.remove(step);
        let on = self.shares.remove(step);
        let step = step.clone();
        self.under_way.push(Box::pin(async move {
            Event::Tried(step, Box::new(attempt.run(on, slot).await))
        }));
    }

    /// A try at a step, were it to begin now.
    fn attempt(&self, spec: &'a StepSpec) -> Option<Attempt<'a, E, J>> {
        Some(Attempt {
            engine: self.engine,
            job: self.job,
            journal: self.journal,
            stop: self.stop,
            halt: self.halt.clone(),
            spec,
            number: self.records.get(&spec.id)?.attempt,
            ground: self.ground.clone()?,
            names: Arc::new(self.names()),
            heirs: self.heirs(spec),
            image: builtin::image_for(self.job.plan, &spec.id, &self.records),
            records: builtin::told_of(spec, &self.records),
        })
    }

    /// Who waits for what a step leaves, the one that goes on in its container first.
    fn heirs(&self, spec: &StepSpec) -> Heirs {
        // One with an earlier result is not going to run.
        let waiting = |heir: &&StepSpec| {
            // If its parent may fail, it may have to run after all.
            let known = self.prospects.get(&heir.id).is_some_and(|p| p.hit.is_some());
            let known = known && !spec.allow_failure;
            let record = self.records.get(&heir.id);
            !known && record.is_some_and(|record| record.state == StepState::Waiting)
        };
        let mut heirs: Vec<&StepSpec> =
            inherit::heirs(self.job.plan, &spec.id).filter(waiting).collect();
        let successor = inherit::successor(self.job.plan, spec, heirs.iter().copied());
        let successor = successor.map(|successor| successor.id.clone());
        heirs.sort_by_key(|heir| Some(&heir.id) != successor.as_ref());
        let steps = heirs.into_iter().map(|heir| heir.id.clone()).collect();
        let name = self.prospects.get(&spec.id).and_then(Prospect::name);
        let name = name.filter(|_| self.is_as_supposed(spec));
        Heirs { steps, go_on: successor.is_some(), name }
    }

    /// A try has ended: with it the step, unless it is tried again.
    async fn tried(&mut self, step: &StepId, tried: Tried<E::Left>) -> Result<(), J::Error> {
        let (Some(spec), Some(record)) = (self.job.plan.step(step), self.records.get_mut(step))
        else {
            return Ok(());
        };
        let mut shares = Vec::new();
        let again = tries::again(&self.engine.options, spec, record.facts.tries, &tried);
        let pause = again.filter(|_| !self.stop.is_stopped());
        if let Some((pause, tries)) = pause {
            let reason =
                tried.facts.reason.as_ref().map_or(String::new(), |why| format!(": {why}"));
            let (attempt, how) = (record.attempt, tried.outcome.as_str());
            let reason = format!("attempt {attempt} {how}{reason}; it is tried again");
            record.state = StepState::Waiting;
            record.attempt += 1;
            record.queued_at = ambient::now();
            record.facts = StepFacts { reason: Some(reason), tries, ..tried.facts };
            self.resting.insert(step.clone());
            let (step, halt) = (step.clone(), self.halt.clone());
            self.under_way.push(Box::pin(async move {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = halt.cancelled() => {}
                }
                Event::Rested(step)
            }));
        } else {
            let finished_at = tried.finished_at;
            let started_at = match record.state {
                StepState::Running { started_at } => started_at,
                StepState::Waiting | StepState::Finished { .. } | StepState::Skipped { .. } => {
                    finished_at
                }
            };
            let outcome = tried.outcome;
            record.state = StepState::Finished { started_at, finished_at, outcome };
            record.facts = tried.facts;
            let prospect = self.prospects.get(step);
            record.facts.cache = prospect.and_then(|prospect| prospect.facts.clone());
            shares = tried.shares;
        }
        let record = record.clone();
        let waits = |heir: &StepId| {
            self.records.get(heir).is_some_and(|record| record.state == StepState::Waiting)
        };
        shares.retain(|(heir, _)| waits(heir));
        self.shares.extend(shares);
        self.journal.record(std::slice::from_ref(&record)).await?;
        if record.state.is_settled() {
            let remembered = self.remember(spec, &record, tried.kept).await?;
            self.end_turn(spec, record.state.outcome(), remembered).await?;
        }
        Ok(())
    }

    async fn cancel_waiting(&mut self) -> Result<(), J::Error> {
        self.slot = None;
        self.asking = None;
        self.resting.clear();
        self.replaying.clear();
        let now = ambient::now();
        let mut changed = Vec::new();
        // What runs tells its own end, if there is anything that runs.
        let idle = self.under_way.is_empty();
        let open = |record: &&mut StepRecord| {
            record.state == StepState::Waiting || idle && !record.state.is_settled()
        };
        for record in self.records.values_mut().filter(open) {
            let outcome = Outcome::Cancelled;
            record.state = StepState::Finished { started_at: now, finished_at: now, outcome };
            record.facts.reason = self.stop.reason().map(str::to_owned);
            changed.push(record.clone());
        }
        if changed.is_empty() { Ok(()) } else { self.journal.record(&changed).await }
    }

    /// What comes next; nothing more where the job was stopped and nothing is under way.
    async fn next_event(&mut self) -> Option<Event<E::Left, J::Error>> {
        let stopping = self.stop.is_stopped();
        // A fetch may take half an hour: no step holds a slot meanwhile.
        let may_begin = !stopping && self.ground.is_some();
        let wanted = self.most_urgent().filter(|_| may_begin);
        self.ask_for(wanted);
        let asks = self.asking.is_some();
        let (journal, queue) = (self.journal, self.pace_of_queue());
        let rests = self.is_idle() && !self.resting.is_empty() && !asks;
        let asking = async {
            match &mut self.asking {
                Some((_, slot)) => pace::waited(slot, (journal, queue)).await,
                None => pending().await,
            }
        };
        let resting = async {
            journal.paces(Pace::Rests);
            pending().await
        };
        let event = tokio::select! {
            biased;
            () = self.stop.stopped(), if !stopping => Some(Event::Stop),
            Some(event) = self.under_way.next(), if !self.under_way.is_empty() => Some(event),
            slot = asking, if asks => Some(Event::Slot(slot)),
            event = resting, if rests => Some(event),
            else => None,
        };
        journal.paces(Pace::Busy);
        event
    }

    /// States as the scheduler sees them: a step that rests, or whose earlier result is being
    /// copied, is as good as running.
    fn states(&self) -> States {
        let seen = |record: &StepRecord| {
            if self.resting.contains(&record.id) || self.replaying.contains(&record.id) {
                StepState::Running { started_at: record.queued_at }
            } else {
                record.state.clone()
            }
        };
        self.records.values().map(|record| (record.id.clone(), seen(record))).collect()
    }

    fn startable(&self) -> BTreeSet<StepId> {
        let decisions = decide::decide(self.job.plan, &self.states(), usize::MAX);
        let starts = decisions.into_iter().filter_map(|decision| match decision {
            Decision::Start(step) => Some(step).filter(|step| !self.awaits_image(step)),
            Decision::Skip(..) => None,
        });
        starts.collect()
    }
}

/// The step that is to begin; there is a slot for one.
fn to_start(decisions: &[Decision]) -> Option<StepId> {
    decisions.iter().find_map(|decision| match decision {
        Decision::Start(step) => Some(step.clone()),
        Decision::Skip(..) => None,
    })
}
