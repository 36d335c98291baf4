//! Finds what nobody waits for: containers and file systems of a worker that died or a lease that
//! was lost, and snapshots that were not used for long.

use std::collections::HashMap;

use bollard::Docker as Api;
use bollard::models::ImageSummary;
use bollard::query_parameters::{
    ListContainersOptions, ListImagesOptions, ListNetworksOptions, RemoveContainerOptions,
};

use super::container::{LABEL_EPOCH, LABEL_INSTANCE, LABEL_JOB, is_going, is_missing};
use super::image::names_are_ours;
use super::layers::Notes;
use super::left::{SHARES, SNAPSHOTS, remove_built, remove_image};
use super::{ExecError, told};
use crate::ambient;
use crate::domain::ids::JobId;
use crate::domain::time::Timestamp;
use std::time::Duration;

/// Lists and removes one installation's containers.
#[derive(Debug, Clone)]
pub struct Reaper {
    api: Api,
    instance: String,
    notes: Option<Notes>,
}

impl Reaper {
    pub(super) fn new(api: Api, instance: String, notes: Option<Notes>) -> Self {
        Self { api, instance, notes }
    }

    /// The ids of this installation's containers, running or not, each with the job and the epoch
    /// that it works for.
    pub async fn owned(&self) -> Result<Vec<(String, JobId, i64)>, ExecError> {
        let label = format!("{LABEL_INSTANCE}={}", self.instance);
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..ListContainersOptions::default()
        };
        let listed = self.api.list_containers(Some(options)).await;
        let listed = listed.map_err(|e| ExecError::Engine(told(&e)))?;
        let owned = listed.into_iter().filter_map(|container| {
            let labels = container.labels?;
            let job = labels.get(LABEL_JOB)?.parse().ok()?;
            let epoch = labels.get(LABEL_EPOCH)?.parse().ok()?;
            Some((container.id?, job, epoch))
        });
        Ok(owned.collect())
    }

    /// Ends and removes a container; one that is gone already is fine.
    pub async fn remove(&self, id: &str) -> Result<(), ExecError> {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match self.api.remove_container(id, Some(options)).await {
            Ok(()) => Ok(()),
            Err(e) if is_missing(&e) || is_going(&e) => Ok(()),
            Err(e) => Err(ExecError::Engine(told(&e))),
        }
    }

    /// The networks of this installation's steps with services, each with the job and the epoch that
    /// it is for.
    pub async fn networks(&self) -> Result<Vec<(String, JobId, i64)>, ExecError> {
        let label = format!("{LABEL_INSTANCE}={}", self.instance);
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListNetworksOptions { filters: Some(filters) };
        let listed = self.api.list_networks(Some(options)).await;
        let listed = listed.map_err(|e| ExecError::Engine(told(&e)))?;
        let owned = listed.into_iter().filter_map(|network| {
            let labels = network.labels?;
            let job = labels.get(LABEL_JOB)?.parse().ok()?;
            let epoch = labels.get(LABEL_EPOCH)?.parse().ok()?;
            Some((network.id?, job, epoch))
        });
        Ok(owned.collect())
    }

    /// Removes a network; one that is gone already is fine. Its containers are gone, of which the
    /// engine itself may hear a moment later.
    pub async fn disconnect(&self, network: &str) -> Result<(), ExecError> {
        const TRIES: u32 = 8;
        const SOON: Duration = Duration::from_millis(250);
        for again in (0..TRIES).rev() {
            match self.api.remove_network(network).await {
                Ok(()) => return Ok(()),
                Err(e) if is_missing(&e) => return Ok(()),
                Err(e) if again == 0 => return Err(ExecError::Engine(told(&e))),
                Err(_) => tokio::time::sleep(SOON).await,
            }
        }
        Ok(())
    }

    /// The images of this installation that hold what steps left to their own job's, each with the
    /// job and the epoch that it is for.
    pub async fn shares(&self) -> Result<Vec<(String, JobId, i64)>, ExecError> {
        let images = self.images(SHARES).await?;
        let owned = images.into_iter().filter_map(|(name, labels)| {
            let job = labels.get(LABEL_JOB)?.parse().ok()?;
            let epoch = labels.get(LABEL_EPOCH)?.parse().ok()?;
            Some((name, job, epoch))
        });
        Ok(owned.collect())
    }

    /// The images that jobs of this installation built, each with its job: those that nobody gave another
    /// name or published.
    pub async fn built(&self) -> Result<Vec<(String, JobId)>, ExecError> {
        let ours = |name: &String| name.starts_with(SHARES) || name.starts_with(SNAPSHOTS);
        let images = self.labelled().await?.into_iter();
        let built = images.filter(|image| {
            !image.repo_tags.iter().any(ours)
                && names_are_ours(&image.repo_tags, &image.repo_digests)
        });
        Ok(built
            .filter_map(|image| Some((image.id, image.labels.get(LABEL_JOB)?.parse().ok()?)))
            .collect())
    }

    /// Removes the layers of builds that are over or whose process was killed, as far as nobody needs
    /// them.
    pub async fn clear_builds(&self) -> Result<(), ExecError> {
        let Some(notes) = &self.notes else { return Ok(()) };
        notes.clear(&self.api).await.map_err(|e| ExecError::Engine(told(&e)))
    }

    /// Removes a share's name; what a snapshot or another image is made of stays.
    pub async fn forget(&self, share: &str) {
        remove_image(&self.api, share).await;
    }

    /// Removes an image that a job built; false if something needs it. Its layers that have an owner are
    /// left to [`Self::clear_builds`]: a build may go on from them.
    pub async fn forget_built(&self, image: &str) -> bool {
        remove_built(&self.api, image).await
    }

    /// Removes the snapshots that were last used longer ago than `age`, and of the others the
    /// longest unused until what they added comes to at most `bytes`. Answers how many went.
    pub async fn trim_snapshots(&self, age: Duration, bytes: u64) -> Result<usize, ExecError> {
        let now = ambient::now();
        let mut snapshots = Vec::new();
        for (name, _) in self.images(SNAPSHOTS).await? {
            snapshots.push((self.used_at(&name).await, self.added(&name).await, name));
        }
        snapshots.sort_by(|a, b| b.cmp(a));
        let (mut sum, mut gone) = (0_u64, 0);
        for (used_at, added, name) in snapshots {
            sum = sum.saturating_add(added);
            if sum > bytes || used_at.is_some_and(|used_at| now.since(used_at) > age) {
                remove_image(&self.api, &name).await;
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// When a snapshot was last used: each use gives it its name anew.
    async fn used_at(&self, name: &str) -> Option<Timestamp> {
        let image = self.api.inspect_image(name).await.ok()?;
        let tagged = image.metadata?.last_tag_time?;
        Timestamp::parse(&tagged)
    }

    /// The bytes of a snapshot's own layer; those below are other images'.
    async fn added(&self, name: &str) -> u64 {
        let layers = self.api.image_history(name).await.unwrap_or_default();
        layers.first().and_then(|layer| u64::try_from(layer.size).ok()).unwrap_or(0)
    }

    /// This installation's images in a repository of that prefix: a name of each, and its labels.
    async fn images(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, HashMap<String, String>)>, ExecError> {
        let listed = self.labelled().await?;
        let named = listed.into_iter().flat_map(|image| {
            let labels = image.labels;
            let ours = image.repo_tags.into_iter().filter(|name| name.starts_with(prefix));
            ours.map(|name| (name, labels.clone())).collect::<Vec<_>>()
        });
        Ok(named.collect())
    }

    /// This installation's images.
    async fn labelled(&self) -> Result<Vec<ImageSummary>, ExecError> {
        let label = format!("{LABEL_INSTANCE}={}", self.instance);
        let options = ListImagesOptions {
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..ListImagesOptions::default()
        };
        let listed = self.api.list_images(Some(options)).await;
        listed.map_err(|e| ExecError::Engine(told(&e)))
    }
}
