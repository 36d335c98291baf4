//! Checkvalve answers every pull request on a connector monorepo with check runs, one per step,
//! for exactly the connectors that the change can affect.
//!
//! `ARCHITECTURE.md` is the map; `tests/architecture.rs` enforces which room may import which.

pub mod ambient;
pub mod blobs;
pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
pub mod exec;
pub mod git;
pub mod github;
pub mod render;
pub mod secrets;
pub mod service;
pub mod store;
pub mod web;
