//! Git over smart HTTP, through git's own `http-backend` as a CGI program.
//!
//! Private repositories demand `x-access-token:<installation token>` with `contents: read`;
//! pushes are refused.

use std::process::Stdio;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response, Uri};
use base64::Engine as _;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio_util::io::ReaderStream;

use crate::api::{Call, Caller};
use crate::auth;
use crate::simulator::Inner;

/// The repository and the rest, when a path belongs to git: `/acme/connectors.git/info/refs`.
pub(crate) fn split(path: &str) -> Option<(String, &str)> {
    let mut parts = path.strip_prefix('/')?.splitn(3, '/');
    let (owner, name, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let is_git = matches!(rest, "info/refs" | "git-upload-pack" | "git-receive-pack");
    is_git.then(|| (format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name)), rest))
}

/// Answers one git request.
pub(crate) async fn serve(
    inner: Arc<Inner>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let Some((repository, rest)) = split(uri.path()) else { return plain(404, "Not Found\n") };
    let latency = inner.faults.latency_of_calls();
    tokio::time::sleep(latency).await;
    let (response, caller) = match inner.faults.take_failure("GIT", uri.path()) {
        Some(status) => (plain(status, "Injected failure\n"), Caller::Nobody),
        None => match admit(&inner, &repository, rest, &uri, &headers) {
            Err(refused) => *refused,
            Ok((folder, caller)) => {
                (backend((&folder, rest), &method, &uri, &headers, body).await, caller)
            }
        },
    };
    let now = inner.clock.now();
    inner.world().calls.push(Call {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        operation: Some("git/upload-pack".to_owned()),
        status: response.status().as_u16(),
        caller,
        at: now,
    });
    response
}

/// A refusal, and who got it.
type Refused = Box<(Response<Body>, Caller)>;

fn admit(
    inner: &Inner,
    repository: &str,
    rest: &str,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(std::path::PathBuf, Caller), Refused> {
    let pushes = rest == "git-receive-pack"
        || uri.query().is_some_and(|query| query.contains("git-receive-pack"));
    if pushes {
        return Err(Box::new((
            plain(403, "Write access to repository not granted.\n"),
            Caller::Nobody,
        )));
    }
    let token = basic_password(headers);
    let now = inner.clock.now();
    let mut world = inner.world();
    let token = match token {
        None => None,
        Some(token) => match auth::installation_token(&mut world, &token, now) {
            Some(token) => Some(token),
            None => return Err(Box::new((challenge(), Caller::Nobody))),
        },
    };
    let caller = token.as_ref().map_or(Caller::Nobody, |t| Caller::Installation(t.installation_id));
    // Git follows a renamed repository.
    let renamed = || world.repositories.get(&world.renamed(repository)?);
    let known = world.repository(repository).or_else(renamed);
    let Some(found) = known else {
        // GitHub does not tell whether a repository exists: without a token it asks for one.
        let refusal =
            if token.is_some() { plain(404, "Repository not found.\n") } else { challenge() };
        return Err(Box::new((refusal, caller)));
    };
    if found.private {
        let Some(token) = token else { return Err(Box::new((challenge(), caller))) };
        if !auth::selects(&world, &token, found.id) {
            return Err(Box::new((plain(404, "Repository not found.\n"), caller)));
        }
        if !auth::grants(&token.permissions, "contents=read") {
            return Err(Box::new((plain(403, "Resource not accessible by integration\n"), caller)));
        }
    }
    Ok((found.folder.clone(), caller))
}

/// The password of a Basic `Authorization` header.
fn basic_password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Some(rest.trim().to_owned());
    }
    let pair = base64::engine::general_purpose::STANDARD.decode(rest.trim()).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

fn plain(status: u16, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(text.to_owned()));
    *response.status_mut() =
        axum::http::StatusCode::from_u16(status).unwrap_or(axum::http::StatusCode::BAD_GATEWAY);
    response
}

fn challenge() -> Response<Body> {
    let mut response = plain(401, "Authentication required.\n");
    let value = axum::http::HeaderValue::from_static("Basic realm=\"GitHub\"");
    response.headers_mut().insert("www-authenticate", value);
    response
}

async fn backend(
    (folder, rest): (&std::path::Path, &str),
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut command = crate::git::command(folder);
    command
        .arg("http-backend")
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_PROJECT_ROOT", folder)
        .env("PATH_INFO", format!("/{rest}"))
        .env("REQUEST_METHOD", method.as_str())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stderr(Stdio::null());
    match stream(command, body).await {
        Ok(response) => response,
        Err(error) => plain(500, &format!("git http-backend: {error}\n")),
    }
}

/// Runs a CGI program and hands its answer on while it is still writing.
async fn stream(
    mut command: tokio::process::Command,
    body: Bytes,
) -> Result<Response<Body>, std::io::Error> {
    let mut child = command.spawn()?;
    let closed = || std::io::Error::other("no pipe");
    let mut stdin = child.stdin.take().ok_or_else(closed)?;
    let mut output = BufReader::new(child.stdout.take().ok_or_else(closed)?);
    tokio::spawn(async move {
        let _ = stdin.write_all(&body).await;
        drop(stdin);
        // Waiting here reaps the process when the answer has been read or dropped.
        let _ = child.wait().await;
    });
    let mut response = Response::new(Body::empty());
    let mut line = String::new();
    loop {
        line.clear();
        let read = output.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if read == 0 || line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500);
            *response.status_mut() = axum::http::StatusCode::from_u16(code)
                .unwrap_or(axum::http::StatusCode::BAD_GATEWAY);
        } else if let (Ok(name), Ok(value)) = (
            axum::http::HeaderName::from_bytes(name.as_bytes()),
            axum::http::HeaderValue::from_str(value),
        ) {
            response.headers_mut().insert(name, value);
        }
    }
    *response.body_mut() = Body::from_stream(ReaderStream::new(output));
    Ok(response)
}
