//! Finds a step's image on the engine, or has it pulled.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bollard::Docker as Api;
use bollard::errors::Error as ApiError;
use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptions;
use futures_util::future::{BoxFuture, WeakShared};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Mutex;

use super::container::{LABEL_EPOCH, is_missing};
use super::{Course, Docker, Halt, StepRun, credentials, halt, told};

/// An image that is on the engine.
#[derive(Debug, Clone)]
pub(super) struct Image {
    /// By which the container is made: a tag may be moved while the step is being prepared.
    pub(super) id: String,
    /// What the registry knows it by, else its id.
    pub(super) digest: Option<String>,
    pub(super) runs_as_root: bool,
    /// Has it volumes? What a step writes there is its container's alone.
    pub(super) volumes: bool,
}

impl Image {
    /// Do others run in the step's container after it? Not where there are volumes: no copy holds
    /// what is in them, and every heir is to begin with the same.
    pub(super) fn is_shared(&self, step: &StepRun) -> bool {
        step.shared && !self.volumes
    }
}

impl From<ImageInspect> for Image {
    fn from(image: ImageInspect) -> Self {
        let id = image.id.unwrap_or_default();
        let config = image.config.unwrap_or_default();
        let volumes = config.volumes.is_some_and(|volumes| !volumes.is_empty());
        let user = config.user.unwrap_or_default();
        let user = user.split(':').next().unwrap_or_default();
        let digest = image.repo_digests.and_then(|digests| digests.into_iter().next());
        Self {
            digest: digest.or_else(|| Some(id.clone())),
            runs_as_root: matches!(user, "" | "0" | "root"),
            volumes,
            id,
        }
    }
}

/// Pulls that are under way: who wants the same image meanwhile waits for the same one.
#[derive(Debug, Clone)]
pub(super) struct Pulls {
    /// By the image's name.
    under_way: Arc<Mutex<HashMap<String, WeakShared<Pull>>>>,
    /// The folder of Docker's own configuration, which has the registries' credentials.
    config: Option<PathBuf>,
}

/// It goes on as long as anybody waits for it.
type Pull = BoxFuture<'static, Result<(), Refused>>;

/// Why an image could not be pulled.
#[derive(Debug, Clone)]
struct Refused {
    why: String,
    passing: bool,
}

impl Pulls {
    pub(super) fn new(config: Option<PathBuf>) -> Self {
        Self { under_way: Arc::default(), config }
    }

    async fn pull(&self, api: &Api, name: &str) -> Result<(), Refused> {
        let shared = {
            let mut under_way = self.under_way.lock().await;
            under_way.retain(|_, pull| pull.upgrade().is_some_and(|pull| pull.peek().is_none()));
            let known = under_way.get(name).and_then(WeakShared::upgrade);
            known.unwrap_or_else(|| {
                let (api, config) = (api.clone(), self.config.clone());
                let name = name.to_owned();
                let of = name.clone();
                let pull = async move { pull(api, config, &of).await }.boxed().shared();
                under_way.extend(pull.downgrade().map(|weak| (name, weak)));
                pull
            })
        };
        shared.await
    }
}

impl Docker {
    /// Finds an image on the engine, or has it pulled.
    pub(super) async fn find_image(&self, name: &str, course: &mut Course) -> Result<Image, Halt> {
        if name.is_empty() {
            return Err(Halt::never("the step names no image; give it `image: NAME:TAG`"));
        }
        match self.api.inspect_image(name).await {
            Ok(image) if is_ours(&image) => {
                return Err(Halt::never(format!(
                    "image `{name}` is what a step left, which only its heirs begin with (`from`); \
                     name an image of yours"
                )));
            }
            Ok(image) => return Ok(image.into()),
            Err(e) if is_missing(&e) => {}
            Err(e) => return Err(halt(&format!("image `{name}` could not be looked up"), &e)),
        }
        course.enter("pull");
        let pulled = self.pulls.pull(&self.api, name).await;
        course.leave();
        if let Err(Refused { why, passing }) = pulled {
            let reason = format!(
                "image `{name}` is not on this engine and could not be pulled: {why}. Check its \
                 name, or pull or build it there first"
            );
            return Err(if passing { Halt::again(reason) } else { Halt::never(reason) });
        }
        let image = self.api.inspect_image(name).await;
        let gone = |e| halt(&format!("image `{name}` was pulled, but is gone"), &e);
        image.map(Image::from).map_err(gone)
    }
}

/// Does it hold what a step left, perhaps of another repository?
fn is_ours(image: &ImageInspect) -> bool {
    let labels = image.config.as_ref().and_then(|config| config.labels.as_ref());
    labels.is_some_and(|labels| labels.contains_key(LABEL_EPOCH))
}

async fn pull(api: Api, config: Option<PathBuf>, name: &str) -> Result<(), Refused> {
    let login = match &config {
        Some(folder) => credentials::of(folder, name).await,
        None => Ok(None),
    };
    // An image that anybody may have needs none.
    let (login, trouble) = match login {
        Ok(login) => (login, None),
        Err(why) => (None, Some(why)),
    };
    let api = match login {
        // The client would write it in an alphabet that engines do not read.
        Some(login) => api.with_request_modifier(move |mut request| {
            request.headers_mut().insert("X-Registry-Auth", login.clone());
            request
        }),
        None => api,
    };
    pull_with(&api, name).await.map_err(|error| {
        let why = told(&error);
        let passing = is_passing(&error, &why);
        let trouble = trouble.map(|trouble| format!("; no credentials: {trouble}"));
        Refused { why: format!("{why}{}", trouble.unwrap_or_default()), passing }
    })
}

async fn pull_with(api: &Api, name: &str) -> Result<(), ApiError> {
    let options =
        CreateImageOptions { from_image: Some(with_tag(name)), ..CreateImageOptions::default() };
    let mut progress = Box::pin(api.create_image(Some(options), None, None));
    while let Some(line) = progress.next().await {
        let line = line?;
        if let Some(error) = line.error_detail.and_then(|detail| detail.message) {
            return Err(ApiError::DockerStreamError { error });
        }
    }
    Ok(())
}

/// Without a tag, an engine would pull every one that there is.
fn with_tag(name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") }
}

/// Is it the registry's or the line's bad moment, rather than a name that nobody has?
fn is_passing(error: &ApiError, why: &str) -> bool {
    const PASSING: [&str; 6] =
        ["timeout", "Timeout", "reset by peer", "toomanyrequests", "unexpected EOF", "503"];
    let engine_answered = matches!(
        error,
        ApiError::DockerResponseServerError { .. } | ApiError::DockerStreamError { .. }
    );
    !engine_answered || PASSING.iter().any(|sign| why.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_means_latest() {
        for (name, asked) in [
            ("busybox", "busybox:latest"),
            ("busybox:1", "busybox:1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("a/b@sha256:00", "a/b@sha256:00"),
        ] {
            assert_eq!(with_tag(name), asked);
        }
    }
}
