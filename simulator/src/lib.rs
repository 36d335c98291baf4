//! A GitHub with state, for tests and demonstrations.
//!
//! One process that answers like GitHub where a GitHub App looks: the REST API, git over smart
//! HTTP, signed webhook deliveries, and small pages to look at. What GitHub refuses, it refuses
//! with GitHub's own answers. It shares no code with the product under test: neither wire types
//! nor signing, so that a shared mistake cannot hide.
//!
//! ```no_run
//! # async fn example() -> Result<(), github_simulator::Error> {
//! use github_simulator::{Change, Commit, Config, OpenPull, Simulator};
//!
//! let github = Simulator::start(Config::default()).await?;
//! github.create_repository("acme/connectors", Default::default()).await?;
//! let readme = vec![("README.md".to_owned(), Change::Write(b"hello".to_vec()))];
//! github.commit("acme/connectors", "main", Commit::new("Start", "ada", readme.clone())).await?;
//! github.commit("acme/connectors", "topic", Commit::new("Mend", "ada", readme)).await?;
//! let number = github
//!     .open_pull_request("acme/connectors", OpenPull::new("topic", "main", "ada", "Mend it"))
//!     .await?;
//! # let _ = number; Ok(()) }
//! ```

mod api;
mod archives;
mod auth;
mod choices;
mod clock;
mod contract;
mod control;
mod control_settings;
mod deliveries;
mod enterprise;
mod error;
mod events;
mod faults;
mod finish;
mod forms;
mod git;
mod git_http;
mod limits;
mod operations;
mod pages;
mod people;
mod refusals;
mod registration;
mod routes;
mod server;
mod shapes;
mod simulator;
mod world;

pub use crate::api::{
    App, Call, Caller, Change, CheckAction, CheckOutput, CheckRun, CheckSuite, Comment, Commit,
    Config, Delivery, MergeGroup, OpenPull, OwnerKind, Permission, PullRequest, RepositoryInfo,
    RepositoryOptions, RequiredCheck,
};
pub use crate::choices::{Choices, OversizedPage, RefusalLayer};
pub use crate::error::Error;
pub use crate::faults::{
    Away, CompletedPatch, DeliveryPlan, Faults, RerunButton, SecondaryLimit, TokenFormat,
};
pub use crate::operations::{Auth, OPERATIONS, Operation};
pub use crate::simulator::Simulator;
