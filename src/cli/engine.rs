//! The Docker Engine that steps run on, as the settings have it.

use std::path::PathBuf;

use crate::config::server::{Settings, SettingsError};
use crate::exec::Trust;
use crate::exec::docker::{DockerOptions, usual_config};

/// The options of an executor for an installation.
pub(super) fn docker_options(
    instance: impl Into<String>,
    settings: &Settings,
    trust: Option<Trust>,
) -> Result<DockerOptions, SettingsError> {
    let config = settings.text("DOCKER_CONFIG").map(PathBuf::from).or_else(usual_config);
    Ok(DockerOptions {
        trust,
        pool: settings.network_pool()?,
        guarded_network: settings.untrusted_network()?,
        tls: settings.docker_tls(config.clone()),
        config,
        ..DockerOptions::new(instance)
    })
}
