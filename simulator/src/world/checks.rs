//! Check suites and check runs.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{Repository, World};
use crate::api::CheckAction;
use crate::choices::Choices;

/// After so long GitHub itself ends a run that nobody completed.
const STALE_AFTER: TimeDelta = TimeDelta::days(14);
/// After so long a run is archived: it still exists, but lists do not show it.
const ARCHIVED_AFTER: TimeDelta = TimeDelta::days(400);
/// After so long it is deleted.
const DELETED_AFTER: TimeDelta = TimeDelta::days(410);
/// So many runs of one name stay in a suite; the oldest go.
const SAME_NAME_LIMIT: usize = 1000;

/// All runs of one App on one commit.
#[derive(Debug, Clone)]
pub(crate) struct Suite {
    pub(crate) id: u64,
    pub(crate) app_id: u64,
    pub(crate) head_sha: String,
    /// `None` when the commit is known from a fork only.
    pub(crate) head_branch: Option<String>,
    pub(crate) before: Option<String>,
    pub(crate) status: &'static str,
    pub(crate) conclusion: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// A check run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) id: u64,
    pub(crate) app_id: u64,
    pub(crate) suite_id: u64,
    pub(crate) name: String,
    pub(crate) head_sha: String,
    pub(crate) status: String,
    pub(crate) conclusion: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) completed_at: Option<DateTime<Utc>>,
    pub(crate) details_url: String,
    pub(crate) external_id: String,
    pub(crate) title: Option<String>,
    pub(crate) summary: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) annotations: Vec<Value>,
    pub(crate) actions: Vec<CheckAction>,
}

impl Repository {
    /// The newest run of every name in a suite, oldest first.
    pub(crate) fn latest_of_suite(&self, suite: u64) -> Vec<&Run> {
        latest(self.runs.values().filter(|run| run.suite_id == suite))
    }

    /// Recomputes a suite from its runs; true when it has just become completed. Its conclusion is
    /// that of its runs which comes first in `order`.
    pub(crate) fn settle_suite(
        &mut self,
        suite: u64,
        order: &[String],
        now: DateTime<Utc>,
    ) -> bool {
        let latest = self.latest_of_suite(suite);
        let done = !latest.is_empty() && latest.iter().all(|run| run.status == "completed");
        let started = latest.iter().any(|run| run.status != "queued");
        let worst = order
            .iter()
            .find(|&worst| latest.iter().any(|run| run.conclusion.as_ref() == Some(worst)))
            .cloned();
        let Some(suite) = self.suites.get_mut(&suite) else { return false };
        let was_done = suite.status == "completed";
        (suite.status, suite.conclusion) = match (done, started) {
            (true, _) => ("completed", worst),
            (false, true) => ("in_progress", None),
            (false, false) => ("queued", None),
        };
        suite.updated_at = now;
        done && !was_done
    }

    /// Drops the oldest runs of a name beyond GitHub's limit.
    pub(crate) fn forget_old_runs(&mut self, suite: u64, name: &str) {
        let same: Vec<u64> = self
            .runs
            .values()
            .filter(|run| run.suite_id == suite && run.name == name)
            .map(|run| run.id)
            .collect();
        for old in same.iter().take(same.len().saturating_sub(SAME_NAME_LIMIT)) {
            self.runs.remove(old);
        }
    }

    /// What time does: ends runs that nobody completed for a fortnight, deletes very old ones.
    pub(crate) fn age_checks(&mut self, now: DateTime<Utc>, choices: &Choices) {
        let old = |created_at: DateTime<Utc>| now - created_at > DELETED_AFTER;
        self.runs.retain(|_, run| !old(run.created_at));
        let kept: Vec<u64> = self.runs.values().map(|run| run.suite_id).collect();
        self.suites.retain(|id, suite| !old(suite.created_at) || kept.contains(id));
        let mut suites = Vec::new();
        for run in self.runs.values_mut() {
            if run.conclusion.is_none() && now - run.created_at > STALE_AFTER {
                if choices.stale_completes {
                    "completed".clone_into(&mut run.status);
                }
                run.conclusion = Some("stale".to_owned());
                run.completed_at = Some(now);
                suites.push(run.suite_id);
            }
        }
        for suite in suites {
            self.settle_suite(suite, &choices.suite_order, now);
        }
    }
}

impl Run {
    /// Does no list show it any more?
    pub(crate) fn is_archived(&self, now: DateTime<Utc>) -> bool {
        now - self.created_at > ARCHIVED_AFTER
    }
}

/// The newest run of every name. Ids grow, so the newest is the one with the highest.
pub(crate) fn latest<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<&'a Run> {
    let mut newest: std::collections::BTreeMap<(&str, u64), &Run> =
        std::collections::BTreeMap::new();
    for run in runs {
        newest.insert((run.name.as_str(), run.suite_id), run);
    }
    let mut newest: Vec<&Run> = newest.into_values().collect();
    newest.sort_by_key(|run| run.id);
    newest
}

impl World {
    /// The suite of an App on a commit, made when there is none; true when it is new.
    pub(crate) fn suite(
        &mut self,
        repository: u64,
        app_id: u64,
        sha: &str,
        now: DateTime<Utc>,
    ) -> Option<(u64, bool)> {
        let id = self.id();
        let repository = self.repositories.get_mut(&repository)?;
        if let Some(suite) =
            repository.suites.values().find(|s| s.app_id == app_id && s.head_sha == sha)
        {
            return Some((suite.id, false));
        }
        let suite = Suite {
            id,
            app_id,
            head_sha: sha.to_owned(),
            head_branch: repository.pushed.get(sha).cloned(),
            before: repository.commits.get(sha).and_then(|c| c.parents.first().cloned()),
            status: "queued",
            conclusion: None,
            created_at: now,
            updated_at: now,
        };
        repository.suites.insert(id, suite);
        Some((id, true))
    }
}
