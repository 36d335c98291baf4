//! GitHub's JSON, written by hand from its description: no wire types shared with the product.

pub(crate) mod checks;
mod commits;
pub(crate) mod pulls;
pub(crate) mod repositories;
mod users;

pub(crate) use self::commits::{commit_json, git_commit_json, simple_commit_json};

use base64::Engine as _;

/// A file's path inside an address: everything but plain characters and slashes encoded.
pub(crate) fn url_path(path: &str) -> String {
    const KEPT: percent_encoding::AsciiSet = percent_encoding::NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    percent_encoding::utf8_percent_encode(path, &KEPT).to_string()
}

/// A `node_id` of the old form: kind and number, in base64.
pub(crate) fn node_id(kind: &str, id: u64) -> String {
    base64::engine::general_purpose::STANDARD.encode(format!("0{}:{kind}{id}", kind.len()))
}
