//! Builds an image through the engine's own builder, which keeps to limits and takes a network.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::PoisonError;

use bollard::Docker as Api;
use bollard::models::ImageInspect;
use bollard::query_parameters::{BuildImageOptions, RemoveImageOptions};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::container::{LABEL_EPOCH, LABEL_INSTANCE, LABEL_JOB, is_missing};
use super::image::Image;
use super::layers::{self, Layers};
use super::said::{Fault, NON_ZERO, Seen, fault, may_have_been_ended};
use super::watch::{LOOK, LOOK_LIMIT, LOOKS, SECOND_LOOK, SECOND_LOOKS};
use super::{Course, Docker, Halt, SLOW, halt, told, unless_stopped};
use crate::ambient;
use crate::ambient::failpoint::{self, Deed};
use crate::domain::build::{SENT, Sent, ignoring};
use crate::domain::pipeline::Resources;
use crate::exec::files::context_with;
use crate::exec::images::{BuildEnd, ImageBuild};
use crate::exec::{ExecError, Labels};

/// The length of a period that a builder's share of processors is counted in, in microseconds.
const PERIOD: i32 = 100_000;

/// How often a build is tried whose engine lost what it was about to go on from.
const TRIES: u32 = 3;

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
        let mut tried = 0;
        loop {
            // One that was made may be gone by the next try.
            let network = self.network_of(&build.step, stop).await?;
            let why = match self.build_once(build, &network, log, stop).await? {
                Tried::Ended(end) => return Ok(end),
                Tried::Lost(why) => why,
            };
            tried += 1;
            if tried == TRIES {
                let why = format!("the engine lost layers of the build {tried} times: {why}");
                return Err(Halt::again(why));
            }
            let told = format!(
                "a layer was gone that the build was about to go on from: it begins again, for the \
                 {} time of at most {TRIES}\n",
                if tried == 1 { "second" } else { "third" }
            );
            let _ = log.send(told.into()).await;
        }
    }

    async fn build_once(
        &self,
        build: &ImageBuild,
        network: &str,
        log: &mpsc::Sender<Bytes>,
        stop: &CancellationToken,
    ) -> Result<Tried, Halt> {
        let bases = match unless_stopped(stop, self.bases(build)).await? {
            Ok(bases) => bases,
            Err(why) => return Ok(Tried::Ended(BuildEnd::Failed(why))),
        };
        let ids: Vec<String> = bases.values().cloned().collect();
        let mut on = ids.clone();
        on.extend(build.sources.scratch.then(|| layers::SCRATCH.to_owned()));
        let notes = self.notes.clone().filter(|_| build.passing);
        let layers =
            tokio::task::spawn_blocking(move || Layers::begin(notes.as_deref(), &on)).await;
        let layers = layers.map_err(|e| Halt::again(e.to_string()))?;
        let label = layers.label(&scope(build, network));
        // What stays on one's own machine is built as one would oneself.
        let sent = build.passing.then(|| build.sources.sent(&bases, label.as_deref()));
        let pinned = sent.is_some();
        let context = context(build, sent.as_ref()).await;
        let context = context.map_err(|e| Halt::again(format!("the build's context: {e}")))?;
        let labelled = label.is_some();
        let options = self.build_options(build, network.to_owned(), labelled);
        build.begun.get_or_init(ambient::now);
        let making = Making { api: self.api.clone(), options, context, sent, layers };
        // Who asks may be dropped: then the build is ended as well, and what it made is cleared away.
        let ends = stop.child_token();
        let _asking = ends.clone().drop_guard();
        let making = making.make(log.clone(), ends);
        let of = build.step.labels.connector.clone();
        let making = failpoint::around(Deed::Build, move || of.to_string(), making);
        let made = self.removals.spawn(making);
        let made = made.await.unwrap_or_else(|e| Err(Halt::again(e.to_string())));
        if pinned && may_lack_a_base(&made) && self.lacks(&ids).await {
            return Ok(Tried::Lost("an image that it builds on is gone".to_owned()));
        }
        made
    }

    async fn lacks(&self, images: &[String]) -> bool {
        for id in images {
            if self.api.inspect_image(id).await.is_err_and(|e| is_missing(&e)) {
                return true;
            }
        }
        false
    }

    /// Has all that a build begins with here, and answers the ids of the images by their names, or why
    /// it may not begin: what an image has its heirs do is done by the engine, past the build's network.
    async fn bases(
        &self,
        build: &ImageBuild,
    ) -> Result<Result<BTreeMap<String, String>, String>, Halt> {
        // Another platform's image is another image than the one that is looked at.
        let own = self.platform.replace("x86_64", "amd64").replace("aarch64", "arm64");
        let platforms = &build.sources.platforms;
        if let Some(other) = platforms.iter().find(|platform| **platform != own) {
            return Ok(Err(format!(
                "it builds on images for `{other}`, and the engine is one of {own}: leave \
                 `--platform` out"
            )));
        }
        let (mut bases, mut told) = (BTreeMap::new(), BTreeMap::new());
        for name in &build.sources.images {
            let pinned = build.pins.get(name).filter(|_| build.passing).unwrap_or(name);
            let Image { id, digest, .. } = self.find_image(pinned, &mut Course::begin()).await?;
            told.extend(digest.map(|digest| (name.clone(), digest)));
            let found = self.api.inspect_image(&id).await;
            let found = found.map_err(|e| halt(&format!("image `{name}` is gone"), &e))?;
            if let Some(other) =
                platform_of(&found).filter(|of| *of != own && !platforms.is_empty())
            {
                return Err(Halt::never(format!(
                    "image `{name}` is on this engine as one for `{other}`: pull the one for `{own}`"
                )));
            }
            let triggers = found.config.and_then(|config| config.on_build).unwrap_or_default();
            if let Some(trigger) = triggers.first() {
                return Ok(Err(format!(
                    "image `{name}` has what builds on it do something (`ONBUILD {trigger}`), \
                     which is not done here: build on another one"
                )));
            }
            bases.insert(name.clone(), id);
        }
        // A try that begins again may find others.
        *build.bases.lock().unwrap_or_else(PoisonError::into_inner) = told;
        Ok(Ok(bases))
    }

    fn build_options(
        &self,
        build: &ImageBuild,
        network: String,
        labelled: bool,
    ) -> BuildImageOptions {
        let Resources { cpus, memory } = self.granted(build.step.resources);
        // The engine takes more, its client's type does not.
        let memory = i32::try_from(memory).unwrap_or(i32::MAX);
        #[expect(clippy::cast_possible_truncation, reason = "a few cores in microseconds fit well")]
        let quota = (cpus * f64::from(PERIOD)) as i32;
        let mut own = HashMap::from_iter(build.labels.clone());
        let mut dockerfile = "Dockerfile";
        if build.passing {
            own.extend(passing_labels(&build.step.labels, labelled));
            dockerfile = SENT;
        }
        BuildImageOptions {
            dockerfile: dockerfile.to_owned(),
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

    /// Removes an image, and what it alone was made of; one that is gone already is fine.
    pub(super) async fn forget_image(&self, id: &str) -> Result<(), ExecError> {
        let noprune = has_labelled_layers(&self.api, id).await && self.notes.is_some();
        let options = RemoveImageOptions { noprune, ..RemoveImageOptions::default() };
        match self.api.remove_image(id, Some(options), None).await {
            Ok(_) => {}
            Err(e) if is_missing(&e) => {}
            Err(e) => return Err(ExecError::Engine(told(&e))),
        }
        if let Some(notes) = &self.notes
            && let Err(e) = notes.clear(&self.api).await
        {
            tracing::warn!(error = told(&e), "a build's layers are left to the reaper");
        }
        Ok(())
    }
}

/// Do layers that it was made of have an owner, who removes them? The engine would not ask whether a
/// build goes on from them. What was made without a label it alone knows.
pub(super) async fn has_labelled_layers(api: &Api, image: &str) -> bool {
    let found = api.inspect_image(image).await.ok().and_then(|found| found.config?.labels);
    found.is_some_and(|labels| labels.contains_key(layers::LABEL))
}

/// The bytes of a build's context, with the Dockerfile that is sent.
async fn context(build: &ImageBuild, sent: Option<&Sent>) -> std::io::Result<Context> {
    let ignore = ignoring(build.ignore.as_deref());
    let files =
        sent.map(|sent| [(SENT, sent.text.as_bytes()), (".dockerignore", ignore.as_bytes())]);
    let files = files.as_ref().map_or(&[][..], |files| &files[..]);
    Ok(Box::pin(context_with(&build.context, files).await?))
}

/// With which builds it shares its layers: those of the same code's authors which can reach the same.
/// Neither a network nor variables that name proxies make another layer for the engine.
fn scope(build: &ImageBuild, network: &str) -> String {
    let mut digest = Sha256::new_with_prefix(network);
    for (name, value) in &build.step.env {
        if name.to_ascii_lowercase().ends_with("_proxy") {
            digest.update(format!("\n{}:{name}={}:{value}", name.len(), value.len()));
        }
    }
    let digest = hex::encode(digest.finalize());
    format!("{}.{}", build.scope, &digest[..16])
}

/// As `linux/amd64`, if the engine knows it.
fn platform_of(image: &ImageInspect) -> Option<String> {
    Some(format!("{}/{}", image.os.as_deref()?, image.architecture.as_deref()?))
}

/// The labels of an image that goes with its job: what the reaper goes by, and what it is not, if its
/// layers have that label. Each is a layer of its own.
fn passing_labels(labels: &Labels, labelled: bool) -> Vec<(String, String)> {
    let own = [
        (LABEL_INSTANCE, labels.instance.clone()),
        (LABEL_JOB, labels.job.to_string()),
        (LABEL_EPOCH, labels.epoch.to_string()),
    ];
    let layer = labelled.then(|| (layers::LABEL, String::new()));
    own.into_iter().chain(layer).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Can it be that it ended since the engine looked elsewhere for what it builds on?
fn may_lack_a_base(made: &Result<Tried, Halt>) -> bool {
    match made {
        Ok(Tried::Ended(BuildEnd::Failed(why))) => !why.contains(NON_ZERO),
        Ok(Tried::Ended(_) | Tried::Lost(_)) | Err(Halt::Cancelled) => false,
        Err(Halt::Errored { .. } | Halt::Failed { .. }) => true,
    }
}

/// What came of one try.
enum Tried {
    Ended(BuildEnd),
    /// A layer was gone: nobody's fault.
    Lost(String),
}

/// A build that is about to begin.
struct Making {
    api: Api,
    options: BuildImageOptions,
    context: Context,
    /// Of an image that goes with its job.
    sent: Option<Sent>,
    layers: Layers,
}

/// A tar archive on its way.
type Context = Pin<Box<dyn AsyncRead + Send>>;

impl Making {
    async fn make(self, log: mpsc::Sender<Bytes>, ends: CancellationToken) -> Result<Tried, Halt> {
        let Self { api, options, context, sent, layers } = self;
        let passing = sent.is_some();
        let body = bollard::body_try_stream(ReaderStream::with_capacity(context, 256 * 1024));
        let slow = api.clone().with_timeout(SLOW);
        let mut seen = Seen::of(layers, sent);
        // Dropping the answer ends the build: the engine kills what runs and removes it.
        let ended = unless_stopped(&ends, async {
            let mut answers = Box::pin(slow.build_image(options, None, Some(body)));
            while let Some(answer) = next(&api, &mut answers).await? {
                let line = seen.take(answer)?;
                if !line.is_empty() {
                    let _ = log.send(line.into()).await;
                }
            }
            Ok(())
        });
        let ended = ended.await;
        drop(log);
        let Seen { id, error, layers, .. } = seen;
        match (&ended, &error, &id) {
            // Stages that it copied from hang on nothing; its own layers the engine keeps.
            (Ok(()), None, Some(_)) if !passing => layers.keep(),
            _ => layers.end(&api).await,
        }
        match (ended, error, id) {
            (Ok(()), None, Some(id)) => Ok(Tried::Ended(BuildEnd::Built(id))),
            (Ok(()), None, None) => Err(Halt::again("the engine ended the build without a word")),
            (Err(halted), ..) => Err(halted),
            (Ok(()), Some(why), _) if may_have_been_ended(&why) && !stays(&api).await => Err(
                Halt::again(format!("the Docker Engine was stopped while the build ran: {why}")),
            ),
            (Ok(()), Some(why), _) => match fault(&why) {
                Fault::Lost => Ok(Tried::Lost(why)),
                Fault::Ours => Err(Halt::again(why)),
                Fault::Theirs => Ok(Tried::Ended(BuildEnd::Failed(why))),
            },
        }
    }
}

/// The engine's next word. Commands may be quiet for long; an engine that does not answer any more would be
/// waited for until the step's time is up.
async fn next<A>(
    api: &Api,
    answers: &mut (impl Stream<Item = A> + Unpin),
) -> Result<Option<A>, Halt> {
    loop {
        if let Ok(answer) = tokio::time::timeout(LOOK, answers.next()).await {
            return Ok(answer);
        }
        let mut failed = 0;
        while !matches!(tokio::time::timeout(LOOK_LIMIT, api.ping()).await, Ok(Ok(_))) {
            failed += 1;
            if failed == LOOKS {
                return Err(Halt::again("the Docker Engine does not answer any more"));
            }
        }
    }
}

/// Does the engine answer, and go on doing so? One that shuts down ends its containers, reports that,
/// and is gone.
async fn stays(api: &Api) -> bool {
    for _ in 0..SECOND_LOOKS {
        tokio::time::sleep(SECOND_LOOK).await;
        let answer = tokio::time::timeout(LOOK_LIMIT, api.ping()).await;
        if !matches!(answer, Ok(Ok(_))) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{JobId, RunId};

    /// By it an image is removed without what it was made of, which then has an owner.
    #[test]
    fn an_image_says_so_only_if_its_layers_have_a_label() {
        let labels = Labels {
            instance: "i".to_owned(),
            run: RunId::new(ambient::ulid()),
            job: JobId::new(ambient::ulid()),
            epoch: 1,
            connector: "x".parse().unwrap(),
            step: "y".parse().unwrap(),
            attempt: 1,
        };
        let has = |labelled| {
            passing_labels(&labels, labelled).iter().any(|(key, _)| key == layers::LABEL)
        };
        assert!(has(true) && !has(false));
    }
}
