//! Finds containers that nobody waits for: of a worker that died, of a lease that was lost.

use std::collections::HashMap;

use bollard::Docker as Api;
use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions};

use super::container::{LABEL_EPOCH, LABEL_INSTANCE, LABEL_JOB, is_going, is_missing};
use super::{ExecError, told};
use crate::domain::ids::JobId;

/// Lists and removes one installation's containers.
#[derive(Debug, Clone)]
pub struct Reaper {
    api: Api,
    instance: String,
}

impl Reaper {
    pub(super) fn new(api: Api, instance: String) -> Self {
        Self { api, instance }
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
}
