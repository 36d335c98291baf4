//! The database: SQLite or PostgreSQL, one SQL text, every statement prepared on both in a test.
//!
//! Every write about a job carries the job's `epoch` and `state = 'running'`: a late writer is
//! refused ([`StoreError::LeaseLost`]). The database's clock decides expiry.

pub mod api;

pub use api::*;
