//! `checkvalve list`: connectors, with what is known of them.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde::Serialize;

use super::select::{CliError, Global, SelectArgs, Selected, print_json, shown};
use crate::domain::catalog::{Connector, Finding};
use crate::domain::names::ConnectorName;

#[derive(Debug, Clone, Default, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub select: SelectArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A connector as JSON has it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    root: &'a str,
    kind: Option<&'a str>,
    language: Option<&'a str>,
    release_stage: Option<&'a str>,
    support_level: Option<&'a str>,
    version: Option<&'a str>,
    documentation: Option<&'a str>,
    icon: Option<&'a str>,
    archived: bool,
    /// As its metadata calls it.
    title: Option<&'a str>,
    /// Its documentation and its picture in the tree.
    documentation_page: Option<&'a str>,
    icon_file: Option<&'a str>,
    twin: Option<&'a str>,
    attributes: &'a BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Answer<'a> {
    origin: &'a str,
    connectors: Vec<Row<'a>>,
    findings: &'a [Finding],
}

pub async fn run(args: &ListArgs, global: &Global, out: &mut impl Write) -> Result<(), CliError> {
    let selected = args.select.select(global).await?;
    let chosen = chosen(&selected);
    if args.json {
        let answer = Answer {
            origin: &selected.survey.rules().origin,
            connectors: chosen.iter().map(|connector| row(connector)).collect(),
            findings: selected.survey.findings(),
        };
        return print_json(out, &answer);
    }
    table(&chosen, global.verbose > 0, out)?;
    for finding in selected.survey.findings() {
        writeln!(out, "finding: {}: {}", shown(&finding.place()), shown(&finding.told()))?;
    }
    Ok(())
}

fn chosen(selected: &Selected) -> Vec<&Connector> {
    let all = selected.survey.connectors().into_iter();
    all.filter(|connector| selected.names.contains(&connector.name)).collect()
}

fn row(connector: &Connector) -> Row<'_> {
    Row {
        name: connector.name.as_str(),
        root: &connector.root,
        kind: connector.kind.as_deref(),
        language: connector.attribute("language"),
        release_stage: connector.attribute("release_stage"),
        support_level: connector.attribute("support_level"),
        version: connector.attribute("version"),
        documentation: connector.attribute("documentation"),
        icon: connector.attribute("icon"),
        archived: connector.archived,
        title: connector.attribute("title"),
        documentation_page: connector.page.as_deref(),
        icon_file: connector.icon.as_deref(),
        twin: connector.twin.as_ref().map(ConnectorName::as_str),
        attributes: &connector.attributes,
    }
}

/// Columns as wide as their widest cell; columns that nobody fills are left out. What makes lines
/// long (title, documentation, picture) is printed to those who want to see more.
fn table(connectors: &[&Connector], more: bool, out: &mut impl Write) -> Result<(), CliError> {
    if connectors.is_empty() {
        writeln!(out, "no connector is selected")?;
        return Ok(());
    }
    let cells = |connector: &&Connector| {
        let row = row(connector);
        let mut cells = vec![Some(row.name)];
        cells.extend([row.kind, row.language, row.support_level, row.release_stage, row.version]);
        cells.push(Some(row.root));
        if more {
            let documentation = row.documentation_page.or(row.documentation);
            cells.extend([row.title, documentation, row.icon_file.or(row.icon)]);
        }
        cells.into_iter().map(|cell| shown(cell.unwrap_or_default())).collect()
    };
    let rows: Vec<Vec<String>> = connectors.iter().map(cells).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let filled = row.iter().zip(&widths).filter(|(_, width)| **width > 0);
        let line: Vec<String> = filled.map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", line.join("  ").trim_end())?;
    }
    Ok(())
}
