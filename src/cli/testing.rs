//! `test`: the selected connectors' pipelines, run here, with the server's plan and verdict.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;

use super::exit::{Exit, UsageError};
use super::select::{CliError, Global, SelectArgs};
use super::terminal::{Format, Terminal};
use super::test::{
    ExecutorName, LocalDone, LocalJob, LocalOptions, LocalResult, RunArgs, Verdict, interrupts,
    run_local,
};
use crate::ambient;
use crate::blobs::{Blobs, BlobsUrl};
use crate::config::server::{ExecutorKind, Settings};
use crate::domain::cache::Reuse;
use crate::domain::ids::RunId;
use crate::domain::links::Links;
use crate::domain::names::{ConnectorName, RepoName, Sha, StepId};
use crate::domain::objects;
use crate::domain::run::{Job, Repository, Run, Selection};
use crate::domain::secret::JobSecrets;
use crate::domain::state::{Conclusion, RunState};
use crate::domain::trigger::{Scope, Trigger};
use crate::exec::docker::{Docker, DockerOptions};
use crate::exec::host::Host;
use crate::exec::{Executors, SourceArchive, Trust};
use crate::git::LocalRepo;
use crate::render::{graph, report, timeline};
use crate::secrets::Providers;
use crate::service::planning::{Planned, PlannedJob, plans};
use crate::service::secrets::{Files, Wanted, committed, on_disk};

const TEXT: &str = "text/plain; charset=utf-8";

#[derive(Debug, Args)]
pub struct TestArgs {
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    run: RunArgs,
}

pub async fn run(args: &TestArgs, global: &Global, settings: &Settings) -> anyhow::Result<Exit> {
    let selected = args.select.select(global).await?;
    let planned = plans(&selected.survey, &selected.names).map_err(CliError::from)?;
    let terminal = Terminal::stdout(args.run.format);
    for name in &planned.selection.without_pipeline {
        terminal.say(&format!("{name} has no pipeline: nothing is run for it"));
    }
    if planned.jobs.is_empty() && args.run.format != Some(Format::Json) {
        terminal.say("nothing is selected: nothing to run");
        return Ok(Exit::Passed);
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
    let remote = remote_secrets(&args.run, settings)?;
    let providers = super::secrets::providers(settings, !remote)?;
    let mut jobs = Vec::new();
    for job in &planned.jobs {
        let mut local = local_job(&here, &selected.repo, job, spool.path()).await?;
        local.secrets = secrets(&here, &selected.repo, &local, (&providers, &args.run)).await?;
        jobs.push(local);
    }
    let mut options = LocalOptions::new("checkvalve-test", &args.run);
    options.image_tag = selected.survey.rules().preset.image_tag();
    // What is uploaded holds the logs, whether or not they are to stay here.
    options.keep_dir = args.run.is_ci.then(|| spool.path().join("reports"));
    let result = run_local(executor, jobs, &options, &terminal, interrupts())
        .await
        .map_err(|error| UsageError(error.to_string()))?;
    reports(args, settings, &as_run(&here, &planned, &result), &options).await?;
    Ok(match result.verdict {
        Verdict::Passed => Exit::Passed,
        Verdict::Failed => Exit::Failed,
        Verdict::CouldNotRun => Exit::CouldNotRun,
        Verdict::Interrupted => Exit::Interrupted,
    })
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
    job: &LocalJob,
    (providers, run): (&Providers, &RunArgs),
) -> anyhow::Result<JobSecrets> {
    let folder = job.source.folder_of(job.plan.root())?;
    let runs = |step: &StepId| !run.skip.contains(step);
    let wanted = Wanted::of(&job.plan, &folder, runs);
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
    }
    Ok(wanted.bring(providers, &files, |_| None).await.secrets)
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
            let options = DockerOptions { trust, ..DockerOptions::new("checkvalve-test") };
            let docker = Docker::connect(settings.text("DOCKER_HOST"), options).await?;
            Ok(Executors::Docker(docker))
        }
    }
}

/// What is tested: the work tree, or with `--is-ci` the commit as it was pushed.
struct Here {
    head: Sha,
    /// The work tree is exported, not the commit.
    local: bool,
    name: RepoName,
    branch: String,
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
        let fallback = || "local/repository".parse();
        let name = name.and_then(|name| name.parse().ok()).map_or_else(fallback, Ok)?;
        Ok(Self { head, local, name, branch: branch.unwrap_or_else(|| "HEAD".to_owned()) })
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
    Ok(LocalJob { plan, source, env, secrets: JobSecrets::default() })
}

/// Writes the reports into `--report-dir`, and with `--is-ci` uploads them.
async fn reports(
    args: &TestArgs,
    settings: &Settings,
    run: &Run,
    options: &LocalOptions,
) -> anyhow::Result<()> {
    let links = Links { public: String::new(), github: settings.github_url()? };
    let Some(kept) = options.report_dir.as_ref().or(options.keep_dir.as_ref()) else {
        return Ok(());
    };
    let files = report_files(run, kept, &links).await;
    if let Some(dir) = &args.run.report_dir {
        for (name, bytes, _) in &files {
            let path = dir.join(name);
            let folder = path.parent().unwrap_or(dir);
            tokio::fs::create_dir_all(folder).await?;
            tokio::fs::write(&path, bytes)
                .await
                .with_context(|| format!("can't write {}", path.display()))?;
        }
    }
    if args.run.is_ci {
        upload(settings, run, kept, files).await.context("the reports could not be uploaded")?;
    }
    Ok(())
}

/// Stores what a server would store of such a run, under the same names.
async fn upload(
    settings: &Settings,
    run: &Run,
    kept: &Path,
    files: Vec<ReportFile>,
) -> anyhow::Result<()> {
    let state = settings.state_dir(ambient::env)?;
    let url: BlobsUrl = settings.store_url(&state).parse()?;
    let blobs = Blobs::open(&url, |name| settings.text(name).map(str::to_owned)).await?;
    let prefix = objects::run_prefix(run);
    for (name, bytes, kind) in files {
        blobs.put(&format!("{prefix}/{name}"), bytes, kind).await?;
    }
    for job in &run.jobs {
        let folder = objects::segment(job.connector.as_str());
        let mut names = vec![("log.txt".to_owned(), TEXT)];
        for step in &job.steps {
            if step.facts.log.is_some() {
                names.push((objects::step_log(&step.id, step.attempt), TEXT));
            }
            let key = |path: &str| objects::step_artifact(&step.id, step.attempt, path);
            let artifacts = step.facts.artifacts.iter().map(|artifact| key(&artifact.path));
            names.extend(artifacts.map(|name| (name, "application/octet-stream")));
        }
        for (name, kind) in names {
            let name = format!("{folder}/{name}");
            blobs.put_file(&format!("{prefix}/{name}"), &kept.join(&name), kind).await?;
        }
    }
    Ok(())
}

type ReportFile = (String, Bytes, &'static str);

/// Every report of the run: its name below the run's folder, its bytes and content type. Logs that
/// were written into `dir` are quoted in the HTML.
async fn report_files(run: &Run, dir: &Path, links: &Links) -> Vec<ReportFile> {
    let json = |value: &serde_json::Value| {
        Bytes::from(serde_json::to_string_pretty(value).unwrap_or_default() + "\n")
    };
    let html = "text/html; charset=utf-8";
    let mut files = vec![
        ("index.html".to_owned(), report::index_html(run, links).into(), html),
        ("run.json".to_owned(), json(&report::run_json(run, links)), "application/json"),
        ("replay.json".to_owned(), json(&report::replay_json(run)), "application/json"),
    ];
    for job in &run.jobs {
        let folder = objects::segment(job.connector.as_str());
        let logs = logs_of(job, &dir.join(&folder)).await;
        let mut add =
            |name: &str, bytes: Bytes, kind| files.push((format!("{folder}/{name}"), bytes, kind));
        add("report.json", json(&report::job_json(run, job, links)), "application/json");
        add("report.html", report::job_html(run, job, links, &logs).into(), html);
        add("junit.xml", report::junit_xml(job).into(), "application/xml");
        add("graph.svg", graph::job_svg(job).into(), "image/svg+xml");
        add("timeline.svg", timeline::job_svg(job).into(), "image/svg+xml");
    }
    files
}

async fn logs_of(job: &Job, folder: &Path) -> Vec<(StepId, Vec<u8>)> {
    let mut logs = Vec::new();
    for step in &job.steps {
        let path = folder.join(objects::step_log(&step.id, step.attempt));
        if let Ok(bytes) = tokio::fs::read(path).await {
            let last = bytes.len().saturating_sub(64 * 1024);
            logs.push((step.id.clone(), bytes[last..].to_vec()));
        }
    }
    logs
}

/// What was run here in the form that reports are views of.
fn as_run(here: &Here, planned: &Planned, result: &LocalResult) -> Run {
    let started_at = result.jobs.iter().map(|job| job.started_at).min();
    let finished_at = result.jobs.iter().map(|job| job.finished_at).max();
    let now = ambient::now();
    let jobs: Vec<Job> = result.jobs.iter().map(|done| as_job(planned, done)).collect();
    let conclusion = match result.verdict {
        Verdict::Passed => Conclusion::Success,
        Verdict::Failed | Verdict::CouldNotRun => Conclusion::Failure,
        Verdict::Interrupted => Conclusion::Cancelled,
    };
    Run {
        id: RunId::new(ambient::ulid()),
        repository: Repository { id: 0, name: here.name.clone(), installation: 0, private: false },
        pull: None,
        title: here.branch.clone(),
        head_ref: here.branch.clone(),
        base_ref: String::new(),
        head_sha: here.head.clone(),
        base_sha: planned.merge_base.clone().unwrap_or_else(|| here.head.clone()),
        merge_base: planned.merge_base.clone(),
        trigger: Trigger::Manual,
        cause: "test".to_owned(),
        actor: String::new(),
        scope: Scope::Affected,
        reuse: Reuse::default(),
        state: RunState::Concluded,
        conclusion: Some(conclusion),
        problem: None,
        selection: Some(Selection::clone(&planned.selection)),
        created_at: started_at.unwrap_or(now),
        started_at,
        concluded_at: finished_at.or(Some(now)),
        superseded_by: None,
        cancel: None,
        revision: 1,
        jobs,
    }
}

fn as_job(planned: &Planned, done: &LocalDone) -> Job {
    let connector: &ConnectorName = done.plan.connector();
    let of = planned.jobs.iter().find(|job| job.connector == *connector);
    Job {
        id: done.job,
        connector: connector.clone(),
        change: of.map_or(crate::domain::impact::ChangeKind::Modified, |job| job.change),
        reasons: of.map(|job| job.reasons.clone()).unwrap_or_default(),
        plan: done.plan.clone(),
        state: RunState::Concluded,
        conclusion: Some(done.conclusion),
        attempt: 1,
        epoch: 0,
        created_at: done.started_at,
        started_at: Some(done.started_at),
        concluded_at: Some(done.finished_at),
        cancel: None,
        steps: done.steps.clone(),
    }
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
