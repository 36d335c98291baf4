//! What strangers' code may use before somebody has approved it.

use super::{Settings, SettingsError};

impl Settings {
    /// `CHECKVALVE_UNTRUSTED_NETWORK`: a network of the engine's that its operator prepared.
    pub fn untrusted_network(&self) -> Result<Option<String>, SettingsError> {
        let name = |text: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let engines = ["host", "bridge", "default", "none", "checkvalve-steps"];
            if engines.contains(&text) {
                Err(format!("`{text}` reaches the host, or is not prepared: name one of your own"))
            } else if text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.chars().all(plain)
            {
                Ok(text.to_owned())
            } else {
                Err(format!("`{text}` is no network's name: write the one in `docker network ls`"))
            }
        };
        self.parsed("CHECKVALVE_UNTRUSTED_NETWORK", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(value: &str) -> Result<Option<String>, SettingsError> {
        let found = |name: &str| (name == "CHECKVALVE_UNTRUSTED_NETWORK").then(|| value.to_owned());
        Settings::read(found, None).unwrap().untrusted_network()
    }

    #[test]
    fn strangers_get_no_network_of_the_hosts_nor_another_containers() {
        assert_eq!(network("mirror-only").unwrap().as_deref(), Some("mirror-only"));
        for wrong in ["host", "bridge", "checkvalve-steps", "container:db", "-x", "a b"] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
