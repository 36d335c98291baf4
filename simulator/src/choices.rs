//! What GitHub does not publish. The simulator has to do *something* there, so it chooses; every
//! choice can be made the other way, because a client that works with one of them only has read
//! more out of GitHub than there is.

use serde::{Deserialize, Serialize};

use crate::faults::SecondaryLimit;

/// A page size beyond 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OversizedPage {
    /// Taken as 100.
    #[default]
    Clamp,
    /// Taken as the usual 30.
    Usual,
    /// 422.
    Refuse,
}

/// The shape of a 422 where GitHub publishes a limit and not how it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalLayer {
    /// Sometimes the one, sometimes the other, by field.
    #[default]
    Either,
    /// The first layer everywhere: one message, no `errors`.
    Schema,
    /// The second layer everywhere: `Validation Failed` with `errors`.
    Model,
}

/// How the simulator behaves where GitHub's behaviour is not published.
/// See [`crate::Simulator::choose`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Choices {
    /// So many wrong credentials within a minute lock everybody out for that minute; 0 is never.
    pub lockout_after: usize,
    /// Messages whose wording is not published say something else.
    pub reworded: bool,
    /// The error object carries `status`, which older servers leave out.
    pub status_in_errors: bool,
    /// What `per_page=500` means.
    pub oversized_page: OversizedPage,
    /// How a write to a renamed repository is redirected: 307 or 308.
    pub moved_write: u16,
    /// What ends a call that takes longer than ten seconds: 502 or 504.
    pub slow_call: u16,
    /// Whether that answer is JSON instead of a page.
    pub slow_call_json: bool,
    /// A JWT of an unknown issuer: 404 or 401.
    pub unknown_issuer: u16,
    /// The wrong kind of credentials; `None` is 401 where a JWT is wanted, else 403.
    pub foreign_credentials: Option<u16>,
    /// A status or conclusion that only GitHub may give: 422 or 403.
    pub reserved_word: u16,
    /// See [`RefusalLayer`].
    pub refusal_layer: RefusalLayer,
    /// A write to a public repository outside the token's selection: 403 or 404.
    pub unselected_write: u16,
    /// The primary rate limit: 403 or 429.
    pub primary_status: u16,
    /// What the secondary limits answer that are counted as GitHub publishes them.
    pub counted_limit: SecondaryLimit,
    /// The operations that count as creating content.
    pub content_operations: Vec<String>,
    /// A call during a secondary limit makes it longer.
    pub blocks_grow: bool,
    /// A check run or suite on an unknown commit: 422 or 404.
    pub unknown_commit: u16,
    /// `completed_at` is filled where a conclusion comes without it.
    pub fill_completed_at: bool,
    /// The status of a run that GitHub ended as stale: `completed` or what it was.
    pub stale_completes: bool,
    /// Runs older than 400 days are still listed.
    pub archived_listed: bool,
    /// Which conclusion of its runs a suite takes, worst first.
    pub suite_order: Vec<String>,
    /// A re-request that cannot be; `None` is 403 for another App's run, 422 for an open one.
    pub rerequest_refusal: Option<u16>,
    /// A redelivery of what the log has forgotten: 404 or 422.
    pub late_redelivery: u16,
    /// Events that waited while the secret was changed are signed with the old one.
    pub old_secret_in_flight: bool,
    /// A comparison without a common ancestor: 404 or 422.
    pub no_common_ancestor: u16,
    /// `changed_files` of a pull request tells of files that are not listed, too.
    pub whole_file_count: bool,
    /// The `reason` of the merge group whose checks took too long: `dequeued` or `invalidated`.
    pub overdue_group: String,
    /// An App manifest's code that was used, is unknown or too old: 404 or 422.
    pub spent_code: u16,
}

impl Default for Choices {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self {
            lockout_after: 10,
            reworded: false,
            status_in_errors: true,
            oversized_page: OversizedPage::Clamp,
            moved_write: 307,
            slow_call: 502,
            slow_call_json: false,
            unknown_issuer: 404,
            foreign_credentials: None,
            reserved_word: 422,
            refusal_layer: RefusalLayer::Either,
            unselected_write: 403,
            primary_status: 403,
            counted_limit: SecondaryLimit::githubs(),
            content_operations: words(&[
                "checks/create",
                "issues/create-comment",
                "reactions/create-for-issue-comment",
                "repos/create-commit-status",
            ]),
            blocks_grow: true,
            unknown_commit: 422,
            fill_completed_at: true,
            stale_completes: true,
            archived_listed: false,
            suite_order: words(&[
                "action_required",
                "timed_out",
                "cancelled",
                "failure",
                "startup_failure",
                "stale",
                "neutral",
                "skipped",
                "success",
            ]),
            rerequest_refusal: None,
            late_redelivery: 404,
            old_secret_in_flight: true,
            no_common_ancestor: 404,
            whole_file_count: true,
            overdue_group: "dequeued".to_owned(),
            spent_code: 404,
        }
    }
}
