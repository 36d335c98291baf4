//! What a step leaves to its heirs: its container, alive or ended, or a copy of its file system,
//! which the engine keeps as an image.

use std::sync::Arc;

use bollard::Docker as Api;
use bollard::errors::Error as ApiError;
use bollard::models::ContainerConfig;
use bollard::query_parameters::{CommitContainerOptions, RemoveImageOptions, TagImageOptions};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::agent::Agent;
use super::build::has_labelled_layers;
use super::container::{Container, LABEL_INSTANCE, is_missing};
use super::image::Image;
use super::{Docker, told};
use crate::ambient;
use crate::ambient::failpoint::{self, Deed};
use crate::exec::{Course, Divided, Division};

/// The repositories of images that hold what steps left: for a job's own heirs, and for later runs.
pub(super) const SHARES: &str = "checkvalve-share";
pub(super) const SNAPSHOTS: &str = "checkvalve-snapshot";

/// The digest of the image that a chain of steps began with.
const LABEL_BASE: &str = "io.checkvalve.base";

/// The file system that a step left in a container.
#[derive(Debug)]
pub struct Left {
    /// The image that its chain began with.
    pub(super) image: Image,
    /// What the container itself began with, if another step left that: an engine can't keep a
    /// container's file system without it.
    pub(super) base: Option<Arc<Kept>>,
    pub(super) form: Form,
}

#[derive(Debug)]
pub(super) enum Form {
    /// Waits for the next step.
    Alive(Container, Agent),
    Ended(Container),
    Kept(Arc<Kept>),
    /// Not left by a step: made for one that is about to begin.
    Ready {
        container: Container,
        shared: bool,
    },
}

/// An image with a file system; one that is for a job only goes when nobody has it any more.
#[derive(Debug)]
pub(super) struct Kept {
    api: Api,
    removals: TaskTracker,
    pub(super) id: String,
    /// Its name, if it is to go.
    passing: Option<String>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(name) = self.passing.take() else { return };
        // Outside of a runtime there is nobody to ask; the reaper will see to it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let api = self.api.clone();
        self.removals.spawn_on(async move { remove_image(&api, &name).await }, &runtime);
    }
}

pub(super) async fn remove_image(api: &Api, name: &str) {
    remove(api, name, false).await;
}

/// Removes an image, and what it alone was made of unless that has an owner.
pub(super) async fn remove_built(api: &Api, id: &str) -> bool {
    remove(api, id, has_labelled_layers(api, id).await).await
}

async fn remove(api: &Api, name: &str, noprune: bool) -> bool {
    let options = RemoveImageOptions { force: true, noprune, ..RemoveImageOptions::default() };
    match api.remove_image(name, Some(options), None).await {
        Ok(_) => true,
        Err(e) if is_missing(&e) => true,
        Err(e) => {
            tracing::warn!(image = name, error = told(&e), "left to the reaper");
            false
        }
    }
}

impl Docker {
    pub(super) async fn divide_left(&self, left: Left, into: Division) -> Divided<Left> {
        let Left { image, base, form } = left;
        let goes_on = into.go_on && matches!(form, Form::Alive(..));
        let copies = into.heirs - usize::from(goes_on && into.heirs > 0);
        let container = match form {
            Form::Kept(kept) => return shares_of(&image, &kept, into.heirs, into.keep),
            Form::Alive(container, agent) => (container, Some(agent)),
            Form::Ended(container) | Form::Ready { container, .. } => (container, None),
        };
        let (container, agent) = container;
        let mut course = Course::begin();
        let mut divided = Divided::nothing();
        if copies > 0 || into.keep {
            course.enter("snapshot");
            match self.commit(&container, &image, &into).await {
                Ok(kept) => {
                    divided = shares_of(&image, &Arc::new(kept), copies, into.keep);
                }
                Err(e) => divided.trouble = Some(told(&e)),
            }
            course.leave();
            divided.segment = course.segments.pop();
        }
        match agent {
            Some(agent) if goes_on && into.heirs > 0 => {
                divided.shares.insert(0, Left { image, base, form: Form::Alive(container, agent) });
            }
            Some(_) | None => container.remove().await,
        }
        divided
    }

    /// Makes an image of a container's file system, for the job first: a later run's it becomes
    /// when the step's success is written down. Once asked, an engine makes it whether or not
    /// anybody still listens: one that nobody takes is removed.
    async fn commit(
        &self,
        container: &Container,
        image: &Image,
        into: &Division,
    ) -> Result<Kept, ApiError> {
        let tag = ambient::ulid().to_string().to_lowercase();
        let options = CommitContainerOptions {
            container: Some(container.name().to_owned()),
            repo: Some(SHARES.to_owned()),
            tag: Some(tag.clone()),
            pause: false,
            ..CommitContainerOptions::default()
        };
        let mut labels = super::container::labels(&into.labels);
        labels.extend(image.digest.iter().map(|digest| (LABEL_BASE.to_owned(), digest.clone())));
        let config = ContainerConfig { labels: Some(labels), ..ContainerConfig::default() };
        let api = self.api.clone().with_timeout(super::SLOW);
        let (plain, removals) = (self.api.clone(), self.removals.clone());
        let (taken, made) = oneshot::channel();
        let of = into.labels.connector.clone();
        self.removals.spawn(async move {
            let work = api.commit_container(options, config);
            let made = failpoint::around(Deed::Keep, || of.to_string(), work).await;
            let passing = Some(format!("{SHARES}:{tag}"));
            let kept = made.map(|made| Kept { api: plain, removals, id: made.id, passing });
            // Dropped here, where it is still waited for.
            drop(taken.send(kept));
        });
        made.await.unwrap_or_else(|_| Err(ApiError::from(std::io::Error::other("no answer"))))
    }

    fn snapshot_name(&self, name: &str) -> String {
        format!("{SNAPSHOTS}/{}:{name}", self.options.instance.to_lowercase())
    }

    /// Gives a copy its name among those for later runs.
    pub(super) async fn keep_left(&self, share: Left, name: &str) {
        let Form::Kept(kept) = &share.form else { return };
        self.name_snapshot(&kept.id, name).await;
    }

    /// The engine notes when an image got a name: the time of its last use.
    async fn name_snapshot(&self, image: &str, name: &str) {
        let whole = self.snapshot_name(name);
        let (repo, tag) = whole.split_once(':').unwrap_or((&whole, ""));
        let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
        let tagged = self.api.tag_image(image, Some(options));
        if let Err(e) = failpoint::around(Deed::Tag, || whole.clone(), tagged).await {
            tracing::warn!(snapshot = name, error = told(&e), "not kept for later runs");
        }
    }

    pub(super) async fn recall_left(&self, name: &str) -> Option<Left> {
        let found = self.api.inspect_image(&self.snapshot_name(name)).await.ok()?;
        let label = |image: &bollard::models::ImageInspect, label: &str| {
            image.config.as_ref()?.labels.as_ref()?.get(label).cloned()
        };
        if label(&found, LABEL_INSTANCE).as_deref() != Some(self.options.instance.as_str()) {
            return None;
        }
        let id = found.id.clone()?;
        self.name_snapshot(&id, name).await;
        let base = label(&found, LABEL_BASE);
        let image = Image { digest: base, ..Image::of(found, name) };
        let kept =
            Kept { api: self.api.clone(), removals: self.removals.clone(), id, passing: None };
        Some(Left { image, base: None, form: Form::Kept(Arc::new(kept)) })
    }
}

fn shares_of(image: &Image, kept: &Arc<Kept>, heirs: usize, keep: bool) -> Divided<Left> {
    let share = || Left { image: image.clone(), base: None, form: Form::Kept(kept.clone()) };
    Divided {
        shares: std::iter::repeat_with(share).take(heirs).collect(),
        kept: keep.then(share),
        ..Divided::nothing()
    }
}
