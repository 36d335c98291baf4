//! More of the control routes: what GitHub is like, rather than what people do on it.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::RequiredCheck;
use crate::control::read;
use crate::error::Error;
use crate::faults::DeliveryPlan;
use crate::simulator::Simulator;

/// `POST /_simulator/required-checks`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    repository: String,
    branch: String,
    checks: Vec<RequiredCheck>,
}

/// `POST /_simulator/enqueue`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enqueue {
    repository: String,
    numbers: Vec<u64>,
    user: String,
}

/// `POST /_simulator/members`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    organization: String,
    user: String,
    #[serde(default)]
    team: Option<String>,
}

/// `POST /_simulator/issues`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewIssue {
    repository: String,
    user: String,
    title: String,
}

/// Acts on one of these routes; `None` when it is none of them.
pub(crate) async fn act(
    github: &Simulator,
    rest: &str,
    body: &Bytes,
) -> Result<Option<Value>, Error> {
    Ok(Some(match rest {
        "/choices" => choices(github, read(body)?)?,
        "/delivery-plan" => {
            let plan: Option<DeliveryPlan> = read(body)?;
            github.faults().delivery_plan(plan);
            json!({})
        }
        "/advance" => {
            let by: Value = read(body)?;
            let seconds = by["seconds"].as_u64();
            let seconds =
                seconds.ok_or_else(|| Error::Refused("`seconds` is no number".to_owned()))?;
            github.advance(std::time::Duration::from_secs(seconds));
            json!({})
        }
        "/enterprise-server" => {
            let settings: Value = read(body)?;
            github.enterprise_server(settings["version"].as_str())?;
            json!({})
        }
        "/members" => {
            let member: Member = read(body)?;
            match &member.team {
                Some(team) => github.add_to_team(&member.organization, team, &member.user),
                None => github.add_member(&member.organization, &member.user),
            }
            json!({})
        }
        "/issues" => {
            let new: NewIssue = read(body)?;
            let number = github.open_issue(&new.repository, &new.user, &new.title)?;
            json!({ "number": number })
        }
        "/required-checks" => {
            let rules: Rules = read(body)?;
            github.require_checks(&rules.repository, &rules.branch, rules.checks)?;
            json!({})
        }
        "/enqueue" => {
            let wanted: Enqueue = read(body)?;
            let group = github.enqueue(&wanted.repository, &wanted.numbers, &wanted.user).await?;
            json!(group)
        }
        "/run-merge-queue" => {
            let queue: Value = read(body)?;
            github.run_merge_queue(queue["repository"].as_str().unwrap_or_default()).await?;
            json!({})
        }
        _ => return Ok(None),
    }))
}

/// Only what is named changes. Answers all that is chosen then.
fn choices(github: &Simulator, named: serde_json::Map<String, Value>) -> Result<Value, Error> {
    let mut whole = json!(github.choices());
    if let Some(object) = whole.as_object_mut() {
        object.extend(named);
    }
    let chosen = serde_json::from_value(whole.clone());
    let chosen = chosen.map_err(|error| Error::Refused(format!("the body: {error}")))?;
    github.choose(|choices| *choices = chosen);
    Ok(whole)
}
