//! The configuration that the image is called with, once it gave another one.

use super::super::renewals::Renewals;
use super::{Given, Trial};
use crate::domain::secret::SecretValue;
use crate::exec::Executor;
use crate::exec::images::Halted;

impl<E: Executor> Trial<'_, E> {
    /// What is kept out of all that is told while the image has this configuration.
    pub(super) fn hidden(&self, config: &[u8]) -> Vec<SecretValue> {
        let secrets = self.site.task.step.secrets.iter().map(|secret| &secret.value);
        let others = secrets.chain(&self.renewed).filter(|value| value.expose() != config);
        others.cloned().chain([SecretValue::new(config.to_vec())]).collect()
    }

    pub(super) fn connector(&self) -> String {
        self.site.task.step.labels.connector.to_string()
    }

    /// Hears of another configuration in place of this one.
    pub(super) fn renewals(&self, given: &Given<'_>) -> Renewals {
        let back = self.site.task.plan.written_back();
        let secret = self.files.secret(&given.path).filter(|secret| back.contains(secret));
        Renewals {
            asks: self.site.task.asks.clone(),
            secret: secret.cloned(),
            connector: self.connector(),
            hidden: self.hidden(&given.config),
            config: SecretValue::new(given.config.clone()),
            spec: self.spec.clone(),
            renewed: Vec::new(),
        }
    }

    /// From now on the image is called with the last one that it gave.
    pub(super) async fn turn(
        &mut self,
        given: &mut Given<'_>,
        untold: Option<String>,
        renewals: Option<Renewals>,
    ) -> Result<(), Halted> {
        if let Some(why) = untold {
            // It can't be called again with what it has, nor can its findings be told.
            let reason = format!("the connector updated its configuration: {why}");
            return Err(Halted::Errored { reason, retry: false });
        }
        let renewed = renewals.map(|renewals| renewals.renewed).unwrap_or_default();
        let Some(last) = renewed.last().cloned() else { return Ok(()) };
        let before = std::mem::replace(&mut given.config, last.expose().to_vec());
        self.files.renew(&given.path, last.expose());
        self.renewed.push(SecretValue::new(before));
        self.renewed.extend(renewed);
        self.redactors.clear();
        let path = given.path.clone();
        match self.redactor(&path, last.expose()).await? {
            Ok(redactor) => given.redactor = redactor,
            Err(reason) => return Err(Halted::Errored { reason, retry: false }),
        }
        Ok(())
    }
}
