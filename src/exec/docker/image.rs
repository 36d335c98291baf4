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
use super::left::{SHARES, SNAPSHOTS};
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

impl Image {
    /// One that was asked for by this name.
    pub(super) fn of(image: ImageInspect, name: &str) -> Self {
        let id = image.id.unwrap_or_default();
        let config = image.config.unwrap_or_default();
        let volumes = config.volumes.is_some_and(|volumes| !volumes.is_empty());
        let user = config.user.unwrap_or_default();
        let user = user.split(':').next().unwrap_or_default();
        // Several registries may have it: one that was not asked may be closed to others.
        let digests = image.repo_digests.unwrap_or_default();
        let asked = digests.iter().find(|digest| repository(digest) == repository(name));
        let digest = asked.or(digests.first()).cloned();
        Self {
            digest: digest.or_else(|| Some(id.clone())),
            runs_as_root: matches!(user, "" | "0" | "root"),
            volumes,
            id,
        }
    }
}

/// The repository of an image's name or digest, as engines shorten it.
fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let name = name[last..].find(':').map_or(name, |colon| &name[..last + colon]);
    let hub = ["index.docker.io/", "docker.io/"].iter().find_map(|hub| name.strip_prefix(hub));
    let name = hub.unwrap_or(name);
    name.strip_prefix("library/").unwrap_or(name)
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
            Ok(image) => return usable(image, name),
            Err(e) if is_missing(&e) && is_id(name) => {
                return Err(Halt::never(format!(
                    "image `{name}` is not on this engine any more, and no registry has one by its id"
                )));
            }
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
        usable(image.map_err(gone)?, name)
    }
}

fn usable(image: ImageInspect, name: &str) -> Result<Image, Halt> {
    if is_ours(&image) {
        return Err(Halt::never(format!(
            "image `{name}` is what a step left, which only its heirs begin with (`from`); name an \
             image of yours"
        )));
    }
    Ok(Image::of(image, name))
}

/// Does it hold what a step left, perhaps of another repository? What was published since is for
/// whoever may have it there.
fn is_ours(image: &ImageInspect) -> bool {
    let labels = image.config.as_ref().and_then(|config| config.labels.as_ref());
    let (tags, digests) = (image.repo_tags.as_deref(), image.repo_digests.as_deref());
    labels.is_some_and(|labels| labels.contains_key(LABEL_EPOCH))
        && names_are_ours(tags.unwrap_or_default(), digests.unwrap_or_default())
}

/// Has an image that was made here no name but those that images get here? A name that somebody gave
/// it, or a registry that has it, makes it theirs.
pub(super) fn names_are_ours(tags: &[String], digests: &[String]) -> bool {
    let own = |name: &String| {
        let repository = repository(name);
        let snapshot = repository.strip_prefix(SNAPSHOTS);
        let built = repository.strip_prefix("checkvalve/");
        name.starts_with("<none>")
            || repository == SHARES
            || snapshot.is_some_and(|rest| rest.starts_with('/'))
            || built.is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
    };
    tags.iter().chain(digests).all(own)
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

/// Is it an engine's own name of an image? Asked for one, a registry would look for a repository.
fn is_id(name: &str) -> bool {
    let hex = name.strip_prefix("sha256:");
    hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
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
    fn what_is_written_down_is_of_the_registry_that_was_asked() {
        let digest = |repository: &str| format!("{repository}@sha256:{}", "a".repeat(64));
        let digests = ["mirror.example:5000/library/python", "python", "ghcr.io/a/b"].map(digest);
        let image = |digests: &[String]| ImageInspect {
            id: Some("sha256:1".to_owned()),
            repo_digests: Some(digests.to_vec()),
            ..ImageInspect::default()
        };
        for (name, of) in [
            ("python:3", 1),
            ("docker.io/library/python:3", 1),
            ("index.docker.io/library/python", 1),
            ("ghcr.io/a/b@sha256:00", 2),
            ("mirror.example:5000/library/python:3", 0),
            // A name that it was only given here.
            ("own:1", 0),
            ("sha256:1", 0),
        ] {
            let found = Image::of(image(&digests), name);
            assert_eq!(found.digest.as_ref(), Some(&digests[of]), "{name}");
        }
        assert_eq!(Image::of(image(&[]), "python:3").digest.as_deref(), Some("sha256:1"));
    }

    #[test]
    fn what_was_made_here_and_published_is_no_more_ours_alone() {
        let image = |labels: &[&str], tags: &[&str], digests: &[&str]| ImageInspect {
            config: Some(bollard::models::ImageConfig {
                labels: Some(labels.iter().map(|l| ((*l).to_owned(), "1".to_owned())).collect()),
                ..bollard::models::ImageConfig::default()
            }),
            repo_tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
            repo_digests: Some(digests.iter().map(|digest| (*digest).to_owned()).collect()),
            ..ImageInspect::default()
        };
        let made = &[LABEL_EPOCH][..];
        for (tags, digests, ours) in [
            (&[][..], &[][..], true),
            (&["checkvalve/17:job_x"], &[], true),
            (&["checkvalve/17:job_x"], &["checkvalve/17@sha256:ab"], true),
            (&["checkvalve-share:x"], &["<none>@<none>"], true),
            (&["checkvalve-snapshot/i:k", "<none>:<none>"], &[], true),
            (&["checkvalve/17:job_x", "ghcr.io/a/b:1"], &[], false),
            (&["checkvalve/17:job_x"], &["ghcr.io/a/b@sha256:ab"], false),
            (&[], &["ghcr.io/a/b@sha256:ab"], false),
            (&["checkvalve/base:1"], &[], false),
            (&["ghcr.io/checkvalve/17:1"], &[], false),
            (&["checkvalve-shared:1"], &[], false),
        ] {
            assert_eq!(is_ours(&image(made, tags, digests)), ours, "{tags:?} {digests:?}");
            assert_eq!(usable(image(made, tags, digests), "x").is_err(), ours, "{tags:?}");
            assert!(!is_ours(&image(&["other"], tags, digests)), "{tags:?}");
        }
    }

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
