//! Check suites.

use std::sync::Arc;

use serde_json::{Value, json};

use super::checks::{no_commit, resolve};
use super::{home, home_mut, paging};
use crate::api::Permission;
use crate::auth::Credentials;
use crate::events::Deed;
use crate::people::checks::requeue;
use crate::refusals::{Answer, Outcome, invalid_request, not_found, refuse};
use crate::server::Asked;
use crate::simulator::Inner;
use crate::world::{Repository, Suite, World};

pub(super) async fn serve(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    match asked.operation.id {
        "checks/create-suite" => create(inner, asked).await,
        "checks/set-suites-preferences" => preferences(inner, asked),
        "checks/get-suite" => {
            let world = inner.world();
            let (home, suite) = find(&world, asked)?;
            Ok(Answer::ok(world.suite_json(home, suite)))
        }
        "checks/rerequest-suite" => rerequest(inner, asked),
        "checks/list-suites-for-ref" => {
            let sha = resolve(inner, asked).await?;
            let world = inner.world();
            let home = home(&world, asked.repository()?)?;
            let app = asked.query("app_id");
            let items: Vec<Value> = home
                .suites
                .values()
                .filter(|suite| suite.head_sha == sha)
                .filter(|suite| app.is_none_or(|app| suite.app_id.to_string() == app))
                .map(|suite| world.suite_json(home, suite))
                .collect();
            paging::counted(&world, asked, "check_suites", items)
        }
        _ => Err(not_found()),
    }
}

fn find<'a>(world: &'a World, asked: &Asked<'_>) -> Result<(&'a Repository, &'a Suite), Answer> {
    let home = home(world, asked.repository()?)?;
    let suite = home.suites.get(&asked.number("check_suite_id")?).ok_or_else(not_found)?;
    Ok((home, suite))
}

async fn create(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let Some(sha) = asked.body.get("head_sha").and_then(Value::as_str) else {
        return Err(invalid_request(&["\"head_sha\" wasn't supplied.".to_owned()]));
    };
    let repository = asked.repository()?;
    if inner.know_commit(repository, sha).await.is_none() {
        return Err(no_commit(asked, sha));
    }
    let mut world = inner.world();
    let app = world.app.id;
    let (id, new) = world.suite(repository, app, sha, inner.clock.now()).ok_or_else(not_found)?;
    if new {
        let sender = asked.credentials.login(&world);
        inner.emit_suite(&mut world, Deed::new("requested", repository, &sender), id);
    }
    let home = home(&world, repository)?;
    let suite = home.suites.get(&id).ok_or_else(not_found)?;
    Ok(Answer::json(if new { 201 } else { 200 }, world.suite_json(home, suite)))
}

/// For administrators: an App with `checks: write` may, a person with less may not.
fn preferences(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let mut world = inner.world();
    if let Credentials::User(login) = &asked.credentials
        && home(&world, asked.repository()?)?.role(login) < Permission::Admin
    {
        return Err(refuse(403, "Must have admin rights to Repository."));
    }
    let app = world.app.id;
    let ours = |entry: &&Value| entry["app_id"].as_u64() == Some(app);
    let setting = asked
        .body
        .get("auto_trigger_checks")
        .and_then(Value::as_array)
        .and_then(|entries| entries.iter().find(ours))
        .and_then(|entry| entry["setting"].as_bool());
    let found = home_mut(&mut world, asked.repository()?)?;
    if let Some(setting) = setting {
        found.auto_trigger_checks = setting;
    }
    let setting = found.auto_trigger_checks;
    let found = home(&world, asked.repository()?)?;
    Ok(Answer::ok(json!({
        "preferences": { "auto_trigger_checks": [{ "app_id": app, "setting": setting }] },
        "repository": world.minimal_repository(found),
    })))
}

fn rerequest(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let repository = asked.repository()?;
    let mut world = inner.world();
    let (_, suite) = find(&world, asked)?;
    let id = suite.id;
    if suite.app_id != world.app.id {
        let status = asked.choices.rerequest_refusal.unwrap_or(403);
        return Err(refuse(status, "This check suite is not rerequestable").in_our_words());
    }
    requeue(&mut world, repository, id);
    let sender = asked.credentials.login(&world);
    inner.emit_suite(&mut world, Deed::new("rerequested", repository, &sender), id);
    Ok(Answer::json(201, json!({})))
}
