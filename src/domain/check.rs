//! A check run as it should stand on GitHub. GitHub's is a view of ours: desired state is computed
//! purely and compared with what GitHub acknowledged.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::names::Sha;
use super::time::Timestamp;

/// The longest `output.summary` and `output.text`: GitHub's schema counts characters, its model
/// counts bytes, and the stricter one decides (github/docs issue 35252).
pub const SUMMARY_MAX_BYTES: usize = 65_535;
/// Buttons on a check run, and the characters of their three texts (GitHub's `OpenAPI` description,
/// `checks/create`).
pub const ACTIONS_MAX: usize = 3;
pub const ACTION_LABEL_MAX: usize = 20;
pub const ACTION_DESCRIPTION_MAX: usize = 40;
pub const ACTION_IDENTIFIER_MAX: usize = 20;

/// Annotations in one request, and the limits of their texts.
pub const ANNOTATIONS_MAX: usize = 50;
pub const ANNOTATION_TEXT_MAX_BYTES: usize = 64 * 1024;
pub const ANNOTATION_TITLE_MAX: usize = 255;

/// The conclusions that an App may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckConclusion {
    Success,
    Failure,
    Neutral,
    Cancelled,
    TimedOut,
    ActionRequired,
    Skipped,
}

impl CheckConclusion {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Neutral => "neutral",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::ActionRequired => "action_required",
            Self::Skipped => "skipped",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum CheckStatus {
    Queued,
    InProgress {
        started_at: Timestamp,
    },
    Completed {
        conclusion: CheckConclusion,
        started_at: Option<Timestamp>,
        completed_at: Timestamp,
    },
}

impl CheckStatus {
    /// The status, or the conclusion of a completed one.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::InProgress { .. } => "in_progress",
            Self::Completed { conclusion, .. } => conclusion.as_str(),
        }
    }
}

/// A button on a completed check run: at most three; 20, 40 and 20 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckAction {
    pub label: String,
    pub description: String,
    pub identifier: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnnotationLevel {
    Notice,
    Warning,
    Failure,
}

/// A remark on lines of a file of the head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckAnnotation {
    pub path: String,
    /// From 1.
    pub start_line: u32,
    pub end_line: u32,
    /// Only within one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_column: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
    pub annotation_level: AnnotationLevel,
    pub title: String,
    pub message: String,
}

/// A check run that GitHub has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCheck {
    pub name: String,
    pub github_id: u64,
    /// The run that it shows, and its pull request.
    pub occasion: String,
    pub pull: Option<u64>,
}

/// One check run as it should stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredCheck {
    pub name: String,
    pub head_sha: Sha,
    /// Why this check run exists (a run's id): a completed check run can't reliably go back to
    /// running, so a new occasion is a new check run of the same name.
    pub occasion: String,
    #[serde(flatten)]
    pub status: CheckStatus,
    pub details_url: String,
    pub title: String,
    /// Markdown of at most 65,535 bytes.
    pub summary: String,
    /// Markdown of at most 65,535 bytes.
    pub text: Option<String>,
    pub actions: Vec<CheckAction>,
    /// Of a completed check run alone, and always the same for it, in the same order: GitHub keeps
    /// what it got and appends. No part of what is compared.
    #[serde(skip)]
    pub annotations: Vec<CheckAnnotation>,
}

impl DesiredCheck {
    pub fn is_completed(&self) -> bool {
        matches!(self.status, CheckStatus::Completed { .. })
    }

    /// Equal for equal check runs: what is compared with the acknowledged one.
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(serde_json::to_vec(self).unwrap_or_default()))
    }
}
