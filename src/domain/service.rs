//! Services: containers that run beside a step, for as long as the step does.

pub mod compose;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::names::ServiceAlias;
use super::pipeline::Resources;
pub use words::{arguments, shell};

/// How many a step may have: its network has room for thirteen containers, its own among them.
pub const MAX_SERVICES: usize = 10;

/// A container that runs beside a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// The name by which the step and the other services reach it.
    pub alias: ServiceAlias,
    pub image: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// In place of the image's own `ENTRYPOINT` and `CMD`; as the image has it if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// When the step may begin; once it has started, without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<Ready>,
    /// Services that must be ready before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<ServiceAlias>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// How to tell that a service is ready: all of what is given must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// A program with its arguments, run in the service's container: its success.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run: Vec<String>,
    /// A TCP port on which the service listens for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The longest pause between two tries, in milliseconds.
    pub interval_ms: u64,
    /// Milliseconds from its start.
    pub timeout_ms: u64,
}

impl Ready {
    pub const INTERVAL: Duration = Duration::from_secs(1);
    pub const TIMEOUT: Duration = Duration::from_mins(1);

    pub fn new(run: Vec<String>, port: Option<u16>, interval: Duration, timeout: Duration) -> Self {
        let millis = |of: Duration| u64::try_from(of.as_millis()).unwrap_or(u64::MAX);
        Self { run, port, interval_ms: millis(interval), timeout_ms: millis(timeout) }
    }

    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// As people call it: `pg_isready -U x`, `port 5432`, or both.
    pub fn told(&self) -> String {
        let run = match self.run.as_slice() {
            [] => None,
            [sh, c, script] if sh.ends_with("sh") && c == "-c" => Some(format!("`{script}`")),
            words => Some(format!("`{}`", words.join(" "))),
        };
        let port = self.port.map(|port| format!("port {port}"));
        run.into_iter().chain(port).collect::<Vec<_>>().join(" and ")
    }
}

/// Why services do not fit together; which of them it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("two services are called `{0}`; names that differ in case alone are one")]
    Twice(ServiceAlias),
    #[error("service `{of}` needs `{needs}`, which is none of the step's services")]
    Unknown { of: ServiceAlias, needs: ServiceAlias },
    #[error("service `{0}` needs itself, perhaps by others")]
    Circle(ServiceAlias),
}

impl Unfit {
    pub fn alias(&self) -> &ServiceAlias {
        match self {
            Self::Twice(alias) | Self::Circle(alias) | Self::Unknown { of: alias, .. } => alias,
        }
    }

    pub fn mend(&self) -> &'static str {
        match self {
            Self::Twice(_) => "give each its own name",
            Self::Unknown { .. } => "name a service of the same step",
            Self::Circle(_) => "take one of the names out",
        }
    }
}

/// The services in the order in which they start: each group once those before it are ready.
pub fn waves(services: &[Service]) -> Result<Vec<Vec<&Service>>, Unfit> {
    let mut names = BTreeSet::new();
    for service in services {
        if !names.insert(service.alias.as_str().to_lowercase()) {
            return Err(Unfit::Twice(service.alias.clone()));
        }
    }
    for Service { alias: of, needs, .. } in services {
        if let Some(needs) = needs.iter().find(|need| !services.iter().any(|s| s.alias == **need)) {
            return Err(Unfit::Unknown { of: of.clone(), needs: needs.clone() });
        }
    }
    let mut waiting: Vec<&Service> = services.iter().collect();
    let mut ready: BTreeSet<&ServiceAlias> = BTreeSet::new();
    let mut waves = Vec::new();
    while let Some(first) = waiting.first() {
        let starts = |service: &&Service| service.needs.iter().all(|need| ready.contains(need));
        let (wave, rest): (Vec<_>, Vec<_>) = waiting.iter().copied().partition(starts);
        if wave.is_empty() {
            return Err(Unfit::Circle(first.alias.clone()));
        }
        ready.extend(wave.iter().map(|service| &service.alias));
        waves.push(wave);
        waiting = rest;
    }
    Ok(waves)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(alias: &str, needs: &[&str]) -> Service {
        Service {
            alias: alias.parse().unwrap(),
            image: "x".to_owned(),
            env: BTreeMap::new(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            ready: None,
            needs: needs.iter().map(|need| need.parse().unwrap()).collect(),
            resources: None,
        }
    }

    #[test]
    fn services_start_after_those_that_they_need() {
        let services =
            [service("web", &["db", "cache"]), service("db", &[]), service("cache", &["db"])];
        let waves = waves(&services).unwrap();
        let names = |wave: &Vec<&Service>| wave.iter().map(|s| s.alias.to_string()).collect();
        let names: Vec<Vec<String>> = waves.iter().map(names).collect();
        assert_eq!(names, [["db"], ["cache"], ["web"]]);
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let told = |services: &[Service]| waves(services).unwrap_err().to_string();
        assert!(told(&[service("a", &["b"]), service("b", &["a"])]).contains("`a` needs itself"));
        assert!(told(&[service("a", &["c"])]).contains("`a` needs `c`, which is none"));
        assert!(told(&[service("a", &[]), service("A", &[])]).contains("two services"));
    }

    #[test]
    fn a_probe_is_told_as_it_was_written() {
        let ready = |run: &[&str], port| Ready {
            run: run.iter().map(ToString::to_string).collect(),
            port,
            interval_ms: 1,
            timeout_ms: 1,
        };
        assert_eq!(ready(&["sh", "-c", "a | b"], None).told(), "`a | b`");
        assert_eq!(
            ready(&["pg_isready", "-q"], Some(5432)).told(),
            "`pg_isready -q` and port 5432"
        );
    }
}
