//! A journal that remembers and an executor that does as it is told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use checkvalve::ambient;
use checkvalve::domain::cache::{Cached, Ingredients, Known};
use checkvalve::domain::ids::{RunId, Ulid};
use checkvalve::domain::names::StepId;
use checkvalve::domain::run::{Artifact, LogRef, Segment, StepRecord};
use checkvalve::domain::state::Outcome;
use checkvalve::domain::turn::Maker;
use checkvalve::engine::{Journal, Kept, Left, Pace, Stop};
use checkvalve::exec::{Divided, Division, Ended, Executor, StepRun};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// What the journal was told, in order.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) records: Mutex<Vec<Vec<StepRecord>>>,
    pub(crate) printed: Mutex<BTreeMap<(StepId, u32), Vec<u8>>>,
    pub(crate) kept: Mutex<Vec<Left>>,
    /// Refuse from this many records on.
    pub(crate) lose_after: Option<usize>,
    /// Asked to end while it writes down that steps are skipped.
    pub(crate) stop_at_skips: Option<Stop>,
    /// Who works out whatever is wanted, as long as that is somebody.
    pub(crate) busy: Mutex<Option<Maker>>,
    /// How often a copy was taken back.
    pub(crate) taken_back: AtomicUsize,
    /// How the job went on, each change once.
    pub(crate) paces: Mutex<Vec<Pace>>,
    /// What later runs may use, by key.
    pub(crate) results: Mutex<BTreeMap<String, (StepRecord, Ingredients)>>,
}

#[derive(Debug)]
pub(crate) struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lease is lost")
    }
}

impl std::error::Error for Lost {}

impl Journal for Notes {
    type Error = Lost;

    async fn record(&self, steps: &[StepRecord]) -> Result<(), Lost> {
        // As a database does: others go on meanwhile.
        tokio::task::yield_now().await;
        if let Some(stop) = &self.stop_at_skips
            && steps.iter().all(|record| record.state.as_str() == "skipped")
        {
            stop.stop("enough");
        }
        let mut records = self.records.lock().unwrap();
        if self.lose_after.is_some_and(|count| records.len() >= count) {
            return Err(Lost);
        }
        assert!(!steps.is_empty());
        records.push(steps.to_vec());
        Ok(())
    }

    async fn printed(&self, step: &StepId, attempt: u32, offset: u64, chunk: &Bytes) {
        let mut printed = self.printed.lock().unwrap();
        let log = printed.entry((step.clone(), attempt)).or_default();
        assert_eq!(log.len() as u64, offset, "no gap and no overlap");
        log.extend_from_slice(chunk);
    }

    async fn keep(&self, left: &Left) -> Result<Kept, Lost> {
        assert_eq!(std::fs::metadata(&left.log).unwrap().len(), left.bytes);
        self.kept.lock().unwrap().push(left.clone());
        let artifacts = left.artifacts.iter().map(|path| Artifact {
            path: path.clone(),
            key: format!("key/{path}"),
            bytes: std::fs::metadata(left.out.join(path)).unwrap().len(),
        });
        let log = LogRef { key: "log".into(), bytes: left.bytes, lines: left.lines, cut: left.cut };
        Ok(Kept { log: Some(log), artifacts: artifacts.collect() })
    }

    async fn recall(&self, step: &StepId, ingredients: &Ingredients) -> Result<Known, Lost> {
        let results = self.results.lock().unwrap();
        let run = RunId::new(Ulid::nil());
        let result = results.get(&ingredients.key()).map(|(record, _)| Cached {
            outcome: record.state.outcome().unwrap(),
            facts: record.facts.clone(),
            origin: run,
            kept_by: run,
        });
        let last = results.values().find(|(record, _)| record.id == *step);
        let last = last.map(|(_, ingredients)| ingredients.clone());
        Ok(Known { result, last, usual: None })
    }

    async fn replay(
        &self,
        (step, _): (&StepId, u32),
        earlier: &Cached,
        halt: &CancellationToken,
    ) -> Result<Option<Kept>, Lost> {
        match step.as_str() {
            "forgotten" => return Ok(None),
            "unreadable" => return Err(Lost),
            "endless" => {
                halt.cancelled().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
                self.taken_back.fetch_add(1, Ordering::SeqCst);
                return Ok(None);
            }
            _ => {}
        }
        let (log, artifacts) = (earlier.facts.log.clone(), earlier.facts.artifacts.clone());
        Ok(Some(Kept { log, artifacts }))
    }

    fn paces(&self, pace: Pace) {
        let mut paces = self.paces.lock().unwrap();
        if paces.last() != Some(&pace) {
            paces.push(pace);
        }
    }

    async fn maker(&self, _: &Ingredients, _: Option<&Maker>) -> Result<Option<Maker>, Lost> {
        Ok(self.busy.lock().unwrap().clone())
    }

    async fn forget(&self, ingredients: &Ingredients) -> Result<(), Lost> {
        self.results.lock().unwrap().remove(&ingredients.key());
        Ok(())
    }

    async fn remember(&self, step: &StepRecord, ingredients: &Ingredients) -> Result<(), Lost> {
        let kept = (step.clone(), ingredients.clone());
        self.results.lock().unwrap().insert(ingredients.key(), kept);
        Ok(())
    }
}

/// Steps whose script is a word and a number of milliseconds, or `gate`.
#[derive(Clone, Default)]
pub(crate) struct Scripted {
    /// Lets steps that stand before it through, one for each permit.
    pub(crate) gate: Gate,
    pub(crate) running: Arc<AtomicUsize>,
    pub(crate) most: Arc<AtomicUsize>,
    pub(crate) begun: Arc<Mutex<Vec<(String, u32)>>>,
    /// The steps that ran in one file system, one after the other, at each step's begin.
    pub(crate) histories: Arc<Mutex<Vec<String>>>,
    /// What was divided, among how many heirs, and whether one may go on in it.
    pub(crate) divided: Arc<Mutex<Vec<(String, usize, bool)>>>,
    pub(crate) snapshots: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    /// How many file systems there are, at each step's begin and now.
    pub(crate) held: Arc<Mutex<Vec<(String, usize)>>>,
    pub(crate) alive: Arc<AtomicUsize>,
    /// What succeeds now fails.
    pub(crate) spoilt: Arc<AtomicBool>,
    /// Divisions come to nothing.
    pub(crate) forgets: bool,
    /// Beginnings can be made ready.
    pub(crate) warms: bool,
}

/// Closed at first.
#[derive(Clone)]
pub(crate) struct Gate(pub(crate) Arc<Semaphore>);

impl Default for Gate {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }
}

/// The steps that ran in it.
pub(crate) struct FileSystem {
    steps: Vec<String>,
    alive: Arc<AtomicUsize>,
}

impl FileSystem {
    fn new(steps: Vec<String>, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { steps, alive: alive.clone() }
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Executor for Scripted {
    type Left = FileSystem;

    async fn run(
        &self,
        step: StepRun,
        on: Option<FileSystem>,
        log: mpsc::Sender<Bytes>,
        cancel: CancellationToken,
    ) -> (Ended, Option<FileSystem>) {
        let mut history = on.map(|on| on.steps.clone()).unwrap_or_default();
        let held = (step.labels.step.to_string(), self.alive.load(Ordering::SeqCst));
        self.held.lock().unwrap().push(held);
        history.push(step.labels.step.to_string());
        self.histories.lock().unwrap().push(history.join(" "));
        let started_at = ambient::now();
        let begun = (step.labels.step.to_string(), step.labels.attempt);
        self.begun.lock().unwrap().push(begun);
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let words: Vec<&str> = step.run[0].split(' ').collect();
        let time = words.get(1).map_or("5", |time| *time);
        let end = async {
            if time == "gate" {
                self.gate.0.acquire().await.unwrap().forget();
            } else {
                tokio::time::sleep(Duration::from_millis(time.parse().unwrap())).await;
            }
        };
        log.send(Bytes::from(format!("{}\n", words[0]))).await.unwrap();
        let stopped = tokio::select! {
            () = cancel.cancelled() => true,
            () = end => false,
        };
        self.running.fetch_sub(1, Ordering::SeqCst);
        let late = step.labels.attempt > words.get(2).map_or(u32::MAX, |n| n.parse().unwrap());
        let outcome = match words[0] {
            _ if stopped => Outcome::Cancelled,
            "fail" if !late => Outcome::Failed,
            "err" | "hopeless" if !late => Outcome::Errored,
            _ if self.spoilt.load(Ordering::SeqCst) => Outcome::Failed,
            _ => Outcome::Succeeded,
        };
        let finished_at = ambient::now();
        let ran = Segment { name: "run".into(), started_at, finished_at };
        let ended = Ended {
            outcome,
            exit_code: None,
            reason: (outcome == Outcome::Errored).then(|| "engine away".to_owned()),
            retry: words[0] == "err",
            started_at,
            finished_at,
            segments: if words[0] == "stuck" { vec![] } else { vec![ran] },
            image_digest: None,
            services: BTreeMap::new(),
        };
        let leaves = step.leave && !stopped;
        (ended, leaves.then(|| FileSystem::new(history, &self.alive)))
    }

    async fn warm(&self, step: StepRun) -> Option<FileSystem> {
        let ready = vec![format!("({} ready)", step.labels.step)];
        self.warms.then(|| FileSystem::new(ready, &self.alive))
    }

    async fn divide(&self, left: FileSystem, into: Division) -> Divided<FileSystem> {
        self.divided.lock().unwrap().push((left.steps.join(" "), into.heirs, into.go_on));
        if self.forgets {
            return Divided::nothing();
        }
        Divided {
            shares: (0..into.heirs)
                .map(|_| FileSystem::new(left.steps.clone(), &self.alive))
                .collect(),
            kept: into.keep.then_some(left),
            trouble: None,
            segment: None,
        }
    }

    fn identity(&self) -> Option<String> {
        Some("scripted".to_owned())
    }

    async fn identify(&self, image: &str) -> Result<Option<String>, String> {
        if image == "unanswered" {
            return Err("the engine does not answer".to_owned());
        }
        Ok((image != "absent").then(|| format!("digest of {image}")))
    }

    async fn keep(&self, share: FileSystem, name: &str) {
        self.snapshots.lock().unwrap().insert(name.to_owned(), share.steps.clone());
    }

    async fn recall(&self, name: &str) -> Option<FileSystem> {
        let steps = self.snapshots.lock().unwrap().get(name).cloned()?;
        Some(FileSystem::new(steps, &self.alive))
    }
}
