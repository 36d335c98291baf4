//! Builds an image through the engine's own builder, which keeps to limits and takes a network.

use std::collections::HashMap;

use bollard::query_parameters::{BuildImageOptions, RemoveImageOptions};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::container::{is_missing, labels};
use super::{ApiError, Docker, Halt, SLOW, halt, network, told, unless_stopped};
use crate::domain::pipeline::{Network, Resources};
use crate::exec::ExecError;
use crate::exec::images::{BuildEnd, ImageBuild};

/// The length of a period that a builder's share of processors is counted in, in microseconds.
const PERIOD: i32 = 100_000;

impl Docker {
    pub(super) async fn build_image(
        &self,
        build: &ImageBuild,
        log: &mpsc::Sender<Bytes>,
        stop: &CancellationToken,
    ) -> BuildEnd {
        let end = self.try_build(build, log, stop).await;
        end.unwrap_or_else(|halt| BuildEnd::Halted(halt.into()))
    }

    async fn try_build(
        &self,
        build: &ImageBuild,
        log: &mpsc::Sender<Bytes>,
        stop: &CancellationToken,
    ) -> Result<BuildEnd, Halt> {
        let network = match build.step.network {
            Network::None => "none".to_owned(),
            Network::Bridge => {
                let (name, turn) = (&self.options.network, &*self.network_turn);
                unless_stopped(stop, network::ensure(&self.api, name, turn)).await?
            }
        };
        let options = self.build_options(build, network);
        let file = tokio::fs::File::open(&build.context).await;
        let file = file.map_err(|e| Halt::again(format!("the build's context: {e}")))?;
        let body = bollard::body_try_stream(ReaderStream::with_capacity(file, 256 * 1024));
        let api = self.api.clone().with_timeout(SLOW);
        let mut seen = Seen::default();
        // Dropping the answer ends the build: the engine kills what runs and removes it.
        let ended = unless_stopped(stop, async {
            let mut answers = Box::pin(api.build_image(options, None, Some(body)));
            while let Some(answer) = answers.next().await {
                let line = seen.take(answer)?;
                if !line.is_empty() {
                    let _ = log.send(line.into()).await;
                }
            }
            Ok(())
        });
        let ended = ended.await;
        match (ended, seen.error, seen.id) {
            (Ok(()), None, Some(id)) => Ok(BuildEnd::Built(id)),
            (Ok(()), None, None) => Err(Halt::again("the engine ended the build without a word")),
            (halted, error, _) => {
                self.forget_layers(&seen.layers).await;
                halted?;
                Ok(BuildEnd::Failed(error.unwrap_or_default()))
            }
        }
    }

    fn build_options(&self, build: &ImageBuild, network: String) -> BuildImageOptions {
        let Resources { cpus, memory } = self.granted(build.step.resources);
        // The engine takes more, its client's type does not.
        let memory = i32::try_from(memory).unwrap_or(i32::MAX);
        #[expect(clippy::cast_possible_truncation, reason = "a few cores in microseconds fit well")]
        let quota = (cpus * f64::from(PERIOD)) as i32;
        let mut own = labels(&build.step.labels);
        own.extend(build.labels.clone());
        BuildImageOptions {
            t: Some(build.tag.clone()),
            rm: true,
            forcerm: true,
            memory: Some(memory),
            memswap: Some(memory),
            cpuperiod: Some(PERIOD),
            cpuquota: Some(quota),
            buildargs: Some(HashMap::from_iter(build.step.env.clone())),
            labels: Some(own),
            networkmode: Some(network),
            ..BuildImageOptions::default()
        }
    }

    /// Removes what a build that failed left of layers. The first is the image that it began with,
    /// which is not its own; what has a name, or is another build's too, the engine keeps.
    async fn forget_layers(&self, layers: &[String]) {
        for layer in layers.iter().skip(1).rev() {
            let Ok(image) = self.api.inspect_image(layer).await else { continue };
            let named = image.repo_tags.is_some_and(|tags| !tags.is_empty())
                || image.repo_digests.is_some_and(|digests| !digests.is_empty());
            if !named {
                let _ = self.api.remove_image(layer, None::<RemoveImageOptions>, None).await;
            }
        }
    }

    /// Removes an image; one that is gone already is fine.
    pub(super) async fn forget_image(&self, id: &str) -> Result<(), ExecError> {
        match self.api.remove_image(id, None::<RemoveImageOptions>, None).await {
            Ok(_) => Ok(()),
            Err(e) if is_missing(&e) => Ok(()),
            Err(e) => Err(ExecError::Engine(told(&e))),
        }
    }
}

/// What the builder said.
#[derive(Default)]
struct Seen {
    /// The finished image.
    id: Option<String>,
    error: Option<String>,
    /// Images that it came by, oldest first.
    layers: Vec<String>,
}

impl Seen {
    /// The text of an answer; an error if it is ours.
    fn take(
        &mut self,
        answer: Result<bollard::models::BuildInfo, ApiError>,
    ) -> Result<String, Halt> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(ApiError::DockerStreamError { error }) => return Ok(self.fail(error)),
            // A Dockerfile that can't be read is refused before anything is done.
            Err(ApiError::DockerResponseServerError { status_code: 400, message }) => {
                return Ok(self.fail(message));
            }
            Err(e) => return Err(halt("the image could not be built", &e)),
        };
        if let Some(error) = answer.error_detail {
            return Ok(self.fail(error.message.unwrap_or_default()));
        }
        if let Some(id) = answer.aux.and_then(|aux| aux.id) {
            self.id = Some(id);
        }
        if let Some(status) = answer.status {
            return Ok(format!("{status}\n"));
        }
        let text = answer.stream.unwrap_or_default();
        if let Some(layer) = text.trim_end().strip_prefix(" ---> ").filter(|id| is_id(id)) {
            self.layers.push(layer.to_owned());
        }
        Ok(text)
    }

    fn fail(&mut self, error: String) -> String {
        let line = format!("{}\n", error.trim_end());
        self.error.get_or_insert(error);
        line
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
