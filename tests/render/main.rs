//! What people see, as snapshots and properties: every text is a pure function of the run.

mod checks;
mod pictures;
mod properties;
mod reports;
mod sample;
mod verdict;
