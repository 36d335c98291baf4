//! Runs plans here, with the same engine as a server, for `checkvalve test`.

mod journal;
pub(super) mod renewals;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::StreamExt;
use tokio::sync::{Mutex, Semaphore, mpsc};

use self::journal::LocalJournal;
use self::renewals::LocalRenewals;
use super::results::Results;
use super::terminal::{Format, Terminal};
use crate::ambient;
use crate::domain::cache::{Reuse, Share};
use crate::domain::ids::{JobId, RunId};
use crate::domain::names::StepId;
use crate::domain::pipeline::StepSpec;
use crate::domain::plan::Plan;
use crate::domain::rules::Preset;
use crate::domain::run::{StepFacts, StepRecord, job_conclusion};
use crate::domain::secret::JobSecrets;
use crate::domain::state::{Conclusion, Outcome, SkipReason, StepState};
use crate::domain::time::Timestamp;
use crate::engine::{Engine, EngineOptions, Images, JobCache, JobLabels, JobRun, Stop};
use crate::exec::{Executor as _, Executors, SourceArchive};
use crate::service::rotations;

/// How long removals may take after a second Ctrl-C.
const LAST_REMOVALS: Duration = Duration::from_secs(5);

/// RUN's flags. They may stand before the subcommand and after it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "How to run")]
#[expect(clippy::struct_excessive_bools, reason = "flags are what they are")]
pub struct RunArgs {
    /// Where steps run: in containers, or as plain processes of yours [default: docker]
    #[arg(long, value_enum)]
    pub executor: Option<ExecutorName>,
    /// Run only this step and what it needs; may be given several times
    #[arg(long, value_name = "STEP")]
    pub only: Vec<StepId>,
    /// Leave this step out; may be given several times
    #[arg(long, value_name = "STEP")]
    pub skip: Vec<StepId>,
    /// Begin nothing more after the first failure
    #[arg(long)]
    pub fail_fast: bool,
    /// Reuse no earlier results
    #[arg(long)]
    pub no_cache: bool,
    /// Connectors at once [default: one a core]
    #[arg(long, value_name = "N")]
    pub concurrency: Option<NonZeroUsize>,
    /// Write reports, logs and artifacts to this folder
    #[arg(long, value_name = "DIR")]
    pub report_dir: Option<PathBuf>,
    /// Take secrets from Google Secret Manager instead of `secrets/` folders [default: if there
    /// are credentials for it]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = parse_bool)]
    pub use_remote_secrets: Option<bool>,
    /// Test the pushed commit, fetched from origin, and upload reports
    #[arg(long, conflicts_with = "is_local")]
    pub is_ci: bool,
    /// Test what lies here (the default)
    #[arg(long)]
    pub is_local: bool,
    /// How to tell what happens [default: human on a terminal, else plain]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// The executors by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExecutorName {
    Docker,
    Host,
}

/// `true`, `false`, `1`, `0`, `yes`, `no`, in any case.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" => Ok(false),
        _ => Err("say true or false (or 1, 0, yes, no)".to_owned()),
    }
}

/// One connector to test here.
#[derive(Debug, Clone)]
pub struct LocalJob {
    pub plan: Plan,
    pub source: Arc<SourceArchive>,
    /// Added to each step's own environment: `CHECKVALVE_SHA` and the like.
    pub env: BTreeMap<String, String>,
    pub secrets: JobSecrets,
    /// Are its plan's digests those of the source? Else no result is used, and none is kept.
    pub known: bool,
    /// What becomes of secrets that its connector renews.
    pub renewals: Option<Arc<LocalRenewals>>,
}

/// How to run them.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Labels what is started, so that it can be found if a crash leaves it.
    pub instance: String,
    pub only: Vec<StepId>,
    pub skip: Vec<StepId>,
    pub fail_fast: bool,
    /// Connectors at once.
    pub concurrency: usize,
    /// Steps at once.
    pub slots: usize,
    /// Where logs and artifacts go, by the names of design §6.5.
    pub report_dir: Option<PathBuf>,
    /// Where they go if there is no `report_dir` and something else wants them; nobody is told.
    pub keep_dir: Option<PathBuf>,
    /// Those of earlier calls, and where to keep new ones.
    pub results: Option<Results>,
    pub reuse: Reuse,
    /// The tag of images that are built.
    pub image_tag: &'static str,
}

impl LocalOptions {
    /// The options that were typed; cores bound what was not.
    pub fn new(instance: impl Into<String>, args: &RunArgs) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            instance: instance.into(),
            only: args.only.clone(),
            skip: args.skip.clone(),
            fail_fast: args.fail_fast,
            concurrency: args.concurrency.map_or(cores, NonZeroUsize::get),
            slots: cores.max(args.concurrency.map_or(1, NonZeroUsize::get)),
            report_dir: args.report_dir.clone(),
            keep_dir: None,
            results: None,
            reuse: if args.no_cache { Reuse::Never } else { Reuse::All },
            image_tag: Preset::None.image_tag(),
        }
    }
}

/// How it all ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All passed, or there was nothing to run.
    Passed,
    /// A step failed.
    Failed,
    /// Something of ours went wrong: engine, network, disk.
    CouldNotRun,
    Interrupted,
}

impl Verdict {
    /// The exit status that says so.
    pub fn status(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::CouldNotRun => 3,
            Self::Interrupted => 130,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::CouldNotRun => "could_not_run",
            Self::Interrupted => "interrupted",
        }
    }
}

impl From<Verdict> for Conclusion {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Passed => Self::Success,
            Verdict::Failed | Verdict::CouldNotRun => Self::Failure,
            Verdict::Interrupted => Self::Cancelled,
        }
    }
}

/// A connector that was tested.
#[derive(Debug, Clone)]
pub struct LocalDone {
    pub job: JobId,
    pub plan: Plan,
    /// In the plan's order.
    pub steps: Vec<StepRecord>,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub conclusion: Conclusion,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct LocalResult {
    pub run: RunId,
    pub reuse: Reuse,
    pub verdict: Verdict,
    /// In the order given; those that could not be carried on are missing.
    pub jobs: Vec<LocalDone>,
}

/// A step asked for by name that no plan has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no pipeline here has a step `{0}`; there are {1}")]
pub struct UnknownStep(StepId, String);

/// Resolves once for each Ctrl-C or SIGTERM from now on.
pub fn interrupts() -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(4);
    for kind in
        [tokio::signal::unix::SignalKind::interrupt(), tokio::signal::unix::SignalKind::terminate()]
    {
        let sender = sender.clone();
        // Without a handler the signal just ends us, and the next call finds what is left.
        let Ok(mut signals) = tokio::signal::unix::signal(kind) else { continue };
        tokio::spawn(async move {
            while signals.recv().await.is_some() && sender.send(()).await.is_ok() {}
        });
    }
    receiver
}

/// Runs the jobs and tells the terminal. The first interrupt ends what runs and settles the rest;
/// the second ends everything at once.
pub async fn run_local(
    executor: Executors,
    jobs: Vec<LocalJob>,
    options: &LocalOptions,
    terminal: &Terminal,
    interrupts: &mut mpsc::Receiver<()>,
) -> Result<LocalResult, UnknownStep> {
    let known = options.results.as_ref().map(|results| results.run);
    let run = known.unwrap_or_else(|| RunId::new(ambient::ulid()));
    let began = ambient::now();
    let stop = Stop::new();
    let jobs = select_steps(jobs, options)?;
    let engine = EngineOptions { resources: executor.capacity(), ..EngineOptions::default() };
    let local = Local {
        run,
        engine: Engine::with_options(executor.clone(), options.slots, engine),
        options,
        terminal,
        stop: &stop,
    };
    terminal.begin(run, jobs.iter().map(|(job, _)| &job.plan));
    let mut work = Box::pin(local.run_all(jobs));
    let mut interrupted = false;
    let (jobs, troubles) = loop {
        tokio::select! {
            done = &mut work => break done,
            Some(()) = interrupts.recv() => {
                if interrupted {
                    break (Vec::new(), Vec::new());
                }
                interrupted = true;
                terminal.stopping();
                stop.stop("interrupted");
            }
        }
    };
    // After the second interrupt this is what ends whatever still runs.
    drop(work);
    if tokio::time::timeout(LAST_REMOVALS, executor.settled()).await.is_err() {
        terminal.say(&format!(
            "some containers are not removed yet; see `docker ps --filter \
             label=io.checkvalve.instance={}`",
            options.instance
        ));
    }
    for trouble in &troubles {
        terminal.say(trouble);
    }
    let mut verdict = verdict(&jobs);
    if verdict == Verdict::Passed && !troubles.is_empty() {
        verdict = Verdict::CouldNotRun;
    }
    if interrupted {
        verdict = Verdict::Interrupted;
    }
    let result = LocalResult { run, reuse: options.reuse, verdict, jobs };
    if let Some(results) = &options.results {
        results.end(verdict.into()).await;
    }
    terminal.end(&result, ambient::now().since(began), options.report_dir.as_deref());
    Ok(result)
}

/// What all jobs of one call share.
struct Local<'a> {
    run: RunId,
    engine: Engine<Executors>,
    options: &'a LocalOptions,
    terminal: &'a Terminal,
    stop: &'a Stop,
}

type Selected = (LocalJob, Vec<StepRecord>);

impl Local<'_> {
    /// All jobs, a few at once; and what kept jobs from being carried on, in words.
    async fn run_all(&self, jobs: Vec<Selected>) -> (Vec<LocalDone>, Vec<String>) {
        let locks: BTreeMap<String, Mutex<()>> = jobs
            .iter()
            .filter_map(|(job, _)| Some((job.plan.lock()?.to_owned(), Mutex::new(()))))
            .collect();
        let (locks, places) = (&locks, &Semaphore::new(self.options.concurrency.max(1)));
        let all = jobs.len().max(1);
        let runs = jobs.into_iter().enumerate().map(|(n, job)| async move {
            let name = job.0.plan.connector().clone();
            // First its lock: a place is for who can use it. Both are given in order.
            let _lock = match job.0.plan.lock().and_then(|lock| locks.get(lock)) {
                Some(lock) => Some(lock.lock().await),
                None => None,
            };
            let _place = places.acquire().await;
            let done = Box::pin(self.run_one(job)).await;
            (n, done.map_err(|e| format!("{name} could not be run: {e}")))
        });
        let mut done: Vec<(usize, Result<LocalDone, String>)> =
            futures_util::stream::iter(runs).buffer_unordered(all).collect().await;
        done.sort_by_key(|(n, _)| *n);
        let (mut jobs, mut troubles) = (Vec::new(), Vec::new());
        for (_, result) in done {
            match result {
                Ok(job) => jobs.push(job),
                Err(trouble) => troubles.push(trouble),
            }
        }
        (jobs, troubles)
    }

    async fn run_one(&self, (job, records): Selected) -> io::Result<LocalDone> {
        let id = JobId::new(ambient::ulid());
        let connector = job.plan.connector().clone();
        let started_at = ambient::now();
        let spool = tempfile::Builder::new().prefix("checkvalve-").tempdir()?;
        let reports = self.options.report_dir.as_deref().or(self.options.keep_dir.as_deref());
        let results = self.options.results.as_ref().filter(|_| job.known);
        self.terminal.connector(&job.plan);
        let journal = LocalJournal::new(self.terminal, &job.plan, results, reports);
        let journal = journal.with_renewals(job.renewals.clone());
        let cache = results.map(|results| JobCache {
            repository: results.repository,
            reuse: self.options.reuse,
            share: Share::Repository,
        });
        let run = JobRun {
            plan: &job.plan,
            records,
            labels: JobLabels {
                instance: self.options.instance.clone(),
                run: self.run,
                job: id,
                epoch: 0,
                connector,
            },
            env: job.env,
            secrets: job.secrets,
            source: job.source,
            cache,
            spool: spool.path().to_owned(),
            fail_fast: self.options.fail_fast,
            images: Images::Kept { tag: self.options.image_tag },
        };
        let ended = self.engine.run(run, &journal, self.stop).await;
        let rest = journal.write_rest().await;
        let mut steps = ended.map_err(io::Error::other)?;
        rotations::tell(&job.plan, &mut steps, &rest);
        journal.join_logs(&steps).await?;
        let conclusion = job_conclusion(&job.plan, &steps);
        if self.options.fail_fast && conclusion == Conclusion::Failure {
            self.stop.stop(format!("stopped at the failure of `{}`", job.plan.connector()));
        }
        let finished_at = ambient::now();
        let done =
            LocalDone { job: id, plan: job.plan, steps, started_at, finished_at, conclusion };
        self.terminal.connector_done(&done);
        Ok(done)
    }
}

/// The records with which each job begins: what was not asked for is skipped. Jobs of which
/// nothing was asked for are left out.
fn select_steps(jobs: Vec<LocalJob>, options: &LocalOptions) -> Result<Vec<Selected>, UnknownStep> {
    let specs = || jobs.iter().flat_map(|job| job.plan.steps());
    let is_known = |step: &StepId| specs().any(|spec| spec.is_called(step.as_str()));
    let asked = options.only.iter().chain(&options.skip);
    // Nothing selected is nothing wrong.
    if let Some(unknown) = asked.filter(|_| !jobs.is_empty()).find(|step| !is_known(step)) {
        let known: BTreeSet<&StepId> = specs().map(|spec| &spec.id).collect();
        let known: Vec<_> = known.iter().map(|step| format!("`{step}`")).collect();
        return Err(UnknownStep(unknown.clone(), known.join(", ")));
    }
    let now = ambient::now();
    let select = |job: LocalJob| {
        let wanted = wanted(&job.plan, &options.only, &options.skip);
        let records: Vec<StepRecord> =
            job.plan.steps().iter().map(|spec| first(&spec.id, &wanted, now)).collect();
        (!wanted.is_empty()).then_some((job, records))
    };
    Ok(jobs.into_iter().filter_map(select).collect())
}

fn first(step: &StepId, wanted: &BTreeSet<StepId>, now: Timestamp) -> StepRecord {
    let (state, reason) = if wanted.contains(step) {
        (StepState::Waiting, None)
    } else {
        let reason = SkipReason::NotAsked;
        (StepState::Skipped { at: now, reason: reason.clone() }, Some(reason.to_string()))
    };
    let facts = StepFacts { reason, ..StepFacts::default() };
    StepRecord { id: step.clone(), state, attempt: 1, queued_at: now, facts }
}

/// The steps to run: all, or `only` and all that those need; without `skip`.
fn wanted(plan: &Plan, only: &[StepId], skip: &[StepId]) -> BTreeSet<StepId> {
    let mut wanted: BTreeSet<StepId> = BTreeSet::new();
    let among =
        |asked: &[StepId], spec: &StepSpec| asked.iter().any(|step| spec.is_called(step.as_str()));
    // From the end: each step stands after its needs.
    for spec in plan.steps().iter().rev() {
        if only.is_empty() || among(only, spec) {
            wanted.insert(spec.id.clone());
        }
        if !only.is_empty() && wanted.contains(&spec.id) {
            wanted.extend(spec.needs.iter().cloned());
        }
    }
    wanted.retain(|step| !plan.step(step).is_some_and(|spec| among(skip, spec)));
    wanted
}

fn verdict(jobs: &[LocalDone]) -> Verdict {
    let mut verdict = Verdict::Passed;
    // Nothing tested is nothing passed.
    if jobs.iter().any(|job| job.plan.tests_nothing()) {
        return Verdict::Failed;
    }
    for (plan, step) in jobs.iter().flat_map(|job| job.steps.iter().map(|step| (&job.plan, step))) {
        let counts = plan.step(&step.id).is_none_or(|spec| !spec.allow_failure);
        match step.state.outcome() {
            Some(Outcome::Failed | Outcome::TimedOut) if counts => return Verdict::Failed,
            Some(Outcome::Errored | Outcome::Cancelled) => verdict = Verdict::CouldNotRun,
            Some(Outcome::Succeeded | Outcome::Failed | Outcome::TimedOut) | None => {}
        }
    }
    verdict
}

#[path = "test_tests.rs"]
#[cfg(test)]
mod tests;
