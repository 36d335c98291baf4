//! Configurations that an image says are new: kept at once, hidden from then on, and what it is
//! called with next.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::oneshot;

use crate::domain::acceptance::{NewConfig, Secrets};
use crate::domain::names::SecretName;
use crate::domain::redact::Redactor;
use crate::domain::renewal::Renewed;
use crate::domain::secret::{LARGEST, SecretValue};
use crate::engine::asks::{Ask, Asks};

/// Hears of new configurations while an image is called with one.
pub(super) struct Renewals {
    pub(super) asks: Asks,
    /// The secret that it is called with, if what is new of it goes back.
    pub(super) secret: Option<SecretName>,
    /// The connector's own name.
    pub(super) connector: String,
    /// What is hidden already.
    pub(super) hidden: Vec<SecretValue>,
    /// The configuration as it is now.
    pub(super) config: SecretValue,
    /// What says which of its values are secret.
    pub(super) spec: Option<Value>,
    /// What came, in order.
    pub(super) renewed: Vec<SecretValue>,
}

/// What a new configuration means for who listens.
pub(super) enum Turned {
    /// It is the one that is known.
    Same,
    /// It counts from now on. `line` is told.
    New { redactor: Arc<Redactor>, line: &'static str },
    /// It can't be kept, or not be kept out of logs: nothing more may be told. Why.
    Lost(String),
}

impl Renewals {
    /// Takes a new one. Answers when it is kept; blocks, and so is for a thread alone.
    pub(super) fn take(&mut self, new: NewConfig, secrets: &mut Secrets) -> Turned {
        let config = Value::Object(new.config);
        let known = serde_json::from_slice::<Value>(self.config.expose()).ok();
        if known.as_ref() == Some(&config) {
            return Turned::Same;
        }
        let value = SecretValue::new(config.to_string().into_bytes());
        if self.secret.is_some() && value.expose().len() > LARGEST {
            return Turned::Lost(format!(
                "the configuration that it gives is larger than {} KiB, which nobody keeps",
                LARGEST >> 10
            ));
        }
        let line = if let Some(secret) = &self.secret {
            let before = std::mem::replace(&mut self.config, value.clone());
            let (secret, value) = (secret.clone(), value.clone());
            let renewed = Renewed { secret, before, value, emitted_at: new.emitted_at };
            if let Err(why) = self.keep(renewed) {
                return Turned::Lost(why);
            }
            "the configuration was updated: it is kept, and used from now on"
        } else {
            self.config = value.clone();
            "the configuration was updated: it is used from now on, and not written back, as no \
             `upload-secrets` step names it"
        };
        self.renewed.push(value);
        let all = self.hidden.iter().chain(&self.renewed).map(SecretValue::expose);
        match Redactor::of(all, &self.connector) {
            Ok(redactor) => {
                secrets.extend(self.spec.as_ref(), &config);
                Turned::New { redactor: Arc::new(redactor), line }
            }
            Err(why) => Turned::Lost(why),
        }
    }

    fn keep(&self, renewed: Renewed) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        let ended = || "the job was ended before it was kept".to_owned();
        self.asks.blocking_send(Ask::Renewed(renewed, reply)).map_err(|_| ended())?;
        answer.blocking_recv().map_err(|_| ended())?
    }
}
