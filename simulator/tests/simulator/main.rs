//! The simulator, seen by clients that do right and by clients that do wrong on purpose.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod answers;
mod app_auth;
mod checks;
mod comments;
mod common;
mod contract;
mod deliveries;
mod enterprise;
mod flow;
mod git;
mod members;
mod objects;
mod payloads;
mod program;
mod pulls;
mod queue;
mod rates;
mod registration;
mod suites;
mod table;
mod transport;
mod unpublished;
