//! `report.json`, `run.json`, `replay.json`.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::domain::links::Links;
use crate::domain::plan::Plan;
use crate::domain::run::{Job, Run, Selection, StepRecord};
use crate::domain::state::{Conclusion, Outcome, StepState};
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;

use crate::render::api::{self, CacheJson, CheckRunIds};
use crate::render::look;
use crate::render::path::critical_path;

/// Raised only if a field changes its meaning; fields are added without.
const SCHEMA_VERSION: u32 = 1;

/// `report.json`: the names that connector teams know, then ours. Durations are seconds, the
/// pipeline's timestamps whole seconds since 1970, all other times RFC 3339.
pub fn job_json(run: &Run, job: &Job, links: &Links) -> Value {
    let start = run.started_at.unwrap_or(run.created_at);
    let job_start = job.started_at.unwrap_or(job.created_at);
    let end = job.concluded_at.or_else(|| last_end(job)).unwrap_or(job_start);
    let steps: Vec<Value> = job.steps.iter().map(|step| step_json(job, step)).collect();
    let mut report = json!({
        "connector_technical_name": job.connector,
        "connector_version": job.plan.version(),
        "run_timestamp": job_start,
        "run_duration": seconds(job_start, end),
        "success": job.conclusion == Some(Conclusion::Success),
        "failed_steps": ids(job, |step| failed(job, step)),
        "successful_steps": ids(job, |step| step.state.outcome() == Some(Outcome::Succeeded)),
        "skipped_steps": ids(job, |step| matches!(step.state, StepState::Skipped { .. })),
        "pipeline_start_timestamp": start.as_millis().div_euclid(1000),
        "pipeline_end_timestamp": end.as_millis().div_euclid(1000),
        "pipeline_duration": end.as_millis().div_euclid(1000) - start.as_millis().div_euclid(1000),
        "git_branch": run.head_ref,
        "git_revision": run.head_sha,
        "ci_context": ci_context(run.trigger),
        "html_report_url": links.report(run.id, &job.connector),
    });
    let ours = json!({
        "schema_version": SCHEMA_VERSION,
        "run": run.id,
        "repository": run.repository.name,
        "pull_request": run.pull,
        "conclusion": job.conclusion,
        "reasons": job.reasons,
        "critical_path": critical_path(job),
        "plan_digest": job.plan.digest(),
        "steps": steps,
    });
    if let (Some(report), Value::Object(ours)) = (report.as_object_mut(), ours) {
        report.extend(ours);
    }
    report
}

/// As teams' own CI names it: a pull request's events, whoever caused the run.
fn ci_context(trigger: Trigger) -> &'static str {
    trigger.as_str()
}

fn failed(job: &Job, step: &StepRecord) -> bool {
    let counts = job.plan.step(&step.id).is_none_or(|spec| !spec.allow_failure);
    match step.state.outcome() {
        Some(Outcome::Failed | Outcome::TimedOut) => counts,
        Some(Outcome::Errored) => true,
        Some(Outcome::Succeeded | Outcome::Cancelled) | None => false,
    }
}

fn ids(job: &Job, wanted: impl Fn(&StepRecord) -> bool) -> Vec<String> {
    job.steps.iter().filter(|step| wanted(step)).map(|step| step.id.to_string()).collect()
}

fn last_end(job: &Job) -> Option<Timestamp> {
    job.steps.iter().filter_map(look::settled_at).max()
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).as_secs_f64()
}

fn step_json(job: &Job, step: &StepRecord) -> Value {
    let facts = &step.facts;
    let spec = job.plan.step(&step.id);
    let outcome = match &step.state {
        StepState::Skipped { .. } => Some("skipped"),
        StepState::Waiting | StepState::Running { .. } | StepState::Finished { .. } => {
            step.state.outcome().map(Outcome::as_str)
        }
    };
    json!({
        "id": step.id,
        "outcome": outcome,
        "reason": look::reason(step),
        "exit_code": facts.exit_code,
        "attempt": step.attempt,
        "queued_at": step.queued_at,
        "started_at": look::started_at(step),
        "finished_at": look::settled_at(step),
        "duration": look::took(step).map(|took| took.as_secs_f64()),
        "cache": CacheJson::of(step),
        "image": {
            "name": spec.map(|spec| spec.image.as_str()).filter(|image| !image.is_empty()),
            "digest": facts.image_digest,
        },
        "bases": facts.bases,
        "log": facts.log.as_ref().map(|log| json!({
            "key": log.key, "bytes": log.bytes, "lines": log.lines, "cut": log.cut,
        })),
        "tests": facts.tests,
        "annotations": facts.annotations.as_ref().map_or(&[][..], |found| &found.kept),
        "annotation_counts": facts.annotations.as_ref().map(|found| json!({
            "error": found.errors, "warning": found.warnings, "note": found.notes,
        })),
        "coverage": facts.coverage.map(|found| json!({
            "covered": found.covered, "lines": found.lines, "percent": found.rate(),
        })),
        "artifacts": facts.artifacts,
        "segments": facts.segments,
        "allow_failure": spec.is_some_and(|spec| spec.allow_failure),
    })
}

/// `run.json`: what the API answers for the run, without the ids that GitHub gave.
pub fn run_json(run: &Run, links: &Links) -> Value {
    serde_json::to_value(api::run(run, links, &CheckRunIds::new())).unwrap_or_default()
}

/// `replay.json`: what caused the run, what was found and what was planned, to compare by
/// [`plan_hash`]; whoever planned it adds as `planning` what it was made of, enough to plan again
/// offline.
pub fn replay_json(run: &Run) -> Value {
    let plans: Vec<Value> = run
        .jobs
        .iter()
        .map(|job| {
            json!({
                "connector": job.connector,
                "root": job.plan.root(),
                "change": job.change,
                "reasons": job.reasons,
                "digest": job.plan.digest(),
                "plan": job.plan,
                "images": images(job),
                "bases": bases(job),
                "keys": keys(job),
            })
        })
        .collect();
    // Why hundreds of others are not selected is a page's to say.
    let selection = run.selection.clone().map(|it| Selection { unselected: None, ..it });
    json!({
        "schema_version": SCHEMA_VERSION,
        "run": run.id,
        "event": {
            "trigger": run.trigger,
            "cause": run.cause,
            "actor": run.actor,
            "scope": run.scope,
            "created_at": run.created_at,
        },
        "repository": { "id": run.repository.id, "name": run.repository.name },
        "pull_request": run.pull,
        "head_ref": run.head_ref,
        "base_ref": run.base_ref,
        "head_sha": run.head_sha,
        "base_sha": run.base_sha,
        "merge_base": run.merge_base,
        "selection": selection,
        "problem": run.problem,
        "plans": plans,
        "plan_hash": plan_hash(run.jobs.iter().map(|job| &job.plan)),
    })
}

/// The digests of the images that the steps really had.
fn images(job: &Job) -> Value {
    let digests = job.steps.iter().filter_map(|step| {
        let digest = step.facts.image_digest.as_ref()?;
        Some((step.id.to_string(), Value::String(digest.clone())))
    });
    Value::Object(digests.collect())
}

/// What the images that the steps built were really built on, by its names.
fn bases(job: &Job) -> Value {
    let built = job.steps.iter().filter(|step| !step.facts.bases.is_empty());
    Value::Object(built.map(|step| (step.id.to_string(), json!(step.facts.bases))).collect())
}

/// The keys under which the steps' results are known.
fn keys(job: &Job) -> Value {
    let keys = job.steps.iter().filter_map(|step| {
        let key = step.facts.cache.as_ref()?.key.as_ref()?;
        Some((step.id.to_string(), Value::String(key.clone())))
    });
    Value::Object(keys.collect())
}

/// A digest of all plans of a run, whatever order they come in: equal plans, equal hashes, on
/// every machine.
pub fn plan_hash<'a>(plans: impl Iterator<Item = &'a Plan>) -> String {
    let mut lines: Vec<String> =
        plans.map(|plan| format!("{} {}\n", plan.connector(), plan.digest())).collect();
    lines.sort();
    hex::encode(Sha256::digest(lines.concat()))
}
