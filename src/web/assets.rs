//! The style sheet and the script, from memory, under names that change with their content.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::error::{Answer, WebError};
use super::names::Named;
use crate::render::style;

const PAGES_CSS: &str = include_str!("pages.css");
const LIVE_JS: &str = include_str!("live.js");

/// One file under `/assets/`.
#[derive(Debug)]
pub(crate) struct Asset {
    /// With the first digits of its content's digest: a name is never given to other content.
    pub(crate) path: String,
    content_type: &'static str,
    content: String,
}

impl Asset {
    fn new(stem: &str, ending: &str, content_type: &'static str, content: String) -> Self {
        let digest = hex::encode(Sha256::digest(&content));
        let path = format!("/assets/{stem}.{}.{ending}", &digest[..16]);
        Self { path, content_type, content }
    }
}

pub(crate) static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    let content = format!("{}\n{PAGES_CSS}", style::CSS);
    Asset::new("style", "css", "text/css; charset=utf-8", content)
});

pub(crate) static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("live", "js", "text/javascript; charset=utf-8", LIVE_JS.to_owned())
});

/// `GET /assets/{name}`
pub(crate) async fn show(Named(name): Named<String>) -> Answer {
    let asset = [&STYLE, &SCRIPT]
        .into_iter()
        .find(|asset| asset.path.strip_prefix("/assets/") == Some(name.as_str()));
    let Some(asset) = asset else {
        return Err(WebError::not_found("There is no such asset; reload the page."));
    };
    let headers = [
        (header::CONTENT_TYPE, asset.content_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::VARY, "Accept-Encoding"),
    ];
    let response: Response = (headers, asset.content.as_str()).into_response();
    Ok(response)
}
