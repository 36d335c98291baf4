//! The simulator, seen by clients that do right and by clients that do wrong on purpose.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod app_auth;
mod checks;
mod comments;
mod common;
mod contract;
mod deliveries;
mod flow;
mod git;
mod program;
mod pulls;
mod suites;
mod transport;
