//! `checkvalve registry build`: a registry of the connectors, from their metadata.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::exit::Exit;
use super::select::{CliError, Global, repository_file, shown};
use crate::domain::registry::{Image, Invalid, Listing, Registries};
use crate::git::LocalRepo;
use crate::service::planning::registries_here;

#[derive(Debug, Args)]
pub struct RegistryArgs {
    #[command(subcommand)]
    command: RegistryCommand,
}

#[derive(Debug, Subcommand)]
enum RegistryCommand {
    /// Write `registry.json`, `oss_registry.json`, `cloud_registry.json` and `invalid.json`
    Build(BuildArgs),
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// The folder to write to; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Look at this commit [default: the work tree; in a bare repository HEAD]
    #[arg(long, value_name = "REF")]
    head: Option<String>,
    /// Fill in `spec` from `DIR/<dockerRepository>/<dockerImageTag>/spec.json` where there is one
    #[arg(long, value_name = "DIR")]
    specs: Option<PathBuf>,
    /// The address below which the tree's files are found, for `iconUrl`
    #[arg(long, value_name = "URL")]
    icon_base: Option<String>,
    /// End with status 0 even if connectors were left out for invalid metadata
    #[arg(long)]
    allow_invalid: bool,
}

pub async fn run(
    args: &RegistryArgs,
    global: &Global,
    out: &mut impl Write,
) -> Result<Exit, CliError> {
    let RegistryCommand::Build(args) = &args.command;
    build(args, global, out).await
}

async fn build(args: &BuildArgs, global: &Global, out: &mut impl Write) -> Result<Exit, CliError> {
    if let Some(specs) = args.specs.as_ref().filter(|specs| !specs.is_dir()) {
        return Err(CliError::Usage(format!("`--specs {}` is no folder", specs.display())));
    }
    let repo = LocalRepo::discover(global.repo.as_deref()).await?;
    let head = match &args.head {
        Some(head) => Some(repo.resolve(head).await?),
        None => None,
    };
    let file = global.pipelines.as_deref().map(repository_file).transpose()?;
    let icons = args.icon_base.as_deref();
    let built = registries_here(&repo, head.as_ref(), file.as_ref(), icons).await?;
    let mut registries = built.ok_or_else(|| {
        CliError::Configuration(
            "no connector here has Airbyte's metadata (a `metadata.yaml` with \
             `metadataSpecVersion` and `data`), which is what a registry is made from"
                .to_owned(),
        )
    })?;
    if let Some(specs) = &args.specs {
        let found = read_specs(specs, &registries)?;
        registries.fill_in(&found);
    }
    write_all(&args.out, &registries)?;
    tell(&args.out, &registries, out)?;
    let complete = registries.invalid.is_empty() || args.allow_invalid;
    Ok(if complete { Exit::Passed } else { Exit::Failed })
}

/// The specs that the folder has of the images that the registries name.
fn read_specs(folder: &Path, registries: &Registries) -> Result<BTreeMap<Image, Value>, CliError> {
    let mut found = BTreeMap::new();
    for (repository, tag) in registries.images() {
        // Both were checked: neither leads out of the folder.
        let path = folder.join(&repository).join(&tag).join("spec.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let text = format!("`{}` can't be read: {error}", path.display());
                return Err(CliError::CouldNotRun(text));
            }
        };
        let spec = spec(&text).map_err(|why| {
            CliError::Configuration(format!(
                "`{}` {why}; write what the image's `spec` printed, or take the file away",
                path.display()
            ))
        })?;
        found.insert((repository, tag), spec);
    }
    Ok(found)
}

/// A spec, by itself or in the message in which a connector prints it.
fn spec(text: &[u8]) -> Result<Value, String> {
    let mut value: Value =
        serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}"))?;
    if value.get("type").and_then(Value::as_str) == Some("SPEC")
        && let Some(inner) = value.get_mut("spec")
    {
        value = inner.take();
    }
    if value.get("connectionSpecification").is_some_and(Value::is_object) {
        Ok(value)
    } else {
        Err("has no `connectionSpecification`".to_owned())
    }
}

/// `invalid.json`.
#[derive(Serialize)]
struct LeftOut<'r> {
    invalid: &'r [Invalid],
}

/// Writes every file beside its place first, then moves them there: a reader sees the old file or
/// the new one, and a full disk leaves the old ones.
fn write_all(folder: &Path, registries: &Registries) -> Result<(), CliError> {
    let failed = |path: &Path, error: &io::Error| {
        let text = format!("`{}` can't be written: {error}; see `--out`", path.display());
        CliError::CouldNotRun(text)
    };
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let left_out = LeftOut { invalid: &registries.invalid };
    let files = [
        ("invalid.json", json(&left_out)),
        ("oss_registry.json", json(&registries.oss)),
        ("cloud_registry.json", json(&registries.cloud)),
        ("registry.json", json(&registries.neutral)),
    ];
    let mut written = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        let file = text.and_then(|text| write_beside(folder, &text));
        written.push((file.map_err(|error| failed(&path, &error))?, path));
    }
    for (file, path) in written {
        file.persist(&path).map_err(|error| failed(&path, &error.error))?;
    }
    Ok(())
}

fn json<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

fn write_beside(folder: &Path, text: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    // Readable by all whom the umask lets: registries are served.
    let open = fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(open).tempfile_in(folder)?;
    file.write_all(text)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// How many findings are printed; `invalid.json` has all.
const SHOWN: usize = 100;

fn tell(folder: &Path, registries: &Registries, out: &mut impl Write) -> Result<(), CliError> {
    let findings = registries
        .invalid
        .iter()
        .flat_map(|one| one.findings.iter().map(|finding| (one.connector.as_str(), finding)));
    let findings: Vec<_> = findings.collect();
    let mut errors = io::stderr().lock();
    // Who can't read them still has `invalid.json`.
    for (connector, finding) in findings.iter().take(SHOWN) {
        let (connector, finding) = (shown(connector), shown(&finding.to_string()));
        let _ = writeln!(errors, "left out: {connector}: {finding}");
    }
    if findings.len() > SHOWN {
        let _ = writeln!(errors, "… and {} more in invalid.json", findings.len() - SHOWN);
    }
    let uncommitted = |entry: &&BTreeMap<String, Value>| entry["generated"]["git"].is_null();
    let neutral = &registries.neutral;
    let unknown = neutral.sources.iter().chain(&neutral.destinations).filter(uncommitted).count();
    if unknown > 0 {
        let _ = writeln!(
            errors,
            "note: `generated.git` of {unknown} is null: not committed yet, or older than what \
             this clone has of the history"
        );
    }
    for (name, listing) in [
        ("registry.json", &registries.neutral),
        ("oss_registry.json", &registries.oss),
        ("cloud_registry.json", &registries.cloud),
    ] {
        writeln!(out, "{}: {}", folder.join(name).display(), counted(listing))?;
    }
    let left_out = registries.invalid.len();
    writeln!(out, "{}: {left_out} left out", folder.join("invalid.json").display())?;
    Ok(())
}

fn counted(listing: &Listing) -> String {
    let count =
        |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let (sources, destinations) = (listing.sources.len(), listing.destinations.len());
    format!("{}, {}", count(sources, "source"), count(destinations, "destination"))
}
