//! The reports of `test`, as a server writes them of its runs.

use std::path::Path;

use anyhow::Context;
use bytes::Bytes;

use super::test::{LocalDone, LocalOptions, LocalResult, RunArgs};
use super::testing::Here;
use crate::ambient;
use crate::blobs::{Blobs, BlobsUrl};
use crate::config::server::Settings;
use crate::domain::links::Links;
use crate::domain::names::{ConnectorName, StepId};
use crate::domain::objects;
use crate::domain::run::{Job, Run, Selection};
use crate::domain::state::{Conclusion, RunState};
use crate::domain::trigger::{Scope, Trigger};
use crate::domain::trust::Trust;
use crate::render::{graph, report, timeline};
use crate::service::planning::{Definition, Planned};

const TEXT: &str = "text/plain; charset=utf-8";

/// Writes the reports into `--report-dir`, and with `--is-ci` uploads them.
pub(super) async fn write(
    args: &RunArgs,
    settings: &Settings,
    (run, definition): (&Run, Option<&Definition>),
    options: &LocalOptions,
) -> anyhow::Result<()> {
    let links = Links { public: String::new(), github: settings.github_url()? };
    let Some(kept) = options.report_dir.as_ref().or(options.keep_dir.as_ref()) else {
        return Ok(());
    };
    let files = report_files((run, definition), kept, &links).await;
    if let Some(dir) = &args.report_dir {
        for (name, bytes, _) in &files {
            let path = dir.join(name);
            let folder = path.parent().unwrap_or(dir);
            tokio::fs::create_dir_all(folder).await?;
            tokio::fs::write(&path, bytes)
                .await
                .with_context(|| format!("can't write {}", path.display()))?;
        }
    }
    if args.is_ci {
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
async fn report_files(
    (run, definition): (&Run, Option<&Definition>),
    dir: &Path,
    links: &Links,
) -> Vec<ReportFile> {
    let mut replay = report::replay_json(run);
    replay["planning"] = serde_json::to_value(definition).unwrap_or_default();
    let json = |value: &serde_json::Value| {
        Bytes::from(serde_json::to_string_pretty(value).unwrap_or_default() + "\n")
    };
    let html = "text/html; charset=utf-8";
    let mut files = vec![
        ("index.html".to_owned(), report::index_html(run, links).into(), html),
        ("run.json".to_owned(), json(&report::run_json(run, links)), "application/json"),
        // On one line: of a tree of thousands of files people read nothing.
        ("replay.json".to_owned(), format!("{replay}\n").into(), "application/json"),
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
pub(super) fn as_run(here: &Here, planned: &Planned, result: &LocalResult) -> Run {
    let started_at = result.jobs.iter().map(|job| job.started_at).min();
    let finished_at = result.jobs.iter().map(|job| job.finished_at).max();
    let now = ambient::now();
    let jobs: Vec<Job> = result.jobs.iter().map(|done| as_job(planned, done)).collect();
    let conclusion: Conclusion = result.verdict.into();
    Run {
        id: result.run,
        repository: here.repository(),
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
        reuse: result.reuse,
        trust: Trust::Trusted,
        kept_under: None,
        state: RunState::Concluded,
        conclusion: Some(conclusion),
        problem: None,
        selection: Some(Selection::clone(&planned.selection)),
        created_at: started_at.unwrap_or(now),
        started_at,
        concluded_at: finished_at.or(Some(now)),
        superseded_by: None,
        cancel: None,
        awaits: None,
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
        awaits: None,
        steps: done.steps.clone(),
    }
}
