//! What a step begins with: what its parent left for it, else what its parent leaves when it is run
//! again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::ambient;
use crate::domain::names::StepId;
use crate::domain::run::Segment;
use crate::domain::state::Outcome;
use crate::exec::{Division, Ended, Executor, StepRun};

/// Who waits for what a step leaves.
#[derive(Debug, Default)]
pub(super) struct Heirs {
    pub(super) steps: Vec<StepId>,
    /// The first of them goes on where the step ran.
    pub(super) go_on: bool,
    /// By which later runs' heirs find it, if they may.
    pub(super) name: Option<String>,
}

/// A step that may have to be run again for its heir's sake.
pub(super) struct Ancestor {
    pub(super) run: StepRun,
    pub(super) limit: Duration,
    /// Do its heirs begin with what it left even if it failed?
    pub(super) allow_failure: bool,
    /// Under which what it left may have been kept.
    pub(super) name: Option<String>,
}

/// What a step and those before it came to.
pub(super) struct Came<L> {
    pub(super) ended: Ended,
    pub(super) left: Option<L>,
    /// What is worth being kept of those before it, by name.
    pub(super) kept: Vec<(String, L)>,
}

/// What took less time is done again when it is wanted again: keeping it costs as much.
pub(super) const WORTH: Duration = Duration::from_secs(3);

/// A step with all that it inherits from.
pub(super) struct Lineage<L> {
    pub(super) on: Option<L>,
    /// From its parent upwards.
    pub(super) ancestors: Vec<Ancestor>,
    pub(super) run: StepRun,
}

impl<L: Send + 'static> Lineage<L> {
    /// Runs the step, after its ancestors where nothing is left of them. `begun` is sent, or
    /// dropped, when the step's own time begins.
    pub(super) async fn run<E: Executor<Left = L>>(
        self,
        executor: Arc<E>,
        log: mpsc::Sender<Bytes>,
        stop: CancellationToken,
        begun: oneshot::Sender<()>,
    ) -> Came<L> {
        let Self { mut on, ancestors, run } = self;
        let mut way = Way { log: &log, stop: &stop, segments: Vec::new(), kept: Vec::new() };
        if on.is_none() {
            let missing;
            (on, missing) = recall(&*executor, ancestors).await;
            for ancestor in missing.into_iter().rev() {
                match again(&*executor, ancestor, on.take(), &mut way).await {
                    Ok(left) => on = Some(left),
                    Err(ended) => return Came { ended: *ended, left: None, kept: way.kept },
                }
            }
        }
        let Way { mut segments, kept, .. } = way;
        // Nobody waits for it any more where the job has gone.
        let _ = begun.send(());
        let (mut ended, left) = executor.run(run, on, log, stop).await;
        segments.append(&mut ended.segments);
        Came { ended: Ended { segments, ..ended }, left, kept }
    }
}

/// What the nearest ancestor left of which that was kept, and those after it, from the parent
/// upwards.
async fn recall<E: Executor>(
    executor: &E,
    ancestors: Vec<Ancestor>,
) -> (Option<E::Left>, Vec<Ancestor>) {
    let mut missing = Vec::new();
    for ancestor in ancestors {
        if let Some(name) = &ancestor.name
            && let Some(left) = executor.recall(name).await
        {
            return (Some(left), missing);
        }
        missing.push(ancestor);
    }
    (None, missing)
}

/// What runs before a step is part of its log, its end and its time.
struct Way<'a, L> {
    log: &'a mpsc::Sender<Bytes>,
    stop: &'a CancellationToken,
    segments: Vec<Segment>,
    kept: Vec<(String, L)>,
}

/// Runs a step for what it leaves.
async fn again<E: Executor>(
    executor: &E,
    ancestor: Ancestor,
    on: Option<E::Left>,
    way: &mut Way<'_, E::Left>,
) -> Result<E::Left, Box<Ended>> {
    let Way { log, stop, segments, kept } = way;
    let Ancestor { run, limit, allow_failure, name: kept_as } = ancestor;
    let (name, labels, go_on) = (run.labels.step.clone(), run.labels.clone(), run.shared);
    let note = format!("checkvalve: `{name}` is run again, since what it left is not there\n");
    let _ = log.send(note.into()).await;
    let started_at = ambient::now();
    let halt = stop.child_token();
    let timer = async {
        tokio::time::sleep(limit).await;
        halt.cancel();
    };
    let work = executor.run(run, on, (*log).clone(), halt.clone());
    tokio::pin!(work);
    let (ended, left) = tokio::select! {
        done = &mut work => done,
        () = timer => work.await,
    };
    let finished_at = ambient::now();
    segments.push(Segment { name: format!("again {name}"), started_at, finished_at });
    // What took too long would again, and nobody is to wait for that several times.
    let retry = ended.outcome != Outcome::Cancelled;
    let why = match (ended.outcome, left) {
        (Outcome::Succeeded | Outcome::Failed, Some(left))
            if ended.outcome == Outcome::Succeeded || allow_failure =>
        {
            let worth = finished_at.since(started_at) >= WORTH;
            let kept_as = kept_as.filter(|_| worth && ended.outcome == Outcome::Succeeded);
            let into = Division { labels, heirs: 1, go_on, keep: kept_as.is_some() };
            let divided = tokio::select! {
                divided = executor.divide(left, into) => divided,
                () = stop.cancelled() => {
                    let segments = std::mem::take(segments);
                    return Err(Box::new(Ended { outcome: Outcome::Cancelled, segments, ..ended }));
                }
            };
            segments.extend(divided.segment);
            kept.extend(kept_as.zip(divided.kept));
            match divided.shares.into_iter().next() {
                Some(share) => return Ok(share),
                None => divided.trouble.unwrap_or_else(|| "it left nothing".to_owned()),
            }
        }
        (Outcome::Cancelled, _) if stop.is_cancelled() => {
            return Err(Box::new(Ended { segments: std::mem::take(segments), ..ended }));
        }
        (Outcome::Cancelled, _) => "it took longer than its limit".to_owned(),
        (_, _) => in_vain(&ended),
    };
    let reason = format!("`{name}`, whose file system it inherits, was run again: {why}");
    let ended = Ended { segments: std::mem::take(segments), retry, ..ended };
    Err(Box::new(Ended { reason: Some(reason), ..ours(ended) }))
}

/// Whatever it came to for the ancestor, the step itself was not at fault.
fn ours(ended: Ended) -> Ended {
    Ended { outcome: Outcome::Errored, exit_code: None, ..ended }
}

fn in_vain(ended: &Ended) -> String {
    ended.reason.clone().unwrap_or_else(|| match ended.exit_code {
        Some(code) => format!("exit status {code}"),
        None => "it did not succeed".to_owned(),
    })
}
