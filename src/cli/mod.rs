//! The command line: one file a subcommand.

pub mod affected;
pub mod list;
pub mod plan;
pub mod select;

use std::process::ExitCode;

/// Parses the arguments and runs the subcommand.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
