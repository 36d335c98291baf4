//! What can go wrong while driving the simulator (not what it answers over HTTP).

use std::path::PathBuf;

/// Why the simulator could not do what a test or demonstration asked of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listening address is taken or not ours.
    #[error("cannot listen on {address}: {source}; choose another --listen address")]
    Bind {
        /// What was asked for.
        address: std::net::SocketAddr,
        /// Why the system refused.
        source: std::io::Error,
    },
    /// A file or folder could not be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The `git` program is missing or failed.
    #[error("git {command}: {message}")]
    Git {
        /// The subcommand.
        command: String,
        /// What it printed, or why it could not start.
        message: String,
    },
    /// A repository, pull request, comment, check run or delivery that does not exist.
    #[error("there is no {0} here")]
    NotFound(String),
    /// What GitHub's own pages would not let a person do.
    #[error("{0}")]
    Refused(String),
    /// The HTTP client for deliveries could not be made, or a raw delivery could not be sent.
    #[error("delivery: {0}")]
    Delivery(String),
    /// The contract folder does not hold a readable description.
    #[error("contract {path}: {message}")]
    Contract {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
