//! The client, against a GitHub that refuses what GitHub refuses, and against servers that fail in
//! ways of which one must not make a second check run.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod enterprise;
mod failing;
#[path = "../support/given.rs"]
mod given;
#[path = "../support/https.rs"]
mod https;
mod polled;
mod simulated;
#[path = "../support/tls.rs"]
mod tls;

use checkvalve::ambient;
use checkvalve::domain::check::{CheckConclusion, CheckStatus, DesiredCheck};
use checkvalve::domain::ids::CheckId;
use checkvalve::domain::names::Sha;
use checkvalve::domain::time::Timestamp;
use checkvalve::github::GithubSettings;

const REPOSITORY: &str = "acme/connectors";
const KEY: &str = include_str!("../../simulator/keys/test-only-app-key.pem");

fn settings(api_url: &str, app_id: &str, key: &str) -> GithubSettings {
    GithubSettings {
        api_url: api_url.to_owned(),
        app_id: app_id.to_owned(),
        private_key: key.into(),
        ca_file: None,
    }
}

fn contract() -> Option<std::path::PathBuf> {
    given::given("CHECKVALVE_GITHUB_CONTRACT", "openapi-subset.json")
}

fn external_id() -> CheckId {
    CheckId::new(ambient::ulid())
}

fn check(head: &Sha, status: CheckStatus) -> DesiredCheck {
    DesiredCheck {
        name: "source-a / unit".to_owned(),
        head_sha: head.clone(),
        occasion: "run_1".to_owned(),
        status,
        details_url: "https://ci.example.org/runs/1".to_owned(),
        title: "3 of 41 tests failed · 12 s".to_owned(),
        summary: "**no**".to_owned(),
        text: Some("text".to_owned()),
        actions: Vec::new(),
        annotations: Vec::new(),
    }
}

fn completed() -> CheckStatus {
    CheckStatus::Completed {
        conclusion: CheckConclusion::Failure,
        started_at: Some(Timestamp::from_millis(1_700_000_000_123)),
        completed_at: Timestamp::from_millis(1_700_000_012_456),
    }
}
