//! Exit statuses (design §6.1) and the errors that lead to them.

use std::process::ExitCode;

use super::select::CliError;
use crate::blobs::BlobError;
use crate::config::server::SettingsError;
use crate::github::GithubError;
use crate::store::StoreError;

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
    /// Whoever read the output went away before its end. As of a program that the signal ends,
    /// which is what `set -o pipefail` and the like know.
    ClosedPipe,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Passed => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::CouldNotRun => 3,
            Exit::Interrupted => 130,
            Exit::ClosedPipe => 141,
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
    if error.downcast_ref::<CliError>().is_some_and(CliError::is_closed_pipe) {
        return Exit::ClosedPipe;
    }
    eprintln!("error: {}", told(error));
    if error.chain().any(is_usage) { Exit::Usage } else { Exit::CouldNotRun }
}

/// An error with its causes; many of ours quote their cause already, which is not said twice.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Is it a setting or an argument that must be changed? Asking again would change nothing.
fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    let blobs = |error: &BlobError| matches!(error, BlobError::Url(_) | BlobError::Unset(_));
    let github = |error: &GithubError| {
        matches!(
            error,
            GithubError::PrivateKey { .. }
                | GithubError::ApiUrl { .. }
                | GithubError::Certificates { .. }
        )
    };
    cause.is::<UsageError>()
        || cause.is::<SettingsError>()
        || cause.downcast_ref::<CliError>().is_some_and(|error| error.status() == 2)
        || cause.downcast_ref::<StoreError>().is_some_and(|e| matches!(e, StoreError::Url(_)))
        || cause.downcast_ref::<BlobError>().is_some_and(blobs)
        || cause.downcast_ref::<GithubError>().is_some_and(github)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_is_quoted_already_is_not_said_twice() {
        let full = std::io::Error::other("the disk is full");
        let quoted = BlobError::Io { key: "x".to_owned(), source: full };
        assert_eq!(told(&quoted.into()), "object `x`: the disk is full");
        let bare = anyhow::anyhow!("the disk is full").context("can't write `x`");
        assert_eq!(told(&bare), "can't write `x`: the disk is full");
    }
}
