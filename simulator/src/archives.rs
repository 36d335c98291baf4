//! Source archives: a redirect to another host, where the address itself is the permission.

use std::sync::Arc;

use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};

use crate::git;
use crate::refusals::{Answer, Outcome, not_found, server_error};
use crate::routes::commit_of;
use crate::server::Asked;
use crate::simulator::Inner;

/// Where archives lie.
pub(crate) const PLACE: &str = "/_archives/";
/// How long the address of a private repository's archive is good.
const LIFE: TimeDelta = TimeDelta::minutes(5);

/// An archive that may be downloaded by its address.
#[derive(Debug, Clone)]
pub(crate) struct ArchiveLink {
    repository: u64,
    sha: String,
    /// `None` for public repositories.
    until: Option<DateTime<Utc>>,
}

/// 302 to the archive of a commit.
pub(crate) async fn redirect(inner: &Arc<Inner>, asked: &Asked<'_>) -> Outcome {
    let sha = commit_of(inner, asked).await.map_err(|_| not_found())?;
    let repository = asked.repository()?;
    let token = inner.entropy.hex()[..32].to_owned();
    let until = inner.clock.now() + LIFE;
    let mut world = inner.world();
    let private = world.repositories.get(&repository).ok_or_else(not_found)?.private;
    let link = ArchiveLink { repository, sha, until: private.then_some(until) };
    world.archives.insert(token.clone(), link);
    // Another name of this machine is another host to clients: they must not send it their
    // token.
    let host = world.url.replacen("127.0.0.1", "localhost", 1);
    Ok(Answer::empty(302).with("location", format!("{host}{PLACE}{token}")))
}

/// The archive itself. A request that carries credentials is refused, as by the storage behind
/// GitHub, which takes them for its own.
pub(crate) async fn download(inner: &Arc<Inner>, token: &str, parts: &Parts) -> Answer {
    let now = inner.clock.now();
    let found = {
        let world = inner.world();
        let link = world.archives.get(token).cloned();
        let link = link.filter(|link| link.until.is_none_or(|until| now < until));
        link.and_then(|link| {
            let home = world.repositories.get(&link.repository)?;
            let name = format!("{}-{}-{}/", home.owner, home.name, &link.sha[..7]);
            Some((home.folder.clone(), name, link.sha))
        })
    };
    let Some((folder, name, sha)) = found else {
        return Answer::raw(404, "text/plain; charset=utf-8", "404: Not Found");
    };
    if parts.headers.contains_key("authorization") {
        let text = "Only one auth mechanism allowed";
        return Answer::raw(400, "text/plain; charset=utf-8", text);
    }
    let prefix = format!("--prefix={name}");
    match git::bytes(&folder, &["archive", "--format=tar.gz", &prefix, &sha]).await {
        Ok(bytes) => Answer::raw(200, "application/x-gzip", bytes),
        Err(error) => server_error(&error),
    }
}
