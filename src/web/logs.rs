//! Where the bytes of a step's log are: the live tail in the database while it runs, an object
//! once it ended. Both count bytes of the same log, so a reader can go over from one to the other.

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use super::Web;
use super::error::WebError;
use crate::blobs::{BlobError, Blobs};
use crate::domain::names::StepId;
use crate::domain::objects;
use crate::domain::run::{Job, Run, StepRecord};
use crate::domain::state::{RunState, StepState};
use crate::store::LogTail;

/// Objects are read in pieces of this size, so that a log of a gibibyte costs no memory.
const PIECE: u64 = 1024 * 1024;

/// How many of a job's latest epochs are searched for an object that has no final name yet.
const HOLDERS: usize = 4;

/// One attempt's log, as it can be read now.
#[derive(Debug)]
pub(crate) enum Log {
    /// The step waits, or was skipped, or printed nothing that was kept.
    None,
    Live(LogTail),
    Stored(Stored),
}

/// An object in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) key: String,
    pub(crate) total: u64,
}

/// Will this attempt print nothing more? A job that was given up may leave steps unsettled.
pub(crate) fn has_ended(job: &Job, step: &StepRecord, attempt: u32) -> bool {
    step.state.is_settled() || attempt < step.attempt || job.state == RunState::Concluded
}

/// Finds the log of one attempt.
pub(crate) async fn find(
    web: &Web,
    run: &Run,
    job: &Job,
    step: &StepRecord,
    attempt: u32,
) -> Result<Log, WebError> {
    let ended = has_ended(job, step, attempt);
    if ended && let Some(stored) = find_stored(&web.blobs, run, job, step, attempt).await? {
        return Ok(Log::Stored(stored));
    }
    if matches!(step.state, StepState::Waiting) && attempt == step.attempt {
        return Ok(Log::None);
    }
    let tail = web.store.tail(run.id, &job.connector, &step.id).await?;
    Ok(tail.filter(|tail| tail.attempt == attempt).map_or(Log::None, Log::Live))
}

/// The stored log: where the record says, by its final name, or where the holder first wrote it.
pub(crate) async fn find_stored(
    blobs: &Blobs,
    run: &Run,
    job: &Job,
    step: &StepRecord,
    attempt: u32,
) -> Result<Option<Stored>, BlobError> {
    let recorded = step.facts.log.as_ref().filter(|_| attempt == step.attempt);
    let recorded = recorded.map(|log| log.key.clone());
    let file = objects::step_log(&step.id, attempt);
    first_of(blobs, recorded.into_iter().chain(names(run, job, &file))).await
}

/// The final name, then those under which holders wrote it, newest first: a step that settled
/// before the job was taken over lies under an earlier epoch, until the final names are made.
fn names(run: &Run, job: &Job, file: &str) -> impl Iterator<Item = String> {
    let last = format!("{}/{file}", objects::job_prefix(run, &job.connector));
    let epochs = (0..=job.epoch).rev().take(HOLDERS);
    let first = epochs.map(move |epoch| objects::epoch_prefix(run, &job.connector, epoch));
    std::iter::once(last).chain(first.map(move |prefix| format!("{prefix}/{file}")))
}

/// One of a step's artifacts.
pub(crate) async fn find_artifact(
    blobs: &Blobs,
    run: &Run,
    job: &Job,
    (step, attempt): (&StepId, u32),
    path: &str,
) -> Result<Option<Stored>, BlobError> {
    let recorded = job.step(step).filter(|record| record.attempt == attempt);
    let recorded = recorded
        .and_then(|record| record.facts.artifacts.iter().find(|artifact| artifact.path == path))
        .map(|artifact| artifact.key.clone());
    let file = objects::step_artifact(step, attempt, path);
    first_of(blobs, recorded.into_iter().chain(names(run, job, &file))).await
}

/// A file of a job's report.
pub(crate) async fn find_report(
    blobs: &Blobs,
    run: &Run,
    job: &Job,
    file: &str,
) -> Result<Option<Stored>, BlobError> {
    first_of(blobs, names(run, job, file)).await
}

async fn first_of(
    blobs: &Blobs,
    keys: impl Iterator<Item = String>,
) -> Result<Option<Stored>, BlobError> {
    for key in keys {
        match blobs.get(&key, Some((0, 1))).await {
            Ok(Some(object)) => return Ok(Some(Stored { key, total: object.total })),
            // A name that no object can have has no object.
            Ok(None) | Err(BlobError::Key(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

impl Stored {
    /// Bytes `first..first + length`, cut at the end of the object.
    pub(crate) async fn part(
        &self,
        blobs: &Blobs,
        first: u64,
        length: u64,
    ) -> Result<Bytes, BlobError> {
        let length = length.min(self.total.saturating_sub(first));
        if length == 0 {
            return Ok(Bytes::new());
        }
        let object = blobs.get(&self.key, Some((first, length))).await?;
        object.map(|object| object.bytes).ok_or_else(|| BlobError::Io {
            key: self.key.clone(),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }

    /// Bytes `first..end`, piece by piece. An error ends the answer in its middle, which the
    /// client sees as one cut short.
    pub(crate) fn body(self, blobs: Blobs, first: u64, end: u64) -> Body {
        let pieces = stream::try_unfold(first, move |at| {
            let (stored, blobs) = (self.clone(), blobs.clone());
            async move {
                let length = PIECE.min(end.saturating_sub(at));
                let bytes = stored.part(&blobs, at, length).await?;
                let next = at + u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                Ok::<_, BlobError>((!bytes.is_empty()).then_some((bytes, next)))
            }
        });
        Body::from_stream(pieces)
    }
}
