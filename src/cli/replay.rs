//! `replay FILE`: plan again from what a run wrote down, and say whether it is the same plan.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use super::exit::Exit;
use super::select::{CliError, print_json, shown};
use crate::domain::plan::Plan;
use crate::render::report::plan_hash;
use crate::service::planning::{Definition, plan_again};

#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// A run's `replay.json`, beside its reports
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print the plans as JSON
    #[arg(long)]
    pub json: bool,
}

/// What is read of `replay.json`; the rest is for people and other programs.
#[derive(Debug, Deserialize)]
struct Replay {
    plan_hash: Option<String>,
    #[serde(default)]
    plans: Vec<Recorded>,
    /// What the plans were made of.
    #[serde(default)]
    planning: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Recorded {
    plan: Plan,
}

/// Prints the hash of what is planned now. Another than the run's is a failure: either the file was
/// changed, or this version of Checkvalve plans otherwise.
pub async fn run(args: &ReplayArgs, out: &mut impl Write) -> Result<Exit, CliError> {
    let replay = read(args)?;
    let plans: Vec<Plan> = if let Some(definition) = definition(&replay, args)? {
        let planned = Box::pin(plan_again(&definition)).await?;
        planned.jobs.into_iter().map(|job| job.plan).collect()
    } else {
        // Nothing was made anew when it was planned, so nothing is made anew now.
        eprintln!(
            "the run took its plans from an earlier one, or was stopped before it had any: they are \
             hashed as they stand, and nothing is planned again"
        );
        replay.plans.iter().map(|recorded| recorded.plan.clone()).collect()
    };
    let hash = plan_hash(plans.iter());
    if args.json {
        let digests: BTreeMap<&str, String> =
            plans.iter().map(|plan| (plan.connector().as_str(), plan.digest())).collect();
        let same = replay.plan_hash.as_ref().map(|before| *before == hash);
        print_json(
            out,
            &serde_json::json!({"plan_hash": hash, "same": same, "digests": digests, "plans": plans}),
        )?;
    } else {
        writeln!(out, "{hash}")?;
    }
    let Some(before) = replay.plan_hash.filter(|before| *before != hash) else {
        return Ok(Exit::Passed);
    };
    eprintln!("the run's plan was another one: {}", shown(&before));
    for line in differences(&replay.plans, &plans) {
        eprintln!("  {line}");
    }
    Ok(Exit::Failed)
}

fn read(args: &ReplayArgs) -> Result<Replay, CliError> {
    let name = args.file.display();
    let bytes = std::fs::read(&args.file)
        .map_err(|error| CliError::Usage(format!("`{name}` can't be read: {error}")))?;
    serde_json::from_slice(&bytes).map_err(|error| {
        CliError::Usage(format!(
            "`{name}` is no replay.json: {error}; take the one beside the run's report"
        ))
    })
}

fn definition(replay: &Replay, args: &ReplayArgs) -> Result<Option<Definition>, CliError> {
    let Some(planning) = replay.planning.as_ref().filter(|planning| !planning.is_null()) else {
        return Ok(None);
    };
    let name = args.file.display();
    let wrong = |why: String| CliError::Usage(format!("`{name}` can't be planned from: {why}"));
    let version = planning.get("version").and_then(Value::as_u64);
    if version != Some(u64::from(Definition::VERSION)) {
        return Err(wrong(format!(
            "its `planning` is of version {}, and this program reads {}; use the version of \
             Checkvalve that wrote it",
            version.map_or_else(|| "unknown".to_owned(), |version| version.to_string()),
            Definition::VERSION,
        )));
    }
    serde_json::from_value(planning.clone()).map(Some).map_err(|error| wrong(error.to_string()))
}

/// Which connectors' plans are not as they were.
fn differences(before: &[Recorded], now: &[Plan]) -> Vec<String> {
    let before: BTreeMap<&str, String> =
        before.iter().map(|r| (r.plan.connector().as_str(), r.plan.digest())).collect();
    let now: BTreeMap<&str, String> =
        now.iter().map(|plan| (plan.connector().as_str(), plan.digest())).collect();
    let mut told: Vec<String> = Vec::new();
    for (name, digest) in &now {
        match before.get(name) {
            Some(earlier) if earlier == digest => {}
            Some(_) => told.push(format!("{} is planned otherwise", shown(name))),
            None => told.push(format!("{} was not planned", shown(name))),
        }
    }
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    told.extend(gone.map(|name| format!("{} is not planned any more", shown(name))));
    told
}
