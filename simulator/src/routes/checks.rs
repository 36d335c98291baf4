//! Check runs.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::check_input::{self, CheckInput};
use super::{home, home_mut, paging};
use crate::auth::Credentials;
use crate::events::Deed;
use crate::faults::CompletedPatch;
use crate::people::checks::requeue;
use crate::refusals::{Answer, Outcome, not_found, refuse};
use crate::server::Asked;
use crate::shapes::checks::annotation_json;
use crate::simulator::Inner;
use crate::world::{Repository, Run, World, latest};

pub(super) async fn serve(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    match asked.operation.id {
        "checks/create" => create(inner, asked).await,
        "checks/update" => update(inner, asked),
        "checks/get" => {
            let world = inner.world();
            let (home, run) = find(&world, asked)?;
            Ok(Answer::ok(world.run_json(home, run)))
        }
        "checks/list-annotations" => {
            let world = inner.world();
            let (home, run) = find(&world, asked)?;
            let annotations = run.annotations.iter();
            let items = annotations
                .map(|sent| annotation_json(&world, home, &run.head_sha, sent))
                .collect();
            paging::array(&world, asked, items)
        }
        "checks/rerequest-run" => rerequest(inner, asked),
        "checks/list-for-ref" => list_for_ref(inner, asked).await,
        "checks/list-for-suite" => {
            let suite = asked.number("check_suite_id")?;
            let world = inner.world();
            let home = home(&world, asked.repository()?)?;
            if !home.suites.contains_key(&suite) {
                return Err(not_found());
            }
            let now = inner.clock.now();
            list(&world, home, asked, |run| run.suite_id == suite && is_listed(run, asked, now))
        }
        _ => Err(not_found()),
    }
}

fn find<'a>(world: &'a World, asked: &Asked<'_>) -> Result<(&'a Repository, &'a Run), Answer> {
    let home = home(world, asked.repository()?)?;
    let run = home.runs.get(&asked.number("check_run_id")?).ok_or_else(not_found)?;
    Ok((home, run))
}

/// Writing checks is for Apps.
fn must_be_app(asked: &Asked<'_>) -> Result<(), Answer> {
    if matches!(asked.credentials, Credentials::User(_)) {
        return Err(refuse(403, "You must authenticate via a GitHub App."));
    }
    Ok(())
}

async fn create(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    must_be_app(asked)?;
    let input = check_input::read(&asked.body, true, &asked.choices)?;
    let repository = asked.repository()?;
    let sha = input.head_sha.clone().unwrap_or_default();
    let is_sha = sha.len() == 40 && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_sha || inner.know_commit(repository, &sha).await.is_none() {
        return Err(no_commit(asked, &sha));
    }
    let now = inner.clock.now();
    let mut world = inner.world();
    let app_id = world.app.id;
    let (suite_id, _) = world.suite(repository, app_id, &sha, now).ok_or_else(not_found)?;
    let id = world.id();
    let mut run = Run {
        id,
        app_id,
        suite_id,
        name: input.name.clone().unwrap_or_default(),
        head_sha: sha,
        status: "queued".to_owned(),
        conclusion: None,
        created_at: now,
        started_at: Some(now),
        completed_at: None,
        details_url: world.app_home(),
        external_id: String::new(),
        title: None,
        summary: None,
        text: None,
        annotations: Vec::new(),
        actions: Vec::new(),
    };
    apply(&mut run, input, asked.choices.fill_completed_at.then_some(now));
    let completed = run.status == "completed";
    let name = run.name.clone();
    let home = home_mut(&mut world, repository)?;
    home.runs.insert(id, run);
    home.forget_old_runs(suite_id, &name);
    let suite_done = home.settle_suite(suite_id, &asked.choices.suite_order, now);
    let sender = asked.credentials.login(&world);
    inner.emit_run(&mut world, Deed::new("created", repository, &sender), id, None);
    tell_end(inner, &mut world, (repository, id, suite_id), &sender, (completed, suite_done));
    let (home, run) = refind(&world, repository, id)?;
    let location = format!("{}/check-runs/{id}", world.repository_url(home));
    Ok(Answer::json(201, world.run_json(home, run)).with("location", location))
}

fn refind(world: &World, repository: u64, run: u64) -> Result<(&Repository, &Run), Answer> {
    let home = home(world, repository)?;
    Ok((home, home.runs.get(&run).ok_or_else(not_found)?))
}

/// `check_run.completed` and, when it was the last, `check_suite.completed`.
fn tell_end(
    inner: &Inner,
    world: &mut World,
    (repository, run, suite): (u64, u64, u64),
    sender: &str,
    (run_done, suite_done): (bool, bool),
) {
    if run_done {
        inner.emit_run(world, Deed::new("completed", repository, sender), run, None);
    }
    if suite_done {
        inner.emit_suite(world, Deed::new("completed", repository, sender), suite);
    }
}

/// What an unknown commit answers to a check run or suite.
pub(super) fn no_commit(asked: &Asked<'_>, sha: &str) -> Answer {
    refuse(asked.choices.unknown_commit, &format!("No commit found for SHA: {sha}"))
}

/// Writes what was sent into the run. A conclusion completes it, at `filled` when the time is not
/// said; annotations are appended.
fn apply(run: &mut Run, input: CheckInput, filled: Option<DateTime<Utc>>) {
    if let Some(name) = input.name {
        run.name = name;
    }
    if let Some(url) = input.details_url {
        run.details_url = url;
    }
    if let Some(id) = input.external_id {
        run.external_id = id;
    }
    if let Some(started_at) = input.started_at {
        run.started_at = Some(started_at);
    }
    if let Some(status) = input.status {
        if status != "completed" {
            run.conclusion = None;
            run.completed_at = None;
        }
        run.status = status;
    }
    if let Some(conclusion) = input.conclusion {
        run.conclusion = Some(conclusion);
        "completed".clone_into(&mut run.status);
        run.completed_at = input.completed_at.or(filled);
    }
    if let Some(output) = input.output {
        if output.title.is_some() {
            run.title = output.title;
        }
        run.summary = output.summary;
        if output.text.is_some() {
            run.text = output.text;
        }
        run.annotations.extend(output.annotations);
    }
    if let Some(actions) = input.actions {
        run.actions = actions;
    }
}

fn update(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    must_be_app(asked)?;
    let repository = asked.repository()?;
    let id = asked.number("check_run_id")?;
    let now = inner.clock.now();
    let mut world = inner.world();
    let (_, run) = find(&world, asked)?;
    if run.app_id != world.app.id {
        let text = format!(
            "Invalid app_id `{}` - check run can only be modified by the GitHub App that created it.",
            world.app.id
        );
        return Err(refuse(403, &text));
    }
    let input = check_input::read(&asked.body, false, &asked.choices)?;
    let (was_completed, suite_id) = (run.status == "completed", run.suite_id);
    let reopens = was_completed
        && input.conclusion.is_none()
        && input.status.as_deref().is_some_and(|status| status != "completed");
    if reopens {
        match inner.faults.completed_patch_mode() {
            CompletedPatch::Allow => {}
            CompletedPatch::Ignore => {
                let (home, run) = find(&world, asked)?;
                return Ok(Answer::ok(world.run_json(home, run)));
            }
            CompletedPatch::Reject => {
                return Err(refuse(422, "A completed check run cannot be reopened."));
            }
        }
    }
    let home = home_mut(&mut world, repository)?;
    let run = home.runs.get_mut(&id).ok_or_else(not_found)?;
    apply(run, input, asked.choices.fill_completed_at.then_some(now));
    let completed = run.status == "completed" && !was_completed;
    let suite_done = home.settle_suite(suite_id, &asked.choices.suite_order, now);
    let sender = asked.credentials.login(&world);
    tell_end(inner, &mut world, (repository, id, suite_id), &sender, (completed, suite_done));
    let (home, run) = refind(&world, repository, id)?;
    Ok(Answer::ok(world.run_json(home, run)))
}

fn rerequest(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let repository = asked.repository()?;
    let mut world = inner.world();
    let (_, run) = find(&world, asked)?;
    let (id, suite) = (run.id, run.suite_id);
    let refused = |usual: u16| {
        let status = asked.choices.rerequest_refusal.unwrap_or(usual);
        Err(refuse(status, "This check run is not rerequestable").in_our_words())
    };
    if run.app_id != world.app.id {
        return refused(403);
    }
    if run.status != "completed" {
        return refused(422);
    }
    requeue(&mut world, repository, suite);
    let sender = asked.credentials.login(&world);
    inner.emit_run(&mut world, Deed::new("rerequested", repository, &sender), id, None);
    Ok(Answer::json(201, json!({})))
}

/// The SHA that a branch, `heads/…`, `refs/…` or SHA means.
pub(super) async fn resolve(inner: &Inner, asked: &Asked<'_>) -> Result<String, Answer> {
    let reference = asked.param("ref");
    let repository = asked.repository()?;
    let known = home(&inner.world(), repository)?.resolve(reference);
    match known {
        Some(sha) => Ok(sha),
        None => match inner.know_commit(repository, reference).await {
            Some(facts) => Ok(facts.sha),
            None => Err(refuse(422, &format!("No commit found for SHA: {reference}"))),
        },
    }
}

async fn list_for_ref(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let sha = resolve(inner, asked).await?;
    let now = inner.clock.now();
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    list(&world, home, asked, |run| run.head_sha == sha && is_listed(run, asked, now))
}

fn is_listed(run: &Run, asked: &Asked<'_>, now: DateTime<Utc>) -> bool {
    asked.choices.archived_listed || !run.is_archived(now)
}

/// `filter=latest` (the default), `check_name`, `status`, `app_id`; newest first.
fn list(
    world: &World,
    home: &Repository,
    asked: &Asked<'_>,
    belongs: impl Fn(&Run) -> bool,
) -> Outcome {
    let wanted = |run: &&Run| {
        belongs(run)
            && asked.query("check_name").is_none_or(|name| run.name == name)
            && asked.query("app_id").is_none_or(|app| run.app_id.to_string() == app)
    };
    let mut runs: Vec<&Run> = home.runs.values().filter(wanted).collect();
    if asked.query("filter") != Some("all") {
        runs = latest(runs.into_iter());
    }
    runs.retain(|run| asked.query("status").is_none_or(|status| run.status == status));
    let items: Vec<Value> = runs.iter().rev().map(|run| world.run_json(home, run)).collect();
    paging::counted(world, asked, "check_runs", items)
}
