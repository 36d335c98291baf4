//! Which connectors a command is about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::ambient;
use crate::domain::catalog::Connector;
use crate::domain::names::{ConnectorName, Sha};
use crate::domain::rules::{Pattern, Selector, closest_few};
use crate::git::{GitError, LocalRepo};
use crate::service::planning::{
    PlanningError, RepositoryFile, Survey, survey_here, survey_to_replay,
};

/// Options that stand before any subcommand.
#[derive(Debug, Clone, Default)]
pub struct Global {
    /// The repository; default: the one that one stands in.
    pub repo: Option<PathBuf>,
    /// A repository file to use instead of the repository's.
    pub pipelines: Option<PathBuf>,
    pub verbose: u8,
    /// Is what is read to be written down, for `replay`?
    pub record: bool,
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What was typed can't be obeyed.
    #[error("{0}")]
    Usage(String),
    /// The repository's configuration is wrong.
    #[error("{0}")]
    Configuration(String),
    /// Engine, network or disk.
    #[error("{0}")]
    CouldNotRun(String),
    /// Standard output is full, or gone: see [`CliError::is_closed_pipe`].
    #[error("the output could not be written: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// The exit status that says so.
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Configuration(_) => 2,
            Self::CouldNotRun(_) | Self::Output(_) => 3,
        }
    }
}

impl CliError {
    /// Whoever reads our output has read enough (`… | head`): no error, and nothing to be said.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<GitError> for CliError {
    fn from(error: GitError) -> Self {
        match error {
            GitError::NoRepository(_)
            | GitError::UnknownRevision(_)
            | GitError::NoBase
            | GitError::Unread { .. }
            | GitError::NoWorkTree => Self::Usage(error.to_string()),
            GitError::NotInstalled(_)
            | GitError::NoAccess { .. }
            | GitError::Vanished { .. }
            | GitError::Network { .. }
            | GitError::DiskFull(_)
            | GitError::TimedOut { .. }
            | GitError::Failed { .. }
            | GitError::Output { .. }
            | GitError::Io { .. } => Self::CouldNotRun(error.to_string()),
        }
    }
}

impl From<PlanningError> for CliError {
    fn from(error: PlanningError) -> Self {
        match error {
            PlanningError::Configuration(problem) => {
                Self::Configuration(format!("{}\n{}", problem.title, problem.text))
            }
            PlanningError::Unknown(_) | PlanningError::NoPipeline(_) => {
                Self::Usage(error.to_string())
            }
            PlanningError::Vanished { .. } => Self::CouldNotRun(error.to_string()),
            PlanningError::Git(error) => error.into(),
        }
    }
}

/// SELECT: AND between the kinds of option, OR within one. `--all` restricts nothing.
#[derive(Debug, Clone, Default, Args)]
pub struct SelectArgs {
    /// Connectors by name, in any case; `*`, `?`, `[…]` and `{a,b}` stand for several
    #[arg(long, value_name = "NAME", num_args = 1.., help_heading = "Select")]
    pub name: Vec<String>,
    /// Connectors of a kind, as the repository file has them
    #[arg(long, value_name = "KIND", num_args = 1.., help_heading = "Select")]
    pub kind: Vec<String>,
    /// Connectors in a language
    #[arg(long, value_name = "LANGUAGE", num_args = 1.., help_heading = "Select")]
    pub language: Vec<String>,
    /// Connectors of a release stage
    #[arg(long, value_name = "STAGE", num_args = 1.., help_heading = "Select")]
    pub release_stage: Vec<String>,
    /// Connectors of a support level
    #[arg(long, value_name = "LEVEL", num_args = 1.., help_heading = "Select")]
    pub support_level: Vec<String>,
    /// Connectors that the change since the base affects: commits, index, work tree and untracked files
    #[arg(long, help_heading = "Select")]
    pub modified: bool,
    /// What `--modified` compares with [default: origin/HEAD, origin/main or origin/master]
    #[arg(long, value_name = "REF", requires = "modified", help_heading = "Select")]
    pub base: Option<String>,
    /// Every connector that the other options leave
    #[arg(long, help_heading = "Select")]
    pub all: bool,
}

/// What SELECT chose, and what it was chosen from.
#[derive(Debug)]
pub struct Selected {
    pub repo: LocalRepo,
    pub survey: Survey,
    pub names: BTreeSet<ConnectorName>,
}

impl SelectArgs {
    fn is_empty(&self) -> bool {
        let filters =
            [&self.name, &self.kind, &self.language, &self.release_stage, &self.support_level];
        filters.into_iter().all(Vec::is_empty) && !self.modified && !self.all
    }

    /// Looks at the repository and chooses.
    pub async fn select(&self, global: &Global) -> Result<Selected, CliError> {
        if self.is_empty() {
            return Err(CliError::Usage(
                "say which connectors: --name, --kind, --language, --release-stage, \
                 --support-level, --modified or --all"
                    .to_owned(),
            ));
        }
        let repo = here(global).await?;
        let base = if self.modified { Some(repo.base(self.base.as_deref()).await?) } else { None };
        let survey = survey(&repo, base.as_ref(), None, global).await?;
        let names = self.choose(&survey)?;
        for note in self.unknown_values(&survey.connectors()) {
            // Who can't read it is not kept from going on.
            let _ = writeln!(io::stderr(), "note: {note}");
        }
        Ok(Selected { repo, survey, names })
    }

    /// Chooses from what is known.
    pub fn choose(&self, survey: &Survey) -> Result<BTreeSet<ConnectorName>, CliError> {
        let wanted = Selector {
            name: self.names(survey)?,
            kind: self.kind.clone(),
            language: self.language.clone(),
            release_stage: self.release_stage.clone(),
            support_level: self.support_level.clone(),
        };
        if self.modified && !survey.impacts.refused.is_empty() {
            return Err(CliError::Configuration(refused(survey)));
        }
        let affected: BTreeSet<&ConnectorName> =
            survey.impacts.to_run().map(|impact| &impact.name).collect();
        let chosen = survey.connectors().into_iter().filter(|connector| {
            wanted.matches(connector) && (!self.modified || affected.contains(&connector.name))
        });
        Ok(chosen.map(|connector| connector.name.clone()).collect())
    }

    /// The names that `--name` stands for. One that stands for none is unknown.
    fn names(&self, survey: &Survey) -> Result<Vec<Pattern>, CliError> {
        let mut names = Vec::new();
        let mut unknown = Vec::new();
        for name in &self.name {
            let before = names.len();
            if let Some(connector) = survey.named(name) {
                names.push(Pattern::literal(connector.name.as_str()));
            } else if name.contains(['*', '?', '[', '{']) {
                let pattern = Pattern::parse(&name.to_lowercase()).map_err(|error| {
                    CliError::Usage(format!("`--name {}`: {error}", shown(name)))
                })?;
                let known = survey.connectors().into_iter().map(|connector| &connector.name);
                let fits = known.filter(|known| pattern.matches(&known.as_str().to_lowercase()));
                names.extend(fits.map(|known| Pattern::literal(known.as_str())));
            }
            if names.len() == before {
                unknown.push(unknown_name(name, survey));
            }
        }
        if unknown.is_empty() { Ok(names) } else { Err(CliError::Usage(unknown.join("\n"))) }
    }

    /// Values of filters that no connector at all has, each with those that there are: probably
    /// not what was meant, but no error.
    fn unknown_values(&self, connectors: &[&Connector]) -> Vec<String> {
        let kind: fn(&Connector) -> Option<&str> = |connector| connector.kind.as_deref();
        let filters = [
            ("kind", &self.kind, kind),
            ("language", &self.language, |connector| connector.attribute("language")),
            ("release-stage", &self.release_stage, |one| one.attribute("release_stage")),
            ("support-level", &self.support_level, |one| one.attribute("support_level")),
        ];
        let mut notes = Vec::new();
        for (filter, wanted, value) in filters {
            let mut there: BTreeMap<&str, usize> = BTreeMap::new();
            for value in connectors.iter().filter_map(|connector| value(connector)) {
                *there.entry(value).or_default() += 1;
            }
            let known = |wanted: &&String| there.keys().any(|v| v.eq_ignore_ascii_case(wanted));
            for wanted in wanted.iter().filter(|wanted| !known(wanted)) {
                let counted =
                    |(value, count): (&&str, &usize)| format!("{} ({count})", shown(value));
                let values: Vec<String> = there.iter().take(VALUES).map(counted).collect();
                let there = match values.as_slice() {
                    [] => "none has any".to_owned(),
                    values => format!("there is {}", values.join(", ")),
                };
                notes.push(format!("no connector has `--{filter} {}`; {there}", shown(wanted)));
            }
        }
        notes
    }
}

/// How many values of a filter are told.
const VALUES: usize = 20;
/// How many names one was perhaps meant to be.
const CLOSEST: usize = 3;

/// The repository that one stands in, or `--repo`'s, with a place for what is read out of it.
pub(super) async fn here(global: &Global) -> Result<LocalRepo, CliError> {
    let repo = LocalRepo::discover(global.repo.as_deref()).await?;
    // A relative one has no meaning, says the convention.
    let given = ambient::env("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let usual = || ambient::env("HOME").map(|home| Path::new(&home).join(".cache"));
    let folder = given.or_else(usual).map(|caches| caches.join("checkvalve"));
    Ok(repo.with_answers_in(folder.as_deref()))
}

/// Surveys the repository with the options that stand before the subcommand.
pub(super) async fn survey(
    repo: &LocalRepo,
    base: Option<&Sha>,
    head: Option<&Sha>,
    global: &Global,
) -> Result<Survey, CliError> {
    let file = global.pipelines.as_deref().map(repository_file).transpose()?;
    if global.record && head.is_none() {
        return Ok(survey_to_replay(repo, base, file.as_ref()).await?);
    }
    Ok(survey_here(repo, base, head, file.as_ref()).await?)
}

pub(super) fn repository_file(path: &Path) -> Result<RepositoryFile, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        CliError::Usage(format!("`--pipelines {}` can't be read: {error}", path.display()))
    })?;
    Ok(RepositoryFile { name: path.display().to_string(), text })
}

pub(super) fn unknown_name(name: &str, survey: &Survey) -> String {
    let known = survey.connectors();
    let names = known.iter().map(|connector| connector.name.as_str());
    let mut text = format!("no connector is called `{}`", shown(name));
    let close = closest_few(name, names.clone(), CLOSEST);
    let close: Vec<String> = close.into_iter().map(|name| format!("`{}`", shown(name))).collect();
    if let Some((last, others)) = close.split_last() {
        let others = others.join(", ");
        let or = if others.is_empty() { "" } else { " or " };
        let _ = write!(text, "; did you mean {others}{or}{last}?");
        return text;
    }
    let lower = name.to_lowercase();
    let part: Vec<String> = names
        .filter(|known| !lower.is_empty() && known.to_lowercase().contains(&lower))
        .take(5)
        .map(|n| format!("`{}`", shown(n)))
        .collect();
    if part.is_empty() {
        let _ = write!(text, "; `list --all` prints the {} that are there", known.len());
    } else {
        let _ = write!(text, "; there is {}", part.join(", "));
    }
    text
}

/// `unclaimed: error` in words.
pub(super) fn refused(survey: &Survey) -> String {
    let paths: Vec<String> = survey.impacts.refused.iter().map(|path| shown(path)).collect();
    format!(
        "the repository file says `unclaimed: error`, and these changed paths belong to nothing:\n  \
         {}\nlet a connector own them, name them under `impact:`, or ignore them",
        paths.join("\n  ")
    )
}

/// A name or path as a terminal may have it: no control characters.
pub(super) fn shown(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let visible = |c: char| {
        if c.is_control() { c.escape_default().collect::<String>() } else { c.to_string() }
    };
    text.chars().map(visible).collect()
}

/// Prints a value as JSON, with a newline.
pub(super) fn print_json<T: serde::Serialize>(
    out: &mut impl Write,
    value: &T,
) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    writeln!(out, "{text}")?;
    Ok(())
}
