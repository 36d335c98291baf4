//! The edge to GitHub, and the only user of octocrab: App and installation tokens, pull requests,
//! permissions, check runs, comments, webhook verification.
//!
//! Wire types stay in here; what leaves is the domain's. This module decides nothing about runs,
//! and never repeats a write whose outcome is unknown: it says so ([`Retry::Unknown`]), and the
//! caller looks before asking again.

mod answers;
mod app;
mod checks;
mod client;
mod comments;
mod contents;
mod deliveries;
mod error;
mod hook;
mod installations;
pub mod manifest;
mod payload;
mod people;
mod points;
mod polled;
mod pulls;
mod rates;
mod register;
mod transport;
pub mod webhook;
mod wire;

pub use checks::{OwnCheck, OwnChecks};
pub use client::{Github, GithubSettings};
pub use comments::{CommentsPage, Reaction};
pub use contents::Content;
pub use deliveries::LogPage;
pub use error::{GithubError, Retry};
pub use hook::Hook;
pub use points::{Ledger, Share, in_background, promptly};
pub use pulls::{OpenPulls, PullsBefore};
pub use rates::{Rate, Silence};
pub use register::{Registered, Registrar};
