//! The sources of secrets, as the settings say.

use crate::config::server::Settings;
use crate::secrets::{Access, Providers};

/// `local`: `secrets/` folders stand in for Secret Manager.
pub(super) fn providers(settings: &Settings, local: bool) -> anyhow::Result<Providers> {
    let access = Access {
        google: settings.secret("GCP_GSM_CREDENTIALS"),
        gsm_url: settings.gsm_url()?,
        kms_url: settings.kms_url()?,
        age_key_file: settings.text("SOPS_AGE_KEY_FILE").map(Into::into),
        ca_file: settings.ca_file(),
    };
    Ok(Providers::new(access, local)?)
}
