//! Who the server is to GitHub: the App of the settings, or the one that `/setup` registered. And how
//! it waits for one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
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
use crate::store::{Store, StoredApp};
use crate::web::{AppSecrets, GivenSecrets, Registration, Signers, TOKEN_LIFE, opened_secret};

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

/// The App of the settings, or else the one that was registered here; `None`: there is none yet. Not
/// both: what is signed with the webhook's secret of the one would be taken for the other's.
pub(super) async fn known(
    settings: &Settings,
    store: &Store,
    seal: &Seal,
) -> anyhow::Result<Option<GithubApp>> {
    match settings.github_app()? {
        Some(app) => {
            if let Some(other) = store.app().await?
                && ![&other.app_id, &other.client_id].contains(&&app.id)
            {
                bail!(other_app(&app, &other));
            }
            Ok(Some(app))
        }
        None => registered(store, seal).await,
    }
}

fn other_app(given: &GithubApp, kept: &StoredApp) -> UsageError {
    UsageError(format!(
        "the settings name the GitHub App {}, and the App `{}` ({}) was registered here: run `checkvalve \
         forget-app` to forget the registered one and its webhook's secrets, or take \
         CHECKVALVE_GITHUB_APP_ID and CHECKVALVE_GITHUB_PRIVATE_KEY out of the settings",
        given.id, kept.slug, kept.app_id
    ))
}

async fn registered(store: &Store, seal: &Seal) -> anyhow::Result<Option<GithubApp>> {
    let Some(app) = store.app().await? else { return Ok(None) };
    let secrets = AppSecrets::open(seal, &app).with_context(|| {
        format!(
            "the GitHub App `{}` that was registered here (if its key is lost, run `checkvalve \
                 forget-app`, and register another one)",
            app.slug
        )
    })?;
    Ok(Some(GithubApp { id: app.app_id, private_key: secrets.private_key }))
}

/// `forget-app`: what GitHub knows of it stays there.
pub(super) async fn forget(settings: &Settings) -> anyhow::Result<Exit> {
    let state = StateDir::open(&settings.state_dir(ambient::env)?)?;
    let store = Store::open(&settings.database_url(&state.path)).await?;
    if store.forget_app().await? {
        eprintln!(
            "the App is forgotten here, and its webhook's secrets: nothing that is signed with them is \
             accepted; delete it on GitHub if it is not used any more, and start the servers again: \
             the first prints where to register another one"
        );
        return Ok(Exit::Passed);
    }
    eprintln!("no App was registered here");
    // Without a key, no server can have refused to start with it.
    if let Ok(key) = state.key_that_is_there(settings)
        && forget_closed(&store, &Seal::new(&key)?).await? > 0
    {
        eprintln!(
            "the webhook's secrets that do not open with this CHECKVALVE_KEY are forgotten: give the \
             webhook a new one in the App's settings on GitHub, and the same in \
             CHECKVALVE_WEBHOOK_SECRET"
        );
    }
    Ok(Exit::Passed)
}

/// Forgets the webhook's secrets that were sealed with another key; how many there were.
async fn forget_closed(store: &Store, seal: &Seal) -> anyhow::Result<usize> {
    let mut forgotten = 0;
    for row in store.webhook_secrets().await? {
        if row.sealed.is_some_and(|sealed| opened_secret(seal, &sealed).is_err()) {
            store.forget_secret(&row.mark).await?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
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
                if offered.is_some() {
                    // Here or by another server, whose settings may be others.
                    self.signers.disown().await?;
                } else {
                    self.signers.look().await?;
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewSecret;
    use crate::web::kept_secret;

    async fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("db").display());
        let store = Store::open(&url).await.unwrap();
        (folder, store)
    }

    fn naming(id: &str) -> Settings {
        let key = "-----BEGIN RSA PRIVATE KEY-----";
        let pairs = [("CHECKVALVE_GITHUB_APP_ID", id), ("CHECKVALVE_GITHUB_PRIVATE_KEY", key)];
        let env = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::read(env, None).unwrap()
    }

    #[tokio::test]
    async fn forget_app_clears_what_a_lost_key_closed_and_leaves_the_rest() {
        let (_folder, store) = store().await;
        let [lost, seal] = [[1; 32], [7; 32]].map(|key| Arc::new(Seal::new(&key).unwrap()));
        let open =
            async || Signers::open(store.clone(), seal.clone(), GivenSecrets::default()).await;
        let current = kept_secret(&lost, &"lost".to_owned().into()).unwrap();
        store.begin_secret(&current).await.unwrap().unwrap();
        assert!(store.promote_secret(&current.mark, &[], PERIOD).await.unwrap());
        let next = kept_secret(&seal, &"ours".to_owned().into()).unwrap();
        store.begin_secret(&next).await.unwrap().unwrap();
        let refused = open().await.unwrap_err().to_string();
        assert!(refused.contains("forget-app"), "{refused}");
        assert_eq!(forget_closed(&store, &seal).await.unwrap(), 1);
        assert!(!open().await.unwrap().is_empty(), "and starts again, with the other one");
        assert_eq!(forget_closed(&store, &seal).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_app_of_the_settings_does_not_stand_beside_another_that_was_registered() {
        let (_folder, store) = store().await;
        let seal = Seal::new(&[7; 32]).unwrap();
        let [app_id, slug, url, client_id] = ["77", "ours", "https://x", "Iv1"].map(str::to_owned);
        let kept = StoredApp { app_id, slug, url, client_id, sealed: Vec::new() };
        let secret = NewSecret { mark: "a".to_owned(), sealed: Vec::new() };
        assert!(store.keep_app(&kept, &secret, &[]).await.unwrap());
        for same in ["77", "Iv1"] {
            assert_eq!(known(&naming(same), &store, &seal).await.unwrap().unwrap().id, same);
        }
        let refused = known(&naming("78"), &store, &seal).await.unwrap_err();
        let refused = refused.downcast::<UsageError>().unwrap().to_string();
        assert!(refused.contains("`ours` (77)") && refused.contains("forget-app"), "{refused}");
        assert!(store.forget_app().await.unwrap());
        assert_eq!(known(&naming("78"), &store, &seal).await.unwrap().unwrap().id, "78");
    }
}
