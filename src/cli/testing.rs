//! `test`: the selected connectors' pipelines, run here, with the server's plan and verdict.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;

use super::engine::docker_options;
use super::exit::{Exit, UsageError};
use super::reports;
use super::results::{Results, repository_id};
use super::select::{CliError, Global, SelectArgs, Selected};
use super::terminal::{Format, Terminal};
use super::test::renewals::{LocalRenewals, latest};
use super::test::{ExecutorName, LocalJob, LocalOptions, RunArgs, Verdict, interrupts, run_local};
use crate::ambient;
use crate::config::server::{ExecutorKind, Settings};
use crate::domain::cache::Reuse;
use crate::domain::ids::RunId;
use crate::domain::names::{RepoName, Sha, StepId};
use crate::domain::objects;
use crate::domain::pipeline::StepSpec;
use crate::domain::plan::Inputs;
use crate::domain::run::Repository;
use crate::domain::secret::JobSecrets;
use crate::domain::trigger::{Scope, Trigger};
use crate::exec::docker::Docker;
use crate::exec::host::Host;
use crate::exec::{Executor as _, Executors, SourceArchive, Trust};
use crate::git::LocalRepo;
use crate::secrets::Providers;
use crate::service::planning::{Planned, PlannedJob, lean, plans, sources_here};
use crate::service::secrets::{Files, Wanted, committed, on_disk};
use crate::store::NewRun;

/// Bytes of what earlier calls left to heirs.
const SNAPSHOTS: u64 = 20 << 30;

#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    run: RunArgs,
}

pub async fn run(args: &TestArgs, global: &Global, settings: &Settings) -> anyhow::Result<Exit> {
    // From the first moment on: what is made ready may take long, too.
    let mut interrupts = interrupts();
    let terminal = Terminal::stdout(args.run.format);
    let ready = tokio::select! {
        ready = Box::pin(prepare(args, global, settings, &terminal)) => ready?,
        Some(()) = interrupts.recv() => {
            terminal.say("interrupted");
            return Ok(Exit::Interrupted);
        }
    };
    let Some(Ready { executor, jobs, planned, here, options, spool: _spool }) = ready else {
        return Ok(Exit::Passed);
    };
    let result = run_local(executor.clone(), jobs, &options, &terminal, &mut interrupts)
        .await
        .map_err(|error| UsageError(error.to_string()))?;
    let run = reports::as_run(&here, &planned, &result);
    let names = run.jobs.iter().map(|job| job.connector.clone()).collect();
    let definition = match planned.definition {
        Some(made_of) => {
            let made_of = Box::new(made_of.of_connectors(names));
            Some(Box::pin(lean(made_of, run.jobs.iter().map(|job| &job.plan))).await)
        }
        None => None,
    };
    tokio::select! {
        written = reports::write(&args.run, settings, (&run, definition.as_deref()), &options) => written?,
        Some(()) = interrupts.recv() => return Ok(Exit::Interrupted),
    }
    if options.results.is_some() {
        trim(&executor, settings).await;
    }
    Ok(match result.verdict {
        Verdict::Passed => Exit::Passed,
        Verdict::Failed => Exit::Failed,
        Verdict::CouldNotRun => Exit::CouldNotRun,
        Verdict::Interrupted => Exit::Interrupted,
    })
}

/// All that is needed to run.
struct Ready {
    executor: Executors,
    jobs: Vec<LocalJob>,
    planned: Planned,
    here: Here,
    options: LocalOptions,
    /// Where the sources lie until the end.
    spool: tempfile::TempDir,
}

/// `None`: there is nothing to run.
async fn prepare(
    args: &TestArgs,
    global: &Global,
    settings: &Settings,
    terminal: &Terminal,
) -> anyhow::Result<Option<Ready>> {
    let selected = args.select.select(global).await?;
    let planned = plans(&selected.survey, &selected.names).map_err(CliError::from)?;
    for name in &planned.selection.without_pipeline {
        terminal.say(&format!("{name} has no pipeline: nothing is run for it"));
    }
    if planned.jobs.is_empty() && args.run.format != Some(Format::Json) {
        terminal.say("nothing is selected: nothing to run");
        return Ok(None);
    }
    if let Some(dir) = &args.run.report_dir {
        tokio::fs::create_dir_all(dir)
            .await
            .with_context(|| format!("can't make the folder of --report-dir, {}", dir.display()))?;
    }
    // To run nothing, no engine is needed.
    let executor = match planned.jobs.as_slice() {
        [] => Executors::Host(Host::default()),
        _ => executor(args.run.executor, settings).await?,
    };
    let spool = tempfile::Builder::new().prefix("checkvalve-test-").tempdir()?;
    let here = Here::of(&selected.repo, args.run.is_ci).await?;
    let jobs = local_jobs(args, settings, &selected, (&here, &planned, spool.path())).await?;
    let mut options = LocalOptions::new("checkvalve-test", &args.run);
    options.image_tag = selected.survey.rules().preset.image_tag();
    // What is uploaded holds the logs, whether or not they are to stay here.
    options.keep_dir = args.run.is_ci.then(|| spool.path().join("reports"));
    // Where nothing is known of what steps run on, there are no results either.
    if executor.identity().is_some() {
        options.results = results(settings, &here, options.reuse, terminal).await;
    }
    if options.results.is_some() {
        for job in jobs.iter().filter(|job| !job.known) {
            terminal.say(&format!(
                "{}: what is tested is not what was planned, since its files changed meanwhile or \
                 are not as HEAD has them; no result of it is reused or kept",
                job.plan.connector()
            ));
        }
    }
    Ok(Some(Ready { executor, jobs, planned, here, options, spool }))
}

async fn local_jobs(
    args: &TestArgs,
    settings: &Settings,
    selected: &Selected,
    (here, planned, spool): (&Here, &Planned, &Path),
) -> anyhow::Result<Vec<LocalJob>> {
    let repo = &selected.repo;
    let remote = remote_secrets(&args.run, settings)?;
    let providers = Arc::new(super::secrets::providers(settings, !remote)?);
    let mut jobs = Vec::new();
    for job in &planned.jobs {
        let mut local = local_job(here, repo, job, spool).await?;
        let folder = local.source.folder_of(local.plan.root())?;
        local.secrets = secrets(here, repo, (&local, &folder), (&providers, &args.run)).await?;
        let below = repo.work_tree().map(|top| top.join(&folder).join("secrets"));
        let runs = |spec: &StepSpec| !is_skipped(&args.run, spec);
        let access = (providers.clone(), remote);
        local.renewals = Some(Arc::new(LocalRenewals::new(access, &local.plan, below, runs)));
        jobs.push(local);
    }
    // Read again after it was packed: what was another thing in between is not to be known by
    // either name.
    let commit = (!here.local).then_some(&here.head);
    let inputs: Vec<&Inputs> = jobs.iter().map(|job| job.plan.inputs()).collect();
    let packed = sources_here(repo, commit, &inputs).await?;
    for (job, packed) in jobs.iter_mut().zip(packed) {
        job.known = *job.plan.sources() == packed;
    }
    Ok(jobs)
}

/// Results of earlier calls. Without them everything runs, which is no reason not to.
async fn results(
    settings: &Settings,
    here: &Here,
    reuse: Reuse,
    terminal: &Terminal,
) -> Option<Results> {
    let run = NewRun {
        id: RunId::new(ambient::ulid()),
        repository: here.repository(),
        pull: None,
        title: here.branch.clone(),
        head_ref: here.branch.clone(),
        base_ref: String::new(),
        head_sha: here.head.clone(),
        base_sha: here.head.clone(),
        trigger: Trigger::Manual,
        cause: ambient::ulid().to_string(),
        actor: String::new(),
        scope: Scope::Affected,
        reuse,
        trust: crate::domain::trust::Trust::Trusted,
        problem: None,
    };
    match Results::open(settings, &run).await {
        Ok(results) => Some(results),
        Err(error) => {
            terminal.say(&format!("nothing is reused, and nothing is kept for later: {error:#}"));
            None
        }
    }
}

/// Removes what long steps left to their heirs in earlier calls, if it is old or too much.
async fn trim(executor: &Executors, settings: &Settings) {
    let Executors::Docker(docker) = executor else { return };
    let Ok(age) = settings.retention() else { return };
    if let Err(error) = docker.reaper().trim_snapshots(age, SNAPSHOTS).await {
        tracing::warn!("old snapshots are kept: {error}");
    }
}

/// Is Secret Manager asked, or do `secrets/` folders stand in for it?
fn remote_secrets(run: &RunArgs, settings: &Settings) -> Result<bool, UsageError> {
    let credentials = settings.text("GCP_GSM_CREDENTIALS").is_some();
    let remote = run.use_remote_secrets.unwrap_or(credentials);
    if remote && !credentials {
        return Err(UsageError(
            "--use-remote-secrets: GCP_GSM_CREDENTIALS is not set; set it to a service account's \
             key as JSON, or say --use-remote-secrets=false to use `secrets/` folders"
                .to_owned(),
        ));
    }
    Ok(remote)
}

/// What the job's steps are given in confidence. It is one's own machine: nothing needs a grant.
async fn secrets(
    here: &Here,
    repo: &LocalRepo,
    (job, folder): (&LocalJob, &str),
    (providers, run): (&Providers, &RunArgs),
) -> anyhow::Result<JobSecrets> {
    let skipped = |spec: &StepSpec| is_skipped(run, spec);
    let runs = |step: &StepId| !job.plan.step(step).is_some_and(skipped);
    let wanted = Wanted::of(&job.plan, folder, runs);
    let paths = wanted.paths(providers);
    let mut files = Files::new();
    if !here.local {
        files = committed(repo.objects(), &here.head, &paths).await?;
    }
    // `secrets/` folders are in no commit.
    if let Some(top) = repo.work_tree() {
        for (path, bytes) in on_disk(top, &paths)? {
            files.entry(path).or_insert(bytes);
        }
        files.extend(latest((top, folder), &job.plan, providers)?);
    }
    Ok(wanted.bring(providers, &files, |_| None).await.secrets)
}

fn is_skipped(run: &RunArgs, spec: &StepSpec) -> bool {
    run.skip.iter().any(|step| spec.is_called(step.as_str()))
}

async fn executor(name: Option<ExecutorName>, settings: &Settings) -> anyhow::Result<Executors> {
    let kind = match name {
        Some(ExecutorName::Docker) => ExecutorKind::Docker,
        Some(ExecutorName::Host) => ExecutorKind::Host,
        None => settings.executor()?,
    };
    let trust = settings.ca_file().map(|file| Trust::with(&file)).transpose()?;
    match kind {
        ExecutorKind::Host => Ok(Executors::Host(Host::default().with_trust(trust))),
        ExecutorKind::Docker => {
            let options = docker_options("checkvalve-test", settings, trust);
            let options = options.map_err(UsageError::from)?;
            let docker = Docker::connect(settings.text("DOCKER_HOST"), options).await?;
            Ok(Executors::Docker(docker))
        }
    }
}

/// What is tested: the work tree, or with `--is-ci` the commit as it was pushed.
pub(super) struct Here {
    pub(super) head: Sha,
    /// The work tree is exported, not the commit.
    local: bool,
    name: RepoName,
    pub(super) branch: String,
    /// Where the repository comes from, else where it lies.
    origin: String,
}

impl Here {
    async fn of(repo: &LocalRepo, is_ci: bool) -> anyhow::Result<Self> {
        let head = repo.resolve("HEAD").await?;
        if is_ci {
            repo.fetch_pushed(&head).await.map_err(|error| {
                CliError::CouldNotRun(format!(
                    "--is-ci tests the commit that was pushed, and {} could not be fetched from \
                     origin: {error}",
                    head.short()
                ))
            })?;
        }
        let local = !is_ci && repo.work_tree().is_some();
        let (name, branch) = repo.names().await;
        let place = || repo.objects().place().display().to_string();
        let origin = name.clone().unwrap_or_else(place);
        let fallback = || "local/repository".parse();
        let name = name.and_then(|name| name.parse().ok()).map_or_else(fallback, Ok)?;
        let branch = branch.unwrap_or_else(|| "HEAD".to_owned());
        Ok(Self { head, local, name, branch, origin })
    }

    pub(super) fn repository(&self) -> Repository {
        let id = repository_id(&self.origin, !self.local);
        Repository { id, name: self.name.clone(), installation: 0, private: false }
    }
}

async fn local_job(
    here: &Here,
    repo: &LocalRepo,
    job: &PlannedJob,
    spool: &Path,
) -> anyhow::Result<LocalJob> {
    let tar = spool.join(format!("{}.tar", objects::segment(job.connector.as_str())));
    if here.local {
        repo.export_work_tree(job.plan.inputs(), &tar).await?;
    } else {
        repo.objects().export(&here.head, job.plan.inputs(), &tar).await?;
    }
    let env = BTreeMap::from([("CHECKVALVE_SHA".to_owned(), here.head.to_string())]);
    let (plan, source) = (job.plan.clone(), Arc::new(SourceArchive { tar }));
    let secrets = JobSecrets::default();
    Ok(LocalJob { plan, source, env, secrets, known: false, renewals: None })
}

/// RUN's flags may also stand before the subcommand, as teams have them in their scripts: they are
/// moved behind it.
pub fn run_flags_after_subcommand(arguments: Vec<OsString>) -> Vec<OsString> {
    const COMMANDS: &[&str] = &["test", "test-connectors"];
    /// The flags, and whether the next argument is their value.
    const FLAGS: &[(&str, bool)] = &[
        ("--executor", true),
        ("--only", true),
        ("--skip", true),
        ("--fail-fast", false),
        ("--no-cache", false),
        ("--concurrency", true),
        ("--report-dir", true),
        ("--use-remote-secrets", false),
        ("--is-ci", false),
        ("--is-local", false),
        ("--format", true),
    ];
    let command = arguments.iter().position(|a| COMMANDS.iter().any(|command| a == command));
    let Some(command) = command else { return arguments };
    let (mut before, mut moved) = (Vec::new(), Vec::new());
    let mut rest = arguments[..command].iter().cloned().peekable();
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy().into_owned();
        let name = text.split('=').next().unwrap_or_default();
        let Some((_, valued)) = FLAGS.iter().find(|(flag, _)| *flag == name) else {
            before.push(argument);
            continue;
        };
        moved.push(argument);
        if *valued && !text.contains('=') {
            moved.extend(rest.next());
        }
    }
    before.push(arguments[command].clone());
    before.extend(moved);
    before.extend(arguments[command + 1..].iter().cloned());
    before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(line: &str) -> String {
        let arguments = line.split(' ').map(OsString::from).collect();
        let moved = run_flags_after_subcommand(arguments);
        moved.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn flags_before_the_subcommand_are_understood() {
        assert_eq!(
            moved("connectors-ci --is-ci --use-remote-secrets=No test-connectors --name a"),
            "connectors-ci test-connectors --is-ci --use-remote-secrets=No --name a"
        );
        assert_eq!(
            moved("checkvalve --repo /r --concurrency 3 test --all"),
            "checkvalve --repo /r test --concurrency 3 --all"
        );
        assert_eq!(moved("checkvalve list --all"), "checkvalve list --all");
    }
}
