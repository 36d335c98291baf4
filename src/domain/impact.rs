//! Which connectors a change affects, each with the chain from a changed file to it.

use serde::{Deserialize, Serialize};

/// What the change does to a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Modified,
    Added,
    Removed,
}

/// The rule that led from a path to a connector: the API's vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    Root,
    Owns,
    Impact,
    Depends,
    Unclaimed,
    Everything,
}

/// Changed path → rule, over the names or paths between → connector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    pub path: String,
    pub rule: Rule,
    #[serde(default)]
    pub via: Vec<String>,
}
