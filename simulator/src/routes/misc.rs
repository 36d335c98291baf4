//! Repositories, people and the service itself.

use std::sync::Arc;

use serde_json::{Value, json};

use super::home;
use crate::api::Permission;
use crate::refusals::{Answer, Outcome, not_found, refuse};
use crate::server::{Asked, size_of};
use crate::simulator::Inner;

pub(super) fn serve(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    match asked.operation.id {
        "repos/get" => {
            let world = inner.world();
            let home = home(&world, asked.repository()?)?;
            Ok(Answer::ok(world.full_repository_json(home)))
        }
        "repos/get-collaborator-permission-level" => permission(inner, asked),
        "repos/check-collaborator" => {
            let world = inner.world();
            let home = home(&world, asked.repository()?)?;
            let login = asked.param("username").to_lowercase();
            let is_one = login == home.owner.to_lowercase()
                || home.roles.get(&login).is_some_and(|&role| role > Permission::None);
            if is_one { Ok(Answer::empty(204)) } else { Err(not_found()) }
        }
        "rate-limit/get" if inner.world().enterprise.is_some() => {
            Err(refuse(404, "Rate limiting is not enabled."))
        }
        "rate-limit/get" => Ok(rate_limit(inner, asked)),
        "meta/get" => Ok(Answer::ok(json!({
            "verifiable_password_authentication": false,
            "hooks": ["127.0.0.1/32"],
            "web": ["127.0.0.1/32"],
            "api": ["127.0.0.1/32"],
            "git": ["127.0.0.1/32"],
        }))),
        _ => Err(not_found()),
    }
}

/// `maintain` shows as `write`, `triage` as `read`; on public repositories everybody reads.
fn permission(inner: &Inner, asked: &Asked<'_>) -> Outcome {
    let world = inner.world();
    let home = home(&world, asked.repository()?)?;
    let user = world.users.get(&asked.param("username").to_lowercase()).ok_or_else(not_found)?;
    let (permission, role) = match home.role(&user.login) {
        Permission::Admin => ("admin", "admin"),
        Permission::Maintain => ("write", "maintain"),
        Permission::Write => ("write", "write"),
        Permission::Triage => ("read", "triage"),
        Permission::Read => ("read", "read"),
        Permission::None => ("none", ""),
    };
    let role_rank = home.role(&user.login);
    let mut shape = world.user_json(&user.login);
    shape["role_name"] = role.into();
    shape["permissions"] = json!({
        "admin": role_rank >= Permission::Admin,
        "maintain": role_rank >= Permission::Maintain,
        "push": role_rank >= Permission::Write,
        "triage": role_rank >= Permission::Triage,
        "pull": role_rank >= Permission::Read,
    });
    Ok(Answer::ok(json!({ "permission": permission, "role_name": role, "user": shape })))
}

fn rate_limit(inner: &Inner, asked: &Asked<'_>) -> Answer {
    let now = inner.clock.now();
    let caller = asked.credentials.caller();
    let size = size_of(&inner.world(), &caller);
    let budget = inner.limits.budget(&caller, "core", size, now);
    let core = json!({
        "limit": budget.limit,
        "used": budget.used,
        "remaining": budget.remaining(),
        "reset": budget.reset.timestamp(),
    });
    let other = |limit: u64| -> Value {
        json!({ "limit": limit, "used": 0, "remaining": limit, "reset": budget.reset.timestamp() })
    };
    Answer::ok(json!({
        "resources": {
            "core": core,
            "search": other(30),
            "graphql": other(5000),
            "integration_manifest": other(5000),
        },
        "rate": core,
    }))
}
