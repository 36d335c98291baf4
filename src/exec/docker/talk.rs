//! Calls an image's own entrypoint and hands on what it prints, stdout and stderr apart.
//!
//! The sandbox is that of steps. A configuration is a secret: it goes through the container's
//! standard input into its memory, and never into a layer.

use std::pin::{Pin, pin};

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::models::{ContainerCreateBody, ImageInspect};
use bollard::query_parameters::{AttachContainerOptions, UploadToContainerOptions};
use futures_util::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::container::{AMBIGUOUS, Container, SOON, Start, TRUST, is_missing};
use super::output::remember;
use super::watch::{Witness, found_nothing, judge_container};
use super::{ApiError, Docker, Halt, halt, told, unless_stopped};
use crate::exec::images::{CONFIG, Said, Talk, TalkEnd};
use crate::exec::source::relative;

/// Takes the configuration from the standard input, of which the length is known, and becomes the
/// image's entrypoint.
const TAKE_CONFIG: &str = r#"umask 077; head -c "$1" > "$2"; shift 2; exec "$@" < /dev/null"#;

type Input = Pin<Box<dyn AsyncWrite + Send>>;

impl Docker {
    /// Carries out one call.
    pub(super) async fn call(
        &self,
        talk: &Talk,
        said: &mpsc::Sender<Said>,
        stop: &CancellationToken,
    ) -> TalkEnd {
        let called = self.try_call(talk, said, stop).await;
        called.unwrap_or_else(|halt| TalkEnd::Halted(halt.into()))
    }

    async fn try_call(
        &self,
        talk: &Talk,
        said: &mpsc::Sender<Said>,
        stop: &CancellationToken,
    ) -> Result<TalkEnd, Halt> {
        let name = &talk.step.image;
        let image = match self.api.inspect_image(name).await {
            Ok(image) => image,
            Err(e) if is_missing(&e) => {
                return Err(Halt::never(format!(
                    "the image {name} is no longer on this engine: run the step that builds it again"
                )));
            }
            Err(e) => return Err(halt(&format!("image `{name}` could not be looked up"), &e)),
        };
        let entrypoint = entrypoint(&image);
        if entrypoint.is_empty() {
            let why = "the image has no ENTRYPOINT: give it the connector's program";
            return Ok(TalkEnd::Unfit(why.to_owned()));
        }
        let network = self.network_of(&talk.step, stop).await?;
        let id = image.id.as_deref().unwrap_or(name);
        let body = self.body(&talk.step, (id, false), network)?;
        let body = calling(body, entrypoint, talk);
        let container = Container::create(&self.api, &self.removals, name, body).await?;
        let called = unless_stopped(stop, self.use_for(&container, talk, said)).await;
        container.remove().await;
        called
    }

    async fn use_for(
        &self,
        container: &Container,
        talk: &Talk,
        said: &mpsc::Sender<Said>,
    ) -> Result<TalkEnd, Halt> {
        self.give(container, talk).await?;
        let permit = self.starts.acquire().await.map_err(|e| Halt::again(e.to_string()))?;
        let mut tries = 0;
        let attached = loop {
            let attached = self.attach(container, talk.config.is_some()).await?;
            tries += 1;
            match container.start(&talk.step.image, tries < AMBIGUOUS).await? {
                Start::Done => break attached,
                Start::Again => tokio::time::sleep(SOON).await,
            }
        };
        drop(permit);
        // Its time begins here: what came before is the host's.
        let answered = self.listen_to(container, attached, talk, said);
        tokio::time::timeout(talk.limit, answered).await.unwrap_or(Ok(TalkEnd::TimedOut))
    }

    async fn listen_to(
        &self,
        container: &Container,
        attached: AttachContainerResults,
        talk: &Talk,
        said: &mpsc::Sender<Said>,
    ) -> Result<TalkEnd, Halt> {
        let AttachContainerResults { output, input } = attached;
        let mut witness = Witness::of(container);
        let (head, input) = {
            let heard = async { tokio::join!(hand_on(output, said), hand_in(input, talk)) };
            let mut heard = pin!(heard);
            loop {
                tokio::select! {
                    biased;
                    heard = &mut heard => break heard,
                    () = witness.wait(), if !witness.is_done() => {}
                }
            }
        };
        let head = head?;
        drop(input);
        // What it printed is what is judged: a line that broke looks like its end.
        let lost = !witness.saw_the_end().await;
        let exit = judge_container(container, false, lost).await?;
        if lost {
            return Err(Halt::again("the line to the engine broke while the image ran"));
        }
        if found_nothing(exit.code, &head) {
            let head = String::from_utf8_lossy(&head);
            let line = head.lines().next().unwrap_or_default().to_owned();
            let why = match (&talk.config, line.contains("exec sh ")) {
                (Some(_), true) => format!(
                    "the image has no `sh`, through which its configuration is handed to it in \
                     memory ({line})"
                ),
                _ => format!("the image's ENTRYPOINT can't be run ({line})"),
            };
            return Ok(TalkEnd::Unfit(why));
        }
        Ok(TalkEnd::Exited { code: exit.code, out_of_memory: exit.reason.is_some() })
    }

    /// Sends the files that are no secrets into the container's layer.
    async fn give(&self, container: &Container, talk: &Talk) -> Result<(), Halt> {
        let mut files = talk.files.clone();
        let trust = self.options.trust.as_ref();
        files.extend(trust.map(|trust| (TRUST.to_owned(), trust.pem().to_vec())));
        if files.is_empty() {
            return Ok(());
        }
        let tar = archive(&files).map_err(|e| Halt::again(e.to_string()))?;
        let options = UploadToContainerOptions { path: "/".to_owned(), ..Default::default() };
        let body = bollard::body_full(tar.into());
        let sent = self.api.upload_to_container(container.name(), Some(options), body).await;
        sent.map_err(|e| halt("the files could not be sent to the engine", &e))
    }

    async fn attach(
        &self,
        container: &Container,
        stdin: bool,
    ) -> Result<AttachContainerResults, Halt> {
        let options = AttachContainerOptions {
            stream: true,
            stdin,
            stdout: true,
            stderr: true,
            ..AttachContainerOptions::default()
        };
        let attached = self.api.attach_container(container.name(), Some(options)).await;
        attached.map_err(|e| halt("the container could not be attached to", &e))
    }
}

fn entrypoint(image: &ImageInspect) -> Vec<String> {
    let config = image.config.as_ref();
    config.and_then(|config| config.entrypoint.clone()).unwrap_or_default()
}

/// A step's container that runs the image's own program in the image's own folder.
fn calling(body: ContainerCreateBody, entrypoint: Vec<String>, talk: &Talk) -> ContainerCreateBody {
    let body = ContainerCreateBody { working_dir: None, ..body };
    let Some(config) = &talk.config else {
        let cmd = Some(talk.arguments.clone());
        return ContainerCreateBody { entrypoint: Some(entrypoint), cmd, ..body };
    };
    let take = ["sh", "-c", TAKE_CONFIG, "sh"].map(String::from);
    let length = [config.len().to_string(), CONFIG.to_owned()];
    let cmd = length.into_iter().chain(entrypoint).chain(talk.arguments.iter().cloned());
    ContainerCreateBody {
        entrypoint: Some(take.to_vec()),
        cmd: Some(cmd.collect()),
        attach_stdin: Some(true),
        open_stdin: Some(true),
        stdin_once: Some(true),
        ..body
    }
}

/// Readable by any user that the image runs as.
fn archive(files: &[(String, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, relative(path), content.as_slice())?;
    }
    tar.into_inner()
}

/// Hands the output on until its end, and answers how it began. A slow reader slows the image down.
async fn hand_on(
    mut output: impl futures_util::Stream<Item = Result<LogOutput, ApiError>> + Unpin,
    said: &mpsc::Sender<Said>,
) -> Result<Vec<u8>, Halt> {
    let mut head = Vec::new();
    while let Some(chunk) = output.next().await {
        let chunk =
            chunk.map_err(|e| Halt::again(format!("the output was cut off: {}", told(&e))))?;
        let said_now = match chunk {
            LogOutput::StdErr { message } => {
                remember(&mut head, &message);
                Said::Err(message)
            }
            LogOutput::StdOut { message }
            | LogOutput::StdIn { message }
            | LogOutput::Console { message } => Said::Out(message),
        };
        // Without a listener the image goes on, its output read and forgotten.
        let _ = said.send(said_now).await;
    }
    Ok(head)
}

/// Hands the configuration in, and gives the line back, which must outlast the container.
async fn hand_in(mut input: Input, talk: &Talk) -> Input {
    if let Some(config) = &talk.config {
        // An image that ended before it read is judged by how it ended.
        if input.write_all(config).await.is_ok() {
            let _ = input.flush().await;
        }
    }
    input
}
