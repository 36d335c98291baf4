//! What a program takes from its surroundings — time, ids, environment — has one door each, here.
//! `clippy.toml` forbids the others, so that a test, or a reader, knows where they enter.

pub mod arena;
pub mod authorities;
pub mod failpoint;

use crate::domain::ids::Ulid;
use crate::domain::time::Timestamp;

/// The wall clock, cut to milliseconds so that a round trip through any database is exact.
#[expect(clippy::disallowed_methods, reason = "this is the one door for time")]
pub fn now() -> Timestamp {
    Timestamp::from_millis(chrono::Utc::now().timestamp_millis())
}

/// A fresh id, sortable by time of making.
#[expect(clippy::disallowed_methods, reason = "this is the one door for ids")]
pub fn ulid() -> Ulid {
    Ulid::new()
}

/// An environment variable; unset, empty and not-UTF-8 are all `None`.
#[expect(clippy::disallowed_methods, reason = "this is the one door for the environment")]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
