//! What answers over HTTP, and what it stands on: there before GitHub knows us, since that is how
//! GitHub gets to know us.

use std::sync::Arc;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use super::app::{self, Waiting};
use super::exit::UsageError;
use super::state_dir::StateDir;
use crate::blobs::{Blobs, BlobsUrl};
use crate::config::server::Settings;
use crate::domain::ids::WorkerId;
use crate::domain::links::Links;
use crate::exec::Executors;
use crate::exec::docker::Docker;
use crate::github::Github;
use crate::secrets::seal::Seal;
use crate::store::Store;
use crate::web::{EngineAnswer, Health, NoEngine, Registration, Signers, Web};

/// Database, objects and keys.
pub(super) struct Ground {
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    pub(super) links: Links,
    pub(super) key: Arc<[u8; 32]>,
    pub(super) seal: Arc<Seal>,
    pub(super) worker: WorkerId,
}

impl Ground {
    pub(super) async fn open(
        settings: &Settings,
        state: &StateDir,
        links: Links,
    ) -> anyhow::Result<Self> {
        let store = Store::open(&settings.database_url(&state.path)).await?;
        let blobs_url: BlobsUrl = settings.store_url(&state.path).parse()?;
        let blobs = Blobs::open(&blobs_url, |name| settings.text(name).map(str::to_owned))
            .await
            .with_context(|| {
                format!(
                    "the object store {blobs_url} can't be opened (CHECKVALVE_STORE says where it \
                     is)"
                )
            })?;
        let key = state.key(settings)?;
        let seal = Arc::new(Seal::new(&key)?);
        Ok(Self { store, blobs, links, key: Arc::new(key), seal, worker: state.worker })
    }
}

/// Who may sign deliveries, and who makes the App if there is none.
pub(super) struct Front {
    pub(super) signers: Arc<Signers>,
    registration: Option<Arc<Registration>>,
}

impl Front {
    /// `has_app`: it is known who we are to GitHub.
    pub(super) async fn open(
        settings: &Settings,
        ground: &Ground,
        has_app: bool,
    ) -> anyhow::Result<Self> {
        let signers = app::signers(settings, &ground.store, ground.seal.clone()).await?;
        if has_app && signers.is_empty() {
            bail!(UsageError::from(Settings::no_webhook_secret()));
        }
        let registration = if has_app {
            None
        } else {
            Some(Arc::new(app::registration(settings, ground.seal.clone())?))
        };
        Ok(Self { signers: Arc::new(signers), registration })
    }

    pub(super) fn web(
        &self,
        settings: &Settings,
        ground: &Ground,
        executors: Option<&Executors>,
        stop: &CancellationToken,
    ) -> Web {
        let health: Arc<dyn Health> = match executors {
            Some(Executors::Docker(docker)) => Arc::new(EngineHealth { docker: docker.clone() }),
            Some(Executors::Host(_)) | None => Arc::new(NoEngine),
        };
        Web {
            store: ground.store.clone(),
            blobs: ground.blobs.clone(),
            links: ground.links.clone(),
            signers: self.signers.clone(),
            registration: self.registration.clone(),
            api_token: settings.secret("CHECKVALVE_API_TOKEN"),
            key: ground.key.clone(),
            health,
            metrics: Arc::default(),
            stop: stop.clone(),
        }
    }

    /// GitHub, as the App that is known, or as soon as one is registered.
    pub(super) async fn github(
        &self,
        settings: &Settings,
        ground: &Ground,
        known: Option<Github>,
    ) -> anyhow::Result<Github> {
        if let Some(github) = known {
            return Ok(github);
        }
        let waiting = Waiting {
            store: &ground.store,
            seal: &ground.seal,
            signers: &self.signers,
            registration: self.registration.as_deref().ok_or_else(app::none_yet)?,
            worker: ground.worker,
            public: &ground.links.public,
        };
        app::github(settings, waiting.until_registered().await?)
    }
}

/// Whether steps can run, for `/readyz`.
#[derive(Debug)]
struct EngineHealth {
    docker: Docker,
}

impl Health for EngineHealth {
    fn engine(&self) -> EngineAnswer<'_> {
        Box::pin(async move { self.docker.ping().await.map_err(|error| error.to_string()) })
    }
}
