//! `checkvalve affected`: what a change reaches, and why.

use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::select::{CliError, Global, here, print_json, refused, shown, survey, unknown_name};
use crate::domain::change::ChangeSet;
use crate::domain::impact::{Explanation, Impact, Reason};
use crate::domain::names::Sha;
use crate::service::planning::Survey;

#[derive(Debug, Clone, Default, Args)]
pub struct AffectedArgs {
    /// What to compare with [default: origin/HEAD, origin/main or origin/master]
    #[arg(long, value_name = "REF")]
    pub base: Option<String>,
    /// Look at commits only, up to this one [default: the work tree]
    #[arg(long, value_name = "REF")]
    pub head: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Say which rules looked at a connector, and why they matched or did not
    #[arg(long, value_name = "NAME")]
    pub explain: Option<String>,
}

/// The answer as JSON has it; fields are only ever added.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    base: &'a Sha,
    head: &'a Sha,
    merge_base: Option<&'a Sha>,
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a str>,
    files: usize,
    connectors: Vec<&'a Impact>,
    unclaimed: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Explanation>,
}

pub async fn run(
    args: &AffectedArgs,
    global: &Global,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let repo = here(global).await?;
    let head = args.head.as_deref().unwrap_or("HEAD");
    let (base, tip) = tokio::join!(repo.base(args.base.as_deref()), repo.resolve(head));
    let (base, tip) = (base?, tip?);
    let head = args.head.as_ref().map(|_| &tip);
    let survey = survey(&repo, Some(&base), head, global).await?;
    let explanation = match &args.explain {
        Some(name) => {
            Some(survey.explain(name).ok_or_else(|| CliError::Usage(unknown_name(name, &survey)))?)
        }
        None => None,
    };
    if args.json {
        print_json(out, &answer(&survey, (&base, &tip), explanation))?;
    } else if let Some(explanation) = explanation {
        explain(&explanation, out)?;
    } else {
        people(&survey, out)?;
    }
    if survey.impacts.refused.is_empty() {
        Ok(())
    } else {
        Err(CliError::Configuration(refused(&survey)))
    }
}

fn answer<'a>(
    survey: &'a Survey,
    (base, head): (&'a Sha, &'a Sha),
    explain: Option<Explanation>,
) -> Answer<'a> {
    Answer {
        base,
        head,
        merge_base: survey.merge_base.as_ref(),
        complete: survey.change.is_complete(),
        because: survey.impacts.because.as_deref(),
        files: survey.impacts.files,
        connectors: survey.impacts.connectors.values().collect(),
        unclaimed: survey.impacts.unclaimed.iter().map(String::as_str).collect(),
        explain,
    }
}

/// How many reasons are printed of one connector.
const SHOWN: usize = 3;

fn people(survey: &Survey, out: &mut impl Write) -> Result<(), CliError> {
    let impacts = &survey.impacts;
    match &survey.change {
        ChangeSet::Complete { .. } => {
            writeln!(
                out,
                "{} affected by {}",
                connectors(impacts.to_run().count()),
                files(impacts.files)
            )?;
        }
        ChangeSet::Everything { because } => {
            writeln!(out, "everything: it is not known what changed ({})", shown(because))?;
        }
    }
    for impact in impacts.to_run() {
        writeln!(out, "\n{}", shown(impact.name.as_str()))?;
        for reason in impact.reasons.iter().take(SHOWN) {
            writeln!(out, "  {}", chain(reason))?;
        }
        if impact.reasons.len() > SHOWN {
            writeln!(out, "  … and {} more", impact.reasons.len() - SHOWN)?;
        }
    }
    let removed: Vec<String> =
        impacts.removed().map(|impact| shown(impact.name.as_str())).collect();
    if !removed.is_empty() {
        writeln!(out, "\nremoved, and not run: {}", removed.join(", "))?;
    }
    if !impacts.unclaimed.is_empty() {
        writeln!(out, "\n{} claimed by nothing:", files(impacts.unclaimed.len()))?;
        for path in impacts.unclaimed.iter().take(10) {
            writeln!(out, "  {}", shown(path))?;
        }
        if impacts.unclaimed.len() > 10 {
            writeln!(out, "  … and {} more", impacts.unclaimed.len() - 10)?;
        }
    }
    if !impacts.ignored.is_empty() {
        writeln!(out, "\n{} ignored", files(impacts.ignored.len()))?;
    }
    writeln!(out, "\nconfiguration: {}", shown(&survey.rules().origin))?;
    for note in &survey.notes {
        writeln!(out, "note: {}", shown(note))?;
    }
    Ok(())
}

fn explain(explanation: &Explanation, out: &mut impl Write) -> Result<(), CliError> {
    let verdict = if explanation.selected { "is selected" } else { "is not selected" };
    writeln!(out, "{} {verdict}", shown(&explanation.name))?;
    for reason in &explanation.reasons {
        writeln!(out, "  {}", chain(reason))?;
    }
    writeln!(out, "rules that looked at it:")?;
    for look in &explanation.looked {
        writeln!(out, "  {}: {}", shown(&look.rule), shown(&look.because))?;
    }
    Ok(())
}

/// Changed path → rule → what is between.
pub(super) fn chain(reason: &Reason) -> String {
    let mut parts = vec![shown(&reason.path), reason.rule.as_str().to_owned()];
    parts.extend(reason.via.iter().map(|via| shown(via)));
    parts.join(" → ")
}

fn connectors(count: usize) -> String {
    if count == 1 { "1 connector".to_owned() } else { format!("{count} connectors") }
}

fn files(count: usize) -> String {
    if count == 1 { "1 changed file".to_owned() } else { format!("{count} changed files") }
}
