//! What people see, as snapshots and properties: every text is a pure function of the run.

#![expect(clippy::unwrap_used, reason = "a test may panic, also outside its function")]

mod checks;
mod coarser;
mod held;
mod parties;
mod pictures;
mod properties;
mod replies;
mod reports;
mod sample;
mod showing;
mod verdict;
mod why;
