//! GitHub Enterprise Server: the same API with other numbers and with parts missing.

use std::time::Duration;

use chrono::TimeDelta;

use crate::error::Error;
use crate::simulator::Simulator;

/// The version of an Enterprise Server, as in its headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Enterprise {
    major: u32,
    minor: u32,
}

impl Enterprise {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    /// `3.19.0`
    pub(crate) fn version(self) -> String {
        format!("{}.{}.0", self.major, self.minor)
    }

    /// From 3.21 on; before, it is an unknown version.
    pub(crate) fn knows_newest_api(self) -> bool {
        self >= Self { major: 3, minor: 21 }
    }

    /// Until 3.13 a JWT's issuer is the App's number.
    pub(crate) fn takes_client_id(self) -> bool {
        self > Self { major: 3, minor: 13 }
    }

    /// The descriptions of 3.14 to 3.19 have no `merge_group`.
    pub(crate) fn has_merge_queues(self) -> bool {
        self > Self { major: 3, minor: 19 }
    }
}

/// How long a receiver of deliveries may take.
pub(crate) fn receiver_time(enterprise: Option<Enterprise>) -> Duration {
    Duration::from_secs(if enterprise.is_some() { 30 } else { 10 })
}

/// How long the delivery log remembers.
pub(crate) fn log_window(enterprise: Option<Enterprise>) -> TimeDelta {
    TimeDelta::days(if enterprise.is_some() { 7 } else { 3 })
}

impl Simulator {
    /// Becomes an Enterprise Server of a version (`3.19`), or github.com again with `None`: no
    /// rate limits, 30 seconds for webhook receivers, a delivery log of 7 days, no `status` in
    /// errors, and without what that version does not have.
    pub fn enterprise_server(&self, version: Option<&str>) -> Result<(), Error> {
        let enterprise = match version {
            None => None,
            Some(text) => Some(Enterprise::parse(text).ok_or_else(|| {
                Error::Refused(format!("`{text}` is no version of Enterprise Server, as `3.19` is"))
            })?),
        };
        self.inner.world().enterprise = enterprise;
        Ok(())
    }

    /// Is reached by another address than its own, `https://HOST`, which all its links have from then
    /// on: behind something that speaks TLS for it.
    pub fn known_as(&self, url: &str) {
        let mut world = self.inner.world();
        url.trim_end_matches('/').clone_into(&mut world.url);
        world.api_url = format!("{}/api/v3", world.url);
    }
}
