//! `checkvalve affected`: what a change reaches, and why.

use std::fmt::Write as _;
use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::select::{CliError, Global, here, print_json, refused, shown, survey, unknown_name};
use crate::domain::change::ChangeSet;
use crate::domain::impact::{Explanation, Impact, Reason};
use crate::domain::names::{ConnectorName, Sha};
use crate::render::why::{self, Member};
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
/// How many connectors with one reason are named before they are counted.
const NAMED: usize = 200;
/// Columns that a list of names may take.
const WIDTH: usize = 96;

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
    reasons(survey, out)?;
    let removed: Vec<String> =
        impacts.removed().map(|impact| shown(impact.name.as_str())).collect();
    if !removed.is_empty() {
        writeln!(out, "\nremoved, and not run: {}", removed.join(", "))?;
    }
    if !impacts.archived.is_empty() {
        let archived: Vec<String> =
            impacts.archived.iter().map(|name| shown(name.as_str())).collect();
        writeln!(out, "\narchived, and not run: {}", archived.join(", "))?;
    }
    unclaimed(survey, out)?;
    if !impacts.ignored.is_empty() {
        writeln!(out, "\n{} ignored", files(impacts.ignored.len()))?;
    }
    writeln!(out, "\nconfiguration: {}", shown(&survey.rules().origin))?;
    for note in &survey.notes {
        writeln!(out, "note: {}", shown(note))?;
    }
    let known = survey.connectors().len();
    let left_out = known.saturating_sub(impacts.to_run().count());
    if left_out > 0 {
        writeln!(out, "{} not selected: `--explain NAME` says why", connectors(left_out))?;
    }
    Ok(())
}

/// Connectors with their reasons; those with the same shortest one together.
fn reasons(survey: &Survey, out: &mut impl Write) -> Result<(), CliError> {
    let to_run = survey.impacts.to_run();
    let groups = why::groups(to_run.map(|one| (one.name.as_str(), one.reasons.as_slice())));
    for group in &groups {
        if let [one] = group.members.as_slice() {
            let impacts = &survey.impacts.connectors;
            let named = one.name.parse().ok().and_then(|name: ConnectorName| impacts.get(&name));
            let reasons = named.map(|impact| impact.reasons.as_slice()).unwrap_or_default();
            writeln!(out, "\n{}", shown(one.name))?;
            for reason in reasons.iter().take(SHOWN) {
                writeln!(out, "  {}", chain(one.name, reason))?;
            }
            if reasons.len() > SHOWN {
                writeln!(out, "  … and {} more", reasons.len() - SHOWN)?;
            }
            continue;
        }
        let why = shown(&why::plain_text(&group.words()));
        writeln!(out, "\n{}: {why}", connectors(group.members.len()))?;
        for line in wrapped(&group.members) {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}

/// Names in lines; `(+2)` counts a connector's further reasons.
fn wrapped(members: &[Member<'_>]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for (index, member) in members.iter().take(NAMED).enumerate() {
        let mut name = shown(member.name);
        if member.more > 0 {
            let _ = write!(name, " (+{})", member.more);
        }
        if index + 1 < members.len() {
            name.push(',');
        }
        if !line.is_empty() && line.chars().count() + name.chars().count() >= WIDTH {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&name);
    }
    lines.push(line);
    if members.len() > NAMED {
        lines.push(format!("… and {} more: `--json` names them all", members.len() - NAMED));
    }
    lines
}

fn unclaimed(survey: &Survey, out: &mut impl Write) -> Result<(), CliError> {
    let unclaimed = &survey.impacts.unclaimed;
    if unclaimed.is_empty() {
        return Ok(());
    }
    let follows = if survey.unclaimed_selects_all() {
        ", so every connector is tested"
    } else {
        ", and selecting nothing"
    };
    writeln!(out, "\n{} claimed by nothing{follows}:", files(unclaimed.len()))?;
    for path in unclaimed.iter().take(10) {
        writeln!(out, "  {}", shown(path))?;
    }
    if unclaimed.len() > 10 {
        writeln!(out, "  … and {} more", unclaimed.len() - 10)?;
    }
    Ok(())
}

fn explain(explanation: &Explanation, out: &mut impl Write) -> Result<(), CliError> {
    let verdict = if explanation.selected { "is selected" } else { "is not selected" };
    writeln!(out, "{} {verdict}", shown(&explanation.name))?;
    for reason in &explanation.reasons {
        writeln!(out, "  {}", chain(&explanation.name, reason))?;
    }
    writeln!(out, "rules that looked at it:")?;
    for look in &explanation.looked {
        writeln!(out, "  {}: {}", shown(&look.rule), shown(&look.because))?;
    }
    Ok(())
}

/// Why a change of a path reaches the connector, in words.
pub(super) fn chain(name: &str, reason: &Reason) -> String {
    shown(&why::plain_text(&why::words(reason, name)))
}

fn connectors(count: usize) -> String {
    if count == 1 { "1 connector".to_owned() } else { format!("{count} connectors") }
}

fn files(count: usize) -> String {
    if count == 1 { "1 changed file".to_owned() } else { format!("{count} changed files") }
}
