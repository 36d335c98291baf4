//! What goes into a step's container before it starts, and what comes out of it.

use std::io;

use bollard::errors::Error as ApiError;
use bollard::query_parameters::{DownloadFromContainerOptions, UploadToContainerOptions};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::container::{self, Container};
use super::{Docker, Halt, SLOW, halt, image, told};
use crate::exec::StepRun;
use crate::exec::out::{CAPS, Taken};
use crate::exec::pipe::{ChannelReader, ChannelWriter};

impl Docker {
    /// Sends the source into the container's own layer.
    pub(super) async fn upload(
        &self,
        container: &Container,
        step: &StepRun,
        image: &image::Image,
    ) -> Result<(), Halt> {
        let (source, workdir) = (step.source.clone(), step.workdir.clone());
        let name = step.labels.step.clone();
        let open = !image.runs_as_root;
        let trust = self.options.trust.clone();
        let pack = move |to| {
            let whose = (workdir.as_str(), &name);
            source.for_container(to, whose, open, trust.as_ref())
        };
        self.send(container, "the source", pack).await
    }

    /// Sends an archive into the container's own layer while it is packed; `what` it is is said in
    /// errors.
    pub(super) async fn send(
        &self,
        container: &Container,
        what: &str,
        pack: impl FnOnce(ChannelWriter) -> io::Result<()> + Send + 'static,
    ) -> Result<(), Halt> {
        let (chunks, body) = mpsc::channel(8);
        let packing = tokio::task::spawn_blocking(move || {
            pack(ChannelWriter(chunks.clone())).inspect_err(|e| {
                // The request must fail too: a body that just ended would look complete.
                let _ = chunks.blocking_send(Err(io::Error::other(e.to_string())));
            })
        });
        let body = futures_util::stream::unfold(body, |mut body| async {
            body.recv().await.map(|chunk| (chunk, body))
        });
        let options = UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
        let api = self.api.clone().with_timeout(SLOW);
        let body = bollard::body_try_stream(body);
        let sent = api.upload_to_container(container.name(), Some(options), body).await;
        let packed = packing.await.map_err(|e| Halt::again(e.to_string()))?;
        let refused = |e: &ApiError| halt(&format!("{what} could not be sent to the engine"), e);
        match (sent, packed) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(e), Ok(())) => Err(refused(&e)),
            (Err(e), Err(packed)) if packed.kind() == io::ErrorKind::BrokenPipe => Err(refused(&e)),
            (_, Err(e)) => Err(Halt::again(format!("{what} could not be read: {e}"))),
        }
    }

    /// Fetches `/checkvalve/out`; answers what was left out.
    pub(super) async fn collect(
        &self,
        container: &Container,
        step: &StepRun,
    ) -> Result<Vec<String>, Halt> {
        let path = container::out(&step.labels.step);
        let options = DownloadFromContainerOptions { path };
        let mut archive =
            Box::pin(self.api.download_from_container(container.name(), Some(options)));
        let (chunks, reader) = mpsc::channel(8);
        let to = step.out.clone();
        let take = tokio::task::spawn_blocking(move || {
            Taken::new(&to, CAPS).archive(ChannelReader::new(reader))
        });
        while let Some(chunk) = archive.next().await {
            let chunk = match chunk {
                Ok(chunk) => Ok(chunk),
                Err(ApiError::DockerResponseServerError { status_code: 404, message })
                    if !message.contains("No such container") =>
                {
                    return Ok(vec!["$CHECKVALVE_OUT was removed; nothing of it is kept".into()]);
                }
                Err(e) => Err(io::Error::other(told(&e))),
            };
            let failed = chunk.is_err();
            // The taker stops early when a cap is reached.
            if chunks.send(chunk).await.is_err() || failed {
                break;
            }
        }
        drop(chunks);
        let kept = take.await.map_err(|e| Halt::again(e.to_string()))?;
        kept.map_err(|e| Halt::again(format!("what the step left could not be fetched: {e}")))
    }
}
