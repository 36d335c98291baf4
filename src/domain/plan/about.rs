//! What readers want to know of a connector.

use serde::{Deserialize, Serialize};

use crate::domain::catalog::Connector;

/// What people want to know of a connector when they read of it; nothing depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct About {
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release_stage: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    support_level: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    documentation: Option<String>,
}

impl About {
    /// From the attributes of the connector. They are a stranger's: what is longer than anything
    /// that is meant is left out, and so is an address that is no web page's.
    pub fn of(connector: &Connector) -> Self {
        const WORD: usize = 60;
        const ADDRESS: usize = 500;
        let known = |name: &str, most: usize| {
            let value = connector.attribute(name)?.trim();
            let fits = !value.is_empty() && value.len() <= most;
            let fits = fits && !value.chars().any(char::is_control);
            fits.then(|| value.to_owned())
        };
        let web = |address: &String| {
            let web = address.starts_with("https://") || address.starts_with("http://");
            web && !address.contains(char::is_whitespace)
        };
        Self {
            language: known("language", WORD),
            release_stage: known("release_stage", WORD),
            support_level: known("support_level", WORD),
            documentation: known("documentation", ADDRESS).filter(web),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn language(&self) -> Option<&str> {
        self.language.as_deref()
    }

    pub fn release_stage(&self) -> Option<&str> {
        self.release_stage.as_deref()
    }

    pub fn support_level(&self) -> Option<&str> {
        self.support_level.as_deref()
    }

    /// The address of its documentation: `http://` or `https://`.
    pub fn documentation(&self) -> Option<&str> {
        self.documentation.as_deref()
    }
}
