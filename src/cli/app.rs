//! Who the server is to GitHub: the App of the settings, or the one that `/setup` registered. And how
//! it waits for one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::exit::{Exit, UsageError};
use super::state_dir::StateDir;
use crate::ambient;
use crate::config::server::{GithubApp, Settings};
use crate::domain::ids::WorkerId;
use crate::github::{Github, GithubSettings, Registrar};
use crate::secrets::seal::Seal;
use crate::store::Store;
use crate::web::{AppSecrets, GivenSecrets, Registration, Signers, TOKEN_LIFE};

/// How often a server that has no App looks for one.
const PERIOD: Duration = Duration::from_millis(500);

/// The client, as this App.
pub(super) fn github(settings: &Settings, app: GithubApp) -> anyhow::Result<Github> {
    Ok(Github::new(GithubSettings {
        api_url: settings.github_api_url()?,
        app_id: app.id,
        private_key: app.private_key,
        ca_file: settings.ca_file(),
    })?)
}

/// The App of the settings, or else the one that was registered here; `None`: there is none yet.
pub(super) async fn known(
    settings: &Settings,
    store: &Store,
    seal: &Seal,
) -> anyhow::Result<Option<GithubApp>> {
    match settings.github_app()? {
        Some(app) => Ok(Some(app)),
        None => registered(store, seal).await,
    }
}

async fn registered(store: &Store, seal: &Seal) -> anyhow::Result<Option<GithubApp>> {
    let Some(app) = store.app().await? else { return Ok(None) };
    let secrets = AppSecrets::open(seal, &app)
        .with_context(|| format!("the GitHub App `{}` that was registered here", app.slug))?;
    Ok(Some(GithubApp { id: app.app_id, private_key: secrets.private_key }))
}

/// `forget-app`: what GitHub knows of it stays there.
pub(super) async fn forget(settings: &Settings) -> anyhow::Result<Exit> {
    let state = StateDir::open(&settings.state_dir(ambient::env)?)?;
    let store = Store::open(&settings.database_url(&state.path)).await?;
    if store.forget_app().await? {
        eprintln!(
            "the App is forgotten here; delete it on GitHub if it is not used any more, and start the \
             servers again: the first prints where to register another one"
        );
    } else {
        eprintln!("no App was registered here");
    }
    Ok(Exit::Passed)
}

/// For a command, or a worker, that can do nothing without one.
pub(super) fn none_yet() -> UsageError {
    UsageError(
        "there is no GitHub App yet: start `checkvalve serve` and open the address that it prints, or \
         set CHECKVALVE_GITHUB_APP_ID and CHECKVALVE_GITHUB_PRIVATE_KEY_FILE"
            .to_owned(),
    )
}

/// Who may sign deliveries.
pub(super) async fn signers(
    settings: &Settings,
    store: &Store,
    seal: Arc<Seal>,
) -> anyhow::Result<Signers> {
    let given =
        GivenSecrets { current: settings.webhook_secret(), next: settings.next_webhook_secret() };
    Ok(Signers::open(store.clone(), seal, given).await?)
}

/// What `/setup` needs.
pub(super) fn registration(settings: &Settings, seal: Arc<Seal>) -> anyhow::Result<Registration> {
    let github = Registrar::new(&settings.github_api_url()?, settings.ca_file().as_deref())?;
    let owners = settings.repositories()?.owners().to_vec();
    Ok(Registration::new(seal, github, owners))
}

/// A server that waits for its App.
pub(super) struct Waiting<'a> {
    pub(super) store: &'a Store,
    pub(super) seal: &'a Seal,
    pub(super) signers: &'a Signers,
    pub(super) registration: &'a Registration,
    pub(super) worker: WorkerId,
    /// Our address, as the outside sees it.
    pub(super) public: &'a str,
}

impl Waiting<'_> {
    /// Prints the address where the App is registered, and waits until it is, here or by another
    /// server on the same database.
    pub(super) async fn until_registered(&self) -> anyhow::Result<GithubApp> {
        let mut offered: Option<Instant> = None;
        loop {
            if let Some(app) = registered(self.store, self.seal).await? {
                self.signers.look().await?;
                info!("going on as the GitHub App {}", app.id);
                return Ok(app);
            }
            if offered.is_none_or(|at| at.elapsed() >= TOKEN_LIFE) {
                self.offer().await?;
                offered = Some(Instant::now());
            }
            sleep(PERIOD).await;
        }
    }

    async fn offer(&self) -> anyhow::Result<()> {
        let token = self.registration.offer(self.store, self.worker).await?;
        // Whatever is logged, and in which form: this must be seen.
        eprintln!(
            "\nThere is no GitHub App yet. Open this address in a browser to register one:\n\n    \
             {}/setup?token={}\n\nIt is good for one App, for a day, and until this server starts \
             again. Whoever has it can register the App.\n",
            self.public,
            token.expose_secret()
        );
        Ok(())
    }
}
