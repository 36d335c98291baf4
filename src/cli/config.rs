//! `checkvalve config`: is the repository file right, what does it mean, what may stand in it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::schema;
use super::select::{CliError, Global, print_json, shown};
use crate::config::repository::{FILE, Invalid, Resolved, decode, resolved};
use crate::domain::catalog::{Draft, Paths, discover};
use crate::domain::rules::{Derivation, RepoRules};
use crate::git::{EntryKind, GitError, LocalRepo, TreeEntry};

#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Find every error of a repository file, each with its line and the mend
    Check {
        /// The file [default: `--pipelines`, or the repository's `.github/checkvalve.yml`]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of the repository file, for editors
    Schema,
    /// Print what holds: the file with its preset written out, each value with its origin
    Show {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(args: &ConfigArgs, global: &Global, out: &mut impl Write) -> Result<(), CliError> {
    match &args.command {
        ConfigCommand::Check { file } => {
            let looked = Looked::at(file.as_deref(), global).await?;
            let resolved = looked.resolved()?;
            summary(&looked, &resolved, out)
        }
        ConfigCommand::Schema => print_json(out, &schema::repository_file()),
        ConfigCommand::Show { json } => {
            let resolved = Looked::at(None, global).await?.resolved()?;
            if *json {
                return print_json(out, &resolved.to_json());
            }
            Ok(out.write_all(resolved.to_yaml().as_bytes())?)
        }
    }
}

/// The file that is asked about, and the tree that it is for, as far as there are any.
struct Looked {
    /// By the name that errors use.
    file: Option<(String, Vec<u8>)>,
    tree: Option<Tree>,
}

struct Tree {
    paths: Paths,
    /// In words.
    at: String,
}

impl Looked {
    /// A file given by name needs no repository, and is read for the one that one stands in, if
    /// there is one.
    async fn at(file: Option<&Path>, global: &Global) -> Result<Self, CliError> {
        let named = file.or(global.pipelines.as_deref());
        let named = named.map(|path| Ok::<_, CliError>((path.display().to_string(), read(path)?)));
        let named = named.transpose()?;
        let repo = match LocalRepo::discover(global.repo.as_deref()).await {
            Ok(repo) => repo,
            Err(GitError::NoRepository(_)) if named.is_some() && global.repo.is_none() => {
                return Ok(Self { file: named, tree: None });
            }
            Err(error) => return Err(error.into()),
        };
        let (entries, at) = if repo.work_tree().is_some() {
            (repo.files(&repo.unstaged().await?).await?, "in the work tree".to_owned())
        } else {
            let head = repo.resolve("HEAD").await?;
            (repo.objects().tree(&head).await?, format!("at {}", head.short()))
        };
        let file = match named {
            Some(named) => Some(named),
            None => own_file(&repo, &entries).await?.map(|bytes| (FILE.to_owned(), bytes)),
        };
        // A submodule's path is a folder here: nothing in it is this repository's.
        let files = entries.into_iter().filter(|entry| entry.kind != EntryKind::Submodule);
        let paths = Paths::new(files.map(|entry| entry.path).collect());
        Ok(Self { file, tree: Some(Tree { paths, at }) })
    }

    fn resolved(&self) -> Result<Resolved, CliError> {
        let (at, paths) = match &self.tree {
            Some(tree) => (tree.at.as_str(), Some(&tree.paths)),
            None => ("by itself", None),
        };
        let wrong = |invalid: Invalid| CliError::Configuration(errors(&invalid));
        let text = match &self.file {
            Some((name, bytes)) => {
                let text = decode(name, bytes.clone()).map_err(wrong)?;
                Some((name.as_str(), text))
            }
            None => None,
        };
        let file = text.as_ref().map(|(name, text)| (*name, text.as_str()));
        resolved(file, at, paths).map_err(wrong)
    }
}

fn errors(invalid: &Invalid) -> String {
    let count = match invalid.errors.len() {
        1 => "one error".to_owned(),
        many => format!("{many} errors"),
    };
    format!("{count} in {}\n\n{invalid}", shown(&invalid.file))
}

/// One byte more than a repository file may have tells that it has too many.
const LARGEST: u64 = 1024 * 1024 + 1;

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let done = File::open(path).and_then(|file| file.take(LARGEST).read_to_end(&mut bytes));
    match done {
        Ok(_) => Ok(bytes),
        Err(error) => Err(CliError::Usage(format!("`{}` can't be read: {error}", path.display()))),
    }
}

/// The repository's own file, from the work tree or from the commit.
async fn own_file(repo: &LocalRepo, entries: &[TreeEntry]) -> Result<Option<Vec<u8>>, CliError> {
    if let Some(top) = repo.work_tree() {
        let path = top.join(FILE);
        return match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Ok(_) | Err(_) => read(&path).map(Some),
        };
    }
    let Some(entry) = entries.iter().find(|entry| entry.path == FILE) else { return Ok(None) };
    let largest = usize::try_from(LARGEST).unwrap_or(usize::MAX);
    Ok(repo.objects().read(&entry.oid, largest).await?)
}

/// What the file means, in a few lines.
fn summary(looked: &Looked, resolved: &Resolved, out: &mut impl Write) -> Result<(), CliError> {
    let rules = &resolved.rules;
    match &looked.file {
        Some((name, _)) => writeln!(out, "{} is right", shown(name))?,
        None => writeln!(out, "there is no {FILE}, and none is needed")?,
    }
    writeln!(out, "configuration: {}", shown(&rules.origin))?;
    match &looked.tree {
        Some(tree) => found(rules, &discover(rules, &tree.paths), out)?,
        None => rule_lines(rules, None, out)?,
    }
    let pipelines = rules.pipelines.len();
    writeln!(out, "{}", count(pipelines, "pipeline"))?;
    for pipeline in &rules.pipelines {
        let steps = count(pipeline.steps.len(), "step");
        let on: Vec<&str> = pipeline.on.iter().map(|event| event.as_str()).collect();
        let usual = on == ["pull_request", "merge_group"];
        let on = if usual { String::new() } else { format!(" on {}", on.join(", ")) };
        writeln!(out, "  {steps} for {}{on}", shown(&pipeline.selector.to_string()))?;
    }
    if !rules.schedules.is_empty() {
        writeln!(out, "{}", count(rules.schedules.len(), "schedule"))?;
    }
    for schedule in &rules.schedules {
        writeln!(out, "  {} for {}", schedule.cron, shown(&schedule.select.to_string()))?;
    }
    writeln!(out, "a changed path that nothing claims: {}", rules.unclaimed)?;
    for note in &rules.notes {
        writeln!(out, "note: {}", shown(note))?;
    }
    Ok(())
}

fn found(rules: &RepoRules, draft: &Draft<'_>, out: &mut impl Write) -> Result<(), CliError> {
    let by_rule = draft.by_rule();
    let connectors: usize = by_rule.iter().sum();
    if !rules.connectors.is_empty() {
        writeln!(out, "{}", count(connectors, "connector"))?;
        rule_lines(rules, Some(&by_rule), out)?;
    }
    if !rules.components.is_empty() {
        let there: BTreeSet<&str> = draft.components().collect();
        writeln!(out, "{}", count(there.len(), "component"))?;
        for component in &rules.components {
            let name = component.name.as_str();
            let missing = if there.contains(name) { "" } else { ": nothing of it is here" };
            writeln!(out, "  {}{missing}", shown(name))?;
        }
    }
    Ok(())
}

/// A line for each connector rule: how many it found, if a tree was looked at.
fn rule_lines(
    rules: &RepoRules,
    by_rule: Option<&[usize]>,
    out: &mut impl Write,
) -> Result<(), CliError> {
    for (at, rule) in rules.connectors.iter().enumerate() {
        let found = by_rule.and_then(|counts| counts.get(at));
        let found = found.map(|found| format!("{found} by ")).unwrap_or_default();
        let mut facts = vec![format!("{found}{}", rule.marker)];
        facts.extend(rule.kind.iter().map(|kind| format!("kind {kind}")));
        if !rule.depends.is_empty() {
            let depends: Vec<String> = rule.depends.iter().map(Derivation::to_string).collect();
            facts.push(format!("depends {}", depends.join(", ")));
        }
        writeln!(out, "  {}", shown(&facts.join(" · ")))?;
    }
    Ok(())
}

fn count(of: usize, what: &str) -> String {
    if of == 1 { format!("1 {what}") } else { format!("{of} {what}s") }
}
