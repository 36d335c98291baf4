//! Jobs are carried out under a lease: claim, heartbeat, engine, fenced settle; then reports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio::time::{MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::archive::Archivist;
use super::journal::{FLUSH, JobJournal, JournalError};
use super::places::{KEPT, Place, Places};
use super::rotations::{self, Keeper};
use super::secrets::{Files, Gathered, SecretAccess, Wanted, committed};
use super::source::{ARCHIVE, CommitSource, Fault, Sources};
use crate::ambient;
use crate::blobs::BlobError;
use crate::domain::cache::{Reuse, Share};
use crate::domain::ids::WorkerId;
use crate::domain::names::StepId;
use crate::domain::patience::Pause;
use crate::domain::run::{Job, Run, StepRecord, job_conclusion};
use crate::domain::secret::JobSecrets;
use crate::domain::state::{Outcome, RunState, StepState};
use crate::engine::{Engine, EngineError, Images, JobCache, JobLabels, JobRun, Source, Stop};
use crate::exec::{Executors, remove_tree};
use crate::store::{Lease, Store, StoreError};

/// Carries out jobs.
#[derive(Clone)]
pub struct Worker {
    pub store: Store,
    pub sources: Sources,
    /// Its object store is the one that logs and artifacts go to.
    pub archivist: Archivist,
    pub engine: Engine<Executors>,
    pub secrets: SecretAccess,
    pub keeper: Keeper,
    pub worker: WorkerId,
    /// Marks our containers on an engine that others use too.
    pub instance: String,
    /// Where sources, logs and outputs of running jobs lie.
    pub spool: PathBuf,
    pub term: Duration,
    /// How many jobs are in hand at once.
    pub places: Places,
    /// Where jobs go on that only wait, and with which the process ends.
    pub tasks: TaskTracker,
}

/// A job in hand.
#[derive(Clone, Copy)]
struct Held<'a> {
    run: &'a Run,
    job: &'a Job,
    spool: &'a Path,
    place: &'a Place,
}

impl Worker {
    /// Takes the next job in hand, and stays with it until it has ended or only waits; false when none
    /// is due. `stop` gives it back unfinished.
    pub async fn pass(&self, stop: &CancellationToken) -> anyhow::Result<bool> {
        let place = tokio::select! {
            place = self.places.take() => place,
            () = stop.cancelled() => return Ok(false),
        };
        // A job takes minutes, its claim and its end milliseconds: what these need does not wait with it.
        let claim = Box::pin(self.store.claim_job(self.worker, self.term));
        let Some(claimed) = claim.await? else {
            return Ok(false);
        };
        let (waits, worker, stop) = (place.waits(), self.clone(), stop.clone());
        let job = self.tasks.spawn(async move {
            Box::pin(worker.work(claimed, &place, &stop)).await;
        });
        tokio::select! {
            ended = job => ended?,
            // It goes on by itself; meanwhile there is a place for another.
            () = waits => {}
        }
        Ok(true)
    }

    /// A claimed job, to its end.
    async fn work(
        &self,
        (lease, run, job): (Lease, Run, Job),
        place: &Place,
        stop: &CancellationToken,
    ) {
        info!(run.id = %run.id, connector.name = %job.connector, attempt = job.attempt, "job claimed");
        let spool = self.spool.join(format!("{}-{}", job.id, lease.epoch));
        let held = Held { run: &run, job: &job, spool: &spool, place };
        let ended = Box::pin(self.carry_out(held, &lease, stop)).await;
        let ended = match ended {
            Ok(records) => Box::pin(self.settle(held, lease, records)).await,
            Err(JobFailure::ShuttingDown) => Box::pin(self.release(lease)).await,
            Err(JobFailure::Waits(pause)) => Box::pin(self.postpone(lease, pause)).await,
            // Not given back: when the lease expires the job is claimed again, which counts, and
            // what fails for ever is given up.
            Err(failure) => Err(failure),
        };
        Box::pin(clear_away(&spool, ended.is_err())).await;
        match ended {
            Ok(()) => {}
            Err(JobFailure::Lost) => info!(job = %job.id, "the job is another worker's now"),
            Err(JobFailure::ShuttingDown) => info!(job = %job.id, "the job goes back to the queue"),
            Err(JobFailure::Waits(Pause { after, awaits, .. })) => {
                warn!(job = %job.id, "the job is tried again in {after:?}: {awaits}");
            }
            Err(JobFailure::Other(error)) => {
                warn!(job = %job.id, "the job is tried again: {error:#}");
            }
        }
    }

    /// Runs the job's steps, for as long as the lease holds.
    async fn carry_out(
        &self,
        held: Held<'_>,
        lease: &Lease,
        shutdown: &CancellationToken,
    ) -> Result<Vec<StepRecord>, JobFailure> {
        let stop = Stop::new();
        let Held { run, job, place, .. } = held;
        let blobs = &self.archivist.blobs;
        let journal = JobJournal::new(&self.keeper, blobs, lease, (run, job), place);
        let work = async {
            let mut records = self.steps(held, lease, (&journal, &stop)).await?;
            // Whatever the outcome: who was cancelled has nobody left to do it.
            let back = Box::pin(journal.rotations.write_rest()).await?;
            rotations::tell(&job.plan, &mut records, &back);
            journal.flush().await;
            Ok(records)
        };
        tokio::select! {
            ended = work => ended,
            () = self.keep_lease(lease, &journal, &stop) => Err(JobFailure::Lost),
            () = shutdown.cancelled() => Err(JobFailure::ShuttingDown),
        }
    }

    async fn release(&self, lease: Lease) -> Result<(), JobFailure> {
        self.store.release_job(lease).await?;
        Err(JobFailure::ShuttingDown)
    }

    async fn postpone(&self, lease: Lease, pause: Pause) -> Result<(), JobFailure> {
        self.store.put_off_job(lease, &pause).await?;
        Err(JobFailure::Waits(pause))
    }

    /// The fenced end: after it the objects of this epoch are the accepted ones.
    async fn settle(
        &self,
        held: Held<'_>,
        lease: Lease,
        records: Vec<StepRecord>,
    ) -> Result<(), JobFailure> {
        let Held { run, job, spool, place } = held;
        let conclusion = job_conclusion(&job.plan, &records);
        let concluded_at = self.store.settle_job(lease, &records, conclusion).await?;
        info!(run.id = %run.id, connector.name = %job.connector, "job concluded: {}", conclusion.as_str());
        let job = Job {
            state: RunState::Concluded,
            conclusion: Some(conclusion),
            concluded_at: Some(concluded_at),
            steps: records,
            ..job.clone()
        };
        let id = job.id;
        let settled = Run { jobs: vec![job], ..run.clone() };
        // The verdict is told: an object store that is slow keeps no place from another job.
        if !place.keeps() {
            warn!(job = %id, "{KEPT} jobs wait for the object store: its reports and final names come later");
            return Ok(());
        }
        // Of what lies here only the logs are wanted; the source is the large part of it.
        drop(tokio::fs::remove_file(spool.join(ARCHIVE)).await);
        // The janitor repeats this if it fails.
        if let Err(error) = self.archivist.archive_job(&settled, id, Some(spool)).await {
            warn!(job = %id, "its reports and final names come later: {error:#}");
        }
        Ok(())
    }

    /// Runs the plan.
    async fn steps(
        &self,
        held: Held<'_>,
        lease: &Lease,
        (journal, stop): (&JobJournal<'_>, &Stop),
    ) -> Result<Vec<StepRecord>, JobFailure> {
        let Held { run, job, spool, .. } = held;
        if let Some(why) = &job.cancel {
            stop.stop(why);
        }
        tokio::fs::create_dir_all(spool).await.map_err(anyhow::Error::from)?;
        let source = Arc::new(CommitSource {
            sources: self.sources.clone(),
            repository: run.repository.clone(),
            head: run.head_sha.clone(),
            base: run.merge_base.clone(),
            merge: job.plan.merge().cloned(),
            inputs: job.plan.inputs().clone(),
            folder: spool.to_owned(),
            fetched: OnceCell::new(),
            fault: Fault::default(),
        });
        let gathered = tokio::select! {
            gathered = Box::pin(self.secrets(held, &source, journal)) => gathered,
            // Nothing of it runs any more.
            () = stop.stopped() => Ok(Gathered::default()),
        };
        let waits = || source.fault.pause(lease.waited).map(JobFailure::Waits);
        if let Some(waits) = waits().filter(|_| gathered.is_err()) {
            return Err(waits);
        }
        let secrets = match gathered {
            Ok(Gathered { again: Some(why), .. }) | Err(why) if job.attempt < 3 => {
                return Err(anyhow::anyhow!(why).into());
            }
            Ok(gathered) => gathered.secrets,
            Err(why) => {
                let why = format!("the files of its secrets could not be read: {why}");
                return Ok(ended(job.steps.clone(), Outcome::Errored, &why));
            }
        };
        let job_run = self.job_run(held, source.clone(), secrets);
        let ended = self.engine.run(job_run, journal, stop).await;
        match ended {
            Ok(records) => Ok(records),
            Err(EngineError::Source { why, records }) => {
                if let Some(waits) = waits() {
                    return Err(waits);
                }
                let why = format!("the source could not be had: {why}");
                Ok(self::ended(records, Outcome::Errored, &why))
            }
            Err(EngineError::Journal(error)) if error.is_lease_lost() => Err(JobFailure::Lost),
            Err(error) => Err(anyhow::Error::from(error).into()),
        }
    }

    /// What the steps that are left want in confidence; why not, in words.
    async fn secrets(
        &self,
        held: Held<'_>,
        source: &CommitSource,
        journal: &JobJournal<'_>,
    ) -> Result<Gathered, String> {
        let Held { run, job, .. } = held;
        // What the job renewed before its holder died goes back first: what is fetched is the new one.
        let left = journal.rotations.write_rest().await.map_err(|error| error.to_string())?;
        let unwritten = rotations::unwritten(&left);
        let name = &run.repository.name;
        let runs = |step: &StepId| {
            let record = job.steps.iter().find(|record| record.id == *step);
            record.is_none_or(|record| !record.state.is_settled())
        };
        // Planning gives it none; nor does this, should a plan ever say otherwise.
        if run.trust.is_guarded() {
            return Ok(Gathered::default());
        }
        let root = job.plan.root();
        let wanted = Wanted::of(&job.plan, root, runs).without(unwritten.clone());
        if wanted.paths(&self.secrets.providers).is_empty() {
            return Ok(self.secrets.of_job(name, &wanted, &Files::new()).await);
        }
        // They lie below its folder; the root of some is a file.
        let archive = source.fetch().await?;
        // Beside the heartbeats, which this may not hold up.
        let below = root.to_owned();
        let found = tokio::task::spawn_blocking(move || archive.folder_of(&below)).await;
        let folder = match found {
            Ok(Ok(folder)) => folder,
            Ok(Err(_)) | Err(_) => root.to_owned(),
        };
        let wanted = Wanted::of(&job.plan, &folder, runs).without(unwritten);
        let paths = wanted.paths(&self.secrets.providers);
        let commits = std::slice::from_ref(&run.head_sha);
        let repo = self.sources.with_commits(&run.repository, commits).await;
        let repo = repo.map_err(|error| source.fault.note(&error))?;
        let commit = job.plan.merge().map_or(&run.head_sha, |merge| &merge.commit);
        let files = committed(repo.objects(), commit, &paths).await;
        let files = files.map_err(|error| error.to_string())?;
        Ok(self.secrets.of_job(name, &wanted, &files).await)
    }

    fn job_run<'a>(
        &self,
        held: Held<'a>,
        source: Arc<CommitSource>,
        secrets: JobSecrets,
    ) -> JobRun<'a> {
        let Held { run, job, spool, .. } = held;
        let labels = JobLabels {
            instance: self.instance.clone(),
            run: run.id,
            job: job.id,
            epoch: job.epoch,
            connector: job.connector.clone(),
        };
        JobRun {
            plan: &job.plan,
            records: job.steps.clone(),
            labels,
            env: step_environment(run),
            secrets,
            source,
            cache: Some(JobCache {
                repository: run.repository.id,
                reuse: reuse(run),
                share: Share::of(run.trust, run.pull),
            }),
            spool: spool.to_owned(),
            fail_fast: false,
            images: Images::OfJob { repository: run.repository.id },
        }
    }

    /// Keeps the lease and the live logs up to date until the lease is lost. Side by side: a log
    /// that can't be written must not hold up the heartbeat, or the fence.
    async fn keep_lease(&self, lease: &Lease, journal: &JobJournal<'_>, stop: &Stop) {
        tokio::select! {
            () = self.beat(lease, stop) => {}
            () = flush_on(journal) => {}
        }
    }

    /// Heartbeats until the lease is lost, by the database's word or by our own clock: a holder
    /// that could not beat for 0.6 of the term must assume that another has taken over.
    async fn beat(&self, lease: &Lease, stop: &Stop) {
        let fence = lease.term.mul_f64(0.6);
        let mut cancels = self.store.nudge(crate::store::Topic::Cancels);
        let period = lease.term / 6;
        // The claim was the first.
        let mut beats = interval_at(tokio::time::Instant::now() + period, period);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut good = Instant::now();
        loop {
            tokio::select! {
                _ = beats.tick() => {}
                () = cancels.changed() => {}
            }
            let sent = Instant::now();
            let left = fence.saturating_sub(good.elapsed());
            match tokio::time::timeout(left, Box::pin(self.store.heartbeat(lease))).await {
                Ok(Ok(beat)) => {
                    good = sent;
                    if let Some(why) = beat.cancel {
                        stop.stop(why);
                    }
                }
                Ok(Err(StoreError::LeaseLost)) => return,
                Ok(Err(error)) => warn!(job = %lease.job, "heartbeat failed: {error}"),
                Err(_) => warn!(job = %lease.job, "heartbeat took too long"),
            }
            if good.elapsed() >= fence {
                warn!(job = %lease.job, "no heartbeat for {fence:?}: the job is given up");
                return;
            }
        }
    }
}

/// Removes a job's folder. Where the job was broken off, threads that unpacked its source or took
/// what a step left may write there for a moment yet.
async fn clear_away(spool: &Path, broken_off: bool) {
    let looks: &[u64] = if broken_off { &[0, 200, 1000] } else { &[0] };
    let mut failed = None;
    for pause in looks {
        tokio::time::sleep(Duration::from_millis(*pause)).await;
        let folder = spool.to_owned();
        let removed = tokio::task::spawn_blocking(move || remove_tree(&folder)).await;
        failed = match removed.unwrap_or_else(|e| Err(std::io::Error::other(e))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Some(error),
            Ok(()) | Err(_) => None,
        };
    }
    if let Some(error) = failed {
        warn!(path = %spool.display(), "spool not removed: {error}");
    }
}

/// Writes live logs for as long as it is polled.
async fn flush_on(journal: &JobJournal<'_>) {
    let mut flushes = interval(FLUSH);
    flushes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        flushes.tick().await;
        Box::pin(journal.flush()).await;
    }
}

/// Variables that every step of the run gets (the engine adds those of the connector and step).
pub fn step_environment(run: &Run) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("CHECKVALVE_SHA".to_owned(), run.head_sha.to_string()),
        ("CHECKVALVE_RUN".to_owned(), run.id.to_string()),
    ])
}

/// Which earlier results a run's steps may use. Who asks to begin at a step wants to see it run.
fn reuse(run: &Run) -> Reuse {
    if run.reuse != Reuse::Never && run.scope.first().is_some() {
        return Reuse::Inherited;
    }
    run.reuse
}

/// Every unsettled step as ended by us: the outcome, with the reason.
fn ended(mut records: Vec<StepRecord>, outcome: Outcome, why: &str) -> Vec<StepRecord> {
    let now = ambient::now();
    for record in records.iter_mut().filter(|record| !record.state.is_settled()) {
        record.state = StepState::Finished { started_at: now, finished_at: now, outcome };
        record.facts.reason = Some(why.to_owned());
    }
    records
}

enum JobFailure {
    /// Another worker holds the job.
    Lost,
    /// This process ends; the job is another's, or ours after a restart.
    ShuttingDown,
    /// For what may pass by itself.
    Waits(Pause),
    Other(anyhow::Error),
}

impl From<StoreError> for JobFailure {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::LeaseLost) { Self::Lost } else { Self::Other(error.into()) }
    }
}

impl From<BlobError> for JobFailure {
    fn from(error: BlobError) -> Self {
        Self::Other(error.into())
    }
}

impl From<JournalError> for JobFailure {
    fn from(error: JournalError) -> Self {
        Self::Other(error.into())
    }
}

impl From<anyhow::Error> for JobFailure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}
