//! GitHub's JSON, written by hand from its description: no wire types shared with the product.

pub(crate) mod checks;
mod commits;
pub(crate) mod pulls;
pub(crate) mod repositories;
mod users;

pub(crate) use self::commits::{commit_json, simple_commit_json};

use base64::Engine as _;

/// A `node_id` of the old form: kind and number, in base64.
pub(crate) fn node_id(kind: &str, id: u64) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("0{}:{kind}{id}", kind.len()))
}
