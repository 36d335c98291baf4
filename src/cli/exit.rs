//! Exit statuses (design §6.1) and the errors that lead to them.

use std::process::ExitCode;

use super::select::CliError;
use crate::config::server::SettingsError;

/// How a command ended, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All passed, or nothing was selected.
    Passed,
    /// A step failed.
    Failed,
    /// Usage or configuration.
    Usage,
    /// Could not run: engine, network, disk.
    CouldNotRun,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Passed => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::CouldNotRun => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// The user's to mend: exit status 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl From<SettingsError> for UsageError {
    fn from(error: SettingsError) -> Self {
        Self(error.to_string())
    }
}

/// Prints an error with its causes and answers the status that it stands for.
pub fn report(error: &anyhow::Error) -> Exit {
    eprintln!("error: {error:#}");
    let usage = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<UsageError>()
            || cause.is::<SettingsError>()
            || cause.downcast_ref::<CliError>().is_some_and(|error| error.status() == 2)
    };
    if error.chain().any(usage) { Exit::Usage } else { Exit::CouldNotRun }
}
