//! Google Secret Manager, by the convention of Airbyte's repositories: a secret is labelled
//! `connector=<name>` and, unless it is `config`, `filename=<name of its file without .json>`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::google::Google;
use super::{Fetched, Unavailable};
use crate::domain::names::ConnectorName;
use crate::domain::secret::SecretValue;

const GOOGLE: &str = "https://secretmanager.googleapis.com";
/// A secret without the label `filename` is this file.
const DEFAULT_FILE: &str = "config";
/// A listing of more pages than this is a circle.
const PAGES: usize = 1000;

/// Secret Manager, as one service account.
#[derive(Debug)]
pub struct Gsm {
    google: Google,
    url: String,
}

/// One secret, with its newest version that is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// `projects/…/secrets/…/versions/…`
    pub name: String,
    /// Others that are enabled, too.
    pub older: Vec<String>,
}

/// What came of writing a new value back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Back {
    /// It is the version of this number, and so many older ones were disabled just now.
    Written { version: String, disabled: usize },
    /// Somebody else put a version there meanwhile, and that one stays.
    Superseded { version: String },
}

impl Version {
    fn number(&self) -> String {
        self.name.rsplit('/').next().unwrap_or_default().to_owned()
    }

    fn secret(&self) -> &str {
        self.name.split_once("/versions/").map_or(self.name.as_str(), |(secret, _)| secret)
    }
}

impl Gsm {
    /// `url` in place of Google's own.
    pub fn new(google: Google, url: Option<String>) -> Self {
        Self { google, url: url.unwrap_or_else(|| GOOGLE.to_owned()) }
    }

    /// The value of a connector's file.
    pub async fn fetch(
        &self,
        connector: &ConnectorName,
        file: &str,
    ) -> Result<Fetched, Unavailable> {
        let version = self.newest(connector, file).await?;
        let value = self.access(&version.name).await?;
        let note = (!version.older.is_empty()).then(|| {
            let number = version.number();
            format!(
                "{} versions of it are enabled in Secret Manager; the newest, {number}, is used: \
                 disable the others",
                version.older.len() + 1
            )
        });
        Ok(Fetched { value, note })
    }

    /// The newest enabled version of a connector's file.
    pub async fn newest(
        &self,
        connector: &ConnectorName,
        file: &str,
    ) -> Result<Version, Unavailable> {
        let secret = self.secret(connector, file).await?;
        let list = format!("{}/v1/{secret}/versions?filter=state:ENABLED", self.url);
        let versions = self.pages(&list, "versions", "list a secret's versions").await?;
        let mut enabled: Vec<(u64, String)> = versions
            .iter()
            .filter(|version| version["state"] == "ENABLED")
            .filter_map(|version| version["name"].as_str())
            .filter_map(|name| Some((name.rsplit('/').next()?.parse().ok()?, name.to_owned())))
            .collect();
        enabled.sort();
        let Some((_, name)) = enabled.pop() else {
            return Err(Unavailable::missing(format!("no version of `{secret}` is enabled")));
        };
        Ok(Version { name, older: enabled.into_iter().map(|(_, name)| name).collect() })
    }

    /// Adds a version with this value; its name.
    pub async fn add_version(
        &self,
        secret: &str,
        value: &SecretValue,
    ) -> Result<String, Unavailable> {
        let body = json!({ "payload": { "data": BASE64.encode(value.expose()) } });
        let url = format!("{}/v1/{secret}:addVersion", self.url);
        let doing = "add a version of a secret";
        let added = self.google.call((Method::POST, &url), Some(&body), doing).await?;
        let name = added["name"].as_str().map(str::to_owned);
        name.ok_or_else(|| Unavailable::new("the version that was added has no name"))
    }

    /// Disables a version: it stays, and is not used any more.
    pub async fn disable_version(&self, version: &str) -> Result<(), Unavailable> {
        let url = format!("{}/v1/{version}:disable", self.url);
        let doing = "disable a version of a secret";
        self.google.call((Method::POST, &url), Some(&json!({})), doing).await?;
        Ok(())
    }

    /// Puts a new value in the place of a version: adds first, so that there always is one.
    pub async fn replace(&self, old: &Version, value: &SecretValue) -> Result<String, Unavailable> {
        let added = self.add_version(old.secret(), value).await?;
        for version in old.older.iter().chain([&old.name]) {
            self.disable_version(version).await?;
        }
        Ok(added)
    }

    /// Puts a new value in the place of the newest version, if that is one of those which it came
    /// from (`is_before`). Doing it again does no harm: what is there already is not added twice.
    pub async fn write_back(
        &self,
        (connector, file): (&ConnectorName, &str),
        value: &SecretValue,
        (is_same, is_before): (impl Fn(&SecretValue) -> bool, impl Fn(&SecretValue) -> bool),
    ) -> Result<Back, Unavailable> {
        let newest = self.newest(connector, file).await?;
        let there = self.access(&newest.name).await?;
        if is_same(&there) {
            for version in &newest.older {
                self.disable_version(version).await?;
            }
            return Ok(Back::Written { version: newest.number(), disabled: newest.older.len() });
        }
        if !is_before(&there) {
            return Ok(Back::Superseded { version: newest.number() });
        }
        let added = self.replace(&newest, value).await?;
        let version = Version { name: added, older: Vec::new() }.number();
        Ok(Back::Written { version, disabled: newest.older.len() + 1 })
    }

    async fn access(&self, version: &str) -> Result<SecretValue, Unavailable> {
        let url = format!("{}/v1/{version}:access", self.url);
        let answer = self.google.call((Method::GET, &url), None, "read a secret's value").await?;
        let data = answer["payload"]["data"].as_str().unwrap_or_default();
        let bytes = BASE64.decode(data).map_err(|_| {
            Unavailable::new(format!("the payload of `{version}` is malformed: it is no base64"))
        })?;
        if bytes.is_empty() {
            return Err(Unavailable::new(format!("the payload of `{version}` is empty")));
        }
        Ok(SecretValue::new(bytes))
    }

    /// The one secret with these labels.
    async fn secret(&self, connector: &ConnectorName, file: &str) -> Result<String, Unavailable> {
        let project = self.google.project();
        let filter = format!("labels.connector={connector}");
        let list = format!(
            "{}/v1/projects/{project}/secrets?pageSize=250&filter={}",
            self.url,
            utf8_percent_encode(&filter, NON_ALPHANUMERIC)
        );
        let of_connector: Vec<Value> = self
            .pages(&list, "secrets", "list secrets")
            .await?
            .into_iter()
            .filter(|secret| secret["labels"]["connector"] == connector.as_str())
            .collect();
        let file_of = |secret: &Value| {
            secret["labels"]["filename"].as_str().unwrap_or(DEFAULT_FILE).to_owned()
        };
        let file = file.strip_suffix(".json").unwrap_or(file);
        let names: Vec<&str> = of_connector
            .iter()
            .filter(|secret| file_of(secret) == file)
            .filter_map(|secret| secret["name"].as_str())
            .collect();
        let label = format!("`connector={connector}` and the file name `{file}`");
        match names.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => {
                let mut others: Vec<String> = of_connector.iter().map(file_of).collect();
                others.sort();
                let others = match others.as_slice() {
                    [] => "no secret has that connector's label".to_owned(),
                    others => format!("its files are: {}", others.join(", ")),
                };
                Err(Unavailable::missing(format!(
                    "project `{project}` has no secret with {label}; {others}"
                )))
            }
            several => Err(Unavailable::new(format!(
                "several secrets have {label}: {}; leave one the label",
                several.join(", ")
            ))),
        }
    }

    /// All items of a listing, page by page.
    async fn pages(&self, list: &str, items: &str, doing: &str) -> Result<Vec<Value>, Unavailable> {
        let mut all = Vec::new();
        let mut url = list.to_owned();
        for _ in 0..PAGES {
            let mut page = self.google.call((Method::GET, &url), None, doing).await?;
            if let Value::Array(found) = page[items].take() {
                all.extend(found);
            }
            match page["nextPageToken"].as_str().filter(|token| !token.is_empty()) {
                Some(token) => {
                    let token = utf8_percent_encode(token, NON_ALPHANUMERIC);
                    url = format!("{list}&pageToken={token}");
                }
                None => return Ok(all),
            }
        }
        Err(Unavailable::new(format!("Google could not {doing}: the pages never end")))
    }
}
