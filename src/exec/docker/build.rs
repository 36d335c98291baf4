//! Builds an image through the engine's own builder, which keeps to limits and takes a network.

use std::collections::HashMap;
use std::time::Duration;

use bollard::query_parameters::{BuildImageOptions, RemoveImageOptions};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::container::{is_missing, labels};
use super::{ApiError, Course, Docker, Halt, SLOW, halt, told, unless_stopped};
use crate::ambient;
use crate::domain::pipeline::Resources;
use crate::domain::time::Timestamp;
use crate::exec::ExecError;
use crate::exec::images::{BuildEnd, ImageBuild};

/// The length of a period that a builder's share of processors is counted in, in microseconds.
const PERIOD: i32 = 100_000;

/// More layers than an image can have.
const LAYERS: usize = 128;
/// How long clearing up after a build may take.
const TIDYING: Duration = Duration::from_secs(30);
/// What a build says of its host's or a registry's bad moment.
const OURS: [&str; 7] = [
    "toomanyrequests",
    "no space left on device",
    "No such image",
    "TLS handshake timeout",
    "i/o timeout",
    "connection reset by peer",
    "unexpected EOF",
];

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
        let network = self.network_of(&build.step, stop).await?;
        if let Some(why) = unless_stopped(stop, self.refusal(build)).await? {
            return Ok(BuildEnd::Failed(why));
        }
        let began = ambient::now();
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
            (Ok(()), None, Some(id)) => {
                // Stages that it copied from hang on nothing; its own layers the engine keeps.
                if build.passing {
                    let cleared = self.forget_layers(&seen.layers, began);
                    let _ = tokio::time::timeout(TIDYING, cleared).await;
                }
                Ok(BuildEnd::Built(id))
            }
            (Ok(()), None, None) => Err(Halt::again("the engine ended the build without a word")),
            (halted, error, _) => {
                let cleared = self.forget_layers(&seen.layers, began);
                let _ = tokio::time::timeout(TIDYING, cleared).await;
                halted?;
                let why = error.unwrap_or_default();
                if is_ours(&why) { Err(Halt::again(why)) } else { Ok(BuildEnd::Failed(why)) }
            }
        }
    }

    /// Has all that a build begins with here, and looks whether it may: what an image has its heirs
    /// do is done by the engine, past the build's network.
    async fn refusal(&self, build: &ImageBuild) -> Result<Option<String>, Halt> {
        // Another platform's image is another image than the one that is looked at.
        let own = self.platform.replace("x86_64", "amd64").replace("aarch64", "arm64");
        if let Some(other) = build.platforms.iter().find(|platform| **platform != own) {
            return Ok(Some(format!(
                "it builds on images for `{other}`, and the engine is one of {own}: leave \
                 `--platform` out"
            )));
        }
        for name in &build.images {
            self.find_image(name, &mut Course::begin()).await?;
            let found = self.api.inspect_image(name).await;
            let found = found.map_err(|e| halt(&format!("image `{name}` is gone"), &e))?;
            let triggers = found.config.and_then(|config| config.on_build).unwrap_or_default();
            if let Some(trigger) = triggers.first() {
                return Ok(Some(format!(
                    "image `{name}` has what builds on it do something (`ONBUILD {trigger}`), \
                     which is not done here: build on another one"
                )));
            }
        }
        Ok(None)
    }

    fn build_options(&self, build: &ImageBuild, network: String) -> BuildImageOptions {
        let Resources { cpus, memory } = self.granted(build.step.resources);
        // The engine takes more, its client's type does not.
        let memory = i32::try_from(memory).unwrap_or(i32::MAX);
        #[expect(clippy::cast_possible_truncation, reason = "a few cores in microseconds fit well")]
        let quota = (cpus * f64::from(PERIOD)) as i32;
        let mut own = if build.passing { labels(&build.step.labels) } else { HashMap::new() };
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

    /// Removes what a build that failed left of layers: what was made since it began and has no name.
    /// What is another build's too, the engine keeps.
    async fn forget_layers(&self, layers: &[String], began: Timestamp) {
        for layer in layers.iter().rev() {
            let Ok(image) = self.api.inspect_image(layer).await else { continue };
            let made = image.created.as_deref().and_then(Timestamp::parse);
            if made.is_none_or(|made| made < began) {
                continue;
            }
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
        if let Some(layer) = text.trim_end().strip_prefix(" ---> ").filter(|id| is_id(id))
            && self.layers.len() < LAYERS
            && !self.layers.iter().any(|known| known == layer)
        {
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

fn is_ours(error: &str) -> bool {
    // What a command printed is not what the builder says of it.
    !error.contains("returned a non-zero code") && OURS.iter().any(|sign| error.contains(sign))
}

fn is_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
