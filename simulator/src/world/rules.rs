//! What a branch demands before a merge, and the queue in front of it.

use chrono::{DateTime, Utc};

use super::{Repository, latest};
use crate::api::{MergeGroup, RequiredCheck};

/// Conclusions that a required check may have.
const PASSING: &[&str] = &["success", "skipped", "neutral"];

/// A merge group in the queue.
#[derive(Debug, Clone)]
pub(crate) struct QueuedGroup {
    pub(crate) group: MergeGroup,
    /// Without `refs/heads/`.
    pub(crate) branch: String,
    pub(crate) base_branch: String,
    pub(crate) by: String,
    /// Required checks that were not reported until then eject it.
    pub(crate) deadline: DateTime<Utc>,
}

/// How far a required check is on one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// Not reported, or not ended.
    Waiting,
    Failed,
}

impl Repository {
    /// What the branch's required checks say about a commit, in the rules' order.
    pub(crate) fn verdicts(&self, branch: &str, sha: &str) -> Vec<(&RequiredCheck, Verdict)> {
        let required = self.required.get(branch).into_iter().flatten();
        required.map(|check| (check, self.verdict(check, sha))).collect()
    }

    /// Every run of that name must pass, of every App (unless one is demanded), and the status
    /// of that name as well.
    fn verdict(&self, check: &RequiredCheck, sha: &str) -> Verdict {
        let runs = self.runs.values().filter(|run| run.head_sha == sha && run.name == check.name);
        let runs = latest(runs.filter(|run| check.app.is_none_or(|app| run.app_id == app)));
        let of_runs = runs.iter().map(|run| match run.conclusion.as_deref() {
            Some(conclusion) if PASSING.contains(&conclusion) => Verdict::Passed,
            Some(_) => Verdict::Failed,
            None => Verdict::Waiting,
        });
        let statuses = self.latest_statuses(sha).into_iter();
        let statuses =
            statuses.filter(|status| check.app.is_none() && status.context == check.name);
        let of_statuses = statuses.map(|status| match status.state.as_str() {
            "success" => Verdict::Passed,
            "pending" => Verdict::Waiting,
            _ => Verdict::Failed,
        });
        let all: Vec<Verdict> = of_runs.chain(of_statuses).collect();
        if all.contains(&Verdict::Failed) {
            Verdict::Failed
        } else if all.is_empty() || all.contains(&Verdict::Waiting) {
            Verdict::Waiting
        } else {
            Verdict::Passed
        }
    }

    /// What stands between a commit and the branch, in words.
    pub(crate) fn blockers(&self, branch: &str, sha: &str) -> Vec<String> {
        let blocking = self.verdicts(branch, sha).into_iter();
        blocking
            .filter_map(|(check, verdict)| match verdict {
                Verdict::Passed => None,
                Verdict::Waiting => Some(format!("`{}` is expected", check.name)),
                Verdict::Failed => Some(format!("`{}` failed", check.name)),
            })
            .collect()
    }
}
