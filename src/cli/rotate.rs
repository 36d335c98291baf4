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

/// GitHub was told, and what it signs with from now on may count nowhere.
const GONE: &str = "GitHub was told of a secret that is not the current one here: another \
    `rotate-webhook-secret` replaced it, or an App was registered or forgotten meanwhile. Deliveries \
    may be refused until you run this again, which gives GitHub another one";

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
    // The registered one that this is, too, if one is: its secrets are tied to it.
    let owner = store.app().await?.map(|kept| kept.app_id);
    let github = app::github(settings, app)?;
    let rotation = Rotation { store, seal, github, owner, settings, grace: args.grace };
    rotation.carry_out(&mut io::stdout()).await
}

struct Rotation<'a> {
    store: Store,
    seal: Seal,
    github: Github,
    /// The registered App whose secret is rotated; `None`: that of the settings.
    owner: Option<String>,
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
        let secret = opened_secret(&self.seal, sealed).context(
            "the secret that another command began with (if its key is lost, run `checkvalve \
             forget-app`)",
        )?;
        self.may_be_told(&next).await?;
        self.github.set_hook_secret(&secret).await?;
        if !self.github.hook().await?.is_signed() {
            bail!("GitHub says that deliveries to {} are not signed: run this again", hook.url);
        }
        writeln!(out, "GitHub was told; it delivers to {}.", hook.url)?;
        let seen = self.seen(&next, &hook.url).await?;
        let given = self.settings.webhook_secret();
        let given: Vec<NewSecret> =
            given.iter().map(|one| kept_secret(&self.seal, one)).collect::<Result<_, _>>()?;
        let elsewhere = self.elsewhere(&given).await?;
        self.promote(&next, &given).await?;
        let how = if seen {
            "A delivery has come that was signed with it"
        } else {
            "GitHub has delivered nothing yet that could be tried"
        };
        let grace = human(self.grace);
        writeln!(out, "{how}. What is signed with the old one is accepted for {grace} more.")?;
        writeln!(out, "{}", to_be_taken_out(!given.is_empty(), elsewhere))?;
        Ok(Exit::Passed)
    }

    /// What the settings of servers hold that this command's do not, and that counts there so far.
    async fn elsewhere(&self, given: &[NewSecret]) -> anyhow::Result<Elsewhere> {
        let rows = self.store.webhook_secrets().await?;
        let is_known = |mark: &str| {
            rows.iter().any(|row| row.mark == mark) || given.iter().any(|one| one.mark == mark)
        };
        let mut said = self.store.given_secrets().await?;
        said.retain(|said| !is_known(&said.mark));
        let next = said.iter().any(|said| said.next);
        Ok(Elsewhere { current: said.iter().any(|said| !said.next), next })
    }

    /// The secret that is next: one that a command before this one began with, that of the settings
    /// unless it was used already, or a new one.
    async fn begin(&self) -> anyhow::Result<SecretRow> {
        let rows = self.store.webhook_secrets().await?;
        let is_known = rows.iter().any(|row| row.state == SecretState::Current);
        if !is_known && self.settings.webhook_secret().is_none() {
            // A server that has it says so; nobody else can retire it.
            if !self.elsewhere(&[]).await?.current {
                bail!(UsageError::from(Settings::no_webhook_secret()));
            }
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
        let next =
            next.context("another command has just replaced the secret: look at /metrics")?;
        if next.app != self.owner {
            self.store.drop_unheard_secret(&next.mark).await?;
            bail!(
                "an App was registered or forgotten since this command began, and nothing was told to \
                 GitHub: run this again"
            );
        }
        Ok(next)
    }

    /// Waits until a server accepts it: GitHub must not sign with what nobody knows.
    async fn heard(&self, next: &SecretRow) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.is_accepted(next).await? {
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

    /// Asked right before GitHub is told. Who accepts a next secret keeps it from being given up, so
    /// this holds until it is replaced.
    async fn may_be_told(&self, next: &SecretRow) -> anyhow::Result<()> {
        if !self.is_accepted(next).await? {
            bail!(
                "the new secret is not accepted yet, and GitHub was not told of it: run this again"
            );
        }
        Ok(())
    }

    async fn is_accepted(&self, next: &SecretRow) -> anyhow::Result<bool> {
        match self.now(next).await? {
            Stands::Next(row) => Ok(row.heard),
            Stands::Current => Ok(true),
            Stands::Gone => bail!(
                "the new secret is not kept any more, and this command has not told GitHub of it: \
                 another `rotate-webhook-secret` gave it up or replaced it, or an App was registered \
                 or forgotten; run this again"
            ),
        }
    }

    /// It is the current one, by us or by another command.
    async fn promote(&self, next: &SecretRow, given: &[NewSecret]) -> anyhow::Result<()> {
        let promoted = self.store.promote_secret(&next.mark, given, self.grace).await?;
        if promoted || matches!(self.now(next).await?, Stands::Current) {
            return Ok(());
        }
        bail!(GONE)
    }

    /// Waits for a delivery that was signed with it, asking for one if none comes; false if GitHub
    /// has none to deliver.
    async fn seen(&self, next: &SecretRow, url: &str) -> anyhow::Result<bool> {
        let begun = Instant::now();
        let mut asked = false;
        loop {
            match self.now(next).await? {
                Stands::Next(row) if !row.seen => {}
                Stands::Next(_) | Stands::Current => return Ok(true),
                Stands::Gone => bail!(GONE),
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

    async fn now(&self, next: &SecretRow) -> anyhow::Result<Stands> {
        let rows = self.store.webhook_secrets().await?;
        let row = rows.into_iter().find(|row| row.mark == next.mark);
        Ok(match row.map(|row| (row.state, row)) {
            Some((SecretState::Next, row)) => Stands::Next(row),
            Some((SecretState::Current, _)) => Stands::Current,
            Some((SecretState::Previous, _)) | None => Stands::Gone,
        })
    }
}

/// Secrets of the settings of servers that the settings of this command do not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Elsewhere {
    /// One with which GitHub may sign.
    current: bool,
    /// One that is to follow it.
    next: bool,
}

/// What is to be done about settings, since what stands in them outlives this.
fn to_be_taken_out(given: bool, elsewhere: Elsewhere) -> String {
    const NAME: &str = "CHECKVALVE_WEBHOOK_SECRET";
    let mut said = if given {
        format!("{NAME} holds the old one: take it out of the settings;")
    } else if elsewhere.current {
        format!(
            "A server's {NAME}, which this command was not given, counts no longer than that either: \
             take it out of the server's settings;"
        )
    } else {
        format!("Should {NAME} stand in the settings of any server, take it out there;")
    };
    said.push_str(" the new one is kept, encrypted, in the database.");
    if given && elsewhere.current {
        said.push_str(
            " A server's settings hold yet another one, which counts no longer than that either.",
        );
    }
    if elsewhere.next {
        said.push_str(
            " CHECKVALVE_WEBHOOK_SECRET_NEXT in the settings of a server, which this command was not \
             given, still counts, as one that is to follow: take it out if it is not.",
        );
    }
    said.push_str(
        " A server that did not run now can't say what its settings hold: a secret that was never \
         used here would count there beside the new one.",
    );
    said
}

/// How the secret that this command began with stands now.
enum Stands {
    Next(SecretRow),
    /// Another command, which goes on with the same one, was faster.
    Current,
    /// It was given up, replaced, or forgotten with its App.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::server::GithubApp;

    const LONG: Duration = Duration::from_mins(10);

    /// A command on a database of its own. Its GitHub answers nothing.
    async fn rotation<T>(story: impl AsyncFnOnce(&Rotation<'_>) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("db").display());
        let nowhere = |name: &str| {
            (name == "CHECKVALVE_GITHUB_API_URL").then(|| "http://127.0.0.1:9".to_owned())
        };
        let settings = Settings::read(nowhere, None).unwrap();
        let private_key =
            include_str!("../../simulator/keys/test-only-app-key.pem").to_owned().into();
        let app = GithubApp { id: "7".to_owned(), private_key };
        let rotation = Rotation {
            store: Store::open(&url).await.unwrap(),
            seal: Seal::new(&[7; 32]).unwrap(),
            github: app::github(&settings, app).unwrap(),
            owner: None,
            settings: &settings,
            grace: LONG,
        };
        story(&rotation).await
    }

    async fn begun(rotation: &Rotation<'_>, text: &str) -> SecretRow {
        let new = kept_secret(&rotation.seal, &text.to_owned().into()).unwrap();
        rotation.store.begin_secret(&new).await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn github_is_not_told_of_a_secret_that_another_command_gave_up() {
        rotation(async |a| {
            let next = begun(a, "n").await;
            assert!(a.may_be_told(&next).await.is_err(), "no server has it");
            assert!(a.store.drop_unheard_secret(&next.mark).await.unwrap());
            for refused in [a.heard(&next).await, a.may_be_told(&next).await] {
                let refused = refused.unwrap_err().to_string();
                assert!(refused.contains("run this again"), "{refused}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn who_was_slower_with_the_same_secret_is_done_and_with_a_replaced_one_is_not() {
        rotation(async |a| {
            let next = begun(a, "n").await;
            a.store.hear_secret(&next.mark).await.unwrap();
            a.heard(&next).await.unwrap();
            a.may_be_told(&next).await.unwrap();
            a.promote(&next, &[]).await.unwrap();
            // The other one, a step behind.
            a.heard(&next).await.unwrap();
            a.may_be_told(&next).await.unwrap();
            assert!(a.seen(&next, "x").await.unwrap());
            a.promote(&next, &[]).await.unwrap();
            // And one that slept while yet another secret came.
            let third = begun(a, "third").await;
            a.promote(&third, &[]).await.unwrap();
            assert!(a.may_be_told(&next).await.is_err());
            for refused in [a.seen(&next, "x").await.map(drop), a.promote(&next, &[]).await] {
                let refused = refused.unwrap_err().to_string();
                assert!(refused.contains("run this again"), "{refused}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_rotation_ends_with_an_error_when_its_app_is_forgotten_or_registered() {
        rotation(async |a| {
            let next = begun(a, "n").await;
            a.store.hear_secret(&next.mark).await.unwrap();
            let [app_id, slug, url, client_id] = ["1", "ours", "u", "c"].map(str::to_owned);
            let app = crate::store::StoredApp { app_id, slug, url, client_id, sealed: Vec::new() };
            let secret = kept_secret(&a.seal, &"of the app".to_owned().into()).unwrap();
            assert!(a.store.keep_app(&app, &secret, &[]).await.unwrap());
            assert!(a.may_be_told(&next).await.is_err());
            assert!(a.promote(&next, &[]).await.is_err());
            let next = begun(a, "m").await;
            a.store.hear_secret(&next.mark).await.unwrap();
            a.may_be_told(&next).await.unwrap();
            assert!(a.store.forget_app().await.unwrap());
            assert!(a.may_be_told(&next).await.is_err());
            assert!(a.promote(&next, &[]).await.is_err());
        })
        .await;
    }
}
