//! `rotate-webhook-secret`: a new secret for the App's webhook, here and on GitHub, while deliveries
//! come. In steps of which each can be repeated, so that a command that is killed is started again:
//!
//! 1. The new secret is stored as the next one, and a server says that it accepts it.
//! 2. GitHub is told. What it signed before, and what it signs from now on, is accepted.
//! 3. A delivery has come with the new secret.
//! 4. The new one is the current one; the one before is accepted for a while, for what is under way.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};

use super::app;
use super::exit::{Exit, UsageError};
use super::state_dir::StateDir;
use crate::ambient;
use crate::config::duration;
use crate::config::server::Settings;
use crate::domain::time::human;
use crate::github::Github;
use crate::secrets::seal::Seal;
use crate::store::{NewSecret, SecretRow, SecretState, Store};
use crate::web::{kept_secret, opened_secret};

/// How long a server may take to accept a secret; it looks every second.
const HEARD_WITHIN: Duration = Duration::from_secs(20);
/// How long a delivery is waited for before GitHub is asked for one, and altogether.
const SEEN_BY_ITSELF: Duration = Duration::from_secs(2);
const SEEN_WITHIN: Duration = Duration::from_mins(1);
const PERIOD: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub struct RotateArgs {
    /// How long what was signed with the old secret is still accepted
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse)]
    grace: Duration,
}

pub async fn run(args: &RotateArgs, settings: &Settings) -> anyhow::Result<Exit> {
    let state = StateDir::open(&settings.state_dir(ambient::env)?)?;
    let store = Store::open(&settings.database_url(&state.path)).await?;
    let seal = Seal::new(&state.key_that_is_there(settings)?)?;
    let app = app::known(settings, &store, &seal).await?.ok_or_else(app::none_yet)?;
    let github = app::github(settings, app)?;
    let rotation = Rotation { store, seal, github, settings, grace: args.grace };
    rotation.carry_out(&mut io::stdout()).await
}

struct Rotation<'a> {
    store: Store,
    seal: Seal,
    github: Github,
    settings: &'a Settings,
    grace: Duration,
}

impl Rotation<'_> {
    async fn carry_out(&self, out: &mut impl Write) -> anyhow::Result<Exit> {
        let hook = self.github.hook().await?;
        if hook.url.is_empty() {
            bail!("the App's webhook has no address: set it in the App's settings on GitHub first");
        }
        let next = self.begin().await?;
        self.heard(&next).await?;
        writeln!(out, "The new secret is accepted beside the one that GitHub signs with now.")?;
        let sealed = next.sealed.as_deref().context("the next secret is not kept any more")?;
        self.github.set_hook_secret(&opened_secret(&self.seal, sealed)?).await?;
        if !self.github.hook().await?.is_signed() {
            bail!("GitHub says that deliveries to {} are not signed: run this again", hook.url);
        }
        writeln!(out, "GitHub was told; it delivers to {}.", hook.url)?;
        let seen = self.seen(&next, &hook.url).await?;
        let given = self.settings.webhook_secret();
        let given: Vec<NewSecret> =
            given.iter().map(|one| kept_secret(&self.seal, one)).collect::<Result<_, _>>()?;
        self.store.promote_secret(&next.mark, &given, self.grace).await?;
        let how = if seen {
            "A delivery has come that was signed with it"
        } else {
            "GitHub has delivered nothing yet that could be tried"
        };
        let grace = human(self.grace);
        writeln!(out, "{how}. What is signed with the old one is accepted for {grace} more.")?;
        if !given.is_empty() {
            writeln!(
                out,
                "CHECKVALVE_WEBHOOK_SECRET holds the old one: take it out of the settings; the new \
                 one is kept, encrypted, in the database."
            )?;
        }
        Ok(Exit::Passed)
    }

    /// The secret that is next: one that a command before this one began with, that of the settings
    /// unless it was used already, or a new one.
    async fn begin(&self) -> anyhow::Result<SecretRow> {
        let rows = self.store.webhook_secrets().await?;
        let is_known = rows.iter().any(|row| row.state == SecretState::Current);
        if !is_known && self.settings.webhook_secret().is_none() {
            bail!(UsageError::from(Settings::no_webhook_secret()));
        }
        let named =
            self.settings.next_webhook_secret().filter(|one| !one.expose_secret().is_empty());
        let named = named.map(|one| kept_secret(&self.seal, &one)).transpose()?;
        let unused = |new: &NewSecret| rows.iter().all(|row| row.mark != new.mark);
        let made = SecretString::from(hex::encode(rand::random::<[u8; 32]>()));
        let new = match named.filter(unused) {
            Some(named) => named,
            None => kept_secret(&self.seal, &made)?,
        };
        let next = self.store.begin_secret(&new).await?;
        next.context("another command has just replaced the secret: look at /metrics")
    }

    /// Waits until a server accepts it: GitHub must not sign with what nobody knows.
    async fn heard(&self, next: &SecretRow) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.now(next).await?.is_none_or(|row| row.heard) {
            if begun.elapsed() > HEARD_WITHIN && self.store.drop_unheard_secret(&next.mark).await? {
                bail!(
                    "no server has accepted the new secret within {} s, and nothing was changed: is \
                     `checkvalve serve` running on this database, with the same CHECKVALVE_KEY?",
                    HEARD_WITHIN.as_secs()
                );
            }
            sleep(PERIOD).await;
        }
        Ok(())
    }

    /// Waits for a delivery that was signed with it, asking for one if none comes; false if GitHub
    /// has none to deliver.
    async fn seen(&self, next: &SecretRow, url: &str) -> anyhow::Result<bool> {
        let begun = Instant::now();
        let mut asked = false;
        loop {
            if self.now(next).await?.is_none_or(|row| row.seen) {
                return Ok(true);
            }
            if !asked && begun.elapsed() > SEEN_BY_ITSELF {
                asked = self.github.deliver_newest_again().await?;
                if !asked {
                    return Ok(false);
                }
            }
            if begun.elapsed() > SEEN_WITHIN {
                bail!(
                    "GitHub was told of the new secret, and no delivery has come with it within {} s: \
                     does {url} lead to this server? Both secrets are accepted; run this again",
                    SEEN_WITHIN.as_secs()
                );
            }
            sleep(PERIOD).await;
        }
    }

    /// As the next secret stands now; `None` if it is not the next one any more: another command,
    /// which goes on with the same one, was faster.
    async fn now(&self, next: &SecretRow) -> anyhow::Result<Option<SecretRow>> {
        let rows = self.store.webhook_secrets().await?;
        let is_next = |row: &SecretRow| row.mark == next.mark && row.state == SecretState::Next;
        Ok(rows.into_iter().find(is_next))
    }
}
