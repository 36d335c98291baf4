//! `checkvalve schema`: the JSON Schema of each answer and file.

use std::io::Write;

use clap::Args;
use serde_json::Value;

use super::select::{CliError, print_json};
use crate::config::repository;
use crate::domain::rules::closest;

#[derive(Debug, Clone, Args)]
pub struct SchemaArgs {
    /// `repository-file`, `affected`, `list`, `plan`, `run`, `queue`, `events`,
    /// `deliveries`, `delivery` or `deliveries-handled`
    pub name: String,
}

/// Answers by name: of commands with `--json`, and of the API.
const ANSWERS: &[(&str, &str)] = &[
    ("affected", include_str!("schemas/affected.json")),
    ("list", include_str!("schemas/list.json")),
    ("plan", include_str!("schemas/plan.json")),
    ("run", include_str!("schemas/run.json")),
    ("queue", include_str!("schemas/queue.json")),
    // Of `test --format json`: each line.
    ("events", include_str!("schemas/events.json")),
    ("deliveries", include_str!("schemas/deliveries.json")),
    ("delivery", include_str!("schemas/delivery.json")),
    ("deliveries-handled", include_str!("schemas/deliveries-handled.json")),
];
const REPOSITORY_FILE: &str = "repository-file";

pub fn run(args: &SchemaArgs, out: &mut impl Write) -> Result<(), CliError> {
    if args.name == REPOSITORY_FILE {
        return print_json(out, &repository_file());
    }
    if let Some((_, text)) = ANSWERS.iter().find(|(name, _)| *name == args.name) {
        return Ok(out.write_all(text.as_bytes())?);
    }
    let names = || std::iter::once(REPOSITORY_FILE).chain(ANSWERS.iter().map(|(name, _)| *name));
    let mend = match closest(&args.name, names()) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
    };
    let name = args.name.escape_default();
    Err(CliError::Usage(format!("there is no schema `{name}`; {mend}")))
}

/// The schema of `.github/checkvalve.yml`.
pub(super) fn repository_file() -> Value {
    repository::schema()
}
