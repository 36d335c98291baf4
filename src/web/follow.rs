//! `?follow=1`: a log as it grows, from the live tail over to the stored object, by offset: no
//! byte twice, and none left out unless the answer says so.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::Instant;

use super::Web;
use super::error::WebError;
use super::logs::{self, Stored};
use super::metrics::OpenStream;
use crate::domain::ids::RunId;
use crate::domain::names::{ConnectorName, StepId};
use crate::store::{LogTail, Topic};

/// The worker flushes four times a second.
const TICK: Duration = Duration::from_millis(250);

/// How often the step's record is read while its log grows; a tail that says it ended is followed
/// up at once.
const RECORD_EVERY: Duration = Duration::from_secs(1);

const PIECE: u64 = 256 * 1024;

/// One attempt of a step.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) run: RunId,
    pub(crate) connector: ConnectorName,
    pub(crate) step: StepId,
    pub(crate) attempt: u32,
}

/// What of a tail comes after `sent`: how many bytes the window has left behind, and the rest.
pub(crate) fn beyond(tail: &LogTail, sent: u64) -> (u64, Bytes) {
    let skipped = tail.start.saturating_sub(sent);
    let from = usize::try_from(sent.saturating_sub(tail.start)).unwrap_or(usize::MAX);
    (skipped, tail.bytes.slice(from.min(tail.bytes.len())..))
}

/// The offset after a piece.
pub(crate) fn after(offset: u64, bytes: &Bytes) -> u64 {
    offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
}

#[derive(Debug)]
enum Phase {
    Live,
    Stored(Stored),
    Done,
}

#[derive(Debug)]
struct Follow {
    web: Arc<Web>,
    place: Place,
    /// Bytes of the log that the client has, or was told that it does not get.
    sent: u64,
    phase: Phase,
    record_read: Option<Instant>,
    _open: OpenStream,
}

/// Streams from the byte `from` until the attempt ended.
pub(crate) fn body(web: Arc<Web>, place: Place, from: u64, open: OpenStream) -> Body {
    let follow =
        Follow { web, place, sent: from, phase: Phase::Live, record_read: None, _open: open };
    Body::from_stream(stream::try_unfold(follow, |mut follow| async move {
        let piece = follow.next().await.map_err(|error| {
            tracing::warn!(?error, place = ?follow.place, "a followed log was cut");
            std::io::Error::other("the log can't be read now")
        })?;
        Ok::<_, std::io::Error>(piece.map(|piece| (piece, follow)))
    }))
}

impl Follow {
    async fn next(&mut self) -> Result<Option<Bytes>, WebError> {
        loop {
            let piece = match &self.phase {
                Phase::Live => self.live().await?,
                Phase::Stored(stored) => {
                    let piece = stored.part(&self.web.blobs, self.sent, PIECE).await?;
                    self.sent = after(self.sent, &piece);
                    if piece.is_empty() {
                        self.phase = Phase::Done;
                    }
                    piece
                }
                Phase::Done => return Ok(None),
            };
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }

    /// What the tail has anew; nothing when it was waited for, or the log ended.
    async fn live(&mut self) -> Result<Bytes, WebError> {
        let mut nudge = self.web.store.nudge(Topic::Runs);
        let Place { run, connector, step, attempt } = &self.place;
        let tail = self.web.store.tail(*run, connector, step).await?;
        let tail = tail.filter(|tail| tail.attempt == *attempt);
        let ended = tail.as_ref().is_some_and(|tail| tail.ended);
        if self.record_is_due(ended || tail.is_none()) && self.settle(tail.as_ref()).await? {
            return Ok(Bytes::new());
        }
        if let Some(tail) = &tail {
            let (skipped, bytes) = beyond(tail, self.sent);
            if skipped > 0 || !bytes.is_empty() {
                self.sent = self.sent.max(tail.start);
                self.sent = after(self.sent, &bytes);
                return Ok(self.with_note(skipped, bytes));
            }
        }
        tokio::select! {
            () = self.web.stop.cancelled() => self.phase = Phase::Done,
            () = nudge.changed() => tokio::time::sleep(TICK / 5).await,
            () = tokio::time::sleep(TICK) => {}
        }
        Ok(Bytes::new())
    }

    fn record_is_due(&self, soon: bool) -> bool {
        let pause = if soon { TICK } else { RECORD_EVERY };
        self.record_read.is_none_or(|at| at.elapsed() >= pause)
    }

    /// Reads the step's record; if the attempt ended, goes over to the stored log. Where none was
    /// kept, the tail is all there is.
    async fn settle(&mut self, tail: Option<&LogTail>) -> Result<bool, WebError> {
        self.record_read = Some(Instant::now());
        let Place { run, connector, step, attempt } = &self.place;
        let Some(run) = self.web.store.run(*run).await? else {
            self.phase = Phase::Done;
            return Ok(true);
        };
        let job = run.jobs.iter().find(|job| job.connector == *connector);
        let Some((job, record)) = job.and_then(|job| Some((job, job.step(step)?))) else {
            self.phase = Phase::Done;
            return Ok(true);
        };
        if !logs::has_ended(job, record, *attempt) {
            return Ok(false);
        }
        let stored = logs::find_stored(&self.web.blobs, &run, job, record, *attempt).await?;
        let unsent = tail.is_some_and(|tail| !beyond(tail, self.sent).1.is_empty());
        self.phase = match stored {
            Some(stored) => Phase::Stored(stored),
            None if unsent => return Ok(false),
            None => Phase::Done,
        };
        Ok(true)
    }

    fn with_note(&self, skipped: u64, bytes: Bytes) -> Bytes {
        if skipped == 0 {
            return bytes;
        }
        let Place { run, connector, step, .. } = &self.place;
        let whole = self.web.links.log(*run, connector, step);
        let note = format!(
            "\n[checkvalve: {skipped} bytes are left out here; the whole log is at {whole} once \
             the step has ended]\n"
        );
        [Bytes::from(note), bytes].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_continues_where_the_reader_is() {
        let bytes = Bytes::from_static(b"world");
        let tail = LogTail { start: 6, bytes, attempt: 1, ended: false };
        assert_eq!(beyond(&tail, 0), (6, Bytes::from_static(b"world")));
        assert_eq!(beyond(&tail, 6), (0, Bytes::from_static(b"world")));
        assert_eq!(beyond(&tail, 9), (0, Bytes::from_static(b"ld")));
        assert_eq!(beyond(&tail, 11), (0, Bytes::new()));
        assert_eq!(beyond(&tail, 99), (0, Bytes::new()));
    }
}
