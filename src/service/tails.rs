//! The ends of the logs of a job's steps, as pages show them while the steps run.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::domain::names::StepId;
use crate::store::LogTail;

/// How much of each log's end is shown.
const SHOWN: usize = 64 * 1024;

/// What a step's attempt printed last.
#[derive(Debug, Default)]
struct Tail {
    attempt: u32,
    /// The offset of `bytes` in the whole log.
    start: u64,
    /// At most twice of what is shown, so that the front is not moved away at each chunk.
    bytes: Vec<u8>,
    /// Changed since it was last taken.
    dirty: bool,
    /// The whole log is stored: nothing more comes.
    ended: bool,
}

/// The tails of one job.
#[derive(Debug, Default)]
pub(super) struct Tails(BTreeMap<StepId, Tail>);

impl Tails {
    /// The attempt of a step printed `chunk`, which lies at `offset` of its log.
    pub(super) fn printed(&mut self, step: &StepId, attempt: u32, (offset, chunk): (u64, &[u8])) {
        let tail = self.0.entry(step.clone()).or_default();
        if tail.attempt != attempt {
            *tail = Tail { attempt, start: offset, ..Tail::default() };
        }
        tail.push(chunk);
    }

    /// The step's log is stored: its tail goes once it was taken.
    pub(super) fn ended(&mut self, step: &StepId) {
        if let Some(tail) = self.0.get_mut(step) {
            tail.ended = true;
        }
    }

    /// What changed since it was last taken.
    pub(super) fn take_changed(&mut self) -> Vec<(StepId, LogTail)> {
        self.0.retain(|_, tail| tail.dirty || !tail.ended);
        let changed = self.0.iter_mut().filter(|(_, tail)| tail.dirty);
        let taken = changed.map(|(step, tail)| (step.clone(), tail.take()));
        taken.collect()
    }

    /// What was taken did not arrive.
    pub(super) fn not_written(&mut self, step: &StepId) {
        if let Some(tail) = self.0.get_mut(step) {
            tail.dirty = true;
        }
    }
}

impl Tail {
    fn push(&mut self, chunk: &[u8]) {
        let skipped = chunk.len().saturating_sub(SHOWN);
        let chunk = &chunk[skipped..];
        if skipped > 0 {
            self.start += (self.bytes.len() + skipped) as u64;
            self.bytes.clear();
        } else if self.bytes.len() + chunk.len() > 2 * SHOWN {
            let cut = self.bytes.len() + chunk.len() - SHOWN;
            self.bytes.drain(..cut);
            self.start += cut as u64;
        }
        self.bytes.extend_from_slice(chunk);
        self.dirty = true;
    }

    fn take(&mut self) -> LogTail {
        self.dirty = false;
        let hidden = self.bytes.len().saturating_sub(SHOWN);
        LogTail {
            start: self.start + hidden as u64,
            bytes: Bytes::copy_from_slice(&self.bytes[hidden..]),
            attempt: self.attempt,
            ended: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> StepId {
        "unit".parse().unwrap()
    }

    #[test]
    fn whatever_the_chunks_the_end_is_what_is_shown() {
        let log: Vec<u8> = (0..400_000_u32).map(|n| (n % 251) as u8).collect();
        for size in [1_000, 65_536, 65_537, 100_000, 400_000] {
            let mut tails = Tails::default();
            let mut offset = 0;
            for chunk in log.chunks(size) {
                tails.printed(&step(), 1, (offset as u64, chunk));
                offset += chunk.len();
                let taken = tails.take_changed().pop().unwrap().1;
                let start = usize::try_from(taken.start).unwrap();
                assert_eq!(start, offset.saturating_sub(SHOWN), "{size}");
                assert_eq!(taken.bytes, log[start..offset], "{size}");
                assert!(tails.0[&step()].bytes.capacity() <= 4 * SHOWN, "{size}");
            }
        }
    }

    #[test]
    fn another_attempt_begins_anew() {
        let mut tails = Tails::default();
        tails.printed(&step(), 1, (0, b"one"));
        tails.printed(&step(), 2, (0, b"two"));
        let (_, tail) = tails.take_changed().pop().unwrap();
        assert_eq!((tail.attempt, tail.start, &tail.bytes[..]), (2, 0, &b"two"[..]));
        assert!(tails.take_changed().is_empty());
    }

    #[test]
    fn the_last_of_a_step_is_told_before_it_is_forgotten() {
        let mut tails = Tails::default();
        tails.printed(&step(), 1, (0, b"last"));
        tails.ended(&step());
        assert_eq!(tails.take_changed().len(), 1);
        tails.not_written(&step());
        assert_eq!(&tails.take_changed()[0].1.bytes[..], b"last");
        assert!(tails.take_changed().is_empty());
        assert!(tails.0.is_empty(), "nothing is held for a step that has ended");
    }
}
