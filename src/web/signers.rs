//! What deliveries may be signed with: the secrets of the settings, and those that lie in the database
//! because `/setup` got them from GitHub or they replaced others. They change while we serve.
//!
//! A signature that fits nothing known is not refused before the database was asked once more: a secret
//! counts from the moment it is stored, in every process, whatever they know of each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::github::webhook::{SignatureError, WebhookSecrets, Which};
use crate::secrets::seal::{NotOpened, Seal};
use crate::store::{GivenSecret, NewSecret, SAID_EVERY, SecretRow, SecretState, Store, StoreError};

/// For whom a webhook's secret is sealed.
const NAME: &str = "webhook secret";

/// What the settings say of the webhook's secret.
#[derive(Debug, Clone, Default)]
pub struct GivenSecrets {
    /// `CHECKVALVE_WEBHOOK_SECRET`
    pub current: Option<SecretString>,
    /// `CHECKVALVE_WEBHOOK_SECRET_NEXT`
    pub next: Option<SecretString>,
}

/// Why it is not known what deliveries may be signed with.
#[derive(Debug, thiserror::Error)]
pub enum SignersError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the webhook's secret: {0}. If that key is lost, run `checkvalve forget-app`, give the webhook a \
         new secret in the App's settings on GitHub, and the same one in CHECKVALVE_WEBHOOK_SECRET; an \
         App that `/setup` registered is registered anew"
    )]
    Seal(#[from] NotOpened),
}

/// Why a delivery is not taken as GitHub's.
#[derive(Debug)]
pub(crate) enum Doubt {
    Refused(SignatureError),
    /// Nobody could say.
    Unknown(SignersError),
}

/// A secret of the settings, and the mark that it has in the database.
#[derive(Debug)]
struct Given {
    which: Which,
    secret: SecretString,
    mark: String,
}

/// The secrets that count.
#[derive(Debug, Default)]
struct Known {
    secrets: WebhookSecrets,
    /// The one that the database has as the next, until a delivery has come with it.
    unseen: Option<(String, WebhookSecrets)>,
    /// The marks of those, not the current one, that were sealed with another key.
    closed: BTreeSet<String>,
}

/// Who may sign deliveries.
#[derive(Debug)]
pub struct Signers {
    store: Store,
    seal: Arc<Seal>,
    given: Vec<Given>,
    known: watch::Sender<Arc<Known>>,
    /// One asks the database.
    looking: Mutex<Looked>,
    /// How many did.
    looks: AtomicU64,
    /// Did the last one get an answer?
    answered: AtomicBool,
    /// The secret of the settings was replaced, which was said.
    said: AtomicBool,
}

/// What whoever asks the database knows of those that asked before.
#[derive(Debug, Default)]
struct Looked {
    /// Of which secrets was said that they do not open.
    closed: BTreeSet<String>,
    /// When the database was told which secrets the settings hold.
    told: Option<Instant>,
}

type Looking<'a> = tokio::sync::MutexGuard<'a, Looked>;

/// What is kept of a webhook's secret.
pub fn kept_secret(seal: &Seal, secret: &SecretString) -> Result<NewSecret, NotOpened> {
    let secret = secret.expose_secret();
    let sealed = seal.seal(NAME, secret.as_bytes())?;
    Ok(NewSecret { mark: seal.mark(NAME, secret), sealed })
}

/// The secret that [`kept_secret`] sealed.
pub fn opened_secret(seal: &Seal, sealed: &[u8]) -> Result<SecretString, NotOpened> {
    let opened = seal.open(NAME, sealed)?;
    let text = String::from_utf8(opened.expose_secret().to_vec()).map_err(|_| NotOpened)?;
    Ok(text.into())
}

impl Signers {
    /// Reads what the database has.
    pub async fn open(
        store: Store,
        seal: Arc<Seal>,
        given: GivenSecrets,
    ) -> Result<Self, SignersError> {
        let given = [(Which::Current, given.current), (Which::Next, given.next)];
        let given = given.into_iter().filter_map(|(which, secret)| Some((which, secret?)));
        let given = given
            .map(|(which, secret)| {
                let mark = seal.mark(NAME, secret.expose_secret());
                Given { which, secret, mark }
            })
            .collect();
        let signers = Self {
            store,
            seal,
            given,
            known: watch::Sender::default(),
            looking: Mutex::default(),
            looks: AtomicU64::new(0),
            answered: AtomicBool::new(false),
            said: AtomicBool::new(false),
        };
        signers.look().await?;
        Ok(signers)
    }

    /// No secret is known: no delivery can be GitHub's.
    pub fn is_empty(&self) -> bool {
        self.known.borrow().secrets.is_empty()
    }

    /// Waits until a secret is known; false if none was in time.
    pub(crate) async fn ready(&self, patience: Duration) -> bool {
        let mut known = self.known.subscribe();
        let ready = known.wait_for(|known| !known.secrets.is_empty());
        tokio::time::timeout(patience, ready).await.is_ok_and(|known| known.is_ok())
    }

    /// Is the raw `body` signed with a secret that counts?
    pub(crate) async fn verify(
        &self,
        signature: Option<&str>,
        body: &[u8],
    ) -> Result<Which, Doubt> {
        let asked = self.looks.load(Ordering::SeqCst);
        let known = Arc::clone(&self.known.borrow());
        let which = match known.secrets.verify(signature, body) {
            Err(SignatureError::Wrong) => {
                self.look_after(asked).await.map_err(Doubt::Unknown)?;
                let known = Arc::clone(&self.known.borrow());
                known.secrets.verify(signature, body)
            }
            judged @ (Ok(_) | Err(SignatureError::Missing | SignatureError::Malformed)) => judged,
        }
        .map_err(Doubt::Refused)?;
        if which == Which::Next {
            self.see(signature, body).await;
        }
        Ok(which)
    }

    /// Asks the database, which counts for all that were waiting when it was asked. Whoever asks us
    /// with bad signatures costs it one question at a time.
    async fn look_after(&self, looks: u64) -> Result<(), SignersError> {
        let looking = self.looking.lock().await;
        if self.looks.load(Ordering::SeqCst) > looks && self.answered.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.look_once(looking).await
    }

    /// Reads what the database has now.
    pub async fn look(&self) -> Result<(), SignersError> {
        let looking = self.looking.lock().await;
        self.look_once(looking).await
    }

    async fn look_once(&self, mut looked: Looking<'_>) -> Result<(), SignersError> {
        // Counted before: who comes while the answer is under way needs another one.
        self.looks.fetch_add(1, Ordering::SeqCst);
        self.answered.store(false, Ordering::SeqCst);
        let rows = self.store.webhook_secrets().await?;
        // What an old `rotate-webhook-secret` keeps as the next one is its to give up.
        let is_spared = |row: &SecretRow| row.app.is_none() && row.state == SecretState::Next;
        if rows.iter().any(|row| !row.counts && row.sealed.is_some() && !is_spared(row)) {
            self.store.clear_secrets().await?;
        }
        self.say(&rows);
        let known = known(&self.given, &rows, |sealed| opened_secret(&self.seal, sealed))?;
        for mark in known.closed.iter().filter(|mark| looked.closed.insert((*mark).clone())) {
            tracing::warn!(
                mark,
                "a secret of the webhook, not the current one, is passed over: {NotOpened}"
            );
        }
        let unheard = |row: &&SecretRow| {
            let is_next = row.state == SecretState::Next && row.counts;
            is_next && !row.heard && !known.closed.contains(&row.mark)
        };
        let unheard: Vec<&SecretRow> = rows.iter().filter(unheard).collect();
        self.known.send_replace(Arc::new(known));
        for row in unheard {
            self.store.hear_secret(&row.mark).await?;
        }
        if looked.told.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
            self.tell().await?;
            looked.told = Some(Instant::now());
        }
        self.answered.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Says which secrets the settings hold, so that a rotation retires them that is carried out where
    /// other settings are.
    async fn tell(&self) -> Result<(), StoreError> {
        let given = self.given.iter().map(|given| GivenSecret {
            mark: given.mark.clone(),
            next: given.which == Which::Next,
        });
        self.store.say_given_secrets(&given.collect::<Vec<_>>()).await
    }

    /// The marks of the settings' secrets. They are not those of an App that is only being registered.
    pub(crate) fn given_marks(&self) -> Vec<String> {
        self.given.iter().map(|given| given.mark.clone()).collect()
    }

    /// An App was registered while these settings were in force: their secrets are another one's.
    pub async fn disown(&self) -> Result<(), SignersError> {
        self.store.disown_secrets(&self.given_marks()).await?;
        self.look().await
    }

    /// Notes that a delivery came with the next secret: whoever replaces it waits for that.
    async fn see(&self, signature: Option<&str>, body: &[u8]) {
        let known = Arc::clone(&self.known.borrow());
        let Some((mark, secret)) = &known.unseen else { return };
        if secret.verify(signature, body).is_err() {
            return;
        }
        if let Err(error) = self.store.see_secret(mark).await {
            tracing::warn!("that a delivery came with the next secret was not noted: {error}");
            return;
        }
        let (secrets, closed) = (known.secrets.clone(), known.closed.clone());
        let seen = Known { secrets, unseen: None, closed };
        self.known.send_if_modified(|now| {
            let same = Arc::ptr_eq(now, &known);
            if same {
                *now = Arc::new(seen);
            }
            same
        });
    }

    /// Says once that the settings hold a secret that was replaced, or is another App's.
    fn say(&self, rows: &[SecretRow]) {
        let replaced = |given: &&Given| {
            let row = rows.iter().find(|row| row.mark == given.mark);
            row.is_some_and(|row| row.state == SecretState::Previous)
        };
        if let Some(given) = self.given.iter().find(replaced)
            && !self.said.swap(true, Ordering::Relaxed)
        {
            let name = match given.which {
                Which::Next => "CHECKVALVE_WEBHOOK_SECRET_NEXT",
                Which::Current | Which::Previous => "CHECKVALVE_WEBHOOK_SECRET",
            };
            tracing::warn!(
                "{name} was replaced by `rotate-webhook-secret`, or is another App's than the one that \
                 was registered here: the one that counts lies in the database. What is signed with \
                 the setting's is accepted for a while after it was replaced, then no more; take it \
                 out of the settings"
            );
        }
    }
}

/// The database's secrets, and beside them those of the settings that it has never had: who sets
/// another one by hand there and on GitHub means it. Only the current one must open.
fn known(
    given: &[Given],
    rows: &[SecretRow],
    open: impl Fn(&[u8]) -> Result<SecretString, NotOpened>,
) -> Result<Known, NotOpened> {
    let mut accepted = Vec::new();
    let mut unseen = None;
    let mut closed = BTreeSet::new();
    for row in rows.iter().filter(|row| row.counts) {
        let Some(sealed) = &row.sealed else { continue };
        let secret = match open(sealed) {
            Ok(secret) => secret,
            Err(error) if row.state == SecretState::Current => return Err(error),
            Err(NotOpened) => {
                closed.insert(row.mark.clone());
                continue;
            }
        };
        if row.state == SecretState::Next && !row.seen {
            let alone = WebhookSecrets::of([(Which::Next, secret.clone())]);
            unseen = Some((row.mark.clone(), alone));
        }
        let which = match row.state {
            SecretState::Current => Which::Current,
            SecretState::Next => Which::Next,
            SecretState::Previous => Which::Previous,
        };
        accepted.push((which, secret));
    }
    for one in given {
        match rows.iter().find(|row| row.mark == one.mark) {
            None => accepted.push((one.which, one.secret.clone())),
            // Replaced by somebody who did not have it: the settings do.
            Some(row) if row.counts && row.sealed.is_none() => {
                accepted.push((Which::Previous, one.secret.clone()));
            }
            Some(_) => {}
        }
    }
    accepted.sort_by_key(|(which, _)| *which);
    Ok(Known { secrets: WebhookSecrets::of(accepted), unseen, closed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(which: Which, text: &str) -> Given {
        Given { which, secret: text.into(), mark: text.to_owned() }
    }

    fn row(text: &str, state: SecretState, counts: bool) -> SecretRow {
        let sealed = Some(text.as_bytes().to_vec());
        let mark = text.to_owned();
        SecretRow { mark, state, sealed, heard: true, seen: false, counts, app: None }
    }

    fn told(given: &[Given], rows: &[SecretRow]) -> Vec<(String, Option<Which>)> {
        let open = |sealed: &[u8]| Ok(String::from_utf8(sealed.to_vec()).unwrap().into());
        let known = known(given, rows, open).unwrap();
        let judge = |secret: &str| {
            use hmac::Mac as _;
            let mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(secret.as_bytes()).unwrap();
            let signature = hex::encode(mac.chain_update(b"x").finalize().into_bytes());
            known.secrets.verify(Some(&format!("sha256={signature}")), b"x").ok()
        };
        ["set", "set-next", "a", "b"].map(|secret| (secret.to_owned(), judge(secret))).into()
    }

    fn expect(told: &[(String, Option<Which>)], expected: [Option<Which>; 4]) {
        let got: Vec<Option<Which>> = told.iter().map(|(_, which)| *which).collect();
        assert_eq!(got, expected, "{told:?}");
    }

    #[test]
    fn the_settings_count_until_one_of_them_was_replaced() {
        use SecretState as State;
        let (current, next) = (given(Which::Current, "set"), given(Which::Next, "set-next"));
        let both = [current, next];
        let (now, then, before) = (Some(Which::Current), Some(Which::Next), Some(Which::Previous));
        expect(&told(&both, &[]), [now, then, None, None]);
        // A rotation has begun, with the next one of the settings, or with another one.
        expect(&told(&both, &[row("set-next", State::Next, true)]), [now, then, None, None]);
        expect(&told(&both, &[row("a", State::Next, true)]), [now, then, then, None]);
        // It is done: the one of the settings counts for a while, then no more.
        let done = [row("a", State::Current, true), row("set", State::Previous, true)];
        expect(&told(&both, &done), [before, then, now, None]);
        let over = [row("a", State::Current, true), row("set", State::Previous, false)];
        expect(&told(&both, &over), [None, then, now, None]);
        // Another one was set by hand since.
        let by_hand = [given(Which::Current, "b")];
        expect(&told(&by_hand, &over), [None, None, now, now]);
        expect(&told(&[], &[]), [None; 4]);
        // Retired by somebody who has other settings: it counts for that while, then no more.
        let unknown = |counts| SecretRow { sealed: None, ..row("set", State::Previous, counts) };
        let retired = [row("a", State::Current, true), unknown(true)];
        expect(&told(&both, &retired), [before, then, now, None]);
        expect(&told(&[], &retired), [None, None, now, None]);
        let retired = [row("a", State::Current, true), unknown(false)];
        expect(&told(&both, &retired), [None, then, now, None]);
    }

    #[test]
    fn the_next_secret_is_waited_for_until_it_was_seen() {
        let open = |sealed: &[u8]| Ok(String::from_utf8(sealed.to_vec()).unwrap().into());
        let next = row("a", SecretState::Next, true);
        let seen = SecretRow { seen: true, ..next.clone() };
        assert!(known(&[], &[next], open).unwrap().unseen.is_some());
        assert!(known(&[], &[seen], open).unwrap().unseen.is_none());
    }
}
