//! Jobs that only wait, and the places that they leave to others.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use checkvalve::domain::names::StepId;
use checkvalve::domain::pipeline::StepSpec;
use checkvalve::domain::run::StepRecord;
use checkvalve::engine::{Engine, EngineOptions, Journal, Kept, Left, Pace, Stop};
use checkvalve::service::places::{self, Places};

use super::scripted::{Lost, Notes, Scripted};
use super::steps::{Place, plan};
use super::{job, options, step, told};

#[tokio::test]
async fn a_job_rests_between_two_tries_unless_something_else_of_it_runs() {
    let (place, scripted) = (Place::new(), Scripted::default());
    let engine = Engine::with_options(scripted.clone(), 4, options());
    let (alone, beside, stop) = (Notes::default(), Notes::default(), Stop::new());
    let flaky = plan(vec![step("flaky", &[], "err 5 2")]);
    engine.run(job(&flaky, &place), &alone, &stop).await.unwrap();
    let paces = alone.paces.into_inner().unwrap();
    assert_eq!(paces, [Pace::Busy, Pace::Rests, Pace::Busy, Pace::Rests, Pace::Busy]);

    let both = plan(vec![step("long", &[], "ok gate"), step("flaky", &[], "err 5 2")]);
    let open = async {
        let over = |record: &StepRecord| record.id.as_str() == "flaky" && record.state.is_settled();
        until(|| beside.records.lock().unwrap().iter().flatten().any(over)).await;
        scripted.gate.0.add_permits(1);
    };
    let (ended, ()) = tokio::join!(engine.run(job(&both, &place), &beside, &stop), open);
    assert_eq!(told(&ended.unwrap()), "long=succeeded flaky=succeeded");
    assert_eq!(beside.paces.into_inner().unwrap(), [Pace::Busy]);
}

#[tokio::test]
async fn a_job_queues_only_before_its_first_step() {
    let (place, scripted) = (Place::new(), Scripted::default());
    let engine = Engine::with_options(scripted.clone(), 1, options());
    let stop = Stop::new();
    let gated = plan(vec![step("gated", &[], "ok gate")]);
    let chain = plan(vec![step("one", &[], "ok 1"), step("two", &["one"], "ok 1")]);
    let [first, second, third] = [Notes::default(), Notes::default(), Notes::default()];
    let run = |plan, notes| {
        let (engine, place, stop) = (&engine, &place, &stop);
        async move { told(&engine.run(job(plan, place), notes, stop).await.unwrap()) }
    };
    // The only slot is the first's.
    let chained = async {
        until(|| !scripted.begun.lock().unwrap().is_empty()).await;
        run(&chain, &second).await
    };
    let later = async {
        // The chain stands in the queue before the third: it has the longer way to go.
        until(|| second.paces.lock().unwrap().last() == Some(&Pace::Queues)).await;
        run(&gated, &third).await
    };
    let open = async {
        until(|| third.paces.lock().unwrap().last() == Some(&Pace::Queues)).await;
        assert_eq!(*second.paces.lock().unwrap(), [Pace::Busy, Pace::Queues]);
        scripted.gate.0.add_permits(1);
        // Its second step waits for the third job's, which has the slot now.
        until(|| scripted.begun.lock().unwrap().len() == 3).await;
        scripted.gate.0.add_permits(1);
    };
    let (one, two, three, ()) = tokio::join!(run(&gated, &first), chained, later, open);
    assert_eq!(
        [one, two, three].join(" "),
        "gated=succeeded one=succeeded two=succeeded gated=succeeded"
    );
    let begun: Vec<String> =
        scripted.begun.lock().unwrap().iter().map(|(step, _)| step.clone()).collect();
    assert_eq!(begun, ["gated", "one", "gated", "two"]);
    let paces = second.paces.into_inner().unwrap();
    assert_eq!(paces, [Pace::Busy, Pace::Queues, Pace::Busy], "it waits, and is at work");
}

/// Lets others go on until a condition holds.
async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A worker's journal, as far as its place is concerned.
struct Desk {
    notes: Notes,
    place: places::Place,
}

impl Journal for Desk {
    type Error = Lost;

    async fn record(&self, steps: &[StepRecord]) -> Result<(), Lost> {
        self.notes.record(steps).await
    }

    async fn printed(&self, step: &StepId, attempt: u32, offset: u64, chunk: &Bytes) {
        self.notes.printed(step, attempt, offset, chunk).await;
    }

    async fn keep(&self, left: &Left) -> Result<Kept, Lost> {
        self.notes.keep(left).await
    }

    fn paces(&self, pace: Pace) {
        self.place.paces(pace);
    }
}

/// Takes these jobs in hand one after the other, as workers do; those that only wait go on beside
/// the next ones, until they are stopped. Answers what was over before, and what came of the rest.
async fn in_hand(
    places: Places,
    engine: Engine<Scripted>,
    steps: Vec<StepSpec>,
) -> (Vec<String>, Vec<String>) {
    let (place, stop) = (Arc::new(Place::new()), Stop::new());
    let (mut waiting, mut over) = (Vec::new(), Vec::new());
    for spec in steps {
        let (desk, place) = (places.take().await, place.clone());
        let (waits, engine, stop) = (desk.waits(), engine.clone(), stop.clone());
        let mut job = tokio::spawn(async move {
            let (plan, desk) = (plan(vec![spec]), Desk { notes: Notes::default(), place: desk });
            told(&engine.run(job(&plan, &place), &desk, &stop).await.unwrap())
        });
        tokio::select! {
            ended = &mut job => over.push(ended.unwrap()),
            () = waits => waiting.push(job),
        }
    }
    stop.stop("enough");
    let mut ended = Vec::new();
    for job in waiting {
        ended.push(job.await.unwrap());
    }
    (over, ended)
}

#[tokio::test]
async fn more_jobs_rest_than_there_are_workers_and_others_run() {
    // Whoever rests does so for as long as this takes.
    let options = EngineOptions { backoff: Duration::from_hours(1), ..options() };
    let engine = Engine::with_options(Scripted::default(), 8, options);
    let flaky = (1..=5).map(|n| step(&format!("flaky-{n}"), &[], "err"));
    let steady = (1..=3).map(|n| step(&format!("steady-{n}"), &[], "ok"));
    let (over, rested) = in_hand(Places::new(2), engine, flaky.chain(steady).collect()).await;
    assert_eq!(over, ["steady-1=succeeded", "steady-2=succeeded", "steady-3=succeeded"]);
    assert_eq!(rested.len(), 5);
    assert!(rested.iter().all(|told| told.ends_with("=cancelled")), "{rested:?}");
}

#[tokio::test]
async fn more_jobs_wait_for_a_slot_than_there_are_workers_and_who_needs_none_ends() {
    let (place, scripted) = (Place::new(), Scripted::default());
    let engine = Engine::with_options(scripted.clone(), 1, options());
    let (gated, notes, stop) =
        (plan(vec![step("gated", &[], "ok gate")]), Notes::default(), Stop::new());
    let queueing = (1..=2).map(|n| step(&format!("queues-{n}"), &[], "ok"));
    let useless = StepSpec { left_out: Some("of no use".into()), ..step("useless", &[], "ok") };
    let steps = queueing.chain([useless]).collect();
    let busy = engine.run(job(&gated, &place), &notes, &stop);
    let others = async {
        until(|| !scripted.begun.lock().unwrap().is_empty()).await;
        let ended = in_hand(Places::new(1), engine.clone(), steps).await;
        scripted.gate.0.add_permits(1);
        ended
    };
    let (held, (over, queued)) = tokio::join!(busy, others);
    assert_eq!(told(&held.unwrap()), "gated=succeeded");
    assert_eq!(over, ["useless=-"]);
    assert_eq!(queued.len(), 2);
    assert!(queued.iter().all(|told| told.ends_with("=cancelled")), "{queued:?}");
    assert_eq!(scripted.begun.lock().unwrap().len(), 1, "nobody else had the slot");
}
