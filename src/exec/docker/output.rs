//! Takes a container's output by attaching to it.

use std::pin::Pin;
use std::time::Duration;

use bollard::Docker as Api;
use bollard::container::LogOutput;
use bollard::errors::Error as ApiError;
use bollard::query_parameters::{AttachContainerOptions, InspectContainerOptions};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::container::is_missing;
use super::told;

/// How long output may stay away after the container's end before it is given up: the engine
/// closes the connection at once, unless it is lost.
const DRAIN: Duration = Duration::from_secs(30);
/// How long the end of the output and the end of the container may lie apart.
const APART: Duration = Duration::from_millis(200);
/// How often a broken line is mended.
const MENDS: u32 = 10;
/// How many bytes of the output's begin are remembered.
const HEAD: usize = 300;

type Chunks = Pin<Box<dyn Stream<Item = Result<LogOutput, ApiError>> + Send>>;

/// The output of a container, attached.
pub(super) struct Output {
    api: Api,
    name: String,
    chunks: Chunks,
    log: mpsc::Sender<Bytes>,
    exited: CancellationToken,
    head: Vec<u8>,
}

/// How it went.
pub(super) struct Pumped {
    /// The output's first bytes.
    pub(super) head: Vec<u8>,
    /// Why there may have been more.
    pub(super) result: Result<(), String>,
}

impl Output {
    /// `exited` is to be cancelled when the container has ended.
    pub(super) async fn attach(
        api: &Api,
        name: &str,
        log: mpsc::Sender<Bytes>,
        exited: CancellationToken,
    ) -> Result<Self, ApiError> {
        let chunks = attach(api, name).await?;
        let (api, name) = (api.clone(), name.to_owned());
        Ok(Self { api, name, chunks, log, exited, head: Vec::new() })
    }

    /// Hands the output on as it comes, until the container's end. A slow reader slows the
    /// container down, and nothing piles up.
    pub(super) async fn pump(mut self) -> Pumped {
        let mut result = self.drain().await;
        for _ in 0..MENDS {
            // A line that breaks looks like an end.
            let ended = tokio::time::timeout(APART, self.exited.cancelled()).await.is_ok();
            if ended || !still_runs(&self.api, &self.name, &self.exited).await {
                break;
            }
            let note = "\ncheckvalve: the line to the engine broke; output may be missing here\n";
            let _ = self.log.send(note.into()).await;
            result = match attach(&self.api, &self.name).await {
                Ok(chunks) => {
                    self.chunks = chunks;
                    self.drain().await
                }
                Err(e) => Err(told(&e)),
            };
        }
        Pumped { head: self.head, result }
    }

    async fn drain(&mut self) -> Result<(), String> {
        loop {
            let too_long = async {
                self.exited.cancelled().await;
                tokio::time::sleep(DRAIN).await;
            };
            let next = tokio::select! {
                next = self.chunks.next() => next,
                () = too_long => return Err("the engine did not send the rest".to_owned()),
            };
            match next {
                Some(Ok(chunk)) => {
                    let chunk = chunk.into_bytes();
                    remember(&mut self.head, &chunk);
                    // Without a reader the step goes on, its output read and forgotten.
                    let _ = self.log.send(chunk).await;
                }
                Some(Err(e)) => return Err(told(&e)),
                None => return Ok(()),
            }
        }
    }
}

/// Keeps the output's begin.
pub(super) fn remember(head: &mut Vec<u8>, chunk: &[u8]) {
    let room = HEAD.saturating_sub(head.len());
    head.extend_from_slice(&chunk[..chunk.len().min(room)]);
}

/// Asks until the engine answers, or the wait for the container's end has its answer.
async fn still_runs(api: &Api, name: &str, exited: &CancellationToken) -> bool {
    loop {
        match api.inspect_container(name, None::<InspectContainerOptions>).await {
            Ok(container) => {
                return container.state.is_some_and(|state| state.running == Some(true));
            }
            Err(e) if is_missing(&e) => return false,
            Err(_) => {}
        }
        tokio::select! {
            () = exited.cancelled() => return false,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

async fn attach(api: &Api, name: &str) -> Result<Chunks, ApiError> {
    let options = AttachContainerOptions {
        stream: true,
        stdout: true,
        stderr: true,
        ..AttachContainerOptions::default()
    };
    Ok(api.attach_container(name, Some(options)).await?.output)
}
