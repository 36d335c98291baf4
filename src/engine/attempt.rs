//! One try at one step: run, spool, judge, keep.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::asks::{self, Asks};
use super::builtin::{self, Made};
use super::found::{Found, Look, Reports};
use super::lineage::{self, Ancestor, Came, Heirs, Lineage};
use super::pinned;
use super::places;
use super::slots::Slot;
use super::spool::{Spool, Spooled};
use super::{Engine, JobRun, Journal, Kept, Left, Stop};
use crate::ambient;
use crate::domain::annotation::Annotations;
use crate::domain::builtin::{Builtin, Uses};
use crate::domain::inherit;
use crate::domain::names::StepId;
use crate::domain::objects;
use crate::domain::output::Problem;
use crate::domain::output::place::Ground;
use crate::domain::pipeline::StepSpec;
use crate::domain::run::{StepFacts, StepRecord};
use crate::domain::secret::Secret;
use crate::domain::state::Outcome;
use crate::domain::time::{Timestamp, human};
use crate::exec::{Divided, Division, Ended, Executor, Labels, SourceArchive, StepRun};

/// How many chunks of output may wait to be written.
const CHUNKS: usize = 16;
/// How long what a step left is looked at once its end is asked for: small reports are read.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// How a try went.
#[derive(Debug)]
pub(super) struct Tried<L> {
    pub(super) outcome: Outcome,
    pub(super) retry: bool,
    pub(super) facts: StepFacts,
    pub(super) finished_at: Timestamp,
    /// What the step's heirs begin with.
    pub(super) shares: Vec<(StepId, L)>,
    /// What is to be kept for later runs once this is written down, by name.
    pub(super) kept: Vec<(String, L)>,
}

/// A try that is about to begin.
pub(super) struct Attempt<'a, E: Executor, J> {
    pub(super) engine: &'a Engine<E>,
    pub(super) job: &'a JobRun<'a>,
    pub(super) journal: &'a J,
    pub(super) stop: &'a Stop,
    /// Ends everything of the job: cancelled by `stop`, and when the journal refused.
    pub(super) halt: CancellationToken,
    pub(super) spec: &'a StepSpec,
    pub(super) number: u32,
    /// The source, and the working folder in it.
    pub(super) ground: (Arc<SourceArchive>, String),
    /// Under which names what steps leave is kept for later runs.
    pub(super) names: Arc<BTreeMap<StepId, String>>,
    /// Who waits for what it leaves.
    pub(super) heirs: Heirs,
    /// The image that a step before it built.
    pub(super) image: Option<String>,
    /// How the job's steps are, if this one tells of them.
    pub(super) records: Vec<StepRecord>,
}

/// What the executor, the spool and the journal answered.
struct Done<L, Error> {
    came: Came<L>,
    made: Made,
    timed_out: bool,
    spooled: io::Result<Spooled>,
    /// What the step had the journal do.
    asked: Result<(), Error>,
}

impl<E: Executor, J: Journal> Attempt<'_, E, J> {
    /// Runs the try `on` what its parent left for it; `slot` is given back as soon as the step has
    /// ended, and what it leaves is divided.
    pub(super) async fn run(
        self,
        on: Option<E::Left>,
        slot: Slot,
    ) -> Result<Tried<E::Left>, J::Error> {
        let folder = self.folder();
        let done = match self.given() {
            Ok(secrets) => self.carry_out(on, &folder, secrets).await,
            Err(why) => return Ok(Tried::without_secrets(why)),
        };
        // A run that stops at the first failure begins nothing before this one is judged.
        let (until_judged, until_divided) = match slot {
            slot if self.job.fail_fast => (Some(slot), None),
            slot => (None, (!self.heirs.steps.is_empty()).then_some(slot)),
        };
        let Done { came, made, timed_out, spooled, asked } = match done {
            Ok(done) => done,
            Err(e) => return Ok(Tried::not_begun(&e)),
        };
        asked?;
        let Came { mut ended, left, mut kept } = came;
        self.judge(&mut ended, timed_out);
        let spooled = spooled.unwrap_or_else(|e| {
            let (outcome, reason) = (Outcome::Errored, Some(unwritable(&e)));
            ended = Ended { outcome, reason, retry: true, ..ended.clone() };
            Spooled::default()
        });
        let found = self.look_through(folder.join("out"), made.annotations, &mut ended).await;
        let left_behind = self.left_behind(&folder, &spooled, found.artifacts);
        let divide = async {
            let divided = self.divide(left, &ended).await;
            drop(until_divided);
            divided
        };
        let (stored, divided) = tokio::join!(self.keep(&left_behind), divide);
        let stored = stored?;
        kept.extend(self.heirs.name.clone().zip(divided.kept));
        drop(until_judged);
        let mut segments = ended.segments;
        segments.extend(divided.segment.clone());
        let finished_at = divided.segment.map_or(ended.finished_at, |last| last.finished_at);
        let mut facts = StepFacts {
            reason: ended.reason.or(found.trouble),
            exit_code: ended.exit_code,
            image_digest: ended.image_digest,
            services: ended.services,
            built: made.image,
            bases: made.bases,
            tests: found.tests,
            annotations: found.annotations,
            coverage: found.coverage,
            segments,
            excerpt: spooled.excerpt(ended.outcome).into(),
            log: stored.log,
            artifacts: stored.artifacts,
            ..StepFacts::default()
        };
        Box::pin(self.place(&mut facts, spooled.told.problems, ended.outcome)).await;
        let facts = self.redacted(facts);
        let heirs = self.heirs.steps.into_iter();
        let shares = heirs.zip(divided.shares).collect();
        let (outcome, retry) = (ended.outcome, ended.retry);
        Ok(Tried { outcome, retry, facts, finished_at, shares, kept })
    }

    /// Has ready what the try would begin with, were it to begin now.
    pub(super) async fn warm(self) -> Option<E::Left> {
        let step = self.step_run(&self.folder(), Vec::new());
        tokio::select! {
            biased;
            () = self.halt.cancelled() => None,
            left = self.engine.executor.warm(step) => left,
        }
    }

    /// What the step is given in confidence. One that writes secrets back asks for no value.
    fn given(&self) -> Result<Vec<Secret>, String> {
        if self.spec.is(Builtin::UploadSecrets) {
            return Ok(Vec::new());
        }
        self.job.secrets.of_step(self.spec)
    }

    /// Keeps what the step left, unless it is somebody else's to keep by now.
    async fn keep(&self, left_behind: &Left) -> Result<Kept, J::Error> {
        if self.halt.is_cancelled() && !self.stop.is_stopped() {
            return Ok(Kept::default());
        }
        self.journal.keep(left_behind).await
    }

    fn left_behind(&self, folder: &Path, spooled: &Spooled, artifacts: Vec<String>) -> Left {
        Left {
            step: self.spec.id.clone(),
            attempt: self.number,
            log: folder.join("log.txt"),
            bytes: spooled.bytes,
            lines: spooled.lines,
            cut: spooled.cut,
            out: folder.join("out"),
            artifacts,
        }
    }

    /// Whether heirs begin with what the step left.
    fn may_be_inherited(&self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Succeeded => true,
            Outcome::Failed => self.spec.allow_failure,
            Outcome::TimedOut | Outcome::Errored | Outcome::Cancelled => false,
        }
    }

    async fn divide(&self, left: Option<E::Left>, ended: &Ended) -> Divided<E::Left> {
        let left = left.filter(|_| self.may_be_inherited(ended.outcome));
        let Some(left) = left else { return Divided::nothing() };
        let took = ended.segments.iter().find(|segment| segment.name == "run");
        let took = took.map(|run| run.finished_at.since(run.started_at)).unwrap_or_default();
        let into = Division {
            labels: self.labels(),
            heirs: self.heirs.steps.len(),
            go_on: self.heirs.go_on,
            keep: self.heirs.name.is_some() && took >= lineage::WORTH,
        };
        let divided = tokio::select! {
            divided = self.engine.executor.divide(left, into) => divided,
            () = self.halt.cancelled() => Divided::nothing(),
        };
        if let Some(trouble) = &divided.trouble {
            // Heirs without a share have their ancestors run again.
            tracing::warn!(step = %self.spec.id, "no copy of what it left: {trouble}");
        }
        divided
    }

    fn folder(&self) -> PathBuf {
        let step = objects::segment(self.spec.id.as_str());
        self.job.spool.join(step).join(self.number.to_string())
    }

    async fn carry_out(
        &self,
        on: Option<E::Left>,
        folder: &Path,
        secrets: Vec<Secret>,
    ) -> io::Result<Done<E::Left, J::Error>> {
        tokio::fs::create_dir_all(folder.join("out")).await?;
        let (path, redactor) = (folder.join("log.txt"), self.job.secrets.redactor());
        let spool = Spool::create(&path, self.engine.options.log_cap, redactor).await?;
        let (log, chunks) = mpsc::channel(CHUNKS);
        let notes = self.job.secrets.notes(self.spec);
        let notes: Vec<String> = notes.iter().map(|note| format!("checkvalve: {note}\n")).collect();
        // As one, since nobody reads them yet: a step may have more secrets than fit in the queue.
        let _ = log.send(notes.concat().into()).await;
        let halt = self.halt.child_token();
        let executor = self.engine.executor.clone();
        let (begun, begins) = oneshot::channel();
        let (asking, asked) = mpsc::channel(asks::WAITING);
        let (run, stop) = (self.step_run(folder, secrets), halt.clone());
        let overdue = CancellationToken::new();
        // A task of its own: a slow journal must not hold up the step.
        let task = if let Some(Uses { builtin, .. }) = self.spec.uses {
            drop(begun);
            let task = self.builtin(builtin, run, overdue.clone(), asking);
            tokio::spawn(async move {
                let (ended, made) = builtin::run(executor, task, log, stop).await;
                (Came { ended, left: None, kept: Vec::new() }, made)
            })
        } else {
            drop(asking);
            let lineage = Lineage { on, ancestors: self.ancestors(folder), run };
            tokio::spawn(
                async move { (lineage.run(executor, log, stop, begun).await, Made::default()) },
            )
        };
        let mut task = AbortOnDropHandle::new(task);
        let limit = self.spec.timeout();
        let ended = async {
            // Its ancestors' time is not its own; what ends before its begin drops the sender.
            let _ = begins.await;
            if let Ok(ended) = tokio::time::timeout(limit, &mut task).await {
                return (ended, false);
            }
            overdue.cancel();
            halt.cancel();
            (task.await, true)
        };
        let whose = (self.journal, &self.spec.id, self.number);
        let answers = asks::answer(asked, (self.journal, &self.job.secrets), || halt.cancel());
        let ((ended, timed_out), spooled, asked) =
            tokio::join!(ended, spool.fill(chunks, whose, || halt.cancel()), answers);
        let (came, made) = ended.map_err(io::Error::other)?;
        Ok(Done { came, made, timed_out, spooled, asked })
    }

    fn builtin(
        &self,
        builtin: Builtin,
        step: StepRun,
        overdue: CancellationToken,
        asks: Asks,
    ) -> builtin::Task {
        let (plan, images) = (self.job.plan.clone(), self.job.images);
        let redactor = self.job.secrets.redactor();
        let (image, records) = (self.image.clone(), self.records.clone());
        let share = self.job.cache.as_ref().map(|cache| cache.share);
        builtin::Task {
            builtin,
            plan,
            step,
            images,
            share,
            image,
            records,
            redactor,
            overdue,
            asks,
        }
    }

    /// Its parent, that one's parent and so on, should they have to be run again.
    fn ancestors(&self, folder: &Path) -> Vec<Ancestor> {
        let plan = self.job.plan;
        let mut ancestors = Vec::new();
        let mut child = self.spec;
        while let Some(spec) = inherit::origin(plan, child) {
            let run = StepRun {
                leave: true,
                shared: inherit::may_go_on(spec, child),
                keep_out: false,
                out: folder.join("again"),
                ..self.run_of(spec)
            };
            let name = self.names.get(&spec.id).cloned();
            let (limit, allow_failure) = (spec.timeout(), spec.allow_failure);
            ancestors.push(Ancestor { run, limit, allow_failure, name });
            child = spec;
        }
        ancestors
    }

    fn labels(&self) -> Labels {
        let labels = &self.job.labels;
        Labels {
            instance: labels.instance.clone(),
            run: labels.run,
            job: labels.job,
            epoch: labels.epoch,
            connector: labels.connector.clone(),
            step: self.spec.id.clone(),
            attempt: self.number,
        }
    }

    fn step_run(&self, folder: &Path, secrets: Vec<Secret>) -> StepRun {
        let spec = self.spec;
        StepRun {
            secrets,
            leave: !self.heirs.steps.is_empty(),
            shared: self.heirs.go_on,
            out: folder.join("out"),
            keep_out: !spec.artifacts.is_empty() || Reports::of(spec).any(),
            ..self.run_of(spec)
        }
    }

    /// The step itself, whoever inherits from it; without its secrets.
    fn run_of(&self, spec: &StepSpec) -> StepRun {
        let labels = &self.job.labels;
        let mut env = spec.env.clone();
        env.entry("CI".to_owned()).or_insert_with(|| "true".to_owned());
        env.insert("CHECKVALVE_CONNECTOR".to_owned(), labels.connector.to_string());
        env.insert("CHECKVALVE_ROOT".to_owned(), self.job.plan.root().to_owned());
        env.insert("CHECKVALVE_RUN".to_owned(), labels.run.to_string());
        env.extend(self.job.env.clone());
        StepRun {
            labels: Labels { step: spec.id.clone(), ..self.labels() },
            image: self.job.plan.image_of(spec).to_owned(),
            run: spec.run.clone(),
            env,
            secrets: Vec::new(),
            services: pinned::services(self.job.plan, spec),
            workdir: self.ground.1.clone(),
            source: self.ground.0.clone(),
            network: spec.network,
            guarded: self.job.plan.is_guarded(),
            resources: spec.resources,
            out: PathBuf::new(),
            keep_out: false,
            leave: false,
            shared: false,
        }
    }

    /// An executor that was stopped says *cancelled*; who stopped it, and why, is known here.
    fn judge(&self, ended: &mut Ended, timed_out: bool) {
        pinned::explain(self.job.plan, self.spec, ended);
        if ended.outcome != Outcome::Cancelled {
            return;
        }
        if self.stop.is_stopped() {
            ended.reason = self.stop.reason().map(str::to_owned);
        } else if timed_out {
            let limit = human(self.spec.timeout());
            let limit = limit.strip_suffix(" 00 s").unwrap_or(&limit);
            let has = |name: &str| ended.segments.iter().any(|segment| segment.name == name);
            if has("run") || has("services") {
                let while_what = if has("run") { "" } else { ", while its services got ready" };
                ended.outcome = Outcome::TimedOut;
                ended.reason = Some(format!("ended after {limit}, its limit{while_what}"));
            } else {
                ended.outcome = Outcome::Errored;
                ended.reason = Some(format!("did not get to run within {limit}, its limit"));
                ended.retry = true;
            }
        }
    }

    /// What it left for people. Nobody waits for more of it than can be read in good time; then a
    /// step did not succeed, since what is missing would be missing to whoever uses its result.
    async fn look_through(
        &self,
        out: PathBuf,
        annotations: Option<Annotations>,
        ended: &mut Ended,
    ) -> Found {
        let (globs, reports) = (self.spec.artifacts.clone(), Reports::of(self.spec));
        let redactor = self.job.secrets.redactor();
        let limit = self.engine.options.look_limit;
        let asked_to_end = async {
            self.halt.cancelled().await;
            tokio::time::sleep(LAST_LOOK).await;
        };
        let (outcome, why) = tokio::select! {
            biased;
            found = Look { out, globs, reports, annotations, redactor }.found() => return found,
            () = asked_to_end => (Outcome::Cancelled, "the step was asked to end".to_owned()),
            () = tokio::time::sleep(limit) => {
                let limit = human(limit);
                let limit = limit.strip_suffix(" 00 s").unwrap_or(&limit);
                (Outcome::Errored, format!("that took longer than {limit}"))
            }
        };
        if ended.outcome == Outcome::Succeeded {
            ended.outcome = outcome;
            self.judge(ended, false);
        }
        Found::nothing(&why)
    }

    /// Finds the files that are complained of; not when all is to end.
    async fn place(&self, facts: &mut StepFacts, problems: Vec<Problem>, outcome: Outcome) {
        let ground = Ground { folder: &self.ground.1, root: self.job.plan.root() };
        tokio::select! {
            () = places::settle(facts, problems, (&*self.job.source, ground), outcome) => {}
            () = self.halt.cancelled() => {}
        }
    }

    /// Of all that is told of a try: an engine's word may quote what a step did.
    fn redacted(&self, mut facts: StepFacts) -> StepFacts {
        let redactor = self.job.secrets.redactor();
        let redact = |text: &mut String| {
            if let Cow::Owned(redacted) = redactor.text(text) {
                *text = redacted;
            }
        };
        facts.reason.iter_mut().for_each(redact);
        for failure in facts.tests.iter_mut().flat_map(|tests| &mut tests.failures) {
            redact(&mut failure.name);
            redact(&mut failure.message);
            failure.file.iter_mut().for_each(redact);
        }
        for annotation in facts.annotations.iter_mut().flat_map(|all| &mut all.kept) {
            annotation.texts().for_each(redact);
        }
        facts
    }
}

impl<L> Tried<L> {
    /// Ours, and not to be mended by trying the step again.
    fn without_secrets(why: String) -> Self {
        let facts = StepFacts { reason: Some(why), ..StepFacts::default() };
        let (finished_at, shares, kept) = (ambient::now(), Vec::new(), Vec::new());
        Self { outcome: Outcome::Errored, retry: false, facts, finished_at, shares, kept }
    }

    fn not_begun(error: &io::Error) -> Self {
        let facts = StepFacts { reason: Some(unwritable(error)), ..StepFacts::default() };
        let (finished_at, shares, kept) = (ambient::now(), Vec::new(), Vec::new());
        Self { outcome: Outcome::Errored, retry: true, facts, finished_at, shares, kept }
    }
}

fn unwritable(error: &io::Error) -> String {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let mend = if full {
        "; make room on that disk, or move CHECKVALVE_STATE_DIR to a larger one"
    } else {
        ""
    };
    format!("the step's log could not be written: {error}{mend}")
}
