//! The background loops. Each asks what should be true now, so a lost wake-up costs latency and
//! never correctness. They meet the web only in the database.

pub mod archive;
mod branches;
pub mod commands;
mod installations;
pub mod intake;
pub mod janitor;
pub mod journal;
mod labels;
pub mod ledger;
pub mod places;
pub mod planner;
pub mod planning;
pub mod publisher;
pub mod recovery;
mod reports;
pub mod rotations;
pub mod schedule;
pub mod secrets;
pub mod source;
mod tails;
pub mod ticking;
pub mod trust;
pub mod worker;
