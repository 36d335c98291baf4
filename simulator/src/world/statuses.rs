//! Commit statuses: the older kind of check.

use chrono::{DateTime, Utc};

use super::Repository;

/// One reported status; a newer one of the same context takes its place.
#[derive(Debug, Clone)]
pub(crate) struct StatusRow {
    pub(crate) id: u64,
    pub(crate) sha: String,
    pub(crate) state: String,
    pub(crate) context: String,
    pub(crate) description: Option<String>,
    pub(crate) target_url: Option<String>,
    pub(crate) creator: String,
    pub(crate) created_at: DateTime<Utc>,
}

/// The state of a commit, over all contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CombinedState {
    Failure,
    Pending,
    Success,
}

impl CombinedState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Pending => "pending",
            Self::Success => "success",
        }
    }

    /// Failure before pending before success; nothing at all is pending.
    pub(crate) fn of<'a>(latest: impl Iterator<Item = &'a StatusRow>) -> Self {
        let mut combined = None;
        for status in latest {
            let state = match status.state.as_str() {
                "failure" | "error" => return Self::Failure,
                "success" => combined.unwrap_or(Self::Success),
                _ => Self::Pending,
            };
            combined = Some(state);
        }
        combined.unwrap_or(Self::Pending)
    }
}

impl Repository {
    /// The newest status of every context of a commit, in order of their making. Contexts are
    /// the same in any case of letters.
    pub(crate) fn latest_statuses(&self, sha: &str) -> Vec<&StatusRow> {
        let mut latest: Vec<&StatusRow> = Vec::new();
        for status in self.statuses.iter().filter(|status| status.sha == sha) {
            latest.retain(|older| !older.context.eq_ignore_ascii_case(&status.context));
            latest.push(status);
        }
        latest
    }
}
