//! A way to the Docker Engine on which builds lose layers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use checkvalve::ambient;
use checkvalve::exec::docker::DEFAULT_HOST;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// What an engine answers then, with the words of one that did.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n\
    {\"stream\":\"Step 1/2 : FROM x\"}\r\n{\"stream\":\"\\n\"}\r\n";

/// A socket that leads to the engine's.
pub(crate) struct Forgetful {
    pub(crate) host: String,
    /// How many builds were asked for.
    builds: Arc<AtomicU32>,
}

impl Forgetful {
    /// The first `losses` builds end with this error, all else is the engine's.
    pub(crate) fn engine(folder: &Path, losses: u32, error: &str) -> Self {
        let engine = ambient::env("DOCKER_HOST").unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let engine = engine.strip_prefix("unix://").unwrap().to_owned();
        let socket = folder.join("forgetful.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let builds = Arc::new(AtomicU32::new(0));
        let asked = builds.clone();
        let error = serde_json::json!({ "errorDetail": { "message": error }, "error": error });
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (asked, engine, error) = (asked.clone(), engine.clone(), error.to_string());
                let fails = move || asked.fetch_add(1, Ordering::SeqCst) < losses;
                tokio::spawn(pass_on(client, engine, fails, error));
            }
        });
        Self { host: format!("unix://{}", socket.display()), builds }
    }

    pub(crate) fn builds(&self) -> u32 {
        self.builds.load(Ordering::SeqCst)
    }
}

/// Hands a request on to the engine, unless it is for a build that is to fail.
async fn pass_on(
    mut client: UnixStream,
    engine: String,
    fails: impl FnOnce() -> bool,
    error: String,
) {
    let mut request = Vec::new();
    let Some(head) = until(&mut client, &mut request, b"\r\n\r\n").await else { return };
    let first = String::from_utf8_lossy(&request[..head]).into_owned();
    if first.starts_with("POST ") && first.contains("/build?") && fails() {
        until(&mut client, &mut request, b"\r\n0\r\n\r\n").await;
        let answer = format!("{ANSWER}{error}\r\n");
        client.write_all(answer.as_bytes()).await.unwrap();
        return;
    }
    let mut server = UnixStream::connect(&engine).await.unwrap();
    server.write_all(&alone(&request, head)).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}

/// Reads until that was read; answers where it ended.
async fn until(from: &mut UnixStream, read: &mut Vec<u8>, end: &[u8]) -> Option<usize> {
    loop {
        if let Some(at) = read.windows(end.len()).position(|part| part == end) {
            return Some(at + end.len());
        }
        if from.read_buf(read).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

/// The same as the only request of its connection, unless that is to become something else.
fn alone(request: &[u8], head: usize) -> Vec<u8> {
    let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
    if text.contains("\r\nconnection:") {
        return request.to_vec();
    }
    let (head, body) = request.split_at(head - 2);
    [head, b"Connection: close\r\n", body].concat()
}
