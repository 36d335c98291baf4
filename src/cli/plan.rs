//! `checkvalve plan`: what would run, in which order, and why.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::affected::chain;
use super::select::{CliError, Global, SelectArgs, print_json, shown};
use crate::domain::impact::{ChangeKind, Reason};
use crate::domain::names::StepId;
use crate::domain::pipeline::{Network, StepSpec};
use crate::domain::plan::Plan;
use crate::domain::run::Selection;
use crate::domain::time::human;
use crate::service::planning::{Planned, plans};

#[derive(Debug, Clone, Default, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Draw the plan of one connector
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub svg: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    selection: &'a Selection,
    jobs: Vec<Job<'a>>,
}

#[derive(Debug, Serialize)]
struct Job<'a> {
    connector: &'a str,
    change: ChangeKind,
    reasons: &'a [Reason],
    plan: &'a Plan,
    digest: String,
}

/// `draw` makes the SVG of a plan.
pub async fn run(
    args: &PlanArgs,
    global: &Global,
    draw: impl Fn(&Plan) -> String,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let selected = args.select.select(global).await?;
    let planned = plans(&selected.survey, &selected.names)?;
    if let Some(file) = &args.svg {
        let [job] = planned.jobs.as_slice() else {
            let count = planned.jobs.len();
            let text =
                format!("`--svg` draws one plan and {count} are selected; name one connector");
            return Err(CliError::Usage(text));
        };
        return std::fs::write(file, draw(&job.plan)).map_err(|error| {
            CliError::CouldNotRun(format!("`{}` can't be written: {error}", file.display()))
        });
    }
    if args.json {
        return print_json(out, &answer(&planned));
    }
    people(&planned, out)
}

fn answer(planned: &Planned) -> Answer<'_> {
    let jobs = planned.jobs.iter().map(|planned| Job {
        connector: planned.connector.as_str(),
        change: planned.change,
        reasons: &planned.reasons,
        plan: &planned.plan,
        digest: planned.plan.digest(),
    });
    Answer { selection: &planned.selection, jobs: jobs.collect() }
}

/// A step in a line.
fn facts(step: &StepSpec) -> String {
    if let Some(why) = &step.left_out {
        return format!("not run: {}", shown(why));
    }
    let does = match &step.uses {
        Some(uses) => format!("built-in {}", uses.builtin.as_str()),
        None => shown(&step.image),
    };
    let mut facts = vec![does, format!("at most {}", human(step.timeout()))];
    if !step.needs.is_empty() {
        let needs: Vec<&str> = step.needs.iter().map(StepId::as_str).collect();
        facts.push(format!("after {}", needs.join(", ")));
    }
    if let Some(from) = &step.from {
        facts.push(format!("from {from}"));
    }
    if step.network == Network::None {
        facts.push("no network".to_owned());
    }
    if step.always {
        facts.push("always".to_owned());
    }
    if step.allow_failure {
        facts.push("may fail".to_owned());
    }
    facts.join(" · ")
}

fn people(planned: &Planned, out: &mut impl Write) -> Result<(), CliError> {
    if planned.jobs.is_empty() {
        writeln!(out, "nothing would run")?;
    }
    for job in &planned.jobs {
        writeln!(out, "{} ({})", shown(job.connector.as_str()), shown(job.plan.root()))?;
        for reason in job.reasons.iter().take(3) {
            writeln!(out, "  because {}", chain(job.connector.as_str(), reason))?;
        }
        if let Some(lock) = job.plan.lock() {
            writeln!(out, "  one at a time with every job of the lock {}", shown(lock))?;
        }
        for step in job.plan.steps() {
            writeln!(out, "  {}: {}", shown(step.id.as_str()), facts(step))?;
        }
        writeln!(out)?;
    }
    let without = &planned.selection.without_pipeline;
    if !without.is_empty() {
        let names: Vec<String> = without.iter().map(|name| shown(name)).collect();
        writeln!(out, "no pipeline is for: {}", names.join(", "))?;
    }
    let archived: Vec<String> = planned.selection.archived.iter().map(|name| shown(name)).collect();
    if !archived.is_empty() {
        writeln!(out, "archived, and changed: {}", archived.join(", "))?;
    }
    writeln!(out, "configuration: {}", shown(&planned.selection.origin))?;
    for note in &planned.selection.notes {
        writeln!(out, "note: {}", shown(note))?;
    }
    Ok(())
}
