//! Where secrets' values come from: variables of the server, the `secrets/` folder, Google Secret
//! Manager, and files of the tree that sops encrypted. Nothing here prints or stores a value.

pub mod google;
pub mod gsm;
mod http;
pub mod seal;
pub mod sops;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use secrecy::SecretString;

use self::google::{Account, Google};
use self::gsm::Gsm;
use self::http::Http;
use self::sops::Keys;
use crate::ambient;
use crate::domain::names::ConnectorName;
use crate::domain::secret::{LARGEST, SecretSource, SecretSpec, SecretValue};

/// Why a value can't be had: what, and the mend. Never holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unavailable {
    why: String,
    /// May it be there soon?
    pub passes: bool,
    /// Who would have it was asked, and has none.
    pub missing: bool,
}

impl Unavailable {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), passes: false, missing: false }
    }

    /// Asked for, and not there.
    fn missing(why: impl Into<String>) -> Self {
        Self { missing: true, ..Self::new(why) }
    }

    fn because(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }
}

/// A value, and what its reader should know of it.
#[derive(Debug)]
pub struct Fetched {
    pub value: SecretValue,
    /// In words: several versions are enabled, and the like.
    pub note: Option<String>,
}

impl Fetched {
    fn plain(bytes: Vec<u8>) -> Self {
        Self { value: SecretValue::new(bytes), note: None }
    }
}

/// What the operator has given.
#[derive(Debug, Default)]
pub struct Access {
    /// A service account's JSON: for Secret Manager and Cloud KMS.
    pub google: Option<SecretString>,
    /// In place of Google's own addresses.
    pub gsm_url: Option<String>,
    pub kms_url: Option<String>,
    /// age identities, as sops has them.
    pub age_key_file: Option<PathBuf>,
    /// Certificate authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// All sources.
#[derive(Debug)]
pub struct Providers {
    gsm: Option<Gsm>,
    keys: Keys,
    /// Files of `secrets/` stand in for Secret Manager.
    local: bool,
}

/// The connector whose secrets are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Of<'a> {
    pub connector: &'a ConnectorName,
    /// Its folder, or its file.
    pub root: &'a str,
}

impl Of<'_> {
    fn below(&self, path: &str) -> String {
        if self.root.is_empty() { path.to_owned() } else { format!("{}/{path}", self.root) }
    }
}

impl Providers {
    /// `local`: `secrets/` folders stand in for Secret Manager.
    pub fn new(access: Access, local: bool) -> Result<Self, Unavailable> {
        let Access { google, gsm_url, kms_url, age_key_file, ca_file } = access;
        let google = match google {
            Some(json) => {
                let http = Http::new(ca_file.as_deref())?;
                Some(Google::new(http, Account::read(&json)?))
            }
            None => None,
        };
        let keys = Keys { age_key_file, kms: google.clone().map(|google| (google, kms_url)) };
        Ok(Self { gsm: google.map(|google| Gsm::new(google, gsm_url)), keys, local })
    }

    /// Secret Manager itself, if there are credentials for it: to write back what was rotated.
    pub fn gsm(&self) -> Option<&Gsm> {
        self.gsm.as_ref()
    }

    /// Paths of the tree that a secret is read from, the first that is there counting.
    pub fn paths(&self, secret: &SecretSpec, of: Of<'_>) -> Vec<String> {
        let local = |file: &str| {
            let file = of.below(&format!("secrets/{file}"));
            vec![format!("{file}.json"), file]
        };
        match &secret.source {
            SecretSource::Sops { file } => vec![of.below(file)],
            SecretSource::Local { file } => local(file),
            SecretSource::Gsm { file } if self.local => local(file),
            SecretSource::Gsm { .. } | SecretSource::Env { .. } => Vec::new(),
        }
    }

    /// All paths of some secrets.
    pub fn all_paths(&self, secrets: &[SecretSpec], of: Of<'_>) -> BTreeSet<String> {
        secrets.iter().flat_map(|secret| self.paths(secret, of)).collect()
    }

    /// The value of one secret. `files` are those of [`Providers::paths`] that there are.
    pub async fn fetch(
        &self,
        secret: &SecretSpec,
        of: Of<'_>,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Fetched, Unavailable> {
        let paths = self.paths(secret, of);
        let found = paths.iter().find_map(|path| Some((path, files.get(path)?)));
        let fetched = match (&secret.source, found) {
            (SecretSource::Env { variable }, _) => of_environment(variable)?,
            (SecretSource::Sops { .. }, Some((path, bytes))) => {
                Fetched::plain(self.keys.decrypt(path, bytes).await?)
            }
            (SecretSource::Local { .. } | SecretSource::Gsm { .. }, Some((_, bytes))) => {
                Fetched::plain(bytes.clone())
            }
            (SecretSource::Gsm { file }, None) if paths.is_empty() => {
                let gsm = self.gsm.as_ref().ok_or_else(|| {
                    Unavailable::new("GCP_GSM_CREDENTIALS is not set where this runs")
                })?;
                gsm.fetch(of.connector, file).await?
            }
            (
                SecretSource::Sops { .. } | SecretSource::Local { .. } | SecretSource::Gsm { .. },
                None,
            ) => {
                let looked = paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>();
                return Err(Unavailable::missing(format!("there is no {}", looked.join(" nor "))));
            }
        };
        match fetched.value.expose().len() {
            0 => Err(Unavailable::new("its value is empty")),
            size if size > LARGEST => {
                Err(Unavailable::new(format!("its value is larger than {} KiB", LARGEST >> 10)))
            }
            _ => Ok(fetched),
        }
    }
}

/// As every secret of the server, it may also stand in a file.
fn of_environment(variable: &str) -> Result<Fetched, Unavailable> {
    if let Some(value) = ambient::env(variable) {
        return Ok(Fetched::plain(value.into_bytes()));
    }
    let Some(file) = ambient::env(&format!("{variable}_FILE")) else {
        return Err(Unavailable::missing(format!("{variable} is not set where this runs")));
    };
    std::fs::read(file).map(Fetched::plain).map_err(|error| {
        Unavailable::new(format!("the file that {variable}_FILE names can't be read: {error}"))
    })
}
