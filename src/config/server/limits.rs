//! How much at once.

use super::{Settings, SettingsError};
use crate::config::size;
use crate::domain::pipeline::Resources;

impl Settings {
    /// Jobs at once.
    pub fn workers(&self) -> Result<usize, SettingsError> {
        Ok(self.parsed("CHECKVALVE_WORKERS", count)?.unwrap_or_else(cores))
    }

    /// Steps at once.
    pub fn slots(&self) -> Result<usize, SettingsError> {
        Ok(self.parsed("CHECKVALVE_SLOTS", count)?.unwrap_or_else(cores).max(1))
    }

    /// What steps that declare `resources` may use together: what is set, or else the host's.
    pub fn resources(&self, host: Option<Resources>) -> Result<Option<Resources>, SettingsError> {
        let cpus = self.parsed("CHECKVALVE_CPUS", cpus)?.or(host.map(|host| host.cpus));
        let memory = self.parsed("CHECKVALVE_MEMORY", memory)?.or(host.map(|host| host.memory));
        Ok(match (cpus, memory) {
            (None, None) => None,
            (cpus, memory) => Some(Resources {
                cpus: cpus.unwrap_or(f64::INFINITY),
                memory: memory.unwrap_or(u64::MAX),
            }),
        })
    }
}

fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is no whole number"))
}

fn cpus(text: &str) -> Result<f64, String> {
    let cores = text.parse().ok().filter(|cores: &f64| cores.is_finite() && *cores > 0.0);
    cores.ok_or_else(|| format!("`{text}` is no number of cores: write `4`, or `1.5`"))
}

fn memory(text: &str) -> Result<u64, String> {
    size::parse(text).ok_or_else(|| format!("`{text}` is no size: write `512Mi`, or `8Gi`"))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(set: &[(&str, &str)]) -> Settings {
        let set: Vec<(String, String)> =
            set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let found =
            |name: &str| set.iter().find(|(known, _)| known == name).map(|set| set.1.clone());
        Settings::read(found, None).unwrap()
    }

    #[test]
    fn what_steps_use_together_is_the_host_s_unless_said() {
        let host = Resources { cpus: 8.0, memory: 16 << 30 };
        let none = settings(&[]);
        assert_eq!(none.resources(Some(host)).unwrap(), Some(host));
        assert_eq!(none.resources(None).unwrap(), None);
        let some = settings(&[("CHECKVALVE_CPUS", "1.5")]);
        let told = some.resources(Some(host)).unwrap();
        assert_eq!(told, Some(Resources { cpus: 1.5, memory: 16 << 30 }));
    }

    #[test]
    fn a_limit_that_is_none_is_refused_with_an_example() {
        let wrong = settings(&[("CHECKVALVE_CPUS", "0")]).resources(None).unwrap_err();
        assert!(wrong.to_string().contains("`0` is no number of cores"), "{wrong}");
        let wrong = settings(&[("CHECKVALVE_MEMORY", "8 gigs")]).resources(None).unwrap_err();
        assert!(wrong.to_string().contains("`8 gigs` is no size: write `512Mi`"), "{wrong}");
    }
}
